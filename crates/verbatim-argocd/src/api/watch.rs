//! Follows an application over the server's event stream, across idle proxies, restarts and lost connections.
//!
//! The stream is a hint when to look, not a log: the server drops events between its list and its subscription, and has
//! no resume. So every reopening is told, and whoever waits reads the whole object again then.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::api::client::{AnswerStream, Client};
use crate::api::error::Error;
use crate::api::request::{self, AppRef};
use crate::model::{Application, WatchLine};

/// The server sends a comment every 15 s; after two missed ones the connection is taken for dead.
const IDLE: Duration = Duration::from_secs(35);

/// How long to wait for the headers, which come with the first event: at once for an application that exists.
const HEADERS: Duration = Duration::from_secs(10);

/// Pause before a stream is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest line that is accepted. An application with thousands of resources has a few megabytes.
const LONGEST_LINE: usize = 64 << 20;

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

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<WatchEvent>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to watch one application. Returns at once; the connection is made in the background.
    pub fn start(client: &Client, app: &AppRef) -> Self {
        // As many as the server keeps for us.
        let (sender, events) = mpsc::channel(1000);
        let task = tokio::spawn(run(client.clone(), app.clone(), sender));
        Self { events, task }
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
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(client: Client, app: AppRef, events: mpsc::Sender<WatchEvent>) {
    let request = request::watch(&app, None);
    let mut failures = 0;
    loop {
        match client.open(&request, HEADERS).await {
            Ok(stream) => {
                failures = 0;
                if follow(stream, &events).await.is_err() {
                    return;
                }
            }
            Err(kind) if !kind.is_transient() => {
                let _ = events.send(WatchEvent::Lost(Box::new(client.error(&request, kind)))).await;
                return;
            }
            // A missing or forbidden application is silence, too: the reader's own GET tells those.
            Err(kind) => {
                failures += 1;
                tracing::debug!(failures, error = %kind, "no event stream");
            }
        }
        if events.send(WatchEvent::Interrupted).await.is_err() {
            return;
        }
        sleep(PAUSE * 2u32.saturating_pow(failures).min(16)).await;
    }
}

/// Reads a stream to its end. An error means that nobody listens any more.
async fn follow(
    mut stream: AnswerStream,
    events: &mpsc::Sender<WatchEvent>,
) -> Result<(), mpsc::error::SendError<WatchEvent>> {
    let mut decoder = Decoder::default();
    while let Ok(Some(chunk)) = timeout(IDLE, stream.next()).await {
        let Ok(lines) = decoder.feed(&chunk) else { break };
        for line in lines {
            match read(&line) {
                Ok(Some(seen)) => events.send(seen).await?,
                Ok(None) => {}
                Err(message) => {
                    tracing::debug!(message, "the event stream ends with an error");
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// One event's data. An error is the server's own reason for ending the stream.
fn read(data: &str) -> Result<Option<WatchEvent>, String> {
    let line: WatchLine = serde_json::from_str(data).map_err(|error| error.to_string())?;
    if let Some(error) = line.error {
        return Err(error.message);
    }
    Ok(line.result.map(|result| match result.kind.as_str() {
        "DELETED" => WatchEvent::Deleted,
        _ => WatchEvent::Changed(Box::new(result.application)),
    }))
}

/// Splits a `text/event-stream` into the data of its events, however it is cut into pieces. Event names, ids and
/// comments are skipped. <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>
#[derive(Debug, Default)]
struct Decoder {
    pending: Vec<u8>,
    data: String,
}

/// A line that is longer than anything an application can be.
#[derive(Debug, PartialEq)]
struct TooLong;

impl Decoder {
    fn feed(&mut self, chunk: &[u8]) -> Result<Vec<String>, TooLong> {
        let searched = self.pending.len();
        self.pending.extend_from_slice(chunk);
        let mut done = Vec::new();
        let mut start = 0;
        let mut from = searched;
        while let Some(end) =
            self.pending[from..].iter().position(|byte| *byte == b'\n').map(|at| from + at)
        {
            let line = String::from_utf8_lossy(&self.pending[start..end]);
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                if !self.data.is_empty() {
                    done.push(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
            start = end + 1;
            from = start;
        }
        self.pending.drain(..start);
        if self.pending.len() > LONGEST_LINE || self.data.len() > LONGEST_LINE {
            Err(TooLong)
        } else {
            Ok(done)
        }
    }
}

/// The applications of a whole stream.
#[cfg(test)]
pub(crate) fn events(stream: &str) -> Vec<Application> {
    let events = Decoder::default().feed(stream.as_bytes()).unwrap_or_default();
    let seen = events.iter().filter_map(|event| read(event).ok()?);
    seen.filter_map(|seen| match seen {
        WatchEvent::Changed(app) => Some(*app),
        _ => None,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The framing that Argo CD 3.6.1 sends: a space after the data and three line ends, `:` every 15 s.
    const STREAM: &str = "data: {\"result\":{\"type\":\"ADDED\",\"application\":{\"metadata\":{\"name\":\"é\"}}}} \n\n\n:\n\n\
                          data: {\"result\":{\"application\":{\"metadata\":{\"name\":\"b\"}},\"type\":\"MODIFIED\"}} \n\n\n\
                          data: {\"result\":{\"type\":\"DELETED\",\"application\":{}}} \n\n\n";

    fn names(events: &[String]) -> Vec<String> {
        events
            .iter()
            .map(|data| match read(data).unwrap().unwrap() {
                WatchEvent::Changed(app) => app.metadata.name,
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        for size in [1, 2, 3, 7, 64, STREAM.len()] {
            let mut decoder = Decoder::default();
            let mut events = Vec::new();
            for chunk in STREAM.as_bytes().chunks(size) {
                events.extend(decoder.feed(chunk).unwrap());
            }
            assert_eq!(names(&events), ["é", "b", "Deleted"], "cut into pieces of {size}");
        }
    }

    #[test]
    fn an_error_line_ends_the_stream() {
        let line = r#"{"error":{"grpc_code":14,"http_code":503,"message":"shutting down","http_status":"x"}}"#;
        assert_eq!(read(line).unwrap_err(), "shutting down");
        assert!(read("{}").unwrap().is_none());
        assert!(read("no json").is_err());
    }
}
