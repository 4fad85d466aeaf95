//! Locks and vetoes that come while a promotion is under way: it goes to no further application then.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use verbatim_console::ExitStatus;
use verbatim_oci::Digest;
use verbatim_policy::GateKind;
use verbatim_record::{
    Anchors, Ban, BanPlace, EnvironmentId, Lock, PromotionKind, Records, Verified, in_force,
    vetoes_against,
};
use verbatim_text::joined;

use super::PromotionContext;
use super::decide::Considered;
use crate::project::failures;

/// How old the last look may be. A look costs two listings, and a lock is made by a person.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// Looks for locks and vetoes from time to time.
#[derive(Debug)]
pub(super) struct BanWatch<'a> {
    context: &'a PromotionContext<'a>,
    release: Digest,
    /// The gates that somebody overrides.
    overridden: BTreeSet<GateKind>,
    /// The last look, and what it found.
    last: Mutex<(Timestamp, Option<Stop>)>,
}

/// Why a promotion goes no further.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// In words.
    Banned(String),
    /// It could not be found out whether it may go on.
    Unknown { why: String, status: ExitStatus },
}

impl<'a> BanWatch<'a> {
    /// Watches for a release about which everything was decided a moment ago. A way back is watched by nobody: it is what
    /// people lock for.
    pub(super) fn of(context: &'a PromotionContext<'a>, considered: &Considered) -> Option<Self> {
        if considered.kind != PromotionKind::Promotion {
            return None;
        }
        let answers = considered.decision.answers.iter();
        let overridden = answers.filter(|answer| answer.overridden.is_some());
        Some(Self {
            context,
            release: considered.release.digest,
            overridden: overridden.map(|answer| answer.gate.kind()).collect(),
            last: Mutex::new((considered.decided_at, None)),
        })
    }

    /// Why the next application is not to be begun. Whoever asks while another one looks gets its answer.
    pub(super) async fn stop(&self) -> Option<Stop> {
        let mut last = self.last.lock().await;
        let now = Timestamp::now();
        if last.1.is_none() && now.duration_since(last.0) > LOOK_EVERY {
            *last = (now, self.look(now).await);
        }
        last.1.clone()
    }

    async fn look(&self, now: Timestamp) -> Option<Stop> {
        let PromotionContext { project, registry, environment, .. } = self.context;
        let (store, ring, id) = (&registry.store, &project.config.policy.ring, &environment.id);
        let of_environment = store.of_environment(ring, id, Anchors::NONE, now);
        let of_release = store.of_release(ring, self.release, now);
        match tokio::try_join!(of_environment, of_release) {
            Ok((ledger, release)) => {
                let bans = [&ledger.records, &release];
                banned(&self.release, id, bans, &self.overridden, now).map(Stop::Banned)
            }
            Err(error) => {
                let failure = failures::registry(error).context("cannot tell whether it may go on");
                Some(Stop::Unknown { why: failure.whole(), status: failure.status })
            }
        }
    }
}

/// What keeps a release out of an environment, by the records of the environment and of the release. Pure.
fn banned(
    release: &Digest,
    environment: &EnvironmentId,
    [of_environment, of_release]: [&Records; 2],
    overridden: &BTreeSet<GateKind>,
    now: Timestamp,
) -> Option<String> {
    let of_here = |lock: &&Verified<Lock>| lock.environment() == Some(environment);
    let locks: Vec<_> = of_environment.locks.iter().filter(of_here).cloned().collect();
    let lists = [of_release.vetoes.as_slice(), of_environment.vetoes.as_slice()];
    let vetoes = vetoes_against(release, environment, lists);
    let locked = (!overridden.contains(&GateKind::Locked)).then(|| first(&locks, now)).flatten();
    let vetoed = (!overridden.contains(&GateKind::Vetoed)).then(|| first(&vetoes, now)).flatten();
    let locked = locked.map(|why| format!("{environment} was locked meanwhile: {why}"));
    locked.or_else(|| vetoed.map(|why| format!("the release was vetoed meanwhile: {why}")))
}

fn first<P: BanPlace>(bans: &[Verified<Ban<P>>], now: Timestamp) -> Option<String> {
    in_force(bans, now).first().map(|ban| joined(&ban.predicate().reason))
}
