//! Which release a rollback goes back to, by the ledger. Pure.

use std::collections::BTreeMap;

use verbatim_oci::Digest;
use verbatim_record::{PromotedRelease, Promotion};

use crate::promotion::charts;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// So many good releases before what runs; from 1.
    Steps(usize),
    Release(Digest),
}

/// A release to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The release, as it was promoted last.
    pub release: PromotedRelease,
    /// The number of that promotion.
    pub sequence: u64,
    /// The revisions that each application had then, by its name.
    pub revisions: BTreeMap<String, Vec<String>>,
}

/// Why there is nothing to go back to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTarget {
    /// The ledger does not go back that far.
    #[error("the ledger has {} before what runs there{}", good(*.found), asked(*.found, *.wanted))]
    TooFar { found: usize, wanted: usize },
    /// It was never promoted there.
    #[error("{0} was never proven there, by the ledger")]
    NeverThere(Digest),
    #[error("{0} is what runs there")]
    RunsThere(Digest),
}

fn good(found: usize) -> String {
    match found {
        0 => "no good release".to_owned(),
        1 => "one good release".to_owned(),
        more => format!("{more} good releases"),
    }
}

/// How far back was asked for, where that is not told by there being none.
fn asked(found: usize, wanted: usize) -> String {
    if found == 0 { String::new() } else { format!(", and --steps {wanted} goes further back") }
}

/// Chooses among the promotions of an environment, oldest first. `running` is the release that stands there, if it is the
/// last one of the ledger; if something else stands there, the last one is where to go back to. Good is what was proven
/// and has no veto; a release that is named may have one, and the gate tells.
pub(super) fn choose<'a>(
    promotions: impl DoubleEndedIterator<Item = &'a Promotion>,
    goal: Goal,
    running: Option<Digest>,
    is_vetoed: impl Fn(&Digest) -> bool,
) -> Result<Target, NoTarget> {
    let mut good: Vec<Target> = Vec::new();
    for promotion in promotions.rev().filter(|promotion| promotion.is_proven()) {
        let digest = promotion.release.digest;
        let is_known = good.iter().any(|target| target.release.digest == digest);
        let is_named = goal == Goal::Release(digest);
        if !is_known && running != Some(digest) && (is_named || !is_vetoed(&digest)) {
            good.push(Target {
                release: promotion.release.clone(),
                sequence: promotion.chain.sequence,
                revisions: charts::revisions(promotion),
            });
        }
    }
    let found = good.len();
    match goal {
        Goal::Steps(wanted) => wanted
            .checked_sub(1)
            .and_then(|index| good.into_iter().nth(index))
            .ok_or(NoTarget::TooFar { found, wanted }),
        Goal::Release(digest) if running == Some(digest) => Err(NoTarget::RunsThere(digest)),
        Goal::Release(digest) => good
            .into_iter()
            .find(|target| target.release.digest == digest)
            .ok_or(NoTarget::NeverThere(digest)),
    }
}

/// Whether a release, to which an environment is to go back, is beyond the one before that which was promoted last. Who goes
/// back one step undoes a promotion; whoever goes further chooses among all that ever ran there, old faults with them. Steps
/// are counted from what was promoted last and not from what runs, so that two rollbacks are not one step each.
pub(crate) fn is_beyond_previous(promotions: &[&Promotion], release: Digest) -> bool {
    let is_last = |it: &&Promotion| it.release.digest == release;
    if promotions.last().is_some_and(is_last) {
        return false;
    }
    let Some(forward) = promotions.iter().rposition(|it| it.kind.is_promotion()) else {
        return true;
    };
    let (before, newest) = promotions.split_at(forward);
    let Some(newest) = newest.first().map(|it| it.release.digest) else { return true };
    let previous = before.iter().rev().filter(|it| it.is_proven());
    let previous = previous.map(|it| it.release.digest).find(|digest| *digest != newest);
    release != newest && previous != Some(release)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    /// Promotions of these releases, one after the other; in brackets those without proof, after `<` rollbacks.
    fn ledger(releases: &str) -> Vec<Promotion> {
        let mut promotions = Vec::new();
        for (name, sequence) in releases.split_whitespace().zip(1..) {
            let outcome = if name.starts_with('[') { "unproven" } else { "proven" };
            let readback = json!({ "outcome": outcome });
            let application = json!({
                "name": "web", "server": "https://argocd.example",
                "proof": { "spec": readback, "operation": readback, "manifests": readback, "running": readback },
            });
            let promotion = json!({
                "environment": "shop/dev",
                "kind": if name.starts_with('<') { "rollback" } else { "promotion" },
                "release": {
                    "digest": digest(name.trim_matches(['[', ']', '<'])), "repository": "registry.example/shop",
                },
                "applications": [application],
                "startedAt": Timestamp::UNIX_EPOCH, "finishedAt": Timestamp::UNIX_EPOCH,
                "chain": { "sequence": sequence },
            });
            promotions.push(serde_json::from_value(promotion).unwrap());
        }
        promotions
    }

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn the_way_back_goes_over_good_releases() {
        use Goal::{Release, Steps};
        use NoTarget::{NeverThere, RunsThere, TooFar};
        let cases = [
            ("a b c", Steps(1), Some("c"), Ok(("b", 2))),
            ("a b c", Steps(2), Some("c"), Ok(("a", 1))),
            ("a b c", Steps(3), Some("c"), Err(TooFar { found: 2, wanted: 3 })),
            ("a b c", Steps(0), Some("c"), Err(TooFar { found: 2, wanted: 0 })),
            // A release that was there twice is one step.
            ("a b a c", Steps(1), Some("c"), Ok(("a", 3))),
            ("a b a c", Steps(2), Some("c"), Ok(("b", 2))),
            ("a b a", Steps(1), Some("a"), Ok(("b", 2))),
            // What was never proven, and what has a veto, is not good.
            ("a [b] c", Steps(1), Some("c"), Ok(("a", 1))),
            ("a v c", Steps(1), Some("c"), Ok(("a", 1))),
            // Something stands there that the ledger does not end with: its end is the last good one.
            ("a b", Steps(1), None, Ok(("b", 2))),
            ("a", Steps(1), Some("a"), Err(TooFar { found: 0, wanted: 1 })),
            ("", Steps(1), None, Err(TooFar { found: 0, wanted: 1 })),
            ("a b c", Release(digest("a")), Some("c"), Ok(("a", 1))),
            ("a v c", Release(digest("v")), Some("c"), Ok(("v", 2))),
            ("a b", Release(digest("b")), Some("b"), Err(RunsThere(digest("b")))),
            ("a b", Release(digest("x")), Some("b"), Err(NeverThere(digest("x")))),
            ("a [b] c", Release(digest("b")), Some("c"), Err(NeverThere(digest("b")))),
        ];
        for (releases, goal, running, want) in cases {
            let promotions = ledger(releases);
            let got =
                choose(promotions.iter(), goal, running.map(digest), |one| *one == digest("v"));
            let got = got.map(|target| (target.release.digest, target.sequence));
            let want = want.map(|(name, sequence)| (digest(name), sequence));
            assert_eq!(got, want, "{releases} {goal:?}");
        }
    }

    #[test]
    fn a_rollback_goes_one_step_alone() {
        for (releases, back_to, beyond) in [
            ("a b c", "b", false),
            ("a b c", "a", true),
            ("a b c", "c", false),
            ("a b c c", "b", false),
            ("a [b] c", "a", false),
            ("a b [c]", "b", false),
            ("a b [c]", "a", true),
            // Two rollbacks are two steps, and what was promoted last is no step at all.
            ("a b c <b", "a", true),
            ("a b c <b", "b", false),
            ("a b c <b", "c", false),
            ("a b c <b d", "b", false),
            ("a b c <b d", "c", true),
            ("<a <b", "a", true),
            ("", "a", true),
        ] {
            let promotions = ledger(releases);
            let promotions: Vec<&Promotion> = promotions.iter().collect();
            let got = is_beyond_previous(&promotions, digest(back_to));
            assert_eq!(got, beyond, "{releases}: {back_to}");
        }
    }
}
