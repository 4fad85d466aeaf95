//! The services of the end-to-end steps: started when the first step asks, ended once, whatever happens.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::engine::{self, Engine, children, process::Identity};

/// Engine and rig of this run. Their state lies in a folder of its own, so that runs do not meet.
#[derive(Debug)]
pub(super) struct Services {
    state: tempfile::TempDir,
    engine: Option<Engine>,
    rig: Option<PathBuf>,
    name: String,
}

impl Services {
    pub(super) fn new() -> Result<Services> {
        let state = tempfile::Builder::new()
            .prefix("verbatim-ci-")
            .tempdir()
            .context("failed to create a folder")?;
        let identity = Identity::of(std::process::id())?;
        Ok(Services {
            state,
            engine: None,
            rig: None,
            name: format!("ci-{}-{}", identity.pid, identity.start),
        })
    }

    /// The value of `DOCKER_HOST` for a step.
    pub(super) fn docker_host(&mut self) -> Result<String> {
        if let Some(engine) = &self.engine {
            return Ok(engine.docker_host.clone());
        }
        let engine = engine::ensure(&self.state.path().join("engine"))?;
        let kind = if engine.owned { "private" } else { "found" };
        println!("Docker Engine {} ({kind}) at {}", engine.version, engine.docker_host);
        Ok(self.engine.insert(engine).docker_host.clone())
    }

    /// The description of a running rig, for `VERBATIM_RIG`.
    pub(super) fn rig(&mut self) -> Result<PathBuf> {
        if let Some(path) = &self.rig {
            return Ok(path.clone());
        }
        let docker_host = self.docker_host()?;
        let path = self.state.path().join("rig.json");
        // From here on it may run, and is ended; ending one that does not run is no error.
        self.rig = Some(path.clone());
        let file =
            fs::File::create(&path).context("failed to create the description of the rig")?;
        let status = children::run(
            xtask(&[
                "rig",
                "up",
                "--name",
                &self.name,
                "--format",
                "json",
                "--docker-host",
                &docker_host,
            ])?
            .stdout(file),
        )?;
        if !status.success() {
            bail!("the rig did not start: {status}");
        }
        Ok(path)
    }

    /// Ends what was started.
    pub(super) fn stop(&mut self) -> Result<()> {
        if self.rig.take().is_some() {
            // Not through `children`: after a signal it would not run any more.
            let status = xtask(&["rig", "down", "--name", &self.name])?
                .stdout(Stdio::null())
                .status()
                .context("failed to end the rig")?;
            if !status.success() {
                bail!("the rig `{}` did not end: {status}", self.name);
            }
        }
        if let Some(engine) = self.engine.take() {
            engine.stop()?;
        }
        Ok(())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("warning: {error:#}");
        }
    }
}

/// This very program with other arguments: a task within a task sees the same code.
pub(super) fn xtask(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::current_exe().context("this program has no path")?);
    command.args(arguments);
    Ok(command)
}
