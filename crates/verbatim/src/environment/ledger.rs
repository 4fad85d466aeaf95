//! The ledger of an environment, read together with its applications, on which the end of the ledger is anchored.

use jiff::Timestamp;
use verbatim_console::Failure;

use super::applications::{self, ObservedApp, Servers};
use crate::config::Environment;
use crate::project::{Project, failures};
use crate::records::store::{Ledger, Listed, Store};
use crate::release::handoff;

/// The applications of an environment and its ledger, checked against what is written on the applications and what an
/// earlier stage of this run left.
pub(crate) async fn ledger_with(
    project: &Project,
    store: &Store,
    servers: &Servers,
    environment: &Environment,
    now: Timestamp,
) -> Result<(Vec<ObservedApp>, Ledger), Failure> {
    let look = applications::at(environment, servers);
    ledger_of(project, store, environment, look, now).await
}

/// The ledger of an environment and its applications, which `look` reads: Argo CD and the registry are asked at the same
/// time.
pub(crate) async fn ledger_of(
    project: &Project,
    store: &Store,
    environment: &Environment,
    look: impl Future<Output = Result<Vec<ObservedApp>, Failure>>,
    now: Timestamp,
) -> Result<(Vec<ObservedApp>, Ledger), Failure> {
    let (seen, listed) = tokio::join!(look, listed(project, store, environment, now));
    let (seen, listed) = (seen?, listed?);
    let ledger = whole(project, store, environment, listed, &seen).await?;
    Ok((seen, ledger))
}

/// A ledger that may have been read without its applications.
#[derive(Debug)]
pub(crate) struct LedgerReading {
    pub ledger: Ledger,
    /// The applications; none if Argo CD could not be asked.
    pub seen: Vec<ObservedApp>,
    /// Why not. What the applications name of the end of the ledger is not known then, and that end may be hidden.
    pub unasked: Option<Failure>,
}

impl LedgerReading {
    /// Why it is not known whether the ledger has its end: Argo CD, or one of the applications, could not be asked.
    pub(crate) fn open_end(&self) -> Option<String> {
        let unasked = self.unasked.as_ref().map(Failure::whole);
        unasked.or_else(|| applications::unread(&self.seen))
    }
}

/// What it means that there is no repository for the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordsRepository {
    /// An error: whoever decides by records needs to know that there are none.
    HasToBeThere,
    /// Nobody has written to it yet: the ledger is empty, for who is about to add to it.
    MayBeNew,
}

/// The ledger of an environment, also if Argo CD cannot be asked.
pub(crate) async fn ledger_alone(
    project: &Project,
    store: &Store,
    environment: &Environment,
    repository: RecordsRepository,
    now: Timestamp,
) -> Result<LedgerReading, Failure> {
    let look = async {
        let servers = Servers::of(project, [environment])?;
        applications::at(environment, &servers).await
    };
    let (seen, ledger) = apart(project, store, environment, repository, look, now).await;
    let ledger = ledger?;
    let (seen, unasked) = match seen {
        Ok(seen) => (seen, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    Ok(LedgerReading { ledger, seen, unasked })
}

/// The applications of an environment and its ledger, each as far as it can be had.
pub(crate) async fn apart(
    project: &Project,
    store: &Store,
    environment: &Environment,
    repository: RecordsRepository,
    look: impl Future<Output = Result<Vec<ObservedApp>, Failure>>,
    now: Timestamp,
) -> (Result<Vec<ObservedApp>, Failure>, Result<Ledger, Failure>) {
    let id = &environment.id;
    let listed = async {
        let ring = &project.config.policy.ring;
        match store.listed(ring, id, now).await {
            Err(error) if repository == RecordsRepository::MayBeNew && error.is_no_repository() => {
                Ok(Listed::empty(ring, id, now))
            }
            listed => checked(store, listed),
        }
    };
    let (seen, listed) = tokio::join!(look, listed);
    let known = seen.as_deref().unwrap_or_default();
    let ledger = match listed {
        Ok(listed) => whole(project, store, environment, listed, known).await,
        Err(failure) => Err(failure),
    };
    (seen, ledger)
}

async fn listed(
    project: &Project,
    store: &Store,
    environment: &Environment,
    now: Timestamp,
) -> Result<Listed, Failure> {
    checked(store, store.listed(&project.config.policy.ring, &environment.id, now).await)
}

fn checked(
    store: &Store,
    listed: Result<Listed, verbatim_registry::Error>,
) -> Result<Listed, Failure> {
    let listed = listed.map_err(failures::registry)?;
    store.check_clock()?;
    Ok(listed)
}

/// What is listed as a ledger, checked against what these applications and an earlier stage of this run know of its end.
async fn whole(
    project: &Project,
    store: &Store,
    environment: &Environment,
    listed: Listed,
    seen: &[ObservedApp],
) -> Result<Ledger, Failure> {
    let mut anchors = applications::anchors(seen);
    let left = handoff::read(&project.state_folder()).ok().flatten();
    let left = left.filter(|file| file.project == project.config.project);
    anchors
        .promotions
        .extend(left.and_then(|file| file.promotions.get(environment.name()).copied()));
    store.ledger(listed, &anchors).await.map_err(failures::registry)
}
