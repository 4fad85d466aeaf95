//! What the controller of Argo Rollouts does to a canary, without the controller: a ReplicaSet for the new version, a status
//! that says that the rollout is paused, and later all replicas and a status that says that it is complete. Argo CD judges
//! that by its own rules.
//! <https://argo-rollouts.readthedocs.io/en/stable/features/canary/>

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, StatusCode};
use rig::Rig;
use serde_json::{Value, json};

const DEFINITION: &str = "rollouts.argoproj.io";

/// The Kubernetes API of the rig.
pub(crate) struct Rollouts {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Rollouts {
    /// Makes the kind known to the cluster.
    pub(crate) async fn install(rig: &Rig) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            // The certificate is of the rig's own making, and this is 127.0.0.1.
            .danger_accept_invalid_certs(true)
            .build()?;
        let this =
            Self { http, url: rig.kubernetes.url.clone(), token: rig.kubernetes.token.clone() };
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let (status, answer) = this.call(Method::POST, path, Some(definition())).await?;
        // Another run on the same rig may have been first.
        ensure!(status.is_success() || status == StatusCode::CONFLICT, "{status}: {answer}");
        Ok(this)
    }

    pub(crate) async fn remove(&self) -> Result<()> {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{DEFINITION}");
        self.call(Method::DELETE, &path, None).await.map(drop)
    }

    /// Gives the first container of a CronJob another image, and changes nothing else.
    pub(crate) async fn set_image(&self, cron_job: &str, image: &str) -> Result<()> {
        let live = self.awaited(cron_job, |_| true).await?;
        let pod = &live["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        let mut containers = pod["containers"].clone();
        containers[0]["image"] = image.into();
        let template = json!({ "spec": { "containers": containers } });
        let patch = json!({ "spec": { "jobTemplate": { "spec": { "template": template } } } });
        self.done(Method::PATCH, cron_job, patch).await
    }

    /// Waits for the Rollout of this name in the namespace of this name, and rolls it out up to its first pause.
    pub(crate) async fn pause(&self, name: &str) -> Result<()> {
        let rollout = self.awaited(&rollout_path(name), |_| true).await?;
        let sets = format!("/apis/apps/v1/namespaces/{name}/replicasets");
        self.done(Method::POST, &sets, canary(&rollout)?).await?;
        let paused = json!({ "status": {
            "phase": "Paused", "message": "CanaryPauseStep", "controllerPause": true,
            "observedGeneration": rollout["metadata"]["generation"].to_string(),
            "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-11-25T10:00:00Z" }],
            "currentPodHash": "canary", "stableRS": "stable",
            "replicas": 3, "updatedReplicas": 1, "availableReplicas": 3,
        }});
        self.done(Method::PATCH, &format!("{}/status", rollout_path(name)), paused).await
    }

    /// Lets the Rollout of this name go on to its end, as after a promotion by hand: all replicas are of the new version, and
    /// when they are available it is the stable one.
    pub(crate) async fn finish(&self, name: &str) -> Result<()> {
        let set = format!("/apis/apps/v1/namespaces/{name}/replicasets/{name}-canary");
        self.done(Method::PATCH, &set, json!({ "spec": { "replicas": 3 } })).await?;
        self.awaited(&set, |set| set["status"]["availableReplicas"] == 3).await?;
        // What is null is taken away.
        let complete = json!({ "status": {
            "phase": "Healthy", "message": null, "controllerPause": null, "pauseConditions": null,
            "currentPodHash": "canary", "stableRS": "canary",
            "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        }});
        self.done(Method::PATCH, &format!("{}/status", rollout_path(name)), complete).await
    }

    /// Reads an object until it is there and is as wanted.
    async fn awaited(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        for _ in 0..300 {
            match self.call(Method::GET, path, None).await? {
                (StatusCode::OK, object) if wanted(&object) => return Ok(object),
                (StatusCode::OK | StatusCode::NOT_FOUND, _) => {}
                (status, answer) => bail!("{status}: {answer}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("{path} does not become what is waited for")
    }

    async fn done(&self, method: Method, path: &str, body: Value) -> Result<()> {
        let (status, answer) = self.call(method, path, Some(body)).await?;
        ensure!(status.is_success(), "{path}: {status}: {answer}");
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value)> {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = request.bearer_auth(&self.token).header("content-type", kind);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("cannot ask for {path}"))?;
        let status = answer.status();
        Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
    }
}

fn rollout_path(name: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{name}/rollouts/{name}")
}

/// The new version's ReplicaSet, one of three replicas.
fn canary(rollout: &Value) -> Result<Value> {
    let name = rollout["metadata"]["name"].as_str().context("a Rollout without a name")?;
    let labels = json!({ "app": name, "rollouts-pod-template-hash": "canary" });
    let mut template = rollout["spec"]["template"].clone();
    template["metadata"]["labels"] = labels.clone();
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{name}-canary"),
            "annotations": { "rollout.argoproj.io/revision": "2" },
            "ownerReferences": [{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name,
                "uid": rollout["metadata"]["uid"], "controller": true,
            }],
        },
        "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": template },
    }))
}

/// As much of the definition as Argo CD and the API server need.
fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": DEFINITION },
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": { "kind": "Rollout", "plural": "rollouts", "singular": "rollout", "listKind": "RolloutList" },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}
