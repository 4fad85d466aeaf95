//! Applies a saved plan: exactly what it says, or nothing.

use verbatim_console::Failure;

use super::decide::Decided;
use super::gather::{Movement, Question};
use super::outcome::PromotionResult;
use super::overrides::Overrides;
use super::{PromotionContext, SavedPlan};
use crate::project::signer::RecordSigner;
use crate::release::find::ResolvedRelease;

#[derive(Debug)]
pub(crate) struct Apply<'a> {
    pub saved: &'a SavedPlan,
    /// Its release, in the registry.
    pub found: &'a ResolvedRelease,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse: those that somebody who may says, of the plan or not.
    pub overrides: &'a Overrides,
    /// Applications of the last promotion that left the environment for good, as somebody who may says.
    pub without: &'a [String],
}

/// Applies a plan. The file says what is meant and grants nothing: the release is read from the registry, the gates are
/// asked again, and the plan that is made anew must be the saved one, hash for hash. Which release is the newer is not asked,
/// because the ledger must be the one that the plan was made on. It fails as a promotion does.
pub(crate) async fn apply(
    context: &PromotionContext<'_>,
    request: &Apply<'_>,
    key: &RecordSigner,
) -> Result<PromotionResult, Failure> {
    let Apply { saved, found, take_over, overrides, without } = *request;
    let question = Question {
        found,
        movement: Movement::Apply(saved),
        author: Some(key.verifying_key().id()),
        overrides,
        without,
        compares: true,
    };
    let situation = context.gather(&question).await?;
    // What is overridden beyond the plan is no part of it, so that its hash stays the one that was approved.
    let of_plan = Overrides::planned(&saved.plan.overrides);
    match Decided::decide(&context.gates, &question, situation)?.admit() {
        Ok(admitted) => {
            let mut planned = admitted.plan(context, found, &of_plan, take_over).await?;
            // An approval may be of this plan, and then it is of its age.
            planned.sketch.plan.made_at = saved.plan.made_at;
            let outdated = planned.sketch.plan.differences(&saved.plan);
            if !outdated.is_empty() {
                return Ok(planned.considered.outdated(planned.sketch, outdated));
            }
            let result = match planned.ready() {
                Ok(ready) => context.finish(ready.pinned(), found, key).await?,
                Err(not_ready) => not_ready.into_result(),
            };
            let result = context.or_superseded(result).await;
            Ok(context.or_restored(result, without, key).await)
        }
        // That the world has moved on is worth more than what a gate says of it.
        Err(mut refused) => match refused.sketch(context, found, &of_plan, take_over).await? {
            Some(mut sketch) => {
                sketch.plan.made_at = saved.plan.made_at;
                let outdated = sketch.plan.differences(&saved.plan);
                match outdated.is_empty() {
                    true => Ok(refused.into_result()),
                    false => Ok(refused.considered.outdated(sketch, outdated)),
                }
            }
            None => Ok(refused.into_result()),
        },
    }
}
