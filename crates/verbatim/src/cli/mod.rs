//! The command line: all commands, and which function runs each. Must not do what a command does.

mod deferred;

use clap::{CommandFactory as _, Parser, Subcommand};
use verbatim_console::{Console, ConsoleArgs, ExitStatus, Failure};

use self::deferred::Deferred;
use crate::commands;
pub use crate::commands::policy::{PolicyCommand, run as policy};
use crate::commands::summary::JobSummary;
pub use crate::project::KEPT_VARIABLES;
use crate::project::withheld;

const EXAMPLES: &str = "\
Examples:
  verbatim init dev=shop-dev          write the first verbatim.yaml
  verbatim build                      build and push the image, sign its origin
  verbatim promote staging --dry-run  show the plan and the gates' answers
  verbatim promote staging            move the digest, prove that it runs
  verbatim test staging               run the tests of staging, sign the result
  verbatim run --to staging           all of the above, stage by stage
  verbatim rollback production        go back to the last proven release
  verbatim restore production         undo changes that bypassed verbatim
  verbatim verify                     show the verified history of a release

Exit statuses:
  0 done, proven     1 the answer is no      2 bad command line or configuration
  3 unreachable      4 outcome unknown       5 conflict with another change
  6 superseded       7 denied or not found   70 a defect in verbatim
  130 interrupted";

/// Carry one tested image digest from environment to environment
///
/// verbatim builds the image once and moves its digest from one environment to the next by overriding parameters of
/// Argo CD applications. At every step it proves that what runs is what was tested, and signs a record of it. The
/// records live in the registry, next to the image.
#[derive(Debug, Parser)]
#[command(name = "verbatim", version = commands::version::long(), max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How to print.
    #[command(flatten)]
    pub console: ConsoleArgs,
}

// A comment on a variant would hide the one on its arguments, which is the help.
#[derive(Debug, Subcommand)]
enum Command {
    Init(commands::init::InitArgs),
    Build(commands::build::BuildArgs),
    Adopt(commands::adopt::AdoptArgs),
    Plan(commands::plan::PlanArgs),
    Promote(commands::promote::PromoteArgs),
    Apply(commands::apply::ApplyArgs),
    Rollback(commands::rollback::RollbackArgs),
    Restore(commands::restore::RestoreArgs),
    Test(commands::test::TestArgs),
    Run(commands::run::RunArgs),
    Approve(commands::approve::ApproveArgs),
    Veto(commands::veto::VetoArgs),
    Unveto(commands::veto::UnvetoArgs),
    Lock(commands::lock::LockArgs),
    Unlock(commands::lock::UnlockArgs),
    Status(commands::status::StatusArgs),
    History(commands::history::HistoryArgs),
    Verify(commands::verify::VerifyArgs),
    Record(commands::record::RecordArgs),
    Key(commands::key::KeyCommandArgs),
    Doctor(commands::doctor::DoctorArgs),
    Ci(commands::ci::CiArgs),
    Explain(commands::explain::ExplainArgs),
    /// Build and push images over the Docker Engine's API
    #[command(subcommand)]
    Image(Deferred<verbatim_image::cli::ImageCommand>),
    /// Query registries: digests, manifests, tags, referrers
    #[command(subcommand)]
    Registry(Deferred<verbatim_registry::cli::RegistryCommand>),
    /// Override, sync and prove Argo CD applications
    #[command(subcommand)]
    Argocd(Deferred<verbatim_argocd::cli::ArgocdCommand>),
    /// Check, explain, test and push the policy of a project
    #[command(subcommand)]
    Policy(Deferred<PolicyCommand>),
    Completions(commands::completions::CompletionsArgs),
    Version(commands::version::VersionArgs),
    /// Print the JSON Schema of verbatim.yaml
    #[command(hide = true)]
    Schema,
}

impl Command {
    /// What the summary of the CI job calls it, if it is a stage of a pipeline.
    fn stage(&self) -> Option<String> {
        Some(match self {
            Self::Build(_) => "build".to_owned(),
            Self::Adopt(_) => "adopt".to_owned(),
            Self::Apply(_) => "apply".to_owned(),
            Self::Run(_) => "run".to_owned(),
            Self::Promote(args) => format!("promote {}", args.environment),
            Self::Rollback(args) => format!("rollback {}", args.environment),
            Self::Restore(args) => format!("restore {}", args.environment),
            Self::Test(args) => format!("test {}", args.environment),
            _ => return None,
        })
    }
}

impl Cli {
    /// Keeps secrets from the tests that this command line may run. The process may begin anew in the course of this.
    ///
    /// # Errors
    /// If it cannot.
    pub fn withhold_secrets(&self) -> std::io::Result<()> {
        if matches!(self.command, Command::Test(_) | Command::Run(_)) {
            withheld::begin()?;
        }
        withheld::hide_memory();
        Ok(())
    }

    /// Runs the command.
    ///
    /// # Errors
    /// What the command fails with.
    pub async fn run(self, console: Console) -> Result<ExitStatus, Failure> {
        let summary = self.command.stage().map(|stage| JobSummary::of(stage, &console));
        let ended = self.carry_out(console).await;
        if let Some(summary) = summary {
            summary.ended(&ended);
        }
        ended
    }

    async fn carry_out(self, console: Console) -> Result<ExitStatus, Failure> {
        match self.command {
            Command::Init(args) => commands::init::run(args, &console).await,
            Command::Adopt(args) => commands::adopt::run(args, &console).await,
            Command::Build(args) => commands::build::run(args, &console).await,
            Command::Plan(args) => commands::plan::run(args, &console).await,
            Command::Apply(args) => commands::apply::run(args, &console).await,
            Command::Promote(args) => commands::promote::run(args, &console).await,
            Command::Rollback(args) => commands::rollback::run(args, &console).await,
            Command::Restore(args) => commands::restore::run(args, &console).await,
            Command::Test(args) => commands::test::run(args, &console).await,
            Command::Run(args) => commands::run::run(args, &console).await,
            Command::Approve(args) => commands::approve::run(args, &console).await,
            Command::Veto(args) => commands::veto::veto(args, &console).await,
            Command::Unveto(args) => commands::veto::unveto(args, &console).await,
            Command::Lock(args) => commands::lock::lock(args, &console).await,
            Command::Unlock(args) => commands::lock::unlock(args, &console).await,
            Command::Status(args) => commands::status::run(args, &console).await,
            Command::History(args) => commands::history::run(args, &console).await,
            Command::Verify(args) => commands::verify::run(args, &console).await,
            Command::Record(args) => commands::record::run(args, &console).await,
            Command::Key(args) => commands::key::run(args, &console).await,
            Command::Doctor(args) => commands::doctor::run(args, &console).await,
            Command::Ci(args) => commands::ci::run(&args, &console).await,
            Command::Explain(args) => commands::explain::run(&args, &console),
            Command::Image(command) => verbatim_image::cli::run(*command.0, &console).await,
            Command::Registry(command) => verbatim_registry::cli::run(*command.0, &console).await,
            Command::Argocd(command) => verbatim_argocd::cli::run(*command.0, &console).await,
            Command::Policy(command) => policy(*command.0, &console).await,
            Command::Completions(args) => commands::completions::run(&args, command(), &console),
            Command::Version(args) => commands::version::run(&args, &console),
            Command::Schema => console.data(crate::config::schema()).map(|()| ExitStatus::Done),
        }
    }
}

/// The whole command line, for completions and documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }

    /// Examples are to be pasted, so a terminal of 80 columns must not break them.
    #[test]
    fn examples_fit_80_columns() {
        let mut whole = super::command();
        whole.build();
        let mut rest: Vec<&clap::Command> = vec![&whole];
        let mut too_long = Vec::new();
        while let Some(command) = rest.pop() {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = examples.lines().filter(|line| line.chars().count() > 80);
            too_long.extend(lines.map(|line| format!("{}: {line}", command.get_name())));
            rest.extend(command.get_subcommands());
        }
        assert!(too_long.is_empty(), "{too_long:#?}");
    }
}
