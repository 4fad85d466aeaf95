//! Carries out a plan: all applications are checked before the first is written, then several are deployed at a time, and
//! each ends with an outcome of its own.

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use verbatim_argocd::cli::listener;
use verbatim_argocd::deploy::{self, nonce};
use verbatim_argocd::event::Event;
use verbatim_argocd::{Deploy, Error, Options, Outcome, Plan, Report, WantedImage};
use verbatim_console::{Console, ExitStatus, Failure, StepState};
use verbatim_record::{Anchor, Revision};

use crate::config::Environment;
use crate::failures;
use crate::look::{self, Seen, Servers};
use crate::plan::{PlannedApp, Target, target};
use crate::release::Release;

/// How many applications are deployed at the same time: their writes cost the server most.
const CONCURRENCY: usize = 4;

/// One application of a promotion, with what was seen of it.
#[derive(Debug)]
pub(crate) struct Job {
    /// What it is to hold.
    pub target: Target,
    /// Its sources, for the record.
    pub sources: Vec<Revision>,
}

/// What became of one application.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Which.
    pub job: Job,
    /// How: a report, or an error before anything was changed.
    pub result: Result<Report, Error>,
}

/// How one application ended, for the result of the command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AppOutcome {
    /// The application.
    pub app: String,
    /// The report of its deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Why there is no report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// What it means for the exit status.
    #[serde(skip)]
    pub status: ExitStatus,
}

/// What all applications of a promotion have in common.
#[derive(Clone, Debug)]
pub(crate) struct Order<'a> {
    /// The release.
    pub release: &'a Release,
    /// What must run.
    pub image: &'a WantedImage,
    /// Who promotes: the URL of the run, or a name.
    pub by: Option<String>,
    /// How it is done.
    pub options: Options,
}

/// The applications of an environment as jobs.
///
/// # Errors
/// One of them could not be read, or its values cannot be made.
pub(crate) fn jobs(seen: Vec<Seen>, release: &Release) -> Result<Vec<Job>, Failure> {
    seen.into_iter()
        .map(|Seen { app, application }| {
            let application = application.map_err(failures::argocd)?;
            let target = target(&app, release).map_err(|error| {
                Failure::usage(error).context(format!("cannot make the values of {}", app.name))
            })?;
            Ok(Job { target, sources: look::sources(&application) })
        })
        .collect()
}

/// The options of an environment.
pub(crate) fn options(environment: &Environment, take_over: bool) -> Options {
    Options {
        timeout: environment.timeout,
        settle: environment.settle,
        stuck_after: environment.stuck_after,
        take_over,
        // The claim is closed with the digest of the record, when there is one.
        close_claim: false,
        ..Options::default()
    }
}

/// Checks all applications without writing anything.
///
/// # Errors
/// The first that could not be asked. Refusals are part of the reports.
pub(crate) async fn check(
    servers: &Servers,
    jobs: &[Job],
    order: &Order<'_>,
    console: &Console,
) -> Result<Vec<(PlannedApp, Report)>, Failure> {
    let order =
        Order { options: Options { dry_run: true, ..order.options.clone() }, ..order.clone() };
    let checks = stream::iter(jobs).map(|job| {
        let order = &order;
        async move {
            let deploy = deployment(&job.target, order, None)?;
            let report = run(servers, &job.target, &deploy, false, console)
                .await?
                .map_err(failures::argocd)?;
            let plan = report.plan.clone();
            let plan = plan.unwrap_or_else(|| empty_plan(&job.target));
            Ok((PlannedApp { server: job.target.server.clone(), plan }, report))
        }
    });
    checks.buffered(CONCURRENCY).collect::<Vec<_>>().await.into_iter().collect()
}

/// A plan for an application for which none could be made; its report says why.
fn empty_plan(target: &Target) -> Plan {
    Plan {
        app: target.app.clone(),
        source: verbatim_argocd::model::SourceAt::Single,
        source_name: String::new(),
        changes: Vec::new(),
    }
}

/// Deploys to all applications by their plans, in the order of the jobs.
///
/// # Errors
/// None that stops the others: what went wrong with one application is in its result.
pub(crate) async fn execute(
    servers: &Servers,
    jobs: Vec<Job>,
    plans: &[PlannedApp],
    order: &Order<'_>,
    console: &Console,
) -> Result<Vec<Ended>, Failure> {
    let runs = stream::iter(jobs.into_iter().zip(plans)).map(|(job, planned)| async move {
        let step = format!("deploy to {}", job.target.app);
        console.step(&step, StepState::UnderWay);
        let deploy = deployment(&job.target, order, Some(planned.plan.clone()))?;
        let result = run(servers, &job.target, &deploy, true, console).await?;
        if matches!(&result, Ok(Report { outcome: Outcome::Proven { .. }, .. })) {
            console.step(&step, StepState::Done);
        }
        Ok(Ended { job, result })
    });
    runs.buffered(CONCURRENCY).collect::<Vec<_>>().await.into_iter().collect()
}

fn deployment(
    target: &Target,
    order: &Order<'_>,
    expected: Option<Plan>,
) -> Result<Deploy, Failure> {
    Ok(Deploy {
        app: target.app.clone(),
        values: target.values.clone(),
        images: vec![order.image.clone()],
        release: order.release.to_string(),
        by: order.by.clone(),
        nonce: nonce().map_err(failures::argocd)?,
        options: order.options.clone(),
        expected,
    })
}

async fn run(
    servers: &Servers,
    target: &Target,
    deploy: &Deploy,
    is_told: bool,
    console: &Console,
) -> Result<Result<Report, Error>, Failure> {
    let client = servers.get(&target.server)?;
    let app = &target.app;
    let progress = is_told.then(|| console.progress(format!("deploying to {app}")));
    let name = app.to_string();
    let tell = progress.as_ref().map(|progress| listener(console, progress, &name));
    let told = |event: Event| {
        if let Some(tell) = &tell {
            tell(event);
        }
    };
    Ok(deploy::deploy(client, deploy, &told).await)
}

/// Closes the claims of a promotion: with its record, or without if there is none. That a claim stays open is told and
/// no failure: the next run closes it.
pub(crate) async fn close(
    servers: &Servers,
    ended: &[Ended],
    record: Option<Anchor>,
    console: &Console,
) {
    for Ended { job, result } in ended {
        let Ok(Report { claim: Some(claim), .. }) = result else { continue };
        let Ok(client) = servers.get(&job.target.server) else { continue };
        let record = record.map(|anchor| anchor.to_string());
        if let Err(error) = deploy::close(client, &job.target.app, claim, record).await {
            console.warn(format!(
                "{}: the claim could not be closed: {error}: {}",
                job.target.app, error.kind
            ));
        }
    }
}

/// The exit status for several applications: the one that asks for most attention.
pub(crate) fn status(outcomes: impl IntoIterator<Item = ExitStatus>) -> ExitStatus {
    const BY_URGENCY: [ExitStatus; 8] = [
        ExitStatus::Defect,
        ExitStatus::Interrupted,
        ExitStatus::Unknown,
        ExitStatus::Conflict,
        ExitStatus::Superseded,
        ExitStatus::Refused,
        ExitStatus::Unreachable,
        ExitStatus::No,
    ];
    let all: Vec<ExitStatus> = outcomes.into_iter().collect();
    BY_URGENCY.into_iter().find(|status| all.contains(status)).unwrap_or(ExitStatus::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_status_is_the_one_of_all() {
        use ExitStatus::{Conflict, Done, No, Unknown};
        for (all, want) in [
            (vec![], Done),
            (vec![Done, Done], Done),
            (vec![Done, No], No),
            (vec![No, Unknown, Conflict], Unknown),
        ] {
            assert_eq!(status(all.clone()), want, "{all:?}");
        }
    }
}
