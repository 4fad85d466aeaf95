//! The request for an access token and its answer, by the [token protocol][spec] of registries. Pure.
//!
//! [spec]: https://distribution.github.io/distribution/spec/auth/token/

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;
use verbatim_credentials::Credential;

use crate::ErrorKind;
use crate::auth::scope::TokenScope;

/// The name of this program for token servers.
const CLIENT_ID: &str = "verbatim";

/// The default of the specification.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// A token that expires this soon is renewed: the request that carries it must arrive in time.
const SKEW: Duration = Duration::from_secs(5);

/// How to request a token.
#[derive(Debug)]
pub(crate) enum TokenRequest {
    /// GET, with Basic login unless anonymous.
    Get { url: Url, basic: Option<(String, SecretString)> },
    /// POST of a form with a refresh token (OAuth 2).
    Post { url: Url, form: SecretString },
}

/// An access token and how long it is valid.
#[derive(Debug)]
pub(crate) struct AccessToken {
    pub(crate) secret: SecretString,
    pub(crate) lifetime: Duration,
}

/// The request for a token that covers `need`.
pub(crate) fn request(
    realm: &Url,
    service: Option<&str>,
    need: &TokenScope,
    credential: &Credential,
) -> TokenRequest {
    let scopes = need.scopes();
    if let Credential::IdentityToken(token) = credential {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("client_id", CLIENT_ID)
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", &scopes.join(" "))
            .append_pair("refresh_token", token.expose_secret());
        return TokenRequest::Post { url: realm.clone(), form: form.finish().into() };
    }
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        // One parameter for each scope: some token servers do not accept several in one.
        for scope in &scopes {
            query.append_pair("scope", scope);
        }
        if let Credential::Basic { username, .. } = credential {
            query.append_pair("account", username).append_pair("client_id", CLIENT_ID);
        }
    }
    let basic = match credential {
        Credential::Basic { username, password } => Some((username.clone(), password.clone())),
        _ => None,
    };
    TokenRequest::Get { url, basic }
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    /// Some servers write a text, and what cannot be read counts as not said.
    #[serde(default)]
    expires_in: serde_json::Value,
}

/// Reads the answer. Its parts are secrets and stay out of the error.
pub(crate) fn read(body: &[u8]) -> Result<AccessToken, ErrorKind> {
    let malformed = || ErrorKind::Malformed("the token server sent no token".to_owned());
    let answer: TokenResponse = serde_json::from_slice(body).map_err(|_| malformed())?;
    let filled = |token: Option<SecretString>| token.filter(|t| !t.expose_secret().is_empty());
    let secret = filled(answer.token).or(filled(answer.access_token)).ok_or_else(malformed)?;
    let seconds = match &answer.expires_in {
        serde_json::Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let stated = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let lifetime = stated.filter(|stated| !stated.is_zero()).unwrap_or(DEFAULT_LIFETIME);
    Ok(AccessToken { secret, lifetime: lifetime.saturating_sub(SKEW.min(lifetime / 5)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(credential: Credential) -> String {
        let repository = "h.io/a/b".parse().unwrap();
        let need = TokenScope::push(&repository).and_scopes("registry:catalog:*");
        let realm = "https://h.io/token?x=1".parse().unwrap();
        match request(&realm, Some("h.io"), &need, &credential) {
            TokenRequest::Get { url, basic } => {
                let basic =
                    basic.map(|(name, secret)| format!("{name}:{}", secret.expose_secret()));
                format!("GET {url} {basic:?}")
            }
            TokenRequest::Post { url, form } => format!("POST {url} {}", form.expose_secret()),
        }
    }

    #[test]
    fn requests_follow_the_protocol() {
        let scopes = "scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=registry%3Acatalog%3A*";
        assert_eq!(
            show(Credential::Anonymous),
            format!("GET https://h.io/token?x=1&service=h.io&{scopes} None")
        );
        assert_eq!(
            show(Credential::Basic { username: "u".into(), password: "p".into() }),
            format!(
                "GET https://h.io/token?x=1&service=h.io&{scopes}&account=u&client_id=verbatim Some(\"u:p\")"
            )
        );
        assert_eq!(
            show(Credential::IdentityToken("t&t".into())),
            "POST https://h.io/token?x=1 grant_type=refresh_token&client_id=verbatim&service=h.io\
             &scope=repository%3Aa%2Fb%3Apull%2Cpush+registry%3Acatalog%3A*&refresh_token=t%26t"
        );
    }

    #[test]
    fn answers_are_read() {
        let check = |body: &str, want: Option<(&str, u64)>| {
            let got = read(body.as_bytes());
            let got = got.as_ref().ok().map(|t| (t.secret.expose_secret(), t.lifetime.as_secs()));
            assert_eq!(got, want, "{body}");
        };
        check(
            r#"{"token":"t","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}"#,
            Some(("t", 295)),
        );
        check(r#"{"access_token":"a"}"#, Some(("a", 55)));
        check(r#"{"token":"","access_token":"a","expires_in":10}"#, Some(("a", 8)));
        check(r#"{"token":"t","expires_in":0}"#, Some(("t", 55)));
        check(r#"{"token":"t","expires_in":-5}"#, Some(("t", 55)));
        check(r#"{"token":"t","expires_in":1e400}"#, None);
        check(r#"{"token":"t","expires_in":1e300}"#, Some(("t", 55)));
        check(r#"{"token":"t","expires_in":"300"}"#, Some(("t", 295)));
        check(r#"{"token":"t","expires_in":null,"access_token":null}"#, Some(("t", 55)));
        check(r#"{"token":"t","expires_in":"soon"}"#, Some(("t", 55)));
        check("{}", None);
        check("<html>", None);
    }
}
