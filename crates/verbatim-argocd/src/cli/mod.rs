//! The command line of the tool, used by `verbatim-argocd` and by `verbatim argocd` alike.
//!
//! The only place of this crate that reads the environment and files and knows exit statuses.

mod deploy;
mod failure;
mod get;
mod login;
mod server;
mod show;
mod values;
mod wait;

use clap::Subcommand;
use verbatim_console::{Console, ExitStatus, Failure};

pub use self::deploy::{DeployArgs, OverrideArgs};
pub use self::failure::{failure, status};
pub use self::get::GetArgs;
pub use self::login::LoginArgs;
pub use self::server::{AppArgs, ServerArgs};
pub use self::show::{hints, listener, steps};
pub use self::values::{ImageArgs, ValueArgs};
pub use self::wait::{ProveArgs, SyncArgs, WaitArgs};

/// Work with Argo CD applications
#[derive(Clone, Debug, Subcommand)]
pub enum ArgocdCommand {
    /// Obtain a token, or check one, and keep it
    Login(LoginArgs),
    /// Show an application and its overrides
    Get(GetArgs),
    /// Write values into an application, without a sync
    Override(OverrideArgs),
    /// Sync an application as it is, and wait for the operation
    Sync(SyncArgs),
    /// Wait until an application is synced and healthy
    Wait(WaitArgs),
    /// Prove which images an application runs
    Prove(ProveArgs),
    /// Write a digest, sync, wait, and prove that it runs
    Deploy(DeployArgs),
}

/// Runs a command of the tool.
///
/// # Errors
///
/// With the exit status that the pipeline should see.
pub async fn run(command: ArgocdCommand, console: &Console) -> Result<ExitStatus, Failure> {
    match command {
        ArgocdCommand::Login(args) => login::run(args, console).await,
        ArgocdCommand::Get(args) => get::run(args, console).await,
        ArgocdCommand::Override(args) => deploy::run_override(args, console).await,
        ArgocdCommand::Sync(args) => wait::run_sync(args, console).await,
        ArgocdCommand::Wait(args) => wait::run_wait(args, console).await,
        ArgocdCommand::Prove(args) => wait::run_prove(args, console).await,
        ArgocdCommand::Deploy(args) => deploy::run(args, console).await,
    }
}
