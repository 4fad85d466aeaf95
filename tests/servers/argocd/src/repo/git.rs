//! Revisions and checkouts, through the real git.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::run;

/// Clones, one a repository, and a folder for each commit that was asked for.
#[derive(Debug)]
pub(crate) struct Repositories {
    git: PathBuf,
    work: PathBuf,
    /// One clone is written by one task at a time.
    locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Repositories {
    pub(super) fn new(git: PathBuf, work: PathBuf) -> Self {
        Self { git, work, locks: Mutex::default() }
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.git);
        command
            .current_dir(folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", &self.work)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .args(["-c", "safe.directory=*"]);
        command
    }

    /// The commit that `revision` names now. A full commit id is taken as it is, as Argo CD does.
    pub(crate) async fn resolve(&self, url: &str, revision: &str) -> Result<String, String> {
        let revision = if revision.is_empty() { "HEAD" } else { revision };
        if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(revision.to_owned());
        }
        let listed =
            self.list_refs(url).await.map_err(|error| format!("failed to list refs: {error}"))?;
        let wanted = [
            format!("refs/heads/{revision}"),
            format!("refs/tags/{revision}^{{}}"),
            format!("refs/tags/{revision}"),
            revision.to_owned(),
        ];
        let found = wanted.iter().find_map(|name| listed.iter().find(|(_, known)| known == name));
        found.map(|(commit, _)| commit.clone()).ok_or_else(|| {
            format!("unable to resolve '{revision}' to a commit SHA: revision not found")
        })
    }

    pub(crate) async fn reachable(&self, url: &str) -> Result<(), String> {
        self.list_refs(url).await.map(drop)
    }

    async fn list_refs(&self, url: &str) -> Result<Vec<(String, String)>, String> {
        std::fs::create_dir_all(&self.work).map_err(|error| error.to_string())?;
        let mut command = self.command(&self.work);
        command.args(["ls-remote", "--", url]);
        let printed = run(command, &format!("git ls-remote {url}")).await?;
        Ok(printed
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(one, two)| (one.to_owned(), two.to_owned()))
            .collect())
    }

    /// A folder with the files of `commit`. It is shared: nobody may write into it.
    pub(crate) async fn checkout(&self, url: &str, commit: &str) -> Result<PathBuf, String> {
        let name = &hex::encode(Sha256::digest(url))[..16];
        let lock = self
            .locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.to_owned())
            .or_default()
            .clone();
        let _held = lock.lock().await;
        let folder = self.work.join("checkouts").join(name).join(commit);
        if folder.is_dir() {
            return Ok(folder);
        }
        let clone = self.work.join("clones").join(name);
        std::fs::create_dir_all(&clone).map_err(|error| error.to_string())?;
        if !clone.join("HEAD").is_file() {
            let mut init = self.command(&clone);
            init.args(["init", "--quiet", "--bare", "."]);
            run(init, "git init").await?;
        }
        let mut fetch = self.command(&clone);
        fetch.args([
            "fetch",
            "--quiet",
            "--force",
            "--prune",
            "--",
            url,
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ]);
        run(fetch, "git fetch origin --tags --force --prune").await?;
        self.write_files(&clone, commit, &folder).await?;
        Ok(folder)
    }

    /// Writes the files beside their place and moves them there, so that a half-written checkout is never used.
    async fn write_files(&self, clone: &Path, commit: &str, folder: &Path) -> Result<(), String> {
        let fresh = folder.with_extension("new");
        let _ = std::fs::remove_dir_all(&fresh);
        std::fs::create_dir_all(&fresh).map_err(|error| error.to_string())?;
        let mut checkout = self.command(clone);
        checkout
            .arg("--work-tree")
            .arg(&fresh)
            .args(["checkout", "--quiet", "--force", commit, "--", "."]);
        run(checkout, &format!("git checkout --force {commit}")).await?;
        std::fs::rename(&fresh, folder).map_err(|error| error.to_string())
    }
}
