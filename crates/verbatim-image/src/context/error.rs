//! Why a directory cannot be sent as a build context.

use std::io;
use std::path::PathBuf;

use super::ignore::IgnoreError;

/// Why a directory cannot be sent as a build context.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The context does not exist, or is not a directory.
    #[error("`{}` is not a readable directory", path.display())]
    Directory {
        /// The given directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// There is no Dockerfile at this path.
    #[error("there is no Dockerfile at `{}`", .0.display())]
    NoDockerfile(PathBuf),
    /// A file or directory of the context cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file that must not be sent is part of the context.
    #[error("`{}` must not be in an image, but is in the build context", .0.display())]
    Withheld(PathBuf),
    /// A file changed while it was sent.
    #[error("`{}` changed during the build: it had {expected} bytes, then {}", path.display(), size_words(*expected, *found))]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its size in bytes when it was opened.
        expected: u64,
        /// How many bytes were found.
        found: u64,
    },
    /// A pattern of an ignore file is malformed.
    #[error("`{}` is malformed", path.display())]
    Ignore {
        /// The ignore file.
        path: PathBuf,
        /// Which line, and what is wrong.
        #[source]
        source: IgnoreError,
    },
}

fn size_words(expected: u64, found: u64) -> String {
    if found > expected { "more".to_owned() } else { found.to_string() }
}
