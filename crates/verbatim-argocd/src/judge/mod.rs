//! Judges what was read: plans, refusals, verdicts, proofs. Pure: no network, no clock, and nothing here can fail.

pub mod condition;
pub mod lost_changes;
pub mod outcome;
pub mod pattern;
pub(crate) mod plan;
pub(crate) mod predict;
pub mod preflight;
pub mod prove;
pub mod refusal;
pub mod rendered;
pub mod verdict;
