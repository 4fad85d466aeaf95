//! Differences between live objects and what Argo CD would make of them, as unified diffs of YAML. Pure.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use crate::inspect::yaml;
use crate::model::ManagedResource;

/// The difference of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ObjectDiff {
    /// The API group, empty for core.
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// What a sync would do.
    pub change: ValueChange,
    /// Unified, the live object against the wanted one.
    pub diff: String,
}

/// What a sync would do to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ValueChange {
    Create,
    Update,
    /// It is not in the sources any more; a sync with pruning deletes it.
    Delete,
}

/// The differences of the last comparison. Hooks do not count: they belong to a sync.
pub(crate) fn differences(resources: &[ManagedResource]) -> Result<Vec<ObjectDiff>, String> {
    let mut found = Vec::new();
    for resource in resources.iter().filter(|resource| !resource.hook) {
        if let Some(difference) = difference(resource)? {
            found.push(difference);
        }
    }
    Ok(found)
}

/// The resources as if the sources gave other manifests: what differs between those and the ones of the last comparison is
/// carried over to what Argo CD predicts, which has the defaults of the cluster.
pub(crate) fn with_manifests(
    resources: &[ManagedResource],
    manifests: &[String],
) -> Result<Vec<ManagedResource>, String> {
    let mut others = Vec::new();
    for manifest in manifests {
        others.extend(object(manifest)?);
    }
    let mut changed = Vec::new();
    for resource in resources.iter().filter(|resource| !resource.hook) {
        let mut resource = resource.clone();
        let found = others.iter().position(|other| is_of(other, &resource));
        let mut other = found.map(|index| others.remove(index));
        let target = object(&resource.target_state)?;
        // The server fills it in before it compares.
        if let (Some(other), Some(target)) = (&mut other, &target)
            && let Some(namespace) = target.pointer("/metadata/namespace")
        {
            other["metadata"]["namespace"] = namespace.clone();
        }
        if let (Some(other), Some(target), Some(predicted)) =
            (&other, &target, object(&resource.predicted_live_state)?)
        {
            resource.predicted_live_state = carried(&predicted, target, other).to_string();
        }
        resource.target_state = other.as_ref().map(Value::to_string).unwrap_or_default();
        changed.push(resource);
    }
    changed.extend(others.into_iter().filter(|other| !is_hook(other)).map(|other| {
        ManagedResource {
            group: group_of(&other).to_owned(),
            kind: text_at(&other, "/kind").to_owned(),
            namespace: text_at(&other, "/metadata/namespace").to_owned(),
            name: text_at(&other, "/metadata/name").to_owned(),
            target_state: other.to_string(),
            ..ManagedResource::default()
        }
    }));
    Ok(changed)
}

fn text_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn group_of(object: &Value) -> &str {
    text_at(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// Whether a manifest, which need not name its namespace, is of a resource.
fn is_of(manifest: &Value, resource: &ManagedResource) -> bool {
    let namespace = text_at(manifest, "/metadata/namespace");
    group_of(manifest) == resource.group
        && text_at(manifest, "/kind") == resource.kind
        && text_at(manifest, "/metadata/name") == resource.name
        && (namespace.is_empty() || namespace == resource.namespace)
}

fn is_hook(manifest: &Value) -> bool {
    let annotations = &manifest["metadata"]["annotations"];
    ["argocd.argoproj.io/hook", "helm.sh/hook"].iter().any(|name| annotations[*name].is_string())
}

/// `base` with what differs between `from` and `to`.
fn carried(base: &Value, from: &Value, to: &Value) -> Value {
    if from == to {
        return base.clone();
    }
    match (base, from, to) {
        (Value::Object(base), Value::Object(from), Value::Object(to)) => {
            let mut made = base.clone();
            made.retain(|key, _| to.contains_key(key) || !from.contains_key(key));
            for (key, wanted) in to {
                let value = match (base.get(key), from.get(key)) {
                    (Some(base), Some(from)) => carried(base, from, wanted),
                    (Some(base), None) if base == wanted => base.clone(),
                    _ => wanted.clone(),
                };
                made.insert(key.clone(), value);
            }
            Value::Object(made)
        }
        // Elements have defaults, too; without a name nothing tells which is which but their places.
        (Value::Array(base), Value::Array(from), Value::Array(to)) => to
            .iter()
            .enumerate()
            .map(|(index, wanted)| {
                let same = |list: &'_ [Value]| list.iter().position(|one| is_same(one, wanted));
                let places = match wanted["name"].is_string() {
                    true => (same(base), same(from)),
                    false => (Some(index), Some(index)),
                };
                let pair = (
                    places.0.and_then(|place| base.get(place)),
                    places.1.and_then(|place| from.get(place)),
                );
                match pair {
                    (Some(base), Some(from)) => carried(base, from, wanted),
                    _ => wanted.clone(),
                }
            })
            .collect(),
        (_, _, to) => to.clone(),
    }
}

/// Whether two elements of a list have the same name.
fn is_same(one: &Value, other: &Value) -> bool {
    one["name"].is_string() && one["name"] == other["name"]
}

fn difference(resource: &ManagedResource) -> Result<Option<ObjectDiff>, String> {
    let name = || format!("{} {}", resource.kind, resource.name);
    let read = |text: &str| object(text).map_err(|error| format!("{}: {error}", name()));
    let (target, live) = (read(&resource.target_state)?, read(&resource.live_state)?);
    let (change, before, after) = match (&live, &target) {
        (None, None) => return Ok(None),
        (None, Some(target)) => (ValueChange::Create, None, Some(target.clone())),
        (Some(live), None) => (ValueChange::Delete, Some(live.clone()), None),
        (Some(_), Some(_)) => (
            ValueChange::Update,
            read(&resource.normalized_live_state)?,
            read(&resource.predicted_live_state)?,
        ),
    };
    let side = |object: Option<Value>| match object {
        Some(object) => yaml::text(&shortened(object)).map_err(|error| error.to_string()),
        None => Ok(String::new()),
    };
    let (before, after) = (side(before)?, side(after)?);
    if before == after {
        return Ok(None);
    }
    let path = [&resource.group, &resource.kind, &resource.namespace, &resource.name];
    let path = path.into_iter().filter(|part| !part.is_empty());
    let path = path.map(String::as_str).collect::<Vec<_>>().join("/");
    let diff = TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(3)
        .header(&format!("live/{path}"), &format!("target/{path}"))
        .to_string();
    Ok(Some(ObjectDiff {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        change,
        diff,
    }))
}

/// A state of the server's answer: nothing and `null` both mean that there is none.
fn object(text: &str) -> Result<Option<Value>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("not JSON, line {} column {}", error.line(), error.column()))?;
    Ok((!value.is_null()).then_some(value))
}

/// Without what only tells who wrote the object when; that differs without meaning anything.
fn shortened(mut object: Value) -> Value {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    for field in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

/// All diffs in one text, as `patch` would take it.
pub(crate) fn text(differences: &[ObjectDiff]) -> String {
    differences.iter().fold(String::new(), |mut text, difference| {
        let _ = write!(text, "{}", difference.diff);
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(value: Value) -> String {
        if value.is_null() { "null".into() } else { value.to_string() }
    }

    fn check(what: &str, target: Value, live: Value, predicted: Value, want: Option<ValueChange>) {
        let resource = ManagedResource {
            kind: "ConfigMap".into(),
            name: "web".into(),
            target_state: state(target),
            live_state: state(live.clone()),
            normalized_live_state: state(live),
            predicted_live_state: state(predicted),
            ..ManagedResource::default()
        };
        let found = differences(&[resource]).unwrap();
        assert_eq!(found.first().map(|difference| difference.change), want, "{what}: {found:?}");
    }

    #[test]
    fn other_manifests_change_what_they_say_and_keep_defaults() {
        let cases = [
            // (predicted, rendered now, rendered then, wanted)
            (
                json!({ "a": 1, "d": 0 }),
                json!({ "a": 1 }),
                json!({ "a": 2 }),
                json!({ "a": 2, "d": 0 }),
            ),
            (
                json!({ "a": 1, "b": 1, "d": 0 }),
                json!({ "a": 1, "b": 1 }),
                json!({ "a": 1 }),
                json!({ "a": 1, "d": 0 }),
            ),
            (
                json!({ "a": 1, "d": 0 }),
                json!({ "a": 1 }),
                json!({ "a": 1, "n": 3 }),
                json!({ "a": 1, "d": 0, "n": 3 }),
            ),
            (
                json!({ "c": [{ "name": "x", "image": "1", "d": 0 }, { "name": "y", "image": "1", "d": 0 }] }),
                json!({ "c": [{ "name": "x", "image": "1" }, { "name": "y", "image": "1" }] }),
                json!({ "c": [{ "name": "y", "image": "2" }, { "name": "z", "image": "3" }] }),
                json!({ "c": [{ "name": "y", "image": "2", "d": 0 }, { "name": "z", "image": "3" }] }),
            ),
            (
                json!({ "p": [{ "port": 80, "protocol": "TCP" }] }),
                json!({ "p": [{ "port": 80 }] }),
                json!({ "p": [{ "port": 81 }] }),
                json!({ "p": [{ "port": 81, "protocol": "TCP" }] }),
            ),
            (json!({ "a": [1] }), json!({ "a": [1] }), json!({ "a": "x" }), json!({ "a": "x" })),
        ];
        for (base, from, to, want) in cases {
            assert_eq!(carried(&base, &from, &to), want, "{base} {from} {to}");
        }
    }

    #[test]
    fn resources_come_and_go_with_other_manifests() {
        let manifest = |kind: &str, name: &str, hook: bool| {
            let annotations = if hook { json!({ "helm.sh/hook": "test" }) } else { json!({}) };
            json!({
                "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "annotations": annotations },
            })
            .to_string()
        };
        let stands = |name: &str| {
            // The server fills the namespace in.
            let mut state: Value = serde_json::from_str(&manifest("Service", name, false)).unwrap();
            state["metadata"]["namespace"] = json!("shop");
            let state = state.to_string();
            ManagedResource {
                kind: "Service".into(),
                namespace: "shop".into(),
                name: name.into(),
                target_state: state.clone(),
                live_state: state.clone(),
                normalized_live_state: state.clone(),
                predicted_live_state: state,
                ..ManagedResource::default()
            }
        };
        let then = [
            manifest("Service", "stays", false),
            manifest("Service", "comes", false),
            manifest("Job", "hook", true),
        ];
        let found = with_manifests(&[stands("stays"), stands("goes")], &then).unwrap();
        let found = differences(&found).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.change)).collect();
        assert_eq!(found, [("goes", ValueChange::Delete), ("comes", ValueChange::Create)]);
    }

    #[test]
    fn what_a_sync_would_do_is_told() {
        let map = |value: &str| json!({ "kind": "ConfigMap", "data": { "a": value } });
        let noise = json!({
            "kind": "ConfigMap", "data": { "a": "1" }, "status": {},
            "metadata": { "resourceVersion": "7", "managedFields": [], "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            } },
        });
        let bare = json!({ "kind": "ConfigMap", "data": { "a": "1" }, "metadata": {} });
        check("the same", map("1"), map("1"), map("1"), None);
        check("another value", map("2"), map("1"), map("2"), Some(ValueChange::Update));
        // An ignored difference is in neither of the two that are compared.
        check("ignored", map("2"), map("1"), map("1"), None);
        check("who wrote it", bare.clone(), noise, bare, None);
        check("not live", map("1"), Value::Null, map("1"), Some(ValueChange::Create));
        check("not wanted", Value::Null, map("1"), Value::Null, Some(ValueChange::Delete));
    }

    #[test]
    fn the_diff_is_unified() {
        let map = |value: &str| json!({ "data": { "a": "0", "b": value } }).to_string();
        let resource = ManagedResource {
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: "web".into(),
            target_state: map("2"),
            live_state: map("1"),
            normalized_live_state: map("1"),
            predicted_live_state: map("2"),
            ..ManagedResource::default()
        };
        let hook = ManagedResource { hook: true, ..resource.clone() };
        assert_eq!(
            text(&differences(&[resource, hook]).unwrap()),
            "--- live/ConfigMap/shop/web\n+++ target/ConfigMap/shop/web\n@@ -1,3 +1,3 @@\n data:\n   a: \"0\"\n-  b: \"1\"\n+  b: \"2\"\n"
        );
    }
}
