//! Collects what a decision is made from: records of the release, ledgers, live state, all at once. Decides nothing; what
//! could not be found out is a fact of its own.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use verbatim_console::Failure;
use verbatim_oci::{Reference, Tag};
use verbatim_policy::{Facts, Gates, Ledger as LedgerFact, Live};
use verbatim_record::{Chain, EnvironmentId, Records, Source};

use crate::config::Environment;
use crate::failures;
use crate::look::{self, Seen, Servers};
use crate::newer::Origin;
use crate::release::Release;
use crate::settings::Project;
use crate::store::Store;

/// What is known when a promotion is decided.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// For the policy.
    pub facts: Facts,
    /// The applications of the environment that the release wants to enter.
    pub seen: Vec<Seen>,
    /// The ledger of that environment.
    pub ledger: Chain,
}

/// Collects the facts for the promotion of a release into an environment.
///
/// # Errors
/// What cannot be done without: the applications and the ledger of the environment itself.
pub(crate) async fn gather(
    project: &Project,
    store: &Store,
    servers: &Servers,
    environment: &Environment,
    gates: &Gates,
    release: &Release,
    now: Timestamp,
) -> Result<Gathered, Failure> {
    let ring = &project.config.policy.ring;
    let records = async {
        let records = store.of_release(ring, release.digest, now).await;
        records.map_err(|error| format!("{error}: {}", error.kind()))
    };
    let earlier = async {
        let earlier = gates.ledgers().filter_map(|id| project.config.environment(id.name()));
        join_all(
            earlier.map(|environment| other(project, store, servers, environment, release, now)),
        )
        .await
    };
    let own = ledger_with_anchors(project, store, servers, environment, now);
    let (records, earlier, own) = tokio::join!(records, earlier, own);
    let (seen, ledger) = own?;
    let mut ledgers = BTreeMap::new();
    let mut live = BTreeMap::new();
    for (id, ledger, seen) in earlier {
        ledgers.insert(id.clone(), ledger);
        live.insert(id, seen);
    }
    let facts = Facts {
        release: release.digest,
        environment: environment.id.clone(),
        records,
        ledgers,
        live,
        now,
    };
    Ok(Gathered { facts, seen, ledger })
}

/// The applications of an environment and its ledger, checked against what is written on the applications and what an
/// earlier stage of this run left.
///
/// # Errors
/// One of them could not be read.
pub(crate) async fn ledger_with_anchors(
    project: &Project,
    store: &Store,
    servers: &Servers,
    environment: &Environment,
    now: Timestamp,
) -> Result<(Vec<Seen>, Chain), Failure> {
    let seen = look::at(environment, servers).await?;
    let mut anchors = look::anchors(&seen);
    let left = crate::handoff::read(&project.state_folder()).ok().flatten();
    let left = left.filter(|file| file.project == project.config.project);
    anchors.extend(left.and_then(|file| file.promotions.get(environment.name()).copied()));
    let ring = &project.config.policy.ring;
    let ledger = store
        .of_environment(ring, &environment.id, &anchors, now)
        .await
        .map_err(failures::registry)?;
    Ok((seen, ledger))
}

/// An environment that the release has to come from: its failure is no failure of ours, but a reason to refuse.
async fn other(
    project: &Project,
    store: &Store,
    servers: &Servers,
    environment: &Environment,
    release: &Release,
    now: Timestamp,
) -> (EnvironmentId, LedgerFact, Live) {
    let id = environment.id.clone();
    match ledger_with_anchors(project, store, servers, environment, now).await {
        Ok((seen, ledger)) => (id, LedgerFact::Known(ledger), look::live(&seen, release)),
        Err(failure) => {
            let causes = failure.causes();
            let why =
                std::iter::once(failure.to_string()).chain(causes).collect::<Vec<_>>().join(": ");
            (id, LedgerFact::Unknown(why.clone()), Live::Unknown(why))
        }
    }
}

/// What the newest build record that counts says of the source.
pub(crate) fn source(records: &Records) -> Option<Source> {
    records.builds.last().and_then(|record| record.predicate().source())
}

/// Where a release comes from, for telling which of two is newer.
pub(crate) fn origin(records: &Records) -> Origin {
    let build = records.builds.last().map(verbatim_record::Verified::predicate);
    Origin {
        commit: build.and_then(|build| build.source()?.commit),
        run: build.and_then(|build| build.run()).unwrap_or_default(),
    }
}

/// The tag that the build record has, for a release that was named by its digest alone.
pub(crate) fn tag(records: &Records, release: &Release) -> Option<Tag> {
    let build = records.builds.last()?.predicate();
    let image = build.build_definition.external_parameters.get("image")?.as_str()?;
    let reference: Reference = image.parse().ok()?;
    reference.tag.filter(|_| reference.repository == release.repository)
}

/// The release that the ledger has in an environment.
pub(crate) fn running(chain: &Chain) -> Option<&verbatim_record::PromotedRelease> {
    chain.head().map(|head| &head.predicate().release)
}
