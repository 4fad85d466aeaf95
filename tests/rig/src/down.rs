//! `rig down`: ends exactly what an `up` started, also after an `up` that was killed half way.

use std::time::Duration;

use anyhow::Context as _;
use tokio::task::spawn_blocking;

use super::{
    process::{self, Process},
    state::{Home, State},
};
use crate::engine;

/// The node agent removes its containers in this time.
const AGENT_GRACE: Duration = Duration::from_secs(20);

/// Nothing of the control plane is kept, so nothing has to be finished; its API server would wait for open watches.
const GRACE: Duration = Duration::from_secs(1);

/// Ends a rig. Returns whether there was one.
pub(super) async fn down(home: &Home) -> anyhow::Result<bool> {
    let _lock = home.lock()?;
    let Some(state) = home.state()? else {
        // The logs of one that did not come up.
        home.wipe(false)?;
        return Ok(false);
    };
    end(home, &state).await?;
    Ok(true)
}

/// The name of a rig's Node. Its containers are found by it, so it differs between two users of one engine.
pub(super) fn node_name(rig: &str, id: &str) -> String {
    let id: String = id.chars().take(6).collect();
    format!("rig-{rig}-{id}")
}

/// Whether a rig came up and all of its processes still run.
pub(super) fn runs(state: &State) -> bool {
    state.ready && state.boot_id == process::boot_id() && state.processes.iter().all(Process::runs)
}

/// Ends the processes of a rig, its containers, its private engine if it has one, and removes its files; the logs of
/// a rig that did not come up stay.
/// The caller holds the lock.
pub(super) async fn end(home: &Home, state: &State) -> anyhow::Result<()> {
    if state.boot_id == process::boot_id() {
        let recorded = state.processes.clone();
        let id = state.id.clone();
        spawn_blocking(move || {
            // What watches others goes first: it would only complain that they are gone.
            let (agents, rest): (Vec<Process>, Vec<Process>) =
                recorded.into_iter().partition(|process| process.name == "node-agent");
            process::end(&agents, AGENT_GRACE)?;
            process::end(&rest, GRACE)?;
            // What was started but not written down, and children that outlived their parents.
            process::end(&process::marked(&id), GRACE)
        })
        .await??;
        if let Some(docker_host) = &state.docker_host {
            // The agent has removed its containers already, unless it was killed.
            if let Err(error) =
                node_agent::remove_containers(docker_host, &node_name(&home.name, &state.id)).await
            {
                eprintln!("warning: containers of the rig may be left in {docker_host}: {error:#}");
            }
        }
    }
    let dir = home.path("engine");
    spawn_blocking(move || engine::stop(&dir))
        .await?
        .context("the private Docker Engine did not end")?;
    home.wipe(!state.ready)
}
