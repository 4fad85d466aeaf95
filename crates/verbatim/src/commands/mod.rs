//! One file for each command: its arguments, whose doc comment is its help, and one function that runs it. Here is only
//! what several of them begin with.

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod build;
pub(crate) mod ci;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod policy_push;
pub(crate) mod promote;
pub(crate) mod record;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod verify;
pub(crate) mod version;
pub(crate) mod veto;

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use verbatim_console::{Console, ExitStatus, Failure};

use crate::config::Environment;
use crate::project::{Project, clients};
use crate::promotion::execute::AppOutcome;
use crate::promotion::{Promoted, Registry, SavedPlan};
use crate::records::store::Store;
use crate::release::Named;
use crate::release::find::{self, Found};

/// Which release.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The release: `repository@sha256:…`, `repository:tag` or `sha256:…` [default: what an earlier stage left, or what
    /// was built from this commit in this CI run]
    #[arg(long, value_name = "REF", env = "VERBATIM_RELEASE", hide_env_values = true)]
    pub release: Option<Named>,
}

/// The environment of that name.
fn environment<'a>(project: &'a Project, name: &str) -> Result<&'a Environment, Failure> {
    project.config.environment(name).ok_or_else(|| {
        let known = project.config.environment_names().collect::<Vec<_>>().join(", ");
        Failure::usage(format!("no environment `{name}` in {}", project.config.file.display()))
            .hint(format!("there are: {known}"))
    })
}

/// The registry of the project, and the records in it.
fn registry(project: &Project) -> Result<Registry, Failure> {
    let client = clients::registry(project)?;
    let repository = match &project.config.records {
        Some(repository) => repository.clone(),
        None => find::home(project)?.clone(),
    };
    Ok(Registry { store: Store::new(client.clone(), repository), client })
}

/// The release that is meant.
async fn find(
    project: &Project,
    registry: &Registry,
    args: &ReleaseArgs,
    console: &Console,
) -> Result<Found, Failure> {
    let now = Timestamp::now();
    find::release(project, &registry.client, &registry.store, args.release.as_ref(), now, console)
        .await
}

/// Prints how a move of a release ended, and what to do next.
fn told(promoted: &Promoted, console: &Console) -> Result<ExitStatus, Failure> {
    console.result(promoted)?;
    for hint in promoted.hints() {
        console.status(format!("hint: {hint}"));
    }
    Ok(promoted.status)
}

/// Saves a plan that could be made and that every application agrees to.
fn keep_plan(promoted: &Promoted, file: Option<&Path>, console: &Console) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let is_agreed = promoted.applications.iter().all(AppOutcome::is_planned);
    match promoted.plan.clone().filter(|_| is_agreed) {
        Some(plan) => {
            SavedPlan::new(plan, Timestamp::now()).write(file)?;
            console.status(format!("the plan is in {}", file.display()));
        }
        None => console.warn(format!("there is no plan to write into {}", file.display())),
    }
    Ok(())
}
