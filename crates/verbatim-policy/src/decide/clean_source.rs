//! `clean_source`: the release was built from a commit that others can look at, and that somebody of the project let in.

use verbatim_record::{BuildSource, GateEvidence, Provenance, Verified};

use super::{Finding, not_counted};
use crate::decision::Reason;
use crate::facts::Facts;

pub(super) fn judge(facts: &Facts) -> Finding {
    let records = match &facts.records {
        Ok(records) => records,
        Err(cause) => return Finding::unreadable("the records of the release", cause),
    };
    let sources: Vec<(&Verified<Provenance>, BuildSource)> = records
        .builds
        .iter()
        .filter(|build| build.statement().is_about(&facts.release))
        .filter_map(|build| Some((build, build.predicate().source()?)))
        .filter(|(_, source)| source.commit.is_some() || source.dirty)
        .collect();
    let evidence = sources.iter().map(evidence_of).collect();
    if let Some((_, source)) = sources.iter().find(|(_, source)| source.dirty) {
        let commit = source.commit.as_deref().unwrap_or("no commit");
        return Finding::refuse(
            Reason::DirtySource,
            format!("built from uncommitted changes on top of {commit}"),
            evidence,
            "commit the changes and build again".to_owned(),
        );
    }
    if let Some((_, source)) = sources.iter().find(|(_, source)| source.foreign) {
        let commit = source.lasting_commit().unwrap_or("no commit");
        return Finding::refuse(
            Reason::ForeignSource,
            format!("built from {commit}, a pull request whose author may be anybody"),
            evidence,
            "merge the pull request, then promote the build of the merge".to_owned(),
        );
    }
    if sources.is_empty() {
        return Finding::refuse(
            Reason::NoBuildRecord,
            "no build record that counts names a source commit".to_owned(),
            not_counted::<Provenance>(&records.rejected).collect(),
            "build it with `verbatim build` and a key with the role `builder`".to_owned(),
        );
    }
    Finding::pass(Reason::SourceIsCommit, "built from a commit".to_owned(), evidence)
}

fn evidence_of((build, source): &(&Verified<Provenance>, BuildSource)) -> GateEvidence {
    let commit = source.commit.as_deref().unwrap_or("unknown");
    let changes = match (source.dirty, source.foreign) {
        (true, _) => " with uncommitted changes",
        (false, true) => " of a pull request whose author may be anybody",
        (false, false) => "",
    };
    GateEvidence {
        record: Some(build.record()),
        text: format!("built from commit {commit}{changes}, signed by {}", build.signed_by()),
    }
}
