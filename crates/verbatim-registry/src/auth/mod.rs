//! Logging in to a registry: what it asks for, which token answers that, and who may see a password. Pure: no request is
//! sent here.

pub(crate) mod challenge;
pub(crate) mod login;
pub(crate) mod realm;
pub(crate) mod scope;
pub(crate) mod token;
