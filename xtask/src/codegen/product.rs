//! What the crates of the product offer to be written down. The only file of this task that knows them.

use std::path::Path;

use anyhow::Result;

use super::{Generated, environment, statuses};

/// Every file that is made from the code.
pub(super) fn files(root: &Path) -> Result<Vec<Generated>> {
    Ok(vec![statuses::page(), environment::page(root)?])
}
