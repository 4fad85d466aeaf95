//! How a program finds a running rig: the description that `cargo xtask rig up` writes and tests read.
//!
//! Data only. Starting and ending a rig is the task's work.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use simulated_argocd::Tokens;

/// A running rig: a real Argo CD, a real Kubernetes API server, a git server, and (unless kwok stands in) a node whose
/// pods are containers of a Docker Engine. Everything listens on 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rig {
    /// Raised when a field changes its meaning or goes away. 1.
    pub schema_version: u32,
    /// The name it was started under.
    pub name: String,
    /// How to talk to Argo CD.
    pub argocd: Argocd,
    /// The identity provider of an imagined CI, whose jobs Argo CD's Dex lets in.
    pub identity: Identity,
    /// How to talk to the Kubernetes API server.
    pub kubernetes: Kubernetes,
    pub git: Git,
    pub nodes: Nodes,
    /// The program that started it: `PROGRAM rig tools NAME…` prints the paths of the pinned tools, such as `crane`.
    pub program: PathBuf,
    /// The folder with one log a process.
    pub logs: PathBuf,
    /// What to put into the environment of `verbatim`, of the real `argocd`, `kubectl` and `docker`.
    pub env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argocd {
    /// `http://127.0.0.1:PORT`; it has no TLS.
    pub url: String,
    /// `127.0.0.1:PORT`, as the real command line client wants it.
    pub server: String,
    /// Its version, such as `v3.6.1`.
    pub version: String,
    /// `admin`.
    pub username: String,
    /// The password of `admin`.
    pub password: String,
    pub tokens: Tokens,
    /// The `argocd` binary of the same release.
    pub cli: PathBuf,
    /// The file with the host keys of git servers that it knows. In a cluster a kubelet fills it from the ConfigMap
    /// `argocd-ssh-known-hosts-cm`; here whoever changes the one changes the other.
    pub known_hosts: PathBuf,
}

/// An identity provider with the issuers `github` and `gitlab`, see [`identity_provider`]. Dex's connectors for them are
/// `github-actions` and `gitlab-ci`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    /// `https://127.0.0.1:PORT`, with a certificate of its own making.
    pub url: String,
    /// A kubeconfig with all rights; its namespace is Argo CD's.
    pub kubeconfig: PathBuf,
    /// The bearer token of that kubeconfig.
    pub token: String,
}

/// The git server (smart HTTP, read and push, no credentials).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// The repository with the fixtures; push to it to change what Argo CD renders.
    pub url: String,
    /// Every bare repository in this folder is served, by its name.
    pub root: PathBuf,
    /// The URL of [`Git::root`].
    pub root_url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Nodes {
    /// A node agent: containers really run.
    Agent {
        /// The agent's control endpoint, see [`node_agent::control`].
        url: String,
        /// The Docker Engine it uses.
        docker_host: String,
        /// The name of its Node.
        node: String,
    },
    /// kwok: pods are said to be ready, nothing runs.
    Kwok { nodes: u32 },
}

impl Rig {
    /// Reads the description of a running rig from `path`.
    ///
    /// # Errors
    /// The file cannot be read, or is not such a description.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("no rig is described in {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} does not describe a rig", path.display()))
    }
}
