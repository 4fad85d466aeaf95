//! Addresses as people may see them: in messages, logs and records, without what logs in.
//!
//! A password stands before the host, and a CI job often writes one into the remote of its checkout. Signed downloads
//! and upload sessions carry their secret in the query.

use std::fmt;

use url::Url;

/// A URL that holds no credentials, so that it cannot print any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedactedUrl(String);

impl RedactedUrl {
    /// Where a request goes: without user, password, query and fragment.
    pub fn of_request(url: &Url) -> Self {
        let mut url = url.clone();
        // Fails for URLs that cannot have a user, which then have none to hide.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        Self(url.into())
    }

    /// Where a git repository is, in any spelling that git takes: as it was written, without user and password. The user
    /// of an SSH address (`git@…`) is no secret and stays.
    pub fn of_repository(address: &str) -> Self {
        let text = redact_text(address);
        match Url::parse(&text) {
            // Other spellings of a host, for example `https:user:password@host`.
            Ok(mut url)
                if url.password().is_some()
                    || (!url.username().is_empty() && !is_ssh(url.scheme())) =>
            {
                let _ = url.set_password(None);
                let _ = url.set_username("");
                Self(url.into())
            }
            _ => Self(text),
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text, for example of another program, in which every URL is without user and password.
pub fn redact_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let ends = |c: char| c.is_whitespace() || c.is_control() || "/?#'\"<>`".contains(c);
        let (authority, behind) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let user = login.split(':').next().unwrap_or_default();
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let scheme = &before[before.trim_end_matches(is_scheme).len()..];
        if is_ssh(scheme) && !user.is_empty() {
            shown.push_str(user);
            shown.push('@');
        }
        shown.push_str(host);
        rest = behind;
    }
    shown + rest
}

fn is_ssh(scheme: &str) -> bool {
    scheme.ends_with("ssh")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_shown_without_login_and_query() {
        let url: Url = "https://user:s3cr3t@h/v2/a?sig=s3cr3t#s3cr3t".parse().unwrap();
        let shown = RedactedUrl::of_request(&url);
        assert_eq!(format!("{shown} {shown:?}"), "https://h/v2/a https://h/v2/a");
        let file: Url = "file:///x".parse().unwrap();
        assert_eq!(RedactedUrl::of_request(&file).as_str(), "file:///x");
    }

    #[test]
    fn repositories_are_shown_as_they_were_written() {
        let cases = [
            ("https://user:secret@git.example/a/b.git", "https://git.example/a/b.git"),
            ("https://token@git.example/a", "https://git.example/a"),
            ("https://a@b:c@git.example/a", "https://git.example/a"),
            ("https://:secret@git.example?x=a@b", "https://git.example?x=a@b"),
            ("https://git.example/a/b@v1", "https://git.example/a/b@v1"),
            ("https://git.example", "https://git.example"),
            ("https:user:secret@git.example/a", "https://git.example/a"),
            (r"https:\\user:secret@git.example/a", "https://git.example/a"),
            ("https://user:secret@git.example:port/a", "https://git.example:port/a"),
            ("ssh://git@git.example:22/a/b", "ssh://git@git.example:22/a/b"),
            ("git+ssh://git@git.example/a", "git+ssh://git@git.example/a"),
            ("ssh://git:secret@git.example/a", "ssh://git@git.example/a"),
            ("git@git.example:a/b.git", "git@git.example:a/b.git"),
            ("/srv/git/a.git", "/srv/git/a.git"),
            ("file:///srv/git/a.git", "file:///srv/git/a.git"),
            ("", ""),
        ];
        for (address, want) in cases {
            assert_eq!(RedactedUrl::of_repository(address).as_str(), want, "{address}");
        }
    }

    #[test]
    fn every_url_of_a_text_is_shown_without_login() {
        let cases = [
            (
                "fatal: 'https://me:pw@git.example/a' and ssh://git@h/b",
                "fatal: 'https://git.example/a' and ssh://git@h/b",
            ),
            ("unable to access 'https://tok@h/': no", "unable to access 'https://h/': no"),
            (
                "unable to access 'https://x:s3cr3t@git.example/a.git/': error",
                "unable to access 'https://git.example/a.git/': error",
            ),
            ("https://git.example/a@b and ssh://git@h", "https://git.example/a@b and ssh://git@h"),
            ("no URL, me@example.com", "no URL, me@example.com"),
            ("://a:b@c ://", "://c ://"),
        ];
        for (text, want) in cases {
            assert_eq!(redact_text(text), want);
        }
    }

    proptest! {
        #[test]
        fn no_password_passes(
            scheme in "(https?|ssh|git\\+ssh|git|ftp)",
            user in "[a-z@]{0,6}",
            before in "[^:/?#@]{0,9}",
            path in "[a-z/@:?#]{0,9}",
        ) {
            let address = format!("{scheme}://{user}:s3cr3t@host.example/{path}");
            for text in [RedactedUrl::of_repository(&address).to_string(), redact_text(&format!("{before} {address}"))] {
                prop_assert!(!text.contains("s3cr3t"), "{}", text);
                prop_assert!(text.contains("host.example"), "{}", text);
            }
        }

        #[test]
        fn no_input_panics(text in ".{0,60}") {
            let _ = RedactedUrl::of_repository(&text);
        }
    }
}
