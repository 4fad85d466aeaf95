//! Which of two releases is newer: by descent in git, else by the run number of one pipeline. Never by digest or clock: a
//! digest has no order, and a rebuild of an old commit has a new time.

use jiff::Timestamp;
use verbatim_oci::Digest;
use verbatim_policy::ReleaseOrder;
use verbatim_record::{Chain, CiRun, Records, Testimony};

use super::{Release, builds};
use crate::project::{Project, git};
use crate::records::running;
use crate::records::store::Store;

/// How a release stands to the one that the ledger has. What cannot be found out cannot be compared.
pub(crate) async fn order(
    project: &Project,
    store: &Store,
    (ledger, testimony): (&Chain, &Testimony),
    records: Option<&Records>,
    release: &Release,
    now: Timestamp,
) -> ReleaseOrder {
    let Some(there) = running(ledger) else { return ReleaseOrder::First };
    if there.digest == release.digest {
        return ReleaseOrder::Same;
    }
    let ours = records.map(builds::origin).unwrap_or_default();
    let theirs = Origin { commit: there.commit.clone(), ..Origin::default() };
    let ancestry = ancestry(project, &ours, &theirs).await;
    let mut order = compare(&ours, &theirs, ancestry);
    if matches!(order, Age::Unrelated | Age::Same) {
        // Git does not tell; the runs that built the two may.
        let ring = &project.config.policy.ring;
        if let Ok(records) = store.of_release(ring, there.digest, now).await {
            let records = records.with_testimony(testimony);
            order = compare(&ours, &builds::origin(&records), ancestry);
        }
    }
    match order {
        Age::Newer => ReleaseOrder::Newer,
        Age::Older => ReleaseOrder::Older(there.digest),
        Age::Same => ReleaseOrder::Same,
        Age::Unrelated => ReleaseOrder::Unrelated(there.digest),
    }
}

/// Whether one release is newer than another one, by their build records. What cannot be found out is not.
pub(crate) async fn is_newer(
    project: &Project,
    store: &Store,
    release: Digest,
    other: Digest,
    now: Timestamp,
) -> bool {
    let ring = &project.config.policy.ring;
    let records =
        tokio::try_join!(store.of_release(ring, release, now), store.of_release(ring, other, now),);
    let Ok((ours, theirs)) = records else { return false };
    let (ours, theirs) = (builds::origin(&ours), builds::origin(&theirs));
    compare(&ours, &theirs, ancestry(project, &ours, &theirs).await) == Age::Newer
}

async fn ancestry(project: &Project, ours: &Origin, theirs: &Origin) -> Ancestry {
    let (Some(ours), Some(theirs)) = (&ours.commit, &theirs.commit) else {
        return Ancestry::Unknown;
    };
    let folder = project.folder();
    let (forward, back) =
        tokio::join!(git::descends(folder, ours, theirs), git::descends(folder, theirs, ours));
    match (forward.ok().flatten(), back.ok().flatten()) {
        (Some(true), _) => Ancestry::Descends,
        (_, Some(true)) => Ancestry::Precedes,
        (Some(false), Some(false)) => Ancestry::Apart,
        _ => Ancestry::Unknown,
    }
}

/// What is known of a release's origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// The run that built it.
    pub run: CiRun,
}

/// How two commits are related, as git tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ancestry {
    /// The second descends from the first.
    Descends,
    /// The first descends from the second.
    Precedes,
    /// Neither descends from the other: branches.
    Apart,
    /// This clone does not know both, or not what is between them.
    Unknown,
}

/// How ours stands to theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Newer,
    /// Theirs is newer: going there would be going back.
    Older,
    /// The same commit, and no run number to tell two builds of it apart.
    Same,
    Unrelated,
}

/// Compares by descent; if that does not tell, by the run number within one pipeline.
fn compare(ours: &Origin, theirs: &Origin, ancestry: Ancestry) -> Age {
    let is_same_commit = ours.commit.is_some() && ours.commit == theirs.commit;
    match ancestry {
        Ancestry::Descends if !is_same_commit => return Age::Older,
        Ancestry::Precedes if !is_same_commit => return Age::Newer,
        _ => {}
    }
    let is_same_pipeline = ours.run.pipeline.is_some() && ours.run.pipeline == theirs.run.pipeline;
    match (ours.run.number, theirs.run.number) {
        (Some(ours), Some(theirs)) if is_same_pipeline && ours > theirs => Age::Newer,
        (Some(ours), Some(theirs)) if is_same_pipeline && ours < theirs => Age::Older,
        _ if is_same_commit => Age::Same,
        _ => Age::Unrelated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(commit: &str, run: Option<(&str, u64)>) -> Origin {
        let (pipeline, number) = run.unzip();
        Origin {
            commit: (!commit.is_empty()).then(|| commit.to_owned()),
            run: CiRun { pipeline: pipeline.map(str::to_owned), number, ..CiRun::default() },
        }
    }

    #[test]
    fn descent_decides_and_then_the_run_number() {
        use Ancestry::{Apart, Descends, Precedes, Unknown};
        let run = |number| Some(("ci/app", number));
        let cases = [
            (origin("a", None), origin("b", None), Descends, Age::Older),
            (origin("a", None), origin("b", None), Precedes, Age::Newer),
            (origin("a", None), origin("b", None), Apart, Age::Unrelated),
            (origin("a", None), origin("b", None), Unknown, Age::Unrelated),
            (origin("a", run(9)), origin("b", run(1)), Descends, Age::Older),
            (origin("a", run(2)), origin("b", run(1)), Apart, Age::Newer),
            (origin("a", run(1)), origin("b", run(2)), Unknown, Age::Older),
            (origin("a", run(2)), origin("b", Some(("other", 1))), Unknown, Age::Unrelated),
            (origin("a", Some(("", 2))), origin("b", None), Unknown, Age::Unrelated),
            (origin("a", None), origin("a", None), Descends, Age::Same),
            (origin("a", run(2)), origin("a", run(1)), Descends, Age::Newer),
            (origin("a", run(1)), origin("a", run(2)), Descends, Age::Older),
            (origin("", None), origin("", None), Unknown, Age::Unrelated),
        ];
        for (ours, theirs, ancestry, want) in cases {
            assert_eq!(compare(&ours, &theirs, ancestry), want, "{ours:?} {theirs:?} {ancestry:?}");
        }
    }
}
