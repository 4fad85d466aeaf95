//! Chooses managed resources by patterns: `GROUP:KIND:NAME`, as the argocd command line takes them. Pure.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use wildmatch::WildMatchPattern;

use crate::api::request::ResourceRef;
use crate::model::Resource;

/// `[!]GROUP:KIND:[NAMESPACE/]NAME`. A part may be empty or `*` for any, or hold `*` for any text; a group that is empty
/// is any group, too. With `!` it leaves out what fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourcePattern {
    excludes: bool,
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no resources: want [!]GROUP:KIND:[NAMESPACE/]NAME, as in apps:Deployment:web or :Service:*"
)]
pub(crate) struct PatternError(String);

impl FromStr for ResourcePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (excludes, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let [group, kind, name] = rest.split(':').collect::<Vec<_>>()[..] else {
            return Err(PatternError(text.to_owned()));
        };
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, name),
        };
        Ok(Self {
            excludes,
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.excludes { "!" } else { "" };
        let namespace = self.namespace.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
        write!(f, "{not}{}:{}:{namespace}{}", self.group, self.kind, self.name)
    }
}

impl ResourcePattern {
    fn fits(&self, resource: &Resource) -> bool {
        glob(&self.group, &resource.group)
            && glob(&self.kind, &resource.kind)
            && self.namespace.as_ref().is_none_or(|wanted| glob(wanted, &resource.namespace))
            && glob(&self.name, &resource.name)
    }
}

/// The resources that some pattern wants and none leaves out. Patterns that only leave out want everything else.
pub(crate) fn select<'a>(
    patterns: &[ResourcePattern],
    resources: &'a [Resource],
) -> Vec<&'a Resource> {
    let any_wanted = patterns.iter().any(|pattern| !pattern.excludes);
    resources
        .iter()
        .filter(|resource| {
            let fits = |excludes: bool| {
                patterns
                    .iter()
                    .any(|pattern| pattern.excludes == excludes && pattern.fits(resource))
            };
            (!any_wanted || fits(false)) && !fits(true)
        })
        .collect()
}

/// The patterns of the manifests that have one of these labels.
pub(crate) fn labelled(manifests: &[String], labels: &[(String, String)]) -> Vec<ResourcePattern> {
    let text = |manifest: &Value, pointer: &str| {
        manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    manifests
        .iter()
        .filter_map(|manifest| serde_json::from_str::<Value>(manifest).ok())
        .filter(|manifest| {
            let of = &manifest["metadata"]["labels"];
            labels.iter().any(|(name, value)| of[name.as_str()] == value.as_str())
        })
        .map(|manifest| {
            let version = text(&manifest, "/apiVersion");
            ResourcePattern {
                excludes: false,
                group: version.split_once('/').map_or("", |(group, _)| group).to_owned(),
                kind: text(&manifest, "/kind"),
                namespace: None,
                name: text(&manifest, "/metadata/name"),
            }
        })
        .collect()
}

/// A resource as an operation names it.
pub(crate) fn reference(resource: &Resource) -> ResourceRef {
    ResourceRef {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
    }
}

/// Whether a text fits a pattern in which `*` stands for any text, and nothing for everything.
fn glob(pattern: &str, text: &str) -> bool {
    pattern.is_empty() || WildMatchPattern::<'*', '\0'>::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, kind: &str, namespace: &str, name: &str) -> Resource {
        Resource {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Resource::default()
        }
    }

    #[test]
    fn manifests_are_chosen_by_any_of_their_labels() {
        let manifest = |version: &str, name: &str, labels: Value| {
            let metadata = serde_json::json!({ "name": name, "labels": labels });
            serde_json::json!({ "apiVersion": version, "kind": "K", "metadata": metadata })
                .to_string()
        };
        let manifests = [
            manifest("apps/v1", "a", serde_json::json!({ "x": "1", "y": "2" })),
            manifest("v1", "b", serde_json::json!({ "x": "2" })),
            manifest("v1", "c", Value::Null),
        ];
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (labels, want) in [
            (vec![label("x", "1")], "apps:K:a"),
            (vec![label("x", "1"), label("x", "2")], "apps:K:a :K:b"),
            (vec![label("z", "1")], ""),
        ] {
            let got = labelled(&manifests, &labels);
            let got: Vec<String> = got.iter().map(ResourcePattern::to_string).collect();
            assert_eq!(got.join(" "), want, "{labels:?}");
        }
    }

    #[test]
    fn patterns_choose() {
        let resources = [
            resource("apps", "Deployment", "shop", "web"),
            resource("apps", "Deployment", "shop", "worker"),
            resource("", "Service", "shop", "web"),
            resource("", "Service", "other", "web"),
        ];
        let cases: [(&[&str], &[usize]); 9] = [
            (&["apps:Deployment:web"], &[0]),
            (&["apps:Deployment:*"], &[0, 1]),
            (&["apps:Deployment:w*r"], &[1]),
            (&[":Service:web"], &[2, 3]),
            (&[":Service:shop/web"], &[2]),
            (&["*:*:web"], &[0, 2, 3]),
            (&["::web", "!apps::"], &[2, 3]),
            (&["!:Service:"], &[0, 1]),
            (&["batch:Job:x"], &[]),
        ];
        for (patterns, want) in cases {
            let parsed: Vec<ResourcePattern> =
                patterns.iter().map(|text| text.parse().unwrap()).collect();
            let got: Vec<&Resource> = select(&parsed, &resources);
            let want: Vec<&Resource> = want.iter().map(|index| &resources[*index]).collect();
            assert_eq!(
                got.iter().map(|one| (&one.kind, &one.name)).collect::<Vec<_>>(),
                want.iter().map(|one| (&one.kind, &one.name)).collect::<Vec<_>>(),
                "{patterns:?}"
            );
        }
        for text in ["web", "a:b", "a:b:c:d"] {
            assert!(text.parse::<ResourcePattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        let cases = [
            ("", "x", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("abc", "abcd", false),
            ("a*a", "a", false),
        ];
        for (pattern, text, want) in cases {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }
}
