//! Which exit status a failure has, and what its reader can do about it.

use url::Url;
use verbatim_console::{ExitStatus, Failure};
use verbatim_credentials::ErrorKind as CredentialsKind;

use crate::{Error, ErrorKind};

/// What a failed request means for the process that made it.
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
        | ErrorKind::Forbidden(_)
        | ErrorKind::NotFound(_)
        | ErrorKind::Refused(_)
        | ErrorKind::TooLarge { .. }
        | ErrorKind::NoPlatform { .. }
        | ErrorKind::ImmutableTag { .. }
        | ErrorKind::ListingFull { .. }
        | ErrorKind::NoSubject(_) => ExitStatus::Refused,
        ErrorKind::PlainHttpRefused(_)
        | ErrorKind::RealmRefused(_)
        | ErrorKind::Config(_)
        | ErrorKind::Io(_) => ExitStatus::Usage,
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
                "is {} the right registry, and is it up? HTTPS_PROXY and NO_PROXY are used",
                host()
            )
        }
        ErrorKind::BrokenOff(_) | ErrorKind::ServerError { .. } => {
            "look whether the registry is well, then run again".to_owned()
        }
        ErrorKind::Malformed(_) => {
            format!("does {} speak the API of a registry, or does a proxy answer?", host())
        }
        ErrorKind::Unauthorized(_) => {
            format!("log in with `docker login {}`, or set DOCKER_AUTH_CONFIG", login_name(&host()))
        }
        ErrorKind::Forbidden(_) => {
            format!("the login for {} may not do this", login_name(&host()))
        }
        ErrorKind::NotFound(_) => {
            "registries also answer so to those who may not look: check the name, then the login"
                .to_owned()
        }
        ErrorKind::RateLimited { retry_after: Some(wait), .. } => {
            format!("the registry asks to wait {} s", wait.as_secs())
        }
        ErrorKind::Tls(_) => {
            format!(
                "`--registry-ca FILE`, or `registries: {{ \"{}\": {{ ca: FILE }} }}` in verbatim.yaml, trusts further certificates",
                host()
            )
        }
        ErrorKind::NotTls => {
            format!(
                "`--plain-http {0}`, or `registries: {{ \"{0}\": {{ plain_http: true }} }}` in verbatim.yaml, allows plain HTTP",
                host()
            )
        }
        ErrorKind::RealmRefused(realm) => {
            format!("`--trust-realm {realm}` allows it, if that is the registry's token server")
        }
        ErrorKind::NotListed { record } => {
            format!("complete it with `verbatim-registry referrers relist REPOSITORY@{record}`")
        }
        ErrorKind::ImmutableTag { .. } => {
            "exempt tags that begin with `sha256-` from the rule of the registry; or keep records in a repository without such a rule (`records:` in verbatim.yaml)".to_owned()
        }
        ErrorKind::ListingFull { .. } => {
            "a registry with the referrers API has no such limit; or begin a new repository for records (`records:` in verbatim.yaml)".to_owned()
        }
        ErrorKind::TagTaken { .. } => "copy to another tag, or move this one with `--overwrite`".to_owned(),
        ErrorKind::DigestMismatch { .. } => {
            "do not use this content: the registry, or something before it, changes it".to_owned()
        }
        _ => return None,
    })
}

/// Docker Hub is logged in to under another name than its API has.
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
    use crate::error::{Cause, Refusal};

    #[test]
    fn every_kind_has_a_status() {
        let answered = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let refusal = Refusal::read(status, b"");
            ErrorKind::of_status(status, refusal, Some(std::time::Duration::from_secs(99)))
        };
        let digest = verbatim_oci::Digest::of(b"");
        let cases = [
            (
                ErrorKind::Unreachable(Cause("x".into())),
                3,
                "is h:5000 the right registry, and is it up? HTTPS_PROXY and NO_PROXY are used",
            ),
            (answered(500), 3, "look whether the registry is well, then run again"),
            (answered(429), 3, "the registry asks to wait 99 s"),
            (answered(401), 7, "log in with `docker login h:5000`, or set DOCKER_AUTH_CONFIG"),
            (answered(403), 7, "the login for h:5000 may not do this"),
            (
                answered(404),
                7,
                "registries also answer so to those who may not look: check the name, then the login",
            ),
            (answered(405), 7, ""),
            (
                ErrorKind::NotTls,
                7,
                "`--plain-http h:5000`, or `registries: { \"h:5000\": { plain_http: true } }` in verbatim.yaml, allows plain HTTP",
            ),
            (
                ErrorKind::Tls(Cause("x".into())),
                7,
                "`--registry-ca FILE`, or `registries: { \"h:5000\": { ca: FILE } }` in verbatim.yaml, trusts further certificates",
            ),
            (
                ErrorKind::RealmRefused("e.io".into()),
                2,
                "`--trust-realm e.io` allows it, if that is the registry's token server",
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
                "do not use this content: the registry, or something before it, changes it",
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
