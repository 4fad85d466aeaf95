//! Rolls back: the last good release enters again, and the bad one is kept out.

use jiff::Timestamp;
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::{Digest, Reference};
use verbatim_policy::decide;
use verbatim_record::{PromotionKind, Statement, Verified, Veto, in_force};

use super::choose::{Goal, Target, choose};
use crate::environment::applications::{self, Seen};
use crate::project::failures;
use crate::project::signer::RecordSigner;
use crate::promotion::outcome::Promoted;
use crate::promotion::overrides::Overrides;
use crate::promotion::steps::Situation;
use crate::promotion::{Site, charts};
use crate::records::attach::{self, What};
use crate::records::store::{Ledger, Wanted};
use crate::records::{Registry, running};
use crate::release::Named;
use crate::release::find::{self, Found};

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Rollback {
    /// How far back.
    pub goal: Goal,
    /// Where the release that is left must not go again.
    pub veto: VetoScope,
    /// Why, for the records.
    pub reason: Option<String>,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse.
    pub overrides: Overrides,
}

/// Where a release that was bad must not go again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum VetoScope {
    /// Into the environment that is rolled back
    #[default]
    Environment,
    /// Into any environment
    All,
    /// No veto: it may go anywhere
    None,
}

/// Rolls back, or only shows it if there is no key.
///
/// # Errors
/// What stopped it before anything was written, or kept its record from being attached. All else is an outcome.
pub(crate) async fn rollback(
    site: &Site<'_>,
    request: &Rollback,
    key: Option<&RecordSigner>,
) -> Result<Promoted, Failure> {
    let (target, bad) = target(site, request.goal).await?;
    let found = found(site, &target).await?;
    let mut situation = site.gather(&found).await?;
    situation.facts.is_rollback = true;
    situation.facts.author.key = key.map(|key| key.verifying_key().id());
    let mut decision = decide(&site.gates, &situation.facts);
    request.overrides.apply(&mut decision)?;
    let mut promoted = Promoted::begin(site.environment, &situation.release, decision);
    promoted.kind = PromotionKind::Rollback;
    promoted.notes.push(format!(
        "back to {}, which was promoted as number {}",
        situation.release, target.sequence
    ));
    promoted.notes.extend(argocd_knows(&situation));
    let Some(mut entry) = promoted.entry(&situation) else { return Ok(promoted) };
    entry.kind = PromotionKind::Rollback;
    entry.reason.clone_from(&request.reason);
    if !promoted.decision.allowed {
        return Ok(promoted);
    }
    let mut planned = site.plan(situation, &found, request.take_over).await?;
    planned.plan.overrides = request.overrides.to_plan();
    promoted.planned(&planned);
    promoted.notes.extend(charts::stay(&planned.plan.apps, &target.revisions));
    let Some(key) = key else {
        if planned.is_ready {
            site.preview(&mut promoted, &planned).await?;
        }
        return Ok(promoted);
    };
    if !planned.is_ready {
        return Ok(promoted);
    }
    // First: while the old release is on its way, a pipeline might bring the bad one again.
    let mut vetoed = Ok(());
    if let (Some(bad), true) = (bad, request.veto != VetoScope::None) {
        vetoed = veto(site, request, bad, key).await;
        match &vetoed {
            Ok(()) => promoted.vetoed = Some(bad),
            Err(failure) => {
                site.console.warn(format!("no veto: {}; going on", failure.whole()));
            }
        }
    }
    let moved = site.carry_out(promoted, planned, entry, &found, key).await;
    match (moved, vetoed) {
        (Ok(promoted), Err(failure)) if promoted.status == ExitStatus::Done => {
            site.console.result(&promoted)?;
            Err(failure)
        }
        // What became of the move is the more important, but the veto is not to get lost.
        (Ok(promoted), Err(failure)) => {
            failure.hints.iter().for_each(|hint| site.console.status(format!("hint: {hint}")));
            Ok(promoted)
        }
        (Err(moved), Err(vetoed)) => Err(vetoed.hints.into_iter().fold(moved, Failure::hint)),
        (moved, Ok(())) => moved,
    }
}

/// Where to go back to, and the release that is left, if it is known.
async fn target(site: &Site<'_>, goal: Goal) -> Result<(Target, Option<Digest>), Failure> {
    let progress = site.console.progress("looking for the last good release");
    let now = Timestamp::now();
    let seen = applications::at(site.environment, &site.servers).await?;
    let id = &site.environment.id;
    let ring = &site.project.config.policy.ring;
    let wanted = Wanted::only::<Veto>();
    let anchors = applications::anchors(&seen);
    let store = &site.registry.store;
    let Ledger { chain, records, .. } =
        store.of_environment(ring, id, &wanted, &anchors, now).await.map_err(|error| {
            failures::registry(error).hint(format!(
                "without the registry: verbatim rollback {} --from-argocd-history --reason TEXT",
                site.environment.name()
            ))
        })?;
    drop(progress);
    let head = running(&chain);
    let holds_head = head
        .and_then(|head| find::recorded(site.project, head))
        .is_some_and(|release| applications::holds(&seen, &release));
    let running = head.map(|head| head.digest).filter(|_| holds_head);
    let vetoes = in_force(&records.vetoes, now);
    let is_vetoed = |digest: &Digest| vetoes.iter().any(|veto| veto.statement().is_about(digest));
    let target =
        choose(chain.promotions().iter().map(Verified::predicate), goal, running, is_vetoed)
            .map_err(|why| {
                Failure::new(ExitStatus::No, format!("nothing to roll {id} back to: {why}"))
                    .hint(format!("what was there: verbatim history {}", site.environment.name()))
            })?;
    let bad = running.or_else(|| claimed(&seen)).filter(|bad| *bad != target.release.digest);
    Ok((target, bad))
}

/// The release whose values stand on the applications, by the claims of the runs that wrote them.
fn claimed(seen: &[Seen]) -> Option<Digest> {
    let mut digests = seen.iter().map(|Seen { application, .. }| {
        let application = application.as_ref().ok()?;
        let on_app = verbatim_argocd::claim::read(application);
        let claim = on_app.known()?;
        let source = application.spec.sources().get(claim.source);
        let stands = verbatim_argocd::values::deviations(source, &claim.changes).is_empty();
        claim.release.parse::<Reference>().ok()?.digest.filter(|_| stands)
    });
    let first = digests.next()??;
    digests.all(|digest| digest == Some(first)).then_some(first)
}

/// The release in the registry: to go back to one that is gone would leave nothing running.
async fn found(site: &Site<'_>, target: &Target) -> Result<Found, Failure> {
    let Registry { client, store } = site.registry;
    let digest = target.release.digest;
    let named = Named::Digest(digest);
    let mut found =
        find::release(site.project, client, store, Some(&named), Timestamp::now(), site.console)
            .await
            .map_err(|failure| {
                failure.context(format!("cannot go back to {digest}")).hint(format!(
                    "if the registry does not have it any more, go further back: verbatim rollback {} --steps 2",
                    site.environment.name()
                ))
            })?;
    // The tag that it was promoted under is part of the values that ran.
    let tag = target.release.tag.as_ref().and_then(|tag| tag.parse().ok());
    found.release.tag = tag.or(found.release.tag);
    Ok(found)
}

/// Whether Argo CD's own history has deployments of the release, for people: it keeps the last ten only.
fn argocd_knows(situation: &Situation) -> Vec<String> {
    let told = situation.seen.iter().filter_map(|Seen { app, application }| {
        let application = application.as_ref().ok()?;
        let target = crate::environment::target::target(app, &situation.release).ok()?;
        let plan = verbatim_argocd::plan(&target.app, application, &target.values).ok()?;
        let digests = target.values.digests();
        let past = verbatim_argocd::history::past(application, &plan);
        Some(match past.iter().find(|past| past.digests() == digests) {
            Some(past) => {
                let at = past.deployed_at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
                format!(
                    "{}: Argo CD deployed it{at}, as entry {} of its history",
                    app.name, past.id
                )
            }
            None => format!("{}: Argo CD's history does not go back to it", app.name),
        })
    });
    told.collect()
}

/// Keeps a release out.
async fn veto(
    site: &Site<'_>,
    request: &Rollback,
    bad: Digest,
    key: &RecordSigner,
) -> Result<(), Failure> {
    let id = &site.environment.id;
    let home = find::home(site.project)?;
    let environment = (request.veto == VetoScope::Environment).then(|| id.clone());
    let veto = Veto {
        environment: environment.clone(),
        lifts: Vec::new(),
        reason: request.reason.clone().unwrap_or_else(|| format!("{id} was rolled back from it")),
        at: Timestamp::now(),
        until: None,
        run: site.project.run(),
    };
    let statement = Statement::veto(&home.to_string(), &bad, veto);
    let what = format!("the veto against {bad}");
    let what = What::Said(&what);
    let record = attach::signed(site.project, &statement, key, what).await?;
    let reference = Reference::by_digest(home.clone(), bad);
    let manifest = site.registry.client.manifest(&reference).await.map_err(failures::registry)?;
    let descriptor = manifest.descriptor().map_err(failures::registry)?;
    let store = &site.registry.store;
    attach::attach(
        site.project,
        store,
        &record,
        &descriptor,
        environment.as_ref(),
        what,
        site.console,
    )
    .await
}
