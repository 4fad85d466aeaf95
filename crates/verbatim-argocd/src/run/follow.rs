//! Follows one application: the newest state, from the watch, from answers and from reading now and then.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{AppRef, Refresh};
use crate::api::watch::{Standing, Watch, WatchEvent};
use crate::model::{Application, ObjectMeta};
use crate::run::together::read_since;

/// While the watch speaks, a state is read only to be sure that nothing was missed.
const QUIET: Duration = Duration::from_secs(15);

/// Without a watch, reading is all there is.
const BLIND: Duration = Duration::from_secs(3);

/// States of before our write that are kept, to find the changes of others that it overlaid.
const KEPT: usize = 50;

/// How long the watch may take to show the application at all. Of one that is missing or forbidden it shows nothing, and
/// only reading it tells why.
const FIRST: Duration = Duration::from_millis(500);

/// How long the watch may take to bring what our own write made.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How long a write waits after the watch has shown its application, and for an answer of the same server: on a busy one
/// everything takes longer. See [`Standing`].
const SUBSCRIBED: Duration = Duration::from_millis(20);

/// After this time nobody doubts that the watch is subscribed.
const LONG_SUBSCRIBED: Duration = Duration::from_millis(200);

/// How soon a watch is looked at again that has not shown all of its applications.
const NEXT_SHOWN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) enum NextState {
    Changed,
    Time,
    Deleted,
}

/// How an application is read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstRead {
    /// As the controller has left it.
    AsItIs,
    /// After a comparison that begins now.
    Compared,
    /// As the watch shows it, which costs no request of its own. The server's cache may be behind, so this is only for
    /// what finds out when it was: a write whose tests look at what is stored.
    Watched,
}

/// An application that is followed.
#[derive(Debug)]
pub(crate) struct Follow {
    client: Client,
    app: AppRef,
    watch: Watch,
    watching: bool,
    /// The newest version that the watch has shown.
    shown: u64,
    newest: Application,
    next_read: Instant,
    /// The end of the time that the run may take.
    deadline: Instant,
    /// The version that our own write made; older states say nothing any more.
    floor: u64,
    /// States that were stored before our last write, and that came to be known after it: what it overlaid is among them.
    overlaid: VecDeque<Application>,
    /// The last failure to read, while there has been no success since.
    pub(crate) trouble: Option<Error>,
}

impl Follow {
    /// Opens the watch and reads the application, as it is or after a new comparison.
    pub(crate) async fn start(
        client: &Client,
        app: &AppRef,
        first: FirstRead,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + timeout;
        let mut watch = Watch::start(client, app);
        let mut shown = 0;
        let newest = match first {
            FirstRead::AsItIs => client.get(app).await?,
            FirstRead::Watched => match watch.first(FIRST).await {
                Some(app) => {
                    shown = version(&app).unwrap_or_default();
                    app
                }
                None => client.get(app).await?,
            },
            FirstRead::Compared => match client.refresh(app, Refresh::Normal).await {
                // Nobody compares now: it is taken as it is.
                Err(error) if error.kind.is_transient() => client.get(app).await?,
                other => other?,
            },
        };
        Ok(Self {
            client: client.clone(),
            app: app.clone(),
            watch,
            watching: true,
            shown,
            newest,
            next_read: Instant::now() + QUIET,
            deadline,
            floor: 0,
            overlaid: VecDeque::new(),
            trouble: None,
        })
    }

    pub(crate) fn app(&self) -> &Application {
        &self.newest
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Puts the deadline off to a time, if that is later.
    pub(crate) fn extend_to(&mut self, until: Instant) {
        self.deadline = self.deadline.max(until);
    }

    /// Takes a state that an answer brought.
    pub(crate) fn accept(&mut self, app: Application) -> bool {
        self.trouble = None;
        let (version, newest) = (version(&app), version(&self.newest));
        // Versions are opaque by contract. If they are no numbers, the later state wins.
        if version.zip(newest).is_some_and(|(version, newest)| version < newest.max(self.floor)) {
            if version.is_some_and(|version| version < self.floor) {
                if self.overlaid.len() == KEPT {
                    self.overlaid.pop_front();
                }
                self.overlaid.push_back(app);
            }
            return false;
        }
        self.newest = app;
        true
    }

    /// Takes the answer to our own write: nothing older counts any more.
    pub(crate) fn accept_write(&mut self, app: Application) {
        self.floor = version(&app).unwrap_or(0).max(self.floor);
        self.accept(app);
    }

    /// States that were seen between two versions, in their order.
    pub(crate) fn between(&self, before: &Application, after: &Application) -> Vec<&Application> {
        let (Some(low), Some(high)) = (version(before), version(after)) else { return Vec::new() };
        let is_between = |app: &&Application| version(app).is_some_and(|at| low < at && at < high);
        let mut between: Vec<_> = self.overlaid.iter().filter(is_between).collect();
        between.sort_by_key(|app| version(app));
        between
    }

    /// Takes what the watch has already brought, without waiting.
    pub(crate) fn drain(&mut self) {
        while let Some(seen) = self.watch.try_next() {
            self.take(seen);
        }
    }

    /// Takes what the watch says. Whether it brought a newer state.
    fn take(&mut self, seen: WatchEvent) -> bool {
        match seen {
            WatchEvent::Changed(app) => return self.accept_seen(*app),
            // Only reading tells what happened meanwhile, and whether it is really gone.
            WatchEvent::Deleted | WatchEvent::Interrupted => self.next_read = Instant::now(),
            WatchEvent::Lost(error) => {
                tracing::debug!(%error, "the watch is lost, reading instead");
                self.watching = false;
                self.next_read = Instant::now();
            }
        }
        false
    }

    /// Takes a state that the watch brought.
    fn accept_seen(&mut self, app: Application) -> bool {
        self.shown = version(&app).unwrap_or_default().max(self.shown);
        self.accept(app)
    }

    /// Whether the watch has shown everything up to our last write.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.shown >= self.floor
    }

    /// Reads the application as the server's cache has it, if that is not older than what is known.
    pub(crate) async fn list(&mut self) -> Result<(), Error> {
        let ObjectMeta { namespace, resource_version, .. } = &self.newest.metadata;
        let app = read_since(&self.client, &self.app, namespace, resource_version).await?;
        self.read_at(app);
        Ok(())
    }

    /// Whether the watch has shown our last write.
    pub(crate) fn shows_our_write(&self) -> bool {
        // Versions are opaque by contract. If they are no numbers, nobody can tell.
        self.floor > 0 && self.has_caught_up()
    }

    /// Waits until the watch shows whatever others write from now on, if it comes to that.
    pub(crate) async fn watched(&mut self) {
        let until = Instant::now() + CATCH_UP;
        while self.watching && Instant::now() < until {
            match self.watch.standing() {
                Standing::Subscribed => break,
                Standing::Shown(at) | Standing::ShownAll(at) if at.elapsed() >= LONG_SUBSCRIBED => {
                    break;
                }
                Standing::Shown(at) => {
                    // What it says does not matter.
                    let _ = timeout(CATCH_UP, self.client.version()).await;
                    sleep_until(at + SUBSCRIBED).await;
                    break;
                }
                Standing::ShownAll(at) => sleep_until(at + LONG_SUBSCRIBED).await,
                Standing::Begins => sleep(NEXT_SHOWN).await,
            }
            self.drain();
        }
        self.drain();
    }

    /// Waits until the watch has brought our last write, and so everything before it. A watch that is slow or lost is
    /// not waited for longer.
    pub(crate) async fn catch_up(&mut self) {
        let until = Instant::now() + CATCH_UP;
        while self.watching && !self.has_caught_up() {
            let Ok(seen) = timeout_at(until, self.watch.next()).await else { return };
            let goes_on = matches!(seen, WatchEvent::Changed(_));
            self.take(seen);
            if !goes_on {
                return;
            }
        }
    }

    /// Reads the application, and not only what the watch said last. Among many the list is enough, where it is not older
    /// than what was seen: it misses no event, and all are looked at once more after the last of them.
    pub(crate) async fn read_again(&mut self) -> Result<(), Error> {
        match self.watch.is_shared() {
            true => self.list().await,
            false => self.read().await,
        }
    }

    pub(crate) async fn read(&mut self) -> Result<(), Error> {
        let app = self.client.get(&self.app).await?;
        self.read_at(app);
        Ok(())
    }

    fn read_at(&mut self, app: Application) {
        self.next_read = Instant::now() + if self.watching { QUIET } else { BLIND };
        self.accept(app);
    }

    /// Makes the controller compare, and takes the result.
    pub(crate) async fn refresh(&mut self) -> Result<(), Error> {
        let app = self.client.refresh(&self.app, Refresh::Normal).await?;
        self.accept(app);
        Ok(())
    }

    /// Waits for a newer state, until a time. Failures that may pass are waited out.
    pub(crate) async fn next(&mut self, until: Instant) -> Result<NextState, Error> {
        loop {
            // First, so that an application that changes all the time cannot keep the time from being over.
            if Instant::now() >= until {
                return Ok(NextState::Time);
            }
            let read_at = self.next_read.min(until);
            tokio::select! {
                biased;
                seen = self.watch.next() => match seen {
                    WatchEvent::Changed(app) => {
                        self.next_read = Instant::now() + QUIET;
                        if self.accept_seen(*app) {
                            return Ok(NextState::Changed);
                        }
                    }
                    WatchEvent::Deleted => return Ok(NextState::Deleted),
                    seen => drop(self.take(seen)),
                },
                () = sleep_until(read_at) => {
                    if read_at < until && let Some(next) = self.read_on(until).await? {
                        return Ok(next);
                    }
                }
            }
        }
    }

    async fn read_on(&mut self, until: Instant) -> Result<Option<NextState>, Error> {
        let before = self.newest.metadata.resource_version.clone();
        let read = tokio::time::timeout_at(until, self.read()).await;
        match read {
            Err(_) => Ok(Some(NextState::Time)),
            Ok(Ok(())) if self.newest.metadata.resource_version != before => {
                Ok(Some(NextState::Changed))
            }
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => match error.kind {
                ErrorKind::NotFound(_) => Ok(Some(NextState::Deleted)),
                ErrorKind::Unauthenticated(_)
                | ErrorKind::PermissionDenied(_)
                | ErrorKind::Certificate(_)
                | ErrorKind::ClientCertificate(_) => Err(error),
                _ => {
                    self.next_read = Instant::now() + BLIND;
                    self.trouble = Some(error);
                    Ok(None)
                }
            },
        }
    }
}

/// The version of an application as the number that it is in fact.
pub(crate) fn version(app: &Application) -> Option<u64> {
    app.metadata.resource_version.parse().ok()
}
