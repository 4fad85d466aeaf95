//! Rolls back: the last good release enters again, and the bad one is kept out.

use jiff::Timestamp;
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::{Digest, Reference};
use verbatim_record::{Statement, Verified, Veto, in_force};

use super::choose::{Goal, Target, choose};
use crate::environment::applications::{self, ObservedApp};
use crate::project::failures;
use crate::project::signer::RecordSigner;
use crate::promotion::PromotionContext;
use crate::promotion::decide::Decided;
use crate::promotion::gather::{Movement, Question, Situation};
use crate::promotion::outcome::PromotionResult;
use crate::promotion::overrides::Overrides;
use crate::records::attach::{self, RecordSubject};
use crate::records::store::Ledger;
use crate::records::{Registry, running};
use crate::release::Named;
use crate::release::find::{self, ResolvedRelease};

#[derive(Debug)]
pub(crate) struct Rollback {
    pub goal: Goal,
    /// Where the release that is left must not go again.
    pub veto: VetoScope,
    pub reason: Option<String>,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
    /// Gates that are to let it pass although they refuse.
    pub overrides: Overrides,
    /// Applications of the last promotion that left the environment for good.
    pub without: Vec<String>,
}

/// Where a release that was bad must not go again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum VetoScope {
    /// In the environment that is rolled back
    #[default]
    Environment,
    /// In every environment
    All,
    /// Nowhere
    None,
}

/// Rolls back, or only shows it if there is no key. It fails as a promotion does.
pub(crate) async fn rollback(
    context: &PromotionContext<'_>,
    request: &Rollback,
    key: Option<&RecordSigner>,
) -> Result<PromotionResult, Failure> {
    let (target, bad) = target(context, request.goal).await?;
    let found = found(context, &target).await?;
    let question = Question {
        found: &found,
        movement: Movement::RollBack { reason: request.reason.as_deref() },
        author: key.map(|key| key.verifying_key().id()),
        overrides: &request.overrides,
        without: &request.without,
        compares: false,
    };
    let situation = context.gather(&question).await?;
    let mut notes = vec![format!(
        "back to {}, which was promoted as number {}",
        situation.release, target.sequence
    )];
    notes.extend(argocd_knows(&situation));
    let decided = Decided::decide(&context.gates, &question, situation)?.noting(notes);
    let admitted = match decided.admit() {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refused.into_result()),
    };
    let mut planned = admitted.plan(context, &found, &request.overrides, request.take_over).await?;
    planned.note_charts(&target.revisions);
    let (Some(key), true) = (key, planned.sketch.is_agreed()) else {
        return context.carry_out_or_show(planned, &found, None).await;
    };
    // First: while the old release is on its way, a pipeline might bring the bad one again.
    let mut vetoed = Ok(());
    if let (Some(bad), true) = (bad, request.veto != VetoScope::None) {
        match veto(context, request, bad, &planned.seen(), key).await {
            Ok(record) => {
                planned.considered.vetoed = Some(bad);
                // The applications come to know the promotion, and by it the veto.
                planned.has_seen(record);
            }
            Err(failure) => {
                context.console.warn(format!("no veto: {}; going on", failure.whole()));
                vetoed = Err(failure);
            }
        }
    }
    let moved = context.carry_out_or_show(planned, &found, Some(key)).await;
    match (moved, vetoed) {
        (Ok(result), Err(failure)) if result.status == ExitStatus::Done => {
            context.console.result(&result)?;
            Err(failure)
        }
        // What became of the move is the more important, but the veto is not to get lost.
        (Ok(result), Err(failure)) => {
            failure.hints.iter().for_each(|hint| context.console.status(format!("hint: {hint}")));
            Ok(result)
        }
        (Err(moved), Err(vetoed)) => Err(vetoed.hints.into_iter().fold(moved, Failure::hint)),
        (moved, Ok(())) => moved,
    }
}

/// Where to go back to, and the release that is left, if it is known.
async fn target(
    context: &PromotionContext<'_>,
    goal: Goal,
) -> Result<(Target, Option<Digest>), Failure> {
    let progress = context.console.progress("looking for the last good release");
    let now = Timestamp::now();
    let seen = applications::at(context.environment, &context.servers).await?;
    let id = &context.environment.id;
    let ring = &context.project.config.policy.ring;
    let anchors = applications::anchors(&seen);
    let store = &context.registry.store;
    let Ledger { chain, records, .. } =
        store.of_environment(ring, id, &anchors, now).await.map_err(|error| {
            failures::registry(error).hint(format!(
                "without the registry: verbatim rollback {} --from-argocd-history --reason 'the registry is down'",
                context.environment.name()
            ))
        })?;
    drop(progress);
    store.check_clock()?;
    let head = running(&chain);
    let holds_head = head
        .and_then(|head| find::recorded(context.project, head))
        .is_some_and(|release| applications::holds(&seen, &release));
    let running = head.map(|head| head.digest).filter(|_| holds_head);
    let vetoes = in_force(&records.vetoes, now);
    let is_vetoed = |digest: &Digest| vetoes.iter().any(|veto| veto.statement().is_about(digest));
    let target =
        choose(chain.promotions().iter().map(Verified::predicate), goal, running, is_vetoed)
            .map_err(|why| {
                Failure::new(ExitStatus::No, format!("nothing to roll {id} back to: {why}")).hint(
                    format!("what was there: verbatim history {}", context.environment.name()),
                )
            })?;
    let bad = running.or_else(|| claimed(&seen)).filter(|bad| *bad != target.release.digest);
    Ok((target, bad))
}

/// The release whose values stand on the applications, by the claims of the runs that wrote them.
fn claimed(seen: &[ObservedApp]) -> Option<Digest> {
    let mut digests = seen.iter().map(|ObservedApp { app, application, .. }| {
        let application = application.as_ref().ok()?;
        let on_app = verbatim_argocd::read_claim(application, Some(&app.environment));
        let claim = on_app.known()?;
        let sources = application.spec.sources();
        let stands = verbatim_argocd::deviations(sources, &claim.changes).is_empty();
        claim.release.parse::<Reference>().ok()?.digest.filter(|_| stands)
    });
    let first = digests.next()??;
    digests.all(|digest| digest == Some(first)).then_some(first)
}

/// The release in the registry: to go back to one that is gone would leave nothing running.
async fn found(
    context: &PromotionContext<'_>,
    target: &Target,
) -> Result<ResolvedRelease, Failure> {
    let Registry { client, store } = context.registry;
    let digest = target.release.digest;
    let named = Named::Digest(digest);
    let mut found =
        find::release(context.project, client, store, Some(&named), Timestamp::now(), context.console)
            .await
            .map_err(|failure| {
                failure.context(format!("cannot go back to {digest}")).hint(format!(
                    "if the registry does not have it any more, go further back: verbatim rollback {} --steps 2",
                    context.environment.name()
                ))
            })?;
    // The tag that it was promoted under is part of the values that ran.
    let tag = target.release.tag.as_ref().and_then(|tag| tag.parse().ok());
    found.release.tag = tag.or(found.release.tag);
    Ok(found)
}

/// Whether Argo CD's own history has deployments of the release, for people: it keeps the last ten only.
fn argocd_knows(situation: &Situation) -> Vec<String> {
    let told = situation.seen.iter().filter_map(|ObservedApp { app, application, .. }| {
        let application = application.as_ref().ok()?;
        let target = crate::environment::target::target(app, &situation.release).ok()?;
        let plan = verbatim_argocd::plan(&target.app, application, &target.values).ok()?;
        let digests = target.values.digests();
        let past = verbatim_argocd::past(application, &plan);
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

async fn veto(
    context: &PromotionContext<'_>,
    request: &Rollback,
    bad: Digest,
    seen: &[Digest],
    key: &RecordSigner,
) -> Result<Digest, Failure> {
    let id = &context.environment.id;
    let home = find::home(context.project)?;
    let environment = (request.veto == VetoScope::Environment).then(|| id.clone());
    let veto = Veto {
        seen: seen.to_vec(),
        environment: environment.clone(),
        lifts: Vec::new(),
        reason: request.reason.clone().unwrap_or_else(|| format!("{id} was rolled back from it")),
        at: Timestamp::now(),
        until: None,
        run: context.project.run(),
    };
    let environments = match environment {
        Some(environment) => vec![environment],
        None => context.project.config.environments.iter().map(|it| it.id.clone()).collect(),
    };
    let statement = Statement::veto(&home.to_string(), &bad, veto).in_ledgers(&environments);
    let what = format!("the veto against {bad}");
    let what = RecordSubject::Said(&what);
    let record = attach::signed(context.project, &statement, key, what).await?;
    let reference = Reference::by_digest(home.clone(), bad);
    let manifest =
        context.registry.client.manifest(&reference).await.map_err(failures::registry)?;
    let descriptor = manifest.descriptor().map_err(failures::registry)?;
    let store = &context.registry.store;
    attach::attach(
        context.project,
        store,
        &record,
        &descriptor,
        &environments,
        what,
        context.console,
    )
    .await?;
    Ok(record.digest())
}
