//! What stands in the way of pods, from objects that were read: why one does not start, why one is not made. Pure.
//!
//! Reading the objects is [`crate::run::obstacles`]' work; which of them are worth a read is [`crate::judge::suspect`]'s.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use verbatim_text::Words;

use crate::api::request::ObjectRef;
use crate::model::ObjectEvent;

/// What keeps a pod from running, or a workload from making its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The object, and the container if it is one: `Pod web-5d4-x, container web`.
    pub place: String,
    /// The field that says so; `events` if only an event does.
    pub field: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: ObstacleKind,
    /// In Kubernetes' own words; may be empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Words,
    /// How many other pods of the same maker meet the same.
    #[serde(skip_serializing_if = "is_zero")]
    pub others: usize,
    /// The last lines that the container wrote before it ended, as far as they could be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Words>,
    /// Why they could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_error: Option<Words>,
    /// Whether the container that ended runs again, so that its log is the previous one.
    #[serde(skip)]
    pub(crate) runs_again: bool,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Kinds of what stands in the way. The reason of each is one word by Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "obstacle", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ObstacleKind {
    /// A container ends, again and again if it is started anew.
    Crash {
        /// `Error`, `OOMKilled`, `Completed`.
        reason: String,
        /// Absent if nothing is known of how it ended.
        exit_code: Option<i64>,
        /// How often it was started again.
        restarts: i64,
    },
    /// The image of a container cannot be had.
    Image {
        /// `ErrImagePull`, `ImagePullBackOff`.
        reason: String,
        /// As the pod names it.
        image: String,
    },
    /// A container cannot be made or started: what it names is not there.
    Container {
        /// In one word.
        reason: String,
    },
    /// No node takes the pod.
    Unschedulable {
        /// In one word.
        reason: String,
    },
    /// A pod has its node and does not begin: a volume, a network.
    NotStarted {
        /// In one word.
        reason: String,
    },
    /// The containers run, and the pod is not ready.
    NotReady {
        /// In one word.
        reason: String,
    },
    /// A pod that is not started again.
    Failed {
        /// In one word.
        reason: String,
    },
    /// Pods are refused: a quota, a limit, an admission policy, a webhook.
    NoPods {
        /// In one word.
        reason: String,
    },
    /// A Deployment has made no progress for as long as it may take.
    Late {
        /// In one word.
        reason: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, field, kind, message, others, .. } = self;
        write!(f, "{place}")?;
        match others {
            0 => {}
            1 => f.write_str(" (and 1 other pod)")?,
            more => write!(f, " (and {more} other pods)")?,
        }
        write!(f, " {kind}")?;
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        match field.as_str() {
            EVENTS => f.write_str(" (its events)"),
            field => write!(f, " ({field})"),
        }
    }
}

impl fmt::Display for ObstacleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { reason, exit_code, restarts } => {
                f.write_str("ends")?;
                if let Some(code) = exit_code {
                    write!(f, " with exit status {code}")?;
                }
                if !reason.is_empty() {
                    write!(f, ", {reason}")?;
                }
                match restarts {
                    0 => Ok(()),
                    1 => f.write_str(", and was started again once"),
                    more => write!(f, ", and was started again {more} times"),
                }
            }
            Self::Image { reason, image } => write!(f, "has no image {image}, {reason}"),
            Self::Container { reason } => write!(f, "cannot be started, {reason}"),
            Self::Unschedulable { reason } => write!(f, "has no node, {reason}"),
            Self::NotStarted { reason } => write!(f, "has a node and does not start, {reason}"),
            Self::NotReady { reason } => write!(f, "runs and is not ready, {reason}"),
            Self::Failed { reason } => write!(f, "has failed, {reason}"),
            Self::NoPods { reason } => write!(f, "cannot make its pods, {reason}"),
            Self::Late { reason } => write!(f, "makes no progress, {reason}"),
        }
    }
}

/// Between the names of a pod and of its container.
const CONTAINER: &str = ", container ";

/// The field of an obstacle of which only an event tells.
const EVENTS: &str = "events";

/// How many lines of a log are shown, and how much of each.
const LOG_LINES: usize = 15;
const LOG_WIDTH: usize = 500;

/// The last lines of a log, of those that say something.
pub(crate) fn last_lines(lines: Vec<String>) -> Vec<Words> {
    let mut lines: Vec<Words> = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.chars().take(LOG_WIDTH).collect::<String>().into())
        .collect();
    lines.drain(..lines.len().saturating_sub(LOG_LINES));
    lines
}

impl Obstacle {
    fn new(place: String, field: impl Into<String>, kind: ObstacleKind, message: &str) -> Self {
        let (field, message) = (field.into(), message.into());
        Self {
            place,
            field,
            kind,
            message,
            others: 0,
            log: Vec::new(),
            log_error: None,
            runs_again: false,
        }
    }

    /// The names of its pod and container, if it is about one.
    pub(crate) fn container(&self) -> Option<(&str, &str)> {
        self.place.strip_prefix("Pod ")?.split_once(CONTAINER)
    }

    /// The object, without its container.
    pub(crate) fn object(&self) -> &str {
        self.place.split(CONTAINER).next().unwrap_or_default()
    }

    /// What most often helps: one sentence, for the application of this name.
    pub(crate) fn remedy(&self, app: &str) -> String {
        let object = self.object();
        let (kind, name) = object.split_once(' ').unwrap_or(("Pod", object));
        let look = |command: &str, more: &str| {
            format!("`verbatim argocd {command} {app} --kind {kind} --name {name}{more}`")
        };
        match &self.kind {
            ObstacleKind::Crash { reason, .. } if reason == "OOMKilled" => {
                "raise `resources.limits.memory` of the container, or let it need less".to_owned()
            }
            ObstacleKind::Crash { exit_code: Some(126 | 127), .. } => {
                "the command of the container is not in its image, or cannot be run: see `command` and `args`"
                    .to_owned()
            }
            ObstacleKind::Crash { reason, exit_code: Some(0), .. } if reason == "Completed" => {
                "the container ends by itself, and must go on: see `command` and `args`".to_owned()
            }
            ObstacleKind::Crash { .. } => format!("the whole log: {}", look("logs", " --previous")),
            ObstacleKind::Image { .. } => {
                "the nodes must reach the registry and be allowed to pull: see `imagePullSecrets` of the pod".to_owned()
            }
            ObstacleKind::Container { reason } if reason == "CreateContainerConfigError" => {
                "make the ConfigMap, Secret or key that the container names, or correct the name".to_owned()
            }
            ObstacleKind::Unschedulable { reason } if reason == "SchedulingGated" => {
                "whoever has set `spec.schedulingGates` of the pod must remove them".to_owned()
            }
            ObstacleKind::Unschedulable { .. } => {
                "make room, or change `resources.requests`, `nodeSelector`, `affinity` or `tolerations` of the pod"
                    .to_owned()
            }
            ObstacleKind::NoPods { .. } => {
                "raise the quota or limit, or change the pod as the message says"
                    .to_owned()
            }
            ObstacleKind::NotReady { .. } => {
                format!("what the pod says: {}", look("logs", ""))
            }
            ObstacleKind::Container { .. }
            | ObstacleKind::NotStarted { .. }
            | ObstacleKind::Failed { .. }
            | ObstacleKind::Late { .. } => format!("more: {}", look("events", "")),
        }
    }
}

/// What stands in the way of an object by its own words, the most telling first. Empty where it tells nothing.
pub(crate) fn obstacles(object: &ObjectRef, live: &Value) -> Vec<Obstacle> {
    match object.kind.as_str() {
        "Pod" => of_pod(object, live),
        _ => of_workload(object, live),
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A condition with this status.
fn condition<'v>(live: &'v Value, kind: &str, status: &str) -> Option<&'v Value> {
    list(live, "/status/conditions")
        .find(|one| text(one, "/type") == kind && text(one, "/status") == status)
}

fn of_pod(object: &ObjectRef, pod: &Value) -> Vec<Obstacle> {
    let place = object.to_string();
    let said = |field: &str, kind, message| Obstacle::new(place.clone(), field, kind, message);
    if let Some(one) = condition(pod, "PodScheduled", "False") {
        let reason = text(one, "/reason").to_owned();
        let kind = ObstacleKind::Unschedulable { reason };
        return vec![said("status.conditions[PodScheduled]", kind, text(one, "/message"))];
    }
    let of_containers: Vec<Obstacle> = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|field| {
            list(pod, &format!("/status/{field}")).filter_map(move |status| (field, status).into())
        })
        .filter_map(|(field, status)| of_container(&place, field, status, pod))
        .collect();
    if !of_containers.is_empty() {
        return of_containers;
    }
    if text(pod, "/status/phase") == "Failed" {
        let reason = text(pod, "/status/reason").to_owned();
        let kind = ObstacleKind::Failed { reason };
        return vec![said("status.reason", kind, text(pod, "/status/message"))];
    }
    // Containers that are ready, in a pod that a load balancer or another gate keeps from being so.
    let gated = condition(pod, "Ready", "False")
        .filter(|_| condition(pod, "ContainersReady", "True").is_some());
    let gated = gated.map(|one| {
        let kind = ObstacleKind::NotReady { reason: text(one, "/reason").to_owned() };
        said("status.conditions[Ready]", kind, text(one, "/message"))
    });
    gated.into_iter().collect()
}

/// Reasons for which a container waits that has no image: pkg/kubelet/images/types.go of Kubernetes 1.34.
const OF_IMAGES: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Reasons for which a container waits that was never made: pkg/kubelet/kuberuntime/kuberuntime_container.go there.
const OF_CONTAINERS: [&str; 4] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "PreCreateHookError",
    "RunContainerError",
];

/// Whether a container that waits for this reason waits until somebody mends its pod.
pub(crate) fn is_never_started(reason: &str) -> bool {
    OF_IMAGES.contains(&reason) || OF_CONTAINERS.contains(&reason)
}

fn of_container(place: &str, list_name: &str, status: &Value, pod: &Value) -> Option<Obstacle> {
    let name = text(status, "/name");
    let place = format!("{place}{CONTAINER}{name}");
    let field = |state: &str| format!("status.{list_name}[{name}].{state}");
    let restarts = status.pointer("/restartCount").and_then(Value::as_i64).unwrap_or(0);
    let crash = |state: &str| {
        let ended = status.pointer(&format!("/{state}/terminated")).filter(|it| it.is_object())?;
        let kind = ObstacleKind::Crash {
            reason: text(ended, "/reason").to_owned(),
            exit_code: ended.get("exitCode").and_then(Value::as_i64),
            restarts,
        };
        let field = field(&format!("{}.terminated", state.replace('/', ".")));
        Some(Obstacle::new(place.clone(), field, kind, text(ended, "/message")))
    };
    if let Some(waiting) = status.pointer("/state/waiting").filter(|it| it.is_object()) {
        let (reason, message) = (text(waiting, "/reason"), text(waiting, "/message"));
        let kind = match reason {
            "CrashLoopBackOff" => {
                let kind =
                    ObstacleKind::Crash { reason: reason.to_owned(), exit_code: None, restarts };
                let waits = Obstacle::new(place.clone(), field("state.waiting"), kind, message);
                return Some(crash("lastState").unwrap_or(waits));
            }
            // On its way, as far as the pod itself knows.
            "ContainerCreating" | "PodInitializing" | "" => return None,
            reason if OF_IMAGES.contains(&reason) => {
                let image = list(pod, "/spec/containers").chain(list(pod, "/spec/initContainers"));
                let image = image.filter(|one| text(one, "/name") == name);
                let image = image.map(|one| text(one, "/image")).next().unwrap_or_default();
                ObstacleKind::Image { reason: reason.to_owned(), image: image.to_owned() }
            }
            reason => ObstacleKind::Container { reason: reason.to_owned() },
        };
        return Some(Obstacle::new(place, field("state.waiting"), kind, message));
    }
    if status.pointer("/state/terminated").is_some_and(Value::is_object) {
        let ended_well = status.pointer("/state/terminated/exitCode") == Some(&Value::from(0));
        let is_to_end = list_name == "initContainerStatuses"
            || matches!(text(pod, "/spec/restartPolicy"), "Never" | "OnFailure");
        return if ended_well && is_to_end { None } else { crash("state") };
    }
    // It runs again, between two ends.
    let is_ready = status.get("ready") == Some(&Value::Bool(true));
    let crashed = crash("lastState").filter(|_| !is_ready && restarts > 0)?;
    Some(Obstacle { runs_again: true, ..crashed })
}

fn of_workload(object: &ObjectRef, live: &Value) -> Vec<Obstacle> {
    let told = |kind: &str, status: &str, obstacle: fn(String) -> ObstacleKind| {
        let one = condition(live, kind, status)?;
        let kind_of = obstacle(text(one, "/reason").to_owned());
        let field = format!("status.conditions[{kind}]");
        Some(Obstacle::new(object.to_string(), field, kind_of, text(one, "/message")))
    };
    let refused = || told("ReplicaFailure", "True", |reason| ObstacleKind::NoPods { reason });
    let late = || {
        let late = told("Progressing", "False", |reason| ObstacleKind::Late { reason })?;
        matches!(&late.kind, ObstacleKind::Late { reason } if reason == "ProgressDeadlineExceeded")
            .then_some(late)
    };
    let failed = || told("Failed", "True", |reason| ObstacleKind::Failed { reason });
    let found = match object.kind.as_str() {
        "Job" => failed(),
        _ => refused().or_else(late),
    };
    found.into_iter().collect()
}

/// What the newest warning among the events of an object says, if the object itself says nothing.
pub(crate) fn of_events(object: &ObjectRef, events: &[ObjectEvent]) -> Option<Obstacle> {
    let warnings = events.iter().filter(|event| event.kind == "Warning");
    let when = |event: &&ObjectEvent| event.last_timestamp.or(event.event_time);
    let event = warnings.max_by_key(when)?;
    let reason = event.reason.clone();
    let kind = match event.reason.as_str() {
        "FailedScheduling" => ObstacleKind::Unschedulable { reason },
        "Unhealthy" => ObstacleKind::NotReady { reason },
        _ if object.kind != "Pod" => ObstacleKind::NoPods { reason },
        _ => ObstacleKind::NotStarted { reason },
    };
    Some(Obstacle::new(object.to_string(), EVENTS, kind, &event.message))
}

#[cfg(test)]
mod tests;
