//! Observes applications without changing anything: one list for many, and one look at what runs.

use serde::Serialize;

use crate::api::request::AppRef;
use crate::model::{AppSource, Application, Health, Phase, Resource, SourceAt, SyncCode};
use crate::overrides::claim::{Claim, read_claims};
use crate::overrides::values::{OverrideKey, SourceField, shown, stored};

/// An application as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LiveState {
    pub app: AppRef,
    pub resource_version: String,
    /// Its sources with what overrides them.
    pub sources: Vec<LiveSource>,
    /// Whether live state equals the sources.
    pub sync: SyncCode,
    pub health: Health,
    /// The commits or chart versions of the last comparison, one a source.
    pub revisions: Vec<String>,
    /// Whether it syncs by itself.
    pub automated: bool,
    /// The phase of the last operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Phase>,
    /// The claim of the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Images in the specs of its pods. A hint, never evidence.
    pub images: Vec<String>,
    pub urls: Vec<String>,
}

/// A source and what overrides it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LiveSource {
    pub at: SourceAt,
    /// Repository and folder or chart.
    pub name: String,
    /// `Helm`, `Kustomize`, …
    pub kind: String,
    pub target_revision: String,
    pub parameters: Vec<Parameter>,
    pub images: Vec<String>,
    /// The other overrides that can be written: values, replicas, parameters of plugins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Parameter>,
}

/// A managed resource as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ResourceState {
    /// The API group, empty for core.
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Whether it equals the sources.
    pub sync: SyncCode,
    /// The health, if the kind has one.
    pub health: Option<Health>,
    /// It runs during a sync.
    pub hook: bool,
    /// It is not in the sources any more.
    pub requires_pruning: bool,
}

impl ResourceState {
    /// Of the application's own list.
    pub(crate) fn of(resource: &Resource) -> Self {
        Self {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            namespace: resource.namespace.clone(),
            name: resource.name.clone(),
            sync: resource.status,
            health: resource.health.clone(),
            hook: resource.hook,
            requires_pruning: resource.requires_pruning,
        }
    }
}

/// A Helm parameter, or another override by its key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Parameter {
    pub name: String,
    pub value: String,
}

impl LiveState {
    /// The part of an application that matters to us.
    pub(crate) fn of(app: &Application) -> Self {
        let sources = app.spec.sources().iter().map(|(at, source)| LiveSource {
            at,
            name: source.describe(),
            kind: app.status.source_type(at).to_owned(),
            target_revision: source.target_revision().to_owned(),
            parameters: source
                .helm_parameters()
                .iter()
                .map(|parameter| Parameter {
                    name: parameter
                        .get("name")
                        .and_then(|name| name.as_str())
                        .unwrap_or_default()
                        .to_owned(),
                    value: shown(Some(parameter)),
                })
                .collect(),
            images: source.kustomize_images().iter().map(|image| shown(Some(image))).collect(),
            settings: settings(source),
        });
        let claim = read_claims(app).into_iter().next();
        Self {
            app: AppRef {
                name: app.metadata.name.clone(),
                namespace: Some(app.metadata.namespace.clone())
                    .filter(|namespace| !namespace.is_empty()),
                project: Some(app.spec.project.clone()).filter(|project| !project.is_empty()),
            },
            resource_version: app.metadata.resource_version.clone(),
            sources: sources.collect(),
            sync: app.status.sync.status,
            health: app.status.health.clone(),
            revisions: app.status.sync.revisions(),
            automated: app.spec.is_automated(),
            operation: app.status.operation_state.as_ref().map(|state| state.phase),
            claim,
            images: app.status.summary.images.clone(),
            urls: app.status.summary.external_urls.clone(),
        }
    }
}

/// The overrides beside Helm parameters and Kustomize images, by their keys.
fn settings(source: &AppSource) -> Vec<Parameter> {
    let is_other = |key: &OverrideKey| {
        !matches!(
            key,
            OverrideKey::Helm(_)
                | OverrideKey::Kustomize(_)
                | OverrideKey::Field(SourceField::TargetRevision)
        )
    };
    stored(source)
        .into_iter()
        .filter(|(key, _)| is_other(key))
        .map(|(key, value)| Parameter { name: key.to_string(), value: shown(Some(value)) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_applications_are_read() {
        let state = |text: &str| {
            let recorded: serde_json::Value = serde_json::from_str(text).unwrap();
            LiveState::of(&serde_json::from_value(recorded["body"].clone()).unwrap())
        };
        let deployed = state(include_str!("../../tests/fixtures/app-deployed.json"));
        assert_eq!(deployed.sources[0].kind, "Helm");
        assert_eq!(deployed.sources[0].parameters[0].value, "8.0.0");
        assert_eq!(deployed.revisions, ["6cbed9c31b7c32f6b2b785ae21642343449cd111"]);
        let multi = state(include_str!("../../tests/fixtures/app-multi-source.json"));
        assert_eq!(multi.sources.len(), 2);
        assert_eq!(multi.revisions.len(), 2);
        let kustomize = state(include_str!("../../tests/fixtures/patch-kustomize.json"));
        assert_eq!(kustomize.sources[0].images.len(), 1);
    }
}
