//! A model of Argo CD: the stored application, requests that read and write it in two steps, the controller, and other
//! clients. What the real server does is told in `docs/design/no-compare-and-set.md`.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::judge::change::ValueWrite;
use crate::judge::lost_changes::flatten;
use crate::judge::verdict::JudgeMemory;
use crate::model::Application;
use crate::overrides::claim::Claim;
use crate::overrides::patch::without_tests;

/// Equal values have equal numbers, so that a state of the world is small and quickly compared.
#[derive(Debug)]
pub(super) struct Interned<T> {
    values: Vec<Rc<T>>,
    ids: HashMap<String, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { values: Vec::new(), ids: HashMap::new() }
    }
}

impl<T> Interned<T> {
    pub(super) fn add(&mut self, text: String, value: T) -> u32 {
        let next = self.values.len();
        let id = *self.ids.entry(text).or_insert(u32::try_from(next).unwrap());
        if id as usize == next {
            self.values.push(Rc::new(value));
        }
        id
    }

    pub(super) fn get(&self, id: u32) -> Rc<T> {
        Rc::clone(&self.values[id as usize])
    }
}

/// All values of all worlds of one exploration.
#[derive(Debug, Default)]
pub(super) struct Pool {
    json: RefCell<Interned<Value>>,
    statuses: RefCell<Interned<Status>>,
    apps: RefCell<HashMap<Version, Rc<Application>>>,
    pub writes: RefCell<Interned<ValueWrite<'static>>>,
    pub claims: RefCell<Interned<Claim>>,
    pub memories: RefCell<Interned<JudgeMemory>>,
    parts: RefCell<HashMap<u32, Rc<Parts>>>,
}

/// What a write overlays, by its path.
pub(super) type Parts = BTreeMap<String, String>;

impl Pool {
    pub(super) fn json(&self, value: Value) -> u32 {
        self.json.borrow_mut().add(value.to_string(), value)
    }

    pub(super) fn value(&self, id: u32) -> Rc<Value> {
        self.json.borrow().get(id)
    }

    /// The source of an object.
    pub(super) fn source(&self, object: u32) -> u32 {
        self.json(self.value(object)["spec"]["source"].clone())
    }

    pub(super) fn version(&self, object: u32, status: Status) -> Version {
        let status = self.statuses.borrow_mut().add(format!("{status:?}"), status);
        Version { object, status }
    }

    pub(super) fn status(&self, version: Version) -> Rc<Status> {
        self.statuses.borrow().get(version.status)
    }

    /// The application as the server answers it.
    pub(super) fn app(&self, version: Version) -> Rc<Application> {
        if let Some(app) = self.apps.borrow().get(&version) {
            return Rc::clone(app);
        }
        let mut object = (*self.value(version.object)).clone();
        self.status(version).put(self, &mut object);
        let app = Rc::new(serde_json::from_value::<Application>(object).unwrap());
        self.apps.borrow_mut().insert(version, Rc::clone(&app));
        app
    }

    /// The parts of an object that a write overlays, without our claims.
    pub(super) fn parts(&self, object: u32) -> Rc<Parts> {
        if let Some(parts) = self.parts.borrow().get(&object) {
            return Rc::clone(parts);
        }
        let app: Application = serde_json::from_value((*self.value(object)).clone()).unwrap();
        let parts = Rc::new(flatten(&app));
        self.parts.borrow_mut().insert(object, Rc::clone(&parts));
        parts
    }

    /// What a patch makes of an object; `None` if one of its tests does not hold.
    pub(super) fn patched(&self, object: u32, operations: &Value) -> Option<u32> {
        let mut value = (*self.value(object)).clone();
        for operation in operations.as_array().unwrap() {
            let path = operation["path"].as_str().unwrap();
            let found = value.pointer(path).unwrap_or(&Value::Null);
            if operation["op"] == "test" && *found != operation["value"] {
                return None;
            }
        }
        let changes = json_patch::Patch::deserialize(without_tests(operations.clone())).unwrap();
        json_patch::patch(&mut value, &changes).ok()?;
        Some(self.json(value))
    }

    /// An object with another parameter or annotation; the order of parameters stays.
    pub(super) fn with(&self, object: u32, edit: &Edit) -> u32 {
        let mut value = (*self.value(object)).clone();
        match edit {
            Edit::Parameter(name, text) => {
                let list = &mut value["spec"]["source"]["helm"]["parameters"];
                let list = list.as_array_mut().unwrap();
                list.retain(|parameter| parameter["name"] != *name);
                list.push(json!({ "name": name, "value": text, "forceString": true }));
                list.sort_by_key(|parameter| parameter["name"].to_string());
            }
            Edit::Annotation(name, text) => value["metadata"]["annotations"][*name] = json!(text),
        }
        self.json(value)
    }
}

/// What another client changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Edit {
    Parameter(&'static str, &'static str),
    Annotation(&'static str, &'static str),
}

/// One stored version of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    /// Metadata and spec.
    pub object: u32,
    pub status: u32,
}

/// What the controller writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Status {
    /// The operation that is asked for.
    pub operation: Option<Sync>,
    /// The one that runs or ran last.
    pub state: Option<OperationState>,
    /// Sources that were deployed, oldest first.
    pub history: Vec<u32>,
    pub compared_to: u32,
    pub is_synced: bool,
    /// The last comparison began after the last operation had ended.
    pub is_fresh: bool,
}

/// An operation: of which run, or of nobody that we know; with the sources as its request saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sync {
    pub run: Option<u8>,
    pub snapshot: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OperationState {
    pub operation: Sync,
    pub source: u32,
    /// Whether it ended well, once it has ended.
    pub ended: Option<bool>,
}

/// The nonce of a run.
pub(super) fn nonce(run: u8) -> &'static str {
    ["n0", "n1", "n2"][usize::from(run)]
}

impl Status {
    fn put(&self, pool: &Pool, object: &mut Value) {
        let source = |id: u32| (*pool.value(id)).clone();
        let operation = |sync: &Sync| {
            let info =
                sync.run.map(|run| json!({ "name": "verbatim.dev/nonce", "value": nonce(run) }));
            json!({
                "info": info.into_iter().collect::<Vec<_>>(),
                "sync": { "source": sync.snapshot.map(source) },
            })
        };
        let state = self.state.as_ref().map(|state| {
            let phase = match state.ended {
                None => "Running",
                Some(true) => "Succeeded",
                Some(false) => "Failed",
            };
            json!({
                "phase": phase,
                "operation": operation(&state.operation),
                "finishedAt": state.ended.map(|_| "2026-11-30T10:00:01Z"),
                "syncResult": { "source": source(state.source) },
            })
        });
        let history: Vec<Value> = (1..)
            .zip(&self.history)
            .map(|(id, deployed): (i64, &u32)| json!({ "id": id, "source": source(*deployed) }))
            .collect();
        object["operation"] = self.operation.as_ref().map(operation).into();
        object["status"] = json!({
            "sourceType": "Helm",
            "sync": {
                "status": if self.is_synced { "Synced" } else { "OutOfSync" },
                "comparedTo": { "source": source(self.compared_to) },
            },
            "health": { "status": "Healthy" },
            "history": history,
            "reconciledAt": if self.is_fresh { "2026-11-30T10:00:02Z" } else { "2026-11-30T10:00:00Z" },
            "operationState": state,
        });
    }
}
