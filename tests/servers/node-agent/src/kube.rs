//! The node agent's client of the Kubernetes API server: list, watch, and the few writes of a kubelet.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use futures_util::TryStreamExt as _;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{io::AsyncBufReadExt as _, sync::mpsc};
use tokio_util::io::StreamReader;

use super::model::{List, Metadata};

/// A client of one API server.
#[derive(Debug, Clone)]
pub(crate) struct Kube {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// A change of what is watched.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// All there is: what is not among it is gone.
    All(Vec<T>),
    /// It is new, or it changed.
    Set(T),
    Gone(T),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    current_context: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
}

#[derive(Debug, Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    certificate_authority_data: Option<String>,
}

#[derive(Debug, Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Debug, Deserialize)]
struct User {
    token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Debug, Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
struct WatchEvent {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl Kube {
    /// Reads the current context of a kubeconfig. Only token users are known.
    pub(crate) fn from_kubeconfig(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let config: Config = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is not a kubeconfig", path.display()))?;
        let context = config.contexts.into_iter().find(|it| it.name == config.current_context);
        let context = context.context("the kubeconfig's current context is not in it")?.context;
        let cluster = config.clusters.into_iter().find(|it| it.name == context.cluster);
        let cluster = cluster.context("the context's cluster is not in the kubeconfig")?.cluster;
        let user = config.users.into_iter().find(|it| it.name == context.user);
        let user = user.context("the context's user is not in the kubeconfig")?.user;
        let token = user
            .token
            .context("the context's user has no token, and this agent knows no other credential")?;
        let mut http = http().danger_accept_invalid_certs(cluster.insecure_skip_tls_verify);
        if let Some(data) = cluster.certificate_authority_data {
            let pem = base64::engine::general_purpose::STANDARD
                .decode(data.trim())
                .context("bad CA data")?;
            for certificate in reqwest::Certificate::from_pem_bundle(&pem)? {
                http = http.add_root_certificate(certificate);
            }
        }
        Ok(Self {
            http: http.build()?,
            base: cluster.server.trim_end_matches('/').to_owned(),
            token,
        })
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Value)> {
        let answer = request
            .timeout(Duration::from_secs(30))
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        Ok((status, answer.json().await.map_err(reqwest::Error::without_url)?))
    }

    /// An object, `None` if there is none.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let (status, answer) = self.send(self.request(Method::GET, path)).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        checked(status, &answer)?;
        Ok(Some(serde_json::from_value(answer)?))
    }

    /// Applies a patch. Returns false if the object is not there, or is another one by now.
    pub(crate) async fn patch(
        &self,
        path: &str,
        kind: Patch,
        body: &Value,
    ) -> anyhow::Result<bool> {
        let content_type = match kind {
            Patch::Merge => "application/merge-patch+json",
            Patch::Strategic => "application/strategic-merge-patch+json",
            Patch::Apply => "application/apply-patch+yaml",
        };
        let request = self
            .request(Method::PATCH, path)
            .header("content-type", content_type)
            .body(body.to_string());
        let (status, answer) = self.send(request).await?;
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
            return Ok(false);
        }
        checked(status, &answer)?;
        Ok(true)
    }

    /// Takes a pod whose containers are gone off the API server, if it is still the same pod.
    pub(crate) async fn finalize(&self, pod: &Metadata) -> anyhow::Result<()> {
        let body = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": pod.uid } });
        let request = self.request(Method::DELETE, &pod_path(pod)).json(&body);
        let (status, answer) = self.send(request).await?;
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
            return Ok(());
        }
        checked(status, &answer)
    }

    /// Follows a collection for ever: all of it, then each change. `query` may hold selectors.
    pub(crate) async fn follow<T: DeserializeOwned + Send + 'static>(
        self,
        path: &'static str,
        query: String,
        changes: mpsc::Sender<Change<T>>,
    ) {
        loop {
            match self.follow_once(path, &query, &changes).await {
                Ok(()) if changes.is_closed() => return,
                // The server ends every watch after some minutes.
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!("watching {path}: {error:#}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    async fn follow_once<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        query: &str,
        changes: &mpsc::Sender<Change<T>>,
    ) -> anyhow::Result<()> {
        let list: List<T> =
            self.get(&format!("{path}?{query}")).await?.context("no such collection")?;
        if changes.send(Change::All(list.items)).await.is_err() {
            return Ok(());
        }
        let version = list.metadata.resource_version;
        let watch =
            format!("{path}?{query}&watch=true&resourceVersion={version}&timeoutSeconds=280");
        let answer =
            self.request(Method::GET, &watch).timeout(Duration::from_secs(300)).send().await?;
        ensure!(answer.status().is_success(), "the watch was answered with {}", answer.status());
        let stream = answer.bytes_stream().map_err(std::io::Error::other);
        let mut lines = StreamReader::new(stream).lines();
        while let Some(line) = lines.next_line().await? {
            let event: WatchEvent = serde_json::from_str(&line)?;
            let change = match event.kind.as_str() {
                "ADDED" | "MODIFIED" => Change::Set(serde_json::from_value(event.object)?),
                "DELETED" => Change::Gone(serde_json::from_value(event.object)?),
                // The version is too old: list again.
                "ERROR" => return Ok(()),
                _ => continue,
            };
            if changes.send(change).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The kinds of patch that are used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patch {
    Merge,
    Strategic,
    Apply,
}

pub(crate) fn pod_path(pod: &Metadata) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)
}

/// An HTTP client without proxies: everything the agent talks to is near.
pub(crate) fn http() -> reqwest::ClientBuilder {
    // A second call is refused and needs nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(5))
}

fn checked(status: StatusCode, answer: &Value) -> anyhow::Result<()> {
    if !status.is_success() {
        bail!(
            "the API server answered {status}: {}",
            answer["message"].as_str().unwrap_or("no message")
        );
    }
    Ok(())
}
