//! What a write would change in the manifests, told before it is made: a prediction. Argo CD renders only values that
//! are stored, so the old values are replaced by the new ones in what is rendered now. Pure.

use serde::Serialize;
use serde_json::Value;

use crate::api::request::AppRef;
use crate::judge::evidence::WantedImage;
use crate::judge::mismatch::Mismatch;
use crate::judge::rendered::{object, shown};
use crate::overrides::values::{self, OverrideKey, ValueChange};

/// What the manifests of one application would become. Not evidence: that is read back after the write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The application.
    pub app: AppRef,
    /// The fields that would change.
    pub differences: Vec<ManifestChange>,
    /// What a release needs and the prediction does not show: the chart may take the values otherwise than it took the
    /// old ones, or there were none.
    pub gaps: Vec<Mismatch>,
}

/// A field of a manifest that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManifestChange {
    /// `Deployment web`, for example.
    pub object: String,
    /// Where in it, as a JSON pointer.
    pub path: String,
    pub now: String,
    pub then: String,
}

/// Predicts the manifests after a write of `changes`, from those that are rendered now.
pub fn predict<'a>(
    app: &AppRef,
    manifests: impl IntoIterator<Item = &'a str>,
    changes: &[ValueChange],
    wanted: &[WantedImage],
) -> Prediction {
    let rules: Vec<Rule> = changes.iter().filter_map(Rule::of).collect();
    let mut differences = Vec::new();
    let predicted: Vec<String> = manifests
        .into_iter()
        .filter_map(|manifest| serde_json::from_str::<Value>(manifest).ok())
        .map(|mut manifest| {
            let name = object(&manifest).map_or_else(String::new, |object| object.to_string());
            walk(&mut manifest, &mut String::new(), &rules, &mut |path, now, then| {
                differences.push(ManifestChange {
                    object: name.clone(),
                    path: path.to_owned(),
                    now,
                    then,
                });
            });
            manifest.to_string()
        })
        .collect();
    let gaps = shown(predicted.iter().map(String::as_str), wanted).problems;
    Prediction { app: app.clone(), differences, gaps }
}

/// The manifests after a write of `changes`, as far as that can be told.
pub(crate) fn replaced_manifests<'a>(
    manifests: impl IntoIterator<Item = &'a str>,
    changes: &[ValueChange],
) -> Vec<String> {
    let rules: Vec<Rule> = changes.iter().filter_map(Rule::of).collect();
    let parsed = manifests.into_iter().filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let replaced = parsed.map(|mut manifest| {
        walk(&mut manifest, &mut String::new(), &rules, &mut |_, _, _| {});
        manifest.to_string()
    });
    replaced.collect()
}

/// How the text of a manifest follows a value.
enum Rule {
    /// The value stands in it as it is.
    Text { old: String, new: String },
    /// Kustomize replaces every image of this name.
    Image { name: String, new: String },
}

impl Rule {
    fn of(change: &ValueChange) -> Option<Self> {
        if change.is_noop() {
            return None;
        }
        let rendered = |element: &Value| {
            let text = values::shown(Some(element));
            match &change.key {
                OverrideKey::Kustomize(_) => {
                    text.split_once('=').map_or(text.clone(), |(_, new)| new.to_owned())
                }
                _ => text,
            }
        };
        // Without it the default of the chart or of the folder would be there, which nobody has said.
        if change.new.is_null() || matches!(change.key, OverrideKey::Field(_)) {
            return None;
        }
        let new = rendered(&change.new);
        match (&change.old, &change.key) {
            (Some(old), _) => {
                let old = rendered(old);
                (!old.is_empty() && old != new).then_some(Self::Text { old, new })
            }
            (None, OverrideKey::Kustomize(name)) => Some(Self::Image { name: name.clone(), new }),
            // Nobody knows what the chart does with a parameter that it was never given.
            (None, _) => None,
        }
    }

    /// The length of the rule's text that `text` begins with.
    fn matches(&self, text: &str) -> Option<(usize, &str)> {
        match self {
            Self::Text { old, new } => {
                text.starts_with(old.as_str()).then_some((old.len(), new.as_str()))
            }
            Self::Image { .. } => None,
        }
    }
}

fn walk(
    value: &mut Value,
    path: &mut String,
    rules: &[Rule],
    tell: &mut impl FnMut(&str, String, String),
) {
    let deeper = |value: &mut Value, path: &mut String, name: &str, tell: &mut _| {
        let length = path.len();
        path.push('/');
        path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        walk(value, path, rules, tell);
        path.truncate(length);
    };
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                deeper(inner, path, name, tell);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter_mut().enumerate() {
                deeper(inner, path, &index.to_string(), tell);
            }
        }
        Value::String(text) => {
            let then = replaced(text, path.ends_with("/image"), rules);
            if then != *text {
                tell(path, std::mem::replace(text, then.clone()), then);
            }
        }
        _ => {}
    }
}

fn replaced(text: &str, is_image: bool, rules: &[Rule]) -> String {
    let name = text.split(['@']).next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    for rule in rules {
        if let Rule::Image { name: wanted, new } = rule
            && is_image
            && name == wanted
        {
            return new.clone();
        }
    }
    // Whole names only: `1.0` is not in `1.0.1`, and `shop` not in `team/shop`.
    let is_inside = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_begun = !out.is_empty() && text[..text.len() - rest.len()].ends_with(is_inside);
        let found = rules
            .iter()
            .filter(|_| !is_begun)
            .filter_map(|rule| rule.matches(rest))
            .filter(|(length, _)| !rest[*length..].starts_with(is_inside))
            .max_by_key(|(length, _)| *length);
        match found {
            Some((length, new)) => {
                out.push_str(new);
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use verbatim_oci::Digest;

    use super::*;
    use crate::model::SourceAt;

    fn helm(name: &str, old: Option<&str>, new: &str) -> ValueChange {
        let element = |value: &str| json!({ "name": name, "value": value, "forceString": true });
        ValueChange {
            source: SourceAt::Single,
            key: OverrideKey::Helm(name.to_owned()),
            old: old.map(element),
            new: element(new),
        }
    }

    fn deployment(image: &str) -> String {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "labels": { "version": "1.0", "port": "1.0.1" } },
            "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } },
        })
        .to_string()
    }

    #[track_caller]
    fn check(image: &str, changes: &[ValueChange], want: &[(&str, &str)], is_shown: bool) {
        let digest = Digest::of(b"new");
        let wanted = WantedImage::new(Some("r.example/web".parse().unwrap()), digest);
        let manifests = [deployment(image), "no json".to_owned()];
        let got = predict(
            &AppRef::new("a"),
            manifests.iter().map(String::as_str),
            changes,
            std::slice::from_ref(&wanted),
        );
        let differences: Vec<_> =
            got.differences.iter().map(|it| (it.path.as_str(), it.then.as_str())).collect();
        assert_eq!(differences, want);
        assert_eq!(got.gaps.is_empty(), is_shown, "{:?}", got.gaps);
    }

    #[test]
    fn old_values_are_replaced_in_what_is_rendered() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let image = "/spec/template/spec/containers/0/image";
        let tag = |old: Option<&str>| helm("image.tag", old, &format!("2@{new}"));
        let wanted = format!("r.example/web:2@{new}");
        check(
            &format!("r.example/web:1@{old}"),
            &[tag(Some(&format!("1@{old}")))],
            &[(image, &wanted)],
            true,
        );
        // A short tag is replaced wherever it stands alone, and nowhere inside a longer one.
        check(
            "r.example/web:1.0",
            &[tag(Some("1.0"))],
            &[("/metadata/labels/version", &format!("2@{new}")), (image, &wanted)],
            true,
        );
        // Both repository and tag.
        let repository = helm("image.repository", Some("docker.io/web"), "r.example/web");
        check(
            &format!("docker.io/web:1@{old}"),
            &[repository.clone(), tag(Some(&format!("1@{old}")))],
            &[(image, &wanted)],
            true,
        );
        check("r.example/docker.io/web:1", &[repository], &[], false);
        // What was never set cannot be predicted, and that is told.
        check("r.example/web:latest", &[tag(None)], &[], false);
        // Nothing changes.
        let stands = format!("2@{new}");
        check(&format!("r.example/web:{stands}"), &[tag(Some(&stands))], &[], true);
    }

    #[test]
    fn kustomize_replaces_images_by_name() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let image = "/spec/template/spec/containers/0/image";
        let change = |old: Option<String>| ValueChange {
            source: SourceAt::Single,
            key: OverrideKey::Kustomize("web".to_owned()),
            old: old.map(Value::String),
            new: json!(format!("web=r.example/web:2@{new}")),
        };
        let wanted = format!("r.example/web:2@{new}");
        check("web:1", &[change(None)], &[(image, &wanted)], true);
        check("web", &[change(None)], &[(image, &wanted)], true);
        check("other/web:1", &[change(None)], &[], false);
        check(
            &format!("r.example/web:1@{old}"),
            &[change(Some(format!("web=r.example/web:1@{old}")))],
            &[(image, &wanted)],
            true,
        );
    }
}
