//! From writes that may be carried out to the record of what runs. Every stage is made from the one before it: nothing is
//! recorded that was not proven, and nothing that has changed since its proof.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verbatim_argocd::{
    Application, ClaimOnApp, DeployOutcome, DeployReport, PendingRecord, deviations, outdated,
    read_claim, read_since,
};
use verbatim_console::{Failure, StepState};
use verbatim_oci::Descriptor;
use verbatim_record::{Anchor, Promotion, Statement};

use super::PromotionContext;
use super::execute::{self, AppResult, AppToDeploy, Carried, ClaimEnding, record_step};
use super::outcome::PromotionResult;
use super::ready::{Planned, Ready};
use crate::config::{App, Apps};
use crate::environment::applications::{self, ObservedApp};
use crate::environment::rules::{self, PolicyStamp};
use crate::project::failures;
use crate::project::signer::RecordSigner;
use crate::records::attach::{self, RecordSubject};
use crate::records::convert;
use crate::release::find::ResolvedRelease;
use crate::release::handoff::{self, ReleaseFile};

/// A promotion of which every application is proven, and was looked at once more after the last proof. Its only constructor
/// is [`Carried::recheck`].
#[derive(Debug)]
pub(crate) struct Rechecked {
    carried: Carried,
    applications: Vec<verbatim_record::PromotedApplication>,
}

/// A promotion without a complete proof.
#[derive(Debug)]
pub(crate) struct NotProven {
    pub(super) carried: Carried,
    /// What was found at the last look, by application; empty if a proof is missing already.
    pub(super) changed: BTreeMap<String, Changed>,
}

/// What the last look at a proven application found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Somebody else changed it since its proof, in words.
    By(String),
    /// It could not be looked at; why.
    Unknown(String),
}

/// A promotion at its end.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(super) carried: Carried,
    /// Whether the release runs there, proven.
    pub(super) proven: bool,
    /// The record, if the proof was worth one.
    pub(super) record: Option<Anchor>,
    /// What has changed since its proof, by application.
    pub(super) changed: BTreeMap<String, Changed>,
}

impl Carried {
    /// Looks at all applications once more: what one of them showed may have changed while another was waited for.
    pub(super) async fn recheck(
        self,
        context: &PromotionContext<'_>,
    ) -> Result<Rechecked, Box<NotProven>> {
        let not_proven = |carried, changed| Err(Box::new(NotProven { carried, changed }));
        let Some(applications) = proofs(&self.results) else {
            return not_proven(self, BTreeMap::new());
        };
        let progress = context.console.progress("looking at the applications once more");
        let seen = match (&self.results[..], &context.environment.apps) {
            ([result], Apps::Named(apps)) if let [app] = &apps[..] => {
                context.look_at(app, result).await.map(|seen| vec![seen])
            }
            _ => applications::together(context.environment, &context.servers).await,
        };
        drop(progress);
        let mut changed = changed(&self.results, &seen);
        if self.is_pinned {
            changed.extend(self.results.iter().filter_map(other_revisions));
        }
        if !changed.is_empty() {
            return not_proven(self, changed);
        }
        Ok(Rechecked { carried: self, applications })
    }
}

impl Rechecked {
    /// Signs and attaches the record if the proof is worth one, and closes the claims. It fails where the record could not
    /// be attached.
    pub(super) async fn record(
        self,
        context: &PromotionContext<'_>,
        release: &Descriptor,
        key: &RecordSigner,
    ) -> Result<Recorded, Failure> {
        let Self { carried, applications } = self;
        let statement = Statement::promotion(carried.promotion(context, applications));
        let proven = statement.predicate.is_proven();
        let is_written = carried.results.iter().any(has_written);
        let previous = carried.place.previous;
        let (record, changed) =
            if proven && carried.place.record_when.includes(&statement.predicate, is_written) {
                let results = &carried.results;
                let recorded = context.record(&statement, key, release, results, previous).await?;
                (Some(recorded.0), recorded.1)
            } else {
                (None, context.close(&carried.results, previous, None).await)
            };
        Ok(Recorded { carried, proven, record, changed })
    }
}

impl NotProven {
    /// Closes the claims of what is as its proof says. On what has changed nothing is written: its claim, if it is still ours,
    /// stays open, and the next run finds it.
    pub(super) async fn close(self, context: &PromotionContext<'_>) -> Recorded {
        let Self { carried, mut changed } = self;
        let is_unchanged =
            |result: &&AppResult| !changed.contains_key(&result.app.target.app.to_string());
        let unchanged = carried.results.iter().filter(is_unchanged);
        let meanwhile = context.close(unchanged, carried.place.previous, None).await;
        changed.extend(meanwhile);
        Recorded { carried, proven: false, record: None, changed }
    }
}

impl Carried {
    /// The end of a promotion whose record waits in a file, as nothing but Argo CD could be asked.
    pub(super) fn kept(self, proven: bool, changed: BTreeMap<String, Changed>) -> Recorded {
        Recorded { carried: self, proven, record: None, changed }
    }

    /// What a record says of it.
    pub(super) fn promotion(
        &self,
        context: &PromotionContext<'_>,
        applications: Vec<verbatim_record::PromotedApplication>,
    ) -> Promotion {
        let Self { considered, place, plan, started_at, .. } = self;
        let project = context.project;
        let stamp = PolicyStamp::of(&project.config.policy);
        Promotion {
            kind: considered.kind,
            reason: place.reason.clone(),
            environment: context.environment.id.clone(),
            release: considered.release.promoted(place.commit.clone()),
            release_before: place.before,
            applications,
            plan: Some(plan.hash()),
            policy: plan.policy,
            without: plan.without.clone(),
            policy_origin: project.config.policy.origin.clone(),
            policy_keys: project.config.policy.keys_hash,
            policy_changes: rules::changes(place.policy_before.as_ref(), stamp.as_ref()),
            gates: considered.decision.gate_results(),
            run: project.run(),
            started_at: *started_at,
            finished_at: Timestamp::now(),
            chain: place.link.clone(),
        }
    }
}

impl PromotionContext<'_> {
    /// Looks at the only application of a promotion once more, right after its proof. What is listed is not older than that;
    /// what has changed since, the write that closes the claim compares with what is stored.
    async fn look_at(&self, app: &App, result: &AppResult) -> Result<ObservedApp, Failure> {
        let AppToDeploy { target, namespace, .. } = &result.app;
        let client = self.servers.get(&target.server)?;
        let version = match &result.report {
            Ok(DeployReport { outcome: DeployOutcome::Proven { proof }, .. }) => {
                proof.resource_version.as_str()
            }
            _ => "",
        };
        let application = read_since(client, &target.app, namespace, version).await;
        Ok(ObservedApp { app: app.clone(), server_url: client.server().to_string(), application })
    }

    /// Carries out what is agreed on, with a key; shows it without one.
    pub(super) async fn carry_out_or_show(
        &self,
        planned: Planned,
        found: &ResolvedRelease,
        key: Option<&RecordSigner>,
    ) -> Result<PromotionResult, Failure> {
        match key {
            Some(key) => match planned.ready() {
                Ok(ready) => self.finish(ready, found, key).await,
                Err(not_ready) => Ok(not_ready.into_result()),
            },
            None => {
                let Planned { considered, sketch, .. } = planned;
                let preview = sketch.preview(self).await?;
                Ok(considered.shown(sketch, preview))
            }
        }
    }

    /// Carries out, looks once more, records, and tells the next stage. It fails where the record could not be attached;
    /// what became of the applications is part of the result.
    pub(super) async fn finish(
        &self,
        ready: Ready,
        found: &ResolvedRelease,
        key: &RecordSigner,
    ) -> Result<PromotionResult, Failure> {
        let descriptor = found.resolved.manifest.descriptor().map_err(failures::registry)?;
        let recorded = match ready.carry_out(self).await?.recheck(self).await {
            Ok(rechecked) => rechecked.record(self, &descriptor, key).await?,
            Err(not_proven) => not_proven.close(self).await,
        };
        let result = recorded.into_result();
        self.hand_on(&result, found.handed_on.clone());
        Ok(result)
    }

    /// Tells the next stage, and the CI. The promotion stands, so a file that cannot be written is only a warning.
    fn hand_on(&self, result: &PromotionResult, handed_on: Option<ReleaseFile>) {
        let file = handed_on.map(|mut file| {
            let anchor = result.record.map(|anchor| (self.environment.name().to_owned(), anchor));
            file.promotions.extend(anchor);
            file
        });
        let handed =
            file.map_or(Ok(()), |file| handoff::hand_on(self.project, &file, self.console));
        if let Err(failure) = handed {
            self.console.warn(format!("{failure}"));
        }
    }

    /// Signs, attaches, and writes the place in the ledger where the registry's owner has no hand; with what was found to have
    /// changed by then. If the record cannot be attached, the applications keep the place before it, as naming a record that
    /// nobody has would block the environment, and say beside it what is kept.
    async fn record(
        &self,
        statement: &Statement<Promotion>,
        key: &RecordSigner,
        release: &Descriptor,
        results: &[AppResult],
        previous: Option<Anchor>,
    ) -> Result<(Anchor, BTreeMap<String, Changed>), Failure> {
        let environment = &self.environment.id;
        let what = format!("the promotion to {environment}");
        let what = RecordSubject::Done(&what);
        let record = match attach::signed(self.project, statement, key, what).await {
            Ok(record) => record,
            Err(failure) => {
                let changed = self.close(results, previous, attach::unsigned(statement)).await;
                self.warn_of(&changed);
                return Err(failure);
            }
        };
        let attached = attach::attach(
            self.project,
            &self.registry.store,
            &record,
            release,
            std::slice::from_ref(environment),
            what,
            self.console,
        )
        .await;
        let anchor =
            Anchor { sequence: statement.predicate.chain.sequence, record: record.digest() };
        if attached.is_ok() {
            self.console.step(&record_step(environment), StepState::Done);
        }
        let (end, kept) = match &attached {
            Ok(()) => (Some(anchor), None),
            Err(_) => (previous, Some(PendingRecord::Record(record.digest()))),
        };
        let changed = self.close(results, end, kept).await;
        match attached {
            Ok(()) => Ok((anchor, changed)),
            Err(failure) => {
                self.warn_of(&changed);
                Err(failure)
            }
        }
    }

    /// Tells what has changed where another failure decides how the command ends.
    pub(super) fn warn_of(&self, changed: &BTreeMap<String, Changed>) {
        for (app, changed) in changed {
            let what = match changed {
                Changed::By(what) => what.clone(),
                Changed::Unknown(why) => format!("cannot be looked at: {why}"),
            };
            self.console.warn(format!("{app} after its proof: {what}"));
        }
    }

    /// Closes the claims of a promotion. What it finds to have changed since the proofs, by application.
    pub(super) async fn close(
        &self,
        results: impl IntoIterator<Item = &AppResult>,
        record: Option<Anchor>,
        kept: Option<PendingRecord>,
    ) -> BTreeMap<String, Changed> {
        execute::close(&self.servers, results, ClaimEnding { record, kept }, self.console).await
    }
}

/// Whether an application was changed.
fn has_written(result: &AppResult) -> bool {
    result.report.as_ref().is_ok_and(|report| report.claim.is_some())
}

/// What the record says of the applications; `None` if one of them is not proven.
fn proofs(results: &[AppResult]) -> Option<Vec<verbatim_record::PromotedApplication>> {
    results
        .iter()
        .map(|AppResult { app, report }| match report {
            Ok(DeployReport {
                outcome: DeployOutcome::Proven { proof },
                plan: Some(plan),
                server,
                ..
            }) => Some(convert::application(server, plan, &app.sources, proof)),
            _ => None,
        })
        .collect()
}

/// What is not as its proof says, by application. Pure.
fn changed(
    results: &[AppResult],
    seen: &Result<Vec<ObservedApp>, Failure>,
) -> BTreeMap<String, Changed> {
    let change = |result: &AppResult| {
        let seen = match seen {
            Ok(seen) => seen,
            Err(failure) => return Some(Changed::Unknown(failure.whole())),
        };
        let target = &result.app.target;
        let is_it = |it: &&ObservedApp| {
            it.app.server == target.server && applications::reference(&it.app) == target.app
        };
        match seen.iter().find(is_it).map(|it| &it.application) {
            Some(Ok(application)) => difference(result, application).map(Changed::By),
            Some(Err(error)) => Some(Changed::Unknown(format!("{error}: {}", error.kind))),
            None => Some(Changed::By("is no application of the environment any more".to_owned())),
        }
    };
    let changed = results.iter().map(|result| (result.app.target.app.to_string(), change(result)));
    changed.filter_map(|(app, change)| Some((app, change?))).collect()
}

/// An application that was deployed from other revisions than those that the gates saw.
fn other_revisions(result: &AppResult) -> Option<(String, Changed)> {
    let AppResult { app: AppToDeploy { target, revisions, .. }, report } = result;
    let DeployOutcome::Proven { proof } = &report.as_ref().ok()?.outcome else { return None };
    let (now, then) = (proof.revisions.join(", "), revisions.join(", "));
    let text = format!("the sync deployed {now}, the gates saw {then}");
    (now != then).then(|| (target.app.to_string(), Changed::By(text)))
}

/// How an application differs from what was proven of it: other values, the claim of another run, or a state that is worse. A
/// claim that is gone while its values stand is lost and no difference, as owners wipe annotations.
fn difference(result: &AppResult, application: &Application) -> Option<String> {
    let report = result.report.as_ref().ok()?;
    let plan = report.plan.as_ref()?;
    if let Some(deviation) = deviations(application.spec.sources(), &plan.changes).first() {
        return Some(deviation.to_string());
    }
    let environment = report.claim.as_ref().and_then(|claim| claim.environment.as_deref());
    match (read_claim(application, environment), &report.claim) {
        (ClaimOnApp::Known(claim), Some(ours)) if claim.nonce != ours.nonce => {
            return Some(format!("was claimed meanwhile for {}", claim.release));
        }
        (ClaimOnApp::Foreign(_), Some(_)) => {
            return Some("has a claim that this verbatim does not know".to_owned());
        }
        _ => {}
    }
    let DeployOutcome::Proven { proof } = &report.outcome else { return None };
    outdated(proof, application).map(|outdated| outdated.to_string())
}
