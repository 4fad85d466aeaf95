//! Gates as data. What they mean is in `decide`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use serde::{Serialize, Serializer};
use verbatim_record::{EnvironmentId, Role};

use crate::condition::Condition;
use crate::windows::ZonedWindow;

/// The gates before an environment, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    /// The gates, all of which are checked.
    pub list: Vec<Gate>,
    /// The kinds that are not checked for rollbacks; see [`GateKind::usually_skipped`].
    pub skipped_by_rollbacks: BTreeSet<GateKind>,
}

impl Gates {
    /// These gates, with what rollbacks usually skip.
    pub fn new(list: Vec<Gate>) -> Self {
        Self { list, skipped_by_rollbacks: GateKind::usually_skipped() }
    }
}

impl Serialize for Gates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

/// A condition before an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gate {
    /// Nobody locked the environment.
    Locked,
    /// Nobody vetoed the release.
    Vetoed,
    /// The release was proven in another environment first.
    After {
        /// The other environment.
        environment: EnvironmentId,
        /// Whether it must still run there.
        ran: Presence,
    },
    /// Suites passed against the release in an environment.
    Tested {
        /// The other environment.
        environment: EnvironmentId,
        /// Names of the suites. Empty: the latest test run must have passed as a whole.
        suites: Vec<String>,
        /// How old the results may be.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_age: Option<SignedDuration>,
    },
    /// The release was built from a commit, not from uncommitted changes.
    CleanSource,
    /// A build record names a trusted builder, source and branch.
    Signed(BuildRequirement),
    /// Charts and manifests are those that the release was proven with in an environment.
    SameManifests {
        /// The other environment.
        environment: EnvironmentId,
    },
    /// The release has been healthy in an environment for some time.
    Soak {
        /// The other environment.
        environment: EnvironmentId,
        /// How long it has to be there.
        period: SignedDuration,
    },
    /// Enough people approved.
    Approvals(ApprovalRequirement),
    /// Releases may enter at this time.
    Windows {
        /// Windows that allow or deny.
        windows: Vec<ZonedWindow>,
    },
    /// A statement of some type about the release holds.
    Attested(StatementRequirement),
    /// The release is not older than the one that runs.
    Order {
        /// Whether a release that cannot be compared may enter.
        unrelated: bool,
    },
    /// The release was built not long ago.
    Freshness {
        /// How long ago at most.
        max_age: SignedDuration,
    },
    /// A condition of the team's own.
    When {
        /// Its name in the policy.
        name: String,
        /// What has to hold.
        condition: Condition,
    },
}

/// How much of the past counts for [`Gate::After`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It is the release promoted there last.
    #[default]
    Still,
    /// It was promoted there once; another release may have followed.
    Ever,
}

/// Which builds are trusted. A `*` in a pattern stands for any text; an empty list, for anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildRequirement {
    /// Patterns for ids of builders.
    pub builders: Vec<String>,
    /// Repositories of the source.
    pub sources: Vec<String>,
    /// Patterns for branches.
    pub branches: Vec<String>,
}

/// Which approvals are enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalRequirement {
    /// How many, each by another key.
    pub count: u32,
    /// The role that their keys must have.
    pub role: Role,
    /// Whether those who built or promote the release do not count.
    pub not_author: bool,
    /// How old they may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<SignedDuration>,
}

/// Which statement about a release has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatementRequirement {
    /// Its `predicateType` URI.
    pub predicate_type: String,
    /// The role that its key must have.
    pub role: Role,
    /// The condition on it, over `predicate` and `now`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// How to find the latest of several; `None`: the condition has to hold for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<StatementTime>,
}

/// The time that a predicate holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatementTime {
    /// The path to the field, outermost name first.
    pub field: Vec<String>,
    /// How old it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<SignedDuration>,
}

/// The kind of a gate: its name in configuration and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the kind of the gate of that name")]
pub enum GateKind {
    Locked,
    Vetoed,
    After,
    Tested,
    CleanSource,
    Signed,
    SameManifests,
    Soak,
    Approvals,
    Windows,
    Attested,
    Order,
    Freshness,
    When,
}

impl GateKind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Locked,
        Self::Vetoed,
        Self::After,
        Self::Tested,
        Self::CleanSource,
        Self::Signed,
        Self::SameManifests,
        Self::Soak,
        Self::Approvals,
        Self::Windows,
        Self::Attested,
        Self::Order,
        Self::Freshness,
        Self::When,
    ];

    /// The name in configuration and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Vetoed => "vetoed",
            Self::After => "after",
            Self::Tested => "tested",
            Self::CleanSource => "clean_source",
            Self::Signed => "signed",
            Self::SameManifests => "same_manifests",
            Self::Soak => "soak",
            Self::Approvals => "approvals",
            Self::Windows => "windows",
            Self::Attested => "attested",
            Self::Order => "order",
            Self::Freshness => "freshness",
            Self::When => "when",
        }
    }

    /// The kinds that are not checked for rollbacks unless the policy says otherwise: a rollback brings back what entered
    /// before, and it cannot wait. Tests are checked, but not their age.
    pub fn usually_skipped() -> BTreeSet<Self> {
        [Self::Windows, Self::Soak, Self::Order, Self::Approvals, Self::Freshness].into()
    }

    /// Whether a policy may let rollbacks skip it. A vetoed release, or one of an untrusted builder, does not come back, and
    /// a lock locks.
    pub fn may_be_skipped(self) -> bool {
        !matches!(self, Self::Locked | Self::Vetoed | Self::Signed)
    }
}

impl fmt::Display for GateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for GateKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(())
    }
}

impl Gate {
    /// The kind, without settings.
    pub fn kind(&self) -> GateKind {
        match self {
            Self::Locked => GateKind::Locked,
            Self::Vetoed => GateKind::Vetoed,
            Self::After { .. } => GateKind::After,
            Self::Tested { .. } => GateKind::Tested,
            Self::CleanSource => GateKind::CleanSource,
            Self::Signed(_) => GateKind::Signed,
            Self::SameManifests { .. } => GateKind::SameManifests,
            Self::Soak { .. } => GateKind::Soak,
            Self::Approvals(_) => GateKind::Approvals,
            Self::Windows { .. } => GateKind::Windows,
            Self::Attested(_) => GateKind::Attested,
            Self::Order { .. } => GateKind::Order,
            Self::Freshness { .. } => GateKind::Freshness,
            Self::When { .. } => GateKind::When,
        }
    }

    /// The name in records and for `--override-gate`: that of its kind, or `when:NAME` for conditions.
    pub fn name(&self) -> String {
        match self {
            Self::When { name, .. } => format!("when:{name}"),
            other => other.kind().name().to_owned(),
        }
    }

    /// Whether a name means this gate: its own, or that of its kind.
    pub fn is_called(&self, name: &str) -> bool {
        self.name() == name || self.kind().name() == name
    }

    /// The environment that it looks at, besides the one that the release is to enter.
    fn looks_at(&self) -> Option<&EnvironmentId> {
        match self {
            Self::After { environment, .. }
            | Self::Tested { environment, .. }
            | Self::SameManifests { environment }
            | Self::Soak { environment, .. } => Some(environment),
            _ => None,
        }
    }
}

impl Gates {
    /// The environments whose ledger and live state [`decide`](crate::decide()) looks at: what the runner has to fetch.
    /// Conditions may look at those of all environments that another gate names.
    pub fn ledgers(&self) -> impl Iterator<Item = &EnvironmentId> {
        let mut told = BTreeSet::new();
        self.list.iter().filter_map(Gate::looks_at).filter(move |id| told.insert(*id))
    }

    /// The predicate types that the gates need besides those of this project.
    pub fn attested_types(&self) -> BTreeSet<String> {
        let wanted = |gate: &Gate| match gate {
            Gate::Attested(attested) => Some(attested.predicate_type.clone()),
            _ => None,
        };
        self.list.iter().filter_map(wanted).collect()
    }

    /// Whether there is a gate of this kind.
    pub fn has(&self, kind: GateKind) -> bool {
        self.list.iter().any(|gate| gate.kind() == kind)
    }

    /// Whether a condition looks at this variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.list.iter().any(|gate| match gate {
            Gate::When { condition, .. } => condition.variables().contains(variable),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_say_where_they_look() {
        let id = |name: &str| EnvironmentId::new("shop", name).unwrap();
        let gates = Gates::new(vec![
            Gate::After { environment: id("test"), ran: Presence::Still },
            Gate::CleanSource,
            Gate::SameManifests { environment: id("staging") },
            Gate::Soak { environment: id("test"), period: SignedDuration::ZERO },
        ]);
        assert_eq!(gates.ledgers().collect::<Vec<_>>(), [&id("test"), &id("staging")]);
        let kinds: Vec<_> = GateKind::ALL.into_iter().filter(|kind| gates.has(*kind)).collect();
        let want =
            [GateKind::After, GateKind::CleanSource, GateKind::SameManifests, GateKind::Soak];
        assert_eq!(kinds, want);
    }

    #[test]
    fn a_kind_is_read_as_it_is_printed() {
        for kind in GateKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("when:own".parse::<GateKind>(), Err(()));
    }
}
