//! Which requests go through a proxy, by the variables that curl, git and Go read.
//!
//! `NO_PROXY` is read as [Go's `httpproxy`][go] and [curl][curl] read it, where the HTTP library knows a part only: with
//! ports, with stars, with networks.
//!
//! [go]: https://pkg.go.dev/golang.org/x/net/http/httpproxy
//! [curl]: https://everything.curl.dev/usingcurl/proxies/env.html

use std::net::IpAddr;

use url::{Host, Url};

use crate::is_loopback;

/// The proxies of an environment. Nobody reaches this machine through one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    exceptions: Vec<Exception>,
}

/// What is reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    /// A network, by its address and the length of its prefix.
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// A name and the names below it; with a star, only those below it.
    Domain {
        name: String,
        only_below: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// The proxies of `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`, without what `NO_PROXY` excepts; also in lower case. An
    /// empty variable counts as unset.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let filled = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
            filled(name).or_else(|| filled(&name.to_ascii_lowercase()))
        };
        let all = get("ALL_PROXY");
        // For a CGI program, that variable is a header of whoever calls it (CVE-2016-5385).
        let http = match variable("REQUEST_METHOD") {
            Some(_) => variable("http_proxy").filter(|value| !value.trim().is_empty()),
            None => get("HTTP_PROXY"),
        };
        let exceptions = get("NO_PROXY").unwrap_or_default();
        let exceptions = exceptions.split([',', ' ', '\t', '\n']).filter_map(Exception::read);
        Self {
            http: http.or_else(|| all.clone()),
            https: get("HTTPS_PROXY").or(all),
            exceptions: exceptions.collect(),
        }
    }

    /// The proxies of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "as HTTP libraries do themselves: a client that nobody told of proxies must not go past them"
    )]
    pub fn of_process() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The proxy for a URL, as the variable has it; `None` to connect directly.
    pub fn for_url(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme() {
            "http" => self.http.as_deref(),
            "https" => self.https.as_deref(),
            _ => None,
        };
        proxy.filter(|_| !is_loopback(url) && !self.excepts(url))
    }

    fn excepts(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let port = url.port_or_known_default();
        self.exceptions.iter().any(|exception| exception.covers(&host, port))
    }
}

impl Exception {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, length)) = text.split_once('/') {
            let address: IpAddr = bare(address).parse().ok()?;
            let length = length.parse().ok()?;
            return (length <= bits(address).1).then_some(Self::Network(address, length));
        }
        // An IPv6 address has colons of its own.
        if let Ok(address) = bare(&text).parse() {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, "" | "*")) => (host, None),
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        if let Ok(address) = bare(host).parse() {
            return Some(Self::Address(address, port));
        }
        let (name, only_below) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (host.trim_start_matches(['*', '.']), false),
        };
        let name = name.trim_end_matches('.');
        if name.is_empty() {
            return None;
        }
        // A name in another script is that of a URL.
        let name = Host::parse(name).map_or_else(|_| name.to_owned(), |host| host.to_string());
        Some(Self::Domain { name, only_below, port })
    }

    fn covers(&self, host: &Host<&str>, port: Option<u16>) -> bool {
        let same_port = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        let address = match host {
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address).to_canonical()),
            Host::Domain(_) => None,
        };
        match (self, host) {
            (Self::Everything, _) => true,
            (Self::Network(network, length), _) => {
                address.is_some_and(|address| is_within(address, network.to_canonical(), *length))
            }
            (Self::Address(wanted, port), _) => {
                address == Some(wanted.to_canonical()) && same_port(port)
            }
            (Self::Domain { name, only_below, port }, Host::Domain(host)) => {
                let below = host.trim_end_matches('.').strip_suffix(name.as_str());
                let fits = match below {
                    Some("") => !only_below,
                    Some(below) => below.ends_with('.'),
                    None => false,
                };
                fits && same_port(port)
            }
            (Self::Domain { .. }, _) => false,
        }
    }
}

/// An address without its brackets.
fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let ((address, size), (network, of)) = (bits(address), bits(network));
    let dropped = u32::from(size.saturating_sub(length));
    size == of && address.checked_shr(dropped) == network.checked_shr(dropped)
}

/// The bits of an address, and how many they are.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            let found = variables.iter().find(|(have, _)| *have == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_name_the_proxy_of_a_scheme() {
        let check = |variables: &[(&str, &str)], http: Option<&str>, https: Option<&str>| {
            let proxies = proxies(variables);
            let get = |url: &str| proxies.for_url(&url.parse().unwrap()).map(str::to_owned);
            assert_eq!(get("http://h/").as_deref(), http, "{variables:?}");
            assert_eq!(get("https://h/").as_deref(), https, "{variables:?}");
            assert_eq!(get("http://127.0.0.1:5000/"), None);
            assert_eq!(get("https://localhost/"), None);
        };
        check(&[], None, None);
        check(&[("HTTP_PROXY", "a:1"), ("HTTPS_PROXY", "b:2")], Some("a:1"), Some("b:2"));
        check(&[("http_proxy", "a:1"), ("https_proxy", "b:2")], Some("a:1"), Some("b:2"));
        check(&[("HTTP_PROXY", ""), ("http_proxy", "a:1")], Some("a:1"), None);
        check(&[("ALL_PROXY", "c:3"), ("HTTP_PROXY", "a:1")], Some("a:1"), Some("c:3"));
        check(&[("all_proxy", "c:3")], Some("c:3"), Some("c:3"));
        check(&[("HTTP_PROXY", "a:1"), ("NO_PROXY", "*")], None, None);
        check(&[("HTTP_PROXY", "a:1"), ("no_proxy", "h")], None, None);
        check(&[("HTTP_PROXY", "a:1"), ("NO_PROXY", ""), ("no_proxy", "h")], None, None);
        // A header of whoever calls a CGI program.
        check(&[("HTTP_PROXY", "a:1"), ("REQUEST_METHOD", "GET")], None, None);
    }

    #[test]
    fn exceptions_are_those_of_curl_and_go() {
        // Each with URLs that are reached directly, and with some that are not.
        let cases: [(&str, &[&str], &[&str]); 22] = [
            ("", &[], &["http://h/"]),
            (" , ,", &[], &["http://h/"]),
            ("*", &["http://h/", "https://10.0.0.1/"], &[]),
            (
                "corp.example",
                &["http://corp.example/", "http://a.b.corp.example:81/", "http://CORP.example./"],
                &["http://notcorp.example/", "http://corp.example.org/"],
            ),
            (".corp.example", &["http://a.corp.example/", "http://corp.example/"], &["http://x/"]),
            ("*.corp.example", &["http://a.corp.example/"], &["http://corp.example/"]),
            ("Corp.Example.", &["http://corp.example/"], &[]),
            (
                "reg.corp.example:5000",
                &["http://reg.corp.example:5000/", "https://reg.corp.example:5000/"],
                &["http://reg.corp.example/", "http://reg.corp.example:5001/"],
            ),
            ("*.corp.example:443", &["https://a.corp.example/"], &["http://a.corp.example/"]),
            (".corp.example:80", &["http://a.corp.example/"], &["https://a.corp.example/"]),
            ("h:*", &["http://h:1/"], &[]),
            ("a, b.example\tc,d", &["http://a/", "http://b.example/", "http://d/"], &["http://e/"]),
            ("10.0.0.1", &["http://10.0.0.1:8/"], &["http://10.0.0.2/", "http://a10.0.0.1.x/"]),
            ("10.0.0.1:8", &["http://10.0.0.1:8/"], &["http://10.0.0.1/"]),
            ("10.0.0.0/8", &["http://10.200.3.4:5000/"], &["http://11.0.0.1/", "http://h/"]),
            ("10.1.2.0/23", &["http://10.1.3.255/"], &["http://10.1.4.0/"]),
            ("0.0.0.0/0", &["http://1.2.3.4/"], &["http://[fd00::1]/", "http://h/"]),
            ("fd00::/8", &["http://[fdab::1]:5000/"], &["http://[fe80::1]/"]),
            ("fd00::1", &["http://[fd00::1]/"], &["http://[fd00::2]/"]),
            ("[fd00::1]:5000", &["http://[fd00::1]:5000/"], &["http://[fd00::1]/"]),
            ("bücher.example", &["http://xn--bcher-kva.example/"], &[]),
            ("10.0.0.0/99,h:port,:80,*.,.", &[], &["http://10.0.0.1/", "http://h/"]),
        ];
        for (exceptions, direct, through) in cases {
            let proxies = proxies(&[("ALL_PROXY", "p:1"), ("NO_PROXY", exceptions)]);
            for (urls, want) in [(direct, None), (through, Some("p:1"))] {
                for url in urls {
                    assert_eq!(proxies.for_url(&url.parse().unwrap()), want, "{exceptions}: {url}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(exceptions in "[0-9a-f:./*,\\[\\] ]{0,40}", host in "[0-9.]{1,15}|[a-z.]{1,20}") {
            let proxies = proxies(&[("ALL_PROXY", "p:1"), ("NO_PROXY", &exceptions)]);
            if let Ok(url) = format!("http://{host}/").parse() {
                let _ = proxies.for_url(&url);
            }
        }
    }
}
