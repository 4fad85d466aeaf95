//! A rig for the time of a task: started under a name of its own, ended when the task ends, however it ends.
//!
//! What a rig is and how it starts is the crate's; this only asks for one, in a process of its own.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::description::Rig;
use anyhow::{Context, Result, bail};

use crate::engine::{children, process::Identity};

/// A running rig. Dropping it ends it.
#[derive(Debug)]
pub struct Lease {
    name: String,
    /// The description, for `VERBATIM_RIG`.
    pub path: PathBuf,
    pub rig: Rig,
}

/// The name under which a rig runs; ends it when dropped, whether it came up or not.
struct Name(Option<String>);

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(name) = self.0.take()
            && let Err(error) = down(&name)
        {
            eprintln!("warning: {error:#}");
        }
    }
}

/// What becomes of the pods of a rig.
#[derive(Debug, Clone, Copy)]
pub enum Pods<'a> {
    /// They are containers of the engine with this address.
    Containers(&'a str),
    /// They are said to be ready at once, and nothing runs.
    Said,
}

impl Lease {
    /// Starts a rig; its description goes into `folder`.
    ///
    /// With `default_limits` Argo CD keeps its own limit of requests to Kubernetes, as a measurement needs.
    pub fn new(folder: &Path, pods: Pods<'_>, default_limits: bool) -> Result<Lease> {
        let mut name = Name(Some(new_name()?));
        let path = folder.join("rig.json");
        let file = File::create(&path).context("failed to create the description of the rig")?;
        let mut command = xtask(&["rig", "up", "--format", "json"])?;
        match pods {
            Pods::Containers(docker_host) => command.args(["--docker-host", docker_host]),
            Pods::Said => command.args(["--kwok", "1"]),
        };
        command.args(["--name", name.0.as_deref().unwrap_or_default()]).stdout(file);
        if default_limits {
            command.arg("--default-limits");
        }
        let status = children::run(&mut command)?;
        children::stop_if_interrupted()?;
        if !status.success() {
            bail!("the rig did not start: {status}");
        }
        let rig = Rig::read(&path)?;
        Ok(Lease { name: name.0.take().unwrap_or_default(), path, rig })
    }
}

/// A name that no other rig has: neither one of another task, nor another one of this task.
fn new_name() -> Result<String> {
    static LEASES: AtomicUsize = AtomicUsize::new(0);
    let me = Identity::of(std::process::id())?;
    let number = LEASES.fetch_add(1, Ordering::Relaxed);
    Ok(format!("task-{}-{}-{number}", me.pid, me.start))
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(Name(Some(std::mem::take(&mut self.name))));
    }
}

/// Not through [`children`]: it has to run after a signal too.
fn down(name: &str) -> Result<()> {
    let mut command = xtask(&["rig", "down", "--name", name])?;
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("failed to end the rig")?;
    if !status.success() {
        bail!("the rig `{name}` did not end; try: cargo xtask rig down --name {name}");
    }
    Ok(())
}

/// This very program with other arguments: a task within a task sees the same code.
pub fn xtask(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(this_program()?);
    command.args(arguments);
    Ok(command)
}

/// The path of this program. A task may have made cargo build it anew meanwhile: then the kernel calls the old file
/// deleted, and the new one lies in its place.
pub fn this_program() -> Result<PathBuf> {
    let path = env::current_exe().context("this program has no path")?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rigs_of_one_task_have_two_names() {
        assert_ne!(new_name().unwrap(), new_name().unwrap());
    }
}
