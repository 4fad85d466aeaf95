//! What evidence there is, and what it is taken for.

use serde_json::json;

use super::*;
use crate::judge::evidence::{ImageMatch, WantedImage};
use crate::judge::reading::{reading, strays};
use crate::model::ResourceTree;

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

fn ours(kind: &str, group: &str) -> WantedWorkload {
    WantedWorkload {
        object: ObjectRef {
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
fn tree(pods: &[&str]) -> ResourceTree {
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
            level: EvidenceLevel::Pods { pods },
            containers,
            ..
        }) => {
            let kinds: Vec<_> = containers.iter().map(|c| format!("{:?}", c.matched)).collect();
            format!("proven by {pods} pods: {}", kinds.join(" "))
        }
        Judgement::Proven(WorkloadEvidence {
            level: EvidenceLevel::Operation { hook, .. },
            ..
        }) => format!("operation: {hook}"),
        Judgement::Proven(WorkloadEvidence { level: EvidenceLevel::Template { why }, .. }) => {
            format!("template: {why}")
        }
        Judgement::Paused { part, missing } => {
            let part = told(&Judgement::Proven(part.clone()));
            let part = part.trim_start_matches("proven by ");
            format!("paused: {missing}; {part}")
        }
        Judgement::Pending(problem) => format!("pending: {problem}"),
        Judgement::Differs(problems) => {
            format!("differs: {}", problems[0])
        }
    }
}

/// Judges a Deployment with these live pods.
#[track_caller]
fn check(deployment: Value, pods: &[(&str, LiveObject)], want: &str) {
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
    live.insert(reference(&tree.nodes[0]), LiveObject::Is(deployment));
    assert_eq!(told(&judge(&reading, &live, &[])), want);
}

fn set(mut value: Value, pointer: &str, to: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[field] = to;
    value
}

#[test]
fn a_pod_proves_by_what_its_node_reports() {
    let one = |image_id: &str, want: &str| {
        check(deployment(), &[("a", LiveObject::Is(pod(image_id)))], want)
    };
    one(&good(), "proven by 1 pods: Deployed");
    one(&format!("docker-pullable://{}", good()), "proven by 1 pods: Deployed");
    one(&format!("mirror:5000/x@{}", Digest::of(b"arm64")), "proven by 1 pods: PlatformManifest");
    one(&Digest::of(b"config").to_string(), "proven by 1 pods: Config");
    one(&format!("docker://{}", Digest::of(b"config")), "proven by 1 pods: Config");
    one("", "differs: Pod a, container web: it runs, and the node does not report which image");
    let old = format!("example/web@{}", Digest::of(b"old"));
    let wanted = wanted();
    one(
        &old,
        &format!("differs: Pod a, container web: the node reports {old}, which is not {wanted}"),
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
    let is = |value: Value| LiveObject::Is(value);
    let zero = "pending: Deployment web: 0 of 1 pods exist";
    check(deployment(), &[], zero);
    check(deployment(), &[("a", LiveObject::Gone)], zero);
    check(
        deployment(),
        &[("a", is(set(pod.clone(), "/metadata/deletionTimestamp", json!("t"))))],
        zero,
    );
    check(deployment(), &[("a", is(set(pod.clone(), "/status/phase", json!("Failed"))))], zero);
    check(deployment(), &[("a", is(set(pod.clone(), "/status/phase", json!("Succeeded"))))], zero);
    check(
        deployment(),
        &[("a", is(set(pod.clone(), "/status/containerStatuses", json!([]))))],
        "pending: Pod a, container web: the node has not reported it yet",
    );
    let waiting = json!([{ "name": "web", "imageID": good(), "state": { "waiting": { "reason": "CrashLoopBackOff" } } }]);
    check(
        deployment(),
        &[("a", is(set(pod.clone(), "/status/containerStatuses", waiting)))],
        "pending: Pod a, container web: waiting: CrashLoopBackOff",
    );
    let ended = json!([{ "name": "web", "imageID": good(), "state": { "terminated": { "reason": "Error", "exitCode": 3 } } }]);
    let ended = set(pod.clone(), "/status/containerStatuses", ended);
    check(
        deployment(),
        &[("a", is(ended.clone()))],
        "pending: Pod a, container web: ended: Error, exit 3",
    );
    // A pod that is to come to an end is not to run again.
    let once = set(ended, "/spec/restartPolicy", json!("Never"));
    check(deployment(), &[("a", is(once))], "proven by 1 pods: Deployed");
    check(
        deployment(),
        &[("a", LiveObject::Unreadable("403".into()))],
        "pending: Pod a: cannot read it: 403",
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
        "pending: Deployment web: 1 of 2 pods exist",
    );
}

#[test]
fn a_rollout_must_be_complete_and_the_live_object_ours() {
    let pods = [("a", LiveObject::Is(pod(&good())))];
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
    let complete = json!({ "conditions": [{ "type": "Complete", "status": "True" }] });
    let cases = [
        (
            "CronJob",
            "batch",
            json!({ "spec": { "jobTemplate": { "spec": { "template": template } } } }),
            // Of an earlier time.
            Some(pod("example/web@sha256:old")),
            "template: a CronJob runs pods only at its times",
        ),
        (
            "CronJob",
            "batch",
            json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": {
                "containers": [{ "name": "web", "image": "example/web:old" }] } } } } } }),
            None,
            "differs: CronJob web, container web: the live object has example/web:old",
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
            json!({ "spec": { "template": template }, "status": complete }),
            None,
            "template: its pods are gone",
        ),
        // It has not made them yet.
        (
            "Job",
            "batch",
            json!({ "spec": { "template": template } }),
            None,
            "pending: Job web: 0 of 1 pods exist",
        ),
        (
            "Job",
            "batch",
            json!({ "spec": { "completions": 2, "template": template }, "status": complete }),
            Some(finished.clone()),
            "pending: Job web: 1 of 2 pods exist",
        ),
        // One after the other.
        (
            "Job",
            "batch",
            json!({ "spec": { "completions": 2, "template": template } }),
            Some(pod(&good())),
            "proven by 1 pods: Deployed",
        ),
        (
            "Job",
            "batch",
            json!({ "spec": { "completions": 4, "parallelism": 2, "template": template } }),
            Some(pod(&good())),
            "pending: Job web: 1 of 2 pods exist",
        ),
        (
            "Job",
            "batch",
            json!({ "spec": { "parallelism": 3, "template": template } }),
            Some(pod(&good())),
            "pending: Job web: 1 of 3 pods exist",
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
            "DaemonSet",
            "apps",
            json!({ "spec": { "template": template }, "status": { "desiredNumberScheduled": 1, "updatedNumberScheduled": 1 } }),
            Some(pod(&good())),
            "proven by 1 pods: Deployed",
        ),
        // The tree does not have the pod of the other node yet.
        (
            "DaemonSet",
            "apps",
            json!({ "spec": { "template": template }, "status": { "desiredNumberScheduled": 2, "updatedNumberScheduled": 2 } }),
            Some(pod(&good())),
            "pending: DaemonSet web: 1 of 2 pods exist",
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
            json!({ "spec": { "replicas": 1, "workloadRef": { "kind": "Deployment", "name": "web" } },
                    "status": { "updatedReplicas": 1, "currentPodHash": "b", "stableRS": "b" } }),
            Some(pod(&good())),
            "proven by 1 pods: Deployed",
        ),
        (
            "Rollout",
            "argoproj.io",
            json!({ "spec": { "replicas": 3, "template": template },
                    "status": { "updatedReplicas": 1, "currentPodHash": "b", "stableRS": "a",
                                "pauseConditions": [{ "reason": "CanaryPauseStep" }] } }),
            Some(pod(&good())),
            "paused: Rollout web: the rollout is not complete, 1 of 3 replicas are updated; 1 pods: Deployed",
        ),
        // Paused before anything of the new version runs.
        (
            "Rollout",
            "argoproj.io",
            json!({ "spec": { "replicas": 3, "paused": true, "template": template },
                    "status": { "updatedReplicas": 0, "currentPodHash": "b", "stableRS": "a" } }),
            None,
            "pending: Rollout web: `spec.paused: true` holds it: the rollout is not complete, 0 of 3 replicas are updated",
        ),
        (
            "Deployment",
            "apps",
            json!({ "spec": { "replicas": 1, "paused": true, "template": template },
                    "status": { "replicas": 1, "updatedReplicas": 0 } }),
            None,
            "pending: Deployment web: `spec.paused: true` holds it: 0 of 1 replicas are updated, 1 exist",
        ),
        // It has begun, so that its pods may yet come.
        (
            "Deployment",
            "apps",
            json!({ "spec": { "replicas": 2, "paused": true, "template": template },
                    "status": { "replicas": 2, "updatedReplicas": 1 } }),
            None,
            "pending: Deployment web: 1 of 2 replicas are updated, 2 exist",
        ),
        // Its controller has not seen the new version yet, which may be the one that lets it go on.
        (
            "Deployment",
            "apps",
            json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 1, "paused": true, "template": template },
                    "status": { "observedGeneration": 1, "replicas": 1 } }),
            None,
            "pending: Deployment web: its controller has not seen the change yet",
        ),
        (
            "DaemonSet",
            "apps",
            json!({ "spec": { "updateStrategy": { "type": "OnDelete" }, "template": template },
                    "status": { "desiredNumberScheduled": 2, "updatedNumberScheduled": 0 } }),
            None,
            "pending: DaemonSet web: `spec.updateStrategy.type: OnDelete` holds it: 0 of 2 nodes are updated",
        ),
        (
            "StatefulSet",
            "apps",
            json!({ "spec": { "replicas": 1, "updateStrategy": { "type": "OnDelete" }, "template": template },
                    "status": { "replicas": 1 } }),
            None,
            "pending: StatefulSet web: `spec.updateStrategy.type: OnDelete` holds it: 0 of 1 replicas are updated, 1 exist",
        ),
        // The partition keeps all pods, or the first two.
        (
            "StatefulSet",
            "apps",
            json!({ "spec": { "replicas": 2, "updateStrategy": { "rollingUpdate": { "partition": 2 } }, "template": template },
                    "status": { "replicas": 2 } }),
            None,
            "pending: StatefulSet web: `spec.updateStrategy.rollingUpdate.partition` holds it: 0 of 2 replicas are updated, 2 exist",
        ),
        (
            "StatefulSet",
            "apps",
            json!({ "spec": { "replicas": 3, "updateStrategy": { "rollingUpdate": { "partition": 2 } }, "template": template },
                    "status": { "replicas": 3, "updatedReplicas": 1 } }),
            Some(pod(&good())),
            "paused: StatefulSet web: 1 of 3 replicas are updated, 3 exist; 1 pods: Deployed",
        ),
        (
            "Rollout",
            "argoproj.io",
            json!({ "spec": { "replicas": 1, "template": template },
                    "status": { "updatedReplicas": 1, "currentPodHash": "b", "stableRS": "b" } }),
            Some(pod(&good())),
            "proven by 1 pods: Deployed",
        ),
        // The rollout is complete, and Argo CD has not seen all of its pods yet.
        (
            "Rollout",
            "argoproj.io",
            json!({ "spec": { "replicas": 2, "template": template },
                    "status": { "updatedReplicas": 2, "currentPodHash": "b", "stableRS": "b" } }),
            Some(pod(&good())),
            "pending: Rollout web: 1 of 2 pods exist",
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
            "differs: Fleet web: it has made no pod and nothing that makes one, so nothing proves what it runs",
        ),
        (
            "CloneSet",
            "apps.kruise.io",
            json!({ "spec": { "replicas": 0, "template": template }, "status": { "observedGeneration": 9, "replicas": 0 } }),
            None,
            "template: it is scaled to zero",
        ),
        // Its controller has not said so.
        (
            "CloneSet",
            "apps.kruise.io",
            json!({ "spec": { "replicas": 0, "template": template } }),
            None,
            "differs: CloneSet web: it has made no pod and nothing that makes one, so nothing proves what it runs",
        ),
        (
            "CloneSet",
            "apps.kruise.io",
            json!({ "spec": { "replicas": 2, "updateStrategy": { "paused": true }, "template": template },
                    "status": { "replicas": 2, "updatedReplicas": 0 } }),
            None,
            "pending: CloneSet web: `spec.updateStrategy.paused: true` holds it: 0 of 2 replicas are updated, 2 exist",
        ),
        (
            "CloneSet",
            "apps.kruise.io",
            json!({ "spec": { "replicas": 3, "updateStrategy": { "partition": "50%" }, "template": template },
                    "status": { "replicas": 3, "updatedReplicas": 1 } }),
            Some(pod(&good())),
            "paused: CloneSet web: 1 of 3 replicas are updated, 3 exist; 1 pods: Deployed",
        ),
        // It keeps two, and makes the third.
        (
            "CloneSet",
            "apps.kruise.io",
            json!({ "spec": { "replicas": 3, "updateStrategy": { "partition": "50%" }, "template": template },
                    "status": { "replicas": 3, "updatedReplicas": 0 } }),
            None,
            "pending: CloneSet web: 0 of 3 replicas are updated, 3 exist",
        ),
        (
            "CloneSet",
            "apps.kruise.io",
            json!({ "spec": { "replicas": 2, "template": template }, "status": { "replicas": 2, "updatedReplicas": 2 } }),
            Some(pod(&good())),
            "pending: CloneSet web: 1 of 2 pods exist",
        ),
        (
            "StatefulSet",
            "apps.kruise.io",
            json!({ "spec": { "replicas": 2, "updateStrategy": { "rollingUpdate": { "paused": true } }, "template": template },
                    "status": { "replicas": 2, "updatedReplicas": 0 } }),
            None,
            "pending: StatefulSet web: `spec.updateStrategy.rollingUpdate.paused: true` holds it: 0 of 2 replicas are updated, 2 exist",
        ),
        (
            "DaemonSet",
            "apps.kruise.io",
            json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 1 } }, "template": template },
                    "status": { "desiredNumberScheduled": 2, "updatedNumberScheduled": 1 } }),
            Some(pod(&good())),
            "paused: DaemonSet web: 1 of 2 nodes are updated; 1 pods: Deployed",
        ),
        (
            "DaemonSet",
            "apps.kruise.io",
            json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 2 } }, "template": template },
                    "status": { "desiredNumberScheduled": 2, "updatedNumberScheduled": 0 } }),
            None,
            "pending: DaemonSet web: `spec.updateStrategy.rollingUpdate.partition` holds it: 0 of 2 nodes are updated",
        ),
        (
            "AdvancedCronJob",
            "apps.kruise.io",
            json!({ "spec": { "template": { "jobTemplate": { "spec": { "template": template } } } } }),
            None,
            "template: an AdvancedCronJob runs pods only at its times",
        ),
        (
            "AnalysisTemplate",
            "argoproj.io",
            json!({ "spec": { "metrics": [{ "provider": { "job": { "spec": { "template": template } } } }] } }),
            None,
            "template: others make pods from it",
        ),
        // Pods are made from it when somebody asks for them.
        (
            "WorkflowTemplate",
            "argoproj.io",
            json!({ "spec": { "templates": [template] } }),
            Some(pod("example/web@sha256:old")),
            "template: others make pods from it",
        ),
    ];
    for (kind, group, workload, pod, want) in cases {
        let ours = ours(kind, group);
        let nodes = if pod.is_some() {
            json!([node(kind, group), child])
        } else {
            json!([node(kind, group)])
        };
        let tree: ResourceTree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
        let mut live = BTreeMap::from([(reference(&tree.nodes[0]), LiveObject::Is(workload))]);
        if let Some(pod) = pod {
            live.insert(reference(&tree.nodes[1]), LiveObject::Is(pod));
        }
        assert_eq!(told(&judge(&reading(&ours, &tree, "shop"), &live, &[])), want, "{kind}");
    }
}

/// A custom resource, what it made, and what that made. Each node: kind, name, the name of its maker.
#[track_caller]
fn check_made(nodes: &[(&str, &str, &str)], live: &[(&str, LiveObject)], want: &str) {
    let nodes: Vec<Value> = nodes
        .iter()
        .map(|(kind, name, maker)| {
            let group = match *kind {
                "Revision" => "serving.knative.dev",
                "Pod" => "",
                "Job" => "batch",
                "Site" => "example.com",
                _ => "apps",
            };
            let number = name.rsplit('-').next().unwrap();
            json!({
                "group": group, "version": "v1", "kind": kind, "namespace": "shop", "name": name, "uid": name,
                "parentRefs": [{ "uid": maker, "kind": if *kind == "Pod" { "Job" } else { "x" } }],
                "createdAt": format!("2026-01-02T03:04:0{}Z", number.parse().unwrap_or(0)),
                "info": [{ "name": "Revision", "value": format!("Rev:{number}") }],
            })
        })
        .collect();
    let tree: ResourceTree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
    let ours = ours("Site", "example.com");
    let site = json!({ "spec": { "containers": [{ "name": "web", "image": image() }] } });
    let reading = reading(&ours, &tree, "shop");
    let live: BTreeMap<_, _> = reading
        .objects()
        .into_iter()
        .filter_map(|object| {
            let known = live.iter().find(|(name, _)| *name == object.name);
            let root = (object.kind == "Site").then(|| LiveObject::Is(site.clone()));
            Some((object, root.or_else(|| known.map(|(_, live)| live.clone()))?))
        })
        .collect();
    assert_eq!(told(&judge(&reading, &live, &[])), want, "{nodes:?}");
}

#[test]
fn pods_are_found_behind_several_owners() {
    let is = |value: Value| LiveObject::Is(value);
    // Its operator calls the container as it likes.
    let named = |image_id: &str| {
        let mut pod = pod(image_id);
        pod["spec"]["containers"][0]["name"] = json!("user-container");
        pod["status"]["containerStatuses"][1]["name"] = json!("user-container");
        is(pod)
    };
    let proven = "proven by 1 pods: Deployed";
    let (site, dep) = (("Site", "web", ""), ("Deployment", "dep-2", "web"));
    let chain = [
        site,
        dep,
        ("ReplicaSet", "set-1", "dep-2"),
        ("ReplicaSet", "set-2", "dep-2"),
        ("Pod", "old", "set-1"),
        ("Pod", "new", "set-2"),
    ];
    let old = is(pod("example/web@sha256:old"));
    let of_chain = |deployment: Value, pod: LiveObject| {
        [("dep-2", is(deployment)), ("old", old.clone()), ("new", pod)]
    };
    check_made(&chain, &of_chain(deployment(), named(&good())), proven);
    // What its operator has not replaced yet.
    let old_id = format!("example/web@{}", Digest::of(b"old"));
    check_made(
        &chain,
        &of_chain(deployment(), named(&old_id)),
        &format!(
            "pending: Pod new, container user-container: the node reports {old_id}, which is not {}",
            wanted()
        ),
    );
    let rolling = set(deployment(), "/status/updatedReplicas", json!(0));
    check_made(
        &chain,
        &of_chain(rolling, named(&good())),
        "pending: Deployment dep-2: 0 of 1 replicas are updated, 1 exist",
    );
    let two =
        set(set(deployment(), "/spec/replicas", json!(2)), "/status/updatedReplicas", json!(2));
    check_made(&chain, &of_chain(two, named(&good())), "pending: Site web: 1 of 2 pods exist");
    let zero = set(
        set(deployment(), "/spec/replicas", json!(0)),
        "/status",
        json!({ "observedGeneration": 4 }),
    );
    check_made(&chain[..4], &[("dep-2", is(zero))], "template: it is scaled to zero");
    check_made(
        &chain[..2],
        &[("dep-2", LiveObject::Unreadable("403".into()))],
        "pending: Deployment dep-2: cannot read it: 403",
    );
    // Nothing that it made runs the image.
    let mut other = pod("example/other@sha256:x");
    other["spec"]["containers"][0]["image"] = json!("example/other:1");
    check_made(
        &[site, ("Pod", "p", "web")],
        &[("p", is(other))],
        "pending: Site web: 0 of 1 pods exist",
    );
    // Knative keeps earlier Revisions, with pods while traffic goes to them.
    let knative = [
        site,
        ("Configuration", "config", "web"),
        ("Revision", "rev-1", "config"),
        ("Revision", "rev-2", "config"),
        ("Pod", "old", "rev-1"),
        ("Pod", "new", "rev-2"),
    ];
    check_made(&knative, &[("old", old), ("new", named(&good()))], proven);
    // A set of Jobs, one of which has ended.
    let jobs =
        [site, ("Job", "a", "web"), ("Job", "b", "web"), ("Pod", "pa", "a"), ("Pod", "pb", "b")];
    let job = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": image() }] } } } });
    let ended = is(set(pod(&good()), "/status/phase", json!("Succeeded")));
    let live = |other: LiveObject| {
        [("a", is(job.clone())), ("b", is(job.clone())), ("pa", ended.clone()), ("pb", other)]
    };
    check_made(&jobs, &live(is(pod(&good()))), "proven by 2 pods: Deployed Deployed");
    check_made(&jobs, &live(LiveObject::Gone), "pending: Site web: 1 of 2 pods exist");
    // Two that own each other.
    check_made(
        &[site, ("Part", "x", "web"), ("Part", "web", "x")],
        &[],
        "differs: Site web: it has made no pod and nothing that makes one, so nothing proves what it runs",
    );
}

/// Pods of an object that has made them itself: container, and whether it has the wanted image.
#[track_caller]
fn check_templates(kind: &str, object: Value, pods: &[(&str, &str, &str)], want: &str) {
    let root = json!({ "group": "example.com", "version": "v1", "kind": kind, "namespace": "shop", "name": "web", "uid": "w" });
    let child = |at: usize| {
        json!({ "version": "v1", "kind": "Pod", "namespace": "shop", "name": at.to_string(), "uid": at.to_string(),
        "parentRefs": [{ "uid": "w", "kind": kind }] })
    };
    let nodes: Vec<Value> = std::iter::once(root).chain((0..pods.len()).map(child)).collect();
    let tree: ResourceTree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
    let mut ours = ours(kind, "example.com");
    let mut containers = Vec::new();
    collect(&object["spec"], &mut containers);
    let concerned = containers.iter().filter(|one| concerns(&one.image, &wanted()));
    ours.containers = concerned.map(|one| (one.name.clone(), wanted())).collect();
    let mut live = BTreeMap::from([(reference(&tree.nodes[0]), LiveObject::Is(object))]);
    for (node, (name, phase, image_id)) in tree.nodes[1..].iter().zip(pods) {
        let pod = json!({
            "spec": { "restartPolicy": "Never", "containers": [{ "name": name, "image": image() }] },
            "status": { "phase": phase, "containerStatuses": [
                { "name": name, "imageID": image_id, "state": { "running": {} } },
            ]},
        });
        live.insert(reference(node), LiveObject::Is(pod));
    }
    assert_eq!(told(&judge(&reading(&ours, &tree, "shop"), &live, &[])), want, "{kind} {pods:?}");
}

#[test]
fn every_template_of_an_object_must_run() {
    let template =
        |name: &str| json!({ "spec": { "containers": [{ "name": name, "image": image() }] } });
    let (good, old) = (good(), format!("example/web@{}", Digest::of(b"old")));
    let cluster = |workers: i64| {
        json!({ "kind": "RayCluster", "spec": {
            "headGroupSpec": { "template": template("head") },
            "workerGroupSpecs": [{ "replicas": workers, "template": template("worker") }],
        }})
    };
    let running = "Running";
    let two = "proven by 2 pods: Deployed Deployed";
    check_templates(
        "RayCluster",
        cluster(1),
        &[("head", running, &good), ("worker", running, &good)],
        two,
    );
    check_templates(
        "RayCluster",
        cluster(1),
        &[("head", running, &good)],
        "pending: RayCluster web: 1 of 2 pods exist",
    );
    check_templates(
        "RayCluster",
        cluster(1),
        &[("head", running, &good), ("head", running, &good)],
        "pending: RayCluster web: none of its pods has the container worker",
    );
    let not = format!(
        "pending: Pod 1, container worker: the node reports {old}, which is not {}",
        wanted()
    );
    check_templates(
        "RayCluster",
        cluster(1),
        &[("head", running, &good), ("worker", running, &old)],
        &not,
    );
    // A part that wants no pod needs none, and its operator may give other names.
    check_templates(
        "RayCluster",
        cluster(0),
        &[("head", running, &good)],
        "proven by 1 pods: Deployed",
    );
    check_templates("RayCluster", cluster(1), &[("a", running, &good), ("b", running, &good)], two);
    // Two templates with containers of one name, of which somebody changed one.
    let set = |second: &str| {
        json!({ "kind": "JobSet", "spec": { "replicatedJobs": [
            { "template": { "spec": { "template": template("main") } } },
            { "template": { "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": second }] } } } } },
        ]}})
    };
    check_templates(
        "JobSet",
        set(&image()),
        &[("main", running, &good), ("main", running, &good)],
        two,
    );
    check_templates(
        "JobSet",
        set("example/web:old"),
        &[("main", running, &good), ("main", running, &good)],
        "differs: JobSet web, container main: the live object has example/web:old",
    );
    // Volcano's Job has a template for each task, and is none of Kubernetes' own.
    let job = json!({ "kind": "Job", "spec": { "tasks": [
        { "replicas": 1, "template": template("master") }, { "replicas": 1, "template": template("worker") },
    ]}});
    check_templates("Job", job, &[("master", running, &good), ("worker", running, &good)], two);
    // One after the other, and none of what it left out.
    let flow = |phase: &str| {
        json!({ "kind": "Workflow", "status": { "phase": phase },
                "spec": { "templates": [template("test"), template("on-failure")] } })
    };
    check_templates(
        "Workflow",
        flow("Running"),
        &[("test", "Succeeded", &good)],
        "pending: Workflow web: 1 of 2 pods exist",
    );
    check_templates(
        "Workflow",
        flow("Succeeded"),
        &[("test", "Succeeded", &good)],
        "proven by 1 pods: Deployed",
    );
}

#[test]
fn a_container_that_somebody_added_to_a_pod_is_judged_too() {
    let with = |mut pod: Value, image: &str, image_id: &str| {
        let push = |list: &mut Value, one| list.as_array_mut().unwrap().push(one);
        push(&mut pod["spec"]["containers"], json!({ "name": "added", "image": image }));
        let status = json!({ "name": "added", "imageID": image_id, "state": { "running": {} } });
        push(&mut pod["status"]["containerStatuses"], status);
        LiveObject::Is(pod)
    };
    let old = format!("example/web@{}", Digest::of(b"old"));
    let other = with(pod(&good()), "example/proxy:1", "example/proxy@sha256:x");
    check(deployment(), &[("new-1", other)], "proven by 1 pods: Deployed");
    let same = with(pod(&good()), &image(), &good());
    check(deployment(), &[("new-1", same)], "proven by 1 pods: Deployed Deployed");
    let not = format!(
        "differs: Pod new-1, container added: the node reports {old}, which is not {}",
        wanted()
    );
    check(deployment(), &[("new-1", with(pod(&good()), "example/web:old", &old))], &not);
    // A sidecar that has ended is to run again, whatever its name was in.
    let mut sidecar = pod(&good());
    sidecar["spec"]["initContainers"] =
        json!([{ "name": "side", "image": image(), "restartPolicy": "Always" }]);
    sidecar["status"]["initContainerStatuses"] = json!([{ "name": "side", "imageID": good(),
        "state": { "terminated": { "exitCode": 1, "reason": "Error" } } }]);
    let ended = "pending: Pod new-1, container side: ended: Error, exit 1";
    check(deployment(), &[("new-1", LiveObject::Is(sidecar))], ended);
}

#[test]
fn of_a_partition_only_the_new_pods_are_asked() {
    let ours = ours("StatefulSet", "apps");
    let nodes = json!([
        { "group": "apps", "version": "v1", "kind": "StatefulSet", "namespace": "shop", "name": "web", "uid": "w" },
        { "version": "v1", "kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "0", "parentRefs": [{ "uid": "w" }] },
        { "version": "v1", "kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "1", "parentRefs": [{ "uid": "w" }] },
    ]);
    let tree: ResourceTree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
    let template = json!({ "spec": { "containers": [{ "name": "web", "image": image() }] } });
    let workload = |updated: i64| {
        json!({ "spec": { "replicas": 2, "updateStrategy": { "rollingUpdate": { "partition": 1 } }, "template": template },
                "status": { "replicas": 2, "updatedReplicas": updated, "updateRevision": "web-new" } })
    };
    let of = |hash: &str, image_id: &str| {
        LiveObject::Is(set(
            pod(image_id),
            "/metadata",
            json!({ "labels": { "controller-revision-hash": hash } }),
        ))
    };
    let old = of("web-old", &format!("example/web@{}", Digest::of(b"old")));
    for (updated, new, want) in [
        (
            1,
            of("web-new", &good()),
            "paused: StatefulSet web: 1 of 2 replicas are updated, 2 exist; 1 pods: Deployed",
        ),
        (
            1,
            old.clone(),
            "pending: StatefulSet web: `spec.updateStrategy.rollingUpdate.partition` holds it: 1 of 2 replicas are updated, 2 exist",
        ),
        // All are new, it says, and one is not.
        (2, of("web-new", &good()), "differs: Pod web-0, container web: the node reports"),
    ] {
        let objects = [LiveObject::Is(workload(updated)), old.clone(), new];
        let live: BTreeMap<_, _> = tree.nodes.iter().map(reference).zip(objects).collect();
        let told = told(&judge(&reading(&ours, &tree, "shop"), &live, &[]));
        assert!(told.starts_with(want), "{told}");
    }
}

#[test]
fn what_is_not_there_is_awaited_unless_it_is_a_hook() {
    let ended = "differs: Deployment web: nothing tells that this hook ran: it is gone, and the last sync's result does not \
                 name it";
    let deployment = "pending: Deployment web:";
    for (is_hook, tree, want) in [
        (false, ResourceTree::default(), format!("{deployment} it is not in the cluster yet")),
        (false, tree(&[]), format!("{deployment} it is not in the cluster")),
        (true, ResourceTree::default(), ended.to_owned()),
        (true, tree(&[]), ended.to_owned()),
    ] {
        let ours = WantedWorkload { is_hook, ..ours("Deployment", "apps") };
        assert_eq!(told(&judge(&reading(&ours, &tree, "shop"), &BTreeMap::new(), &[])), want);
    }
}

#[test]
fn a_hook_is_judged_by_its_pods_while_they_are_there() {
    let node = |kind: &str, uid: &str, owner: &str| {
        json!({ "group": if kind == "Job" { "batch" } else { "" }, "version": "v1", "kind": kind,
                "namespace": "shop", "name": "web", "uid": uid, "parentRefs": [{ "uid": owner }] })
    };
    let nodes = json!([node("Job", "j", "none"), node("Pod", "p", "j")]);
    let tree: ResourceTree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
    let ours = WantedWorkload { is_hook: true, ..ours("Job", "batch") };
    let template = json!({ "spec": { "containers": [{ "name": "web", "image": image() }] } });
    let job = LiveObject::Is(json!({ "spec": { "template": template } }));
    let succeeded: ResourceResult = serde_json::from_value(json!({
        "group": "batch", "kind": "Job", "namespace": "shop", "name": "web",
        "hookType": "PostSync", "hookPhase": "Succeeded",
    }))
    .unwrap();
    let ended = |image_id: &str, phase: &str| {
        LiveObject::Is(set(pod(image_id), "/status/phase", json!(phase)))
    };
    let old = format!("example/web@{}", Digest::of(b"old"));
    for (pod, want) in [
        (ended(&good(), "Succeeded"), "proven by 1 pods: Deployed".to_owned()),
        // The node's word counts more than the operation's.
        (
            ended(&old, "Succeeded"),
            format!(
                "differs: Pod web, container web: the node reports {old}, which is not {}",
                wanted()
            ),
        ),
        // An attempt that failed before the one that succeeded, which is gone.
        (ended(&good(), "Failed"), "operation: PostSync".to_owned()),
        (LiveObject::Gone, "operation: PostSync".to_owned()),
    ] {
        let live = [reference(&tree.nodes[0]), reference(&tree.nodes[1])];
        let live: BTreeMap<_, _> = live.into_iter().zip([job.clone(), pod]).collect();
        let results = std::slice::from_ref(&succeeded);
        assert_eq!(told(&judge(&reading(&ours, &tree, "shop"), &live, results)), want);
    }
}

/// The recorded tree and pod of Argo CD 3.6.1.
#[test]
fn the_recorded_pod_is_found_and_proven() {
    let recorded = |text: &str| serde_json::from_str::<Value>(text).unwrap()["body"].clone();
    let tree: ResourceTree =
        serde_json::from_value(recorded(include_str!("../../../tests/fixtures/tree.json")))
            .unwrap();
    let pod = recorded(include_str!("../../../tests/fixtures/pod.json"))["manifest"]
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
    let live = BTreeMap::from([(reference(ours_node), LiveObject::Is(pod.clone()))]);
    let Judgement::Proven(evidence) = judge_pods(&reading, &live, 1, None) else { panic!() };
    assert_eq!(evidence.containers[0].matched, ImageMatch::Deployed);
}

#[test]
fn pods_that_no_manifest_tells_of_are_judged_too() {
    let mut made: ResourceTree = tree(&["a"]);
    let (web, digest) = (image(), Digest::of(b"old"));
    let old = format!("example/web:0@{digest}");
    // A custom resource → Deployment → ReplicaSet → pod, and a pod of something else.
    for (kind, name, maker, images) in [
        ("Site", "site", "", vec![]),
        ("Deployment", "made", "site", vec![]),
        ("ReplicaSet", "set", "made", vec![]),
        ("Pod", "p", "set", vec![web.as_str()]),
        ("Pod", "old", "site", vec![old.as_str()]),
        ("Pod", "other", "site", vec!["envoy:1"]),
        // Two that own each other.
        ("Pod", "x", "y", vec!["envoy:1", &old]),
        ("Pod", "y", "x", vec![]),
    ] {
        made.nodes.push(
            serde_json::from_value(json!({
                "version": "v1", "kind": kind, "namespace": "shop", "name": name, "uid": name,
                "parentRefs": [{ "uid": maker }], "images": images,
            }))
            .unwrap(),
        );
    }
    made.nodes.iter_mut().filter(|node| node.name == "a").for_each(|node| {
        node.images = vec![old.clone()];
    });
    let ours = ours("Deployment", "apps");
    let readings = [reading(&ours, &made, "shop")];
    let wanted = [wanted()];
    let strays = strays(&made, &readings, &wanted);
    let names: Vec<_> = strays.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["p", "old", "x"], "{readings:?}");

    let stray = |live: LiveObject| {
        let live = BTreeMap::from([(reference(strays[0]), live)]);
        judge_stray(strays[0], &live, &wanted).as_ref().map(told)
    };
    let runs = |image_id: &str| stray(LiveObject::Is(pod(image_id)));
    assert_eq!(runs(&good()).as_deref(), Some("proven by 1 pods: Deployed"));
    let id = format!("example/web@{digest}");
    assert_eq!(
        runs(&id),
        Some(format!(
            "pending: Pod p, container web: the node reports {id}, which is not {}",
            wanted[0]
        ))
    );
    let no_id = "pending: Pod p, container web: it runs, and the node does not report which image";
    assert_eq!(runs("").as_deref(), Some(no_id));
    let denied = stray(LiveObject::Unreadable("denied".to_owned()));
    assert_eq!(denied.as_deref(), Some("pending: Pod p: cannot read it: denied"));
    for ended in [
        LiveObject::Gone,
        LiveObject::Is(set(pod(&id), "/status/phase", json!("Succeeded"))),
        LiveObject::Is(set(pod(&id), "/metadata/deletionTimestamp", json!("2026-01-02T03:04:05Z"))),
    ] {
        assert_eq!(stray(ended), None);
    }
}
