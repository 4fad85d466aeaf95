//! Deploys: observe, write, read back, render, sync, wait, prove, close. The order of the steps, and what each failure
//! means for what was done before it.

use tokio::time::Duration;

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{AppRef, Sync};
use crate::judge::outcome::{
    Deploy, Left, OnPause, Options, Outcome, Place, Problem, Report, Undo, WantedImage, Warning,
};
use crate::judge::plan::{Plan, plan};
use crate::judge::preflight;
use crate::judge::refusal::Refusal;
use crate::judge::rendered::shown;
use crate::judge::verdict::{Memory, Verdict, Wanted, judge, only_health_is_missing};
use crate::model::Application;
use crate::overrides::claim::{self, Claim, Standing, State};
use crate::overrides::values::deviations;
use crate::run::annotation;
use crate::run::event::{Event, Step};
use crate::run::follow::First;
use crate::run::read::{Next, facts};
pub use crate::run::session::Listener;
use crate::run::session::{About, Run, now};
use crate::run::wait::Goal;
use crate::run::write::{Written, undo};

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
    // Nothing but the answer tells how old a cache is, so what is only planned is read.
    let first = if deploy.options.dry_run { First::AsItIs } else { First::Watched };
    let mut run = Run::start_with(client, &deploy.app, about(deploy), listener, first).await?;
    let mut outcome = run.write_only(deploy).await?;
    if first == First::Watched && is_outdated(&outcome) {
        // Nothing was written. Perhaps only the cache was behind.
        run.look_again().await?;
        outcome = run.write_only(deploy).await?;
    }
    Ok(run.report(outcome))
}

/// Whether all that was wrong is that something else stands there than was seen.
fn is_outdated(outcome: &Outcome) -> bool {
    let is_old = |reason: &Refusal| matches!(reason, Refusal::PlanOutdated { .. });
    matches!(outcome, Outcome::Refused { reasons, .. } if reasons.iter().all(is_old))
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

/// Writes the end of a deployment over its claim, with what became of its record.
///
/// # Errors
///
/// If the claim is not there any more ([`ErrorKind::TestFailed`]), or the write fails.
pub async fn close(client: &Client, app: &AppRef, end: &Claim) -> Result<(), Error> {
    annotation::close(client, app, end).await.map(drop)
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
        let plan = match self.prepare(deploy, Next::Sync).await {
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

    async fn write_only(&mut self, deploy: &Deploy) -> Result<Outcome, Error> {
        let next = Next::Nothing { dry_run: deploy.options.dry_run };
        let plan = match self.prepare(deploy, next).await {
            Ok(plan) => plan,
            Err(outcome) => return Ok(outcome),
        };
        if let Some(outcome) = self.write_checked(deploy, &plan, State::Written).await? {
            return Ok(outcome);
        }
        let status = &self.follow.app().status;
        Ok(Outcome::Reached {
            what: "the values are written".into(),
            sync: status.sync.status,
            health: status.health.status,
            revisions: status.sync.revisions(),
            resources: Vec::new(),
        })
    }

    async fn write_and_prove(&mut self, deploy: &Deploy, plan: &Plan) -> Result<Outcome, Error> {
        if let Some(outcome) = self.write_checked(deploy, plan, State::Open).await? {
            return Ok(outcome);
        }
        let request = Sync {
            nonce: deploy.nonce.clone(),
            infos: self.infos(deploy),
            prune: deploy.options.prune,
            ..Sync::default()
        };
        if let Some(outcome) = self.begin_operation(plan, &request).await? {
            return Ok(outcome);
        }
        let expect = self.expect(Some(plan), Wanted::Sync { nonce: &deploy.nonce });
        Ok(self.wait(&expect, Goal::Proof, Memory::default()).await)
    }

    fn infos(&self, deploy: &Deploy) -> Vec<(String, String)> {
        let release = ("verbatim.dev/release".to_owned(), deploy.release.clone());
        let by = deploy.by.clone().map(|by| ("verbatim.dev/run".to_owned(), by));
        std::iter::once(release).chain(by).collect()
    }

    /// Plans, and refuses what can be seen beforehand. An `Err` ends the run.
    async fn prepare(&mut self, deploy: &Deploy, next: Next) -> Result<Plan, Outcome> {
        // What kind a source is, only a comparison finds out. An application that was just made may have had none.
        if !self.before.status.is_compared() {
            match self.follow.refresh().await {
                Ok(()) => self.before = self.follow.app().clone(),
                Err(error) => tracing::debug!(%error, "the kinds of the sources stay unknown"),
            }
        }
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
        let before = self.before.clone();
        reasons.extend(self.claim_refusal(&before, &plan));
        let facts = facts(self.client, &self.before, &plan, next).await;
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

    /// Whether another run is at work on the application as it stands there.
    pub(crate) fn claim_refusal(&mut self, app: &Application, plan: &Plan) -> Option<Refusal> {
        let on_app = claim::read(app);
        let stands = on_app.known().is_some_and(|claim| {
            deviations(app.spec.sources().get(claim.source), &claim.changes).is_empty()
        });
        let (release, take_over) = (self.release, self.options.take_over);
        let standing = claim::standing(&on_app, stands, release, &plan.changes, now(), take_over);
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
        let outcome = self.wait(&expect, Goal::Proof, memory).await;
        if matches!(outcome, Outcome::Proven { .. }) {
            self.adopt_failed_claim();
            self.close(State::Done).await;
        }
        Ok(Some(outcome))
    }

    /// An earlier run of this release left its values without proof. Now that they are proven, its claim is ours to close.
    fn adopt_failed_claim(&mut self) {
        let on_app = claim::read(self.follow.app());
        let failed = |claim: &&Claim| claim.state == State::Failed && claim.release == self.release;
        self.claim = on_app.known().filter(failed).map(|claim| claim.in_state(State::Open));
    }

    /// Writes, and checks by the answer and by the rendered manifests. `Some` ends the run.
    async fn write_checked(
        &mut self,
        deploy: &Deploy,
        plan: &Plan,
        state: State,
    ) -> Result<Option<Outcome>, Error> {
        self.begin(Step::Write);
        let claim = self.new_claim(&self.before, plan, state);
        match self.write(plan, &deploy.values, claim).await? {
            Written::Yes => {}
            Written::Refused(refusal) => {
                let reasons = vec![refusal];
                return Ok(Some(Outcome::Refused { reasons, undo: Undo::NotNeeded }));
            }
            Written::Overwritten(deviations) => {
                return Ok(Some(self.superseded_by(deviations)));
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
        // Without a wanted image the manifests tell nothing but that they render, and the write has told that.
        if self.images.is_empty() {
            return Ok(None);
        }
        // An automatic sync does not wait for us to look, so there is no hurry to look first.
        if self.follow.app().spec.is_automated() && state == State::Open {
            return Ok(None);
        }
        self.check_rendered().await
    }

    /// The manifests must show the digest: that is where a file in git that wins over the application is seen.
    pub(crate) async fn check_rendered(&mut self) -> Result<Option<Outcome>, Error> {
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
        // Other values than ours may have been rendered: somebody wrote in between.
        if self.follow.read().await.is_ok()
            && let Some(superseded) = self.superseded()
        {
            return superseded;
        }
        let problems = problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.place, problem.what))
            .collect();
        let undo = self.undo().await;
        Outcome::Refused { reasons: vec![Refusal::NotRendered { problems }], undo }
    }

    /// The outcome if our values do not stand any more.
    fn superseded(&self) -> Option<Outcome> {
        let plan = self.plan.as_ref()?;
        let app = self.follow.app();
        let deviations = deviations(app.spec.sources().get(plan.source), &plan.changes);
        (!deviations.is_empty()).then(|| self.superseded_by(deviations))
    }

    /// Ends a run that failed between its write and its sync: the previous values go back.
    pub(crate) async fn give_back(&mut self, error: Error) -> Result<Option<Outcome>, Error> {
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

    /// Closes the claim as the outcome wants it, and takes back what had no effect.
    async fn conclude(&mut self, outcome: Outcome) -> Outcome {
        let outcome = match outcome {
            // An automatic sync deployed it before the manifests could be looked at.
            Outcome::NotProven { at: Place::Manifests, problems }
                if self.follow.app().spec.is_automated() =>
            {
                self.not_rendered(problems).await
            }
            other => other,
        };
        match &outcome {
            Outcome::Proven { .. } | Outcome::Paused { on_pause: OnPause::Accept, .. } => {
                self.close(State::Done).await;
            }
            Outcome::Unknown { left: Left::PerhapsValues, .. } => {}
            // An open claim would keep others away until its deadline.
            _ => self.close(State::Failed).await,
        }
        outcome
    }
}
