//! Restores: what the ledger says was promoted last is put back, and proven.

use verbatim_console::{ExitStatus, Failure};
use verbatim_policy::decide;
use verbatim_record::{Chain, PromotedRelease, PromotionKind};

use crate::environment::applications::Seen;
use crate::environment::unrecorded;
use crate::project::signer::RecordSigner;
use crate::promotion::outcome::Promoted;
use crate::promotion::overrides::Overrides;
use crate::promotion::steps::News;
use crate::promotion::{Site, charts};
use crate::release::Release;
use crate::release::find::Found;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Restore<'a> {
    /// The recorded release.
    pub release: &'a PromotedRelease,
    /// The same, in the registry.
    pub found: &'a Found,
    /// Why, for the record.
    pub reason: Option<String>,
    /// Put it back although a promotion was proven since, whose record the ledger lacks.
    pub discard_unrecorded: bool,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse.
    pub overrides: Overrides,
}

/// Puts the recorded release back, or only shows that if there is no key. If everything stands as recorded it is proven
/// again, and nothing is written.
///
/// # Errors
/// What stopped it before anything was written, or kept its record from being attached. All else is an outcome.
pub(crate) async fn restore(
    site: &Site<'_>,
    request: &Restore<'_>,
    key: Option<&RecordSigner>,
) -> Result<Promoted, Failure> {
    let mut situation = site.gather(request.found).await?;
    if !request.discard_unrecorded {
        site.refuse_unrecorded(&situation.seen, Some(&situation.release), &situation.ledger)?;
    }
    situation.facts.is_rollback = true;
    situation.facts.author.key = key.map(|key| key.verifying_key().id());
    let mut decision = decide(&site.gates, &situation.facts);
    request.overrides.apply(&mut decision)?;
    let mut promoted = Promoted::begin(site.environment, &situation.release, decision);
    promoted.kind = PromotionKind::Restore;
    let Some(mut entry) = promoted.entry(&situation) else { return Ok(promoted) };
    if entry.before != Some(request.release.digest) {
        promoted.notes.push("another release was promoted meanwhile".to_owned());
        return Ok(Promoted { status: ExitStatus::Conflict, ..promoted });
    }
    entry.kind = PromotionKind::Restore;
    // If everything is in its place, that is only proven once more.
    entry.news = News::IfWritten;
    entry.reason.clone_from(&request.reason);
    if !promoted.decision.allowed {
        return Ok(promoted);
    }
    let then = situation.ledger.head().map(|head| charts::revisions(head.predicate()));
    let mut planned = site.plan(situation, request.found, request.take_over).await?;
    planned.plan.overrides = request.overrides.to_plan();
    promoted.planned(&planned);
    promoted.notes.extend(charts::stay(&planned.plan.apps, &then.unwrap_or_default()));
    match key {
        Some(key) if planned.is_ready => {
            site.carry_out(promoted, planned, entry, request.found, key).await
        }
        None if planned.is_ready => {
            site.preview(&mut promoted, &planned).await?;
            Ok(promoted)
        }
        _ => Ok(promoted),
    }
}

impl Site<'_> {
    /// Stops a restore that would undo a promotion only because its record could not be attached yet. `promoted` is what
    /// the ledger says was promoted last.
    ///
    /// # Errors
    /// There is one.
    pub(crate) fn refuse_unrecorded(
        &self,
        seen: &[Seen],
        promoted: Option<&Release>,
        ledger: &Chain,
    ) -> Result<(), Failure> {
        let readable = seen.iter().filter_map(|it| Some((&it.app, it.application.as_ref().ok()?)));
        let unrecorded = unrecorded::unrecorded(readable, promoted, ledger);
        let state_folder = self.project.state_folder();
        match unrecorded::refusal(unrecorded, &self.environment.id, &state_folder) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }
}
