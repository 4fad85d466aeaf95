//! Carries out: reads, writes, syncs, waits, in an order in which a run may be killed anywhere. What a state means is judged
//! by `judge` alone.

pub(crate) mod annotation;
pub mod deploy;
pub mod event;
mod follow;
pub mod operate;
pub(crate) mod read;
mod session;
mod slot;
mod wait;
mod write;
