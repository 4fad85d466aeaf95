//! Gates as data. What they mean is in `decide`.

use serde::Serialize;
use verbatim_record::EnvironmentId;

/// The gates before an environment, in the order in which they are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Gates(pub Vec<Gate>);

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gate {
    /// The release was promoted to another environment first, with proof.
    After {
        /// Where.
        environment: EnvironmentId,
        /// Whether it must still run there.
        ran: Ran,
    },
    /// Suites passed against the release in an environment.
    Tested {
        /// Where.
        environment: EnvironmentId,
        /// Names of the suites. Empty: whatever was run last must have passed as a whole.
        suites: Vec<String>,
    },
    /// The release was built from a commit, not from a working tree with changes.
    CleanSource,
}

/// How much of the past counts for [`Gate::After`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ran {
    /// It is the last release that was promoted there.
    #[default]
    Still,
    /// It was promoted there once; another release may have followed.
    Ever,
}

impl Gate {
    /// The name, as in configuration and records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::After { .. } => "after",
            Self::Tested { .. } => "tested",
            Self::CleanSource => "clean_source",
        }
    }
}

impl Gates {
    /// The environments whose ledger [`decide`](crate::decide()) looks at: what the runner has to fetch.
    pub fn ledgers(&self) -> impl Iterator<Item = &EnvironmentId> {
        self.0.iter().filter_map(|gate| match gate {
            Gate::After { environment, .. } => Some(environment),
            Gate::Tested { .. } | Gate::CleanSource => None,
        })
    }
}
