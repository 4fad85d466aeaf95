//! Rules in a git repository: the one commit that a reference stands for is fetched into a temporary folder, and a few of
//! its files are read from there. Nothing is checked out, so no filter, hook or link of the repository does anything.
//!
//! git itself is run, since only it knows how its users log in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::process::Command;
use verbatim_record::PolicyOrigin;

use super::{Files, LARGEST, within};
use crate::config::{FoundPolicy, GitSource};
use crate::project::Variables;
use crate::project::git::told;

/// What a hook or a wrapper may have set for another repository.
const OF_ANOTHER_REPOSITORY: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE",
];

/// Why there is no policy from git. Where it should be is known to whoever asks.
#[derive(Debug, Error)]
pub(super) enum GitError {
    /// There is no `git`.
    #[error("cannot run git")]
    NoGit(#[source] std::io::Error),
    /// This machine has no room for a repository.
    #[error("cannot make a temporary repository: {0}")]
    Local(String),
    /// The server does not answer, or not as a git server does.
    #[error("git cannot fetch it: {0}")]
    Unreachable(String),
    /// The server does not let us.
    #[error("the git server refused: {0}")]
    Refused(String),
    /// ssh does not take the server for the one that it should be.
    #[error("ssh does not know the git server by the key that it has: {0}")]
    HostKey(String),
    #[error("git did not end within {} s", .0.as_secs())]
    Deadline(Duration),
    /// There is no such branch, tag or commit.
    #[error("the repository has no such branch, tag or commit")]
    NoReference,
    /// The reference is the digest of something else than a commit.
    #[error("this is no commit, but stands for {found}")]
    OtherObject {
        /// The commit that it stands for.
        found: String,
    },
    /// There is no such file.
    #[error("commit {0} has no such file")]
    NoFile(String),
    /// There is something else of that name.
    #[error("it is {0}, not a file")]
    NotAFile(&'static str),
    /// It cannot be a policy.
    #[error("it has {0} bytes, which is too many for a policy")]
    TooLarge(u64),
    /// It cannot be a policy.
    #[error("it is not UTF-8")]
    NotText,
}

/// The rules, and the key files that they name.
pub(super) async fn find(
    source: &GitSource,
    variables: &Variables,
    limit: Duration,
) -> Result<(FoundPolicy, Files), GitError> {
    let found = tokio::time::timeout(limit, look(source, variables)).await;
    found.unwrap_or(Err(GitError::Deadline(limit)))
}

async fn look(source: &GitSource, variables: &Variables) -> Result<(FoundPolicy, Files), GitError> {
    let folder = tempfile::Builder::new()
        .prefix("verbatim-policy-")
        .tempdir()
        .map_err(|error| GitError::Local(error.to_string()))?;
    let commit = Git { folder: folder.path(), source, variables }.fetch().await?;
    let path = PathBuf::from(&source.path);
    let root = path.parent().unwrap_or(Path::new("")).to_owned();
    let text = commit.text(&path).await?;
    let place = PathBuf::from(source.to_string());
    let found = FoundPolicy { place, origin: Some(origin(source, &commit.id)), root, text };
    let mut files = Files::new();
    for file in found.key_files() {
        let text = match within(&file) {
            None => Err("it is outside of the repository".to_owned()),
            Some(path) => commit.text(&path).await.map_err(|error| error.to_string()),
        };
        files.insert(file, text);
    }
    Ok((found, files))
}

/// The address as SPDX and pip write it, and the commit.
fn origin(source: &GitSource, commit: &str) -> PolicyOrigin {
    PolicyOrigin {
        uri: format!("git+{}@{}#{}", source.url, source.reference, source.path),
        digest: BTreeMap::from([("gitCommit".to_owned(), commit.to_owned())]),
    }
}

/// git in a folder of its own.
struct Git<'a> {
    folder: &'a Path,
    source: &'a GitSource,
    variables: &'a Variables,
}

/// A commit that was fetched.
struct Commit<'a> {
    git: Git<'a>,
    id: String,
}

impl<'a> Git<'a> {
    async fn fetch(self) -> Result<Commit<'a>, GitError> {
        let source = self.source;
        let format = match source.commit().map(str::len) {
            Some(64) => "--object-format=sha256",
            _ => "--object-format=sha1",
        };
        // Without templates: whatever this machine puts into new repositories is for people.
        self.run(&["init", "--quiet", "--bare", "--template=", format, "."])
            .await?
            .succeeded(|message| GitError::Local(message.to_owned()))?;
        let fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"];
        let from = ["--", &source.url, &source.reference];
        let ssh = self.ssh().await?;
        self.run_with(&[&fetch[..], &from[..]].concat(), ssh).await?.succeeded(unfetched)?;
        let parsed = self.run(&["rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}"]).await?;
        let id = parsed.succeeded(|_| GitError::NoReference)?.trim().to_owned();
        match source.commit() {
            Some(wanted) if wanted != id => Err(GitError::OtherObject { found: id }),
            _ => Ok(Commit { git: self, id }),
        }
    }

    /// SSH asks for pass phrases and unknown hosts at the terminal, past git. A command of the user's own knows best.
    async fn ssh(&self) -> Result<Option<&'static str>, GitError> {
        let has = |name: &str| self.variables.get(name).is_some_and(|value| !value.is_empty());
        let is_own = has("GIT_SSH_COMMAND")
            || has("GIT_SSH")
            || self.run(&["config", "--get", "core.sshCommand"]).await?.0.status.success();
        Ok((!is_own).then_some("ssh -o BatchMode=yes"))
    }

    async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Ended, GitError> {
        self.run_with(arguments, None).await
    }

    async fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        ssh: Option<&str>,
    ) -> Result<Ended, GitError> {
        let mut command = Command::new("git");
        command
            .current_dir(self.folder)
            // Nothing is to go on in a folder that is gone.
            .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "--literal-pathspecs"])
            .args(arguments)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", protocols(&self.source.url))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what git has started is ended with it.
            .process_group(0)
            .kill_on_drop(true);
        for name in OF_ANOTHER_REPOSITORY {
            command.env_remove(name);
        }
        if let Some(ssh) = ssh {
            command.env("GIT_SSH_COMMAND", ssh);
        }
        let child = command.spawn().map_err(GitError::NoGit)?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let output = child.wait_with_output().await.map_err(GitError::NoGit)?;
        group.ended();
        Ok(Ended(output))
    }
}

impl Commit<'_> {
    /// The text of a file.
    async fn text(&self, path: &Path) -> Result<String, GitError> {
        let arguments = ["ls-tree", "-z", "-l", "--full-tree", &self.id, "--"].map(OsStr::new);
        let listed = self.git.run(&[&arguments[..], &[path.as_os_str()]].concat()).await?;
        let listed = listed.succeeded(|message| GitError::Local(message.to_owned()))?;
        let (object, size) = entry(&listed).unwrap_or(Err(GitError::NoFile(self.id.clone())))?;
        if size > LARGEST {
            return Err(GitError::TooLarge(size));
        }
        let Ended(output) = self.git.run(&["cat-file", "blob", object]).await?;
        match output.status.success() {
            true => String::from_utf8(output.stdout).map_err(|_| GitError::NotText),
            false => Err(GitError::Local(told(&output))),
        }
    }
}

/// The object and the size in a line of `git ls-tree -z -l`, `mode SP type SP object SP+ size TAB path NUL`.
fn entry(line: &str) -> Option<Result<(&str, u64), GitError>> {
    let (fields, _) = line.split_once('\t')?;
    let mut fields = fields.split_ascii_whitespace();
    let (mode, _, object, size) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(match mode {
        "100644" | "100755" => Ok((object, size.parse().ok()?)),
        "120000" => Err(GitError::NotAFile("a symbolic link")),
        "040000" => Err(GitError::NotAFile("a folder")),
        _ => Err(GitError::NotAFile("a submodule")),
    })
}

/// The ways that git may take. A rule of the user's (`url.….insteadOf`) may turn HTTPS into SSH and back, but nothing may
/// turn into HTTP, nor into a command.
fn protocols(url: &str) -> &'static str {
    match url.split_once("://") {
        Some(("file", _)) => "file",
        Some(("http", _)) => "http:https",
        _ => "https:ssh",
    }
}

/// Why git could not fetch. It has one exit status for everything; these are the texts of git 2.30 to 2.51
/// (`builtin/fetch.c`, `fetch-pack.c`, `upload-pack.c`, `remote-curl.c`, `connect.c`), of ssh, and of the large servers.
fn unfetched(message: &str) -> GitError {
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&[
        "couldn't find remote ref",
        "not our ref",
        "unadvertised object",
        "no such remote ref",
    ]) {
        return GitError::NoReference;
    }
    // OpenSSH 9.2 sshconnect.c: `fatal("Host key verification failed.")`; kex.c and packet.c: `Unable to negotiate with %s:
    // no matching host key type found`.
    if says(&["Host key verification failed", "no matching host key type"]) {
        return GitError::HostKey(message.to_owned());
    }
    let refused = [
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "ermission denied",
        "Access denied",
        "access denied",
        // OpenSSH 9.2 auth.c: `Too many authentication failures`, when an agent has many keys.
        "Too many authentication failures",
        "not found",
        "does not appear to be a git repository",
        "does not exist",
        "dubious ownership",
        "returned error: 403",
        "not allowed",
        "mismatched algorithms",
    ];
    match says(&refused) {
        true => GitError::Refused(message.to_owned()),
        false => GitError::Unreachable(message.to_owned()),
    }
}

struct Ended(Output);

impl Ended {
    /// What it printed, if it ended well.
    fn succeeded(self, fail: impl FnOnce(&str) -> GitError) -> Result<String, GitError> {
        match self.0.status.success() {
            true => Ok(String::from_utf8_lossy(&self.0.stdout).into_owned()),
            false => Err(fail(&told(&self.0))),
        }
    }
}

/// A process group that is ended when nobody waits for it any more.
struct Group(Option<Pid>);

impl Group {
    /// Its leader was waited for: the number may soon be somebody else's.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group that is gone is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_told_apart() {
        for (message, want) in [
            ("couldn't find remote ref nowhere", "none"),
            ("remote error: upload-pack: not our ref 4f2a", "none"),
            ("Server does not allow request for unadvertised object 4f2a", "none"),
            ("Authentication failed for 'https://git.example/a.git/'", "refused"),
            (
                "could not read Username for 'https://git.example': terminal prompts disabled",
                "refused",
            ),
            ("repository 'https://git.example/a.git/' not found", "refused"),
            ("git@git.example: Permission denied (publickey).", "refused"),
            (
                "Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures",
                "refused",
            ),
            (
                "No ED25519 host key is known for git.example and you have requested strict checking.; Host key verification \
                 failed.; Could not read from remote repository.",
                "host key",
            ),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @; Host key verification failed.; Could not read \
                 from remote repository.",
                "host key",
            ),
            (
                "Unable to negotiate with 127.0.0.1 port 22: no matching host key type found. Their offer: ssh-dss",
                "host key",
            ),
            ("ssh: connect to host git.example port 22: Connection refused", "away"),
            (
                "unable to access 'https://git.example/': The requested URL returned error: 403",
                "refused",
            ),
            (
                "unable to access 'https://git.example/': The requested URL returned error: 503",
                "away",
            ),
            (
                "unable to access 'https://git.example/': Could not resolve host: git.example",
                "away",
            ),
            ("early EOF", "away"),
        ] {
            let got = match unfetched(message) {
                GitError::NoReference => "none",
                GitError::Refused(_) => "refused",
                GitError::HostKey(_) => "host key",
                _ => "away",
            };
            assert_eq!(got, want, "{message}");
        }
    }

    #[test]
    fn entries_of_trees() {
        let check = |line: &str, want: &str| {
            let got = match entry(line) {
                None => "none".to_owned(),
                Some(Ok((object, size))) => format!("{object} {size}"),
                Some(Err(error)) => error.to_string(),
            };
            assert_eq!(got, want, "{line}");
        };
        check("100644 blob 4f2a     120\tshop.yaml\0", "4f2a 120");
        check("120000 blob 4f2a       7\tshop.yaml\0", "it is a symbolic link, not a file");
        check("040000 tree 4f2a       -\tshop\0", "it is a folder, not a file");
        check("160000 commit 4f2a       -\tshop\0", "it is a submodule, not a file");
        check("", "none");
    }
}
