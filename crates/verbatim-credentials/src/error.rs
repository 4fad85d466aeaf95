//! Why a credential cannot be read: which file, which key, and what is wrong there.
//!
//! Messages of parsers quote their input, and the input here holds secrets: only the position is kept.

use std::fmt;
use std::io;
use std::time::Duration;

/// A credential cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the credentials in {place}")]
pub struct Error {
    pub(crate) place: String,
    #[source]
    pub(crate) kind: ErrorKind,
}

impl Error {
    pub(crate) fn new(place: impl fmt::Display, kind: ErrorKind) -> Self {
        Self { place: place.to_string(), kind }
    }

    /// The file, the variable or the helper, and the key in it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether nobody can have a login from there, now or later: what names it is wrong, or its helper is not installed. A
    /// helper that fails may have one.
    pub fn is_never_there(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Auth | ErrorKind::HelperName(_) | ErrorKind::HelperMissing(_)
        )
    }

    /// What is wrong there.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// What is wrong with a source of credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file cannot be opened, read or written.
    #[error(transparent)]
    Io(io::Error),
    /// The text is not JSON, or not YAML.
    #[error("not {format}{position}")]
    Syntax {
        /// The format that was expected.
        format: &'static str,
        /// Where it breaks.
        position: Position,
    },
    /// The text is well formed but holds something unexpected.
    #[error("unexpected value{0}")]
    Shape(Position),
    /// `auth` is not the base64 form of `name:password`.
    #[error("`auth` is not the base64 form of `name:password`")]
    Auth,
    /// Other users can access the file.
    #[error("other users may access the file (mode {0:04o}), want 0600")]
    Permissions(u32),
    /// The file has a version that is not supported.
    #[error("version {0} of this file is not supported")]
    Version(u64),
    /// The name of a helper would be a path.
    #[error("`{0}` is not the name of a credential helper")]
    HelperName(String),
    /// The helper is not installed.
    #[error("`docker-credential-{0}` is not in the PATH")]
    HelperMissing(String),
    /// The helper did not answer in time.
    #[error("`docker-credential-{name}` did not answer within {} s", .deadline.as_secs())]
    HelperTimeout {
        /// The helper's name.
        name: String,
        /// The time limit.
        deadline: Duration,
    },
    /// The helper failed.
    #[error("`docker-credential-{name}` failed: {message}")]
    HelperFailed {
        /// The helper's name.
        name: String,
        /// The first line of its output.
        message: String,
    },
    /// The helper's answer is not a credential.
    #[error("`docker-credential-{0}` did not answer with a credential")]
    HelperAnswer(String),
}

/// A place in a text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line; 0 if it is not known.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => Ok(()),
            line => write!(f, " at line {line}, column {}", self.column),
        }
    }
}

impl From<serde_json::Error> for ErrorKind {
    fn from(error: serde_json::Error) -> Self {
        let position = Position { line: error.line() as u64, column: error.column() as u64 };
        match error.classify() {
            serde_json::error::Category::Data => Self::Shape(position),
            _ => Self::Syntax { format: "JSON", position },
        }
    }
}
