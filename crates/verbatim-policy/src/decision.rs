//! What was decided, with reasons: for programs as JSON, for promotion records as gate results. The text for people is
//! in `display`.

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;
use verbatim_record::{EnvironmentId, GateEvidence, GateResult};

use crate::gate::Gate;

/// Whether a release may enter an environment, with the answer of every gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The release. The document around a decision names it, and the environment.
    #[serde(skip)]
    pub release: Digest,
    /// The environment that it may enter, or not.
    #[serde(skip)]
    pub environment: EnvironmentId,
    /// Whether every gate let it pass.
    pub allowed: bool,
    /// One for each gate, in their order.
    pub answers: Vec<GateAnswer>,
}

/// The answer of one gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateAnswer {
    /// The gate, with its settings.
    #[serde(flatten)]
    pub gate: Gate,
    /// Whether it let the release pass.
    pub passed: bool,
    /// The reason for programs.
    pub reason: Reason,
    /// The reason for people: a fragment without a full stop.
    pub text: String,
    /// What the answer rests on.
    pub evidence: Vec<GateEvidence>,
    /// What would make it pass; `None` if it did.
    pub remedy: Option<String>,
    /// Why the release may pass although the gate refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overridden: Option<String>,
}

/// Why a gate cannot be overridden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no gate `{name}` before {environment}; its gates are {}", .gates.join(", "))]
pub struct OverrideError {
    /// The name that was asked for.
    pub name: String,
    /// The environment that it may enter, or not.
    pub environment: EnvironmentId,
    /// The names of the gates there.
    pub gates: Vec<String>,
}

/// Why a gate answered as it did. An environment, where there is one, is the gate's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// Passed: it was proven there, and was promoted there last.
    RunsThere {
        /// When it was proven.
        since: Timestamp,
    },
    /// Passed: it was proven there once.
    RanThere {
        /// When it was proven last.
        at: Timestamp,
    },
    /// Passed: so did the suites.
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
    /// Passed: a build record names a trusted builder, source and branch.
    TrustedBuild,
    /// Passed: the same charts and manifests.
    SameManifests,
    /// Passed: healthy there for long enough.
    Soaked {
        /// The later of: it came, and it became healthy.
        since: Timestamp,
    },
    /// Passed: approved.
    Approved {
        /// The names of the keys.
        by: Vec<String>,
    },
    /// Passed: some window is open.
    WindowOpen,
    /// Passed: the statement holds.
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
    /// Passed: not checked for rollbacks.
    SkippedByRollback,
    /// Locks are in force.
    Locked {
        /// The digests of their records.
        locks: Vec<Digest>,
    },
    /// Vetoes are in force.
    Vetoed {
        /// The digests of their records.
        vetoes: Vec<Digest>,
    },
    /// No build record names a trusted builder, source and branch.
    UntrustedBuild,
    /// Charts or manifests differ from those that it was proven with.
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
    /// Nobody knows who built or promotes the release, and its authors may not approve it.
    AuthorUnknown,
    /// No window is open.
    WindowClosed {
        /// When the next one opens; `None`: not within 400 days.
        opens: Option<Timestamp>,
    },
    /// No statement that counts.
    NotAttested,
    /// The statement does not hold, or is too old.
    AttestedOtherwise,
    /// A newer release runs there.
    Older {
        /// The newer release.
        than: Digest,
    },
    /// It cannot be compared with the release that runs there.
    NotComparable {
        /// The release that runs there.
        with: Digest,
    },
    /// Tests passed, too long ago.
    TestsTooOld {
        /// The time of the oldest result.
        at: Timestamp,
    },
    /// Built too long ago.
    Stale {
        /// When it was built.
        built: Timestamp,
    },
    /// The condition does not hold.
    DoesNotHold,
    /// The condition could not be evaluated.
    NoAnswer {
        /// The error, for people.
        cause: String,
    },
    /// Records or ledger could not be read, or were not given, which is not "none".
    Unreadable {
        /// The error, for people.
        cause: String,
    },
    /// The ledger is not a chain that can be relied on.
    LedgerBroken {
        /// The faults of the chain, for people.
        faults: Vec<String>,
    },
    /// It was never promoted there.
    NeverThere,
    /// It was promoted there, but never fully proven.
    NotProven,
    /// Another release was promoted there afterwards.
    Replaced {
        /// The release that is there by the ledger.
        by: Digest,
        /// When that was proven.
        at: Timestamp,
    },
    /// It is in the ledger, but something else was seen running.
    Drifted {
        /// What was seen running, for people.
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
        /// The time of the latest result.
        at: Timestamp,
    },
    /// No build record that counts.
    NoBuildRecord,
    /// Built from uncommitted changes.
    DirtySource,
    /// Built from a pull request whose author may be anybody.
    ForeignSource,
}

impl Decision {
    /// The answers that keep the release out.
    pub fn refusals(&self) -> impl Iterator<Item = &GateAnswer> {
        self.answers.iter().filter(|answer| !answer.lets_pass())
    }

    /// Lets the release pass a gate that refuses, because a person says so. Leaves a gate that passes alone.
    ///
    /// # Errors
    /// If there is no such gate.
    pub fn override_gate(&mut self, name: &str, reason: &str) -> Result<(), OverrideError> {
        let is_meant = |answer: &GateAnswer| answer.gate.is_called(name);
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
        self.allowed = self.answers.iter().all(GateAnswer::lets_pass);
        Ok(())
    }

    /// Why a gate was overridden: the first of several.
    pub fn override_reason(&self) -> Option<&str> {
        self.answers.iter().find_map(|answer| answer.overridden.as_deref())
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

impl GateAnswer {
    /// Whether the release gets past the gate: it passed, or was overridden.
    pub fn lets_pass(&self) -> bool {
        self.passed || self.overridden.is_some()
    }
}
