//! Credentials of registries: the files of `docker login` and `podman login`, and the helpers that they name. Nothing of Argo CD.

mod credential;
pub(crate) mod docker_config;
mod helper;
mod keychain;

pub use self::credential::{Credential, FoundLogin};
pub use self::keychain::Keychain;
