//! `simulated-argocd`: the simulated Argo CD as a process.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde_json::json;
use simulated_argocd::{Config, Pods, SimulatedArgocd, Tools};
use tokio::signal::unix::{SignalKind, signal};

/// Serve a simulated Argo CD until Ctrl-C or SIGTERM
///
/// Prints one JSON line with its URL, the password of `admin` and API tokens. What it renders it renders with the real
/// git, helm and kustomize.
#[derive(Debug, Parser)]
struct Cli {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The password of `admin`
    #[arg(long, default_value = "password")]
    password: String,
    /// Who runs the pods
    #[arg(long, value_enum, default_value_t = Runner::Fake)]
    pods: Runner,
    /// The time until a fake pod is ready
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30)]
    ready_after: u64,
    /// Write the kubeconfig for a node agent into this file
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The git client
    #[arg(long, default_value = "git")]
    git: PathBuf,
    /// The helm program
    #[arg(long, default_value = "helm", conflicts_with = "substitute")]
    helm: PathBuf,
    /// The kustomize program
    #[arg(long, default_value = "kustomize")]
    kustomize: PathBuf,
    /// Do without helm: replace `{{ .Values.… }}` in templates, and refuse everything else
    #[arg(long)]
    substitute: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Runner {
    /// Nobody: pods are said to be ready
    Fake,
    /// A node agent, started with the kubeconfig
    Agent,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let cli = Cli::parse();
    let helm = if cli.substitute { None } else { Some(cli.helm) };
    let tools =
        Tools { git: cli.git, helm, kustomize: Some(cli.kustomize), substitute: cli.substitute };
    if cli.substitute {
        tracing::warn!("helm is not used: values are substituted in the templates");
    }
    let pods = match cli.pods {
        Runner::Fake => Pods::Fake { ready_after: Duration::from_millis(cli.ready_after) },
        Runner::Agent => Pods::NodeAgent,
    };
    let config = Config {
        listen: cli.listen,
        password: cli.password.clone(),
        tools,
        pods,
        lenient: true,
        ..Config::default()
    };
    let server = SimulatedArgocd::start(config).await?;
    if let Some(path) = &cli.kubeconfig {
        std::fs::write(path, server.kubeconfig())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = std::io::stdout();
    let line = json!({ "url": server.url(), "username": "admin", "password": cli.password, "tokens": server.tokens() });
    writeln!(out, "{line}")?;
    out.flush()?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}
