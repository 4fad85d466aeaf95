//! From the command line, the configuration file and the environment to what a command works with. The only
//! file of this crate that reads environment variables. Must not do what a command does.

pub(crate) mod child;
pub(crate) mod clients;
pub(crate) mod clock;
pub(crate) mod failures;
pub(crate) mod files;
pub(crate) mod git;
pub(crate) mod signer;
mod tree;
mod variables;
pub(crate) mod withheld;

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use verbatim_ci::CiContext;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::SecretString;
use verbatim_record::{
    CiRun, EnvironmentId, KeyError, KeyId, KeyRing, OutOfScope, Power, Role, SigningKey, TrustedKey,
};

pub(crate) use self::variables::Variables;
use crate::config::{self, Config, ConfigError, Draft, PolicySource};
use crate::project::signer::{RecordSigner, SigningError};

/// Holds the private key itself.
pub(crate) const KEY: &str = "VERBATIM_KEY";

/// The variables of the command line whose empty value is not the same as none: whoever sets that of the policy does not mean
/// the rules of the checkout.
pub const KEPT_VARIABLES: &[&str] = &["VERBATIM_POLICY"];

/// Those of this job, with the secrets that were handed over.
pub(crate) fn variables() -> Variables {
    let mut variables = of_process();
    for (name, value) in withheld::handed_over().iter() {
        variables.insert(name.clone(), value.clone());
    }
    variables
}

/// Those that this process began with.
fn of_process() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Which project.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Project")]
pub(crate) struct ProjectArgs {
    /// The configuration file [default: verbatim.yaml in this folder or above, up to the root of the git repository]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "VERBATIM_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// Where the rules are, as `policy` in verbatim.yaml says it: a file, or `{ git: URL, ref: REF, path: FILE }`, or
    /// `{ oci: REPOSITORY@DIGEST }`. verbatim.yaml may then name no other policy, and no rules
    #[arg(
        long,
        global = true,
        value_name = "POLICY",
        env = "VERBATIM_POLICY",
        hide_env_values = true
    )]
    pub policy: Option<String>,
}

/// A private key.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyFileArgs {
    /// The private key, as PEM; or put the key itself into VERBATIM_KEY. COSIGN_PASSWORD opens a cosign key file
    #[arg(long, value_name = "FILE", env = "VERBATIM_KEY_FILE", hide_env_values = true)]
    pub key: Option<PathBuf>,
}

/// Who signs records.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    pub file: KeyFileArgs,
    /// A command that signs instead of a key: for a key management service, a hardware token or an agent. It gets the
    /// bytes on stdin and their SHA-256 in VERBATIM_SHA256 and VERBATIM_SHA256_BASE64, and prints the signature
    #[arg(
        long,
        value_name = "COMMAND",
        env = "VERBATIM_SIGNER",
        hide_env_values = true,
        conflicts_with = "key"
    )]
    pub signer: Option<String>,
}

/// A project with everything around it.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// The configuration.
    pub config: Config,
    /// The environment variables.
    pub variables: Variables,
    /// The CI job that this is part of.
    pub ci: CiContext,
}

impl Project {
    /// A project with its configuration and the environment that it is worked on in.
    pub(crate) fn new(config: Config, variables: Variables) -> Self {
        let ci = ci(&variables);
        Self { config, variables, ci }
    }

    /// The CI run, as records name it.
    pub(crate) fn run(&self) -> CiRun {
        let ci = &self.ci;
        CiRun {
            project: Some(self.config.project.clone()),
            ci: ci.is_ci().then(|| ci.kind.name().to_owned()),
            pipeline: ci.pipeline.clone(),
            number: ci.number,
            url: ci.run_url.clone(),
            actor: actor(ci, &self.variables),
        }
    }

    /// The folder for what verbatim itself keeps; not for the repository.
    pub(crate) fn state_folder(&self) -> PathBuf {
        self.config.root.join(".verbatim")
    }

    /// The folder that git is asked about. A configuration named without a folder lies in the working folder.
    pub(crate) fn folder(&self) -> &Path {
        match self.config.root.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.config.root,
        }
    }

    /// Whether it is said anywhere who signs.
    pub(crate) fn is_given_a_key(&self, arguments: &KeyArgs) -> bool {
        let in_variable = self.variables.get(KEY).is_some_and(|pem| !pem.trim().is_empty());
        in_variable || arguments.signer.is_some() || arguments.file.key.is_some()
    }

    /// Who signs, checked to have a key whose records count for these roles.
    pub(crate) async fn signer(
        &self,
        arguments: &KeyArgs,
        roles: &[Role],
        console: &Console,
    ) -> Result<RecordSigner, Failure> {
        let ring = &self.config.policy.ring;
        let key = match &arguments.signer {
            None => RecordSigner::Key(
                signing_key(&arguments.file, &self.variables)?,
                arguments.file.key.clone(),
            ),
            Some(_) if self.variables.get(KEY).is_some_and(|pem| !pem.trim().is_empty()) => {
                return Err(Failure::usage("both a signing command and VERBATIM_KEY are given")
                    .hint("unset one of them"));
            }
            Some(line) => signing_command(line, ring).await?,
        };
        if let Some(file) = key.file()
            && let Some(mode) = others_may_read(file)
        {
            let file = file.display();
            console.warn(format!(
                "other users may read the private key {file} (mode {mode:04o}): chmod 600 {file}"
            ));
        }
        if !self.config.policy.is_known() {
            console.warn("without a policy, verbatim cannot tell whether the record will count");
            return Ok(key);
        }
        if ring.is_empty() {
            console.warn("no `keys` are configured: records are written, but none counts");
            return Ok(key);
        }
        let id = key.verifying_key().id();
        let Some(trusted) = ring.find(&id) else {
            return Err(Failure::usage(format!(
                "the signing key {id} is not among `keys`: its records would not count"
            ))
            .hint("add its public key to `keys`; `verbatim key public` prints it"));
        };
        is_alive(trusted, Timestamp::now())?;
        trusted
            .scope
            .check_project(Some(&self.config.project))
            .map_err(|what| out_of_scope(trusted, what))?;
        match roles.iter().find(|role| !trusted.roles.contains(role)) {
            None => Ok(key),
            Some(role) => Err(Failure::usage(format!(
                "the signing key `{}` does not have the role `{role}`: this record would not count",
                trusted.name
            ))
            .hint(format!("add `{role}` to its `roles`, or use another key"))),
        }
    }
}

/// Who started what runs here. On a laptop that is whoever sits there. A job of a CI that does not say it, as one of Travis,
/// runs as an account of the machine, which is nobody: everybody's jobs run as that.
fn actor(ci: &CiContext, variables: &Variables) -> Option<String> {
    let user = || variables.get("USER").filter(|name| !name.is_empty()).cloned();
    ci.actor.clone().or_else(|| user().filter(|_| !ci.is_ci()))
}

/// The mode of a file that others than its owner may read or write.
#[cfg(unix)]
fn others_may_read(file: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

/// On other systems the folder of the user protects it.
#[cfg(not(unix))]
fn others_may_read(_: &Path) -> Option<u32> {
    None
}

impl Project {
    /// Whether the key of a signer has a power; without configured keys nothing counts, and nothing is checked.
    pub(crate) fn has_power(&self, key: &RecordSigner, power: Power) -> bool {
        let ring = &self.config.policy.ring;
        let trusted = ring.find(&key.verifying_key().id());
        trusted.is_none_or(|trusted| ring.has_power(&trusted.roles, power))
    }

    /// Checks that records of a key about an environment count; `None` for all environments. Without configured keys nothing
    /// counts, and nothing is checked.
    pub(crate) fn speaks_for(
        &self,
        key: &KeyId,
        environment: Option<&EnvironmentId>,
    ) -> Result<(), Failure> {
        let Some(trusted) = self.config.policy.ring.find(key) else { return Ok(()) };
        let checked = trusted.scope.check_environment(environment.map(EnvironmentId::name));
        checked.map_err(|what| out_of_scope(trusted, what))
    }

    /// Checks that records of a key about these suites count.
    pub(crate) fn speaks_for_suites<'a>(
        &self,
        key: &KeyId,
        suites: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let Some(trusted) = self.config.policy.ring.find(key) else { return Ok(()) };
        trusted.scope.check_suites(suites).map_err(|what| out_of_scope(trusted, what))
    }

    /// Whether the key of a signer has a role.
    pub(crate) fn has_role(&self, key: &RecordSigner, role: &Role) -> bool {
        let trusted = self.config.policy.ring.find(&key.verifying_key().id());
        trusted.is_some_and(|trusted| trusted.roles.contains(role))
    }

    /// Checks that the records of a signer count. `what` they are, in the plural.
    pub(crate) fn may(&self, key: &RecordSigner, power: Power, what: &str) -> Result<(), Failure> {
        if self.has_power(key, power) {
            return Ok(());
        }
        let roles: Vec<_> =
            self.config.policy.ring.roles(power).map(|role| format!("`{role}`")).collect();
        let failure = Failure::usage(format!("the {what} of the signing key would not count"));
        Err(match roles.is_empty() {
            true => failure.hint("no role has that power; `powers` in the policy grants it"),
            false => failure.hint(format!("it needs one of the roles {}", roles.join(", "))),
        })
    }
}

/// Checks that records of a key count now. Whoever signs with a key that has ended learns it before anything is done.
fn is_alive(trusted: &TrustedKey, now: Timestamp) -> Result<(), Failure> {
    let name = &trusted.name;
    if let Some(first) = trusted.life.not_before.filter(|first| now < *first) {
        let why = format!(
            "the signing key `{name}` counts from {first:.0} on; this record would not count"
        );
        return Err(Failure::usage(why).hint("until then use another key"));
    }
    match trusted.life.ended(now) {
        None => Ok(()),
        Some(end) => {
            let why = format!("the signing key `{name}` is {end}: this record would not count");
            Err(Failure::usage(why).hint("use the key that took over from it"))
        }
    }
}

fn out_of_scope(trusted: &TrustedKey, what: OutOfScope) -> Failure {
    let name = &trusted.name;
    Failure::usage(what)
        .context(format!("this record of the signing key `{name}` would not count"))
        .hint(format!("use another key, or change what `{name}` in `keys` may speak of"))
}

/// The configuration that is named, or found.
pub(crate) fn draft(arguments: &ProjectArgs) -> Result<Draft, Failure> {
    Draft::load(&config_file(arguments)?, outside(arguments)?.as_ref()).map_err(config_failure)
}

/// The same without the rules that stand in it where none may stand. `None`: it names no others.
pub(crate) fn draft_of_named_rules(arguments: &ProjectArgs) -> Result<Option<Draft>, Failure> {
    let (file, outside) = (config_file(arguments)?, outside(arguments)?);
    Draft::load_of_named_rules(&file, outside.as_ref()).map_err(config_failure)
}

/// The rules that the job names. An empty variable is a mistake: whoever sets it does not mean the rules of the checkout.
fn outside(arguments: &ProjectArgs) -> Result<Option<PolicySource>, Failure> {
    arguments.policy.as_deref().map(PolicySource::named).transpose().map_err(|error| {
        Failure::usage(error).context("cannot use the policy of --policy or VERBATIM_POLICY")
    })
}

/// The file of the configuration that is named, or found.
pub(crate) fn config_file(arguments: &ProjectArgs) -> Result<PathBuf, Failure> {
    let file = match &arguments.config {
        Some(file) => file.clone(),
        None => config::find(&working_folder()?).map_err(config_failure)?,
    };
    Ok(shortened(&file))
}

/// The CI job that this is part of.
pub(crate) fn ci(variables: &Variables) -> CiContext {
    with_event(verbatim_ci::detect(variables), variables)
}

/// Adds what GitHub tells of a pull request in a file only. A file that cannot be read tells nothing, and then the pull
/// request may be anybody's.
fn with_event(ci: CiContext, variables: &Variables) -> CiContext {
    let Some(path) = variables.get("GITHUB_EVENT_PATH").filter(|_| ci.pull_request.is_some())
    else {
        return ci;
    };
    match std::fs::read(path) {
        Ok(payload) => ci.with_github_event(&payload),
        Err(error) => {
            tracing::debug!(path, %error, "cannot read the event of GitHub");
            ci
        }
    }
}

/// A command that signs, checked to have a key of the ring.
pub(crate) async fn signing_command(line: &str, ring: &KeyRing) -> Result<RecordSigner, Failure> {
    RecordSigner::command(line, ring).await.map_err(|error| {
        let unknown = matches!(error, SigningError::NoSignature(_));
        let failure = Failure::new(ExitStatus::Refused, error)
            .context("cannot use the signing command");
        match unknown {
            true => failure
                .hint("add its public key to `keys`")
                .hint("it must print an ECDSA P-256 signature over SHA-256 of its stdin, and nothing else"),
            false => failure,
        }
    })
}

/// Reads the private key from the file that is named, or from `VERBATIM_KEY`.
pub(crate) fn signing_key(
    arguments: &KeyFileArgs,
    variables: &Variables,
) -> Result<SigningKey, Failure> {
    let (pem, place) =
        match (&arguments.key, variables.get(KEY).filter(|pem| !pem.trim().is_empty())) {
            (Some(file), _) => {
                let pem = std::fs::read_to_string(file).map_err(|error| {
                    Failure::usage(error).context(format!("cannot read the key {}", file.display()))
                })?;
                (pem, file.display().to_string())
            }
            (None, Some(pem)) => (pem.clone(), KEY.to_owned()),
            (None, None) => {
                return Err(Failure::usage("no key to sign the record with")
                .hint(
                    "name a file with --key or VERBATIM_KEY_FILE, or put the key into VERBATIM_KEY",
                )
                .hint("or name a signing command with --signer or VERBATIM_SIGNER")
                .hint("to make one: verbatim key generate"));
            }
        };
    // An empty password is one: cosign takes it too.
    let password = variables.get("COSIGN_PASSWORD").map(|text| SecretString::from(text.as_str()));
    SigningKey::from_pem_with(&pem, password.as_ref()).map_err(|error| {
        let hint = match error {
            // Secrets of the type "file" are the path of one.
            KeyError::NotPem if place == KEY && Path::new(pem.trim()).exists() => {
                Some("VERBATIM_KEY holds the path of a file; put it into VERBATIM_KEY_FILE")
            }
            KeyError::PasswordNeeded => Some("put its password into COSIGN_PASSWORD"),
            KeyError::Password => Some("the password is taken from COSIGN_PASSWORD"),
            KeyError::NotP256 => {
                Some("`verbatim key generate` makes a key that can be used, also by cosign")
            }
            _ => None,
        };
        let failure = Failure::usage(error).context(format!("cannot use the key in {place}"));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// The failure for a configuration that is not there or not right.
pub(crate) fn config_failure(error: ConfigError) -> Failure {
    match error {
        ConfigError::NotFound(_) => Failure::usage(error)
            .hint("name a file with --config or VERBATIM_CONFIG")
            .hint("or write one: verbatim init dev=APP, where APP is an application in Argo CD"),
        other => Failure::usage(other),
    }
}

fn working_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::new(ExitStatus::Usage, error).context("cannot tell the working folder")
    })
}

/// A path below the working folder without that folder: people read it.
fn shortened(path: &Path) -> PathBuf {
    let short = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    short.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use verbatim_credentials::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_account_of_a_ci_is_nobody() {
        let pairs = |pairs: &[(&str, &str)]| -> Variables {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let user = ("USER", "anna");
        for (variables, want) in [
            (pairs(&[user]), Some("anna")),
            (pairs(&[("USER", "")]), None),
            (pairs(&[user, ("TRAVIS", "true")]), None),
            (pairs(&[user, ("GITHUB_ACTIONS", "true"), ("GITHUB_ACTOR", "ben")]), Some("ben")),
            (pairs(&[user, ("GITHUB_ACTIONS", "true")]), None),
        ] {
            assert_eq!(actor(&ci(&variables), &variables).as_deref(), want, "{variables:?}");
        }
    }

    #[test]
    fn the_event_of_github_tells_whose_pull_request_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("event.json");
        let event = |head: &str| {
            format!(
                r#"{{"pull_request":{{"number":7,"head":{{"sha":"aaaa","repo":{{"full_name":"{head}"}}}},"base":{{"repo":{{"full_name":"acme/shop"}}}}}}}}"#
            )
        };
        let variables = |name: &str| -> Variables {
            let given = [
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", name),
                ("GITHUB_EVENT_PATH", file.to_str().unwrap()),
                ("GITHUB_HEAD_REF", if name == "push" { "" } else { "patch-1" }),
                (
                    "GITHUB_REF",
                    if name == "push" { "refs/heads/main" } else { "refs/pull/7/merge" },
                ),
                ("GITHUB_SHA", "ffff"),
            ];
            given.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect()
        };
        let cases = [
            ("push", Some(event("mallory/shop")), Some("ffff"), false),
            ("pull_request", Some(event("acme/shop")), Some("aaaa"), false),
            ("pull_request", Some(event("mallory/shop")), Some("aaaa"), true),
            ("pull_request", Some("no JSON".to_owned()), Some("ffff"), true),
            ("pull_request", None, Some("ffff"), true),
        ];
        for (name, payload, revision, foreign) in cases {
            let _ = std::fs::remove_file(&file);
            if let Some(payload) = &payload {
                std::fs::write(&file, payload).unwrap();
            }
            let variables = variables(name);
            let ci = with_event(verbatim_ci::detect(&variables), &variables);
            assert_eq!(
                (ci.revision(), ci.may_be_foreign()),
                (revision, foreign),
                "{name} {payload:?}"
            );
        }
    }

    #[test]
    fn a_key_comes_from_a_file_or_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        let made = SigningKey::generate(|bytes| {
            bytes.fill(7);
            Ok::<_, std::convert::Infallible>(())
        });
        let made = made.unwrap();
        let pem = made.to_pkcs8_pem().unwrap();
        let pem = pem.expose_secret();
        std::fs::write(&file, pem).unwrap();
        let one_line = pem.replace('\n', "\\n");
        let variable =
            |value: &str| Variables::from_iter([("VERBATIM_KEY".to_owned(), value.to_owned())]);
        let cases: [(Option<&Path>, Variables, Result<(), &str>); 7] = [
            (Some(&file), variable("not looked at"), Ok(())),
            (None, variable(pem), Ok(())),
            (None, variable(&one_line), Ok(())),
            (None, variable(" "), Err("no key to sign the record with")),
            (None, Variables::default(), Err("no key to sign the record with")),
            (None, variable("secret"), Err("cannot use the key in VERBATIM_KEY")),
            (
                Some(Path::new("/nowhere/key")),
                variable(pem),
                Err("cannot read the key /nowhere/key"),
            ),
        ];
        for (file, variables, want) in cases {
            let arguments = KeyFileArgs { key: file.map(Path::to_owned) };
            let got = signing_key(&arguments, &variables);
            match (got, want) {
                (Ok(key), Ok(())) => assert_eq!(key.verifying_key(), made.verifying_key()),
                (Err(failure), Err(want)) => assert_eq!(failure.to_string(), want),
                (got, want) => panic!("{got:?}, want {want:?}"),
            }
        }
    }
}
