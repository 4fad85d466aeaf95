//! Credentials of registries and of Argo CD, in types that cannot be printed.
//!
//! Registries: the files that `docker login` and `podman login` write, the helpers that they name, and the content of
//! `DOCKER_AUTH_CONFIG`, put in order by a [`Keychain`]. Argo CD ([`argocd`]): the token of the environment, a store of
//! our own, and the file of the `argocd` command line.
//!
//! Nothing here speaks to a registry or to Argo CD, and nothing reads the process environment: the edges collect it
//! into a [`CredentialEnvironment`] and pass it in. Only a credential helper inherits it, since helpers live on it.

pub mod argocd;
mod environment;
mod error;
mod permissions;
mod registry;

pub use secrecy::{ExposeSecret, SecretString};

pub use crate::environment::CredentialEnvironment;
pub use crate::error::{Error, ErrorKind, Position};
pub use crate::registry::{Credential, Keychain};
