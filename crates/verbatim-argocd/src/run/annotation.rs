//! Writes single annotations. Nothing here may change what is deployed.
//!
//! A `PATCH` of an annotation makes the server reach the repository and render the manifests again, and overlay whatever
//! anybody writes meanwhile. A `PUT` with `validate=false` skips that: it needs no repository, and the time in which it
//! could overlay another write is that of one request.

use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::AppRef;
use crate::model::Application;
use crate::overrides::claim::{ANNOTATION, Claim, read_claim};

/// How often an annotation is written when others write, too.
const ATTEMPTS: u32 = 3;

/// Pause after a failure that may pass.
const PAUSE: Duration = Duration::from_millis(200);

/// The states on both sides of a write.
#[derive(Debug)]
pub(crate) struct AnnotationWrite {
    pub(crate) before: Application,
    /// As the server stored it.
    pub(crate) after: Application,
}

/// Sets an annotation of an application, or takes it away.
///
/// # Errors
///
/// If the application cannot be read or written.
pub async fn annotate(
    client: &Client,
    app: &AppRef,
    name: &str,
    text: Option<&str>,
) -> Result<(), Error> {
    let action = format!("annotate application {app}");
    write(client, app, &action, name, text, |_| Ok(())).await.map(drop)
}

/// Replaces the claim of the same nonce by `end`. `None` if it has that end already.
pub(crate) async fn close(
    client: &Client,
    app: &AppRef,
    end: &Claim,
) -> Result<Option<AnnotationWrite>, Error> {
    let action = format!("close the claim on application {app}");
    write(client, app, &action, ANNOTATION, Some(&end.to_text()), |app| {
        match read_claim(app).known() {
            Some(found) if found.nonce == end.nonce => Ok(()),
            _ => Err(ErrorKind::TestFailed("the claim belongs to another run".into())),
        }
    })
    .await
}

/// Writes an annotation where `may` allows it. `None` if there is nothing to change.
async fn write(
    client: &Client,
    app: &AppRef,
    action: &str,
    name: &str,
    text: Option<&str>,
    may: impl Fn(&Application) -> Result<(), ErrorKind>,
) -> Result<Option<AnnotationWrite>, Error> {
    let failed =
        |kind| Error { action: action.to_owned(), server: client.server().to_string(), kind };
    let mut attempt = 1;
    loop {
        // Read again each time: of a write whose answer got lost, only the application tells what became of it.
        let mut object = client.object(app).await?;
        let before = Application::deserialize(&object).map_err(|wrong| {
            let length = object.to_string().len();
            failed(ErrorKind::Malformed { length, reason: wrong.to_string() })
        })?;
        may(&before).map_err(failed)?;
        if before.metadata.annotations.get(name).map(String::as_str) == text {
            return Ok(None);
        }
        set(&mut object, name, text);
        match client.replace(app, object).await {
            Ok(after) => return Ok(Some(AnnotationWrite { before, after })),
            Err(error) if attempt < ATTEMPTS && may_pass(&error.kind) => sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}

fn may_pass(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::TooManyConflicts) || kind.is_transient()
}

/// Changes the annotation, and leaves out what the server ignores and what is large.
fn set(object: &mut Value, name: &str, text: Option<&str>) {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
        object.remove("operation");
    }
    match text {
        Some(text) => object["metadata"]["annotations"][name] = json!(text),
        None => {
            if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
                annotations.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_annotation_is_set_or_taken_away() {
        let cases = [
            (json!({}), Some("x"), json!({ "a/b": "x" })),
            (json!({ "annotations": null }), Some("x"), json!({ "a/b": "x" })),
            (json!({ "annotations": { "c": "1" } }), Some("x"), json!({ "c": "1", "a/b": "x" })),
            (json!({ "annotations": { "c": "1", "a/b": "y" } }), None, json!({ "c": "1" })),
        ];
        for (metadata, text, want) in cases {
            let mut object =
                json!({ "metadata": metadata, "status": {}, "operation": {}, "spec": 1 });
            set(&mut object, "a/b", text);
            assert_eq!(object, json!({ "metadata": { "annotations": want }, "spec": 1 }));
        }
    }
}
