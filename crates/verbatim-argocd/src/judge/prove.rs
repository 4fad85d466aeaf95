//! Judges what runs: for each workload with a wanted image, whether the nodes report that image. Pure.
//!
//! The names of images are never evidence here, a mirror may change them; only digests that nodes report are.

use std::collections::BTreeMap;

use serde_json::Value;
use verbatim_oci::Digest;

use crate::api::request::ObjectRef;
use crate::judge::evidence::{ContainerEvidence, EvidenceLevel, WantedImage, WorkloadEvidence};
use crate::judge::hooks::judge_hook;
use crate::judge::mismatch::{Difference, Mismatch};
use crate::judge::rendered::{Container, WORKLOAD_REF, WantedWorkload, collect, concerns};
use crate::model::{ResourceResult, ResourceTree, TreeNode};

/// A live read of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LiveObject {
    Is(Value),
    /// It is not there any more.
    Gone,
    /// It could not be read.
    Unreadable(String),
}

/// What one workload turned out to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Judgement {
    Proven(WorkloadEvidence),
    /// The wanted images in every pod of its newest version, and its rollout is paused by somebody before it is complete.
    Paused {
        part: WorkloadEvidence,
        missing: Mismatch,
    },
    /// Not told yet: it is on its way, or cannot be seen.
    Pending(Mismatch),
    Differs(Vec<Mismatch>),
}

/// A workload with the objects to read for its proof.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadReading<'a> {
    pub ours: &'a WantedWorkload,
    /// Its node, if the tree has one.
    pub node: Option<&'a TreeNode>,
    /// The newest ReplicaSet's number, if pods come through ReplicaSets.
    pub revision: Option<u64>,
    /// Pods that belong to its newest version.
    pub pods: Vec<&'a TreeNode>,
}

impl WorkloadReading<'_> {
    pub(crate) fn objects(&self) -> Vec<ObjectRef> {
        // A job of an earlier time may still run, as it was then.
        if self.ours.object.kind == "CronJob" {
            return self.node.into_iter().map(reference).collect();
        }
        self.node.into_iter().chain(self.pods.iter().copied()).map(reference).collect()
    }
}

/// The address of a node of the tree.
pub(crate) fn reference(node: &TreeNode) -> ObjectRef {
    ObjectRef {
        group: node.group.clone(),
        version: node.version.clone(),
        kind: node.kind.clone(),
        namespace: node.namespace.clone(),
        name: node.name.clone(),
    }
}

/// Finds what to read for a workload: Deployment → newest ReplicaSet → pods, or the pods directly.
pub(crate) fn reading<'a>(
    ours: &'a WantedWorkload,
    tree: &'a ResourceTree,
    namespace: &str,
) -> WorkloadReading<'a> {
    let object = &ours.object;
    let wanted_namespace = if object.namespace.is_empty() { namespace } else { &object.namespace };
    let node = tree.nodes.iter().find(|node| {
        node.group == object.group
            && node.kind == object.kind
            && node.name == object.name
            && (node.namespace == wanted_namespace || node.namespace.is_empty())
    });
    let Some(node) = node else {
        return WorkloadReading { ours, node: None, revision: None, pods: Vec::new() };
    };
    if node.kind == "Pod" {
        return WorkloadReading { ours, node: Some(node), revision: None, pods: vec![node] };
    }
    let newest = children(tree, node)
        .filter(|child| child.kind == "ReplicaSet")
        .max_by_key(|set| set.revision());
    let owner = newest.unwrap_or(node);
    let pods = children(tree, owner).filter(|child| child.kind == "Pod").collect();
    WorkloadReading { ours, node: Some(node), revision: newest.and_then(TreeNode::revision), pods }
}

fn children<'a>(
    tree: &'a ResourceTree,
    parent: &'a TreeNode,
) -> impl Iterator<Item = &'a TreeNode> {
    tree.nodes.iter().filter(|node| node.parent_refs.iter().any(|owner| owner.uid == parent.uid))
}

/// Judges one workload by what was read. `live` is keyed by the objects of [`WorkloadReading::objects`], and `hooks` are
/// the results of the operation that deployed it.
pub(crate) fn judge(
    reading: &WorkloadReading<'_>,
    live: &BTreeMap<ObjectRef, LiveObject>,
    hooks: &[ResourceResult],
) -> Judgement {
    let object = &reading.ours.object;
    let pending = |what| Judgement::Pending(Mismatch { place: object.to_string(), what });
    let template = |why: &str| {
        Judgement::Proven(WorkloadEvidence {
            workload: object.to_string(),
            level: EvidenceLevel::Template { why: why.to_owned() },
            containers: Vec::new(),
        })
    };
    let is_hook = reading.ours.is_hook;
    let Some(node) = reading.node else {
        return match is_hook {
            true => judge_hook(reading.ours, hooks),
            false => pending(Difference::NotThereYet),
        };
    };
    let workload = match live.get(&reference(node)) {
        Some(LiveObject::Is(workload)) => workload,
        Some(LiveObject::Unreadable(why)) => {
            return pending(Difference::Unreadable(why.clone()));
        }
        Some(LiveObject::Gone) | None if is_hook => return judge_hook(reading.ours, hooks),
        Some(LiveObject::Gone) | None => return pending(Difference::Gone),
    };
    let differences = template_differences(reading.ours, workload);
    if !differences.is_empty() {
        return Judgement::Differs(differences);
    }
    if let Some(why) = runs_no_pod(object, workload) {
        return template(why);
    }
    let least = match object.kind.as_str() {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "Rollout" => {
            number(workload, "/spec/replicas").unwrap_or(1)
        }
        _ => 1,
    };
    let Some(what) = unfinished(object, workload, reading.revision) else {
        let pods = reading.pods.iter().map(|node| live.get(&reference(node)));
        let mut counted = pods.filter(
            |pod| matches!(pod, Some(LiveObject::Is(pod)) if counts(pod, object.kind == "Job")),
        );
        return match is_hook && counted.next().is_none() {
            true => judge_hook(reading.ours, hooks),
            false => judge_pods(reading, live, least),
        };
    };
    match judge_pods(reading, live, 1) {
        Judgement::Proven(part) if is_paused(object, workload) => {
            Judgement::Paused { part, missing: Mismatch { place: object.to_string(), what } }
        }
        _ => pending(what),
    }
}

/// The pods with an image of a wanted repository that no workload of the manifests has made: those of an operator, or of a
/// custom resource.
pub(crate) fn strays<'a>(
    tree: &'a ResourceTree,
    readings: &[WorkloadReading<'_>],
    wanted: &[WantedImage],
) -> Vec<&'a TreeNode> {
    let judged = |node: &TreeNode| {
        readings.iter().filter_map(|reading| reading.node).any(|known| known.uid == node.uid)
    };
    let concerned = |node: &&TreeNode| {
        let ours = |image: &String| wanted.iter().any(|wanted| concerns(image, wanted));
        node.kind == "Pod" && node.images.iter().any(ours)
    };
    tree.nodes
        .iter()
        .filter(concerned)
        .filter(|node| !with_makers(tree, node).any(judged))
        .collect()
}

/// A node, its maker, the maker of that one, and so on: the first of each.
fn with_makers<'a>(
    tree: &'a ResourceTree,
    node: &'a TreeNode,
) -> impl Iterator<Item = &'a TreeNode> {
    let maker = |node: &&'a TreeNode| {
        let is_maker = |other: &&TreeNode| node.parent_refs.iter().any(|of| of.uid == other.uid);
        tree.nodes.iter().find(is_maker)
    };
    // Nobody can make a circle of owners but by hand, and then it must end, too.
    std::iter::successors(Some(node), maker).take(tree.nodes.len())
}

/// Judges a pod of [`strays`] by what was read of it. `None` if it does not count.
pub(crate) fn judge_stray(
    node: &TreeNode,
    live: &BTreeMap<ObjectRef, LiveObject>,
    wanted: &[WantedImage],
) -> Option<Judgement> {
    let workload = format!("Pod {}", node.name);
    let pod = match live.get(&reference(node))? {
        LiveObject::Is(pod) if counts(pod, false) => pod,
        LiveObject::Is(_) | LiveObject::Gone => return None,
        LiveObject::Unreadable(why) => {
            let what = Difference::Unreadable(why.clone());
            return Some(Judgement::Pending(Mismatch { place: workload, what }));
        }
    };
    let mut containers = Vec::new();
    collect(pod.get("spec").unwrap_or(&Value::Null), &mut containers);
    let mut evidence = Vec::new();
    for Container { name, image } in containers {
        let concerned = wanted.iter().filter(|one| concerns(&image, one));
        let judged = concerned.map(|one| judge_container(pod, node, &name, one));
        match judged.reduce(Result::or) {
            None => {}
            Some(Ok(found)) => evidence.push(found),
            // Its operator may yet replace it.
            Some(Err(missing)) => return Some(Judgement::Pending(missing)),
        }
    }
    let level = EvidenceLevel::Pods { pods: 1 };
    Some(Judgement::Proven(WorkloadEvidence { workload, level, containers: evidence }))
}

/// Whether somebody, or a step of a canary, holds the rollout: <https://argo-rollouts.readthedocs.io/en/stable/features/specification/>.
fn is_paused(object: &ObjectRef, workload: &Value) -> bool {
    let by_spec = workload.pointer("/spec/paused") == Some(&Value::Bool(true));
    let conditions = workload.pointer("/status/pauseConditions").and_then(Value::as_array);
    match object.kind.as_str() {
        "Deployment" => by_spec,
        "Rollout" => by_spec || conditions.is_some_and(|conditions| !conditions.is_empty()),
        _ => false,
    }
}

/// Containers of the live object that do not have the wanted digest: somebody changed the object itself.
fn template_differences(ours: &WantedWorkload, workload: &Value) -> Vec<Mismatch> {
    if workload.pointer(WORKLOAD_REF).is_some() {
        return Vec::new();
    }
    let mut containers = Vec::new();
    collect(workload.get("spec").unwrap_or(&Value::Null), &mut containers);
    ours.containers
        .iter()
        .filter_map(|(name, wanted)| {
            let place = format!("{}, container {name}", ours.object);
            match containers.iter().find(|container| container.name == *name) {
                None => Some(Mismatch { place, what: Difference::NoContainer }),
                Some(container) if container.digest() == Some(wanted.digest) => None,
                Some(container) => {
                    Some(Mismatch { place, what: Difference::LiveObject(container.image.clone()) })
                }
            }
        })
        .collect()
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// Why a workload has no pod and is not to have one.
fn runs_no_pod(object: &ObjectRef, workload: &Value) -> Option<&'static str> {
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
        "CronJob" => Some("a CronJob runs pods only at its times"),
        "Job" => (workload.pointer("/spec/suspend") == Some(&Value::Bool(true)))
            .then_some("it is suspended"),
        _ => None,
    }
}

/// What keeps a rollout from being complete. The object is a live read, so this is newer than any health.
fn unfinished(object: &ObjectRef, workload: &Value, revision: Option<u64>) -> Option<Difference> {
    let status = |field: &str| number(workload, &format!("/status/{field}")).unwrap_or(0);
    let is = |kind: &str| object.kind == kind && object.group == "apps";
    if (is("Deployment") || is("StatefulSet") || is("DaemonSet"))
        && status("observedGeneration") < number(workload, "/metadata/generation").unwrap_or(0)
    {
        return Some(Difference::Unobserved);
    }
    if is("Deployment") || is("StatefulSet") {
        let wanted = number(workload, "/spec/replicas").unwrap_or(1);
        let partition =
            number(workload, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let (updated, all) = (status("updatedReplicas"), status("replicas"));
        if updated < wanted - partition || (is("Deployment") && all > updated) {
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

/// Judges the pods of the newest version, of which there must be at least so many.
fn judge_pods(
    reading: &WorkloadReading<'_>,
    live: &BTreeMap<ObjectRef, LiveObject>,
    least: i64,
) -> Judgement {
    let object = &reading.ours.object;
    let is_job = object.kind == "Job";
    let mut containers = Vec::new();
    let (mut differences, mut pending) = (Vec::new(), Vec::new());
    let mut pods = 0;
    for node in &reading.pods {
        let place = format!("Pod {}", node.name);
        match live.get(&reference(node)) {
            Some(LiveObject::Is(pod)) if counts(pod, is_job) => {
                pods += 1;
                for (name, wanted) in &reading.ours.containers {
                    match judge_container(pod, node, name, wanted) {
                        Ok(found) => containers.push(found),
                        Err(one) if one.what.is_on_its_way() => pending.push(one),
                        Err(one) => differences.push(one),
                    }
                }
            }
            Some(LiveObject::Is(_)) | Some(LiveObject::Gone) | None => {}
            Some(LiveObject::Unreadable(why)) => {
                pods += 1;
                pending.push(Mismatch { place, what: Difference::Unreadable(why.clone()) });
            }
        }
    }
    if !differences.is_empty() {
        return Judgement::Differs(differences);
    }
    if let Some(first) = pending.into_iter().next() {
        return Judgement::Pending(first);
    }
    let template = |why: &str| WorkloadEvidence {
        workload: object.to_string(),
        level: EvidenceLevel::Template { why: why.to_owned() },
        containers: Vec::new(),
    };
    if pods == 0 && is_job {
        return Judgement::Proven(template("its pods are gone"));
    }
    if (pods as i64) < least {
        let what = Difference::Pods { pods, least };
        return Judgement::Pending(Mismatch { place: object.to_string(), what });
    }
    Judgement::Proven(WorkloadEvidence {
        workload: object.to_string(),
        level: EvidenceLevel::Pods { pods },
        containers,
    })
}

/// Judges what a node reports about a container that is to run this image.
fn judge_container(
    pod: &Value,
    node: &TreeNode,
    name: &str,
    wanted: &WantedImage,
) -> Result<ContainerEvidence, Mismatch> {
    let place = format!("Pod {}, container {name}", node.name);
    let image_id = match container_state(pod, name) {
        Reported::Image(image_id) => image_id,
        Reported::Nothing(what) => return Err(Mismatch { place, what }),
        Reported::NoImage => return Err(Mismatch { place, what: Difference::NoImage }),
    };
    match image_digest(&image_id).and_then(|digest| wanted.matches(&digest)) {
        Some(matched) => {
            let (pod, container) = (node.name.clone(), name.to_owned());
            Ok(ContainerEvidence { pod, container, image_id, matched })
        }
        None => {
            let wanted = Box::new(wanted.clone());
            Err(Mismatch { place, what: Difference::OtherImage { image_id, wanted } })
        }
    }
}

/// Whether a pod counts: not one that is going away or has ended, unless ending is its purpose.
fn counts(pod: &Value, is_job: bool) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    pod.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null)
        && phase != "Failed"
        && (is_job || phase != "Succeeded")
}

/// What a node reports about a container.
enum Reported {
    Nothing(Difference),
    NoImage,
    Image(String),
}

fn container_state(pod: &Value, name: &str) -> Reported {
    let status = ["containerStatuses", "initContainerStatuses"]
        .iter()
        .filter_map(|list| pod.pointer(&format!("/status/{list}"))?.as_array())
        .flatten()
        .find(|status| status.get("name").and_then(Value::as_str) == Some(name));
    let Some(status) = status else {
        return Reported::Nothing(Difference::Unreported);
    };
    if let Some(waiting) = status.pointer("/state/waiting") {
        let text =
            |field: &str| waiting.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        // A container that crashed reports the image that it ran, but it does not run.
        let (reason, message) = (text("reason"), text("message"));
        return Reported::Nothing(Difference::Waiting { reason, message });
    }
    match status.get("imageID").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) => Reported::Image(id.to_owned()),
        None => Reported::NoImage,
    }
}

/// The digest in what a node reports: `docker-pullable://repository@sha256:…`, `repository@sha256:…`, `sha256:…`,
/// `docker://sha256:…`.
pub(crate) fn image_digest(image_id: &str) -> Option<Digest> {
    let tail = image_id.rsplit(['@', '/']).next()?;
    tail.parse().ok()
}

#[cfg(test)]
mod tests;
