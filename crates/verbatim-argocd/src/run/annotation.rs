//! Changes of an application that deploy nothing: annotations for others to read, and the end of a claim once the record
//! of its run is attached.

use std::collections::BTreeMap;

use crate::api::client::Client;
use crate::api::error::Error;
use crate::api::request::AppRef;
use crate::judge::change::{Change, ClaimGone};
use crate::judge::sending::Unrendered;
use crate::judge::warning::DeployWarning;
use crate::overrides::claim::Claim;
use crate::overrides::patch;
use crate::overrides::values::Deviation;
use crate::run::follow::FirstRead;
use crate::run::request::DeployOptions;
use crate::run::send::Sent;
use crate::run::session::Subject;

/// How writing the end of a claim ended.
#[derive(Debug)]
pub struct ClosedClaim {
    /// Why it was not written.
    pub end: Result<(), NotClosed>,
    /// What should be known.
    pub warnings: Vec<DeployWarning>,
}

/// Why the end of a claim was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotClosed {
    /// Somebody wiped the annotation. Whether the values stand is not known from it.
    #[error("the claim is gone: another client writes the annotations of this application")]
    Wiped,
    /// Another run has claimed the application.
    #[error("another run has claimed the application")]
    TakenOver,
    /// Other values stand there than those that were proven.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Changed(Vec<Deviation>),
    /// The server refused, or did not answer.
    #[error("{0}: {kind}", kind = .0.kind)]
    Server(#[source] Error),
}

/// Writes the end of a deployment over its claim, with what became of its record. For a proof all values are compared once
/// more, in the same write.
pub async fn close_claim(client: &Client, app: &AppRef, end: &Claim) -> ClosedClaim {
    let options = DeployOptions::default();
    let subject = Subject::new(client, app, &options);
    let mut run = match subject.start(FirstRead::Watched, &|_| {}).await {
        Ok(run) => run,
        Err(error) => {
            return ClosedClaim { end: Err(NotClosed::Server(error)), warnings: Vec::new() };
        }
    };
    let end = match run.end_claim(end).await {
        Ok(Sent::Written) => Ok(()),
        Ok(Sent::Stopped(ClaimGone::Wiped)) => Err(NotClosed::Wiped),
        Ok(Sent::Stopped(ClaimGone::TakenOver)) => Err(NotClosed::TakenOver),
        Ok(Sent::Stopped(ClaimGone::Changed(deviations))) => Err(NotClosed::Changed(deviations)),
        Ok(Sent::Unknown(error)) | Err(error) => Err(NotClosed::Server(error)),
    };
    ClosedClaim { end, warnings: run.into_warnings() }
}

/// Sets annotations of an application, or takes them away (`None`), by those that it has. What it overlaid of others is in
/// the warnings.
///
/// # Errors
///
/// If the application cannot be read or written.
pub async fn annotate(
    client: &Client,
    app: &AppRef,
    wanted: impl Fn(&BTreeMap<String, String>) -> BTreeMap<String, Option<String>>,
) -> Result<Vec<DeployWarning>, Error> {
    let options = DeployOptions::default();
    let subject = Subject::new(client, app, &options);
    let mut run = subject.start(FirstRead::Watched, &|_| {}).await?;
    let sent = run.send(Unrendered::Replace, |_, app| {
        let operations = patch::annotations(app, &wanted(&app.metadata.annotations));
        match operations.is_empty() {
            true => Change::<std::convert::Infallible>::Written,
            false => Change::Write(operations),
        }
    });
    match sent.await? {
        Sent::Written => drop(run.read_back().await?),
        Sent::Stopped(never) => match never {},
        Sent::Unknown(error) => return Err(error),
    }
    Ok(run.into_warnings())
}
