//! Workloads become pods, roll out, and are counted.

use serde_json::{Value, json};

use super::*;
use crate::health::{Status, health};
use crate::objects::{items, number};

fn deployment(image: &str) -> (Key, Value) {
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "n" },
        "spec": { "replicas": 2, "progressDeadlineSeconds": 0, "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "image": image }] } } },
    });
    (Key::of(&manifest, "n"), manifest)
}

fn pods(cluster: &Cluster) -> Vec<(Key, Value)> {
    cluster.objects().iter().filter(|(key, _)| key.kind == "Pod").cloned().collect()
}

fn make_ready(cluster: &Cluster, image: &str) {
    for (key, _) in
        pods(cluster).into_iter().filter(|(_, pod)| text(pod, "/spec/containers/0/image") == image)
    {
        cluster.merge(&key, &json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } }));
    }
}

fn images(cluster: &Cluster) -> Vec<String> {
    pods(cluster).iter().map(|(_, pod)| text(pod, "/spec/containers/0/image").to_owned()).collect()
}

#[test]
fn a_rollout_keeps_the_old_pods_until_the_new_ones_are_ready() {
    let cluster = Cluster::new(false);
    let (key, first) = deployment("a:1");
    assert_eq!(cluster.apply(&key, &first), Ok(Applied::Created));
    assert_eq!(cluster.apply(&key, &first), Ok(Applied::Unchanged));
    assert_eq!(images(&cluster), ["a:1", "a:1"]);
    make_ready(&cluster, "a:1");
    assert_eq!(health(&cluster.get(&key).unwrap()).unwrap().status, Status::Healthy);

    let (_, second) = deployment("a:2");
    assert_eq!(cluster.apply(&key, &second), Ok(Applied::Configured));
    let mut both = images(&cluster);
    both.sort();
    assert_eq!(both, ["a:1", "a:1", "a:2", "a:2"]);
    make_ready(&cluster, "a:2");
    assert_eq!(images(&cluster), ["a:2", "a:2"]);
    let live = cluster.get(&key).unwrap();
    assert_eq!(health(&live).unwrap().status, Status::Healthy);
    assert_eq!(text(&live, "/metadata/annotations/deployment.kubernetes.io~1revision"), "2");

    // Back to the first template: its ReplicaSet is used again, as the newest revision.
    cluster.apply(&key, &first).unwrap();
    make_ready(&cluster, "a:1");
    assert_eq!(images(&cluster), ["a:1", "a:1"]);
    let sets = cluster.objects().iter().filter(|(key, _)| key.kind == "ReplicaSet").count();
    assert_eq!(sets, 2);
    assert_eq!(
        text(
            &cluster.get(&key).unwrap(),
            "/metadata/annotations/deployment.kubernetes.io~1revision"
        ),
        "3"
    );
}

#[test]
fn a_rollout_that_gets_nowhere_is_degraded() {
    let cluster = Cluster::new(false);
    let (key, manifest) = deployment("a:1");
    cluster.apply(&key, &manifest).unwrap();
    assert!(cluster.next_deadline().is_some());
    cluster.tick();
    assert_eq!(
        health(&cluster.get(&key).unwrap()).unwrap().message,
        "Deployment \"web\" exceeded its progress deadline"
    );
}

#[test]
fn what_an_object_owns_goes_with_it() {
    let cluster = Cluster::new(false);
    let (key, manifest) = deployment("a:1");
    cluster.apply(&key, &manifest).unwrap();
    assert!(cluster.delete(&key));
    assert!(cluster.objects().is_empty());
    assert!(!cluster.delete(&key));
}

#[test]
fn pods_that_end_later_are_marked_and_then_removed() {
    let cluster = Cluster::new(true);
    let (key, manifest) = deployment("a:1");
    cluster.apply(&key, &manifest).unwrap();
    cluster.delete(&key);
    let ending = pods(&cluster);
    assert_eq!(ending.len(), 2);
    assert!(ending.iter().all(|(_, pod)| !text(pod, "/metadata/deletionTimestamp").is_empty()));
    for (key, _) in ending {
        cluster.remove(&key);
    }
    assert!(cluster.objects().is_empty());
}

#[test]
fn a_stateful_set_keeps_its_names() {
    let cluster = Cluster::new(false);
    let manifest = |image: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" },
            "spec": { "replicas": 2, "template": { "spec": { "containers": [{ "image": image }] } } },
        })
    };
    let key = Key::of(&manifest("a"), "n");
    for image in ["a", "b"] {
        cluster.apply(&key, &manifest(image)).unwrap();
        let names: Vec<String> = pods(&cluster).into_iter().map(|(key, _)| key.name).collect();
        assert_eq!(names, ["db-0", "db-1"]);
        assert_eq!(images(&cluster), [image, image]);
        make_ready(&cluster, image);
        assert_eq!(health(&cluster.get(&key).unwrap()).unwrap().status, Status::Healthy);
    }
}

#[test]
fn a_job_ends_with_its_pod() {
    let cluster = Cluster::new(false);
    let manifest = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "once" },
        "spec": { "backoffLimit": 0, "template": { "spec": { "restartPolicy": "Never", "containers": [{ "image": "a" }] } } },
    });
    let key = Key::of(&manifest, "n");
    for (phase, want) in [("Succeeded", Status::Healthy), ("Failed", Status::Degraded)] {
        cluster.delete(&key);
        cluster.apply(&key, &manifest).unwrap();
        let pod = pods(&cluster).remove(0).0;
        cluster.merge(&pod, &json!({ "status": { "phase": phase } }));
        assert_eq!(health(&cluster.get(&key).unwrap()).unwrap().status, want);
    }
}

#[test]
fn wrong_types_are_refused() {
    let cluster = Cluster::new(false);
    let (key, mut manifest) = deployment("a");
    set(&mut manifest, "/spec/replicas", "abc");
    let error = cluster.apply(&key, &manifest).unwrap_err();
    assert!(error.contains("cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"), "{error}");
    assert!(cluster.objects().is_empty());
}

#[test]
fn a_watch_begins_where_the_list_ended() {
    let cluster = Cluster::new(false);
    let (key, manifest) = deployment("a:1");
    cluster.apply(&key, &manifest).unwrap();
    let is_pod = |object: &Value| text(object, "/kind") == "Pod";
    let (listed, version) = cluster.list(is_pod);
    assert_eq!(listed.len(), 2);
    make_ready(&cluster, "a:1");
    let (missed, _) = cluster.watch_since(version).unwrap();
    let pods: Vec<&Event> = missed.iter().filter(|event| is_pod(&event.object)).collect();
    assert_eq!(pods.iter().map(|event| event.kind).collect::<Vec<_>>(), ["MODIFIED", "MODIFIED"]);
    assert!(pods.iter().all(|event| number(&event.object, "/metadata/generation") == Some(1)));
    assert!(items(&pods[0].object, "/metadata/ownerReferences").len() == 1);
}
