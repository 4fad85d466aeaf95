//! The build context: its files, `.dockerignore`, and the archive. Knows no engine.

mod archive;
mod dockerfile;
mod error;
mod ignore;
mod inputs;
mod walk;
mod withheld;

pub(crate) use self::archive::{ArchiveCounters, ArchiveWriter, archive};
pub(crate) use self::dockerfile::base_repositories;
pub use self::error::ContextError;
pub(crate) use self::ignore::IgnoreFile;
pub use self::ignore::{IgnoreError, IgnoreErrorKind};
pub use self::inputs::BuildInputs;
pub(crate) use self::walk::{BuildContext, SendError};
pub use self::withheld::Withheld;
