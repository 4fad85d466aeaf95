//! Finds the engine: a given address, a Docker context, or the usual socket.
//!
//! Reads the files of Docker's contexts, but no environment variables: the caller passes them in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use verbatim_oci::Digest;

use crate::error::{Error, ErrorKind};

/// The default address of a Docker Engine.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The settings that lead to the engine. Empty texts count as unset.
#[derive(Clone, Debug, Default)]
pub struct EndpointConfig {
    /// An address: `unix://PATH`, `tcp://HOST:PORT` or `http(s)://HOST:PORT`. Takes precedence.
    pub host: Option<String>,
    /// The name of a Docker context.
    pub context: Option<String>,
    /// Docker's configuration directory, usually `~/.docker`. Its `config.json` may name a context.
    pub config_dir: Option<PathBuf>,
    /// Whether to use TLS for `tcp://` (`DOCKER_TLS_VERIFY`).
    pub tls_verify: bool,
    /// The directory of `ca.pem`, `cert.pem` and `key.pem`; without it the configuration directory.
    pub cert_dir: Option<PathBuf>,
}

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) address: EngineAddress,
    /// The Docker context that named it.
    pub(crate) context: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineAddress {
    Unix(PathBuf),
    /// `host:port` in plain HTTP.
    Http(String),
    /// `host:port` with TLS and a client certificate.
    Https(String, CertificateFiles),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.address {
            EngineAddress::Unix(path) => write!(f, "unix://{}", path.display())?,
            EngineAddress::Http(authority) => write!(f, "tcp://{authority}")?,
            EngineAddress::Https(authority, _) => write!(f, "https://{authority}")?,
        }
        match &self.context {
            Some(context) => write!(f, " (Docker context `{context}`)"),
            None => Ok(()),
        }
    }
}

impl Endpoint {
    /// Finds the engine, in the order of Docker's own client: address, named context, the configuration's current
    /// context, [`DEFAULT_HOST`].
    ///
    /// # Errors
    ///
    /// If the address is malformed or of a kind that is not supported, or if a named context cannot be read.
    pub fn find(config: &EndpointConfig) -> Result<Self, Error> {
        find(config).map_err(|kind| Error::new("find the Docker Engine", kind))
    }
}

fn find(config: &EndpointConfig) -> Result<Endpoint, ErrorKind> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let certificates = || {
        let directory = config.cert_dir.as_ref().or(config.config_dir.as_ref());
        directory.map(|directory| CertificateFiles::in_dir(directory))
    };
    if let Some(host) = given(&config.host) {
        let files =
            if config.tls_verify || host.starts_with("https://") { certificates() } else { None };
        return Ok(Endpoint { address: parse_host(&host, files)?, context: None });
    }
    let current = match (given(&config.context), &config.config_dir) {
        (Some(context), _) => Some(context),
        (None, Some(directory)) => current_context(directory)?,
        (None, None) => None,
    };
    match (current.filter(|name| name != "default"), &config.config_dir) {
        (Some(name), Some(directory)) => from_context(directory, name),
        (Some(name), None) => Err(ErrorKind::Endpoint(format!(
            "the Docker context `{name}` needs a configuration directory, and there is none"
        ))),
        (None, _) => Ok(Endpoint { address: parse_host(DEFAULT_HOST, None)?, context: None }),
    }
}

impl CertificateFiles {
    fn in_dir(directory: &Path) -> Self {
        Self {
            ca: directory.join("ca.pem"),
            cert: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        }
    }
}

fn parse_host(host: &str, tls: Option<CertificateFiles>) -> Result<EngineAddress, ErrorKind> {
    let unsupported = |why: &str| ErrorKind::Endpoint(format!("the address `{host}` {why}"));
    let (scheme, rest) = host
        .split_once("://")
        .ok_or_else(|| unsupported("has no scheme: want unix://PATH or tcp://HOST:PORT"))?;
    let authority = || {
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '@', '?', '#']) {
            Err(unsupported("needs HOST:PORT after the scheme"))
        } else {
            Ok(authority.to_owned())
        }
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(EngineAddress::Unix(PathBuf::from(rest))),
        "unix" => Err(unsupported("has no absolute path")),
        "tcp" | "http" | "https" => match (scheme, tls) {
            ("https" | "tcp", Some(files)) => Ok(EngineAddress::Https(authority()?, files)),
            ("https", None) => Err(unsupported("needs a client certificate (DOCKER_CERT_PATH)")),
            _ => Ok(EngineAddress::Http(authority()?)),
        },
        "ssh" => Err(unsupported(
            "needs SSH, which is not supported: forward the socket with `ssh -L` and use unix://",
        )),
        _ => Err(unsupported("has a scheme other than unix, tcp, http and https")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    current_context: Option<String>,
}

/// Reads only one key of Docker's file.
fn current_context(directory: &Path) -> Result<Option<String>, ErrorKind> {
    let path = directory.join("config.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ErrorKind::Read { path, source }),
    };
    let file: ConfigFile = serde_json::from_slice(&bytes).map_err(|error| {
        // The parser's message may quote the file, which holds credentials.
        let (line, column) = (error.line(), error.column());
        ErrorKind::Endpoint(format!(
            "`{}` is malformed at line {line}, column {column}",
            path.display()
        ))
    })?;
    Ok(file.current_context.filter(|name| !name.is_empty()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextFile {
    #[serde(default)]
    endpoints: BTreeMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The directory of a context is named by the hash of its name.
fn from_context(directory: &Path, name: String) -> Result<Endpoint, ErrorKind> {
    let id = Digest::of(name.as_bytes()).hex();
    let path = directory.join("contexts/meta").join(&id).join("meta.json");
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            ErrorKind::Endpoint(format!("there is no Docker context `{name}`"))
        }
        _ => ErrorKind::Read { path: path.clone(), source: error },
    })?;
    let unusable = |why: &str| {
        ErrorKind::Endpoint(format!("the Docker context `{name}` cannot be used: {why}"))
    };
    let file: ContextFile = serde_json::from_slice(&bytes)
        .map_err(|_| unusable(&format!("`{}` is malformed", path.display())))?;
    let endpoint = file.endpoints.get("docker").ok_or_else(|| unusable("it names no engine"))?;
    if endpoint.skip_tls_verify {
        return Err(unusable("it skips the check of the TLS certificate"));
    }
    let files = directory.join("contexts/tls").join(&id).join("docker");
    let tls = files.join("key.pem").is_file().then(|| CertificateFiles::in_dir(&files));
    let host = if endpoint.host.is_empty() { DEFAULT_HOST } else { &endpoint.host };
    Ok(Endpoint { address: parse_host(host, tls)?, context: Some(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(config: &EndpointConfig) -> String {
        match find(config) {
            Ok(endpoint) => endpoint.to_string(),
            Err(kind) => format!("error: {kind}"),
        }
    }

    #[test]
    fn addresses() {
        let cases = [
            (None, "unix:///var/run/docker.sock"),
            (Some(""), "unix:///var/run/docker.sock"),
            (Some("unix:///x/y.sock"), "unix:///x/y.sock"),
            (Some("tcp://127.0.0.1:2375"), "tcp://127.0.0.1:2375"),
            (Some("http://[::1]:2375/"), "tcp://[::1]:2375"),
            (
                Some("/x.sock"),
                "error: the address `/x.sock` has no scheme: want unix://PATH or tcp://HOST:PORT",
            ),
            (Some("unix://x"), "error: the address `unix://x` has no absolute path"),
            (
                Some("tcp://user@host"),
                "error: the address `tcp://user@host` needs HOST:PORT after the scheme",
            ),
            (
                Some("ssh://host"),
                "error: the address `ssh://host` needs SSH, which is not supported: forward the socket with `ssh -L` and use unix://",
            ),
            (
                Some("npipe:////./pipe/docker"),
                "error: the address `npipe:////./pipe/docker` has a scheme other than unix, tcp, http and https",
            ),
        ];
        for (host, want) in cases {
            let config =
                EndpointConfig { host: host.map(str::to_owned), ..EndpointConfig::default() };
            assert_eq!(words(&config), want);
        }
        let tls = EndpointConfig {
            host: Some("tcp://h:2376".to_owned()),
            tls_verify: true,
            cert_dir: Some("/certs".into()),
            ..EndpointConfig::default()
        };
        assert_eq!(words(&tls), "https://h:2376");
    }

    #[test]
    fn contexts() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let meta = |name: &str, json: &str| {
            let id = Digest::of(name.as_bytes()).hex();
            let folder = root.join("contexts/meta").join(id);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("meta.json"), json).unwrap();
        };
        meta("far", r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://10.0.0.1:2375"}}}"#);
        meta(
            "loose",
            r#"{"Name":"loose","Endpoints":{"docker":{"Host":"tcp://x:1","SkipTLSVerify":true}}}"#,
        );
        meta("broken", "{");
        meta("empty", r#"{"Name":"empty","Metadata":{}}"#);
        fs::write(root.join("config.json"), r#"{"auths":{},"currentContext":"far"}"#).unwrap();
        let config = |context: Option<&str>, host: Option<&str>| EndpointConfig {
            context: context.map(str::to_owned),
            host: host.map(str::to_owned),
            config_dir: Some(root.to_owned()),
            ..EndpointConfig::default()
        };
        let cases = [
            (None, None, "tcp://10.0.0.1:2375 (Docker context `far`)".to_owned()),
            (Some("default"), None, DEFAULT_HOST.to_owned()),
            (None, Some("unix:///x"), "unix:///x".to_owned()),
            (Some("nope"), None, "error: there is no Docker context `nope`".to_owned()),
            (
                Some("loose"),
                None,
                "error: the Docker context `loose` cannot be used: it skips the check of the TLS certificate".to_owned(),
            ),
            (
                Some("empty"),
                None,
                "error: the Docker context `empty` cannot be used: it names no engine".to_owned(),
            ),
        ];
        for (context, host, want) in cases {
            assert_eq!(words(&config(context, host)), want);
        }
        assert!(words(&config(Some("broken"), None)).ends_with("is malformed"));

        let tls = root.join("contexts/tls").join(Digest::of(b"far").hex()).join("docker");
        fs::create_dir_all(&tls).unwrap();
        fs::write(tls.join("key.pem"), "").unwrap();
        assert_eq!(words(&config(None, None)), "https://10.0.0.1:2375 (Docker context `far`)");

        fs::write(root.join("config.json"), r#"{"auths":{"x":{"auth":"s3cr3t"#).unwrap();
        let error = words(&config(None, None));
        assert!(error.contains("is malformed at line 1") && !error.contains("s3cr3t"), "{error}");
    }
}
