//! The answers beside the application itself: trees, manifests, windows, rights, streams.

use serde::{Deserialize, Serialize};
use verbatim_text::Words;

use super::application::or_default;
use super::{Application, Health, Info};

/// `GET …/resource-tree`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceTree {
    /// Managed resources and everything they made.
    #[serde(deserialize_with = "or_default")]
    pub nodes: Vec<TreeNode>,
    /// Objects in the application's namespace that nobody manages, if its project watches for them.
    #[serde(rename = "orphanedNodes", deserialize_with = "or_default")]
    pub orphaned: Vec<TreeNode>,
}

/// One object of the tree.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TreeNode {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Changes with every write to the object, as far as the controller has seen it.
    pub resource_version: String,
    pub created_at: Option<jiff::Timestamp>,
    #[serde(deserialize_with = "or_default")]
    pub parent_refs: Vec<ParentRef>,
    /// Pairs for people, some of them useful.
    #[serde(deserialize_with = "or_default")]
    pub info: Vec<Info>,
    /// Images of a pod's spec.
    #[serde(deserialize_with = "or_default")]
    pub images: Vec<String>,
    /// The health, if the kind has one.
    pub health: Option<Health>,
}

impl TreeNode {
    /// The revision number of a ReplicaSet or Rollout ("Rev:4").
    pub fn revision(&self) -> Option<u64> {
        let info = self.info.iter().find(|info| info.name == "Revision")?;
        info.value.strip_prefix("Rev:")?.parse().ok()
    }
}

/// The maker of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ParentRef {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// `GET …/managed-resources`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ManagedResources {
    #[serde(deserialize_with = "or_default")]
    pub items: Vec<ManagedResource>,
}

/// A managed resource with its manifests of the last comparison. The texts are JSON; `null` or nothing where there is
/// no such object. The server masks the data of secrets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ManagedResource {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// It belongs to a sync and not to the application's state.
    pub hook: bool,
    pub target_state: String,
    pub live_state: String,
    /// The live object without the fields whose differences are ignored.
    pub normalized_live_state: String,
    /// What the live object would become.
    pub predicted_live_state: String,
}

/// `GET …/manifests`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Manifests {
    #[serde(deserialize_with = "or_default")]
    pub manifests: Vec<String>,
}

/// `GET …/resource`: a live read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LiveResource {
    pub manifest: String,
}

/// `GET …/resource/actions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Actions {
    /// What can be done to the object.
    #[serde(deserialize_with = "or_default")]
    pub actions: Vec<Action>,
}

/// Something that Argo CD can do to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Action {
    pub name: String,
    /// The object's state does not allow it now.
    pub disabled: bool,
}

/// `GET …/syncwindows`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncWindows {
    /// Whether a sync by hand is allowed now.
    pub can_sync: bool,
    /// The windows in force now.
    #[serde(deserialize_with = "or_default")]
    pub active_windows: Vec<SyncWindow>,
    /// All windows that concern the application.
    #[serde(deserialize_with = "or_default")]
    pub assigned_windows: Vec<SyncWindow>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncWindow {
    /// `allow` or `deny`.
    pub kind: String,
    pub schedule: String,
    pub duration: String,
}

/// `GET /api/v1/account/can-i/…`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CanI {
    /// `yes` or `no`.
    pub value: String,
}

/// `GET /api/v1/session/userinfo`: 200 without a token, too.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UserInfo {
    /// Whether the token is good.
    pub logged_in: bool,
    pub username: String,
    pub iss: String,
    /// The groups that rights may be given to.
    #[serde(deserialize_with = "or_default")]
    pub groups: Vec<String>,
}

/// `GET /api/version`. Without a token only the version itself is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ServerVersion {
    pub version: String,
    pub build_date: String,
    pub git_commit: String,
    /// Of the Helm that renders.
    pub helm_version: String,
    /// Of the Kustomize that renders.
    pub kustomize_version: String,
    pub jsonnet_version: String,
}

/// The answer to a login.
#[derive(Deserialize)]
pub(crate) struct SessionToken {
    pub(crate) token: String,
}

/// `POST /api/v1/repositories/{repo}/appdetails`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AppDetails {
    /// `Helm`, `Kustomize`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// For Helm.
    pub helm: Option<HelmDetails>,
    /// For Kustomize.
    pub kustomize: Option<KustomizeDetails>,
}

/// What a Kustomize folder is built to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct KustomizeDetails {
    /// The images in what it builds, with what the source overrides.
    #[serde(deserialize_with = "or_default")]
    pub images: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HelmDetails {
    /// The defaults of its values file, flattened.
    #[serde(deserialize_with = "or_default")]
    pub parameters: Vec<Info>,
    /// The text of its values file, in which empty maps and lists show, too.
    #[serde(deserialize_with = "or_default")]
    pub values: String,
}

/// The part of an ApplicationSet that tells whether it reverts an override.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ApplicationSet {
    pub spec: ApplicationSetSpec,
}

/// `spec` of an ApplicationSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSetSpec {
    /// From 2.9: what it leaves alone.
    #[serde(deserialize_with = "or_default")]
    pub ignore_application_differences: Vec<IgnoreDifferences>,
    #[serde(deserialize_with = "or_default")]
    pub preserved_fields: PreservedFields,
    pub sync_policy: ApplicationSetSyncPolicy,
}

/// The metadata that an ApplicationSet does not remove.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PreservedFields {
    #[serde(deserialize_with = "or_default")]
    pub annotations: Vec<String>,
}

/// What an ApplicationSet leaves alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IgnoreDifferences {
    /// Only for this application; empty for all.
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub json_pointers: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub jq_path_expressions: Vec<String>,
}

/// How an ApplicationSet writes its applications.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSetSyncPolicy {
    /// `create-only`, `create-update`, `create-delete` or `sync`.
    pub applications_sync: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WatchLine {
    pub(crate) result: Option<WatchResult>,
    pub(crate) error: Option<WatchError>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WatchResult {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) application: Application,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WatchError {
    pub(crate) message: Words,
}
