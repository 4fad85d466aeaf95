//! Operations: what was asked for, how far it is, what it applied.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use verbatim_text::Words;

use super::application::{or_default, revisions};
use super::{AppSource, AppSources};

/// An operation that was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Operation {
    pub sync: Option<SyncOperation>,
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
    pub fn sources(&self) -> Option<AppSources<'_>> {
        let sources = self.sync.as_ref()?.sources();
        (!sources.is_empty()).then_some(sources)
    }
}

/// A sync that was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncOperation {
    source: Option<AppSource>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<AppSource>,
    pub dry_run: bool,
    /// Not empty: only these resources are synced, and no history is written.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Value>,
}

impl SyncOperation {
    pub fn sources(&self) -> AppSources<'_> {
        AppSources::new(&self.source, &self.sources)
    }
}

/// Who asked for an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InitiatedBy {
    /// The subject of the token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub automated: bool,
}

/// A pair on an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    pub name: String,
    pub value: String,
}

/// The operation that runs or ran last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OperationState {
    pub operation: Operation,
    pub phase: Phase,
    pub message: Words,
    /// Whole seconds.
    pub started_at: Option<Timestamp>,
    /// Set between two attempts, too: alone it does not mean the end.
    pub finished_at: Option<Timestamp>,
    pub retry_count: i64,
    pub sync_result: Option<SyncResult>,
}

/// The phase of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It runs, or waits for its next attempt.
    Running,
    Terminating,
    Succeeded,
    Failed,
    /// It could not be tried.
    Error,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncResult {
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<ResourceResult>,
    source: Option<AppSource>,
    #[serde(deserialize_with = "or_default")]
    sources: Vec<AppSource>,
    revision: String,
    #[serde(deserialize_with = "or_default")]
    revisions: Vec<String>,
}

impl SyncResult {
    /// The sources that were really used.
    pub fn sources(&self) -> AppSources<'_> {
        AppSources::new(&self.source, &self.sources)
    }

    /// The revisions that were really used.
    pub fn revisions(&self) -> Vec<String> {
        revisions(&self.revision, &self.revisions)
    }
}

/// What an operation did to one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceResult {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`.
    pub status: String,
    pub message: Words,
    /// `PreSync`, `Sync` or `PostSync`; empty if it is no hook.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hook_type: String,
    /// How far it is. Only of a hook it says how that ended.
    #[serde(skip_serializing)]
    pub hook_phase: Phase,
    /// From 3.1: the images of its containers, init containers left out.
    #[serde(deserialize_with = "or_default", skip_serializing)]
    pub images: Vec<String>,
}
