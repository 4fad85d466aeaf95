//! The token for an Argo CD server: from the environment, from verbatim's store, or from the `argocd` command line.
//!
//! The Argo CD client turns a name and a password into a token.

mod cli_config;
mod server_key;
mod token_store;

use std::path::PathBuf;

use secrecy::SecretString;

pub use self::cli_config::{CliConfig, CliContext, CliServer};
pub use self::server_key::ServerKey;
pub use self::token_store::{JobLogin, StoredToken, TokenStore};
use crate::{CredentialEnvironment, Error};

/// A token, and where it was found.
#[derive(Clone, Debug)]
pub struct FoundToken {
    /// The token.
    pub token: SecretString,
    /// Where it was found.
    pub origin: TokenOrigin,
    /// How a CI job got it, if it can get another one.
    pub job: Option<JobLogin>,
}

/// Where a token was found; for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenOrigin {
    /// The variable `ARGOCD_AUTH_TOKEN`.
    Variable,
    /// verbatim's store, at this path.
    Store(PathBuf),
    /// The file of the `argocd` command line, at this path.
    Cli(PathBuf),
}

/// Whether `ARGOCD_AUTH_TOKEN` holds a token that is not for `server`, because `ARGOCD_SERVER` names another server.
pub fn is_token_for_another(environment: &CredentialEnvironment, server: &ServerKey) -> bool {
    let meant = environment.argocd_server.as_deref().map(ServerKey::new);
    environment.argocd_auth_token.is_some()
        && meant.is_some_and(|meant| !meant.is_same_host(server))
}

/// The token for `server`, from the first source that has one: `ARGOCD_AUTH_TOKEN`, unless `ARGOCD_SERVER` names
/// another server; verbatim's store; the file of the `argocd` command line.
///
/// # Errors
///
/// If a source exists but cannot be read.
pub fn find_token(
    environment: &CredentialEnvironment,
    server: &ServerKey,
) -> Result<Option<FoundToken>, Error> {
    if let Some(token) = &environment.argocd_auth_token
        && !is_token_for_another(environment, server)
    {
        return Ok(Some(FoundToken {
            token: token.clone(),
            origin: TokenOrigin::Variable,
            job: None,
        }));
    }
    if let Some(store) = TokenStore::from_environment(environment)
        && let Some(StoredToken { token, job }) = store.get(server)?
    {
        let origin = TokenOrigin::Store(store.path().to_owned());
        return Ok(Some(FoundToken { token, origin, job }));
    }
    if let Some(path) = CliConfig::path(environment)
        && let Some(config) = CliConfig::read(&path)?
        && let Some(token) = config.token_for(server)
    {
        return Ok(Some(FoundToken {
            token: token.clone(),
            origin: TokenOrigin::Cli(path),
            job: None,
        }));
    }
    Ok(None)
}
