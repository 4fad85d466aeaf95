//! The application controller: for each Application one task that compares and one that operates.

pub(crate) mod compare;
mod operate;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Server;
use super::cluster::now_text;
use super::objects::{Key, text};
use super::repo::{Rendered, Target};

/// What the controller remembers beside the documents.
#[derive(Debug, Default)]
pub(crate) struct Runtime {
    state: Mutex<State>,
    /// Moves when anything in the state does.
    moved: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The last full comparison of each application.
    compared: BTreeMap<String, Compared>,
    /// Applications that need a full comparison although their spec did not change.
    due: BTreeSet<String>,
    /// Applications whose operations shall not end.
    held: BTreeSet<String>,
    /// The sources and revisions that auto-sync has tried last.
    attempted: BTreeMap<String, Value>,
}

/// A comparison's inputs and target state.
#[derive(Debug, Clone)]
pub(crate) struct Compared {
    /// The sources as the spec had them.
    pub(crate) sources: Vec<Value>,
    pub(crate) is_multi: bool,
    pub(crate) destination: Value,
    pub(crate) began: String,
    /// One a source, or the first error.
    pub(crate) rendered: Result<Vec<Rendered>, String>,
}

impl Compared {
    /// The target state: what shall be live.
    pub(crate) fn targets(&self) -> Vec<(Key, Value)> {
        let namespace = text(&self.destination, "/namespace");
        let manifests = self.rendered.iter().flatten().flat_map(|rendered| &rendered.manifests);
        manifests.map(|manifest| keyed(manifest, namespace)).collect()
    }

    fn same_spec(&self, app: &Value) -> bool {
        let (sources, is_multi) = sources(app);
        self.sources == sources
            && self.is_multi == is_multi
            && Some(&self.destination) == app.pointer("/spec/destination")
    }
}

/// A manifest with its key; a namespaced one is given the destination's namespace.
pub(crate) fn keyed(manifest: &Value, namespace: &str) -> (Key, Value) {
    let key = Key::of(manifest, namespace);
    let mut manifest = manifest.clone();
    if !key.namespace.is_empty() {
        super::objects::set(&mut manifest, "/metadata/namespace", key.namespace.clone());
    }
    (key, manifest)
}

impl Runtime {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.moved.send_modify(|count| *count += 1);
    }

    pub(crate) fn hold(&self, app: &str, held: bool) {
        self.change(|state| {
            if held {
                state.held.insert(app.to_owned());
            } else {
                state.held.remove(app);
            }
        });
    }

    /// Asks for a full comparison.
    pub(crate) fn compare_again(&self, app: &str) {
        self.change(|state| {
            state.due.insert(app.to_owned());
        });
    }

    pub(crate) fn compared(&self, app: &str) -> Option<Compared> {
        self.lock().compared.get(app).cloned()
    }

    fn forget(&self, app: &str) {
        let mut state = self.lock();
        state.compared.remove(app);
        state.due.remove(app);
        state.attempted.remove(app);
    }
}

/// Whether an annotation keeps the controller away: `canProcessApp` in controller/appcontroller.go of Argo CD 3.6.1.
fn is_skipped(app: &Value) -> bool {
    let value = text(app, "/metadata/annotations/argocd.argoproj.io~1skip-reconcile");
    ["1", "t", "T", "true", "TRUE", "True"].contains(&value)
}

/// The sources of an application, and whether it has `sources`.
pub(crate) fn sources(app: &Value) -> (Vec<Value>, bool) {
    sources_of(app.get("spec").unwrap_or(&Value::Null))
}

/// The sources of a spec, or of an operation's `sync` part.
pub(crate) fn sources_of(spec: &Value) -> (Vec<Value>, bool) {
    match spec.get("sources").and_then(Value::as_array) {
        Some(sources) if !sources.is_empty() => (sources.clone(), true),
        _ => (spec.get("source").cloned().into_iter().collect(), false),
    }
}

/// Starts the two tasks of every application that appears, until the task is aborted.
pub(crate) async fn run(server: Arc<Server>) {
    let mut changes = server.store.changes();
    let mut tasks = JoinSet::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    loop {
        let apps = server.store.names();
        for (name, uid) in &apps {
            if known.insert(uid.clone()) {
                tasks.spawn(compare::run(server.clone(), name.clone(), uid.clone()));
                tasks.spawn(operate::run(server.clone(), name.clone(), uid.clone()));
            }
        }
        if known.len() > apps.len() {
            let present: BTreeSet<&String> = apps.iter().map(|(_, uid)| uid).collect();
            known.retain(|uid| present.contains(uid));
        }
        while tasks.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

impl Server {
    /// The application, if it is still the one with this uid.
    fn same_app(&self, name: &str, uid: &str) -> Option<Value> {
        self.store.app(name).filter(|app| text(app, "/metadata/uid") == uid)
    }

    /// Resolves and renders sources. `revisions` overrides what the sources track, where it is not empty.
    pub(crate) async fn render_all(
        &self,
        app: &Value,
        sources: &[Value],
        revisions: &[String],
    ) -> Result<Vec<Rendered>, String> {
        let target = target(app);
        let mut all = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            let place = |error: String| {
                format!(
                    "failed to generate manifest for source {} of {}: rpc error: code = Unknown desc = {error}",
                    at + 1,
                    sources.len()
                )
            };
            let tracked = text(source, "/targetRevision");
            let wanted = revisions
                .get(at)
                .map(String::as_str)
                .filter(|revision| !revision.is_empty())
                .unwrap_or(tracked);
            let revision = self
                .repo
                .repositories()
                .resolve(text(source, "/repoURL"), wanted)
                .await
                .map_err(place)?;
            if text(source, "/ref").is_empty() || !text(source, "/path").is_empty() {
                all.push(self.repo.render(source, &revision, target).await.map_err(place)?);
            } else {
                // A source that others only take value files from has no manifests.
                all.push(Rendered { kind: "Directory", manifests: Vec::new(), revision });
            }
        }
        Ok(all)
    }

    /// Puts an operation into the slot. `false` when it is taken.
    pub(crate) fn set_operation(&self, name: &str, operation: &Value) -> Option<(Value, bool)> {
        self.store.update(name, |app| {
            if app.get("operation").is_some() {
                return false;
            }
            super::objects::set(app, "/operation", operation.clone());
            super::objects::unset(app, "/status/operationState");
            true
        })
    }
}

/// For whom an application's sources are rendered.
pub(crate) fn target(app: &Value) -> Target<'_> {
    Target {
        app: text(app, "/metadata/name"),
        project: text(app, "/spec/project"),
        namespace: text(app, "/spec/destination/namespace"),
    }
}

/// `comparedTo`, `syncResult` and history write `source` even where there are `sources`.
fn source_members(sources: &[Value], is_multi: bool) -> Value {
    if is_multi {
        json!({ "source": { "repoURL": "" }, "sources": sources })
    } else {
        json!({ "source": sources.first() })
    }
}

fn revision_members(revisions: &[String], is_multi: bool) -> Value {
    if is_multi {
        json!({ "revisions": revisions })
    } else {
        json!({ "revision": revisions.first() })
    }
}

/// Puts the members of `more` into `object`.
fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// The time now, as Argo CD writes it.
fn now() -> String {
    now_text()
}
