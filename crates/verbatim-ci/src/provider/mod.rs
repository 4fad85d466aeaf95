//! One module for each CI: how to recognise it, and what its variables mean. Each test names the page that documents them.

mod azure;
mod bitbucket;
mod buildkite;
mod circleci;
mod drone;
mod github;
mod gitlab;
mod jenkins;
mod travis;
mod woodpecker;

use std::collections::BTreeMap;

use crate::context::CiContext;
use crate::text::Env;

/// Recognises the CI by its variables, and reads them. Without a CI the context is empty and of kind `Git`.
///
/// The first that fits wins. Jenkins comes last: its variables are also set for what a Jenkins job starts, which may be
/// the agent of another CI.
pub fn detect(variables: &BTreeMap<String, String>) -> CiContext {
    let env = Env(variables);
    let providers: [fn(&Env<'_>) -> Option<CiContext>; 10] = [
        github::read,
        gitlab::read,
        travis::read,
        circleci::read,
        buildkite::read,
        azure::read,
        bitbucket::read,
        woodpecker::read,
        drone::read,
        jenkins::read,
    ];
    providers.iter().find_map(|read| read(&env)).unwrap_or_default()
}

/// The name of a branch or tag inside a full reference.
fn reference<'a>(full: &'a str, kind: &str) -> Option<&'a str> {
    full.strip_prefix("refs/")?.strip_prefix(kind)?.strip_prefix('/')
}

/// The number of a pull request by its reference: `refs/pull/N/…` as GitHub has it, `refs/merge-requests/N/…` of GitLab,
/// `refs/pull-requests/N/…` of Bitbucket. A job that was started by hand or by another run may name it nowhere else.
fn change_of_reference(full: &str) -> Option<&str> {
    let rest = ["pull", "merge-requests", "pull-requests"];
    let rest = rest.into_iter().find_map(|kind| reference(full, kind))?;
    rest.split('/').next()
}

#[cfg(test)]
mod testing {
    use super::*;

    /// A fixture: one `NAME=value` a line.
    pub(super) fn detected(fixture: &str) -> CiContext {
        let variables = fixture
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once('=').expect(line);
                (name.to_owned(), value.to_owned())
            })
            .collect();
        detect(&variables)
    }

    pub(super) fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn nothing_is_git() {
        assert_eq!(detected(""), CiContext::default());
        assert!(!detected("CI=true").is_ci());
        assert!(!detected("BUILD_NUMBER=7").is_ci(), "anybody may set that");
        assert!(!detected("TRAVIS=false\nGITHUB_ACTIONS=").is_ci());
    }

    #[test]
    fn foreign_code_is_foreign_on_every_way() {
        let travis = "TRAVIS=true\nTRAVIS_PULL_REQUEST=";
        let circle = "CIRCLECI=true\nCIRCLE_SHA1=aaaa";
        let buildkite = "BUILDKITE=true\nBUILDKITE_PULL_REQUEST=false";
        let azure = "TF_BUILD=True\nBUILD_REASON=Manual";
        let jenkins = "JENKINS_URL=http://ci/\nBUILD_NUMBER=1";
        for (ci, more, is_foreign) in [
            (travis, "TRAVIS_EVENT_TYPE=push", false),
            (travis, "TRAVIS_EVENT_TYPE=pull_request", true),
            (circle, "CIRCLE_BRANCH=main", false),
            (circle, "CIRCLE_BRANCH=pull/requests", false),
            (
                circle,
                "CIRCLE_BRANCH=main\nCIRCLE_PULL_REQUEST=https://github.com/a/b/pull/7",
                false,
            ),
            (circle, "CIRCLE_BRANCH=pull/7", true),
            (circle, "CIRCLE_BRANCH=pull/7/head", true),
            (circle, "CIRCLE_PR_NUMBER=7", true),
            (circle, "CIRCLE_PR_USERNAME=mallory", true),
            (circle, "CIRCLE_PR_REPONAME=shop", true),
            (buildkite, "BUILDKITE_BRANCH=main", false),
            (buildkite, "BUILDKITE_BRANCH=mallory:main", true),
            (buildkite, "BUILDKITE_REFSPEC=refs/heads/main +refs/pull/7/head:", true),
            (azure, "BUILD_SOURCEBRANCH=refs/heads/main", false),
            (azure, "BUILD_SOURCEBRANCH=refs/pull/7/merge", true),
            (azure, "BUILD_SOURCEBRANCH=refs/pull/7/merge\nSYSTEM_PULLREQUEST_ISFORK=False", false),
            ("DRONE=true", "DRONE_COMMIT_REF=refs/heads/main\nDRONE_BUILD_EVENT=push", false),
            ("DRONE=true", "DRONE_COMMIT_REF=refs/pull/7/head\nDRONE_BUILD_EVENT=promote", true),
            ("DRONE=true", "DRONE_BUILD_EVENT=pull_request", true),
            ("CI=woodpecker", "CI_COMMIT_REF=refs/heads/main\nCI_PIPELINE_EVENT=manual", false),
            ("CI=woodpecker", "CI_COMMIT_REF=refs/merge-requests/7/head", true),
            ("CI=woodpecker", "CI_PIPELINE_EVENT=pull_request_closed", true),
            ("BITBUCKET_BUILD_NUMBER=1", "BITBUCKET_BRANCH=main", false),
            ("BITBUCKET_BUILD_NUMBER=1", "BITBUCKET_BRANCH=main\nBITBUCKET_PR_ID=7", true),
            (jenkins, "GIT_BRANCH=origin/main", false),
            (jenkins, "GIT_BRANCH=origin/pr/7/merge", true),
            (jenkins, "GIT_BRANCH=refs/remotes/origin/main", false),
            (jenkins, "GIT_BRANCH=origin/pull/7/head", true),
            (jenkins, "ghprbPullId=7", true),
            (jenkins, "gitlabMergeRequestIid=7", true),
            (jenkins, "GERRIT_CHANGE_NUMBER=7", true),
        ] {
            let got = detected(&format!("{ci}\n{more}"));
            assert!(got.is_ci(), "{ci} {more}");
            assert_eq!(got.may_be_foreign(), is_foreign, "{ci} {more}");
            assert!(!is_foreign || got.branch.is_none(), "{ci} {more}: {:?}", got.branch);
        }
    }
}
