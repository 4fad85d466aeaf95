//! Which of two releases is the newer. Pure. Never told by digest or by a clock: a digest has no order, and a rebuild of
//! an old commit has a new time.

use verbatim_record::Run;

/// What is known of a release's origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// The run that built it.
    pub run: Run,
}

/// How two commits are related, as git tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ancestry {
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
pub(crate) enum Order {
    /// Ours is newer.
    Newer,
    /// Theirs is newer: going there would be going back.
    Older,
    /// The same commit, and no run number to tell two builds of it apart.
    Same,
    /// Not comparable.
    Unrelated,
}

/// Compares by descent; if that does not tell, by the run number within one pipeline.
pub(crate) fn order(ours: &Origin, theirs: &Origin, ancestry: Ancestry) -> Order {
    let is_same_commit = ours.commit.is_some() && ours.commit == theirs.commit;
    match ancestry {
        Ancestry::Descends if !is_same_commit => return Order::Older,
        Ancestry::Precedes if !is_same_commit => return Order::Newer,
        _ => {}
    }
    let is_same_pipeline = ours.run.pipeline.is_some() && ours.run.pipeline == theirs.run.pipeline;
    match (ours.run.number, theirs.run.number) {
        (Some(ours), Some(theirs)) if is_same_pipeline && ours > theirs => Order::Newer,
        (Some(ours), Some(theirs)) if is_same_pipeline && ours < theirs => Order::Older,
        _ if is_same_commit => Order::Same,
        _ => Order::Unrelated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(commit: &str, run: Option<(&str, u64)>) -> Origin {
        let (pipeline, number) = run.unzip();
        Origin {
            commit: (!commit.is_empty()).then(|| commit.to_owned()),
            run: Run { pipeline: pipeline.map(str::to_owned), number, ..Run::default() },
        }
    }

    #[test]
    fn descent_decides_and_then_the_run_number() {
        use Ancestry::{Apart, Descends, Precedes, Unknown};
        let run = |number| Some(("ci/app", number));
        let cases = [
            (origin("a", None), origin("b", None), Descends, Order::Older),
            (origin("a", None), origin("b", None), Precedes, Order::Newer),
            (origin("a", None), origin("b", None), Apart, Order::Unrelated),
            (origin("a", None), origin("b", None), Unknown, Order::Unrelated),
            (origin("a", run(9)), origin("b", run(1)), Descends, Order::Older),
            (origin("a", run(2)), origin("b", run(1)), Apart, Order::Newer),
            (origin("a", run(1)), origin("b", run(2)), Unknown, Order::Older),
            (origin("a", run(2)), origin("b", Some(("other", 1))), Unknown, Order::Unrelated),
            (origin("a", Some(("", 2))), origin("b", None), Unknown, Order::Unrelated),
            (origin("a", None), origin("a", None), Descends, Order::Same),
            (origin("a", run(2)), origin("a", run(1)), Descends, Order::Newer),
            (origin("a", run(1)), origin("a", run(2)), Descends, Order::Older),
            (origin("", None), origin("", None), Unknown, Order::Unrelated),
        ];
        for (ours, theirs, ancestry, want) in cases {
            assert_eq!(order(&ours, &theirs, ancestry), want, "{ours:?} {theirs:?} {ancestry:?}");
        }
    }
}
