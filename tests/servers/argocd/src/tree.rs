//! What an application consists of in the cluster: its resource tree, its managed resources, its images. Pure.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use super::cluster::NODE;
use super::health::health;
use super::objects::{Key, group_version, hook, images, items, text};

const TRACKING: &str = "/metadata/annotations/argocd.argoproj.io~1tracking-id";

/// The objects that carry the tracking annotation of `app`.
pub(crate) fn managed<'o>(app: &str, objects: &'o [(Key, Value)]) -> Vec<&'o (Key, Value)> {
    let prefix = format!("{app}:");
    objects.iter().filter(|(_, object)| text(object, TRACKING).starts_with(&prefix)).collect()
}

/// The managed objects and, below them, everything that they own.
pub(crate) fn family<'o>(app: &str, objects: &'o [(Key, Value)]) -> Vec<&'o (Key, Value)> {
    let mut family = managed(app, objects);
    let mut known: HashSet<&str> =
        family.iter().map(|(_, object)| text(object, "/metadata/uid")).collect();
    loop {
        let more: Vec<&(Key, Value)> = objects
            .iter()
            .filter(|(_, object)| !known.contains(text(object, "/metadata/uid")))
            .filter(|(_, object)| {
                items(object, "/metadata/ownerReferences")
                    .iter()
                    .any(|owner| known.contains(text(owner, "/uid")))
            })
            .collect();
        if more.is_empty() {
            return family;
        }
        known.extend(more.iter().map(|(_, object)| text(object, "/metadata/uid")));
        family.extend(more);
    }
}

/// `status.summary.images`: the images of all pods, as their specs say.
pub(crate) fn pod_images(family: &[&(Key, Value)]) -> BTreeSet<String> {
    family.iter().filter(|(key, _)| key.kind == "Pod").flat_map(|(_, pod)| images(pod)).collect()
}

/// The answer of `GET …/resource-tree`.
pub(crate) fn tree(app: &str, objects: &[(Key, Value)]) -> Value {
    let nodes: Vec<Value> =
        family(app, objects).into_iter().map(|(key, object)| node(key, object)).collect();
    let hosts = json!([{ "name": NODE, "systemInfo": { "operatingSystem": "linux", "architecture": "amd64" } }]);
    if nodes.is_empty() { json!({}) } else { json!({ "nodes": nodes, "hosts": hosts }) }
}

fn identity(key: &Key, object: &Value) -> Map<String, Value> {
    let (group, version) = group_version(object);
    let mut members = Map::new();
    let pairs = [
        ("group", group),
        ("version", version),
        ("kind", &key.kind),
        ("namespace", &key.namespace),
        ("name", &key.name),
    ];
    for (name, value) in pairs {
        if !value.is_empty() {
            members.insert(name.to_owned(), value.into());
        }
    }
    members
}

fn node(key: &Key, object: &Value) -> Value {
    let mut node = identity(key, object);
    node.insert("uid".into(), text(object, "/metadata/uid").into());
    let parents: Vec<Value> =
        items(object, "/metadata/ownerReferences").iter().map(|owner| parent(key, owner)).collect();
    if !parents.is_empty() {
        node.insert("parentRefs".into(), parents.into());
    }
    let info = info(key, object);
    if !info.is_empty() {
        node.insert("info".into(), info.into());
    }
    if key.kind == "Pod" {
        node.insert(
            "networkingInfo".into(),
            json!({ "labels": object.pointer("/metadata/labels") }),
        );
        node.insert("images".into(), images(object).into());
    }
    if key.kind == "Service" {
        node.insert(
            "networkingInfo".into(),
            json!({ "targetLabels": object.pointer("/spec/selector") }),
        );
    }
    node.insert("resourceVersion".into(), text(object, "/metadata/resourceVersion").into());
    if let Some(health) = health(object) {
        node.insert("health".into(), health.to_json());
    }
    node.insert("createdAt".into(), text(object, "/metadata/creationTimestamp").into());
    node.into()
}

fn parent(key: &Key, owner: &Value) -> Value {
    let (group, version) = group_version(owner);
    let mut parent = json!({ "kind": owner["kind"], "namespace": key.namespace, "name": owner["name"], "uid": owner["uid"], "version": version });
    if !group.is_empty() {
        parent["group"] = group.into();
    }
    parent
}

fn info(key: &Key, object: &Value) -> Vec<Value> {
    let pair = |name: &str, value: String| json!({ "name": name, "value": value });
    match key.kind.as_str() {
        "Pod" => {
            let statuses = items(object, "/status/containerStatuses");
            let ready = statuses.iter().filter(|one| one["ready"] == true).count();
            let reason =
                statuses.iter().find_map(|one| one.pointer("/state/waiting/reason")?.as_str());
            let reason = reason.unwrap_or_else(|| text(object, "/status/phase")).to_owned();
            let all = items(object, "/spec/containers").len();
            let restarts: i64 =
                statuses.iter().filter_map(|one| one["restartCount"].as_i64()).sum();
            let mut info = vec![
                pair("Status Reason", reason),
                pair("Node", text(object, "/spec/nodeName").to_owned()),
                pair("Containers", format!("{ready}/{all}")),
            ];
            if restarts > 0 {
                info.push(pair("Restart Count", restarts.to_string()));
            }
            info
        }
        "Deployment" | "ReplicaSet" => {
            let revision = text(object, "/metadata/annotations/deployment.kubernetes.io~1revision");
            if revision.is_empty() {
                Vec::new()
            } else {
                vec![pair("Revision", format!("Rev:{revision}"))]
            }
        }
        _ => Vec::new(),
    }
}

/// The answer of `GET …/managed-resources`: targets beside live objects. `targets` holds keys and manifests.
///
/// Argo CD 3.6.1 leaves hooks out, `if !item.Hook && …` in `ManagedResources` of server/application/application.go.
pub(crate) fn managed_resources(
    app: &str,
    targets: &[(Key, Value)],
    objects: &[(Key, Value)],
    applied: impl Fn(&Key) -> Option<Value>,
) -> Vec<Value> {
    let is_plain = |object: &Value| hook(object).is_none();
    let mut live = managed(app, objects);
    live.retain(|(_, object)| is_plain(object));
    let targets: Vec<_> = targets.iter().filter(|(_, target)| is_plain(target)).collect();
    let mut keys: Vec<&Key> = targets.iter().map(|(key, _)| key).collect();
    keys.extend(
        live.iter().map(|(key, _)| key).filter(|key| !targets.iter().any(|(one, _)| one == *key)),
    );
    keys.into_iter()
        .map(|key| {
            let target = targets.iter().find(|(one, _)| one == key).map(|(_, target)| target);
            let live = live.iter().find(|(one, _)| one == key).map(|(_, object)| object);
            managed_resource(key, target, live, applied(key).as_ref())
        })
        .collect()
}

fn managed_resource(
    key: &Key,
    target: Option<&Value>,
    live: Option<&Value>,
    applied: Option<&Value>,
) -> Value {
    let shown =
        |value: Option<&Value>| value.map_or_else(|| "null".to_owned(), super::gojson::to_string);
    let normalized = live.map(normalized);
    let predicted = match (live, target) {
        (Some(live), Some(target)) => Some(self::normalized(&predicted(live, target))),
        (_, target) => target.cloned(),
    };
    let mut members = identity(key, target.or(live).unwrap_or(&Value::Null));
    members.remove("version");
    members.insert("targetState".into(), shown(target).into());
    members.insert("liveState".into(), shown(live).into());
    members.insert("normalizedLiveState".into(), shown(normalized.as_ref()).into());
    members.insert("predictedLiveState".into(), shown(predicted.as_ref()).into());
    let modified = live.is_none() || target.is_none() || applied != target;
    if modified {
        members.insert("modified".into(), true.into());
    }
    if let Some(version) = live.map(|live| text(live, "/metadata/resourceVersion")) {
        members.insert("resourceVersion".into(), version.into());
    }
    members.into()
}

fn predicted(live: &Value, target: &Value) -> Value {
    let mut predicted = target.clone();
    for kept in [
        "/metadata/uid",
        "/metadata/creationTimestamp",
        "/metadata/resourceVersion",
        "/metadata/generation",
        "/metadata/namespace",
        "/status",
    ] {
        if let Some(value) = live.pointer(kept) {
            super::objects::set(&mut predicted, kept, value.clone());
        }
    }
    let revision = "/metadata/annotations/deployment.kubernetes.io~1revision";
    if let Some(value) = live.pointer(revision) {
        super::objects::set(&mut predicted, revision, value.clone());
    }
    predicted
}

fn normalized(object: &Value) -> Value {
    let mut object = object.clone();
    super::objects::unset(&mut object, "/metadata/generation");
    super::objects::unset(&mut object, "/status");
    object
}
