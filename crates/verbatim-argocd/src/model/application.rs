//! Applications: metadata, spec, status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use verbatim_text::Words;

use super::{AppSource, AppSources, InitiatedBy, Operation, OperationState, SourceAt};

/// An application as `GET /api/v1/applications/{name}` gives it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Application {
    /// Name, version and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: AppSpec,
    /// What the controller saw.
    pub status: AppStatus,
    /// The operation that was asked for and has not ended.
    pub operation: Option<Operation>,
}

/// The annotation that keeps the controller away from an application.
pub(crate) const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";

impl Application {
    /// Whether the controller does nothing for it, neither compares nor syncs: `canProcessApp` in
    /// controller/appcontroller.go of Argo CD 3.6.1, which reads the annotation with `strconv.ParseBool`.
    pub(crate) fn is_skipped(&self) -> bool {
        let value = self.metadata.annotations.get(SKIP_RECONCILE).map(String::as_str);
        matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }
}

/// Metadata of a Kubernetes object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectMeta {
    pub name: String,
    /// The namespace of the object itself.
    pub namespace: String,
    /// Changes when the object is deleted and made again.
    pub uid: String,
    /// Changes with every write. Opaque by contract, a growing number in fact.
    pub resource_version: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The annotations; empty also when the object has no such field.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub finalizers: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
    /// When the object was made; a new one if it was deleted and made again.
    pub creation_timestamp: Option<Timestamp>,
    /// Set when deletion has been asked for.
    pub deletion_timestamp: Option<Timestamp>,
}

/// One owner of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    pub kind: String,
    pub name: String,
}

/// What is wanted. Beside the fields that are used here it keeps the whole of it: a write overlays all of a spec, so all of
/// it has to be compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Value")]
pub struct AppSpec {
    source: Option<AppSource>,
    sources: Vec<AppSource>,
    /// Present when the application is hydrated.
    pub source_hydrator: Option<Value>,
    pub destination: Destination,
    pub project: String,
    pub sync_policy: Option<SyncPolicy>,
    /// Differences that do not count.
    pub ignore_differences: Vec<Value>,
    whole: Value,
}

impl TryFrom<Value> for AppSpec {
    type Error = serde_json::Error;

    fn try_from(whole: Value) -> Result<Self, Self::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Used {
            source: Option<AppSource>,
            #[serde(deserialize_with = "or_default")]
            sources: Vec<AppSource>,
            source_hydrator: Option<Value>,
            destination: Destination,
            project: String,
            sync_policy: Option<SyncPolicy>,
            #[serde(deserialize_with = "or_default")]
            ignore_differences: Vec<Value>,
        }
        let used = Used::deserialize(&whole)?;
        Ok(Self {
            source: used.source,
            sources: used.sources,
            source_hydrator: used.source_hydrator,
            destination: used.destination,
            project: used.project,
            sync_policy: used.sync_policy,
            ignore_differences: used.ignore_differences,
            whole,
        })
    }
}

impl AppSpec {
    /// All of it, with the fields that are not used here.
    pub(crate) fn whole(&self) -> &Value {
        &self.whole
    }

    /// The sources in force: `sources` if there is one, else `source`.
    pub fn sources(&self) -> AppSources<'_> {
        AppSources::new(&self.source, &self.sources)
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Destination {
    pub namespace: String,
    pub server: String,
    pub name: String,
}

/// `spec.syncPolicy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncPolicy {
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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppStatus {
    pub sync: SyncStatus,
    /// The health of all resources together.
    pub health: Health,
    /// Deployments that succeeded, oldest first.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<HistoryEntry>,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<AppCondition>,
    /// When the last full comparison began. Whole seconds.
    pub reconciled_at: Option<Timestamp>,
    /// The operation that runs or ran last.
    pub operation_state: Option<OperationState>,
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

impl AppStatus {
    /// The newest entry of the history.
    pub(crate) fn last_history(&self) -> Option<i64> {
        self.history.iter().map(|entry| entry.id).max()
    }

    /// Whether Argo CD has looked at the sources at all, and so knows what they are.
    pub fn is_compared(&self) -> bool {
        !self.source_type.is_empty() || !self.source_types.is_empty()
    }

    /// `Helm`, `Kustomize`, `Directory` or `Plugin`; empty before the first comparison.
    pub fn source_type(&self, at: SourceAt) -> &str {
        match at {
            SourceAt::Single => &self.source_type,
            SourceAt::Index(index) => self.source_types.get(index).map_or("", String::as_str),
        }
    }
}

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
    source: Option<AppSource>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<AppSource>,
}

impl ComparedTo {
    pub fn sources(&self) -> AppSources<'_> {
        AppSources::new(&self.source, &self.sources)
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
    pub status: HealthStatus,
    /// Why, if the server says so.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Words,
    /// Since when it has been so. Only of applications, and not in every version.
    #[serde(rename = "lastTransitionTime", skip_serializing)]
    pub since: Option<Timestamp>,
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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HistoryEntry {
    pub id: i64,
    pub deploy_started_at: Option<Timestamp>,
    pub deployed_at: Option<Timestamp>,
    pub initiated_by: InitiatedBy,
    source: Option<AppSource>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<AppSource>,
    revision: String,
    #[serde(deserialize_with = "or_default")]
    revisions: Vec<String>,
}

impl HistoryEntry {
    /// The sources with their parameters.
    pub fn sources(&self) -> AppSources<'_> {
        AppSources::new(&self.source, &self.sources)
    }

    pub fn revisions(&self) -> Vec<String> {
        revisions(&self.revision, &self.revisions)
    }
}

/// A warning or an error about the application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppCondition {
    /// Ends in `Error` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    pub message: Words,
}

impl AppCondition {
    /// Whether it is an error and not a warning.
    pub fn is_error(&self) -> bool {
        self.kind.ends_with("Error")
    }

    /// Whether the next comparison may go without it: the git server, the repo-server or the cluster may answer then.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind.as_str(), "ComparisonError" | "UnknownError")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resource {
    pub group: String,
    pub kind: String,
    pub namespace: String,
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
    #[serde(rename = "externalURLs", deserialize_with = "or_default")]
    pub external_urls: Vec<String>,
}

/// Go writes `null` for an empty list or map that has no `omitempty`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(super) fn revisions(one: &str, many: &[String]) -> Vec<String> {
    match (one, many) {
        ("", many) => many.to_vec(),
        (one, []) => vec![one.to_owned()],
        (_, many) => many.to_vec(),
    }
}
