//! The command line of the tool, used by `verbatim-argocd` and by `verbatim argocd` alike.
//!
//! The only folder that reads the environment and files, and knows exit statuses.

mod absent;
mod deploy;
mod look;
mod setup;
mod shared;

use clap::Subcommand;
use verbatim_console::{Console, ExitStatus, Failure};

pub use self::absent::AbsentCommand;
pub use self::deploy::release::{DeployArgs, OverrideArgs, UnsetArgs};
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
pub use self::look::overrides::OverridesArgs;
pub use self::setup::about::{
    CanIArgs, CatalogArgs, ClusterCommand, ClusterOutput, ProjectCommand, ProjectOutput,
    VersionArgs, WhoamiArgs,
};
pub use self::setup::create::{CreateArgs, DeleteArgs};
pub use self::setup::login::LoginArgs;
pub use self::setup::repo::{RepoAddArgs, RepoCommand, RepoListArgs, RepoRmArgs};
pub use self::shared::apps::{AppsArgs, FilterArgs};
pub use self::shared::failure::{failure, status};
pub use self::shared::job::job_identity;
pub use self::shared::server::{AppArgs, ServerArgs};
pub use self::shared::show::{hints, listener, listener_within, steps};
pub use self::shared::values::{ImageArgs, SourceArgs, ValueArgs};

/// Work with Argo CD applications
#[derive(Clone, Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a comment on a variant would hide the one on its arguments, which is the help"
)]
pub enum ArgocdCommand {
    Login(LoginArgs),
    List(ListArgs),
    Get(GetArgs),
    Diff(DiffArgs),
    Manifests(ManifestsArgs),
    Resources(ResourcesArgs),
    Images(ImagesArgs),
    Overrides(OverridesArgs),
    History(HistoryArgs),
    Events(EventsArgs),
    Logs(LogsArgs),
    Override(Box<OverrideArgs>),
    Unset(UnsetArgs),
    Set(SetArgs),
    Patch(PatchArgs),
    Sync(SyncArgs),
    Wait(WaitArgs),
    #[command(visible_alias = "terminate-op")]
    Terminate(TerminateArgs),
    Rollback(RollbackArgs),
    Prove(ProveArgs),
    Deploy(DeployArgs),
    Create(Box<CreateArgs>),
    Delete(DeleteArgs),
    ConfirmDeletion(ConfirmDeletionArgs),
    /// List and run actions of objects
    #[command(subcommand)]
    Actions(ActionsCommand),
    GetResource(GetResourceArgs),
    PatchResource(PatchResourceArgs),
    DeleteResource(DeleteResourceArgs),
    /// List, add and remove repositories
    #[command(subcommand)]
    Repo(RepoCommand),
    /// List clusters
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// List projects
    #[command(subcommand, visible_alias = "proj")]
    Project(ProjectCommand),
    Whoami(WhoamiArgs),
    CanI(CanIArgs),
    Version(VersionArgs),
    /// Other commands of argocd.
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
        ArgocdCommand::Overrides(args) => look::overrides::run(args, console).await,
        ArgocdCommand::History(args) => look::history::run(args, console).await,
        ArgocdCommand::Events(args) => look::events::run(args, console).await,
        ArgocdCommand::Logs(args) => look::logs::run(args, console).await,
        ArgocdCommand::Override(args) => deploy::release::run_override(*args, console).await,
        ArgocdCommand::Unset(args) => deploy::release::run_unset(args, console).await,
        ArgocdCommand::Set(args) => deploy::set::run(args, console).await,
        ArgocdCommand::Patch(args) => deploy::set::run_patch(args, console).await,
        ArgocdCommand::Terminate(args) => deploy::wait::run_terminate(args, console).await,
        ArgocdCommand::Rollback(args) => deploy::rollback::run(args, console).await,
        ArgocdCommand::Sync(args) => deploy::wait::run_sync(args, console).await,
        ArgocdCommand::Wait(args) => deploy::wait::run_wait(args, console).await,
        ArgocdCommand::Prove(args) => deploy::wait::run_prove(args, console).await,
        ArgocdCommand::Deploy(args) => deploy::release::run(args, console).await,
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
