//! Drone.

use super::change_of_reference;
use crate::context::{CiContext, CiKind, Numbering, PullRequest};
use crate::text::{Env, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("DRONE") {
        return None;
    }
    let number = env.get("DRONE_BUILD_NUMBER");
    let pull_request = pull_request(env);
    let tag = env.get("DRONE_TAG");
    let host = env.get("DRONE_SYSTEM_HOST");
    Some(CiContext {
        kind: CiKind::Drone,
        number: number.as_deref().and_then(|it| it.parse().ok()),
        build: number,
        numbering: Numbering::Run,
        pipeline: host
            .zip(env.get("DRONE_REPO"))
            .map(|(host, repository)| format!("{host}/{repository}")),
        job: env.get("DRONE_STAGE_NAME"),
        run_url: env.get("DRONE_BUILD_LINK"),
        commit: env.first(&["DRONE_COMMIT_SHA", "DRONE_COMMIT"]),
        // For a pull request DRONE_BRANCH is the target.
        branch: env.get("DRONE_BRANCH").filter(|_| tag.is_none() && pull_request.is_none()),
        tag,
        pull_request,
        repository: env
            .first(&["DRONE_REPO_LINK", "DRONE_GIT_HTTP_URL"])
            .map(|url| without_credentials(&url)),
        // `@hook` and `@cron` are no people; then the author of the commit is the nearest to one.
        actor: env
            .get("DRONE_BUILD_TRIGGER")
            .filter(|who| !who.starts_with('@'))
            .or_else(|| env.get("DRONE_COMMIT_AUTHOR")),
        sinks: Vec::new(),
    })
}

fn pull_request(env: &Env<'_>) -> Option<PullRequest> {
    // A run that was promoted or started by hand keeps the reference.
    let of_reference =
        env.get("DRONE_COMMIT_REF").and_then(|full| change_of_reference(&full).map(str::to_owned));
    let number = env.get("DRONE_PULL_REQUEST").or(of_reference);
    let is_event =
        env.get("DRONE_BUILD_EVENT").is_some_and(|event| event.starts_with("pull_request"));
    if number.is_none() && !is_event {
        return None;
    }
    Some(PullRequest {
        number,
        source_branch: env.get("DRONE_SOURCE_BRANCH"),
        target_branch: env.get("DRONE_TARGET_BRANCH"),
        // The commit is the head of the source; Drone merges it into the target only in the working tree.
        head: env.first(&["DRONE_COMMIT_SHA", "DRONE_COMMIT"]),
        merged: false,
        fork: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://docs.drone.io/pipeline/environment/reference/
    const BRANCH: &str = "
        CI=true
        DRONE=true
        DRONE_BRANCH=main
        DRONE_BUILD_EVENT=push
        DRONE_BUILD_LINK=https://drone.example.com/octocat/hello-world/42
        DRONE_BUILD_NUMBER=42
        DRONE_BUILD_TRIGGER=@hook
        DRONE_COMMIT=bcdd4bf0245c82c060407b3b24b9b87301d15ac1
        DRONE_COMMIT_AUTHOR=octocat
        DRONE_COMMIT_REF=refs/heads/main
        DRONE_COMMIT_SHA=bcdd4bf0245c82c060407b3b24b9b87301d15ac1
        DRONE_GIT_HTTP_URL=https://git.example.com/octocat/hello-world.git
        DRONE_REPO=octocat/hello-world
        DRONE_REPO_LINK=https://git.example.com/octocat/hello-world
        DRONE_STAGE_NAME=build
        DRONE_SYSTEM_HOST=drone.example.com
    ";

    #[test]
    fn a_branch() {
        let want = CiContext {
            kind: CiKind::Drone,
            build: some("42"),
            number: Some(42),
            numbering: Numbering::Run,
            pipeline: some("drone.example.com/octocat/hello-world"),
            job: some("build"),
            run_url: some("https://drone.example.com/octocat/hello-world/42"),
            commit: some("bcdd4bf0245c82c060407b3b24b9b87301d15ac1"),
            branch: some("main"),
            repository: some("https://git.example.com/octocat/hello-world"),
            actor: some("octocat"),
            ..CiContext::default()
        };
        assert_eq!(detected(BRANCH), want);
    }

    #[test]
    fn a_pull_request_is_not_its_target_and_a_tag_no_branch() {
        let change = detected(&format!(
            "{BRANCH}
            DRONE_PULL_REQUEST=42
            DRONE_SOURCE_BRANCH=feature/develop
            DRONE_TARGET_BRANCH=main"
        ));
        assert_eq!(change.branch, None);
        assert!(change.may_be_foreign(), "not told, so maybe");
        let tag = detected(&format!("{BRANCH}\nDRONE_TAG=v1.0.0"));
        assert_eq!((tag.branch, tag.tag), (None, some("v1.0.0")));
    }
}
