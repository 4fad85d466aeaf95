//! What an override consists of: Helm parameters and Kustomize images, wanted and stored. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use verbatim_oci::Digest;

use crate::model::{AppSource, SourceAt};
pub use crate::overrides::key::OverrideKey;
pub(crate) use crate::overrides::key::{SourceField, SourceKind};
use crate::overrides::secret::{HIDDEN, in_its_place, is_hidden, is_secret};

/// What to write into one source of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverrideValues {
    /// Into which source.
    pub source: SourceChoice,
    /// Helm parameters, stored with `forceString` unless they are among `typed`. Names are Helm's paths (`image.tag`); `$NAME` in a value stands for
    /// a variable of Argo CD's build environment, `$$` for a dollar sign.
    pub helm: BTreeMap<String, String>,
    /// The names of those Helm parameters of which Helm makes booleans and numbers, as `helm --set` does.
    pub typed: BTreeSet<String>,
    /// Kustomize images.
    pub kustomize: Vec<KustomizeImage>,
    /// Everything else that can be written, as Argo CD stores it.
    pub others: BTreeMap<OverrideKey, Value>,
    /// What shall not be there.
    pub unset: BTreeSet<OverrideKey>,
    /// Files with values for Helm that shall not be among those of the application. Their list is one value, since its
    /// order counts.
    pub without_files: BTreeSet<String>,
}

impl OverrideValues {
    /// The keys with their wanted elements, as Argo CD stores them.
    pub fn wanted(&self) -> impl Iterator<Item = (OverrideKey, Value)> {
        let helm = self.helm.iter().map(|(name, value)| {
            let is_text = !self.typed.contains(name);
            (OverrideKey::Helm(name.clone()), parameter(name, value, is_text))
        });
        let kustomize = self
            .kustomize
            .iter()
            .map(|image| (OverrideKey::Kustomize(image.name().to_owned()), json!(image.text)));
        let others = self.others.iter().map(|(key, value)| (key.clone(), value.clone()));
        let unset = self.unset.iter().map(|key| (key.clone(), Value::Null));
        helm.chain(kustomize).chain(others).chain(unset)
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.wanted().next().is_none() && self.without_files.is_empty()
    }

    /// The kinds of source that its values are for.
    pub fn kinds(&self) -> BTreeSet<SourceKind> {
        let files = (!self.without_files.is_empty()).then_some(SourceKind::Helm);
        self.wanted().filter_map(|(key, _)| key.kind()).chain(files).collect()
    }

    /// Every digest that is written out in a value, with or without its algorithm.
    pub fn digests(&self) -> Vec<Digest> {
        digests(self.texts())
    }

    /// The digests that are meant to be proven where nobody names an image. A value of 64 hexadecimal digits may be any
    /// hash, so it counts only if no digest is written with its algorithm.
    pub(crate) fn likely_digests(&self) -> Vec<Digest> {
        let whole = whole_digests(self.texts());
        if whole.is_empty() { self.digests() } else { whole }
    }

    fn texts(&self) -> impl Iterator<Item = &str> + Clone {
        let kustomize = self.kustomize.iter().map(|image| image.text.as_str());
        self.helm.values().map(String::as_str).chain(kustomize)
    }
}

/// Every digest that is written out in one of some texts, with or without its algorithm, each once.
pub fn digests<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Vec<Digest> {
    let mut found = whole_digests(texts.clone());
    let parts = |text: &'a str| text.split(|c: char| !c.is_ascii_alphanumeric());
    for digest in texts.flat_map(parts).filter_map(bare_digest) {
        if !found.contains(&digest) {
            found.push(digest);
        }
    }
    found
}

/// The digest that a text is without its algorithm, for charts that write `@sha256:` themselves.
pub(crate) fn bare_digest(text: &str) -> Option<Digest> {
    format!("sha256:{text}").parse().ok()
}

fn whole_digests<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Digest> {
    let mut found = Vec::new();
    for text in texts {
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

/// A stored Helm parameter; Argo CD leaves an empty value and `forceString: false` out.
fn parameter(name: &str, value: &str, is_text: bool) -> Value {
    let mut parameter = json!({ "name": name });
    if !value.is_empty() {
        parameter["value"] = value.into();
    }
    if is_text {
        parameter["forceString"] = true.into();
    }
    parameter
}

/// Whether a stored parameter is of the kind of which Helm makes booleans and numbers.
pub(crate) fn is_typed(element: &Value) -> bool {
    !element["forceString"].as_bool().unwrap_or_default()
}

/// Whether Helm reads a value as the same text with and without `forceString`: only booleans, `null` and whole numbers are
/// anything else, and lists, whose elements may be. `typedVal` and `runesToVal` in `pkg/strvals` of Helm 3.19. Variables of
/// Argo CD's build environment are replaced first, by nobody knows what.
fn is_text_anyway(value: &str) -> bool {
    let is_word = ["true", "false", "null"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let is_number = value == "0" || (!value.starts_with('0') && value.parse::<i64>().is_ok());
    !is_word && !is_number && !value.starts_with('{') && !value.contains('$')
}

/// Whether a parameter names a part of an image, by its name: what stands there is a text, also if it looks like a number.
pub fn is_part_of_image(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).to_lowercase();
    let words = ["tag", "digest", "sha", "sha256", "version", "image", "repository", "registry"];
    words.iter().any(|word| last.ends_with(word))
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

impl From<SourceAt> for SourceChoice {
    fn from(at: SourceAt) -> Self {
        match at {
            SourceAt::Single => Self::Auto,
            SourceAt::Index(index) => Self::Position(index + 1),
        }
    }
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

/// One value of an override: what stood there, and what shall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueChange {
    /// Which value.
    pub key: OverrideKey,
    /// The stored element before, exactly as the server had it. `None`: absent.
    pub old: Option<Value>,
    /// The element to store; `null`: it shall be absent, as in a merge patch.
    pub new: Value,
}

impl ValueChange {
    /// The text of the stored element before, for people; not that of a secret.
    pub fn shown_old(&self) -> String {
        self.shown_unless_secret(self.old.as_ref())
    }

    /// The text of the element to store, for people; not that of a secret.
    pub fn shown_new(&self) -> String {
        self.shown_unless_secret(Some(&self.new))
    }

    /// The text of the stored element before, for people who read that of the new one beside it: if only `forceString` differs,
    /// it says so.
    pub fn told_old(&self) -> String {
        format!("{}{}", self.shown_old(), self.old.as_ref().map_or("", |old| apart(old, &self.new)))
    }

    fn shown_unless_secret(&self, element: Option<&Value>) -> String {
        match element.filter(|element| !element.is_null()) {
            Some(element) if is_secret(&self.key, element) => HIDDEN.to_owned(),
            element => shown(element),
        }
    }

    /// The change as a claim keeps it: without what is a secret by its name.
    pub(crate) fn without_secrets(&self) -> Self {
        Self {
            key: self.key.clone(),
            old: self.old.as_ref().map(|old| in_its_place(&self.key, old)),
            new: in_its_place(&self.key, &self.new),
        }
    }

    /// Whether nothing changes.
    pub fn is_noop(&self) -> bool {
        match &self.old {
            Some(old) => same_element(old, &self.new),
            None => self.new.is_null(),
        }
    }
}

/// The text of a stored element, for people.
pub fn shown(element: Option<&Value>) -> String {
    match element {
        None | Some(Value::Null) => "(absent)".to_owned(),
        Some(hidden) if is_hidden(hidden) => HIDDEN.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(parameter)) if parameter.contains_key("name") => {
            // A parameter without any of these has the empty value, which Argo CD leaves out.
            let fields = ["value", "path", "count", "string", "array", "map"];
            match fields.iter().find_map(|field| parameter.get(*field)) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => String::new(),
            }
        }
        Some(other) => other.to_string(),
    }
}

/// How an element differs from another one, if its text does not tell.
fn apart(element: &Value, other: &Value) -> &'static str {
    let same_text = shown(Some(element)) == shown(Some(other));
    match (element.get("name").is_some() && same_text, is_typed(element), is_typed(other)) {
        (true, true, false) => " (without forceString)",
        (true, false, true) => " (with forceString)",
        _ => "",
    }
}

/// Whether two stored elements mean the same: Argo CD leaves out an empty value and `forceString: false`, and Helm reads most
/// texts alike with and without `forceString`.
pub(crate) fn same_element(a: &Value, b: &Value) -> bool {
    let meaning = |element: &Value| {
        let mut element = element.clone();
        if let Some(fields) = element.as_object_mut() {
            let text = fields.get("value").and_then(Value::as_str).unwrap_or_default();
            let is_text = is_text_anyway(text);
            fields.retain(|name, value| match name.as_str() {
                "value" => *value != json!(""),
                "forceString" => *value != json!(false) && !is_text,
                _ => true,
            });
        }
        element
    };
    meaning(a) == meaning(b)
}

/// Whether an element is the one that was written; whichever it is, if the claim at hand does not keep what was.
pub(crate) fn holds(element: &Value, written: &Value) -> bool {
    is_hidden(written) || same_element(element, written)
}

/// Where a key stands in a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Occurrence<'a> {
    Absent,
    At(usize, &'a Value),
    /// More than once: which one counts depends on flags.
    Repeated,
}

/// The key's elements in its list; none for a value that stands alone.
pub(crate) fn list<'a>(source: &'a AppSource, key: &OverrideKey) -> &'a [Value] {
    if key.is_listed() { source.list(key.list()) } else { &[] }
}

/// Finds a key in a source. A value that stands alone is found at index 0.
pub(crate) fn find<'a>(source: &'a AppSource, key: &OverrideKey) -> Occurrence<'a> {
    if !key.is_listed() {
        return match source.0.pointer(key.list()) {
            None | Some(Value::Null) => Occurrence::Absent,
            Some(value) => Occurrence::At(0, value),
        };
    }
    let mut found = list(source, key).iter().enumerate().filter(|(_, element)| key.is_of(element));
    match (found.next(), found.next()) {
        (None, _) => Occurrence::Absent,
        (Some((index, element)), None) => Occurrence::At(index, element),
        (Some(_), Some(_)) => Occurrence::Repeated,
    }
}

/// Everything in a source that can be written, in the order of its lists.
pub(crate) fn stored(source: &AppSource) -> Vec<(OverrideKey, &Value)> {
    type Make = fn(String) -> OverrideKey;
    let lists: [(&str, Make); 6] = [
        ("/helm/parameters", OverrideKey::Helm),
        ("/kustomize/images", OverrideKey::Kustomize),
        ("/helm/fileParameters", OverrideKey::HelmFile),
        ("/kustomize/replicas", OverrideKey::KustomizeReplica),
        ("/plugin/env", OverrideKey::PluginEnv),
        ("/plugin/parameters", OverrideKey::PluginParameter),
    ];
    let name = |element: &Value| match element.as_str() {
        Some(image) => {
            image.parse().map_or(image.to_owned(), |image: KustomizeImage| image.name().to_owned())
        }
        None => element["name"].as_str().unwrap_or_default().to_owned(),
    };
    let listed = lists.iter().flat_map(|(list, key)| {
        source.list(list).iter().map(move |element| (key(name(element)), element))
    });
    let alone = SourceField::ALL.iter().map(|field| OverrideKey::Field(*field));
    let alone = alone.filter_map(|key| match find(source, &key) {
        Occurrence::At(_, value) => Some((key, value)),
        _ => None,
    });
    listed.chain(alone).collect()
}

/// A value that is not what was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deviation {
    pub key: OverrideKey,
    pub wrote: String,
    pub found: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, wrote {}", self.key, self.found, self.wrote)
    }
}

/// The values of `changes` that a source does not hold. Empty: it holds all of them.
pub fn deviations(source: Option<&AppSource>, changes: &[ValueChange]) -> Vec<Deviation> {
    let deviation = |change: &ValueChange, found: String| Deviation {
        key: change.key.clone(),
        wrote: change.shown_new(),
        found,
    };
    changes
        .iter()
        .filter_map(|change| {
            match source.map_or(Occurrence::Absent, |source| find(source, &change.key)) {
                Occurrence::At(_, element) if holds(element, &change.new) => None,
                Occurrence::At(_, element) if is_secret(&change.key, element) => {
                    Some(deviation(change, HIDDEN.to_owned()))
                }
                Occurrence::At(_, element) => {
                    let apart = apart(element, &change.new);
                    Some(deviation(change, format!("{}{apart}", shown(Some(element)))))
                }
                Occurrence::Absent if change.new.is_null() => None,
                Occurrence::Absent => Some(deviation(change, shown(None))),
                Occurrence::Repeated => Some(deviation(change, "there more than once".to_owned())),
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
            (json!({"name":"web","count":2}), json!({"name":"web","count":3}), false),
            (json!({"name":"a","path":"p"}), json!({"name":"a","path":"p"}), true),
            (json!({"name":"a","array":["1"]}), json!({"name":"a","array":["2"]}), false),
        ];
        for (a, b, want) in cases {
            assert_eq!(same_element(&a, &b), want, "{a} {b}");
        }
    }

    /// With what Helm 3.19 makes of `--set a=VALUE`.
    #[test]
    fn only_what_helm_types_differs_by_being_forced() {
        let typed = ["true", "FALSE", "null", "0", "7", "-1", "+5", "{a,1}", "$ARGOCD_APP_NAME"];
        let texts = ["", "1.10", "007", "1e5", "v1", "1@sha256:2", "yes", "9223372036854775808"];
        let cases = typed.map(|it| (it, false)).into_iter().chain(texts.map(|it| (it, true)));
        for (value, want) in cases {
            let (text, other) = (parameter("a", value, true), parameter("a", value, false));
            assert_eq!(same_element(&text, &other), want, "{value}");
        }
    }

    #[test]
    fn parts_of_images_are_known_by_their_names() {
        let parts =
            ["image.tag", "image.Digest", "web.imageTag", "image.sha", "version", "registry"];
        let others = ["ingress.enabled", "replicas", "image.pullPolicy", "tag.enabled"];
        for (names, want) in [(&parts[..], true), (&others, false)] {
            for name in names {
                assert_eq!(is_part_of_image(name), want, "{name}");
            }
        }
    }

    #[test]
    fn typed_parameters_are_stored_as_argo_cd_stores_them() {
        let wanted = OverrideValues {
            helm: [("on", "true"), ("tag", "7")].map(|(a, b)| (a.into(), b.into())).into(),
            typed: ["on".to_owned()].into(),
            ..OverrideValues::default()
        };
        let elements: Vec<Value> = wanted.wanted().map(|(_, element)| element).collect();
        let want = [
            json!({ "name": "on", "value": "true" }),
            json!({ "name": "tag", "value": "7", "forceString": true }),
        ];
        assert_eq!(elements, want);
    }

    #[test]
    fn a_source_that_lost_a_value_says_which() {
        let source = AppSource(json!({ "helm": { "parameters": [
            { "name": "image.tag", "value": "2", "forceString": true },
            { "name": "twice", "value": "1" }, { "name": "twice", "value": "2" },
            { "name": "on", "value": "true" },
            { "name": "off", "value": "false", "forceString": true },
        ]}}));
        let change = |name: &str, value: &str| ValueChange {
            key: OverrideKey::Helm(name.into()),
            old: None,
            new: parameter(name, value, true),
        };
        let changes = [
            change("image.tag", "2"),
            change("image.tag", "3"),
            change("gone", "1"),
            change("twice", "1"),
            change("on", "true"),
            ValueChange { new: parameter("off", "false", false), ..change("off", "") },
        ];
        let found: Vec<_> =
            deviations(Some(&source), &changes).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "helm:image.tag is 2, wrote 3",
                "helm:gone is (absent), wrote 1",
                "helm:twice is there more than once, wrote 1",
                "helm:on is true (without forceString), wrote true",
                "helm:off is false (with forceString), wrote false",
            ]
        );
        assert_eq!(deviations(None, &changes[..1]).len(), 1);
    }

    #[test]
    fn digests_are_found_in_values() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let wanted = OverrideValues {
            helm: [
                ("image.tag".to_owned(), format!("1@{a}")),
                ("image.digest".to_owned(), a.to_string()),
            ]
            .into(),
            kustomize: vec![
                format!("web=x/y@{b}").parse().unwrap(),
                "z:sha256:12".parse().unwrap(),
            ],
            ..OverrideValues::default()
        };
        assert_eq!(wanted.digests(), [a, b]);
        // A chart that writes `@sha256:` itself takes the digits alone; beside a whole digest they may be any hash.
        let bare = |digest: Digest| ("image.sha".to_owned(), digest.hex());
        let only = OverrideValues { helm: [bare(b)].into(), ..OverrideValues::default() };
        assert_eq!((only.digests(), only.likely_digests()), (vec![b], vec![b]));
        let both = OverrideValues {
            helm: [bare(b), ("image.digest".to_owned(), a.to_string())].into(),
            ..OverrideValues::default()
        };
        assert_eq!((both.digests(), both.likely_digests()), (vec![a, b], vec![a]));
    }
}
