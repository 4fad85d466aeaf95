//! Who wrote what a release was built from: its last commits, as git tells them. Names in commits are chosen by whoever made
//! them, so they can keep an approval from counting, and never make one count.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Most commits that a build record names. Fifty are about 10 KB, and more than most teams merge in a day.
pub const MAX_SOURCE_COMMITS: usize = 50;

/// A commit that a release was built from, with its authors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceCommit {
    /// Its full hash.
    pub commit: String,
    /// The commits that it comes directly after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// The names and the mail addresses of its author and of its committer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
}

/// The commits among some that are no part of what `there` was built from; all of them, if it is not among them.
pub fn commits_since<'a>(
    commits: &'a [SourceCommit],
    there: Option<&str>,
) -> impl Iterator<Item = &'a SourceCommit> {
    let by_hash: BTreeMap<&str, &SourceCommit> =
        commits.iter().map(|it| (it.commit.as_str(), it)).collect();
    let mut old: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> =
        there.into_iter().filter_map(|it| Some(by_hash.get(it)?.commit.as_str())).collect();
    while let Some(commit) = open.pop() {
        if old.insert(commit) {
            let parents = by_hash.get(commit).into_iter().flat_map(|it| &it.parents);
            open.extend(parents.map(String::as_str));
        }
    }
    commits.iter().filter(move |it| !old.contains(it.commit.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `m` merges `b`, which left the main line at `a`, into it after `c`.
    #[test]
    fn commits_since_the_release_that_is_there() {
        let commit = |commit: &str, parents: &str| SourceCommit {
            commit: commit.to_owned(),
            parents: parents.chars().map(String::from).collect(),
            people: Vec::new(),
        };
        let commits = [commit("m", "cb"), commit("b", "a"), commit("c", "a"), commit("a", "z")];
        for (there, want) in [
            (None, "mbca"),
            (Some("x"), "mbca"),
            (Some("z"), "mbca"),
            (Some("a"), "mbc"),
            (Some("c"), "mb"),
            (Some("b"), "mc"),
            (Some("m"), ""),
        ] {
            let got: String = commits_since(&commits, there).map(|it| it.commit.as_str()).collect();
            assert_eq!(got, want, "{there:?}");
        }
    }
}
