//! The services of the end-to-end steps: started when the first step asks, ended once, whatever happens.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use rig::engine::{self, Engine};
use rig::lease::{Lease, Pods};

/// Engine and rig of this run. Their state lies in a folder of its own, so that runs do not meet.
#[derive(Debug)]
pub(super) struct Services {
    // Dropped in this order: the rig's pods run in the engine, and both keep their files in the folder.
    rig: Option<Lease>,
    rig_without_pods: Option<Lease>,
    engine: Option<Engine>,
    state: tempfile::TempDir,
}

impl Services {
    pub(super) fn new() -> Result<Services> {
        let state = tempfile::Builder::new()
            .prefix("verbatim-ci-")
            .tempdir()
            .context("failed to create a folder")?;
        Ok(Services { rig: None, rig_without_pods: None, engine: None, state })
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
        if let Some(rig) = &self.rig {
            return Ok(rig.path.clone());
        }
        let docker_host = self.docker_host()?;
        let rig = Lease::new(self.state.path(), Pods::Containers(&docker_host), false)?;
        Ok(self.rig.insert(rig).path.clone())
    }

    /// The description of a running rig whose pods are only said to run.
    pub(super) fn rig_without_pods(&mut self) -> Result<PathBuf> {
        if let Some(rig) = &self.rig_without_pods {
            return Ok(rig.path.clone());
        }
        let folder = self.state.path().join("without-pods");
        fs::create_dir_all(&folder).context("failed to create a folder")?;
        let rig = Lease::new(&folder, Pods::Said, false)?;
        Ok(self.rig_without_pods.insert(rig).path.clone())
    }

    /// Ends what only one step needs.
    pub(super) fn end_of_step(&mut self) {
        self.rig_without_pods = None;
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        self.rig = None;
        self.rig_without_pods = None;
        match self.engine.take() {
            Some(engine) => engine.stop(),
            None => Ok(()),
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("warning: {error:#}");
        }
    }
}
