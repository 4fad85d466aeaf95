//! The client: what all operations share. The operations themselves are in files of their own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;
use verbatim_credentials::Keychain;
use verbatim_http::ClockReading;
use verbatim_oci::{Digest, Repository};

use crate::http::transport::Transport;
use crate::{Config, Error};

/// A client of registries. Cheap to clone; clones share connections, logins and facts about registries.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientState>);

#[derive(Debug)]
struct ClientState {
    transport: Transport,
    /// Repositories without a referrers API.
    without_referrers_api: Mutex<BTreeSet<Repository>>,
    /// Blobs that are known to be stored.
    stored: Mutex<BTreeSet<(Repository, Digest)>>,
    /// Held from reading a fallback tag to writing it, so that attaches of this process do not undo each other.
    fallback: tokio::sync::Mutex<()>,
    /// Limits how many blobs are copied at the same time. Each copy is two requests, maybe to the same registry: with
    /// more than half of the permits, copies would wait for each other.
    copies: tokio::sync::Semaphore,
}

impl Client {
    /// A client with these settings and credentials. Sends nothing and reads no file yet.
    ///
    /// # Errors
    ///
    /// If the additional certificates are not PEM.
    pub fn new(config: Config, keychain: Keychain) -> Result<Self, Error> {
        let copies = tokio::sync::Semaphore::new((config.concurrency / 2).max(1));
        let transport = Transport::new(config, keychain)
            .map_err(|kind| Error::at("set up the client", "settings".to_owned(), kind))?;
        Ok(Self(Arc::new(ClientState {
            transport,
            without_referrers_api: Mutex::default(),
            stored: Mutex::default(),
            fallback: tokio::sync::Mutex::default(),
            copies,
        })))
    }

    /// How many requests this client has sent so far, to registries and to token servers, including retries and
    /// redirects.
    pub fn requests(&self) -> u64 {
        self.0.transport.requests()
    }

    /// The clock of a repository's registry beside ours, by its last answer; `None` before the first.
    pub fn clock(&self, repository: &Repository) -> Option<ClockReading> {
        self.0.transport.clock_of(repository)?.reading()
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.transport.config
    }

    pub(crate) async fn url(&self, repository: &Repository, rest: &str) -> Result<Url, Error> {
        self.transport().url(repository, rest).await
    }

    pub(crate) fn fallback_lock(&self) -> &tokio::sync::Mutex<()> {
        &self.0.fallback
    }

    pub(crate) fn copies(&self) -> &tokio::sync::Semaphore {
        &self.0.copies
    }

    pub(crate) fn lacks_referrers_api(&self, repository: &Repository) -> bool {
        self.0
            .without_referrers_api
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(repository)
    }

    pub(crate) fn note_no_referrers_api(&self, repository: &Repository) {
        self.0
            .without_referrers_api
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(repository.clone());
    }

    pub(crate) fn is_known_stored(&self, repository: &Repository, digest: Digest) -> bool {
        let stored = self.0.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.contains(&(repository.clone(), digest))
    }

    pub(crate) fn note_stored(&self, repository: &Repository, digest: Digest) {
        let mut stored = self.0.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.insert((repository.clone(), digest));
    }
}
