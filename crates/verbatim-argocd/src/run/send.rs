//! Sends one change of an application, the only way to one. It is a patch guarded by tests, so sending it twice is
//! harmless; through Argo CD, or through the Kubernetes API, which compares the version, too. Through Argo CD, where the application does not render, so that the server refuses every patch, it is a `PUT` of what was just
//! read and compared. An answer that got lost is looked for, and what the write overlaid can be told afterwards.

use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::sleep;

use crate::api::error::{Error, ErrorKind};
use crate::judge::change::Change;
use crate::judge::lost_changes::WriteAttempt;
use crate::judge::sending::{Sending, Unrendered};
use crate::model::{Application, ObjectMeta};
use crate::overrides::patch::{self, without_tests};
use crate::run::session::AppRun;

/// How sending ended.
pub(crate) enum Sent<S> {
    Written,
    Stopped(S),
    /// An answer got lost, and the application does not show the change. It may come yet.
    Unknown(Error),
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
        let mut sending = Sending::new(unrendered);
        loop {
            let operations = match next {
                Change::Write(operations) => operations,
                Change::Written => return Ok(Sent::Written),
                Change::Stop(why) => return Ok(Sent::Stopped(why)),
            };
            let expected = patch::applied(&state, &operations);
            let read = state.metadata.clone();
            self.written.attempted(WriteAttempt { before: state, expected });
            let error = match self.attempt(&read, operations, object.take()).await {
                Ok(app) => {
                    self.sent(app);
                    return Ok(Sent::Written);
                }
                Err(error) => error,
            };
            if error.kind.nothing_happened() {
                self.written.attempt_failed();
            }
            sending.failed(&error.kind);
            if let Some(pause) = sending.pause() {
                sleep(pause).await;
            }
            // A write whose answer was lost, or replaced by a proxy, may have been done all the same.
            let (read, found) = match self.read_whole().await {
                Ok(read) => read,
                Err(_) if sending.is_in_doubt() => return Ok(Sent::Unknown(error)),
                Err(_) => return Err(error),
            };
            next = change(self, &found);
            if let Change::Written = next {
                self.sent(found);
                return Ok(Sent::Written);
            }
            match sending.goes_on() {
                true => {}
                false if sending.is_in_doubt() => return Ok(Sent::Unknown(error)),
                false => return Err(error),
            }
            state = found;
            object = sending.replaces().then_some(read);
        }
    }

    /// Reads back what a last write of a run has left. A writer that had read the application before it may have brought back
    /// what stood there; that is seen if it wrote by now.
    pub(crate) async fn read_back(&mut self) -> Result<&Application, Error> {
        self.follow.catch_up().await;
        self.follow.read().await?;
        Ok(self.follow.app())
    }

    /// Reads back the end of a claim. A list that is not older than what the watch has shown costs the server nothing, and is
    /// as good here: whatever brings back what stood there is a version that comes later.
    pub(crate) async fn list_back(&mut self) -> Result<&Application, Error> {
        self.follow.catch_up().await;
        self.follow.drain();
        match self.follow.shows_our_write() {
            true => self.follow.list().await?,
            false => self.follow.read().await?,
        }
        Ok(self.follow.app())
    }

    /// Patches the application, or replaces the object that was read.
    async fn attempt(
        &self,
        read: &ObjectMeta,
        operations: Vec<Value>,
        object: Option<Value>,
    ) -> Result<Application, Error> {
        let (client, app) = (&self.subject.client, &self.subject.app);
        let Some(mut object) = object else { return client.write(app, read, operations).await };
        let failed = |why: String| Error {
            action: format!("write to application {app}"),
            server: client.server().to_string(),
            kind: ErrorKind::TestFailed(why),
        };
        // What they test was just compared with this object.
        let patch = json_patch::Patch::deserialize(without_tests(Value::Array(operations)));
        let patch = patch.map_err(|error| failed(error.to_string()))?;
        json_patch::patch(&mut object, &patch).map_err(|error| failed(error.to_string()))?;
        client.replace(app, object).await
    }

    /// A live read, as we know it and whole, without what the server ignores and what is large.
    async fn read_whole(&self) -> Result<(Value, Application), Error> {
        let client = &self.subject.client;
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
    fn sent(&mut self, after: Application) {
        self.written.wrote(after.clone());
        self.follow.accept_write(after);
    }
}
