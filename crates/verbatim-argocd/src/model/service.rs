//! What the server knows beside applications: clusters, projects, repositories; and what it tells about objects:
//! events and lines of logs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_text::Words;

use super::ObjectMeta;
use super::application::or_default;

/// A list as the server gives it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Items<T> {
    /// `null` when there is none.
    #[serde(deserialize_with = "or_default", bound(deserialize = "T: Deserialize<'de>"))]
    pub items: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// A cluster that applications go to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cluster {
    /// The address of its API server: its identity.
    pub server: String,
    pub name: String,
    /// The only project that may use it, if any.
    pub project: String,
    /// What the controller sees of it.
    pub info: ClusterInfo,
}

/// What the controller sees of a cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterInfo {
    pub connection_state: ConnectionState,
    pub server_version: String,
    /// How many applications go there.
    pub applications_count: i64,
}

/// Whether something answers that the server talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ConnectionState {
    /// `Successful`, `Failed` or `Unknown`.
    pub status: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Words,
}

/// A project of Argo CD.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AppProject {
    pub metadata: ObjectMeta,
    pub spec: ProjectSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProjectSpec {
    pub description: String,
    /// Repositories that its applications may use.
    #[serde(deserialize_with = "or_default")]
    pub source_repos: Vec<String>,
    /// Where its applications may go.
    #[serde(deserialize_with = "or_default")]
    pub destinations: Vec<super::Destination>,
}

/// A repository that the server has credentials or settings for. Its secrets are never in an answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfiguredRepo {
    pub repo: String,
    /// `git`, `helm` or `oci`.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    /// The only project that may use it, if any.
    pub project: String,
    /// The user name that is sent.
    pub username: String,
    /// Whether its certificate or host key is not checked.
    pub insecure: bool,
    /// Whether charts are read from an OCI registry.
    #[serde(rename = "enableOCI")]
    pub enable_oci: bool,
    #[serde(rename = "connectionState")]
    pub connection_state: ConnectionState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectEvent {
    pub metadata: ObjectMeta,
    pub involved_object: InvolvedObject,
    pub reason: String,
    pub message: Words,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    pub count: i64,
    pub first_timestamp: Option<Timestamp>,
    pub last_timestamp: Option<Timestamp>,
    /// When, for events of the newer kind.
    pub event_time: Option<Timestamp>,
}

/// What an event is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct InvolvedObject {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

/// One line of a log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogEntry {
    /// The line, without its end.
    pub content: String,
    /// When it was written. `None` in an entry that is no line but the server's own error.
    pub time_stamp: Option<Timestamp>,
    /// No line, but the end of the stream.
    pub last: bool,
    pub pod_name: String,
}

impl LogEntry {
    /// Whether this is the server's failure to read a log, which it sends like a line of it.
    pub fn is_failure(&self) -> bool {
        !self.last && self.pod_name.is_empty() && self.time_stamp.is_none()
    }
}

/// One line of a stream of logs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogLine {
    pub(crate) result: Option<LogEntry>,
    pub(crate) error: Option<super::WatchError>,
}

/// The part of the server's settings that says where it runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Settings {
    /// The namespace of Argo CD itself; applications there are named without one.
    pub controller_namespace: String,
    /// The label by which applications are tracked, where that is done by label.
    pub app_label_key: String,
}
