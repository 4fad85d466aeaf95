//! Deploys: observe, write, read back, render, sync, wait, prove, close. The order of the steps, and what each failure
//! means for what was done before it.

use std::sync::Arc;

use tokio::time::{Duration, sleep, timeout_at};

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{self, ApiRequest, AppRef, Revisions, SyncRequest};
use crate::judge::change::ValueWrite;
use crate::judge::evidence::WantedImage;
use crate::judge::labels::{InvalidLabel, invalid_labels, predicted_labels};
use crate::judge::mismatch::Mismatch;
use crate::judge::missing::Missing;
use crate::judge::outcome::{
    DeployOutcome, DeployReport, Leftover, OnPause, ProofStage, ReachedState, UndoFailure,
    UndoResult,
};
use crate::judge::preflight::{self, Inquiry};
use crate::judge::refusal::WriteRefusal;
use crate::judge::rendered::shown;
use crate::judge::verdict::{
    ExpectedOperation, JudgeMemory, Verdict, judge, only_health_is_missing,
};
use crate::judge::warning::DeployWarning;
use crate::model::SourceAt;
use crate::overrides::claim::{Claim, ClaimOnApp, ClaimState, read_claim, read_claims};
use crate::overrides::plan::AppPlan;
use crate::overrides::values::deviations;
use crate::run::event::{DeployEvent, DeployStep};
use crate::run::follow::FirstRead;
use crate::run::log::Listener;
use crate::run::read::{AfterWrite, facts};
use crate::run::request::{DeployOptions, DeployRequest};
use crate::run::session::{AppRun, Subject};
use crate::run::wait::WaitGoal;
use crate::run::write::WriteResult;

/// How often the manifests are asked for, if the server fails, or if they do not show what was written: it renders what its
/// cache has of the application (`GetManifests` in `server/application/application.go` of Argo CD 3.6.1), and that of another
/// replica may be behind.
const RENDERINGS: u32 = 3;

/// A new nonce: 128 random bits in hexadecimal.
///
/// # Errors
///
/// If the system has no randomness to give.
pub fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error {
        action: "make a nonce".into(),
        server: String::new(),
        kind: ErrorKind::Configuration(error.to_string()),
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Deploys to one application and proves it.
///
/// # Errors
///
/// Only if nothing was written. Everything else is a [`DeployOutcome`].
pub async fn deploy(
    client: &Client,
    deploy: &DeployRequest,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    let subject = Subject::deployment(client, deploy);
    // Where the watch is shared it has shown the application already.
    let first = if client.shares(&deploy.app) { FirstRead::Watched } else { FirstRead::AsItIs };
    let mut run = subject.start(first, listener).await?;
    let mut outcome = run.deploy(deploy).await?;
    if first == FirstRead::Watched && is_untouched(&outcome) && run.was_outdated().await? {
        // Nothing was written, and perhaps only the cache was behind. What is written tests what it replaces.
        outcome = run.deploy(deploy).await?;
    }
    Ok(run.report(outcome))
}

/// Whether something was refused before it was written.
fn is_untouched(outcome: &DeployOutcome) -> bool {
    matches!(outcome, DeployOutcome::Refused { undo: UndoResult::NotNeeded, .. })
}

/// Writes the values and nothing more: no sync. The claim says so, and tells how to take it back.
pub(crate) async fn write(
    client: &Client,
    deploy: &DeployRequest,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    // Nothing but the answer tells how old a cache is, so what is only planned is read.
    let first = if deploy.options.dry_run { FirstRead::AsItIs } else { FirstRead::Watched };
    let mut run = Subject::deployment(client, deploy).start(first, listener).await?;
    let mut outcome = run.write_only(deploy).await?;
    if first == FirstRead::Watched && is_outdated(&outcome) {
        // Nothing was written. Perhaps only the cache was behind.
        if run.was_outdated().await? {
            outcome = run.write_only(deploy).await?;
        }
    }
    Ok(run.report(outcome))
}

/// Whether all that was wrong is that something else stands there than was seen.
fn is_outdated(outcome: &DeployOutcome) -> bool {
    let is_old = |reason: &WriteRefusal| matches!(reason, WriteRefusal::PlanOutdated { .. });
    matches!(outcome, DeployOutcome::Refused { reasons, .. } if reasons.iter().all(is_old))
}

/// How putting back the last write ended.
#[derive(Debug)]
pub struct UndoneWrite {
    /// What was done.
    pub undo: UndoResult,
    /// The claim of that write, if there is one that can be read.
    pub claim: Option<Claim>,
    /// What should be known.
    pub warnings: Vec<DeployWarning>,
}

/// Puts back what stood there before the last write that left a claim on the application.
///
/// # Errors
///
/// If the application cannot be read.
pub async fn undo_last(client: &Client, app: &AppRef) -> Result<UndoneWrite, Error> {
    let options = DeployOptions::default();
    let subject = Subject::new(client, app, &options);
    let mut run = subject.start(FirstRead::AsItIs, &|_| {}).await?;
    let is_readable = !matches!(read_claim(&run.before, None), ClaimOnApp::Foreign(_));
    let (undo, claim) = match read_claims(&run.before).into_iter().next() {
        _ if !is_readable => (UndoResult::Failed { why: UndoFailure::UnreadableClaim }, None),
        Some(claim) if claim.state == ClaimState::Undone => (UndoResult::NotNeeded, Some(claim)),
        Some(claim) => {
            run.written.claimed(Some(claim.clone()));
            (run.undo().await, Some(claim))
        }
        None => (UndoResult::NotNeeded, None),
    };
    Ok(UndoneWrite { undo, claim, warnings: run.into_warnings() })
}

/// The requests of a deployment that change something: the write, the sync, and the one that closes the claim.
pub fn write_requests(app: &AppRef) -> [ApiRequest; 3] {
    [
        request::patch(app, String::new()),
        request::sync(app, &SyncRequest::default()),
        request::patch(app, String::new()),
    ]
}

/// Waits until no operation runs and the application is synced and healthy.
pub(crate) async fn wait(
    client: &Client,
    app: &AppRef,
    options: &DeployOptions,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    let subject = Subject::new(client, app, options);
    let mut run = subject.start(FirstRead::AsItIs, listener).await?;
    let expect = run.expect(None, ExpectedOperation::State);
    let outcome = run.wait(&expect, WaitGoal::Done, JudgeMemory::default()).await;
    Ok(run.report(outcome))
}

/// Proves what runs, without changing anything.
///
/// # Errors
///
/// If the application cannot be read.
pub async fn prove(
    client: &Client,
    app: &AppRef,
    images: &[WantedImage],
    options: &DeployOptions,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    let subject = Subject { images, ..Subject::new(client, app, options) };
    let mut run = subject.start(FirstRead::AsItIs, listener).await?;
    let expect = run.expect(None, ExpectedOperation::State);
    let outcome = run.wait(&expect, WaitGoal::Proof, JudgeMemory::default()).await;
    Ok(run.report(outcome))
}

impl AppRun<'_> {
    async fn deploy(&mut self, deploy: &DeployRequest) -> Result<DeployOutcome, Error> {
        let next = AfterWrite::Sync { has_no_windows: deploy.options.has_no_windows };
        let plan = match self.prepare_in_time(deploy, next).await {
            Ok(plan) => plan,
            Err(outcome) => return Ok(outcome),
        };
        if plan.is_noop()
            && let Some(outcome) = self.already_there(&plan).await?
        {
            return Ok(outcome);
        }
        let outcome = self.write_and_prove(deploy, &plan).await?;
        Ok(self.conclude(outcome).await)
    }

    async fn write_only(&mut self, deploy: &DeployRequest) -> Result<DeployOutcome, Error> {
        let next = AfterWrite::Nothing { dry_run: deploy.options.dry_run };
        let plan = match self.prepare_in_time(deploy, next).await {
            Ok(plan) => plan,
            Err(outcome) => return Ok(outcome),
        };
        if let Some(outcome) = self.write_checked(deploy, &plan, ClaimState::Written).await? {
            return Ok(outcome);
        }
        let status = &self.follow.app().status;
        Ok(DeployOutcome::Reached {
            what: ReachedState::ValuesWritten,
            sync: status.sync.status,
            health: status.health.status,
            revisions: status.sync.revisions(),
            resources: Vec::new(),
        })
    }

    async fn write_and_prove(
        &mut self,
        deploy: &DeployRequest,
        plan: &AppPlan,
    ) -> Result<DeployOutcome, Error> {
        if let Some(outcome) = self.write_checked(deploy, plan, ClaimState::Open).await? {
            return Ok(outcome);
        }
        let request = SyncRequest {
            nonce: deploy.nonce.clone(),
            infos: self.infos(deploy),
            prune: deploy.options.prune,
            revisions: self.pinned(),
            ..SyncRequest::default()
        };
        if let Some(outcome) = self.begin_operation(plan, &request).await? {
            return Ok(outcome);
        }
        let expect = self.expect(Some(plan), ExpectedOperation::Sync { nonce: &deploy.nonce });
        Ok(self.wait(&expect, WaitGoal::Proof, JudgeMemory::default()).await)
    }

    /// The revisions to sync. Where the application syncs itself, the server takes none but its own.
    fn pinned(&self) -> Revisions {
        let app = self.follow.app();
        match self.subject.revisions {
            revisions if revisions.is_empty() || app.spec.is_automated() => Revisions::default(),
            [one] if app.spec.sources().get(SourceAt::Single).is_some() => {
                Revisions { single: Some(one.clone()), ..Revisions::default() }
            }
            several => {
                let by_position = (1..).zip(several.iter().cloned()).collect();
                Revisions { by_position, ..Revisions::default() }
            }
        }
    }

    fn infos(&self, deploy: &DeployRequest) -> Vec<(String, String)> {
        let release = ("verbatim.dev/release".to_owned(), deploy.release.clone());
        let by = deploy.by.clone().map(|by| ("verbatim.dev/run".to_owned(), by));
        std::iter::once(release).chain(by).collect()
    }

    /// The same, until the time is over: nothing is written then.
    async fn prepare_in_time(
        &mut self,
        deploy: &DeployRequest,
        next: AfterWrite,
    ) -> Result<AppPlan, DeployOutcome> {
        let deadline = self.follow.deadline();
        match timeout_at(deadline, self.prepare(deploy, next)).await {
            Ok(prepared) => prepared,
            Err(_) => Err(DeployOutcome::unknown(Missing::Preconditions, None, Leftover::Nothing)),
        }
    }

    /// Plans, and refuses what can be seen beforehand. An `Err` ends the run.
    async fn prepare(
        &mut self,
        deploy: &DeployRequest,
        next: AfterWrite,
    ) -> Result<AppPlan, DeployOutcome> {
        let refused = |reasons| DeployOutcome::Refused { reasons, undo: UndoResult::NotNeeded };
        if let (AfterWrite::Sync { .. }, Some(refusal)) = (next, self.not_reconciled()) {
            return Err(refused(vec![refusal]));
        }
        // What kind a source is, only a comparison finds out. An application that was just made may have had none.
        if !self.before.status.is_compared() {
            match self.follow.refresh().await {
                Ok(()) => self.rebase(),
                Err(error) => tracing::debug!(%error, "the kinds of the sources stay unknown"),
            }
        }
        let (writer, now) = (self.subject.writer(), self.server_time());
        let plan = writer.plan(&self.before, &deploy.values, now).map_err(refused)?;
        self.written.planned(plan.clone());
        self.log.tell(DeployEvent::Planned { plan: plan.clone() });
        let mut reasons = Vec::new();
        if let Some(expected) = &deploy.expected {
            let differences = plan.differences(expected);
            if !differences.is_empty() {
                reasons.push(WriteRefusal::PlanOutdated { differences });
            }
        }
        match writer.admission(&self.before, &plan, now) {
            Ok(warning) => warning.into_iter().for_each(|warning| self.log.warn(warning)),
            Err(refusal) => reasons.push(refusal),
        }
        let claim = writer.claim(&self.before, &plan, ClaimState::Open, now);
        let excess = claim.excess(&self.before);
        reasons.extend(excess.map(|bytes| WriteRefusal::ClaimTooLarge { bytes }));
        let Subject { client, environment, .. } = &self.subject;
        let facts = facts(client, &self.before, &plan, *environment, next).await;
        self.has_no_windows =
            matches!(&facts.windows, Inquiry::Is(windows) if windows.assigned_windows.is_empty());
        let (more, warnings) = preflight::judge(&plan, &facts, self.subject.options.waivers());
        reasons.extend(more);
        for warning in warnings {
            self.log.warn(warning);
        }
        // What is only planned is not rendered after a write, and an automatic sync does not wait for that.
        if self.subject.options.dry_run || self.before.spec.is_automated() {
            reasons.extend(self.label_refusal(&plan).await);
        }
        if !reasons.is_empty() {
            return Err(refused(reasons));
        }
        self.log.done(DeployStep::Observe);
        if self.subject.options.dry_run { Err(DeployOutcome::Planned) } else { Ok(plan) }
    }

    /// Whether the labels that the chart makes now would become some that Kubernetes refuses. Where that cannot be told, the
    /// manifests after the write tell it, or the sync.
    async fn label_refusal(&self, plan: &AppPlan) -> Option<WriteRefusal> {
        if plan.is_noop() || self.subject.images.is_empty() {
            return None;
        }
        let rendered = self.subject.client.manifests(&self.subject.app).await.ok()?;
        let manifests = rendered.manifests.iter().map(String::as_str);
        refused_labels(&predicted_labels(manifests, &plan.changes))
    }

    /// If all values stand already and Argo CD is done with them, there is nothing to write and only to prove.
    async fn already_there(&mut self, plan: &AppPlan) -> Result<Option<DeployOutcome>, Error> {
        let on_app = read_claim(&self.before, self.subject.environment);
        if on_app.known().is_some_and(|claim| claim.state == ClaimState::Open) {
            return Ok(None);
        }
        self.follow.refresh().await?;
        let expect = self.expect(Some(plan), ExpectedOperation::State);
        let mut memory = JudgeMemory::default();
        memory.note_refresh(&self.before);
        let verdict = judge(&expect, &memory, self.follow.app(), Duration::ZERO);
        if verdict != Verdict::Done && !only_health_is_missing(&verdict) {
            return Ok(None);
        }
        // Without a known sync of the values there is no proof of one: then this run syncs them.
        memory.note(&expect, self.follow.app());
        if memory.operation().is_none() && !plan.changes.is_empty() {
            return Ok(None);
        }
        let outcome = self.wait(&expect, WaitGoal::Proof, memory).await;
        if !matches!(outcome, DeployOutcome::Proven { .. }) {
            return Ok(Some(outcome));
        }
        self.adopt_failed_claim();
        Ok(Some(self.close(ClaimState::Done).await.unwrap_or(outcome)))
    }

    /// An earlier run of this release left its values without proof. Now that they are proven, its claim is ours to close.
    fn adopt_failed_claim(&mut self) {
        let on_app = read_claim(self.follow.app(), self.subject.environment);
        let failed = |claim: &&Claim| {
            claim.state == ClaimState::Failed && claim.release == self.subject.release
        };
        let ours = on_app.known().filter(failed).map(|claim| claim.in_state(ClaimState::Open));
        self.written.claimed(ours);
    }

    /// Writes, and checks by the answer and by the rendered manifests. `Some` ends the run.
    async fn write_checked(
        &mut self,
        deploy: &DeployRequest,
        plan: &AppPlan,
        state: ClaimState,
    ) -> Result<Option<DeployOutcome>, Error> {
        self.log.begin(DeployStep::Write);
        let (writer, now) = (self.subject.writer(), self.server_time());
        let before = self.before.clone();
        let write = ValueWrite::new(writer, &deploy.values, plan, before, state, now);
        match self.write(write).await? {
            WriteResult::Yes => {}
            WriteResult::Refused(refusal) => {
                let reasons = vec![refusal];
                return Ok(Some(DeployOutcome::Refused { reasons, undo: UndoResult::NotNeeded }));
            }
            WriteResult::Overwritten(deviations) => {
                return Ok(Some(self.superseded_by(deviations)));
            }
            WriteResult::Unknown(error) => {
                let error = Some(format!("{error}: {}", error.kind));
                let (missing, left) = (Missing::WriteAnswer, Leftover::PerhapsValues);
                return Ok(Some(DeployOutcome::unknown(missing, error, left)));
            }
        }
        self.log.done(DeployStep::Write);
        // Without a wanted image the manifests tell nothing but that they render, and the write has told that.
        if self.subject.images.is_empty() {
            return Ok(None);
        }
        // An automatic sync does not wait for us to look, so there is no hurry to look first.
        if self.follow.app().spec.is_automated() && state == ClaimState::Open {
            return Ok(None);
        }
        self.check_rendered().await
    }

    /// The manifests must show the digest: that is where a file in git that wins over the application is seen.
    pub(crate) async fn check_rendered(&mut self) -> Result<Option<DeployOutcome>, Error> {
        self.log.begin(DeployStep::Render);
        let error = match self.rendered().await {
            Ok((problems, labels)) if problems.is_empty() => match refused_labels(&labels) {
                Some(refusal) => return Ok(Some(self.taken_back(refusal).await)),
                None => {
                    self.log.done(DeployStep::Render);
                    return Ok(None);
                }
            },
            Ok((problems, _)) => return Ok(Some(self.not_rendered(problems).await)),
            Err(error) => error,
        };
        let why = match error.kind {
            ErrorKind::PermissionDenied(why) => why,
            // It is deployed already, and the manifests of the comparison are looked at for the proof.
            kind if self.follow.app().spec.is_automated() => kind.to_string(),
            _ => return self.give_back(error).await,
        };
        self.log.warn(DeployWarning::NotChecked { what: "the rendered manifests".into(), why });
        Ok(None)
    }

    /// What the manifests as they are rendered now lack, and their labels that Kubernetes refuses.
    async fn rendered(&self) -> Result<(Vec<Mismatch>, Vec<InvalidLabel>), Error> {
        let mut attempt = 1;
        loop {
            match self.subject.client.manifests(&self.subject.app).await {
                Ok(manifests) => {
                    let manifests = manifests.manifests.iter().map(String::as_str);
                    let problems = shown(manifests.clone(), self.subject.images).problems;
                    if problems.is_empty() || attempt >= RENDERINGS || self.follow.is_over() {
                        return Ok((problems, invalid_labels(manifests)));
                    }
                    sleep(Duration::from_millis(500) * attempt).await;
                }
                // Argo CD answers 500 to whatever its repository server fails at.
                Err(Error { kind: ErrorKind::ServerError { .. }, .. })
                    if attempt < RENDERINGS && !self.follow.is_over() =>
                {
                    sleep(Duration::from_secs(1) * attempt).await;
                }
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    async fn not_rendered(&mut self, problems: Vec<Mismatch>) -> DeployOutcome {
        let problems = problems.iter().map(ToString::to_string).collect();
        self.taken_back(WriteRefusal::NotRendered { problems }).await
    }

    /// Ends a run whose values are rendered to what must not be synced: the previous ones go back.
    async fn taken_back(&mut self, refusal: WriteRefusal) -> DeployOutcome {
        // Other values than ours may have been rendered: somebody wrote in between.
        if self.follow.read().await.is_ok()
            && let Some(superseded) = self.superseded()
        {
            return superseded;
        }
        let undo = self.undo().await;
        DeployOutcome::Refused { reasons: vec![refusal], undo }
    }

    /// The outcome if our values do not stand any more.
    fn superseded(&self) -> Option<DeployOutcome> {
        let plan = self.written.plan()?;
        let app = self.follow.app();
        let deviations = deviations(app.spec.sources(), &plan.changes);
        (!deviations.is_empty()).then(|| self.superseded_by(deviations))
    }

    /// Ends a run that failed between its write and its sync: the previous values go back.
    pub(crate) async fn give_back(&mut self, error: Error) -> Result<Option<DeployOutcome>, Error> {
        Ok(Some(match self.undo().await {
            UndoResult::NotNeeded => return Err(error),
            UndoResult::Done => DeployOutcome::TakenBack { why: Arc::new(error) },
            UndoResult::Failed { why } => DeployOutcome::unknown(
                Missing::PreviousValues(why),
                Some(format!("{error}: {}", error.kind)),
                Leftover::Values,
            ),
        }))
    }

    /// Closes the claim as the outcome wants it, and takes back what had no effect.
    async fn conclude(&mut self, outcome: DeployOutcome) -> DeployOutcome {
        let outcome = match outcome {
            // An automatic sync deployed it before the manifests could be looked at.
            DeployOutcome::NotProven { at: ProofStage::Manifests, problems }
                if self.follow.app().spec.is_automated() =>
            {
                self.not_rendered(problems).await
            }
            other => other,
        };
        let state = match &outcome {
            DeployOutcome::Proven { .. }
            | DeployOutcome::Paused { on_pause: OnPause::Accept, .. } => ClaimState::Done,
            DeployOutcome::Unknown { left: Leftover::PerhapsValues, .. } => return outcome,
            // An open claim would keep others away until its deadline.
            _ => ClaimState::Failed,
        };
        self.close(state).await.unwrap_or(outcome)
    }
}

fn refused_labels(labels: &[InvalidLabel]) -> Option<WriteRefusal> {
    let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
    (!labels.is_empty()).then_some(WriteRefusal::InvalidLabels { labels })
}
