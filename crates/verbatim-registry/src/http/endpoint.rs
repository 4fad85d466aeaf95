//! The URLs of the distribution API, and the rule for plain HTTP. Pure.

use url::Url;
use verbatim_http::{RedactedUrl, is_loopback};
use verbatim_oci::Repository;

use crate::{Config, Error, ErrorKind};

/// Whether a registry is reached over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// It is on this machine, and speaks one of them.
    Either,
}

/// How a registry is reached, by the settings.
pub(crate) fn scheme(config: &Config, repository: &Repository) -> Scheme {
    match repository.is_loopback() {
        _ if config.plain_http.contains(repository.registry()) => Scheme::Http,
        true if !config.tls_on_loopback => Scheme::Either,
        _ => Scheme::Https,
    }
}

/// The URL of `rest` (`manifests/latest` for example) below `repository`.
pub(crate) fn url(uses_tls: bool, repository: &Repository, rest: &str) -> Result<Url, Error> {
    let host = repository.registry();
    let scheme = if uses_tls { "https" } else { "http" };
    let text = format!("{scheme}://{}/v2/{}/{rest}", repository.api_host(), repository.path());
    // Some names have only valid letters and are no hosts: `1.2.3.999`.
    Url::parse(&text).map_err(|_| {
        let why = format!("`{host}` is not the name of a host");
        Error::at("address the registry", text, ErrorKind::Config(why))
    })
}

/// An address that a registry gives of itself. Behind a proxy that speaks TLS, many registries do not know that, and give
/// `http://` with the right name: the connection stays the one that is there.
pub(crate) fn behind_tls(current: &Url, given: Url) -> Url {
    let is_same = given.host() == current.host()
        && (given.port().is_none() || given.port() == current.port());
    let mut url = given;
    if is_same && current.scheme() == "https" && url.scheme() == "http" {
        // Neither fails: both are addresses of HTTP.
        let _ = url.set_scheme("https");
        let _ = url.set_port(current.port());
    }
    url
}

/// Whether a server that a registry redirects to can be reached as `url` says. TLS always can. Plain HTTP can only if
/// the registry itself uses it, and the server is on this machine, the registry itself, or listed.
pub(crate) fn check_scheme(config: &Config, registry: &Url, url: &Url) -> Result<(), ErrorKind> {
    let listed = |url: &Url| {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!("{host}:{port}"));
        config.plain_http.contains(host)
            || port.is_some_and(|text| config.plain_http.contains(&text))
    };
    match url.scheme() {
        "https" => Ok(()),
        "http"
            if registry.scheme() == "http"
                && (url.origin() == registry.origin() || is_loopback(url) || listed(url)) =>
        {
            Ok(())
        }
        "http" => Err(ErrorKind::PlainHttpRefused(RedactedUrl::of_request(url))),
        other => Err(ErrorKind::Malformed(format!("an address with the scheme `{other}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::new("test");
        config.plain_http.insert("plain.example.com:5000".to_owned());
        config.plain_http.insert("127.0.0.1:5001".to_owned());
        config
    }

    #[test]
    fn plain_http_is_for_this_machine_and_where_allowed() {
        let cases = [
            ("nginx", "https://registry-1.docker.io/v2/library/nginx/x"),
            ("ghcr.io/a/b", "https://ghcr.io/v2/a/b/x"),
            ("127.0.0.1:5000/a", "either://127.0.0.1:5000/v2/a/x"),
            ("[::1]:5000/a", "either://[::1]:5000/v2/a/x"),
            ("localhost/a", "either://localhost/v2/a/x"),
            ("127.0.0.1:5001/a", "http://127.0.0.1:5001/v2/a/x"),
            ("plain.example.com:5000/a", "http://plain.example.com:5000/v2/a/x"),
            ("plain.example.com/a", "https://plain.example.com/v2/a/x"),
        ];
        for (repository, want) in cases {
            let repository = repository.parse().unwrap();
            let (name, rest) = want.split_once(':').unwrap();
            let scheme = scheme(&config(), &repository);
            assert_eq!(format!("{scheme:?}").to_lowercase(), name, "{want}");
            let url = url(name == "https", &repository, "x").unwrap();
            assert_eq!(url.as_str().split_once(':').unwrap().1, rest);
        }
        let strict = Config { tls_on_loopback: true, ..config() };
        let local = |text: &str| scheme(&strict, &text.parse().unwrap());
        assert_eq!(local("127.0.0.1:5000/a"), Scheme::Https);
        assert_eq!(local("127.0.0.1:5001/a"), Scheme::Http);
        assert!(url(true, &"1.2.3.999/a".parse().unwrap(), "x").is_err());
    }

    #[test]
    fn a_registry_behind_tls_stays_there() {
        let cases = [
            ("https://h/v2/", "http://h/x?y", "https://h/x?y"),
            ("https://h:5000/v2/", "http://h:5000/x", "https://h:5000/x"),
            ("https://h:5000/v2/", "http://h/x", "https://h:5000/x"),
            ("https://h/v2/", "http://h:5000/x", "http://h:5000/x"),
            ("https://h/v2/", "http://other/x", "http://other/x"),
            ("https://h/v2/", "https://h:444/x", "https://h:444/x"),
            ("http://h/v2/", "http://h/x", "http://h/x"),
        ];
        for (current, given, want) in cases {
            let got = behind_tls(&current.parse().unwrap(), given.parse().unwrap());
            assert_eq!(got.as_str(), want, "{current} {given}");
        }
    }

    #[test]
    fn nobody_sends_us_to_plain_http() {
        let cases = [
            ("https://h/v2/", "https://other/x", true),
            ("https://h/v2/", "http://h/x", false),
            ("https://h/v2/", "http://127.0.0.1/x", false),
            ("https://h/v2/", "ftp://h/x", false),
            ("http://h:5000/v2/", "http://h:5000/x", true),
            ("http://h:5000/v2/", "http://h:5001/x", false),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/x", true),
            ("http://127.0.0.1:5000/v2/", "http://10.0.0.1/x", false),
            ("http://127.0.0.1:5000/v2/", "http://plain.example.com:5000/x", true),
        ];
        for (registry, url, want) in cases {
            let got = check_scheme(&config(), &registry.parse().unwrap(), &url.parse().unwrap());
            assert_eq!(got.is_ok(), want, "{registry} {url}");
        }
    }
}
