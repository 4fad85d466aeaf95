//! Shows events and reports to people.

use std::fmt;

use verbatim_console::{Console, Progress, StepState, Table, style};
use verbatim_oci::short_digests;

use crate::inspect::live_state::ResourceState;
use crate::judge::evidence::{DeployProof, EvidenceLevel, ImageMatch, WorkloadEvidence};
use crate::judge::missing::Missing;
use crate::judge::obstacle::Obstacle;
use crate::judge::outcome::{
    AppFailure, DeployOutcome, DeployReport, Leftover, OnPause, UndoResult, Unhealthy,
};
use crate::judge::refusal::Remedy;
use crate::judge::verdict::MissingState;
use crate::judge::warning::DeployWarning;
use crate::model::SKIP_RECONCILE;
use crate::run::event::{DeployEvent, DeployStep};

/// Announces the steps of a command, so that an interrupt can name those not done.
pub fn steps(console: &Console, steps: &[DeployStep], app: &str) {
    console.plan_steps(steps.iter().map(|step| format!("{app}: {step}")));
}

/// A listener that prints what happens: a line for every change, and what is waited for as the progress.
pub fn listener<'a>(
    console: &'a Console,
    progress: &'a Progress,
    app: &'a str,
) -> impl Fn(DeployEvent) + Sync + 'a {
    move |event| {
        if let Some((step, state)) = reached(&event) {
            console.step(&format!("{app}: {step}"), state);
        }
        show(console, progress, app, event);
    }
}

/// The same for a command whose step `within` it is to deploy to the application.
pub fn listener_within<'a>(
    console: &'a Console,
    progress: &'a Progress,
    app: &'a str,
    within: &'a str,
) -> impl Fn(DeployEvent) + Sync + 'a {
    move |event| {
        if let Some((step, state)) = reached(&event) {
            console.step_within(within, &step.to_string(), state);
        }
        show(console, progress, app, event);
    }
}

fn reached(event: &DeployEvent) -> Option<(DeployStep, StepState)> {
    match event {
        DeployEvent::Begin { step } => Some((*step, StepState::UnderWay)),
        DeployEvent::Done { step } => Some((*step, StepState::Done)),
        _ => None,
    }
}

fn show(console: &Console, progress: &Progress, app: &str, event: DeployEvent) {
    match event {
        DeployEvent::Begin { step } => progress.message(step.to_string()),
        DeployEvent::Done { step } => console.detail(format!("{app}: {step}: done")),
        DeployEvent::Planned { plan } => {
            for change in plan.changes.iter().filter(|change| !change.is_noop()) {
                let (old, new) = (line(change.told_old()), line(change.shown_new()));
                let text = format!("{app}: {}: {old} → {new}", change.name());
                progress.line(if console.verbosity() > 0 { text } else { short_digests(&text) });
            }
        }
        DeployEvent::Changed { change } if change.is_minor() => {
            console.detail(format!("{app}: {change}"));
        }
        DeployEvent::Changed { change } => progress.line(format!("{app}: {change}")),
        DeployEvent::Waiting { missing } => progress.message(missing.to_string()),
        DeployEvent::Obstructed { obstacle } => progress.line(format!("{app}: {obstacle}")),
        DeployEvent::Paused { missing } => {
            progress.line(format!("{app}: paused: {missing}"));
        }
        // A pipeline's token may seldom ask everything, and the checks afterwards are the ones that count.
        DeployEvent::Warning { warning: warning @ DeployWarning::NotChecked { .. } } => {
            console.detail(format!("{app}: {warning}"))
        }
        DeployEvent::Warning { warning } => console.warn(format!("{app}: {warning}")),
    }
}

/// A value on one line.
pub(crate) fn line(text: String) -> String {
    match text.lines().count() {
        0 | 1 => text.trim_end().to_owned(),
        lines => format!("({lines} lines)"),
    }
}

/// The outcome of a report in one or two words, and the reason for people.
pub(crate) fn outcome_cells(report: &DeployReport) -> [String; 2] {
    let joined = |reasons: Vec<String>| reasons.join("; ");
    let (word, why) = match &report.outcome {
        DeployOutcome::Proven { .. } => (style::good("proven"), String::new()),
        DeployOutcome::Planned => ("planned".to_owned(), String::new()),
        DeployOutcome::Reached { what, .. } => (style::good(what), String::new()),
        DeployOutcome::Refused { reasons, .. } => {
            (style::bad("refused"), joined(reasons.iter().map(ToString::to_string).collect()))
        }
        DeployOutcome::TakenBack { why } => {
            (style::bad("taken back"), format!("{why}: {}", why.kind))
        }
        DeployOutcome::Overwritten { deviations, by } => {
            let by = by.iter().map(|claim| format!("release {} was written", claim.release));
            let why = deviations.iter().map(ToString::to_string).chain(by).collect();
            (style::bad("overwritten"), joined(why))
        }
        DeployOutcome::Degraded { why, obstacles, .. } => {
            let as_word = word(why);
            let obstacles = obstacles.iter().map(ToString::to_string);
            let why = std::iter::once(why.to_string()).chain(obstacles);
            (style::bad(as_word), joined(why.collect()))
        }
        DeployOutcome::NotProven { problems, .. } => {
            (style::bad("not proven"), joined(problems.iter().map(ToString::to_string).collect()))
        }
        DeployOutcome::Paused { missing, .. } => (style::attention("paused"), missing.to_string()),
        DeployOutcome::Unknown { missing, error, obstacles, .. } => {
            let error = error.iter().map(|error| format!(" ({error})")).collect::<String>();
            let obstacles = obstacles.iter().map(ToString::to_string);
            let why = std::iter::once(format!("{missing}{error}")).chain(obstacles);
            (style::attention("unknown"), joined(why.collect()))
        }
    };
    [word, why.replace('\n', " ")]
}

/// What an application is that failed like this.
fn word(why: &AppFailure) -> &'static str {
    match why {
        AppFailure::Revisions { .. } => "overwritten",
        _ => "degraded",
    }
}

/// The managed resources as a table.
pub(crate) fn resource_table(resources: &[ResourceState]) -> String {
    let mut table = Table::new(["GROUP", "KIND", "NAMESPACE", "NAME", "SYNC", "HEALTH", "NOTE"]);
    for resource in resources {
        let health = resource.health.as_ref();
        let note = match (resource.hook, resource.requires_pruning) {
            (true, _) => "hook".to_owned(),
            (_, true) => "no longer in the sources".to_owned(),
            _ => health.map(|health| health.message.to_string()).unwrap_or_default(),
        };
        table.row([
            resource.group.clone(),
            resource.kind.clone(),
            resource.namespace.clone(),
            resource.name.clone(),
            format!("{:?}", resource.sync),
            health.map(|health| format!("{:?}", health.status)).unwrap_or_default(),
            note,
        ]);
    }
    table.to_string()
}

/// What to do next, after an outcome that is not the wanted one. `spelled` says how the command at hand spells an option;
/// one that it does not have is no advice.
pub fn hints(report: &DeployReport, spelled: &dyn Fn(Remedy) -> Option<String>) -> Vec<String> {
    let app = report.app.to_string();
    let mut remedies: Vec<String> = Vec::new();
    for remedy in report.outcome.obstacles().iter().map(|obstacle| obstacle.remedy(&app)) {
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    remedies.into_iter().chain(next_steps(report, spelled)).collect()
}

fn next_steps(report: &DeployReport, spelled: &dyn Fn(Remedy) -> Option<String>) -> Vec<String> {
    let option = |(when, remedy): (&str, Remedy)| Some(format!("{when}: {}", spelled(remedy)?));
    match &report.outcome {
        DeployOutcome::Refused { reasons, .. } => reasons
            .iter()
            .flat_map(|reason| reason.advice().into_iter().chain(reason.remedy().and_then(option)))
            .collect(),
        DeployOutcome::Degraded { why: AppFailure::NeedsPruning { .. }, .. } => {
            let options =
                [("to delete them", Remedy::Prune), ("to keep them", Remedy::AllowUnpruned)];
            options.into_iter().filter_map(option).collect()
        }
        DeployOutcome::Degraded { why, .. } => {
            let may_hold = matches!(why, AppFailure::Stuck { .. } | AppFailure::NoPods { .. });
            let end = format!(
                "a sync that still waits for these pods holds the application: `verbatim argocd terminate {}`",
                report.app
            );
            let end = may_hold.then_some(end);
            end.into_iter().chain(put_back(report, &option)).collect()
        }
        DeployOutcome::NotProven { .. } => put_back(report, &option).into_iter().collect(),
        DeployOutcome::Paused { on_pause: OnPause::Accept, .. } => Vec::new(),
        DeployOutcome::Paused { .. } => {
            let resume = format!(
                "to go on: `verbatim argocd actions run {} resume --kind Rollout`, then run the same command again to \
                 prove the rest",
                report.app
            );
            let accept = option(("to succeed with the part that runs", Remedy::AcceptPause));
            std::iter::once(resume).chain(accept).collect()
        }
        DeployOutcome::TakenBack { why } => {
            crate::cli::shared::failure::hint(&why.kind, &why.server).into_iter().collect()
        }
        DeployOutcome::Unknown { left: Leftover::Nothing, .. } => Vec::new(),
        DeployOutcome::Unknown { missing, .. } => {
            let again = "run the same command again: it finds out what happened, and finishes";
            let is_operation = matches!(
                missing,
                Missing::State(
                    MissingState::Running(_)
                        | MissingState::Other(_)
                        | MissingState::Window
                        | MissingState::NotCleared(_)
                ) | Missing::OperationEnd
                    | Missing::OperationSlot
            );
            // A hook without an end holds the application for ever, and whoever runs again waits for it again.
            let end =
                format!("if the operation never ends: `verbatim argocd terminate {}`", report.app);
            let foreign = (*missing == Missing::OperationSlot)
                .then_some(("to end it before the sync", Remedy::TerminateForeign));
            is_operation
                .then_some(end)
                .into_iter()
                .chain(foreign.and_then(option))
                .chain([again.to_owned()])
                .collect()
        }
        _ => Vec::new(),
    }
}

/// How the values that are still in place are taken back.
fn put_back(
    report: &DeployReport,
    option: &dyn Fn((&str, Remedy)) -> Option<String>,
) -> Option<String> {
    report.claim.as_ref()?;
    option(("the values are still in place; to put the previous ones back", Remedy::PutBack))
}

impl fmt::Display for DeployReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = style::strong(&self.app);
        match &self.outcome {
            DeployOutcome::Proven { proof } => {
                writeln!(f, "{app} {} ({:?})", style::good("proven"), proof.health)?;
                self.changes(f)?;
                proof.fmt(f)
            }
            DeployOutcome::Planned => {
                writeln!(f, "{app} planned, nothing was written")?;
                self.changes(f)
            }
            DeployOutcome::Reached { what, sync, health, revisions, resources } => {
                writeln!(f, "{app} {} ({sync:?}, {health:?})", style::good(what))?;
                self.changes(f)?;
                revisions.iter().try_for_each(|revision| writeln!(f, "  revision {revision}"))?;
                resources.iter().try_for_each(|resource| {
                    let (kind, name) = (&resource.kind, &resource.name);
                    writeln!(f, "  {kind} {name} {} {}", resource.status, resource.message)
                })
            }
            DeployOutcome::Refused { reasons, undo } => {
                writeln!(f, "{app} {}", style::bad("refused"))?;
                reasons.iter().try_for_each(|reason| writeln!(f, "  {reason}"))?;
                match undo {
                    UndoResult::NotNeeded => writeln!(f, "  nothing was written"),
                    UndoResult::Done => writeln!(f, "  the previous values are back"),
                    UndoResult::Failed { why } => {
                        writeln!(f, "  cannot put the previous values back: {why}")
                    }
                }
            }
            DeployOutcome::TakenBack { why } => {
                writeln!(f, "{app} {}", style::bad("taken back"))?;
                writeln!(f, "  {why}: {}", why.kind)?;
                writeln!(f, "  {}", Leftover::PreviousValues)
            }
            DeployOutcome::Overwritten { deviations, by } => {
                writeln!(f, "{app} {}", style::bad("overwritten"))?;
                deviations.iter().try_for_each(|deviation| writeln!(f, "  {deviation}"))?;
                by.as_ref().map_or(Ok(()), |claim| {
                    writeln!(
                        f,
                        "  by release {} {}",
                        claim.release,
                        claim.by.as_deref().unwrap_or_default()
                    )
                })
            }
            DeployOutcome::Degraded { why, unhealthy, obstacles } => {
                writeln!(f, "{app} {}", style::bad(word(why)))?;
                writeln!(f, "  {why}")?;
                list(f, unhealthy, obstacles)
            }
            DeployOutcome::NotProven { problems, .. } => {
                writeln!(f, "{app} {}", style::bad("not proven"))?;
                problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))
            }
            DeployOutcome::Paused { missing, workloads, .. } => {
                writeln!(f, "{app} {}", style::attention("paused"))?;
                writeln!(f, "  {missing}")?;
                workloads.iter().try_for_each(|workload| writeln!(f, "  {workload}"))
            }
            DeployOutcome::Unknown { missing, error, unhealthy, obstacles, left } => {
                writeln!(f, "{app} {}", style::attention("unknown"))?;
                writeln!(f, "  missing: {missing}")?;
                if let Some(error) = error {
                    writeln!(f, "  {error}")?;
                }
                list(f, unhealthy, obstacles)?;
                writeln!(f, "  {left}")
            }
        }
    }
}

impl DeployReport {
    fn changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(plan) = &self.plan else { return Ok(()) };
        // What was not there and shall not be there is nothing to tell.
        for change in
            plan.changes.iter().filter(|change| change.old.is_some() || !change.new.is_null())
        {
            let new = line(change.shown_new());
            if change.is_noop() {
                writeln!(f, "  {} {new}", change.name())?;
            } else {
                writeln!(f, "  {} {} → {new}", change.name(), line(change.told_old()))?;
            }
        }
        Ok(())
    }
}

/// What is not healthy, and what stands in the way; that says more of what it is about.
fn list(
    f: &mut fmt::Formatter<'_>,
    unhealthy: &[Unhealthy],
    obstacles: &[Obstacle],
) -> fmt::Result {
    let is_explained = |one: &Unhealthy| {
        let object = format!("{} {}", one.kind, one.name);
        obstacles.iter().any(|obstacle| obstacle.object() == object)
    };
    unhealthy.iter().filter(|one| !is_explained(one)).try_for_each(|one| {
        writeln!(f, "  {} {} {:?} {}", one.kind, one.name, one.health.status, one.health.message)
    })?;
    obstacles.iter().try_for_each(|obstacle| {
        writeln!(f, "  {obstacle}")?;
        if !obstacle.log.is_empty() {
            writeln!(f, "    the end of its log:")?;
        } else if let Some(why) = &obstacle.log_error {
            writeln!(f, "    its log cannot be read: {why}")?;
        }
        obstacle.log.iter().try_for_each(|line| writeln!(f, "    | {line}"))
    })
}

impl fmt::Display for DeployProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for image in &self.images {
            writeln!(f, "  image {image}")?;
        }
        self.workloads.iter().try_for_each(|workload| writeln!(f, "  {workload}"))?;
        self.revisions.iter().try_for_each(|revision| writeln!(f, "  revision {revision}"))
    }
}

impl fmt::Display for WorkloadEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.level {
            EvidenceLevel::Template { why } => {
                write!(f, "{} by its template: {why}", self.workload)
            }
            EvidenceLevel::Operation { hook, names_image } => {
                let by = if *names_image { "" } else { ", which names no image" };
                write!(f, "{} by the sync's result{by}: the {hook} hook succeeded", self.workload)
            }
            EvidenceLevel::Pods { pods } => {
                let mut kinds: Vec<_> =
                    self.containers.iter().map(|c| c.matched.to_string()).collect();
                kinds.sort();
                kinds.dedup();
                let pods = if *pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") };
                write!(f, "{} by {pods}, {}", self.workload, kinds.join(" and "))
            }
        }
    }
}

impl fmt::Display for ImageMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployed => "the deployed digest",
            Self::PlatformManifest => "a platform's digest",
            Self::Config => "the config's digest",
        })
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing was written",
            Self::PreviousValues => "the values were written, and the previous ones are back",
            Self::PerhapsValues => "the values may have been written",
            Self::Values => "the values stand, and no sync was started",
            Self::Operation => "the sync was started",
            Self::ValuesAndOperation => "the values stand, and the sync was started",
        })
    }
}

impl fmt::Display for AppFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { phase, message, resources } => {
                write!(f, "the operation ended {phase:?}: {message}")?;
                resources.iter().try_for_each(|resource| write!(f, "\n  {resource}"))
            }
            Self::Condition { condition } => write!(f, "{}: {}", condition.kind, condition.message),
            Self::NeedsPruning { resources } => {
                write!(f, "no longer in the sources, and not deleted: {}", resources.join(", "))
            }
            Self::Health { health } => match health.message.as_str() {
                "" => write!(f, "the application is {:?}", health.status),
                message => write!(f, "the application is {:?}: {message}", health.status),
            },
            Self::Stuck { pods } => {
                write!(f, "{} pods with the wanted image keep failing to start", pods.len())
            }
            Self::NoPods { workloads } => {
                let names: Vec<_> =
                    workloads.iter().map(|it| format!("{} {}", it.kind, it.name)).collect();
                write!(f, "no pod with the wanted image can be made: {}", names.join(", "))
            }
            Self::Revisions { wanted, found } => write!(
                f,
                "its sources are at {} by now, and {} was to be deployed",
                found.join(", "),
                wanted.join(", ")
            ),
            Self::NotReconciled { missing } => write!(
                f,
                "{missing}, and Argo CD neither compares nor syncs the application: its annotation {SKIP_RECONCILE} says so"
            ),
            Self::Deleted => f.write_str("the application was deleted"),
        }
    }
}
