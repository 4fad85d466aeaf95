//! Collects what a decision is made from: records of the release, ledgers, live state, all at once. Decides nothing; what
//! could not be found out is a fact of its own.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;
use verbatim_argocd::wait_for_window;
use verbatim_console::Failure;
use verbatim_oci::{Digest, Tag};
use verbatim_policy::{
    Author, Bans, Facts, Gate, GateKind, Gates, LedgerReading as LedgerFact, LiveReading,
};
use verbatim_record::{Chain, EnvironmentId, KeyId, Promotion, PromotionKind, Records, Testimony};
use verbatim_registry::Client;

use super::back::choose;
use super::{Overrides, PromotionContext, SavedPlan};
use crate::config::Environment;
use crate::environment::applications::{self, ObservedApp, Servers};
use crate::environment::{drift, ledger, shared};
use crate::project::Project;
use crate::records::running;
use crate::records::store::{Ledger, Store};
use crate::release::find::{self, ResolvedRelease};
use crate::release::{Release, builds, digests, order};

/// What is asked: whether this release may enter, how, and for whom.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The release, in the registry.
    pub found: &'a ResolvedRelease,
    pub movement: Movement<'a>,
    /// Who is going to sign; `None` if nothing is going to be signed.
    pub author: Option<KeyId>,
    /// Gates that are to let it pass although they refuse.
    pub overrides: &'a Overrides,
    /// Applications of the last promotion that left the environment for good.
    pub without: &'a [String],
    /// Whether Argo CD is to compare first, so that the revisions are those of now: a plan names them.
    pub compares: bool,
}

/// How a release comes into an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Movement<'a> {
    /// Forward, from the environment before.
    Promote {
        /// Also if a newer release runs there.
        backwards: bool,
        /// Recorded also if the ledger and what is found say that it is there.
        again: bool,
    },
    /// By a plan that was made before.
    Apply(&'a SavedPlan),
    /// Back to what was proven there before.
    RollBack { reason: Option<&'a str> },
    /// Back to what the ledger has.
    Restore { recorded: Digest, reason: Option<&'a str> },
}

impl Movement<'_> {
    /// As the record names it.
    pub(crate) fn kind(self) -> PromotionKind {
        match self {
            Self::Promote { .. } | Self::Apply(_) => PromotionKind::Promotion,
            Self::RollBack { .. } => PromotionKind::Rollback,
            Self::Restore { .. } => PromotionKind::Restore,
        }
    }

    /// The plan that it follows, if it was made before.
    fn saved(&self) -> Option<&SavedPlan> {
        match self {
            Self::Apply(saved) => Some(saved),
            _ => None,
        }
    }
}

/// What is known before anything is decided.
#[derive(Debug)]
pub(crate) struct Situation {
    /// The release as the registry has it; with the tag of its build record if it was named by its digest alone, and with
    /// that of the plan that is applied if it has that tag.
    pub release: Release,
    /// For the policy; nothing is added to them later.
    pub facts: Facts,
    /// The applications of the environment that the release wants to enter.
    pub seen: Vec<ObservedApp>,
    /// The ledger of that environment.
    pub ledger: Chain,
}

impl PromotionContext<'_> {
    /// Gathers what is known of a release and of this environment.
    ///
    /// It fails only where the applications or the ledger of the environment itself cannot be read. Whatever else cannot
    /// be found out is a fact of its own.
    pub(crate) async fn gather(&self, question: &Question<'_>) -> Result<Situation, Failure> {
        let found = question.found;
        if let Some(author) = &question.author {
            self.project.speaks_for(author, Some(&self.environment.id))?;
        }
        // Whoever signs nothing looks at the windows as they are.
        if question.author.is_some() {
            self.wait_for_windows().await?;
        }
        let progress =
            self.console.progress(format!("gathering what is known of {}", found.release));
        let situation = self.situation(question, Timestamp::now()).await;
        drop(progress);
        self.servers.check_clocks()?;
        let situation = situation?;
        Ok(situation)
    }

    /// Waits until the sync windows of all applications let a sync begin, before anything is known that could be outdated
    /// by then. The applications share the time, as they mostly share the windows.
    pub(super) async fn wait_for_windows(&self) -> Result<(), Failure> {
        let limit = self.deploy.wait_for_window;
        if limit.is_zero() {
            return Ok(());
        }
        let deadline = Instant::now() + limit;
        let progress = self.console.progress("looking at the sync windows");
        for ObservedApp { app, application, .. } in
            applications::at(self.environment, &self.servers).await?
        {
            let Ok(application) = application else { continue };
            let mut reference = applications::reference(&app);
            reference.project.get_or_insert(application.spec.project);
            let left = deadline.saturating_duration_since(Instant::now());
            let client = self.servers.get(&app.server)?;
            wait_for_window(client, &reference, left, &|wait| progress.line(wait.to_string()))
                .await;
        }
        Ok(())
    }

    async fn situation(
        &self,
        question: &Question<'_>,
        now: Timestamp,
    ) -> Result<Situation, Failure> {
        let Self { project, registry, environment, gates, servers, .. } = self;
        let (found, store) = (question.found, &registry.store);
        let release = &found.release;
        let records = records(project, store, gates, release, now);
        let earlier = async {
            let earlier = gates.ledgers().filter_map(|id| project.config.environment(id.name()));
            join_all(
                earlier
                    .map(|environment| other(project, store, servers, environment, release, now)),
            )
            .await
        };
        let own = async {
            let look = async {
                let is_asked = gates.has(GateKind::SameManifests) || self.is_compared_with();
                match question.compares || is_asked {
                    true => applications::refreshed(environment, servers).await,
                    false => applications::together(environment, servers).await,
                }
            };
            ledger::ledger_of(project, store, environment, look, now).await
        };
        let labels = labels(&registry.client, gates, found);
        let (records, earlier, own, labels) = tokio::join!(records, earlier, own, labels);
        let (seen, Ledger { chain, records: own_records, mut testimony, .. }) = own?;
        shared::check(&project.config, environment, &seen, servers).await?;
        for other in &earlier {
            testimony.extend(other.testimony.clone());
        }
        let records = records.map(|records| {
            let ledgers = earlier.iter().map(|other| &other.records).chain([&own_records]);
            let records = records.with_testimony(&testimony);
            ledgers.fold(records, |records, ledger| records.with_ledger(&release.digest, ledger))
        });
        let order =
            order::order(project, store, (&chain, &testimony), records.as_ref().ok(), release, now)
                .await;
        let saved = question.movement.saved();
        let is_rollback = question.movement.kind() != PromotionKind::Promotion;
        let promotions: Vec<&Promotion> =
            chain.promotions().iter().map(|it| it.predicate()).collect();
        let mut facts = Facts {
            release: release.digest,
            environment: environment.id.clone(),
            is_rollback,
            is_beyond_previous: is_rollback
                && choose::is_beyond_previous(&promotions, release.digest),
            records,
            bans: Ok(Bans { locks: own_records.locks, vetoes: own_records.vetoes }),
            ledgers: BTreeMap::new(),
            live: BTreeMap::from([(environment.id.clone(), drift::live(&seen, release, &chain))]),
            healthy_since: BTreeMap::new(),
            manifests: applications::manifests(&seen),
            order,
            commit_there: running(&chain).and_then(|there| there.commit.clone()),
            author: self.author(question),
            // An approval may be for exactly this plan.
            plan: saved.map(|saved| saved.hash),
            labels,
            applications: applications::described(&seen),
            run: project.run(),
            now,
        };
        for Other { id, ledger, live, healthy_since, .. } in earlier {
            facts.ledgers.insert(id.clone(), ledger);
            facts.healthy_since.extend(healthy_since.map(|since| (id.clone(), since)));
            facts.live.insert(id, live);
        }
        let recorded =
            facts.records.as_ref().ok().and_then(|records| builds::tag(records, release));
        let tag = match saved.map(|saved| &saved.plan.release.tag) {
            Some(Some(tag)) if self.has_tag(release, tag, recorded.as_ref()).await? => {
                Some(tag.clone())
            }
            // A plan tells no tag that nobody else tells.
            Some(_) => recorded,
            None => release.tag.clone().or(recorded),
        };
        let release = Release { tag, ..release.clone() };
        Ok(Situation { release, facts, seen, ledger: chain })
    }

    /// Whether another environment wants the manifests that are proven in this one: then they are those of now, not those of
    /// a comparison that is minutes old.
    fn is_compared_with(&self) -> bool {
        let here = &self.environment.id;
        let is_it = |gate: &Gate| matches!(gate, Gate::SameManifests { environment } if environment == here);
        let rules = self.project.config.policy.rules.values();
        rules.flat_map(|rules| &rules.gates).any(is_it)
    }

    fn author(&self, question: &Question<'_>) -> Author {
        let key = question.author.clone();
        let ring = &self.project.config.policy.ring;
        let person = key.as_ref().and_then(|key| ring.person(key)).cloned();
        Author { key, person, actor: self.project.run().actor }
    }

    /// Whether a release has a tag: by its build record, or because the tag names it in the registry now.
    async fn has_tag(
        &self,
        release: &Release,
        tag: &Tag,
        recorded: Option<&Tag>,
    ) -> Result<bool, Failure> {
        if recorded == Some(tag) {
            return Ok(true);
        }
        let named = find::tagged(&self.registry.client, &release.repository, tag).await?;
        Ok(named == Some(release.digest))
    }
}

/// The records of the release that the gates look at.
async fn records(
    project: &Project,
    store: &Store,
    gates: &Gates,
    release: &Release,
    now: Timestamp,
) -> Result<Records, String> {
    let ring = &project.config.policy.ring;
    let types = gates.attested_types();
    let records = store.with_attestations(ring, release.digest, &types, now).await;
    records.map_err(|error| format!("{error}: {}", error.kind()))
}

/// The labels of the images, if a condition may look at them: those of the first platform, if there are several.
async fn labels(
    client: &Client,
    gates: &Gates,
    found: &ResolvedRelease,
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
    live: LiveReading,
    healthy_since: Option<Timestamp>,
    testimony: Testimony,
    /// What the ledger has besides promotions.
    records: Records,
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
    let look = applications::together(environment, servers);
    match ledger::ledger_of(project, store, environment, look, now).await {
        Ok((seen, Ledger { chain: ledger, testimony, records, .. })) => {
            let live = drift::live(&seen, &as_promoted(&ledger, release), &ledger);
            let healthy_since = applications::healthy_since(&seen);
            let ledger = match applications::unread(&seen) {
                None => LedgerFact::Known(ledger),
                Some(why) => LedgerFact::Unknown(why),
            };
            Other { id, ledger, live, healthy_since, testimony, records }
        }
        Err(failure) => {
            let why = failure.whole();
            let (ledger, live) = (LedgerFact::Unknown(why.clone()), LiveReading::Unknown(why));
            let (testimony, records) = (Testimony::default(), Records::default());
            Other { id, ledger, live, healthy_since: None, testimony, records }
        }
    }
}

/// A release under the tag that it was promoted with: that one stands in the applications.
fn as_promoted(ledger: &Chain, release: &Release) -> Release {
    let promoted = running(ledger).filter(|promoted| promoted.digest == release.digest);
    let tag = promoted.and_then(|promoted| promoted.tag.as_ref()?.parse().ok());
    Release { tag: tag.or_else(|| release.tag.clone()), ..release.clone() }
}
