//! `same_manifests`: the charts and manifests are the ones that the release was proven with in another environment.

use verbatim_record::{EnvironmentId, GateEvidence, Revision};

use super::Finding;
use super::ledgers::{evidence, ledger, promote};
use crate::decision::Reason;
use crate::facts::Facts;

pub(super) fn judge(environment: &EnvironmentId, facts: &Facts) -> Finding {
    let chain = match ledger(environment, facts) {
        Ok(chain) => chain,
        Err(finding) => return *finding,
    };
    let wanted = match &facts.manifests {
        Ok(wanted) => wanted,
        Err(cause) => {
            let what = format!("the sources of {}", facts.environment);
            return Finding::unreadable(&what, cause);
        }
    };
    let proven = chain
        .promotions()
        .iter()
        .rfind(|it| it.predicate().release.digest == facts.release && it.predicate().is_proven());
    let Some(proven) = proven else {
        return Finding::refuse(
            Reason::NeverThere,
            format!("never proven in {environment}"),
            Vec::new(),
            promote(environment, facts, ToOwned::to_owned),
        );
    };
    let tested: Vec<&Revision> =
        proven.predicate().applications.iter().flat_map(|app| &app.revisions).collect();
    let differences: Vec<String> =
        wanted.iter().filter_map(|revision| difference(revision, &tested)).collect();
    let mut evidence = vec![evidence(proven)];
    if differences.is_empty() && !wanted.is_empty() {
        let text = format!("the same manifests as proven in {environment}");
        evidence.extend(wanted.iter().map(|it| GateEvidence { record: None, text: name(it) }));
        return Finding::pass(Reason::SameManifests, text, evidence);
    }
    let text = match differences.as_slice() {
        [] => format!("Argo CD does not say what it would render for {}", facts.environment),
        differences => differences.join("; "),
    };
    Finding::refuse(
        Reason::OtherManifests,
        text,
        evidence,
        promote(environment, facts, |promote| {
            let (there, here) = (environment.name(), facts.environment.name());
            format!(
                "try it with these manifests in {there}: {promote}; or pin the revision of {here}"
            )
        }),
    )
}

/// How a source differs from the ones that were tested; `None` if it was one of them. One git commit is all of its
/// repository, so another folder of it is the same manifests as far as the commit goes.
fn difference(wanted: &Revision, tested: &[&Revision]) -> Option<String> {
    let same_place: Vec<_> = tested.iter().filter(|it| place(it) == place(wanted)).collect();
    let of_repository: Vec<_> = tested.iter().filter(|it| place(it).0 == place(wanted).0).collect();
    let candidates = if same_place.is_empty() { of_repository } else { same_place };
    if wanted.revision.is_empty() {
        return Some(format!("{}: Argo CD has not resolved its revision", wanted.repository));
    }
    match candidates.as_slice() {
        [] => Some(format!("{}, which was not proven there", name(wanted))),
        candidates if candidates.iter().any(|it| it.revision == wanted.revision) => None,
        candidates => {
            let tested: Vec<_> = candidates.iter().map(|it| it.revision.as_str()).collect();
            Some(format!("{}, but was proven with {}", name(wanted), tested.join(", ")))
        }
    }
}

fn place(revision: &Revision) -> (&str, Option<&str>) {
    let repository = revision.repository.trim_end_matches('/');
    (repository.strip_suffix(".git").unwrap_or(repository), revision.path.as_deref())
}

fn name(revision: &Revision) -> String {
    match &revision.path {
        Some(path) => format!("{} ({path}) is at {}", revision.repository, revision.revision),
        None => format!("{} is at {}", revision.repository, revision.revision),
    }
}
