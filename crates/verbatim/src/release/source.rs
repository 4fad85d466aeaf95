//! What a build record says of its source. Branch, repository, tag and pull request are the words of the CI: of a clone, a
//! step before this one decides what git says. Pure.

use verbatim_ci::CiContext;
use verbatim_record::BuildSource;

use crate::project::git::SourceState;

/// The clone says something else of the commit that the CI has checked out than the CI does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("git says that this is the {what} {git}, and {ci} says that it is {told}")]
pub(crate) struct Contradiction {
    what: &'static str,
    git: String,
    ci: &'static str,
    told: String,
}

/// The source of a build from a tree. What the CI does not say of its commit is not known, and so is everything but the
/// commit where there is no CI, or where another commit is checked out than the one that it speaks of.
pub(crate) fn source(state: &SourceState, ci: &CiContext) -> Result<BuildSource, Contradiction> {
    let unknown = BuildSource {
        commit: Some(state.commit.clone()),
        dirty: state.is_dirty(),
        foreign: ci.may_be_foreign(),
        ..BuildSource::default()
    };
    if !is_vouched_for(state, ci) {
        return Ok(unknown);
    }
    let contradiction = |what, git: &str, told: &str| Contradiction {
        what,
        git: git.to_owned(),
        ci: ci.kind.name(),
        told: told.to_owned(),
    };
    if let (Some(git), Some(told)) = (&state.branch, &ci.branch)
        && git != told
    {
        return Err(contradiction("branch", git, told));
    }
    if let (Some(git), Some(told)) = (&state.remote, &ci.repository)
        && let (Some(name), Some(wanted)) = (name(git), name(told))
        && name != wanted
    {
        return Err(contradiction("repository", git, told));
    }
    let is_checked_out = ci.commit.as_ref() == Some(&state.commit);
    let head = ci.revision().filter(|head| is_checked_out && *head != state.commit);
    Ok(BuildSource {
        repository: ci.repository.clone(),
        head: head.map(str::to_owned),
        branch: ci.branch.clone(),
        tag: ci.tag.clone(),
        ..unknown
    })
}

/// Whether what the CI says is said of the commit that is checked out here.
pub(crate) fn is_vouched_for(state: &SourceState, ci: &CiContext) -> bool {
    let commit = Some(state.commit.as_str());
    ci.is_ci() && ci.commit.is_some() && (ci.commit.as_deref() == commit || ci.revision() == commit)
}

/// Owner and name of a repository, in small letters. Hosts are not compared: the same server has several names, and others
/// for SSH. `None` for a folder of this machine.
fn name(address: &str) -> Option<Vec<String>> {
    let rest = match address.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?.1,
        // `git@host:path`, and not a folder.
        None => address.split_once(':').filter(|(host, _)| !host.contains('/'))?.1,
    };
    let rest = rest.trim_end_matches('/').trim_end_matches(".git").to_lowercase();
    // Azure has one more part in the address for people than in that for SSH.
    let parts = rest.split('/').filter(|part| !part.is_empty() && *part != "_git");
    let parts: Vec<String> = parts.map(str::to_owned).collect();
    Some(parts[parts.len().saturating_sub(2)..].to_vec())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use verbatim_ci::CiKind;

    use super::*;

    const COMMIT: &str = "4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a";

    fn state(branch: Option<&str>, remote: &str) -> SourceState {
        SourceState {
            commit: COMMIT.to_owned(),
            changes: Vec::new(),
            unknown_inputs: Vec::new(),
            branch: branch.map(str::to_owned),
            remote: Some(remote.to_owned()),
            committed_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn ci(commit: &str, branch: &str) -> CiContext {
        CiContext {
            kind: CiKind::GitHub,
            commit: Some(commit.to_owned()),
            branch: Some(branch.to_owned()),
            repository: Some("https://github.com/mallory/Shop".to_owned()),
            ..CiContext::default()
        }
    }

    #[test]
    fn the_ci_says_what_was_built() {
        let ours = "git@github.com:mallory/shop.git";
        let theirs = "https://github.com/acme/shop";
        let told = |source: BuildSource| (source.branch, source.repository.is_some());
        let says = |branch: &str| Ok((Some(branch.to_owned()), true));
        let is_unknown = Ok((None, false));
        for (state, ci, want) in [
            (state(Some("feature"), ours), ci(COMMIT, "feature"), says("feature")),
            // CIs check out no branch at all.
            (state(None, ours), ci(COMMIT, "feature"), says("feature")),
            (state(None, "/srv/mirror/shop"), ci(COMMIT, "feature"), says("feature")),
            // A branch that was renamed, a repository that was pointed elsewhere.
            (state(Some("main"), ours), ci(COMMIT, "feature"), Err("branch")),
            (state(Some("feature"), theirs), ci(COMMIT, "feature"), Err("repository")),
            // Of another commit the CI says nothing, and of a laptop nobody does.
            (state(Some("main"), theirs), ci("aaaa", "main"), is_unknown.clone()),
            (state(Some("main"), theirs), CiContext::default(), is_unknown),
        ] {
            let got = source(&state, &ci).map(told).map_err(|contradiction| contradiction.what);
            assert_eq!(got, want, "{state:?} {ci:?}");
        }
    }

    #[test]
    fn one_repository_has_several_addresses() {
        for (one, other, is_same) in [
            ("https://github.com/acme/shop", "git@github.com:acme/shop.git", true),
            ("https://gitlab.example.com/a/b/shop", "http://gitlab:8080/a/b/shop.git/", true),
            (
                "https://dev.azure.com/org/web/_git/shop",
                "git@ssh.dev.azure.com:v3/org/web/shop",
                true,
            ),
            ("https://github.com/acme/shop", "ssh://git@github.com/mallory/shop", false),
            ("https://github.com/acme/shop", "https://github.com/acme/shop2", false),
        ] {
            assert_eq!(name(one) == name(other), is_same, "{one} {other}");
        }
        for folder in ["/srv/git/shop", "file:///srv/git/shop", "../shop"] {
            assert_eq!(name(folder), None, "{folder}");
        }
    }
}
