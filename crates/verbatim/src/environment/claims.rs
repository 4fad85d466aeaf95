//! What the claims on applications say of promotions that the ledger does not have: those that did not come to their end,
//! and those that were proven and whose record could not be attached. Of the second what runs is right, and putting the end
//! of the ledger back would be wrong. Pure but for one look whether a file is here.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::{Application, Claim, ClaimState, PendingRecord, deviations, read_claim};
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::{Digest, Reference};
use verbatim_record::{Chain, EnvironmentId, Promotion, Verified};

use crate::config::App;
use crate::environment::applications::{ObservedApp, has_values};
use crate::records::attach;
use crate::release::Release;

/// A promotion that the ledger does not have. What it wrote still stands on the applications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ClaimedPromotion<S> {
    /// The release, as `--release` takes it; the text of the claim, so it may be any.
    #[serde(rename = "reference")]
    pub release: String,
    /// Who promotes: the URL of the CI run, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub since: Timestamp,
    #[serde(flatten)]
    pub state: S,
    /// The applications with its claim.
    pub applications: Vec<String>,
}

/// A promotion without an end.
pub(crate) type Attempt = ClaimedPromotion<Unfinished>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unfinished {
    /// Until when it works at most.
    pub deadline: Timestamp,
    pub phase: Phase,
}

/// How far a promotion came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// It ended without a proof, and what was there before was put back.
    Undone,
    /// It ended without a proof.
    Failed,
    /// Its time is over: it was killed.
    Overdue,
    /// It is at work, or was interrupted a moment ago: both look the same.
    UnderWay,
}

/// A proven promotion without a record in the ledger.
pub(crate) type Unrecorded = ClaimedPromotion<Proven>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Proven {
    #[serde(skip)]
    pub kept: PendingRecord,
    pub is_signed: bool,
    /// The file that this is kept in, on the machine that promoted.
    pub file: PathBuf,
    /// Whether this is that machine.
    pub is_here: bool,
}

/// The applications on which the values of their last claim stand: what somebody changed since is not that of a promotion
/// any more, whatever its claim says.
fn standing<'a>(
    applications: impl IntoIterator<Item = (&'a App, &'a Application)>,
) -> impl Iterator<Item = (&'a App, &'a Application)> {
    applications.into_iter().filter(|(app, application)| {
        let on_app = read_claim(application, Some(&app.environment));
        let stands =
            |claim: &Claim| deviations(application.spec.sources(), &claim.changes).is_empty();
        on_app.known().is_some_and(stands)
    })
}

/// The promotions that claims tell of, each with all its applications. `is_one` tells whether two are the same, and may
/// take from the second.
fn claimed<'a, S>(
    applications: impl IntoIterator<Item = (&'a App, &'a Application)>,
    state: impl Fn(&Claim) -> Option<S>,
    is_one: impl Fn(&mut ClaimedPromotion<S>, &ClaimedPromotion<S>) -> bool,
) -> Vec<ClaimedPromotion<S>> {
    let mut all: Vec<ClaimedPromotion<S>> = Vec::new();
    for (app, application) in applications {
        let on_app = read_claim(application, Some(&app.environment));
        let Some(claim) = on_app.known() else { continue };
        let Some(state) = state(claim) else { continue };
        let found = ClaimedPromotion {
            release: claim.release.clone(),
            by: claim.by.clone(),
            since: claim.at,
            state,
            applications: vec![app.name.clone()],
        };
        match all.iter_mut().find_map(|it| is_one(it, &found).then_some(it)) {
            Some(it) => {
                it.since = it.since.min(found.since);
                it.applications.extend(found.applications);
            }
            None => all.push(found),
        }
    }
    all
}

/// The promotions that applications lack the end of, those that may still be at work last.
pub(crate) fn attempts<'a>(
    applications: impl IntoIterator<Item = (&'a App, &'a Application)>,
    now: Timestamp,
) -> Vec<Attempt> {
    let unfinished = |claim: &Claim| {
        Unfinished::of(claim, now).filter(|unfinished| unfinished.phase != Phase::Undone)
    };
    let mut attempts = claimed(standing(applications), unfinished, Attempt::takes);
    attempts.sort_by_key(|attempt| attempt.state.phase);
    attempts
}

/// The promotions that ended otherwise than with a proof, or have not ended, by the last claim on each application, the
/// latest first: also those whose values are not there any more. The ledger knows nothing of them.
pub(crate) fn past_attempts<'a>(
    applications: impl IntoIterator<Item = (&'a App, &'a Application)>,
    now: Timestamp,
) -> Vec<Attempt> {
    let mut attempts = claimed(applications, |claim| Unfinished::of(claim, now), Attempt::takes);
    attempts.sort_by_key(|attempt| std::cmp::Reverse(attempt.since));
    attempts
}

impl Unfinished {
    fn of(claim: &Claim, now: Timestamp) -> Option<Self> {
        let phase = match claim.state {
            ClaimState::Open if claim.deadline < now => Phase::Overdue,
            ClaimState::Open => Phase::UnderWay,
            ClaimState::Failed => Phase::Failed,
            ClaimState::Undone => Phase::Undone,
            ClaimState::Written | ClaimState::Done => return None,
        };
        Some(Self { deadline: claim.deadline, phase })
    }
}

impl Attempt {
    /// Whether another application tells of the same promotion.
    fn takes(&mut self, found: &Self) -> bool {
        let (it, other) = (&mut self.state, &found.state);
        let is_one =
            self.release == found.release && self.by == found.by && it.phase == other.phase;
        if is_one {
            // Each application has its own time to be done in.
            it.deadline = it.deadline.max(other.deadline);
        }
        is_one
    }

    /// What to do about it in an environment; `is_promoted` tells whether there is something to go back to.
    pub(crate) fn hint(&self, environment: &str, is_promoted: bool) -> String {
        let again = format!("verbatim promote {environment} --release {}", self.release);
        let (mut hint, back) = match self.state.phase {
            Phase::Failed | Phase::Undone => (format!("to try once more: {again}"), ""),
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

/// The promotions that the ledger lacks, by the applications that do not hold what was promoted last by the ledger.
pub(crate) fn unrecorded<'a>(
    applications: impl IntoIterator<Item = (&'a App, &'a Application)>,
    promoted: Option<&Release>,
    ledger: &Chain,
) -> Vec<Unrecorded> {
    let otherwise = applications.into_iter().filter(|(app, application)| {
        promoted.is_none_or(|release| !has_values(app, application, release))
    });
    lacking(otherwise, &LedgerEntry::all(ledger))
}

fn lacking<'a>(
    applications: impl IntoIterator<Item = (&'a App, &'a Application)>,
    ledger: &[LedgerEntry],
) -> Vec<Unrecorded> {
    let proven = |claim: &Claim| {
        let kept = claim.kept.filter(|_| claim.state == ClaimState::Done)?;
        let is_recorded = ledger.iter().any(|entry| entry.is_of(kept));
        (!is_recorded).then(|| Proven {
            kept,
            is_signed: matches!(kept, PendingRecord::Record(_)),
            file: attach::file(kept),
            is_here: false,
        })
    };
    claimed(standing(applications), proven, |it, found| it.state.kept == found.state.kept)
}

/// Whether the claim of a promotion names a statement that it kept without a signature.
pub(crate) fn names_statement(seen: &[ObservedApp], statement: &Digest) -> bool {
    seen.iter().any(|it| {
        let Ok(application) = &it.application else { return false };
        let on_app = read_claim(application, Some(&it.app.environment));
        let kept = on_app.known().and_then(|claim| claim.kept);
        matches!(kept, Some(PendingRecord::Statement { digest, .. }) if digest == *statement)
    })
}

/// What tells a promotion of the ledger.
struct LedgerEntry {
    record: Digest,
    finished_at: Timestamp,
}

impl LedgerEntry {
    fn all(ledger: &Chain) -> Vec<Self> {
        let promotions = ledger.promotions().iter();
        let entry = |it: &Verified<Promotion>| Self {
            record: it.record(),
            finished_at: it.predicate().finished_at,
        };
        promotions.map(entry).collect()
    }

    fn is_of(&self, kept: PendingRecord) -> bool {
        match kept {
            PendingRecord::Record(record) => self.record == record,
            PendingRecord::Statement { finished_at, .. } => self.finished_at == finished_at,
        }
    }
}

impl Unrecorded {
    /// Looks for the file below the folder in which it is kept.
    pub(crate) fn look_below(&mut self, state_folder: &Path) {
        self.state.file = state_folder.join(&self.state.file);
        self.state.is_here = self.state.file.is_file();
    }

    /// What to do about it in an environment.
    pub(crate) fn hint(&self, environment: &str) -> String {
        let attach = format!("verbatim record attach {}", self.state.file.display());
        let Self { release, by, .. } = self;
        if self.state.is_here {
            return format!("to add it to the ledger: {attach}");
        }
        let by = by.iter().map(|by| format!(" ({by})")).collect::<String>();
        format!(
            "to add it to the ledger, where the job that promoted{by} kept it: {attach}; if that file is gone, this proves \
             and records it again: verbatim promote {environment} --release {release}"
        )
    }
}

/// Why nothing is restored: what the ledger does not have yet is not to be taken for drift.
pub(crate) fn refusal(
    unrecorded: Vec<Unrecorded>,
    id: &EnvironmentId,
    state_folder: &Path,
) -> Option<Failure> {
    let told: Vec<String> = unrecorded.iter().map(ToString::to_string).collect();
    let failure = (!told.is_empty()).then(|| {
        let why = format!("{id} is ahead of its ledger: {}", told.join("; "));
        Failure::new(ExitStatus::No, why)
    })?;
    let name = id.name();
    let failure = unrecorded.into_iter().fold(failure, |failure, mut it| {
        it.look_below(state_folder);
        failure.hint(it.hint(name))
    });
    Some(failure.hint(format!(
        "to put back what the ledger has anyway: verbatim restore {name} --discard-unrecorded"
    )))
}

impl<S: fmt::Display> fmt::Display for ClaimedPromotion<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a promotion of {}", short(&self.release))?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        let apps = self.applications.join(", ");
        write!(f, ", started at {:.0}, {} ({apps})", self.since, self.state)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            Phase::Failed => f.write_str("ended without proof"),
            Phase::Undone => f.write_str("ended without proof, and was put back"),
            Phase::Overdue => write!(f, "was to end by {:.0}", self.deadline),
            Phase::UnderWay => write!(f, "has until {:.0}", self.deadline),
        }
    }
}

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("was proven but is missing from the ledger")
    }
}

/// A release in few characters. A claim may be of a tool that deploys without one, so any text is taken.
fn short(release: &str) -> String {
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
    use verbatim_argocd::claim_annotation;

    const NOW: &str = "2026-11-28T10:00:00Z";
    const LATER: &str = "2026-11-28T10:05:00Z";

    fn app(name: &str) -> App {
        App::sample(name, &[])
    }

    /// An application with a claim in a state, whose value is `found` where the promotion wrote `2`.
    fn application(
        state: &str,
        deadline: &str,
        found: &str,
        kept: Option<PendingRecord>,
    ) -> Application {
        let element =
            |value: &str| json!({ "name": "image.tag", "value": value, "forceString": true });
        let claim = json!({
            "version": 1, "environment": "shop/dev", "nonce": "n", "state": state, "by": "ci", "source": "single", "kept": kept,
            "release": format!("r.example/app:2@sha256:{}", "a".repeat(64)),
            "at": "2026-11-28T09:50:00Z", "deadline": deadline,
            "changes": [{ "key": "helm:image.tag", "old": element("1"), "new": element("2") }],
        });
        let application = serde_json::from_value(json!({
            "metadata": { "name": "web", "annotations": { claim_annotation(Some("shop/dev")): claim.to_string() } },
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
            let application = application(state, deadline, found, None);
            let got = attempts([(&app("web"), &application)], NOW.parse().unwrap());
            let got: Vec<String> = got.iter().map(ToString::to_string).collect();
            let want: Vec<String> = want.iter().map(|want| format!("{begun} {want}")).collect();
            assert_eq!(got, want, "{state} {deadline} {found}");
        }
        assert_eq!(attempts([(&app("web"), &Application::default())], NOW.parse().unwrap()), []);
    }

    #[test]
    fn applications_of_one_promotion_are_told_together() {
        let (a, b) = ("2026-11-28T10:05:00Z", "2026-11-28T10:06:00Z");
        let (one, other) = (application("open", a, "2", None), application("open", b, "2", None));
        let failed = application("failed", a, "2", None);
        let got = attempts(
            [(&app("a"), &one), (&app("b"), &other), (&app("c"), &failed)],
            NOW.parse().unwrap(),
        );
        let told: Vec<_> =
            got.iter().map(|it| (it.state.phase, it.applications.join(" "))).collect();
        assert_eq!(told, [(Phase::Failed, "c".to_owned()), (Phase::UnderWay, "a b".to_owned())]);
        assert_eq!(got[1].state.deadline, b.parse().unwrap());
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
            let application = application(state, deadline(phase), "2", None);
            let attempts = attempts([(&app("web"), &application)], NOW.parse().unwrap());
            let hint = attempts[0].hint("dev", is_promoted);
            assert!(attempts[0].state.phase == phase && hint.contains(want), "{hint}");
            assert_eq!(hint.contains("restore"), is_promoted, "{hint}");
        }
    }

    #[test]
    fn what_a_claim_says_of_a_promotion_that_the_ledger_lacks() {
        let (then, other): (Timestamp, Timestamp) = (
            "2026-11-28T09:51:00.123456789Z".parse().unwrap(),
            "2026-11-28T09:51:00.12345679Z".parse().unwrap(),
        );
        let record = Some(PendingRecord::Record(Digest::of(b"record")));
        let statement =
            Some(PendingRecord::Statement { digest: Digest::of(b"statement"), finished_at: then });
        // The state of the claim, what is found, what was kept; the promotion that the ledger has, and when it ended.
        let cases = [
            ("done", "2", record, &b"other"[..], other, true),
            ("done", "2", record, b"other", then, true),
            ("done", "2", record, b"record", then, false),
            // Signed later it is another record, of the same time.
            ("done", "2", statement, b"other", other, true),
            ("done", "2", statement, b"other", then, false),
            // It has no end, or none that was proven.
            ("open", "2", record, b"other", other, false),
            ("failed", "2", record, b"other", other, false),
            ("undone", "2", record, b"other", other, false),
            // Somebody wrote over it.
            ("done", "3", record, b"other", other, false),
            // Its record was attached, or it never was to have one.
            ("done", "2", None, b"other", other, false),
        ];
        for (state, found, kept, record, finished_at, want) in cases {
            let application = application(state, LATER, found, kept);
            let ledger = [LedgerEntry { record: Digest::of(record), finished_at }];
            let got = lacking([(&app("web"), &application)], &ledger);
            assert_eq!(!got.is_empty(), want, "{state} {found} {kept:?} {record:?} {finished_at}");
            let got = lacking([(&app("web"), &application)], &[]);
            let is_kept = state == "done" && found == "2" && kept.is_some();
            assert_eq!(!got.is_empty(), is_kept, "{state} {found} {kept:?}, an empty ledger");
        }
        assert_eq!(lacking([(&app("web"), &Application::default())], &[]), []);
    }

    #[test]
    fn it_is_told_once_with_what_to_do() {
        let kept = PendingRecord::Record(Digest::of(b"record"));
        let (one, other) =
            (application("done", LATER, "2", Some(kept)), application("done", LATER, "2", None));
        let all = [(&app("a"), &one), (&app("b"), &one), (&app("c"), &other)];
        let [mut found] = lacking(all, &[]).try_into().unwrap();
        assert_eq!(
            found.to_string(),
            "a promotion of 2 (sha256:aaaaaaaaaaaa) by ci, started at 2026-11-28T09:50:00Z, was proven but is missing from the ledger (a, b)"
        );
        let folder = tempfile::tempdir().unwrap();
        found.look_below(folder.path());
        let attach = format!("verbatim record attach {}", found.state.file.display());
        let hint = found.hint("dev");
        assert!(
            hint.contains("the job that promoted (ci) kept it") && hint.contains(&attach),
            "{hint}"
        );
        assert!(hint.contains("again: verbatim promote dev --release r.example/app:2@"), "{hint}");
        std::fs::create_dir_all(found.state.file.parent().unwrap()).unwrap();
        std::fs::write(&found.state.file, "{}").unwrap();
        found.state.file = attach::file(kept);
        found.look_below(folder.path());
        assert_eq!(found.hint("dev"), format!("to add it to the ledger: {attach}"));
    }
}
