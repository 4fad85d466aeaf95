//! One file for each command: its arguments, whose doc comment is its help, and one function that runs it.

pub mod ci;
pub mod completions;
pub mod key;
pub mod version;
