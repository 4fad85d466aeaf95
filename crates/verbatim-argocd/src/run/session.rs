//! What one run on one application knows: shared by writing, waiting and proving.

use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::client::Client;
use crate::api::error::Error;
use crate::api::request::AppRef;
use crate::judge::evidence::WantedImage;
use crate::judge::outcome::{DeployOutcome, DeployReport};
use crate::judge::verdict::{Expectation, ExpectedOperation};
use crate::judge::warning::DeployWarning;
use crate::model::{Application, HealthStatus};
use crate::overrides::claim::{Claim, read_claim};
use crate::overrides::plan::AppPlan;
use crate::overrides::values::Deviation;
use crate::run::event::{DeployEvent, DeployStep, StateLog};
use crate::run::follow::{FirstRead, Follow};
use crate::run::request::DeployOptions;

/// Whoever wants to know what happens meanwhile.
pub(crate) type Listener<'a> = &'a (dyn Fn(DeployEvent) + Sync);

/// One run on one application.
pub(crate) struct AppRun<'a> {
    pub(crate) client: &'a Client,
    pub(crate) app: AppRef,
    pub(crate) release: &'a str,
    pub(crate) by: Option<&'a str>,
    pub(crate) nonce: &'a str,
    pub(crate) images: &'a [WantedImage],
    pub(crate) options: &'a DeployOptions,
    pub(crate) follow: Follow,
    pub(crate) deadline: Instant,
    /// The state before anything was done.
    pub(crate) before: Application,
    pub(crate) plan: Option<AppPlan>,
    /// The claim as it was written last.
    pub(crate) claim: Option<Claim>,
    /// The states right before and after each of our writes.
    pub(crate) writes: Vec<(Application, Application)>,
    /// A sync was asked for, and the server has taken it.
    pub(crate) started: bool,
    pub(crate) warnings: Vec<DeployWarning>,
    pub(crate) told: StateLog,
    listener: Listener<'a>,
    requests_before: u64,
}

/// What a run is about, beside the application.
pub(crate) struct Subject<'a> {
    pub(crate) release: &'a str,
    pub(crate) by: Option<&'a str>,
    pub(crate) nonce: &'a str,
    pub(crate) images: &'a [WantedImage],
    pub(crate) options: &'a DeployOptions,
}

impl<'a> AppRun<'a> {
    /// Opens the watch and looks.
    pub(crate) async fn start(
        client: &'a Client,
        app: &AppRef,
        about: Subject<'a>,
        listener: Listener<'a>,
    ) -> Result<Self, Error> {
        Self::start_with(client, app, about, listener, FirstRead::AsItIs).await
    }

    /// The same, with another first look.
    pub(crate) async fn start_with(
        client: &'a Client,
        app: &AppRef,
        about: Subject<'a>,
        listener: Listener<'a>,
        first: FirstRead,
    ) -> Result<Self, Error> {
        let requests_before = client.requests();
        let deadline = Instant::now() + about.options.timeout;
        listener(DeployEvent::Begin { step: DeployStep::Observe });
        let follow = Follow::start(client, app, first).await?;
        let before = follow.app().clone();
        let mut app = app.clone();
        if app.project.is_none() && !before.spec.project.is_empty() {
            app.project = Some(before.spec.project.clone());
        }
        let mut told = StateLog::default();
        told.changes(&before);
        let Subject { release, by, nonce, images, options } = about;
        Ok(Self {
            client,
            app,
            release,
            by,
            nonce,
            images,
            options,
            follow,
            deadline,
            before,
            plan: None,
            claim: None,
            writes: Vec::new(),
            started: false,
            warnings: Vec::new(),
            told,
            listener,
            requests_before,
        })
    }

    /// Reads the application, and begins anew with it as what was there before.
    pub(crate) async fn look_again(&mut self) -> Result<(), Error> {
        self.follow.read().await?;
        self.before = self.follow.app().clone();
        Ok(())
    }

    pub(crate) fn tell(&self, event: DeployEvent) {
        (self.listener)(event);
    }

    pub(crate) fn begin(&self, step: DeployStep) {
        self.tell(DeployEvent::Begin { step });
    }

    pub(crate) fn done(&self, step: DeployStep) {
        self.tell(DeployEvent::Done { step });
    }

    pub(crate) fn warn(&mut self, warning: DeployWarning) {
        self.tell(DeployEvent::Warning { warning: warning.clone() });
        self.warnings.push(warning);
    }

    /// Tells what changed in the newest state.
    pub(crate) fn tell_changes(&mut self) {
        for text in self.told.changes(self.follow.app()) {
            (self.listener)(DeployEvent::Changed { text });
        }
    }

    /// What must have happened, for the judge.
    pub(crate) fn expect<'b>(
        &self,
        plan: Option<&'b AppPlan>,
        operation: ExpectedOperation<'b>,
    ) -> Expectation<'b> {
        Expectation {
            values: plan.map(|plan| (plan.source, plan.changes.as_slice())),
            operation,
            last_history: self.before.status.history.iter().map(|entry| entry.id).max(),
            health_before: if operation == ExpectedOperation::State {
                HealthStatus::Unknown
            } else {
                self.before.status.health.status
            },
            allow_unpruned: self.options.allow_unpruned,
        }
    }

    /// The outcome for values that are not ours any more, with whoever left a claim there.
    pub(crate) fn superseded_by(&self, deviations: Vec<Deviation>) -> DeployOutcome {
        let on_app = read_claim(self.follow.app());
        let by = on_app.known().filter(|claim| claim.nonce != self.nonce).cloned();
        DeployOutcome::Superseded { deviations, by: by.map(Box::new) }
    }

    /// Ends the run.
    pub(crate) fn report(mut self, outcome: DeployOutcome) -> DeployReport {
        self.tell_lost_changes();
        DeployReport {
            app: self.app,
            server: self.client.server().to_string(),
            release: self.release.to_owned(),
            plan: self.plan,
            outcome,
            warnings: self.warnings,
            claim: self.claim,
            requests: self.client.requests() - self.requests_before,
        }
    }

    /// Changes of others that our writes overlaid can be told once the watch has brought everything.
    fn tell_lost_changes(&mut self) {
        self.follow.drain();
        let mut lost = Vec::new();
        for (before, after) in &self.writes {
            for middle in self.follow.between(before, after) {
                lost.extend(crate::judge::lost_changes::lost(before, middle, after));
            }
        }
        lost.dedup();
        for warning in lost {
            self.warn(warning);
        }
    }
}

/// The time. The only place of this library that looks at a clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
