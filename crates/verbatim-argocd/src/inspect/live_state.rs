//! Observes applications without changing anything: one list for many, and one look at what runs.

use serde::Serialize;

use crate::api::client::Client;
use crate::api::error::Error;
use crate::api::request::AppRef;
use crate::judge::outcome::{Problem, RenderedImage, WantedImage, WorkloadEvidence};
use crate::judge::prove::Judgement;
use crate::model::{Application, Health, Phase, Resource, Source, SourceAt, SyncCode};
use crate::overrides::claim::{self, Claim, OnApp};
use crate::overrides::values::{Field, Found, Key, find, shown};
use crate::run::read::evidence;

/// Which applications.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Only of these Argo CD projects; empty: of all that the token may see.
    pub projects: Vec<String>,
    /// A label selector, `team=web,env!=dev`.
    pub labels: Option<String>,
    /// Only in this namespace; `None`: in Argo CD's own.
    pub namespace: Option<String>,
}

/// An application as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveState {
    /// Which one.
    pub app: AppRef,
    /// Changes with every write.
    pub resource_version: String,
    /// Its sources with what overrides them.
    pub sources: Vec<SourceState>,
    /// Whether live state equals the sources.
    pub sync: SyncCode,
    /// The health.
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
    /// Where it answers.
    pub urls: Vec<String>,
}

/// A source and what overrides it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceState {
    /// Where it stands.
    pub at: SourceAt,
    /// Repository and folder or chart.
    pub name: String,
    /// `Helm`, `Kustomize`, …
    pub kind: String,
    /// The wanted revision.
    pub target_revision: String,
    /// Helm parameters.
    pub parameters: Vec<Parameter>,
    /// Kustomize images.
    pub images: Vec<String>,
    /// The other overrides that can be written: values, replicas, parameters of plugins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Parameter>,
}

/// A managed resource as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceState {
    /// The API group, empty for core.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
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
    pub fn of(resource: &Resource) -> Self {
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
pub struct Parameter {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl LiveState {
    /// The part of an application that matters to us.
    pub fn of(app: &Application) -> Self {
        let sources = app.spec.sources().iter().map(|(at, source)| SourceState {
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
        let claim = match claim::read(app) {
            OnApp::Known(claim) => Some(*claim),
            OnApp::Absent | OnApp::Foreign(_) => None,
        };
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
fn settings(source: &Source) -> Vec<Parameter> {
    type Make = fn(String) -> Key;
    let lists: [(&str, Make); 4] = [
        ("/helm/fileParameters", Key::HelmFile),
        ("/kustomize/replicas", Key::KustomizeReplica),
        ("/plugin/env", Key::PluginEnv),
        ("/plugin/parameters", Key::PluginParameter),
    ];
    let listed = lists.iter().flat_map(|(list, key)| {
        source.list(list).iter().map(|element| {
            let name = element.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            (key(name.to_owned()), element)
        })
    });
    let fields = Field::ALL.iter().copied().filter(|field| *field != Field::TargetRevision);
    let alone = fields.filter_map(|field| match find(source, &Key::Field(field)) {
        Found::At(_, value) => Some((Key::Field(field), value)),
        _ => None,
    });
    listed
        .chain(alone)
        .map(|(key, value)| Parameter { name: key.to_string(), value: shown(Some(value)) })
        .collect()
}

/// Reads one application, live.
///
/// # Errors
///
/// If it cannot be read.
pub async fn observe(client: &Client, app: &AppRef) -> Result<LiveState, Error> {
    let state = client.get(app).await?;
    let live = LiveState::of(&state);
    // The namespace is part of the reference only if it is not Argo CD's own, which the caller knows.
    Ok(LiveState { app: AppRef { namespace: app.namespace.clone(), ..live.app }, ..live })
}

/// Reads many applications with one request, from the server's cache.
///
/// # Errors
///
/// If they cannot be listed. Applications that the token may not see are missing without a word.
pub async fn observe_all(client: &Client, selector: &Selector) -> Result<Vec<LiveState>, Error> {
    let apps = client
        .list(&selector.projects, selector.labels.as_deref(), selector.namespace.as_deref())
        .await?;
    let live = apps.iter().map(LiveState::of);
    Ok(live
        .map(|state| LiveState {
            app: AppRef { namespace: selector.namespace.clone(), ..state.app },
            ..state
        })
        .collect())
}

/// What runs now, judged once and without waiting.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Running {
    /// Containers of the manifests with a wanted image.
    pub rendered: Vec<RenderedImage>,
    /// Workloads that run a wanted image.
    pub proven: Vec<WorkloadEvidence>,
    /// What runs something else.
    pub differs: Vec<Problem>,
    /// What cannot be told now.
    pub pending: Vec<Problem>,
}

impl Running {
    /// Whether everything runs the wanted images.
    pub fn is_proven(&self) -> bool {
        self.differs.is_empty() && self.pending.is_empty() && !self.proven.is_empty()
    }
}

/// Looks once at what an application runs.
///
/// # Errors
///
/// If it cannot be read.
pub async fn look(client: &Client, app: &AppRef, images: &[WantedImage]) -> Result<Running, Error> {
    let state = client.get(app).await?;
    let evidence = evidence(client, app, &state.spec.destination.namespace, images).await?;
    let mut running = Running {
        rendered: evidence.shown.images,
        differs: evidence.shown.problems,
        ..Running::default()
    };
    for judgement in evidence.judgements {
        match judgement {
            Judgement::Proven(workload) => running.proven.push(workload),
            Judgement::Differs(problems) => running.differs.extend(problems),
            Judgement::Paused { missing: problem, .. } | Judgement::Pending(problem) => {
                running.pending.push(problem);
            }
        }
    }
    Ok(running)
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
