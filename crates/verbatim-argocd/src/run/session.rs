//! One run on one application: what it is about, what is seen, what was there before, what was done, what was told. Each
//! part has a file of its own and changes only there.

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout};

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::AppRef;
use crate::judge::baseline::broken_resources;
use crate::judge::change::Writer;
use crate::judge::evidence::{EndedOperation, WantedImage};
use crate::judge::outcome::{DeployOutcome, DeployReport};
use crate::judge::refusal::WriteRefusal;
use crate::judge::verdict::{Expectation, ExpectedOperation};
use crate::judge::warning::DeployWarning;
use crate::model::{Application, HealthStatus};
use crate::overrides::claim::{Claim, ClaimState, read_claim, read_claims};
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{Deviation, ValueChange};
use crate::run::event::DeployStep;
use crate::run::follow::{FirstRead, Follow};
use crate::run::log::{Listener, RunLog};
use crate::run::request::{DeployOptions, DeployRequest};
use crate::run::written::Written;

/// One run on one application.
pub(crate) struct AppRun<'a> {
    pub(crate) subject: Subject<'a>,
    /// The newest state, and the time that is left.
    pub(crate) follow: Follow,
    /// The state before anything was done.
    pub(crate) before: Application,
    pub(crate) written: Written,
    /// Whether no sync window is for the application, as far as was asked.
    pub(crate) has_no_windows: bool,
    pub(crate) log: RunLog<'a>,
    /// Operations of others that were ended.
    pub(crate) ended: Vec<EndedOperation>,
}

/// What a run is about.
pub(crate) struct Subject<'a> {
    /// With the time by which the run is to be over.
    pub(crate) client: Client,
    pub(crate) app: AppRef,
    pub(crate) release: &'a str,
    pub(crate) environment: Option<&'a str>,
    pub(crate) by: Option<&'a str>,
    pub(crate) nonce: &'a str,
    pub(crate) images: &'a [WantedImage],
    pub(crate) revisions: &'a [String],
    pub(crate) options: &'a DeployOptions,
    /// The client's count when the run began.
    pub(crate) requests_before: u64,
}

impl<'a> Subject<'a> {
    /// A run that writes no values and proves no image.
    pub(crate) fn new(client: &'a Client, app: &AppRef, options: &'a DeployOptions) -> Self {
        Self {
            client: client.until(Instant::now() + options.timeout),
            app: app.clone(),
            release: "",
            environment: None,
            by: None,
            nonce: "",
            images: &[],
            revisions: &[],
            options,
            requests_before: client.requests(),
        }
    }

    pub(crate) fn deployment(client: &'a Client, deploy: &'a DeployRequest) -> Self {
        Self {
            release: &deploy.release,
            environment: deploy.environment.as_deref(),
            by: deploy.by.as_deref(),
            nonce: &deploy.nonce,
            images: &deploy.images,
            revisions: &deploy.revisions,
            ..Self::new(client, &deploy.app, &deploy.options)
        }
    }

    /// Opens the watch and reads the application.
    pub(crate) async fn start(
        mut self,
        first: FirstRead,
        listener: Listener<'a>,
    ) -> Result<AppRun<'a>, Error> {
        let mut log = RunLog::new(listener);
        log.begin(DeployStep::Observe);
        let limit = self.options.timeout;
        let follow = Follow::start(&self.client, &self.app, first, limit);
        let follow = timeout(limit, follow).await.unwrap_or_else(|_| {
            let action = format!("read application {}", self.app);
            let server = self.client.server().to_string();
            Err(Error { action, server, kind: ErrorKind::Timeout(limit) })
        })?;
        let before = follow.app().clone();
        if self.app.project.is_none() && !before.spec.project.is_empty() {
            self.app.project = Some(before.spec.project.clone());
        }
        log.begin_with(&before);
        Ok(AppRun {
            subject: self,
            follow,
            before,
            written: Written::default(),
            has_no_windows: false,
            log,
            ended: Vec::new(),
        })
    }

    /// This run, for the claims that it makes and meets.
    pub(crate) fn writer(&self) -> Writer<'a> {
        let period = (self.options.timeout + self.options.settle).max(self.options.claim_for);
        Writer {
            app: self.app.clone(),
            environment: self.environment,
            release: self.release,
            by: self.by,
            nonce: self.nonce,
            take_over: self.options.take_over,
            period: SignedDuration::try_from(period).unwrap_or(SignedDuration::from_hours(1)),
        }
    }

    /// A report of something that needed no run.
    pub(crate) fn report(self, outcome: DeployOutcome) -> DeployReport {
        DeployReport {
            app: self.app,
            server: self.client.server().to_string(),
            release: self.release.to_owned(),
            plan: None,
            outcome,
            warnings: Vec::new(),
            claim: None,
            requests: self.client.requests() - self.requests_before,
            has_no_windows: false,
        }
    }
}

impl<'a> AppRun<'a> {
    /// Why an operation would never begin.
    pub(crate) fn not_reconciled(&self) -> Option<WriteRefusal> {
        self.before.is_skipped().then_some(WriteRefusal::NotReconciled)
    }

    /// Whether a live read shows something else than what the run began with; then it begins anew with that.
    pub(crate) async fn was_outdated(&mut self) -> Result<bool, Error> {
        self.follow.read().await?;
        let (before, now) = (&self.before.metadata, &self.follow.app().metadata);
        let is_other = before.resource_version != now.resource_version;
        if is_other {
            self.rebase();
        }
        Ok(is_other)
    }

    /// Begins anew with the newest state as what was there before.
    pub(crate) fn rebase(&mut self) {
        self.before = self.follow.app().clone();
    }

    /// The time by the server's clock, by which every machine times its claims: one that is a quarter of an hour ahead must
    /// not take a run that lives for one that died.
    pub(crate) fn server_time(&self) -> Timestamp {
        let ahead = self.subject.client.clock().map(|reading| reading.ahead()).unwrap_or_default();
        now().checked_add(ahead).unwrap_or_else(|_| now())
    }

    /// Tells what changed in the newest state.
    pub(crate) fn tell_changes(&mut self) {
        self.log.changes(self.follow.app());
    }

    /// What must have happened, for the judge.
    pub(crate) fn expect<'b>(
        &self,
        plan: Option<&'b AppPlan>,
        operation: ExpectedOperation<'b>,
    ) -> Expectation<'b>
    where
        'a: 'b,
    {
        let is_write = operation != ExpectedOperation::State;
        Expectation {
            values: plan.map(|plan| plan.changes.as_slice()),
            operation,
            revisions: self.subject.revisions,
            last_history: self.before.status.last_history(),
            health_before: if is_write {
                self.before.status.health.status
            } else {
                HealthStatus::Unknown
            },
            broken_before: if is_write || self.was_proven() {
                broken_resources(&self.before)
            } else {
                Vec::new()
            },
            stuck_after: self.subject.options.stuck_after,
            allow_unpruned: self.subject.options.allow_unpruned,
        }
    }

    /// Whether this release was proven here before, so that what is not healthy now was judged then.
    fn was_proven(&self) -> bool {
        let on_app = read_claim(&self.before, self.subject.environment);
        on_app.known().is_some_and(|claim| {
            claim.state == ClaimState::Done && claim.release == self.subject.release
        })
    }

    /// The outcome for values that are not ours any more, with whoever left a claim there.
    pub(crate) fn superseded_by(&self, deviations: Vec<Deviation>) -> DeployOutcome {
        let plan = self.written.plan();
        let is_theirs = |claim: &Claim| {
            let same_value = |change: &ValueChange| {
                plan.is_none_or(|plan| plan.changes.iter().any(|it| it.is_of_same_value(change)))
            };
            claim.nonce != self.subject.nonce && claim.changes.iter().any(same_value)
        };
        let by = read_claims(self.follow.app()).into_iter().find(is_theirs);
        DeployOutcome::Overwritten { deviations, by: by.map(Box::new) }
    }

    /// Ends the run.
    pub(crate) fn report(mut self, outcome: DeployOutcome) -> DeployReport {
        self.tell_lost_changes();
        let (plan, claim) = self.written.into_parts();
        let warnings = self.log.into_warnings();
        let has_no_windows = self.has_no_windows;
        DeployReport { plan, claim, warnings, has_no_windows, ..self.subject.report(outcome) }
    }

    /// Ends a run that has no report.
    pub(crate) fn into_warnings(mut self) -> Vec<DeployWarning> {
        self.tell_lost_changes();
        self.log.into_warnings()
    }

    /// Changes of others that our writes overlaid can be told once the watch has brought everything.
    fn tell_lost_changes(&mut self) {
        self.follow.drain();
        for warning in self.written.lost_changes(&self.follow) {
            self.log.warn(warning);
        }
        let why = if self.written.is_in_doubt() {
            "the answer to an earlier attempt got lost, and it may have been carried out later"
        } else if self.written.has_written() && !self.follow.has_caught_up() {
            "the watch does not show the application"
        } else {
            return;
        };
        let what = "whether our write took back a change of another client".to_owned();
        self.log.warn(DeployWarning::NotChecked { what, why: why.to_owned() });
    }
}

/// The time. The only place of this library that looks at a clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
