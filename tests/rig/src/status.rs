//! `rig status`: what runs, and with how much memory.

use std::fmt;

use crate::description::Rig;
use serde::Serialize;

use super::{down, state::Home};

/// All rigs of this user.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    schema_version: u32,
    rigs: Vec<RigStatus>,
}

#[derive(Debug, Serialize)]
struct RigStatus {
    name: String,
    /// `running`, `starting` (or its `up` was killed), or `broken` (a process is gone).
    state: &'static str,
    /// Bytes of resident memory, of all processes.
    memory: u64,
    processes: Vec<ProcessStatus>,
    /// How to reach it, if it came up.
    rig: Option<Rig>,
}

#[derive(Debug, Serialize)]
struct ProcessStatus {
    name: String,
    pid: i32,
    running: bool,
    memory: u64,
}

/// Looks at the rigs of the given names.
pub(super) fn status(names: &[String]) -> anyhow::Result<Status> {
    let mut rigs = Vec::new();
    for name in names {
        let home = Home::open(name)?;
        let Some(state) = home.state()? else { continue };
        let processes: Vec<ProcessStatus> = state
            .processes
            .iter()
            .map(|process| ProcessStatus {
                name: process.name.clone(),
                pid: process.identity.pid,
                running: process.runs(),
                memory: process.memory().unwrap_or(0),
            })
            .collect();
        rigs.push(RigStatus {
            name: name.clone(),
            state: match (down::runs(&state), state.ready) {
                (true, _) => "running",
                (false, true) => "broken",
                (false, false) => "starting",
            },
            memory: processes.iter().map(|process| process.memory).sum(),
            processes,
            rig: Rig::read(&home.description()).ok(),
        });
    }
    Ok(Status { schema_version: 1, rigs })
}

impl Status {
    /// Whether every rig that was looked at runs, and there is one.
    pub(super) fn all_run(&self) -> bool {
        !self.rigs.is_empty() && self.rigs.iter().all(|rig| rig.state == "running")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rigs.is_empty() {
            return writeln!(f, "no rig runs; start one with: cargo xtask rig up");
        }
        for rig in &self.rigs {
            writeln!(f, "rig {}: {}, {} MiB", rig.name, rig.state, mib(rig.memory))?;
            if let Some(description) = &rig.rig {
                writeln!(
                    f,
                    "  Argo CD {} at {}",
                    description.argocd.version, description.argocd.url
                )?;
            }
            for process in &rig.processes {
                let memory = if process.running {
                    format!("{} MiB", mib(process.memory))
                } else {
                    "ended".to_owned()
                };
                writeln!(f, "  {:<36} {:>8}  {memory:>9}", process.name, process.pid)?;
            }
        }
        Ok(())
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
