//! Which exit status an error has, and what its reader can do about it.

use verbatim_console::{ExitStatus, Failure};
use verbatim_credentials::ErrorKind as CredentialsKind;

use crate::{Error, ErrorKind};

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
        ErrorKind::Context { .. }
        | ErrorKind::NoDockerfile(_)
        | ErrorKind::Dockerfile { .. }
        | ErrorKind::Read { .. }
        | ErrorKind::Ignore { .. }
        | ErrorKind::Endpoint(_)
        | ErrorKind::NoBuildKit { .. } => ExitStatus::Usage,
        ErrorKind::Unreachable { .. }
        | ErrorKind::Protocol { .. }
        | ErrorKind::Failed { .. }
        | ErrorKind::RegistryUnreachable { .. }
        | ErrorKind::ImageConfig(_) => ExitStatus::Unreachable,
        ErrorKind::Incomplete(_)
        | ErrorKind::Deadline { .. }
        | ErrorKind::PushUnfinished { .. } => ExitStatus::Unknown,
        ErrorKind::Changed { .. }
        | ErrorKind::TagTaken { .. }
        | ErrorKind::Mismatch { .. }
        | ErrorKind::Vanished { .. } => ExitStatus::Conflict,
        ErrorKind::Permission { .. }
        | ErrorKind::RegistryRefused { .. }
        | ErrorKind::NoImage(_) => ExitStatus::Refused,
        ErrorKind::Engine { status, .. } => match status {
            400 => ExitStatus::Usage,
            409 => ExitStatus::Conflict,
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
            "is the daemon running (`systemctl status docker`)? DOCKER_HOST or `--host` names another engine"
        }
        ErrorKind::Permission { .. } => {
            "members of the socket's group may use it (`sudo usermod -aG docker $USER`, then log in again)"
        }
        ErrorKind::Protocol { .. } => "DOCKER_HOST or `--host` names another engine",
        ErrorKind::NoDockerfile(_) => "`--dockerfile FILE` names another one",
        ErrorKind::NoBuildKit { .. } => "`--builder classic` builds without it",
        ErrorKind::Changed { .. } => {
            "something writes into the context: let it end first, or list the file in .dockerignore"
        }
        ErrorKind::TagTaken { .. } => "push under another tag, or move this one with `--overwrite`",
        ErrorKind::Mismatch { .. } | ErrorKind::Vanished { .. } => {
            "somebody else pushes under this tag at the same time: find out who, and use tags that no two builds share"
        }
        ErrorKind::RegistryRefused { .. } => {
            "check the name, then log in with `docker login REGISTRY` or set DOCKER_AUTH_CONFIG"
        }
        ErrorKind::Deadline { .. } | ErrorKind::PushUnfinished { .. } => {
            "`--timeout` gives it more time"
        }
        ErrorKind::NoImage(_) => "`docker image ls` lists what the engine has",
        ErrorKind::Failed { message } | ErrorKind::Engine { message, .. }
            if message.contains("no space left on device") =>
        {
            "`docker system df` shows what fills the engine's disk, `docker system prune` makes room"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Cause;
    use crate::remote::TagState;

    #[test]
    fn every_kind_has_a_status() {
        let digest = verbatim_oci::Digest::of(b"");
        let endpoint = || "unix:///x".to_owned();
        let message = || "words".to_owned();
        let io = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let cases = [
            (ErrorKind::Step { step: None, message: message(), output: vec![] }, 1),
            (ErrorKind::NoDockerfile("x".into()), 2),
            (ErrorKind::Context { path: "x".into(), source: io() }, 2),
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
            (ErrorKind::Incomplete("image"), 4),
            (ErrorKind::TagTaken { existing: digest }, 5),
            (ErrorKind::Mismatch { pushed: digest, found: digest }, 5),
            (ErrorKind::Vanished { pushed: digest }, 5),
            (ErrorKind::Changed { path: "x".into(), expected: 1, found: 2 }, 5),
            (ErrorKind::Permission { endpoint: endpoint() }, 7),
            (ErrorKind::RegistryRefused { message: message() }, 7),
            (ErrorKind::Engine { status: 403, message: message() }, 7),
        ];
        for (kind, code) in cases {
            let text = format!("{kind:?}");
            assert_eq!(failure(Error::new("do it", kind)).status.code(), code, "{text}");
        }
    }
}
