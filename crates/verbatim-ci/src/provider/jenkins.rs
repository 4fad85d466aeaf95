//! Jenkins. The variables of git come from its git plugin, those of changes from multibranch projects, and none of them
//! is certain to be there.

use super::{change_of_reference, reference};
use crate::context::{CiContext, CiKind, Numbering, PullRequest};
use crate::text::{Env, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    let server = env.get("JENKINS_URL")?;
    let number = env.get("BUILD_NUMBER")?;
    let host = server
        .split_once("://")
        .map_or(server.as_str(), |(_, rest)| rest)
        .trim_end_matches('/')
        .to_owned();
    let tag = env.get("TAG_NAME");
    let pull_request = change(env);
    let branch = branch(env).filter(|_| tag.is_none() && pull_request.is_none());
    Some(CiContext {
        kind: CiKind::Jenkins,
        number: number.parse().ok(),
        build: Some(number),
        numbering: Numbering::Run,
        // Builds are counted for each job; a multibranch project has one a branch.
        pipeline: env.get("JOB_NAME").map(|job| format!("{host}/{job}")),
        job: env.get("BUILD_TAG"),
        run_url: env.get("BUILD_URL"),
        commit: env.get("GIT_COMMIT"),
        branch,
        tag,
        pull_request,
        repository: env.first(&["GIT_URL", "GIT_URL_1"]).map(|url| without_credentials(&url)),
        // Of the plugin "build user vars"; Jenkins itself does not tell.
        actor: env.get("BUILD_USER_ID"),
        sinks: Vec::new(),
    })
}

/// `BRANCH_NAME` in multibranch projects; else `GIT_BRANCH`, which has the remote in front (`origin/main`).
fn branch(env: &Env<'_>) -> Option<String> {
    if let Some(name) = env.first(&["BRANCH_NAME", "GIT_LOCAL_BRANCH"]) {
        return Some(name);
    }
    let full = env.get("GIT_BRANCH").filter(|name| name != "detached")?;
    let name = reference(&full, "remotes").unwrap_or(&full);
    let name = reference(name, "heads").unwrap_or(name);
    Some(name.strip_prefix("origin/").unwrap_or(name).to_owned())
}

fn change(env: &Env<'_>) -> Option<PullRequest> {
    // Multibranch projects; the plugins "GitHub Pull Request Builder", "GitLab", "Gerrit Trigger"; and the branch that is built.
    let named = ["CHANGE_ID", "ghprbPullId", "gitlabMergeRequestIid", "GERRIT_CHANGE_NUMBER"];
    let of_branch = env.get("GIT_BRANCH").and_then(|name| {
        let full = match name.starts_with("refs/") {
            true => name,
            false => format!("refs/{}", name.strip_prefix("origin/").unwrap_or(&name)),
        };
        let plain = reference(&full, "pr").and_then(|rest| rest.split('/').next());
        change_of_reference(&full).or(plain).map(ToOwned::to_owned)
    });
    let number = env.first(&named).or(of_branch)?;
    Some(PullRequest {
        number: Some(number),
        source_branch: env.get("CHANGE_BRANCH"),
        target_branch: env.get("CHANGE_TARGET"),
        // Whether the head or a merge is checked out is a setting of the project that no variable tells. GIT_COMMIT is
        // then the best that is known.
        head: None,
        merged: false,
        // Set if the change comes from a fork, and only if the branch source supports it: its absence proves nothing.
        fork: env.get("CHANGE_FORK").map(|_| true),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables and
    // https://plugins.jenkins.io/git/#plugin-content-environment-variables
    const FREESTYLE: &str = "
        JENKINS_URL=https://jenkins.example.com/
        BUILD_ID=153
        BUILD_NUMBER=153
        BUILD_TAG=jenkins-team-shop-153
        BUILD_URL=https://jenkins.example.com/job/team/job/shop/153/
        JOB_BASE_NAME=shop
        JOB_NAME=team/shop
        GIT_BRANCH=origin/feature/a
        GIT_COMMIT=ce9a3c1404e8c91be604088670e93434c4253f03
        GIT_URL=https://robot:secret@git.example.com/acme/shop.git
    ";

    #[test]
    fn a_freestyle_job() {
        let want = CiContext {
            kind: CiKind::Jenkins,
            build: some("153"),
            number: Some(153),
            numbering: Numbering::Run,
            pipeline: some("jenkins.example.com/team/shop"),
            job: some("jenkins-team-shop-153"),
            run_url: some("https://jenkins.example.com/job/team/job/shop/153/"),
            commit: some("ce9a3c1404e8c91be604088670e93434c4253f03"),
            branch: some("feature/a"),
            repository: some("https://git.example.com/acme/shop.git"),
            ..CiContext::default()
        };
        assert_eq!(detected(FREESTYLE), want);
    }

    #[test]
    fn branches_in_their_spellings() {
        for (value, want) in [
            ("GIT_BRANCH=origin/main", some("main")),
            ("GIT_BRANCH=refs/heads/main", some("main")),
            ("GIT_BRANCH=refs/remotes/origin/main", some("main")),
            ("GIT_BRANCH=main", some("main")),
            ("GIT_BRANCH=detached", None),
            ("GIT_BRANCH=origin/main\nBRANCH_NAME=other/main", some("other/main")),
        ] {
            let got = detected(&format!("JENKINS_URL=https://j\nBUILD_NUMBER=1\n{value}"));
            assert_eq!(got.branch, want, "{value}");
        }
    }

    #[test]
    fn a_change_of_a_multibranch_project() {
        let change = format!(
            "{FREESTYLE}
            BRANCH_NAME=PR-24
            CHANGE_ID=24
            CHANGE_BRANCH=patch-1
            CHANGE_TARGET=main
            CHANGE_AUTHOR=mallory"
        );
        let got = detected(&change);
        assert_eq!(got.branch, None, "PR-24 is no branch");
        assert!(got.may_be_foreign(), "not told, so maybe");
        let fork = detected(&format!("{change}\nCHANGE_FORK=mallory/shop"));
        assert_eq!(fork.pull_request.unwrap().fork, Some(true));
    }

    #[test]
    fn a_tag() {
        let got = detected(&format!("{FREESTYLE}\nTAG_NAME=v1\nBRANCH_NAME=v1"));
        assert_eq!((got.branch, got.tag), (None, some("v1")));
    }
}
