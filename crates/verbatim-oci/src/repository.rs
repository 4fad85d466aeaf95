//! Repositories: where images live.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A repository: a registry (`host[:port]`) and a path in it.
///
/// Printed in full (`docker.io/library/nginx`); parsed in full or in Docker's short form, by the [rules of
/// distribution/reference][spec]: the first component is the registry if it holds a `.` or a `:`, is `localhost`, is
/// bracketed, or has an upper-case letter; else the registry is `docker.io`, and a single component is in `library/`.
///
/// [spec]: https://github.com/distribution/reference/blob/v0.6.0/normalize.go
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

/// Why a text is not a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The registry or the path is missing.
    #[error("a repository must not be empty")]
    Empty,
    /// There is a registry, and nothing behind it.
    #[error("there is no path behind the registry `{0}`")]
    NoPath(String),
    /// The registry is not `host`, `host:port` or `[address]:port`.
    #[error("`{0}` is not a registry: want host, host:port or [address]:port")]
    Registry(String),
    /// A URL was given.
    #[error("a repository has no `{0}` in front")]
    Scheme(&'static str),
    /// One component of the path is malformed.
    #[error(
        "`{0}` is not a path component: want lower-case letters and digits, with `.`, `_`, `__` or `-` between them"
    )]
    Component(String),
    /// The whole is too long.
    #[error("a repository has at most 255 characters, this one has {0}")]
    Length(usize),
    /// A tag or a digest follows where a bare repository was wanted.
    #[error("`{0}` is more than a repository: leave the tag and the digest away")]
    Tagged(String),
}

impl Repository {
    /// The registry that short names mean.
    pub const DOCKER_HUB: &str = "docker.io";

    /// The most characters that registry and path may have together.
    pub const MAX_LENGTH: usize = 255;

    /// The registry as it is named, `host[:port]`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The `host[:port]` that answers the API: Docker Hub's is not the one in its name.
    pub fn api_host(&self) -> &str {
        if self.registry == Self::DOCKER_HUB { "registry-1.docker.io" } else { &self.registry }
    }

    /// The path in the registry, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last component of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the registry is on this machine: `localhost`, 127.0.0.0/8 or `::1`. Only such a registry is spoken to
    /// in plain HTTP without being asked.
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        };
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        if text.is_empty() {
            return Err(RepositoryError::Empty);
        }
        for scheme in ["https://", "http://", "docker://", "oci://"] {
            if text.starts_with(scheme) {
                return Err(RepositoryError::Scheme(scheme));
            }
        }
        let (registry, path) = split_registry(text)?;
        for component in path.split('/') {
            if component.split_once([':', '@']).is_some_and(|(bare, _)| is_component(bare)) {
                return Err(RepositoryError::Tagged(text.to_owned()));
            }
            if !is_component(component) {
                return Err(RepositoryError::Component(component.to_owned()));
            }
        }
        let length = registry.len() + 1 + path.len();
        if length > Self::MAX_LENGTH {
            return Err(RepositoryError::Length(length));
        }
        Ok(Self { registry, path })
    }
}

/// Takes the registry off, and puts what a short name leaves out.
fn split_registry(text: &str) -> Result<(String, String), RepositoryError> {
    let (registry, path) = match text.split_once('/') {
        Some((first, rest)) if names_a_registry(first) => {
            if !is_registry(first) {
                return Err(RepositoryError::Registry(first.to_owned()));
            }
            if rest.is_empty() {
                return Err(RepositoryError::NoPath(first.to_owned()));
            }
            // Docker's old name for its Hub, still found in configurations.
            (if first == "index.docker.io" { Repository::DOCKER_HUB } else { first }, rest)
        }
        _ => (Repository::DOCKER_HUB, text),
    };
    let path = if registry == Repository::DOCKER_HUB && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    Ok((registry.to_owned(), path))
}

fn names_a_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':', '['])
        || first.contains(|c: char| c.is_ascii_uppercase())
}

fn is_registry(text: &str) -> bool {
    let (host_is_good, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (
                address.parse::<std::net::Ipv6Addr>().is_ok(),
                port.strip_prefix(':').or((!port.is_empty()).then_some("-")),
            ),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (is_host(host), Some(port)),
            None => (is_host(text), None),
        },
    };
    host_is_good
        && port.is_none_or(|port| {
            port.parse::<u16>().is_ok_and(|number| number > 0) && !port.starts_with('+')
        })
}

fn is_host(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` of the distribution specification.
fn is_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = component;
    loop {
        let word = rest.trim_start_matches(alphanumeric);
        if word.len() == rest.len() {
            return false;
        }
        if word.is_empty() {
            return true;
        }
        let next = word.trim_start_matches(['.', '_', '-']);
        let separator = &word[..word.len() - next.len()];
        if !(matches!(separator, "." | "_" | "__")
            || (!separator.is_empty() && separator.chars().all(|c| c == '-')))
        {
            return false;
        }
        rest = next;
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.registry, self.path))
    }
}

crate::serde_by_text!(Repository);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_printed_in_full() {
        let cases = [
            ("nginx", "docker.io/library/nginx"),
            ("example/web", "docker.io/example/web"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/example/web", "docker.io/example/web"),
            ("ghcr.io/example/a/b/c", "ghcr.io/example/a/b/c"),
            ("localhost/x", "localhost/x"),
            ("localhost:5000/x", "localhost:5000/x"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
            ("[::1]:5000/x", "[::1]:5000/x"),
            ("[::1]/x", "[::1]/x"),
            ("Registry/x", "Registry/x"),
            ("example.com/a__b/c---d/e.f_g", "example.com/a__b/c---d/e.f_g"),
        ];
        for (text, want) in cases {
            let repository: Repository =
                text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(repository.to_string(), want, "{text}");
            assert_eq!(want.parse(), Ok(repository), "{text}");
        }
    }

    #[test]
    fn wrong_names_are_refused_with_the_reason() {
        use RepositoryError as E;
        let cases = [
            ("", E::Empty),
            ("https://example.com/x", E::Scheme("https://")),
            ("example.com/", E::NoPath("example.com".into())),
            ("example.com//x", E::Component("".into())),
            ("example.com/x/", E::Component("".into())),
            ("example.com/UPPER", E::Component("UPPER".into())),
            ("example.com/a___b", E::Component("a___b".into())),
            ("example.com/-a", E::Component("-a".into())),
            ("example.com/a-", E::Component("a-".into())),
            ("example.com/a..b", E::Component("a..b".into())),
            ("example.com:/x", E::Registry("example.com:".into())),
            ("example.com:0/x", E::Registry("example.com:0".into())),
            ("example.com:+1/x", E::Registry("example.com:+1".into())),
            ("example.com:99999/x", E::Registry("example.com:99999".into())),
            ("[::1/x", E::Registry("[::1".into())),
            ("[::1]5000/x", E::Registry("[::1]5000".into())),
            ("user@example.com/x", E::Registry("user@example.com".into())),
            ("example.com/x:1", E::Tagged("example.com/x:1".into())),
            ("nginx:1", E::Tagged("nginx:1".into())),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<Repository>(), Err(want), "{text}");
        }
    }

    #[test]
    fn loopback_and_api_host() {
        let cases = [
            ("localhost:5000/x", true, "localhost:5000"),
            ("registry.localhost/x", true, "registry.localhost"),
            ("127.8.9.1/x", true, "127.8.9.1"),
            ("[::1]:5000/x", true, "[::1]:5000"),
            ("10.0.0.1:5000/x", false, "10.0.0.1:5000"),
            ("localhost.example.com/x", false, "localhost.example.com"),
            ("nginx", false, "registry-1.docker.io"),
        ];
        for (text, loopback, host) in cases {
            let repository: Repository = text.parse().unwrap();
            assert_eq!(
                (repository.is_loopback(), repository.api_host()),
                (loopback, host),
                "{text}"
            );
        }
    }
}
