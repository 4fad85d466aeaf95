//! Follows applications over the server's event stream, across idle proxies, restarts and lost connections. What a state
//! means, nobody here knows.
//!
//! The stream is a hint when to look, not a log: the server drops events between its list and its subscription, and has
//! no resume. So every reopening is told, and whoever waits reads the whole object again then.

mod board;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

pub(crate) use self::board::{Board, Standing};
#[cfg(test)]
pub(crate) use self::stream::events;
use crate::api::client::Client;
use crate::api::error::Error;
use crate::api::request::{self, AppRef};
use crate::model::Application;

/// What the stream said.
#[derive(Debug)]
pub enum WatchEvent {
    /// The application, as it is now.
    Changed(Box<Application>),
    /// It is gone.
    Deleted,
    /// The stream was interrupted: events may be missing, so read the application again.
    Interrupted,
    /// The stream cannot be had. Nothing more will come.
    Lost(Box<Error>),
}

/// One stream of several applications, shared by all who watch one of them: as long as it lives, a [`Watch`] that is started
/// with the same client takes its part of it. Where the server does not allow it, each has a stream of its own. Dropping it
/// ends the stream.
#[derive(Debug)]
pub struct Subscription {
    board: Arc<Board>,
    task: JoinHandle<()>,
}

impl Subscription {
    /// Subscribes to applications, each with the namespace it is in. Returns at once; the connection is made in the
    /// background.
    pub fn start(client: &Client, apps: &[(AppRef, String)]) -> Self {
        let board = Arc::new(Board::of_several(apps));
        client.share(&board);
        let request = request::watch_several(apps);
        let (client, place) = (client.clone(), board.clone());
        let task = tokio::spawn(async move {
            for listener in stream::run(client.clone(), request, place).await {
                tokio::spawn(stream::alone(client.clone(), listener));
            }
        });
        Self { board, task }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
        // Whoever still listens reads instead.
        self.board.interrupt();
        self.board.end();
    }
}

/// A running watch of one application. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::UnboundedReceiver<WatchEvent>,
    board: Arc<Board>,
    /// Its own stream; `None` if it has a part of another.
    own: Option<AbortHandle>,
}

impl Watch {
    /// Starts to watch one application. Returns at once; the connection is made in the background, unless a
    /// [`Subscription`] of this client has the application.
    pub fn start(client: &Client, app: &AppRef) -> Self {
        if let Some((board, events)) = client.shared(app) {
            return Self { events, board, own: None };
        }
        let (sender, events) = mpsc::unbounded_channel();
        let board = Arc::new(Board::of_one(app, sender));
        let task =
            tokio::spawn(stream::run(client.clone(), request::watch(app, None), board.clone()));
        Self { events, board, own: Some(task.abort_handle()) }
    }

    /// The next event. After [`WatchEvent::Lost`] never again one.
    pub async fn next(&mut self) -> WatchEvent {
        match self.events.recv().await {
            Some(seen) => seen,
            None => std::future::pending().await,
        }
    }

    /// The application as the stream shows it first: as the server's cache has it. `None` if that does not come in time.
    pub async fn first(&mut self, wait: Duration) -> Option<Application> {
        let first = timeout(wait, self.next()).await.ok()?;
        match first {
            WatchEvent::Changed(app) => Some(*app),
            WatchEvent::Deleted | WatchEvent::Interrupted | WatchEvent::Lost(_) => None,
        }
    }

    /// The next event if one has arrived already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        self.events.try_recv().ok()
    }

    /// Whether it is a part of a stream of several applications.
    pub(crate) fn is_shared(&self) -> bool {
        self.own.is_none()
    }

    /// Whether it shows whatever is written from now on.
    pub(crate) fn standing(&self) -> Standing {
        self.board.standing()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.abort();
        }
    }
}
