//! Which exit status an error has, and what its reader can do about it.

use verbatim_console::{ExitStatus, Failure};
use verbatim_credentials::ErrorKind as CredentialsKind;

use crate::{ContextError, Error, ErrorKind};

/// What an error means for the process that met it.
pub fn failure(error: Error) -> Failure {
    let words = error.to_string();
    match *error.kind {
        // The registry's own crate knows best what its errors mean.
        ErrorKind::Registry(inner) => {
            let may_overwrite = matches!(
                inner.kind(),
                verbatim_registry::ErrorKind::Unauthorized(_)
                    | verbatim_registry::ErrorKind::Forbidden(_)
            );
            let failure = verbatim_registry::cli::failure(inner).context(words);
            if may_overwrite {
                failure.hint("the tag is looked at before a push; a login that may only push needs `--overwrite`")
            } else {
                failure
            }
        }
        kind => {
            let (status, hint) = (status(&kind), hint(&kind));
            let failure = Failure::new(status, Error::new(error.action, kind));
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
    }
}

fn status(kind: &ErrorKind) -> ExitStatus {
    match kind {
        ErrorKind::Step { .. } => ExitStatus::No,
        ErrorKind::Context(ContextError::Changed { .. }) => ExitStatus::Conflict,
        ErrorKind::Context(_)
        | ErrorKind::Dockerfile { .. }
        | ErrorKind::Read { .. }
        | ErrorKind::Endpoint(_)
        | ErrorKind::NoBuildKit { .. } => ExitStatus::Usage,
        ErrorKind::Unreachable { .. }
        | ErrorKind::Protocol { .. }
        | ErrorKind::Failed { .. }
        | ErrorKind::RegistryUnreachable { .. }
        | ErrorKind::ImageConfig(_) => ExitStatus::Unreachable,
        ErrorKind::Incomplete(_)
        | ErrorKind::Deadline { .. }
        | ErrorKind::Silent { .. }
        | ErrorKind::PushSilent { .. }
        | ErrorKind::PushUnfinished { .. } => ExitStatus::Unknown,
        ErrorKind::TagTaken { .. } | ErrorKind::Mismatch { .. } | ErrorKind::Vanished { .. } => {
            ExitStatus::Conflict
        }
        ErrorKind::Permission { .. }
        | ErrorKind::RegistryRefused { .. }
        | ErrorKind::NoImage(_) => ExitStatus::Refused,
        ErrorKind::Engine { status, .. } => match status {
            400 => ExitStatus::Usage,
            409 => ExitStatus::Conflict,
            // It does not say no, it says later.
            429 => ExitStatus::Unreachable,
            401..=499 => ExitStatus::Refused,
            _ => ExitStatus::Unreachable,
        },
        ErrorKind::Credential { source, .. } => match source.kind() {
            CredentialsKind::HelperTimeout { .. } | CredentialsKind::HelperFailed { .. } => {
                ExitStatus::Refused
            }
            _ => ExitStatus::Usage,
        },
        // Taken by the caller; here only so that the match is complete.
        ErrorKind::Registry(_) => ExitStatus::Unreachable,
    }
}

fn hint(kind: &ErrorKind) -> Option<String> {
    let hint = match kind {
        ErrorKind::Unreachable { .. } => {
            "is the daemon running (`systemctl status docker`)? DOCKER_HOST names another engine"
        }
        ErrorKind::Permission { .. } => {
            "members of the socket's group may use it (`sudo usermod -aG docker $USER`, then log in again)"
        }
        ErrorKind::Protocol { .. } => "DOCKER_HOST names another engine",
        ErrorKind::Context(ContextError::NoDockerfile(_)) => {
            "`--dockerfile FILE` names another one, in verbatim.yaml `dockerfile` of the image"
        }
        ErrorKind::NoBuildKit { .. } => "`--builder classic` builds without it",
        ErrorKind::Context(ContextError::Changed { .. }) => {
            "something writes into the context: let it end first, or list the file in .dockerignore"
        }
        ErrorKind::Context(ContextError::Withheld(_)) => {
            "keep it outside of the context, or list it in .dockerignore; if it was in an image before, make a new one"
        }
        ErrorKind::TagTaken { .. } => "push under another tag, or move this one with `--overwrite`",
        ErrorKind::Mismatch { .. } | ErrorKind::Vanished { .. } => {
            "somebody else pushes under this tag at the same time: find out who, and use tags that no two builds share"
        }
        ErrorKind::RegistryRefused { .. } => {
            "check the name, then log in with `docker login REGISTRY` or set DOCKER_AUTH_CONFIG"
        }
        ErrorKind::RegistryUnreachable { .. } => {
            "it is the engine that has to reach the registry: try `docker pull` where it runs; run again if the registry was only busy"
        }
        ErrorKind::Deadline { .. } | ErrorKind::PushUnfinished { .. } => {
            "`--timeout` gives it more time (in verbatim.yaml `build_timeout` and `push_timeout` of the image)"
        }
        ErrorKind::Silent { .. } | ErrorKind::PushSilent { .. } => {
            "look whether the engine still works (`docker info`); `--idle-timeout` (in verbatim.yaml `idle_timeout` of the image) allows a longer silence"
        }
        ErrorKind::NoImage(_) => "`docker image ls` lists what the engine has",
        ErrorKind::Failed { message } | ErrorKind::Engine { message, .. }
            if message.contains("no space left on device") =>
        {
            "`docker system df` shows what fills the engine's disk, `docker system prune` makes room"
        }
        ErrorKind::Engine { status, .. } => refusal_hint(*status),
        ErrorKind::Failed { .. } | ErrorKind::Incomplete(_) => ENGINE_LOG,
        _ => return None,
    };
    Some(hint.to_owned())
}

const ENGINE_LOG: &str =
    "the engine's log says more (`journalctl --unit docker`); run again when it is well";

/// What to do about a request that was not taken.
fn refusal_hint(status: u16) -> &'static str {
    match status {
        400 => "change what the message names: an option, a build argument, or the Dockerfile",
        401 | 403 => {
            "something in front of the engine wants another login: check DOCKER_HOST and DOCKER_CERT_PATH, or ask who runs it"
        }
        409 => "something else uses it in the engine at this moment: run again",
        429 => "the engine, or a proxy in front of it, is asked too often: wait, then run again",
        404 | 405 | 501 => {
            "DOCKER_HOST may name something else than an engine, or an old one: `docker version` shows what answers"
        }
        _ => ENGINE_LOG,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{Cause, TagState};

    #[test]
    fn every_kind_has_a_status() {
        let digest = verbatim_oci::Digest::of(b"");
        let endpoint = || "unix:///x".to_owned();
        let message = || "words".to_owned();
        let io = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let cases = [
            (ErrorKind::Step { step: None, message: message(), output: vec![] }, 1),
            (ErrorKind::Context(ContextError::NoDockerfile("x".into())), 2),
            (ErrorKind::Context(ContextError::Directory { path: "x".into(), source: io() }), 2),
            (ErrorKind::Dockerfile { message: message() }, 2),
            (ErrorKind::Engine { status: 400, message: message() }, 2),
            (ErrorKind::NoBuildKit { version: message() }, 2),
            (ErrorKind::Unreachable { endpoint: endpoint(), source: Cause::new("x") }, 3),
            (ErrorKind::RegistryUnreachable { message: message() }, 3),
            (ErrorKind::Failed { message: message() }, 3),
            (ErrorKind::Engine { status: 500, message: message() }, 3),
            (ErrorKind::Deadline { after: Duration::from_secs(1) }, 4),
            (
                ErrorKind::PushUnfinished {
                    after: Duration::from_secs(1),
                    state: TagState::Unknown,
                },
                4,
            ),
            (ErrorKind::Silent { after: Duration::from_secs(1), step: None }, 4),
            (ErrorKind::PushSilent { after: Duration::from_secs(1), state: TagState::Absent }, 4),
            (ErrorKind::Incomplete("image"), 4),
            (ErrorKind::TagTaken { existing: digest }, 5),
            (ErrorKind::Mismatch { pushed: digest, found: digest }, 5),
            (ErrorKind::Vanished { pushed: digest }, 5),
            (ErrorKind::Context(ContextError::Withheld("keys/ci.pem".into())), 2),
            (
                ErrorKind::Context(ContextError::Changed {
                    path: "x".into(),
                    expected: 1,
                    found: 2,
                }),
                5,
            ),
            (ErrorKind::Permission { endpoint: endpoint() }, 7),
            (ErrorKind::RegistryRefused { message: message() }, 7),
            (ErrorKind::Engine { status: 403, message: message() }, 7),
            (ErrorKind::Engine { status: 404, message: message() }, 7),
            (ErrorKind::Engine { status: 409, message: message() }, 5),
            (ErrorKind::Engine { status: 429, message: message() }, 3),
        ];
        for (kind, code) in cases {
            let text = format!("{kind:?}");
            let is_told = matches!(
                kind,
                ErrorKind::Step { .. }
                    | ErrorKind::Context(ContextError::Directory { .. })
                    | ErrorKind::Dockerfile { .. }
            );
            let failure = failure(Error::new("do it", kind));
            assert_eq!(failure.status.code(), code, "{text}");
            assert!(is_told || !failure.hints.is_empty(), "{text} says nothing to do");
        }
    }
}
