//! Restores: what the ledger says was promoted last is put back, and proven.

use verbatim_console::Failure;
use verbatim_record::{Chain, PromotedRelease};

use crate::environment::applications::ObservedApp;
use crate::environment::claims;
use crate::project::signer::RecordSigner;
use crate::promotion::decide::Decided;
use crate::promotion::gather::{Movement, Question};
use crate::promotion::outcome::PromotionResult;
use crate::promotion::overrides::Overrides;
use crate::promotion::{PromotionContext, charts};
use crate::release::Release;
use crate::release::find::ResolvedRelease;

#[derive(Debug)]
pub(crate) struct Restore<'a> {
    pub release: &'a PromotedRelease,
    /// The same, in the registry.
    pub found: &'a ResolvedRelease,
    pub reason: Option<String>,
    /// Put it back although a promotion was proven since, whose record the ledger lacks.
    pub discard_unrecorded: bool,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse.
    pub overrides: Overrides,
    /// Applications of the last promotion that left the environment for good.
    pub without: Vec<String>,
}

/// Puts the recorded release back, or only shows that if there is no key. If everything stands as recorded it is proven
/// again, and nothing is written. It fails as a promotion does.
pub(crate) async fn restore(
    context: &PromotionContext<'_>,
    request: &Restore<'_>,
    key: Option<&RecordSigner>,
) -> Result<PromotionResult, Failure> {
    let Restore { found, overrides, take_over, .. } = request;
    let question = Question {
        found,
        movement: Movement::Restore {
            recorded: request.release.digest,
            reason: request.reason.as_deref(),
        },
        author: key.map(|key| key.verifying_key().id()),
        overrides,
        without: &request.without,
        compares: false,
    };
    let situation = context.gather(&question).await?;
    if !request.discard_unrecorded {
        context.refuse_unrecorded(&situation.seen, Some(&situation.release), &situation.ledger)?;
    }
    let then = situation.ledger.head().map(|head| charts::revisions(head.predicate()));
    let admitted = match Decided::decide(&context.gates, &question, situation)?.admit() {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refused.into_result()),
    };
    let mut planned = admitted.plan(context, found, overrides, *take_over).await?;
    planned.note_charts(&then.unwrap_or_default());
    context.carry_out_or_show(planned, found, key).await
}

impl PromotionContext<'_> {
    /// Stops a restore that would undo a promotion only because its record could not be attached yet. `promoted` is what
    /// the ledger says was promoted last.
    pub(crate) fn refuse_unrecorded(
        &self,
        seen: &[ObservedApp],
        promoted: Option<&Release>,
        ledger: &Chain,
    ) -> Result<(), Failure> {
        let readable = seen.iter().filter_map(|it| Some((&it.app, it.application.as_ref().ok()?)));
        let unrecorded = claims::unrecorded(readable, promoted, ledger);
        let state_folder = self.project.state_folder();
        match claims::refusal(unrecorded, &self.environment.id, &state_folder) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }
}
