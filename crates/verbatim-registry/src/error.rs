//! Errors of requests to a registry: the outer type says where, the kind says why.
//!
//! Hides the types of the HTTP library, and keeps URLs without query and credentials.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use oci_distribution::errors::OciError;
use serde::Deserialize as _;
use serde_json::Value;
use url::Url;
use verbatim_credentials::FoundLogin;
use verbatim_http::RedactedUrl;
use verbatim_oci::{Digest, ManifestError, Platform, Tag};
use verbatim_text::plain;

/// A request to a registry failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} ({url})")]
pub struct Error {
    action: String,
    url: String,
    /// The login that was shown, and whose rights are too few.
    login: Option<String>,
    #[source]
    kind: Box<ErrorKind>,
}

impl Error {
    pub(crate) fn new(action: impl Into<String>, url: &Url, kind: ErrorKind) -> Self {
        Self::at(action, RedactedUrl::of_request(url), kind)
    }

    /// For a place that is not a URL, or that holds no secret.
    pub(crate) fn at(action: impl Into<String>, place: impl fmt::Display, kind: ErrorKind) -> Self {
        Self { action: action.into(), url: place.to_string(), login: None, kind: Box::new(kind) }
    }

    /// Why.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The same, of a request that showed this login.
    pub(crate) fn with_login(self, login: String) -> Self {
        Self { login: Some(login), ..self }
    }

    /// The login that was not allowed what was asked for, and where it is from.
    pub fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// The URL of the request, without query and credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same request, with another reason.
    pub(crate) fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind: Box::new(kind), ..self }
    }

    /// Whether a retry may succeed.
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// Whether there is no such repository, or none that may be seen.
    pub fn is_no_repository(&self) -> bool {
        matches!(*self.kind, ErrorKind::NoRepository(_))
    }

    /// Whether the registry answered 404.
    pub fn is_not_found(&self) -> bool {
        matches!(*self.kind, ErrorKind::NotFound(_))
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection, or one that broke before the answer.
    #[error("no answer")]
    Unreachable(#[source] NetworkError),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The answer began and did not end.
    #[error("the answer ended early")]
    BrokenOff(#[source] NetworkError),
    /// The server's certificate is not trusted, or TLS failed otherwise.
    #[error("no secure connection")]
    Tls(#[source] NetworkError),
    /// The client uses TLS, and the server speaks plain HTTP.
    #[error("the server does not speak TLS")]
    NotTls,
    /// A registry that is reached over TLS redirects to plain HTTP.
    #[error("the registry redirects to plain HTTP, {0}")]
    PlainHttpRefused(RedactedUrl),
    /// The registry names a token server outside its own site.
    #[error("the token server {0} is outside the registry's domain")]
    RealmRefused(String),
    /// The registry wants a kind of login that is not supported, or that the credential does not fit.
    #[error("the registry wants an unsupported kind of login: {0}")]
    LoginUnsupported(String),
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(verbatim_credentials::Error),
    /// Not logged in (401).
    #[error("not logged in: {0}")]
    Unauthorized(ErrorResponse),
    /// The login is not accepted (401).
    #[error("the login of {login} is not accepted: {response}")]
    LoginRefused {
        /// Whose, and from where.
        login: String,
        /// What the registry says.
        response: ErrorResponse,
    },
    /// The registry wants a login, and the place that is meant to have it cannot be used.
    #[error("not logged in: {response}")]
    NoUsableLogin {
        /// What the registry says.
        response: ErrorResponse,
        /// Why.
        #[source]
        why: UnusableLogin,
    },
    /// Logged in, and not allowed (403).
    #[error("not allowed: {0}")]
    Forbidden(ErrorResponse),
    /// Absent, or hidden without read access (404).
    #[error("not found: {0}")]
    NotFound(ErrorResponse),
    /// Too many requests (429).
    #[error("too many requests: {response}")]
    RateLimited {
        /// What the registry says.
        response: ErrorResponse,
        /// How long it asks clients to wait.
        retry_after: Option<Duration>,
    },
    /// The registry failed (5xx, or 408).
    #[error("the registry failed: {response}")]
    ServerError {
        /// What the registry says.
        response: ErrorResponse,
        /// How long it asks clients to wait.
        retry_after: Option<Duration>,
    },
    /// Any other error status.
    #[error("refused: {0}")]
    Refused(ErrorResponse),
    /// The content does not have the expected digest.
    #[error("{claim} is {expected}, but the content has {actual}")]
    DigestMismatch {
        /// Where the expected digest comes from.
        claim: DigestClaim,
        /// The expected digest.
        expected: Digest,
        /// The hash of the content.
        actual: Digest,
    },
    /// The answer violates the specification.
    #[error("unexpected answer: {0}")]
    Malformed(String),
    /// The bytes are not a manifest of a known type.
    #[error("the manifest is malformed")]
    Manifest(#[source] ManifestError),
    /// More bytes than the limit.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The index has no image for the platform.
    #[error("no image for {wanted}, only for {}", list(.available))]
    NoPlatform {
        /// The requested platform.
        wanted: Platform,
        /// The platforms in the index.
        available: Vec<Platform>,
    },
    /// The record is stored, but the listing of its subject does not contain it.
    #[error("{record} is stored, but the registry does not list it")]
    NotListed {
        /// The digest of the record's manifest.
        record: Digest,
    },
    /// There is no such repository, or the login may not see it: nothing is known of what is in it.
    #[error("there is no such repository, or it may not be read: {0}")]
    NoRepository(ErrorResponse),
    /// More referrers than are read.
    #[error("more than {limit} referrers")]
    TooManyReferrers {
        /// The limit.
        limit: usize,
    },
    /// The registry does not allow changes to the fallback tag.
    #[error(
        "the registry does not allow changes to the tag `{tag}`, which lists referrers: {response}"
    )]
    ImmutableTag {
        /// The fallback tag.
        tag: Tag,
        /// What the registry says.
        response: ErrorResponse,
    },
    /// The index under the fallback tag has reached the size limit of manifests.
    #[error("the list of referrers is larger than {limit} bytes, the most that registries accept")]
    ListingFull {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The tag already names another image.
    #[error("the tag already points to {found}")]
    TagTaken {
        /// The digest that it names.
        found: Digest,
    },
    /// The manifest has no subject, so it cannot be listed as a referrer.
    #[error("{0} has no subject")]
    NoSubject(Digest),
    /// The settings of the client are wrong.
    #[error("{0}")]
    Config(String),
}

/// Why there is no login.
#[derive(Clone, Debug)]
pub struct UnusableLogin(pub(crate) Arc<FoundLogin>);

impl fmt::Display for UnusableLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.unusable {
            Some(error) => error.fmt(f),
            None => f.write_str("no credentials"),
        }
    }
}

impl std::error::Error for UnusableLogin {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.unusable.as_ref().and_then(std::error::Error::source)
    }
}

/// Where an expected digest comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestClaim {
    /// The caller.
    Asked,
    /// The registry, in `Docker-Content-Digest`.
    Header,
}

impl fmt::Display for DigestClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "the requested digest",
            Self::Header => "the digest in the registry's response header",
        })
    }
}

/// The innermost error of the network stack.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(pub(crate) String);

/// An error response of a registry: the status, and its [error document][spec].
///
/// [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The HTTP status.
    pub status: u16,
    /// The entries of the document; empty without a document.
    pub errors: Vec<ResponseError>,
}

/// One entry of a registry's error document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseError {
    /// The code, `MANIFEST_UNKNOWN` for example. Registries also have codes of their own.
    pub code: String,
    /// The registry's message; may be empty.
    pub message: String,
    /// Details, in any form.
    pub detail: Value,
}

impl From<OciError> for ResponseError {
    fn from(error: OciError) -> Self {
        let code = match serde_json::to_value(&error.code) {
            Ok(Value::String(code)) => code,
            _ => String::new(),
        };
        Self { code, message: error.message, detail: error.detail }
    }
}

impl ResponseError {
    /// Reads an entry. A code must not be lost because something next to it is odd, or is written as `null`.
    fn read(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let odd = || Self {
            code: text("code"),
            message: text("message"),
            detail: entry["detail"].clone(),
        };
        OciError::deserialize(entry).map_or_else(|_| odd(), Self::from)
    }
}

impl ErrorResponse {
    /// Reads the body of an error response. A body that is not an error document is dropped: an HTML page of a proxy
    /// helps nobody.
    pub(crate) fn read(status: StatusCode, body: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let entries = document["errors"].as_array().into_iter().flatten().map(ResponseError::read);
        let errors = entries.filter(|one| !one.code.is_empty() || !one.message.is_empty());
        Self { status: status.as_u16(), errors: errors.collect() }
    }

    /// The kind of a refusal that says nothing about the content: of a repository that is not there, or that may not be seen.
    /// `None` if it is another one.
    ///
    /// <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes>
    pub(crate) fn hides_repository(&self) -> Option<ErrorKind> {
        if self.has_code("NAME_UNKNOWN") || self.has_code("NAME_INVALID") {
            return Some(ErrorKind::NoRepository(self.clone()));
        }
        let is_denied = self.has_code("DENIED") || self.has_code("UNAUTHORIZED");
        is_denied.then(|| ErrorKind::Forbidden(self.clone()))
    }

    /// Whether the registry gives this code.
    /// Registries differ in the case of letters.
    pub fn has_code(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code.eq_ignore_ascii_case(code))
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        let reason = StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
        if let Some(reason) = reason {
            write!(f, " {reason}")?;
        }
        for (n, error) in self.errors.iter().enumerate() {
            f.write_str(if n == 0 { ", " } else { "; " })?;
            f.write_str(&error.code)?;
            if !error.message.is_empty() {
                write!(f, ": {}", plain(error.message.lines().next().unwrap_or_default()))?;
            }
        }
        Ok(())
    }
}

impl ErrorKind {
    /// The kind of an error response.
    pub(crate) fn of_status(
        status: StatusCode,
        response: ErrorResponse,
        retry_after: Option<Duration>,
    ) -> Self {
        match status.as_u16() {
            401 => Self::Unauthorized(response),
            403 => Self::Forbidden(response),
            404 => Self::NotFound(response),
            429 => Self::RateLimited { response, retry_after },
            408 | 500..=599 => Self::ServerError { response, retry_after },
            _ => Self::Refused(response),
        }
    }

    /// Whether a retry may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::BrokenOff(_) => true,
            Self::RateLimited { .. } => true,
            // A retry does not change 501, 505 and the like.
            Self::ServerError { response, .. } => {
                matches!(response.status, 408 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }

    /// The answer of a registry that does not do what it was asked for, and would not do it in a moment either.
    pub(crate) fn refusal(&self) -> Option<&ErrorResponse> {
        match self {
            Self::Unauthorized(response)
            | Self::LoginRefused { response, .. }
            | Self::NoUsableLogin { response, .. }
            | Self::Forbidden(response)
            | Self::NotFound(response)
            | Self::Refused(response) => Some(response),
            Self::ServerError { response, .. } if !self.is_retryable() => Some(response),
            _ => None,
        }
    }

    /// How long the registry asks clients to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::ServerError { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    if names.is_empty() { "unnamed platforms".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_kind_and_few_are_repeated() {
        for code in 100..=599 {
            let status = StatusCode::from_u16(code).unwrap();
            let response = ErrorResponse { status: code, errors: vec![] };
            let kind = ErrorKind::of_status(status, response, Some(Duration::from_secs(1)));
            let name = match &kind {
                ErrorKind::Unauthorized(_) => "unauthorized",
                ErrorKind::Forbidden(_) => "forbidden",
                ErrorKind::NotFound(_) => "not found",
                ErrorKind::RateLimited { .. } => "limited",
                ErrorKind::ServerError { .. } => "server",
                ErrorKind::Refused(_) => "refused",
                other => panic!("{code}: {other}"),
            };
            let want = match code {
                401 => "unauthorized",
                403 => "forbidden",
                404 => "not found",
                429 => "limited",
                408 | 500.. => "server",
                _ => "refused",
            };
            assert_eq!(name, want, "{code}");
            let repeated = [408, 429, 500, 502, 503, 504].contains(&code);
            assert_eq!(kind.is_retryable(), repeated, "{code}");
            assert_eq!(kind.retry_after().is_some(), code == 408 || code == 429 || code >= 500);
            assert!(kind.to_string().contains(&code.to_string()), "{kind}");
        }
    }

    #[test]
    fn connections_are_tried_again_and_nonsense_is_not() {
        let cause = || NetworkError("reset".into());
        assert!(ErrorKind::Unreachable(cause()).is_retryable());
        assert!(ErrorKind::BrokenOff(cause()).is_retryable());
        assert!(ErrorKind::Timeout(Duration::ZERO).is_retryable());
        assert!(!ErrorKind::Tls(cause()).is_retryable());
        assert!(!ErrorKind::Malformed("x".into()).is_retryable());
    }

    #[test]
    fn the_words_of_the_registry_are_kept() {
        let check = |status: u16, body: &str, want: &str| {
            let response =
                ErrorResponse::read(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(response.to_string(), want);
        };
        check(404, "", "404 Not Found");
        check(404, "<html>no</html>", "404 Not Found");
        check(404, "404 page not found\n", "404 Not Found");
        check(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"x":1}}]}"#,
            "404 Not Found, MANIFEST_UNKNOWN: manifest unknown",
        );
        check(
            403,
            r#"{"errors":[{"code":"DENIED"},{"code":"OUR_OWN","message":"two\nlines"}]}"#,
            "403 Forbidden, DENIED; OUR_OWN: two",
        );
        check(599, r#"{"errors":[]}"#, "599");
        check(404, r#"{"errors":null}"#, "404 Not Found");
        check(404, r#"{"errors":{"code":"X"}}"#, "404 Not Found");
        // A code counts, whatever stands next to it.
        check(
            404,
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":null,"detail":null}, 5, {"code":7}]}"#,
            "404 Not Found, NAME_UNKNOWN",
        );
    }

    #[test]
    fn urls_are_kept_without_secrets() {
        let url: Url = "https://user:s3cr3t@h/v2/a?sig=s3cr3t#s3cr3t".parse().unwrap();
        let error = Error::new("read a blob", &url, ErrorKind::NotTls);
        assert_eq!(error.to_string(), "cannot read a blob (https://h/v2/a)");
    }
}
