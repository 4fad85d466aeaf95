//! Judges answers: which status, code and body mean what. Pure: nothing is received here.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use verbatim_text::joined;

use crate::api::error::ErrorKind;

/// The head of an answer, as far as judging needs it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnswerHead<'a> {
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Location`.
    pub location: Option<&'a str>,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
}

/// The error envelope of grpc-gateway 1.16.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorEnvelope {
    code: Option<i64>,
    message: String,
}

/// The error envelope of a stream, which is also what a stream ends with.
#[derive(Debug, Deserialize)]
struct StreamEnvelope {
    error: StreamFailure,
}

#[derive(Debug, Deserialize)]
struct StreamFailure {
    grpc_code: i64,
    #[serde(default)]
    message: String,
}

/// The error of an answer, however it is wrapped.
fn envelope(body: &[u8]) -> Option<(i64, String)> {
    if let Ok(ErrorEnvelope { code: Some(code), message }) = serde_json::from_slice(body) {
        return Some((code, message));
    }
    let StreamEnvelope { error } = serde_json::from_slice(body).ok()?;
    Some((error.grpc_code, error.message))
}

/// gRPC status codes that Argo CD uses.
/// <https://github.com/grpc/grpc/blob/v1.74.0/doc/statuscodes.md>
mod code {
    pub(super) const UNKNOWN: i64 = 2;
    pub(super) const INVALID_ARGUMENT: i64 = 3;
    pub(super) const NOT_FOUND: i64 = 5;
    pub(super) const PERMISSION_DENIED: i64 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i64 = 8;
    pub(super) const FAILED_PRECONDITION: i64 = 9;
    pub(super) const INTERNAL: i64 = 13;
    pub(super) const UNAUTHENTICATED: i64 = 16;
}

/// Reads an answer that should hold a `T`.
pub(crate) fn decode<T: DeserializeOwned>(
    head: AnswerHead<'_>,
    body: &[u8],
) -> Result<T, ErrorKind> {
    if let Some(kind) = classify(head, body) {
        return Err(kind);
    }
    serde_json::from_slice(body).map_err(|error| {
        if error.is_eof() {
            ErrorKind::Truncated(body.len())
        } else {
            // Position and reason only: the value may be a secret.
            ErrorKind::Malformed { length: body.len(), reason: without_values(&error) }
        }
    })
}

/// serde_json quotes a wrong value in its message; line and column are enough for us.
fn without_values(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field has another type than expected",
        serde_json::error::Category::Io => "it could not be read",
        _ => "it is not JSON",
    };
    format!("{what}, line {} column {}", error.line(), error.column())
}

/// The error in an answer, if it is one.
pub(crate) fn classify(head: AnswerHead<'_>, body: &[u8]) -> Option<ErrorKind> {
    let is_json = media_type(head.content_type) == "application/json";
    if (300..400).contains(&head.status) {
        return Some(ErrorKind::Redirected(head.location.unwrap_or("nowhere").to_owned()));
    }
    if (200..300).contains(&head.status) {
        return (!is_json).then(|| not_argocd(head));
    }
    let envelope = if is_json { envelope(body) } else { None };
    let Some((code, message)) = envelope else {
        let kind = if wants_tls(head.status, body) {
            ErrorKind::OtherScheme { speaks_tls: true }
        } else {
            by_status(head)
        };
        return Some(kind);
    };
    if let Some(kind) = by_text(code, &message) {
        return Some(kind);
    }
    let message = joined(&message);
    Some(match code {
        code::UNAUTHENTICATED => ErrorKind::Unauthenticated(message),
        code::PERMISSION_DENIED => ErrorKind::PermissionDenied(message),
        code::NOT_FOUND => ErrorKind::NotFound(message),
        code::RESOURCE_EXHAUSTED => ErrorKind::RateLimited { retry_after: retry_after(head) },
        code::INVALID_ARGUMENT | code::FAILED_PRECONDITION => ErrorKind::Refused(message),
        _ if head.status < 500 => ErrorKind::Refused(message),
        _ => ErrorKind::ServerError { status: head.status, message },
    })
}

/// Whether a port that speaks TLS says that it got plain HTTP. Only its text tells: `badRequestResponse` in net/http/server.go
/// of Go 1.25, and `ngx_http_error_497_page` in ngx_http_special_response.c of nginx 1.29.
fn wants_tls(status: u16, body: &[u8]) -> bool {
    let texts: [&[u8]; 2] = [
        b"Client sent an HTTP request to an HTTPS server",
        b"The plain HTTP request was sent to HTTPS port",
    ];
    status == 400 && texts.iter().any(|text| body.windows(text.len()).any(|part| part == *text))
}

/// An answer without Argo CD's envelope: from a proxy, or from its router, which speaks plain text.
fn by_status(head: AnswerHead<'_>) -> ErrorKind {
    match head.status {
        401 => ErrorKind::Unauthenticated("status 401 without a reason".into()),
        429 => ErrorKind::RateLimited { retry_after: retry_after(head) },
        500.. => {
            let what = match media_type(head.content_type) {
                "" => "no media type, so not from Argo CD itself".to_owned(),
                other => format!("{other}, so not from Argo CD itself"),
            };
            ErrorKind::ServerError { status: head.status, message: what }
        }
        _ => not_argocd(head),
    }
}

fn not_argocd(head: AnswerHead<'_>) -> ErrorKind {
    let content_type = match media_type(head.content_type) {
        "" => "no media type".to_owned(),
        other => other.to_owned(),
    };
    ErrorKind::NotArgoCd { status: head.status, content_type }
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn retry_after(head: AnswerHead<'_>) -> Option<Duration> {
    head.retry_after?.trim().parse().ok().map(Duration::from_secs)
}

/// What Argo CD says in words only: it has no code of its own for these. The single place that reads error texts.
fn by_text(code: i64, message: &str) -> Option<ErrorKind> {
    let has = |needle: &str| message.contains(needle);
    let text = || joined(message);
    match code {
        // evanphx/json-patch v5.9.11 patch.go: `errors.Wrapf(ErrTestFailed, "testing value %s failed", path)` with
        // `ErrTestFailed = errors.New("test failed")`; `ErrMissing = errors.New("missing value")`;
        // `ErrInvalidIndex = errors.New("invalid index referenced")`. server/application/application.go puts
        // "error applying patch: %w" before them, which has no code, hence 2.
        code::UNKNOWN
            if has("error applying patch")
                && (has("test failed")
                    || has("missing value")
                    || has("missing path")
                    || has("invalid index")) =>
        {
            Some(ErrorKind::TestFailed(text()))
        }
        // util/argo/argo.go: `ErrAnotherOperationInProgress = status.Errorf(codes.FailedPrecondition, "another
        // operation is already in progress")`.
        code::FAILED_PRECONDITION if has("another operation is already in progress") => {
            Some(ErrorKind::AnotherOperation)
        }
        // server/application/application.go: `status.Errorf(codes.PermissionDenied, "cannot sync: blocked by sync
        // window")`.
        code::PERMISSION_DENIED if has("blocked by sync window") => Some(ErrorKind::SyncWindow),
        // server/application/application.go: `status.Errorf(codes.Internal, "Failed to update application. Too many
        // conflicts")`.
        code::INTERNAL if has("Too many conflicts") => Some(ErrorKind::TooManyConflicts),
        // util/argo/argo.go, validateRepo: "repository not accessible: %v"; the repo-server: "error testing
        // repository connectivity". The operation of a sync resolves the revision first: "failed to list refs".
        code::INVALID_ARGUMENT | code::FAILED_PRECONDITION | code::UNKNOWN
            if has("repository not accessible")
                || has("error testing repository connectivity")
                || has("failed to list refs") =>
        {
            let reason = reason(message);
            Some(match is_repo_refusal(message) {
                true => ErrorKind::RepoRefused(reason),
                false => ErrorKind::RepoUnreachable(reason),
            })
        }
        // util/argo/argo.go, verifyGenerateManifests: "Unable to generate manifests in %s: %v". reposerver/cache:
        // "Manifest generation error (cached): %s".
        code::INVALID_ARGUMENT | code::UNKNOWN
            if has("Unable to generate manifests") || has("Manifest generation error") =>
        {
            Some(ErrorKind::DoesNotRender(reason(message)))
        }
        _ => None,
    }
}

/// Whether Argo CD reached a git server, and one of both did not want the other: trying again is of no use then. All of it
/// stands in one text, whose end is that of the library that Argo CD 3.6.1 is built with.
fn is_repo_refusal(message: &str) -> bool {
    let refusals = [
        // golang.org/x/crypto v0.58.0 ssh/knownhosts/knownhosts.go: `return "knownhosts: key is unknown"`, `return
        // "knownhosts: key mismatch"`, `return "knownhosts: key is revoked"`.
        "knownhosts: key is unknown",
        "knownhosts: key mismatch",
        "knownhosts: key is revoked",
        // golang.org/x/crypto v0.58.0 ssh/client_auth.go: `fmt.Errorf("ssh: unable to authenticate, attempted methods %v, no
        // supported methods remain", tried)`.
        "ssh: unable to authenticate, attempted methods",
        // go-git v5.19.2 plumbing/transport/common.go: `ErrAuthenticationRequired = errors.New("authentication required")`,
        // `ErrAuthorizationFailed = errors.New("authorization failed")`.
        "authentication required",
        "authorization failed",
    ];
    refusals.iter().any(|refusal| message.contains(refusal))
}

/// The end of a long chain of wrapped messages is what helps: Helm's own words, the refused connection.
fn reason(message: &str) -> String {
    let message = message.trim();
    let message = message.split("\n\nUse --debug flag").next().unwrap_or(message);
    let tail =
        ["Error: ", "rpc error: code = Unknown desc = ", "Manifest generation error (cached): "]
            .iter()
            .filter_map(|marker| message.rfind(marker).map(|at| &message[at + marker.len()..]))
            .min_by_key(|tail| tail.len())
            .unwrap_or(message);
    joined(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, content_type: &str, body: &str, want: &str) {
        let head = AnswerHead { status, content_type, ..AnswerHead::default() };
        let got = decode::<serde_json::Value>(head, body.as_bytes());
        let got = match got {
            Ok(_) => "ok".to_owned(),
            Err(kind) => format!("{kind:?}"),
        };
        let name: String = got.chars().take_while(|c| c.is_alphanumeric()).collect();
        assert_eq!(name, want, "{status} {content_type} {body}: {got}");
    }

    /// Every body is one that Argo CD 3.6.1 or its router answered, unless the comment says otherwise.
    #[test]
    fn answers_are_told_apart() {
        let envelope = |code: i64, message: &str| {
            serde_json::json!({ "error": message, "code": code, "message": message }).to_string()
        };
        let json = "application/json";
        let cases: &[(u16, &str, String, &str)] = &[
            (200, json, "{}".into(), "ok"),
            (200, json, "{\"metadata\":{\"na".into(), "Truncated"),
            (200, json, "".into(), "Truncated"),
            (200, json, "{,}".into(), "Malformed"),
            // A single page application behind every path, or a login page of a proxy.
            (200, "text/html; charset=utf-8", "<html>".into(), "NotArgoCd"),
            (404, "text/plain; charset=utf-8", "Not Found\n".into(), "NotArgoCd"),
            (405, "text/plain; charset=utf-8", "Method Not Allowed\n".into(), "NotArgoCd"),
            (415, "text/plain; charset=utf-8", "Invalid content type\n".into(), "NotArgoCd"),
            (403, "text/html", "<html>".into(), "NotArgoCd"),
            (401, "text/html", "<html>".into(), "Unauthenticated"),
            // As Go's server and nginx answer plain HTTP on a port for TLS.
            (400, "", "Client sent an HTTP request to an HTTPS server.\n".into(), "OtherScheme"),
            (
                400,
                "text/html",
                "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>".into(),
                "OtherScheme",
            ),
            (400, "text/html", "<html>Bad Request".into(), "NotArgoCd"),
            (307, "text/html", "".into(), "Redirected"),
            (401, json, envelope(16, "no session information"), "Unauthenticated"),
            (401, json, envelope(16, "Invalid username or password"), "Unauthenticated"),
            (403, json, envelope(7, "permission denied"), "PermissionDenied"),
            (403, json, envelope(7, "cannot sync: blocked by sync window"), "SyncWindow"),
            (
                403,
                json,
                r#"{"error":{"grpc_code":7,"http_code":403,"message":"permission denied","http_status":"Forbidden"}}"#
                    .into(),
                "PermissionDenied",
            ),
            (404, json, envelope(5, "applications.argoproj.io \"x\" not found"), "NotFound"),
            (
                500,
                json,
                envelope(
                    2,
                    "error applying patch: testing value /metadata/annotations/x failed: test failed",
                ),
                "TestFailed",
            ),
            (
                500,
                json,
                envelope(
                    2,
                    "error applying patch: error in test for path: '/spec/source/helm/parameters/7': Unable to access \
                     invalid index: 7: invalid index referenced",
                ),
                "TestFailed",
            ),
            (
                500,
                json,
                envelope(
                    2,
                    "error applying patch: replace operation does not apply: doc is missing path: /x: missing value",
                ),
                "TestFailed",
            ),
            (
                400,
                json,
                envelope(9, "another operation is already in progress"),
                "AnotherOperation",
            ),
            (
                400,
                json,
                envelope(9, "Cannot sync to x: auto-sync currently set to main"),
                "Refused",
            ),
            (
                500,
                json,
                envelope(13, "Failed to update application. Too many conflicts"),
                "TooManyConflicts",
            ),
            (500, json, envelope(2, "error unmarshaling patched app: x"), "ServerError"),
            (
                400,
                json,
                envelope(
                    3,
                    "application spec for val is invalid: InvalidSpecError: repository not accessible: …: dial tcp \
                     127.0.0.1:1: connect: connection refused",
                ),
                "RepoUnreachable",
            ),
            // With the ends that x/crypto and go-git have.
            (
                500,
                json,
                envelope(
                    2,
                    "error testing repository connectivity: ssh: handshake failed: knownhosts: key is unknown",
                ),
                "RepoRefused",
            ),
            (
                500,
                json,
                envelope(
                    2,
                    "error testing repository connectivity: ssh: handshake failed: knownhosts: key mismatch",
                ),
                "RepoRefused",
            ),
            (
                500,
                json,
                envelope(
                    2,
                    "error testing repository connectivity: ssh: handshake failed: ssh: unable to \
                     authenticate, attempted methods [none publickey], no supported methods remain",
                ),
                "RepoRefused",
            ),
            (
                500,
                json,
                envelope(2, "error testing repository connectivity: authentication required"),
                "RepoRefused",
            ),
            (
                500,
                json,
                envelope(
                    2,
                    "error testing repository connectivity: ssh: handshake failed: read tcp \
                     127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
                ),
                "RepoUnreachable",
            ),
            // Only of a repository: of others it is their own word.
            (500, json, envelope(2, "authentication required"), "ServerError"),
            (
                400,
                json,
                envelope(
                    3,
                    "application spec for val is invalid: InvalidSpecError: Unable to generate manifests in chart: rpc \
                     error: code = Unknown desc = …",
                ),
                "DoesNotRender",
            ),
            (
                500,
                json,
                envelope(2, "Manifest generation error (cached): nope: app path does not exist"),
                "DoesNotRender",
            ),
            (429, json, envelope(8, "too many"), "RateLimited"),
            (429, "text/html", "<html>".into(), "RateLimited"),
            (503, json, envelope(14, "unavailable"), "ServerError"),
            (502, "text/html", "<html>".into(), "ServerError"),
            (504, "", "".into(), "ServerError"),
            // A text that only happens to hold the words is not taken for them: the code decides first.
            (
                403,
                json,
                envelope(7, "another operation is already in progress"),
                "PermissionDenied",
            ),
        ];
        for (status, content_type, body, want) in cases {
            check(*status, content_type, body, want);
        }
    }

    #[test]
    fn the_reason_of_a_failing_chart_is_helms_own() {
        let recorded: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/patch-chart-fails.json"))
                .unwrap();
        let head =
            AnswerHead { status: 400, content_type: "application/json", ..AnswerHead::default() };
        let kind = classify(head, recorded["body"].to_string().as_bytes()).unwrap();
        assert_eq!(
            kind.to_string(),
            "the application does not render: execution error at (shop-web/templates/deployment.yaml:2:4): \
             image.digest must start with sha256:"
        );
    }

    #[test]
    fn a_wrong_value_is_not_quoted() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its type matters")]
        struct Number {
            n: u8,
        }
        let head =
            AnswerHead { status: 200, content_type: "application/json", ..AnswerHead::default() };
        let kind = decode::<Number>(head, br#"{"n":"secret"}"#).unwrap_err();
        assert!(!kind.to_string().contains("secret"), "{kind}");
    }

    #[test]
    fn retry_after_is_read() {
        let head = AnswerHead {
            status: 429,
            content_type: "text/plain",
            retry_after: Some("7"),
            ..AnswerHead::default()
        };
        let kind = classify(head, b"").unwrap();
        assert!(
            matches!(kind, ErrorKind::RateLimited { retry_after: Some(after) } if after.as_secs() == 7)
        );
    }
}
