//! What an override consists of: Helm parameters and Kustomize images, wanted and stored. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use verbatim_oci::Digest;

use crate::model::{AppSource, AppSources, SourceAt};
pub use crate::overrides::key::OverrideKey;
pub(crate) use crate::overrides::key::{SourceField, SourceKind};
use crate::overrides::secret::{HIDDEN, in_its_place, is_hidden, is_secret};

/// What to write into an application: into one of its sources, and perhaps into further ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverrideValues {
    /// Into which source. Of an application with several, `Auto` is the only one that takes all of the values, or, where they
    /// are for several kinds of source, the only one of each kind.
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
    /// What goes into further sources of the same application.
    pub elsewhere: Vec<OverrideValues>,
}

impl OverrideValues {
    /// The values of each source, without those that have none. At least one.
    pub(crate) fn by_source(&self) -> Vec<&Self> {
        let mut all = vec![self];
        all.extend(self.elsewhere.iter().flat_map(Self::by_source));
        let filled: Vec<&Self> = all.into_iter().filter(|it| it.has_own()).collect();
        if filled.is_empty() { vec![self] } else { filled }
    }

    fn has_own(&self) -> bool {
        self.wanted().next().is_some() || !self.without_files.is_empty()
    }

    /// Those of them that are for one kind of source, and what is for any.
    pub(crate) fn of_kind(&self, kind: SourceKind) -> Self {
        let is_of = |key: &OverrideKey| key.kind().is_none_or(|its| its == kind);
        let mut part = self.clone();
        part.elsewhere.clear();
        if kind != SourceKind::Helm {
            part.helm.clear();
            part.typed.clear();
            part.without_files.clear();
        }
        if kind != SourceKind::Kustomize {
            part.kustomize.clear();
        }
        part.others.retain(|key, _| is_of(key));
        part.unset.retain(is_of);
        part
    }

    /// The keys of the source that it names with their wanted elements, as Argo CD stores them.
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
        !self.has_own() && self.elsewhere.iter().all(Self::is_empty)
    }

    /// The kinds of source that its own values are for.
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
        let groups = self.by_source().into_iter();
        groups.flat_map(|group| {
            let kustomize = group.kustomize.iter().map(|image| image.text.as_str());
            group.helm.values().map(String::as_str).chain(kustomize)
        })
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

/// One value of an override: what stood there, and what shall. How it is written down, `overrides::stored` says.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueChange {
    /// In which source.
    pub source: SourceAt,
    /// Which value.
    pub key: OverrideKey,
    /// The stored element before, exactly as the server had it. `None`: absent.
    pub old: Option<Value>,
    /// The element to store; `null`: it shall be absent, as in a merge patch.
    pub new: Value,
}

impl ValueChange {
    /// Whether both are about one value of one source.
    pub fn is_of_same_value(&self, other: &Self) -> bool {
        (self.source, &self.key) == (other.source, &other.key)
    }

    /// The name of the value for people; with its source, if that is one of several.
    pub fn name(&self) -> String {
        named(self.source, &self.key)
    }

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
            source: self.source,
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

/// The name of a value for people: `helm:image.tag`, `helm:image.tag of source 2`.
fn named(source: SourceAt, key: &OverrideKey) -> String {
    match source.position() {
        None => key.to_string(),
        Some(position) => format!("{key} of source {position}"),
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
    /// The position of its source, counted from 1, if that is one of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<usize>,
    pub key: OverrideKey,
    pub wrote: String,
    pub found: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.source.map_or(SourceAt::Single, |position| SourceAt::Index(position - 1));
        write!(f, "{} is {}, wrote {}", named(at, &self.key), self.found, self.wrote)
    }
}

/// The values of `changes` that the sources do not hold. Empty: they hold all of them.
pub fn deviations(sources: AppSources<'_>, changes: &[ValueChange]) -> Vec<Deviation> {
    let deviation = |change: &ValueChange, found: String| Deviation {
        source: change.source.position(),
        key: change.key.clone(),
        wrote: change.shown_new(),
        found,
    };
    changes
        .iter()
        .filter_map(|change| {
            let source = sources.get(change.source);
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
mod tests;
