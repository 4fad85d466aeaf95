//! What `tests/fuzz` calls: readers of files that nobody outside may call.

use std::io;
use std::path::Path;

use crate::config::Draft;
use crate::promotion::SavedPlan;

/// Reads a `verbatim.yaml` that names no files; gives whether it is one.
pub fn configuration(text: &str) -> bool {
    let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    match Draft::parse(Path::new("verbatim.yaml"), text, None, &nothing) {
        Ok(_) => true,
        Err(error) => {
            // Whoever wrote it sees the place.
            let _ = error.to_string();
            false
        }
    }
}

/// Reads a saved plan; gives whether it can be applied.
pub fn plan(text: &str) -> bool {
    SavedPlan::parse(text).is_ok()
}
