//! Credentials in the form that the engine expects.
//!
//! `verbatim-credentials` finds them. Nothing here is printed: the engine's type exposes its content, so it is created
//! right before a request and never kept.

use std::collections::{BTreeSet, HashMap};

use bollard::auth::DockerCredentials;
use verbatim_credentials::{Credential, ExposeSecret as _, Keychain};
use verbatim_oci::Repository;

use crate::engine::EngineEvent;
use crate::error::ErrorKind;

/// Docker Hub's name in Docker's own configuration, and in the engine's.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// How a builder looks up the credential of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyStyle {
    /// In the header of a request to the classic builder.
    Header,
    /// In the session of a BuildKit build, by the host that answers the API.
    Session,
}

/// The credentials for these repositories, by registry, without anonymous ones.
pub(crate) async fn for_repositories(
    keychain: &Keychain,
    repositories: &BTreeSet<Repository>,
    style: KeyStyle,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<HashMap<String, DockerCredentials>, ErrorKind> {
    let mut found = HashMap::new();
    for repository in repositories {
        let key = match style {
            KeyStyle::Header => server_address(repository),
            KeyStyle::Session => repository.api_host().to_owned(),
        };
        if found.contains_key(&key) {
            continue;
        }
        if let Some(credentials) = for_repository(keychain, repository, on_event).await? {
            found.insert(key, credentials);
        }
    }
    Ok(found)
}

/// The credential for one repository, if it has one. The registry may need none, so a place that can have none, such as a helper
/// that is not installed, is a warning.
pub(crate) async fn for_repository(
    keychain: &Keychain,
    repository: &Repository,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<Option<DockerCredentials>, ErrorKind> {
    let registry = repository.registry();
    let found = keychain
        .find(registry, repository.path())
        .await
        .map_err(|source| ErrorKind::Credential { registry: registry.to_owned(), source })?;
    if let Some(error) = found.unusable {
        on_event(EngineEvent::Warning(format!(
            "going on without a login for {registry}: {error}: {}",
            error.kind()
        )));
    }
    Ok(engine_form(found.credential, server_address(repository)))
}

fn engine_form(credential: Credential, server: String) -> Option<DockerCredentials> {
    let empty = DockerCredentials { serveraddress: Some(server), ..DockerCredentials::default() };
    let exposed = match credential {
        Credential::Basic { username, password } => DockerCredentials {
            username: Some(username),
            password: Some(password.expose_secret().to_owned()),
            ..empty
        },
        Credential::IdentityToken(token) => {
            DockerCredentials { identitytoken: Some(token.expose_secret().to_owned()), ..empty }
        }
        Credential::RegistryToken(token) => {
            DockerCredentials { registrytoken: Some(token.expose_secret().to_owned()), ..empty }
        }
        _ => return None,
    };
    Some(exposed)
}

fn server_address(repository: &Repository) -> String {
    if repository.registry() == Repository::DOCKER_HUB {
        DOCKER_HUB_KEY.to_owned()
    } else {
        repository.registry().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_builder_finds_the_credential_of_a_registry_under_its_own_name() {
        let basic = || Credential::Basic { username: "bot".into(), password: "pw".into() };
        let cases = [
            ("nginx", "docker.io", KeyStyle::Header, Some("https://index.docker.io/v1/")),
            ("nginx", "docker.io", KeyStyle::Session, Some("registry-1.docker.io")),
            ("localhost:5000/x", "localhost:5000", KeyStyle::Header, Some("localhost:5000")),
            ("localhost:5000/x", "localhost:5000", KeyStyle::Session, Some("localhost:5000")),
            ("localhost:5000/x", "docker.io", KeyStyle::Header, None),
        ];
        for (repository, registry, style, want) in cases {
            let keychain = Keychain::fixed(registry, basic());
            let repositories = BTreeSet::from([repository.parse().unwrap()]);
            let found =
                for_repositories(&keychain, &repositories, style, &mut |_| {}).await.unwrap();
            let keys: Vec<&str> = found.keys().map(String::as_str).collect();
            assert_eq!(keys, want.into_iter().collect::<Vec<_>>(), "{repository} {style:?}");
            assert!(found.values().all(|found| found.password.as_deref() == Some("pw")));
        }
    }
}
