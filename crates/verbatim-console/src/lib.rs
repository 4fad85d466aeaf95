//! The only crate that prints.
//!
//! Everything that touches the terminal or the exit status of the process is here: results on stdout, messages on stderr,
//! progress, failures with their causes and hints, signals, panics, log set-up. A command gets a [`Console`] and returns
//! an [`ExitStatus`] or a [`Failure`]; it never prints by itself.
//!
//! Nothing that knows an image, a registry or an application may come in here.

mod args;
mod command_line;
mod console;
mod exit;
mod failure;
mod journal;
mod log;
mod progress;
mod run;
pub mod style;
mod table;

pub use crate::args::{ColorChoice, ConsoleArgs, Format};
pub use crate::command_line::{parse, without_empty_variables};
pub use crate::console::{Console, TidyGuard};
pub use crate::exit::ExitStatus;
pub use crate::failure::{Failure, FailureReport};
pub use crate::journal::{Step, StepState};
pub use crate::progress::Progress;
pub use crate::run::main;
pub use crate::table::Table;
