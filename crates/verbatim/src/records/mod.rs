//! Records in the registry: listed, verified, signed, attached. What a record leads to is decided elsewhere.

pub(crate) mod attach;
pub(crate) mod convert;
pub(crate) mod statements;
pub(crate) mod store;
