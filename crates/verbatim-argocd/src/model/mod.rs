//! The part of Argo CD's objects that we read. Tolerant: unknown fields are ignored, absent ones have a default.
//!
//! Nothing here judges, and nothing here is ever sent back: what we write is a patch, so fields that we do not know
//! cannot get lost.

mod answers;
mod application;
mod operation;
mod service;
mod source;

pub use self::answers::*;
pub use self::application::*;
pub(crate) use self::operation::*;
pub(crate) use self::service::*;
pub use self::source::*;
