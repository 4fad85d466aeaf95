//! What the controller of Argo Rollouts does to a canary, without the controller: a ReplicaSet for the new version, a status
//! that says that the rollout is paused, and later all replicas and a status that says that it is complete. Argo CD judges
//! that by its own rules.
//! <https://argo-rollouts.readthedocs.io/en/stable/features/canary/>

use anyhow::Result;
use serde_json::{Value, json};

use super::cluster::Cluster;

/// Waits for the Rollout of this name in the namespace of this name, and rolls it out up to its first pause.
pub(crate) async fn pause(cluster: &Cluster, name: &str) -> Result<()> {
    let rollout = cluster.awaited(&path(name), |_| true).await?;
    let set = replica_set(&rollout, &rollout["spec"]["template"], ("canary", 2), 1);
    cluster.make(&sets(name), set).await?;
    let paused = json!({ "status": {
        "phase": "Paused", "message": "CanaryPauseStep", "controllerPause": true,
        "observedGeneration": rollout["metadata"]["generation"].to_string(),
        "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-11-25T10:00:00Z" }],
        "currentPodHash": "canary", "stableRS": "stable",
        "replicas": 3, "updatedReplicas": 1, "availableReplicas": 3,
    }});
    cluster.patch(&format!("{}/status", path(name)), paused).await
}

/// Lets the Rollout of this name go on to its end, as after a promotion by hand: all replicas are of the new version, and
/// when they are available it is the stable one.
pub(crate) async fn finish(cluster: &Cluster, name: &str) -> Result<()> {
    let set = format!("{}/{name}-canary", sets(name));
    cluster.patch(&set, json!({ "spec": { "replicas": 3 } })).await?;
    cluster.awaited(&set, |set| set["status"]["availableReplicas"] == 3).await?;
    // What is null is taken away.
    let complete = json!({ "status": {
        "phase": "Healthy", "message": null, "controllerPause": null, "pauseConditions": null,
        "currentPodHash": "canary", "stableRS": "canary",
        "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
    }});
    cluster.patch(&format!("{}/status", path(name)), complete).await
}

pub(crate) fn path(name: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{name}/rollouts/{name}")
}

/// The ReplicaSets in the namespace of this name.
pub(crate) fn sets(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{name}/replicasets")
}

/// A ReplicaSet of a Rollout for a version, which has a hash for its pods and a number.
pub(crate) fn replica_set(
    rollout: &Value,
    template: &Value,
    (hash, revision): (&str, u64),
    replicas: u64,
) -> Value {
    let name = rollout["metadata"]["name"].as_str().unwrap_or_default();
    let labels = json!({ "app": name, "rollouts-pod-template-hash": hash });
    let mut template = template.clone();
    template["metadata"]["labels"] = labels.clone();
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{name}-{hash}"),
            "annotations": { "rollout.argoproj.io/revision": revision.to_string() },
            "ownerReferences": [{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name,
                "uid": rollout["metadata"]["uid"], "controller": true,
            }],
        },
        "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": template },
    })
}
