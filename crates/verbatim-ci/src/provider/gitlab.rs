//! GitLab CI/CD.

use crate::context::{CiContext, CiKind, Numbering, PullRequest, Sink};
use crate::text::{Env, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("GITLAB_CI") {
        return None;
    }
    // The number for people counts within the project; the id counts over the whole server.
    let number = env.get("CI_PIPELINE_IID");
    let repository = env.get("CI_PROJECT_URL").map(|url| without_credentials(&url));
    Some(CiContext {
        kind: CiKind::GitLab,
        number: number.as_deref().and_then(|it| it.parse().ok()),
        build: number,
        numbering: Numbering::Run,
        pipeline: repository
            .as_deref()
            .map(|url| url.split_once("://").map_or(url, |(_, rest)| rest).to_owned()),
        job: env.get("CI_JOB_ID"),
        run_url: env.get("CI_PIPELINE_URL"),
        commit: env.get("CI_COMMIT_SHA"),
        // Not set in pipelines of merge requests and tags, unlike CI_COMMIT_REF_NAME.
        branch: env.get("CI_COMMIT_BRANCH"),
        tag: env.get("CI_COMMIT_TAG"),
        pull_request: merge_request(env),
        repository,
        actor: env.get("GITLAB_USER_LOGIN"),
        sinks: vec![Sink::Dotenv],
    })
}

fn merge_request(env: &Env<'_>) -> Option<PullRequest> {
    let number = env.get("CI_MERGE_REQUEST_IID")?;
    // Only merged-results pipelines and merge trains build a merge; only they set the commit of the source branch. In
    // a plain merge request pipeline the commit is that of the source branch itself.
    let head = env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA");
    let sides = env
        .get("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH")
        .zip(env.get("CI_MERGE_REQUEST_PROJECT_PATH"));
    Some(PullRequest {
        number: Some(number),
        source_branch: env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"),
        target_branch: env.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        merged: head.is_some(),
        head: head.or_else(|| env.get("CI_COMMIT_SHA")),
        fork: sides.map(|(source, target)| source != target),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://docs.gitlab.com/ci/variables/predefined_variables/
    const BRANCH: &str = "
        CI=true
        GITLAB_CI=true
        CI_COMMIT_BRANCH=main
        CI_COMMIT_REF_NAME=main
        CI_COMMIT_SHA=1ecfd275763eff1d6b4844ea3168962458c9f27a
        CI_JOB_ID=50
        CI_JOB_URL=https://gitlab.example.com/group/shop/-/jobs/50
        CI_PIPELINE_ID=1000
        CI_PIPELINE_IID=10
        CI_PIPELINE_SOURCE=push
        CI_PIPELINE_URL=https://gitlab.example.com/group/shop/-/pipelines/1000
        CI_PROJECT_PATH=group/shop
        CI_PROJECT_URL=https://gitlab.example.com/group/shop
        CI_REPOSITORY_URL=https://gitlab-ci-token:secret@gitlab.example.com/group/shop.git
        GITLAB_USER_LOGIN=alice
    ";

    #[test]
    fn a_branch() {
        let want = CiContext {
            kind: CiKind::GitLab,
            build: some("10"),
            number: Some(10),
            numbering: Numbering::Run,
            pipeline: some("gitlab.example.com/group/shop"),
            job: some("50"),
            run_url: some("https://gitlab.example.com/group/shop/-/pipelines/1000"),
            commit: some("1ecfd275763eff1d6b4844ea3168962458c9f27a"),
            branch: some("main"),
            tag: None,
            pull_request: None,
            repository: some("https://gitlab.example.com/group/shop"),
            actor: some("alice"),
            sinks: vec![Sink::Dotenv],
        };
        assert_eq!(detected(BRANCH), want);
    }

    #[test]
    fn a_tag_has_no_branch() {
        let got = detected(&BRANCH.replace("CI_COMMIT_BRANCH=main", "CI_COMMIT_TAG=v1"));
        assert_eq!((got.branch, got.tag), (None, some("v1")));
    }

    fn merge_request(more: &str) -> CiContext {
        detected(&format!(
            "{}
            CI_COMMIT_REF_NAME=refs/merge-requests/3/head
            CI_MERGE_REQUEST_IID=3
            CI_MERGE_REQUEST_PROJECT_PATH=group/shop
            CI_MERGE_REQUEST_SOURCE_BRANCH_NAME=patch-1
            CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main
            {more}",
            BRANCH.replace("CI_COMMIT_BRANCH=main", "CI_COMMIT_BRANCH="),
        ))
    }

    #[test]
    fn a_merge_request_of_the_project_itself() {
        let got = merge_request(
            "CI_MERGE_REQUEST_EVENT_TYPE=detached
             CI_MERGE_REQUEST_SOURCE_BRANCH_SHA=
             CI_MERGE_REQUEST_SOURCE_PROJECT_PATH=group/shop",
        );
        assert_eq!(got.branch, None);
        assert!(!got.may_be_foreign());
        let change = got.pull_request.unwrap();
        assert!(!change.merged);
        assert_eq!(change.head, got.commit);
    }

    // https://docs.gitlab.com/ci/pipelines/merged_results_pipelines/
    #[test]
    fn a_merged_result_of_a_fork() {
        let got = merge_request(
            "CI_MERGE_REQUEST_EVENT_TYPE=merged_result
             CI_MERGE_REQUEST_SOURCE_BRANCH_SHA=aaaa
             CI_MERGE_REQUEST_SOURCE_PROJECT_PATH=mallory/shop",
        );
        assert!(got.may_be_foreign());
        assert_eq!(got.revision(), Some("aaaa"));
        assert!(got.pull_request.unwrap().merged);
    }
}
