//! The Docker Engine: where it is, what it answers, and how long it may be silent. What is built or pushed is not known here.

pub(crate) mod ask;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod silence;
pub(crate) mod transcript;
