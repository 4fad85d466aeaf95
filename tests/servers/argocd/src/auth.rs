//! Accounts, session tokens and rights.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::error::{ApiError, ApiResult, Code};

/// An account of the simulated server.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// For `POST /api/v1/session`; `None` for accounts that only have tokens.
    pub password: Option<String>,
    /// What it may do.
    pub rights: Vec<Right>,
}

/// One line of `policy.csv`: `p, NAME, resource, action, object, allow`.
#[derive(Debug, Clone)]
pub struct Right {
    /// `applications`, `projects`, … or `*`.
    pub resource: String,
    /// `get`, `update`, … or `*`.
    pub action: String,
    /// `PROJECT/APPLICATION`; a `*` stands for any text.
    pub object: String,
}

impl Right {
    /// A right to `action` on `resource` `object`.
    pub fn new(resource: &str, action: &str, object: &str) -> Self {
        Self { resource: resource.into(), action: action.into(), object: object.into() }
    }

    fn covers(&self, resource: &str, action: &str, object: &str) -> bool {
        (self.resource == "*" || self.resource == resource)
            && (self.action == "*" || self.action == action)
            && glob(&self.object, object)
    }
}

/// Whether `text` matches a pattern in which `*` is any text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            let Some(rest) = text.strip_prefix(before) else { return false };
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| glob(after, &rest[at..]))
        }
    }
}

impl Account {
    /// The three accounts of the rig: `admin`, `bot` (get, update, sync; get of repositories) and `reader` (get).
    pub fn usual(admin_password: &str) -> Vec<Self> {
        let applications = |actions: &[&str]| {
            actions.iter().map(|action| Right::new("applications", action, "*/*")).collect()
        };
        vec![
            Self {
                name: "admin".into(),
                password: Some(admin_password.to_owned()),
                rights: vec![Right::new("*", "*", "*")],
            },
            Self {
                name: "bot".into(),
                password: None,
                rights: [
                    applications(&["get", "update", "sync"]),
                    vec![Right::new("repositories", "get", "*")],
                ]
                .concat(),
            },
            Self { name: "reader".into(), password: None, rights: applications(&["get"]) },
        ]
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Claims {
    pub(crate) name: String,
    issued_at: String,
    rights: Vec<Right>,
}

impl Claims {
    pub(crate) fn may(&self, resource: &str, action: &str, object: &str) -> bool {
        self.rights.iter().any(|right| right.covers(resource, action, object))
    }

    /// The direct enforcement, whose message names the right.
    pub(crate) fn enforce(&self, resource: &str, action: &str, object: &str) -> ApiResult<()> {
        if self.may(resource, action, object) {
            return Ok(());
        }
        let (name, issued) = (&self.name, &self.issued_at);
        let message = format!(
            "permission denied: {resource}, {action}, {object}, sub: {name}, iat: {issued}"
        );
        Err(ApiError::new(Code::PermissionDenied, message))
    }
}

#[derive(Debug)]
pub(crate) struct Sessions {
    key: [u8; 32],
    pub(crate) accounts: Vec<Account>,
    /// Tokens of sessions that began before this number do not count any more.
    first: AtomicU64,
}

impl Sessions {
    pub(crate) fn new(accounts: Vec<Account>) -> Self {
        let mut key = [0; 32];
        // A predictable key would still only open a simulated server on loopback.
        let _ = getrandom::fill(&mut key);
        Self { key, accounts, first: AtomicU64::new(0) }
    }

    /// A token whose subject is `NAME:CAPABILITY`; `login` or `apiKey`.
    pub(crate) fn token(&self, name: &str, capability: &str) -> String {
        let now = Timestamp::now().as_second();
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
        let claims = json!({ "iss": "argocd", "sub": format!("{name}:{capability}"), "iat": now, "nbf": now, "jti": format!("{}:{}", self.first.load(Ordering::Relaxed), super::cluster::uid()) });
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac_sha256(&self.key, signed.as_bytes())))
    }

    /// Ends all sessions: their tokens are too old from now on.
    pub(crate) fn end(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn login(&self, username: &str, password: &str) -> ApiResult<String> {
        let known = self
            .accounts
            .iter()
            .any(|one| one.name == username && one.password.as_deref() == Some(password));
        if known {
            return Ok(self.token(username, "login"));
        }
        Err(ApiError::new(Code::Unauthenticated, "Invalid username or password"))
    }

    /// Who sent the request; no token and a bearer that is not a JWT are the same.
    pub(crate) fn claims(&self, headers: &HeaderMap) -> ApiResult<Claims> {
        let none = || ApiError::new(Code::Unauthenticated, "no session information");
        let token = token_of(headers).filter(|token| is_jwt(token)).ok_or_else(none)?;
        let (signed, signature) = token.rsplit_once('.').ok_or_else(none)?;
        let right = URL_SAFE_NO_PAD.encode(hmac_sha256(&self.key, signed.as_bytes()));
        if right != signature {
            let words = "invalid session: token signature is invalid: signature is invalid";
            return Err(ApiError::new(Code::Unauthenticated, words));
        }
        let claims =
            signed.split_once('.').and_then(|(_, claims)| decoded(claims)).ok_or_else(none)?;
        let began = claims["jti"].as_str().and_then(|jti| jti.split(':').next()?.parse().ok());
        if began.is_none_or(|began: u64| began < self.first.load(Ordering::Relaxed)) {
            // `golang-jwt`'s words, behind those of `util/session/sessionmanager.go`.
            let words = "invalid session: token has invalid claims: token is expired";
            return Err(ApiError::new(Code::Unauthenticated, words));
        }
        let subject = claims["sub"].as_str().unwrap_or_default();
        let name = subject.split(':').next().unwrap_or_default();
        let account = self.accounts.iter().find(|one| one.name == name).ok_or_else(none)?;
        let issued = claims["iat"].as_i64().and_then(|second| Timestamp::from_second(second).ok());
        let issued_at =
            issued.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
        Ok(Claims { name: name.to_owned(), issued_at, rights: account.rights.clone() })
    }
}

/// The token of the Authorization header, or of the cookie that a login sets.
fn token_of(headers: &HeaderMap) -> Option<String> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if let Some(bearer) = bearer {
        return Some(bearer.to_owned());
    }
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| cookie.strip_prefix("argocd.token=")).map(str::to_owned)
}

fn is_jwt(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    parts.len() == 3 && parts[..2].iter().all(|part| decoded(part).is_some())
}

fn decoded(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// RFC 2104, for a key of at most one block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(one, key)| *one ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let cases = [
            ("*", "a/b", true),
            ("*/*", "a/b", true),
            ("a/*", "a/b", true),
            ("a/*", "b/b", false),
            ("a", "a", true),
            ("*/b", "a/c", false),
        ];
        for (pattern, text, want) in cases {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn hmac_of_rfc_4231_case_2() {
        let got = hex::encode(hmac_sha256(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(got, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn tokens_are_checked() {
        let sessions = Sessions::new(Account::usual("pw"));
        let with = |token: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            sessions.claims(&headers)
        };
        let token = sessions.token("bot", "apiKey");
        let claims = with(&token).unwrap();
        assert_eq!(claims.name, "bot");
        assert!(
            claims.may("applications", "sync", "p/a")
                && !claims.may("applications", "delete", "p/a")
        );
        assert_eq!(with("garbage").unwrap_err().message, "no session information");
        let other = Sessions::new(Account::usual("pw")).token("bot", "apiKey");
        assert_eq!(
            with(&other).unwrap_err().message,
            "invalid session: token signature is invalid: signature is invalid"
        );
        assert!(sessions.login("admin", "pw").is_ok() && sessions.login("bot", "").is_err());
    }
}
