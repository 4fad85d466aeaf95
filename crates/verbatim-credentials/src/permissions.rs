//! Whether a file with secrets is for its owner alone.

use std::fs::Metadata;

use crate::ErrorKind;

/// Refuses a file that anybody but its owner may read or write.
#[cfg(unix)]
pub(crate) fn check_private(metadata: &Metadata) -> Result<(), ErrorKind> {
    use std::os::unix::fs::PermissionsExt as _;
    match metadata.permissions().mode() & 0o7777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(ErrorKind::Permissions(mode)),
    }
}

/// Elsewhere the folder of the user is what protects the file.
#[cfg(not(unix))]
pub(crate) fn check_private(_: &Metadata) -> Result<(), ErrorKind> {
    Ok(())
}
