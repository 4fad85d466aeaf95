//! Why an image cannot be built or pushed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use verbatim_oci::{Digest, Reference};

use crate::context::ContextError;

/// An action that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct Error {
    pub(crate) action: String,
    #[source]
    pub(crate) kind: Box<ErrorKind>,
}

impl Error {
    pub(crate) fn new(action: impl Into<String>, kind: ErrorKind) -> Self {
        Self { action: action.into(), kind: Box::new(kind) }
    }

    /// The action, and its object.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Why an action failed.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The build context cannot be sent.
    #[error(transparent)]
    Context(ContextError),
    /// A file that says how to reach the engine cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The address of the engine, or a Docker context, cannot be used.
    #[error("{0}")]
    Endpoint(String),
    /// The engine does not answer.
    #[error("the engine at {endpoint} does not answer")]
    Unreachable {
        /// Its address.
        endpoint: String,
        /// Why, as far as known.
        #[source]
        source: Cause,
    },
    /// This user has no permission to use the socket of the engine.
    #[error("no permission to use the engine at {endpoint}")]
    Permission {
        /// Its address.
        endpoint: String,
    },
    /// The server is not a Docker Engine, or breaks its API.
    #[error("{endpoint} is not a Docker Engine")]
    Protocol {
        /// Its address.
        endpoint: String,
        /// What is wrong.
        #[source]
        source: Cause,
    },
    /// BuildKit was requested, but this engine has none.
    #[error("{version} has no BuildKit")]
    NoBuildKit {
        /// The engine's version.
        version: String,
    },
    /// The engine refused the request, or failed at it.
    #[error("the engine {} (status {status}): {message}", if *status < 500 { "refused" } else { "failed" })]
    Engine {
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// A step of the build failed: a command exited with an error, or a file to copy does not exist.
    #[error("{}", step_words(step.as_deref(), message, output))]
    Step {
        /// The step as the engine names it.
        step: Option<String>,
        /// The engine's words.
        message: String,
        /// The last lines that the step printed.
        output: Vec<String>,
    },
    /// The Dockerfile cannot be parsed, or does not fit the options.
    #[error("the Dockerfile or an option of the build is wrong: {message}")]
    Dockerfile {
        /// The engine's words.
        message: String,
    },
    /// The engine failed, for example without disk space.
    #[error("the engine failed: {message}")]
    Failed {
        /// Its words.
        message: String,
    },
    /// A registry refused the engine.
    #[error("the registry refused: {message}")]
    RegistryRefused {
        /// The engine's words.
        message: String,
    },
    /// The engine cannot reach a registry.
    #[error("the engine cannot reach the registry: {message}")]
    RegistryUnreachable {
        /// The engine's words.
        message: String,
    },
    /// The engine's answer ended without an expected value.
    #[error("the engine's answer ended without the {0}")]
    Incomplete(&'static str),
    /// The image to push is not in the engine.
    #[error("the engine has no image `{0}`")]
    NoImage(Reference),
    /// The tag names another image already.
    #[error("the tag already points to another image, {existing}")]
    TagTaken {
        /// What the tag points to.
        existing: Digest,
    },
    /// The tag in the registry has another digest than the engine pushed.
    #[error("the engine pushed {pushed}, but the registry now holds {found} under the tag")]
    Mismatch {
        /// From the engine's status line.
        pushed: Digest,
        /// The hash of the manifest that was read back.
        found: Digest,
    },
    /// The tag is gone right after the push.
    #[error("the engine pushed {pushed}, but the registry holds nothing under the tag")]
    Vanished {
        /// From the engine's status line.
        pushed: Digest,
    },
    /// The time is up, and the state of the push is unknown.
    #[error("not finished after {}; {state}", duration_words(*.after))]
    PushUnfinished {
        /// The time limit.
        after: Duration,
        /// The state of the tag now.
        state: TagState,
    },
    /// The engine was silent for too long, and the state of the push is unknown.
    #[error("the engine reported nothing for {}; {state}", duration_words(*.after))]
    PushSilent {
        /// How long it was silent.
        after: Duration,
        /// The state of the tag now.
        state: TagState,
    },
    /// The engine was silent for too long.
    #[error("the engine reported nothing for {}{}", duration_words(*.after), last_step_words(step.as_deref()))]
    Silent {
        /// How long it was silent.
        after: Duration,
        /// The last step that it reported.
        step: Option<String>,
    },
    /// The time is up.
    #[error("not finished after {}", duration_words(*.after))]
    Deadline {
        /// The time limit.
        after: Duration,
    },
    /// A credential cannot be read.
    #[error("cannot get credentials for {registry}")]
    Credential {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: verbatim_credentials::Error,
    },
    /// verbatim itself cannot read from the registry.
    #[error("cannot read from the registry")]
    Registry(#[from] verbatim_registry::Error),
    /// The image configuration in the registry is malformed.
    #[error("the image's configuration is malformed")]
    ImageConfig(#[source] Cause),
}

/// The state of a tag after an unfinished push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagState {
    /// There is no such tag.
    Absent,
    /// It points to this digest.
    Names(Digest),
    /// The state is unknown.
    Unknown,
}

impl fmt::Display for TagState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the tag does not exist, and the pushed layers are unused"),
            Self::Names(digest) => write!(f, "the tag points to {digest}"),
            Self::Unknown => f.write_str("cannot find out what the tag points to"),
        }
    }
}

/// The cause of an error, in the words of the library.
#[derive(Debug)]
pub struct Cause(Box<dyn std::error::Error + Send + Sync>);

impl Cause {
    pub(crate) fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

fn step_words(step: Option<&str>, message: &str, output: &[String]) -> String {
    let mut words = match step {
        Some(step) => format!("the step `{step}` failed: {message}"),
        None => format!("the build failed: {message}"),
    };
    for line in output {
        words.push_str("\n    | ");
        words.push_str(line);
    }
    words
}

fn last_step_words(step: Option<&str>) -> String {
    step.map(|step| format!("; the last step is `{step}`")).unwrap_or_default()
}

/// A duration for people: `15 min`, `90 s`, `1.5 s`.
pub(crate) fn duration_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() == 0 && seconds >= 120 && seconds.is_multiple_of(60) {
        format!("{} min", seconds / 60)
    } else if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
