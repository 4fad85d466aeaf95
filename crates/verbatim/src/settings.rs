//! From the command line, the configuration file and the environment to what a command works with. The only
//! file of this crate that reads environment variables. Must not do what a command does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use verbatim_ci::CiContext;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::{Role, Run, SigningKey};

use crate::config::{self, Config, ConfigError};

/// The environment variables, by name. Values that are not UTF-8 are left out: none that is read here may be one.
pub(crate) type Variables = BTreeMap<String, String>;

/// Reads the environment, once.
pub(crate) fn variables() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Which project.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Project")]
pub(crate) struct ProjectArgs {
    /// The configuration [default: verbatim.yaml, here or in a folder above, as far as the git repository goes]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "VERBATIM_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
}

/// The key that signs records.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyArgs {
    /// The private key that signs the record, in PEM; or put the key itself into VERBATIM_KEY
    #[arg(long, value_name = "FILE", env = "VERBATIM_KEY_FILE", hide_env_values = true)]
    pub key: Option<PathBuf>,
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
    /// Finds and reads the configuration.
    ///
    /// # Errors
    /// There is none, or it has mistakes: a failure of the user's, with the lines.
    pub(crate) fn load(arguments: &ProjectArgs) -> Result<Self, Failure> {
        let file = match &arguments.config {
            Some(file) => file.clone(),
            None => config::find(&working_folder()?).map_err(config_failure)?,
        };
        let config = config::load(&shortened(&file)).map_err(config_failure)?;
        let variables = variables();
        let ci = verbatim_ci::detect(&variables);
        Ok(Self { config, variables, ci })
    }

    /// The CI run, as records name it. On a laptop there is only whoever sits there.
    pub(crate) fn run(&self) -> Run {
        let ci = &self.ci;
        let user = || self.variables.get("USER").filter(|name| !name.is_empty()).cloned();
        Run {
            ci: ci.is_ci().then(|| ci.kind.name().to_owned()),
            pipeline: ci.pipeline.clone(),
            number: ci.number,
            url: ci.run_url.clone(),
            actor: ci.actor.clone().or_else(user),
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

    /// The key that signs, checked to be one whose records count for these roles.
    ///
    /// # Errors
    /// No key, a wrong one, or one that the policy does not trust that far. All before anything is written.
    pub(crate) fn signing_key(
        &self,
        arguments: &KeyArgs,
        roles: &[Role],
        console: &Console,
    ) -> Result<SigningKey, Failure> {
        let key = signing_key(arguments, &self.variables)?;
        let ring = &self.config.policy.ring;
        if ring.is_empty() {
            console
                .warn("no `keys` are configured: records are written, and none of them will count");
            return Ok(key);
        }
        let id = key.verifying_key().id();
        let Some(trusted) = ring.find(&id) else {
            return Err(Failure::usage(format!(
                "the signing key {id} is not among `keys`: its records would not count"
            ))
            .hint("add its public half to `keys`; `verbatim key public` prints it"));
        };
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

/// Reads the private key from the file that is named, or from `VERBATIM_KEY`.
///
/// # Errors
/// No key is given, or it is none.
pub(crate) fn signing_key(
    arguments: &KeyArgs,
    variables: &Variables,
) -> Result<SigningKey, Failure> {
    let (pem, place) = match (
        &arguments.key,
        variables.get("VERBATIM_KEY").filter(|pem| !pem.trim().is_empty()),
    ) {
        (Some(file), _) => {
            let pem = std::fs::read_to_string(file).map_err(|error| {
                Failure::usage(error).context(format!("cannot read the key {}", file.display()))
            })?;
            (pem, file.display().to_string())
        }
        // Some CI systems keep secrets on one line.
        (None, Some(pem)) => (pem.replace("\\n", "\n"), "VERBATIM_KEY".to_owned()),
        (None, None) => {
            return Err(Failure::usage("no key to sign the record with")
                .hint(
                    "name a file with --key or VERBATIM_KEY_FILE, or put the key into VERBATIM_KEY",
                )
                .hint("`verbatim key generate` makes one"));
        }
    };
    SigningKey::from_pem(&pem)
        .map_err(|error| Failure::usage(error).context(format!("cannot use the key in {place}")))
}

/// The failure for a configuration that is not there or not right.
pub(crate) fn config_failure(error: ConfigError) -> Failure {
    match error {
        ConfigError::NotFound(_) => Failure::usage(error)
            .hint("name one with --config or VERBATIM_CONFIG, or write one: docs/configuration.md has an example"),
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
            |value: &str| Variables::from([("VERBATIM_KEY".to_owned(), value.to_owned())]);
        let cases: [(Option<&Path>, Variables, Result<(), &str>); 7] = [
            (Some(&file), variable("not looked at"), Ok(())),
            (None, variable(pem), Ok(())),
            (None, variable(&one_line), Ok(())),
            (None, variable(" "), Err("no key to sign the record with")),
            (None, Variables::new(), Err("no key to sign the record with")),
            (None, variable("secret"), Err("cannot use the key in VERBATIM_KEY")),
            (
                Some(Path::new("/nowhere/key")),
                variable(pem),
                Err("cannot read the key /nowhere/key"),
            ),
        ];
        for (file, variables, want) in cases {
            let arguments = KeyArgs { key: file.map(Path::to_owned) };
            let got = signing_key(&arguments, &variables);
            match (got, want) {
                (Ok(key), Ok(())) => assert_eq!(key.verifying_key(), made.verifying_key()),
                (Err(failure), Err(want)) => assert_eq!(failure.to_string(), want),
                (got, want) => panic!("{got:?}, want {want:?}"),
            }
        }
    }
}
