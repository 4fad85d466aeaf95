//! What was decided, with reasons: for people as text, for programs as JSON, for promotion records as gate results.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;
use verbatim_record::{EnvironmentId, Evidence, GateResult};

use crate::gate::Gate;

/// Whether a release may enter an environment, and what every gate said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The release.
    pub release: Digest,
    /// The environment.
    pub environment: EnvironmentId,
    /// Whether every gate let it pass.
    pub allowed: bool,
    /// One for each gate, in their order.
    pub answers: Vec<Answer>,
}

/// What one gate said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The gate.
    #[serde(flatten)]
    pub gate: Gate,
    /// Whether it let the release pass.
    pub passed: bool,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub text: String,
    /// What that rests on.
    pub evidence: Vec<Evidence>,
    /// What would make it pass, if it did not.
    pub remedy: Option<String>,
}

/// Why a gate answered as it did. The environment, where there is one, is the gate's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Reason {
    /// Passed: it was promoted there, and is the last.
    RunsThere {
        /// When it was proven.
        since: Timestamp,
    },
    /// Passed: it was promoted there, and that is enough.
    RanThere {
        /// When it was proven last.
        at: Timestamp,
    },
    /// Passed: the suites did.
    SuitesPassed {
        /// When the last of them ended.
        at: Timestamp,
    },
    /// Passed: every build record names a commit.
    SourceIsCommit,
    /// Records or ledger could not be read, or were not given. Not the same as "there are none".
    Unreadable {
        /// Why.
        cause: String,
    },
    /// The ledger is not a chain that can be relied on.
    LedgerBroken {
        /// What is wrong.
        faults: Vec<String>,
    },
    /// It was never promoted there.
    NeverThere,
    /// It was promoted there, and no promotion of it has a complete proof.
    NotProven,
    /// Another release was promoted there afterwards.
    Replaced {
        /// The release that is there according to the ledger.
        by: Digest,
        /// When that was proven.
        at: Timestamp,
    },
    /// The ledger says that it is there; what was seen running says otherwise.
    Drifted {
        /// What was seen.
        seen: String,
    },
    /// Suites that never ran against this release there.
    NotTested {
        /// Their names; empty if no test of any kind was recorded.
        suites: Vec<String>,
    },
    /// Suites whose latest result is a failure.
    TestsFailed {
        /// Their names; empty if the run as a whole failed.
        suites: Vec<String>,
        /// When.
        at: Timestamp,
    },
    /// No build record.
    NoBuildRecord,
    /// Built from a working tree with changes.
    DirtySource,
}

impl Decision {
    /// The refusals.
    pub fn refusals(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| !answer.passed)
    }

    /// The answers as a promotion record keeps them.
    pub fn gate_results(&self) -> Vec<GateResult> {
        self.answers
            .iter()
            .map(|answer| GateResult {
                gate: answer.gate.name().to_owned(),
                passed: answer.passed,
                reason: answer.text.clone(),
                evidence: answer.evidence.clone(),
            })
            .collect()
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "may enter" } else { "may not enter" };
        writeln!(f, "{} {verdict} {}", self.release, self.environment)?;
        if self.answers.is_empty() {
            writeln!(f, "  no gates")?;
        }
        for answer in &self.answers {
            let mark = if answer.passed { "pass" } else { "refused" };
            writeln!(f, "  {mark:<7}  {:<12}  {}", answer.gate.name(), answer.text)?;
            for evidence in &answer.evidence {
                write!(f, "             - {}", evidence.text)?;
                match &evidence.record {
                    Some(record) => writeln!(f, " (record {record})")?,
                    None => writeln!(f)?,
                }
            }
            if let Some(remedy) = &answer.remedy {
                writeln!(f, "             to pass: {remedy}")?;
            }
        }
        Ok(())
    }
}
