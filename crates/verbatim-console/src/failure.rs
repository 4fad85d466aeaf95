//! Failures: an error, the exit status that it leads to, and what to do next.

use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::ExitStatus;

/// Why a command failed. Made at the edge, from a library's error.
#[derive(Debug)]
pub struct Failure {
    /// The exit status of the process.
    pub status: ExitStatus,
    /// What went wrong and where, with its causes.
    pub error: Box<dyn Error + Send + Sync>,
    /// What to do next, each a sentence or a command to type.
    pub hints: Vec<String>,
}

/// A failure as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureReport {
    /// The exit status as a number.
    pub status: u8,
    /// The same as a word.
    pub kind: &'static str,
    /// What went wrong, where.
    pub message: String,
    /// The causes, outermost first.
    pub causes: Vec<String>,
    /// What to do next.
    pub hints: Vec<String>,
}

impl Failure {
    /// The failure as JSON: the document of a command that fails, or a part of a result.
    pub fn report(&self) -> FailureReport {
        FailureReport {
            status: self.status.code(),
            kind: self.status.name(),
            message: self.to_string(),
            causes: self.causes(),
            hints: self.hints.clone(),
        }
    }

    /// A failure from an error or a message.
    pub fn new(status: ExitStatus, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { status, error: error.into(), hints: Vec::new() }
    }

    /// A wrong command line or configuration.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitStatus::Usage, error)
    }

    /// The failure of an interrupted command. Every command can be run again: it finds what it began, and continues from
    /// there.
    pub fn interrupted() -> Self {
        Self::new(ExitStatus::Interrupted, "interrupted").hint("run the same command again")
    }

    /// Adds what to do next: a sentence or a command to type.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Puts a message in front; the error so far becomes its cause.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        self.error = Box::new(Context { message: message.into(), source: self.error });
        self
    }

    /// The error with its causes, on one line.
    pub fn whole(&self) -> String {
        let texts: Vec<String> = std::iter::once(self.to_string()).chain(self.causes()).collect();
        texts.join(": ")
    }

    /// The texts of the causes, outermost first, without those that tell a reader nothing: text that the one before
    /// contains already, and the layers of the HTTP stack between "no answer" and the operating system.
    pub fn causes(&self) -> Vec<String> {
        const STACK: [&str; 4] =
            ["error sending request", "client error (", "tcp connect error", "connection error"];
        let mut last = self.error.to_string();
        let mut causes = Vec::new();
        let mut source = self.error.source();
        while let Some(error) = source {
            let text = error.to_string();
            source = error.source();
            let is_layer = source.is_some() && STACK.iter().any(|layer| text.starts_with(layer));
            if !is_layer && !last.contains(&text) {
                causes.push(text.clone());
                last = text;
            }
        }
        causes
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

#[derive(Debug)]
struct Context {
    message: String,
    source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Context {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(texts: &[&str]) -> Failure {
        let mut texts = texts.iter().rev();
        let innermost = texts.next().copied().unwrap_or_default();
        let mut failure = Failure::new(ExitStatus::Unreachable, innermost);
        for text in texts {
            failure = failure.context(*text);
        }
        failure
    }

    #[test]
    fn causes_leave_out_what_adds_nothing() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["no answer"], &[]),
            (
                &["no answer from x", "error sending request", "client error (Connect)", "refused"],
                &["refused"],
            ),
            (&["cannot read x: no such file", "no such file"], &[]),
            (&["a", "error sending request"], &["error sending request"]),
        ];
        for (texts, want) in cases {
            assert_eq!(chain(texts).causes(), want, "{texts:?}");
            assert_eq!(chain(texts).whole(), [&texts[..1], want].concat().join(": "));
        }
    }
}
