//! How a server is reached: address, credentials, deadlines, the budget for repetitions. Nothing is sent here.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use verbatim_http::RetryPolicy;

use super::exchange::JobIdentity;
use crate::api::error::ErrorKind;
use crate::api::kubernetes::KubernetesAccess;

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server, with the root path if it has one. See [`server_url`].
    pub url: Url,
    /// A JWT. Without one only the version can be read.
    pub token: Option<SecretString>,
    /// How to get another token when the server takes this one no more.
    pub job: Option<JobIdentity>,
    /// Certificates in PEM that are trusted beside the system's.
    pub ca: Option<Vec<u8>>,
    /// A client certificate with its key in PEM.
    pub client_cert: Option<SecretString>,
    /// Do not check the server's certificate.
    pub insecure: bool,
    /// Sent with every request, for proxies that ask for their own credentials.
    pub headers: Vec<(String, SecretString)>,
    /// Changes of applications go through the Kubernetes API of their cluster, and not through Argo CD.
    pub kubernetes: Option<KubernetesAccess>,
    /// `User-Agent`.
    pub user_agent: String,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// How often reads are repeated.
    pub retry: RetryPolicy,
    /// The longest answer that is read, in bytes. A longer one is an error.
    pub largest_answer: usize,
}

impl Config {
    /// A configuration with the defaults.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            token: None,
            job: None,
            ca: None,
            client_cert: None,
            insecure: false,
            headers: Vec::new(),
            kubernetes: None,
            user_agent: concat!("verbatim/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: Timeouts::default(),
            retry: RETRY,
            largest_answer: LARGEST_ANSWER,
        }
    }
}

/// A list of 10,000 applications has about half of this.
const LARGEST_ANSWER: usize = 512 << 20;

/// Deadlines of single calls.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// For a read, each attempt.
    pub read: Duration,
    /// For a write: the server renders the manifests before it answers.
    pub write: Duration,
    /// For a read with refresh: the server waits for the controller, without a limit of its own.
    pub refresh: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            write: Duration::from_secs(120),
            refresh: Duration::from_secs(20),
        }
    }
}

/// How often reads are repeated unless it is said otherwise: a job that deploys has time for that, and not more.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: 5,
    first_wait: Duration::from_millis(150),
    longest_wait: Duration::from_secs(30),
    budget: Duration::from_secs(30),
};

/// Reads a server's address: `argocd.example.com`, `https://…/root`, `http://127.0.0.1:8080`. Without a scheme it is
/// https, or http if `plaintext`.
///
/// # Errors
///
/// If it is no address, has another scheme, or holds credentials.
pub fn server_url(text: &str, plaintext: bool, root_path: Option<&str>) -> Result<Url, ErrorKind> {
    let bad = |why: String| ErrorKind::Configuration(why);
    let full = match text.split_once("://") {
        Some(_) => text.to_owned(),
        None if plaintext => format!("http://{text}"),
        None => format!("https://{text}"),
    };
    let mut url = Url::parse(&full)
        .map_err(|error| bad(format!("`{text}` is not a server's address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(bad(format!(
            "`{text}` is not a server's address: want [https://]HOST[:PORT][/ROOT]"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a server's address must not hold credentials".into()));
    }
    url.set_query(None);
    url.set_fragment(None);
    let root = format!(
        "{}/{}",
        url.path().trim_end_matches('/'),
        root_path.unwrap_or_default().trim_matches('/')
    );
    url.set_path(root.trim_end_matches('/'));
    Ok(url)
}

pub(super) fn headers(config: &Config) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: &str| {
        let mut secret = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of header {name} has characters that none may have"))?;
        secret.set_sensitive(true);
        headers.insert(name, secret);
        Ok::<_, String>(())
    };
    for (name, value) in &config.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("`{name}` is not the name of a header"))?;
        add(name, value.expose_secret())?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("argocd.example.com", false, None, Ok("https://argocd.example.com/")),
            ("argocd.example.com:8443", false, None, Ok("https://argocd.example.com:8443/")),
            ("argocd.example.com", true, None, Ok("http://argocd.example.com/")),
            ("https://example.com/argo/", false, None, Ok("https://example.com/argo")),
            ("https://example.com", false, Some("/argo/"), Ok("https://example.com/argo")),
            ("http://127.0.0.1:8080", false, None, Ok("http://127.0.0.1:8080/")),
            ("[::1]:8080", true, None, Ok("http://[::1]:8080/")),
            (
                "https://u:p@example.com",
                false,
                None,
                Err("a server's address must not hold credentials"),
            ),
            (
                "ftp://example.com",
                false,
                None,
                Err(
                    "`ftp://example.com` is not a server's address: want [https://]HOST[:PORT][/ROOT]",
                ),
            ),
            ("https://", false, None, Err("`https://` is not a server's address: empty host")),
        ];
        for (text, plaintext, root, want) in cases {
            let got = server_url(text, plaintext, root)
                .map(|url| url.to_string())
                .map_err(|kind| kind.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
