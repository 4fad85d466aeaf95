//! The way to a registry: settings, URLs, requests with their login and retries. Knows no operation of a registry.

pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod endpoint;
mod handshake;
pub(crate) mod link;
pub(crate) mod transport;
pub(crate) mod wire;
