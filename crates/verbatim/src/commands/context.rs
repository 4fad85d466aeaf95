//! What every command begins with: the project, the environment, the registry, the release that is meant; and how a move
//! of a release is told at its end.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::TrustedKey;

use crate::config::{self, Config, Environment};
use crate::environment::runs::runs_in;
use crate::policy::fetch::{self, NoRules};
use crate::project::{self, Project, ProjectArgs, Variables, clients, config_failure};

use crate::promotion::{AppOutcome, PromotionResult, SavedPlan, Summary};
use crate::records::Registry;
use crate::records::store::Store;
use crate::release::Named;
use crate::release::find::{self, ResolvedRelease};

/// Which release.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The release: a tag, a digest or its first 12 digits, `repository:tag@sha256:…`, or an environment for what runs
    /// there [default: the release of an earlier stage, or the build of this commit and CI run]
    #[arg(long, value_name = "REF", env = "VERBATIM_RELEASE", hide_env_values = true)]
    pub release: Option<Named>,
}

impl ReleaseArgs {
    /// The same, or the release that stands on the command line without the name of the option.
    pub(super) fn or(self, positional: Option<Named>, project: &Project) -> Result<Self, Failure> {
        let variable = project.variables.get("VERBATIM_RELEASE").and_then(|it| it.parse().ok());
        match (&self.release, &positional) {
            (Some(named), Some(also)) if named != also && Some(named) != variable.as_ref() => {
                Err(Failure::usage(format!("the release is named twice: `{named}` and `{also}`"))
                    .hint(format!("name it once: --release {named}")))
            }
            (_, Some(_)) => Ok(Self { release: positional }),
            (_, None) => Ok(self),
        }
    }

    /// Refuses to choose one: what is said about a release that nobody named would surprise.
    pub(super) fn named(self) -> Result<Self, Failure> {
        match self.release {
            Some(_) => Ok(self),
            None => Err(Failure::usage("no release is named").hint(
                "name it with --release: a tag, a digest, or an environment for what runs there",
            )),
        }
    }
}

/// The project that is named, or found: its configuration, and its rules from where they are.
pub(super) async fn project(
    arguments: &ProjectArgs,
    console: &Console,
) -> Result<Project, Failure> {
    let variables = project::variables();
    let draft = project::draft(arguments)?;
    tell_weaknesses(draft.config(), &variables, console)?;
    let config = fetch::complete(draft, &variables).await?;
    Ok(Project::new(config, variables))
}

/// Says each time what anybody in between could read or change. Whoever opens a pull request writes the configuration of its
/// jobs, so there it is refused.
fn tell_weaknesses(
    config: &Config,
    variables: &Variables,
    console: &Console,
) -> Result<(), Failure> {
    let weaknesses = config.weaknesses();
    if let (Some(weakness), Some(_)) = (weaknesses.first(), &project::ci(variables).pull_request) {
        return Err(Failure::usage(weakness.clone())
            .context("this is the job of a pull request, whose author may have written that")
            .hint("give the server a certificate that is trusted, or its authorities as `ca`"));
    }
    weaknesses.iter().for_each(|weakness| console.alert(weakness));
    Ok(())
}

/// The same, also if the rules cannot be had, or are wrong: break-glass asks them nothing. Rules that can be had still say
/// which applications and servers are those of the project.
pub(super) async fn project_without_rules_if_need_be(
    arguments: &ProjectArgs,
    console: &Console,
) -> Result<Project, Failure> {
    let variables = project::variables();
    let complete = async {
        let draft = match project::draft(arguments) {
            Ok(draft) => draft,
            // A line too many is no way around the rules: those that are named elsewhere are asked all the same.
            Err(failure) => project::draft_of_named_rules(arguments)
                .ok()
                .flatten()
                .ok_or(NoRules::Unknown(failure))?,
        };
        fetch::complete(draft, &variables).await
    };
    let config = match complete.await {
        Ok(config) => config,
        Err(NoRules::NotAsPinned(failure)) => return Err(failure),
        Err(NoRules::Unknown(failure)) => {
            // If it is not the rules that are wrong, that is what has to be told.
            let Ok(config) = project::config_file(arguments)
                .and_then(|file| config::load_without_rules(&file).map_err(config_failure))
            else {
                return Err(failure);
            };
            console.warn(format!("continuing without a policy: {}", failure.whole()));
            config
        }
    };
    tell_weaknesses(&config, &variables, console)?;
    Ok(Project::new(config, variables))
}

/// The environment of that name.
pub(super) fn environment<'a>(
    project: &'a Project,
    name: &str,
) -> Result<&'a Environment, Failure> {
    project.config.environment(name).ok_or_else(|| {
        let known = project.config.environment_names().collect::<Vec<_>>().join(", ");
        Failure::usage(format!("no environment `{name}` in {}", project.config.file.display()))
            .hint(format!("known environments: {known}"))
    })
}

/// A key of the policy by its name.
pub(super) fn trusted_key<'a>(project: &'a Project, name: &str) -> Result<&'a TrustedKey, Failure> {
    let ring = &project.config.policy.ring;
    ring.iter().find(|key| key.name == name).ok_or_else(|| {
        let known: Vec<&str> = ring.iter().map(|key| key.name.as_str()).collect();
        Failure::usage(format!("no key `{name}` in `keys`"))
            .hint(format!("known keys: {}", known.join(", ")))
    })
}

/// The registry of the project, and the records in it.
pub(super) fn registry(project: &Project) -> Result<Registry, Failure> {
    let client = clients::registry(project)?;
    let repository = match &project.config.records {
        Some(repository) => repository.clone(),
        None => find::home(project)?.clone(),
    };
    let store = Store::new(client.clone(), repository).of_project(&project.config.project);
    Ok(Registry { store, client })
}

/// The release that is meant.
pub(super) async fn find(
    project: &Project,
    registry: &Registry,
    args: &ReleaseArgs,
    console: &Console,
) -> Result<ResolvedRelease, Failure> {
    let (now, store) = (Timestamp::now(), &registry.store);
    let environment = match &args.release {
        Some(Named::Word(word)) => project.config.environment(word.as_str()),
        _ => None,
    };
    let found = match environment {
        Some(environment) => there(project, registry, environment, now, console).await,
        None => {
            let named = args.release.as_ref();
            find::release(project, &registry.client, store, named, now, console).await
        }
    };
    // With a wrong clock a build record is one of the future, and its release is not found.
    registry.check_clock(project)?;
    found
}

/// What runs in an environment, under the tag that it was promoted with.
async fn there(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    now: Timestamp,
    console: &Console,
) -> Result<ResolvedRelease, Failure> {
    let Registry { client, store } = registry;
    let (promoted, number) = runs_in(project, store, environment, now, console).await?;
    let named = Named::Digest(promoted.digest);
    let mut found = find::release(project, client, store, Some(&named), now, console).await?;
    let tag = promoted.tag.as_ref().and_then(|tag| tag.parse().ok());
    found.release.tag = tag.or(found.release.tag);
    console.status(format!(
        "`{}` is {}: promotion {number} to {}",
        environment.name(),
        found.release,
        environment.id
    ));
    Ok(found)
}

/// Prints how a move of a release ended, and what to do next.
pub(super) fn told(promoted: &PromotionResult, console: &Console) -> Result<ExitStatus, Failure> {
    console.summarise(&Summary(promoted).to_string());
    console.result(promoted)?;
    for hint in promoted.hints() {
        console.status(format!("hint: {hint}"));
    }
    Ok(promoted.status)
}

/// Saves a plan that could be made and that every application agrees to.
pub(super) fn keep_plan(
    promoted: &PromotionResult,
    file: Option<&Path>,
    console: &Console,
) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let is_agreed = promoted.applications.iter().all(AppOutcome::is_planned);
    match promoted.plan.clone().filter(|_| is_agreed) {
        Some(plan) => {
            SavedPlan::new(plan).write(file)?;
            console.status(format!("saved the plan to {}", file.display()));
        }
        None => console.warn(format!("no plan to save to {}", file.display())),
    }
    Ok(())
}
