//! The build context: what is in it, what `.dockerignore` leaves out, and the archive that carries it. Nothing here knows an
//! engine.

mod archive;
mod dockerfile;
mod error;
mod ignore;
mod walk;

pub(crate) use self::archive::{ArchiveCounters, ArchiveWriter, archive};
pub(crate) use self::dockerfile::base_repositories;
pub use self::error::ContextError;
pub use self::ignore::{IgnoreError, IgnoreErrorKind};
pub(crate) use self::walk::{BuildContext, SendError};
