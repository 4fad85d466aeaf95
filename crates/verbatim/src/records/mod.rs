//! Records in the registry: listed, verified, signed, attached. What a record leads to is decided elsewhere.

pub(crate) mod attach;
pub(crate) mod convert;
pub(crate) mod statements;
pub(crate) mod store;

use verbatim_console::Failure;
use verbatim_record::{Chain, PromotedRelease};
use verbatim_registry::Client;

use self::store::Store;
use crate::project::{Project, clock};

/// The registry of a project, and the records in it.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    pub client: Client,
    pub store: Store,
}

impl Registry {
    /// Fails if the clock of a registry of the project, by its last answer, and that of this machine are too far apart.
    pub(crate) fn check_clock(&self, project: &Project) -> Result<(), Failure> {
        let images = project.config.images.values().map(|image| &image.repository);
        clock::check(
            images.map(|repository| (repository.registry(), self.client.clock(repository))),
        )?;
        self.store.check_clock()
    }
}

/// The release that the ledger has in an environment.
pub(crate) fn running(chain: &Chain) -> Option<&PromotedRelease> {
    chain.head().map(|head| &head.predicate().release)
}
