//! The images that must run, and the evidence that they do.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::{Digest, Repository};
use verbatim_text::Words;

use crate::model::{HealthStatus, InitiatedBy, SyncCode};

/// An image that must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedImage {
    /// Where it is. With it, every container of this repository must run the digest; without it, at least one
    /// container anywhere must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// What is deployed: the digest of the index, or of the only manifest.
    pub digest: Digest,
    /// The digests of the platform manifests of an index. A node may report the one it runs.
    #[serde(default)]
    pub manifests: BTreeSet<Digest>,
    /// The digests of the configs of these manifests. Some container engines report those.
    #[serde(default)]
    pub configs: BTreeSet<Digest>,
}

impl WantedImage {
    /// An image of which only the deployed digest is known.
    pub fn new(repository: Option<Repository>, digest: Digest) -> Self {
        Self { repository, digest, manifests: BTreeSet::new(), configs: BTreeSet::new() }
    }

    /// As what a reported digest is this image.
    pub fn matches(&self, digest: &Digest) -> Option<ImageMatch> {
        if *digest == self.digest {
            Some(ImageMatch::Deployed)
        } else if self.manifests.contains(digest) {
            Some(ImageMatch::PlatformManifest)
        } else if self.configs.contains(digest) {
            Some(ImageMatch::Config)
        } else {
            None
        }
    }
}

impl fmt::Display for WantedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repository {
            Some(repository) => write!(f, "{repository}@{}", self.digest),
            None => self.digest.fmt(f),
        }
    }
}

/// As what a reported digest is the wanted image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageMatch {
    /// The digest that was deployed itself.
    Deployed,
    /// A platform manifest of the deployed index.
    PlatformManifest,
    /// The config of one of its manifests.
    Config,
}

/// The evidence that an application runs what it was to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeployProof {
    /// What had to run.
    pub images: Vec<WantedImage>,
    /// The version of the application object that the judgement is about.
    pub resource_version: String,
    /// The operation that deployed it.
    pub operation: Option<OperationEvidence>,
    /// The commits or chart versions that were deployed, one a source.
    pub revisions: Vec<String>,
    /// The images of the rendered manifests that are ours.
    pub rendered: Vec<RenderedImage>,
    /// What runs, workload by workload.
    pub workloads: Vec<WorkloadEvidence>,
    /// `Synced`, unless pruning was not asked for.
    pub sync: SyncCode,
    /// `Healthy` or `Suspended`; worse only because of resources that were so before and run none of the images.
    pub health: HealthStatus,
    /// When it was seen.
    pub at: Timestamp,
    /// How long it held, in seconds.
    pub settled_seconds: u64,
    /// Operations of others that were ended for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndedOperation>,
}

/// An operation of somebody else that was ended, because it held the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndedOperation {
    /// Who started it.
    pub initiated_by: InitiatedBy,
    /// When.
    pub started_at: Option<Timestamp>,
    /// What it said of itself.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Words,
}

impl fmt::Display for EndedOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.initiated_by {
            by if by.automated => f.write_str("an automatic sync")?,
            by if by.username.is_empty() => f.write_str("a sync")?,
            by => write!(f, "a sync of {}", by.username)?,
        }
        if let Some(at) = self.started_at {
            write!(f, " that started at {at:.0}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// The operation that deployed the values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperationEvidence {
    /// How it is known to be the one.
    pub known_by: KnownBy,
    pub initiated_by: InitiatedBy,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// How an operation is known to have deployed our values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    /// It carries our nonce.
    Nonce,
    /// Its own sources hold our values.
    Values,
    /// The history tells of it; the operation itself has been replaced by a later one.
    History,
}

/// A container of the rendered manifests with a wanted image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenderedImage {
    /// `Deployment web`, for example.
    pub workload: String,
    pub container: String,
    pub image: String,
}

/// What is known about one workload with a wanted image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkloadEvidence {
    /// `Deployment web`, for example.
    pub workload: String,
    /// How deep the evidence goes.
    pub level: EvidenceLevel,
    /// The containers of its pods.
    pub containers: Vec<ContainerEvidence>,
}

/// How deep evidence goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "level", rename_all = "kebab-case")]
pub enum EvidenceLevel {
    /// Pods run it.
    Pods {
        /// How many.
        pods: usize,
    },
    /// A hook, whose pods are gone. Argo CD says that the operation ran it to its end; no node was asked.
    Operation {
        /// `PreSync`, `Sync` or `PostSync`.
        hook: String,
        /// Whether the operation's result names the digest, as it does from Argo CD 3.1 on; else only the manifests that
        /// it applied do.
        names_image: bool,
    },
    /// It runs no pod now; its template has the digest.
    Template {
        /// Why there is no pod.
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerEvidence {
    pub pod: String,
    pub container: String,
    pub image_id: String,
    /// As what it is the wanted image.
    #[serde(rename = "match")]
    pub matched: ImageMatch,
}
