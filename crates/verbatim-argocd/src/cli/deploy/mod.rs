//! Commands that change applications that are there, or wait for them.

pub(crate) mod release;
pub(crate) mod render;
pub(crate) mod rollback;
pub(crate) mod set;
pub(crate) mod settings;
pub(crate) mod wait;
