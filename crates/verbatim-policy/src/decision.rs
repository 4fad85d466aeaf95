//! What was decided, with reasons: for programs as JSON, for promotion records as gate results. The text for people is
//! in `display`.

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;
use verbatim_record::{EnvironmentId, Evidence, GateResult};

use crate::gate::Gate;

/// Whether a release may enter an environment, and what every gate said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The release. Both are told by what the decision is a part of.
    #[serde(skip)]
    pub release: Digest,
    /// The environment.
    #[serde(skip)]
    pub environment: EnvironmentId,
    /// Whether every gate let it pass.
    pub allowed: bool,
    /// One for each gate, in their order.
    pub answers: Vec<Answer>,
}

/// What one gate said.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Why the release may pass although the gate refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overridden: Option<String>,
}

/// Why a gate cannot be overridden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no gate `{name}` before {environment}; its gates are {}", .gates.join(", "))]
pub struct OverrideError {
    /// The name that was given.
    pub name: String,
    /// The environment.
    pub environment: EnvironmentId,
    /// The names that there are.
    pub gates: Vec<String>,
}

/// Why a gate answered as it did. The environment, where there is one, is the gate's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
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
    /// Passed: no lock is in force.
    NotLocked,
    /// Passed: no veto is in force.
    NotVetoed,
    /// Passed: a build record tells of a trusted builder, source and branch.
    TrustedBuild,
    /// Passed: the same charts and manifests.
    SameManifests,
    /// Passed: healthy there for long enough.
    Soaked {
        /// Since when.
        since: Timestamp,
    },
    /// Passed: approved.
    Approved {
        /// The names of the keys.
        by: Vec<String>,
    },
    /// Passed: some window is open.
    WindowOpen,
    /// Passed: the statement was made, and says the right thing.
    Attested,
    /// Passed: it is not older than what runs.
    NotOlder,
    /// Passed: built not long ago.
    Fresh {
        /// When it was built.
        built: Timestamp,
    },
    /// Passed: the condition holds.
    Holds,
    /// Passed: a rollback is not asked this.
    SkippedByRollback,
    /// Locks are in force.
    Locked {
        /// Their records.
        locks: Vec<Digest>,
    },
    /// Vetoes are in force.
    Vetoed {
        /// Their records.
        vetoes: Vec<Digest>,
    },
    /// No build record tells of a trusted builder, source and branch.
    UntrustedBuild,
    /// Charts or manifests are others than the ones that it was proven with.
    OtherManifests,
    /// It has not been healthy there for long enough.
    Soaking {
        /// Since when it has.
        since: Timestamp,
        /// When it will have been.
        until: Timestamp,
    },
    /// Not enough approvals.
    NotApproved {
        /// How many are missing.
        missing: u32,
        /// The names of the keys whose approval counts.
        by: Vec<String>,
    },
    /// No window is open.
    WindowClosed {
        /// When the next one opens; `None`: not within 400 days.
        opens: Option<Timestamp>,
    },
    /// Nobody who may made the statement.
    NotAttested,
    /// The statement does not say the right thing, or is too old.
    AttestedOtherwise,
    /// A newer release runs there.
    Older {
        /// It.
        than: Digest,
    },
    /// It cannot be compared with the release that runs there.
    NotComparable {
        /// That release.
        with: Digest,
    },
    /// Tests passed, too long ago.
    TestsTooOld {
        /// When.
        at: Timestamp,
    },
    /// Built too long ago.
    Stale {
        /// When.
        built: Timestamp,
    },
    /// The condition does not hold.
    DoesNotHold,
    /// The condition came to no answer.
    NoAnswer {
        /// Why.
        cause: String,
    },
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
    /// Built from a pull request whose author may be anybody.
    ForeignSource,
}

impl Decision {
    /// The refusals.
    pub fn refusals(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| !answer.lets_pass())
    }

    /// Lets the release pass a gate although it refuses, because a person says so. A gate that passes is left alone: nothing
    /// was overridden.
    ///
    /// # Errors
    /// There is no such gate.
    pub fn override_gate(&mut self, name: &str, reason: &str) -> Result<(), OverrideError> {
        let is_meant = |answer: &Answer| answer.gate.is_called(name);
        if !self.answers.iter().any(is_meant) {
            let mut gates: Vec<String> =
                self.answers.iter().map(|answer| answer.gate.name()).collect();
            gates.dedup();
            let environment = self.environment.clone();
            return Err(OverrideError { name: name.to_owned(), environment, gates });
        }
        for answer in self.answers.iter_mut().filter(|it| is_meant(it) && !it.passed) {
            answer.overridden = Some(reason.to_owned());
        }
        self.allowed = self.answers.iter().all(Answer::lets_pass);
        Ok(())
    }

    /// Why a gate was overridden; of the first one, if several were.
    pub fn override_reason(&self) -> Option<&str> {
        self.answers.iter().find_map(|answer| answer.overridden.as_deref())
    }

    /// Whether a gate was overridden, so that the record needs a key that may.
    pub fn is_overridden(&self) -> bool {
        self.answers.iter().any(|answer| answer.overridden.is_some())
    }

    /// The answers as a promotion record keeps them.
    pub fn gate_results(&self) -> Vec<GateResult> {
        self.answers
            .iter()
            .map(|answer| GateResult {
                gate: answer.gate.name(),
                passed: answer.passed,
                reason: answer.text.clone(),
                evidence: answer.evidence.clone(),
                overridden: answer.overridden.clone(),
            })
            .collect()
    }
}

impl Answer {
    /// Whether the gate does not keep the release out: it passed, or was overridden.
    pub fn lets_pass(&self) -> bool {
        self.passed || self.overridden.is_some()
    }
}
