//! Shows what is there, for people: lists, trees, differences. Nothing here is evidence, and nothing here writes.

pub mod difference;
pub mod history;
pub mod live_state;
pub mod objects;
pub mod suggest;
pub mod tree;
pub mod yaml;
