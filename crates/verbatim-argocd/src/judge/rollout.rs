//! How far a workload is with its newest version, by its own fields: what is missing, what holds it, how many pods it must have.
//! Pure; what the pods run is [`crate::judge::prove`]'s. The tests of both are there.

use serde_json::Value;

use crate::api::request::ObjectRef;
use crate::judge::mismatch::Difference;
use crate::judge::reading::only_a_template;

/// Whether somebody, or a step of a canary, holds the rollout: <https://argo-rollouts.readthedocs.io/en/stable/features/specification/>.
pub(crate) fn is_paused(object: &ObjectRef, workload: &Value) -> bool {
    let conditions = workload.pointer("/status/pauseConditions").and_then(Value::as_array);
    let by_step = conditions.is_some_and(|conditions| !conditions.is_empty());
    paused_by(object, workload).is_some()
        || (object.kind == "Rollout" && by_step)
        || held_by_partition(object, workload).is_some()
}

/// The field that keeps a workload from making pods of its newest version, until somebody changes it or deletes pods. None as
/// long as its controller may be at work.
pub(crate) fn held_by(
    object: &ObjectRef,
    workload: &Value,
    what: &Difference,
) -> Option<&'static str> {
    if *what == Difference::Unobserved {
        return None;
    }
    let strategy = workload.pointer("/spec/updateStrategy/type").and_then(Value::as_str);
    match object.kind.as_str() {
        "StatefulSet" | "DaemonSet" if strategy == Some("OnDelete") => {
            return Some("spec.updateStrategy.type: OnDelete");
        }
        _ => {}
    }
    let begun = updated_and_wanted(object, workload).0 > 0;
    paused_by(object, workload).filter(|_| !begun).or_else(|| held_by_partition(object, workload))
}

/// The field by which somebody has paused the rollout. For the group `apps.kruise.io`:
/// <https://openkruise.io/docs/user-manuals/cloneset/>, <https://openkruise.io/docs/user-manuals/advancedstatefulset/>.
fn paused_by(object: &ObjectRef, workload: &Value) -> Option<&'static str> {
    let (pointer, field) = match (object.group.as_str(), object.kind.as_str()) {
        (_, "Deployment" | "Rollout") => ("/spec/paused", "spec.paused: true"),
        (KRUISE, "CloneSet") => ("/spec/updateStrategy/paused", "spec.updateStrategy.paused: true"),
        (KRUISE, "StatefulSet" | "DaemonSet") => (
            "/spec/updateStrategy/rollingUpdate/paused",
            "spec.updateStrategy.rollingUpdate.paused: true",
        ),
        _ => return None,
    };
    (workload.pointer(pointer) == Some(&Value::Bool(true))).then_some(field)
}

/// OpenKruise's group, whose workloads look like those of `apps`.
const KRUISE: &str = "apps.kruise.io";

/// How many pods of its newest version a workload has, and how many it wants.
fn updated_and_wanted(object: &ObjectRef, workload: &Value) -> (i64, i64) {
    let (updated, wanted, usual) = match object.kind.as_str() {
        "DaemonSet" => ("/status/updatedNumberScheduled", "/status/desiredNumberScheduled", 0),
        _ => ("/status/updatedReplicas", "/spec/replicas", 1),
    };
    (number(workload, updated).unwrap_or(0), number(workload, wanted).unwrap_or(usual))
}

/// The field by which so many pods keep their earlier version, if all others have the newest one.
fn held_by_partition(object: &ObjectRef, workload: &Value) -> Option<&'static str> {
    let (pointer, field) = match (object.group.as_str(), object.kind.as_str()) {
        (_, "StatefulSet") | (KRUISE, "DaemonSet") => (
            "/spec/updateStrategy/rollingUpdate/partition",
            "spec.updateStrategy.rollingUpdate.partition",
        ),
        (KRUISE, "CloneSet") => ("/spec/updateStrategy/partition", "spec.updateStrategy.partition"),
        _ => return None,
    };
    let (updated, wanted) = updated_and_wanted(object, workload);
    let kept = match workload.pointer(pointer)? {
        // A CloneSet takes a share of its pods, too, and rounds up.
        Value::String(share) => {
            let percent: i64 = share.strip_suffix('%')?.parse().ok()?;
            (wanted.checked_mul(percent)?.checked_add(99)?) / 100
        }
        other => other.as_i64()?,
    };
    (kept > 0 && updated >= wanted - kept).then_some(field)
}

/// Whether a pod is of the newest version of a workload that names its versions, as a StatefulSet does.
pub(crate) fn is_newest(pod: &Value, workload: &Value) -> bool {
    let text = |value: &'_ Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    };
    let newest = text(workload, "/status/updateRevision");
    let of_pod = text(pod, "/metadata/labels/controller-revision-hash");
    match newest.zip(of_pod) {
        // With the name of the workload before it, or without.
        Some((newest, of_pod)) => newest == of_pod || newest.ends_with(&format!("-{of_pod}")),
        None => true,
    }
}

/// How many pods of its newest version a workload must have.
pub(crate) fn least_pods(kind: &str, workload: &Value) -> i64 {
    match kind {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" | "Rollout" => {
            number(workload, "/spec/replicas").unwrap_or(1)
        }
        "DaemonSet" => number(workload, "/status/desiredNumberScheduled").unwrap_or(1),
        "Job" => {
            let parallel = number(workload, "/spec/parallelism").unwrap_or(1);
            match number(workload, "/spec/completions") {
                None => parallel,
                Some(all) if is_complete(workload) => all,
                Some(all) => parallel.min(all),
            }
        }
        _ => 1,
    }
}

/// How many pods an object has to have by itself.
pub(crate) fn own_pods(object: &ObjectRef, workload: &Value) -> i64 {
    match (object.group.as_str(), object.kind.as_str()) {
        (KRUISE, "CloneSet") => number(workload, "/spec/replicas").unwrap_or(1),
        _ => 0,
    }
}

/// Whether a Job has ended well.
pub(crate) fn is_complete(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Complete" && condition["status"] == "True")
}

/// Why a workload has no pod and is not to have one.
pub(crate) fn runs_no_pod(object: &ObjectRef, workload: &Value) -> Option<&'static str> {
    if let Some(why) = only_a_template(object) {
        return Some(why);
    }
    match object.kind.as_str() {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "Rollout" => {
            (number(workload, "/spec/replicas") == Some(0)).then_some("it is scaled to zero")
        }
        "DaemonSet" => {
            let seen = number(workload, "/status/observedGeneration")
                >= number(workload, "/metadata/generation");
            let none = number(workload, "/status/desiredNumberScheduled") == Some(0);
            (seen && none).then_some("no node takes it")
        }
        "Job" => (workload.pointer("/spec/suspend") == Some(&Value::Bool(true)))
            .then_some("it is suspended"),
        _ => None,
    }
}

/// Whether an object of any kind that scales says that it wants no pod and has none, and its controller has seen that.
pub(crate) fn is_scaled_to_zero(workload: &Value) -> bool {
    let seen = number(workload, "/status/observedGeneration")
        .is_some_and(|seen| Some(seen) >= number(workload, "/metadata/generation"));
    seen && number(workload, "/spec/replicas") == Some(0)
        && number(workload, "/status/replicas").unwrap_or(0) == 0
}

/// What keeps a rollout from being complete. The object is a live read, so this is newer than any health.
pub(crate) fn unfinished(
    object: &ObjectRef,
    workload: &Value,
    revision: Option<u64>,
) -> Option<Difference> {
    let status = |field: &str| number(workload, &format!("/status/{field}")).unwrap_or(0);
    let is_like =
        |kind: &str| object.kind == kind && ["apps", KRUISE].contains(&object.group.as_str());
    let is = |kind: &str| is_like(kind) && (object.group == "apps" || kind != "Deployment");
    let is_clone_set = object.kind == "CloneSet" && object.group == KRUISE;
    if (is("Deployment") || is("StatefulSet") || is("DaemonSet") || is_clone_set)
        && status("observedGeneration") < number(workload, "/metadata/generation").unwrap_or(0)
    {
        return Some(Difference::Unobserved);
    }
    if is("Deployment") || is("StatefulSet") || is_clone_set {
        let wanted = number(workload, "/spec/replicas").unwrap_or(1);
        let (updated, all) = (status("updatedReplicas"), status("replicas"));
        let is_one_version = is("Deployment") || is_clone_set;
        if updated < wanted || (is_one_version && all > updated) {
            return Some(Difference::Replicas { updated, wanted, all });
        }
    }
    if is("DaemonSet") && status("updatedNumberScheduled") < status("desiredNumberScheduled") {
        let (updated, wanted) =
            (status("updatedNumberScheduled"), status("desiredNumberScheduled"));
        return Some(Difference::Nodes { updated, wanted });
    }
    if object.kind == "Rollout" {
        // argo-rollouts 1.8, pkg/apis/rollouts/v1alpha1/types.go: the new version is `currentPodHash`, the one that
        // all traffic goes to when no step is left is `stableRS`.
        let hash =
            |field: &str| workload.pointer(&format!("/status/{field}")).and_then(Value::as_str);
        let (updated, wanted) =
            (status("updatedReplicas"), number(workload, "/spec/replicas").unwrap_or(1));
        if updated < wanted || hash("currentPodHash") != hash("stableRS") {
            return Some(Difference::Rollout { updated, wanted });
        }
    }
    if is("Deployment") {
        let current = workload
            .pointer("/metadata/annotations/deployment.kubernetes.io~1revision")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        if current.is_some() && current != revision {
            return Some(Difference::ReplicaSetUnseen);
        }
    }
    None
}

pub(crate) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}
