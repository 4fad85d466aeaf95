//! The rules of a project: where they come from, what gates they make, and the cases that test them. Decides nothing.

pub(crate) mod cases;
pub(crate) mod fetch;
pub(crate) mod gates;
