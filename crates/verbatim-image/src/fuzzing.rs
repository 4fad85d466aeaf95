//! What `tests/fuzz` calls: readers of files that nobody outside may call.

use crate::context::{IgnoreFile, base_repositories};

/// Reads a `.dockerignore`; gives the first folder above `path` that the walk does not enter although the file keeps
/// `path`. There must be none.
pub fn lost_folder<'a>(file: &str, path: &'a str) -> Option<&'a str> {
    let ignore = IgnoreFile::parse(file).ok()?;
    if ignore.ignores(path) {
        return None;
    }
    let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
    folders
        .filter(|folder| !folder.is_empty())
        .find(|folder| ignore.ignores(folder) && !ignore.may_keep_below(folder))
}

/// Reads a Dockerfile; gives how many base images it names.
pub fn dockerfile(text: &str) -> usize {
    base_repositories(text, &Default::default()).len()
}
