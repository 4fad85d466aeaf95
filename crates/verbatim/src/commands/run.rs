//! `verbatim run`: build, then promote and test, stage by stage.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;
use verbatim_text::code;

use super::context::{self, ReleaseArgs, environment, find, registry};
use super::summary::paragraph;
use crate::config::Config;
use crate::policy::gates::gates;
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs};
use crate::promotion::{
    OverrideArgs, Overrides, Promote, PromotionContext, PromotionResult, Summary, promote,
};
use crate::records::Registry;
use crate::release::{Named, build};
use crate::testing::{self, TestReport};

const EXAMPLES: &str = "\
Examples:
  verbatim run                            through all environments
  verbatim run --to staging               no further than staging
  verbatim run --release sha256:3f0c…     build nothing";

/// Build, promote and test, environment by environment
///
/// Does what the single commands do, in the order of the stages, and stops at the first closed gate or failed test. In
/// CI prefer the single commands: you can then see and repeat each stage, and give each its own secrets.
///
/// Where the release runs already, proven and tested, verbatim proves once more that it runs, promotes and tests
/// nothing, and goes on.
///
/// Overrides apply to every environment with that gate.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("release", |release| release.help(
    "Promote this release instead of building: a tag, a digest or its first 12 digits, `repository:tag@sha256:…`, or an environment for what runs there"
)))]
pub(crate) struct RunArgs {
    /// Stop after this environment
    #[arg(long, value_name = "ENV")]
    to: Option<String>,
    #[command(flatten)]
    release: ReleaseArgs,
    /// Promote and test again where the release runs already
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// What happened, stage by stage.
#[derive(Debug, Default, Serialize)]
struct RunResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<build::BuildResult>,
    stages: Vec<Stage>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
enum Stage {
    Promote(Box<PromotionResult>),
    Test(Box<TestReport>),
}

impl RunResult {
    /// Every stage in the summary of the CI job.
    fn summarise(&self, console: &Console) {
        if let Some(build) = &self.build {
            console.summarise(&paragraph(&code(&build.release), &format!("{build:#}")));
        }
        for stage in &self.stages {
            console.summarise(&match stage {
                Stage::Promote(promoted) => Summary(promoted).to_string(),
                Stage::Test(tested) => super::test::summary(tested),
            });
        }
    }
}

/// A line for each stage; one that stopped the run is shown at length.
impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(build) = &self.build {
            build.fmt(f)?;
            writeln!(f)?;
        }
        self.stages.iter().try_for_each(|stage| stage.fmt(f))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promote(promoted) if promoted.status == ExitStatus::Done && !f.alternate() => {
                writeln!(f, "{}", promoted.line())
            }
            Self::Promote(promoted) => promoted.fmt(f),
            Self::Test(tested) => tested.fmt(f).and_then(|()| writeln!(f)),
        }
    }
}

pub(crate) async fn run(args: RunArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let last = args.to.as_deref().map(|name| environment(&project, name)).transpose()?;
    let key =
        project.signer(&args.key, &[Role::BUILDER, Role::PROMOTER, Role::TESTER], console).await?;
    let overrides = args.overrides.overrides()?;
    overrides.check(&project, &key)?;
    let way = way(&project.config, last.map(|last| last.name()));
    for environment in way.iter().filter_map(|name| project.config.environment(name)) {
        project.speaks_for(&key.verifying_key().id(), Some(&environment.id))?;
    }
    let overridden = overridden(&project, &way, &overrides)?;
    let registry = registry(&project)?;
    let mut ran = RunResult::default();
    // Named once: a tag may move and an environment get another release while the stages are gone through.
    let release = match args.release.release {
        Some(_) => find(&project, &registry, &args.release, console).await?.release,
        None => {
            let built = build::build(&project, &registry, &key, false, console).await?;
            let release = built.release.clone();
            ran.build = Some(built);
            release
        }
    };
    let release = ReleaseArgs { release: Some(Named::Reference(release.reference())) };
    let runner = StageRunner {
        project: &project,
        registry: &registry,
        key: &key,
        again: args.again,
        console,
    };
    let mut status = ExitStatus::Done;
    for (name, overrides) in &overridden {
        status = match runner.stage(name, overrides, &release, &mut ran).await {
            Ok(status) => status,
            Err(failure) => return told_so_far(&ran, failure, console),
        };
        if status != ExitStatus::Done {
            break;
        }
    }
    ran.summarise(console);
    console.result(&ran)?;
    Ok(status)
}

struct StageRunner<'a> {
    project: &'a Project,
    registry: &'a Registry,
    key: &'a RecordSigner,
    again: bool,
    console: &'a Console,
}

impl StageRunner<'_> {
    /// Promotes to an environment, and tests it. What came of it is added to `ran`.
    async fn stage(
        &self,
        name: &str,
        overrides: &Overrides,
        release: &ReleaseArgs,
        ran: &mut RunResult,
    ) -> Result<ExitStatus, Failure> {
        let Self { project, registry, key, again, console } = *self;
        let environment = environment(project, name)?;
        // Found anew for each stage, so that it knows what the one before it has left.
        let found = find(project, registry, release, console).await?;
        let context = PromotionContext::of(project, registry, environment, console)?;
        let request = Promote {
            found: &found,
            backwards: false,
            again,
            take_over: false,
            overrides,
            without: &[],
        };
        let promoted = promote(&context, &request, key).await?;
        let (status, is_news) = (promoted.status, promoted.record.is_some());
        ran.stages.push(Stage::Promote(Box::new(promoted)));
        if status != ExitStatus::Done || environment.tests.is_empty() {
            return Ok(status);
        }
        let earlier = match is_news || again {
            true => None,
            false => testing::earlier(project, registry, environment, &found).await?,
        };
        let tested = match earlier {
            Some(earlier) => earlier,
            None => {
                testing::test(project, registry, environment, &found, &[], key, console).await?
            }
        };
        let status = if tested.passed { ExitStatus::Done } else { ExitStatus::No };
        ran.stages.push(Stage::Test(Box::new(tested)));
        Ok(status)
    }
}

/// What is overridden before each environment of the way: the gates that it has.
fn overridden<'a>(
    project: &Project,
    way: &[&'a str],
    overrides: &Overrides,
) -> Result<Vec<(&'a str, Overrides)>, Failure> {
    let gates = way.iter().map(|name| {
        let rules = project.config.rules(name);
        gates(environment(project, name)?, &rules).map_err(Failure::usage)
    });
    let gates = gates.collect::<Result<Vec<_>, _>>()?;
    if let Some(unknown) = overrides.unknown_to(&gates) {
        let way = way.join(", ");
        return Err(Failure::usage(format!("there is no gate `{unknown}` before {way}"))
            .hint("the gates of each: verbatim policy check"));
    }
    Ok(way.iter().zip(&gates).map(|(name, gates)| (*name, overrides.before(gates))).collect())
}

/// The stages that were done are part of the answer, also when a later one fails. With JSON, the failure is the one
/// document on stdout.
fn told_so_far(
    ran: &RunResult,
    failure: Failure,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    ran.summarise(console);
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
