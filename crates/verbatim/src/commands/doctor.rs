//! `verbatim doctor`.

use clap::Args;
use futures_util::join;
use verbatim_console::{Console, ExitStatus, Failure};

use super::context;
use crate::doctor::{Check, Finding, Report, local, services};
use crate::project::{KeyArgs, ProjectArgs};

const EXAMPLES: &str = "\
Examples:
  verbatim doctor                    before the first pipeline, on a laptop or in a job
  verbatim doctor --format json      each check with its level, detail and hints";

/// Look whether everything is there that a pipeline needs
///
/// Reads the configuration, looks at the working tree and the key, asks the Docker Engine, each registry, each Argo CD
/// server and each application whether this token may do what a promotion does, and compares the clocks. Changes
/// nothing: in each repository an upload is begun and given up again.
///
/// A warning is about what only some commands need. If a check fails, the exit status is that of a command which would
/// have failed on it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
///
/// # Errors
/// The report cannot be printed. Whatever else is wrong is in it.
pub(crate) async fn run(args: DoctorArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let report = Report { findings: look(&args, console).await };
    let status = report.status();
    console.result(&report)?;
    Ok(status)
}

async fn look(args: &DoctorArgs, console: &Console) -> Vec<Finding> {
    let project = match context::project(&args.project).await {
        Ok(project) => project,
        // Nothing else can be told without it.
        Err(failure) => return vec![Finding::failed(Check::Configuration, "", failure)],
    };
    let config = &project.config;
    let file = config.file.display().to_string();
    let names: Vec<&str> = config.environment_names().collect();
    let detail = format!("project {}, environments {}", config.project, names.join(", "));
    let _progress = console.progress("asking everybody");
    let (source, key, engine, registries, argocd) = join!(
        local::source(&project),
        local::key(&project, &args.key),
        services::engine(&project),
        services::registries(&project),
        services::argocd(&project),
    );
    let mut findings = vec![Finding::ok(Check::Configuration, file, detail), source, key, engine];
    findings.extend(registries);
    findings.extend(argocd);
    findings
}
