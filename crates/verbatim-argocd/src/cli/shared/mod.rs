//! What several commands share: options, lists of applications, tables, exit statuses. No command.

pub(crate) mod apps;
pub(crate) mod document;
pub(crate) mod failure;
pub(crate) mod foreign;
pub(crate) mod job;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod show;
pub(crate) mod values;
