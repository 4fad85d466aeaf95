//! Sends one change of an application, the only way to one. It is a patch guarded by tests, so sending it twice is
//! harmless; where the application does not render, so that the server refuses every patch, it is a `PUT` of what was just
//! read and compared. An answer that got lost is looked for, and what the write overlaid can be told afterwards.

use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::{Duration, sleep};

use crate::api::error::{Error, ErrorKind};
use crate::model::Application;
use crate::overrides::patch::{go_json, without_tests};
use crate::run::session::AppRun;

/// How often a change is sent: against writers of other values, and against proxies that are down for a moment.
const ATTEMPTS: u32 = 4;

/// Pause before a change is sent again, times the attempt.
const PAUSE: Duration = Duration::from_millis(200);

/// What a state of the application means for a change.
pub(crate) enum Change<S> {
    /// The operations of a JSON patch that make it.
    Write(Vec<Value>),
    /// It is there.
    Written,
    /// It must not be made.
    Stop(S),
}

/// How sending ended.
pub(crate) enum Sent<S> {
    Written,
    Stopped(S),
    /// An answer got lost, and the application does not show the change. It may come yet.
    Unknown(Error),
}

/// Whether a change may be made to an application that does not render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrendered {
    Refuse,
    /// It deploys nothing new, so it does not have to be validated.
    Replace,
}

impl AppRun<'_> {
    /// Sends what `change` makes of the newest state, and of each later one if the first is outdated.
    ///
    /// # Errors
    ///
    /// Only if nothing was written.
    pub(crate) async fn send<S>(
        &mut self,
        unrendered: Unrendered,
        mut change: impl FnMut(&mut Self, &Application) -> Change<S>,
    ) -> Result<Sent<S>, Error> {
        self.follow.watched().await;
        let mut state = self.follow.app().clone();
        let mut next = change(self, &state);
        // What is replaced has to be read first.
        let mut object: Option<Value> = None;
        let (mut attempt, mut in_doubt) = (1, false);
        loop {
            let operations = match next {
                Change::Write(operations) => operations,
                Change::Written => return Ok(Sent::Written),
                Change::Stop(why) => return Ok(Sent::Stopped(why)),
            };
            let error = match self.attempt(operations, object.take()).await {
                Ok(app) => {
                    self.sent(state, app);
                    return Ok(Sent::Written);
                }
                Err(error) => error,
            };
            in_doubt |= !error.kind.nothing_happened();
            let replace = unrendered == Unrendered::Replace && is_unrendered(&error.kind);
            let again = attempt < ATTEMPTS && (may_pass(&error.kind) || replace);
            if again || in_doubt {
                sleep(PAUSE * attempt).await;
            }
            // A write whose answer was lost, or replaced by a proxy, may have been done all the same.
            let (read, found) = match self.read_whole().await {
                Ok(read) => read,
                Err(_) if in_doubt => return Ok(Sent::Unknown(error)),
                Err(_) => return Err(error),
            };
            next = change(self, &found);
            if let Change::Written = next {
                self.sent(state, found);
                return Ok(Sent::Written);
            }
            match again {
                true => {}
                false if in_doubt => return Ok(Sent::Unknown(error)),
                false => return Err(error),
            }
            state = found;
            object = replace.then_some(read);
            attempt += 1;
        }
    }

    /// Reads back what a last write of a run has left. A writer that had read the application before it may have brought back
    /// what stood there; that is seen if it wrote by now.
    pub(crate) async fn read_back(&mut self) -> Result<&Application, Error> {
        self.follow.catch_up().await;
        self.follow.read().await?;
        Ok(self.follow.app())
    }

    /// Patches the application, or replaces the object that was read.
    async fn attempt(
        &self,
        operations: Vec<Value>,
        object: Option<Value>,
    ) -> Result<Application, Error> {
        let (client, app) = (self.subject.client, &self.subject.app);
        let operations = Value::Array(operations);
        let Some(mut object) = object else { return client.patch(app, go_json(&operations)).await };
        let failed = |why: String| Error {
            action: format!("write to application {app}"),
            server: client.server().to_string(),
            kind: ErrorKind::TestFailed(why),
        };
        // What they test was just compared with this object.
        let patch = json_patch::Patch::deserialize(without_tests(operations));
        let patch = patch.map_err(|error| failed(error.to_string()))?;
        json_patch::patch(&mut object, &patch).map_err(|error| failed(error.to_string()))?;
        client.replace(app, object).await
    }

    /// A live read, as we know it and whole, without what the server ignores and what is large.
    async fn read_whole(&self) -> Result<(Value, Application), Error> {
        let client = self.subject.client;
        let mut object = client.object(&self.subject.app).await?;
        let app = Application::deserialize(&object).map_err(|wrong| Error {
            action: format!("read application {}", self.subject.app),
            server: client.server().to_string(),
            kind: ErrorKind::Malformed {
                length: object.to_string().len(),
                reason: wrong.to_string(),
            },
        })?;
        if let Some(members) = object.as_object_mut() {
            members.remove("status");
            members.remove("operation");
        }
        Ok((object, app))
    }

    /// Takes the state that a write made, for what follows and for the changes of others that it overlaid.
    fn sent(&mut self, before: Application, after: Application) {
        self.written.wrote(before, after.clone());
        self.follow.accept_write(after);
    }
}

/// Whether the same change, made from a newer state, may be taken a moment later.
fn may_pass(kind: &ErrorKind) -> bool {
    let is_conflict = matches!(kind, ErrorKind::TestFailed(_) | ErrorKind::TooManyConflicts);
    is_conflict || !kind.nothing_happened() || kind.is_transient()
}

/// Whether the server refuses a patch because it cannot render the manifests, whatever the patch changes.
fn is_unrendered(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DoesNotRender(_) | ErrorKind::RepoUnreachable(_) | ErrorKind::RepoRefused(_)
    )
}
