//! Applies a saved plan: exactly what it says, or nothing.

use verbatim_console::{ExitStatus, Failure};
use verbatim_policy::decide;

use super::outcome::Promoted;
use super::overrides::Overrides;
use super::{SavedPlan, Site};
use crate::project::signer::RecordSigner;
use crate::release::find::Found;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Apply<'a> {
    /// The plan.
    pub saved: &'a SavedPlan,
    /// Its release, in the registry.
    pub found: &'a Found,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse, those that the plan names among them.
    pub overrides: &'a Overrides,
}

/// Applies a plan. The gates are asked again, since a plan is no permission; which release is the newer is not, since the
/// ledger must be the one that the plan was made on.
///
/// # Errors
/// What stopped it before anything was written, or kept its record from being attached. All else is an outcome.
pub(crate) async fn apply(
    site: &Site<'_>,
    request: &Apply<'_>,
    key: &RecordSigner,
) -> Result<Promoted, Failure> {
    let Apply { saved, found, take_over, overrides } = *request;
    let mut situation = site.gather(found).await?;
    // The tag is written, too: it has to be the one of the plan, however the release is known now.
    situation.release = saved.plan.release.clone();
    // An approval may be for exactly this plan.
    situation.facts.plan = Some(saved.hash);
    situation.facts.author.key = Some(key.verifying_key().id());
    let mut decision = decide(&site.gates, &situation.facts);
    overrides.apply(&mut decision)?;
    let mut promoted = Promoted::begin(site.environment, &situation.release, decision);
    let Some(mut entry) = promoted.entry(&situation) else { return Ok(promoted) };
    entry.reason = promoted.decision.override_reason().map(ToOwned::to_owned);
    let mut planned = site.plan(situation, found, take_over).await?;
    // What is overridden beyond the plan is no part of it, so that its hash stays the one that was approved.
    planned.plan.overrides.clone_from(&saved.plan.overrides);
    promoted.planned(&planned);
    promoted.outdated = planned.plan.differences(&saved.plan);
    if !promoted.outdated.is_empty() {
        return Ok(Promoted { status: ExitStatus::Conflict, ..promoted });
    }
    if !promoted.decision.allowed {
        return Ok(Promoted { status: ExitStatus::No, ..promoted });
    }
    match planned.is_ready {
        true => site.carry_out(promoted, planned, entry, found, key).await,
        false => Ok(promoted),
    }
}
