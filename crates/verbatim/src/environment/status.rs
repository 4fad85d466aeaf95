//! What is known of each environment: what was promoted there last, how the applications stand to that, and what keeps
//! releases out. One environment about which something cannot be found out does not keep the others from being told.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::Application;
use verbatim_console::{ExitStatus, Failure, FailureReport};
use verbatim_oci::{Digest, Reference, Repository};
use verbatim_record::{
    Ban, BanPlace, Chain, EnvironmentId, PolicyChange, Promotion, Records, RejectedRecord,
    Verified, Veto, in_force, vetoes_against,
};
use verbatim_text::Words;

use crate::config::{App, Environment};
use crate::environment::applications::{self, ObservedApp, Servers};
use crate::environment::claims::{Attempt, Unrecorded};
use crate::environment::drift::Drift;
use crate::environment::ledger::{self, RecordsRepository};
use crate::environment::missing::{self, MissingApp, missing};
use crate::environment::rules::{self, PolicyStamp};
use crate::environment::standing::{EnvironmentState, Expected, Standing, standing};
use crate::project::{Project, failures};
use crate::records::Registry;
use crate::records::store::Ledger;
use crate::release::find;
use crate::release::result::{PromotionPlace, ReleaseResult};

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub environment: EnvironmentId,
    /// What was promoted there last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionPlace>,
    /// When the release began to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(flatten)]
    pub state: EnvironmentState,
    /// Promotions that have not come to their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<Attempt>,
    /// Promotions that were proven and that the ledger lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<Unrecorded>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, Vec<Drift>>,
    /// What runs by what Argo CD says, by application, if the ledger cannot be read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub live: BTreeMap<String, Vec<String>>,
    /// What of the policy is not as it was at the last promotion.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_changes: Vec<PolicyChange>,
    /// What keeps every release out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Banned>,
    /// What says that the release must not be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vetoes: Vec<Banned>,
    /// Promotions of trusted keys that do not count, for what their keys may say and how long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedRecord>,
    /// What kept something from being found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureReport>,
    /// How the command ends if this is all.
    #[serde(skip)]
    pub status: ExitStatus,
}

/// A lock or a veto that is in force.
#[derive(Debug, Serialize)]
pub(crate) struct Banned {
    pub reason: Words,
    /// The name of the key.
    pub signed_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when; without, until it is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    pub record: Digest,
}

impl Banned {
    fn of<P: BanPlace>(bans: &[Verified<Ban<P>>], now: Timestamp) -> Vec<Self> {
        let in_force = in_force(bans, now).into_iter();
        in_force
            .map(|ban| Self {
                reason: ban.predicate().reason.as_str().into(),
                signed_by: ban.signed_by().to_owned(),
                since: ban.recorded_at(),
                until: ban.predicate().until,
                record: ban.record(),
            })
            .collect()
    }
}

impl fmt::Display for Banned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}", self.signed_by)?;
        if let Some(until) = self.until {
            write!(f, " until {until:.0}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl Row {
    /// An environment of which nothing is known yet.
    fn of(environment: &Environment) -> Self {
        Self {
            environment: environment.id.clone(),
            release: None,
            promotion: None,
            since: None,
            state: EnvironmentState::Empty,
            unfinished: Vec::new(),
            unrecorded: Vec::new(),
            drift: BTreeMap::new(),
            live: BTreeMap::new(),
            policy_changes: Vec::new(),
            locks: Vec::new(),
            vetoes: Vec::new(),
            rejected: Vec::new(),
            error: None,
            status: ExitStatus::Done,
        }
    }

    /// The state, and what is to be known beside it.
    pub(crate) fn told(&self) -> String {
        let locks = self.locks.iter().map(|lock| format!("locked {lock}"));
        let vetoes = self.vetoes.iter().map(|veto| format!("vetoed {veto}"));
        let policy = self.policy_changes.iter().map(ToString::to_string);
        let live = self.live.iter().map(|(app, images)| match images.as_slice() {
            [] => format!("{app}: Argo CD tells of no image of this project"),
            images => format!("{app}: runs {}, by Argo CD", images.join(", ")),
        });
        let state = std::iter::once(self.state.to_string());
        let all = state.chain(live).chain(vetoes).chain(locks).chain(policy);
        all.collect::<Vec<_>>().join("; ")
    }

    /// Whether somebody has to do something.
    pub(crate) fn is_wrong(&self) -> bool {
        let is_so = matches!(
            self.state,
            EnvironmentState::Unfinished(_)
                | EnvironmentState::Unrecorded(_)
                | EnvironmentState::Drift(_)
                | EnvironmentState::LedgerBroken(_)
        );
        let is_known = !self.unfinished.is_empty() || !self.unrecorded.is_empty();
        is_so || is_known || !self.vetoes.is_empty() || !self.drift.is_empty()
    }

    /// What puts it right. A release that has a veto is not to be restored, what a promotion has begun is not to be undone
    /// without a thought, and what only lacks its record is not to be undone at all.
    pub(crate) fn hints(&self) -> Vec<String> {
        let (name, is_promoted) = (self.environment.name(), self.promotion.is_some());
        let lacking = self.unrecorded.iter().map(|it| it.hint(name));
        let unfinished = self.unfinished.iter().map(|attempt| attempt.hint(name, is_promoted));
        let hints: Vec<String> = lacking.chain(unfinished).collect();
        if !self.vetoes.is_empty() && self.unrecorded.is_empty() {
            return vec![format!("verbatim rollback {name}")];
        }
        if !hints.is_empty() {
            return hints;
        }
        let is_missing = |(_, drift): &(&String, &Vec<Drift>)| drift.contains(&Drift::Missing);
        if let Some((app, _)) = self.drift.iter().find(is_missing) {
            return vec![missing::hint("promote", name, app)];
        }
        let is_restorable = is_promoted && !self.drift.is_empty();
        is_restorable.then(|| format!("verbatim restore {name}")).into_iter().collect()
    }

    /// Something that has to be known could not be read.
    fn unknown(self, failure: &Failure) -> Self {
        let (state, status) = (EnvironmentState::Unknown(failure.to_string()), failure.status);
        Self { state, status, error: Some(failure.report()), ..self }
    }
}

/// What is known of an environment.
pub(crate) async fn row(
    project: &Project,
    registry: &Registry,
    servers: &Servers,
    environment: &Environment,
    now: Timestamp,
) -> Row {
    let row = Row::of(environment);
    let look = async {
        servers.check(project, environment)?;
        applications::at(environment, servers).await
    };
    let (store, repository) = (&registry.store, RecordsRepository::HasToBeThere);
    let (seen, ledger) = ledger::apart(project, store, environment, repository, look, now).await;
    let (seen, ledger) = match (seen, ledger) {
        (Ok(seen), Ok(ledger)) => ((seen, None), ledger),
        // What is wrong with the configuration or a login is mended first.
        (Err(failure), _) if failure.status == ExitStatus::Usage => return row.unknown(&failure),
        // Each tells what the other does not know.
        (Err(failure), Ok(ledger)) => ((Vec::new(), Some(failure)), ledger),
        (seen, Err(failure)) => {
            let live = live(project, &seen.unwrap_or_default());
            return Row { live, ..row }.unknown(&failure);
        }
    };
    let (seen, unasked) = seen;
    let Ledger { chain: ledger, records, .. } = ledger;
    let (before, policy) =
        (PolicyStamp::last(ledger.promotions()), PolicyStamp::of(&project.config.policy));
    let policy_changes = rules::changes(before.as_ref(), policy.as_ref());
    let rejected = ledger.not_counted().to_vec();
    let row = Row { locks: Banned::of(&records.locks, now), policy_changes, rejected, ..row };
    if let Some(fault) = ledger.faults().first() {
        return Row { state: EnvironmentState::LedgerBroken(fault.to_string()), ..row };
    }
    // An application that nobody could list is not missing.
    let missing = if unasked.is_some() { Vec::new() } else { missing(&ledger, &seen) };
    let (seen, unread) = split(seen);
    let row = match ledger.head() {
        None => unpromoted(project, &seen, &ledger, row, now),
        Some(head) => {
            let vetoes = vetoes(project, registry, environment, head, &records, now).await;
            let row = promoted(project, (&seen, &missing), &ledger, head, row, now);
            match vetoes {
                Ok(vetoes) => Row { vetoes: Banned::of(&vetoes, now), ..row },
                Err(failure) => return row.unknown(&failure),
            }
        }
    };
    match unasked.or_else(|| unread.into_iter().next()) {
        Some(failure) => row.unknown(&failure),
        None => row,
    }
}

/// What Argo CD says that runs, of the images of the project: all that is known without the ledger.
fn live(project: &Project, seen: &[ObservedApp]) -> BTreeMap<String, Vec<String>> {
    let repositories: Vec<&Repository> =
        project.config.images.values().map(|image| &image.repository).collect();
    let is_ours = |image: &&String| {
        let reference: Result<Reference, _> = image.parse();
        reference.is_ok_and(|reference| repositories.contains(&&reference.repository))
    };
    let images = |application: &Application| {
        application.status.summary.images.iter().filter(is_ours).cloned().collect()
    };
    let read =
        seen.iter().filter_map(|it| Some((it.app.name.clone(), it.application.as_ref().ok()?)));
    read.map(|(name, application)| (name, images(application))).collect()
}

/// The applications that could be read, and what kept the others from being.
fn split(seen: Vec<ObservedApp>) -> (Vec<(App, Application)>, Vec<Failure>) {
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for ObservedApp { app, application, .. } in seen {
        match application {
            Ok(application) => read.push((app, application)),
            Err(mut error) => {
                error.action = format!("read {} of Argo CD {}", app.name, error.server);
                unread.push(failures::argocd(error));
            }
        }
    }
    (read, unread)
}

/// The vetoes against what was promoted last: those of the environment, and those of the release.
async fn vetoes(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    head: &Verified<Promotion>,
    records: &Records,
    now: Timestamp,
) -> Result<Vec<Verified<Veto>>, Failure> {
    let digest = &head.predicate().release.digest;
    let ring = &project.config.policy.ring;
    let of_release = registry.store.of_release(ring, *digest, now).await;
    let of_release = of_release.map_err(|error| {
        failures::registry(error).context(format!("cannot tell whether {digest} has a veto"))
    })?;
    let lists = [of_release.vetoes.as_slice(), records.vetoes.as_slice()];
    Ok(vetoes_against(digest, &environment.id, lists))
}

/// An environment with a last promotion.
fn promoted(
    project: &Project,
    seen: (&[(App, Application)], &[MissingApp]),
    ledger: &Chain,
    head: &Verified<Promotion>,
    row: Row,
    now: Timestamp,
) -> Row {
    let promoted = &head.predicate().release;
    let row = Row {
        release: Some(promoted.into()),
        promotion: ledger.anchor().map(PromotionPlace::from),
        since: ledger.began().and_then(Verified::recorded_at),
        ..row
    };
    match find::recorded(project, promoted) {
        Some(release) => judged(project, seen, Expected::Release(&release), ledger, row, now),
        None => {
            let why = "the promoted release is not of this configuration".to_owned();
            Row { state: EnvironmentState::Unknown(why), status: ExitStatus::Unknown, ..row }
        }
    }
}

/// An environment to which nothing was promoted; something of the project may run there all the same.
fn unpromoted(
    project: &Project,
    seen: &[(App, Application)],
    ledger: &Chain,
    row: Row,
    now: Timestamp,
) -> Row {
    let repositories: Vec<&Repository> =
        project.config.images.values().map(|image| &image.repository).collect();
    judged(project, (seen, &[]), Expected::Nothing(&repositories), ledger, row, now)
}

/// `seen`: the applications that are there, and those that were part of the last promotion and are not.
fn judged(
    project: &Project,
    (seen, missing): (&[(App, Application)], &[MissingApp]),
    expected: Expected<'_>,
    ledger: &Chain,
    row: Row,
    now: Timestamp,
) -> Row {
    let seen: Vec<(&App, &Application)> = seen.iter().map(|(app, it)| (app, it)).collect();
    let Standing { state, unfinished, mut unrecorded, drift } =
        standing(&seen, missing, expected, ledger, now);
    unrecorded.iter_mut().for_each(|it| it.look_below(&project.state_folder()));
    Row { state, unfinished, unrecorded, drift, ..row }
}
