//! Shows events and reports to people.

use std::fmt;

use verbatim_console::{Console, Progress, StepState, style};

use crate::event::{Event, Step};
use crate::outcome::{
    Failure, Left, Level, Match, Outcome, Proof, Report, Undo, Unhealthy, Warning,
};
use crate::values::shown;

/// Announces the steps of a command, so that an interrupt can name those not done.
pub fn steps(console: &Console, steps: &[Step], app: &str) {
    console.plan_steps(steps.iter().map(|step| format!("{app}: {step}")));
}

/// A listener that prints what happens: a line for every change, and what is waited for as the progress.
pub fn listener<'a>(
    console: &'a Console,
    progress: &'a Progress,
    app: &'a str,
) -> impl Fn(Event) + Sync + 'a {
    move |event| match event {
        Event::Begin { step } => {
            console.step(&format!("{app}: {step}"), StepState::UnderWay);
            progress.message(step.to_string());
        }
        Event::Done { step } => {
            console.step(&format!("{app}: {step}"), StepState::Done);
            console.detail(format!("{app}: {step}: done"));
        }
        Event::Planned { plan } => {
            for change in plan.changes.iter().filter(|change| !change.is_noop()) {
                let (old, new) = (shown(change.old.as_ref()), shown(Some(&change.new)));
                progress.line(format!("{app}: {}: {old} → {new}", change.key));
            }
        }
        Event::Changed { text } => progress.line(format!("{app}: {text}")),
        Event::Waiting { text } => progress.message(text),
        // A pipeline's token may seldom ask everything, and the checks afterwards are the ones that count.
        Event::Warning { warning: warning @ Warning::NotChecked { .. } } => {
            console.detail(format!("{app}: {warning}"))
        }
        Event::Warning { warning } => console.warn(format!("{app}: {warning}")),
    }
}

/// What to do next, after an outcome that is not the wanted one.
pub fn hints(report: &Report) -> Vec<String> {
    match &report.outcome {
        Outcome::Refused { reasons, .. } => {
            reasons.iter().filter_map(|reason| reason.advice()).collect()
        }
        Outcome::Degraded { .. } | Outcome::NotProven { .. } if report.claim.is_some() => {
            vec![format!(
                "the values stand; `verbatim argocd override --undo {}` puts the previous ones back",
                report.app
            )]
        }
        Outcome::Unknown { left, .. } => match left {
            Left::Nothing => Vec::new(),
            _ => vec![
                "run the same command again: it finds out what happened and finishes it".into(),
            ],
        },
        _ => Vec::new(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = style::strong(&self.app);
        match &self.outcome {
            Outcome::Proven { proof } => {
                writeln!(f, "{app} {} ({:?})", style::good("proven"), proof.health)?;
                self.changes(f)?;
                proof.fmt(f)
            }
            Outcome::Planned => {
                writeln!(f, "{app} planned, nothing was written")?;
                self.changes(f)
            }
            Outcome::Reached { what, sync, health, revisions } => {
                writeln!(f, "{app} {} ({sync:?}, {health:?})", style::good(what))?;
                self.changes(f)?;
                revisions.iter().try_for_each(|revision| writeln!(f, "  revision {revision}"))
            }
            Outcome::Refused { reasons, undo } => {
                writeln!(f, "{app} {}", style::bad("refused"))?;
                reasons.iter().try_for_each(|reason| writeln!(f, "  {reason}"))?;
                match undo {
                    Undo::NotNeeded => writeln!(f, "  nothing was written"),
                    Undo::Done => writeln!(f, "  the previous values are back"),
                    Undo::Failed { why } => writeln!(f, "  the values still stand: {why}"),
                }
            }
            Outcome::Superseded { deviations, by } => {
                writeln!(f, "{app} {}", style::bad("superseded"))?;
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
            Outcome::Degraded { why, unhealthy } => {
                writeln!(f, "{app} {}", style::bad("degraded"))?;
                writeln!(f, "  {why}")?;
                list(f, unhealthy)
            }
            Outcome::NotProven { problems, .. } => {
                writeln!(f, "{app} {}", style::bad("not proven"))?;
                problems
                    .iter()
                    .try_for_each(|problem| writeln!(f, "  {}: {}", problem.place, problem.what))
            }
            Outcome::Unknown { missing, error, unhealthy, left } => {
                writeln!(f, "{app} {}", style::attention("unknown"))?;
                writeln!(f, "  missing: {missing}")?;
                if let Some(error) = error {
                    writeln!(f, "  {error}")?;
                }
                list(f, unhealthy)?;
                writeln!(f, "  {left}")
            }
        }
    }
}

impl Report {
    fn changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(plan) = &self.plan else { return Ok(()) };
        for change in &plan.changes {
            let new = shown(Some(&change.new));
            if change.is_noop() {
                writeln!(f, "  {} {new}", change.key)?;
            } else {
                writeln!(f, "  {} {} → {new}", change.key, shown(change.old.as_ref()))?;
            }
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, unhealthy: &[Unhealthy]) -> fmt::Result {
    unhealthy.iter().try_for_each(|one| {
        writeln!(f, "  {} {} {:?} {}", one.kind, one.name, one.health.status, one.health.message)
    })
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for image in &self.images {
            writeln!(f, "  image {image}")?;
        }
        for workload in &self.workloads {
            match &workload.level {
                Level::Template { why } => {
                    writeln!(f, "  {} by its template: {why}", workload.workload)?
                }
                Level::Pods { pods } => {
                    let mut kinds: Vec<_> =
                        workload.containers.iter().map(|c| c.matched.to_string()).collect();
                    kinds.sort();
                    kinds.dedup();
                    let pods = if *pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") };
                    writeln!(f, "  {} by {pods}, {}", workload.workload, kinds.join(" and "))?;
                }
            }
        }
        self.revisions.iter().try_for_each(|revision| writeln!(f, "  revision {revision}"))
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployed => "the deployed digest",
            Self::PlatformManifest => "a platform's digest",
            Self::Config => "the config's digest",
        })
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing was written",
            Self::PerhapsValues => "the values may have been written",
            Self::Values => "the values stand, and no sync was started",
            Self::Operation => "the sync was started",
            Self::ValuesAndOperation => "the values stand, and the sync was started",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { phase, message, resources } => {
                write!(f, "the operation ended {phase:?}: {message}")?;
                resources.iter().try_for_each(|resource| write!(f, "\n  {resource}"))
            }
            Self::Condition { condition } => write!(f, "{}: {}", condition.kind, condition.message),
            Self::NeedsPruning { resources } => {
                write!(
                    f,
                    "no longer in the sources, and not deleted without --prune: {}",
                    resources.join(", ")
                )
            }
            Self::Health { health } => match health.message.as_str() {
                "" => write!(f, "the application is {:?}", health.status),
                message => write!(f, "the application is {:?}: {message}", health.status),
            },
            Self::Stuck { pods } => {
                write!(f, "{} pods with the wanted image keep failing to start", pods.len())
            }
            Self::Deleted => f.write_str("the application was deleted"),
        }
    }
}
