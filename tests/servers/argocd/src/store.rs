//! Applications, projects and ApplicationSets, as the API server keeps them: versioned documents and a watch.
//!
//! It knows no rules of Argo CD beyond the shape of an Application's metadata.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::cluster::{now_text, uid};
use super::objects::{number, set, text, unset};

pub(crate) const NAMESPACE: &str = "argocd";

/// A change of an Application.
#[derive(Debug, Clone)]
pub(crate) struct AppEvent {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(crate) kind: &'static str,
    pub(crate) app: Value,
    /// When it was made.
    pub(crate) at: Instant,
}

#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    events: mpsc::UnboundedSender<AppEvent>,
    /// Until the cache takes it.
    feed: Mutex<Option<mpsc::UnboundedReceiver<AppEvent>>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Who waits for changes of one Application, by its name.
    waiting: BTreeMap<String, watch::Sender<u64>>,
    version: u64,
    apps: BTreeMap<String, Value>,
    projects: BTreeMap<String, Value>,
    sets: BTreeMap<String, Value>,
    repositories: BTreeMap<String, Value>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let (events, feed) = mpsc::unbounded_channel();
        let store = Self {
            // A round number that no counter of a test starts with.
            state: Mutex::new(State { version: 500, ..State::default() }),
            events,
            feed: Mutex::new(Some(feed)),
            changed: watch::Sender::new(0),
        };
        let spec = json!({
            "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        });
        store.put_project("default", &json!({ "metadata": { "name": "default" }, "spec": spec }));
        store
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes at every change of an Application.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes at every change of one Application.
    pub(crate) fn changes_of(&self, name: &str) -> watch::Receiver<u64> {
        self.lock().waiting.entry(name.to_owned()).or_default().subscribe()
    }

    /// The names of all Applications, with their uids.
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        let uid = |app: &Value| text(app, "/metadata/uid").to_owned();
        self.lock().apps.iter().map(|(name, app)| (name.clone(), uid(app))).collect()
    }

    /// Every change of an Application, for who asks first.
    pub(crate) fn feed(&self) -> Option<mpsc::UnboundedReceiver<AppEvent>> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn app(&self, name: &str) -> Option<Value> {
        self.lock().apps.get(name).cloned()
    }

    /// All Applications and the version that this list is of.
    pub(crate) fn apps(&self) -> (Vec<Value>, u64) {
        let state = self.lock();
        (state.apps.values().cloned().collect(), state.version)
    }

    /// Adds an Application with fresh metadata. `None` if there is one of that name.
    pub(crate) fn create(&self, mut app: Value) -> Option<Value> {
        let name = text(&app, "/metadata/name").to_owned();
        let mut state = self.lock();
        if state.apps.contains_key(&name) {
            return None;
        }
        state.version += 1;
        set(&mut app, "/metadata/namespace", NAMESPACE);
        set(&mut app, "/metadata/uid", uid());
        set(&mut app, "/metadata/generation", 1);
        set(&mut app, "/metadata/creationTimestamp", now_text());
        set(&mut app, "/metadata/resourceVersion", state.version.to_string());
        let empty = json!({ "repoURL": "" });
        let status = json!({
            "sync": { "status": "", "comparedTo": { "source": empty, "destination": {} } },
            "health": {}, "summary": {}, "sourceHydrator": {},
        });
        set(&mut app, "/status", status);
        tidy(&mut app);
        state.apps.insert(name, app.clone());
        self.tell(&state, "ADDED", app.clone());
        Some(app)
    }

    /// Changes an Application under the lock. `None` if there is none of that name.
    pub(crate) fn update<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Value) -> T,
    ) -> Option<(Value, T)> {
        let mut state = self.lock();
        let old = state.apps.get(name)?.clone();
        let mut app = old.clone();
        let result = change(&mut app);
        tidy(&mut app);
        if app != old {
            state.version += 1;
            set(&mut app, "/metadata/resourceVersion", state.version.to_string());
            if ["spec", "status", "operation"].iter().any(|part| app.get(part) != old.get(part)) {
                let generation = number(&old, "/metadata/generation").unwrap_or(0);
                set(&mut app, "/metadata/generation", generation + 1);
            }
            state.apps.insert(name.to_owned(), app.clone());
            self.tell(&state, "MODIFIED", app.clone());
        }
        Some((app, result))
    }

    pub(crate) fn remove(&self, name: &str) {
        let mut state = self.lock();
        if let Some(mut app) = state.apps.remove(name) {
            state.version += 1;
            set(&mut app, "/metadata/resourceVersion", state.version.to_string());
            self.tell(&state, "DELETED", app);
        }
    }

    /// Tells the cache, under the lock, so that it sees changes in their order.
    fn tell(&self, state: &State, kind: &'static str, app: Value) {
        if let Some(waiting) = state.waiting.get(text(&app, "/metadata/name")) {
            waiting.send_replace(state.version);
        }
        let _ = self.events.send(AppEvent { kind, app, at: Instant::now() });
        self.changed.send_replace(state.version);
    }

    pub(crate) fn project(&self, name: &str) -> Option<Value> {
        self.lock().projects.get(name).cloned()
    }

    pub(crate) fn projects(&self) -> Vec<Value> {
        self.lock().projects.values().cloned().collect()
    }

    /// Puts a project in place, with fresh metadata if it is new.
    pub(crate) fn put_project(&self, name: &str, project: &Value) -> Value {
        let mut state = self.lock();
        let old = state.projects.get(name).cloned();
        let stored = Self::document(&mut state, old.as_ref(), project);
        state.projects.insert(name.to_owned(), stored.clone());
        self.changed.send_replace(state.version);
        stored
    }

    pub(crate) fn remove_project(&self, name: &str) -> bool {
        self.lock().projects.remove(name).is_some()
    }

    pub(crate) fn set(&self, name: &str) -> Option<Value> {
        self.lock().sets.get(name).cloned()
    }

    pub(crate) fn sets(&self) -> Vec<Value> {
        self.lock().sets.values().cloned().collect()
    }

    pub(crate) fn put_set(&self, name: &str, document: &Value) -> Value {
        let mut state = self.lock();
        let old = state.sets.get(name).cloned();
        let stored = Self::document(&mut state, old.as_ref(), document);
        state.sets.insert(name.to_owned(), stored.clone());
        stored
    }

    pub(crate) fn remove_set(&self, name: &str) -> bool {
        self.lock().sets.remove(name).is_some()
    }

    pub(crate) fn repositories(&self) -> Vec<Value> {
        self.lock().repositories.values().cloned().collect()
    }

    pub(crate) fn repository(&self, url: &str) -> Option<Value> {
        self.lock().repositories.get(url).cloned()
    }

    pub(crate) fn put_repository(&self, url: &str, repository: &Value) {
        self.lock().repositories.insert(url.to_owned(), repository.clone());
    }

    pub(crate) fn remove_repository(&self, url: &str) {
        self.lock().repositories.remove(url);
    }

    fn document(state: &mut State, old: Option<&Value>, new: &Value) -> Value {
        state.version += 1;
        let mut stored = new.clone();
        let kept = |pointer: &str| old.and_then(|old| old.pointer(pointer)).cloned();
        set(&mut stored, "/metadata/namespace", NAMESPACE);
        set(&mut stored, "/metadata/uid", kept("/metadata/uid").unwrap_or_else(|| uid().into()));
        let created = kept("/metadata/creationTimestamp").unwrap_or_else(|| now_text().into());
        set(&mut stored, "/metadata/creationTimestamp", created);
        let generation = old.and_then(|old| number(old, "/metadata/generation")).unwrap_or(0);
        set(&mut stored, "/metadata/generation", generation + 1);
        set(&mut stored, "/metadata/resourceVersion", state.version.to_string());
        if stored.get("status").is_none() {
            set(&mut stored, "/status", json!({}));
        }
        stored
    }
}

/// Leaves out what Go leaves out.
fn tidy(app: &mut Value) {
    for part in [
        "/metadata/annotations",
        "/metadata/labels",
        "/metadata/finalizers",
        "/metadata/ownerReferences",
    ] {
        let is_empty = match app.pointer(part) {
            Some(Value::Object(members)) => members.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if is_empty {
            unset(app, part);
        }
    }
    if app.get("operation").is_some_and(Value::is_null) {
        unset(app, "/operation");
    }
}
