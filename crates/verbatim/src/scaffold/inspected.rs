//! What goes into the first `verbatim.yaml`, by what the applications are: the image that they have, and the values that
//! hold it. Pure; `commands::init` reads the applications.

use std::collections::BTreeMap;

use verbatim_argocd::{
    AppDetails, AppRef, Application, NoSuggestion, SourceAt, Suggestion, suggest,
};
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::Repository;

use super::config_file::{FirstApp, FirstSet, FirstSourceSet, IMAGE};

/// An application, and each of its sources that could take an override.
pub(crate) struct InspectedApp {
    pub reference: AppRef,
    pub app: Application,
    pub sources: Vec<InspectedSource>,
}

pub(crate) struct InspectedSource {
    pub at: SourceAt,
    pub kind: String,
    pub details: Option<AppDetails>,
}

impl InspectedApp {
    /// What each source suggests, if any does.
    fn suggestions(
        &self,
        image: Option<&Repository>,
    ) -> Result<Vec<(&InspectedSource, Suggestion)>, NoSuggestion> {
        let (mut found, mut none) = (Vec::new(), NoSuggestion::Nothing(Vec::new()));
        for source in &self.sources {
            let Some(written) = self.app.spec.sources().get(source.at) else { continue };
            match suggest(&self.app, written, &source.kind, source.details.as_ref(), image) {
                Ok(suggestion) => found.push((source, suggestion)),
                Err(why) => none = why,
            }
        }
        if found.is_empty() { Err(none) } else { Ok(found) }
    }

    fn is_kustomize(&self) -> bool {
        self.sources.iter().all(|source| source.kind == "Kustomize")
    }

    fn failure(&self, why: NoSuggestion) -> Failure {
        let app = &self.reference;
        let offline =
            "write the file with --offline, and put the right names under `set`".to_owned();
        let hints = match &why {
            NoSuggestion::Kind(kind) if kind.is_empty() => vec![format!(
                "Argo CD does not know its type; to see why: verbatim argocd get {app}"
            )],
            NoSuggestion::Kind(_) => vec![
                "plain manifests have no parameters: put a kustomization.yaml next to them".into(),
            ],
            NoSuggestion::Several(_) => {
                vec!["name the image that this project builds: --image REPOSITORY".into()]
            }
            NoSuggestion::Other { .. } => vec![
                "name one that it has with --image, then write the new `repository` into the file"
                    .into(),
            ],
            NoSuggestion::Nothing(_) if self.is_kustomize() => vec![format!(
                "sync it once, so that its image is known: verbatim argocd sync {app}"
            )],
            NoSuggestion::Nothing(_) => {
                vec![
                    format!("to see all parameters: verbatim argocd get {app} --show-params"),
                    offline,
                ]
            }
        };
        let said = format!("cannot find the values of {app} that hold the image");
        let failure = Failure::new(ExitStatus::No, why).context(said);
        hints.into_iter().fold(failure, |failure: Failure, hint: String| failure.hint(hint))
    }

    /// With what is to be written into it, so that it runs an image of this repository.
    pub(crate) fn first(&self, repository: &Repository) -> Result<FirstApp, Failure> {
        let mut suggestions =
            self.suggestions(Some(repository)).map_err(|why| self.failure(why))?;
        if suggestions.len() > 1 {
            // What names another image is another one's source.
            let count = suggestions.len();
            suggestions.retain(|(_, suggestion)| suggestion.is_named);
            if suggestions.is_empty() {
                return Err(Failure::new(
                    ExitStatus::No,
                    format!("{count} sources of {} could hold the image", self.reference),
                )
                .hint("write the file with --offline, and name the `source` of this application"));
            }
        }
        let is_only = suggestions.len() == 1;
        let set = |(source, suggestion): &(&InspectedSource, Suggestion)| {
            let kin = self.sources.iter().filter(|other| other.kind == source.kind).count();
            let is_alone = is_only && kin == 1;
            FirstSourceSet {
                source: source.at.position().filter(|_| !is_alone),
                set: FirstSet::of(suggestion, IMAGE),
            }
        };
        Ok(FirstApp {
            name: self.reference.name.clone(),
            namespace: self.reference.namespace.clone(),
            sets: suggestions.iter().map(set).collect(),
        })
    }
}

/// The one image that all applications have.
pub(crate) fn common_image<'a>(
    all: impl Iterator<Item = &'a InspectedApp>,
) -> Result<Repository, Failure> {
    let mut found: BTreeMap<Repository, Vec<String>> = BTreeMap::new();
    let mut several = None;
    for seen in all {
        match seen.suggestions(None) {
            Ok(suggestions) => {
                for (_, suggestion) in suggestions {
                    found
                        .entry(suggestion.repository)
                        .or_default()
                        .push(seen.reference.to_string());
                }
            }
            // Another application may tell which of them it is.
            Err(why @ NoSuggestion::Several(_)) => several = Some((seen, why)),
            Err(why) => return Err(seen.failure(why)),
        }
    }
    let count = found.len();
    match (count, found.pop_first(), several) {
        (1, Some((only, _)), _) => Ok(only),
        (0, _, Some((seen, why))) => Err(seen.failure(why)),
        (_, first, _) => {
            let all = first.into_iter().chain(found);
            let all: Vec<String> = all
                .map(|(repository, apps)| format!("{repository} ({})", apps.join(", ")))
                .collect();
            Err(Failure::usage(format!("the applications have several images: {}", all.join("; ")))
                .hint("name the image that this project builds: --image REPOSITORY"))
        }
    }
}
