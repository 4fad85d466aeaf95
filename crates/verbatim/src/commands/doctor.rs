//! `verbatim doctor`.

use clap::Args;
use futures_util::join;
use verbatim_console::{Console, ExitStatus, Failure};

use super::context;
use crate::doctor::{Check, Finding, Report, local, services};
use crate::project::{KeyArgs, ProjectArgs};

const EXAMPLES: &str = "\
Examples:
  verbatim doctor                  before the first pipeline, or in a job
  verbatim doctor --format json    each check with level, detail and hints";

/// Check that everything a pipeline needs is in place
///
/// Checks the configuration, the working tree, the signing key and the clocks, and asks the Docker Engine, each
/// registry, each Argo CD server and each application whether a promotion would be allowed. Changes nothing: it starts
/// one upload per repository and cancels it.
///
/// A warning concerns something that only some commands need. If a check fails, the exit status is that of the command
/// that would fail.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub(crate) async fn run(args: DoctorArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let report = Report { findings: look(&args, console).await };
    let status = report.status();
    console.result(&report)?;
    Ok(status)
}

async fn look(args: &DoctorArgs, console: &Console) -> Vec<Finding> {
    let project = match context::project(&args.project, console).await {
        Ok(project) => project,
        // Nothing else can be told without it.
        Err(failure) => return vec![Finding::failed(Check::Configuration, "", failure)],
    };
    let config = &project.config;
    let file = config.file.display().to_string();
    let names: Vec<&str> = config.environment_names().collect();
    let detail = format!("project {}, environments {}", config.project, names.join(", "));
    let _progress = console.progress("running the checks");
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
