//! What a trusted key may speak of, and how long. Judges values; what an ended key has left behind is judged in `ledger`.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

/// A key does not speak of something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("it speaks for the {part}s {} only, not for {}", .allowed.join(", "), named(.found.as_deref()))]
#[serde(rename_all = "camelCase")]
pub struct OutOfScope {
    /// What is limited: `environment`, `project` or `suite`.
    pub part: &'static str,
    /// What it was to speak of; `None`: all, or none that is named.
    pub found: Option<String>,
    /// What it may speak of.
    pub allowed: Vec<String>,
}

/// The name comes from a record, and may be anything.
fn named(found: Option<&str>) -> String {
    match found {
        Some(name) => format!("`{}`", verbatim_text::plain(name)),
        None => "all, or for one without a name".to_owned(),
    }
}

/// What the statements of a key may be about. `None`: anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyScope {
    /// Names of environments, in every project of [`Self::projects`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environments: Option<BTreeSet<String>>,
    /// Names of projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projects: Option<BTreeSet<String>>,
    /// Names of test suites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suites: Option<BTreeSet<String>>,
}

impl KeyScope {
    /// Everything.
    pub const ANYTHING: Self = Self { environments: None, projects: None, suites: None };

    /// Checks a project; `None` is one without a name.
    ///
    /// # Errors
    /// If it is not among those of the key.
    pub fn check_project(&self, project: Option<&str>) -> Result<(), OutOfScope> {
        check("project", self.projects.as_ref(), project)
    }

    /// Checks an environment by its name; `None` is all of them.
    ///
    /// # Errors
    /// If it is not among those of the key.
    pub fn check_environment(&self, environment: Option<&str>) -> Result<(), OutOfScope> {
        check("environment", self.environments.as_ref(), environment)
    }

    /// Checks the suites of a test run. A run of no suite is of all: of whatever there is to test.
    ///
    /// # Errors
    /// If one is not among those of the key.
    pub fn check_suites<'a>(
        &self,
        suites: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), OutOfScope> {
        let mut suites = suites.into_iter().peekable();
        if suites.peek().is_none() {
            return check("suite", self.suites.as_ref(), None);
        }
        suites.try_for_each(|suite| check("suite", self.suites.as_ref(), Some(suite)))
    }

    /// Whether whatever `other` may speak of, this may too.
    pub fn includes(&self, other: &Self) -> bool {
        let parts = [
            (&self.environments, &other.environments),
            (&self.projects, &other.projects),
            (&self.suites, &other.suites),
        ];
        parts.into_iter().all(|parts| match parts {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => other.is_subset(own),
        })
    }
}

fn check(
    part: &'static str,
    allowed: Option<&BTreeSet<String>>,
    found: Option<&str>,
) -> Result<(), OutOfScope> {
    let Some(allowed) = allowed else { return Ok(()) };
    if found.is_some_and(|found| allowed.contains(found)) {
        return Ok(());
    }
    let found = found.map(ToOwned::to_owned);
    Err(OutOfScope { part, found, allowed: allowed.iter().cloned().collect() })
}

/// From when to when the statements of a key count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyLife {
    /// The first moment; statements with an earlier time do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The planned end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Since when somebody else may have the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// The end of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyEnd {
    /// The first moment at which it does not count any more.
    pub at: Timestamp,
    /// Whether it was revoked and not retired as planned.
    pub revoked: bool,
}

impl fmt::Display for KeyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.revoked { "revoked" } else { "retired" };
        write!(f, "{word} since {:.0}", self.at)
    }
}

impl KeyLife {
    /// Without a beginning and without an end.
    pub const UNLIMITED: Self = Self { not_before: None, not_after: None, revoked_at: None };

    /// The earlier of the two ends.
    pub fn end(&self) -> Option<KeyEnd> {
        let retired = self.not_after.map(|at| KeyEnd { at, revoked: false });
        let revoked = self.revoked_at.map(|at| KeyEnd { at, revoked: true });
        match (retired, revoked) {
            (Some(retired), Some(revoked)) if retired.at < revoked.at => Some(retired),
            (retired, revoked) => revoked.or(retired),
        }
    }

    /// The end, if it has come.
    pub fn ended(&self, now: Timestamp) -> Option<KeyEnd> {
        self.end().filter(|end| now >= end.at)
    }

    /// Whether the beginning is still to come.
    pub fn is_early(&self, at: Timestamp) -> bool {
        self.not_before.is_some_and(|first| at < first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn a_life_ends_at_the_earlier_of_its_ends() {
        let retired = |minutes| KeyEnd { at: at(minutes), revoked: false };
        let revoked = |minutes| KeyEnd { at: at(minutes), revoked: true };
        for (not_after, revoked_at, want) in [
            (None, None, None),
            (Some(5), None, Some(retired(5))),
            (None, Some(5), Some(revoked(5))),
            (Some(5), Some(6), Some(retired(5))),
            (Some(6), Some(5), Some(revoked(5))),
            // Both at once: what is worse is told.
            (Some(5), Some(5), Some(revoked(5))),
        ] {
            let (not_after, revoked_at) = (not_after.map(at), revoked_at.map(at));
            let life = KeyLife { not_before: Some(at(1)), not_after, revoked_at };
            assert_eq!(life.end(), want);
            assert_eq!(life.ended(at(4)), None);
            assert_eq!(life.ended(at(5)), want.filter(|end| end.at == at(5)), "at the very minute");
            assert_eq!(life.ended(at(6)), want);
            assert!(life.is_early(at(0)) && !life.is_early(at(1)));
        }
        assert!(!KeyLife::UNLIMITED.is_early(Timestamp::MIN));
        assert_eq!(KeyLife::UNLIMITED.ended(Timestamp::MAX), None);
    }

    #[test]
    fn a_scope_includes_a_narrower_one() {
        let only = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let scope = |environments: Option<_>| KeyScope { environments, ..KeyScope::ANYTHING };
        for (own, other, want) in [
            (None, None, true),
            (None, only(&["dev"]), true),
            (only(&["dev"]), None, false),
            (only(&["dev", "qa"]), only(&["dev"]), true),
            (only(&["dev"]), only(&["dev", "qa"]), false),
        ] {
            assert_eq!(
                scope(own.clone()).includes(&scope(other.clone())),
                want,
                "{own:?} {other:?}"
            );
        }
        let suites = KeyScope { suites: only(&["smoke"]), ..KeyScope::ANYTHING };
        assert!(!suites.includes(&KeyScope::ANYTHING) && KeyScope::ANYTHING.includes(&suites));
        let projects = KeyScope { projects: only(&["shop"]), ..KeyScope::ANYTHING };
        assert!(!projects.includes(&KeyScope::ANYTHING) && KeyScope::ANYTHING.includes(&projects));
    }
}
