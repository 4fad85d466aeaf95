//! Records in the registry: listed, verified, signed, attached. What a record leads to is decided elsewhere.

pub(crate) mod attach;
pub(crate) mod convert;
pub(crate) mod statements;
pub(crate) mod store;

use verbatim_record::{Chain, PromotedRelease};
use verbatim_registry::Client;

use self::store::Store;

/// The registry of a project, and the records in it.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    pub client: Client,
    pub store: Store,
}

/// The release that the ledger has in an environment.
pub(crate) fn running(chain: &Chain) -> Option<&PromotedRelease> {
    chain.head().map(|head| &head.predicate().release)
}
