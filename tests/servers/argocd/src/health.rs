//! Health of live objects, by the built-in rules of Argo CD's gitops-engine (`pkg/health`). Pure.

use serde_json::Value;

use super::objects::{group_version, items, number, text};

/// From best to worst, as Argo CD orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Healthy,
    Suspended,
    Progressing,
    Missing,
    Degraded,
    Unknown,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

/// A status and what it is because of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl Health {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// As it stands in a resource's status.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = serde_json::json!({ "status": self.status.name() });
        if !self.message.is_empty() {
            value["message"] = self.message.clone().into();
        }
        value
    }
}

/// The health of a live object; `None` for kinds that have none.
pub(crate) fn health(object: &Value) -> Option<Health> {
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        return Some(Health::new(Status::Progressing, "Pending deletion"));
    }
    let (group, _) = group_version(object);
    Some(match (group, text(object, "/kind")) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("networking.k8s.io", "Ingress") => ingress(object),
        _ => return None,
    })
}

fn count(object: &Value, name: &str) -> i64 {
    number(object, &format!("/status/{name}")).unwrap_or(0)
}

fn observed(object: &Value) -> bool {
    number(object, "/metadata/generation").unwrap_or(0) <= count(object, "observedGeneration")
}

fn progressing(message: impl Into<String>) -> Health {
    Health::new(Status::Progressing, message)
}

fn healthy() -> Health {
    Health::new(Status::Healthy, "")
}

fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    items(object, "/status/conditions").iter().find(|one| text(one, "/type") == kind)
}

fn deployment(object: &Value) -> Health {
    if object.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false) {
        return Health::new(Status::Suspended, "Deployment is paused");
    }
    if !observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed deployment generation less than desired generation",
        );
    }
    if condition(object, "Progressing")
        .is_some_and(|one| text(one, "/reason") == "ProgressDeadlineExceeded")
    {
        let name = text(object, "/metadata/name");
        return Health::new(
            Status::Degraded,
            format!("Deployment \"{name}\" exceeded its progress deadline"),
        );
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let (all, updated, available) = (
        count(object, "replicas"),
        count(object, "updatedReplicas"),
        count(object, "availableReplicas"),
    );
    if updated < wanted {
        return progressing(format!(
            "Waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated..."
        ));
    }
    if all > updated {
        let old = all - updated;
        return progressing(format!(
            "Waiting for rollout to finish: {old} old replicas are pending termination..."
        ));
    }
    if available < updated {
        return progressing(format!(
            "Waiting for rollout to finish: {available} of {updated} updated replicas are available..."
        ));
    }
    healthy()
}

fn replica_set(object: &Value) -> Health {
    if !observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed replica set generation less than desired generation",
        );
    }
    let (wanted, available) =
        (number(object, "/spec/replicas").unwrap_or(1), count(object, "availableReplicas"));
    if available < wanted {
        return progressing(format!(
            "Waiting for rollout to finish: {available} out of {wanted} new replicas are available..."
        ));
    }
    healthy()
}

fn stateful_set(object: &Value) -> Health {
    if !observed(object) {
        return progressing("Waiting for statefulset spec update to be observed...");
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = count(object, "readyReplicas");
    if ready < wanted {
        return progressing(format!("Waiting for {} pods to be ready...", wanted - ready));
    }
    if text(object, "/status/updateRevision") != text(object, "/status/currentRevision") {
        let updated = count(object, "updatedReplicas");
        return progressing(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {}...",
            text(object, "/status/updateRevision")
        ));
    }
    let revision = text(object, "/status/currentRevision");
    let current = count(object, "currentReplicas");
    Health::new(
        Status::Healthy,
        format!("statefulset rolling update complete {current} pods at revision {revision}..."),
    )
}

fn daemon_set(object: &Value) -> Health {
    if !observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed daemon set generation less than desired generation",
        );
    }
    let name = text(object, "/metadata/name");
    let wanted = count(object, "desiredNumberScheduled");
    let (updated, available) =
        (count(object, "updatedNumberScheduled"), count(object, "numberAvailable"));
    if updated < wanted {
        return progressing(format!(
            "Waiting for daemon set \"{name}\" rollout to finish: {updated} out of {wanted} new pods have been updated..."
        ));
    }
    if available < wanted {
        return progressing(format!(
            "Waiting for daemon set \"{name}\" rollout to finish: {available} of {wanted} updated pods are available..."
        ));
    }
    healthy()
}

fn job(object: &Value) -> Health {
    for one in
        items(object, "/status/conditions").iter().filter(|one| text(one, "/status") == "True")
    {
        match text(one, "/type") {
            "Failed" => return Health::new(Status::Degraded, text(one, "/message")),
            "Complete" => return Health::new(Status::Healthy, text(one, "/message")),
            "Suspended" => return Health::new(Status::Suspended, text(one, "/message")),
            _ => {}
        }
    }
    progressing("")
}

fn pod(object: &Value) -> Health {
    let message = text(object, "/status/message");
    let containers = || {
        items(object, "/status/initContainerStatuses")
            .iter()
            .chain(items(object, "/status/containerStatuses"))
    };
    let always = matches!(text(object, "/spec/restartPolicy"), "" | "Always");
    if always {
        for container in containers() {
            let reason = text(container, "/state/waiting/reason");
            if reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff")
            {
                return Health::new(Status::Degraded, text(container, "/state/waiting/message"));
            }
        }
    }
    match text(object, "/status/phase") {
        "Pending" | "" => progressing(message),
        "Succeeded" => Health::new(Status::Healthy, message),
        "Failed" => {
            let ended = containers().find_map(|one| {
                number(one, "/state/terminated/exitCode").filter(|code| *code != 0)
            });
            let said = ended.map_or_else(
                || message.to_owned(),
                |code| format!("container failed with exit code {code}"),
            );
            Health::new(Status::Degraded, said)
        }
        "Running" if !always => progressing(message),
        "Running" => {
            let ready =
                condition(object, "Ready").is_some_and(|one| text(one, "/status") == "True");
            if ready {
                return Health::new(Status::Healthy, message);
            }
            let restarted = containers().any(|one| one.pointer("/lastState/terminated").is_some());
            if restarted { Health::new(Status::Degraded, message) } else { progressing(message) }
        }
        _ => Health::new(Status::Unknown, message),
    }
}

fn service(object: &Value) -> Health {
    let waits = text(object, "/spec/type") == "LoadBalancer"
        && items(object, "/status/loadBalancer/ingress").is_empty();
    if waits { progressing("") } else { healthy() }
}

fn ingress(object: &Value) -> Health {
    if items(object, "/status/loadBalancer/ingress").is_empty() {
        progressing("")
    } else {
        healthy()
    }
}

fn claim(object: &Value) -> Health {
    match text(object, "/status/phase") {
        "Lost" => Health::new(Status::Degraded, ""),
        "Bound" => healthy(),
        _ => progressing(""),
    }
}

/// The application's health from that of its managed resources: the worst, where missing ones count only when
/// nothing is there at all.
pub(crate) fn of_application(resources: impl IntoIterator<Item = Option<Status>>) -> Status {
    let (mut worst, mut missing, mut others) = (Status::Healthy, false, false);
    for status in resources {
        match status {
            Some(Status::Missing) => missing = true,
            Some(status) => {
                worst = worst.max(status);
                others = true;
            }
            None => others = true,
        }
    }
    if missing && !others { Status::Missing } else { worst }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(object: &Value, want: Option<(Status, &str)>) {
        let got = health(object);
        assert_eq!(
            got.as_ref().map(|health| (health.status, health.message.as_str())),
            want,
            "{object}"
        );
    }

    #[test]
    fn deployments() {
        let with = |spec: Value, status: Value| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "generation": 2 }, "spec": spec, "status": status });
        let wait = |words: &'static str| Some((Status::Progressing, words));
        check(
            &with(json!({ "replicas": 2 }), json!({ "observedGeneration": 1 })),
            wait(
                "Waiting for rollout to finish: observed deployment generation less than desired generation",
            ),
        );
        check(
            &with(
                json!({ "replicas": 2 }),
                json!({ "observedGeneration": 2, "updatedReplicas": 1 }),
            ),
            wait("Waiting for rollout to finish: 1 out of 2 new replicas have been updated..."),
        );
        check(
            &with(
                json!({ "replicas": 1 }),
                json!({ "observedGeneration": 2, "updatedReplicas": 1, "replicas": 3 }),
            ),
            wait("Waiting for rollout to finish: 2 old replicas are pending termination..."),
        );
        check(
            &with(
                json!({ "replicas": 1 }),
                json!({ "observedGeneration": 2, "updatedReplicas": 1, "replicas": 1 }),
            ),
            wait("Waiting for rollout to finish: 0 of 1 updated replicas are available..."),
        );
        let done = json!({ "observedGeneration": 2, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1 });
        check(&with(json!({}), done.clone()), Some((Status::Healthy, "")));
        check(
            &with(json!({ "paused": true }), done),
            Some((Status::Suspended, "Deployment is paused")),
        );
        let late = json!({ "observedGeneration": 2, "conditions": [{ "type": "Progressing", "reason": "ProgressDeadlineExceeded" }] });
        check(
            &with(json!({}), late),
            Some((Status::Degraded, "Deployment \"web\" exceeded its progress deadline")),
        );
    }

    #[test]
    fn pods() {
        let with = |status: Value| json!({ "apiVersion": "v1", "kind": "Pod", "spec": {}, "status": status });
        let waiting = |reason: &str| json!({ "phase": "Pending", "containerStatuses": [{ "state": { "waiting": { "reason": reason, "message": "m" } } }] });
        check(&with(json!({ "phase": "Pending" })), Some((Status::Progressing, "")));
        check(&with(waiting("ImagePullBackOff")), Some((Status::Degraded, "m")));
        check(&with(waiting("ErrImagePull")), Some((Status::Degraded, "m")));
        check(&with(waiting("ContainerCreating")), Some((Status::Progressing, "")));
        let ready =
            json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        check(&with(ready), Some((Status::Healthy, "")));
        let crashed = json!({ "phase": "Running", "containerStatuses": [{ "lastState": { "terminated": { "exitCode": 1 } } }] });
        check(&with(crashed), Some((Status::Degraded, "")));
    }

    #[test]
    fn other_kinds() {
        let job = |kind: &str| json!({ "apiVersion": "batch/v1", "kind": "Job", "status": { "conditions": [{ "type": kind, "status": "True", "message": "m" }] } });
        check(&job("Failed"), Some((Status::Degraded, "m")));
        check(&job("Complete"), Some((Status::Healthy, "m")));
        check(&json!({ "apiVersion": "batch/v1", "kind": "Job" }), Some((Status::Progressing, "")));
        check(&json!({ "apiVersion": "v1", "kind": "ConfigMap" }), None);
        check(
            &json!({ "apiVersion": "v1", "kind": "Service", "spec": { "type": "LoadBalancer" } }),
            Some((Status::Progressing, "")),
        );
        check(&json!({ "apiVersion": "v1", "kind": "Service" }), Some((Status::Healthy, "")));
    }

    #[test]
    fn applications() {
        use Status::{Degraded, Healthy, Missing, Progressing};
        let cases: [(&[Option<Status>], Status); 6] = [
            (&[], Healthy),
            (&[None], Healthy),
            (&[Some(Missing), Some(Missing)], Missing),
            (&[Some(Missing), Some(Healthy)], Healthy),
            (&[Some(Progressing), Some(Healthy), None], Progressing),
            (&[Some(Progressing), Some(Degraded)], Degraded),
        ];
        for (resources, want) in cases {
            assert_eq!(of_application(resources.iter().copied()), want, "{resources:?}");
        }
    }
}
