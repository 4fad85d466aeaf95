//! Which CI job is this, what does it build, and where does it look for results?
//!
//! Pure: a map of environment variables in, a [`CiContext`] out; results in, text out. Reads no environment and no
//! files, and runs no git: on a laptop, or where a CI leaves something out, the runner fills the gaps.

mod context;
mod outputs;
mod provider;
mod text;

pub use context::{CiContext, CiKind, Numbering, PullRequest, Sink};
pub use outputs::{OutputError, azure_variables, dotenv, github_outputs, shell_exports};
pub use provider::detect;
