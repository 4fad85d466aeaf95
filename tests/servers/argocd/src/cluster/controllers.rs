//! The controllers: Deployments make ReplicaSets, workloads make pods, pods' states are counted up again.
//!
//! Each works on the state alone and is run until nothing changes, so the order of events does not matter.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{NODE, Progress, State, owner, random_hex};
use crate::objects::{Key, items, number, set, text};

/// Runs the controllers of everything that was touched, until the state is at rest.
pub(super) fn settle(state: &mut State, now: Timestamp) {
    // A deadline may have passed.
    state.touched.extend(state.progress.keys().cloned());
    // Every round makes, changes or removes an object, or is the last; the bound is against a mistake in a controller.
    for _ in 0..100 {
        let touched = std::mem::take(&mut state.touched);
        if touched.is_empty() {
            return;
        }
        for key in touched {
            let Some(object) = state.objects.get(&key).cloned() else { continue };
            match key.kind.as_str() {
                "Deployment" => deployment(state, &key, object, now),
                "ReplicaSet" => replica_set(state, &key, object),
                "StatefulSet" => stateful_set(state, &key, object),
                "DaemonSet" => daemon_set(state, &key, object),
                "Job" => job(state, &key, object),
                _ => {}
            }
        }
    }
}

/// Ten digits that stand for a pod template.
fn template_hash(object: &Value) -> String {
    let template = object.pointer("/spec/template").unwrap_or(&Value::Null);
    hex::encode(Sha256::digest(template.to_string()))[..10].to_owned()
}

fn is_ready(pod: &Value) -> bool {
    text(pod, "/metadata/deletionTimestamp").is_empty()
        && items(pod, "/status/conditions")
            .iter()
            .any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True")
}

fn is_ending(pod: &Value) -> bool {
    !text(pod, "/metadata/deletionTimestamp").is_empty()
}

fn owned(state: &State, owner: &Value, kind: &str) -> Vec<(Key, Value)> {
    let uid = text(owner, "/metadata/uid");
    let children = state.children(uid).filter(|(key, _)| key.kind == kind);
    children.map(|(key, object)| (key.clone(), object.clone())).collect()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn deployment(state: &mut State, key: &Key, mut object: Value, now: Timestamp) {
    let wanted = number(&object, "/spec/replicas").unwrap_or(1);
    let hash = template_hash(&object);
    let current = Key::new("apps", "ReplicaSet", &key.namespace, &format!("{}-{hash}", key.name));
    let old: Vec<(Key, Value)> = owned(state, &object, "ReplicaSet")
        .into_iter()
        .filter(|(one, _)| *one != current)
        .collect();
    if !state.objects.contains_key(&current) {
        let revision = old.iter().map(|(_, set)| revision(set)).max().unwrap_or(0) + 1;
        let set = new_replica_set(&object, &current, &hash, revision);
        state.create(&current, set);
    }
    let available = state
        .objects
        .get(&current)
        .and_then(|set| number(set, "/status/availableReplicas"))
        .unwrap_or(0);
    let recreate = text(&object, "/spec/strategy/type") == "Recreate";
    let old_pods: i64 = old.iter().filter_map(|(_, set)| number(set, "/status/replicas")).sum();
    // Rolling: the new pods come first and the old ones go when they are available. Recreate: the other way round.
    let scale_new = if recreate && old_pods > 0 { 0 } else { wanted };
    scale(state, &current, scale_new);
    for (one, _) in &old {
        if recreate || available >= wanted {
            scale(state, one, 0);
        }
    }
    let newest = state.objects.get(&current).cloned().unwrap_or_default();
    if revision(&newest) < old.iter().map(|(_, set)| revision(set)).max().unwrap_or(0) {
        // An old template came back: its ReplicaSet becomes the newest revision.
        let mut newest = newest.clone();
        let next = old.iter().map(|(_, set)| revision(set)).max().unwrap_or(0) + 1;
        set(&mut newest, REVISION, next.to_string());
        state.store(&current, newest);
    }
    let sum = |name: &str| {
        let all = old.iter().map(|(_, set)| set).chain([&newest]);
        all.filter_map(|set| number(set, &format!("/status/{name}"))).sum::<i64>()
    };
    let updated = number(&newest, "/status/replicas").unwrap_or(0);
    let reached = (sum("replicas"), updated, sum("availableReplicas"));
    let done = updated == wanted && reached.0 == wanted && available == wanted;
    let late = is_late(state, key, &object, reached, done, now);
    let progressing = match (done, late) {
        (true, _) => {
            json!({ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" })
        }
        (false, true) => {
            json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" })
        }
        (false, false) => {
            json!({ "type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated" })
        }
    };
    let status = json!({
        "observedGeneration": number(&object, "/metadata/generation"), "replicas": reached.0, "updatedReplicas": updated,
        "readyReplicas": reached.2, "availableReplicas": reached.2, "conditions": [progressing],
    });
    set(&mut object, REVISION, state.objects.get(&current).map_or(1, revision).to_string());
    set(&mut object, "/status", status);
    state.store(key, object);
}

const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

fn revision(object: &Value) -> i64 {
    text(object, REVISION).parse().unwrap_or(0)
}

fn new_replica_set(deployment: &Value, key: &Key, hash: &str, revision: i64) -> Value {
    let mut template = deployment.pointer("/spec/template").cloned().unwrap_or_default();
    set(&mut template, "/metadata/labels/pod-template-hash", hash);
    let mut labels = template.pointer("/metadata/labels").cloned().unwrap_or_default();
    set(&mut labels, "/pod-template-hash", hash);
    let mut set_object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": key.name, "namespace": key.namespace, "labels": labels, "ownerReferences": owner(deployment) },
        "spec": { "replicas": 0, "selector": deployment.pointer("/spec/selector"), "template": template },
    });
    set(&mut set_object, REVISION, revision.to_string());
    set_object
}

fn scale(state: &mut State, key: &Key, replicas: i64) {
    let Some(mut object) = state.objects.get(key).cloned() else { return };
    if number(&object, "/spec/replicas") == Some(replicas) {
        return;
    }
    let generation = number(&object, "/metadata/generation").unwrap_or(0);
    set(&mut object, "/spec/replicas", replicas);
    set(&mut object, "/metadata/generation", generation + 1);
    state.store(key, object);
}

/// Keeps the clock of `progressDeadlineSeconds`.
fn is_late(
    state: &mut State,
    key: &Key,
    object: &Value,
    reached: (i64, i64, i64),
    done: bool,
    now: Timestamp,
) -> bool {
    if done {
        state.progress.remove(key);
        return false;
    }
    let known = state.progress.get(key).filter(|known| known.reached == reached).cloned();
    let progress = known.unwrap_or(Progress { since: now, reached });
    let late = deadline(object, &progress).is_some_and(|deadline| deadline <= now);
    state.progress.insert(key.clone(), progress);
    late
}

/// When a Deployment that waits since `progress` has waited too long.
pub(super) fn deadline(object: &Value, progress: &Progress) -> Option<Timestamp> {
    let seconds = number(object, "/spec/progressDeadlineSeconds").unwrap_or(600);
    progress.since.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn replica_set(state: &mut State, key: &Key, mut object: Value) {
    let wanted = number(&object, "/spec/replicas").unwrap_or(1);
    let pods = pods_at(state, key, &object, wanted, |_| random_hex()[..5].to_owned());
    let ready = count(pods.iter().filter(|pod| is_ready(pod)).count());
    let alive = count(pods.iter().filter(|pod| !is_ending(pod)).count());
    let status = json!({
        "observedGeneration": number(&object, "/metadata/generation"), "replicas": alive,
        "fullyLabeledReplicas": alive, "readyReplicas": ready, "availableReplicas": ready,
    });
    set(&mut object, "/status", status);
    state.store(key, object);
}

/// Makes or deletes pods until `wanted` live ones are there, and gives all of them.
fn pods_at(
    state: &mut State,
    key: &Key,
    object: &Value,
    wanted: i64,
    suffix: impl Fn(i64) -> String,
) -> Vec<Value> {
    let mut pods = owned(state, object, "Pod");
    let alive = count(pods.iter().filter(|(_, pod)| !is_ending(pod)).count());
    for ordinal in alive..wanted {
        new_pod(state, key, object, &suffix(ordinal));
    }
    // Those that are not ready go first.
    pods.sort_by_key(|(_, pod)| is_ready(pod));
    let surplus = usize::try_from(alive - wanted).unwrap_or(0);
    let doomed: Vec<Key> = pods
        .iter()
        .filter(|(_, pod)| !is_ending(pod))
        .take(surplus)
        .map(|(key, _)| key.clone())
        .collect();
    for pod in doomed {
        state.delete(&pod);
    }
    owned(state, object, "Pod").into_iter().map(|(_, pod)| pod).collect()
}

fn new_pod(state: &mut State, key: &Key, workload: &Value, suffix: &str) {
    let name = format!("{}-{suffix}", key.name);
    let pod = Key::new("", "Pod", &key.namespace, &name);
    let mut object = workload.pointer("/spec/template").cloned().unwrap_or_default();
    set(&mut object, "/apiVersion", "v1");
    set(&mut object, "/kind", "Pod");
    set(&mut object, "/metadata/name", name);
    set(&mut object, "/metadata/generateName", format!("{}-", key.name));
    set(&mut object, "/metadata/namespace", key.namespace.clone());
    set(&mut object, "/metadata/ownerReferences", owner(workload));
    set(&mut object, "/spec/nodeName", NODE);
    if text(&object, "/spec/restartPolicy").is_empty() {
        set(&mut object, "/spec/restartPolicy", "Always");
    }
    let conditions = json!([{ "type": "PodScheduled", "status": "True" }]);
    set(&mut object, "/status", json!({ "phase": "Pending", "conditions": conditions }));
    state.create(&pod, object);
}

/// Deletes the pods that were made from another template, and says how many of the current one there are.
fn replace_outdated(state: &mut State, object: &Value, hash: &str) -> i64 {
    let pods = owned(state, object, "Pod");
    let current =
        pods.iter().filter(|(_, pod)| text(pod, HASH_LABEL) == hash && !is_ending(pod)).count();
    for (key, _) in pods.iter().filter(|(_, pod)| text(pod, HASH_LABEL) != hash && !is_ending(pod))
    {
        state.delete(key);
    }
    count(current)
}

const HASH_LABEL: &str = "/metadata/labels/controller-revision-hash";

/// A copy of the workload whose template carries its hash.
fn labelled(object: &Value, hash: &str) -> Value {
    let mut copy = object.clone();
    set(&mut copy, &format!("/spec/template{HASH_LABEL}"), hash);
    copy
}

fn stateful_set(state: &mut State, key: &Key, mut object: Value) {
    let wanted = number(&object, "/spec/replicas").unwrap_or(1);
    let hash = template_hash(&object);
    let updated = replace_outdated(state, &object, &hash);
    // A name is free again only when the old pod is gone.
    let taken = owned(state, &object, "Pod").iter().filter(|(_, pod)| is_ending(pod)).count();
    let target = if taken > 0 { updated } else { wanted };
    let names: Vec<String> =
        owned(state, &object, "Pod").into_iter().map(|(key, _)| key.name).collect();
    let free: Vec<i64> =
        (0..wanted).filter(|at| !names.contains(&format!("{}-{at}", key.name))).collect();
    let alive = updated;
    let suffix = |ordinal: i64| {
        let at = usize::try_from(ordinal - alive).unwrap_or(0);
        free.get(at).copied().unwrap_or(ordinal).to_string()
    };
    let pods = pods_at(state, key, &labelled(&object, &hash), target, suffix);
    let ready = count(pods.iter().filter(|pod| is_ready(pod)).count());
    let alive = count(pods.iter().filter(|pod| !is_ending(pod)).count());
    let revision = format!("{}-{hash}", key.name);
    let current = if alive == wanted && ready == wanted {
        revision.clone()
    } else {
        let known = text(&object, "/status/currentRevision");
        if known.is_empty() { revision.clone() } else { known.to_owned() }
    };
    let status = json!({
        "observedGeneration": number(&object, "/metadata/generation"), "replicas": alive, "readyReplicas": ready,
        "availableReplicas": ready, "updatedReplicas": alive, "currentReplicas": ready,
        "currentRevision": current, "updateRevision": revision,
    });
    set(&mut object, "/status", status);
    state.store(key, object);
}

fn daemon_set(state: &mut State, key: &Key, mut object: Value) {
    let hash = template_hash(&object);
    replace_outdated(state, &object, &hash);
    let pods = pods_at(state, key, &labelled(&object, &hash), 1, |_| random_hex()[..5].to_owned());
    let ready = count(pods.iter().filter(|pod| is_ready(pod)).count());
    let status = json!({
        "observedGeneration": number(&object, "/metadata/generation"), "desiredNumberScheduled": 1,
        "currentNumberScheduled": 1, "updatedNumberScheduled": 1, "numberReady": ready, "numberAvailable": ready,
    });
    set(&mut object, "/status", status);
    state.store(key, object);
}

fn job(state: &mut State, key: &Key, mut object: Value) {
    let over = items(&object, "/status/conditions")
        .iter()
        .any(|one| matches!(text(one, "/type"), "Complete" | "Failed"));
    if over {
        return;
    }
    let limit = number(&object, "/spec/backoffLimit").unwrap_or(6);
    let pods = owned(state, &object, "Pod");
    let in_phase = |phase: &str| {
        count(pods.iter().filter(|(_, pod)| text(pod, "/status/phase") == phase).count())
    };
    let (succeeded, failed) = (in_phase("Succeeded"), in_phase("Failed"));
    let active = count(pods.len()) - succeeded - failed;
    let mut conditions = Vec::new();
    if succeeded > 0 {
        conditions.push(json!({ "type": "Complete", "status": "True", "reason": "CompletionsReached", "message": "Reached expected number of succeeded pods" }));
    } else if failed > limit {
        conditions.push(json!({ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit" }));
    } else if active == 0 {
        new_pod(state, key, &object, &random_hex()[..5]);
    }
    let status = json!({ "active": active.max(0), "succeeded": succeeded, "failed": failed, "conditions": conditions });
    set(&mut object, "/status", status);
    state.store(key, object);
}
