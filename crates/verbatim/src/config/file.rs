//! The shape of `verbatim.yaml` as it is written: what serde reads, and what the JSON Schema is made from.
//! Must not check what one part says about another; that is `check`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::gates_file::GatesFile;
use super::located::Located;
use super::pins::Pins;
use super::scalar::Scalar;
use super::shapes::{FromName, ListOr, NameOr, Period, WaveFile};

/// A project: its images, its environments, and the rules between them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "verbatim.yaml")]
pub(crate) struct File {
    /// The version of this format: 1.
    pub version: Located<u64>,
    /// The name of the product. `project/environment` is the id of an environment in the records.
    pub project: Located<String>,
    /// The images that are built and promoted, by a short name that templates use.
    pub images: BTreeMap<Located<String>, ImageFile>,
    /// The Argo CD servers, by a short name.
    #[serde(default)]
    pub argocd: BTreeMap<Located<String>, ServerFile>,
    /// How to reach a registry, by its `host` or `host:port`. Needed only for a CA or plain HTTP.
    #[serde(default)]
    pub registries: BTreeMap<Located<String>, RegistryFile>,
    /// How long a registry, Argo CD or the Docker Engine may take to answer one request. Default: 30s, for the engine
    /// 20s. A write to Argo CD, which renders the manifests first, may take four times as long, and so may fetching a
    /// policy with git.
    pub request_timeout: Option<Located<Period>>,
    /// The repository that keeps the records. Default: the repository of the image.
    pub records: Option<Located<String>>,
    /// What is written into every application, unless its environment or its own entry overrides it.
    pub set: Option<SetFile>,
    /// How applications are deployed, unless their environment overrides it.
    #[serde(default)]
    pub deploy: DeployFile,
    /// Where `gates`, `after` and `keys` come from, if not from this file.
    pub policy: Option<Located<PolicySourceFile>>,
    /// The stages, in their order.
    pub environments: Vec<EnvironmentFile>,
    /// Whose signatures count, and for what.
    #[serde(default)]
    pub keys: Vec<KeyFile>,
    /// By what the certificates of identities in `keys` are believed.
    pub trust_root: Option<Located<TrustRootFile>>,
    /// The roles for what no fixed role is needed.
    #[serde(default)]
    pub powers: PowersFile,
}

/// An image: where it is pushed, and how it is built.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageFile {
    /// The repository, for example `docker.io/example/app`.
    pub repository: Located<String>,
    /// The folder that is sent to the Docker Engine. Default: the folder of this file.
    pub context: Option<Located<String>>,
    /// The Dockerfile, relative to the context. Default: `Dockerfile`.
    pub dockerfile: Option<String>,
    /// The stage of the Dockerfile to build.
    pub target: Option<String>,
    /// The platform to build for, for example `linux/amd64`. Default: the engine's own.
    pub platform: Option<Located<String>>,
    /// Build arguments. `${build}`, `${commit}`, `${short_commit}`, `${branch}` and `${branch_slug}` are replaced.
    #[serde(default)]
    pub args: BTreeMap<String, Located<String>>,
    /// More labels; those of OCI are set automatically. The same variables are replaced.
    #[serde(default)]
    pub labels: BTreeMap<String, Located<String>>,
    /// The tag, from `${build}`, `${commit}`, `${short_commit}`, `${branch}` and `${branch_slug}`. Default: `${build}.${commit}`.
    pub tag: Option<Located<String>>,
    /// Files and folders of the context that git ignores and the build needs all the same, because a step before it makes them,
    /// for example `dist/`. Their hash goes into the build record. A build that sends anything else that git ignores counts
    /// as one of uncommitted changes.
    #[serde(default)]
    pub ignored_inputs: Vec<Located<String>>,
    /// How long a build may take. Default: 1h.
    pub build_timeout: Option<Located<Period>>,
    /// How long a push may take. Default: 30m.
    pub push_timeout: Option<Located<Period>>,
    /// How long the Docker Engine may be silent while it builds or pushes; the classic builder is silent while a step
    /// prints nothing. Default: 15m.
    pub idle_timeout: Option<Located<Period>>,
}

/// An Argo CD server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerFile {
    /// Its address, for example `https://argocd.example.com`.
    pub url: Located<String>,
    /// The variable that holds its token, `ARGOCD_…_TOKEN`. Default: `ARGOCD_AUTH_TOKEN`, else what `verbatim argocd login` stored.
    pub token_variable: Option<Located<String>>,
    /// The path below which it answers (`--rootpath` of the server).
    pub root_path: Option<String>,
    /// A file with the certificate authorities to trust, in PEM.
    pub ca: Option<String>,
    /// A file with the client certificate, in PEM.
    pub client_cert: Option<Located<String>>,
    /// A file with the key of the client certificate, in PEM.
    pub client_key: Option<Located<String>>,
    /// Which API changes applications. Argo CD's own has no locks. The one of Kubernetes refuses a change of a version that is
    /// not the newest; it needs a kubeconfig (`KUBECONFIG`, or `~/.kube/config`) with `get` and `patch` on
    /// `applications.argoproj.io`. Default: `argocd`.
    #[serde(default)]
    pub via: ViaFile,
    /// The context of the kubeconfig. Default: the current one.
    pub kube_context: Option<Located<String>>,
    /// Headers for every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Allow plain HTTP to a host other than this machine.
    #[serde(default)]
    pub plain_http: bool,
    /// Do not check the server's certificate. Anybody in between can then read the token.
    #[serde(default)]
    pub insecure: bool,
}

/// An API that changes applications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ViaFile {
    /// Argo CD's own.
    #[default]
    Argocd,
    /// The Kubernetes API of the cluster in which Argo CD keeps its applications.
    Kubernetes,
}

/// How to reach a registry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistryFile {
    /// A file with the certificate authorities to trust, in PEM.
    pub ca: Option<String>,
    /// Allow plain HTTP to a host other than this machine.
    #[serde(default)]
    pub plain_http: bool,
}

/// What is written into an application. In the values `${app.registry}`, `${app.path}`, `${app.name}`,
/// `${app.repository}`, `${app.tag}`, `${app.digest}`, `${app.hex}` (the digest without `sha256:`) and `${app.reference}` are replaced, where `app` is the name
/// of an image; it may be left out while there is only one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetFile {
    /// Helm parameters. What is written as a text is one for Helm, too; `true` and `3` are a boolean and a number.
    #[serde(default)]
    pub helm: BTreeMap<Located<String>, Located<Scalar>>,
    /// Kustomize images: the name in the manifests, and the reference that replaces it.
    #[serde(default)]
    pub kustomize: BTreeMap<Located<String>, Located<String>>,
}

/// How applications are deployed. What is not given is as in the default of all environments, and off there.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeployFile {
    /// Delete resources that are no longer in the sources.
    pub prune: Option<Located<bool>>,
    /// Accept leftover resources that are no longer in the sources.
    pub allow_unpruned: Option<Located<bool>>,
    /// Write even if an owner of the application may revert it.
    pub trust_owner: Option<Located<bool>>,
    /// Write parameters that the chart does not list.
    pub allow_unknown_parameters: Option<Located<bool>>,
    /// What to do when a rollout is paused, for example between canary steps. Default: `wait`.
    pub on_pause: Option<PauseFile>,
    /// End an operation of somebody else that holds the application, instead of waiting for its end.
    pub terminate_foreign: Option<Located<bool>>,
    /// If a sync window is closed, how long to wait for it to open before anything is decided. Default: 0s.
    pub wait_for_window: Option<Period>,
}

/// What to do with a release that is not proven.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailureFile {
    /// Leave the applications as they are.
    Keep,
    /// Put back the last promotion, and prove it.
    Restore,
}

/// What to do when a rollout is paused.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PauseFile {
    /// Wait until it continues; at the deadline the promotion is unfinished.
    Wait,
    /// Give up at once.
    Fail,
}

/// Rules from elsewhere, so that whoever changes the code does not change the rules: `file`, or `git` with `ref` and
/// `path`, or `oci`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicySourceFile {
    /// A file, relative to this one.
    pub file: Option<Located<String>>,
    /// A git repository, for example `https://git.example.com/policies.git`. git uses its own credential helpers.
    pub git: Option<Located<String>>,
    /// A branch or a tag of the git repository, or a full commit.
    #[serde(rename = "ref")]
    pub reference: Option<Located<String>>,
    /// The file in the git repository, from its root.
    pub path: Option<Located<String>>,
    /// An artifact in a registry by its digest, `repository@sha256:…`; `verbatim policy push` makes one.
    pub oci: Option<Located<String>>,
}

/// A stage: a set of applications, and what must hold before a release enters it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvironmentFile {
    /// Its name.
    pub name: Located<String>,
    /// The environments in which the release must be proven before.
    #[serde(default)]
    pub after: Vec<Located<NameOr<AfterFile>>>,
    /// Its applications: names, mappings, or all of an Argo CD project, perhaps with some labels.
    pub apps: Located<ListOr<Located<NameOr<AppFile>>, SelectorFile>>,
    /// Its address, which tests get in `VERBATIM_URL`.
    pub url: Option<Located<String>>,
    /// What is written into its applications instead of the default.
    pub set: Option<SetFile>,
    /// The conditions besides `after`.
    #[serde(default)]
    pub gates: GatesFile,
    /// The commands that test it, by suite.
    #[serde(default)]
    pub tests: BTreeMap<Located<String>, NameOr<TestFile>>,
    /// How its applications are deployed, where that is not as in the default.
    #[serde(default)]
    pub deploy: DeployFile,
    /// What to do with a release that is not proven. Default: `keep`.
    pub on_failure: Option<FailureFile>,
    /// If gates are closed that time or people may open (`soak`, `windows`, `approvals`, `tested`, `attested`, a lock), how
    /// long `verbatim promote` and `verbatim run` wait for them. Default: 0s.
    pub wait_for_gates: Option<Period>,
    /// In which waves a release goes to its applications: how many have it after each, or which part of them, such as
    /// `[1, 25%, 100%]`. The next wave begins when all of the one before are proven. Default: all at once.
    #[serde(default)]
    pub waves: Vec<Located<WaveFile>>,
    /// How long the proof must hold before it counts. Default: 0s in the first environment, 10s in others.
    pub settle: Option<Period>,
    /// How long one application may take. Default: 10m.
    pub timeout: Option<Period>,
    /// How long a pod with the new image may keep failing to start, and the application may be Degraded. Default: 1m.
    pub stuck_after: Option<Period>,
}

/// An environment that must come first.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct AfterFile {
    /// Its name.
    pub environment: String,
    /// Whether the release must still run there. Default: `running`.
    #[serde(default)]
    pub ran: Ran,
}

/// How far an earlier promotion counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ran {
    /// It is the last one of that environment.
    #[default]
    Running,
    /// It happened, whatever came after it.
    Ever,
}

impl FromName for AfterFile {
    const EXPECTED: &'static str = "the name of an environment, or a mapping with `environment`";

    fn try_from_name(name: String) -> Option<Self> {
        Some(Self { environment: name, ran: Ran::default() })
    }
}

/// An application.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppFile {
    /// Its name.
    pub name: String,
    /// Its server. Needed if there are several.
    pub server: Option<Located<String>>,
    /// Its namespace, if Argo CD allows applications outside its own.
    pub namespace: Option<String>,
    /// Its Argo CD project. Naming it lets verbatim tell a missing application from a forbidden one.
    pub project: Option<String>,
    /// Which of several sources to override: its name, or its position from 1.
    pub source: Option<Located<String>>,
    /// What is written into it instead.
    pub set: Option<SetFile>,
    /// What is written into each of several sources, in the place of `source` and `set`.
    #[serde(default)]
    pub sources: Vec<SourceSetFile>,
    /// Its address, which tests get in `VERBATIM_URLS`.
    pub url: Option<Located<String>>,
}

/// What is written into one of several sources of an application.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceSetFile {
    /// The source: its name, or its position from 1.
    pub source: Located<String>,
    /// What is written into it.
    pub set: SetFile,
}

impl FromName for AppFile {
    const EXPECTED: &'static str = "the name of an application, or a mapping with `name`";

    fn try_from_name(name: String) -> Option<Self> {
        Some(Self {
            name,
            server: None,
            namespace: None,
            project: None,
            source: None,
            set: None,
            sources: Vec::new(),
            url: None,
        })
    }
}

/// All applications of an Argo CD project, or those of it that carry some labels.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SelectorFile {
    /// Their Argo CD project. Required: whoever may label any application could otherwise bring it in.
    pub project: Option<Located<String>>,
    /// A label selector, for example `team=web,env=production`. Default: all applications of the project.
    pub selector: Option<Located<String>>,
    /// Their server. Needed if there are several.
    pub server: Option<Located<String>>,
    /// Their servers, if they are on several: each has some of them.
    #[serde(default)]
    pub servers: Vec<Located<String>>,
    /// Their namespace, if Argo CD allows applications outside its own. Default: all that Argo CD looks after.
    pub namespace: Option<String>,
}

/// A command that tests an environment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestFile {
    /// A line for `sh -c`, run in the folder of this file.
    pub run: String,
    /// How long it may take. Default: 10m.
    pub timeout: Option<Period>,
    /// Variables for it, besides those of `verbatim test`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables of the job that it is given, too. Without, it has those that every program needs, and no secret.
    #[serde(default)]
    pub pass: Vec<Located<String>>,
}

impl FromName for TestFile {
    const EXPECTED: &'static str = "a command line, or a mapping with `run`";

    fn try_from_name(name: String) -> Option<Self> {
        Some(Self { run: name, timeout: None, env: BTreeMap::new(), pass: Vec::new() })
    }
}

/// A trust root of Sigstore: its certificate authorities, logs and timestamp authorities. Nothing else is believed, and
/// nothing is fetched.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustRootFile {
    /// The `trusted_root.json`, relative to this file.
    pub file: Option<Located<String>>,
    /// Its content, instead of `file`.
    pub json: Option<Located<String>>,
}

/// Who signs with a certificate of a few minutes, which says who they are: a workflow, or a person. A certificate must say
/// all of this.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityFile {
    /// The identity provider, such as `https://token.actions.githubusercontent.com`.
    pub issuer: Located<String>,
    /// What it calls them: a mail address, or the whole URI of a workload.
    pub subject: Option<Located<String>>,
    /// Instead of `subject`: the URI of a workflow without the `@…`, such as
    /// `https://github.com/acme/shop/.github/workflows/release.yml`.
    pub workflow: Option<Located<String>>,
    /// The repository that it must have run for. Default: that of the workflow. One that others may call runs for theirs.
    pub repository: Option<Located<String>>,
    /// The git reference that it must have run for, such as `refs/heads/main`; `*` is any text. Default: any.
    #[serde(rename = "ref")]
    pub reference: Option<Located<String>>,
    /// What must have started it, such as `push`. Default: anything.
    pub event: Option<Located<String>>,
}

/// A public key, or an identity in its place, and what its signatures count for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFile {
    /// Its name in messages.
    pub name: Located<String>,
    /// The file with the public key (P-256, PEM), relative to this one.
    pub file: Option<Located<String>>,
    /// The public key itself, instead of `file`.
    pub pem: Option<Located<String>>,
    /// Instead of a key: who signs with a certificate, believed by `trust_root`.
    pub identity: Option<Located<IdentityFile>>,
    /// What it may sign: `builder`, `tester`, `promoter`, or a role you define for approvals.
    pub roles: Vec<Located<String>>,
    /// The names under which its owner starts CI runs and commits, for `not_author`. Keys that share a name are of one
    /// person, and one approval.
    #[serde(default)]
    pub actors: Vec<String>,
    /// The environments that its records may be about. Default: all. How a release was built is about none.
    pub environments: Option<Vec<Located<String>>>,
    /// The projects that its records may belong to. Default: all.
    pub projects: Option<Vec<Located<String>>>,
    /// The test suites that its records may be about. Default: all.
    pub suites: Option<Vec<Located<String>>>,
    /// When its life begins, such as `2026-12-01T00:00:00Z`. Earlier records do not count.
    pub not_before: Option<Located<String>>,
    /// When its life ends as planned. Later records do not count, and earlier ones only if a record of another key from
    /// before the end names them.
    pub not_after: Option<Located<String>>,
    /// Since when somebody else may have it. Otherwise as `not_after`.
    pub revoked_at: Option<Located<String>>,
}

/// The roles for what no fixed role is needed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PowersFile {
    /// Keep a release out of environments. Default: `promoter` and all roles you define.
    pub veto: Option<Vec<Located<String>>>,
    /// Keep every release out of an environment. Default: `promoter` and all roles you define.
    pub lock: Option<Vec<Located<String>>>,
    /// Lift the vetoes and locks of others. Default: all roles you define.
    pub lift: Option<Vec<Located<String>>>,
    /// Override a gate that refuses, with `--override-gate`. Default: `break-glass`.
    pub override_gate: Option<Vec<Located<String>>>,
}

/// The rules alone, for a file of their own (`policy: …`), and what they are about.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    /// The version of this format: 1.
    pub version: Located<u64>,
    /// What the rules are about. Required; an option, so that its lack has a message of its own.
    pub pins: Option<Pins>,
    /// The rules of each environment.
    #[serde(default)]
    pub environments: BTreeMap<Located<String>, RulesFile>,
    /// Whose signatures count, and for what.
    #[serde(default)]
    pub keys: Vec<KeyFile>,
    /// By what the certificates of identities in `keys` are believed.
    pub trust_root: Option<Located<TrustRootFile>>,
    /// The roles for what no fixed role is needed.
    #[serde(default)]
    pub powers: PowersFile,
}

/// The rules of one environment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesFile {
    /// The environments in which the release must be proven before.
    #[serde(default)]
    pub after: Vec<Located<NameOr<AfterFile>>>,
    /// The conditions besides `after`.
    #[serde(default)]
    pub gates: GatesFile,
}
