//! An application on the rig for a comparison. It knows nothing about what is compared.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rig::Rig;
use serde_json::json;
use tokio::runtime::Runtime;

/// Creates an application with the fixtures' chart, which nobody has synced yet.
pub(super) fn create(runtime: &Runtime, rig: &Rig, name: &str, repository: &str) -> Result<()> {
    // Nothing here speaks TLS, but an HTTP client cannot be made without somebody to do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": name, "namespace": "argocd" },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": rig.git.url,
                "path": "chart",
                "targetRevision": "HEAD",
                "helm": { "parameters": [
                    { "name": "image.repository", "value": repository, "forceString": true },
                    { "name": "image.tag", "value": "", "forceString": true },
                ] },
            },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
        },
    });
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .context("failed to make an HTTP client")?;
        let answer = client
            .post(format!("{}/api/v1/applications", rig.argocd.url))
            .bearer_auth(&rig.argocd.tokens.admin)
            .json(&application)
            .send()
            .await
            .context("failed to create an application")?;
        let status = answer.status();
        if !status.is_success() {
            bail!("Argo CD answered {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(())
    })
}
