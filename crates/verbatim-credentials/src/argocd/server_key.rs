//! One name for an Argo CD server, however it is written.

use std::fmt;

/// `host[:port][/path]`, the host in lower case, without a scheme, a default port or a slash at the end. Tokens are
/// kept under this name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey(String);

impl ServerKey {
    /// The key of a server that is given as a URL, or as the `argocd` command line writes it: `host[:port]`.
    pub fn new(server: &str) -> Self {
        let (rest, port) = match server.split_once("://") {
            Some(("http", rest)) => (rest, ":80"),
            Some((_, rest)) => (rest, ":443"),
            None => (server, ":443"),
        };
        let rest = rest.trim_end_matches('/');
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        // A name and a password in a URL are neither kept nor printed.
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
        Self(format!("{host}{path}"))
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both have the same host and port; paths may differ.
    pub fn is_same_host(&self, other: &Self) -> bool {
        self.host() == other.host()
    }

    fn host(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_server_have_one_key() {
        let cases = [
            ("https://argocd.example.com", "argocd.example.com"),
            ("https://ArgoCD.example.com:443/", "argocd.example.com"),
            ("argocd.example.com", "argocd.example.com"),
            ("argocd.example.com:443", "argocd.example.com"),
            ("argocd.example.com:8443", "argocd.example.com:8443"),
            ("http://127.0.0.1:80", "127.0.0.1"),
            ("http://127.0.0.1:443", "127.0.0.1:443"),
            ("http://[::1]:8080/root/", "[::1]:8080/root"),
            ("https://user:pass@h/argo-cd", "h/argo-cd"),
        ];
        for (text, want) in cases {
            assert_eq!(ServerKey::new(text).as_str(), want, "{text}");
        }
    }
}
