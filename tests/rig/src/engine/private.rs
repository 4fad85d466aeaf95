//! A Docker Engine of our own: started, found again and ended without touching the system's.
//!
//! It has its own containerd, data, sockets and namespace of names, and makes no bridge and no firewall rule: its
//! containers use host networking. Everything it needs to be ended is written down in the state folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use needs::Program;
use serde::{Deserialize, Serialize};

use super::find;
use super::process::{self, Identity};

const RECORD: &str = "engine.json";
/// A cold start takes about one second; a machine that compiles at the same time needs far more.
const START: Duration = Duration::from_secs(60);
/// The engine stops its containers first, and gives each ten seconds.
const STOP: Duration = Duration::from_secs(30);

/// What was started in a state folder.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    docker_host: String,
    /// Sockets and other short-lived files. Not below the state folder, whose path may be too long for a socket.
    runtime: PathBuf,
    dockerd: Option<Identity>,
    containerd: Option<Identity>,
}

/// Why there is no private engine.
#[derive(Debug)]
pub(super) enum StartError {
    /// This machine cannot have one.
    NotHere(String),
    /// It can, but something went wrong.
    Broke(anyhow::Error),
}

impl From<anyhow::Error> for StartError {
    fn from(error: anyhow::Error) -> StartError {
        StartError::Broke(error)
    }
}

/// The address of the engine that was started in `state`, if its processes still run.
pub(super) fn recorded(state: &Path) -> Option<String> {
    let record = read(state)?;
    let running = |identity: &Option<Identity>| identity.as_ref().is_some_and(Identity::is_running);
    (running(&record.dockerd) && running(&record.containerd)).then_some(record.docker_host)
}

/// Starts an engine in `state` and waits until it answers. Returns its address.
pub(super) fn start(state: &Path) -> Result<String, StartError> {
    if !rustix::process::geteuid().is_root() {
        return Err(StartError::NotHere("a private engine needs root".to_owned()));
    }
    needs::install(&[Program::Dockerd, Program::Containerd, Program::Runc])
        .map_err(|error| StartError::NotHere(format!("{error:#}")))?;
    // What an earlier start left half done, for instance after a kill -9.
    stop(state)?;
    Ok(start_here(state).inspect_err(|_| {
        // The reason for the failure matters more than a failure to clean up after it.
        let _ = stop(state);
    })?)
}

fn start_here(state: &Path) -> Result<String> {
    let runtime = tempfile::Builder::new()
        .prefix("verbatim-engine-")
        .tempdir_in("/run")
        .context("failed to create a folder for sockets in /run")?
        .keep();
    let docker_host = format!("unix://{}", runtime.join("docker.sock").display());
    let mut record = Record {
        docker_host: docker_host.clone(),
        runtime: runtime.clone(),
        dockerd: None,
        containerd: None,
    };
    write(state, &record)?;
    let data = state.join("engine");
    fs::create_dir_all(&data).context("failed to create the data folder")?;

    // dockerd would take the system's containerd if there is one, so it gets one of its own.
    let containerd_socket = runtime.join("containerd.sock");
    let config = data.join("containerd.toml");
    fs::write(
        &config,
        format!(
            "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {socket:?}\n[ttrpc]\naddress = {ttrpc:?}\n",
            root = data.join("containerd"),
            state = runtime.join("containerd"),
            socket = containerd_socket,
            ttrpc = runtime.join("containerd.sock.ttrpc"),
        ),
    )
    .context("failed to write the configuration of containerd")?;
    let containerd_log = data.join("containerd.log");
    let containerd = process::start_detached(
        Program::Containerd.command().arg("--config").arg(&config),
        &containerd_log,
    )?;
    record.containerd = Some(containerd.clone());
    write(state, &record)?;
    wait_until("containerd", &containerd, &containerd_log, || containerd_socket.exists())?;

    let dockerd_log = data.join("dockerd.log");
    let dockerd = process::start_detached(
        Program::Dockerd
            .command()
            .arg("--config-file")
            .arg(empty_config(&data)?)
            .arg("--host")
            .arg(&docker_host)
            .arg("--containerd")
            .arg(&containerd_socket)
            .arg("--data-root")
            .arg(data.join("docker"))
            .arg("--exec-root")
            .arg(runtime.join("exec"))
            .arg("--pidfile")
            .arg(runtime.join("dockerd.pid"))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--log-level=warn"]),
        &dockerd_log,
    )?;
    record.dockerd = Some(dockerd.clone());
    write(state, &record)?;
    wait_until("dockerd", &dockerd, &dockerd_log, || find::probe(&docker_host).is_ok())?;
    Ok(docker_host)
}

/// The system's `/etc/docker/daemon.json` is for the system's engine.
fn empty_config(data: &Path) -> Result<PathBuf> {
    let path = data.join("daemon.json");
    fs::write(&path, "{}\n").context("failed to write the configuration of dockerd")?;
    Ok(path)
}

fn wait_until(name: &str, process: &Identity, log: &Path, ready: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + START;
    while !ready() {
        if !process.is_running() {
            bail!("{name} ended; the end of {}:\n{}", log.display(), process::tail(log, 15));
        }
        if Instant::now() > deadline {
            bail!(
                "{name} does not answer after {START:?}; the end of {}:\n{}",
                log.display(),
                process::tail(log, 15)
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Ends what the record in `state` names. Returns whether anything was recorded.
pub(super) fn stop(state: &Path) -> Result<bool> {
    let Some(record) = read(state) else { return Ok(false) };
    // The engine first: it ends its containers through containerd.
    for identity in [&record.dockerd, &record.containerd].into_iter().flatten() {
        identity.end(STOP)?;
    }
    unmount_below(&[&record.runtime, &state.join("engine")])?;
    for folder in [record.runtime, state.join("engine")] {
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("failed to remove {}", folder.display()))?;
        }
    }
    fs::remove_file(state.join(RECORD)).context("failed to remove the record of the engine")?;
    Ok(true)
}

/// An engine that was killed leaves its mounts behind, and a folder with a mount in it cannot be removed.
fn unmount_below(folders: &[&Path]) -> Result<()> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("failed to read the list of mounts")?;
    // The later mounts may lie on the earlier ones.
    for line in mounts.lines().rev() {
        let Some(point) = line.split(' ').nth(1).map(unescape) else { continue };
        if folders.iter().any(|folder| point.starts_with(folder)) {
            rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH)
                .with_context(|| format!("failed to unmount {}", point.display()))?;
        }
    }
    Ok(())
}

/// The kernel writes a space in a mount point as `\040`, and so on for tab, newline and backslash (proc(5)).
fn unescape(field: &str) -> PathBuf {
    let mut text = field.to_owned();
    for (escape, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(escape, character);
    }
    PathBuf::from(text)
}

fn read(state: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(state.join(RECORD)).ok()?).ok()
}

fn write(state: &Path, record: &Record) -> Result<()> {
    let text =
        serde_json::to_vec_pretty(record).context("failed to write the record of the engine")?;
    fs::write(state.join(RECORD), text).context("failed to write the record of the engine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_proc_writes_them() {
        assert_eq!(unescape("/a\\040b/c"), Path::new("/a b/c"));
        assert_eq!(unescape("/plain"), Path::new("/plain"));
    }

    #[test]
    fn nothing_recorded_is_nothing_to_stop() {
        let state = tempfile::tempdir().unwrap();
        assert!(!stop(state.path()).unwrap());
        assert_eq!(recorded(state.path()), None);
    }
}
