//! `verbatim run`: build, then promote and test, stage by stage.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::{ReleaseArgs, environment, find, registry};
use crate::building;
use crate::config::Config;
use crate::promotion::{Promoted, Request, promote};
use crate::release::Named;
use crate::settings::{KeyArgs, Project, ProjectArgs};
use crate::testing::{self, Tested};

const EXAMPLES: &str = "\
Examples:
  verbatim run                       through all environments
  verbatim run --to staging          no further than staging
  verbatim run --release sha256:3f0c…     nothing is built";

/// Build, promote and test through the environments in one go
///
/// Does what the single commands do, in the order of the stages, and stops at the first closed gate or failed test. In a
/// CI the single commands are better: each stage can then be seen, repeated and given its own secrets.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// The last environment
    #[arg(long, value_name = "ENV")]
    to: Option<String>,
    /// Build nothing, and promote this release: `repository@sha256:…`, `repository:tag` or `sha256:…`
    #[arg(long, value_name = "REF", env = "VERBATIM_RELEASE", hide_env_values = true)]
    release: Option<Named>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// What happened, stage by stage.
#[derive(Debug, Default, Serialize)]
struct Ran {
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<building::Outcome>,
    stages: Vec<Stage>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
enum Stage {
    Promote(Box<Promoted>),
    Test(Tested),
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(build) = &self.build {
            writeln!(f, "{build}\n")?;
        }
        for stage in &self.stages {
            match stage {
                Stage::Promote(promoted) => writeln!(f, "{promoted}")?,
                Stage::Test(tested) => writeln!(f, "{tested}\n")?,
            }
        }
        Ok(())
    }
}

/// Runs the command.
///
/// # Errors
/// What any of the commands fails with.
pub(crate) async fn run(args: RunArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = Project::load(&args.project)?;
    let last = args.to.as_deref().map(|name| environment(&project, name)).transpose()?;
    let key =
        project.signing_key(&args.key, &[Role::BUILDER, Role::PROMOTER, Role::TESTER], console)?;
    let registry = registry(&project)?;
    let mut ran = Ran::default();
    let mut release = ReleaseArgs { release: args.release };
    if release.release.is_none() {
        let built = building::build(&project, &registry, &key, false, console).await?;
        release.release = Some(Named::Reference(built.release.clone()));
        ran.build = Some(built);
    }
    let mut status = ExitStatus::Done;
    for name in way(&project.config, last.map(|last| last.name())) {
        let environment = environment(&project, name)?;
        // Found anew for each stage, so that it knows what the one before it has left.
        let found = find(&project, &registry, &release, console).await?;
        let request = Request {
            environment,
            found: &found,
            key: Some(&key),
            backwards: false,
            take_over: false,
        };
        let promoted = match promote(&project, &registry, &request, console).await {
            Ok(promoted) => promoted,
            Err(failure) => return told_so_far(&ran, failure, console),
        };
        status = promoted.status;
        ran.stages.push(Stage::Promote(Box::new(promoted)));
        if status != ExitStatus::Done {
            break;
        }
        if environment.tests.is_empty() {
            continue;
        }
        let tested =
            match testing::test(&project, &registry, environment, &found, &[], &key, console).await
            {
                Ok(tested) => tested,
                Err(failure) => return told_so_far(&ran, failure, console),
            };
        let passed = tested.passed;
        ran.stages.push(Stage::Test(tested));
        if !passed {
            status = ExitStatus::No;
            break;
        }
    }
    console.result(&ran)?;
    Ok(status)
}

/// The stages that were done are part of the answer, also when a later one fails. With JSON, the failure is the one
/// document on stdout.
fn told_so_far(ran: &Ran, failure: Failure, console: &Console) -> Result<ExitStatus, Failure> {
    if !console.is_json() {
        console.result(ran)?;
    }
    Err(failure)
}

/// The environments up to the last one, each after those that it names: in the order of the file, and only those that
/// the last one needs.
fn way<'a>(config: &'a Config, last: Option<&'a str>) -> Vec<&'a str> {
    let mut way = Vec::new();
    let goals: Vec<&str> = match last {
        Some(last) => vec![last],
        None => config.environment_names().collect(),
    };
    for goal in goals {
        walk(config, goal, &mut way);
    }
    way
}

/// The rules have no circle; that was checked when they were read.
fn walk<'a>(config: &'a Config, name: &'a str, way: &mut Vec<&'a str>) {
    if way.contains(&name) {
        return;
    }
    for earlier in
        config.policy.rules.get(name).map(|rules| rules.after.as_slice()).unwrap_or_default()
    {
        walk(config, &earlier.environment, way);
    }
    way.push(name);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    #[test]
    fn the_way_goes_through_what_comes_before() {
        let key = "keys: [{ name: ci, file: k, roles: [promoter] }]";
        let text = format!(
            "version: 1\nproject: p\nimages: {{ app: {{ repository: r.example/app }} }}\n\
             argocd: {{ main: {{ url: https://a.example }} }}\nset: {{ helm: {{ t: '${{digest}}' }} }}\n\
             environments:\n- {{ name: production, apps: [p], after: [load, staging] }}\n- {{ name: dev, apps: [d] }}\n\
             - {{ name: staging, apps: [s], after: [dev] }}\n- {{ name: load, apps: [l], after: [dev] }}\n{key}\n"
        );
        let public = verbatim_record::SigningKey::generate(|bytes| {
            bytes.fill(9);
            Ok::<_, std::convert::Infallible>(())
        });
        let public = public.unwrap().verifying_key().to_pem().unwrap();
        let config =
            config::parse(Path::new("verbatim.yaml"), &text, &|_| Ok(public.clone())).unwrap();
        assert_eq!(way(&config, None), ["dev", "load", "staging", "production"]);
        assert_eq!(way(&config, Some("staging")), ["dev", "staging"]);
        assert_eq!(way(&config, Some("dev")), ["dev"]);
    }
}
