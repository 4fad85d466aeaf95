//! What is reported of a pod: its machine's state in the words of the Kubernetes API. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    machine::{FailedReason, Machine, Phase, Slot, shown_until},
    model::{Condition, RestartPolicy},
};

/// The `status` of a pod, as a strategic merge patch.
///
/// `before` are the conditions that were reported last: a transition time changes only with its condition.
pub(crate) fn report(
    machine: &Machine,
    pod_ip: &str,
    before: &[Condition],
    now: Timestamp,
) -> Value {
    let statuses = |init: bool| -> Vec<Value> {
        machine
            .slots
            .iter()
            .filter(|slot| slot.is_init == init)
            .map(|slot| container(machine, slot, now))
            .collect()
    };
    json!({
        "phase": phase(machine),
        "hostIP": "127.0.0.1",
        "hostIPs": [{ "ip": "127.0.0.1" }],
        "podIP": pod_ip,
        "podIPs": [{ "ip": pod_ip }],
        "startTime": time(machine.started_at),
        "conditions": conditions(machine, before, now),
        "initContainerStatuses": statuses(true),
        "containerStatuses": statuses(false),
    })
}

/// A pod's phase, by the rules of a kubelet.
pub(crate) fn phase(machine: &Machine) -> &'static str {
    let init_failed = |slot: &Slot| matches!(&slot.phase, Phase::Exited { terminated, restart_at: None } if slot.is_init && terminated.exit_code != 0);
    if !machine.is_deleting() && machine.slots.iter().any(init_failed) {
        return "Failed";
    }
    if !machine.initialized() {
        return "Pending";
    }
    let main = || machine.slots.iter().filter(|slot| !slot.is_init);
    // A container between two starts has ended, not never started.
    let waits = |slot: &Slot| {
        slot.last.is_none() && !matches!(slot.phase, Phase::Running { .. } | Phase::Exited { .. })
    };
    if main().any(waits) {
        return "Pending";
    }
    let ended = |slot: &Slot| match &slot.phase {
        Phase::Exited { terminated, restart_at: None } => Some(terminated.exit_code),
        _ => None,
    };
    if main().any(|slot| ended(slot).is_none()) {
        return "Running";
    }
    let succeeded = main().all(|slot| ended(slot) == Some(0));
    match (machine.policy, succeeded) {
        // Containers of such a pod end only because it is being deleted.
        (RestartPolicy::Always, _) => "Running",
        (_, true) => "Succeeded",
        (RestartPolicy::OnFailure, false) => "Running",
        (RestartPolicy::Never, false) => "Failed",
    }
}

fn container(machine: &Machine, slot: &Slot, now: Timestamp) -> Value {
    let mut status = json!({
        "name": slot.spec.name,
        "image": slot.spec.image,
        "imageID": slot.image.id,
        "restartCount": slot.restarts,
        "ready": if slot.is_init && !slot.is_sidecar() { matches!(&slot.phase, Phase::Exited { terminated, .. } if terminated.exit_code == 0) } else { slot.ready },
        "started": matches!(slot.phase, Phase::Running { .. }) && slot.started,
        "state": state(machine, slot, now),
        "lastState": slot.last.as_ref().map_or_else(|| json!({}), |last| json!({ "terminated": terminated(last) })),
    });
    let id = match &slot.phase {
        Phase::Running { container_id, .. } => Some(container_id),
        Phase::Exited { terminated, .. } => Some(&terminated.container_id),
        _ => slot.last.as_ref().map(|last| &last.container_id),
    };
    if let Some(id) = id {
        status["containerID"] = json!(format!("docker://{id}"));
    }
    // Between an end and the next start the end is the last state.
    if let Phase::Exited { terminated: ended, restart_at: Some(_) } = &slot.phase {
        status["lastState"] = json!({ "terminated": terminated(ended) });
    }
    status
}

fn state(machine: &Machine, slot: &Slot, now: Timestamp) -> Value {
    let waiting = |reason: &str, message: String| json!({ "waiting": { "reason": reason, "message": message } });
    match &slot.phase {
        Phase::Pending | Phase::Starting => {
            // A container that waits for the init containers says so.
            let reason = if slot.is_init || machine.initialized() {
                "ContainerCreating"
            } else {
                "PodInitializing"
            };
            json!({ "waiting": { "reason": reason } })
        }
        Phase::Failed { reason, message, at, retry_at } => {
            let backing_off = now >= shown_until(*at, *retry_at);
            let image = &slot.spec.image;
            match (reason, backing_off) {
                (FailedReason::Pull, false) => waiting("ErrImagePull", message.clone()),
                (FailedReason::Pull, true) => waiting(
                    "ImagePullBackOff",
                    format!("Back-off pulling image {image:?}: ErrImagePull: {message}"),
                ),
                (FailedReason::NeverPull, _) => waiting("ErrImageNeverPull", message.clone()),
                (FailedReason::Config, _) => waiting("CreateContainerConfigError", message.clone()),
                (FailedReason::Create, _) => waiting("CreateContainerError", message.clone()),
                (FailedReason::Run, _) => waiting("RunContainerError", message.clone()),
            }
        }
        Phase::Running { started_at, .. } => {
            json!({ "running": { "startedAt": time(*started_at) } })
        }
        Phase::Exited { terminated: ended, restart_at } => match restart_at {
            Some(restart_at) if *restart_at > ended.finished_at => {
                let wait = restart_at.duration_since(ended.finished_at).as_secs_f64();
                waiting(
                    "CrashLoopBackOff",
                    format!("back-off {wait:.0}s restarting failed container={}", slot.spec.name),
                )
            }
            _ => json!({ "terminated": terminated(ended) }),
        },
    }
}

fn terminated(ended: &super::machine::Terminated) -> Value {
    json!({
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": time(ended.started_at),
        "finishedAt": time(ended.finished_at),
        "containerID": format!("docker://{}", ended.container_id),
    })
}

fn conditions(machine: &Machine, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    let ended = matches!(phase(machine), "Succeeded" | "Failed");
    let unready: Vec<&str> = machine
        .slots
        .iter()
        .filter(|slot| !slot.is_init && !slot.ready)
        .map(|slot| slot.spec.name.as_str())
        .collect();
    let initialized = machine.initialized();
    let ready = unready.is_empty() && initialized && !ended;
    let not_ready = || match ended {
        true => ("PodCompleted".to_owned(), String::new()),
        false => (
            "ContainersNotReady".to_owned(),
            format!("containers with unready status: [{}]", unready.join(" ")),
        ),
    };
    [
        ("PodReadyToStartContainers", !ended, None),
        ("Initialized", initialized, Some(("ContainersNotInitialized".to_owned(), String::new()))),
        ("ContainersReady", ready, Some(not_ready())),
        ("Ready", ready, Some(not_ready())),
    ]
    .into_iter()
    .map(|(kind, holds, why_not)| {
        let status = if holds { "True" } else { "False" };
        let same = before.iter().find(|old| old.kind == kind && old.status == status);
        let (reason, message) = if holds { None } else { why_not }.unzip();
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            last_transition_time: same
                .and_then(|old| old.last_transition_time.clone())
                .or_else(|| Some(time(now))),
            reason,
            message: message.filter(|message| !message.is_empty()),
        }
    })
    .collect()
}

/// A time as the API server writes it: whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
