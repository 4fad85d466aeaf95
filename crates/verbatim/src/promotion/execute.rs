//! Carries out a plan: all applications are checked before the first is written, then several are deployed at a time, and
//! each ends with an outcome of its own.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::cli::listener_within;
use verbatim_argocd::{
    AppPlan, AppRef, Claim, ClaimState, ClosedClaim, DeployEvent, DeployOptions, DeployOutcome,
    DeployReport, DeployRequest, Error, NotClosed, OnPause, PendingRecord, Prediction, WantedImage,
    close_claim, digests, nonce, shown, write_requests,
};
use verbatim_console::{Console, ExitStatus, Failure, StepState};
use verbatim_oci::{Digest, short_digests};
use verbatim_record::{Anchor, EnvironmentId, PromotionKind, Revision};

use super::PromotionContext;
use super::bans::{BanWatch, Stop};
use super::decide::{Considered, LedgerPlace};
use super::plan::{PlannedApp, PromotionPlan};
use super::ready::Ready;
use super::record::Changed;
use super::waves;
use crate::config::{DeploySettings, Environment};
use crate::environment::applications::{self, ObservedApp, Servers};
use crate::environment::target::{Target, target};
use crate::project::failures;
use crate::release::Release;

/// How many applications are looked at, or have their claims closed, at the same time.
const CONCURRENCY: usize = 16;

/// How many are rendered at the same time: that is Argo CD's own work.
const RENDERINGS: usize = 4;

/// What attaching the record may take, for the time that the claims hold others off.
const RECORDING: Duration = Duration::from_secs(60);

/// One application of a promotion, with what was seen of it.
#[derive(Debug)]
pub(crate) struct AppToDeploy {
    /// What it is to hold.
    pub target: Target,
    /// Its sources, for the record.
    pub sources: Vec<Revision>,
    /// What Argo CD compares them with.
    pub revisions: Vec<String>,
    /// The namespace that it is in.
    pub namespace: String,
    /// Whether no sync window is for it, as far as is known.
    pub has_no_windows: bool,
}

/// What became of one application.
#[derive(Debug)]
pub(crate) struct AppResult {
    pub app: AppToDeploy,
    /// How it was deployed.
    pub report: Result<DeployReport, NoReport>,
}

impl AppResult {
    fn is_proven(&self) -> bool {
        matches!(&self.report, Ok(DeployReport { outcome: DeployOutcome::Proven { .. }, .. }))
    }
}

/// Why there is no report of an application.
#[derive(Debug)]
pub(crate) enum NoReport {
    /// An error before anything was changed.
    Failed(Error),
    /// It was not begun, as this other one was not proven.
    NotBegun(AppRef),
    /// It was not begun, as a lock or a veto came meanwhile.
    Stopped(Stop),
}

/// How one application ended, for the result of the command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AppOutcome {
    pub app: String,
    /// The report of its deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<DeployReport>,
    /// Why there is no report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it differs from what was proven, at the last look before the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_since: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// What it means for the exit status.
    #[serde(skip)]
    pub status: ExitStatus,
}

impl AppOutcome {
    /// Whether it agrees to what is planned, and nothing was written.
    pub(crate) fn is_planned(&self) -> bool {
        self.report.as_ref().is_some_and(|report| matches!(report.outcome, DeployOutcome::Planned))
    }

    /// Whether the release runs there, proven and not changed since.
    pub(crate) fn is_proven(&self) -> bool {
        let report = self.report.as_ref();
        self.changed_since.is_none()
            && report.is_some_and(|report| matches!(report.outcome, DeployOutcome::Proven { .. }))
    }
}

/// What all applications of a promotion have in common.
#[derive(Clone, Debug)]
pub(crate) struct Rollout<'a> {
    pub environment: &'a EnvironmentId,
    pub release: &'a Release,
    pub images: &'a [WantedImage],
    /// Who promotes: the URL of the run, or a name.
    pub by: Option<String>,
    /// Whether the revisions that were planned must be those that are deployed.
    pub is_pinned: bool,
    pub options: DeployOptions,
}

/// The applications of an environment as jobs.
pub(super) fn apps_to_deploy(
    seen: Vec<ObservedApp>,
    release: &Release,
) -> Result<Vec<AppToDeploy>, Failure> {
    seen.into_iter()
        .map(|ObservedApp { app, application, .. }| {
            let application = application.map_err(failures::argocd)?;
            let target = target(&app, release).map_err(|error| {
                Failure::usage(error).context(format!("cannot make the values of {}", app.name))
            })?;
            Ok(AppToDeploy {
                target,
                sources: applications::sources(&application),
                revisions: application.status.sync.revisions(),
                namespace: application.metadata.namespace,
                has_no_windows: false,
            })
        })
        .collect()
}

pub(super) fn options(
    environment: &Environment,
    deploy: DeploySettings,
    take_over: bool,
) -> DeployOptions {
    DeployOptions {
        prune: deploy.prune,
        allow_unpruned: deploy.allow_unpruned,
        trust_owner: deploy.trust_owner,
        allow_unknown_parameters: deploy.allow_unknown_parameters,
        terminate_foreign: deploy.terminate_foreign,
        on_pause: if deploy.fail_on_pause { OnPause::Fail } else { OnPause::Wait },
        timeout: environment.timeout,
        settle: environment.settle,
        stuck_after: environment.stuck_after,
        take_over,
        // The claim is closed with the digest of the record, when there is one.
        close_claim: false,
        ..DeployOptions::default()
    }
}

/// How long the claims of a promotion hold others off: until its last application may be done, and its record attached.
fn claim_for(options: &DeployOptions, waves: &[usize]) -> Duration {
    let rounds = waves::rounds(waves);
    (options.timeout + options.settle).saturating_mul(rounds).saturating_add(RECORDING)
}

/// Checks all applications without writing anything.
pub(super) async fn check(
    servers: &Servers,
    apps: &[AppToDeploy],
    rollout: &Rollout<'_>,
    console: &Console,
) -> Result<Vec<(PlannedApp, DeployReport)>, Failure> {
    let rollout = Rollout {
        options: DeployOptions { dry_run: true, ..rollout.options.clone() },
        ..rollout.clone()
    };
    let checks = stream::iter(apps).map(|app| {
        let rollout = &rollout;
        async move {
            let deploy = deployment(app, rollout, None, Vec::new())?;
            let report = run(servers, &app.target, &deploy, None, console)
                .await?
                .map_err(failures::argocd)?;
            let plan = report.plan.clone();
            let plan = plan.unwrap_or_else(|| empty_plan(&app.target));
            let server = app.target.server.clone();
            Ok((PlannedApp { server, revisions: app.revisions.clone(), plan }, report))
        }
    });
    checks.buffered(CONCURRENCY).collect::<Vec<_>>().await.into_iter().collect()
}

/// The requests to Argo CD that would change something.
pub(super) fn writes(plans: &[PlannedApp]) -> Vec<String> {
    let mut writes = Vec::new();
    for PlannedApp { plan, .. } in plans.iter().filter(|app| !app.plan.is_noop()) {
        let what = [
            "the values and the claim",
            "the sync, unless Argo CD begins one by itself",
            "the claim is closed with the record",
        ];
        for (request, what) in write_requests(&plan.app).iter().zip(what) {
            let method = request.method.name();
            writes.push(format!("{method} {}: {what}", request.target()));
        }
    }
    writes
}

/// What the manifests of each application would become.
pub(super) async fn predict(
    servers: &Servers,
    plans: &[PlannedApp],
    images: &[WantedImage],
) -> Result<Vec<Prediction>, Failure> {
    let predictions = stream::iter(plans).map(|PlannedApp { server, plan, .. }| async move {
        let rendered = servers.get(server)?.manifests(&plan.app).await.map_err(failures::argocd)?;
        let manifests = rendered.manifests.iter().map(String::as_str);
        let new: Vec<String> = plan.changes.iter().map(|change| shown(Some(&change.new))).collect();
        let images = concerned(images, &digests(new.iter().map(String::as_str)));
        Ok(verbatim_argocd::predict(&plan.app, manifests, &plan.changes, &images))
    });
    predictions.buffered(RENDERINGS).collect::<Vec<_>>().await.into_iter().collect()
}

/// A plan for an application for which none could be made; its report says why.
fn empty_plan(target: &Target) -> AppPlan {
    AppPlan { app: target.app.clone(), sources: Vec::new(), changes: Vec::new() }
}

/// What became of a plan. Nothing of it is recorded yet. Its only constructor is [`Ready::carry_out`].
#[derive(Debug)]
pub struct Carried {
    pub(super) considered: Box<Considered>,
    pub(super) place: LedgerPlace,
    pub(super) plan: PromotionPlan,
    /// Whether the revisions that were planned must be those that were deployed.
    pub(super) is_pinned: bool,
    /// What became of each application.
    pub(super) results: Vec<AppResult>,
    /// When the first thing was written.
    pub(super) started_at: Timestamp,
    /// Private, so that nobody else makes one.
    _carried_out: (),
}

impl Ready {
    /// Writes the values into all applications, syncs them, and proves each.
    ///
    /// # Errors
    /// If a server cannot be addressed. What went wrong with one application is in its result, and stops no other.
    pub async fn carry_out(self, context: &PromotionContext<'_>) -> Result<Carried, Failure> {
        let Self { considered, place, plan, apps, images, take_over, is_pinned, .. } = self;
        let id = &context.environment.id;
        let release = short_digests(&plan.release.to_string());
        context.console.status(format!("{release} → {id}"));
        let steps = apps.iter().map(|app| step(&app.target));
        context.console.plan_steps(steps.chain([record_step(id)]));
        let started_at = Timestamp::now();
        let mut rollout = context.rollout(&plan.release, &images, take_over);
        rollout.is_pinned = is_pinned;
        // A way back is good for each, so nobody waits for it.
        let waves = match considered.kind {
            PromotionKind::Promotion => waves::waves(&context.environment.waves, apps.len()),
            _ => vec![apps.len()],
        };
        rollout.options.claim_for = claim_for(&rollout.options, &waves);
        let bans = BanWatch::of(context, &considered);
        let apps = apps.into_iter().zip(&plan.apps).collect();
        let results =
            execute(context, apps, &waves, &rollout, considered.kind, bans.as_ref()).await?;
        Ok(Carried { considered, place, plan, is_pinned, results, started_at, _carried_out: () })
    }
}

/// Deploys to all applications by their plans, wave by wave. A new release is bad for all if it is bad for one: after the first
/// application that is not proven no other is begun, and none after a lock or a veto. A way back is good for each, and stops
/// for none.
async fn execute(
    context: &PromotionContext<'_>,
    apps: Vec<(AppToDeploy, &PlannedApp)>,
    waves: &[usize],
    rollout: &Rollout<'_>,
    kind: PromotionKind,
    bans: Option<&BanWatch<'_>>,
) -> Result<Vec<AppResult>, Failure> {
    let PromotionContext { servers, console, .. } = context;
    let stopped_by = &OnceLock::new();
    let deploy_one = async |app: AppToDeploy, planned: &PlannedApp| {
        if let Some(other) = stopped_by.get() {
            return Ok(AppResult { app, report: Err(NoReport::NotBegun(AppRef::clone(other))) });
        }
        if let Some(bans) = bans
            && let Some(stop) = bans.stop().await
        {
            return Ok(AppResult { app, report: Err(NoReport::Stopped(stop)) });
        }
        let step = step(&app.target);
        console.step(&step, StepState::UnderWay);
        let revisions = if rollout.is_pinned { planned.revisions.clone() } else { Vec::new() };
        let deploy = deployment(&app, rollout, Some(planned.plan.clone()), revisions)?;
        let report = run(servers, &app.target, &deploy, Some(&step), console).await?;
        let result = AppResult { app, report: report.map_err(NoReport::Failed) };
        if result.is_proven() {
            console.step(&step, StepState::Done);
        } else if kind == PromotionKind::Promotion {
            // Of several that end so, one is as good as another.
            drop(stopped_by.set(result.app.target.app.clone()));
        }
        Ok::<_, Failure>(result)
    };
    let deploy_one = &deploy_one;
    let mut rest = apps.into_iter().enumerate();
    let mut results: BTreeMap<usize, AppResult> = BTreeMap::new();
    let (mut proven, mut failure) = (0, None);
    for wave in waves {
        // If one of them is not proven, those of the next waves are not begun.
        let mut wave = rest.by_ref().take(*wave);
        let mut under_way = FuturesUnordered::new();
        loop {
            while failure.is_none()
                && under_way.len() < waves::at_once(proven)
                && let Some((number, (app, planned))) = wave.next()
            {
                under_way.push(async move { (number, deploy_one(app, planned).await) });
            }
            let Some((number, result)) = under_way.next().await else { break };
            match result {
                Ok(result) => {
                    proven += usize::from(AppResult::is_proven(&result));
                    results.insert(number, result);
                }
                // Those that are under way come to their end: one that is dropped leaves what it has begun.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
    }
    match failure {
        None => Ok(results.into_values().collect()),
        Some(failure) => Err(failure),
    }
}

fn deployment(
    app: &AppToDeploy,
    rollout: &Rollout<'_>,
    expected: Option<AppPlan>,
    revisions: Vec<String>,
) -> Result<DeployRequest, Failure> {
    let AppToDeploy { target, has_no_windows, .. } = app;
    Ok(DeployRequest {
        app: target.app.clone(),
        values: target.values.clone(),
        images: concerned(rollout.images, &target.values.digests()),
        release: rollout.release.to_string(),
        environment: Some(rollout.environment.to_string()),
        by: rollout.by.clone(),
        revisions,
        nonce: nonce().map_err(failures::argocd)?,
        options: DeployOptions { has_no_windows: *has_no_windows, ..rollout.options.clone() },
        expected,
    })
}

/// The images of a release that an application is given; all of them if its values name none.
fn concerned(images: &[WantedImage], named: &[Digest]) -> Vec<WantedImage> {
    let concerned: Vec<WantedImage> =
        images.iter().filter(|image| named.contains(&image.digest)).cloned().collect();
    if concerned.is_empty() { images.to_vec() } else { concerned }
}

/// What is done with an application, for who has to be told how far it came.
fn step(target: &Target) -> String {
    format!("deploy to {}", target.app)
}

/// The last thing that a promotion does, for people who follow it.
pub(super) fn record_step(environment: &EnvironmentId) -> String {
    format!("attach the record of {environment}")
}

/// Deploys to one application, and tells how if it is a `step` of the command.
async fn run(
    servers: &Servers,
    target: &Target,
    deploy: &DeployRequest,
    step: Option<&str>,
    console: &Console,
) -> Result<Result<DeployReport, Error>, Failure> {
    let client = servers.get(&target.server)?;
    let app = &target.app;
    let progress = step.map(|step| (step, console.progress(format!("deploying to {app}"))));
    let name = app.to_string();
    let tell =
        progress.as_ref().map(|(step, progress)| listener_within(console, progress, &name, step));
    let told = |event: DeployEvent| {
        if let Some(tell) = &tell {
            tell(event);
        }
    };
    Ok(verbatim_argocd::deploy(client, deploy, &told).await)
}

/// What the claims of a promotion are closed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimEnding {
    /// The end of the ledger.
    pub record: Option<Anchor>,
    /// What is to become the end of it and could not be attached.
    pub kept: Option<PendingRecord>,
}

impl ClaimEnding {
    /// The claim on an application as the outcome leaves it. `None` if that is not known: an open claim that somebody has
    /// yet to look after.
    fn of(self, claim: &Claim, outcome: &DeployOutcome) -> Option<Claim> {
        let (state, kept) = match (outcome, claim.state) {
            (DeployOutcome::Proven { .. }, _) => (ClaimState::Done, self.kept),
            (_, ClaimState::Open) => return None,
            (_, ended) => (ended, claim.kept),
        };
        let record = self.record.map(|anchor| anchor.to_string());
        Some(Claim { record, kept, ..claim.in_state(state) })
    }
}

/// Closes the claims of a promotion, and says where its values or its claim do not stand any more. That a claim stays open
/// for another reason is told and no failure: the next run closes it.
pub(super) async fn close(
    servers: &Servers,
    results: impl IntoIterator<Item = &AppResult>,
    ending: ClaimEnding,
    console: &Console,
) -> BTreeMap<String, Changed> {
    let closings = results.into_iter().filter_map(|AppResult { app, report }| {
        let DeployReport { claim: Some(claim), outcome, .. } = report.as_ref().ok()? else {
            return None;
        };
        let client = servers.get(&app.target.server).ok()?;
        Some((client, &app.target.app, ending.of(claim, outcome)?))
    });
    let closings = stream::iter(closings).map(|(client, app, end)| async move {
        (app.to_string(), close_claim(client, app, &end).await)
    });
    let mut changed = BTreeMap::new();
    let mut closings = closings.buffered(CONCURRENCY);
    while let Some((app, ClosedClaim { end, warnings })) = closings.next().await {
        warnings.iter().for_each(|warning| console.warn(format!("{app}: {warning}")));
        match end {
            Ok(()) => {}
            Err(gone @ (NotClosed::TakenOver | NotClosed::Changed(_))) => {
                changed.insert(app, Changed::By(gone.to_string()));
            }
            Err(why @ (NotClosed::Wiped | NotClosed::Server(_))) => {
                console.warn(format!("{app}: the claim could not be closed: {why}"));
            }
        }
    }
    changed
}
