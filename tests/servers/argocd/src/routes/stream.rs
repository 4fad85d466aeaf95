//! The watch of applications, as server-sent events or as lines of JSON.
//!
//! No byte is sent before the first event, not even the status: a client that awaits the head waits.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::{HeaderName, header};
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep_until};

use super::applications::{is_visible, project};
use super::{Call, Query, object_of};
use crate::auth::Claims;
use crate::error::ApiResult;
use crate::objects::text;
use crate::store::AppEvent;
use crate::{Server, gojson};

/// Between two comment lines of a silent event stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn applications(call: Call) -> ApiResult<Response> {
    let claims = call.claims()?;
    // Exactly this value: a list of types with it in first place gets lines of JSON.
    let is_sse =
        call.headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/event-stream");
    let mut watch = Watch::open(&call.server, claims, call.query, is_sse);
    let Some(first) = watch.next().await else { return Ok(().into_response()) };
    let kind = if is_sse { "text/event-stream" } else { "application/json" };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (HeaderName::from_static("grpc-metadata-content-type"), "application/grpc"),
    ];
    let keep_alive = Instant::now() + KEEP_ALIVE;
    let body = stream::unfold(
        (watch, Some(first), keep_alive),
        |(mut watch, first, mut keep_alive)| async move {
            if let Some(first) = first {
                return Some((Ok::<_, std::convert::Infallible>(first), (watch, None, keep_alive)));
            }
            let bytes = tokio::select! {
                event = watch.next() => event?,
                () = sleep_until(keep_alive), if watch.is_sse => {
                    keep_alive += KEEP_ALIVE;
                    Bytes::from_static(b":\n")
                }
            };
            Some((Ok(bytes), (watch, None, keep_alive)))
        },
    );
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Watch {
    claims: Claims,
    query: Query,
    is_sse: bool,
    /// Events older than this are not told.
    from: u64,
    listed: std::vec::IntoIter<Value>,
    events: broadcast::Receiver<AppEvent>,
    /// The last payload of each application: equal ones in a row are told once.
    last: HashMap<String, String>,
}

impl Watch {
    fn open(server: &Server, claims: Claims, query: Query, is_sse: bool) -> Self {
        let from = query.text("resourceVersion").parse().unwrap_or(0);
        // Listed, then subscribed, as the real server does it: a change in between is lost. Who names a version and no
        // application is listed none (`Watch` in `server/application/application.go`).
        let lists = query.text("resourceVersion").is_empty() || !query.text("name").is_empty();
        let apps = if lists { server.cache.apps().0 } else { Vec::new() };
        let events = server.cache.events();
        Self { claims, query, is_sse, from, listed: apps.into_iter(), events, last: HashMap::new() }
    }

    /// The next event that this watch is to tell, framed. `None` when it ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let (kind, app) = match self.listed.next() {
                Some(app) => ("ADDED", app),
                None => match self.events.recv().await {
                    Ok(event) => (event.kind, event.app),
                    // The real server's buffer overflows silently, too.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                },
            };
            if let Some(bytes) = self.framed(kind, &app) {
                return Some(bytes);
            }
        }
    }

    fn framed(&mut self, kind: &str, app: &Value) -> Option<Bytes> {
        let version: u64 = text(app, "/metadata/resourceVersion").parse().unwrap_or(0);
        if version < self.from
            || !is_visible(app, &self.query)
            || !self.claims.may("applications", "get", &object_of(app))
        {
            return None;
        }
        let event = json!({ "result": { "type": kind, "application": app } });
        let event = match self.query.get("fields") {
            Some(fields) if !fields.is_empty() => project(&event, fields),
            _ => event,
        };
        let payload = gojson::to_string(&event);
        let name = text(app, "/metadata/name").to_owned();
        if self.last.get(&name) == Some(&payload) {
            return None;
        }
        let framed =
            if self.is_sse { format!("data: {payload} \n\n\n") } else { format!("{payload}\n") };
        self.last.insert(name, payload);
        Some(framed.into())
    }
}
