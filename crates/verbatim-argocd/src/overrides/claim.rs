//! The claim: the annotation in which a run says what it writes, what stood there before, and until when it works.
//!
//! It travels in the same patch as the values, so both land together. It is no lock: two writers that overlap inside
//! the server both succeed, and only reading back tells which one is left. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use crate::model::{Application, SourceAt};
use crate::overrides::values::{ValueChange, same_element};

/// The annotation's name.
pub const ANNOTATION: &str = "verbatim.dev/claim";

/// What a run says about its write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Version of this format.
    pub version: u32,
    /// Unique for each run; also in the `infos` of its operation.
    pub nonce: String,
    /// How far the run is.
    pub state: ClaimState,
    /// The release that is written.
    pub release: String,
    /// Who runs: the URL of the CI run, or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was written.
    pub at: Timestamp,
    /// Until when the run works at most. After that an open claim belongs to a run that died.
    pub deadline: Timestamp,
    /// The source that is written to.
    pub source: SourceAt,
    /// What was written, and what stood there before.
    pub changes: Vec<ValueChange>,
    /// The record of the promotion, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// What the ledger lacked of this promotion when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<PendingRecord>,
}

/// What a promotion kept in a file, because it was proven and its record could not be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PendingRecord {
    /// The record of this digest.
    Record(Digest),
    /// A statement, which could not be signed either.
    Statement {
        /// Its digest.
        digest: Digest,
        /// The end of the promotion that it tells of. Who signs it later gives it another place in the ledger and so
        /// another digest, but not another time.
        finished_at: Timestamp,
    },
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// At work, or dead.
    Open,
    /// The values were written and nothing more was asked for.
    Written,
    /// Proven.
    Done,
    /// Ended without proof; the values stand.
    Failed,
    /// The previous values were put back.
    Undone,
}

impl Claim {
    /// The version of the format that is written.
    pub const VERSION: u32 = 1;

    /// The annotation's text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The changes that put back what stood there before.
    pub(crate) fn undone_changes(&self) -> Vec<ValueChange> {
        let undone = |change: &ValueChange| ValueChange {
            key: change.key.clone(),
            old: Some(change.new.clone()),
            new: change.old.clone().unwrap_or_default(),
        };
        self.changes.iter().map(undone).collect()
    }

    /// The same claim in another state.
    pub fn in_state(&self, state: ClaimState) -> Self {
        Self { state, ..self.clone() }
    }
}

/// The claim on an application.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimOnApp {
    /// None.
    Absent,
    /// One that we understand.
    Known(Box<Claim>),
    /// A text that this version does not understand.
    Foreign(String),
}

impl ClaimOnApp {
    /// The claim, if we understand it.
    pub fn known(&self) -> Option<&Claim> {
        match self {
            Self::Known(claim) => Some(claim),
            _ => None,
        }
    }
}

/// Reads the claim of an application.
pub fn read_claim(app: &Application) -> ClaimOnApp {
    match app.metadata.annotations.get(ANNOTATION) {
        None => ClaimOnApp::Absent,
        Some(text) => match serde_json::from_str::<Claim>(text) {
            Ok(claim) if claim.version == Claim::VERSION => ClaimOnApp::Known(Box::new(claim)),
            _ => ClaimOnApp::Foreign(text.clone()),
        },
    }
}

/// What an existing claim means for a new run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClaimStanding {
    Free,
    /// An earlier run of the same release with the same values did not end: this one finishes its work.
    Resume,
    /// A run died, or its claim is taken over. Its previous values are the ones to go back to.
    TakeOver,
    Held,
    /// A newer version of this tool, or somebody else, wrote a claim that cannot be understood.
    Unreadable,
}

/// Judges the claim on an application for a run of `release` that wants `changes`.
///
/// `stands` tells whether the values that the claim speaks of are still there. Both were written in one patch, so a
/// claim without its values is one that somebody has overridden.
pub(crate) fn standing(
    on_app: &ClaimOnApp,
    stands: bool,
    release: &str,
    changes: &[ValueChange],
    now: Timestamp,
    take_over: bool,
) -> ClaimStanding {
    let claim = match on_app {
        ClaimOnApp::Absent => return ClaimStanding::Free,
        ClaimOnApp::Foreign(_) if take_over => return ClaimStanding::Free,
        ClaimOnApp::Foreign(_) => return ClaimStanding::Unreadable,
        ClaimOnApp::Known(claim) => claim,
    };
    if claim.state != ClaimState::Open || !stands {
        return ClaimStanding::Free;
    }
    let same = claim.release == release
        && claim.changes.len() == changes.len()
        && claim
            .changes
            .iter()
            .zip(changes)
            .all(|(a, b)| a.key == b.key && same_element(&a.new, &b.new));
    if same {
        ClaimStanding::Resume
    } else if take_over || claim.deadline < now {
        ClaimStanding::TakeOver
    } else {
        ClaimStanding::Held
    }
}

/// The values to go back to if a run fails before its sync. A run that died may have left values that nobody ever saw
/// working; then the ones before it count.
pub(crate) fn with_previous(
    mut changes: Vec<ValueChange>,
    on_app: &ClaimOnApp,
) -> Vec<ValueChange> {
    let Some(claim) = on_app.known().filter(|claim| claim.state == ClaimState::Open) else {
        return changes;
    };
    for change in &mut changes {
        let earlier = claim.changes.iter().find(|earlier| {
            earlier.key == change.key
                && change.old.as_ref().is_some_and(|old| same_element(old, &earlier.new))
        });
        if let Some(earlier) = earlier {
            change.old.clone_from(&earlier.old);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::overrides::values::OverrideKey;

    fn tag(old: Option<&str>, new: &str) -> ValueChange {
        let element =
            |value: &str| json!({ "name": "image.tag", "value": value, "forceString": true });
        ValueChange {
            key: OverrideKey::Helm("image.tag".into()),
            old: old.map(element),
            new: element(new),
        }
    }

    fn claim(state: ClaimState) -> ClaimOnApp {
        ClaimOnApp::Known(Box::new(Claim {
            version: 1,
            nonce: "n".into(),
            state,
            release: "r1".into(),
            by: None,
            at: "2026-11-24T10:00:00Z".parse().unwrap(),
            deadline: "2026-11-24T10:10:00Z".parse().unwrap(),
            source: SourceAt::Single,
            changes: vec![tag(Some("1"), "2")],
            record: None,
            kept: None,
        }))
    }

    #[test]
    fn claims_are_judged() {
        let foreign = ClaimOnApp::Foreign("{}".into());
        let (early, late) = ("2026-11-24T10:05:00Z", "2026-11-24T10:10:01Z");
        let cases = [
            (ClaimOnApp::Absent, "r2", "3", early, false, ClaimStanding::Free),
            (claim(ClaimState::Done), "r2", "3", early, false, ClaimStanding::Free),
            (claim(ClaimState::Undone), "r2", "3", early, false, ClaimStanding::Free),
            (claim(ClaimState::Failed), "r2", "3", early, false, ClaimStanding::Free),
            (claim(ClaimState::Open), "r2", "3", early, false, ClaimStanding::Held),
            (claim(ClaimState::Open), "r2", "3", late, false, ClaimStanding::TakeOver),
            (claim(ClaimState::Open), "r2", "3", early, true, ClaimStanding::TakeOver),
            (claim(ClaimState::Open), "r1", "2", early, false, ClaimStanding::Resume),
            // The same release with other values is not the same work.
            (claim(ClaimState::Open), "r1", "3", early, false, ClaimStanding::Held),
            (foreign.clone(), "r2", "3", late, false, ClaimStanding::Unreadable),
            (foreign, "r2", "3", late, true, ClaimStanding::Free),
        ];
        for (on_app, release, value, now, take_over, want) in cases {
            let got = standing(
                &on_app,
                true,
                release,
                &[tag(None, value)],
                now.parse().unwrap(),
                take_over,
            );
            assert_eq!(got, want, "{on_app:?} {release} {value} {now} {take_over}");
        }
    }

    #[test]
    fn a_claim_without_its_values_holds_nobody() {
        let now = "2026-11-24T10:05:00Z".parse().unwrap();
        let changes = [tag(None, "3")];
        assert_eq!(
            standing(&claim(ClaimState::Open), false, "r2", &changes, now, false),
            ClaimStanding::Free
        );
    }

    #[test]
    fn the_values_before_a_dead_run_are_the_ones_to_go_back_to() {
        let cases = [
            // The dead run's value still stands: go back to the one before it.
            (claim(ClaimState::Open), "2", Some("1")),
            // Somebody changed it since: that one counts.
            (claim(ClaimState::Open), "9", Some("9")),
            (claim(ClaimState::Done), "2", Some("2")),
            (ClaimOnApp::Absent, "2", Some("2")),
        ];
        for (on_app, stands, want) in cases {
            let changes = with_previous(vec![tag(Some(stands), "3")], &on_app);
            assert_eq!(changes, [tag(want, "3")], "{on_app:?} {stands}");
        }
    }

    #[test]
    fn a_claim_survives_its_annotation() {
        let ClaimOnApp::Known(claim) = claim(ClaimState::Open) else { unreachable!() };
        let mut app = Application::default();
        assert_eq!(read_claim(&app), ClaimOnApp::Absent);
        app.metadata.annotations.insert(ANNOTATION.into(), claim.to_text());
        assert_eq!(read_claim(&app), ClaimOnApp::Known(claim.clone()));
        let finished_at = "2026-11-24T10:00:00.123456789Z".parse().unwrap();
        let statement = PendingRecord::Statement { digest: Digest::of(b"s"), finished_at };
        for kept in [PendingRecord::Record(Digest::of(b"r")), statement] {
            let claim = Claim { kept: Some(kept), ..(*claim).clone() };
            app.metadata.annotations.insert(ANNOTATION.into(), claim.to_text());
            assert_eq!(read_claim(&app), ClaimOnApp::Known(Box::new(claim)));
        }
        app.metadata.annotations.insert(ANNOTATION.into(), r#"{"version":2}"#.into());
        assert!(matches!(read_claim(&app), ClaimOnApp::Foreign(_)));
    }
}
