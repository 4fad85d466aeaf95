//! Woodpecker.

use super::change_of_reference;
use crate::context::{CiContext, CiKind, Numbering, PullRequest};
use crate::text::{Env, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if env.get("CI")? != "woodpecker" {
        return None;
    }
    let number = env.get("CI_PIPELINE_NUMBER");
    let pull_request = pull_request(env);
    let tag = env.get("CI_COMMIT_TAG");
    let run_url = env.get("CI_PIPELINE_URL");
    // Pipelines are counted for each repository of a server.
    let host = run_url
        .as_deref()
        .and_then(|url| url.split_once("://")?.1.split('/').next())
        .map(ToOwned::to_owned);
    Some(CiContext {
        kind: CiKind::Woodpecker,
        number: number.as_deref().and_then(|it| it.parse().ok()),
        build: number,
        numbering: Numbering::Run,
        pipeline: host
            .zip(env.get("CI_REPO"))
            .map(|(host, repository)| format!("{host}/{repository}")),
        job: env.get("CI_WORKFLOW_NAME"),
        run_url,
        commit: env.get("CI_COMMIT_SHA"),
        // For a pull request it equals the target.
        branch: env.get("CI_COMMIT_BRANCH").filter(|_| tag.is_none() && pull_request.is_none()),
        tag,
        pull_request,
        repository: env
            .first(&["CI_REPO_URL", "CI_REPO_CLONE_URL"])
            .map(|url| without_credentials(&url)),
        actor: env.first(&["CI_PIPELINE_AUTHOR", "CI_COMMIT_AUTHOR"]),
        sinks: Vec::new(),
    })
}

fn pull_request(env: &Env<'_>) -> Option<PullRequest> {
    // A run that was promoted or started by hand keeps the reference.
    let of_reference =
        env.get("CI_COMMIT_REF").and_then(|full| change_of_reference(&full).map(str::to_owned));
    let number = env.get("CI_COMMIT_PULL_REQUEST").or(of_reference);
    let is_event =
        env.get("CI_PIPELINE_EVENT").is_some_and(|event| event.starts_with("pull_request"));
    if number.is_none() && !is_event {
        return None;
    }
    Some(PullRequest {
        number,
        source_branch: env.get("CI_COMMIT_SOURCE_BRANCH"),
        target_branch: env.get("CI_COMMIT_TARGET_BRANCH"),
        head: env.get("CI_COMMIT_SHA"),
        merged: false,
        fork: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names and examples: https://woodpecker-ci.org/docs/usage/environment
    const BRANCH: &str = "
        CI=woodpecker
        CI_COMMIT_AUTHOR=john-doe
        CI_COMMIT_BRANCH=main
        CI_COMMIT_REF=refs/heads/main
        CI_COMMIT_SHA=eba09b46064473a1d345da7abf28b477468e8dbd
        CI_PIPELINE_AUTHOR=octocat
        CI_PIPELINE_EVENT=push
        CI_PIPELINE_NUMBER=8
        CI_PIPELINE_URL=https://ci.example.com/repos/7/pipeline/8
        CI_REPO=john-doe/my-repo
        CI_REPO_CLONE_URL=https://git.example.com/john-doe/my-repo.git
        CI_REPO_URL=https://git.example.com/john-doe/my-repo
        CI_STEP_NAME=build package
        CI_WORKFLOW_NAME=release
    ";

    #[test]
    fn a_branch() {
        let want = CiContext {
            kind: CiKind::Woodpecker,
            build: some("8"),
            number: Some(8),
            numbering: Numbering::Run,
            pipeline: some("ci.example.com/john-doe/my-repo"),
            job: some("release"),
            run_url: some("https://ci.example.com/repos/7/pipeline/8"),
            commit: some("eba09b46064473a1d345da7abf28b477468e8dbd"),
            branch: some("main"),
            repository: some("https://git.example.com/john-doe/my-repo"),
            actor: some("octocat"),
            ..CiContext::default()
        };
        assert_eq!(detected(BRANCH), want);
    }

    #[test]
    fn a_pull_request_is_not_its_target_and_a_tag_no_branch() {
        let change = detected(&format!(
            "{BRANCH}
            CI_COMMIT_PULL_REQUEST=1
            CI_COMMIT_SOURCE_BRANCH=issue-branch
            CI_COMMIT_TARGET_BRANCH=main"
        ));
        assert_eq!(change.branch, None);
        assert!(change.may_be_foreign(), "not told, so maybe");
        let tag = detected(&format!("{BRANCH}\nCI_COMMIT_TAG=v1.10.3"));
        assert_eq!((tag.branch, tag.tag), (None, some("v1.10.3")));
    }
}
