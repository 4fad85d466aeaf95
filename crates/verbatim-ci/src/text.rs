//! The texts that CIs give: variables, URLs, path segments.

use std::collections::BTreeMap;

/// Environment variables. An empty one counts as absent: several CIs set what does not apply to "".
pub(crate) struct Env<'a>(pub(crate) &'a BTreeMap<String, String>);

impl Env<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// The value of the first name that is set.
    pub(crate) fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Whether it is the word `true`, in any case (`True` on Azure).
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// A URL without the user and password in front of its host. The user of an ssh URL (`git@…`) is no secret and stays;
/// what is no URL is returned as it is. (`verbatim-http` has a type for this, which is built with TLS: too much for a crate that
/// is pure, and that repeats what a CI says letter by letter.)
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = match user.split(':').next() {
        Some(name) if scheme.ends_with("ssh") && !name.is_empty() => format!("{name}@"),
        _ => String::new(),
    };
    format!("{scheme}://{user}{host}{path}")
}

/// A path segment of a URL: project names may have blanks.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// `host/owner/name` of a git remote in any spelling, for comparing two of them.
pub(crate) fn repository_key(url: &str) -> String {
    let plain = without_credentials(url);
    let rest = plain.split_once("://").map_or(plain.as_str(), |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    // The scp form: host:owner/name.
    let rest = rest.replacen(':', "/", 1);
    rest.trim_end_matches('/').trim_end_matches(".git").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_pass() {
        for (url, want) in [
            ("https://user:secret@git.example.com/a/b.git", "https://git.example.com/a/b.git"),
            ("https://token@git.example.com/a/b", "https://git.example.com/a/b"),
            ("https://a@b:c@git.example.com/a", "https://git.example.com/a"),
            ("https://git.example.com/a/b@v1", "https://git.example.com/a/b@v1"),
            ("https://git.example.com", "https://git.example.com"),
            ("https://:secret@git.example.com?x=a@b", "https://git.example.com?x=a@b"),
            ("ssh://git@git.example.com:22/a/b", "ssh://git@git.example.com:22/a/b"),
            ("ssh://git:secret@git.example.com/a", "ssh://git@git.example.com/a"),
            ("git@git.example.com:a/b.git", "git@git.example.com:a/b.git"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(url), want, "{url}");
        }
    }

    #[test]
    fn one_repository_in_many_spellings() {
        for url in [
            "https://github.com/acme/shop.git",
            "https://token@github.com/Acme/shop",
            "git@github.com:acme/shop.git",
            "ssh://git@github.com/acme/shop.git",
            "git://github.com/acme/shop.git",
        ] {
            assert_eq!(repository_key(url), "github.com/acme/shop", "{url}");
        }
        assert_ne!(repository_key("https://github.com/other/shop"), "github.com/acme/shop");
    }
}
