//! The command line of the tool, used by `verbatim-argocd` and by `verbatim argocd` alike.
//!
//! The only place of this crate that reads the environment and files and knows exit statuses.

mod absent;
mod deploy;
mod look;
mod setup;
mod shared;

use clap::Subcommand;
use verbatim_console::{Console, ExitStatus, Failure};

pub use self::absent::AbsentCommand;
pub use self::deploy::deploy::{DeployArgs, OverrideArgs, UnsetArgs};
pub use self::deploy::render::RenderArgs;
pub use self::deploy::rollback::RollbackArgs;
pub use self::deploy::set::{ConfirmDeletionArgs, PatchArgs, SetArgs};
pub use self::deploy::settings::{NameArgs, SettingArgs};
pub use self::deploy::wait::{ProveArgs, SyncArgs, TerminateArgs, WaitArgs};
pub use self::look::actions::{ActionsCommand, ActionsListArgs, ActionsRunArgs};
pub use self::look::diff::DiffArgs;
pub use self::look::events::EventsArgs;
pub use self::look::get::{GetArgs, RefreshArgs};
pub use self::look::history::HistoryArgs;
pub use self::look::list::ListArgs;
pub use self::look::logs::LogsArgs;
pub use self::look::manifests::{ImagesArgs, ManifestsArgs, ResourcesArgs, RevisionArgs};
pub use self::look::objects::{DeleteResourceArgs, GetResourceArgs, PatchResourceArgs};
pub use self::setup::about::{
    CanIArgs, CatalogArgs, ClusterCommand, ClusterOutput, ProjectCommand, ProjectOutput,
    VersionArgs, WhoamiArgs,
};
pub use self::setup::create::{CreateArgs, DeleteArgs};
pub use self::setup::login::LoginArgs;
pub use self::setup::repo::{RepoAddArgs, RepoCommand, RepoListArgs, RepoRmArgs};
pub use self::shared::apps::{AppsArgs, FilterArgs};
pub use self::shared::failure::{failure, status};
pub use self::shared::server::{AppArgs, ServerArgs};
pub use self::shared::show::{hints, listener, listener_within, steps};
pub use self::shared::values::{ImageArgs, SourceArgs, ValueArgs};

/// Work with Argo CD applications
#[derive(Clone, Debug, Subcommand)]
pub enum ArgocdCommand {
    /// Obtain a token, or check one, and keep it
    Login(LoginArgs),
    /// List applications
    List(ListArgs),
    /// Show an application and its overrides
    Get(GetArgs),
    /// Show what a sync would change: live objects against the wanted ones
    Diff(DiffArgs),
    /// Print the manifests of applications as YAML
    Manifests(ManifestsArgs),
    /// List the resources of an application
    Resources(ResourcesArgs),
    /// Show the images of an application: overridden, rendered, running
    Images(ImagesArgs),
    /// Show the deployments of an application that succeeded
    History(HistoryArgs),
    /// Show the events of applications, or of their objects
    Events(EventsArgs),
    /// Print the logs of the pods of applications
    Logs(LogsArgs),
    /// Write values into applications, without a sync
    Override(Box<OverrideArgs>),
    /// Take values away from applications, without a sync
    Unset(UnsetArgs),
    /// Change what applications are beside their values: project, destination, sync policy, history
    Set(SetArgs),
    /// Change applications by a patch
    Patch(PatchArgs),
    /// Sync applications as they are, and wait until they are synced and healthy
    Sync(SyncArgs),
    /// Wait until applications are as wanted
    Wait(WaitArgs),
    /// Stop the operation that runs
    #[command(visible_alias = "terminate-op")]
    Terminate(TerminateArgs),
    /// Deploy an entry of the history again
    Rollback(RollbackArgs),
    /// Prove which images applications run
    Prove(ProveArgs),
    /// Write a digest, sync, wait, and prove that it runs
    Deploy(DeployArgs),
    /// Make an application
    Create(Box<CreateArgs>),
    /// Delete applications
    Delete(DeleteArgs),
    /// Let applications delete and prune what waits for a confirmation
    ConfirmDeletion(ConfirmDeletionArgs),
    /// Look at the actions of objects, and run them
    #[command(subcommand)]
    Actions(ActionsCommand),
    /// Print objects of applications as they are in the cluster
    GetResource(GetResourceArgs),
    /// Change objects of applications in their cluster
    PatchResource(PatchResourceArgs),
    /// Delete objects of applications in their cluster
    DeleteResource(DeleteResourceArgs),
    /// Look at repositories, add and remove them
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Look at clusters
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Look at projects
    #[command(subcommand, visible_alias = "proj")]
    Project(ProjectCommand),
    /// Show whose token is used
    Whoami(WhoamiArgs),
    /// Ask whether the token may do something
    CanI(CanIArgs),
    /// Show the server's version, and those of the tools it renders with
    Version(VersionArgs),
    /// What argocd has besides.
    #[command(flatten)]
    Absent(AbsentCommand),
}

/// Runs a command of the tool.
///
/// # Errors
///
/// With the exit status that the pipeline should see.
pub async fn run(command: ArgocdCommand, console: &Console) -> Result<ExitStatus, Failure> {
    match command {
        ArgocdCommand::Login(args) => setup::login::run(args, console).await,
        ArgocdCommand::List(args) => look::list::run(args, console).await,
        ArgocdCommand::Get(args) => look::get::run(args, console).await,
        ArgocdCommand::Diff(args) => look::diff::run(args, console).await,
        ArgocdCommand::Manifests(args) => look::manifests::run(args, console).await,
        ArgocdCommand::Resources(args) => look::manifests::run_resources(args, console).await,
        ArgocdCommand::Images(args) => look::manifests::run_images(args, console).await,
        ArgocdCommand::History(args) => look::history::run(args, console).await,
        ArgocdCommand::Events(args) => look::events::run(args, console).await,
        ArgocdCommand::Logs(args) => look::logs::run(args, console).await,
        ArgocdCommand::Override(args) => deploy::deploy::run_override(*args, console).await,
        ArgocdCommand::Unset(args) => deploy::deploy::run_unset(args, console).await,
        ArgocdCommand::Set(args) => deploy::set::run(args, console).await,
        ArgocdCommand::Patch(args) => deploy::set::run_patch(args, console).await,
        ArgocdCommand::Terminate(args) => deploy::wait::run_terminate(args, console).await,
        ArgocdCommand::Rollback(args) => deploy::rollback::run(args, console).await,
        ArgocdCommand::Sync(args) => deploy::wait::run_sync(args, console).await,
        ArgocdCommand::Wait(args) => deploy::wait::run_wait(args, console).await,
        ArgocdCommand::Prove(args) => deploy::wait::run_prove(args, console).await,
        ArgocdCommand::Deploy(args) => deploy::deploy::run(args, console).await,
        ArgocdCommand::Create(args) => setup::create::run(*args, console).await,
        ArgocdCommand::Delete(args) => setup::create::run_delete(args, console).await,
        ArgocdCommand::ConfirmDeletion(args) => {
            deploy::set::run_confirm_deletion(args, console).await
        }
        ArgocdCommand::Actions(command) => look::actions::run(command, console).await,
        ArgocdCommand::GetResource(args) => look::objects::run_get(args, console).await,
        ArgocdCommand::PatchResource(args) => look::objects::run_patch(args, console).await,
        ArgocdCommand::DeleteResource(args) => look::objects::run_delete(args, console).await,
        ArgocdCommand::Repo(command) => setup::repo::run(command, console).await,
        ArgocdCommand::Cluster(command) => setup::about::run_cluster(command, console).await,
        ArgocdCommand::Project(command) => setup::about::run_project(command, console).await,
        ArgocdCommand::Whoami(args) => setup::about::run_whoami(args, console).await,
        ArgocdCommand::CanI(args) => setup::about::run_can_i(args, console).await,
        ArgocdCommand::Version(args) => setup::about::run_version(args, console).await,
        ArgocdCommand::Absent(command) => Err(command.failure()),
    }
}
