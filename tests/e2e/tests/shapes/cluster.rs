//! The Kubernetes API of the rig, for what Argo CD does not do: it makes kinds known, and changes objects as their
//! controllers do. Knows no shape.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, StatusCode};
use rig::Rig;
use serde_json::{Value, json};

/// The kinds that shapes need: those of Argo Rollouts, and one that stands for any operator's.
const KINDS: [(&str, &str, &str); 2] =
    [("argoproj.io", "Rollout", "rollouts"), ("shapes.verbatim.dev", "Site", "sites")];

pub(crate) struct Cluster {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Cluster {
    /// Makes the kinds known to it.
    pub(crate) async fn prepare(rig: &Rig) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            // The certificate is of the rig's own making, and this is 127.0.0.1.
            .danger_accept_invalid_certs(true)
            .build()?;
        let this =
            Self { http, url: rig.kubernetes.url.clone(), token: rig.kubernetes.token.clone() };
        for (group, kind, plural) in KINDS {
            let body = definition(group, kind, plural);
            let (status, answer) = this.call(Method::POST, DEFINITIONS, Some(body)).await?;
            // Another run on the same rig may have been first.
            ensure!(status.is_success() || status == StatusCode::CONFLICT, "{status}: {answer}");
        }
        Ok(this)
    }

    /// Forgets the kinds.
    pub(crate) async fn clean(&self) -> Result<()> {
        for (group, _, plural) in KINDS {
            self.call(Method::DELETE, &format!("{DEFINITIONS}/{plural}.{group}"), None).await?;
        }
        Ok(())
    }

    /// Gives the first container of a CronJob another image, and changes nothing else.
    pub(crate) async fn set_image(&self, cron_job: &str, image: &str) -> Result<()> {
        let live = self.awaited(cron_job, |_| true).await?;
        let pod = &live["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        let mut containers = pod["containers"].clone();
        containers[0]["image"] = image.into();
        let template = json!({ "spec": { "containers": containers } });
        let patch = json!({ "spec": { "jobTemplate": { "spec": { "template": template } } } });
        self.patch(cron_job, patch).await
    }

    /// Reads an object until it is there and is as wanted.
    pub(crate) async fn awaited(
        &self,
        path: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
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

    /// Makes an object in a collection.
    pub(crate) async fn make(&self, collection: &str, object: Value) -> Result<()> {
        self.done(Method::POST, collection, Some(object)).await
    }

    /// Merges this into an object.
    pub(crate) async fn patch(&self, path: &str, body: Value) -> Result<()> {
        self.done(Method::PATCH, path, Some(body)).await
    }

    /// Deletes an object, with what belongs to it.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let body = json!({ "propagationPolicy": "Background" });
        self.done(Method::DELETE, path, Some(body)).await
    }

    async fn done(&self, method: Method, path: &str, body: Option<Value>) -> Result<()> {
        let (status, answer) = self.call(method, path, body).await?;
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

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// As much of the definition of a kind as Argo CD and the API server need.
fn definition(group: &str, kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
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
