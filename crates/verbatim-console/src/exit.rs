//! Exit statuses: what a pipeline may conclude from the end of the process.

use std::process::ExitCode;

/// How a command ended. Every tool of this workspace uses these and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// Done, allowed, proven.
    Done,
    /// It worked, and the answer is no: refused by a gate, drift, digest differs, degraded.
    No,
    /// Wrong command line or configuration.
    Usage,
    /// A service could not be reached, or kept failing.
    Unreachable,
    /// Outcome unknown or unfinished at the deadline; what was reached and what is missing is printed.
    Unknown,
    /// Somebody else changed it.
    Conflict,
    /// Superseded by a newer release.
    Superseded,
    /// A service refused: credentials, rights, or not found.
    Refused,
    /// A defect in this program.
    Defect,
    /// Interrupted; what was and was not done is printed.
    Interrupted,
}

impl ExitStatus {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::No,
        Self::Usage,
        Self::Unreachable,
        Self::Unknown,
        Self::Conflict,
        Self::Superseded,
        Self::Refused,
        Self::Defect,
        Self::Interrupted,
    ];

    /// The status of several things that one command did: the most urgent one. First what is wrong with the command
    /// itself, then what may be half done, then what others did, then refusals, then an honest no.
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        const BY_URGENCY: [ExitStatus; 9] = [
            ExitStatus::Defect,
            ExitStatus::Interrupted,
            ExitStatus::Usage,
            ExitStatus::Unknown,
            ExitStatus::Conflict,
            ExitStatus::Superseded,
            ExitStatus::Refused,
            ExitStatus::Unreachable,
            ExitStatus::No,
        ];
        let all: Vec<Self> = all.into_iter().collect();
        BY_URGENCY.into_iter().find(|status| all.contains(status)).unwrap_or(Self::Done)
    }

    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Unknown => 4,
            Self::Conflict => 5,
            Self::Superseded => 6,
            Self::Refused => 7,
            Self::Defect => 70,
            Self::Interrupted => 130,
        }
    }

    /// A word for machines, in JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => "no",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
            Self::Conflict => "conflict",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
            Self::Defect => "defect",
            Self::Interrupted => "interrupted",
        }
    }

    /// What it means, for help and documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, allowed, proven",
            Self::No => {
                "it worked, and the answer is no: refused by a gate, drift, digest differs, degraded"
            }
            Self::Usage => "wrong command line or configuration",
            Self::Unreachable => "a service could not be reached, or kept failing",
            Self::Unknown => {
                "outcome unknown or unfinished at the deadline; what was reached and what is missing is printed"
            }
            Self::Conflict => "conflict: somebody else changed it",
            Self::Superseded => "superseded by a newer release",
            Self::Refused => "a service refused: credentials, rights, or not found",
            Self::Defect => "a defect in verbatim",
            Self::Interrupted => "interrupted; what was and was not done is printed",
        }
    }

    /// What a pipeline should do, for help and documentation.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Done => "go on",
            Self::No => "stop, show the reasons",
            Self::Usage | Self::Refused => "fix",
            Self::Unreachable => "retry may help",
            Self::Unknown | Self::Conflict => "look, then run again",
            Self::Superseded => "stop; running again would go backwards",
            Self::Defect => "report",
            Self::Interrupted => "run again",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_ordered() {
        let codes: Vec<u8> = ExitStatus::ALL.iter().map(|status| status.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 70, 130]);
        let names: std::collections::BTreeSet<_> =
            ExitStatus::ALL.iter().map(|status| status.name()).collect();
        assert_eq!(names.len(), codes.len());
    }

    #[test]
    fn the_most_urgent_status_is_the_one_of_all() {
        use ExitStatus::{Conflict, Done, No, Refused, Unknown, Unreachable, Usage};
        for (all, want) in [
            (vec![], Done),
            (vec![Done, Done], Done),
            (vec![Done, No], No),
            (vec![No, Unknown, Conflict], Unknown),
            (vec![Conflict, No], Conflict),
            (vec![Unreachable, Refused], Refused),
            (vec![Unknown, Usage], Usage),
        ] {
            assert_eq!(ExitStatus::of_all(all.clone()), want, "{all:?}");
        }
        // None is left out: each alone is the status of all.
        for status in ExitStatus::ALL {
            assert_eq!(ExitStatus::of_all([status]), status);
        }
    }
}
