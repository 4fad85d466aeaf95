//! Travis CI.

use crate::context::{CiContext, CiKind, Numbering, PullRequest};
use crate::text::Env;

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("TRAVIS") {
        return None;
    }
    let number = env.get("TRAVIS_BUILD_NUMBER");
    let tag = env.get("TRAVIS_TAG");
    let pull_request = pull_request(env);
    // TRAVIS_BRANCH is the target for a pull request and the name of the tag for a tag: neither is a branch that is
    // built.
    let branch = env.get("TRAVIS_BRANCH").filter(|_| tag.is_none() && pull_request.is_none());
    let run_url = env.get("TRAVIS_BUILD_WEB_URL");
    Some(CiContext {
        kind: CiKind::Travis,
        number: number.as_deref().and_then(|it| it.parse().ok()),
        build: number,
        numbering: Numbering::Run,
        pipeline: pipeline(env, run_url.as_deref()),
        job: env.get("TRAVIS_JOB_ID"),
        run_url,
        commit: env.get("TRAVIS_COMMIT"),
        branch,
        tag,
        pull_request,
        // The variables have only owner and name, and Travis builds from several hosts: git knows the URL.
        repository: None,
        actor: None,
        sinks: Vec::new(),
    })
}

/// Builds are counted for each repository.
fn pipeline(env: &Env<'_>, run_url: Option<&str>) -> Option<String> {
    let slug = env.get("TRAVIS_REPO_SLUG")?;
    let host = run_url
        .and_then(|url| url.split_once("://")?.1.split('/').next())
        .unwrap_or("travis-ci.com");
    Some(format!("{host}/{slug}"))
}

fn pull_request(env: &Env<'_>) -> Option<PullRequest> {
    let number = env.get("TRAVIS_PULL_REQUEST").filter(|number| number != "false");
    let is_event = env.get("TRAVIS_EVENT_TYPE").is_some_and(|event| event == "pull_request");
    if number.is_none() && !is_event {
        return None;
    }
    let sides = env.get("TRAVIS_PULL_REQUEST_SLUG").zip(env.get("TRAVIS_REPO_SLUG"));
    Some(PullRequest {
        number,
        source_branch: env.get("TRAVIS_PULL_REQUEST_BRANCH"),
        target_branch: env.get("TRAVIS_BRANCH"),
        head: env.get("TRAVIS_PULL_REQUEST_SHA"),
        // Travis checks out refs/pull/N/merge.
        merged: true,
        fork: sides.map(|(source, target)| source != target),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://docs.travis-ci.com/user/environment-variables/#default-environment-variables
    const PUSH: &str = "
        CI=true
        TRAVIS=true
        CONTINUOUS_INTEGRATION=true
        TRAVIS_BRANCH=master
        TRAVIS_BUILD_ID=46812085
        TRAVIS_BUILD_NUMBER=60
        TRAVIS_BUILD_WEB_URL=https://app.travis-ci.com/github/acme/shop/builds/46812085
        TRAVIS_COMMIT=e7090ffc4ef844d1a066a34037c913b429d7dc2a
        TRAVIS_EVENT_TYPE=push
        TRAVIS_JOB_ID=46812086
        TRAVIS_JOB_NUMBER=60.1
        TRAVIS_PULL_REQUEST=false
        TRAVIS_PULL_REQUEST_BRANCH=
        TRAVIS_PULL_REQUEST_SHA=
        TRAVIS_PULL_REQUEST_SLUG=
        TRAVIS_REPO_SLUG=acme/shop
        TRAVIS_TAG=
    ";

    #[test]
    fn a_push() {
        let want = CiContext {
            kind: CiKind::Travis,
            build: some("60"),
            number: Some(60),
            numbering: Numbering::Run,
            pipeline: some("app.travis-ci.com/acme/shop"),
            job: some("46812086"),
            run_url: some("https://app.travis-ci.com/github/acme/shop/builds/46812085"),
            commit: some("e7090ffc4ef844d1a066a34037c913b429d7dc2a"),
            branch: some("master"),
            ..CiContext::default()
        };
        assert_eq!(detected(PUSH), want);
    }

    #[test]
    fn a_tag_is_not_a_branch() {
        let got = detected(
            &PUSH.replace("TRAVIS_TAG=", "TRAVIS_TAG=v1").replace("BRANCH=master", "BRANCH=v1"),
        );
        assert_eq!((got.branch, got.tag), (None, some("v1")));
    }

    #[test]
    fn a_pull_request_is_not_its_target() {
        let change = PUSH
            .replace("TRAVIS_PULL_REQUEST=false", "TRAVIS_PULL_REQUEST=5")
            .replace("TRAVIS_PULL_REQUEST_BRANCH=", "TRAVIS_PULL_REQUEST_BRANCH=patch-1")
            .replace("TRAVIS_PULL_REQUEST_SHA=", "TRAVIS_PULL_REQUEST_SHA=aaaa");
        let own = detected(&change.replace("REQUEST_SLUG=", "REQUEST_SLUG=acme/shop"));
        assert_eq!(own.branch, None);
        assert_eq!(own.revision(), Some("aaaa"));
        assert!(!own.may_be_foreign());
        let fork = detected(&change.replace("REQUEST_SLUG=", "REQUEST_SLUG=mallory/shop"));
        assert!(fork.may_be_foreign());
        assert_eq!(fork.pull_request.unwrap().target_branch, some("master"));
    }
}
