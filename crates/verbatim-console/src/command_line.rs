//! The command line of a process: an empty variable is none, and a wrong command line is told as it asks to be told.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Parser};

use crate::console::error_document;
use crate::{ExitStatus, Failure};

/// The variable that stands in for `--format`.
const FORMAT: &str = "VERBATIM_FORMAT";

/// Reads the command line. `kept` are the variables whose empty value is one, see [`without_empty_variables`].
///
/// # Errors
/// With the exit code of the process, if it has been told all that there is to tell: the help, the version, or what is wrong
/// with the command line. With `--format json` the latter is also a document on stdout.
pub fn parse<T: Parser>(kept: &[&str]) -> Result<T, ExitCode> {
    let mut command = without_empty_variables(T::command(), kept);
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let parsed = command.try_get_matches_from_mut(&arguments);
    let parsed = parsed.and_then(|mut matches| {
        T::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    parsed.map_err(|error| {
        // A reader that has gone away is no reason to end in another way.
        let _ = error.print();
        if error.exit_code() == 0 {
            return ExitCode::SUCCESS;
        }
        if wants_json(&arguments, std::env::var_os(FORMAT).as_deref()) {
            let failure = failure(&error);
            if let Ok(text) = error_document(&failure, Vec::new(), &[]) {
                let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes());
            }
        }
        ExitStatus::Usage.into()
    })
}

/// The command with every variable that is set to nothing taken for one that is not set: CI systems set a variable to nothing
/// where a secret or an output is absent. Those in `kept` are left to the command.
pub fn without_empty_variables(command: Command, kept: &[&str]) -> Command {
    let command = command.mut_args(|argument| {
        let is_empty = argument.get_env().is_some_and(|name| {
            let is_kept = kept.iter().any(|kept| name == OsStr::new(kept));
            !is_kept && std::env::var_os(name).is_some_and(|value| value.is_empty())
        });
        match is_empty {
            true => argument.env(None::<&'static str>),
            false => argument,
        }
    });
    command.mut_subcommands(|inner| without_empty_variables(inner, kept))
}

/// Whether the result was asked for as JSON, as far as that can be told of a command line that is wrong.
fn wants_json(arguments: &[OsString], variable: Option<&OsStr>) -> bool {
    let mut told = variable.filter(|value| !value.is_empty());
    let mut rest = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = rest.next() {
        match argument.to_str().and_then(|argument| argument.strip_prefix("--format")) {
            Some("") => told = rest.next().map(OsString::as_os_str).or(told),
            Some(value) => told = value.strip_prefix('=').map(OsStr::new).or(told),
            None => {}
        }
    }
    told == Some(OsStr::new("json"))
}

/// What is wrong with the command line, in the form of every other failure.
fn failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    // The first paragraph says what is wrong, the others how the command is to be used.
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let message = words.join(" ");
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing"
        }
        _ => message.strip_prefix("error: ").unwrap_or(&message),
    };
    let mut failure = Failure::usage(message.to_owned());
    for kind in
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
    {
        let suggested = match error.get(kind) {
            Some(ContextValue::String(one)) => vec![one.clone()],
            Some(ContextValue::Strings(several)) => several.clone(),
            _ => Vec::new(),
        };
        failure = suggested
            .into_iter()
            .fold(failure, |failure, it| failure.hint(format!("similar: {it}")));
    }
    failure.hint("--help shows how the command is used")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_wanted_even_by_a_wrong_command_line() {
        let cases: [(&[&str], Option<&str>, bool); 9] = [
            (&["x", "--format", "json", "--wrong"], None, true),
            (&["x", "--wrong", "--format=json"], None, true),
            (&["x", "--format", "human"], Some("json"), false),
            (&["x", "--formats", "json"], None, false),
            (&["x", "--", "--format", "json"], None, false),
            (&["x"], Some("json"), true),
            (&["x"], Some(""), false),
            (&["x", "--format"], Some("json"), true),
            (&["x", "--format", "json", "--format", "human"], None, false),
        ];
        for (arguments, variable, want) in cases {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            let got = wants_json(&arguments, variable.map(OsStr::new));
            assert_eq!(got, want, "{arguments:?} {variable:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_usage() {
        let named = |name: &'static str| Command::new(name);
        let command = || {
            named("x").arg(clap::arg!(--release <REF>).required(true)).subcommand(named("status"))
        };
        let cases: [(&[&str], &str, &[&str]); 3] = [
            (
                &["x", "--releas", "a"],
                "unexpected argument '--releas' found",
                &["similar: --release"],
            ),
            (&["x"], "the following required arguments were not provided: --release <REF>", &[]),
            (
                &["x", "--release", "a", "statu"],
                "unrecognized subcommand 'statu'",
                &["similar: status"],
            ),
        ];
        for (arguments, message, hints) in cases {
            let error = command().try_get_matches_from(arguments).unwrap_err();
            let report = failure(&error).report();
            assert_eq!((report.status, report.message.as_str()), (2, message), "{arguments:?}");
            let want = [hints, &["--help shows how the command is used"]].concat();
            assert_eq!(report.hints, want, "{arguments:?}");
        }
    }
}
