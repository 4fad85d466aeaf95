//! Azure Pipelines. Its variables have dots; in the environment they are upper case with underscores.

use super::{change_of_reference, reference};
use crate::context::{CiContext, CiKind, Numbering, PullRequest, Sink};
use crate::text::{Env, segment, without_credentials};

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("TF_BUILD") {
        return None;
    }
    let full = env.get("BUILD_SOURCEBRANCH").unwrap_or_default();
    let project = project_url(env);
    let pull_request = pull_request(env, &full);
    let is_branch = pull_request.is_none();
    Some(CiContext {
        kind: CiKind::Azure,
        // The build number is a text that the pipeline forms as it likes; the id is a number that only grows.
        build: env.first(&["BUILD_BUILDNUMBER", "BUILD_BUILDID"]),
        number: env.get("BUILD_BUILDID").and_then(|it| it.parse().ok()),
        numbering: Numbering::Run,
        pipeline: project.as_ref().zip(env.get("SYSTEM_DEFINITIONID")).map(|(url, definition)| {
            let place = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            format!("{place}/{definition}")
        }),
        job: env.get("SYSTEM_JOBID"),
        run_url: project
            .zip(env.get("BUILD_BUILDID"))
            .map(|(url, id)| format!("{url}/_build/results?buildId={id}")),
        commit: env.get("BUILD_SOURCEVERSION"),
        branch: reference(&full, "heads").filter(|_| is_branch).map(ToOwned::to_owned),
        tag: reference(&full, "tags").map(ToOwned::to_owned),
        pull_request,
        // Of Azure's own repositories the URL has a user in front of the host.
        repository: env.get("BUILD_REPOSITORY_URI").map(|url| without_credentials(&url)),
        actor: env.first(&["BUILD_REQUESTEDFOREMAIL", "BUILD_REQUESTEDFOR"]),
        sinks: vec![Sink::AzureLog],
    })
}

fn project_url(env: &Env<'_>) -> Option<String> {
    let collection = env.first(&["SYSTEM_COLLECTIONURI", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI"])?;
    Some(format!(
        "{}/{}",
        collection.trim_end_matches('/'),
        segment(&env.get("SYSTEM_TEAMPROJECT")?)
    ))
}

fn pull_request(env: &Env<'_>, full: &str) -> Option<PullRequest> {
    // For repositories on GitHub the id is an internal one; the number is what people see.
    let number =
        env.first(&["SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "SYSTEM_PULLREQUEST_PULLREQUESTID"]);
    // A run of `refs/pull/N/merge` that was started by hand has no other sign of it.
    let number = number.or_else(|| change_of_reference(full).map(ToOwned::to_owned));
    if number.is_none() && env.get("BUILD_REASON").as_deref() != Some("PullRequest") {
        return None;
    }
    let branch = |name| env.get(name).map(|it| reference(&it, "heads").unwrap_or(&it).to_owned());
    Some(PullRequest {
        number,
        source_branch: branch("SYSTEM_PULLREQUEST_SOURCEBRANCH"),
        target_branch: branch("SYSTEM_PULLREQUEST_TARGETBRANCH"),
        head: env.get("SYSTEM_PULLREQUEST_SOURCECOMMITID"),
        merged: full.ends_with("/merge"),
        fork: env
            .get("SYSTEM_PULLREQUEST_ISFORK")
            .map(|_| env.is_true("SYSTEM_PULLREQUEST_ISFORK")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names: https://learn.microsoft.com/en-us/azure/devops/pipelines/build/variables
    const BRANCH: &str = "
        TF_BUILD=True
        BUILD_BUILDID=4711
        BUILD_BUILDNUMBER=20261124.3
        BUILD_DEFINITIONNAME=shop-ci
        BUILD_REASON=IndividualCI
        BUILD_REPOSITORY_URI=https://acme@dev.azure.com/acme/My%20Team/_git/shop
        BUILD_REQUESTEDFOR=Alice Example
        BUILD_REQUESTEDFOREMAIL=alice@example.com
        BUILD_SOURCEBRANCH=refs/heads/release/1
        BUILD_SOURCEBRANCHNAME=1
        BUILD_SOURCEVERSION=9a0e9b4a1df9a6a8b8f4f7f1f6e4f0b9c8d7e6f5
        SYSTEM_COLLECTIONURI=https://dev.azure.com/acme/
        SYSTEM_DEFINITIONID=12
        SYSTEM_JOBID=12f1170f-54f2-53f3-20dd-22fc7dff55f9
        SYSTEM_TEAMPROJECT=My Team
    ";

    #[test]
    fn a_branch() {
        let want = CiContext {
            kind: CiKind::Azure,
            build: some("20261124.3"),
            number: Some(4711),
            numbering: Numbering::Run,
            pipeline: some("dev.azure.com/acme/My%20Team/12"),
            job: some("12f1170f-54f2-53f3-20dd-22fc7dff55f9"),
            run_url: some("https://dev.azure.com/acme/My%20Team/_build/results?buildId=4711"),
            commit: some("9a0e9b4a1df9a6a8b8f4f7f1f6e4f0b9c8d7e6f5"),
            branch: some("release/1"),
            tag: None,
            pull_request: None,
            repository: some("https://dev.azure.com/acme/My%20Team/_git/shop"),
            actor: some("alice@example.com"),
            sinks: vec![Sink::AzureLog],
        };
        assert_eq!(detected(BRANCH), want);
    }

    #[test]
    fn a_tag() {
        let got = detected(&BRANCH.replace("refs/heads/release/1", "refs/tags/v1"));
        assert_eq!((got.branch, got.tag), (None, some("v1")));
    }

    #[test]
    fn a_pull_request_on_github() {
        let change = format!(
            "{}
            SYSTEM_PULLREQUEST_PULLREQUESTID=1337007
            SYSTEM_PULLREQUEST_PULLREQUESTNUMBER=17
            SYSTEM_PULLREQUEST_SOURCEBRANCH=refs/heads/users/raisa/new-feature
            SYSTEM_PULLREQUEST_SOURCECOMMITID=aaaa
            SYSTEM_PULLREQUEST_TARGETBRANCH=main",
            BRANCH.replace("refs/heads/release/1", "refs/pull/17/merge"),
        );
        let own = detected(&format!("{change}\nSYSTEM_PULLREQUEST_ISFORK=False"));
        assert_eq!(own.branch, None);
        assert!(!own.may_be_foreign());
        assert_eq!(own.revision(), Some("aaaa"));
        assert_eq!(
            own.pull_request,
            Some(PullRequest {
                number: some("17"),
                source_branch: some("users/raisa/new-feature"),
                target_branch: some("main"),
                head: some("aaaa"),
                merged: true,
                fork: Some(false),
            })
        );
        assert!(detected(&format!("{change}\nSYSTEM_PULLREQUEST_ISFORK=True")).may_be_foreign());
        assert!(detected(&change).may_be_foreign(), "not told, so maybe");
    }
}
