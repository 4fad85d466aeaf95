//! Commands that look, and those for single objects. Nothing here changes an application's spec.

pub(crate) mod actions;
pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod manifests;
pub(crate) mod objects;
pub(crate) mod overrides;
