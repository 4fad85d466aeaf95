//! The exit status and the hints of a failure.

use url::Url;
use verbatim_console::{ExitStatus, Failure};
use verbatim_credentials::ErrorKind as CredentialsKind;

use crate::{Error, ErrorKind};

/// The failure of a command whose request failed.
pub fn failure(error: Error) -> Failure {
    let status = status(error.kind());
    let hint = hint(&error);
    let failure = Failure::new(status, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn status(kind: &ErrorKind) -> ExitStatus {
    match kind {
        ErrorKind::Unreachable(_)
        | ErrorKind::Timeout(_)
        | ErrorKind::BrokenOff(_)
        | ErrorKind::RateLimited { .. }
        | ErrorKind::ServerError { .. }
        | ErrorKind::Malformed(_)
        | ErrorKind::Manifest(_) => ExitStatus::Unreachable,
        ErrorKind::Tls(_)
        | ErrorKind::NotTls
        | ErrorKind::LoginUnsupported(_)
        | ErrorKind::Unauthorized(_)
        | ErrorKind::LoginRefused { .. }
        | ErrorKind::Forbidden(_)
        | ErrorKind::NotFound(_)
        | ErrorKind::Refused(_)
        | ErrorKind::TooLarge { .. }
        | ErrorKind::NoPlatform { .. }
        | ErrorKind::ImmutableTag { .. }
        | ErrorKind::ListingFull { .. }
        | ErrorKind::NoRepository(_)
        | ErrorKind::TooManyReferrers { .. }
        | ErrorKind::NoSubject(_) => ExitStatus::Refused,
        ErrorKind::PlainHttpRefused(_)
        | ErrorKind::RealmRefused(_)
        | ErrorKind::NoUsableLogin { .. }
        | ErrorKind::Config(_) => ExitStatus::Usage,
        ErrorKind::Credentials(error) => match error.kind() {
            CredentialsKind::HelperTimeout { .. } | CredentialsKind::HelperFailed { .. } => {
                ExitStatus::Refused
            }
            _ => ExitStatus::Usage,
        },
        ErrorKind::DigestMismatch { .. } | ErrorKind::TagTaken { .. } => ExitStatus::No,
        ErrorKind::NotListed { .. } => ExitStatus::Unknown,
    }
}

fn hint(error: &Error) -> Option<String> {
    let url = Url::parse(error.url()).ok();
    let host = || match &url {
        Some(url) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port}", url.host_str().unwrap_or_default())
        }
        None => "HOST".to_owned(),
    };
    Some(match error.kind() {
        ErrorKind::Unreachable(_) | ErrorKind::Timeout(_) => {
            format!(
                "check that {} is the right registry and that it is up; HTTPS_PROXY and NO_PROXY apply",
                host()
            )
        }
        ErrorKind::BrokenOff(_) | ErrorKind::ServerError { .. } => {
            "the registry failed; check its status, then retry".to_owned()
        }
        ErrorKind::Malformed(_) => {
            format!("check that {} is a registry and that no proxy answers in its place", host())
        }
        ErrorKind::Unauthorized(_) => {
            format!("log in with `docker login {}`, or set DOCKER_AUTH_CONFIG", login_name(&host()))
        }
        ErrorKind::LoginRefused { .. } => {
            format!("log in again with `docker login {}`", login_name(&host()))
        }
        ErrorKind::NoUsableLogin { .. } => {
            format!(
                "install the helper, or log in with `docker login {}` where it is not named",
                login_name(&host())
            )
        }
        ErrorKind::Forbidden(_) => match error.login() {
            Some(login) => format!("the login of {login} does not allow this"),
            None => format!("the credentials for {} do not allow this", login_name(&host())),
        },
        ErrorKind::NotFound(_) => {
            "registries answer 404 without read access, too: check the name, then log in"
                .to_owned()
        }
        ErrorKind::RateLimited { retry_after: Some(wait), .. } => {
            format!("wait {} s before you retry", wait.as_secs())
        }
        ErrorKind::Tls(_) => {
            format!(
                "trust its certificate with `--registry-ca FILE`, or `registries: {{ \"{}\": {{ ca: FILE }} }}` in verbatim.yaml",
                host()
            )
        }
        ErrorKind::NotTls => {
            format!(
                "allow plain HTTP with `--plain-http {0}`, or `registries: {{ \"{0}\": {{ plain_http: true }} }}` in verbatim.yaml",
                host()
            )
        }
        ErrorKind::RealmRefused(realm) => {
            format!("if that is the registry's token server, allow it with `--trust-realm {realm}`")
        }
        ErrorKind::NotListed { record } => {
            format!("complete it with `verbatim-registry referrers relist REPOSITORY@{record}`")
        }
        ErrorKind::ImmutableTag { .. } => {
            "exempt tags that begin with `sha256-` from the registry's immutability rule, or keep records in a repository without such a rule (`records:` in verbatim.yaml)".to_owned()
        }
        ErrorKind::ListingFull { .. } => {
            "use a registry with the referrers API, which has no such limit, or a new repository for records (`records:` in verbatim.yaml)".to_owned()
        }
        ErrorKind::NoRepository(_) => {
            "check the name, then log in; a new repository for records is made by `verbatim build` or `verbatim adopt`".to_owned()
        }
        ErrorKind::TooManyReferrers { .. } => {
            "`verbatim-registry referrers list` shows them; keep records in a repository where only pipelines push (`records:` in verbatim.yaml)".to_owned()
        }
        ErrorKind::TagTaken { .. } => "copy to another tag, or move this one with `--overwrite`".to_owned(),
        ErrorKind::DigestMismatch { .. } => {
            "do not use this content: the registry, or a proxy in front of it, changed it".to_owned()
        }
        _ => return None,
    })
}

/// The name of a registry for `docker login`; Docker Hub's API has another one.
fn login_name(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "auth.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::{ErrorResponse, NetworkError};

    #[test]
    fn every_kind_has_a_status() {
        let answered = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let response = ErrorResponse::read(status, b"");
            ErrorKind::of_status(status, response, Some(std::time::Duration::from_secs(99)))
        };
        let digest = verbatim_oci::Digest::of(b"");
        let cases = [
            (
                ErrorKind::Unreachable(NetworkError("x".into())),
                3,
                "check that h:5000 is the right registry and that it is up; HTTPS_PROXY and NO_PROXY apply",
            ),
            (answered(500), 3, "the registry failed; check its status, then retry"),
            (answered(429), 3, "wait 99 s before you retry"),
            (answered(401), 7, "log in with `docker login h:5000`, or set DOCKER_AUTH_CONFIG"),
            (answered(403), 7, "the credentials for h:5000 do not allow this"),
            (
                answered(404),
                7,
                "registries answer 404 without read access, too: check the name, then log in",
            ),
            (answered(405), 7, ""),
            (
                ErrorKind::NotTls,
                7,
                "allow plain HTTP with `--plain-http h:5000`, or `registries: { \"h:5000\": { plain_http: true } }` in verbatim.yaml",
            ),
            (
                ErrorKind::Tls(NetworkError("x".into())),
                7,
                "trust its certificate with `--registry-ca FILE`, or `registries: { \"h:5000\": { ca: FILE } }` in verbatim.yaml",
            ),
            (
                ErrorKind::RealmRefused("e.io".into()),
                2,
                "if that is the registry's token server, allow it with `--trust-realm e.io`",
            ),
            (ErrorKind::Config("x".into()), 2, ""),
            (
                ErrorKind::NotListed { record: digest },
                4,
                &format!(
                    "complete it with `verbatim-registry referrers relist REPOSITORY@{digest}`"
                ),
            ),
            (
                ErrorKind::TagTaken { found: digest },
                1,
                "copy to another tag, or move this one with `--overwrite`",
            ),
            (
                ErrorKind::DigestMismatch {
                    claim: crate::DigestClaim::Header,
                    expected: digest,
                    actual: digest,
                },
                1,
                "do not use this content: the registry, or a proxy in front of it, changed it",
            ),
        ];
        for (kind, code, hint) in cases {
            let url: Url = "https://h:5000/v2/a/manifests/b".parse().unwrap();
            let text = format!("{kind:?}");
            let failure = failure(Error::new("do it", &url, kind));
            assert_eq!(failure.status.code(), code, "{text}");
            assert_eq!(failure.hints.join("; "), hint, "{text}");
        }
    }
}
