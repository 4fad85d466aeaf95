//! The login of one registry, kept for the life of the client.
//!
//! There is no request to ask whether a login is needed: the request itself is sent, and a challenge is answered. The
//! answer is kept, so later requests carry their login at once. The transport sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use verbatim_credentials::FoundLogin;
use verbatim_oci::Repository;

use crate::ErrorKind;
use crate::auth::challenge::Challenge;
use crate::auth::scope::TokenScope;

/// How many tokens are kept for one registry, one for each set of repositories. Then the oldest is dropped.
const MOST_TOKENS: usize = 64;

/// The kind of login that a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginScheme {
    /// Name and password with every request.
    Basic,
    /// A token from a token server.
    Bearer { realm: Url, service: Option<String> },
}

/// The login of one registry.
#[derive(Debug, Default)]
pub(crate) struct Login {
    pub(crate) scheme: Option<LoginScheme>,
    tokens: Vec<CachedToken>,
    found: BTreeMap<Repository, Arc<FoundLogin>>,
}

#[derive(Debug)]
struct CachedToken {
    need: TokenScope,
    header: HeaderValue,
    good_until: Instant,
}

impl Login {
    /// What the keychain has for a repository.
    pub(crate) fn found(&self, repository: &Repository) -> Option<&Arc<FoundLogin>> {
        self.found.get(repository)
    }

    pub(crate) fn keep(&mut self, repository: &Repository, found: Arc<FoundLogin>) {
        self.found.insert(repository.clone(), found);
    }

    /// A token that is still valid for `need`.
    pub(crate) fn token(&self, need: &TokenScope, now: Instant) -> Option<HeaderValue> {
        let good = |token: &&CachedToken| token.good_until > now && token.need.covers(need);
        self.tokens.iter().find(good).map(|token| token.header.clone())
    }

    pub(crate) fn keep_token(
        &mut self,
        need: TokenScope,
        header: HeaderValue,
        good_until: Instant,
    ) {
        self.tokens.retain(|token| !need.covers(&token.need));
        if self.tokens.len() == MOST_TOKENS {
            self.tokens.remove(0);
        }
        self.tokens.push(CachedToken { need, header, good_until });
    }

    /// Drops the token that the registry refused, and the credentials, which may have been replaced.
    pub(crate) fn forget(&mut self, refused: &HeaderValue) {
        self.tokens.retain(|token| token.header != refused);
        self.found.clear();
    }
}

/// The scheme that answers `challenges`, and the requested scopes: Bearer if it is offered, else Basic.
pub(crate) fn choose(challenges: &[Challenge]) -> Result<(LoginScheme, Option<&str>), ErrorKind> {
    if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
        let realm = bearer.get("realm").and_then(|realm| Url::parse(realm).ok());
        let Some(realm) = realm.filter(Url::has_host) else {
            return Err(ErrorKind::Malformed("the login challenge has no realm URL".to_owned()));
        };
        let service = bearer.get("service").map(str::to_owned);
        return Ok((LoginScheme::Bearer { realm, service }, bearer.get("scope")));
    }
    if challenges.iter().any(|challenge| challenge.scheme == "basic") {
        return Ok((LoginScheme::Basic, None));
    }
    let offered: Vec<&str> = challenges.iter().map(|one| one.scheme.as_str()).collect();
    Err(ErrorKind::LoginUnsupported(offered.join(", ")))
}

/// The header of Basic login.
pub(crate) fn basic_header(
    username: &str,
    password: &SecretString,
) -> Result<HeaderValue, ErrorKind> {
    let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
    sensitive(format!("Basic {}", STANDARD.encode(pair.expose_secret())))
}

/// The header of a token.
pub(crate) fn bearer_header(token: &SecretString) -> Result<HeaderValue, ErrorKind> {
    sensitive(format!("Bearer {}", token.expose_secret()))
}

/// A header value whose `Debug` form shows nothing.
fn sensitive(text: String) -> Result<HeaderValue, ErrorKind> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        ErrorKind::Malformed("the token has characters that are not allowed in a header".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let parameters = parameters.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
        Challenge { scheme: scheme.to_owned(), parameters }
    }

    #[test]
    fn bearer_is_preferred_and_needs_a_realm() {
        let basic = challenge("basic", &[("realm", "x")]);
        let bearer =
            challenge("bearer", &[("realm", "https://h/t"), ("service", "s"), ("scope", "a b")]);
        let (scheme, scope) = (
            LoginScheme::Bearer {
                realm: "https://h/t".parse().unwrap(),
                service: Some("s".into()),
            },
            Some("a b"),
        );
        assert_eq!(choose(&[basic.clone(), bearer.clone()]).unwrap(), (scheme, scope));
        assert_eq!(choose(&[basic]).unwrap(), (LoginScheme::Basic, None));
        let refused = |challenges: &[Challenge], want: &str| {
            assert_eq!(choose(challenges).unwrap_err().to_string(), want);
        };
        let no_realm = "unexpected answer: the login challenge has no realm URL";
        refused(&[challenge("bearer", &[("realm", "token")])], no_realm);
        refused(&[challenge("bearer", &[("realm", "data:x")])], no_realm);
        refused(&[challenge("bearer", &[])], no_realm);
        let unknown = "the registry wants an unsupported kind of login: negotiate, ntlm";
        refused(&[challenge("negotiate", &[]), challenge("ntlm", &[])], unknown);
    }

    #[test]
    fn tokens_serve_while_they_are_good_and_cover_the_need() {
        let repository: Repository = "h.io/a".parse().unwrap();
        let (pull, push) = (TokenScope::pull(&repository), TokenScope::push(&repository));
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        let header = |text: &str| bearer_header(&text.into()).unwrap();
        let mut login = Login::default();
        login.keep_token(pull.clone(), header("pull"), later);
        assert_eq!(login.token(&pull, now), Some(header("pull")));
        assert_eq!(login.token(&push, now), None);
        assert_eq!(login.token(&pull, later), None);
        login.keep_token(push.clone(), header("push"), later);
        assert_eq!(login.token(&pull, now), Some(header("push")));
        assert_eq!(login.tokens.len(), 1);
        login.forget(&header("push"));
        assert_eq!(login.token(&pull, now), None);
    }

    #[test]
    fn no_header_shows_its_secret() {
        let header = basic_header("user", &"s3cr3t".into()).unwrap();
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert!(bearer_header(&"line\nbreak".into()).is_err());
    }
}
