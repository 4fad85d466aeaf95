//! Judges what runs: for each workload with a wanted image, whether the nodes report that image. Pure.
//!
//! The names of images are never evidence here, a mirror may change them; only digests that nodes report are.

use std::collections::BTreeMap;

use serde_json::Value;
use verbatim_oci::Digest;

use crate::model::{Node, Tree};
use crate::outcome::{ContainerEvidence, Level, Problem, WorkloadEvidence};
use crate::rendered::{Object, Ours, collect};
use crate::request::ObjectRef;

/// A live read of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// The object.
    Is(Value),
    /// It is not there any more.
    Gone,
    /// It could not be read.
    Unreadable(String),
}

/// What one workload turned out to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// The wanted images.
    Proven(WorkloadEvidence),
    /// Not told yet: it is on its way, or cannot be seen.
    Pending(Problem),
    /// Something else.
    Differs(Vec<Problem>),
}

/// A workload with the objects to read for its proof.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// The workload.
    pub ours: &'a Ours,
    /// Its node, if the tree has one.
    pub node: Option<&'a Node>,
    /// The newest ReplicaSet's number, if pods come through ReplicaSets.
    pub revision: Option<u64>,
    /// Pods that belong to its newest version.
    pub pods: Vec<&'a Node>,
}

impl Reading<'_> {
    /// The objects to read.
    pub fn objects(&self) -> Vec<ObjectRef> {
        // Between its runs a CronJob has nothing to look at but its template, which the comparison has seen.
        if self.ours.object.kind == "CronJob" {
            return Vec::new();
        }
        self.node.into_iter().chain(self.pods.iter().copied()).map(reference).collect()
    }
}

/// The address of a node of the tree.
pub fn reference(node: &Node) -> ObjectRef {
    ObjectRef {
        group: node.group.clone(),
        version: node.version.clone(),
        kind: node.kind.clone(),
        namespace: node.namespace.clone(),
        name: node.name.clone(),
    }
}

/// Finds what to read for a workload: Deployment → newest ReplicaSet → pods, or the pods directly.
pub fn reading<'a>(ours: &'a Ours, tree: &'a Tree, namespace: &str) -> Reading<'a> {
    let object = &ours.object;
    let wanted_namespace = if object.namespace.is_empty() { namespace } else { &object.namespace };
    let node = tree.nodes.iter().find(|node| {
        node.group == object.group
            && node.kind == object.kind
            && node.name == object.name
            && (node.namespace == wanted_namespace || node.namespace.is_empty())
    });
    let Some(node) = node else {
        return Reading { ours, node: None, revision: None, pods: Vec::new() };
    };
    if node.kind == "Pod" {
        return Reading { ours, node: Some(node), revision: None, pods: vec![node] };
    }
    let newest = children(tree, node)
        .filter(|child| child.kind == "ReplicaSet")
        .max_by_key(|set| set.revision());
    let owner = newest.unwrap_or(node);
    let pods = children(tree, owner).filter(|child| child.kind == "Pod").collect();
    Reading { ours, node: Some(node), revision: newest.and_then(Node::revision), pods }
}

fn children<'a>(tree: &'a Tree, parent: &'a Node) -> impl Iterator<Item = &'a Node> {
    tree.nodes.iter().filter(|node| node.parent_refs.iter().any(|owner| owner.uid == parent.uid))
}

/// Judges one workload by what was read. `live` is keyed by the objects of [`Reading::objects`].
pub fn judge(reading: &Reading<'_>, live: &BTreeMap<ObjectRef, Live>) -> Judgement {
    let object = &reading.ours.object;
    let pending = |what: String| Judgement::Pending(Problem { place: object.to_string(), what });
    let template = |why: &str| {
        Judgement::Proven(WorkloadEvidence {
            workload: object.to_string(),
            level: Level::Template { why: why.to_owned() },
            containers: Vec::new(),
        })
    };
    if object.kind == "CronJob" {
        return template("a CronJob runs pods only at its times");
    }
    let Some(node) = reading.node else {
        return if reading.ours.is_hook {
            template("a hook that is not there any more")
        } else {
            pending("it is not in the cluster yet".into())
        };
    };
    let workload = match live.get(&reference(node)) {
        Some(Live::Is(workload)) => workload,
        Some(Live::Unreadable(why)) => return pending(format!("it cannot be read: {why}")),
        Some(Live::Gone) | None if reading.ours.is_hook => {
            return template("a hook that is not there any more");
        }
        Some(Live::Gone) | None => return pending("it is not in the cluster".into()),
    };
    let differences = template_differences(reading.ours, workload);
    if !differences.is_empty() {
        return Judgement::Differs(differences);
    }
    if let Some(why) = runs_no_pod(object, workload) {
        return template(why);
    }
    if let Some(what) = unfinished(object, workload, reading.revision) {
        return pending(what);
    }
    judge_pods(reading, live, workload)
}

/// Containers of the live object that do not have the wanted digest: somebody changed the object itself.
fn template_differences(ours: &Ours, workload: &Value) -> Vec<Problem> {
    let mut containers = Vec::new();
    collect(workload.get("spec").unwrap_or(&Value::Null), &mut containers);
    ours.containers
        .iter()
        .filter_map(|(name, wanted)| {
            let place = format!("{}, container {name}", ours.object);
            match containers.iter().find(|container| container.name == *name) {
                None => {
                    Some(Problem { place, what: "the live object has no such container".into() })
                }
                Some(container) if container.digest() == Some(wanted.digest) => None,
                Some(container) => Some(Problem {
                    place,
                    what: format!("the live object has {}", container.image),
                }),
            }
        })
        .collect()
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// Why a workload has no pod and is not to have one.
fn runs_no_pod(object: &Object, workload: &Value) -> Option<&'static str> {
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

/// What keeps a rollout from being complete. The object is a live read, so this is newer than any health.
fn unfinished(object: &Object, workload: &Value, revision: Option<u64>) -> Option<String> {
    let status = |field: &str| number(workload, &format!("/status/{field}")).unwrap_or(0);
    let is = |kind: &str| object.kind == kind && object.group == "apps";
    if (is("Deployment") || is("StatefulSet") || is("DaemonSet"))
        && status("observedGeneration") < number(workload, "/metadata/generation").unwrap_or(0)
    {
        return Some("its controller has not seen the change yet".into());
    }
    if is("Deployment") || is("StatefulSet") {
        let wanted = number(workload, "/spec/replicas").unwrap_or(1);
        let partition =
            number(workload, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let (updated, all) = (status("updatedReplicas"), status("replicas"));
        if updated < wanted - partition || (is("Deployment") && all > updated) {
            return Some(format!("{updated} of {wanted} replicas are updated, {all} exist"));
        }
    }
    if is("DaemonSet") && status("updatedNumberScheduled") < status("desiredNumberScheduled") {
        let (updated, wanted) =
            (status("updatedNumberScheduled"), status("desiredNumberScheduled"));
        return Some(format!("{updated} of {wanted} nodes are updated"));
    }
    if object.kind == "Rollout" {
        // argo-rollouts 1.8, pkg/apis/rollouts/v1alpha1/types.go: the new version is `currentPodHash`, the one that
        // all traffic goes to when no step is left is `stableRS`.
        let hash =
            |field: &str| workload.pointer(&format!("/status/{field}")).and_then(Value::as_str);
        let (updated, wanted) =
            (status("updatedReplicas"), number(workload, "/spec/replicas").unwrap_or(1));
        if updated < wanted || hash("currentPodHash") != hash("stableRS") {
            return Some(format!(
                "the rollout is not complete, {updated} of {wanted} replicas are updated"
            ));
        }
    }
    if is("Deployment") {
        let current = workload
            .pointer("/metadata/annotations/deployment.kubernetes.io~1revision")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        if current.is_some() && current != revision {
            return Some("Argo CD has not seen its newest ReplicaSet yet".into());
        }
    }
    None
}

fn judge_pods(
    reading: &Reading<'_>,
    live: &BTreeMap<ObjectRef, Live>,
    workload: &Value,
) -> Judgement {
    let object = &reading.ours.object;
    let is_job = object.kind == "Job";
    let mut containers = Vec::new();
    let (mut differences, mut pending) = (Vec::new(), Vec::new());
    let mut pods = 0;
    for node in &reading.pods {
        let place = format!("Pod {}", node.name);
        match live.get(&reference(node)) {
            Some(Live::Is(pod)) if counts(pod, is_job) => {
                pods += 1;
                for (name, wanted) in &reading.ours.containers {
                    let place = format!("{place}, container {name}");
                    match container_state(pod, name) {
                        Reported::Nothing(why) => pending.push(Problem { place, what: why }),
                        Reported::NoImage => differences.push(Problem {
                            place,
                            what: "it runs, and the node does not report which image".into(),
                        }),
                        Reported::Image(image_id) => {
                            match image_digest(&image_id).and_then(|digest| wanted.matches(&digest))
                            {
                                Some(matched) => containers.push(ContainerEvidence {
                                    pod: node.name.clone(),
                                    container: name.clone(),
                                    image_id,
                                    matched,
                                }),
                                None => differences.push(Problem {
                                    place,
                                    what: format!(
                                        "the node reports {image_id}, which is not {wanted}"
                                    ),
                                }),
                            }
                        }
                    }
                }
            }
            Some(Live::Is(_)) | Some(Live::Gone) | None => {}
            Some(Live::Unreadable(why)) => {
                pods += 1;
                pending.push(Problem { place, what: format!("it cannot be read: {why}") });
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
        level: Level::Template { why: why.to_owned() },
        containers: Vec::new(),
    };
    if pods == 0 && (is_job || reading.ours.is_hook) {
        return Judgement::Proven(template("its pods are gone"));
    }
    let wanted = match object.kind.as_str() {
        "Deployment" | "StatefulSet" | "ReplicaSet" => {
            number(workload, "/spec/replicas").unwrap_or(1)
        }
        _ => 1,
    };
    if (pods as i64) < wanted {
        let what = format!("{pods} of {wanted} pods are there");
        return Judgement::Pending(Problem { place: object.to_string(), what });
    }
    Judgement::Proven(WorkloadEvidence {
        workload: object.to_string(),
        level: Level::Pods { pods },
        containers,
    })
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
    Nothing(String),
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
        return Reported::Nothing("the node has not reported it yet".into());
    };
    if let Some(waiting) = status.pointer("/state/waiting") {
        let text =
            |field: &str| waiting.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        // A container that crashed reports the image that it ran, but it does not run.
        return Reported::Nothing(match text("message").as_str() {
            "" => format!("it waits: {}", text("reason")),
            message => format!("it waits: {}: {message}", text("reason")),
        });
    }
    match status.get("imageID").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) => Reported::Image(id.to_owned()),
        None => Reported::NoImage,
    }
}

/// The digest in what a node reports: `docker-pullable://repository@sha256:…`, `repository@sha256:…`, `sha256:…`,
/// `docker://sha256:…`.
pub fn image_digest(image_id: &str) -> Option<Digest> {
    let tail = image_id.rsplit(['@', '/']).next()?;
    tail.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcome::{Match, WantedImage};

    fn wanted() -> WantedImage {
        WantedImage {
            repository: Some("example/web".parse().unwrap()),
            digest: Digest::of(b"index"),
            manifests: [Digest::of(b"amd64"), Digest::of(b"arm64")].into(),
            configs: [Digest::of(b"config")].into(),
        }
    }

    fn image() -> String {
        format!("example/web:1@{}", Digest::of(b"index"))
    }

    fn ours(kind: &str, group: &str) -> Ours {
        Ours {
            object: Object {
                group: group.into(),
                version: "v1".into(),
                kind: kind.into(),
                namespace: String::new(),
                name: "web".into(),
            },
            is_hook: false,
            containers: vec![("web".into(), wanted())],
        }
    }

    fn pod(image_id: &str) -> Value {
        json!({
            "metadata": {}, "spec": { "containers": [{ "name": "web", "image": image() }] },
            "status": { "phase": "Running", "containerStatuses": [
                { "name": "sidecar", "imageID": "sha256:x", "state": { "running": {} } },
                { "name": "web", "imageID": image_id, "state": { "running": {} } },
            ]},
        })
    }

    fn good() -> String {
        format!("example/web@{}", Digest::of(b"index"))
    }

    fn deployment() -> Value {
        json!({
            "metadata": { "generation": 4, "annotations": { "deployment.kubernetes.io/revision": "2" } },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [{ "name": "web", "image": image() }] } } },
            "status": { "observedGeneration": 4, "replicas": 1, "updatedReplicas": 1 },
        })
    }

    /// Deployment web → ReplicaSets old (Rev:1) and new (Rev:2) → pods.
    fn tree(pods: &[&str]) -> Tree {
        let mut nodes = vec![
            json!({ "group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "d" }),
            json!({ "group": "apps", "version": "v1", "kind": "ReplicaSet", "namespace": "shop", "name": "new", "uid": "r2",
                    "parentRefs": [{ "uid": "d" }], "info": [{ "name": "Revision", "value": "Rev:2" }] }),
            json!({ "group": "apps", "version": "v1", "kind": "ReplicaSet", "namespace": "shop", "name": "old", "uid": "r1",
                    "parentRefs": [{ "uid": "d" }], "info": [{ "name": "Revision", "value": "Rev:1" }] }),
        ];
        for name in pods {
            let owner = if name.starts_with("old") { "r1" } else { "r2" };
            nodes.push(json!({ "version": "v1", "kind": "Pod", "namespace": "shop", "name": name, "uid": name, "parentRefs": [{ "uid": owner }] }));
        }
        serde_json::from_value(json!({ "nodes": nodes })).unwrap()
    }

    fn told(judgement: &Judgement) -> String {
        match judgement {
            Judgement::Proven(WorkloadEvidence {
                level: Level::Pods { pods }, containers, ..
            }) => {
                let kinds: Vec<_> = containers.iter().map(|c| format!("{:?}", c.matched)).collect();
                format!("proven by {pods} pods: {}", kinds.join(" "))
            }
            Judgement::Proven(WorkloadEvidence { level: Level::Template { why }, .. }) => {
                format!("template: {why}")
            }
            Judgement::Pending(problem) => format!("pending: {}: {}", problem.place, problem.what),
            Judgement::Differs(problems) => {
                format!("differs: {}: {}", problems[0].place, problems[0].what)
            }
        }
    }

    /// Judges a Deployment with these live pods.
    #[track_caller]
    fn check(deployment: Value, pods: &[(&str, Live)], want: &str) {
        let ours = ours("Deployment", "apps");
        let names: Vec<_> = pods.iter().map(|(name, _)| *name).collect();
        let tree = tree(&names);
        let reading = reading(&ours, &tree, "shop");
        let mut live: BTreeMap<_, _> = tree
            .nodes
            .iter()
            .filter_map(|node| {
                let (_, pod) = pods.iter().find(|(name, _)| *name == node.name)?;
                Some((reference(node), pod.clone()))
            })
            .collect();
        live.insert(reference(&tree.nodes[0]), Live::Is(deployment));
        assert_eq!(told(&judge(&reading, &live)), want);
    }

    fn set(mut value: Value, pointer: &str, to: Value) -> Value {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[field] = to;
        value
    }

    #[test]
    fn a_pod_proves_by_what_its_node_reports() {
        let one = |image_id: &str, want: &str| {
            check(deployment(), &[("a", Live::Is(pod(image_id)))], want)
        };
        one(&good(), "proven by 1 pods: Deployed");
        one(&format!("docker-pullable://{}", good()), "proven by 1 pods: Deployed");
        one(
            &format!("mirror:5000/x@{}", Digest::of(b"arm64")),
            "proven by 1 pods: PlatformManifest",
        );
        one(&Digest::of(b"config").to_string(), "proven by 1 pods: Config");
        one(&format!("docker://{}", Digest::of(b"config")), "proven by 1 pods: Config");
        one("", "differs: Pod a, container web: it runs, and the node does not report which image");
        let old = format!("example/web@{}", Digest::of(b"old"));
        let wanted = wanted();
        one(
            &old,
            &format!(
                "differs: Pod a, container web: the node reports {old}, which is not {wanted}"
            ),
        );
        one(
            "example/web:1",
            &format!(
                "differs: Pod a, container web: the node reports example/web:1, which is not {wanted}"
            ),
        );
    }

    #[test]
    fn pods_that_are_going_or_not_there_yet_prove_nothing() {
        let pod = pod(&good());
        let is = |value: Value| Live::Is(value);
        let zero = "pending: Deployment web: 0 of 1 pods are there";
        check(deployment(), &[], zero);
        check(deployment(), &[("a", Live::Gone)], zero);
        check(
            deployment(),
            &[("a", is(set(pod.clone(), "/metadata/deletionTimestamp", json!("t"))))],
            zero,
        );
        check(deployment(), &[("a", is(set(pod.clone(), "/status/phase", json!("Failed"))))], zero);
        check(
            deployment(),
            &[("a", is(set(pod.clone(), "/status/phase", json!("Succeeded"))))],
            zero,
        );
        check(
            deployment(),
            &[("a", is(set(pod.clone(), "/status/containerStatuses", json!([]))))],
            "pending: Pod a, container web: the node has not reported it yet",
        );
        let waiting = json!([{ "name": "web", "imageID": good(), "state": { "waiting": { "reason": "CrashLoopBackOff" } } }]);
        check(
            deployment(),
            &[("a", is(set(pod.clone(), "/status/containerStatuses", waiting)))],
            "pending: Pod a, container web: it waits: CrashLoopBackOff",
        );
        check(
            deployment(),
            &[("a", Live::Unreadable("403".into()))],
            "pending: Pod a: it cannot be read: 403",
        );
        // Pods of the old ReplicaSet are neither evidence nor a difference once the rollout is complete.
        check(
            deployment(),
            &[("old-1", is(self::pod("sha256:x"))), ("a", is(pod.clone()))],
            "proven by 1 pods: Deployed",
        );
        check(deployment(), &[("old-1", is(pod.clone()))], zero);
        check(
            set(set(deployment(), "/spec/replicas", json!(2)), "/status/updatedReplicas", json!(2)),
            &[("a", is(pod))],
            "pending: Deployment web: 1 of 2 pods are there",
        );
    }

    #[test]
    fn a_rollout_must_be_complete_and_the_live_object_ours() {
        let pods = [("a", Live::Is(pod(&good())))];
        let cases = [
            (
                "/status/observedGeneration",
                json!(3),
                "pending: Deployment web: its controller has not seen the change yet",
            ),
            (
                "/status/updatedReplicas",
                json!(0),
                "pending: Deployment web: 0 of 1 replicas are updated, 1 exist",
            ),
            (
                "/status/replicas",
                json!(2),
                "pending: Deployment web: 1 of 1 replicas are updated, 2 exist",
            ),
            (
                "/metadata/annotations/deployment.kubernetes.io~1revision",
                json!("3"),
                "pending: Deployment web: Argo CD has not seen its newest ReplicaSet yet",
            ),
            ("/spec/replicas", json!(0), "template: it is scaled to zero"),
        ];
        for (pointer, value, want) in cases {
            let mut deployment = deployment();
            *deployment.pointer_mut(pointer).unwrap() = value;
            check(deployment, &pods, want);
        }
        let mut other = deployment();
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("example/web:1");
        check(
            other,
            &pods,
            "differs: Deployment web, container web: the live object has example/web:1",
        );
    }

    #[test]
    fn other_workloads_have_their_own_rules() {
        let node = |kind: &str, group: &str| json!({ "group": group, "version": "v1", "kind": kind, "namespace": "shop", "name": "web", "uid": "w" });
        let child = json!({ "version": "v1", "kind": "Pod", "namespace": "shop", "name": "p", "uid": "p", "parentRefs": [{ "uid": "w" }] });
        let template = json!({ "spec": { "containers": [{ "name": "web", "image": image() }] } });
        let finished = set(pod(&good()), "/status/phase", json!("Succeeded"));
        let cases = [
            (
                "CronJob",
                "batch",
                json!({}),
                None,
                "template: a CronJob runs pods only at its times",
            ),
            (
                "Job",
                "batch",
                json!({ "spec": { "template": template } }),
                Some(finished.clone()),
                "proven by 1 pods: Deployed",
            ),
            (
                "Job",
                "batch",
                json!({ "spec": { "template": template } }),
                None,
                "template: its pods are gone",
            ),
            (
                "Job",
                "batch",
                json!({ "spec": { "suspend": true, "template": template } }),
                None,
                "template: it is suspended",
            ),
            (
                "DaemonSet",
                "apps",
                json!({ "spec": { "template": template }, "status": { "desiredNumberScheduled": 0 } }),
                None,
                "template: no node takes it",
            ),
            (
                "DaemonSet",
                "apps",
                json!({ "spec": { "template": template }, "status": { "desiredNumberScheduled": 2, "updatedNumberScheduled": 1 } }),
                Some(pod(&good())),
                "pending: DaemonSet web: 1 of 2 nodes are updated",
            ),
            (
                "StatefulSet",
                "apps",
                json!({ "spec": { "replicas": 1, "template": template }, "status": { "replicas": 1, "updatedReplicas": 1 } }),
                Some(pod(&good())),
                "proven by 1 pods: Deployed",
            ),
            (
                "Rollout",
                "argoproj.io",
                json!({ "spec": { "replicas": 1, "template": template },
                        "status": { "updatedReplicas": 1, "currentPodHash": "b", "stableRS": "a" } }),
                Some(pod(&good())),
                "pending: Rollout web: the rollout is not complete, 1 of 1 replicas are updated",
            ),
            (
                "Rollout",
                "argoproj.io",
                json!({ "spec": { "replicas": 1, "template": template },
                        "status": { "updatedReplicas": 1, "currentPodHash": "b", "stableRS": "b" } }),
                Some(pod(&good())),
                "proven by 1 pods: Deployed",
            ),
            // A kind that we do not know, with pods of its own.
            (
                "Fleet",
                "example.com",
                json!({ "spec": { "parts": [template] } }),
                Some(pod(&good())),
                "proven by 1 pods: Deployed",
            ),
            (
                "Fleet",
                "example.com",
                json!({ "spec": { "parts": [template] } }),
                None,
                "pending: Fleet web: 0 of 1 pods are there",
            ),
        ];
        for (kind, group, workload, pod, want) in cases {
            let ours = ours(kind, group);
            let nodes = if pod.is_some() {
                json!([node(kind, group), child])
            } else {
                json!([node(kind, group)])
            };
            let tree: Tree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
            let mut live = BTreeMap::from([(reference(&tree.nodes[0]), Live::Is(workload))]);
            if let Some(pod) = pod {
                live.insert(reference(&tree.nodes[1]), Live::Is(pod));
            }
            assert_eq!(told(&judge(&reading(&ours, &tree, "shop"), &live)), want, "{kind}");
        }
        let absent = ours("Deployment", "apps");
        let empty = Tree::default();
        let reading = reading(&absent, &empty, "shop");
        assert_eq!(
            told(&judge(&reading, &BTreeMap::new())),
            "pending: Deployment web: it is not in the cluster yet"
        );
        let hook = Ours { is_hook: true, ..ours("Job", "batch") };
        let reading = super::reading(&hook, &empty, "shop");
        assert_eq!(
            told(&judge(&reading, &BTreeMap::new())),
            "template: a hook that is not there any more"
        );
    }

    /// The recorded tree and pod of Argo CD 3.6.1.
    #[test]
    fn the_recorded_pod_is_found_and_proven() {
        let recorded = |text: &str| serde_json::from_str::<Value>(text).unwrap()["body"].clone();
        let tree: Tree =
            serde_json::from_value(recorded(include_str!("../tests/fixtures/tree.json"))).unwrap();
        let pod = recorded(include_str!("../tests/fixtures/pod.json"))["manifest"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut ours = ours("Deployment", "apps");
        ours.object.name = "shop".into();
        ours.containers[0].1.digest = format!("sha256:{}", "ab12".repeat(16)).parse().unwrap();
        let reading = reading(&ours, &tree, "shop");
        assert_eq!(reading.revision, Some(4));
        let pod: Value = serde_json::from_str(&pod).unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap();
        let ours_node = reading.pods.iter().find(|node| node.name == name).unwrap();
        let mut reading = reading.clone();
        reading.pods = vec![ours_node];
        let live = BTreeMap::from([(reference(ours_node), Live::Is(pod.clone()))]);
        let workload = json!({ "spec": { "replicas": 1 } });
        let Judgement::Proven(evidence) = judge_pods(&reading, &live, &workload) else { panic!() };
        assert_eq!(evidence.containers[0].matched, Match::Deployed);
    }
}
