//! What a rig remembers of itself between two commands: one folder a rig, with a state file that is written before
//! and after every step, so that a rig whose `up` was killed can still be ended.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::{process::Process, tools};

/// Where Argo CD finds the host keys of git servers. In a cluster a kubelet fills this file from a ConfigMap.
pub(super) const KNOWN_HOSTS: &str = "ssh/ssh_known_hosts";

/// A rig's folder: `$XDG_STATE_HOME/verbatim-rig/NAME`.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) name: String,
    dir: PathBuf,
}

/// The state file. Only this task reads it; what others may rely on is [`crate::description::Rig`] in a file of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// In the environment of every process of this `up`, so that they are found even if their ids were not recorded.
    pub(super) id: String,
    /// Process ids mean nothing after a reboot.
    pub(super) boot_id: String,
    /// Whether `up` came to its end.
    pub(super) ready: bool,
    pub(super) options: Options,
    pub(super) processes: Vec<Process>,
    /// Where redis listens, and its password.
    pub(super) redis: Option<(u16, String)>,
    /// The engine and the node whose containers go away with the rig.
    pub(super) docker_host: Option<String>,
}

/// The options of `up` that make one rig differ from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Options {
    /// Keep Argo CD's own limit of requests to Kubernetes.
    pub(super) default_limits: bool,
    /// kwok in the node agent's place, with so many Nodes.
    pub(super) kwok_nodes: Option<u32>,
    /// The engine that was asked for; none means: whichever answers.
    pub(super) docker_host: Option<String>,
}

impl Home {
    pub(super) fn open(name: &str) -> anyhow::Result<Self> {
        ensure!(
            !name.is_empty()
                && name.len() <= 40
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !name.starts_with('-'),
            "a rig's name is made of a-z, 0-9 and dashes, 40 at most; `{name}` is not"
        );
        Ok(Self { name: name.to_owned(), dir: Self::root()?.join(name) })
    }

    /// The folder of all rigs of this user.
    pub(super) fn root() -> anyhow::Result<PathBuf> {
        tools::xdg_dir("XDG_STATE_HOME", ".local/state")
    }

    /// The names of all rigs that have a folder.
    pub(super) fn names() -> anyhow::Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(Self::root()?) else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.path().join("state.json").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The description that other programs read.
    pub(super) fn description(&self) -> PathBuf {
        self.path("rig.json")
    }

    pub(super) fn log(&self, process: &str) -> PathBuf {
        self.path("logs").join(format!("{process}.log"))
    }

    /// Makes a folder that only this user can read: it holds tokens.
    pub(super) fn make_dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = if name.is_empty() { self.dir.clone() } else { self.dir.join(name) };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Only one command at a time works on a rig.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        loop {
            self.make_dir("")?;
            let path = self.path("lock");
            let file = tools::lock(&path, || {
                eprintln!("waiting for another command on rig `{}`", self.name)
            })?;
            // The command that was waited for may have removed the folder: then this lock keeps nobody out.
            let inode = file.metadata()?.ino();
            if fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == inode) {
                return Ok(file);
            }
        }
    }

    /// The state, if a rig was started and not ended.
    pub(super) fn state(&self) -> anyhow::Result<Option<State>> {
        let path = self.path("state.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} cannot be read; was it written by another version of this task?",
                    path.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn write_state(&self, state: &State) -> anyhow::Result<()> {
        self.write("state.json", &serde_json::to_vec_pretty(state)?)
    }

    /// Writes a private file so that readers see the old one or the new one, never a part.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path(name);
        let unfinished = self.path(&format!("{name}.unfinished"));
        let write = || -> std::io::Result<()> {
            let _ = fs::remove_file(&unfinished);
            let mut file =
                File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(bytes)?;
            fs::rename(&unfinished, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes what an ended rig leaves: everything, or (for one that did not come up) everything but the logs. The
    /// caller holds the lock.
    pub(super) fn wipe(&self, keep_logs: bool) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.dir)
            .with_context(|| format!("cannot read {}", self.dir.display()))?
        {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // The state file goes last: without it nothing knows that there is something to remove.
            if matches!(name, "lock" | "state.json") || (name == "logs" && keep_logs) {
                continue;
            }
            remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        remove(&self.path("state.json")).context("cannot remove the state file")?;
        if !keep_logs {
            remove(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_as_folders() {
        for (name, ok) in [
            ("default", true),
            ("a-1", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("-a", false),
            ("A", false),
            (&"a".repeat(41), false),
        ] {
            assert_eq!(Home::open(name).is_ok(), ok, "{name}");
        }
    }
}
