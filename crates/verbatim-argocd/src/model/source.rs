//! A source of an application, and the pairs of `source` and `sources` that Argo CD has in five places.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What tells one source from another: what it reads, and under which names it makes its objects.
const IDENTITY: [&str; 11] = [
    "/repoURL",
    "/path",
    "/chart",
    "/targetRevision",
    "/ref",
    "/name",
    "/helm/releaseName",
    "/helm/valueFiles",
    "/helm/namespace",
    "/kustomize/namePrefix",
    "/kustomize/nameSuffix",
];

/// One source, kept as the JSON that the server sent, so that two of them compare as the server would.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AppSource(pub Value);

impl AppSource {
    fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The git, Helm or OCI repository.
    pub fn repo_url(&self) -> &str {
        self.text("repoURL")
    }

    /// The folder, for git.
    pub fn path(&self) -> &str {
        self.text("path")
    }

    /// The chart, for a Helm repository.
    pub fn chart(&self) -> &str {
        self.text("chart")
    }

    /// The name of the source, from 2.14.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// Set on a source that only lends its files to others.
    pub fn reference(&self) -> &str {
        self.text("ref")
    }

    /// The wanted revision.
    pub fn target_revision(&self) -> &str {
        self.text("targetRevision")
    }

    /// The Helm parameters, as stored.
    pub fn helm_parameters(&self) -> &[Value] {
        self.list("/helm/parameters")
    }

    /// The Kustomize images, as stored.
    pub fn kustomize_images(&self) -> &[Value] {
        self.list("/kustomize/images")
    }

    /// Whether a field or block is there at all.
    pub fn has(&self, pointer: &str) -> bool {
        self.0.pointer(pointer).is_some_and(|value| !value.is_null())
    }

    /// A list in it; empty if there is none.
    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// What tells it from another source, also from one of the same chart: each place with what stands there. A place in a
    /// block that is not there is left out.
    pub(crate) fn identity(&self) -> Vec<(&'static str, Option<&Value>)> {
        let has_parent = |pointer: &str| match pointer.rsplit_once('/') {
            Some(("", _)) | None => true,
            Some((parent, _)) => self.has(parent),
        };
        let places = IDENTITY.into_iter().filter(|pointer| has_parent(pointer));
        places
            .map(|pointer| (pointer, self.0.pointer(pointer).filter(|it| !it.is_null())))
            .collect()
    }

    /// The same, where another source may have the same repository and folder or chart: then with what else tells them
    /// apart.
    pub(crate) fn describe_among<'a>(
        &self,
        all: impl IntoIterator<Item = &'a AppSource>,
    ) -> String {
        let name = self.describe();
        let mut twins =
            all.into_iter().filter(|other| **other != *self && other.describe() == name);
        if twins.next().is_none() {
            return name;
        }
        let known = ["/repoURL", "/path", "/chart", "/name"];
        let rest = self.identity().into_iter().filter(|(pointer, _)| !known.contains(pointer));
        let rest = rest.filter_map(|(pointer, value)| {
            let text = value?
                .as_str()
                .map_or_else(|| value.map(Value::to_string), |it| Some(it.into()))?;
            Some(format!("{} {text}", pointer.rsplit('/').next().unwrap_or(pointer)))
        });
        format!("{name} ({})", rest.collect::<Vec<_>>().join(", "))
    }

    /// A name for people: repository and folder or chart.
    pub fn describe(&self) -> String {
        let inside = if self.chart().is_empty() { self.path() } else { self.chart() };
        match (self.name(), inside) {
            ("", "") => self.repo_url().to_owned(),
            ("", inside) => format!("{} {inside}", self.repo_url()),
            (name, inside) => format!("{name} ({} {inside})", self.repo_url()),
        }
    }
}

/// Where a source stands in its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceAt {
    /// `spec.source`.
    Single,
    /// `spec.sources[n]`, counted from 0.
    Index(usize),
}

impl SourceAt {
    /// Its place, counted from 0 as in requests about one of several sources.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Single => 0,
            Self::Index(index) => index,
        }
    }

    /// Its position as people count, if it is one of several.
    pub fn position(self) -> Option<usize> {
        match self {
            Self::Single => None,
            Self::Index(index) => Some(index + 1),
        }
    }

    /// The JSON pointer of the source.
    pub fn pointer(self) -> String {
        match self {
            Self::Single => "/spec/source".to_owned(),
            Self::Index(index) => format!("/spec/sources/{index}"),
        }
    }
}

/// A view of `source` and `sources`, which Argo CD has side by side in five places: a multi-source application fills
/// the second and leaves an empty shell in the first.
#[derive(Clone, Copy, Debug)]
pub struct AppSources<'a> {
    single: Option<&'a AppSource>,
    many: &'a [AppSource],
}

impl<'a> AppSources<'a> {
    pub(super) fn new(single: &'a Option<AppSource>, many: &'a [AppSource]) -> Self {
        let filled = single.as_ref().filter(|source| !source.repo_url().is_empty());
        Self { single: if many.is_empty() { filled } else { None }, many }
    }

    /// The sources with their places.
    pub fn iter(self) -> impl Iterator<Item = (SourceAt, &'a AppSource)> {
        let single = self.single.map(|source| (SourceAt::Single, source));
        let many =
            self.many.iter().enumerate().map(|(index, source)| (SourceAt::Index(index), source));
        single.into_iter().chain(many)
    }

    /// The source at a place.
    pub fn get(self, at: SourceAt) -> Option<&'a AppSource> {
        match at {
            SourceAt::Single => self.single,
            SourceAt::Index(index) => self.many.get(index),
        }
    }

    /// Whether there is no source at all.
    pub fn is_empty(self) -> bool {
        self.single.is_none() && self.many.is_empty()
    }

    /// Whether both name the same sources with the same parameters.
    pub fn same_as(self, other: AppSources<'_>) -> bool {
        self.single == other.single && self.many == other.many
    }
}
