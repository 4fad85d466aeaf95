//! Builds images on a Docker Engine and pushes them, and the tool `verbatim-image` on top of it.
//!
//! [`build`] sends a directory, streamed and the same on every machine, and reads the engine's whole answer; [`push`] lets
//! the engine push and reads the manifest back from the registry, so a digest is always the hash of bytes that were
//! read. [`template`] is pure.
//!
//! It does not know where an image goes next, who may deploy it, or what git knows about its source. Types of bollard,
//! the engine's client library, stay inside.

mod build;
#[expect(
    missing_docs,
    reason = "comments here are help, and groups have theirs where they are declared"
)]
pub mod cli;
mod context;
mod engine;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod labels;
mod push;
mod remote;
pub mod template;

pub use crate::build::{BuildConfig, BuiltImage, IDLE_TIMEOUT, build};
pub use crate::context::{BuildInputs, ContextError, IgnoreError, IgnoreErrorKind, Withheld};
pub use crate::engine::{
    Builder, DEFAULT_HOST, Endpoint, EndpointConfig, Engine, EngineEvent, REQUEST_TIMEOUT,
};
pub use crate::error::{Cause, Error, ErrorKind, TagState};
pub use crate::push::{PushConfig, push};
pub use crate::remote::{ExistingImage, PushOutcome, PushedImage, existing, tag_state};
