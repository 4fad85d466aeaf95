//! What can be written into an application, as data: keys, values, claims, patches. Nothing here asks a server or decides
//! whether something may be written.

pub mod claim;
pub mod create;
mod field;
pub mod kept;
mod key;
pub mod patch;
pub mod spec;
pub mod values;
