//! What an override consists of: Helm parameters and Kustomize images, wanted and stored. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use verbatim_oci::Digest;

use crate::model::Source;

/// What to write into one source of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Into which source.
    pub source: SourceChoice,
    /// Helm parameters, stored with `forceString`. Names are Helm's paths (`image.tag`); `$NAME` in a value stands for
    /// a variable of Argo CD's build environment, `$$` for a dollar sign.
    pub helm: BTreeMap<String, String>,
    /// Kustomize images.
    pub kustomize: Vec<KustomizeImage>,
}

impl Override {
    /// The keys with their wanted elements, as Argo CD stores them.
    pub fn wanted(&self) -> impl Iterator<Item = (Key, Value)> {
        let helm =
            self.helm.iter().map(|(name, value)| (Key::Helm(name.clone()), parameter(name, value)));
        let kustomize = self
            .kustomize
            .iter()
            .map(|image| (Key::Kustomize(image.name().to_owned()), json!(image.text)));
        helm.chain(kustomize)
    }

    /// Every digest that is written out in a value.
    pub fn digests(&self) -> Vec<Digest> {
        let mut found = Vec::new();
        for text in self
            .helm
            .values()
            .map(String::as_str)
            .chain(self.kustomize.iter().map(|i| i.text.as_str()))
        {
            for (at, _) in text.match_indices("sha256:") {
                if let Some(Ok(digest)) = text.get(at..at + 71).map(str::parse)
                    && !found.contains(&digest)
                {
                    found.push(digest);
                }
            }
        }
        found
    }
}

/// A stored Helm parameter; Argo CD leaves an empty value out.
fn parameter(name: &str, value: &str) -> Value {
    if value.is_empty() {
        json!({ "name": name, "forceString": true })
    } else {
        json!({ "name": name, "value": value, "forceString": true })
    }
}

/// Which source of an application with several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceChoice {
    /// The only one that can take the override.
    #[default]
    Auto,
    /// By position, counted from 1 as in the argocd CLI.
    Position(usize),
    /// By name.
    Name(String),
}

/// A Kustomize image: `[OLD=]NEW[:TAG][@DIGEST]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KustomizeImage {
    text: String,
    name: usize,
}

/// Why a text is not a Kustomize image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Kustomize image: want [OLD=]NEW[:TAG][@DIGEST]")]
pub struct KustomizeImageError(String);

impl KustomizeImage {
    /// The name that it replaces in the manifests. Two entries are about the same image if these are equal.
    pub fn name(&self) -> &str {
        &self.text[..self.name]
    }
}

impl FromStr for KustomizeImage {
    type Err = KustomizeImageError;

    fn from_str(text: &str) -> Result<Self, KustomizeImageError> {
        let name = match text.split_once('=') {
            Some((old, new)) if !new.is_empty() => old,
            Some(_) => "",
            None => {
                let bare = text.split('@').next().unwrap_or_default();
                let path = bare.rfind('/').map_or(0, |slash| slash + 1);
                bare[path..].find(':').map_or(bare, |colon| &bare[..path + colon])
            }
        };
        if name.is_empty() || text.contains(char::is_whitespace) {
            return Err(KustomizeImageError(text.to_owned()));
        }
        Ok(Self { name: name.len(), text: text.to_owned() })
    }
}

impl fmt::Display for KustomizeImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The name of one value of an override. Printed as `helm:image.tag` or `kustomize:example/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A Helm parameter by its name.
    Helm(String),
    /// A Kustomize image by the name that it replaces.
    Kustomize(String),
}

impl Key {
    /// The list that holds it, in a source.
    pub(crate) fn list(&self) -> &'static str {
        match self {
            Self::Helm(_) => "/helm/parameters",
            Self::Kustomize(_) => "/kustomize/images",
        }
    }

    fn is_of(&self, element: &Value) -> bool {
        match self {
            Self::Helm(name) => element.get("name").and_then(Value::as_str) == Some(name),
            Self::Kustomize(name) => element
                .as_str()
                .and_then(|text| text.parse::<KustomizeImage>().ok())
                .is_some_and(|image| image.name() == name),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helm(name) => f.pad(&format!("helm:{name}")),
            Self::Kustomize(name) => f.pad(&format!("kustomize:{name}")),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once(':') {
            Some(("helm", name)) => Ok(Self::Helm(name.to_owned())),
            Some(("kustomize", name)) => Ok(Self::Kustomize(name.to_owned())),
            _ => Err(serde::de::Error::custom("want helm:NAME or kustomize:NAME")),
        }
    }
}

/// One value of an override: what stood there, and what shall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Which value.
    pub key: Key,
    /// The stored element before, exactly as the server had it. `None`: absent.
    pub old: Option<Value>,
    /// The element to store.
    pub new: Value,
}

impl Change {
    /// Whether nothing changes.
    pub fn is_noop(&self) -> bool {
        self.old.as_ref().is_some_and(|old| same_element(old, &self.new))
    }
}

/// The text of a stored element, for people.
pub fn shown(element: Option<&Value>) -> String {
    match element {
        None => "(absent)".to_owned(),
        Some(Value::String(image)) => image.clone(),
        Some(parameter) => {
            parameter.get("value").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
    }
}

/// Whether two stored elements mean the same: Argo CD leaves out an empty value and `forceString: false`.
pub fn same_element(a: &Value, b: &Value) -> bool {
    let meaning = |element: &Value| {
        (
            element.get("name").cloned(),
            element.get("value").and_then(Value::as_str).unwrap_or_default().to_owned(),
            element.get("forceString").and_then(Value::as_bool).unwrap_or(false),
        )
    };
    match (a, b) {
        (Value::Object(_), Value::Object(_)) => meaning(a) == meaning(b),
        _ => a == b,
    }
}

/// Where a key stands in a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'a> {
    /// Nowhere.
    Absent,
    /// Once.
    At(usize, &'a Value),
    /// More than once: which one counts depends on flags.
    Repeated,
}

/// The key's elements in its list.
pub(crate) fn list<'a>(source: &'a Source, key: &Key) -> &'a [Value] {
    match key {
        Key::Helm(_) => source.helm_parameters(),
        Key::Kustomize(_) => source.kustomize_images(),
    }
}

/// Finds a key in a source.
pub fn find<'a>(source: &'a Source, key: &Key) -> Found<'a> {
    let mut found = list(source, key).iter().enumerate().filter(|(_, element)| key.is_of(element));
    match (found.next(), found.next()) {
        (None, _) => Found::Absent,
        (Some((index, element)), None) => Found::At(index, element),
        (Some(_), Some(_)) => Found::Repeated,
    }
}

/// A value that is not what was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deviation {
    /// Which value.
    pub key: Key,
    /// What was written.
    pub wrote: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, we wrote {}", self.key, self.found, self.wrote)
    }
}

/// The values of `changes` that a source does not hold. Empty: it holds all of them.
pub fn deviations(source: Option<&Source>, changes: &[Change]) -> Vec<Deviation> {
    let deviation = |change: &Change, found: String| Deviation {
        key: change.key.clone(),
        wrote: shown(Some(&change.new)),
        found,
    };
    changes
        .iter()
        .filter_map(|change| {
            match source.map_or(Found::Absent, |source| find(source, &change.key)) {
                Found::At(_, element) if same_element(element, &change.new) => None,
                Found::At(_, element) => Some(deviation(change, shown(Some(element)))),
                Found::Absent => Some(deviation(change, shown(None))),
                Found::Repeated => Some(deviation(change, "there more than once".to_owned())),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kustomize_images_are_known_by_the_name_that_they_replace() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("nginx", Some("nginx")),
            ("nginx:1", Some("nginx")),
            ("host:5000/x", Some("host:5000/x")),
            ("host:5000/x:1", Some("host:5000/x")),
            (&*format!("host:5000/x@{digest}"), Some("host:5000/x")),
            (&*format!("host:5000/x:1@{digest}"), Some("host:5000/x")),
            ("web=host:5000/x:1", Some("web")),
            ("host:5000/old=host:5000/new", Some("host:5000/old")),
            ("", None),
            ("=x", None),
            ("x=", None),
            ("a b", None),
            (":1", None),
        ];
        for (text, want) in cases {
            let image = text.parse::<KustomizeImage>().ok();
            assert_eq!(image.as_ref().map(KustomizeImage::name), want, "{text}");
        }
    }

    #[test]
    fn elements_are_compared_by_meaning() {
        let cases = [
            (
                json!({"name":"a","value":"1"}),
                json!({"name":"a","value":"1","forceString":false}),
                true,
            ),
            (json!({"name":"a"}), json!({"name":"a","value":""}), true),
            (
                json!({"name":"a","value":"1"}),
                json!({"name":"a","value":"1","forceString":true}),
                false,
            ),
            (json!("x:1"), json!("x:1"), true),
            (json!("x:1"), json!("x:2"), false),
            (json!("x:1"), json!({"name":"x"}), false),
        ];
        for (a, b, want) in cases {
            assert_eq!(same_element(&a, &b), want, "{a} {b}");
        }
    }

    #[test]
    fn a_source_that_lost_a_value_says_which() {
        let source = Source(json!({ "helm": { "parameters": [
            { "name": "image.tag", "value": "2", "forceString": true },
            { "name": "twice", "value": "1" }, { "name": "twice", "value": "2" },
        ]}}));
        let change = |name: &str, value: &str| Change {
            key: Key::Helm(name.into()),
            old: None,
            new: parameter(name, value),
        };
        let changes = [
            change("image.tag", "2"),
            change("image.tag", "3"),
            change("gone", "1"),
            change("twice", "1"),
        ];
        let found: Vec<_> =
            deviations(Some(&source), &changes).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "helm:image.tag is 2, we wrote 3",
                "helm:gone is (absent), we wrote 1",
                "helm:twice is there more than once, we wrote 1",
            ]
        );
        assert_eq!(deviations(None, &changes[..1]).len(), 1);
    }

    #[test]
    fn digests_are_found_in_values() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let wanted = Override {
            helm: [
                ("image.tag".to_owned(), format!("1@{a}")),
                ("image.digest".to_owned(), a.to_string()),
            ]
            .into(),
            kustomize: vec![
                format!("web=x/y@{b}").parse().unwrap(),
                "z:sha256:12".parse().unwrap(),
            ],
            ..Override::default()
        };
        assert_eq!(wanted.digests(), [a, b]);
    }
}
