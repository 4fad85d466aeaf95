//! Buildkite.

use super::change_of_reference;
use crate::context::{CiContext, CiKind, Numbering, PullRequest};
use crate::text::{Env, repository_key, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("BUILDKITE") {
        return None;
    }
    let number = env.get("BUILDKITE_BUILD_NUMBER");
    let pull_request = pull_request(env);
    let tag = env.get("BUILDKITE_TAG");
    Some(CiContext {
        kind: CiKind::Buildkite,
        number: number.as_deref().and_then(|it| it.parse().ok()),
        build: number,
        numbering: Numbering::Run,
        pipeline: env
            .get("BUILDKITE_ORGANIZATION_SLUG")
            .zip(env.get("BUILDKITE_PIPELINE_SLUG"))
            .map(|(organization, pipeline)| format!("buildkite.com/{organization}/{pipeline}")),
        job: env.get("BUILDKITE_JOB_ID"),
        run_url: env.get("BUILDKITE_BUILD_URL"),
        commit: commit(env),
        branch: env.get("BUILDKITE_BRANCH").filter(|_| tag.is_none() && pull_request.is_none()),
        tag,
        pull_request,
        repository: env.get("BUILDKITE_REPO").map(|url| without_credentials(&url)),
        actor: env.get("BUILDKITE_BUILD_CREATOR"),
        // Meta-data is set by calling the agent, not by writing text.
        sinks: Vec::new(),
    })
}

/// A build that was started by hand has the commit `HEAD` until the agent has checked it out.
fn commit(env: &Env<'_>) -> Option<String> {
    env.get("BUILDKITE_COMMIT").filter(|commit| commit != "HEAD")
}

fn pull_request(env: &Env<'_>) -> Option<PullRequest> {
    let number = env.get("BUILDKITE_PULL_REQUEST").filter(|number| number != "false");
    // `owner:branch` is the branch of a fork, if the pipeline is set so; no branch of git has a colon.
    let is_fork = env.get("BUILDKITE_BRANCH").is_some_and(|branch| branch.contains(':'));
    let fetched = env.get("BUILDKITE_REFSPEC").unwrap_or_default();
    let mut fetched = fetched.split_whitespace().map(|it| it.trim_start_matches('+'));
    let number = number.or_else(|| fetched.find_map(change_of_reference).map(ToOwned::to_owned));
    if number.is_none() && !is_fork {
        return None;
    }
    let sides = env.get("BUILDKITE_PULL_REQUEST_REPO").zip(env.get("BUILDKITE_REPO"));
    Some(PullRequest {
        number,
        source_branch: env.get("BUILDKITE_BRANCH"),
        target_branch: env.get("BUILDKITE_PULL_REQUEST_BASE_BRANCH"),
        head: commit(env),
        merged: false,
        fork: match is_fork {
            true => Some(true),
            false => {
                sides.map(|(source, target)| repository_key(&source) != repository_key(&target))
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://buildkite.com/docs/pipelines/configure/environment-variables
    const BRANCH: &str = "
        CI=true
        BUILDKITE=true
        BUILDKITE_BRANCH=main
        BUILDKITE_BUILD_CREATOR=Alice
        BUILDKITE_BUILD_ID=b81ed283-58b7-4925-aa4a-d3da0eafcf2b
        BUILDKITE_BUILD_NUMBER=59034
        BUILDKITE_BUILD_URL=https://buildkite.com/acme/shop/builds/59034
        BUILDKITE_COMMIT=a0bd708bcdebced545b62a842a0350ccd1d683b7
        BUILDKITE_JOB_ID=d593f546-8c9a-45f8-8701-a2b92fbea9a7
        BUILDKITE_ORGANIZATION_SLUG=acme
        BUILDKITE_PIPELINE_SLUG=shop
        BUILDKITE_PULL_REQUEST=false
        BUILDKITE_PULL_REQUEST_BASE_BRANCH=
        BUILDKITE_PULL_REQUEST_REPO=
        BUILDKITE_REPO=git@github.com:acme/shop.git
        BUILDKITE_TAG=
    ";

    #[test]
    fn a_branch() {
        let want = CiContext {
            kind: CiKind::Buildkite,
            build: some("59034"),
            number: Some(59034),
            numbering: Numbering::Run,
            pipeline: some("buildkite.com/acme/shop"),
            job: some("d593f546-8c9a-45f8-8701-a2b92fbea9a7"),
            run_url: some("https://buildkite.com/acme/shop/builds/59034"),
            commit: some("a0bd708bcdebced545b62a842a0350ccd1d683b7"),
            branch: some("main"),
            repository: some("git@github.com:acme/shop.git"),
            actor: some("Alice"),
            ..CiContext::default()
        };
        assert_eq!(detected(BRANCH), want);
    }

    #[test]
    fn head_is_no_commit() {
        let got = detected(&BRANCH.replace("a0bd708bcdebced545b62a842a0350ccd1d683b7", "HEAD"));
        assert_eq!(got.commit, None);
    }

    #[test]
    fn pull_requests() {
        let change = BRANCH
            .replace("PULL_REQUEST=false", "PULL_REQUEST=4")
            .replace("BASE_BRANCH=", "BASE_BRANCH=main")
            .replace("BUILDKITE_BRANCH=main", "BUILDKITE_BRANCH=patch-1");
        let own = detected(
            &change.replace("REQUEST_REPO=", "REQUEST_REPO=https://github.com/acme/shop.git"),
        );
        assert_eq!(own.branch, None);
        assert!(!own.may_be_foreign());
        let fork = detected(
            &change.replace("REQUEST_REPO=", "REQUEST_REPO=git://github.com/mallory/shop.git"),
        );
        assert!(fork.may_be_foreign());
        assert!(detected(&change).may_be_foreign(), "not told, so maybe");
    }
}
