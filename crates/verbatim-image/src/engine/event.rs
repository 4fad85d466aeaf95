//! What happens while an image is built or pushed, as data. How it is shown is decided elsewhere.

use std::path::PathBuf;

use super::Builder;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// The build begins.
    Started {
        /// The engine, as it calls itself.
        engine: String,
        /// What builds.
        builder: Builder,
    },
    /// How much of the context was sent so far.
    Sending {
        /// Files, directories and links.
        files: u64,
        /// Bytes of the archive.
        bytes: u64,
    },
    /// All of the context was sent.
    Sent {
        /// Files, directories and links.
        files: u64,
        /// Bytes of the archive.
        bytes: u64,
    },
    /// A file that was not sent, because no archive can hold it.
    Skipped(PathBuf),
    /// A step begins.
    Step(String),
    /// A step was not done anew.
    Cached(String),
    /// A line that a step printed.
    Output(String),
    /// How far a layer is that is pulled or pushed.
    Layer {
        /// The layer.
        id: String,
        /// What is done with it, in the engine's words.
        status: String,
        /// Bytes done, if known.
        current: Option<u64>,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// Something that the engine, or this crate, wants to be known.
    Warning(String),
}
