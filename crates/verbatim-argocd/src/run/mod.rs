//! Carries out: reads, writes, syncs, waits, in an order in which a run may be killed anywhere. What a state means is judged
//! by `judge` alone.

pub(crate) mod annotation;
pub(crate) mod defaults;
pub(crate) mod deploy;
pub(crate) mod event;
mod follow;
pub(crate) mod log;
pub(crate) mod obstacles;
pub(crate) mod operate;
pub(crate) mod read;
pub(crate) mod request;
mod send;
mod session;
mod slot;
pub(crate) mod together;
mod wait;
pub(crate) mod window;
mod write;
mod written;
