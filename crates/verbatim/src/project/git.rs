//! The state of the source: which commit, is it clean, where does it come from. The only place that runs `git` in the
//! repository of the product, because only git knows all of its own rules (worktrees, submodules, sparse and shallow
//! checkouts).

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::process::Command;
use verbatim_http::{RedactedUrl, redact_text};
use verbatim_record::{MAX_SOURCE_COMMITS, SourceCommit};

use super::tree;

/// Status of a big repository on a cold disk takes seconds; a hanging file system must not hold a job for ever.
const DEADLINE: Duration = Duration::from_secs(60);

/// The state of a working tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceState {
    /// The commit that is checked out: 40 or 64 hex digits.
    pub commit: String,
    /// What differs from the commit; empty for a clean tree. At most [`MAX_CHANGES`] are kept.
    pub changes: Vec<String>,
    /// What the build context sends and no commit holds, unless the configuration allows it; at most as many. Known only where
    /// something is built.
    pub unknown_inputs: Vec<String>,
    /// The branch, if one is checked out.
    pub branch: Option<String>,
    /// Where it is fetched from, without credentials.
    pub remote: Option<String>,
    /// When the commit was made.
    pub committed_at: Timestamp,
}

/// What no commit holds: what git ignores, and what is outside of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IgnoredFiles {
    /// The folder of the repository, with its links resolved.
    pub(super) top: PathBuf,
    /// Files, and folders that are ignored as a whole, by their names in it.
    pub(super) paths: BTreeSet<PathBuf>,
}

impl IgnoredFiles {
    /// The name of what a file is ignored by: its own, or that of a folder. `None` if git does not ignore it. A file outside
    /// of the repository counts, because nothing is known of it.
    pub(crate) fn name_of(&self, file: &Path) -> Option<String> {
        let Ok(inside) = file.strip_prefix(&self.top) else {
            return Some(file.display().to_string());
        };
        let ignored = inside.ancestors().filter(|it| self.paths.contains(*it)).last()?;
        Some(ignored.display().to_string())
    }
}

/// The folder of the tree that holds `folder`, with its links resolved.
pub(crate) async fn top(folder: &Path) -> Result<PathBuf, SourceError> {
    tree::top(folder).await
}

/// Asks git what it ignores in the tree that holds `folder`, and in its submodules.
pub(crate) async fn ignored(folder: &Path) -> Result<IgnoredFiles, SourceError> {
    tree::ignored(folder).await
}

/// Enough changed files for a message.
pub(crate) const MAX_CHANGES: usize = 5;

impl SourceState {
    /// Whether the tree is not what the commit says.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.changes.is_empty() || !self.unknown_inputs.is_empty()
    }
}

/// Why the state is not known.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    /// There is no `git`.
    #[error("cannot run git")]
    NoGit(#[source] std::io::Error),
    /// The folder belongs to no repository.
    #[error("{} is not in a git repository", .0.display())]
    NotARepository(PathBuf),
    /// Git does not trust a repository of somebody else.
    #[error("git does not use {}, because another user owns it (dubious ownership)", .0.display())]
    Owner(PathBuf),
    /// The `.git` of a worktree or submodule is a file that names a folder.
    #[error("the `.git` of {} leads nowhere: {reason}", .folder.display())]
    LeadsNowhere {
        /// Where git was asked.
        folder: PathBuf,
        /// What git says.
        reason: String,
    },
    /// The index of git cannot be copied.
    #[error("cannot copy git's index")]
    Index(#[source] std::io::Error),
    /// A repository without any commit.
    #[error("the git repository has no commit yet")]
    NoCommit,
    #[error("`git {command}` failed: {message}")]
    Failed {
        /// The command, without `git`.
        command: String,
        /// The last line it wrote.
        message: String,
    },
    #[error("`git {command}` did not end within {} s", DEADLINE.as_secs())]
    Deadline {
        /// The command, without `git`.
        command: String,
    },
}

/// Asks git about the tree that holds `folder`.
pub(crate) async fn state(folder: &Path) -> Result<SourceState, SourceError> {
    let Porcelain { commit, branch, changes } = tree::look(folder).await?;
    let commit = commit.ok_or(SourceError::NoCommit)?;
    let (time, remote) =
        tokio::join!(ask(folder, &["show", "--no-patch", "--format=%ct", "HEAD"]), remote(folder),);
    let time = time?;
    let seconds = String::from_utf8_lossy(&time.stdout).trim().parse().ok();
    let committed_at = seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| failed(folder, &["show", "--format=%ct", "HEAD"], &time))?;
    Ok(SourceState { commit, changes, unknown_inputs: Vec::new(), branch, remote, committed_at })
}

/// Where the tree is fetched from, without credentials; `None` if that is not known.
pub(crate) async fn remote(folder: &Path) -> Option<String> {
    let output = ask(folder, &["remote", "get-url", "origin"]).await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| RedactedUrl::of_repository(text.trim()).to_string())
}

/// The last commits up to this one, newest first, with the parents and the people of each.
pub(crate) async fn commits(folder: &Path, last: &str) -> Result<Vec<SourceCommit>, SourceError> {
    let most = format!("--max-count={MAX_SOURCE_COMMITS}");
    // Everything that a commit may hold but a NUL, so that no name is taken for another field.
    let format = "--format=%H%x00%P%x00%an%x00%ae%x00%cn%x00%ce";
    let log = [
        "-c",
        "log.showSignature=false",
        "log",
        "-z",
        "--topo-order",
        &most,
        format,
        "--end-of-options",
        last,
    ];
    let output = ask(folder, &log).await?;
    match output.status.success() {
        true => Ok(read_commits(&String::from_utf8_lossy(&output.stdout))),
        false => Err(failed(folder, &log, &output)),
    }
}

/// Longest name that is kept. What does not fit is nobody's name.
const LONGEST_NAME: usize = 200;

/// Reads six fields for each commit, each ended by a NUL.
fn read_commits(text: &str) -> Vec<SourceCommit> {
    let fields: Vec<&str> = text.split('\0').collect();
    let commits = fields.chunks_exact(6).filter_map(|fields| {
        let [commit, parents, people @ ..] = fields else { return None };
        let mut names: Vec<String> = Vec::new();
        for name in people.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            if name.len() <= LONGEST_NAME && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let parents = parents.split_whitespace().map(ToOwned::to_owned).collect();
        Some(SourceCommit { commit: (*commit).to_owned(), parents, people: names })
    });
    commits.take(MAX_SOURCE_COMMITS).collect()
}

/// Whether `descendant` comes after `ancestor`; `None` if this clone does not know both.
pub(crate) async fn descends(
    folder: &Path,
    ancestor: &str,
    descendant: &str,
) -> Result<Option<bool>, SourceError> {
    // They are from records and files; what is no hash is no commit, and not to be taken for an option.
    if ![ancestor, descendant].into_iter().all(is_hash) {
        return Ok(None);
    }
    let output = ask(folder, &["merge-base", "--is-ancestor", ancestor, descendant]).await?;
    Ok(match output.status.code() {
        Some(0) => Some(true),
        // In a shallow clone "no" may only mean that the way between the two was not fetched.
        Some(1) => match ask(folder, &["rev-parse", "--is-shallow-repository"]).await {
            Ok(shallow) if shallow.stdout.starts_with(b"false") => Some(false),
            _ => None,
        },
        _ => None,
    })
}

/// Whether a text may be the hash of a commit: of SHA-1, of SHA-256, or the beginning of one.
fn is_hash(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Variables by which a step before could have git look at another repository than that of the folder:
/// <https://git-scm.com/docs/git#_environment_variables>.
const ELSEWHERE: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
];

/// Runs git in a folder.
pub(super) async fn ask(folder: &Path, arguments: &[&str]) -> Result<Output, SourceError> {
    ask_with(folder, arguments, None, None).await
}

/// Runs git in a folder, perhaps with another index, and a file to read.
pub(super) async fn ask_with(
    folder: &Path,
    arguments: &[&str],
    index: Option<&Path>,
    input: Option<File>,
) -> Result<Output, SourceError> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        // Only looking: the index must not be locked against the developer's own git.
        .env("GIT_OPTIONAL_LOCKS", "0")
        // Nor is a commit what somebody says in its place.
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .kill_on_drop(true);
    for name in ELSEWHERE {
        command.env_remove(name);
    }
    if let Some(index) = index {
        command.env("GIT_INDEX_FILE", index);
    }
    match tokio::time::timeout(DEADLINE, command.output()).await {
        Ok(output) => output.map_err(SourceError::NoGit),
        Err(_) => Err(SourceError::Deadline { command: arguments.join(" ") }),
    }
}

pub(super) fn failed(folder: &Path, arguments: &[&str], output: &Output) -> SourceError {
    let stderr = String::from_utf8_lossy(&output.stderr);
    unusable(folder, &stderr).unwrap_or_else(|| SourceError::Failed {
        command: arguments.join(" "),
        message: told(output),
    })
}

/// Why git takes a folder for no repository. It has no other way to say so: 128 is its status for everything. The texts are
/// those of `setup_git_directory_gently`, `read_gitfile_error_die` and `die_upon_dubious_ownership` in git's setup.c; a
/// second line follows where it stops at a mount point.
fn unusable(folder: &Path, stderr: &str) -> Option<SourceError> {
    stderr.lines().find_map(|line| {
        let line = line.strip_prefix("fatal: ")?;
        if line.starts_with("detected dubious ownership") || line.starts_with("unsafe repository") {
            let named = line.split('\'').nth(1).map(PathBuf::from);
            return Some(SourceError::Owner(named.unwrap_or_else(|| folder.to_owned())));
        }
        let leads_nowhere =
            ["not a git repository: ", "invalid gitfile format", "no path in gitfile"];
        if leads_nowhere.iter().any(|text| line.starts_with(text)) {
            let (folder, reason) = (folder.to_owned(), line.to_owned());
            return Some(SourceError::LeadsNowhere { folder, reason });
        }
        let is_outside = line.starts_with("not a git repository");
        is_outside.then(|| SourceError::NotARepository(folder.to_owned()))
    })
}

/// What git says is wrong, without credentials: rules of the user's may have put some into an address.
pub(crate) fn told(output: &Output) -> String {
    let reason = reason(&String::from_utf8_lossy(&output.stderr));
    reason.unwrap_or_else(|| format!("it ended with {} and said nothing", output.status))
}

/// The lines of git, and the remedy among them, as one.
fn reason(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr
        .lines()
        .map(|line| line.trim().trim_start_matches("fatal: ").trim_start_matches("error: "))
        .filter(|line| !line.is_empty())
        .collect();
    (!lines.is_empty()).then(|| redact_text(&lines.join("; ")))
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Porcelain {
    pub commit: Option<String>,
    pub branch: Option<String>,
    pub changes: Vec<String>,
}

/// Reads `git status --porcelain=v2 --branch`, <https://git-scm.com/docs/git-status#_porcelain_format_version_2>.
pub(super) fn porcelain(text: &str) -> Porcelain {
    let mut state = Porcelain::default();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("# ") {
            match header.split_once(' ') {
                Some(("branch.oid", oid)) if oid != "(initial)" => {
                    state.commit = Some(oid.to_owned())
                }
                Some(("branch.head", head)) if head != "(detached)" => {
                    state.branch = Some(head.to_owned())
                }
                _ => {}
            }
        } else if state.changes.len() < MAX_CHANGES {
            state.changes.extend(changed_path(line).map(str::to_owned));
        }
    }
    state
}

/// The path of a line that tells of a change: it follows a number of fields that depends on the kind of line.
fn changed_path(line: &str) -> Option<&str> {
    let fields_before = match line.get(..2)? {
        "? " => 1,
        "1 " => 8,
        "2 " => 9,
        "u " => 10,
        _ => return None,
    };
    let path = line.splitn(fields_before + 1, ' ').last()?;
    // A renamed file has its old name after a tab.
    Some(path.split('\t').next().unwrap_or(path))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A repository whose git does not see the developer's own configuration.
    pub(in super::super) async fn run(folder: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
            .output()
            .await
            .unwrap();
        assert!(
            status.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&status.stderr)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::testing::run;
    use super::*;

    #[test]
    fn the_porcelain_is_read() {
        let text = "# branch.oid 0123456789012345678901234567890123456789\n# branch.head main\n\
                    # branch.upstream origin/main\n# branch.ab +0 -0\n\
                    1 .M N... 100644 100644 100644 aaaa bbbb src/a file.rs\n\
                    2 R. N... 100644 100644 100644 aaaa bbbb R100 new.rs\told.rs\n\
                    u UU N... 100644 100644 100644 100644 a b c both.rs\n? notes.txt\n! ignored\n";
        let state = porcelain(text);
        assert_eq!(state.commit.as_deref(), Some("0123456789012345678901234567890123456789"));
        assert_eq!(state.branch.as_deref(), Some("main"));
        assert_eq!(state.changes, ["src/a file.rs", "new.rs", "both.rs", "notes.txt"]);
        let empty = porcelain("# branch.oid (initial)\n# branch.head (detached)\n");
        assert_eq!(empty, Porcelain::default());
    }

    #[test]
    fn commits_are_bounded_and_names_are_only_names() {
        let long = "n".repeat(LONGEST_NAME + 1);
        let text = format!(
            "b\0a z\0Anna\n##vso[x]\0anna@example.com\0Anna\0anna@example.com\0a\0\0{long}\0\0 Ben \0b@example.com\0"
        );
        let commit = |commit: &str, parents: &[&str], people: &[&str]| SourceCommit {
            commit: commit.to_owned(),
            parents: parents.iter().map(|it| (*it).to_owned()).collect(),
            people: people.iter().map(|it| (*it).to_owned()).collect(),
        };
        let want = [
            commit("b", &["a", "z"], &["Anna\n##vso[x]", "anna@example.com", "Anna"]),
            commit("a", &[], &["Ben", "b@example.com"]),
        ];
        assert_eq!(read_commits(&text), want);
        assert_eq!(read_commits(&text[..text.len() / 2]).len(), 1);
        assert_eq!(read_commits(""), []);
        assert_eq!(read_commits(&text.repeat(100)).len(), MAX_SOURCE_COMMITS);
    }

    #[tokio::test]
    async fn git_tells_who_made_a_merge() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        run(folder, &["init", "-q", "-b", "main"]).await;
        let by = |name: &str, message: &str| {
            [
                "commit".to_owned(),
                "-q".to_owned(),
                "--allow-empty".to_owned(),
                format!("--author={name} <{name}@example.com>"),
                format!("-m{message}"),
            ]
        };
        for (name, message) in [("anna", "One"), ("ben", "Two")] {
            let line = by(name, message);
            run(folder, &line.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        let commits = commits(folder, "HEAD").await.unwrap();
        let first: Vec<&str> = commits.iter().map(|it| it.people[0].as_str()).collect();
        assert_eq!(first, ["ben", "anna"]);
        assert_eq!(commits[0].parents, [commits[1].commit.clone()]);
        assert_eq!(commits[0].people[1], "ben@example.com");
        // On a branch beside it, and merged by somebody else: all three are known, and which two the merge joins.
        run(folder, &["checkout", "-q", "-b", "side", "HEAD~1"]).await;
        for line in [
            by("mia", "Aside").to_vec(),
            ["checkout", "-q", "main"].map(str::to_owned).to_vec(),
            ["merge", "-q", "--no-ff", "--no-commit", "side"].map(str::to_owned).to_vec(),
            by("leo", "Join").to_vec(),
        ] {
            run(folder, &line.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        let merged = super::commits(folder, "HEAD").await.unwrap();
        let of = |name: &str| merged.iter().find(|it| it.people[0] == name).unwrap();
        assert_eq!((merged.len(), merged[0].people[0].as_str()), (4, "leo"));
        assert_eq!(merged[0].parents, [of("ben").commit.clone(), of("mia").commit.clone()]);
        assert_eq!(of("mia").parents, [of("anna").commit.clone()]);
        let unknown = super::commits(folder, "0123456789").await;
        assert!(matches!(unknown, Err(SourceError::Failed { .. })), "{unknown:?}");
        assert!(super::commits(folder, "--output=x").await.is_err());
    }

    #[test]
    fn git_says_why() {
        let outside = "not a git repository (or any of the parent directories): .git";
        let mount = "warning: slow\nfatal: not a git repository (or any parent up to mount point /ci)\nStopping at filesystem boundary (GIT_DISCOVERY_ACROSS_FILESYSTEM not set).\n";
        let owner = "fatal: detected dubious ownership in repository at '/ci'\nTo add an exception for this directory, call:\n\n\tgit config --global --add safe.directory /ci\n";
        let lfs = "git-lfs filter-process: 1: git-lfs: not found\nerror: external filter 'git-lfs filter-process' failed\nfatal: f: clean filter 'lfs' failed\n";
        let is_outside = Some("/src is not in a git repository");
        let is_of_another =
            Some("git does not use /ci, because another user owns it (dubious ownership)");
        for (stderr, is_unusable, said) in [
            (format!("fatal: {outside}\n").as_str(), is_outside, outside),
            (
                mount,
                is_outside,
                "warning: slow; not a git repository (or any parent up to mount point /ci); Stopping at filesystem boundary (GIT_DISCOVERY_ACROSS_FILESYSTEM not set).",
            ),
            (
                owner,
                is_of_another,
                "detected dubious ownership in repository at '/ci'; To add an exception for this directory, call:; git config --global --add safe.directory /ci",
            ),
            // git 2.35.2.
            (
                "fatal: unsafe repository ('/ci' is owned by someone else)",
                is_of_another,
                "unsafe repository ('/ci' is owned by someone else)",
            ),
            (
                "fatal: not a git repository: /gone/worktrees/x\n",
                Some("the `.git` of /src leads nowhere: not a git repository: /gone/worktrees/x"),
                "not a git repository: /gone/worktrees/x",
            ),
            (
                "fatal: invalid gitfile format: /src/.git\n",
                Some("the `.git` of /src leads nowhere: invalid gitfile format: /src/.git"),
                "invalid gitfile format: /src/.git",
            ),
            (
                lfs,
                None,
                "git-lfs filter-process: 1: git-lfs: not found; external filter 'git-lfs filter-process' failed; f: clean filter 'lfs' failed",
            ),
            ("bus error\n", None, "bus error"),
            ("", None, ""),
        ] {
            let unusable = unusable(Path::new("/src"), stderr).map(|error| error.to_string());
            assert_eq!(unusable.as_deref(), is_unusable, "{stderr}");
            assert_eq!(reason(stderr).unwrap_or_default(), said, "{stderr}");
        }
    }

    #[tokio::test]
    async fn a_real_repository_tells_its_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(matches!(state(path).await, Err(SourceError::NotARepository(_))));
        run(path, &["init", "--quiet"]).await;
        assert!(matches!(state(path).await, Err(SourceError::NoCommit)));
        std::fs::write(path.join("a"), "1").unwrap();
        run(path, &["add", "a"]).await;
        run(path, &["commit", "--quiet", "-m", "first"]).await;
        run(path, &["remote", "add", "origin", "https://me:secret@git.example/a.git"]).await;
        let clean = state(path).await.unwrap();
        assert!(!clean.is_dirty());
        assert_eq!(clean.branch.as_deref(), Some("main"));
        assert_eq!(clean.remote.as_deref(), Some("https://git.example/a.git"));
        assert_eq!(clean.committed_at.to_string(), "2026-01-02T03:04:05Z");
        std::fs::write(path.join("b"), "1").unwrap();
        assert_eq!(state(path).await.unwrap().changes, ["b"]);
        run(path, &["add", "b"]).await;
        run(path, &["commit", "--quiet", "-m", "second"]).await;
        let second = state(path).await.unwrap();
        assert_eq!(descends(path, &clean.commit, &second.commit).await.unwrap(), Some(true));
        assert_eq!(descends(path, &second.commit, &clean.commit).await.unwrap(), Some(false));
        assert_eq!(descends(path, &"0".repeat(40), &clean.commit).await.unwrap(), None);
        // From a record of somebody else.
        for text in ["--all", "main", "HEAD", ""] {
            assert_eq!(descends(path, text, &second.commit).await.unwrap(), None, "{text}");
            assert_eq!(descends(path, &clean.commit, text).await.unwrap(), None, "{text}");
        }
    }
}
