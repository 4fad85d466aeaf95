//! Collects what a decision is made from: records of the release, ledgers, live state, all at once. Decides nothing; what
//! could not be found out is a fact of its own.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use verbatim_console::Failure;
use verbatim_policy::{Author, Bans, Facts, GateKind, Gates, Ledger as LedgerFact, Live};
use verbatim_record::{Chain, EnvironmentId, Lock, Promotion, Records, Veto};
use verbatim_registry::Client;

use crate::config::Environment;
use crate::environment::applications::{self, Seen, Servers};
use crate::environment::ledger;
use crate::project::Project;
use crate::records::Registry;
use crate::records::running;
use crate::records::store::{Ledger, Store, Wanted};
use crate::release::find::Found;
use crate::release::{Release, digests, order};

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
    registry: &Registry,
    servers: &Servers,
    environment: &Environment,
    gates: &Gates,
    found: &Found,
    now: Timestamp,
) -> Result<Gathered, Failure> {
    let (release, store) = (&found.release, &registry.store);
    let records = records(project, store, gates, release, now);
    let earlier = async {
        let earlier = gates.ledgers().filter_map(|id| project.config.environment(id.name()));
        join_all(
            earlier.map(|environment| other(project, store, servers, environment, release, now)),
        )
        .await
    };
    let own = async {
        let wanted = Wanted::only::<Promotion>().and::<Lock>().and::<Veto>();
        let look = async {
            match gates.has(GateKind::SameManifests) {
                true => applications::refreshed(environment, servers).await,
                false => applications::at(environment, servers).await,
            }
        };
        ledger::ledger_of(project, store, environment, look, &wanted, now).await
    };
    let labels = labels(&registry.client, gates, found);
    let (records, earlier, own, labels) = tokio::join!(records, earlier, own, labels);
    let (seen, Ledger { chain, records: own_records, .. }) = own?;
    let order = order::order(project, store, &chain, records.as_ref().ok(), release, now).await;
    let mut facts = Facts {
        release: release.digest,
        environment: environment.id.clone(),
        is_rollback: false,
        records,
        bans: Ok(Bans { locks: own_records.locks, vetoes: own_records.vetoes }),
        ledgers: BTreeMap::new(),
        live: BTreeMap::from([(environment.id.clone(), applications::live(&seen, release))]),
        healthy_since: BTreeMap::new(),
        manifests: applications::manifests(&seen),
        order,
        author: Author { key: None, actor: project.run().actor },
        plan: None,
        labels,
        applications: applications::described(&seen),
        run: project.run(),
        now,
    };
    for Other { id, ledger, live, healthy_since } in earlier {
        facts.ledgers.insert(id.clone(), ledger);
        facts.healthy_since.extend(healthy_since.map(|since| (id.clone(), since)));
        facts.live.insert(id, live);
    }
    Ok(Gathered { facts, seen, ledger: chain })
}

/// The records of the release that the gates look at.
async fn records(
    project: &Project,
    store: &Store,
    gates: &Gates,
    release: &Release,
    now: Timestamp,
) -> Result<Records, String> {
    let wanted = Wanted::Types(gates.record_types());
    let ring = &project.config.policy.ring;
    let types = gates.attested_types();
    let records = store.with_attestations(ring, release.digest, &wanted, &types, now).await;
    records.map_err(|error| format!("{error}: {}", error.kind()))
}

/// The labels of the images, if a condition may look at them: those of the first platform, if there are several.
async fn labels(
    client: &Client,
    gates: &Gates,
    found: &Found,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, String> {
    if !gates.uses("release") {
        return Ok(BTreeMap::new());
    }
    let labels = digests::labels(client, &found.release, &found.resolved).await;
    labels.map_err(|error| format!("{error}: {}", error.kind()))
}

/// What is known of another environment.
struct Other {
    id: EnvironmentId,
    ledger: LedgerFact,
    live: Live,
    healthy_since: Option<Timestamp>,
}

/// An environment that the release has to come from: its failure is no failure of ours, but a reason to refuse.
async fn other(
    project: &Project,
    store: &Store,
    servers: &Servers,
    environment: &Environment,
    release: &Release,
    now: Timestamp,
) -> Other {
    let id = environment.id.clone();
    match ledger::ledger_with_anchors(project, store, servers, environment, now).await {
        Ok((seen, ledger)) => {
            let live = applications::live(&seen, &as_promoted(&ledger, release));
            let healthy_since = applications::healthy_since(&seen);
            Other { id, ledger: LedgerFact::Known(ledger), live, healthy_since }
        }
        Err(failure) => {
            let why = failure.whole();
            let (ledger, live) = (LedgerFact::Unknown(why.clone()), Live::Unknown(why));
            Other { id, ledger, live, healthy_since: None }
        }
    }
}

/// A release under the tag that it was promoted with: that one stands in the applications.
fn as_promoted(ledger: &Chain, release: &Release) -> Release {
    let promoted = running(ledger).filter(|promoted| promoted.digest == release.digest);
    let tag = promoted.and_then(|promoted| promoted.tag.as_ref()?.parse().ok());
    Release { tag: tag.or_else(|| release.tag.clone()), ..release.clone() }
}
