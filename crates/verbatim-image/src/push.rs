//! Pushes an image, and finds out its digest in the registry.
//!
//! The digest never comes only from the engine: the manifest is read back from the registry and hashed.

use std::sync::LazyLock;
use std::time::Duration;

use bollard::query_parameters::PushImageOptions;
use futures_util::StreamExt as _;
use regex::Regex;
use tokio::time;
use verbatim_credentials::Keychain;
use verbatim_oci::{Digest, Reference};
use verbatim_registry::{Client, FetchedManifest};

use crate::engine::{Engine, EngineEvent, FailureClass, classify, for_repository};
use crate::error::{Error, ErrorKind};
use crate::remote::{PushOutcome, PushedImage, by_tag, is_image, pushed, tag_state};

/// The waits before each read of the tag after a push: some registries show a new manifest with a delay.
const READ_BACKS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)];
/// The wait before the only retry of a push.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// What to push, and how.
#[derive(Clone, Debug)]
pub struct PushConfig {
    /// The image in the engine, and its name in the registry.
    pub image: Reference,
    /// Whether to move the tag if it names another image.
    pub overwrite: bool,
    /// The time limit for all of it.
    pub timeout: Duration,
    /// How long the engine may be silent.
    pub idle_timeout: Duration,
}

/// Pushes an image and reads it back from the registry.
///
/// Does not move a tag that names another image, unless [`PushConfig::overwrite`]. Does not push an image again that
/// already has the tag. If the connection breaks, the push is retried once: it is idempotent, because the manifest
/// comes last.
///
/// Dropping the future ends the push in the engine; [`tag_state`] returns the state of the tag.
///
/// # Errors
///
/// [`ErrorKind::TagTaken`] and [`ErrorKind::Mismatch`] if another job uses the tag; otherwise the failure of the engine
/// or the registry.
pub async fn push(
    engine: &Engine,
    registry: &Client,
    keychain: &Keychain,
    config: &PushConfig,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<PushedImage, Error> {
    let image = by_tag(&config.image);
    let fail = |kind| Error::new(format!("push {image}"), kind);
    let work = push_with(engine, registry, keychain, &image, config, on_event);
    match time::timeout(config.timeout, work).await {
        Ok(Err(ErrorKind::Silent { after, .. })) => {
            let state = tag_state(registry, &image).await;
            Err(fail(ErrorKind::PushSilent { after, state }))
        }
        Ok(pushed) => pushed.map_err(fail),
        Err(_) => {
            let state = tag_state(registry, &image).await;
            Err(fail(ErrorKind::PushUnfinished { after: config.timeout, state }))
        }
    }
}

async fn push_with(
    engine: &Engine,
    registry: &Client,
    keychain: &Keychain,
    image: &Reference,
    config: &PushConfig,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<PushedImage, ErrorKind> {
    let &PushConfig { overwrite, idle_timeout, .. } = config;
    let id = engine.image_id(image).await?;
    let before = registry.find_manifest(image).await;
    match before {
        Ok(Some(found)) if is_image(&found, id)? => {
            return pushed(registry, image, &found, PushOutcome::AlreadyThere).await;
        }
        Ok(Some(found)) if !overwrite => {
            return Err(ErrorKind::TagTaken { existing: found.digest });
        }
        // With `overwrite`, the tag need not be readable: some registries refuse to answer for absent repositories.
        Err(error) if !overwrite => return Err(ErrorKind::Registry(error)),
        Ok(_) | Err(_) => {}
    }
    let digest = match send(engine, keychain, image, idle_timeout, on_event).await {
        Err(kind) if is_transport(&kind) => {
            on_event(EngineEvent::Warning(format!("{kind}; retrying once")));
            time::sleep(RETRY_WAIT).await;
            send(engine, keychain, image, idle_timeout, on_event).await?
        }
        other => other?,
    };
    let found = read_back(registry, image, digest).await?;
    pushed(registry, image, &found, PushOutcome::Pushed).await
}

/// Lets the engine push, and returns the digest that it reports.
async fn send(
    engine: &Engine,
    keychain: &Keychain,
    image: &Reference,
    idle_timeout: Duration,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<Digest, ErrorKind> {
    let credentials = for_repository(keychain, &image.repository, on_event).await?;
    let options = PushImageOptions {
        tag: Some(image.tag_or_latest().to_owned()),
        ..PushImageOptions::default()
    };
    let name = image.repository.to_string();
    let mut answer = engine.docker().push_image(&name, Some(options), credentials);
    let mut digest = None;
    let silent = |_| ErrorKind::Silent { after: idle_timeout, step: None };
    while let Some(message) = time::timeout(idle_timeout, answer.next()).await.map_err(silent)? {
        let message = message.map_err(|error| failure(engine, error))?;
        if let Some(status) = &message.status {
            digest = pushed_digest(status, image.tag_or_latest()).or(digest);
        }
        let status = message.status.unwrap_or_default();
        // bollard does not expose the layer of a message.
        on_event(EngineEvent::layer(String::new(), status, message.progress_detail));
    }
    digest.ok_or(ErrorKind::Incomplete("pushed digest"))
}

fn failure(engine: &Engine, error: bollard::errors::Error) -> ErrorKind {
    match error {
        bollard::errors::Error::DockerStreamError { error: message } => {
            match classify(&message, None) {
                FailureClass::Refused => ErrorKind::RegistryRefused { message },
                FailureClass::Unreachable => ErrorKind::RegistryUnreachable { message },
                _ => ErrorKind::Failed { message },
            }
        }
        other => engine.error_kind(other),
    }
}

fn is_transport(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unreachable { .. } | ErrorKind::RegistryUnreachable { .. })
}

/// The digest in the last line of a push, `1.2: digest: sha256:… size: 528`. Docker (`distribution/push_v2.go`) and
/// Podman write it the same way; bollard exposes no other source.
fn pushed_digest(status: &str, tag: &str) -> Option<Digest> {
    static LINE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^(\S+): digest: (sha256:[0-9a-f]{64}) size: [0-9]+$").ok());
    let line = LINE.as_ref()?.captures(status.trim())?;
    (line.get(1)?.as_str() == tag).then_some(())?;
    line.get(2)?.as_str().parse().ok()
}

/// Reads the tag. Any other digest than the pushed one means that another job moved it.
async fn read_back(
    registry: &Client,
    image: &Reference,
    pushed: Digest,
) -> Result<FetchedManifest, ErrorKind> {
    let mut last = None;
    for wait in READ_BACKS {
        time::sleep(wait).await;
        last = registry.find_manifest(image).await?;
        if let Some(found) = last.take_if(|found| found.digest == pushed) {
            return Ok(found);
        }
    }
    Err(match last {
        Some(found) => ErrorKind::Mismatch { pushed, found: found.digest },
        None => ErrorKind::Vanished { pushed },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_push_has_the_digest() {
        let hex = "a".repeat(64);
        let cases = [
            (format!("1.2: digest: sha256:{hex} size: 528"), Some(format!("sha256:{hex}"))),
            (format!("1.2: digest: sha256:{hex} size: 528\n"), Some(format!("sha256:{hex}"))),
            (format!("1.3: digest: sha256:{hex} size: 528"), None),
            (format!("x 1.2: digest: sha256:{hex} size: 528"), None),
            ("1.2: digest: sha256:abc size: 528".to_owned(), None),
            ("Pushed".to_owned(), None),
        ];
        for (line, want) in cases {
            let got = pushed_digest(&line, "1.2").map(|digest| digest.to_string());
            assert_eq!(got, want, "{line}");
        }
    }
}
