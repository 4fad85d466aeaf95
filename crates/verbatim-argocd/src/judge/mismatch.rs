//! How what runs can differ from what was to run. Written as English in JSON.

use serde::{Serialize, Serializer};
use verbatim_text::Words;

use crate::judge::evidence::WantedImage;
use crate::model::Phase;

/// One difference between what runs and what was to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Mismatch {
    /// Where: a workload, a pod, the manifests.
    pub place: String,
    /// How it differs, or what keeps it from being told.
    #[serde(serialize_with = "as_text")]
    pub what: Difference,
}

impl Mismatch {
    /// Whether all that is wrong is that a custom resource has made nothing yet.
    pub(crate) fn is_nothing_made(&self) -> bool {
        self.what == Difference::NothingMade
    }
}

/// How something is not as wanted, or what keeps it from being told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// No container of the manifests has a wanted image.
    #[error("no container has {wanted}; there is {}", images(.there))]
    NotRendered {
        /// The image.
        wanted: Box<WantedImage>,
        /// The images of all containers.
        there: Vec<String>,
    },
    /// A manifest has another image.
    #[error("the manifest has {0}")]
    Manifest(String),
    /// A live object has another image: somebody changed the object itself.
    #[error("the live object has {0}")]
    LiveObject(String),
    /// A live object lacks a container of the manifest.
    #[error("the live object has no such container")]
    NoContainer,
    /// A node reports another image.
    #[error("the node reports {image_id}, which is not {wanted}")]
    OtherImage {
        /// As the node reports it.
        image_id: String,
        /// The image that was to run.
        wanted: Box<WantedImage>,
    },
    /// A container runs without an `imageID`.
    #[error("it runs, and the node does not report which image")]
    NoImage,
    /// The object was not seen yet.
    #[error("it is not in the cluster yet")]
    NotThereYet,
    /// The object was there and is gone.
    #[error("it is not in the cluster")]
    Gone,
    /// The object cannot be read, and why.
    #[error("cannot read it: {0}")]
    Unreadable(String),
    /// The status of a workload is older than its spec.
    #[error("its controller has not seen the change yet")]
    Unobserved,
    /// A Deployment or a StatefulSet is not rolled out.
    #[error("{updated} of {wanted} replicas are updated, {all} exist")]
    Replicas {
        /// Replicas of the new version.
        updated: i64,
        /// Replicas that the spec wants.
        wanted: i64,
        /// Replicas of any version.
        all: i64,
    },
    /// A DaemonSet is not rolled out.
    #[error("{updated} of {wanted} nodes are updated")]
    Nodes {
        /// Nodes with the new version.
        updated: i64,
        /// Nodes that are to have a pod.
        wanted: i64,
    },
    /// A field of the workload keeps it from being rolled out.
    #[error("`{field}` holds it: {what}")]
    Held {
        /// The field, with its value if that is short.
        field: &'static str,
        /// What is missing.
        what: Box<Difference>,
    },
    /// The operation does not go on before somebody lets the workload go on.
    #[error("the sync waits for it, and it is suspended{}", after_colon(.0))]
    HoldsSync(Words),
    /// A Rollout is not complete.
    #[error("the rollout is not complete, {updated} of {wanted} replicas are updated")]
    Rollout {
        /// Replicas of the new version.
        updated: i64,
        /// Replicas that the spec wants.
        wanted: i64,
    },
    /// The tree of the application is older than the Deployment.
    #[error("Argo CD has not seen its newest ReplicaSet yet")]
    ReplicaSetUnseen,
    /// A hook that is gone, and no operation is known to have run it.
    #[error(
        "nothing tells that this hook ran: it is gone, and the last sync's result does not name it"
    )]
    HookUntold,
    /// A hook did not succeed.
    #[error("the hook ended {phase:?}: {message}")]
    Hook {
        /// Argo CD's word for it.
        phase: Phase,
        /// In its own words.
        message: Words,
    },
    /// A hook ran another image.
    #[error("the sync ran the hook with {0}")]
    HookImage(String),
    /// There are too few pods of the newest version.
    #[error("{pods} of {least} pods exist")]
    Pods {
        /// Pods that exist.
        pods: usize,
        /// Pods that there have to be.
        least: i64,
    },
    /// An object of a kind that makes no pods itself has made nothing.
    #[error("it has made no pod and nothing that makes one, so nothing proves what it runs")]
    NothingMade,
    /// Pods are there, and none of them runs this image.
    #[error("none of its pods runs {0}")]
    NotRun(Box<WantedImage>),
    /// Pods are there, and none of them has this container of a template.
    #[error("none of its pods has the container {0}")]
    NotSeen(String),
    /// A pod has no status of the container.
    #[error("the node has not reported it yet")]
    Unreported,
    /// A container does not run.
    #[error("waiting: {reason}{}", after_colon(.message))]
    Waiting {
        /// In one word, by Kubernetes: `CrashLoopBackOff`.
        reason: String,
        /// In its own words; may be empty.
        message: Words,
    },
    /// A container has ended, and is to run again.
    #[error("ended: {reason}, exit {code}")]
    Ended {
        /// In one word, by Kubernetes: `Error`.
        reason: String,
        /// Its exit status.
        code: i64,
    },
}

fn images(there: &[String]) -> String {
    if there.is_empty() { "no image at all".to_owned() } else { there.join(", ") }
}

fn after_colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl Difference {
    /// Whether nothing happens until somebody does something.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::HoldsSync(_))
    }

    /// Whether a node has not said yet which image a container runs.
    pub(crate) fn is_on_its_way(&self) -> bool {
        matches!(self, Self::Unreported | Self::Waiting { .. } | Self::Ended { .. })
    }
}

/// Writes a value as the text that people read.
pub(crate) fn as_text<S: Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
