//! One file for each command: its arguments, whose doc comment is its help, and one function that runs it. What every
//! command begins with is in `context`; a command calls libraries and no other command.

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod build;
pub(crate) mod ci;
pub(crate) mod completions;
mod context;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod key;
mod key_revoke;
mod key_rotate;
pub(crate) mod lock;
mod noted;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod policy_pin;
pub(crate) mod policy_push;
pub(crate) mod promote;
pub(crate) mod record;
mod record_sign;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod test;
pub(crate) mod verify;
pub(crate) mod version;
pub(crate) mod veto;
