//! A cluster in memory: objects, the controllers that make pods of workloads, and a watch over both.
//!
//! It knows Kubernetes' rules as far as Argo CD shows them, and nothing about applications.

mod controllers;
pub(crate) mod fake;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::objects::{Key, group_version, pod_template, set, text, unset};

/// The name of the one Node.
pub(crate) const NODE: &str = "sim-0";

/// How many changes a watch may lie back.
const LOG: usize = 2000;

#[derive(Debug)]
pub(crate) struct Cluster {
    state: Mutex<State>,
    /// The resource version of the last change.
    changed: watch::Sender<u64>,
    events: broadcast::Sender<Event>,
}

/// A change of one object, as a Kubernetes watch tells it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(crate) kind: &'static str,
    pub(crate) object: Value,
}

/// Every object, as it was at one version.
pub(crate) type Snapshot = Arc<Vec<(Key, Value)>>;

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// What each object owns, by its uid.
    owned: BTreeMap<String, BTreeSet<Key>>,
    /// The objects that controllers have to look at.
    touched: BTreeSet<Key>,
    /// The version of the last change in each namespace.
    changed_in: BTreeMap<String, u64>,
    /// Of this version. Many applications look at it after each change.
    snapshot: Option<Snapshot>,
    /// What was last applied of each object, to tell drift.
    applied: BTreeMap<Key, Value>,
    /// Since when a Deployment waits for progress.
    progress: BTreeMap<Key, Progress>,
    version: u64,
    /// Changes that the watchers have not been told.
    events: Vec<Event>,
    /// The last changes, for watches that begin a little in the past.
    log: VecDeque<(u64, Event)>,
    /// Whether a deleted pod stays until whoever runs it removes it.
    pods_end_later: bool,
}

#[derive(Debug, Clone)]
struct Progress {
    since: Timestamp,
    /// What was reached then; another value is progress.
    reached: (i64, i64, i64),
}

/// What applying a manifest did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Created,
    Configured,
    Unchanged,
}

impl Applied {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Cluster {
    /// An empty cluster. With `pods_end_later` a deleted pod stays, marked, until [`Cluster::remove`].
    pub(crate) fn new(pods_end_later: bool) -> Self {
        let state = State { pods_end_later, ..State::default() };
        Self {
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            events: broadcast::Sender::new(1024),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, lets the controllers act until nothing moves, and tells the watchers.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.version;
        let result = change(&mut state);
        controllers::settle(&mut state, Timestamp::now());
        let events = std::mem::take(&mut state.events);
        let version = state.version;
        // Told under the lock, so that watchers see the order of the changes.
        for event in events {
            let at = text(&event.object, "/metadata/resourceVersion").parse().unwrap_or(0);
            state.log.push_back((at, event.clone()));
            let _ = self.events.send(event);
        }
        let surplus = state.log.len().saturating_sub(LOG);
        state.log.drain(..surplus);
        drop(state);
        if version != before {
            self.changed.send_replace(version);
        }
        result
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The version of the last change in one of these namespaces.
    pub(crate) fn version_in<'n>(&self, namespaces: impl IntoIterator<Item = &'n String>) -> u64 {
        let state = self.lock();
        let versions = namespaces.into_iter().filter_map(|name| state.changed_in.get(name));
        versions.max().copied().unwrap_or_default()
    }

    /// All objects for which `wanted` holds, and the version that this list is of.
    pub(crate) fn list(&self, wanted: impl Fn(&Value) -> bool) -> (Vec<Value>, u64) {
        let state = self.lock();
        (state.objects.values().filter(|object| wanted(object)).cloned().collect(), state.version)
    }

    /// The changes after version `since`, and every one from now on. `None` when `since` is too long ago.
    pub(crate) fn watch_since(
        &self,
        since: u64,
    ) -> Option<(Vec<Event>, broadcast::Receiver<Event>)> {
        let state = self.lock();
        let oldest = state.log.front().map_or(state.version, |(at, _)| at.saturating_sub(1));
        if since < oldest {
            return None;
        }
        let missed = state
            .log
            .iter()
            .filter(|(at, _)| *at > since)
            .map(|(_, event)| event.clone())
            .collect();
        Some((missed, self.events.subscribe()))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Value> {
        self.lock().objects.get(key).cloned()
    }

    /// What was applied last under `key`.
    pub(crate) fn last_applied(&self, key: &Key) -> Option<Value> {
        self.lock().applied.get(key).cloned()
    }

    pub(crate) fn objects(&self) -> Snapshot {
        let mut state = self.lock();
        let State { objects, snapshot, .. } = &mut *state;
        let all = || Arc::new(objects.iter().map(|(key, it)| (key.clone(), it.clone())).collect());
        snapshot.get_or_insert_with(all).clone()
    }

    /// Applies a manifest. The error is what the API server says.
    pub(crate) fn apply(&self, key: &Key, manifest: &Value) -> Result<Applied, String> {
        validate(manifest)?;
        Ok(self.change(|state| state.apply(key, manifest)))
    }

    /// Deletes an object and, as the garbage collector does, what it owns.
    pub(crate) fn delete(&self, key: &Key) -> bool {
        self.change(|state| state.delete(key))
    }

    /// Removes a pod whose containers are gone.
    pub(crate) fn remove(&self, key: &Key) {
        self.change(|state| state.remove(key));
    }

    /// Merges `patch` into an object; only what is below `status` and `metadata` is expected to change. `None`
    /// without such an object.
    pub(crate) fn merge(&self, key: &Key, patch: &Value) -> Option<Value> {
        self.change(|state| {
            let mut object = state.objects.get(key)?.clone();
            super::patch::merge(&mut object, patch);
            state.store(key, object);
            state.objects.get(key).cloned()
        })
    }

    /// Puts an object in the place of one. `None` without such an object.
    pub(crate) fn replace(&self, key: &Key, object: Value) -> Option<Value> {
        self.change(|state| {
            state.objects.get(key)?;
            state.store(key, object);
            state.objects.get(key).cloned()
        })
    }

    /// Lets time pass: Deployments that missed their deadline are told so.
    pub(crate) fn tick(&self) {
        self.change(|_| ());
    }

    /// When the next progress deadline ends.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let state = self.lock();
        state
            .progress
            .iter()
            .filter_map(|(key, progress)| controllers::deadline(state.objects.get(key)?, progress))
            .min()
    }
}

impl State {
    /// Puts an object in place, with the next resource version, unless nothing changed.
    fn store(&mut self, key: &Key, mut object: Value) {
        let old = self.objects.get(key);
        if old == Some(&object) {
            return;
        }
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.disown(key);
        self.own(key, &object);
        self.next_version(key);
        set(&mut object, "/metadata/resourceVersion", self.version.to_string());
        self.events.push(Event { kind, object: object.clone() });
        self.objects.insert(key.clone(), object);
    }

    fn apply(&mut self, key: &Key, manifest: &Value) -> Applied {
        if self.objects.contains_key(key) && self.applied.get(key) == Some(manifest) {
            return Applied::Unchanged;
        }
        self.applied.insert(key.clone(), manifest.clone());
        let mut object = manifest.clone();
        if !key.namespace.is_empty() {
            set(&mut object, "/metadata/namespace", key.namespace.clone());
        }
        let Some(old) = self.objects.get(key).cloned() else {
            self.create(key, object);
            return Applied::Created;
        };
        for kept in
            ["/metadata/uid", "/metadata/creationTimestamp", "/metadata/resourceVersion", "/status"]
        {
            if let Some(value) = old.pointer(kept) {
                set(&mut object, kept, value.clone());
            }
        }
        let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1);
        let same_spec = old.get("spec") == object.get("spec");
        set(
            &mut object,
            "/metadata/generation",
            if same_spec { generation } else { generation + 1 },
        );
        self.store(key, object);
        Applied::Configured
    }

    /// Adds an object with what the API server fills in.
    fn create(&mut self, key: &Key, mut object: Value) {
        set(&mut object, "/metadata/uid", uid());
        set(&mut object, "/metadata/creationTimestamp", now_text());
        set(&mut object, "/metadata/generation", 1);
        self.store(key, object);
    }

    fn delete(&mut self, key: &Key) -> bool {
        let Some(object) = self.objects.get(key).cloned() else { return false };
        let uid = text(&object, "/metadata/uid").to_owned();
        let owned: Vec<Key> = self.children(&uid).map(|(key, _)| key.clone()).collect();
        if key.kind == "Pod" && self.pods_end_later {
            if text(&object, "/metadata/deletionTimestamp").is_empty() {
                let mut object = object;
                let grace = object
                    .pointer("/spec/terminationGracePeriodSeconds")
                    .and_then(Value::as_i64)
                    .unwrap_or(30);
                set(&mut object, "/metadata/deletionTimestamp", now_text());
                set(&mut object, "/metadata/deletionGracePeriodSeconds", grace);
                self.store(key, object);
            }
        } else {
            self.remove(key);
        }
        for key in owned {
            self.delete(&key);
        }
        true
    }

    fn remove(&mut self, key: &Key) {
        self.disown(key);
        if let Some(mut object) = self.objects.remove(key) {
            self.next_version(key);
            unset(&mut object, "/metadata/resourceVersion");
            set(&mut object, "/metadata/resourceVersion", self.version.to_string());
            self.events.push(Event { kind: "DELETED", object });
        }
        self.applied.remove(key);
        self.progress.remove(key);
    }

    /// What the object with this uid owns.
    fn children<'s>(&'s self, uid: &str) -> impl Iterator<Item = (&'s Key, &'s Value)> {
        let keys = self.owned.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.objects.get_key_value(key))
    }

    fn next_version(&mut self, key: &Key) {
        self.version += 1;
        self.changed_in.insert(key.namespace.clone(), self.version);
        self.snapshot = None;
    }

    /// Enters an object under its owners. It and they are to be looked at.
    fn own(&mut self, key: &Key, object: &Value) {
        self.touched.insert(key.clone());
        for (uid, owner) in owners(key, object) {
            self.owned.entry(uid).or_default().insert(key.clone());
            self.touched.insert(owner);
        }
    }

    /// Takes an object, as it is, from its owners. They are to be looked at.
    fn disown(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key) else { return };
        for (uid, owner) in owners(key, object) {
            if let Some(children) = self.owned.get_mut(&uid) {
                children.remove(key);
            }
            self.touched.insert(owner);
        }
    }
}

/// What a real API server refuses in a manifest, as far as an override can cause it.
fn validate(manifest: &Value) -> Result<(), String> {
    let kind = text(manifest, "/kind");
    let (_, version) = group_version(manifest);
    let cannot = |found: &str, field: &str, wanted: &str| {
        Err(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: json: cannot unmarshal {found} into Go struct field {kind}Spec.spec.{field} of type {wanted}"
        ))
    };
    match manifest.pointer("/spec/replicas") {
        Some(Value::String(_)) => return cannot("string", "replicas", "int32"),
        Some(Value::Bool(_)) => return cannot("bool", "replicas", "int32"),
        _ => {}
    }
    let template = pod_template(manifest).unwrap_or(&Value::Null);
    for labels in [manifest.pointer("/metadata/labels"), template.pointer("/metadata/labels")] {
        let values = labels.and_then(Value::as_object).into_iter().flatten();
        for value in values.filter_map(|(_, value)| value.as_str()) {
            if !is_label(value) {
                let name = text(manifest, "/metadata/name");
                return Err(format!(
                    "{kind} \"{name}\" is invalid: metadata.labels: Invalid value: \"{value}\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
                ));
            }
        }
    }
    for container in super::objects::items(template, "/spec/containers") {
        match container.get("image") {
            Some(Value::Number(_)) => {
                return cannot("number", "template.spec.containers.image", "string");
            }
            Some(Value::Bool(_)) => {
                return cannot("bool", "template.spec.containers.image", "string");
            }
            _ => {}
        }
    }
    Ok(())
}

/// `IsValidLabelValue` in k8s.io/apimachinery/pkg/util/validation.
fn is_label(value: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let trimmed = value.trim_matches(['-', '_', '.']);
    value.len() <= 63 && value.chars().all(inside) && trimmed.len() == value.len()
}

/// A random identifier in the form of a UUID.
pub(crate) fn uid() -> String {
    let hex = random_hex();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// 32 random hexadecimal digits.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness names would collide, which shows at once; there is nothing better to do.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

/// The time as Kubernetes writes it, in whole seconds.
pub(crate) fn now_text() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The owners of an object, with their uids. They are in its namespace.
fn owners(key: &Key, object: &Value) -> Vec<(String, Key)> {
    let references = super::objects::items(object, "/metadata/ownerReferences").iter();
    let owner = |reference: &Value| {
        let (group, _) = group_version(reference);
        let (kind, name) = (text(reference, "/kind"), text(reference, "/name"));
        (text(reference, "/uid").to_owned(), Key::new(group, kind, &key.namespace, name))
    };
    references.map(owner).collect()
}

/// An owner reference to a controlling object.
fn owner(object: &Value) -> Value {
    json!([{
        "apiVersion": text(object, "/apiVersion"), "kind": text(object, "/kind"), "name": text(object, "/metadata/name"),
        "uid": text(object, "/metadata/uid"), "controller": true, "blockOwnerDeletion": true,
    }])
}

#[cfg(test)]
mod tests;
