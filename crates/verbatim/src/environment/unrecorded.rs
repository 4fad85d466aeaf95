//! Promotions that were proven and that the ledger does not have, because their record could not be attached: told by the
//! claims that they closed. What runs is right then, and putting the end of the ledger back would be wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::{Application, Claim, ClaimState, PendingRecord, deviations, read_claim};
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{Chain, EnvironmentId, Promotion, Verified};

use crate::config::App;
use crate::environment::applications::has_values;
use crate::environment::attempt::short;
use crate::records::attach;
use crate::release::Release;

/// A promotion that the ledger does not have. What it wrote still stands on the applications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unrecorded {
    /// The release, as `--release` takes it.
    #[serde(rename = "reference")]
    pub release: String,
    /// Who promoted: the URL of the CI run, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub since: Timestamp,
    #[serde(skip)]
    pub kept: PendingRecord,
    /// Whether that is signed.
    pub is_signed: bool,
    /// The file that this is kept in, on the machine that promoted.
    pub file: PathBuf,
    /// Whether this is that machine.
    pub is_here: bool,
    /// The applications that tell of it.
    pub applications: Vec<String>,
}

impl Unrecorded {
    /// The promotion that an application tells of, if the ledger lacks it.
    fn on(name: &str, application: &Application, ledger: &[LedgerEntry]) -> Option<Self> {
        let on_app = read_claim(application);
        let Claim { release, by, at, state, source, changes, kept, .. } = on_app.known()?;
        let kept = kept.filter(|_| *state == ClaimState::Done)?;
        let stands = deviations(application.spec.sources().get(*source), changes).is_empty();
        let is_recorded = ledger.iter().any(|entry| entry.is_of(kept));
        (stands && !is_recorded).then(|| Self {
            release: release.clone(),
            by: by.clone(),
            since: *at,
            kept,
            is_signed: matches!(kept, PendingRecord::Record(_)),
            file: attach::file(kept),
            is_here: false,
            applications: vec![name.to_owned()],
        })
    }

    /// Looks for the file below the folder in which it is kept.
    pub(crate) fn look_below(&mut self, state_folder: &Path) {
        self.file = state_folder.join(&self.file);
        self.is_here = self.file.is_file();
    }

    /// What to do about it in an environment.
    pub(crate) fn hint(&self, environment: &str) -> String {
        let attach = format!("verbatim record attach {}", self.file.display());
        let Self { release, by, .. } = self;
        if self.is_here {
            return format!("to add it to the ledger: {attach}");
        }
        let by = by.iter().map(|by| format!(" ({by})")).collect::<String>();
        format!(
            "to add it to the ledger, where the job that promoted{by} kept it: {attach}; if that file is gone, this proves \
             and records it again: verbatim promote {environment} --release {release}"
        )
    }
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

/// The promotions that the ledger lacks, by the applications that do not hold what was promoted last by the ledger.
pub(crate) fn unrecorded<'a>(
    applications: impl IntoIterator<Item = (&'a App, &'a Application)>,
    promoted: Option<&Release>,
    ledger: &Chain,
) -> Vec<Unrecorded> {
    let is_otherwise = |(app, application): &(&App, &Application)| {
        promoted.is_none_or(|release| !has_values(app, application, release))
    };
    let otherwise = applications.into_iter().filter(is_otherwise);
    merged(
        otherwise.map(|(app, application)| (app.name.as_str(), application)),
        &LedgerEntry::all(ledger),
    )
}

fn merged<'a>(
    applications: impl Iterator<Item = (&'a str, &'a Application)>,
    ledger: &[LedgerEntry],
) -> Vec<Unrecorded> {
    let mut all: Vec<Unrecorded> = Vec::new();
    for (name, application) in applications {
        let Some(found) = Unrecorded::on(name, application, ledger) else { continue };
        match all.iter_mut().find(|it| it.kept == found.kept) {
            Some(it) => {
                it.since = it.since.min(found.since);
                it.applications.extend(found.applications);
            }
            None => all.push(found),
        }
    }
    all
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

impl fmt::Display for Unrecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a promotion of {}", short(&self.release))?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        let apps = self.applications.join(", ");
        write!(
            f,
            ", started at {:.0}, was proven but is missing from the ledger ({apps})",
            self.since
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use verbatim_argocd::CLAIM_ANNOTATION;

    /// An application on which a promotion wrote `2`, with its claim in a state.
    fn application(state: &str, found: &str, kept: Option<PendingRecord>) -> Application {
        let element =
            |value: &str| json!({ "name": "image.tag", "value": value, "forceString": true });
        let mut claim = json!({
            "version": 1, "nonce": "n", "state": state, "by": "ci", "source": "single",
            "release": format!("r.example/app:2@sha256:{}", "a".repeat(64)),
            "at": "2026-11-28T09:50:00Z", "deadline": "2026-11-28T10:05:00Z",
            "changes": [{ "key": "helm:image.tag", "old": element("1"), "new": element("2") }],
        });
        if let Some(kept) = kept {
            claim["kept"] = serde_json::to_value(kept).unwrap();
        }
        let application = serde_json::from_value(json!({
            "metadata": { "name": "web", "annotations": { CLAIM_ANNOTATION: claim.to_string() } },
            "spec": { "source": { "repoURL": "r", "path": "c", "helm": { "parameters": [element(found)] } } },
        }));
        application.unwrap()
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
            let application = application(state, found, kept);
            let ledger = [LedgerEntry { record: Digest::of(record), finished_at }];
            let got = merged([("web", &application)].into_iter(), &ledger);
            assert_eq!(!got.is_empty(), want, "{state} {found} {kept:?} {record:?} {finished_at}");
            let got = merged([("web", &application)].into_iter(), &[]);
            let is_kept = state == "done" && found == "2" && kept.is_some();
            assert_eq!(!got.is_empty(), is_kept, "{state} {found} {kept:?}, an empty ledger");
        }
        assert_eq!(merged([("web", &Application::default())].into_iter(), &[]), []);
    }

    #[test]
    fn it_is_told_once_with_what_to_do() {
        let kept = PendingRecord::Record(Digest::of(b"record"));
        let (one, other) = (application("done", "2", Some(kept)), application("done", "2", None));
        let all = [("a", &one), ("b", &one), ("c", &other)];
        let [mut found] = merged(all.into_iter(), &[]).try_into().unwrap();
        assert_eq!(
            found.to_string(),
            "a promotion of 2 (sha256:aaaaaaaaaaaa) by ci, started at 2026-11-28T09:50:00Z, was proven but is missing from the ledger (a, b)"
        );
        let folder = tempfile::tempdir().unwrap();
        found.look_below(folder.path());
        let attach = format!("verbatim record attach {}", found.file.display());
        let hint = found.hint("dev");
        assert!(
            hint.contains("the job that promoted (ci) kept it") && hint.contains(&attach),
            "{hint}"
        );
        assert!(hint.contains("again: verbatim promote dev --release r.example/app:2@"), "{hint}");
        std::fs::create_dir_all(found.file.parent().unwrap()).unwrap();
        std::fs::write(&found.file, "{}").unwrap();
        found.file = attach::file(kept);
        found.look_below(folder.path());
        assert_eq!(found.hint("dev"), format!("to add it to the ledger: {attach}"));
    }
}
