//! The processes of a rig: started with a mark in their environment, recognised, and ended, without ever touching one
//! that is not ours.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::engine::process::{Identity, start_detached, tail};

/// In the environment of every process of a rig, with the id of its `up`.
pub(super) const MARKER: &str = "VERBATIM_RIG_ID";

/// A process that was started, by the name of its part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) identity: Identity,
}

/// How to start a process.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// The whole environment: nothing is inherited, so that a rig is the same on every machine.
    pub(super) env: BTreeMap<String, String>,
}

impl Launch {
    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env).current_dir(dir);
        command
    }
}

/// Runs a process to its end, which has to be a good one.
pub(super) fn run(launch: &Launch, dir: &Path) -> anyhow::Result<()> {
    let output = launch.command(dir).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {}", launch.name))?;
    ensure!(
        output.status.success(),
        "{} failed ({}): {}",
        launch.name,
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Starts a process that stays when this command ends.
pub(super) fn start(launch: &Launch, log: &Path, dir: &Path) -> anyhow::Result<Process> {
    let identity = start_detached(&mut launch.command(dir), log)?;
    Ok(Process { name: launch.name.to_owned(), identity })
}

impl Process {
    pub(super) fn runs(&self) -> bool {
        self.identity.is_running()
    }

    /// An error with the end of its log, if the process is gone.
    pub(super) fn check(&self, log: &Path) -> anyhow::Result<()> {
        if !self.runs() {
            bail!("{} ended. The end of {}:\n{}", self.name, log.display(), tail(log, 12));
        }
        Ok(())
    }

    /// Its resident memory in bytes, `None` if it ended.
    pub(super) fn memory(&self) -> Option<u64> {
        if !self.runs() {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.identity.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
    }
}

/// Ends processes, all at once: SIGTERM, and SIGKILL to those that have not gone within `grace`.
pub(super) fn end(processes: &[Process], grace: Duration) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let ends: Vec<_> = processes
            .iter()
            .map(|process| {
                scope.spawn(move || {
                    process
                        .identity
                        .end(grace)
                        .with_context(|| format!("{} cannot be ended", process.name))
                })
            })
            .collect();
        for end in ends {
            match end.join() {
                Ok(result) => result.map(drop)?,
                Err(_) => bail!("a thread that ends a process panicked"),
            }
        }
        Ok(())
    })
}

/// Every process with the marker `id` in its environment: those of a rig, and what they started.
pub(super) fn marked(id: &str) -> Vec<Process> {
    let mark = format!("{MARKER}={id}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Before the look at its environment: if the id is reused in between, the identity no longer fits.
        let Ok(identity) = Identity::of(pid) else { continue };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push(Process { name: name.trim().to_owned(), identity });
        }
    }
    found
}

/// An id of this boot of the machine: process ids mean nothing after the next one.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_what_it_started_and_what_that_started() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let id = format!("test-{}", std::process::id());
        let launch = Launch {
            name: "sleeper",
            program: "/bin/sh".into(),
            // The shell's child is not recorded, and is found by its mark all the same.
            args: vec!["-c".to_owned(), "sleep 600 & echo started; wait".to_owned()],
            env: BTreeMap::from([
                (MARKER.to_owned(), id.clone()),
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ]),
        };
        let process = start(&launch, &log, dir.path()).unwrap();
        process.check(&log).unwrap();
        assert!(process.memory().unwrap() > 0);
        while marked(&id).len() < 2 {
            thread::yield_now();
        }
        assert!(marked(&id).iter().any(|found| found.identity == process.identity));
        end(&marked(&id), Duration::from_secs(5)).unwrap();
        assert!(!process.runs());
        assert_eq!(process.memory(), None);
        let error = process.check(&log).unwrap_err().to_string();
        assert!(error.contains("started"), "the end of the log is shown: {error}");
        assert!(marked(&id).is_empty());
    }
}
