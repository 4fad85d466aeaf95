//! What a CI says about the job that it runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The job that this process is part of. What its CI does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CiContext {
    /// The CI that runs the job.
    pub kind: CiKind,
    /// The build number as the CI prints it, for people and for tags.
    pub build: Option<String>,
    /// The build number, if it is one. Two are comparable if [`Self::pipeline`] is the same; the higher is the newer.
    pub number: Option<u64>,
    /// What [`Self::build`] and [`Self::number`] count.
    pub numbering: Numbering,
    /// The sequence that the number belongs to: server, repository, and pipeline.
    pub pipeline: Option<String>,
    /// Id of the job within the run.
    pub job: Option<String>,
    /// The page of the run.
    pub run_url: Option<String>,
    /// The full hash of the commit that is checked out. For a pull request it may be a merge that no branch has; see
    /// [`PullRequest::merged`].
    pub commit: Option<String>,
    /// The branch that is built. `None` for tags and pull requests: the CI does not build the target of a pull request,
    /// even where its branch variable names it.
    pub branch: Option<String>,
    /// The git tag that is built.
    pub tag: Option<String>,
    /// The pull request (merge request, change) that is built.
    pub pull_request: Option<PullRequest>,
    /// URL of the repository, without credentials.
    pub repository: Option<String>,
    /// Who started the run, as the CI says; we do not authenticate it.
    pub actor: Option<String>,
    /// Where this CI looks for results.
    pub sinks: Vec<Sink>,
}

/// A CI that is known here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CiKind {
    /// No known CI: a laptop or a server. Commit and branch come from git.
    #[default]
    Git,
    /// Travis CI.
    Travis,
    /// GitHub Actions, and what imitates it (Gitea, Forgejo).
    GitHub,
    /// GitLab CI/CD.
    GitLab,
    /// Jenkins.
    Jenkins,
    /// CircleCI.
    CircleCi,
    /// Buildkite.
    Buildkite,
    /// Azure Pipelines.
    Azure,
    /// Bitbucket Pipelines.
    Bitbucket,
    /// Drone.
    Drone,
    /// Woodpecker.
    Woodpecker,
}

/// What a build number counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbering {
    /// Runs: every job of a run has the same number, by which a later job finds what an earlier one built.
    #[default]
    Run,
    /// Jobs: each job of a run has another number.
    Job,
}

/// A pull request that is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PullRequest {
    /// Its number, as the CI writes it.
    pub number: Option<String>,
    /// The branch to merge.
    pub source_branch: Option<String>,
    /// The branch to merge into.
    pub target_branch: Option<String>,
    /// The last commit of the source branch, if the CI tells.
    pub head: Option<String>,
    /// Whether [`CiContext::commit`] is a merge of source and target that the CI made for this run. The repository loses
    /// such a commit after a while, so an image should not name it.
    pub merged: bool,
    /// Whether it comes from another repository, so that its author may be anybody. `None`: the CI does not say.
    pub fork: Option<bool>,
}

/// A place where a CI looks for results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Sink {
    /// Append [`github_outputs`](crate::github_outputs) to this file.
    GithubOutput {
        /// Path of the file.
        path: String,
    },
    /// Append Markdown to this file.
    GithubSummary {
        /// Path of the file.
        path: String,
    },
    /// Write [`dotenv`](crate::dotenv) to a file that the job declares as its report `dotenv`.
    Dotenv,
    /// Print [`azure_variables`](crate::azure_variables) to the log of the job.
    AzureLog,
    /// Append [`shell_exports`](crate::shell_exports) to this file, which later steps source.
    ShellFile {
        /// Path of the file.
        path: String,
    },
}

impl CiKind {
    /// The name in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Travis => "travis",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Jenkins => "jenkins",
            Self::CircleCi => "circleci",
            Self::Buildkite => "buildkite",
            Self::Azure => "azure",
            Self::Bitbucket => "bitbucket",
            Self::Drone => "drone",
            Self::Woodpecker => "woodpecker",
        }
    }
}

impl fmt::Display for CiKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl CiContext {
    /// Whether this runs in a CI at all.
    pub fn is_ci(&self) -> bool {
        self.kind != CiKind::Git
    }

    /// Whether the code may come from outside: a pull request of another repository, or of one that the CI does not name.
    pub fn may_be_foreign(&self) -> bool {
        self.pull_request.as_ref().is_some_and(|change| change.fork != Some(false))
    }

    /// The commit that a later clone has: for a pull request its last commit, not the merge made for the run.
    pub fn revision(&self) -> Option<&str> {
        let head = self
            .pull_request
            .as_ref()
            .filter(|change| change.merged)
            .and_then(|it| it.head.as_deref());
        head.or(self.commit.as_deref())
    }
}
