//! Reading Kubernetes objects that are held as JSON. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// The key of `object`; objects without a namespace are in `namespace`.
    pub(crate) fn of(object: &Value, namespace: &str) -> Self {
        let (group, _) = group_version(object);
        let namespace = match text(object, "/metadata/namespace") {
            _ if is_cluster_scoped(text(object, "/kind")) => "",
            "" => namespace,
            own => own,
        };
        Self {
            group: group.to_owned(),
            kind: text(object, "/kind").to_owned(),
            namespace: namespace.to_owned(),
            name: text(object, "/metadata/name").to_owned(),
        }
    }

    pub(crate) fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// The kinds without a namespace that a chart may hold.
fn is_cluster_scoped(kind: &str) -> bool {
    matches!(
        kind,
        "Namespace"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "CustomResourceDefinition"
            | "PersistentVolume"
            | "StorageClass"
            | "PriorityClass"
            | "IngressClass"
            | "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
    )
}

/// The text at a JSON pointer, or nothing.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a JSON pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The list at a JSON pointer, or an empty one.
pub(crate) fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `apps/v1` is (`apps`, `v1`), `v1` is (``, `v1`).
pub(crate) fn group_version(object: &Value) -> (&str, &str) {
    let api = text(object, "/apiVersion");
    api.split_once('/').unwrap_or(("", api))
}

/// The pod template of a workload, or the pod itself.
pub(crate) fn pod_template(object: &Value) -> Option<&Value> {
    match text(object, "/kind") {
        "Pod" => Some(object),
        "CronJob" => object.pointer("/spec/jobTemplate/spec/template"),
        _ => object.pointer("/spec/template"),
    }
}

/// The images of a workload or pod, sorted.
pub(crate) fn images(object: &Value) -> Vec<String> {
    let template = pod_template(object).unwrap_or(&Value::Null);
    let containers =
        items(template, "/spec/containers").iter().chain(items(template, "/spec/initContainers"));
    let images: BTreeSet<String> =
        containers.map(|container| text(container, "/image").to_owned()).collect();
    images.into_iter().filter(|image| !image.is_empty()).collect()
}

/// Sets a member deep inside an object, making the objects on the way.
pub(crate) fn set(object: &mut Value, pointer: &str, value: impl Into<Value>) {
    let mut here = object;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        let Value::Object(members) = here else { return };
        here = members.entry(part).or_insert(Value::Null);
    }
    *here = value.into();
}

/// Removes a member of an object, if both are there.
pub(crate) fn unset(object: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    if let Some(Value::Object(members)) = object.pointer_mut(parent) {
        members.remove(&name);
    }
}

/// The sync hook phase of a manifest: `PreSync`, `Sync`, `PostSync`, `SyncFail` or `Skip`.
pub(crate) fn hook(manifest: &Value) -> Option<&'static str> {
    let own = text(manifest, "/metadata/annotations/argocd.argoproj.io~1hook");
    let helm = text(manifest, "/metadata/annotations/helm.sh~1hook");
    let named = |name: &str| match name.trim() {
        "PreSync" | "pre-install" | "pre-upgrade" => Some("PreSync"),
        "Sync" => Some("Sync"),
        "PostSync" | "post-install" | "post-upgrade" => Some("PostSync"),
        "SyncFail" => Some("SyncFail"),
        "" | "crd-install" => None,
        _ => Some("Skip"),
    };
    own.split(',').find_map(named).or_else(|| helm.split(',').find_map(named))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_found_in_every_workload() {
        let spec = json!({ "containers": [{ "image": "b" }, { "image": "a" }], "initContainers": [{ "image": "c" }] });
        let objects = [
            json!({ "kind": "Pod", "spec": spec }),
            json!({ "kind": "Deployment", "spec": { "template": { "spec": spec } } }),
            json!({ "kind": "CronJob", "spec": { "jobTemplate": { "spec": { "template": { "spec": spec } } } } }),
        ];
        for object in objects {
            assert_eq!(images(&object), ["a", "b", "c"], "{object}");
        }
        assert!(images(&json!({ "kind": "ConfigMap" })).is_empty());
    }

    #[test]
    fn hooks_of_both_kinds() {
        let with =
            |name: &str, value: &str| json!({ "metadata": { "annotations": { name: value } } });
        let cases = [
            (with("argocd.argoproj.io/hook", "PreSync"), Some("PreSync")),
            (with("helm.sh/hook", "post-install,post-upgrade"), Some("PostSync")),
            (with("helm.sh/hook", "test"), Some("Skip")),
            (json!({}), None),
        ];
        for (manifest, want) in cases {
            assert_eq!(hook(&manifest), want, "{manifest}");
        }
    }
}
