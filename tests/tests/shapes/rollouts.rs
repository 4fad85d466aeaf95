//! What the controller of Argo Rollouts does to a canary up to its first pause, without the controller: a ReplicaSet for
//! the new version, and a status that says that the rollout is paused. Argo CD judges that by its own rules.
//! <https://argo-rollouts.readthedocs.io/en/stable/features/canary/>

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use test_servers::rig::Rig;

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

    /// Waits for the Rollout of this name in the namespace of this name, and rolls it out up to its first pause.
    pub(crate) async fn pause(&self, name: &str) -> Result<()> {
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{name}/rollouts/{name}");
        let mut tries = 0;
        let rollout = loop {
            match self.call(Method::GET, &path, None).await? {
                (StatusCode::OK, rollout) => break rollout,
                (StatusCode::NOT_FOUND, _) if tries < 300 => tries += 1,
                (status, answer) => bail!("{status}: {answer}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let sets = format!("/apis/apps/v1/namespaces/{name}/replicasets");
        let (status, answer) = self.call(Method::POST, &sets, Some(canary(&rollout)?)).await?;
        ensure!(status.is_success(), "{status}: {answer}");
        let paused = json!({ "status": {
            "phase": "Paused", "message": "CanaryPauseStep", "controllerPause": true,
            "observedGeneration": rollout["metadata"]["generation"].to_string(),
            "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-11-25T10:00:00Z" }],
            "currentPodHash": "canary", "stableRS": "stable",
            "replicas": 3, "updatedReplicas": 1, "availableReplicas": 3,
        }});
        let (status, answer) =
            self.call(Method::PATCH, &format!("{path}/status"), Some(paused)).await?;
        ensure!(status.is_success(), "{status}: {answer}");
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
