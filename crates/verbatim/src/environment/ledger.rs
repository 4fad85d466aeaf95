//! The ledger of an environment, read together with its applications, on which the end of the ledger is anchored.

use jiff::Timestamp;
use verbatim_console::Failure;

use super::applications::{self, ObservedApp, Servers};
use crate::config::Environment;
use crate::project::{Project, failures};
use crate::records::store::{Ledger, Store};
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
    let ring = &project.config.policy.ring;
    let (seen, listed) = tokio::join!(look, store.listed(ring, &environment.id, now));
    let (seen, listed) = (seen?, listed.map_err(failures::registry)?);
    store.check_clock()?;
    let mut anchors = applications::anchors(&seen);
    let left = handoff::read(&project.state_folder()).ok().flatten();
    let left = left.filter(|file| file.project == project.config.project);
    anchors
        .promotions
        .extend(left.and_then(|file| file.promotions.get(environment.name()).copied()));
    let ledger = store.ledger(listed, &anchors).await;
    Ok((seen, ledger.map_err(failures::registry)?))
}
