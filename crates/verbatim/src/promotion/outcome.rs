//! How a move of a release ended: for people as text, for programs as JSON, for the pipeline as an exit status. Made once,
//! at the end, from the last stage that was reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::{DeployReport, Prediction, Remedy};
use verbatim_console::ExitStatus;
use verbatim_oci::Digest;
use verbatim_policy::Decision;
use verbatim_record::{Anchor, PromotionKind};

use super::bans::Stop;
use super::decide::{Considered, Refusal, Refused};
use super::delivery;
use super::execute::{AppOutcome, AppResult, NoReport};
use super::newer::OtherRun;
use super::plan::PromotionPlan;
use super::ready::{NotReady, Preview, Sketch};
use super::record::{Changed, Recorded};
use crate::environment::drift::Drift;
use crate::environment::missing::{self, MissingApp};
use crate::project::failures;
use crate::release::Release;
use crate::release::result::{ReleaseResult, twelve};

#[derive(Debug, Serialize)]
pub(crate) struct PromotionResult {
    /// What kind of move it is.
    pub kind: PromotionKind,
    pub environment: String,
    /// The release, with its tag.
    #[serde(serialize_with = "crate::release::result::release")]
    pub release: Release,
    /// Whether it runs there now, proven.
    pub proven: bool,
    pub decision: Decision,
    /// What else people should know.
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
    /// A run with a newer release, which holds an application or has written over this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by_run: Option<OtherRun>,
    /// What is wrong with the ledger, if nothing can be added to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ledger_faults: Vec<String>,
    /// Applications of the last promotion that are not part of the environment now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingApp>,
    /// What was to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PromotionPlan>,
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
    /// What was put back, as it is not proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// The place of the promotion in the ledger, with its record.
    #[serde(
        rename = "promotion",
        serialize_with = "crate::release::result::promotion",
        skip_serializing_if = "Option::is_none"
    )]
    pub record: Option<Anchor>,
    /// How long writing and proving took.
    #[serde(skip)]
    pub took: Option<Duration>,
    #[serde(skip)]
    pub status: ExitStatus,
}

/// What became of putting the last promotion back.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Restored {
    /// It was tried, and this is how it ended.
    Carried(Box<PromotionResult>),
    /// It was not begun.
    Failed { why: String },
}

impl Considered {
    /// The result as far as it is known when everything is decided and nothing was written.
    fn into_result(self) -> PromotionResult {
        let Self { kind, release, decision, notes, vetoed, kept, without: _, decided_at: _ } = self;
        PromotionResult {
            kind,
            environment: decision.environment.to_string(),
            release,
            proven: false,
            decision,
            notes,
            vetoed,
            kept,
            superseded_by: None,
            superseded_by_run: None,
            ledger_faults: Vec::new(),
            missing: Vec::new(),
            plan: None,
            plan_hash: None,
            outdated: Vec::new(),
            predictions: Vec::new(),
            writes: Vec::new(),
            applications: Vec::new(),
            restored: None,
            record: None,
            took: None,
            status: ExitStatus::No,
        }
    }

    /// The result of a plan that is only shown.
    pub(super) fn shown(self, sketch: Sketch, preview: Preview) -> PromotionResult {
        let Preview { predictions, writes } = preview;
        PromotionResult { predictions, writes, ..self.planned(sketch) }
    }

    /// The result of a saved plan that the world has moved away from.
    pub(super) fn outdated(self, sketch: Sketch, outdated: Vec<String>) -> PromotionResult {
        PromotionResult { outdated, status: ExitStatus::Conflict, ..self.planned(sketch) }
    }

    fn planned(self, sketch: Sketch) -> PromotionResult {
        let Sketch { plan, reports, .. } = sketch;
        let applications: Vec<AppOutcome> = reports
            .into_iter()
            .map(|report| outcome(report.app.to_string(), Ok(report), None))
            .collect();
        PromotionResult {
            plan_hash: Some(plan.hash()),
            plan: Some(plan),
            status: status(&applications),
            applications,
            ..self.into_result()
        }
    }
}

impl Refused {
    /// The result of a release that may not enter.
    pub(super) fn into_result(self) -> PromotionResult {
        let mut result = self.considered.into_result();
        match self.refusal {
            Refusal::Gates(_) => {}
            Refusal::Ledger(faults) => result.ledger_faults = faults,
            Refusal::Missing(missing) => result.missing = missing,
            Refusal::Superseded(newer) => {
                result.superseded_by = Some(*newer);
                result.status = ExitStatus::Superseded;
            }
            Refusal::PromotedMeanwhile => {
                result.notes.push("another release was promoted meanwhile".to_owned());
                result.status = ExitStatus::Conflict;
            }
        }
        result
    }
}

impl NotReady {
    /// The result of a plan that an application does not agree to.
    pub(super) fn into_result(self) -> PromotionResult {
        self.considered.planned(self.sketch)
    }
}

impl Recorded {
    /// The result of a promotion that was carried out. Without a complete proof nothing is done.
    pub(super) fn into_result(self) -> PromotionResult {
        let Self { carried, proven, record, mut changed } = self;
        let proven = proven && changed.is_empty();
        let took = Timestamp::now().duration_since(carried.started_at).try_into().ok();
        let applications = outcomes(carried.results, &mut changed);
        let status = match status(&applications) {
            ExitStatus::Done if !proven => ExitStatus::No,
            status => status,
        };
        PromotionResult {
            proven,
            plan_hash: Some(carried.plan.hash()),
            plan: Some(carried.plan),
            applications,
            record,
            took,
            status,
            ..carried.considered.into_result()
        }
    }
}

impl PromotionResult {
    /// What a plan that is shown tells besides its values.
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

    /// What to do next, where Argo CD or an application stood in the way.
    pub(crate) fn hints(&self) -> Vec<String> {
        let environment = self.decision.environment.name();
        let spelled = |remedy| match (remedy, self.kind) {
            // Before a way back there was what it leads away from.
            (Remedy::PutBack, kind) if kind != PromotionKind::Promotion => None,
            _ => delivery::spelled(remedy, environment),
        };
        let of_app = |app: &AppOutcome| {
            app.report
                .iter()
                .flat_map(|report| verbatim_argocd::cli::hints(report, &spelled))
                .chain(app.hints.clone())
                .collect()
        };
        let command = match self.kind {
            PromotionKind::Rollback | PromotionKind::Restore => self.kind.name(),
            _ => "promote",
        };
        let missing =
            self.missing.iter().map(|app| missing::hint(command, environment, &app.to_string()));
        // What is back is not to be put back by hand.
        if let Some(Restored::Carried(restored)) = &self.restored {
            return restored.hints();
        }
        let of_apps = self.applications.iter().flat_map::<Vec<String>, _>(of_app);
        let mut hints: Vec<String> = missing.chain(of_apps).collect();
        // Several applications often have the same to say.
        let mut told = BTreeSet::new();
        hints.retain(|hint| told.insert(hint.clone()));
        hints
    }

    /// Whether this is a plan that was only shown.
    pub(super) fn is_shown_only(&self) -> bool {
        self.plan.is_some() && self.applications.iter().all(AppOutcome::is_planned)
    }

    /// What went where, on one line.
    pub(crate) fn line(&self) -> String {
        let environment = &self.environment;
        let digest = twelve(&self.release.digest);
        let apps = match self.applications.len() {
            1 => "1 app".to_owned(),
            more => format!("{more} apps"),
        };
        let took = self.took.unwrap_or_default().as_secs_f64();
        let end = match &self.record {
            Some(anchor) => format!("promotion {}", anchor.sequence),
            None if self.kept.is_empty() => "as recorded".to_owned(),
            None => "record kept".to_owned(),
        };
        format!("{environment}  {digest}  proven  {apps}  {took:.1}s  {end}")
    }
}

/// What became of each application, and what has changed of it since.
fn outcomes(results: Vec<AppResult>, changed: &mut BTreeMap<String, Changed>) -> Vec<AppOutcome> {
    let outcomes = results.into_iter().map(|AppResult { app, report }| {
        let name = app.target.app.to_string();
        let changed = changed.remove(&name);
        outcome(name, report, changed)
    });
    outcomes.collect()
}

fn outcome(
    app: String,
    report: Result<DeployReport, NoReport>,
    changed: Option<Changed>,
) -> AppOutcome {
    let (report, status, error, mut hints) = match report {
        Ok(report) => {
            let status = verbatim_argocd::cli::status(&report);
            (Some(report), status, None, Vec::new())
        }
        Err(NoReport::Failed(error)) => {
            let failure = failures::argocd(error);
            (None, failure.status, Some(failure.whole()), failure.hints)
        }
        Err(NoReport::Stopped(Stop::Banned(why))) => (
            None,
            ExitStatus::No,
            Some(format!("not begun: {why}; nothing was written")),
            Vec::new(),
        ),
        Err(NoReport::Stopped(Stop::Unknown { why, status })) => {
            (None, status, Some(format!("not begun: {why}; nothing was written")), Vec::new())
        }
        Err(NoReport::NotBegun(other)) => {
            let why = format!("not begun, as {other} is not proven; nothing was written");
            let hint = "to go on where it stopped, promote again; to go back, `verbatim restore`";
            (None, ExitStatus::No, Some(why), vec![hint.to_owned()])
        }
    };
    let (status, changed_since) = match changed {
        None => (status, None),
        Some(Changed::By(what)) => (ExitStatus::Conflict, Some(what)),
        Some(Changed::Unknown(why)) => {
            hints.push("promote again: what runs is proven and recorded then".to_owned());
            let why =
                format!("cannot be looked at once more: {why}; the values stand, without a record");
            (ExitStatus::Unknown, Some(why))
        }
    };
    AppOutcome { app, report, error, changed_since, hints, status }
}

fn status(applications: &[AppOutcome]) -> ExitStatus {
    ExitStatus::of_all(applications.iter().map(|application| application.status))
}

/// Short: what a person would miss. With `{:#}` everything: each gate, and the evidence of each application.
impl fmt::Display for PromotionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_full = f.alternate();
        if self.kind != PromotionKind::BreakGlass {
            match is_full || self.is_shown_only() {
                true => write!(f, "{}", self.decision.in_full())?,
                false => write!(f, "{}", self.decision)?,
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        if let Some(newer) = &self.superseded_by {
            let name = newer.tag.clone().unwrap_or_else(|| newer.digest.short());
            writeln!(
                f,
                "superseded: {} runs the newer release {name} ({})",
                self.environment, newer.digest
            )?;
            writeln!(
                f,
                "  to go back on purpose: verbatim promote {} --release {} --backwards",
                self.decision.environment.name(),
                self.release.digest
            )?;
        }
        for app in &self.missing {
            writeln!(f, "{app}: {}", Drift::Missing)?;
        }
        if !self.missing.is_empty() {
            writeln!(f, "nothing was written")?;
        }
        for fault in &self.ledger_faults {
            writeln!(f, "the ledger is broken: {fault}")?;
        }
        if !self.outdated.is_empty() {
            writeln!(f, "the plan is outdated:")?;
            self.outdated.iter().try_for_each(|what| writeln!(f, "  {what}"))?;
            return writeln!(f, "nothing was written");
        }
        if let Some(plan) = self.plan.as_ref().filter(|_| self.is_shown_only()) {
            write!(f, "{plan}")?;
            self.preview(f)?;
            return writeln!(f, "nothing was written");
        }
        for application in self.applications.iter().filter(|app| is_full || !app.is_proven()) {
            match (&application.report, &application.error) {
                (Some(report), _) => write!(f, "{report}")?,
                (None, error) => {
                    writeln!(f, "{}: {}", application.app, error.as_deref().unwrap_or("unknown"))?;
                }
            }
            if let Some(what) = &application.changed_since {
                writeln!(f, "{} after its proof: {what}", application.app)?;
            }
        }
        if let Some(digest) = &self.vetoed {
            writeln!(f, "{digest} has a veto now")?;
        }
        if let Some(OtherRun { release, by }) = &self.superseded_by_run {
            let by = by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
            writeln!(f, "superseded: another run promotes the newer release {release}{by}")?;
        }
        match &self.restored {
            Some(Restored::Carried(restored)) => {
                writeln!(f, "put back what was there:")?;
                restored.fmt(f)?;
            }
            Some(Restored::Failed { why }) => writeln!(f, "cannot put back what was there: {why}")?,
            None => {}
        }
        match self.proven {
            true => writeln!(f, "{}", self.line()),
            false => Ok(()),
        }
    }
}
