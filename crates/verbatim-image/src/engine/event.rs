//! Events of builds and pushes, as data. `cli/progress.rs` shows them.

use std::path::PathBuf;

use bollard::models::ProgressDetail;

use super::Builder;

/// An event of a build or a push.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// The build begins.
    Started {
        /// The name and version that the engine reports.
        engine: String,
        /// The builder.
        builder: Builder,
    },
    /// The progress of sending the context.
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
    /// A file that was not sent, because an archive cannot hold it.
    Skipped(PathBuf),
    /// A step begins.
    Step(String),
    /// A step that the cache answered.
    Cached(String),
    /// A line that a step printed.
    Output(String),
    /// The progress of a layer that is pulled or pushed.
    Layer {
        /// The layer.
        id: String,
        /// Its status, in the engine's words.
        status: String,
        /// Bytes done, if known.
        current: Option<u64>,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// A warning from the engine or from this crate.
    Warning(String),
}

impl EngineEvent {
    pub(crate) fn layer(id: String, status: String, detail: Option<ProgressDetail>) -> Self {
        let detail = detail.unwrap_or_default();
        let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let total = bytes(detail.total).filter(|&total| total > 0);
        Self::Layer { id, status, current: bytes(detail.current), total }
    }
}
