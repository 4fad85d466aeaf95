//! `verbatim completions`.

use clap::Args;
use clap_complete::Shell;
use verbatim_console::{Console, ExitStatus, Failure};

const EXAMPLES: &str = "\
Examples:
  verbatim completions bash > /etc/bash_completion.d/verbatim
  verbatim completions zsh > ~/.zfunc/_verbatim
  verbatim completions fish > ~/.config/fish/completions/verbatim.fish";

/// Print shell completions
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Runs the command; `whole` is the whole command line.
pub(crate) fn run(
    args: &CompletionsArgs,
    mut whole: clap::Command,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut whole, "verbatim", &mut text);
    console.bytes(&text)?;
    Ok(ExitStatus::Done)
}
