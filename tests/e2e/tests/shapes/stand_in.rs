//! What stands in for controllers that the rig does not have: each makes of the objects that Argo CD has synced what its
//! original would make of them. Kubernetes' own controllers and the node agent of the rig do the rest.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::rollouts;

#[derive(Clone, Copy)]
pub(crate) enum StandIn {
    /// The controller of Argo Rollouts, for a Rollout that takes its pods from an empty Deployment: a ReplicaSet for each
    /// version, and a status that says that the rollout is complete.
    /// <https://argo-rollouts.readthedocs.io/en/stable/migrating/#reference-deployment-from-rollout>
    WorkloadRef,
    /// An operator that runs the image of a custom resource in a pod. Nothing in the manifests tells that.
    Pod,
    /// An operator that makes a Deployment of a custom resource's pod template, through another resource of its own.
    Chain,
}

impl StandIn {
    /// Waits for this image in the objects of the application of this name, and makes it run there: its first or its second
    /// version.
    pub(crate) async fn follow(
        self,
        cluster: &Cluster,
        app: &str,
        image: &str,
        version: u64,
    ) -> Result<()> {
        match self {
            Self::WorkloadRef => workload_ref(cluster, app, image, version).await,
            Self::Pod => pod(cluster, app, image, version).await,
            Self::Chain => chain(cluster, app, image, version).await,
        }
        .context("what stands in for a controller cannot do its work")
    }
}

async fn workload_ref(cluster: &Cluster, app: &str, image: &str, version: u64) -> Result<()> {
    let deployment = format!("/apis/apps/v1/namespaces/{app}/deployments/{app}");
    let deployment =
        cluster.awaited(&deployment, |live| runs(&live["spec"]["template"], image)).await?;
    let rollout = cluster.awaited(&rollouts::path(app), |_| true).await?;
    let hash = format!("v{version}");
    let template = &deployment["spec"]["template"];
    let set = rollouts::replica_set(&rollout, template, (&hash, version), 1);
    cluster.make(&rollouts::sets(app), set).await?;
    let set = |version| format!("{}/{app}-v{version}", rollouts::sets(app));
    cluster.awaited(&set(version), |set| set["status"]["availableReplicas"] == 1).await?;
    if version > 1 {
        cluster.delete(&set(version - 1)).await?;
    }
    // Argo CD compares the two when it judges the health of a Rollout (argoproj.io/Rollout/health.lua of Argo CD 3.6.1).
    let seen = deployment["metadata"]["generation"].to_string();
    let annotations = json!({ "rollout.argoproj.io/workload-generation": seen });
    cluster
        .patch(&rollouts::path(app), json!({ "metadata": { "annotations": annotations } }))
        .await?;
    let complete = json!({ "status": {
        "phase": "Healthy", "currentPodHash": hash, "stableRS": hash,
        "observedGeneration": rollout["metadata"]["generation"].to_string(),
        "workloadObservedGeneration": seen,
        "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
    }});
    cluster.patch(&format!("{}/status", rollouts::path(app)), complete).await
}

async fn pod(cluster: &Cluster, app: &str, image: &str, version: u64) -> Result<()> {
    let site = cluster.awaited(&site(app), |site| site["spec"]["image"] == image).await?;
    let pods = format!("/api/v1/namespaces/{app}/pods");
    let container = json!({ "name": "web", "image": image, "env": [address()] });
    let name = format!("{app}-v{version}");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "ownerReferences": [owner(&site)] },
        "spec": { "terminationGracePeriodSeconds": 5, "containers": [container] },
    });
    cluster.make(&pods, pod).await?;
    let is_ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    cluster.awaited(&format!("{pods}/{name}"), is_ready).await?;
    if version > 1 {
        cluster.delete(&format!("{pods}/{app}-v{}", version - 1)).await?;
    }
    Ok(())
}

async fn chain(cluster: &Cluster, app: &str, image: &str, version: u64) -> Result<()> {
    let outer = cluster.awaited(&site(app), |site| runs(&site["spec"]["template"], image)).await?;
    let deployments = format!("/apis/apps/v1/namespaces/{app}/deployments");
    let template = &outer["spec"]["template"];
    if version > 1 {
        let new = json!({ "spec": { "template": template } });
        return cluster.patch(&format!("{deployments}/{app}"), new).await;
    }
    let between = json!({
        "apiVersion": "shapes.verbatim.dev/v1alpha1", "kind": "Site",
        "metadata": { "name": format!("{app}-between"), "ownerReferences": [owner(&outer)] },
    });
    cluster.make(&sites(app), between).await?;
    let between = cluster.awaited(&site_path(app, "-between"), |_| true).await?;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": app, "ownerReferences": [owner(&between)] },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": app } }, "template": template,
        },
    });
    cluster.make(&deployments, deployment).await
}

/// Whether the first container of a pod template has this image.
fn runs(template: &Value, image: &str) -> bool {
    template["spec"]["containers"][0]["image"] == image
}

fn sites(app: &str) -> String {
    format!("/apis/shapes.verbatim.dev/v1alpha1/namespaces/{app}/sites")
}

fn site(app: &str) -> String {
    site_path(app, "")
}

fn site_path(app: &str, suffix: &str) -> String {
    format!("{}/{app}{suffix}", sites(app))
}

fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "controller": true,
        "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
    })
}

/// Where a pod of the rig must listen.
fn address() -> Value {
    json!({ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } })
}
