//! The exit status and the hints of an error.

use verbatim_console::{ExitStatus, Failure};
use verbatim_credentials::ErrorKind as CredentialsKind;

use crate::{ContextError, Error, ErrorKind};

/// The failure of a command that met this error.
pub fn failure(error: Error) -> Failure {
    let words = error.to_string();
    match *error.kind {
        // The registry's own crate knows best what its errors mean.
        ErrorKind::Registry(inner) => {
            let may_overwrite = matches!(
                inner.kind(),
                verbatim_registry::ErrorKind::Unauthorized(_)
                    | verbatim_registry::ErrorKind::LoginRefused { .. }
                    | verbatim_registry::ErrorKind::Forbidden(_)
            );
            let failure = verbatim_registry::cli::failure(inner).context(words);
            if may_overwrite {
                failure.hint("the tag is read before a push; with credentials that only allow pushing, use `--overwrite`")
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
            // It means "later", not "no".
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
        // The caller handles it; here only so that the match is complete.
        ErrorKind::Registry(_) => ExitStatus::Unreachable,
    }
}

fn hint(kind: &ErrorKind) -> Option<String> {
    let hint = match kind {
        ErrorKind::Unreachable { .. } => {
            "check that the daemon is running (`systemctl status docker`), or set DOCKER_HOST to another engine"
        }
        ErrorKind::Permission { .. } => {
            "join the socket's group (`sudo usermod -aG docker $USER`), then log in again"
        }
        ErrorKind::Protocol { .. } => "set DOCKER_HOST to another engine",
        ErrorKind::Context(ContextError::NoDockerfile(_)) => {
            "name another one with `--dockerfile FILE`, or `dockerfile` of the image in verbatim.yaml"
        }
        ErrorKind::NoBuildKit { .. } => "use `--builder classic`",
        ErrorKind::Context(ContextError::Changed { .. }) => {
            "wait until nothing writes to the build context, or add the file to .dockerignore"
        }
        ErrorKind::Context(ContextError::Withheld(_)) => {
            "move it out of the build context, or add it to .dockerignore; if an image already contains it, replace the key"
        }
        ErrorKind::TagTaken { .. } => "push under another tag, or move this one with `--overwrite`",
        ErrorKind::Mismatch { .. } | ErrorKind::Vanished { .. } => {
            "another job pushes to this tag at the same time: use a different tag for each build"
        }
        ErrorKind::RegistryRefused { message } if message.contains("immutable") => {
            "tags of this repository cannot be changed: push under another tag"
        }
        ErrorKind::RegistryRefused { .. } => {
            "check the name, then log in with `docker login REGISTRY`, or set DOCKER_AUTH_CONFIG"
        }
        ErrorKind::RegistryUnreachable { .. } => {
            "the engine must be able to reach the registry: try `docker pull` on its machine; if the registry was busy, retry"
        }
        ErrorKind::Deadline { .. } | ErrorKind::PushUnfinished { .. } => {
            "allow more time with `--timeout` (in verbatim.yaml, `build_timeout` and `push_timeout` of the image)"
        }
        ErrorKind::Silent { .. } | ErrorKind::PushSilent { .. } => {
            "check that the engine still works (`docker info`), or allow more time with `--idle-timeout` (in verbatim.yaml, `idle_timeout` of the image)"
        }
        ErrorKind::NoImage(_) => "list the engine's images with `docker image ls`",
        ErrorKind::Failed { message } | ErrorKind::Engine { message, .. }
            if message.contains("no space left on device") =>
        {
            "see what fills the engine's disk with `docker system df`, and free space with `docker system prune`"
        }
        ErrorKind::Engine { status, .. } => refusal_hint(*status),
        ErrorKind::Failed { .. } | ErrorKind::Incomplete(_) => ENGINE_LOG,
        _ => return None,
    };
    Some(hint.to_owned())
}

const ENGINE_LOG: &str = "check the engine's log (`journalctl --unit docker`), then retry";

/// The hint for a request that the engine refused.
fn refusal_hint(status: u16) -> &'static str {
    match status {
        400 => "fix what the message names: an option, a build argument, or the Dockerfile",
        401 | 403 => {
            "something in front of the engine rejects the credentials: check DOCKER_HOST and DOCKER_CERT_PATH"
        }
        409 => "another job uses it in the engine right now: retry",
        429 => "the engine, or a proxy in front of it, limits requests: wait, then retry",
        404 | 405 | 501 => {
            "DOCKER_HOST may not point to an engine, or to an old one: check with `docker version`"
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
