//! Credentials of registries and of Argo CD, in types that cannot be printed.
//!
//! Registries: the files that `docker login` and `podman login` write, the helpers that they name, and the content of
//! `DOCKER_AUTH_CONFIG`, searched in order by a [`Keychain`]. Argo CD ([`argocd`]): the token of the environment,
//! verbatim's own store, and the file of the `argocd` command line.
//!
//! Nothing here talks to a registry or to Argo CD, and nothing reads the process environment: callers collect it into a
//! [`CredentialEnvironment`] and pass it in. Only credential helpers inherit it, because they need it.

pub mod argocd;
mod environment;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod permissions;
mod registry;

pub use secrecy::{ExposeSecret, SecretString};

pub use crate::environment::CredentialEnvironment;
pub use crate::error::{Error, ErrorKind, Position};
pub use crate::registry::{Credential, FoundLogin, Keychain};
