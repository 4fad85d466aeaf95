//! A command with everything that the console gives it: try `--format json`, `-q`, `-v`, Ctrl-C, and `greet nobody`.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;
use verbatim_console::{ConsoleArgs, ExitStatus, Failure, StepState};

/// Greets somebody, slowly.
#[derive(Parser)]
struct Args {
    /// Whom to greet
    #[arg(default_value = "world")]
    name: String,
    #[command(flatten)]
    console: ConsoleArgs,
}

#[derive(Serialize)]
struct Greeting {
    name: String,
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hello, {}", self.name)
    }
}

fn main() -> ExitCode {
    let Args { name, console } = Args::parse();
    verbatim_console::main(&console, |console| async move {
        console.plan_steps(["think", "greet"]);
        console.step("think", StepState::UnderWay);
        let progress = console.progress("thinking");
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(progress);
        console.step("think", StepState::Done);
        console.detail("one second is enough");
        if name == "nobody" {
            let failure = Failure::new(ExitStatus::No, "there is nobody to greet");
            return Err(failure.hint("name somebody: `greet world`"));
        }
        console.result(&Greeting { name })?;
        Ok(ExitStatus::Done)
    })
}
