//! A Docker Engine for the tasks that run containers: one that answers, or a private one.
//!
//! An engine is only of use here when it shares this machine's network: the registry, the pods and the tests all
//! live on 127.0.0.1. So an engine in a virtual machine or on another host is passed over, with the reason.
//! Nothing here may touch an engine that it did not start, and nothing here knows what the engine is for.

pub mod children;
mod find;
mod private;
pub mod process;

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A Docker Engine that answers and runs its containers on this machine's own network.
#[derive(Debug)]
pub struct Engine {
    /// What `DOCKER_HOST` must say, such as `unix:///var/run/docker.sock`.
    pub docker_host: String,
    /// Whether it is the private engine of the state folder, so that [`Engine::stop`] ends it.
    pub owned: bool,
    /// The version it reports, such as `20.10.24`.
    pub version: String,
    state: PathBuf,
}

impl Engine {
    /// Ends the engine if it is a private one; another's engine is left alone.
    pub fn stop(&self) -> Result<()> {
        if self.owned {
            stop(&self.state)?;
        }
        Ok(())
    }

    /// Hands the engine to a guard that ends it when it goes out of scope, on failure too.
    pub fn until_dropped(self) -> Guard {
        Guard(self)
    }
}

/// Ends a private engine when it is dropped.
#[derive(Debug)]
pub struct Guard(Engine);

impl std::ops::Deref for Guard {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.0.stop() {
            eprintln!("warning: the private Docker Engine did not stop: {error:#}");
        }
    }
}

/// No engine can be had here: what was looked at, and why each was no use.
#[derive(Debug)]
pub struct Unavailable {
    /// One sentence for each place that was tried, in order.
    pub reasons: Vec<String>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no Docker Engine can be had here")?;
        for reason in &self.reasons {
            write!(f, "\n  - {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unavailable {}

/// Finds an engine, or starts a private one whose state is kept in `state`.
///
/// The order: the private engine that an earlier call started in `state` and that still runs; `DOCKER_HOST`; the
/// current docker context; `/var/run/docker.sock`; then, as root on Debian, a private engine, with `docker.io` from
/// apt when `dockerd` is missing. Calls with the same folder wait for each other.
///
/// # Errors
/// [`Unavailable`] when none can be had here; another error when something on the way broke.
pub fn ensure(state: &Path) -> Result<Engine> {
    let _lock = lock(state)?;
    let mut reasons = Vec::new();
    if let Some(engine) = running(state) {
        return Ok(engine);
    }
    for candidate in find::candidates() {
        match find::probe(&candidate.host) {
            Ok(version) => {
                return Ok(Engine {
                    docker_host: candidate.host,
                    owned: false,
                    version,
                    state: state.to_owned(),
                });
            }
            Err(reason) => {
                reasons.push(format!("{} ({}): {reason}", candidate.origin, candidate.host))
            }
        }
    }
    match private::start(state) {
        Ok(docker_host) => {
            let version = find::probe(&docker_host).map_err(anyhow::Error::msg)?;
            Ok(Engine { docker_host, owned: true, version, state: state.to_owned() })
        }
        Err(private::StartError::NotHere(reason)) => {
            reasons.push(reason);
            Err(Unavailable { reasons }.into())
        }
        Err(private::StartError::Broke(error)) => {
            Err(error.context("failed to start a private Docker Engine"))
        }
    }
}

/// The private engine that an earlier [`ensure`] started in `state`, if it still answers.
pub fn running(state: &Path) -> Option<Engine> {
    let docker_host = private::recorded(state)?;
    let version = find::probe(&docker_host).ok()?;
    Some(Engine { docker_host, owned: true, version, state: state.to_owned() })
}

/// Ends the private engine that was started in `state`, and its leftovers there. Returns whether there was one.
///
/// It ends the recorded processes only, and only if their start times are still the recorded ones.
pub fn stop(state: &Path) -> Result<bool> {
    if !state.exists() {
        return Ok(false);
    }
    let _lock = lock(state)?;
    private::stop(state)
}

fn lock(state: &Path) -> Result<File> {
    fs::create_dir_all(state).with_context(|| format!("failed to create {}", state.display()))?;
    let path = state.join("engine.lock");
    let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
    file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}
