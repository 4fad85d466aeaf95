//! Gets the rules of a project from where its configuration says they are: a file, a git repository, a registry. What they
//! say is checked by `config`.

pub(crate) mod artifact;
mod git;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use verbatim_console::{ExitStatus, Failure};

use crate::config::{Config, ConfigError, Draft, FoundPolicy, GitSource, OciSource, PolicySource};
use crate::policy::fetch::artifact::ArtifactError;
use crate::policy::fetch::git::GitError;
use crate::project::{Variables, clients, config_failure};

/// The most bytes of a policy or of a key file. Real ones have a few kilobytes.
const LARGEST: u64 = 1024 * 1024;

/// How long git may take, over all that it does.
const GIT_LIMIT: Duration = Duration::from_secs(120);

/// As for writes to Argo CD: one answer is not all there is to wait for.
const GIT_ANSWERS: u32 = 4;

/// The texts of key files, or why one cannot be had.
type Files = BTreeMap<PathBuf, Result<String, String>>;

/// Why a configuration has no rules.
#[derive(Debug)]
pub(crate) enum NoRules {
    /// They cannot be had, or are wrong.
    Unknown(Failure),
    /// They are there, and pin something else than the configuration says.
    NotAsPinned(Failure),
}

impl From<Failure> for NoRules {
    fn from(failure: Failure) -> Self {
        Self::Unknown(failure)
    }
}

impl From<ConfigError> for NoRules {
    fn from(error: ConfigError) -> Self {
        let is_pinned = matches!(error, ConfigError::NotAsPinned(_));
        let failure = config_failure(error);
        match is_pinned {
            true => Self::NotAsPinned(
                failure.hint("`verbatim policy pin` prints the pins of this verbatim.yaml"),
            ),
            false => Self::Unknown(failure),
        }
    }
}

impl From<NoRules> for Failure {
    fn from(why: NoRules) -> Self {
        let (NoRules::Unknown(failure) | NoRules::NotAsPinned(failure)) = why;
        failure
    }
}

/// Completes a configuration with its rules.
pub(crate) async fn complete(draft: Draft, variables: &Variables) -> Result<Config, NoRules> {
    let (found, files) = match draft.source().cloned() {
        None => return Ok(draft.into_config()),
        Some(PolicySource::File(path)) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| config_failure(draft.no_policy(&error)))?;
            let read = |path: &Path| std::fs::read_to_string(path);
            let found = FoundPolicy::file(&path, text);
            return Ok(draft.with_policy(&found, &read)?);
        }
        Some(PolicySource::Git(source)) => {
            let limit = draft.config().request_timeout.map(|limit| limit * GIT_ANSWERS);
            git::find(&source, variables, limit.unwrap_or(GIT_LIMIT))
                .await
                .map_err(|error| git_failure(&source, error))?
        }
        Some(PolicySource::Oci(source)) => {
            (oci(&source, draft.config(), variables).await?, Files::new())
        }
    };
    let read = |path: &Path| match files.get(path) {
        Some(Ok(text)) => Ok(text.clone()),
        Some(Err(why)) => Err(io::Error::other(why.clone())),
        None => Err(io::Error::other(
            "a policy in a registry has no files: write the key itself, as `pem`, and the trust root as `json`",
        )),
    };
    Ok(draft.with_policy(&found, &read)?)
}

async fn oci(
    source: &OciSource,
    config: &Config,
    variables: &Variables,
) -> Result<FoundPolicy, Failure> {
    let client = clients::registry_of(config, variables)?;
    artifact::find(&client, source).await.map_err(|error| {
        let failure = match error {
            ArtifactError::Registry(error) => crate::project::failures::registry(error),
            other => Failure::usage(other)
                .hint("`verbatim policy push FILE REPOSITORY` makes an artifact that can be used"),
        };
        failure.context(format!("cannot get the policy {source}"))
    })
}

fn git_failure(source: &GitSource, error: GitError) -> Failure {
    let (status, hint) = match &error {
        GitError::NoGit(_) => (ExitStatus::Usage, "install git, or keep the policy in a registry"),
        GitError::Local(_) => {
            (ExitStatus::Usage, "is there room in the folder for temporary files?")
        }
        GitError::Unreachable(_) | GitError::Deadline(_) => {
            (ExitStatus::Unreachable, "is it the right address, and is the git server up?")
        }
        GitError::Refused(_) => (
            ExitStatus::Refused,
            "git servers answer this without read access, too: check the address, then the login that git uses; verbatim never asks for a password",
        ),
        GitError::HostKey(_) => (
            ExitStatus::Refused,
            "add the server's key, as its owner publishes it, to the `known_hosts` of ssh; do not trust the output of `ssh-keyscan`",
        ),
        GitError::NoReference | GitError::OtherObject { .. } => {
            (ExitStatus::Refused, "`ref` is a branch, a tag, or a full commit that the server has")
        }
        GitError::NoFile(_) | GitError::NotAFile(_) | GitError::TooLarge(_) | GitError::NotText => {
            (ExitStatus::Refused, "`path` is a file of the repository, from its root")
        }
    };
    Failure::new(status, error).context(format!("cannot get the policy {source}")).hint(hint)
}

/// A path within a repository without `.` and `..`; `None` for one that leads out of it.
fn within(path: &Path) -> Option<PathBuf> {
    let mut within = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => within.push(name),
            Component::CurDir => {}
            Component::ParentDir if within.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_stay_in_their_repository() {
        for (path, want) in [
            ("shop/../keys/ci.pub", Some("keys/ci.pub")),
            ("./keys/ci.pub", Some("keys/ci.pub")),
            ("../ci.pub", None),
            ("shop/../../ci.pub", None),
            ("/etc/passwd", None),
        ] {
            assert_eq!(within(Path::new(path)).as_deref(), want.map(Path::new), "{path}");
        }
    }
}
