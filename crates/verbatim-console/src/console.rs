//! The console that a command is given.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::MultiProgress;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use verbatim_text::{fenced, tamed, tamed_json};

use crate::args::Terminal;
use crate::failure::FailureReport;
use crate::journal::{Journal, Step};
use crate::{ConsoleArgs, ExitStatus, Failure, Format, Progress, StepState, style};

/// The version of the JSON that commands print. It grows when a field goes or changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// Where a command prints. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Console(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    format: Format,
    quiet: bool,
    verbose: u8,
    color_stdout: bool,
    color_stderr: bool,
    interactive: bool,
    bars: MultiProgress,
    journal: Mutex<Journal>,
    alerts: Mutex<Vec<String>>,
    summary: Mutex<String>,
    interrupt: CancellationToken,
    tidying: AtomicUsize,
}

/// While this lives, an interrupt waits for the command, for a bounded time, instead of dropping it.
#[derive(Debug)]
pub struct TidyGuard(Arc<Inner>);

impl Console {
    pub(crate) fn new(args: &ConsoleArgs, terminal: &Terminal) -> Self {
        Self(Arc::new(Inner {
            format: args.format,
            quiet: args.quiet,
            verbose: args.verbose,
            color_stdout: args.color.wants_color(terminal.stdout_is_terminal, terminal),
            color_stderr: args.color.wants_color(terminal.stderr_is_terminal, terminal),
            interactive: terminal.is_interactive() && !args.quiet,
            bars: MultiProgress::new(),
            journal: Mutex::new(Journal::default()),
            alerts: Mutex::new(Vec::new()),
            summary: Mutex::new(String::new()),
            interrupt: CancellationToken::new(),
            tidying: AtomicUsize::new(0),
        }))
    }

    /// A console without messages and colours, for tests of code that needs one.
    pub fn silent() -> Self {
        let args = ConsoleArgs {
            format: Format::Human,
            color: crate::ColorChoice::Never,
            quiet: true,
            verbose: 0,
        };
        Self::new(&args, &Terminal::default())
    }

    /// Whether results are printed as JSON.
    pub fn is_json(&self) -> bool {
        self.0.format == Format::Json
    }

    /// Whether results are printed as Markdown.
    pub fn is_markdown(&self) -> bool {
        self.0.format == Format::Markdown
    }

    /// Whether a person watches, so that lines can be redrawn.
    pub fn is_interactive(&self) -> bool {
        self.0.interactive
    }

    /// The number of `-v` given.
    pub fn verbosity(&self) -> u8 {
        self.0.verbose
    }

    /// Prints the result of the command on stdout, once: its `Display` for people, in full (`{:#}`) with `-v`, or JSON with
    /// `schema_version`.
    ///
    /// # Errors
    /// If stdout cannot be written. A reader that has gone away is no error.
    pub fn result<T: Serialize + Display>(&self, outcome: &T) -> Result<(), Failure> {
        match self.0.format {
            Format::Human if self.verbosity() > 0 => self.data(format_args!("{outcome:#}")),
            Format::Human => self.data(outcome),
            Format::Json => self.json(outcome),
            Format::Markdown => self.data(fenced("text", &outcome.to_string())),
        }
    }

    /// Prints a value as JSON with `schema_version`, whatever the format.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn json<T: Serialize>(&self, outcome: &T) -> Result<(), Failure> {
        let alerts = self.0.alerts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text =
            document(outcome, &alerts).map_err(|error| Failure::new(ExitStatus::Defect, error))?;
        self.bytes(text.as_bytes())
    }

    /// Prints JSON that is somebody else's document, as it is but for how some of its characters are written.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn json_text(&self, json: &str) -> Result<(), Failure> {
        self.bytes(line_of(json).as_bytes())
    }

    /// Prints text on stdout, with a line end if it has none. What terminals and CI systems obey is taken from it.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn data(&self, text: impl Display) -> Result<(), Failure> {
        let mut text = tamed(&text.to_string(), self.0.color_stdout);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// Writes bytes to stdout as they are.
    ///
    /// # Errors
    /// If stdout cannot be written. A reader that has gone away (`| head`) is no error.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(ExitStatus::Unknown, error).context("cannot write to stdout"))
            }
            _ => Ok(()),
        }
    }

    /// Hands lines to the CI system that runs this, even with `--quiet`: it obeys them, so no word of somebody else may be in
    /// them unescaped.
    pub fn commands(&self, lines: &str) {
        self.0.bars.suspend(|| {
            let _ = write!(io::stderr().lock(), "{lines}");
        });
    }

    /// Prints a message on stderr, unless `--quiet`.
    pub fn status(&self, text: impl Display) {
        if !self.0.quiet {
            self.talk(&text.to_string());
        }
    }

    /// Prints a message on stderr if `--verbose`.
    pub fn detail(&self, text: impl Display) {
        if self.0.verbose > 0 {
            self.talk(&style::dim(text));
        }
    }

    /// Prints a warning on stderr, even with `--quiet`.
    pub fn warn(&self, text: impl Display) {
        self.talk(&format!("{}: {text}", style::attention("warning")));
    }

    /// Warns of what weakens all that the command does: as [`Console::warn`], and as one of the `alerts` of its JSON.
    pub fn alert(&self, text: impl Display) {
        let text = text.to_string();
        self.warn(&text);
        self.0.alerts.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    /// Keeps a paragraph of Markdown for the summary of the CI job, for whoever knows where that is.
    pub fn summarise(&self, markdown: &str) {
        let mut summary = self.0.summary.lock().unwrap_or_else(PoisonError::into_inner);
        summary.push_str(markdown.trim_end());
        summary.push_str("\n\n");
    }

    /// What was kept for the summary of the CI job since this was asked last.
    pub fn take_summary(&self) -> String {
        std::mem::take(&mut *self.0.summary.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks a person a question on the terminal, and waits for the answer. `None` if nobody can be asked: in a CI job, in a
    /// script, with `--quiet`.
    pub async fn confirm(&self, question: &str) -> Option<bool> {
        if !self.is_interactive() || !io::stdin().is_terminal() {
            return None;
        }
        self.talk(&format!("{question} [y/N]"));
        let read = || {
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).map(|_| answer)
        };
        // On another thread, so that an interrupt ends the command here.
        let answer = tokio::task::spawn_blocking(read).await.ok()?.ok()?;
        Some(is_yes(&answer))
    }

    /// Begins a progress line.
    pub fn progress(&self, label: impl Into<String>) -> Progress {
        Progress::start(self, label.into())
    }

    /// Announces the steps of the command, so that an interrupt can name those not done.
    pub fn plan_steps<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) {
        self.journal(|journal| journal.plan(names));
    }

    /// Notes how far a step has come.
    pub fn step(&self, name: &str, state: StepState) {
        self.journal(|journal| journal.set(name, state));
    }

    /// Notes how far a part of a step has come.
    pub fn step_within(&self, step: &str, name: &str, state: StepState) {
        self.journal(|journal| journal.set_within(step, name, state));
    }

    /// The token that the first Ctrl-C or SIGTERM cancels.
    pub fn interrupt(&self) -> &CancellationToken {
        &self.0.interrupt
    }

    /// Announces that the command has to clean up when interrupted. Without a guard an interrupt drops the command where
    /// it stands; with one the command has to watch [`Console::interrupt`] and end soon.
    #[must_use]
    pub fn tidy_guard(&self) -> TidyGuard {
        self.0.tidying.fetch_add(1, Ordering::SeqCst);
        TidyGuard(Arc::clone(&self.0))
    }

    pub(crate) fn is_tidying(&self) -> bool {
        self.0.tidying.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.0.bars
    }

    pub(crate) fn color_stderr(&self) -> bool {
        self.0.color_stderr
    }

    /// Prints a failure on stderr, and with `--format json` as a document on stdout too.
    pub(crate) fn failure(&self, failure: &Failure) {
        let report = failure.report();
        let mut text = format!("{}: {failure}", style::bad("error"));
        for cause in &report.causes {
            text.push_str(&format!("\n  caused by: {cause}"));
        }
        let cut_short = matches!(
            failure.status,
            ExitStatus::Interrupted | ExitStatus::Unknown | ExitStatus::Unreachable
        );
        let steps = self.journal(|journal| journal.steps().to_vec());
        if cut_short {
            for step in &steps {
                let indent = if step.within.is_some() { "    " } else { "  " };
                text.push_str(&format!("\n{indent}{}: {}", step.state.words(), step.name));
            }
        }
        for hint in &failure.hints {
            text.push_str(&format!("\n{}: {hint}", style::strong("hint")));
        }
        self.talk(&text);
        if self.is_json() {
            let alerts = self.0.alerts.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Ok(text) = error_document(failure, steps, &alerts) {
                // The failure itself decides how the process ends.
                let _ = self.bytes(text.as_bytes());
            }
        }
    }

    fn talk(&self, text: &str) {
        let text = tamed(text, self.0.color_stderr);
        // Redrawn lines make room; a closed stderr is no reason to fail.
        self.0.bars.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    fn journal<T>(&self, change: impl FnOnce(&mut Journal) -> T) -> T {
        // A panic while the journal was held cannot have left it half changed.
        change(&mut self.0.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether an answer says yes. Everything else, and nothing, is no.
fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

#[derive(Serialize)]
struct CutShort {
    #[serde(flatten)]
    report: FailureReport,
    steps: Vec<Step>,
}

impl Drop for TidyGuard {
    fn drop(&mut self) {
        self.0.tidying.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A value as the one JSON document of a command.
fn document<T: Serialize>(outcome: &T, alerts: &[String]) -> serde_json::Result<String> {
    let value = with_schema_version(outcome, alerts)?;
    serde_json::to_string_pretty(&value).map(|text| line_of(&text))
}

/// The document of a command that fails.
pub(crate) fn error_document(
    failure: &Failure,
    steps: Vec<Step>,
    alerts: &[String],
) -> serde_json::Result<String> {
    let report = failure.report();
    document(&serde_json::json!({ "error": CutShort { report, steps } }), alerts)
}

/// JSON as it is printed.
fn line_of(json: &str) -> String {
    format!("{}\n", tamed_json(json))
}

/// Puts `schema_version` into an object, or next to anything else under `result`; and `alerts`, if there are any.
fn with_schema_version<T: Serialize>(
    outcome: &T,
    alerts: &[String],
) -> serde_json::Result<serde_json::Value> {
    let mut value = match serde_json::to_value(outcome)? {
        serde_json::Value::Object(mut fields) => {
            fields.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
            serde_json::Value::Object(fields)
        }
        other => serde_json::json!({ "schema_version": SCHEMA_VERSION, "result": other }),
    };
    if !alerts.is_empty() {
        value["alerts"] = alerts.into();
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y", "Y\n", " yes \n", "YES"].iter().all(|answer| is_yes(answer)));
        assert!(["", "\n", "n", "no", "yes please", "j"].iter().all(|answer| !is_yes(answer)));
    }

    #[test]
    fn json_always_tells_its_version() {
        let object = with_schema_version(&serde_json::json!({"a": 1}), &[]).unwrap();
        assert_eq!(object, serde_json::json!({"a": 1, "schema_version": 1}));
        let list = with_schema_version(&["a"], &["b".to_owned()]).unwrap();
        let want = serde_json::json!({"result": ["a"], "schema_version": 1, "alerts": ["b"]});
        assert_eq!(list, want);
    }
}
