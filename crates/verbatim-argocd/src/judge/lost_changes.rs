//! Finds changes of others that our write overlaid. Pure.
//!
//! The server writes the whole spec, labels and annotations of what it read some time before. A change that another
//! client makes in between is gone then, and both got a 200. In the event stream it can be seen: it was there, and
//! after our write the value from before it is back.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::judge::warning::DeployWarning;
use crate::model::Application;
use crate::overrides::claim::is_claim;

/// Changes between `before` and `middle` that `after`, our write, took back.
pub(crate) fn lost(
    before: &Application,
    middle: &Application,
    after: &Application,
) -> Vec<DeployWarning> {
    let (before, middle, after) = (flatten(before), flatten(middle), flatten(after));
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(middle.keys()).collect();
    paths
        .into_iter()
        .filter(|path| {
            middle.get(*path) != before.get(*path) && after.get(*path) == before.get(*path)
        })
        .map(|path| DeployWarning::LostForeignChange {
            path: path.clone(),
            value: middle.get(path).cloned().unwrap_or_else(|| "(absent)".into()),
        })
        .collect()
}

/// The parts that a write overlays, as paths and values: labels, annotations, finalizers, and the whole spec. Parameters
/// are told apart by name, not by place.
fn flatten(app: &Application) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for name in &app.metadata.finalizers {
        flat.insert(format!("/metadata/finalizers/{name}"), name.clone());
    }
    for (name, value) in &app.metadata.labels {
        flat.insert(format!("/metadata/labels/{name}"), value.clone());
    }
    for (name, value) in &app.metadata.annotations {
        // The controller's own, and ours, come and go without anybody losing anything.
        let transient = ["refresh", "hydrate"]
            .iter()
            .any(|kind| name.starts_with(&format!("argocd.argoproj.io/{kind}")));
        if !transient && !is_claim(name) {
            flat.insert(format!("/metadata/annotations/{name}"), value.clone());
        }
    }
    walk("/spec", app.spec.whole(), &mut flat);
    flat
}

fn walk(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        // An empty block may mean something: `automated: {}` switches a policy on.
        Value::Object(fields) if !fields.is_empty() => {
            for (name, inner) in fields {
                walk(&format!("{path}/{name}"), inner, flat);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                let name = inner
                    .get("name")
                    .and_then(Value::as_str)
                    .map_or(index.to_string(), str::to_owned);
                walk(&format!("{path}/{name}"), inner, flat);
            }
        }
        Value::String(text) => drop(flat.insert(path.to_owned(), text.clone())),
        other => drop(flat.insert(path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::overrides::claim::ANNOTATION;

    fn app(parameters: &[(&str, &str)], annotations: Value) -> Application {
        let parameters: Vec<_> =
            parameters.iter().map(|(n, v)| json!({ "name": n, "value": v })).collect();
        serde_json::from_value(json!({
            "metadata": { "annotations": annotations },
            "spec": { "source": { "repoURL": "r", "helm": { "parameters": parameters } } },
        }))
        .unwrap()
    }

    #[test]
    fn a_change_that_our_write_took_back_is_told() {
        let none = json!({});
        let before = app(&[("tag", "1"), ("replicas", "2")], none.clone());
        type Lost<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Application, Application, Lost<'_>); 5] = [
            // Nobody else wrote.
            (before.clone(), app(&[("tag", "2"), ("replicas", "2")], none.clone()), &[]),
            // Another parameter was changed, and is back.
            (
                app(&[("tag", "1"), ("replicas", "3")], none.clone()),
                app(&[("tag", "2"), ("replicas", "2")], none.clone()),
                &[("/spec/source/helm/parameters/replicas/value", "3")],
            ),
            // It survived.
            (
                app(&[("tag", "1"), ("replicas", "3")], none.clone()),
                app(&[("tag", "2"), ("replicas", "3")], none.clone()),
                &[],
            ),
            // An annotation was added, and is gone; the controller's own do not count.
            (
                app(
                    &[("tag", "1"), ("replicas", "2")],
                    json!({ "x": "1", "argocd.argoproj.io/refresh": "normal" }),
                ),
                app(&[("tag", "2"), ("replicas", "2")], json!({ ANNOTATION: "{}" })),
                &[("/metadata/annotations/x", "1")],
            ),
            // A parameter was removed, and is back.
            (
                app(&[("tag", "1")], none.clone()),
                app(&[("tag", "2"), ("replicas", "2")], none),
                &[
                    ("/spec/source/helm/parameters/replicas/name", "(absent)"),
                    ("/spec/source/helm/parameters/replicas/value", "(absent)"),
                ],
            ),
        ];
        for (middle, after, want) in cases {
            let got = lost(&before, &middle, &after);
            let want: Vec<_> = want
                .iter()
                .map(|(path, value)| DeployWarning::LostForeignChange {
                    path: (*path).into(),
                    value: (*value).into(),
                })
                .collect();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn whatever_a_write_overlays_is_compared() {
        let state = |spec: Value, finalizers: &[&str], labels: Value| -> Application {
            serde_json::from_value(json!({
                "metadata": { "finalizers": finalizers, "labels": labels }, "spec": spec,
            }))
            .unwrap()
        };
        let before = state(json!({ "project": "a" }), &[], json!({}));
        let spec = |changes: Value| {
            let mut spec = json!({ "project": "a" });
            spec.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
            state(spec, &[], json!({}))
        };
        for (middle, want) in [
            (spec(json!({ "project": "b" })), "/spec/project b"),
            (spec(json!({ "revisionHistoryLimit": 3 })), "/spec/revisionHistoryLimit 3"),
            (
                spec(json!({ "syncPolicy": { "automated": { "prune": true } } })),
                "/spec/syncPolicy/automated/prune true",
            ),
            (spec(json!({ "syncPolicy": { "automated": {} } })), "/spec/syncPolicy/automated {}"),
            (
                spec(json!({ "syncPolicy": { "syncOptions": ["Replace=true"] } })),
                "/spec/syncPolicy/syncOptions/0 Replace=true",
            ),
            (spec(json!({ "destination": { "name": "x" } })), "/spec/destination/name x"),
            (
                spec(json!({ "ignoreDifferences": [{ "kind": "Service" }] })),
                "/spec/ignoreDifferences/0/kind Service",
            ),
            (spec(json!({ "of": { "a": { "later": "version" } } })), "/spec/of/a/later version"),
            (state(json!({ "project": "a" }), &["x/y"], json!({})), "/metadata/finalizers/x/y x/y"),
            (state(json!({ "project": "a" }), &[], json!({ "l": "1" })), "/metadata/labels/l 1"),
        ] {
            let told: Vec<String> = lost(&before, &middle, &before)
                .iter()
                .map(|warning| match warning {
                    DeployWarning::LostForeignChange { path, value } => format!("{path} {value}"),
                    other => other.to_string(),
                })
                .collect();
            assert_eq!(told, [want]);
        }
    }
}
