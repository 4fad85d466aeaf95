//! Chooses objects of an application, and parts of them. Pure.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::request::ObjectRef;
use crate::model::{ManagedResource, TreeNode};

/// The group and version of Argo CD's own objects.
const OWN: (&str, &str) = ("argoproj.io", "v1alpha1");

/// Which objects: those that fit all that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ObjectFilter {
    /// Their API group; empty is the core's.
    pub group: Option<String>,
    pub kind: Option<String>,
    pub name: Option<String>,
    pub namespace: Option<String>,
}

impl ObjectFilter {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn fits(&self, object: [&str; 4]) -> bool {
        let wanted = [&self.group, &self.kind, &self.namespace, &self.name];
        wanted
            .into_iter()
            .zip(object)
            .all(|(wanted, got)| wanted.as_ref().is_none_or(|wanted| wanted == got))
    }

    /// Whether it wants an object of the tree.
    pub(crate) fn wants(&self, node: &TreeNode) -> bool {
        self.fits([&node.group, &node.kind, &node.namespace, &node.name])
    }

    /// The managed objects that it wants and that are there. Argo CD changes and deletes no others.
    pub(crate) fn live(&self, resources: &[ManagedResource]) -> Vec<ObjectRef> {
        resources
            .iter()
            .filter(|one| self.fits([&one.group, &one.kind, &one.namespace, &one.name]))
            .filter_map(|one| {
                let live: Value = serde_json::from_str(&one.live_state).ok()?;
                let version = live.get("apiVersion")?.as_str()?;
                Some(ObjectRef {
                    group: one.group.clone(),
                    version: version.rsplit('/').next().unwrap_or_default().to_owned(),
                    kind: one.kind.clone(),
                    namespace: one.namespace.clone(),
                    name: one.name.clone(),
                })
            })
            .collect()
    }

    /// The application itself, if its kind is the one that is wanted: Argo CD has actions for it, too.
    pub(crate) fn application(&self, name: &str, namespace: &str) -> Option<ObjectRef> {
        let is_wanted = self.kind.as_deref() == Some("Application")
            && self.fits([
                OWN.0,
                "Application",
                self.namespace.as_deref().unwrap_or_default(),
                name,
            ]);
        is_wanted.then(|| ObjectRef {
            group: OWN.0.into(),
            version: OWN.1.into(),
            kind: "Application".into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

/// An object without who wrote which field when.
pub(crate) fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// An object with nothing but these fields, `status.podIP` for example, and its name. A field inside of a list is that
/// of all its elements.
pub(crate) fn only(object: &Value, fields: &[String]) -> Value {
    let name = "metadata.name".to_owned();
    let paths: Vec<Vec<&str>> =
        fields.iter().chain([&name]).map(|field| field.split('.').collect()).collect();
    kept(object, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap_or_default()
}

fn kept(value: &Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Array(list) => {
            let kept: Vec<Value> = list.iter().filter_map(|one| kept(one, paths)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(members) => {
            let kept: Map<String, Value> = members
                .iter()
                .filter_map(|(name, member)| {
                    let below: Vec<&[&str]> = paths
                        .iter()
                        .filter(|path| path.first() == Some(&name.as_str()))
                        .map(|path| &path[1..])
                        .collect();
                    let kept = if below.is_empty() { None } else { kept(member, &below) };
                    kept.map(|kept| (name.clone(), kept))
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::overrides::rows::rows;

    fn managed(kind: &str, name: &str, live: Value) -> ManagedResource {
        ManagedResource {
            group: if kind == "Deployment" { "apps".into() } else { String::new() },
            kind: kind.into(),
            namespace: "shop".into(),
            name: name.into(),
            live_state: live.to_string(),
            ..ManagedResource::default()
        }
    }

    #[test]
    fn objects_are_chosen_by_all_that_is_named_and_only_if_they_live() {
        let resources = [
            managed("Deployment", "web", json!({ "apiVersion": "apps/v1" })),
            managed("Deployment", "worker", json!({ "apiVersion": "apps/v1" })),
            managed("Service", "web", json!({ "apiVersion": "v1" })),
            managed("Service", "gone", json!(null)),
        ];
        let cases = [
            ("- - -", "Deployment web v1, Deployment worker v1, Service web v1"),
            ("- Deployment -", "Deployment web v1, Deployment worker v1"),
            ("- - web", "Deployment web v1, Service web v1"),
            ("apps - web", "Deployment web v1"),
            ("- Service gone", ""),
            ("batch Deployment -", ""),
        ];
        for (words, want) in cases {
            let words: Vec<_> =
                words.split(' ').map(|word| (word != "-").then(|| word.to_owned())).collect();
            let filter = ObjectFilter {
                group: words[0].clone(),
                kind: words[1].clone(),
                name: words[2].clone(),
                namespace: None,
            };
            let got: Vec<_> = filter
                .live(&resources)
                .iter()
                .map(|one| format!("{} {} {}", one.kind, one.name, one.version))
                .collect();
            assert_eq!(got.join(", "), want, "{words:?}");
        }
    }

    #[test]
    fn an_application_is_an_object_of_its_own_only_if_its_kind_is_wanted() {
        let filter = |kind: Option<&str>, name: Option<&str>| ObjectFilter {
            kind: kind.map(str::to_owned),
            name: name.map(str::to_owned),
            ..ObjectFilter::default()
        };
        let cases = [
            (filter(None, None), false),
            (filter(Some("Application"), None), true),
            (filter(Some("Application"), Some("shop")), true),
            (filter(Some("Application"), Some("child")), false),
            (filter(Some("Deployment"), Some("shop")), false),
        ];
        for (filter, want) in cases {
            assert_eq!(filter.application("shop", "argocd").is_some(), want, "{filter:?}");
        }
    }

    #[test]
    fn fields_are_left_out_and_laid_flat() {
        let pod = json!({
            "metadata": { "name": "web-1", "labels": { "a": "b" } },
            "spec": { "containers": [{ "name": "a", "image": "x" }, { "name": "b", "image": "y" }] },
            "status": { "podIP": "10.0.0.1" },
        });
        let cases = [
            (&["status.podIP"][..], "metadata.name=web-1 status.podIP=10.0.0.1"),
            (
                &["spec.containers.image"],
                "metadata.name=web-1 spec.containers[0].image=x spec.containers[1].image=y",
            ),
            (&["metadata.labels", "nothing"], "metadata.labels.a=b metadata.name=web-1"),
        ];
        for (fields, want) in cases {
            let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            let got: Vec<_> = rows(&only(&pod, &fields))
                .iter()
                .map(|[field, value]| format!("{field}={value}"))
                .collect();
            let mut got = got;
            got.sort();
            assert_eq!(got.join(" "), want);
        }
    }
}
