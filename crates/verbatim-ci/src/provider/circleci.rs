//! CircleCI.

use crate::context::{CiContext, CiKind, Numbering, PullRequest, Sink};
use crate::text::{Env, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("CIRCLECI") {
        return None;
    }
    let number = env.get("CIRCLE_BUILD_NUM");
    let pull_request = pull_request(env);
    let repository = env.get("CIRCLE_REPOSITORY_URL").map(|url| without_credentials(&url));
    Some(CiContext {
        kind: CiKind::CircleCi,
        number: number.as_deref().and_then(|it| it.parse().ok()),
        build: number,
        // The number of a run (`pipeline.number`) is no variable; this one differs from job to job.
        numbering: Numbering::Job,
        pipeline: env
            .get("CIRCLE_PROJECT_USERNAME")
            .zip(env.get("CIRCLE_PROJECT_REPONAME"))
            .map(|(owner, name)| format!("circleci.com/{owner}/{name}")),
        job: env.get("CIRCLE_WORKFLOW_JOB_ID"),
        run_url: env.get("CIRCLE_BUILD_URL"),
        commit: env.get("CIRCLE_SHA1"),
        branch: env.get("CIRCLE_BRANCH").filter(|_| pull_request.is_none()),
        tag: env.get("CIRCLE_TAG"),
        pull_request,
        repository,
        actor: env.get("CIRCLE_USERNAME"),
        sinks: env.get("BASH_ENV").map(|path| Sink::ShellFile { path }).into_iter().collect(),
    })
}

/// Builds run for branches; a pull request is only mentioned if the branch has one. The commit is that of the branch.
fn pull_request(env: &Env<'_>) -> Option<PullRequest> {
    let url = env.get("CIRCLE_PULL_REQUEST");
    // Set for pull requests of forks only, together with the fork's owner.
    let of_branch = env.get("CIRCLE_BRANCH").and_then(|name| {
        let number = name.strip_prefix("pull/")?.split('/').next()?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.to_owned())
    });
    let is_fork = of_branch.is_some()
        || env.first(&["CIRCLE_PR_NUMBER", "CIRCLE_PR_USERNAME", "CIRCLE_PR_REPONAME"]).is_some();
    let number = env.get("CIRCLE_PR_NUMBER").or(of_branch);
    let number = number.or_else(|| url.as_ref()?.rsplit('/').next().map(ToOwned::to_owned));
    if number.is_none() && !is_fork {
        return None;
    }
    Some(PullRequest {
        number,
        // For a fork it is `pull/N`, which is no branch of anybody.
        source_branch: env.get("CIRCLE_BRANCH").filter(|_| !is_fork),
        target_branch: None,
        head: env.get("CIRCLE_SHA1"),
        merged: false,
        fork: Some(is_fork),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://circleci.com/docs/reference/variables/#built-in-environment-variables
    const BRANCH: &str = "
        CI=true
        CIRCLECI=true
        BASH_ENV=/tmp/.bash_env-1
        CIRCLE_BRANCH=main
        CIRCLE_BUILD_NUM=123
        CIRCLE_BUILD_URL=https://circleci.com/gh/acme/shop/123
        CIRCLE_JOB=build
        CIRCLE_PROJECT_REPONAME=shop
        CIRCLE_PROJECT_USERNAME=acme
        CIRCLE_REPOSITORY_URL=git@github.com:acme/shop.git
        CIRCLE_SHA1=d5d1c4d8a5c1d6a2b2f2f3e7a6bb0c0d1f4e1a11
        CIRCLE_USERNAME=alice
        CIRCLE_WORKFLOW_ID=7b1f2d1c-8e16-4a4e-a4ad-2b6a8a3f1d11
        CIRCLE_WORKFLOW_JOB_ID=0f1f2d1c-8e16-4a4e-a4ad-2b6a8a3f1d22
    ";

    #[test]
    fn a_branch() {
        let want = CiContext {
            kind: CiKind::CircleCi,
            build: some("123"),
            number: Some(123),
            numbering: Numbering::Job,
            pipeline: some("circleci.com/acme/shop"),
            job: some("0f1f2d1c-8e16-4a4e-a4ad-2b6a8a3f1d22"),
            run_url: some("https://circleci.com/gh/acme/shop/123"),
            commit: some("d5d1c4d8a5c1d6a2b2f2f3e7a6bb0c0d1f4e1a11"),
            branch: some("main"),
            tag: None,
            pull_request: None,
            repository: some("git@github.com:acme/shop.git"),
            actor: some("alice"),
            sinks: vec![Sink::ShellFile { path: "/tmp/.bash_env-1".to_owned() }],
        };
        assert_eq!(detected(BRANCH), want);
    }

    #[test]
    fn a_branch_with_a_pull_request() {
        let got =
            detected(&format!("{BRANCH}\nCIRCLE_PULL_REQUEST=https://github.com/acme/shop/pull/9"));
        assert!(!got.may_be_foreign());
        let change = got.pull_request.unwrap();
        assert_eq!((change.number, change.source_branch), (some("9"), some("main")));
    }

    #[test]
    fn a_fork() {
        let got = detected(
            &format!(
                "{BRANCH}
                CIRCLE_PR_NUMBER=9
                CIRCLE_PR_USERNAME=mallory
                CIRCLE_PR_REPONAME=shop"
            )
            .replace("CIRCLE_BRANCH=main", "CIRCLE_BRANCH=pull/9"),
        );
        assert_eq!(got.branch, None);
        assert!(got.may_be_foreign());
    }
}
