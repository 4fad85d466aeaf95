//! Judges what was read: plans, refusals, verdicts, proofs. Pure: no network, no clock, and nothing here can fail.

pub(crate) mod baseline;
pub(crate) mod change;
pub(crate) mod condition;
pub(crate) mod default;
pub(crate) mod evidence;
pub(crate) mod hooks;
pub(crate) mod labels;
pub(crate) mod lost_changes;
pub(crate) mod mismatch;
pub(crate) mod missing;
pub(crate) mod outcome;
pub(crate) mod owner;
pub(crate) mod pattern;
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod preflight;
pub(crate) mod prove;
pub(crate) mod reading;
pub(crate) mod refusal;
pub(crate) mod remembered;
pub(crate) mod rendered;
pub(crate) mod sending;
pub(crate) mod since;
pub(crate) mod verdict;
pub(crate) mod warning;
