//! An environment as it stands: its applications, its ledger, and how the two agree. Reads and judges; writes nothing.

pub(crate) mod applications;
pub(crate) mod claims;
pub(crate) mod drift;
pub(crate) mod ledger;
pub(crate) mod missing;
pub(crate) mod rules;
pub(crate) mod runs;
pub(crate) mod shared;
pub(crate) mod standing;
pub(crate) mod status;
pub(crate) mod target;
