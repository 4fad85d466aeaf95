//! What can be done with a registry, one file an operation. No connection is opened and no login is answered here.

pub(crate) mod attach;
pub(crate) mod blobs;
pub(crate) mod content;
pub(crate) mod copy;
pub(crate) mod fallback;
pub(crate) mod manifests;
pub(crate) mod probe;
pub(crate) mod referrers;
pub(crate) mod tags;
