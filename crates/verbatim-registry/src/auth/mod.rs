//! The login of a registry: its challenge, the token, and which servers may get a password. Pure: sends no request.

pub(crate) mod challenge;
pub(crate) mod login;
pub(crate) mod realm;
pub(crate) mod scope;
pub(crate) mod token;
