//! The environment variables that say where credentials are.
//!
//! Callers read the process environment once and pass the map in; nothing here reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

/// The environment variables that matter for credentials, by value. An empty variable counts as unset.
#[derive(Clone, Debug, Default)]
pub struct CredentialEnvironment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the folder of Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `DOCKER_AUTH_CONFIG`: the content of a `config.json`, of which only `auths` is used.
    pub docker_auth_config: Option<SecretString>,
    /// `REGISTRY_AUTH_FILE`: the credential file of Podman, Buildah and Skopeo.
    pub registry_auth_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `ARGOCD_SERVER`: the server that `argocd_auth_token` is for.
    pub argocd_server: Option<String>,
    /// `ARGOCD_AUTH_TOKEN`.
    pub argocd_auth_token: Option<SecretString>,
    /// `ARGOCD_CONFIG_DIR`: the folder of the `argocd` command line's `config`.
    pub argocd_config_dir: Option<PathBuf>,
}

impl CredentialEnvironment {
    /// Reads the relevant ones of `variables`.
    pub fn from_map(variables: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let path = |name: &str| text(name).map(PathBuf::from);
        let secret = |name: &str| text(name).map(SecretString::from);
        Self {
            home: path("HOME"),
            docker_config: path("DOCKER_CONFIG"),
            docker_auth_config: secret("DOCKER_AUTH_CONFIG"),
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            argocd_server: text("ARGOCD_SERVER"),
            argocd_auth_token: secret("ARGOCD_AUTH_TOKEN"),
            argocd_config_dir: path("ARGOCD_CONFIG_DIR"),
        }
    }

    /// Docker's `config.json`, whether it exists or not.
    pub fn docker_config_file(&self) -> Option<PathBuf> {
        let folder =
            self.docker_config.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")))?;
        Some(folder.join("config.json"))
    }

    /// The folder below which programs keep their configuration.
    pub fn config_home(&self) -> Option<PathBuf> {
        self.xdg_config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_where_the_files_are() {
        let check = |variables: &[(&str, &str)], docker: Option<&str>, config: Option<&str>| {
            let map = variables.iter().map(|&(name, value)| (name.into(), value.into())).collect();
            let environment = CredentialEnvironment::from_map(&map);
            assert_eq!(environment.docker_config_file(), docker.map(PathBuf::from));
            assert_eq!(environment.config_home(), config.map(PathBuf::from));
        };
        check(&[], None, None);
        check(&[("HOME", "/h")], Some("/h/.docker/config.json"), Some("/h/.config"));
        check(
            &[("HOME", "/h"), ("DOCKER_CONFIG", "")],
            Some("/h/.docker/config.json"),
            Some("/h/.config"),
        );
        check(
            &[("HOME", "/h"), ("DOCKER_CONFIG", "/d")],
            Some("/d/config.json"),
            Some("/h/.config"),
        );
        check(&[("XDG_CONFIG_HOME", "/x")], None, Some("/x"));
    }

    #[test]
    fn no_secret_is_printed() {
        let names = ["DOCKER_AUTH_CONFIG", "ARGOCD_AUTH_TOKEN"];
        let map = names.map(|name| (name.to_owned(), "s3cr3t".to_owned())).into();
        assert!(!format!("{:?}", CredentialEnvironment::from_map(&map)).contains("s3cr3t"));
    }
}
