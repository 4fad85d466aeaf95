//! The options that every tool shares.

use clap::{Args, ValueEnum};

/// How results and messages are printed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct ConsoleArgs {
    /// Print results as text, JSON or Markdown
    #[arg(long, value_enum, global = true, env = "VERBATIM_FORMAT", hide_env = true, default_value_t = Format::Human, value_name = "FORMAT")]
    pub format: Format,

    /// When to use colours
    #[arg(long, value_enum, global = true, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,

    /// Print no progress or status messages
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// More detail; -vv logs requests, -vvv also libraries
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    Human,
    /// One JSON document, with `schema_version`.
    Json,
    /// Markdown, for a pull request comment or a job summary.
    Markdown,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terminal {
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub(crate) no_color: bool,
    /// `CLICOLOR_FORCE` is set and not `0` (bixense.com/clicolors).
    pub(crate) force_color: bool,
    /// `CI` is set: nobody watches a terminal there.
    pub(crate) ci: bool,
    pub(crate) dumb: bool,
}

impl ColorChoice {
    pub(crate) fn wants_color(self, is_terminal: bool, terminal: &Terminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                terminal.force_color || (is_terminal && !terminal.no_color && !terminal.dumb)
            }
        }
    }
}

impl Terminal {
    /// Whether lines may be redrawn on stderr.
    pub(crate) fn is_interactive(&self) -> bool {
        self.stderr_is_terminal && !self.ci && !self.dumb
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_choice_environment_and_terminal() {
        let plain = Terminal::default();
        let no_color = Terminal { no_color: true, ..plain };
        let forced = Terminal { force_color: true, ..plain };
        let dumb = Terminal { dumb: true, ..plain };
        let cases = [
            (ColorChoice::Auto, true, plain, true),
            (ColorChoice::Auto, false, plain, false),
            (ColorChoice::Auto, true, no_color, false),
            (ColorChoice::Auto, true, dumb, false),
            (ColorChoice::Auto, false, forced, true),
            (ColorChoice::Always, false, no_color, true),
            (ColorChoice::Never, true, forced, false),
        ];
        for (choice, is_terminal, terminal, want) in cases {
            assert_eq!(
                choice.wants_color(is_terminal, &terminal),
                want,
                "{choice:?} {is_terminal} {terminal:?}"
            );
        }
    }
}
