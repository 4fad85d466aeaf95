//! Reads an event stream, opens it again when it ends, and puts what it shows on a board.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::WatchEvent;
use super::board::{Board, Listener};
use crate::api::client::{AnswerStream, Client};
use crate::api::request::{self, ApiRequest};
#[cfg(test)]
use crate::model::Application;
use crate::model::{WatchError, WatchLine};

/// The server sends a comment every 15 s; after two missed ones the connection is taken for dead.
const IDLE: Duration = Duration::from_secs(35);

/// How long to wait for the headers, which come with the first event: at once for an application that exists.
const HEADERS: Duration = Duration::from_secs(10);

/// Pause before a stream is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest line that is accepted. An application with thousands of resources has a few megabytes.
const LONGEST_LINE: usize = 64 << 20;

/// Opens a stream, again and again, until it cannot be had; then it gives those back who had a part of it.
pub(super) async fn run(client: Client, request: ApiRequest, board: Arc<Board>) -> Vec<Listener> {
    let mut failures = 0;
    loop {
        match client.open(&request, HEADERS).await {
            Ok(stream) => {
                failures = 0;
                follow(stream, &board).await;
            }
            Err(kind) if !kind.is_transient() => {
                return board.lose(client.error(&request, kind));
            }
            // A missing or forbidden application is silence, too: the reader's own GET tells those.
            Err(kind) => {
                failures += 1;
                tracing::debug!(failures, error = %kind, "no event stream");
            }
        }
        board.interrupt();
        sleep(PAUSE * 2u32.saturating_pow(failures).min(16)).await;
    }
}

/// Goes on with a stream of its own for somebody who had a part of one that cannot be had.
pub(super) async fn alone(client: Client, listener: Listener) {
    let Listener { app, events } = listener;
    let is_dropped: mpsc::UnboundedSender<WatchEvent> = events.clone();
    // What happened until the new stream shows something, only reading tells.
    let _ = events.send(WatchEvent::Interrupted);
    let request = request::watch(&app, None);
    let board = Arc::new(Board::of_one(&app, events));
    tokio::select! {
        _ = run(client, request, board) => {}
        () = is_dropped.closed() => {}
    }
}

/// Reads a stream to its end.
async fn follow(mut stream: AnswerStream, board: &Board) {
    let mut decoder = Decoder::default();
    while let Ok(Some(chunk)) = timeout(IDLE, stream.next()).await {
        let Ok(lines) = decoder.feed(&chunk) else { return };
        for line in lines {
            if let Err(message) = take(&line, board) {
                tracing::debug!(message, "the event stream ends with an error");
                return;
            }
        }
    }
}

/// What an event is of. A stream of several applications may show many more, of which nothing else is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LineHead {
    result: Option<ResultHead>,
    error: Option<WatchError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResultHead {
    #[serde(rename = "type")]
    kind: String,
    application: AppHead,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AppHead {
    metadata: Name,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Name {
    name: String,
    namespace: String,
}

/// Takes one event's data. An error is the server's own reason for ending the stream.
fn take(data: &str, board: &Board) -> Result<(), String> {
    let head: LineHead = serde_json::from_str(data).map_err(|error| error.to_string())?;
    if let Some(error) = head.error {
        return Err(error.message.to_string());
    }
    let Some(ResultHead { kind, application: AppHead { metadata: Name { name, namespace } } }) =
        head.result
    else {
        return Ok(());
    };
    if !board.note(&kind, &namespace, &name) {
        return Ok(());
    }
    if kind == "DELETED" {
        board.remove(&namespace, &name);
        return Ok(());
    }
    let line: WatchLine = serde_json::from_str(data).map_err(|error| error.to_string())?;
    if let Some(result) = line.result {
        board.show(result.application);
    }
    Ok(())
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
    let (mut told, board) = listening();
    for event in Decoder::default().feed(stream.as_bytes()).unwrap_or_default() {
        if take(&event, &board).is_err() {
            break;
        }
    }
    std::iter::from_fn(|| told.try_recv().ok())
        .filter_map(|event| match event {
            WatchEvent::Changed(app) => Some(*app),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
fn listening() -> (mpsc::UnboundedReceiver<WatchEvent>, Board) {
    let (sender, told) = mpsc::unbounded_channel();
    (told, Board::of_one(&crate::api::request::AppRef::new("shop"), sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The framing that Argo CD 3.6.1 sends: a space after the data and three line ends, `:` every 15 s.
    const STREAM: &str = "data: {\"result\":{\"type\":\"ADDED\",\"application\":{\"metadata\":{\"name\":\"é\"}}}} \n\n\n:\n\n\
                          data: {\"result\":{\"application\":{\"metadata\":{\"name\":\"b\"}},\"type\":\"MODIFIED\"}} \n\n\n\
                          data: {\"result\":{\"type\":\"DELETED\",\"application\":{}}} \n\n\n";

    fn names(events: &[String]) -> Vec<String> {
        let (mut told, board) = listening();
        events.iter().for_each(|data| take(data, &board).unwrap());
        std::iter::from_fn(|| told.try_recv().ok())
            .map(|event| match event {
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
        let (mut told, board) = listening();
        assert_eq!(take(line, &board).unwrap_err(), "shutting down");
        take("{}", &board).unwrap();
        assert!(take("no json", &board).is_err());
        assert!(told.try_recv().is_err());
    }
}
