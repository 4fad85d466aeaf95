//! The token of a client, which may be a newer one than that of the beginning.
//!
//! The server renews the token of a login by itself when it has less than five minutes left: it sends the new one as the
//! cookie of its web interface (`server/server.go`, `translateGrpcCookieHeader`). A wait that lasts longer than its token
//! goes on with that one.

use std::sync::{PoisonError, RwLock};

use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// The name of the cookie: `AuthCookieName` in `common/common.go`.
const COOKIE: &str = "argocd.token=";

/// The header that carries the token.
#[derive(Debug)]
pub(super) struct Session(RwLock<Option<HeaderValue>>);

impl Session {
    /// Begins with a token, or without one.
    pub(super) fn new(bearer: Option<HeaderValue>) -> Self {
        Self(RwLock::new(bearer))
    }

    /// The header as it is now.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on with another token.
    pub(super) fn replace(&self, header: HeaderValue) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(header);
    }

    /// Takes the token that an answer brings, if it renews ours.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let cookies = headers.get_all(SET_COOKIE).into_iter();
        let Some(token) = cookies.filter_map(|cookie| renewed(cookie.to_str().ok()?)).next() else {
            return;
        };
        let mut bearer = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Who has none has just asked for one: that is its answer's business.
        if bearer.is_some()
            && let Ok(header) = header(token)
        {
            tracing::debug!("the server has renewed the token");
            *bearer = Some(header);
        }
    }
}

pub(super) fn header(token: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| "the token has characters that none may have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token in a cookie. A logout sends an empty one, and a token of more than four kilobytes comes in pieces.
fn renewed(cookie: &str) -> Option<&str> {
    let token = cookie.strip_prefix(COOKIE)?.split(';').next()?;
    let is_jwt = token.split('.').count() == 3
        && token.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    is_jwt.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_renews() {
        let cases = [
            ("argocd.token=a.b-c.d_e; path=/; SameSite=lax; httpOnly", Some("a.b-c.d_e")),
            ("argocd.token=a.b.c", Some("a.b.c")),
            ("argocd.token=; path=/", None),
            ("argocd.token=2:a.b.c; path=/", None),
            ("argocd.token-1=a.b.c", None),
            ("other=a.b.c", None),
        ];
        for (cookie, want) in cases {
            assert_eq!(renewed(cookie), want, "{cookie}");
        }
    }
}
