//! A server that answers as a test tells it to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// Method, path and query: `GET /v2/a/manifests/b`.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

type Script = Arc<dyn Fn(&ReceivedRequest) -> Response + Send + Sync>;

/// A running server; ends with this value.
pub(crate) struct ScriptedRegistry {
    pub(crate) host: String,
    arrived: Arc<Mutex<Vec<ReceivedRequest>>>,
    task: JoinHandle<()>,
}

impl ScriptedRegistry {
    pub(crate) async fn start(
        script: impl Fn(&ReceivedRequest) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let state: (Script, _) = (Arc::new(script), Arc::clone(&arrived));
        let app = Router::new().fallback(answer).with_state(state);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { host, arrived, task }
    }

    pub(crate) fn arrived(&self) -> Vec<ReceivedRequest> {
        self.arrived.lock().expect("not poisoned").clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.arrived().into_iter().map(|arrived| arrived.line).collect()
    }
}

impl Drop for ScriptedRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State((script, log)): State<(Script, Arc<Mutex<Vec<ReceivedRequest>>>)>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let arrived = ReceivedRequest {
        line: format!("{} {}", head.method, head.uri),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let response = script(&arrived);
    log.lock().expect("not poisoned").push(arrived);
    response
}

pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).expect("an answer")
}
