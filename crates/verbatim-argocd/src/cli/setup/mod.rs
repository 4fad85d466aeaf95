//! Commands that come before a deployment: tokens, repositories, new applications, and what the server says of itself.

pub(crate) mod about;
pub(crate) mod create;
pub(crate) mod login;
pub(crate) mod repo;
