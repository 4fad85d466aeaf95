//! What can be written into an application, as data: keys, values, claims, patches. Nothing here asks a server or decides
//! whether something may be written.

pub(crate) mod claim;
pub(crate) mod create;
mod field;
pub(crate) mod kept;
pub(crate) mod key;
pub(crate) mod patch;
pub(crate) mod plan;
pub(crate) mod rows;
pub(crate) mod secret;
pub(crate) mod spec;
mod stored;
pub(crate) mod values;
