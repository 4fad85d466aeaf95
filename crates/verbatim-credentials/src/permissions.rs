//! Checks that only its owner can access a file with secrets.

use std::fs::Metadata;

use crate::ErrorKind;

/// Refuses a file that other users can read or write.
#[cfg(unix)]
pub(crate) fn check_private(metadata: &Metadata) -> Result<(), ErrorKind> {
    use std::os::unix::fs::PermissionsExt as _;
    match metadata.permissions().mode() & 0o7777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(ErrorKind::Permissions(mode)),
    }
}

/// On other systems, the user's folder protects the file.
#[cfg(not(unix))]
pub(crate) fn check_private(_: &Metadata) -> Result<(), ErrorKind> {
    Ok(())
}
