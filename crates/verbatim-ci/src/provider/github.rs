//! GitHub Actions.

use serde::Deserialize;

use super::{change_of_reference, reference};
use crate::context::{CiContext, CiKind, Numbering, PullRequest, Sink};
use crate::text::Env;

pub(super) fn read(env: &Env<'_>) -> Option<CiContext> {
    if !env.is_true("GITHUB_ACTIONS") {
        return None;
    }
    let repository = match (env.get("GITHUB_SERVER_URL"), env.get("GITHUB_REPOSITORY")) {
        (Some(server), Some(name)) => Some(format!("{server}/{name}")),
        _ => None,
    };
    let full = env.get("GITHUB_REF").unwrap_or_default();
    let pull_request = pull_request(env, &full).or_else(|| carried(env));
    // What such a run says is said of the commit of this branch. Whether that is checked out is another question.
    let is_branch = pull_request.as_ref().is_none_or(|_| carried(env).is_some());
    let number = env.get("GITHUB_RUN_NUMBER");
    Some(CiContext {
        kind: CiKind::GitHub,
        number: number.as_deref().and_then(|it| it.parse().ok()),
        build: number,
        numbering: Numbering::Run,
        pipeline: pipeline(env),
        job: env.get("GITHUB_JOB"),
        run_url: repository
            .as_ref()
            .zip(env.get("GITHUB_RUN_ID"))
            .map(|(url, id)| format!("{url}/actions/runs/{id}")),
        commit: env.get("GITHUB_SHA"),
        branch: reference(&full, "heads").filter(|_| is_branch).map(ToOwned::to_owned),
        tag: reference(&full, "tags").map(ToOwned::to_owned),
        pull_request,
        repository,
        // The triggering actor started this very run; the actor caused the first attempt.
        actor: env.first(&["GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"]),
        sinks: sinks(env),
    })
}

/// Runs are counted for each workflow file, over all its branches; `GITHUB_WORKFLOW_REF` is `owner/name/path@ref`.
fn pipeline(env: &Env<'_>) -> Option<String> {
    let host = env.get("GITHUB_SERVER_URL")?;
    let host = host.split_once("://").map_or(host.as_str(), |(_, host)| host);
    let workflow = match env.get("GITHUB_WORKFLOW_REF") {
        Some(file) => file.split('@').next().map(ToOwned::to_owned)?,
        None => format!("{}/{}", env.get("GITHUB_REPOSITORY")?, env.get("GITHUB_WORKFLOW")?),
    };
    Some(format!("{host}/{workflow}"))
}

fn pull_request(env: &Env<'_>, full: &str) -> Option<PullRequest> {
    let event = env.get("GITHUB_EVENT_NAME").unwrap_or_default();
    // `GITHUB_HEAD_REF` is set for pull requests only. For `pull_request` the commit is the merge of
    // `refs/pull/N/merge`; for `pull_request_target` and reviews of it the reference is that of the base branch, and
    // the code checked out by default is the base's. That a run was caused by an outsider is true for both.
    let source = env.get("GITHUB_HEAD_REF");
    let number = change_of_reference(full);
    if source.is_none() && number.is_none() && !event.starts_with("pull_request") {
        return None;
    }
    Some(PullRequest {
        number: number.map(ToOwned::to_owned),
        source_branch: source,
        target_branch: env.get("GITHUB_BASE_REF"),
        // Neither the head commit nor its repository is in the variables: see `with_github_event`.
        head: None,
        merged: full.ends_with("/merge"),
        fork: None,
    })
}

/// Events whose run has the commit and the rights of the default branch, and is often there to go on with the code of a pull
/// request: <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows>.
const CARRIERS: [&str; 4] = ["workflow_run", "issue_comment", "check_run", "check_suite"];

/// The pull request that may stand behind a run of the default branch.
fn carried(env: &Env<'_>) -> Option<PullRequest> {
    let event = env.get("GITHUB_EVENT_NAME")?;
    CARRIERS.contains(&event.as_str()).then(PullRequest::default)
}

fn sinks(env: &Env<'_>) -> Vec<Sink> {
    let output = env.get("GITHUB_OUTPUT").map(|path| Sink::GithubOutput { path });
    let summary = env.get("GITHUB_STEP_SUMMARY").map(|path| Sink::GithubSummary { path });
    output.into_iter().chain(summary).collect()
}

/// The part of a webhook payload that the variables leave out.
#[derive(Deserialize)]
struct Event {
    pull_request: Option<EventPullRequest>,
    workflow_run: Option<EventRun>,
    issue: Option<EventIssue>,
}

#[derive(Deserialize)]
struct EventRun {
    event: String,
    head_sha: Option<String>,
    head_branch: Option<String>,
    head_repository: Option<EventRepository>,
    repository: Option<EventRepository>,
}

#[derive(Deserialize)]
struct EventIssue {
    number: Option<u64>,
    /// Only in issues that are pull requests.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct EventPullRequest {
    number: Option<u64>,
    head: EventSide,
    base: EventSide,
}

#[derive(Deserialize)]
struct EventSide {
    sha: Option<String>,
    // Null when the fork was deleted.
    repo: Option<EventRepository>,
}

#[derive(Deserialize)]
struct EventRepository {
    full_name: String,
}

impl CiContext {
    /// Adds what only the event payload of GitHub (the file named by `GITHUB_EVENT_PATH`) knows of a pull request: its
    /// last commit, and whether it comes from a fork. A payload that cannot be read changes nothing: "unknown" stays.
    #[must_use]
    pub fn with_github_event(mut self, payload: &[u8]) -> Self {
        let Some(change) = self.pull_request.take() else { return self };
        self.pull_request = match serde_json::from_slice::<Event>(payload) {
            Ok(event) => told(change, event),
            Err(_) => Some(change),
        };
        self
    }
}

/// The pull request with what the event says of it; `None` if the event says that there is none.
fn told(mut change: PullRequest, event: Event) -> Option<PullRequest> {
    if let Some(event) = event.pull_request {
        change.number = change.number.or_else(|| event.number.map(|it| it.to_string()));
        change.head = event.head.sha;
        change.fork = Some(is_fork(event.head.repo, event.base.repo));
    } else if let Some(run) = event.workflow_run {
        let is_fork = is_fork(run.head_repository, run.repository);
        let is_change = run.event.starts_with("pull_request");
        if !is_fork && !is_change && !CARRIERS.contains(&run.event.as_str()) {
            return None;
        }
        change.source_branch = run.head_branch;
        change.head = run.head_sha;
        // A run after a run after a pull request: the one between names the default branch.
        change.fork = (is_fork || is_change).then_some(is_fork);
    } else if let Some(issue) = event.issue {
        issue.pull_request?;
        change.number = issue.number.map(|it| it.to_string());
    }
    Some(change)
}

/// The repository of a fork may be gone: then it is null.
fn is_fork(head: Option<EventRepository>, base: Option<EventRepository>) -> bool {
    match (head, base) {
        (Some(head), Some(base)) => head.full_name != base.full_name,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{detected, some};
    use super::*;

    // Names and examples: https://docs.github.com/en/actions/reference/workflows-and-actions/variables
    const PUSH: &str = "
        CI=true
        GITHUB_ACTIONS=true
        GITHUB_ACTOR=octocat
        GITHUB_BASE_REF=
        GITHUB_EVENT_NAME=push
        GITHUB_EVENT_PATH=/github/workflow/event.json
        GITHUB_HEAD_REF=
        GITHUB_JOB=build
        GITHUB_OUTPUT=/home/runner/work/_temp/set_output_a50ef383
        GITHUB_REF=refs/heads/feature-branch-1
        GITHUB_REF_NAME=feature-branch-1
        GITHUB_REF_TYPE=branch
        GITHUB_REPOSITORY=octocat/Hello-World
        GITHUB_RUN_ATTEMPT=3
        GITHUB_RUN_ID=1658821493
        GITHUB_RUN_NUMBER=42
        GITHUB_SERVER_URL=https://github.com
        GITHUB_SHA=ffac537e6cbbf934b08745a378932722df287a53
        GITHUB_STEP_SUMMARY=/home/runner/work/_temp/step_summary_1cb22d7f
        GITHUB_TRIGGERING_ACTOR=hubot
        GITHUB_WORKFLOW=My test workflow
        GITHUB_WORKFLOW_REF=octocat/Hello-World/.github/workflows/my-workflow.yml@refs/heads/my_branch
    ";

    #[test]
    fn a_push() {
        let got = detected(PUSH);
        let want = CiContext {
            kind: CiKind::GitHub,
            build: some("42"),
            number: Some(42),
            numbering: Numbering::Run,
            pipeline: some("github.com/octocat/Hello-World/.github/workflows/my-workflow.yml"),
            job: some("build"),
            run_url: some("https://github.com/octocat/Hello-World/actions/runs/1658821493"),
            commit: some("ffac537e6cbbf934b08745a378932722df287a53"),
            branch: some("feature-branch-1"),
            tag: None,
            pull_request: None,
            repository: some("https://github.com/octocat/Hello-World"),
            actor: some("hubot"),
            sinks: vec![
                Sink::GithubOutput {
                    path: "/home/runner/work/_temp/set_output_a50ef383".to_owned(),
                },
                Sink::GithubSummary {
                    path: "/home/runner/work/_temp/step_summary_1cb22d7f".to_owned(),
                },
            ],
        };
        assert_eq!(got, want);
        assert!(!got.may_be_foreign());
    }

    #[test]
    fn a_tag() {
        let got = detected(&PUSH.replace("refs/heads/feature-branch-1", "refs/tags/v1.2"));
        assert_eq!((got.branch, got.tag), (None, some("v1.2")));
    }

    // https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#pull_request
    fn pull_request() -> CiContext {
        detected(
            &PUSH
                .replace("=push", "=pull_request")
                .replace("GITHUB_HEAD_REF=", "GITHUB_HEAD_REF=patch-1")
                .replace("GITHUB_BASE_REF=", "GITHUB_BASE_REF=main")
                .replace("refs/heads/feature-branch-1", "refs/pull/7/merge"),
        )
    }

    #[test]
    fn a_pull_request_builds_a_merge_and_its_origin_is_not_told() {
        let got = pull_request();
        assert_eq!(got.branch, None, "the target is not what is built");
        assert_eq!(
            got.pull_request,
            Some(PullRequest {
                number: some("7"),
                source_branch: some("patch-1"),
                target_branch: some("main"),
                head: None,
                merged: true,
                fork: None,
            })
        );
        assert!(got.may_be_foreign());
        assert_eq!(got.revision(), Some("ffac537e6cbbf934b08745a378932722df287a53"));
    }

    #[test]
    fn pull_request_target_is_a_pull_request_although_its_reference_is_a_branch() {
        let got = detected(
            &PUSH
                .replace("=push", "=pull_request_target")
                .replace("GITHUB_HEAD_REF=", "GITHUB_HEAD_REF=patch-1")
                .replace("refs/heads/feature-branch-1", "refs/heads/main"),
        );
        assert_eq!(got.branch, None);
        assert!(got.may_be_foreign());
        assert!(!got.pull_request.unwrap().merged);
    }

    // https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_run and #issue_comment
    #[test]
    fn a_run_of_the_default_branch_may_go_on_with_a_pull_request() {
        let run = |event: &str, head: &str| {
            format!(
                r#"{{"workflow_run":{{"event":"{event}","head_sha":"aaaa","head_branch":"x","head_repository":{head},"repository":{{"full_name":"octocat/Hello-World"}}}}}}"#
            )
        };
        let (own, theirs) =
            (r#"{"full_name":"octocat/Hello-World"}"#, r#"{"full_name":"mallory/Hello-World"}"#);
        let comment = r#"{"issue":{"number":7,"pull_request":{"url":"x"}},"comment":{}}"#;
        for (event, payload, is_change, is_foreign) in [
            ("workflow_run", run("push", own), false, false),
            ("workflow_run", run("schedule", own), false, false),
            ("workflow_run", run("pull_request", own), true, false),
            ("workflow_run", run("pull_request", theirs), true, true),
            ("workflow_run", run("pull_request_target", "null"), true, true),
            ("workflow_run", run("push", theirs), true, true),
            ("workflow_run", run("workflow_run", own), true, true),
            ("workflow_run", run("issue_comment", own), true, true),
            ("workflow_run", "{}".to_owned(), true, true),
            ("workflow_run", "not json".to_owned(), true, true),
            ("issue_comment", comment.to_owned(), true, true),
            ("issue_comment", r#"{"issue":{"number":7}}"#.to_owned(), false, false),
            ("issue_comment", String::new(), true, true),
            ("check_suite", r#"{"check_suite":{"pull_requests":[]}}"#.to_owned(), true, true),
            ("push", comment.to_owned(), false, false),
            ("workflow_dispatch", run("pull_request", theirs), false, false),
        ] {
            let got = detected(&PUSH.replace("=push", &format!("={event}")));
            let got = got.with_github_event(payload.as_bytes());
            assert_eq!(got.pull_request.is_some(), is_change, "{event} {payload}");
            assert_eq!(got.may_be_foreign(), is_foreign, "{event} {payload}");
            assert_eq!(got.branch, some("feature-branch-1"), "{event}: of GITHUB_SHA");
        }
        let by_hand = PUSH
            .replace("=push", "=workflow_dispatch")
            .replace("refs/heads/feature-branch-1", "refs/pull/7/head");
        assert!(detected(&by_hand).may_be_foreign());
    }

    // https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request
    #[track_caller]
    fn check_event(payload: &str, head: Option<&str>, fork: Option<bool>) {
        let change = pull_request().with_github_event(payload.as_bytes()).pull_request.unwrap();
        assert_eq!((change.head.as_deref(), change.fork), (head, fork), "{payload}");
    }

    #[test]
    fn the_event_tells_head_and_fork() {
        let event = |head: &str| {
            format!(
                r#"{{"number":7,"pull_request":{{"number":7,"head":{{"sha":"aaaa","repo":{head}}},"base":{{"sha":"bbbb","repo":{{"full_name":"octocat/Hello-World"}}}}}}}}"#
            )
        };
        check_event(&event(r#"{"full_name":"octocat/Hello-World"}"#), Some("aaaa"), Some(false));
        check_event(&event(r#"{"full_name":"mallory/Hello-World"}"#), Some("aaaa"), Some(true));
        check_event(&event("null"), Some("aaaa"), Some(true));
        check_event("{}", None, None);
        check_event("not json", None, None);
    }
}
