//! What a checkup found: one finding for each thing that a pipeline needs. How things are looked at is in `services.rs`,
//! `defaults.rs` and `local.rs`; nothing here asks anybody.

mod defaults;
pub(crate) mod local;
pub(crate) mod services;

use std::fmt;

use serde::Serialize;
use verbatim_console::{ExitStatus, Failure, style};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    /// `verbatim.yaml`, and the policy that it names.
    Configuration,
    Source,
    Key,
    Engine,
    /// A repository of images or records.
    Registry,
    /// Our clock, beside that of a registry or an Argo CD.
    Clock,
    Argocd,
    /// The applications of an environment.
    Environment,
    /// What would run in an environment without the overrides.
    Override,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Source => "source",
            Self::Key => "key",
            Self::Engine => "engine",
            Self::Registry => "registry",
            Self::Clock => "clock",
            Self::Argocd => "argocd",
            Self::Environment => "environment",
            Self::Override => "override",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it has to be.
    Ok,
    /// Some commands need it, others do not.
    Warning,
    /// A promotion would fail on it.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub check: Check,
    /// Which of its kind: an address, a name.
    pub subject: String,
    pub level: Level,
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// What a command would end with for this.
    #[serde(skip)]
    pub status: ExitStatus,
}

impl Finding {
    pub(crate) fn ok(check: Check, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        let (subject, detail) = (subject.into(), detail.into());
        let (level, status) = (Level::Ok, ExitStatus::Done);
        Self { check, subject, level, detail, hints: Vec::new(), status }
    }

    /// What a command would fail with.
    pub(crate) fn failed(check: Check, subject: impl Into<String>, failure: Failure) -> Self {
        let (level, detail, status) = (Level::Failed, failure.whole(), failure.status);
        Self { check, subject: subject.into(), level, detail, hints: failure.hints, status }
    }

    /// The same, where only some commands would; `who` says which.
    pub(crate) fn warning(
        check: Check,
        subject: impl Into<String>,
        failure: Failure,
        who: &str,
    ) -> Self {
        let finding = Self::failed(check, subject, failure);
        let detail = format!("{}; {who}", finding.detail);
        Self { level: Level::Warning, status: ExitStatus::Done, detail, ..finding }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    /// The status of the finding that asks for most attention.
    pub(crate) fn status(&self) -> ExitStatus {
        ExitStatus::of_all(self.findings.iter().map(|finding| finding.status))
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, subject, level, detail, hints, .. } in &self.findings {
            let level = match level {
                Level::Ok => style::good("ok     "),
                Level::Warning => style::attention("warning"),
                Level::Failed => style::bad("failed "),
            };
            let about = match subject.is_empty() {
                true => String::new(),
                false => format!("{subject}: "),
            };
            writeln!(f, "{level}  {:<13}  {about}{detail}", check.name())?;
            for hint in hints {
                writeln!(f, "{:24}hint: {hint}", "")?;
            }
        }
        let all = self.findings.len();
        match (self.count(Level::Failed), self.count(Level::Warning)) {
            (0, 0) => write!(f, "all {all} checks passed"),
            (0, warnings) => write!(f, "no check failed, {warnings} of {all} with a warning"),
            (failed, _) => write!(f, "{failed} of {all} checks failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(levels: &[Level]) -> Report {
        let finding = |level: &Level| match level {
            Level::Ok => Finding::ok(Check::Source, "", "clean"),
            Level::Warning => {
                let failure = Failure::new(ExitStatus::Unreachable, "no answer");
                Finding::warning(Check::Engine, "unix:///x", failure, "`build` needs it")
            }
            Level::Failed => {
                let failure = Failure::new(ExitStatus::Refused, "denied").context("cannot read x");
                Finding::failed(Check::Registry, "r/x", failure.hint("log in"))
            }
        };
        Report { findings: levels.iter().map(finding).collect() }
    }

    #[test]
    fn the_report_tells_each_and_ends_with_the_gravest() {
        use Level::{Failed, Ok, Warning};
        let cases: [(&[Level], ExitStatus, &str); 3] = [
            (&[Ok, Ok], ExitStatus::Done, "all 2 checks passed"),
            (&[Ok, Warning], ExitStatus::Done, "no check failed, 1 of 2 with a warning"),
            (&[Failed, Ok, Warning], ExitStatus::Refused, "1 of 3 checks failed"),
        ];
        for (levels, status, end) in cases {
            let report = report(levels);
            assert_eq!(report.status(), status, "{levels:?}");
            assert_eq!(report.to_string().lines().last(), Some(end));
        }
        let text = report(&[Failed, Ok, Warning]).to_string();
        for part in [
            "  registry       r/x: cannot read x: denied\n                        hint: log in\n",
            "  source         clean\n",
            "  engine         unix:///x: no answer; `build` needs it\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
