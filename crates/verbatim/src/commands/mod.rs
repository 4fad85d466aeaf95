//! One file for each command: its arguments, whose doc comment is its help, and one function that runs it. Here is only
//! what several of them begin with.

pub(crate) mod build;
pub(crate) mod ci;
pub(crate) mod completions;
pub(crate) mod key;
pub(crate) mod promote;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod verify;
pub(crate) mod version;

use clap::Args;
use jiff::Timestamp;
use verbatim_console::{Console, Failure};

use crate::clients;
use crate::config::Environment;
use crate::discover::{self, Found, only_image};
use crate::promotion::Registry;
use crate::release::Named;
use crate::settings::Project;
use crate::store::Store;

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
        None => only_image(project)?.repository.clone(),
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
    discover::release(
        project,
        &registry.client,
        &registry.store,
        args.release.as_ref(),
        now,
        console,
    )
    .await
}
