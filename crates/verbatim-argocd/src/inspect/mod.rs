//! Shows what is there, for people: lists, trees, differences. Nothing here is evidence, and nothing here writes.

pub(crate) mod difference;
pub(crate) mod history;
pub(crate) mod live_state;
pub(crate) mod objects;
pub(crate) mod overrides;
pub(crate) mod suggest;
pub(crate) mod tree;
pub(crate) mod yaml;
