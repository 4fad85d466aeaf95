//! The fixtures' chart where teams keep charts: a Helm repository over HTTP, and a registry.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use rig::Rig;
use tokio::task::JoinHandle;

use crate::run::Tool;

/// The file of the packed chart.
const PACKED: &str = "web-0.1.0.tgz";

/// A Helm repository; it ends when this is dropped.
#[derive(Debug)]
pub struct Charts {
    /// Its URL.
    pub url: String,
    serving: JoinHandle<()>,
}

impl Drop for Charts {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Charts {
    /// Packs the chart with the helm of the rig, and serves it; only to this account, if one is named.
    ///
    /// # Errors
    /// There is no helm, or it does not do what it should.
    pub async fn serve(rig: &Rig, folder: &Path, account: Option<(&str, &str)>) -> Result<Self> {
        let charts = packed(rig, folder).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        helm(rig, &charts, &["repo", "index", ".", "--url", &url]).await?;
        let mut router = Router::new();
        for file in ["index.yaml", PACKED] {
            let bytes = bytes::Bytes::from(std::fs::read(charts.join(file))?);
            router = router.route(&format!("/{file}"), axum::routing::get(async move || bytes));
        }
        if let Some((name, password)) = account {
            let pair = base64::prelude::BASE64_STANDARD.encode(format!("{name}:{password}"));
            let wanted = format!("Basic {pair}");
            router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
                let wanted = wanted.clone();
                async move { guard(&wanted, request, next).await }
            }));
        }
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, serving })
    }
}

async fn guard(wanted: &str, request: Request, next: Next) -> Response {
    let shown = request.headers().get(http::header::AUTHORIZATION);
    if shown.is_some_and(|shown| shown == wanted) {
        return next.run(request).await;
    }
    let asks = [(http::header::WWW_AUTHENTICATE, "Basic realm=\"charts\"")];
    (http::StatusCode::UNAUTHORIZED, asks).into_response()
}

/// Pushes the chart to `charts/web` in a registry that speaks plain HTTP.
///
/// # Errors
/// There is no helm, or it does not do what it should.
pub async fn push(rig: &Rig, folder: &Path, registry: &str) -> Result<()> {
    let charts = packed(rig, folder).await?;
    let target = format!("oci://{registry}/charts");
    helm(rig, &charts, &["push", PACKED, &target, "--plain-http"]).await
}

/// The folder with the packed chart.
async fn packed(rig: &Rig, folder: &Path) -> Result<PathBuf> {
    let charts = folder.join("charts");
    std::fs::create_dir_all(&charts)?;
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rig/fixtures/chart");
    let chart = chart.to_str().context("the path is not UTF-8")?;
    helm(rig, &charts, &["package", chart]).await?;
    Ok(charts)
}

/// Runs the helm that the rig pins.
async fn helm(rig: &Rig, folder: &Path, arguments: &[&str]) -> Result<()> {
    let output =
        tokio::process::Command::new(&rig.program).args(["rig", "tools", "helm"]).output().await?;
    if !output.status.success() {
        bail!("no helm: {}", String::from_utf8_lossy(&output.stderr));
    }
    let helm = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let run = Tool::new(folder, folder)?.other(&helm, arguments).await?;
    ensure!(run.code == 0, "helm {}: {run}", arguments.join(" "));
    Ok(())
}
