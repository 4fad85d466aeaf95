//! Words of strangers: shown, and never obeyed.
//!
//! What Argo CD, pods, registries, git and other people's records say goes to terminals, to the logs of CI systems, into JSON
//! and into Markdown. Everything that one of these would obey is escaped here, and nowhere else. Pure.

mod markdown;
mod tamed;
mod words;

pub use markdown::{code, fenced, markdown};
pub use tamed::{one_line, tamed, tamed_json};
pub use words::{Words, joined, plain};
