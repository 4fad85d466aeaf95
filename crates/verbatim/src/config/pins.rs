//! What a policy of its own pins: the part of `verbatim.yaml` that says what the rules are about. Whoever changes the code
//! changes that file, too, and a rule about other applications, suites or servers would be no rule. Pure; must not read
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use url::Url;
use verbatim_argocd::SourceChoice;
use verbatim_image::template::Template;
use verbatim_oci::{Digest, Repository};

use super::file::{EnvironmentFile, File};
use super::located::Place;
use super::model::{App, Apps, Config, Environment, Selector, Server, Set, SourceSet};
use super::problem::Problem;
use super::shapes::ListOr;

/// The pins of a policy. `verbatim policy pin` prints those of a `verbatim.yaml`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pins {
    pub project: String,
    /// The repository of each image.
    pub images: BTreeMap<String, Repository>,
    /// The repository of the records; none if they are with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Repository>,
    pub argocd: BTreeMap<String, PinnedServer>,
    /// What is written into the applications that have no `set` of their own.
    #[serde(default, skip_serializing_if = "PinnedSet::is_empty")]
    pub set: PinnedSet,
    /// The environments; a dirty build may enter the first one.
    pub environments: Vec<PinnedEnvironment>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedServer {
    /// Its address, with the root path.
    pub url: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// The SHA-256 of the file with its certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Digest>,
    /// `kubernetes`, if applications are changed through the Kubernetes API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_context: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedSet {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub helm: BTreeMap<String, String>,
    /// The names of the Helm parameters that are booleans or numbers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub typed: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kustomize: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedEnvironment {
    pub name: String,
    /// The address that tests get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub apps: ListOr<PinnedApp, PinnedSelection>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tests: BTreeMap<String, PinnedSuite>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedApp {
    pub name: String,
    pub server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its Argo CD project, if the configuration names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<PinnedSet>,
    /// What is written into several sources, in the place of `source` and `set`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<PinnedSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedSource {
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<PinnedSet>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedSelection {
    pub project: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    pub servers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<PinnedSet>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedSuite {
    /// A line for `sh -c`.
    pub run: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The variables of the job that it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass: Vec<String>,
    /// The SHA-256 of files that it uses, by their path from the folder of `verbatim.yaml`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Digest>,
}

impl PinnedSet {
    fn is_empty(&self) -> bool {
        self.helm.is_empty() && self.kustomize.is_empty()
    }

    fn of(set: &Set) -> Self {
        let texts = |values: &BTreeMap<String, Template>| {
            values.iter().map(|(key, text)| (key.clone(), text.as_str().to_owned())).collect()
        };
        Self { helm: texts(&set.helm), typed: set.typed.clone(), kustomize: texts(&set.kustomize) }
    }
}

impl PinnedServer {
    fn of(server: &Server, ca: Option<Digest>) -> Self {
        let context = server.kubernetes.as_ref();
        Self {
            url: server.url.to_string(),
            insecure: server.insecure,
            ca,
            via: context.map(|_| "kubernetes".to_owned()),
            kube_context: context.and_then(|context| context.0.clone()),
        }
    }
}

impl PinnedApp {
    /// What is written into each source.
    fn sets(&mut self) -> Vec<&mut Option<PinnedSet>> {
        match self.sources.is_empty() {
            true => vec![&mut self.set],
            false => self.sources.iter_mut().map(|source| &mut source.set).collect(),
        }
    }

    fn of(app: &App) -> Self {
        let App { environment: _, name, server, namespace, project, sets, url } = app;
        let source = |choice: &SourceChoice| match choice {
            SourceChoice::Auto => None,
            SourceChoice::Position(position) => Some(position.to_string()),
            SourceChoice::Name(name) => Some(name.clone()),
        };
        let (one, several) = match sets.as_slice() {
            [one] => (Some(one), &[][..]),
            several => (None, several),
        };
        let of_source = |it: &SourceSet| PinnedSource {
            source: source(&it.source).unwrap_or_default(),
            set: Some(PinnedSet::of(&it.set)),
        };
        Self {
            name: name.clone(),
            server: server.clone(),
            namespace: namespace.clone(),
            project: project.clone(),
            source: one.and_then(|it| source(&it.source)),
            set: one.map(|it| PinnedSet::of(&it.set)),
            sources: several.iter().map(of_source).collect(),
            url: url.clone(),
        }
    }
}

impl PinnedSelection {
    fn of(selector: &Selector) -> Self {
        let Selector { project, labels, servers, template } = selector;
        Self {
            project: project.clone(),
            selector: labels.clone(),
            servers: servers.clone(),
            namespace: template.namespace.clone(),
            set: template.sets.first().map(|it| PinnedSet::of(&it.set)),
        }
    }
}

impl PinnedEnvironment {
    /// `hash` gives the digest of a file, by its path from the folder of the configuration.
    fn of(environment: &Environment, hash: &dyn Fn(&str) -> Option<Digest>) -> Self {
        let suites = environment.tests.iter().map(|(name, suite)| {
            let files = files(&suite.run).filter_map(|file| Some((file.clone(), hash(&file)?)));
            let (run, env, pass) = (suite.run.clone(), suite.env.clone(), suite.pass.clone());
            (name.clone(), PinnedSuite { run, env, pass, files: files.collect() })
        });
        Self {
            name: environment.name().to_owned(),
            url: environment.url.clone(),
            apps: match &environment.apps {
                Apps::Named(apps) => ListOr::List(apps.iter().map(PinnedApp::of).collect()),
                Apps::Selected(selector) => ListOr::Map(PinnedSelection::of(selector)),
            },
            tests: suites.collect(),
        }
    }

    fn sets(&mut self) -> Vec<&mut Option<PinnedSet>> {
        match &mut self.apps {
            ListOr::List(apps) => apps.iter_mut().flat_map(PinnedApp::sets).collect(),
            ListOr::Map(selection) => vec![&mut selection.set],
        }
    }

    /// How one pinned environment differs from what stands here: what it is that differs, how it is pinned, and where it
    /// stands. The files of suites are looked at when a suite runs.
    fn differences(&self, here: &Self, written: &EnvironmentFile) -> Vec<(&str, String, Place)> {
        let without_files =
            |tests: &BTreeMap<String, PinnedSuite>| -> BTreeMap<String, PinnedSuite> {
                let bare =
                    |suite: &PinnedSuite| PinnedSuite { files: BTreeMap::new(), ..suite.clone() };
                tests.iter().map(|(name, suite)| (name.clone(), bare(suite))).collect()
            };
        let (ours, theirs) = (without_files(&self.tests), without_files(&here.tests));
        let mut differences = Vec::new();
        if self.apps != here.apps {
            differences.push((
                "other applications or values",
                json(&self.apps),
                written.apps.place,
            ));
        }
        if ours != theirs {
            let changed = |suite: &&super::located::Located<String>| {
                ours.get(&suite.value) != theirs.get(&suite.value)
            };
            let place = written.tests.keys().find(changed).unwrap_or(&written.name).place;
            differences.push(("other suites", json(&ours), place));
        }
        if self.url != here.url {
            let place = written.url.as_ref().map_or(written.name.place, |url| url.place);
            differences.push(("another `url`", json(&self.url), place));
        }
        differences
    }
}

impl Pins {
    /// The pins that a configuration has now. `hash` gives the digest of a file, by its path from the folder of the
    /// configuration; `ca` that of the certificate authorities of a server.
    pub(crate) fn of(
        config: &Config,
        hash: &dyn Fn(&str) -> Option<Digest>,
        ca: &dyn Fn(&Path) -> Option<Digest>,
    ) -> Self {
        let images = config.images.iter().map(|(name, it)| (name.clone(), it.repository.clone()));
        let servers = config.servers.iter().map(|(name, server)| {
            (name.clone(), PinnedServer::of(server, server.ca.as_deref().and_then(ca)))
        });
        let environments = config.environments.iter();
        Self {
            project: config.project.clone(),
            images: images.collect(),
            records: config.records.clone(),
            argocd: servers.collect(),
            set: PinnedSet::default(),
            environments: environments.map(|it| PinnedEnvironment::of(it, hash)).collect(),
        }
    }

    /// The same, shorter: what is written into the first application is the `set` of all.
    pub(crate) fn short(mut self) -> Self {
        let mut sets: Vec<_> =
            self.environments.iter_mut().flat_map(PinnedEnvironment::sets).collect();
        let Some(first) = sets.first().and_then(|set| (**set).clone()) else { return self };
        for set in sets.iter_mut().filter(|set| set.as_ref() == Some(&first)) {
            **set = None;
        }
        self.set = first;
        self
    }

    /// The same in one form, however it was written.
    pub(super) fn normal(&self) -> Self {
        let mut normal = self.clone();
        let default = std::mem::take(&mut normal.set);
        for server in normal.argocd.values_mut() {
            // What is no address is that of no server.
            server.url = Url::parse(&server.url).map_or_else(|_| server.url.clone(), String::from);
        }
        for environment in &mut normal.environments {
            for set in environment.sets() {
                set.get_or_insert_with(|| default.clone());
            }
            match &mut environment.apps {
                ListOr::List(apps) => apps.sort_by_cached_key(|app| {
                    (app.server.clone(), app.namespace.clone(), app.name.clone())
                }),
                ListOr::Map(selection) => selection.servers.sort(),
            }
        }
        normal
    }

    /// The environments, with their suites: what rules may speak of.
    pub(super) fn suites(&self) -> BTreeMap<&str, Vec<&str>> {
        let environments = self.environments.iter();
        environments
            .map(|it| (it.name.as_str(), it.tests.keys().map(String::as_str).collect()))
            .collect()
    }

    /// What of a configuration is not as it is pinned, in `place`. Its mistakes are those of the configuration.
    pub(super) fn differences(&self, config: &Config, file: &File, place: &Path) -> Vec<Problem> {
        let (pinned, here) = (self.normal(), Self::of(config, &|_| None, &|_| None).normal());
        let mut differences = Differences { place, problems: Vec::new() };
        let project = file.project.place;
        if pinned.project != here.project {
            differences.add(project, "is for another project", &json(&pinned.project));
        }
        for (name, written) in &file.images {
            if pinned.images.get(&name.value) != here.images.get(&name.value) {
                let place = written.repository.place;
                differences.add(place, "pins other images", &json(&pinned.images));
            }
        }
        if pinned.images.keys().any(|name| !here.images.contains_key(name)) {
            differences.add(project, "pins more images", &json(&pinned.images));
        }
        if pinned.records != here.records {
            let place = file.records.as_ref().map_or(project, |records| records.place);
            let told = pinned.records.as_ref().map_or("with the image".to_owned(), json);
            differences.add(place, "pins another repository of records", &told);
        }
        for (name, written) in &file.argocd {
            let ours = pinned.argocd.get(&name.value);
            let server = config.servers.get(&name.value);
            let is_same = ours.zip(server).is_some_and(|(ours, server)| {
                let has_ca = ours.ca.is_some() == server.ca.is_some();
                has_ca
                    && PinnedServer { ca: None, ..ours.clone() } == PinnedServer::of(server, None)
            });
            if !is_same {
                let what = "pins other Argo CD servers";
                differences.add(written.url.place, what, &json(&pinned.argocd));
            }
        }
        for (written, here) in file.environments.iter().zip(&here.environments) {
            let Some(ours) = pinned.environments.iter().find(|it| it.name == here.name) else {
                let mut line = here.clone();
                for set in line.sets() {
                    *set = set.take().filter(|set| *set != self.set);
                }
                let message = format!(
                    "the policy does not name the environment `{}`, so nothing may enter it",
                    here.name
                );
                let help =
                    format!("add to `pins.environments` of {}: - {}", place.display(), json(&line));
                differences.problems.push(Problem::new(written.name.place, message).help(help));
                continue;
            };
            for (what, pin, at) in ours.differences(here, written) {
                differences.add(at, &format!("pins {what} of `{}`", here.name), &pin);
            }
        }
        for ours in &pinned.environments {
            if !here.environments.iter().any(|it| it.name == ours.name) {
                let what = format!("pins the environment `{}`, which is not here", ours.name);
                differences.add(project, &what, &json(ours));
            }
        }
        let first = |pins: &Self| pins.environments.first().map(|it| it.name.clone());
        if let (Some(ours), Some(written)) = (first(&pinned), file.environments.first())
            && first(&here).as_ref() != Some(&ours)
        {
            differences.add(written.name.place, "pins another first environment", &json(&ours));
        }
        differences.problems
    }

    /// Hands on to a configuration what can only be looked at later: the files of suites, certificate authorities.
    pub(super) fn hand_on(&self, config: &mut Config) {
        for environment in &mut config.environments {
            let ours = self.environments.iter().find(|it| it.name == environment.id.name());
            for (name, suite) in &mut environment.tests {
                let pin = ours.and_then(|ours| ours.tests.get(name));
                suite.files = pin.map(|pin| pin.files.clone()).unwrap_or_default();
            }
        }
        for (name, server) in &mut config.servers {
            server.ca_digest = self.argocd.get(name).and_then(|pin| pin.ca);
        }
    }
}

struct Differences<'a> {
    place: &'a Path,
    problems: Vec<Problem>,
}

impl Differences<'_> {
    fn add(&mut self, at: Place, what: &str, pinned: &str) {
        let help = format!("pinned in {}: {pinned}", self.place.display());
        self.problems.push(Problem::new(at, format!("the policy {what}")).help(help));
    }
}

/// JSON is YAML, and fits a line.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The words of a command that may be files of the repository.
fn files(command: &str) -> impl Iterator<Item = String> + '_ {
    let words = command.split(|c: char| c.is_whitespace() || ";|&()<>'\"`$=".contains(c));
    words.filter(|word| !word.is_empty()).filter_map(|word| {
        let parts: Option<Vec<&str>> = Path::new(word)
            .components()
            .filter(|part| *part != Component::CurDir)
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        parts.map(|parts| parts.join("/")).filter(|path| !path.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_files() {
        for (command, want) in [
            ("./smoke.sh", &["smoke.sh"][..]),
            ("sh tests/smoke.sh --url=$URL", &["sh", "tests/smoke.sh", "--url", "URL"]),
            ("cd tests && python3 'a.py'", &["cd", "tests", "python3", "a.py"]),
            ("/bin/true; ../out.sh", &[]),
        ] {
            assert_eq!(files(command).collect::<Vec<_>>(), want, "{command}");
        }
    }
}
