//! Pods without containers: they become ready after a while, or fail as they are told to.
//!
//! For tests of what Argo CD shows. Where containers shall run, a node agent takes this one's place.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Cluster, now_text};
use crate::objects::{Key, items, set, text};

/// What becomes of the pods whose image contains a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodRule {
    /// A part of the image's reference.
    pub image: String,
    /// What happens.
    pub behaviour: Behaviour,
}

/// What happens to a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// It is ready after the configured time.
    Ready,
    /// It runs and is never ready.
    NeverReady,
    /// Its image cannot be pulled.
    ImagePullBackOff,
    /// Its container ends with status 1, again and again.
    Crash,
    /// The same, and what is said about it is this.
    CrashSaying(String),
    /// The same, and this is the log of each attempt.
    CrashLogging(String),
    /// It is ready, and reports this `imageID`.
    ImageId(String),
    /// It stays Pending.
    Unschedulable,
}

/// What the fake pods do.
#[derive(Debug, Clone)]
pub(crate) struct Fakes {
    pub(crate) ready_after: Duration,
    pub(crate) rules: Arc<Mutex<Vec<PodRule>>>,
}

impl Fakes {
    pub(crate) fn behaviour(&self, pod: &Value) -> Behaviour {
        // A selector that no node has keeps a pod Pending, as the scheduler would.
        if pod
            .pointer("/spec/nodeSelector")
            .and_then(Value::as_object)
            .is_some_and(|labels| !labels.is_empty())
        {
            return Behaviour::Unschedulable;
        }
        let images: BTreeSet<&str> =
            items(pod, "/spec/containers").iter().map(|one| text(one, "/image")).collect();
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule =
            rules.iter().rev().find(|rule| images.iter().any(|image| image.contains(&rule.image)));
        rule.map_or(Behaviour::Ready, |rule| rule.behaviour.clone())
    }
}

/// Gives every pod of the cluster a status, until the task is aborted.
pub(crate) async fn run(cluster: Arc<Cluster>, fakes: Fakes) {
    let mut changes = cluster.changes();
    let mut begun = BTreeSet::new();
    loop {
        for (key, pod) in cluster.objects().iter().filter(|(key, _)| key.kind == "Pod") {
            let uid = text(pod, "/metadata/uid").to_owned();
            if begun.insert(uid) {
                tokio::spawn(live(cluster.clone(), fakes.clone(), key.clone(), pod.clone()));
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn live(cluster: Arc<Cluster>, fakes: Fakes, key: Key, pod: Value) {
    let behaviour = fakes.behaviour(&pod);
    if behaviour == Behaviour::Unschedulable {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available.",
        });
        cluster
            .merge(&key, &json!({ "status": { "phase": "Pending", "conditions": [condition] } }));
        return;
    }
    tokio::time::sleep(fakes.ready_after).await;
    cluster.merge(&key, &json!({ "status": status(&pod, &behaviour) }));
}

/// What a runtime reports for a reference: the repository and the digest, or for a tag a digest made of the text.
pub(crate) fn image_id(image: &str) -> String {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, digest.to_owned()),
        None => (image, format!("sha256:{}", hex::encode(Sha256::digest(image)))),
    };
    let (folder, last) = name.rsplit_once('/').map_or(("", name), |(folder, last)| (folder, last));
    let last = last.split(':').next().unwrap_or(last);
    let repository = if folder.is_empty() { last.to_owned() } else { format!("{folder}/{last}") };
    format!("{repository}@{digest}")
}

fn status(pod: &Value, behaviour: &Behaviour) -> Value {
    let is_job =
        items(pod, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/kind") == "Job");
    let ready = matches!(behaviour, Behaviour::Ready | Behaviour::ImageId(_)) && !is_job;
    let containers: Vec<Value> = items(pod, "/spec/containers")
        .iter()
        .map(|one| container(one, behaviour, is_job))
        .collect();
    let phase = match (behaviour, is_job) {
        (Behaviour::ImagePullBackOff, _) => "Pending",
        (Behaviour::Ready | Behaviour::ImageId(_), true) => "Succeeded",
        (Behaviour::Crash | Behaviour::CrashSaying(_) | Behaviour::CrashLogging(_), true) => {
            "Failed"
        }
        _ => "Running",
    };
    let mut status = json!({
        "phase": phase, "podIP": "127.0.0.1", "hostIP": "127.0.0.1", "startTime": now_text(), "containerStatuses": containers,
        "conditions": [
            { "type": "PodScheduled", "status": "True" },
            { "type": "Ready", "status": if ready { "True" } else { "False" } },
        ],
    });
    if phase == "Pending" {
        set(&mut status, "/podIP", Value::Null);
    }
    status
}

fn container(spec: &Value, behaviour: &Behaviour, is_job: bool) -> Value {
    let image = text(spec, "/image");
    let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error", "startedAt": now_text(), "finishedAt": now_text() } });
    let running = json!({ "running": { "startedAt": now_text() } });
    let (state, last, restarts) = match behaviour {
        Behaviour::ImagePullBackOff => {
            let message = format!("Back-off pulling image \"{image}\"");
            (
                json!({ "waiting": { "reason": "ImagePullBackOff", "message": message } }),
                json!({}),
                0,
            )
        }
        Behaviour::Crash | Behaviour::CrashSaying(_) | Behaviour::CrashLogging(_) if is_job => {
            (ended, json!({}), 0)
        }
        Behaviour::CrashSaying(message) => {
            // A container says it in its file for that, `terminationMessagePath`.
            let mut ended = ended;
            ended["terminated"]["message"] = message.as_str().into();
            (json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } }), ended, 1)
        }
        Behaviour::Crash | Behaviour::CrashLogging(_) => {
            let message =
                format!("back-off 10s restarting failed container={}", text(spec, "/name"));
            (json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } }), ended, 1)
        }
        _ if is_job => {
            (json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }), json!({}), 0)
        }
        _ => (running, json!({}), 0),
    };
    let id = match behaviour {
        Behaviour::ImagePullBackOff => String::new(),
        Behaviour::ImageId(id) => id.clone(),
        _ => image_id(image),
    };
    let ready = matches!(behaviour, Behaviour::Ready | Behaviour::ImageId(_)) && !is_job;
    json!({
        "name": text(spec, "/name"), "image": image, "imageID": id, "ready": ready, "started": ready,
        "restartCount": restarts, "state": state, "lastState": last,
    })
}

#[cfg(test)]
mod tests {
    use super::image_id;

    #[test]
    fn image_ids_name_repository_and_digest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let cases = ["host:5000/a/web", "host:5000/a/web:1.0.1", "web", "web:1"];
        for name in cases {
            let repository =
                name.strip_suffix(":1.0.1").or_else(|| name.strip_suffix(":1")).unwrap_or(name);
            assert_eq!(image_id(&format!("{name}@{digest}")), format!("{repository}@{digest}"));
            assert!(image_id(name).starts_with(&format!("{repository}@sha256:")), "{name}");
        }
    }
}
