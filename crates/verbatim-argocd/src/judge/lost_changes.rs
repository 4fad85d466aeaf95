//! Finds changes of others that our write took back. Pure.
//!
//! The server writes the whole spec, labels and annotations of what it read some time before. A change that another
//! client makes in between is gone then, and both got a 200. In the event stream it can be seen: it was there, and
//! after our write the value from before it is back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::judge::warning::DeployWarning;
use crate::model::Application;
use crate::overrides::claim::is_claim;
use crate::overrides::secret::{HIDDEN, is_secret_name};

/// One attempt at a write: the state that it was made from, and what it makes of it.
#[derive(Clone, Debug)]
pub(crate) struct WriteAttempt {
    pub before: Application,
    pub expected: Application,
}

impl WriteAttempt {
    /// Changes of others that this attempt took back, if it landed. `seen` are the states after the one that it was made from,
    /// in their order.
    ///
    /// The server may have read a newer state than that one, so the last state before the write landed is what was replaced.
    pub(crate) fn taken_back(&self, seen: &[&Application]) -> Option<Vec<DeployWarning>> {
        let ours = changed(&all(&self.before), &all(&self.expected));
        if ours.is_empty() {
            return None;
        }
        let landed = |app: &&Application| {
            let state = all(app);
            ours.iter().all(|(path, value)| state.get(path) == value.as_ref())
        };
        let at = seen.iter().position(landed)?;
        let replaced = at.checked_sub(1).map_or(&self.before, |last| seen[last]);
        let (known, replaced, written) =
            (flatten(&self.before), flatten(replaced), flatten(seen[at]));
        let taken_back = changed(&written, &replaced).into_iter().filter(|(path, value)| {
            // That our value takes the place of the one we knew of is what was asked for.
            !ours.contains_key(path) || known.get(path) != value.as_ref()
        });
        let warning = |(path, value): (String, Option<String>)| {
            let value = match value {
                Some(_) if is_secret_path(&path) => HIDDEN.to_owned(),
                value => value.unwrap_or_else(|| "(absent)".into()),
            };
            DeployWarning::LostForeignChange { path, value }
        };
        Some(taken_back.map(warning).collect())
    }
}

/// Whether what stands at a path is a secret by one of the names in it, or has some: a text of values for Helm.
fn is_secret_path(path: &str) -> bool {
    let field = path.strip_suffix("/value").unwrap_or(path);
    is_secret_name(field) || path.ends_with("/helm/values")
}

/// The paths at which two states differ, and what stands there in the second.
fn changed(
    from: &BTreeMap<String, String>,
    to: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    paths
        .into_iter()
        .filter(|path| from.get(*path) != to.get(*path))
        .map(|path| (path.clone(), to.get(path).cloned()))
        .collect()
}

/// All parts, our claims too.
fn all(app: &Application) -> BTreeMap<String, String> {
    let mut flat = flatten(app);
    let claims = app.metadata.annotations.iter().filter(|(name, _)| is_claim(name));
    flat.extend(claims.map(|(name, text)| (format!("/metadata/annotations/{name}"), text.clone())));
    flat
}

/// The parts that a write overlays, as paths and values: labels, annotations, finalizers, and the whole spec. Parameters
/// are told apart by name, not by place.
pub(crate) fn flatten(app: &Application) -> BTreeMap<String, String> {
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
        let expected = app(&[("tag", "2"), ("replicas", "2")], none.clone());
        type Lost<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Application, Application, Lost<'_>); 6] = [
            // Our own value was changed by somebody else before ours took its place.
            (
                app(&[("tag", "9"), ("replicas", "2")], none.clone()),
                app(&[("tag", "2"), ("replicas", "2")], none.clone()),
                &[("/spec/source/helm/parameters/tag/value", "9")],
            ),
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
            let attempt = WriteAttempt { before: before.clone(), expected: expected.clone() };
            let got = attempt.taken_back(&[&middle, &after]).unwrap();
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

    /// What is told goes into the log of a CI job.
    #[test]
    fn a_lost_secret_is_told_without_its_value() {
        let before = app(&[("tag", "1"), ("db.password", "old"), ("tokens.tag", "a")], json!({}));
        let expected = app(&[("tag", "2"), ("db.password", "old"), ("tokens.tag", "a")], json!({}));
        let theirs = app(&[("tag", "1"), ("db.password", "new"), ("tokens.tag", "b")], json!({}));
        let attempt = WriteAttempt { before, expected: expected.clone() };
        let told = attempt.taken_back(&[&theirs, &expected]).unwrap();
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("db.password") && told[0].contains("(hidden)"), "{told:?}");
        assert!(told[1].contains("tokens.tag") && told[1].contains('b'), "{told:?}");
    }

    /// Of a patch that does not fit what was read nobody can say what it took back.
    #[test]
    fn an_attempt_that_changes_nothing_takes_nothing_back() {
        let before = app(&[("tag", "1")], json!({}));
        let theirs = app(&[("tag", "9")], json!({}));
        let attempt = WriteAttempt { before: before.clone(), expected: before };
        assert_eq!(attempt.taken_back(&[&theirs]), None);
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
        let mut expected = before.clone();
        expected.metadata.annotations.insert(ANNOTATION.into(), "{}".into());
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
            let attempt = WriteAttempt { before: before.clone(), expected: expected.clone() };
            let told: Vec<String> = attempt
                .taken_back(&[&middle, &expected])
                .unwrap()
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
