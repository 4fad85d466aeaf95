//! The first requests to a new Argo CD: log in, and make API tokens.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use simulated_argocd::Tokens;

use super::kube;

/// The bcrypt hash that Argo CD stores of a password, made by its own client.
pub(super) fn hash_password(argocd: &Path, password: &str, home: &Path) -> anyhow::Result<String> {
    let output = Command::new(argocd)
        .args(["account", "bcrypt", "--password", password])
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .context("cannot run argocd")?;
    ensure!(
        output.status.success(),
        "argocd account bcrypt failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A small client of the API server.
#[derive(Debug)]
pub(super) struct Argocd {
    http: reqwest::Client,
    url: String,
}

impl Argocd {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self { http: kube::client()?.build()?, url: url.to_owned() })
    }

    pub(super) async fn healthy(&self) -> bool {
        matches!(self.http.get(format!("{}/healthz", self.url)).send().await, Ok(answer) if answer.status().is_success())
    }

    /// Whether Dex answers behind it.
    pub(super) async fn lets_jobs_in(&self) -> bool {
        let url = format!("{}/api/dex/.well-known/openid-configuration", self.url);
        matches!(self.http.get(url).send().await, Ok(answer) if answer.status().is_success())
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| format!("POST {path}"))?;
        let status = answer.status();
        let body: Value = answer
            .json()
            .await
            .with_context(|| format!("POST {path} answered {status} without JSON"))?;
        ensure!(
            status.is_success(),
            "POST {path} answered {status}: {}",
            body["message"].as_str().unwrap_or_default()
        );
        Ok(body)
    }

    /// Logs in as `admin` and makes a token for each account.
    pub(super) async fn tokens(&self, password: &str) -> anyhow::Result<Tokens> {
        let session = self
            .post("/api/v1/session", None, &json!({ "username": "admin", "password": password }))
            .await?;
        let session = token_of(&session)?;
        let make = async |account: &str| {
            let path = format!("/api/v1/account/{account}/token");
            token_of(
                &self.post(&path, Some(&session), &json!({ "name": account, "id": "rig" })).await?,
            )
        };
        // One after the other: each rewrites the same secret.
        Ok(Tokens {
            admin: make("admin").await?,
            bot: make("bot").await?,
            reader: make("reader").await?,
        })
    }

    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let answer: Value =
            self.http.get(format!("{}/api/version", self.url)).send().await?.json().await?;
        answer["Version"].as_str().map(str::to_owned).context("Argo CD does not tell its version")
    }
}

fn token_of(answer: &Value) -> anyhow::Result<String> {
    answer["token"].as_str().map(str::to_owned).context("Argo CD answered without a token")
}
