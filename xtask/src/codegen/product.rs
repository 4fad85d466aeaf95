//! What the crates of the product offer to be written down. The only file of this task that knows them.

use std::path::Path;

use anyhow::Result;

use super::{Generated, environment, help, statuses};

/// Every file that is made from the code.
pub(super) fn files(root: &Path) -> Result<Vec<Generated>> {
    let schema = Generated::new("verbatim.schema.json", verbatim::config::schema());
    let mut files = vec![statuses::page(), environment::page(root)?, schema];
    files.extend(help::pages(verbatim::cli::command()));
    Ok(files)
}
