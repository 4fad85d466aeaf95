//! Ways back: to an earlier release, to the recorded one, and to what Argo CD remembers when nothing else answers.

mod after_failure;
pub(crate) mod break_glass;
pub(crate) mod choose;
mod from_history;
mod pinned;
pub(crate) mod restore;
pub(crate) mod rollback;
