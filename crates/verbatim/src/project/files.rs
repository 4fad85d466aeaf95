//! Files of the state folder: written whole or not at all, and ignored by git.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that cannot be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}", .path.display())]
pub(crate) struct FileError {
    pub action: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// Makes the folder, and has git ignore it: what verbatim writes must not make the tree dirty.
pub(crate) fn make_folder(folder: &Path) -> Result<(), FileError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FileError { action: "make", path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, "*\n").map_err(failed(&ignore))?;
    }
    Ok(())
}

/// Writes beside the file and renames: a killed job leaves the old one or the new one, never half of it.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), FileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| FileError { action: "write", path: path.to_owned(), source })
}
