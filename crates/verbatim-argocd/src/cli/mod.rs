//! The command line of the tool, used by `verbatim-argocd` and by `verbatim argocd` alike.
//!
//! The only place of this crate that reads the environment and files and knows exit statuses.

mod about;
mod absent;
mod actions;
mod apps;
mod create;
mod deploy;
mod diff;
mod document;
mod events;
mod failure;
mod get;
mod history;
mod list;
mod login;
mod logs;
mod manifests;
mod objects;
mod render;
mod repo;
mod report;
mod rollback;
mod server;
mod set;
mod settings;
mod show;
mod values;
mod wait;

use clap::Subcommand;
use verbatim_console::{Console, ExitStatus, Failure};

pub use self::about::{
    CanIArgs, CatalogArgs, ClusterCommand, ClusterOutput, ProjectCommand, ProjectOutput,
    VersionArgs, WhoamiArgs,
};
pub use self::absent::AbsentCommand;
pub use self::actions::{ActionsCommand, ActionsListArgs, ActionsRunArgs};
pub use self::apps::{AppsArgs, FilterArgs};
pub use self::create::{CreateArgs, DeleteArgs};
pub use self::deploy::{DeployArgs, OverrideArgs, UnsetArgs};
pub use self::diff::DiffArgs;
pub use self::events::EventsArgs;
pub use self::failure::{failure, status};
pub use self::get::{GetArgs, RefreshArgs};
pub use self::history::HistoryArgs;
pub use self::list::ListArgs;
pub use self::login::LoginArgs;
pub use self::logs::LogsArgs;
pub use self::manifests::{ImagesArgs, ManifestsArgs, ResourcesArgs, RevisionArgs};
pub use self::objects::{DeleteResourceArgs, GetResourceArgs, PatchResourceArgs};
pub use self::render::RenderArgs;
pub use self::repo::{RepoAddArgs, RepoCommand, RepoListArgs, RepoRmArgs};
pub use self::rollback::RollbackArgs;
pub use self::server::{AppArgs, ServerArgs};
pub use self::set::{ConfirmDeletionArgs, PatchArgs, SetArgs};
pub use self::settings::{NameArgs, SettingArgs};
pub use self::show::{hints, listener, listener_within, steps};
pub use self::values::{ImageArgs, SourceArgs, ValueArgs};
pub use self::wait::{ProveArgs, SyncArgs, TerminateArgs, WaitArgs};

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
        ArgocdCommand::Login(args) => login::run(args, console).await,
        ArgocdCommand::List(args) => list::run(args, console).await,
        ArgocdCommand::Get(args) => get::run(args, console).await,
        ArgocdCommand::Diff(args) => diff::run(args, console).await,
        ArgocdCommand::Manifests(args) => manifests::run(args, console).await,
        ArgocdCommand::Resources(args) => manifests::run_resources(args, console).await,
        ArgocdCommand::Images(args) => manifests::run_images(args, console).await,
        ArgocdCommand::History(args) => history::run(args, console).await,
        ArgocdCommand::Events(args) => events::run(args, console).await,
        ArgocdCommand::Logs(args) => logs::run(args, console).await,
        ArgocdCommand::Override(args) => deploy::run_override(*args, console).await,
        ArgocdCommand::Unset(args) => deploy::run_unset(args, console).await,
        ArgocdCommand::Set(args) => set::run(args, console).await,
        ArgocdCommand::Patch(args) => set::run_patch(args, console).await,
        ArgocdCommand::Terminate(args) => wait::run_terminate(args, console).await,
        ArgocdCommand::Rollback(args) => rollback::run(args, console).await,
        ArgocdCommand::Sync(args) => wait::run_sync(args, console).await,
        ArgocdCommand::Wait(args) => wait::run_wait(args, console).await,
        ArgocdCommand::Prove(args) => wait::run_prove(args, console).await,
        ArgocdCommand::Deploy(args) => deploy::run(args, console).await,
        ArgocdCommand::Create(args) => create::run(*args, console).await,
        ArgocdCommand::Delete(args) => create::run_delete(args, console).await,
        ArgocdCommand::ConfirmDeletion(args) => set::run_confirm_deletion(args, console).await,
        ArgocdCommand::Actions(command) => actions::run(command, console).await,
        ArgocdCommand::GetResource(args) => objects::run_get(args, console).await,
        ArgocdCommand::PatchResource(args) => objects::run_patch(args, console).await,
        ArgocdCommand::DeleteResource(args) => objects::run_delete(args, console).await,
        ArgocdCommand::Repo(command) => repo::run(command, console).await,
        ArgocdCommand::Cluster(command) => about::run_cluster(command, console).await,
        ArgocdCommand::Project(command) => about::run_project(command, console).await,
        ArgocdCommand::Whoami(args) => about::run_whoami(args, console).await,
        ArgocdCommand::CanI(args) => about::run_can_i(args, console).await,
        ArgocdCommand::Version(args) => about::run_version(args, console).await,
        ArgocdCommand::Absent(command) => Err(command.failure()),
    }
}
