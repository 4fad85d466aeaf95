//! The API server that keeps the application: a client of it, and the judge, who sees every state that was ever stored.
//! Knows no writer.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use rig::Rig;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// Deleting an application deletes what it made.
const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// The Kubernetes API of the rig, for applications.
#[derive(Clone)]
pub(super) struct Kube {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Kube {
    pub(super) fn new(rig: &Rig) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            // The certificate is of the rig's own making, and this is 127.0.0.1.
            .danger_accept_invalid_certs(true)
            .build()?;
        let url = format!(
            "{}/apis/argoproj.io/v1alpha1/namespaces/argocd/applications",
            rig.kubernetes.url
        );
        Ok(Self { http, url, token: rig.kubernetes.token.clone() })
    }

    /// The same for an ApplicationSet.
    pub(super) async fn call_set(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let sets = Self { url: format!("{}ets", self.url), ..self.clone() };
        sets.call(method, path, body).await
    }

    /// An application that a controller makes.
    pub(super) async fn made(&self, app: &str) -> Result<Value> {
        let wait = async {
            loop {
                if let Ok(made) = self.call(Method::GET, &format!("/{app}"), None).await {
                    return made;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, wait).await.context("the ApplicationSet has made no application")
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(&self.token).header("content-type", kind);
        let request = request.body(body.map(|body| body.to_string()).unwrap_or_default());
        let answer = request.timeout(PATIENCE).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "Kubernetes answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// Every state of the application, as the Kubernetes API tells it.
pub(super) struct Judge {
    states: watch::Receiver<Vec<Value>>,
    task: JoinHandle<()>,
}

impl Judge {
    pub(super) fn start(kube: Kube, app: String, version: String) -> Self {
        let (sender, states) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            let query =
                format!("?watch=1&fieldSelector=metadata.name%3D{app}&resourceVersion={version}");
            let request = kube.http.get(format!("{}{query}", kube.url)).bearer_auth(&kube.token);
            let Ok(mut answer) = request.send().await else { return };
            let mut buffer = Vec::new();
            while let Ok(Some(chunk)) = answer.chunk().await {
                buffer.extend_from_slice(&chunk);
                while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line).unwrap_or_default();
                    sender.send_modify(|states| states.push(event["object"].clone()));
                }
            }
        });
        Self { states, task }
    }

    pub(super) fn seen(&self) -> Vec<Value> {
        self.states.borrow().clone()
    }

    /// All states up to the one that stands now.
    pub(super) async fn until_now(&mut self, kube: &Kube, app: &str) -> Result<Vec<Value>> {
        let now = kube.call(Method::GET, &format!("/{app}"), None).await?;
        let version = |state: &Value| -> u64 {
            let version = state["metadata"]["resourceVersion"].as_str();
            version.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let wanted = version(&now);
        let is_there =
            |states: &Vec<Value>| states.last().is_some_and(|last| version(last) >= wanted);
        let states = timeout(PATIENCE, self.states.wait_for(is_there)).await;
        let states = states.context("the watch is behind")?.context("the watch has ended")?;
        Ok(states.clone())
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn application(app: &str, rig: &Rig) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": app, "namespace": "argocd", "annotations": { "begun": "yes" },
            "finalizers": [FINALIZER],
        },
        "spec": spec(rig),
    })
}

/// A workload without pods: what is tried here are writes.
fn spec(rig: &Rig) -> Value {
    json!({
        "project": "default",
        "source": {
            "repoURL": rig.git.url, "path": "chart", "targetRevision": "main",
            "helm": { "parameters": [
                { "name": "image.tag", "value": "r", "forceString": true },
                { "name": "replicas", "value": "0" },
                { "name": "environment", "value": "0" },
            ] },
        },
        "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
    })
}

/// One that owns an application, and leaves to others what they write.
pub(super) fn application_set(app: &str, rig: &Rig) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": { "name": app, "namespace": "argocd" },
        "spec": {
            "generators": [{ "list": { "elements": [{ "name": app }] } }],
            "preservedFields": { "annotations": ["verbatim.dev/claim", "team", "argocd.argoproj.io/deletion-approved"] },
            "ignoreApplicationDifferences": [{ "jsonPointers": ["/spec/source/helm/parameters"] }],
            "template": {
                "metadata": {
                    "name": "{{name}}", "labels": { "set": "t" }, "finalizers": [FINALIZER],
                },
                "spec": spec(rig),
            },
        },
    })
}
