//! Which exit status and which hint every kind of error and every outcome has.

use url::Url;
use verbatim_console::{ExitStatus, Failure};

use crate::api::error::{Error, ErrorKind};
use crate::judge::outcome::{AppFailure, DeployOutcome, DeployReport, OnPause};
use crate::judge::refusal::WriteRefusal;

/// The failure that an error of this library leads to.
pub fn failure(error: Error) -> Failure {
    let status = match &error.kind {
        ErrorKind::Redirected(to) if redirect(to, &error.server) == Redirect::Login => {
            ExitStatus::Refused
        }
        kind => status_of(kind),
    };
    let hint = hint(&error.kind, &error.server);
    let failure = Failure::new(status, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What a redirect means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Redirect {
    /// The same server wants TLS.
    Tls,
    /// The API is at another address.
    Address,
    /// The API is below another path of the same server.
    Path,
    /// Something that wants a login first: a page of the server itself, or the host of a single sign-on.
    Login,
}

fn redirect(to: &str, server: &str) -> Redirect {
    let Ok(server) = Url::parse(server) else { return Redirect::Login };
    // A path alone is one of the server.
    let Ok(to) = server.join(to) else { return Redirect::Login };
    let is_same_host = to.host_str() == server.host_str();
    if is_same_host && to.scheme() == "https" && server.scheme() == "http" {
        return Redirect::Tls;
    }
    // Whatever is asked for is below one of these.
    let is_api = ["/api/v1/", "/api/version", "/api/dex/"].iter().any(|it| to.path().contains(it));
    match (is_api, is_same_host) {
        (true, true) => Redirect::Path,
        (true, false) => Redirect::Address,
        (false, _) => Redirect::Login,
    }
}

fn status_of(kind: &ErrorKind) -> ExitStatus {
    match kind {
        ErrorKind::Unreachable(_)
        | ErrorKind::Timeout(_)
        | ErrorKind::RateLimited { .. }
        | ErrorKind::ServerError { .. }
        | ErrorKind::Truncated(_)
        | ErrorKind::TooLarge(_)
        | ErrorKind::Malformed { .. }
        | ErrorKind::RepoUnreachable(_) => ExitStatus::Unreachable,
        ErrorKind::Certificate(_)
        | ErrorKind::ClientCertificate(_)
        | ErrorKind::Unauthenticated(_)
        | ErrorKind::PermissionDenied(_)
        | ErrorKind::NotFound(_)
        | ErrorKind::KubernetesRefused { .. }
        | ErrorKind::RepoRefused(_)
        | ErrorKind::NotArgoCd { .. } => ExitStatus::Refused,
        ErrorKind::TestFailed(_)
        | ErrorKind::Outdated
        | ErrorKind::AnotherOperation
        | ErrorKind::TooManyConflicts => ExitStatus::Conflict,
        ErrorKind::SyncWindow | ErrorKind::DoesNotRender(_) | ErrorKind::Refused(_) => {
            ExitStatus::No
        }
        ErrorKind::Redirected(_) | ErrorKind::OtherScheme { .. } | ErrorKind::Configuration(_) => {
            ExitStatus::Usage
        }
    }
}

pub(crate) fn hint(kind: &ErrorKind, server: &str) -> Option<String> {
    Some(match kind {
        ErrorKind::Unreachable(_) => format!("check that {server} is the right address and that the server is running"),
        ErrorKind::Certificate(_) => "trust the certificate of its authority with --ca FILE".into(),
        ErrorKind::ClientCertificate(_) => {
            "present one with --client-crt FILE and --client-crt-key FILE".into()
        }
        ErrorKind::Timeout(_) => format!("{server} may be overloaded, or its controller may not run"),
        ErrorKind::Redirected(to) => match redirect(to, server) {
            Redirect::Tls => "use https:// in the server's address".into(),
            Redirect::Address => "use the address that it redirects to".into(),
            Redirect::Path => {
                "name the path before `/api` in the address that it redirects to with --root-path".into()
            }
            Redirect::Login => {
                "a proxy before Argo CD wants a login: give it what lets programs through with --header 'NAME: VALUE' \
                 (`headers` of the server in verbatim.yaml)"
                    .into()
            }
        },
        ErrorKind::OtherScheme { speaks_tls: true } => "use https:// in the server's address".into(),
        ErrorKind::OtherScheme { speaks_tls: false } => {
            "use http:// in the server's address; then anyone on the network path can read the token".into()
        }
        ErrorKind::NotArgoCd { status: 405, .. } => {
            "a proxy before Argo CD must let GET, POST, PUT, PATCH and DELETE through; or --root-path is wrong".into()
        }
        ErrorKind::NotArgoCd { status: 413, .. } => {
            "a proxy before Argo CD must let requests of 2 MiB through".into()
        }
        ErrorKind::NotArgoCd { status: 403, .. } => {
            "a proxy or firewall before Argo CD refuses it: give it what lets programs through with --header 'NAME: VALUE'"
                .into()
        }
        ErrorKind::Unauthenticated(_) => "log in again with `verbatim argocd login`, or set ARGOCD_AUTH_TOKEN".into(),
        ErrorKind::PermissionDenied(_) => {
            "Argo CD answers like this for a missing application, too, unless its project is given (--project, or \
             `project` of the application in verbatim.yaml). To deploy, a token needs get, update and sync"
                .into()
        }
        ErrorKind::NotFound(_) => "check the names of application, namespace and project".into(),
        ErrorKind::NotArgoCd { .. } => {
            format!("{server} may need --root-path, or a proxy answers with its login page (see --header)")
        }
        ErrorKind::KubernetesRefused { status: 404, .. } => {
            "use the kubeconfig, or the context, of the cluster in which this Argo CD keeps its applications".into()
        }
        ErrorKind::KubernetesRefused { status: 401 | 403, .. } => {
            "the user of the kubeconfig needs `get` and `patch` on applications.argoproj.io".into()
        }
        ErrorKind::TestFailed(_) | ErrorKind::TooManyConflicts | ErrorKind::Outdated => {
            "find out who else writes this application, then run again".into()
        }
        ErrorKind::AnotherOperation => "wait for it with `verbatim argocd wait`, then run again".into(),
        ErrorKind::SyncWindow => "wait until the window closes, or allow manual syncs in it".into(),
        ErrorKind::DoesNotRender(_) => "Argo CD writes and syncs only what renders: fix the chart or the values".into(),
        ErrorKind::RepoUnreachable(_) => {
            "Argo CD needs the repository for every write and sync: check that it is up".into()
        }
        ErrorKind::RepoRefused(_) => {
            "give Argo CD the server's current host key (`argocd cert add-ssh`) or working credentials (`verbatim argocd \
             repo add --upsert`)"
                .into()
        }
        ErrorKind::RateLimited { .. } => "wait a moment, then run again".into(),
        ErrorKind::TooLarge(_) => {
            format!("look whether {server} is Argo CD; if it is, choose fewer applications")
        }
        ErrorKind::ServerError { .. } | ErrorKind::Truncated(_) | ErrorKind::Malformed { .. } => {
            format!("Argo CD at {server} failed; check its status and its logs, then retry")
        }
        _ => return None,
    })
}

/// The exit status that a report leads to.
pub fn status(report: &DeployReport) -> ExitStatus {
    match &report.outcome {
        DeployOutcome::Proven { .. } | DeployOutcome::Planned | DeployOutcome::Reached { .. } => {
            ExitStatus::Done
        }
        DeployOutcome::Refused { reasons, .. } => refused(reasons),
        DeployOutcome::TakenBack { why } => status_of(&why.kind),
        DeployOutcome::Overwritten { .. }
        | DeployOutcome::Degraded { why: AppFailure::Revisions { .. }, .. } => ExitStatus::Conflict,
        DeployOutcome::Degraded { .. } | DeployOutcome::NotProven { .. } => ExitStatus::No,
        DeployOutcome::Paused { on_pause, .. } => match on_pause {
            OnPause::Accept => ExitStatus::Done,
            OnPause::Fail => ExitStatus::No,
            OnPause::Wait => ExitStatus::Unknown,
        },
        DeployOutcome::Unknown { .. } => ExitStatus::Unknown,
    }
}

/// What must be mended first decides: the command line, then rights, then what others do, then what the answer is.
fn refused(reasons: &[WriteRefusal]) -> ExitStatus {
    let of = |reason: &WriteRefusal| match reason {
        WriteRefusal::NoSuchSource { .. }
        | WriteRefusal::WhichSource { .. }
        | WriteRefusal::NoSourceFits { .. }
        | WriteRefusal::GivenTwice { .. }
        | WriteRefusal::UnsupportedSource { .. } => (0, ExitStatus::Usage),
        WriteRefusal::MayNot { .. } | WriteRefusal::MayNotPatch => (1, ExitStatus::Refused),
        WriteRefusal::Claimed { .. }
        | WriteRefusal::UnreadableClaim { .. }
        | WriteRefusal::PlanOutdated { .. } => (2, ExitStatus::Conflict),
        _ => (3, ExitStatus::No),
    };
    reasons
        .iter()
        .map(of)
        .min_by_key(|(rank, _)| *rank)
        .map_or(ExitStatus::No, |(_, status)| status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_to_mend_first_decides() {
        let may_not = WriteRefusal::MayNot { action: "sync".into() };
        let window = WriteRefusal::SyncWindow { windows: vec![] };
        let source = WriteRefusal::WhichSource { sources: vec![] };
        let claimed = WriteRefusal::UnreadableClaim { annotation: String::new() };
        let cases = [
            (vec![window.clone()], 1),
            (vec![window.clone(), claimed.clone()], 5),
            (vec![window.clone(), claimed, may_not.clone()], 7),
            (vec![may_not, source], 2),
            (vec![], 1),
        ];
        for (reasons, want) in cases {
            assert_eq!(refused(&reasons).code(), want, "{reasons:?}");
        }
    }

    #[test]
    fn a_redirect_says_where_it_leads() {
        let cases = [
            ("https://a.example/api", "http://a.example", 2, "use https://"),
            ("https://a.example/login", "https://a.example", 7, "--header 'NAME: VALUE'"),
            ("/oauth2/start?rd=%2Fapi%2Fv1%2Fx", "https://a.example", 7, "--header 'NAME: VALUE'"),
            ("/argo/api/v1/applications", "https://a.example", 2, "--root-path"),
            ("https://a.example/argo/api/version", "https://a.example", 2, "--root-path"),
            (
                "https://www.a.example/api/v1/x",
                "https://a.example",
                2,
                "the address that it redirects to",
            ),
            ("https://sso.example/authorize?x=1", "https://a.example", 7, "--header 'NAME: VALUE'"),
            ("https://sso.example/", "http://a.example", 7, "--header 'NAME: VALUE'"),
        ];
        for (to, server, status, words) in cases {
            let kind = ErrorKind::Redirected(to.to_owned());
            assert!(hint(&kind, server).unwrap().contains(words), "{to} {server}");
            let failed = failure(Error { action: "x".into(), server: server.into(), kind });
            assert_eq!(failed.status.code(), status, "{to} {server}");
        }
    }

    #[test]
    fn kinds_have_the_documented_statuses() {
        let code = |kind: ErrorKind| {
            failure(Error { action: "x".into(), server: "https://a".into(), kind }).status.code()
        };
        let text = String::new;
        let cases = [
            (ErrorKind::Timeout(std::time::Duration::ZERO), 3),
            (ErrorKind::ServerError { status: 502, message: text() }, 3),
            (ErrorKind::Truncated(0), 3),
            (ErrorKind::TooLarge(1 << 20), 3),
            (ErrorKind::RateLimited { retry_after: None }, 3),
            (ErrorKind::RepoUnreachable(text()), 3),
            (ErrorKind::RepoRefused(text()), 7),
            (ErrorKind::Unauthenticated(text()), 7),
            (ErrorKind::PermissionDenied(text()), 7),
            (ErrorKind::NotFound(text()), 7),
            (ErrorKind::NotArgoCd { status: 200, content_type: text() }, 7),
            (ErrorKind::NotArgoCd { status: 405, content_type: text() }, 7),
            (ErrorKind::OtherScheme { speaks_tls: true }, 2),
            (ErrorKind::OtherScheme { speaks_tls: false }, 2),
            (ErrorKind::TestFailed(text()), 5),
            (ErrorKind::AnotherOperation, 5),
            (ErrorKind::SyncWindow, 1),
            (ErrorKind::DoesNotRender(text()), 1),
            (ErrorKind::Configuration(text()), 2),
        ];
        for (kind, want) in cases {
            let name = format!("{kind:?}");
            // Whoever can do nothing but try again, or has to ask somebody, is told so.
            let has_hint = hint(&kind, "https://a").is_some();
            assert!(has_hint || matches!(want, 1 | 2), "{name} has no hint");
            assert_eq!(code(kind), want, "{name}");
        }
    }
}
