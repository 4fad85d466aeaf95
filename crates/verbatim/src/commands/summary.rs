//! The summary of the CI job: how each of its commands ended, where the CI shows that.

use std::fmt::Write as _;

use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_text::{code, fenced, markdown};

use crate::project;
use crate::release::handoff;

/// Writes how a command ended, also if it is dropped before.
pub(crate) struct JobSummary {
    command: String,
    console: Console,
    is_written: bool,
}

impl JobSummary {
    /// Of a command that begins.
    pub(crate) fn of(command: String, console: &Console) -> Self {
        Self { command, console: console.clone(), is_written: false }
    }

    /// The command has ended.
    pub(crate) fn ended(mut self, ended: &Result<ExitStatus, Failure>) {
        match ended {
            Ok(status) => self.write(|command| done(command, *status)),
            Err(failure) => self.write(|command| failed(command, failure)),
        }
    }

    /// Writes what the command has kept; with `end`, if it has kept nothing or has failed.
    fn write(&mut self, end: impl FnOnce(&str) -> (String, bool)) {
        self.is_written = true;
        let mut text = self.console.take_summary();
        let (end, is_always) = end(&self.command);
        if is_always || text.is_empty() {
            text.push_str(&end);
        }
        if let Err(error) = handoff::summarise(&text, &project::ci(&project::variables())) {
            self.console.warn(error.to_string());
        }
    }
}

impl Drop for JobSummary {
    fn drop(&mut self) {
        if !self.is_written {
            self.write(|command| failed(command, &Failure::interrupted()));
        }
    }
}

/// A heading with a block of text.
pub(super) fn paragraph(heading: &str, text: &str) -> String {
    format!("### {heading}\n\n{}", fenced("text", text))
}

fn done(command: &str, status: ExitStatus) -> (String, bool) {
    let command = code(&format_args!("verbatim {command}"));
    (format!("### {command}: {} ({})\n\n", status.name(), status.code()), false)
}

/// What went wrong comes first.
fn failed(command: &str, failure: &Failure) -> (String, bool) {
    let command = code(&format_args!("verbatim {command}"));
    let (status, report) = (failure.status, failure.report());
    let mut text = format!("### {command}: {} ({})\n\n", status.name(), status.code());
    let _ = writeln!(text, "**{}**\n", markdown(&report.message));
    for cause in &report.causes {
        let _ = writeln!(text, "- caused by: {}", markdown(cause));
    }
    for hint in &report.hints {
        let _ = writeln!(text, "- hint: {}", code(hint));
    }
    text.push('\n');
    (text, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_without_obeying_its_words() {
        let failure = Failure::new(ExitStatus::Refused, "no <b>such</b> thing @all")
            .context("cannot look\n::error::x")
            .hint("run `this`");
        let (text, _) = failed("promote dev", &failure);
        let want = "### `verbatim promote dev`: refused (7)\n\n\
            **cannot look\\\\n:<!-- -->:<!-- -->error:<!-- -->:<!-- -->x**\n\n\
            - caused by: no \\<b\\>such\\</b\\> thing @<!-- -->all\n\
            - hint: `` run `this` ``\n\n";
        assert_eq!(text, want);
    }
}
