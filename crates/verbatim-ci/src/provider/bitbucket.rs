//! Bitbucket Pipelines.

use crate::context::{CiContext, CiKind, Numbering, PullRequest};
use crate::text::{Env, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    let number = env.get("BITBUCKET_BUILD_NUMBER")?;
    let repository = env.get("BITBUCKET_REPO_FULL_NAME");
    let tag = env.get("BITBUCKET_TAG");
    let pull_request = pull_request(env);
    let page = repository.as_ref().map(|name| format!("https://bitbucket.org/{name}"));
    Some(CiContext {
        kind: CiKind::Bitbucket,
        number: number.parse().ok(),
        // Pipelines are counted for each repository.
        pipeline: repository.map(|name| format!("bitbucket.org/{name}")),
        job: env.get("BITBUCKET_STEP_UUID"),
        run_url: page.map(|page| format!("{page}/pipelines/results/{number}")),
        build: Some(number),
        numbering: Numbering::Run,
        commit: env.get("BITBUCKET_COMMIT"),
        branch: env.get("BITBUCKET_BRANCH").filter(|_| tag.is_none() && pull_request.is_none()),
        tag,
        pull_request,
        repository: env.get("BITBUCKET_GIT_HTTP_ORIGIN").map(|url| without_credentials(&url)),
        // Only a UUID of who started it is told, and that is nobody's name.
        actor: None,
        sinks: Vec::new(),
    })
}

/// The pipeline of a pull request runs on a merge of both sides. Whether the source is another repository is not told.
fn pull_request(env: &Env<'_>) -> Option<PullRequest> {
    Some(PullRequest {
        number: Some(env.get("BITBUCKET_PR_ID")?),
        source_branch: env.get("BITBUCKET_BRANCH"),
        target_branch: env.get("BITBUCKET_PR_DESTINATION_BRANCH"),
        head: None,
        merged: true,
        fork: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/
    const BRANCH: &str = "
        CI=true
        BITBUCKET_BRANCH=main
        BITBUCKET_BUILD_NUMBER=42
        BITBUCKET_COMMIT=7f777ed95a19224294949e1b4ce56bbffcb1fe9f
        BITBUCKET_GIT_HTTP_ORIGIN=http://bitbucket.org/acme/shop
        BITBUCKET_PIPELINE_UUID={a1}
        BITBUCKET_REPO_FULL_NAME=acme/shop
        BITBUCKET_STEP_TRIGGERER_UUID={u1}
        BITBUCKET_STEP_UUID={s1}
        BITBUCKET_WORKSPACE=acme
    ";

    #[test]
    fn a_branch() {
        let want = CiContext {
            kind: CiKind::Bitbucket,
            build: some("42"),
            number: Some(42),
            numbering: Numbering::Run,
            pipeline: some("bitbucket.org/acme/shop"),
            job: some("{s1}"),
            run_url: some("https://bitbucket.org/acme/shop/pipelines/results/42"),
            commit: some("7f777ed95a19224294949e1b4ce56bbffcb1fe9f"),
            branch: some("main"),
            repository: some("http://bitbucket.org/acme/shop"),
            ..CiContext::default()
        };
        assert_eq!(detected(BRANCH), want);
    }

    #[test]
    fn a_pull_request_is_not_its_branch_and_a_tag_no_branch() {
        let change =
            detected(&format!("{BRANCH}\nBITBUCKET_PR_ID=7\nBITBUCKET_PR_DESTINATION_BRANCH=main"));
        assert_eq!(change.branch, None);
        assert!(change.may_be_foreign(), "not told, so maybe");
        assert_eq!(change.pull_request.unwrap().target_branch, some("main"));
        let tag = detected(&format!("{BRANCH}\nBITBUCKET_TAG=v1"));
        assert_eq!((tag.branch, tag.tag), (None, some("v1")));
    }
}
