//! Judges the labels of manifests by the rules of Kubernetes, which refuses an object for one. Charts make labels from tags,
//! and `TAG@DIGEST` is none. Pure.

use std::fmt;

use serde_json::Value;

use crate::judge::predict::replaced_manifests;
use crate::judge::rendered::object;
use crate::overrides::values::{ValueChange, shown};

/// The longest value of a label:
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
const LONGEST: usize = 63;

/// From this length on, a value that stands in a label is the old tag, and not by chance another text such as `1.0`.
const TELLING: usize = 8;

/// A label that Kubernetes refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InvalidLabel {
    /// `Deployment web`, for example.
    object: String,
    name: String,
    value: String,
}

impl fmt::Display for InvalidLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} would be {}", self.name, self.object, self.value)
    }
}

/// The labels of these manifests that Kubernetes refuses, each once.
pub(crate) fn invalid_labels<'a>(
    manifests: impl IntoIterator<Item = &'a str>,
) -> Vec<InvalidLabel> {
    let parsed = manifests.into_iter().filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let mut found: Vec<InvalidLabel> = parsed.flat_map(|manifest| of(&manifest)).collect();
    found.sort();
    found.dedup();
    found
}

/// The labels that become invalid by a write, as far as the manifests of now tell: a label that has an old value in it will
/// have the new one. Old values that are short or the same as others prove nothing.
pub(crate) fn predicted_labels<'a>(
    manifests: impl IntoIterator<Item = &'a str> + Clone,
    changes: &[ValueChange],
) -> Vec<InvalidLabel> {
    let is_telling = |change: &&ValueChange| {
        change.old.as_ref().is_some_and(|old| shown(Some(old)).len() >= TELLING)
    };
    let telling: Vec<ValueChange> = changes.iter().filter(is_telling).cloned().collect();
    let now = invalid_labels(manifests.clone());
    let then = replaced_manifests(manifests, &telling);
    let mut invalid = invalid_labels(then.iter().map(String::as_str));
    invalid.retain(|label| !now.contains(label));
    invalid
}

fn of(manifest: &Value) -> Vec<InvalidLabel> {
    let Some(name) = object(manifest) else { return Vec::new() };
    let places: &[&str] = match name.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "Rollout" => {
            &["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"]
        }
        "CronJob" => &["/metadata/labels", "/spec/jobTemplate/spec/template/metadata/labels"],
        "Service" => &["/metadata/labels", "/spec/selector"],
        // What a custom resource has elsewhere is its own affair.
        _ => &["/metadata/labels"],
    };
    let labels = places.iter().filter_map(|place| manifest.pointer(place)?.as_object()).flatten();
    labels
        .filter_map(|(label, value)| Some((label, value.as_str()?)))
        .filter(|(_, value)| !is_valid(value))
        .map(|(label, value)| InvalidLabel {
            object: name.to_string(),
            name: label.clone(),
            value: value.to_owned(),
        })
        .collect()
}

fn is_valid(value: &str) -> bool {
    let is_end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= LONGEST
        && is_end(value.chars().next())
        && is_end(value.chars().next_back())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::SourceAt;
    use crate::overrides::values::OverrideKey;

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    #[test]
    fn labels_are_judged_as_kubernetes_does() {
        let long = "a".repeat(64);
        let cases = [
            ("1.0", true),
            ("", true),
            ("42.3f0c9a_x", true),
            (&long[..63], true),
            (&long, false),
            ("1@2", false),
            ("v:1", false),
            ("-1", false),
            ("1.", false),
            ("é", false),
        ];
        for (value, want) in cases {
            assert_eq!(is_valid(value), want, "{value}");
        }
    }

    /// A Deployment with a label on it, in its selector and in its template, as charts of `helm create` have it.
    fn manifest(kind: &str, label: &str) -> String {
        let labels = json!({ "app.kubernetes.io/version": label, "app": "web" });
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "web", "labels": labels },
            "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": { "metadata": { "labels": labels } } },
        })
        .to_string()
    }

    #[test]
    fn each_place_is_looked_at_that_kubernetes_judges() {
        let bad = format!("1@{}", digest());
        let told = invalid_labels([manifest("Deployment", &bad).as_str(), "no json"]);
        let want = format!("app.kubernetes.io/version of Deployment web would be {bad}");
        assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), [want]);
        assert_eq!(invalid_labels([manifest("Deployment", "1").as_str()]), []);
        // A rule of an alert may have any label in its own list.
        let rule = json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": { "name": "r" },
            "spec": { "groups": [{ "rules": [{ "labels": { "image": bad } }] }], "template": { "metadata": { "labels": { "a": bad } } } },
        });
        assert_eq!(invalid_labels([rule.to_string().as_str()]), []);
    }

    #[test]
    fn a_label_from_the_tag_is_predicted() {
        let change = |old: Option<&str>| ValueChange {
            source: SourceAt::Single,
            key: OverrideKey::Helm("image.tag".into()),
            old: old.map(|old| json!({ "name": "image.tag", "value": old })),
            new: json!({ "name": "image.tag", "value": format!("43.beef@{}", digest()) }),
        };
        // The label now, the old value; whether a label is predicted to be invalid.
        let cases = [
            ("42.3f0c9a1", Some("42.3f0c9a1"), true),
            ("web-42.3f0c9a1", Some("42.3f0c9a1"), false),
            ("1.0", Some("42.3f0c9a1"), false),
            // The version of the chart may be the same by chance.
            ("1.0", Some("1.0"), false),
            ("latest", None, false),
        ];
        for (label, old, want) in cases {
            let manifest = manifest("Deployment", label);
            let got = predicted_labels([manifest.as_str()], &[change(old)]);
            assert_eq!(!got.is_empty(), want, "{label} {old:?} {got:?}");
        }
    }
}
