//! Processes that outlive the task that started them, told apart by pid **and** start time.
//!
//! A pid alone is no identity: the kernel gives it to another process later. Nothing here ends a process by name.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// One process, so that it can be found again and not be mistaken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// When it started, in clock ticks after boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

impl Identity {
    /// The identity of a running process.
    pub fn of(pid: u32) -> Result<Identity> {
        let pid = i32::try_from(pid).context("pid out of range")?;
        let start = start_time(pid).with_context(|| format!("process {pid} is not there"))?;
        Ok(Identity { pid, start })
    }

    /// Whether this very process still runs. A zombie, which only waits to be reaped, does not.
    pub fn is_running(&self) -> bool {
        start_time(self.pid) == Some(self.start)
    }

    /// Asks the process to end with SIGTERM, waits, and ends it with SIGKILL after `patience`.
    ///
    /// The signal goes through a pidfd that was opened before the start time is compared, so it cannot hit another
    /// process that got the same pid meanwhile. Returns false when the process was gone already.
    pub fn end(&self, patience: Duration) -> Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(false) };
        if !self.is_running() {
            return Ok(false);
        }
        for (signal, patience) in
            [(Signal::TERM, patience), (Signal::KILL, Duration::from_secs(10))]
        {
            if pidfd_send_signal(&pidfd, signal).is_err() {
                return Ok(true);
            }
            let deadline = Instant::now() + patience;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let timeout = Timespec::try_from(left).context("deadline out of range")?;
                match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
                    Ok(0) => break,
                    Ok(_) => return Ok(true),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error).context("failed to wait for a process"),
                }
            }
        }
        bail!("process {} does not end", self.pid)
    }
}

/// A process that ends when this is dropped.
#[derive(Debug)]
pub struct UntilDropped(pub Identity);

impl Drop for UntilDropped {
    fn drop(&mut self) {
        if let Err(error) = self.0.end(Duration::from_secs(10)) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Starts `command` in a process group of its own, so that Ctrl-C does not reach it, with its output in `log`.
///
/// It stays when the task ends; whoever starts it keeps the identity, to end it later.
pub fn start_detached(command: &mut Command, log: &Path) -> Result<Identity> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("failed to open {}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(File::try_clone(&file)?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    Identity::of(child.id())
        .with_context(|| format!("{program} ended at once, see {}", log.display()))
}

/// The last lines of a log file, for a message about a process that did not come up.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Field 22 of `/proc/PID/stat`, or None when there is no such process or it is a zombie.
fn start_time(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in parentheses and may hold spaces and parentheses of its own, so the
/// fields are counted from the last `)`.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // `state` is field 3 of proc(5), so field 22 is the nineteenth after it.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_field_22_whatever_the_program_is_called() {
        let tail = "1 10 10 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 1000 200";
        for (stat, want) in [
            (format!("10 (dockerd) S {tail}"), Some(4711)),
            (format!("10 (a) b (c) S {tail}"), Some(4711)),
            (format!("10 (gone) Z {tail}"), None),
            (String::new(), None),
            ("10 (short) S 1 2".to_owned(), None),
        ] {
            assert_eq!(parse_stat(&stat), want, "{stat}");
        }
    }

    #[test]
    fn only_the_very_process_is_ended() {
        let mut child =
            needs::Program::Sh.command().args(["-c", "exec sleep 600"]).spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let other = Identity { start: identity.start + 1, ..identity.clone() };
        assert!(!other.end(Duration::from_secs(1)).unwrap());
        assert!(identity.is_running());
        assert!(identity.end(Duration::from_secs(10)).unwrap());
        assert!(!identity.is_running(), "a zombie does not run");
        child.wait().unwrap();
        assert!(!identity.end(Duration::from_secs(1)).unwrap());
    }
}
