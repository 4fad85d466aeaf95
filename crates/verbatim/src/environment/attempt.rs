//! Promotions that did not come to their end, by the claims that they left on the applications. Pure.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::{Application, Claim, ClaimState, deviations, read_claim};
use verbatim_oci::Reference;

/// A promotion without an end. What it wrote still stands on the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Attempt {
    /// The release that is written, as `--release` takes it; the text of the claim, so it may be any.
    #[serde(rename = "reference")]
    pub release: String,
    /// Who promotes: the URL of the CI run, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub since: Timestamp,
    /// Until when it works at most.
    pub deadline: Timestamp,
    /// How far it came.
    pub phase: Phase,
    /// The applications that it left its claim on.
    pub applications: Vec<String>,
}

/// How far a promotion came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// It ended without a proof.
    Failed,
    /// Its time is over: it was killed.
    Overdue,
    /// It is at work, or was interrupted a moment ago: both look the same.
    UnderWay,
}

impl Attempt {
    /// The promotion whose end an application lacks, if there is one. Values that somebody changed since are not those of
    /// a promotion any more, whatever its claim says.
    fn on(name: &str, application: &Application, now: Timestamp) -> Option<Self> {
        let on_app = read_claim(application);
        let Claim { release, by, at, deadline, state, source, changes, .. } = on_app.known()?;
        let phase = match state {
            ClaimState::Open if *deadline < now => Phase::Overdue,
            ClaimState::Open => Phase::UnderWay,
            ClaimState::Failed => Phase::Failed,
            ClaimState::Written | ClaimState::Done | ClaimState::Undone => return None,
        };
        let stands = deviations(application.spec.sources().get(*source), changes).is_empty();
        stands.then(|| Self {
            release: release.clone(),
            by: by.clone(),
            since: *at,
            deadline: *deadline,
            phase,
            applications: vec![name.to_owned()],
        })
    }

    /// Whether both are of one promotion. Each application has its own time to be done in.
    fn is_with(&self, other: &Self) -> bool {
        self.release == other.release && self.by == other.by && self.phase == other.phase
    }

    /// What to do about it in an environment; `is_promoted` tells whether there is something to go back to.
    pub(crate) fn hint(&self, environment: &str, is_promoted: bool) -> String {
        let again = format!("verbatim promote {environment} --release {}", self.release);
        let (mut hint, back) = match self.phase {
            Phase::Failed => (format!("to try once more: {again}"), ""),
            Phase::Overdue => (format!("to finish it: {again}"), ""),
            Phase::UnderWay => (
                format!(
                    "if it is not running any more, finish it: {again}; for another release, add --take-over"
                ),
                " --take-over",
            ),
        };
        if is_promoted {
            hint.push_str(&format!(
                "; to go back to the release before: verbatim restore {environment}{back}"
            ));
        }
        hint
    }
}

/// The promotions that applications lack the end of, those that may still be at work last.
pub(crate) fn attempts<'a>(
    applications: impl IntoIterator<Item = (&'a str, &'a Application)>,
    now: Timestamp,
) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for (name, application) in applications {
        let Some(found) = Attempt::on(name, application, now) else { continue };
        match attempts.iter_mut().find(|attempt| attempt.is_with(&found)) {
            Some(attempt) => {
                attempt.since = attempt.since.min(found.since);
                attempt.deadline = attempt.deadline.max(found.deadline);
                attempt.applications.extend(found.applications);
            }
            None => attempts.push(found),
        }
    }
    attempts.sort_by_key(|attempt| attempt.phase);
    attempts
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a promotion of {}", short(&self.release))?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        write!(f, ", started at {:.0}, ", self.since)?;
        match self.phase {
            Phase::Failed => f.write_str("ended without proof")?,
            Phase::Overdue => write!(f, "was to end by {:.0}", self.deadline)?,
            Phase::UnderWay => write!(f, "has until {:.0}", self.deadline)?,
        }
        write!(f, " ({})", self.applications.join(", "))
    }
}

/// A release in few characters. A claim may be of a tool that deploys without one, so any text is taken.
pub(crate) fn short(release: &str) -> String {
    match release.parse::<Reference>() {
        Ok(Reference { tag: Some(tag), digest: Some(digest), .. }) => {
            format!("{tag} ({})", digest.short())
        }
        Ok(Reference { digest: Some(digest), .. }) => digest.short(),
        _ => release.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use verbatim_argocd::CLAIM_ANNOTATION;

    const NOW: &str = "2026-11-28T10:00:00Z";

    /// An application with a claim in a state, whose value is `found` where the promotion wrote `2`.
    fn application(state: &str, deadline: &str, found: &str) -> Application {
        let element =
            |value: &str| json!({ "name": "image.tag", "value": value, "forceString": true });
        let claim = json!({
            "version": 1, "nonce": "n", "state": state, "by": "ci", "source": "single",
            "release": format!("r.example/app:2@sha256:{}", "a".repeat(64)),
            "at": "2026-11-28T09:50:00Z", "deadline": deadline,
            "changes": [{ "key": "helm:image.tag", "old": element("1"), "new": element("2") }],
        });
        let application = serde_json::from_value(json!({
            "metadata": { "name": "web", "annotations": { CLAIM_ANNOTATION: claim.to_string() } },
            "spec": { "source": { "repoURL": "r", "path": "c", "helm": { "parameters": [element(found)] } } },
        }));
        application.unwrap()
    }

    #[test]
    fn what_a_claim_says_of_the_end_of_its_promotion() {
        let (early, late) = ("2026-11-28T09:59:59Z", "2026-11-28T10:05:00Z");
        let begun =
            "a promotion of 2 (sha256:aaaaaaaaaaaa) by ci, started at 2026-11-28T09:50:00Z,";
        let cases = [
            ("open", late, "2", Some("has until 2026-11-28T10:05:00Z (web)")),
            ("open", early, "2", Some("was to end by 2026-11-28T09:59:59Z (web)")),
            ("failed", late, "2", Some("ended without proof (web)")),
            ("done", early, "2", None),
            ("undone", early, "2", None),
            ("written", early, "2", None),
            // Somebody wrote over it: whoever began it, it is drift now.
            ("open", late, "3", None),
            ("failed", late, "1", None),
        ];
        for (state, deadline, found, want) in cases {
            let application = application(state, deadline, found);
            let got = attempts([("web", &application)], NOW.parse().unwrap());
            let got: Vec<String> = got.iter().map(ToString::to_string).collect();
            let want: Vec<String> = want.iter().map(|want| format!("{begun} {want}")).collect();
            assert_eq!(got, want, "{state} {deadline} {found}");
        }
        assert_eq!(attempts([("web", &Application::default())], NOW.parse().unwrap()), []);
    }

    #[test]
    fn applications_of_one_promotion_are_told_together() {
        let (a, b) = ("2026-11-28T10:05:00Z", "2026-11-28T10:06:00Z");
        let (one, other) = (application("open", a, "2"), application("open", b, "2"));
        let failed = application("failed", a, "2");
        let got = attempts([("a", &one), ("b", &other), ("c", &failed)], NOW.parse().unwrap());
        let told: Vec<_> = got.iter().map(|it| (it.phase, it.applications.join(" "))).collect();
        assert_eq!(told, [(Phase::Failed, "c".to_owned()), (Phase::UnderWay, "a b".to_owned())]);
        assert_eq!(got[1].deadline, b.parse().unwrap());
    }

    #[test]
    fn what_to_do_about_it() {
        let release = format!("r.example/app:2@sha256:{}", "a".repeat(64));
        let deadline = |phase| {
            if phase == Phase::Overdue { "2026-11-28T09:59:59Z" } else { "2026-11-28T10:05:00Z" }
        };
        let cases = [
            (Phase::UnderWay, "open", true, "restore dev --take-over"),
            (Phase::UnderWay, "open", true, "for another release, add --take-over"),
            (Phase::Overdue, "open", true, "to finish it: verbatim promote dev --release"),
            (Phase::Overdue, "open", true, "before: verbatim restore dev"),
            (Phase::Failed, "failed", true, "once more: verbatim promote dev --release"),
            (Phase::Failed, "failed", false, &release),
        ];
        for (phase, state, is_promoted, want) in cases {
            let application = application(state, deadline(phase), "2");
            let attempts = attempts([("web", &application)], NOW.parse().unwrap());
            let hint = attempts[0].hint("dev", is_promoted);
            assert!(attempts[0].phase == phase && hint.contains(want), "{hint}");
            assert_eq!(hint.contains("restore"), is_promoted, "{hint}");
        }
    }
}
