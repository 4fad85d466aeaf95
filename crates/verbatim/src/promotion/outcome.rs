//! How a move of a release ended: for people as text, for programs as JSON, for the pipeline as an exit status.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use verbatim_argocd::{Prediction, Report};
use verbatim_console::ExitStatus;
use verbatim_oci::Digest;
use verbatim_policy::Decision;
use verbatim_record::{Anchor, PromotionKind};

use super::steps::{Entry, News, Planned, Situation};
use crate::config::Environment;
use crate::project::failures;
use crate::promotion::execute::{AppOutcome, Ended};
use crate::promotion::plan::Plan;
use crate::records::running;
use crate::release::result::ReleaseResult;
use crate::release::{Release, builds};

/// How a promotion ended.
#[derive(Debug, Serialize)]
pub(crate) struct Promoted {
    /// What kind of move it is.
    pub kind: PromotionKind,
    /// The environment.
    pub environment: String,
    /// The release, with its tag.
    #[serde(serialize_with = "crate::release::result::release")]
    pub release: Release,
    /// Whether it runs there now, proven.
    pub proven: bool,
    /// What every gate said.
    pub decision: Decision,
    /// What else is to be known, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The release that must not enter any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vetoed: Option<Digest>,
    /// Files with records that have yet to be attached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<PathBuf>,
    /// A newer release that runs there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ReleaseResult>,
    /// What is wrong with the ledger, if nothing can be added to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ledger_faults: Vec<String>,
    /// What was to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The hash of that, by which it can be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<Digest>,
    /// How the world differs from the one that a saved plan was made in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<String>,
    /// What the manifests would become; only for a plan that is shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<Prediction>,
    /// The requests that would change something; only for a plan that is shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// What became of each application.
    pub applications: Vec<AppOutcome>,
    /// The place of the promotion in the ledger, with its record.
    #[serde(
        rename = "promotion",
        serialize_with = "crate::release::result::promotion",
        skip_serializing_if = "Option::is_none"
    )]
    pub record: Option<Anchor>,
    /// How the command ends.
    #[serde(skip)]
    pub status: ExitStatus,
}

impl Promoted {
    /// What a plan that is shown tells beside its values.
    fn preview(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.predictions.is_empty() {
            writeln!(f, "predicted, by replacing the old values in what is rendered now:")?;
        }
        for prediction in &self.predictions {
            if prediction.differences.is_empty() && prediction.gaps.is_empty() {
                writeln!(f, "  {}: nothing changes", prediction.app)?;
            }
            for it in &prediction.differences {
                writeln!(f, "  {}: {} {}", prediction.app, it.object, it.path)?;
                writeln!(f, "    - {}\n    + {}", it.now, it.then)?;
            }
            for gap in &prediction.gaps {
                writeln!(f, "  {}: not predicted: {}: {}", prediction.app, gap.place, gap.what)?;
            }
        }
        if !self.writes.is_empty() {
            writeln!(f, "requests that would change something:")?;
        }
        self.writes.iter().try_for_each(|request| writeln!(f, "  {request}"))?;
        match &self.plan_hash {
            Some(hash) => writeln!(f, "plan {hash}"),
            None => Ok(()),
        }
    }

    /// What was decided, before anything else is known.
    pub(super) fn begin(environment: &Environment, release: &Release, decision: Decision) -> Self {
        Self {
            kind: PromotionKind::Promotion,
            environment: environment.id.to_string(),
            release: release.clone(),
            proven: false,
            decision,
            notes: Vec::new(),
            vetoed: None,
            kept: Vec::new(),
            superseded_by: None,
            ledger_faults: Vec::new(),
            plan: None,
            plan_hash: None,
            outdated: Vec::new(),
            predictions: Vec::new(),
            writes: Vec::new(),
            applications: Vec::new(),
            record: None,
            status: ExitStatus::No,
        }
    }

    /// The place in the ledger. If nothing can be added to it, that is noted.
    pub(super) fn entry(&mut self, situation: &Situation) -> Option<Entry> {
        let ledger = &situation.ledger;
        match ledger.next() {
            Ok(link) => Some(Entry {
                kind: PromotionKind::Promotion,
                reason: None,
                link,
                before: running(ledger).map(|release| release.digest),
                previous: ledger.anchor(),
                commit: situation.records().and_then(|records| builds::source(records)?.commit),
                news: News::Always,
            }),
            Err(faults) => {
                self.ledger_faults = faults.iter().map(ToString::to_string).collect();
                None
            }
        }
    }

    /// Notes what is to be written, and what the applications say to it.
    pub(super) fn planned(&mut self, planned: &Planned) {
        self.plan_hash = Some(planned.plan.hash());
        self.plan = Some(planned.plan.clone());
        let reports = planned.reports.iter().cloned();
        self.applications =
            reports.map(|report| outcome(report.app.to_string(), Ok(report))).collect();
        self.status = status(&self.applications);
    }

    /// Notes what became of each application. Without a complete proof nothing is done.
    pub(super) fn ended(&mut self, ended: Vec<Ended>) {
        self.applications = ended
            .into_iter()
            .map(|Ended { job, result }| outcome(job.target.app.to_string(), result))
            .collect();
        self.status = status(&self.applications);
        if self.status == ExitStatus::Done && !self.proven {
            self.status = ExitStatus::No;
        }
    }

    /// What to do next, where Argo CD or an application stood in the way.
    pub(crate) fn hints(&self) -> Vec<String> {
        let of_app = |app: &AppOutcome| {
            app.report
                .iter()
                .flat_map(verbatim_argocd::cli::hints)
                .chain(app.hints.clone())
                .collect()
        };
        let mut hints: Vec<String> =
            self.applications.iter().flat_map::<Vec<String>, _>(of_app).collect();
        hints.dedup();
        hints
    }
}

fn outcome(app: String, result: Result<Report, verbatim_argocd::Error>) -> AppOutcome {
    match result {
        Ok(report) => AppOutcome {
            app,
            status: verbatim_argocd::cli::status(&report),
            report: Some(report),
            error: None,
            hints: Vec::new(),
        },
        Err(error) => {
            let failure = failures::argocd(error);
            AppOutcome {
                app,
                status: failure.status,
                report: None,
                error: Some(failure.whole()),
                hints: failure.hints,
            }
        }
    }
}

fn status(applications: &[AppOutcome]) -> ExitStatus {
    ExitStatus::of_all(applications.iter().map(|application| application.status))
}

impl fmt::Display for Promoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != PromotionKind::BreakGlass {
            write!(f, "{}", self.decision)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        if let Some(newer) = &self.superseded_by {
            let name = newer.tag.clone().unwrap_or_else(|| newer.digest.short());
            writeln!(
                f,
                "superseded: {} runs the newer release {name} ({})",
                self.environment, newer.digest
            )?;
            writeln!(f, "  to go back on purpose: verbatim promote --backwards")?;
        }
        for fault in &self.ledger_faults {
            writeln!(f, "the ledger cannot be relied on: {fault}")?;
        }
        if !self.outdated.is_empty() {
            writeln!(f, "the plan is outdated:")?;
            self.outdated.iter().try_for_each(|what| writeln!(f, "  {what}"))?;
            return writeln!(f, "nothing was written");
        }
        if let Some(plan) =
            self.plan.as_ref().filter(|_| self.applications.iter().all(AppOutcome::is_planned))
        {
            write!(f, "{plan}")?;
            self.preview(f)?;
            return writeln!(f, "nothing was written");
        }
        for application in &self.applications {
            match (&application.report, &application.error) {
                (Some(report), _) => write!(f, "{report}")?,
                (None, error) => {
                    writeln!(f, "{}: {}", application.app, error.as_deref().unwrap_or("unknown"))?;
                }
            }
        }
        if let Some(digest) = &self.vetoed {
            writeln!(f, "{digest} has a veto now")?;
        }
        match &self.record {
            Some(anchor) => {
                writeln!(f, "{} runs in {}, promotion {anchor}", self.release, self.environment)
            }
            None if self.proven && self.kept.is_empty() => {
                writeln!(f, "{} runs in {}, as recorded", self.release, self.environment)
            }
            None => Ok(()),
        }
    }
}
