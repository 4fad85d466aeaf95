//! Deploys: observe, write, read back, render, sync, wait, prove, close. The order of the steps, and what each failure
//! means for what was done before it.

use tokio::time::{Duration, Instant, sleep};

use crate::claim::{self, Claim, Standing, State};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Step};
use crate::follow::Next;
use crate::gather::facts;
use crate::outcome::{
    Deploy, Left, Options, Outcome, Place, Problem, Report, Undo, WantedImage, Warning,
};
use crate::patch;
use crate::plan::{Plan, plan};
use crate::preflight;
use crate::refusal::Refusal;
use crate::rendered::shown;
use crate::request::{AppRef, Sync};
pub use crate::run::Listener;
use crate::run::{About, Run, now};
use crate::values::deviations;
use crate::verdict::{Memory, Verdict, Wanted, deploys_our_values, judge, only_health_is_missing};
use crate::wait::Goal;
use crate::write::{Written, undo};

/// How long an automatic sync is given to begin by itself before we ask for one.
const AUTOMATIC: Duration = Duration::from_secs(2);

/// How often a sync is asked for when the answer gets lost.
const ATTEMPTS: u32 = 3;

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
/// Only if nothing was changed on the application, or what was changed has been put back. Everything else is an
/// [`Outcome`].
pub async fn deploy(
    client: &Client,
    deploy: &Deploy,
    listener: Listener<'_>,
) -> Result<Report, Error> {
    let mut run = Run::start(client, &deploy.app, about(deploy), listener).await?;
    match run.deploy(deploy).await {
        Ok(outcome) => Ok(run.report(outcome)),
        Err(error) => Err(error),
    }
}

/// Writes the values and nothing more: no sync. The claim says so, and tells how to take it back.
///
/// # Errors
///
/// As [`deploy`].
pub async fn write(
    client: &Client,
    deploy: &Deploy,
    listener: Listener<'_>,
) -> Result<Report, Error> {
    let mut run = Run::start(client, &deploy.app, about(deploy), listener).await?;
    let outcome = match run.prepare(deploy).await {
        Err(outcome) => outcome,
        Ok(plan) => match run.write_checked(deploy, &plan, State::Written).await? {
            Some(outcome) => outcome,
            None => Outcome::Reached {
                what: "the values are written".into(),
                sync: run.follow.app().status.sync.status,
                health: run.follow.app().status.health.status,
                revisions: run.follow.app().status.sync.revisions(),
            },
        },
    };
    Ok(run.report(outcome))
}

/// Puts back what stood there before the last write that left a claim on the application.
///
/// # Errors
///
/// If the application cannot be read.
pub async fn undo_last(client: &Client, app: &AppRef) -> Result<(Undo, Option<Claim>), Error> {
    let state = client.get(app).await?;
    match claim::read(&state) {
        claim::OnApp::Known(claim) if claim.state == State::Undone => {
            Ok((Undo::NotNeeded, Some(*claim)))
        }
        claim::OnApp::Known(claim) => Ok((undo(client, app, &claim).await, Some(*claim))),
        claim::OnApp::Absent => Ok((Undo::NotNeeded, None)),
        claim::OnApp::Foreign(_) => {
            Ok((Undo::Failed { why: "this version does not understand the claim".into() }, None))
        }
    }
}

/// Closes the claim of a deployment that was proven, with the digest of its record.
///
/// # Errors
///
/// If the claim is not there any more ([`ErrorKind::TestFailed`]), or the write fails.
pub async fn close(
    client: &Client,
    app: &AppRef,
    claim: &Claim,
    record: Option<String>,
) -> Result<Claim, Error> {
    let closed = Claim { record, ..claim.in_state(State::Done) };
    let mut attempt = 1;
    loop {
        let state = client.get(app).await?;
        if claim::read(&state).known().is_none_or(|found| found.nonce != claim.nonce) {
            return Err(Error {
                action: format!("close the claim on application {app}"),
                server: client.server().to_string(),
                kind: ErrorKind::TestFailed("the claim is not ours any more".into()),
            });
        }
        match client.patch(app, patch::close(&state, &closed)).await {
            Ok(_) => return Ok(closed),
            Err(error) => {
                let again =
                    matches!(error.kind, ErrorKind::TestFailed(_) | ErrorKind::TooManyConflicts)
                        || error.kind.is_transient();
                if !again || attempt >= ATTEMPTS {
                    return Err(error);
                }
                attempt += 1;
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Syncs an application as it is, and waits for the operation, or also for the health.
///
/// # Errors
///
/// If the sync cannot be started.
pub async fn sync(
    client: &Client,
    app: &AppRef,
    request: &Sync,
    options: &Options,
    listener: Listener<'_>,
) -> Result<Report, Error> {
    let about = About { release: "", by: None, nonce: &request.nonce, images: &[], options };
    let mut run = Run::start(client, app, about, listener).await?;
    let outcome = match run.start_sync(None, request).await? {
        Some(outcome) => outcome,
        None => {
            let expect = run.expect(None, Wanted::Sync { nonce: &request.nonce });
            run.wait(&expect, Goal::Done, Memory::default()).await
        }
    };
    Ok(run.report(outcome))
}

/// Waits until no operation runs and the application is synced and healthy.
///
/// # Errors
///
/// If the application cannot be read.
pub async fn wait(
    client: &Client,
    app: &AppRef,
    options: &Options,
    listener: Listener<'_>,
) -> Result<Report, Error> {
    let about = About { release: "", by: None, nonce: "", images: &[], options };
    let mut run = Run::start(client, app, about, listener).await?;
    let expect = run.expect(None, Wanted::State);
    let outcome = run.wait(&expect, Goal::Done, Memory::default()).await;
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
    options: &Options,
    listener: Listener<'_>,
) -> Result<Report, Error> {
    let about = About { release: "", by: None, nonce: "", images, options };
    let mut run = Run::start(client, app, about, listener).await?;
    let expect = run.expect(None, Wanted::State);
    let outcome = run.wait(&expect, Goal::Proof, Memory::default()).await;
    Ok(run.report(outcome))
}

fn about(deploy: &Deploy) -> About<'_> {
    About {
        release: &deploy.release,
        by: deploy.by.as_deref(),
        nonce: &deploy.nonce,
        images: &deploy.images,
        options: &deploy.options,
    }
}

impl Run<'_> {
    async fn deploy(&mut self, deploy: &Deploy) -> Result<Outcome, Error> {
        let plan = match self.prepare(deploy).await {
            Ok(plan) => plan,
            Err(outcome) => return Ok(outcome),
        };
        if plan.is_noop()
            && let Some(outcome) = self.already_there(&plan).await?
        {
            return Ok(outcome);
        }
        if let Some(outcome) = self.write_checked(deploy, &plan, State::Open).await? {
            return Ok(outcome);
        }
        let request = Sync {
            nonce: deploy.nonce.clone(),
            infos: self.infos(deploy),
            prune: deploy.options.prune,
            revision: None,
        };
        if let Some(outcome) = self.begin_operation(&plan, &request).await? {
            return Ok(outcome);
        }
        let expect = self.expect(Some(&plan), Wanted::Sync { nonce: &deploy.nonce });
        let outcome = self.wait(&expect, Goal::Proof, Memory::default()).await;
        Ok(self.conclude(outcome).await)
    }

    fn infos(&self, deploy: &Deploy) -> Vec<(String, String)> {
        let release = ("verbatim.dev/release".to_owned(), deploy.release.clone());
        let by = deploy.by.clone().map(|by| ("verbatim.dev/run".to_owned(), by));
        std::iter::once(release).chain(by).collect()
    }

    /// Plans, and refuses what can be seen beforehand. An `Err` ends the run.
    async fn prepare(&mut self, deploy: &Deploy) -> Result<Plan, Outcome> {
        let refused = |reasons| Outcome::Refused { reasons, undo: Undo::NotNeeded };
        let plan = plan(&self.app, &self.before, &deploy.values).map_err(refused)?;
        self.plan = Some(plan.clone());
        self.tell(Event::Planned { plan: plan.clone() });
        let mut reasons = Vec::new();
        if let Some(expected) = &deploy.expected {
            let differences = plan.differences(expected);
            if !differences.is_empty() {
                reasons.push(Refusal::PlanOutdated { differences });
            }
        }
        reasons.extend(self.claim_refusal(&plan));
        let facts = facts(self.client, &self.before, &plan).await;
        let (more, warnings) = preflight::judge(&plan, &facts, self.options);
        reasons.extend(more);
        for warning in warnings {
            self.warn(warning);
        }
        if !reasons.is_empty() {
            return Err(refused(reasons));
        }
        self.done(Step::Observe);
        if self.options.dry_run { Err(Outcome::Planned) } else { Ok(plan) }
    }

    /// Whether another run is at work.
    fn claim_refusal(&mut self, plan: &Plan) -> Option<Refusal> {
        let on_app = claim::read(&self.before);
        let standing =
            claim::standing(&on_app, self.release, &plan.changes, now(), self.options.take_over);
        let claim = on_app.known();
        match (standing, claim) {
            (Standing::Free, _) => None,
            (Standing::Resume, Some(claim)) => {
                self.warn(Warning::Resumed { nonce: claim.nonce.clone() });
                None
            }
            (Standing::TakeOver, Some(claim)) => {
                self.warn(Warning::TookOver {
                    release: claim.release.clone(),
                    by: claim.by.clone(),
                });
                None
            }
            (Standing::Held, Some(claim)) => Some(Refusal::Claimed {
                release: claim.release.clone(),
                by: claim.by.clone(),
                deadline: claim.deadline.to_string(),
            }),
            _ => Some(Refusal::UnreadableClaim),
        }
    }

    /// If all values stand already and Argo CD is done with them, there is nothing to write and only to prove.
    async fn already_there(&mut self, plan: &Plan) -> Result<Option<Outcome>, Error> {
        if claim::read(&self.before).known().is_some_and(|claim| claim.state == State::Open) {
            return Ok(None);
        }
        self.follow.refresh().await?;
        let expect = self.expect(Some(plan), Wanted::State);
        let mut memory = Memory::default();
        memory.note_refresh(&self.before);
        let verdict = judge(&expect, &memory, self.follow.app(), Duration::ZERO);
        if verdict != Verdict::Done && !only_health_is_missing(&verdict) {
            return Ok(None);
        }
        Ok(Some(self.wait(&expect, Goal::Proof, memory).await))
    }

    /// Writes, and checks by the answer and by the rendered manifests. `Some` ends the run.
    async fn write_checked(
        &mut self,
        deploy: &Deploy,
        plan: &Plan,
        state: State,
    ) -> Result<Option<Outcome>, Error> {
        self.begin(Step::Write);
        let claim = self.new_claim(plan, state);
        match self.write(plan, &deploy.values, claim).await? {
            Written::Yes => {}
            Written::Outdated(differences) => {
                let reasons = vec![Refusal::PlanOutdated { differences }];
                return Ok(Some(Outcome::Refused { reasons, undo: Undo::NotNeeded }));
            }
            Written::Overwritten(deviations) => {
                let by = claim::read(self.follow.app())
                    .known()
                    .filter(|claim| claim.nonce != self.nonce)
                    .cloned();
                return Ok(Some(Outcome::Superseded { deviations, by: by.map(Box::new) }));
            }
            Written::Unknown(error) => {
                return Ok(Some(Outcome::Unknown {
                    missing: "whether the values were written".into(),
                    error: Some(format!("{error}: {}", error.kind)),
                    unhealthy: Vec::new(),
                    left: Left::PerhapsValues,
                }));
            }
        }
        self.done(Step::Write);
        // An automatic sync does not wait for us to look, so there is no hurry to look first.
        if self.follow.app().spec.is_automated() && state == State::Open {
            return Ok(None);
        }
        self.check_rendered().await
    }

    /// The manifests must show the digest: that is where a file in git that wins over the application is seen.
    async fn check_rendered(&mut self) -> Result<Option<Outcome>, Error> {
        self.begin(Step::Render);
        match self.client.manifests(&self.app).await {
            Ok(manifests) => {
                let shown = shown(manifests.manifests.iter().map(String::as_str), self.images);
                if shown.problems.is_empty() {
                    self.done(Step::Render);
                    return Ok(None);
                }
                Ok(Some(self.not_rendered(shown.problems).await))
            }
            Err(error) => match error.kind {
                ErrorKind::PermissionDenied(why) => {
                    self.warn(Warning::NotChecked { what: "the rendered manifests".into(), why });
                    Ok(None)
                }
                _ => self.give_back(error).await,
            },
        }
    }

    async fn not_rendered(&mut self, problems: Vec<Problem>) -> Outcome {
        let problems = problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.place, problem.what))
            .collect();
        let undo = self.undo().await;
        Outcome::Refused { reasons: vec![Refusal::NotRendered { problems }], undo }
    }

    /// Ends a run that failed between its write and its sync: the previous values go back.
    async fn give_back(&mut self, error: Error) -> Result<Option<Outcome>, Error> {
        match self.undo().await {
            Undo::Done | Undo::NotNeeded => Err(error),
            Undo::Failed { why } => Ok(Some(Outcome::Unknown {
                missing: format!("the previous values could not be put back: {why}"),
                error: Some(format!("{error}: {}", error.kind)),
                unhealthy: Vec::new(),
                left: Left::Values,
            })),
        }
    }

    /// Lets an automatic sync begin, or starts one. `Some` ends the run.
    async fn begin_operation(
        &mut self,
        plan: &Plan,
        request: &Sync,
    ) -> Result<Option<Outcome>, Error> {
        if self.follow.app().spec.is_automated() && !plan.is_noop() {
            self.begin(Step::Sync);
            let expect = self.expect(Some(plan), Wanted::Sync { nonce: self.nonce });
            let until = (Instant::now() + AUTOMATIC).min(self.deadline);
            let mut memory = Memory::default();
            loop {
                memory.note(&expect, self.follow.app());
                if deploys_our_values(&expect, self.follow.app()) || memory.operation().is_some() {
                    self.done(Step::Sync);
                    return self.check_rendered().await;
                }
                match self.follow.next(until).await {
                    Ok(Next::Changed) => self.tell_changes(),
                    // Whatever it is, asking for a sync will tell.
                    Ok(Next::Time | Next::Deleted) | Err(_) => break,
                }
            }
            // It did not begin: perhaps the values change nothing in the manifests.
            if let Some(outcome) = self.check_rendered().await? {
                return Ok(Some(outcome));
            }
        }
        self.start_sync(Some(plan), request).await
    }

    /// Starts a sync, waiting for the operation slot. `Some` ends the run; `None` means that an operation with our
    /// values is under way, or over.
    async fn start_sync(
        &mut self,
        plan: Option<&Plan>,
        request: &Sync,
    ) -> Result<Option<Outcome>, Error> {
        self.begin(Step::Sync);
        let mut attempt = 1;
        loop {
            let error = match self.client.sync(&self.app, request).await {
                Ok(app) => {
                    let used = app.operation.as_ref().and_then(|operation| operation.sources());
                    let lost = match (plan, used) {
                        (Some(plan), Some(sources)) => {
                            deviations(sources.get(plan.source), &plan.changes)
                        }
                        _ => Vec::new(),
                    };
                    self.follow.accept_write(app);
                    if !lost.is_empty() {
                        let by = claim::read(self.follow.app())
                            .known()
                            .filter(|c| c.nonce != self.nonce)
                            .cloned();
                        return Ok(Some(Outcome::Superseded {
                            deviations: lost,
                            by: by.map(Box::new),
                        }));
                    }
                    self.done(Step::Sync);
                    return Ok(None);
                }
                Err(error) => error,
            };
            let uncertain = !error.kind.nothing_happened();
            match &error.kind {
                ErrorKind::AnotherOperation => match self.free_slot(plan).await? {
                    Slot::Free => continue,
                    Slot::Adopted => return Ok(None),
                    Slot::Deadline => {
                        return Ok(Some(Outcome::Unknown {
                            missing: "another operation holds the application".into(),
                            error: None,
                            unhealthy: Vec::new(),
                            left: Left::Values,
                        }));
                    }
                },
                kind if kind.is_transient() || uncertain => {
                    // Perhaps it was started; then the operation carries our nonce.
                    if self.follow.read().await.is_ok() && self.carries_nonce() {
                        return Ok(None);
                    }
                    if attempt < ATTEMPTS && Instant::now() < self.deadline {
                        attempt += 1;
                        sleep(Duration::from_millis(300)).await;
                        continue;
                    }
                    return self.give_back(error).await;
                }
                ErrorKind::SyncWindow | ErrorKind::PermissionDenied(_) if plan.is_some() => {
                    let reason = match error.kind {
                        ErrorKind::SyncWindow => Refusal::SyncWindow { windows: Vec::new() },
                        _ => Refusal::MayNot { action: "sync".into() },
                    };
                    let undo = self.undo().await;
                    return Ok(Some(Outcome::Refused { reasons: vec![reason], undo }));
                }
                _ => return self.give_back(error).await,
            }
        }
    }

    fn carries_nonce(&self) -> bool {
        let app = self.follow.app();
        let state = app.status.operation_state.as_ref().map(|state| &state.operation);
        app.operation
            .iter()
            .chain(state)
            .any(|operation| operation.has_info(crate::request::NONCE, self.nonce))
    }

    /// Waits until the operation slot is free, or until the operation in it turns out to deploy our values.
    async fn free_slot(&mut self, plan: Option<&Plan>) -> Result<Slot, Error> {
        self.follow.read().await?;
        loop {
            self.tell_changes();
            let expect = self.expect(plan, Wanted::Sync { nonce: self.nonce });
            let mut memory = Memory::default();
            memory.note(&expect, self.follow.app());
            if deploys_our_values(&expect, self.follow.app())
                || (plan.is_some() && memory.operation().is_some())
            {
                return Ok(Slot::Adopted);
            }
            let app = self.follow.app();
            let runs = app.status.operation_state.as_ref().is_some_and(|state| {
                matches!(
                    state.phase,
                    crate::model::Phase::Running | crate::model::Phase::Terminating
                )
            });
            if app.operation.is_none() && !runs {
                return Ok(Slot::Free);
            }
            self.tell(Event::Waiting { text: "another operation holds the application".into() });
            match self.follow.next(self.deadline).await? {
                Next::Changed => {}
                Next::Time => return Ok(Slot::Deadline),
                // The next attempt will say that it is gone.
                Next::Deleted => return Ok(Slot::Free),
            }
        }
    }

    /// Closes the claim as the outcome wants it, and takes back what had no effect.
    async fn conclude(&mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Proven { proof } => {
                self.close(State::Done).await;
                Outcome::Proven { proof }
            }
            // An automatic sync deployed it before the manifests could be looked at.
            Outcome::NotProven { at: Place::Manifests, problems }
                if self.follow.app().spec.is_automated() =>
            {
                self.not_rendered(problems).await
            }
            Outcome::Superseded { .. } => outcome,
            other => {
                self.close(State::Failed).await;
                other
            }
        }
    }
}

/// What became of the operation slot.
enum Slot {
    /// Nobody is in it.
    Free,
    /// The operation in it deploys our values.
    Adopted,
    /// The time is over.
    Deadline,
}
