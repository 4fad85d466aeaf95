//! Subcommands that are described to the parser only when they are asked for.
//!
//! Each tool has dozens of commands and hundreds of options. To build them all takes longer than everything else that a
//! short command does.

use clap::{ArgMatches, Command, Error, FromArgMatches, Subcommand};

use crate::project::KEPT_VARIABLES;

/// The commands of a tool, see [`Command::defer`]. The help of whatever holds them has to be written there.
#[derive(Clone, Debug)]
pub(crate) struct Deferred<T>(pub Box<T>);

impl<T: FromArgMatches> FromArgMatches for Deferred<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(|inner| Self(Box::new(inner)))
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(|inner| Self(Box::new(inner)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }

    fn update_from_arg_matches_mut(&mut self, matches: &mut ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches_mut(matches)
    }
}

impl<T: Subcommand> Subcommand for Deferred<T> {
    fn augment_subcommands(command: Command) -> Command {
        command.defer(|command| keeping_about(command, T::augment_subcommands))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        command.defer(|command| keeping_about(command, T::augment_subcommands_for_update))
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

/// What the tool says of itself when it is a binary of its own must not win over what is said of it here.
fn keeping_about(command: Command, augment: fn(Command) -> Command) -> Command {
    let (about, long) = (command.get_about().cloned(), command.get_long_about().cloned());
    let mut command = verbatim_console::without_empty_variables(augment(command), KEPT_VARIABLES);
    if let Some(about) = about {
        command = command.about(about).long_about(None);
    }
    match long {
        Some(long) => command.long_about(long),
        None => command,
    }
}
