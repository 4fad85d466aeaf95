//! The configuration after it was checked: what the rest of the runner works with. Every name in it exists,
//! every path is joined to the folder of the file. Must not read or check anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use verbatim_argocd::{OverrideValues, SourceChoice};
use verbatim_credentials::SecretString;
use verbatim_http::is_loopback;
use verbatim_oci::{Digest, Platform, Repository};
use verbatim_policy::{Gate, GateKind};
use verbatim_record::{EnvironmentId, KeyRing, PolicyOrigin};

pub(crate) use super::file::Ran;
use verbatim_image::template::Template;

#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The folder of the file: where paths of the file begin, and where tests run.
    pub root: PathBuf,
    /// The name of the product.
    pub project: String,
    /// The images, by the name that templates use. At least one.
    pub images: BTreeMap<String, Image>,
    /// The Argo CD servers, by name.
    pub servers: BTreeMap<String, Server>,
    /// How to reach registries that need it told, by host.
    pub registries: BTreeMap<String, RegistryOptions>,
    /// How long one answer of a registry, of Argo CD or of the Docker Engine may take, if not as long as usual.
    pub request_timeout: Option<Duration>,
    /// The repository of the records, if not the image's own.
    pub records: Option<Repository>,
    /// The stages, each after the ones it names in `after`.
    pub environments: Vec<Environment>,
    pub policy: Policy,
}

/// An image: where it is pushed, and how it is built.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub name: String,
    pub repository: Repository,
    /// The folder that is sent to the Docker Engine.
    pub context: PathBuf,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    pub target: Option<String>,
    pub platform: Option<Platform>,
    pub args: BTreeMap<String, Template>,
    /// Labels beside the ones of OCI.
    pub labels: BTreeMap<String, Template>,
    /// What git ignores of the context and the build may take all the same; relative to the context.
    pub ignored_inputs: Vec<PathBuf>,
    pub tag: Template,
    pub build_timeout: Duration,
    pub push_timeout: Duration,
    /// How long the Docker Engine may say nothing meanwhile.
    pub idle_timeout: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub name: String,
    /// Its address, with the root path.
    pub url: Url,
    /// The variable that holds its token, if not the usual one.
    pub token_variable: Option<String>,
    pub ca: Option<PathBuf>,
    /// The SHA-256 that the policy pins of that file.
    pub ca_digest: Option<Digest>,
    /// Client certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    pub headers: BTreeMap<String, SecretString>,
    /// Whether the certificate is not checked.
    pub insecure: bool,
    /// Whether applications are changed through the Kubernetes API, and with which context of the kubeconfig.
    pub kubernetes: Option<KubeContext>,
}

/// A context of the job's kubeconfig; `None` is the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KubeContext(pub Option<String>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegistryOptions {
    pub ca: Option<PathBuf>,
    /// Whether plain HTTP to another host is allowed.
    pub plain_http: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// `project/name`.
    pub id: EnvironmentId,
    pub apps: Apps,
    /// Where it can be reached.
    pub url: Option<String>,
    /// What tests it, by suite.
    pub tests: BTreeMap<String, Suite>,
    /// How long the proof must hold before it counts.
    pub settle: Duration,
    pub timeout: Duration,
    /// How long a pod with the new image may keep failing to start.
    pub stuck_after: Duration,
    pub deploy: DeploySettings,
    /// In which waves a release goes to the applications.
    pub waves: Vec<Wave>,
    /// Whether it is the first of the file. If no other comes before it either, a dirty build may go there.
    pub is_first: bool,
}

impl Environment {
    /// Its name within the project.
    pub(crate) fn name(&self) -> &str {
        self.id.name()
    }

    /// The names of the Argo CD servers that its applications are on.
    pub(crate) fn servers(&self) -> BTreeSet<&str> {
        match &self.apps {
            Apps::Named(apps) => apps.iter().map(|app| app.server.as_str()).collect(),
            Apps::Selected(selector) => selector.servers.iter().map(String::as_str).collect(),
        }
    }
}

/// How applications are deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeploySettings {
    /// Delete resources that are no longer in the sources.
    pub prune: bool,
    /// Accept resources that are no longer in the sources.
    pub allow_unpruned: bool,
    /// Write even if an owner of the application may revert it.
    pub trust_owner: bool,
    /// Write parameters that the chart does not list.
    pub allow_unknown_parameters: bool,
    /// Give up when a rollout is paused, instead of waiting until it continues.
    pub fail_on_pause: bool,
    /// End an operation of somebody else that holds the application.
    pub terminate_foreign: bool,
    /// How long a closed sync window is waited for.
    pub wait_for_window: Duration,
    /// How long closed gates are waited for that time or people may open.
    pub wait_for_gates: Duration,
    /// Put back the last promotion after one that is not proven.
    pub restore_on_failure: bool,
}

/// How far a release has come after a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wave {
    /// To so many applications.
    Count(usize),
    /// To so many of a hundred.
    Percent(u8),
}

#[derive(Clone, Debug)]
pub(crate) enum Apps {
    Named(Vec<App>),
    /// All of a project, or those with some labels; found when they are needed.
    Selected(Box<Selector>),
}

#[derive(Clone, Debug)]
pub(crate) struct Selector {
    /// The Argo CD project that all of them are in.
    pub project: String,
    /// The labels that they carry; `None` for all of the project.
    pub labels: Option<String>,
    /// The servers that they are on, at least one.
    pub servers: Vec<String>,
    /// What each of them is given; its name and server are not used.
    pub template: App,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the project `{}`", self.project)?;
        self.labels.as_ref().map_or(Ok(()), |labels| write!(f, " with the labels {labels}"))
    }
}

/// An application and what is written into it.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// `project/environment` of the environment that it is in: the claims and anchors of others are none of its business.
    pub environment: String,
    pub name: String,
    pub server: String,
    pub namespace: Option<String>,
    pub project: Option<String>,
    /// What is written into which of its sources. At least one.
    pub sets: Vec<SourceSet>,
    /// Where it can be reached.
    pub url: Option<String>,
}

/// What is written into a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceSet {
    pub source: SourceChoice,
    pub set: Set,
}

impl SourceSet {
    /// The first value that both write, if they mean one source. Sources that are named in two ways may be one.
    fn same_value(&self, other: &Self) -> Option<String> {
        let is_one_source = match (&self.source, &other.source) {
            (SourceChoice::Position(one), SourceChoice::Position(other)) => one == other,
            (SourceChoice::Name(one), SourceChoice::Name(other)) => one == other,
            _ => true,
        };
        let keys = |set: &Set| -> BTreeSet<String> {
            let helm = set.helm.keys().map(|key| format!("helm: {key}"));
            helm.chain(set.kustomize.keys().map(|key| format!("kustomize: {key}"))).collect()
        };
        let key = keys(&self.set).intersection(&keys(&other.set)).next().cloned();
        key.filter(|_| is_one_source)
    }
}

impl App {
    /// The first value that both entries write, if they mean one application.
    pub(crate) fn same_value(&self, other: &Self) -> Option<String> {
        let pairs = self.sets.iter().flat_map(|own| other.sets.iter().map(move |its| (own, its)));
        pairs.into_iter().find_map(|(own, its)| own.same_value(its))
    }

    /// What it holds, with values that `make` gives for the templates of each set.
    pub(crate) fn values<E>(
        &self,
        make: impl Fn(&Set) -> Result<OverrideValues, E>,
    ) -> Result<OverrideValues, E> {
        let made = self.sets.iter().map(|SourceSet { source, set }| {
            Ok(OverrideValues { source: source.clone(), ..make(set)? })
        });
        let mut made = made.collect::<Result<Vec<_>, E>>()?.into_iter();
        let first = made.next().unwrap_or_default();
        Ok(OverrideValues { elsewhere: made.collect(), ..first })
    }
}

#[cfg(test)]
impl App {
    /// An application of the server `main` with these Helm parameters, for tests.
    pub(crate) fn sample(name: &str, helm: &[(&str, &str)]) -> Self {
        let parameter = |(key, text): &(&str, &str)| ((*key).to_owned(), text.parse().unwrap());
        let helm = helm.iter().map(parameter).collect();
        Self {
            environment: "shop/dev".to_owned(),
            name: name.to_owned(),
            server: "main".to_owned(),
            namespace: None,
            project: None,
            sets: vec![SourceSet {
                source: SourceChoice::Auto,
                set: Set { helm, ..Set::default() },
            }],
            url: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub helm: BTreeMap<String, Template>,
    /// The names of those Helm parameters that are booleans or numbers.
    pub typed: BTreeSet<String>,
    /// Kustomize images: name in the manifests, and the reference that replaces it.
    pub kustomize: BTreeMap<String, Template>,
}

/// What of an image pins its content.
pub(super) const PINNING: [&str; 3] = ["digest", "hex", "reference"];

impl Set {
    /// The values that pin an image by its digest.
    pub(crate) fn pinning(&self) -> Self {
        let pins = |template: &Template| {
            let mut fields = template.variables().map(|it| it.rsplit('.').next().unwrap_or(it));
            fields.any(|field| PINNING.contains(&field))
        };
        let of = |values: &BTreeMap<String, Template>| {
            let pinning = values.iter().filter(|(_, template)| pins(template));
            pinning.map(|(key, template)| (key.clone(), template.clone())).collect()
        };
        // What has a digest is a text.
        Self { helm: of(&self.helm), typed: BTreeSet::new(), kustomize: of(&self.kustomize) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Suite {
    /// A line for `sh -c`.
    pub run: String,
    pub timeout: Duration,
    pub env: BTreeMap<String, String>,
    /// Variables of the job that it is given.
    pub pass: Vec<String>,
    /// The SHA-256 that the policy pins of files that it uses, by their path from the folder of the configuration.
    pub files: BTreeMap<String, Digest>,
}

/// The rules: what must hold before a release enters an environment, and whose word counts.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// What they were taken from, if that can be named for everybody: a commit, or an artifact.
    pub origin: Option<PolicyOrigin>,
    /// The rules of each environment, by its name; every environment has an entry.
    pub rules: BTreeMap<String, Rules>,
    /// Whose signatures count, and for what.
    pub ring: KeyRing,
    /// The hash of the rules, keys and pins, independent of how they were written; `None` if they could not be had. Then there
    /// are no rules, no signature counts, and nothing but breaking the glass may be done.
    pub hash: Option<Digest>,
    /// The hash of the keys and what each is trusted for; `None` as `hash`.
    pub keys_hash: Option<Digest>,
    /// Whether it says what it is about: it stands apart from what the code may change.
    pub has_pins: bool,
}

impl Policy {
    /// Rules that could not be had.
    pub(crate) fn unknown() -> Self {
        Self {
            origin: None,
            rules: BTreeMap::new(),
            ring: KeyRing::default(),
            hash: None,
            keys_hash: None,
            has_pins: false,
        }
    }

    /// Whether it is known what the rules are.
    pub(crate) fn is_known(&self) -> bool {
        self.hash.is_some()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub after: Vec<After>,
    /// The other conditions, in the order in which they are told.
    pub gates: Vec<Gate>,
    /// What rollbacks are not asked.
    pub skipped_by_rollbacks: BTreeSet<GateKind>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct After {
    pub environment: String,
    /// Whether the release must still run there.
    pub ran: Ran,
}

impl Config {
    pub(crate) fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name() == name)
    }

    /// The names of all environments, in their order.
    pub(crate) fn environment_names(&self) -> impl Iterator<Item = &str> {
        self.environments.iter().map(Environment::name)
    }

    /// What lets anybody in between read or change what is sent: a certificate that is not checked, plain HTTP to another
    /// machine.
    pub(crate) fn weaknesses(&self) -> Vec<String> {
        let servers = self.servers.values().filter_map(|Server { name, url, insecure, .. }| {
            match url.scheme() {
                "https" if *insecure => Some(format!(
                    "the certificate of Argo CD `{name}` at {url} is not checked (`insecure`): whoever answers in its place gets the token"
                )),
                "http" if !is_loopback(url) => Some(format!(
                    "Argo CD `{name}` at {url} is asked over plain HTTP: anybody in between can read the token"
                )),
                _ => None,
            }
        });
        let registries = self.registries.iter().filter(|(_, options)| options.plain_http);
        let is_elsewhere = |host: &str| {
            let url = Url::parse(&format!("http://{host}/"));
            !url.is_ok_and(|url| is_loopback(&url))
        };
        let registries = registries.filter(|(host, _)| is_elsewhere(host)).map(|(host, _)| {
            format!("the registry {host} is asked over plain HTTP (`plain_http`): anybody in between can read the login")
        });
        servers.chain(registries).collect()
    }

    /// The rules of an environment; none if it has none.
    pub(crate) fn rules(&self, environment: &str) -> Rules {
        self.policy.rules.get(environment).cloned().unwrap_or_default()
    }
}
