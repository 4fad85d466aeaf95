//! GitLab CI/CD.

use super::change_of_reference;
use crate::context::{CiContext, CiKind, Numbering, PullRequest, Sink};
use crate::text::{Env, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("GITLAB_CI") {
        return None;
    }
    // The number for people counts within the project; the id counts over the whole server.
    let number = env.get("CI_PIPELINE_IID");
    let repository = env.get("CI_PROJECT_URL").map(|url| without_credentials(&url));
    let pull_request = merge_request(env).or_else(|| external(env)).or_else(|| unnamed(env));
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
        branch: env.get("CI_COMMIT_BRANCH").filter(|_| pull_request.is_none()),
        tag: env.get("CI_COMMIT_TAG"),
        pull_request,
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

/// A pull request of GitHub, whose repository GitLab builds:
/// <https://docs.gitlab.com/ci/ci_cd_for_external_repos/#pipelines-for-external-pull-requests>.
fn external(env: &Env<'_>) -> Option<PullRequest> {
    let get = |name: &str| env.get(&format!("CI_EXTERNAL_PULL_REQUEST_{name}"));
    let number = get("IID");
    let is_event =
        env.get("CI_PIPELINE_SOURCE").is_some_and(|source| source == "external_pull_request_event");
    if number.is_none() && !is_event {
        return None;
    }
    let sides = get("SOURCE_REPOSITORY").zip(get("TARGET_REPOSITORY"));
    Some(PullRequest {
        number,
        source_branch: get("SOURCE_BRANCH_NAME"),
        target_branch: get("TARGET_BRANCH_NAME"),
        head: get("SOURCE_BRANCH_SHA").or_else(|| env.get("CI_COMMIT_SHA")),
        merged: false,
        fork: sides.map(|(source, target)| source != target),
    })
}

/// A merge request of which only the event or the reference is known, as in the child of its pipeline.
fn unnamed(env: &Env<'_>) -> Option<PullRequest> {
    let references = ["CI_MERGE_REQUEST_REF_PATH", "CI_COMMIT_REF_NAME"].map(|name| env.get(name));
    let mut references = references.iter().flatten();
    let number = references.find_map(|full| change_of_reference(full)).map(ToOwned::to_owned);
    let is_event =
        env.get("CI_PIPELINE_SOURCE").is_some_and(|source| source == "merge_request_event");
    (number.is_some() || is_event).then(|| PullRequest {
        number,
        head: env.get("CI_COMMIT_SHA"),
        ..PullRequest::default()
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

    #[test]
    fn changes_come_on_other_ways_too() {
        let external = |more: &str| {
            let event = "CI_PIPELINE_SOURCE=external_pull_request_event";
            detected(&format!("{}\n{more}", BRANCH.replace("CI_PIPELINE_SOURCE=push", event)))
        };
        let of = |repository: &str| {
            external(&format!(
                "CI_EXTERNAL_PULL_REQUEST_IID=5
                 CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY={repository}
                 CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY=acme/shop"
            ))
        };
        let child = |reference: &str| {
            let name = "CI_COMMIT_REF_NAME=main";
            detected(&BRANCH.replace(name, &format!("CI_COMMIT_REF_NAME={reference}")))
        };
        for (got, number, is_foreign) in [
            (of("mallory/shop"), some("5"), true),
            (of("acme/shop"), some("5"), false),
            (external(""), None, true),
            (child("refs/merge-requests/3/head"), some("3"), true),
            (child("refs/pull/4/head"), some("4"), true),
        ] {
            assert_eq!(got.may_be_foreign(), is_foreign, "{got:?}");
            assert_eq!(got.branch, None, "{got:?}");
            assert_eq!(got.pull_request.and_then(|change| change.number), number);
        }
        assert!(!child("feature/refs/pull/4").may_be_foreign());
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
