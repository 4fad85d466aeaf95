//! The sources of registry credentials, in order: the first one with a credential for a registry wins.
//!
//! Reads files and runs helpers only for a look-up. It does not talk to registries.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;

use super::docker_config::{CredentialPlace, DockerConfig};
use super::helper;
use crate::{Credential, CredentialEnvironment, Error, ErrorKind, FoundLogin};

impl CredentialPlace {
    fn origin(&self, from: &ConfigOrigin) -> String {
        match self {
            Self::Entry { key, .. } => format!("{from}, key `{key}`"),
            Self::Helper { name, .. } => {
                format!("`docker-credential-{name}`, which {from} names")
            }
        }
    }
}

/// How long a credential helper may take: some of them ask a cloud, or a person with a security key.
const HELPER_DEADLINE: Duration = Duration::from_secs(30);

/// Where the credentials of registries come from. Cheap to clone; clones share the files that were read.
#[derive(Clone, Debug)]
pub struct Keychain {
    sources: Arc<[CredentialSource]>,
    helper_deadline: Duration,
}

#[derive(Debug)]
enum CredentialSource {
    Fixed { registry: String, credential: Credential },
    Config { from: ConfigOrigin, parsed: OnceCell<DockerConfig> },
}

enum ConfigOrigin {
    Variable { name: &'static str, content: SecretString },
    File(PathBuf),
}

impl Keychain {
    /// No credentials at all.
    pub fn anonymous() -> Self {
        Self::new([])
    }

    /// One credential for one registry, named as in references (`docker.io`, `localhost:5000`); and none for every
    /// other registry.
    pub fn fixed(registry: impl Into<String>, credential: Credential) -> Self {
        Self::new([CredentialSource::Fixed { registry: registry.into(), credential }])
    }

    /// The sources that Docker and Podman use, in this order: the content of `DOCKER_AUTH_CONFIG`, the file that
    /// `REGISTRY_AUTH_FILE` names, Docker's `config.json`, Podman's `auth.json` of this session and of this user.
    ///
    /// Reads nothing yet. Files that do not exist are skipped.
    pub fn from_environment(environment: &CredentialEnvironment) -> Self {
        let content = environment.docker_auth_config.clone();
        let variable =
            content.map(|content| ConfigOrigin::Variable { name: "DOCKER_AUTH_CONFIG", content });
        let podman = |folder: PathBuf| folder.join("containers").join("auth.json");
        let files = [
            environment.registry_auth_file.clone(),
            environment.docker_config_file(),
            environment.xdg_runtime_dir.clone().map(podman),
            environment.config_home().map(podman),
        ];
        let origins =
            variable.into_iter().chain(files.into_iter().flatten().map(ConfigOrigin::File));
        Self::new(origins.map(|from| CredentialSource::Config { from, parsed: OnceCell::new() }))
    }

    /// Reads one file in Docker's format, and nothing else.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        let from = ConfigOrigin::File(path.into());
        Self::new([CredentialSource::Config { from, parsed: OnceCell::new() }])
    }

    /// Changes the deadline for credential helpers from the default of 30 s.
    pub fn with_helper_deadline(self, helper_deadline: Duration) -> Self {
        Self { helper_deadline, ..self }
    }

    fn new(sources: impl IntoIterator<Item = CredentialSource>) -> Self {
        Self { sources: sources.into_iter().collect(), helper_deadline: HELPER_DEADLINE }
    }

    /// The credential for the repository `path` in `registry`, [`Credential::Anonymous`] if no source has one.
    ///
    /// # Errors
    ///
    /// As [`Keychain::find`], and if the only place that is meant to have one cannot be used.
    pub async fn lookup(&self, registry: &str, path: &str) -> Result<Credential, Error> {
        let found = self.find(registry, path).await?;
        match found.unusable {
            Some(error) => Err(error),
            None => Ok(found.credential),
        }
    }

    /// The login for the repository `path` in `registry`. Helpers run again each time, because their credentials expire.
    ///
    /// # Errors
    ///
    /// If a source exists but cannot be read, or a helper fails. An error is never treated as "no credential": the
    /// request would fail later, for a reason that hides this one. A place that can have no credential is no error, but is
    /// named in the result: config files are copied to machines without the helper.
    pub async fn find(&self, registry: &str, path: &str) -> Result<FoundLogin, Error> {
        let mut unusable = None;
        for source in self.sources.iter() {
            let (from, parsed) = match source {
                CredentialSource::Fixed { registry: host, credential } if host == registry => {
                    let credential = credential.clone();
                    return Ok(FoundLogin { credential, origin: None, unusable: None });
                }
                CredentialSource::Fixed { .. } => continue,
                CredentialSource::Config { from, parsed } => (from, parsed),
            };
            let config = parsed.get_or_try_init(|| read(from)).await?;
            for place in config.places(registry, path) {
                let origin = place.origin(from);
                match self.look(from, place).await {
                    Ok(Some(credential)) => {
                        return Ok(FoundLogin { credential, origin: Some(origin), unusable: None });
                    }
                    Ok(None) => {}
                    Err(error) if error.is_never_there() => unusable = unusable.or(Some(error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(FoundLogin { credential: Credential::Anonymous, origin: None, unusable })
    }

    async fn look(
        &self,
        from: &ConfigOrigin,
        place: CredentialPlace,
    ) -> Result<Option<Credential>, Error> {
        match place {
            CredentialPlace::Entry { key, credential } => match credential {
                Ok(credential) => Ok(Some(credential)),
                Err(kind) => Err(Error::new(format_args!("{from}, key `{key}`"), kind)),
            },
            CredentialPlace::Helper { name, server } => {
                helper::get(&name, &server, self.helper_deadline).await.map_err(|kind| {
                    Error::new(format_args!("the helper that {from} names for `{server}`"), kind)
                })
            }
        }
    }

    /// The registries in the sources, named as in references. A store for all registries (`credsStore`) names none.
    ///
    /// # Errors
    ///
    /// If a source exists but cannot be read.
    pub async fn registries(&self) -> Result<BTreeSet<String>, Error> {
        let mut registries = BTreeSet::new();
        for source in self.sources.iter() {
            match source {
                CredentialSource::Fixed { registry, .. } => {
                    registries.insert(registry.clone());
                }
                CredentialSource::Config { from, parsed } => {
                    let config = parsed.get_or_try_init(|| read(from)).await?;
                    registries.extend(config.registries());
                }
            }
        }
        Ok(registries)
    }
}

async fn read(from: &ConfigOrigin) -> Result<DockerConfig, Error> {
    let parse = |text: &[u8]| DockerConfig::parse(text).map_err(|kind| Error::new(from, kind));
    match from {
        ConfigOrigin::Variable { content, .. } => {
            Ok(parse(content.expose_secret().as_bytes())?.auths_only())
        }
        // A few hundred bytes on a local disk: a thread for it would take longer.
        ConfigOrigin::File(path) => match std::fs::read(path) {
            Ok(text) => parse(&text),
            Err(error) if is_absent(&error) => Ok(DockerConfig::default()),
            Err(error) => Err(Error::new(from, ErrorKind::Io(error))),
        },
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable { name, .. } => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Debug for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
