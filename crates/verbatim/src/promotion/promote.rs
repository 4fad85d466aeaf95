//! Promotes: a release enters an environment because every gate lets it in.

use std::ops::ControlFlow;

use verbatim_console::{ExitStatus, Failure};
use verbatim_policy::{Order, decide};
use verbatim_record::{Promotion, Verified};

use super::outcome::Promoted;
use super::overrides::Overrides;
use super::steps::{Entry, News, Situation};
use super::{Site, charts};
use crate::project::signer::RecordSigner;
use crate::records::running;
use crate::release::find::Found;
use crate::release::result::ReleaseResult;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// What.
    pub found: &'a Found,
    /// Promote although a newer release runs there.
    pub backwards: bool,
    /// Record it also if it is there already, by the ledger and by what is found.
    pub again: bool,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse.
    pub overrides: &'a Overrides,
}

/// A release that could enter, as far as its age and the ledger tell; what the gates say is in `promoted`.
struct Candidate {
    promoted: Promoted,
    situation: Situation,
    entry: Entry,
}

/// Promotes a release.
///
/// # Errors
/// What stopped it before anything was written, or kept its record from being attached. All else is an outcome.
pub(crate) async fn promote(
    site: &Site<'_>,
    request: &Request<'_>,
    key: &RecordSigner,
) -> Result<Promoted, Failure> {
    let Candidate { mut promoted, situation, entry } =
        match candidate(site, request, Some(key)).await? {
            ControlFlow::Continue(candidate) => candidate,
            ControlFlow::Break(promoted) => return Ok(promoted),
        };
    if !promoted.decision.allowed {
        return Ok(promoted);
    }
    let mut planned = site.plan(situation, request.found, request.take_over).await?;
    planned.plan.overrides = request.overrides.to_plan();
    promoted.planned(&planned);
    match planned.is_ready {
        true => site.carry_out(promoted, planned, entry, request.found, key).await,
        false => Ok(promoted),
    }
}

/// Plans a promotion and shows it, whatever the gates say: they may open before the plan is applied.
///
/// # Errors
/// What kept the plan from being made.
pub(crate) async fn preview(site: &Site<'_>, request: &Request<'_>) -> Result<Promoted, Failure> {
    let Candidate { mut promoted, situation, .. } = match candidate(site, request, None).await? {
        ControlFlow::Continue(candidate) => candidate,
        ControlFlow::Break(promoted) => return Ok(promoted),
    };
    let mut planned = site.plan(situation, request.found, request.take_over).await?;
    planned.plan.overrides = request.overrides.to_plan();
    promoted.planned(&planned);
    if planned.is_ready {
        site.preview(&mut promoted, &planned).await?;
    }
    Ok(promoted)
}

async fn candidate(
    site: &Site<'_>,
    request: &Request<'_>,
    key: Option<&RecordSigner>,
) -> Result<ControlFlow<Promoted, Candidate>, Failure> {
    let mut situation = site.gather(request.found).await?;
    situation.facts.author.key = key.map(|key| key.verifying_key().id());
    let mut decision = decide(&site.gates, &situation.facts);
    request.overrides.apply(&mut decision)?;
    let mut promoted = Promoted::begin(site.environment, &situation.release, decision);
    if let (Order::Older(_), false) = (situation.facts.order, request.backwards) {
        promoted.superseded_by = running(&situation.ledger).map(ReleaseResult::from);
    }
    if promoted.superseded_by.is_some() {
        return Ok(ControlFlow::Break(Promoted { status: ExitStatus::Superseded, ..promoted }));
    }
    Ok(match promoted.entry(&situation) {
        Some(mut entry) => {
            entry.reason = promoted.decision.override_reason().map(ToOwned::to_owned);
            let head = situation.ledger.head().map(Verified::predicate);
            let is_there = |head: &&Promotion| {
                !request.again && head.release.digest == situation.release.digest
            };
            if let Some(head) = head.filter(is_there) {
                entry.news = News::IfWrittenOrOther(charts::revisions(head));
            }
            ControlFlow::Continue(Candidate { promoted, situation, entry })
        }
        None => ControlFlow::Break(promoted),
    })
}
