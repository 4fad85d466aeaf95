//! The few requests to the Kubernetes API server that a rig needs for itself.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A client with all rights on one API server.
#[derive(Debug, Clone)]
pub(super) struct Kube {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Kube {
    pub(super) fn new(base: &str, token: &str) -> anyhow::Result<Self> {
        // The server makes its certificate itself, anew in every rig; both ends are on loopback.
        let http = client()?.danger_accept_invalid_certs(true).build()?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some((content_type, bytes)) = body {
            request = request.header("content-type", content_type).body(bytes);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let bytes = answer.bytes().await.with_context(|| format!("{method} {path}"))?;
        // `/readyz` answers with text.
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Whether the server says it is ready; an unreachable one is not.
    pub(super) async fn ready(&self) -> bool {
        matches!(self.send(Method::GET, "/readyz", None).await, Ok((StatusCode::OK, _)))
    }

    /// Server-side apply of a manifest (YAML or JSON) as the field manager `verbatim-rig`.
    pub(super) async fn apply(
        &self,
        path: &str,
        manifest: impl Into<Vec<u8>>,
    ) -> anyhow::Result<()> {
        let query = format!("{path}?fieldManager=verbatim-rig&force=true");
        let (status, answer) = self
            .send(Method::PATCH, &query, Some(("application/apply-patch+yaml", manifest.into())))
            .await?;
        checked(status, &answer, "applying", path)
    }

    /// An object or list, `None` if there is none.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let (status, answer) = self.send(Method::GET, path, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        checked(status, &answer, "reading", path)?;
        Ok(Some(answer))
    }

    /// The names (and namespaces) in a list.
    pub(super) async fn list(&self, path: &str) -> anyhow::Result<Vec<(String, String)>> {
        let answer = self.get(path).await?.unwrap_or_default();
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        let text =
            |item: &Value, key: &str| item["metadata"][key].as_str().unwrap_or_default().to_owned();
        Ok(items.iter().map(|item| (text(item, "namespace"), text(item, "name"))).collect())
    }

    /// Deletes an object or a whole list; one that is gone already is fine.
    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let (status, answer) = self.send(Method::DELETE, path, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        checked(status, &answer, "deleting", path)
    }

    /// Applies a JSON merge patch; an object that is gone is fine.
    pub(super) async fn merge(&self, path: &str, patch: &Value) -> anyhow::Result<()> {
        let body = serde_json::to_vec(patch)?;
        let (status, answer) =
            self.send(Method::PATCH, path, Some(("application/merge-patch+json", body))).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        checked(status, &answer, "changing", path)
    }
}

/// An HTTP client with deadlines, without proxies.
pub(super) fn client() -> anyhow::Result<reqwest::ClientBuilder> {
    // A second call is refused and needs nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30)))
}

fn checked(status: StatusCode, answer: &Value, action: &str, path: &str) -> anyhow::Result<()> {
    if !status.is_success() {
        let message = answer["message"].as_str().unwrap_or("no message");
        bail!("{action} {path}: the Kubernetes API server answered {status}: {message}");
    }
    Ok(())
}
