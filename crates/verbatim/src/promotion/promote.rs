//! Promotes: a release enters an environment because every gate lets it in.

use verbatim_console::Failure;
use verbatim_policy::{Decision, decide};

use super::PromotionContext;
use super::decide::Decided;
use super::gather::{Movement, Question, Situation};
use super::outcome::PromotionResult;
use super::overrides::Overrides;
use crate::project::signer::RecordSigner;
use crate::release::Release;
use crate::release::find::ResolvedRelease;

#[derive(Debug)]
pub(crate) struct Promote<'a> {
    /// The release, in the registry.
    pub found: &'a ResolvedRelease,
    /// Promote although a newer release runs there.
    pub backwards: bool,
    /// Record it also if it is there already, by the ledger and by what is found.
    pub again: bool,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse.
    pub overrides: &'a Overrides,
    /// Applications of the last promotion that left the environment for good.
    pub without: &'a [String],
}

/// Promotes a release. It fails with what stopped it before anything was written, or kept its record from being attached;
/// all else is a result.
pub(crate) async fn promote(
    context: &PromotionContext<'_>,
    request: &Promote<'_>,
    key: &RecordSigner,
) -> Result<PromotionResult, Failure> {
    let Promote { found, overrides, take_over, backwards, .. } = *request;
    let decided = context.decided_in_time(async || decided(context, request, Some(key)).await);
    let admitted = match decided.await?.admit() {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refused.into_result()),
    };
    let result = match admitted.plan(context, found, overrides, take_over).await?.ready() {
        Ok(ready) => context.finish(ready, found, key).await?,
        Err(not_ready) => not_ready.into_result(),
    };
    // Whoever goes backwards on purpose knows of the newer one.
    let result = if backwards { result } else { context.or_superseded(result).await };
    Ok(context.or_restored(result, request.without, key).await)
}

/// Plans a promotion and shows it, whatever the gates say: they may open before the plan is applied.
pub(crate) async fn preview(
    context: &PromotionContext<'_>,
    request: &Promote<'_>,
) -> Result<PromotionResult, Failure> {
    let Promote { found, overrides, take_over, .. } = *request;
    let (considered, sketch) = match decided(context, request, None).await?.admit() {
        Ok(admitted) => {
            let planned = admitted.plan(context, found, overrides, take_over).await?;
            (planned.considered, planned.sketch)
        }
        Err(mut refused) => match refused.sketch(context, found, overrides, take_over).await? {
            Some(sketch) => (refused.considered, sketch),
            None => return Ok(refused.into_result()),
        },
    };
    let preview = sketch.preview(context).await?;
    Ok(considered.shown(sketch, preview))
}

/// Asks the gates what they say of a release, and nothing else.
pub(crate) async fn ask(
    context: &PromotionContext<'_>,
    found: &ResolvedRelease,
) -> Result<(Release, Decision), Failure> {
    let (overrides, movement) =
        (Overrides::default(), Movement::Promote { backwards: true, again: true });
    let question = Question {
        found,
        movement,
        author: None,
        overrides: &overrides,
        without: &[],
        compares: false,
    };
    let Situation { release, facts, .. } = context.gather(&question).await?;
    Ok((release, decide(&context.gates, &facts)))
}

async fn decided(
    context: &PromotionContext<'_>,
    request: &Promote<'_>,
    key: Option<&RecordSigner>,
) -> Result<Decided, Failure> {
    let Promote { found, backwards, again, overrides, without, .. } = *request;
    let question = Question {
        found,
        movement: Movement::Promote { backwards, again },
        author: key.map(|key| key.verifying_key().id()),
        overrides,
        without,
        compares: key.is_none(),
    };
    let situation = context.gather(&question).await?;
    Decided::decide(&context.gates, &question, situation)
}
