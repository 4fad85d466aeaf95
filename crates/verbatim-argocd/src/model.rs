//! The part of Argo CD's objects that we read. Tolerant: unknown fields are ignored, absent ones have a default.
//!
//! Nothing here judges, and nothing here is ever sent back: what we write is a patch, so fields that we do not know
//! cannot get lost.

mod answers;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use self::answers::*;

/// An application as `GET /api/v1/applications/{name}` gives it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Application {
    /// Name, version and annotations.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// What the controller saw.
    pub status: Status,
    /// The operation that was asked for and has not ended.
    pub operation: Option<Operation>,
}

/// Metadata of a Kubernetes object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace of the object itself.
    pub namespace: String,
    /// Changes when the object is deleted and made again.
    pub uid: String,
    /// Changes with every write. Opaque by contract, a growing number in fact.
    pub resource_version: String,
    /// The labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The annotations; empty also when the object has no such field.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// Who owns the object.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
    /// Set when deletion has been asked for.
    pub deletion_timestamp: Option<Timestamp>,
}

/// One owner of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What an application wants.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    source: Option<Source>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<Source>,
    /// Present when the application is hydrated.
    pub source_hydrator: Option<Value>,
    /// Where it goes.
    pub destination: Destination,
    /// The Argo CD project.
    pub project: String,
    /// Automation.
    pub sync_policy: Option<SyncPolicy>,
    /// Differences that do not count.
    #[serde(deserialize_with = "or_default")]
    pub ignore_differences: Vec<Value>,
}

impl Spec {
    /// The sources in force: `sources` if there is one, else `source`.
    pub fn sources(&self) -> Sources<'_> {
        Sources::new(&self.source, &self.sources)
    }

    /// Whether the application syncs by itself (`automated` present and, from 3.1, not `enabled: false`).
    pub fn is_automated(&self) -> bool {
        self.automated().is_some_and(|automated| automated.enabled != Some(false))
    }

    /// The automation settings, if any.
    pub fn automated(&self) -> Option<&Automated> {
        self.sync_policy.as_ref()?.automated.as_ref()
    }
}

/// The cluster and namespace of an application's resources.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The namespace.
    pub namespace: String,
    /// The API server.
    pub server: String,
    /// Or the cluster's name.
    pub name: String,
}

/// `spec.syncPolicy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncPolicy {
    /// Automatic sync.
    pub automated: Option<Automated>,
    /// Options like `RespectIgnoreDifferences=true`.
    #[serde(deserialize_with = "or_default")]
    pub sync_options: Vec<String>,
}

/// `spec.syncPolicy.automated`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Automated {
    /// Whether it deletes what git no longer has.
    pub prune: bool,
    /// Whether it reverts changes of live objects.
    pub self_heal: bool,
    /// From 3.1 the block may be there and switched off.
    pub enabled: Option<bool>,
}

/// One source, kept as the JSON that the server sent, so that two of them compare as the server would.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Source(pub Value);

impl Source {
    fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The git, Helm or OCI repository.
    pub fn repo_url(&self) -> &str {
        self.text("repoURL")
    }

    /// The folder, for git.
    pub fn path(&self) -> &str {
        self.text("path")
    }

    /// The chart, for a Helm repository.
    pub fn chart(&self) -> &str {
        self.text("chart")
    }

    /// The name of the source, from 2.14.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// Set on a source that only lends its files to others.
    pub fn reference(&self) -> &str {
        self.text("ref")
    }

    /// The wanted revision.
    pub fn target_revision(&self) -> &str {
        self.text("targetRevision")
    }

    /// The Helm parameters, as stored.
    pub fn helm_parameters(&self) -> &[Value] {
        self.list("/helm/parameters")
    }

    /// The Kustomize images, as stored.
    pub fn kustomize_images(&self) -> &[Value] {
        self.list("/kustomize/images")
    }

    /// Whether a field or block is there at all.
    pub fn has(&self, pointer: &str) -> bool {
        self.0.pointer(pointer).is_some_and(|value| !value.is_null())
    }

    fn list(&self, pointer: &str) -> &[Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// A name for people: repository and folder or chart.
    pub fn describe(&self) -> String {
        let inside = if self.chart().is_empty() { self.path() } else { self.chart() };
        match (self.name(), inside) {
            ("", "") => self.repo_url().to_owned(),
            ("", inside) => format!("{} {inside}", self.repo_url()),
            (name, inside) => format!("{name} ({} {inside})", self.repo_url()),
        }
    }
}

/// Where a source stands in its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceAt {
    /// `spec.source`.
    Single,
    /// `spec.sources[n]`, counted from 0.
    Index(usize),
}

impl SourceAt {
    /// The JSON pointer of the source.
    pub fn pointer(self) -> String {
        match self {
            Self::Single => "/spec/source".to_owned(),
            Self::Index(index) => format!("/spec/sources/{index}"),
        }
    }
}

/// A view of `source` and `sources`, which Argo CD has side by side in five places: a multi-source application fills
/// the second and leaves an empty shell in the first.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    single: Option<&'a Source>,
    many: &'a [Source],
}

impl<'a> Sources<'a> {
    fn new(single: &'a Option<Source>, many: &'a [Source]) -> Self {
        let filled = single.as_ref().filter(|source| !source.repo_url().is_empty());
        Self { single: if many.is_empty() { filled } else { None }, many }
    }

    /// The sources with their places.
    pub fn iter(self) -> impl Iterator<Item = (SourceAt, &'a Source)> {
        let single = self.single.map(|source| (SourceAt::Single, source));
        let many =
            self.many.iter().enumerate().map(|(index, source)| (SourceAt::Index(index), source));
        single.into_iter().chain(many)
    }

    /// The source at a place.
    pub fn get(self, at: SourceAt) -> Option<&'a Source> {
        match at {
            SourceAt::Single => self.single,
            SourceAt::Index(index) => self.many.get(index),
        }
    }

    /// Whether there is no source at all.
    pub fn is_empty(self) -> bool {
        self.single.is_none() && self.many.is_empty()
    }

    /// Whether both name the same sources with the same parameters.
    pub fn same_as(self, other: Sources<'_>) -> bool {
        self.single == other.single && self.many == other.many
    }
}

/// What the controller saw.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// The last comparison.
    pub sync: SyncStatus,
    /// The health of all resources together.
    pub health: Health,
    /// Deployments that succeeded, oldest first.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<History>,
    /// Warnings and errors.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
    /// When the last full comparison began. Whole seconds.
    pub reconciled_at: Option<Timestamp>,
    /// The operation that runs or ran last.
    pub operation_state: Option<OperationState>,
    /// The managed resources.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Resource>,
    /// Images and URLs, eventually right.
    pub summary: Summary,
    /// What the single source turned out to be.
    pub source_type: String,
    /// What each of several sources turned out to be.
    #[serde(deserialize_with = "or_default")]
    pub source_types: Vec<String>,
}

impl Status {
    /// `Helm`, `Kustomize`, `Directory` or `Plugin`; empty before the first comparison.
    pub fn source_type(&self, at: SourceAt) -> &str {
        match at {
            SourceAt::Single => &self.source_type,
            SourceAt::Index(index) => self.source_types.get(index).map_or("", String::as_str),
        }
    }
}

/// The last comparison.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncStatus {
    /// Whether live state equals the sources.
    pub status: SyncCode,
    /// The sources that it compared with.
    pub compared_to: ComparedTo,
    revision: String,
    #[serde(deserialize_with = "or_default")]
    revisions: Vec<String>,
}

impl SyncStatus {
    /// The commits or chart versions that the comparison resolved, one a source.
    pub fn revisions(&self) -> Vec<String> {
        revisions(&self.revision, &self.revisions)
    }
}

/// What a comparison compared with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ComparedTo {
    source: Option<Source>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<Source>,
}

impl ComparedTo {
    /// The sources.
    pub fn sources(&self) -> Sources<'_> {
        Sources::new(&self.source, &self.sources)
    }
}

/// Whether live state equals the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncCode {
    /// It does.
    Synced,
    /// It does not.
    OutOfSync,
    /// Not known: no comparison yet, or it failed.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A health with its message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The status.
    pub status: HealthStatus,
    /// Why, if the server says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Health, from best to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthStatus {
    /// All is as it should be.
    Healthy,
    /// Waits for somebody: a paused rollout, a suspended job.
    Suspended,
    /// On its way.
    Progressing,
    /// Not there.
    Missing,
    /// Broken.
    Degraded,
    /// Not known.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A deployment that succeeded.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct History {
    /// Grows by one.
    pub id: i64,
    /// When its operation began.
    pub deploy_started_at: Option<Timestamp>,
    /// When it was done.
    pub deployed_at: Option<Timestamp>,
    /// Who asked.
    pub initiated_by: InitiatedBy,
    source: Option<Source>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<Source>,
    revision: String,
    #[serde(deserialize_with = "or_default")]
    revisions: Vec<String>,
}

impl History {
    /// The sources with their parameters.
    pub fn sources(&self) -> Sources<'_> {
        Sources::new(&self.source, &self.sources)
    }

    /// The resolved revisions.
    pub fn revisions(&self) -> Vec<String> {
        revisions(&self.revision, &self.revisions)
    }
}

/// A warning or an error about the application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Ends in `Error` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The details.
    pub message: String,
}

impl Condition {
    /// Whether it is an error and not a warning.
    pub fn is_error(&self) -> bool {
        self.kind.ends_with("Error")
    }
}

/// An operation that was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Operation {
    /// The sync.
    pub sync: Option<SyncOperation>,
    /// Who asked.
    pub initiated_by: InitiatedBy,
    /// Free pairs of the one who asked.
    #[serde(deserialize_with = "or_default")]
    pub info: Vec<Info>,
}

impl Operation {
    /// Whether the pair is in `info`.
    pub fn has_info(&self, name: &str, value: &str) -> bool {
        self.info.iter().any(|info| info.name == name && info.value == value)
    }

    /// The snapshot of the sources: from 2.11 with several sources, from 3.2 with one.
    pub fn sources(&self) -> Option<Sources<'_>> {
        let sources = self.sync.as_ref()?.sources();
        (!sources.is_empty()).then_some(sources)
    }
}

/// A sync that was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncOperation {
    source: Option<Source>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<Source>,
    /// Nothing is applied.
    pub dry_run: bool,
    /// Not empty: only these resources are synced, and no history is written.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Value>,
}

impl SyncOperation {
    /// The sources.
    pub fn sources(&self) -> Sources<'_> {
        Sources::new(&self.source, &self.sources)
    }
}

/// Who asked for an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InitiatedBy {
    /// The subject of the token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The controller itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub automated: bool,
}

/// A pair on an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// The operation that runs or ran last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OperationState {
    /// What was asked.
    pub operation: Operation,
    /// How far it is.
    pub phase: Phase,
    /// In words.
    pub message: String,
    /// Whole seconds.
    pub started_at: Option<Timestamp>,
    /// Set between two attempts, too: alone it does not mean the end.
    pub finished_at: Option<Timestamp>,
    /// Attempts after the first.
    pub retry_count: i64,
    /// What was applied.
    pub sync_result: Option<SyncResult>,
}

/// The phase of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It runs, or waits for its next attempt.
    Running,
    /// It is being stopped.
    Terminating,
    /// It worked.
    Succeeded,
    /// It did not.
    Failed,
    /// It could not be tried.
    Error,
    /// Not known.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What an operation applied.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncResult {
    /// One a resource.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<ResourceResult>,
    source: Option<Source>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<Source>,
    revision: String,
    #[serde(deserialize_with = "or_default")]
    revisions: Vec<String>,
}

impl SyncResult {
    /// The sources that were really used.
    pub fn sources(&self) -> Sources<'_> {
        Sources::new(&self.source, &self.sources)
    }

    /// The revisions that were really used.
    pub fn revisions(&self) -> Vec<String> {
        revisions(&self.revision, &self.revisions)
    }
}

/// What an operation did to one resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceResult {
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`.
    pub status: String,
    /// In words.
    pub message: String,
}

/// A managed resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resource {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Whether it equals the sources.
    pub status: SyncCode,
    /// From 3.0 only in a GET and in a watch.
    pub health: Option<Health>,
    /// Hooks do not count for the sync status.
    pub hook: bool,
    /// It is live and no longer in the sources.
    pub requires_pruning: bool,
}

/// A digest of the resources for people.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Summary {
    /// Images in the specs of all pods, old ones too. Never evidence.
    #[serde(deserialize_with = "or_default")]
    pub images: Vec<String>,
    /// Where the application answers.
    #[serde(rename = "externalURLs", deserialize_with = "or_default")]
    pub external_urls: Vec<String>,
}

/// Go writes `null` for an empty list or map that has no `omitempty`.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn revisions(one: &str, many: &[String]) -> Vec<String> {
    match (one, many) {
        ("", many) => many.to_vec(),
        (one, []) => vec![one.to_owned()],
        (_, many) => many.to_vec(),
    }
}
