//! A pod as a state machine: what happened goes in, what to do next and what to report come out.
//!
//! Pure. No engine, no API server, no clock: `now` is an argument. The rules are those of a kubelet.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::model::{Container, Pod, RestartPolicy};

/// How the waits between two starts, or two pulls, grow: doubled from `first` up to `max`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackOff {
    /// The wait after the first failure that is not tried again at once. A kubelet has 10 s.
    pub(crate) first: Duration,
    /// The longest wait. A kubelet has 300 s.
    pub(crate) max: Duration,
}

impl BackOff {
    /// The wait after `failures` failures (at least 1).
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(factor).min(self.max)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terminated {
    pub(crate) exit_code: i64,
    pub(crate) reason: &'static str,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Timestamp,
    pub(crate) container_id: String,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was done yet, or the next start is due.
    Pending,
    /// A start was commanded and has not been answered.
    Starting,
    /// The image could not be had, or the container not be made.
    Failed {
        reason: FailedReason,
        message: String,
        at: Timestamp,
        retry_at: Timestamp,
    },
    Running {
        container_id: String,
        started_at: Timestamp,
    },
    /// It ended; with `restart_at`, another start follows.
    Exited {
        terminated: Terminated,
        restart_at: Option<Timestamp>,
    },
}

/// Why a container did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedReason {
    /// The image cannot be pulled.
    Pull,
    /// The image is not there and must not be pulled.
    NeverPull,
    /// Its environment refers to something that is missing, or it needs what this agent cannot do.
    Config,
    /// The engine refused to make it.
    Create,
    /// The engine made it and could not start it.
    Run,
}

/// Which image a container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// What to report as `imageID`.
    pub(crate) id: String,
}

/// One container of the pod.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) spec: Container,
    pub(crate) is_init: bool,
    pub(crate) phase: Phase,
    pub(crate) restarts: u32,
    /// Failed starts in a row.
    failures: u32,
    /// Ends in a row without a long run in between.
    crashes: u32,
    pub(crate) last: Option<Terminated>,
    pub(crate) ready: bool,
    /// The startup probe succeeded, or there is none.
    pub(crate) started: bool,
    pub(crate) image: Image,
    counts: [Count; 3],
    /// A kill was commanded and the end has not come.
    pub(crate) stopping: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    successes: u32,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

/// What happened to a container.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    NotStarted {
        reason: FailedReason,
        message: String,
    },
    Started {
        container_id: String,
        image: Image,
    },
    Ended {
        container_id: String,
        exit_code: i64,
        out_of_memory: bool,
    },
    Probed {
        container_id: String,
        kind: ProbeKind,
        success: bool,
    },
    /// It shall report another `imageID`.
    Reimaged {
        image: Image,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Pull the image as the policy says, and start the container.
    Start { slot: usize },
    /// SIGTERM, and SIGKILL after `grace`.
    Stop { slot: usize, container_id: String, grace: Duration },
    /// All containers are gone: remove them from the engine, and the pod from the API server.
    Finish,
}

/// A pod on this node.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) slots: Vec<Slot>,
    pub(crate) policy: RestartPolicy,
    pub(crate) started_at: Timestamp,
    /// The pod is being deleted, and its containers have so long.
    deleting: Option<Duration>,
    /// It came to its end before this agent saw it.
    over: bool,
    finished: bool,
    back_off: BackOff,
}

/// A container that ran so long has its crashes forgiven, as a kubelet does.
const FORGIVEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

impl Machine {
    pub(crate) fn new(pod: &Pod, back_off: BackOff, now: Timestamp) -> Self {
        let counts = |name: &str| {
            let statuses =
                pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
            statuses
                .clone()
                .find(|status| status.name == name)
                .map_or(0, |status| status.restart_count)
        };
        let slot = |spec: &Container, is_init: bool| Slot {
            is_init,
            phase: Phase::Pending,
            // Carried over from an earlier agent: the number never goes down.
            restarts: counts(&spec.name),
            failures: 0,
            crashes: 0,
            last: None,
            ready: false,
            started: false,
            image: Image::default(),
            counts: Default::default(),
            stopping: false,
            spec: spec.clone(),
        };
        let init = pod.spec.init_containers.iter().map(|spec| slot(spec, true));
        let main = pod.spec.containers.iter().map(|spec| slot(spec, false));
        Self {
            slots: init.chain(main).collect(),
            policy: pod.spec.restart_policy,
            started_at: now,
            deleting: None,
            over: matches!(pod.status.phase.as_str(), "Succeeded" | "Failed"),
            finished: false,
            back_off,
        }
    }

    /// The pod is to go; its containers have `grace` to end. A later, shorter grace wins.
    pub(crate) fn delete(&mut self, grace: Duration) {
        let shorter = self.deleting.is_none_or(|old| grace < old);
        if shorter {
            self.deleting = Some(grace);
            // Commanded again, with the shorter time.
            self.slots.iter_mut().for_each(|slot| slot.stopping = false);
        }
    }

    pub(crate) fn is_deleting(&self) -> bool {
        self.deleting.is_some()
    }

    /// There is nothing to report: the status of a pod that was over before stays as it is.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the init containers have done their work, so that the pod counts as initialized.
    pub(crate) fn initialized(&self) -> bool {
        self.slots.iter().filter(|slot| slot.is_init).all(Slot::passed)
    }

    /// Takes in what happened to the container in `slot`.
    pub(crate) fn handle(&mut self, slot: usize, event: Event, now: Timestamp) {
        let policy = self.policy_of(slot);
        let (back_off, deleting) = (self.back_off, self.deleting.is_some());
        let Some(slot) = self.slots.get_mut(slot) else { return };
        match event {
            Event::NotStarted { reason, message } => {
                slot.failures += 1;
                let retry_at = now + back_off.delay(slot.failures);
                slot.phase = Phase::Failed { reason, message, at: now, retry_at };
            }
            Event::Started { container_id, image } => {
                if slot.last.is_some() || matches!(slot.phase, Phase::Exited { .. }) {
                    slot.restarts += 1;
                }
                slot.failures = 0;
                slot.counts = Default::default();
                slot.started = slot.spec.startup_probe.is_none();
                slot.ready = slot.started && slot.spec.readiness_probe.is_none();
                slot.image = image;
                slot.stopping = false;
                slot.phase = Phase::Running { container_id, started_at: now };
            }
            Event::Ended { container_id, exit_code, out_of_memory } => {
                let Phase::Running { container_id: running, started_at } = &slot.phase else {
                    return;
                };
                if *running != container_id {
                    return;
                }
                let started_at = *started_at;
                let terminated = Terminated {
                    exit_code,
                    reason: match (out_of_memory, exit_code) {
                        (true, _) => "OOMKilled",
                        (false, 0) => "Completed",
                        (false, _) => "Error",
                    },
                    started_at,
                    finished_at: now,
                    container_id,
                };
                if now.duration_since(started_at) >= FORGIVEN_AFTER {
                    slot.crashes = 0;
                }
                let again = !deleting
                    && match policy {
                        RestartPolicy::Always => true,
                        RestartPolicy::OnFailure => exit_code != 0,
                        RestartPolicy::Never => false,
                    };
                // The first restart comes at once, as a kubelet's does.
                let wait =
                    if slot.crashes == 0 { Duration::ZERO } else { back_off.delay(slot.crashes) };
                slot.crashes += 1;
                slot.ready = false;
                slot.started = false;
                slot.stopping = false;
                slot.phase = Phase::Exited { terminated, restart_at: again.then(|| now + wait) };
            }
            Event::Probed { container_id, kind, success } => {
                slot.probed(&container_id, kind, success)
            }
            Event::Reimaged { image } => slot.image = image,
        }
    }

    /// What to do now, and when to ask again if nothing happens before.
    pub(crate) fn next(&mut self, now: Timestamp) -> (Vec<Command>, Option<Timestamp>) {
        if self.finished {
            return (Vec::new(), None);
        }
        if let Some(grace) = self.deleting {
            return (self.stop_all(grace), None);
        }
        if self.over {
            return (Vec::new(), None);
        }
        let mut commands = Vec::new();
        let mut wake: Option<Timestamp> = None;
        let mut blocked = false;
        for index in 0..self.slots.len() {
            // An init container starts when all before it have passed, a main container when all of them have.
            if blocked {
                break;
            }
            let slot = &mut self.slots[index];
            match &slot.phase {
                Phase::Pending => {
                    slot.phase = Phase::Starting;
                    commands.push(Command::Start { slot: index });
                }
                Phase::Failed { at, retry_at, .. } => {
                    if *retry_at <= now {
                        slot.phase = Phase::Starting;
                        commands.push(Command::Start { slot: index });
                    } else {
                        // Also when the report changes from the error to the back-off.
                        let shown = shown_until(*at, *retry_at);
                        wake = earliest(wake, if shown > now { shown } else { *retry_at });
                    }
                }
                Phase::Exited { terminated, restart_at: Some(restart_at) } => {
                    if *restart_at <= now {
                        slot.last = Some(terminated.clone());
                        slot.phase = Phase::Starting;
                        commands.push(Command::Start { slot: index });
                    } else {
                        wake = earliest(wake, *restart_at);
                    }
                }
                Phase::Running { container_id, .. } if slot.unlively() && !slot.stopping => {
                    slot.stopping = true;
                    let container_id = container_id.clone();
                    // A kubelet gives the pod's own grace period; its default is long for a container that hangs.
                    commands.push(Command::Stop {
                        slot: index,
                        container_id,
                        grace: Duration::from_secs(2),
                    });
                }
                Phase::Starting
                | Phase::Running { .. }
                | Phase::Exited { restart_at: None, .. } => {}
            }
            blocked = self.slots[index].is_init && !self.slots[index].passed();
        }
        (commands, wake)
    }

    fn stop_all(&mut self, grace: Duration) -> Vec<Command> {
        let mut commands = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Phase::Running { container_id, .. } = &slot.phase
                && !slot.stopping
            {
                slot.stopping = true;
                commands.push(Command::Stop {
                    slot: index,
                    container_id: container_id.clone(),
                    grace,
                });
            }
        }
        let busy = |slot: &Slot| matches!(slot.phase, Phase::Running { .. } | Phase::Starting);
        if !self.slots.iter().any(busy) {
            self.finished = true;
            commands.push(Command::Finish);
        }
        commands
    }

    fn policy_of(&self, slot: usize) -> RestartPolicy {
        match self.slots.get(slot) {
            Some(slot) if slot.is_sidecar() => RestartPolicy::Always,
            // An init container that succeeded is done, whatever the pod's policy.
            Some(slot) if slot.is_init && self.policy == RestartPolicy::Always => {
                RestartPolicy::OnFailure
            }
            _ => self.policy,
        }
    }
}

impl Slot {
    pub(crate) fn is_sidecar(&self) -> bool {
        self.is_init && self.spec.restart_policy == Some(RestartPolicy::Always)
    }

    /// Whether an init container lets the next one start.
    fn passed(&self) -> bool {
        match &self.phase {
            Phase::Exited { terminated, restart_at: None } => terminated.exit_code == 0,
            _ => self.is_sidecar() && self.started,
        }
    }

    fn probed(&mut self, container_id: &str, kind: ProbeKind, success: bool) {
        if !matches!(&self.phase, Phase::Running { container_id: running, .. } if running == container_id)
        {
            return;
        }
        let probe = match kind {
            ProbeKind::Startup => &self.spec.startup_probe,
            ProbeKind::Readiness => &self.spec.readiness_probe,
            ProbeKind::Liveness => &self.spec.liveness_probe,
        };
        let Some(probe) = probe else { return };
        if kind != ProbeKind::Startup && !self.started {
            return;
        }
        let count = &mut self.counts[kind as usize];
        if success {
            *count = Count { successes: count.successes + 1, failures: 0 };
        } else {
            *count = Count { successes: 0, failures: count.failures + 1 };
        }
        match kind {
            ProbeKind::Startup if count.successes > 0 && !self.started => {
                self.started = true;
                self.ready = self.spec.readiness_probe.is_none();
            }
            ProbeKind::Readiness if count.successes >= probe.success_threshold => self.ready = true,
            ProbeKind::Readiness if count.failures >= probe.failure_threshold => self.ready = false,
            _ => {}
        }
    }

    /// Whether its startup or liveness probe has failed too often.
    fn unlively(&self) -> bool {
        let over = |probe: &Option<super::model::Probe>, kind: ProbeKind| {
            probe.as_ref().is_some_and(|probe| {
                self.counts[kind as usize].failures >= probe.failure_threshold.max(1)
            })
        };
        over(&self.spec.liveness_probe, ProbeKind::Liveness)
            || (!self.started && over(&self.spec.startup_probe, ProbeKind::Startup))
    }
}

/// Until when a failed start is reported as an error, before it becomes a back-off: a kubelet does so at its next look.
pub(crate) fn shown_until(at: Timestamp, retry_at: Timestamp) -> Timestamp {
    at + (retry_at.duration_since(at) / 2).min(SignedDuration::from_millis(500))
}

fn earliest(a: Option<Timestamp>, b: Timestamp) -> Option<Timestamp> {
    Some(a.map_or(b, |a| a.min(b)))
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
