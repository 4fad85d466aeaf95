//! How long an engine is waited for, and how often it is asked: against a server that answers as a test tells it to.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::Method;
use support::{Tree, client, config};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use verbatim_credentials::Keychain;
use verbatim_image::cli::failure;
use verbatim_image::{
    BuiltImage, Endpoint, EndpointConfig, Engine, Error, ErrorKind, PushConfig, PushedImage,
    REQUEST_TIMEOUT, TagState, build, push,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);
/// So short that it is over at once.
const SHORT: Duration = Duration::from_millis(50);

/// What the server does with a request.
enum ScriptedAnswer {
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// These words, and then nothing more.
    Trails(&'static str),
    Nothing,
}

/// Gives the answer to the request with this line, which arrives for the n-th time, counted from 0.
type Script = fn(&str, usize) -> Option<ScriptedAnswer>;

/// An engine and a registry in one; ends with this value.
struct ScriptedEngine {
    host: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ScriptedEngine {
    /// What the script has no answer to is answered by a healthy engine without images, and an empty registry.
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new().fallback(answer).with_state((script, Arc::clone(&seen)));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { host, seen, task }
    }

    /// How often a request came whose line contains `part`.
    fn count(&self, part: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }

    async fn connect(&self, request_timeout: Duration) -> Result<Engine, Error> {
        let host = Some(format!("tcp://{}", self.host));
        let config = EndpointConfig { host, ..EndpointConfig::default() };
        Engine::connect(&Endpoint::find(&config)?, request_timeout).await
    }

    async fn build(&self, idle_timeout: Duration) -> Result<BuiltImage, Error> {
        let engine = self.connect(REQUEST_TIMEOUT).await?;
        let tree = Tree::new(&[("Dockerfile", "FROM scratch\n")]);
        let mut config = config("shop/app:1", tree.path());
        config.idle_timeout = idle_timeout;
        build(&engine, &Keychain::anonymous(), &config, &mut |_| {}).await
    }

    async fn push(&self, idle_timeout: Duration) -> Result<PushedImage, Error> {
        let engine = self.connect(REQUEST_TIMEOUT).await?;
        let image = format!("{}/shop/app:1", self.host).parse().unwrap();
        let config = PushConfig { image, overwrite: false, timeout: LONG, idle_timeout };
        let keychain = Keychain::anonymous();
        push(&engine, &client(&keychain), &keychain, &config, &mut |_| {}).await
    }
}

impl Drop for ScriptedEngine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State((script, seen)): State<(Script, Arc<Mutex<Vec<String>>>)>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let line = format!("{} {}", head.method, head.uri.path());
    let before = seen.lock().unwrap().iter().filter(|seen| **seen == line).count();
    seen.lock().unwrap().push(line.clone());
    // An engine reads the context before it answers.
    let body = body.into_data_stream().for_each(|_| async {});
    body.await;
    match script(&line, before).unwrap_or_else(|| healthy(&head.method, &line)) {
        ScriptedAnswer::Status(status, headers, text) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(text)).unwrap()
        }
        ScriptedAnswer::Trails(words) => {
            let words = stream::iter([Ok::<_, std::io::Error>(words)]).chain(stream::pending());
            Response::new(Body::from_stream(words))
        }
        ScriptedAnswer::Nothing => pending().await,
    }
}

const GREETING: &[(&str, &str)] = &[("api-version", "1.41"), ("server", "Docker/20.10")];
const IMAGE: &str =
    r#"{"Id":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}"#;

fn healthy(method: &Method, line: &str) -> ScriptedAnswer {
    match line {
        "GET /_ping" => ScriptedAnswer::Status(200, GREETING, "OK"),
        _ if method == Method::GET && line.contains("/images/") => {
            ScriptedAnswer::Status(200, &[], IMAGE)
        }
        _ => ScriptedAnswer::Status(404, &[], r#"{"message":"not here"}"#),
    }
}

/// The exit status, and whether the message says what to do.
fn ends(error: Error) -> (u8, bool) {
    let failure = failure(error);
    (failure.status.code(), !failure.hints.is_empty())
}

#[tokio::test]
async fn an_engine_that_is_busy_is_asked_again() {
    let server = ScriptedEngine::start(|line, before| {
        let at_first: &[_] = &[429, 503, 502];
        let status = *at_first.get(before)?;
        line.contains("_ping").then_some(ScriptedAnswer::Status(
            status,
            &[("retry-after", "0")],
            r#"{"message":"busy"}"#,
        ))
    })
    .await;
    server.connect(REQUEST_TIMEOUT).await.unwrap();
    assert_eq!(server.count("_ping"), 4);
}

#[tokio::test]
async fn an_engine_that_stays_busy_has_failed() {
    let later = ScriptedEngine::start(|_, _| {
        let text = r#"{"message":"too many requests"}"#;
        Some(ScriptedAnswer::Status(429, &[("retry-after", "3600")], text))
    })
    .await;
    let error = later.connect(REQUEST_TIMEOUT).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Engine { status: 429, message } if message == "too many requests"),
        "{error:?}"
    );
    assert_eq!(ends(error), (3, true));
    // Nobody waits for an hour.
    assert_eq!(later.count("_ping"), 1);
}

#[tokio::test]
async fn what_will_not_pass_is_asked_once() {
    for (status, code) in [(401, 7), (403, 7), (404, 7)] {
        let script: Script = match status {
            401 => |_, _| Some(ScriptedAnswer::Status(401, &[], r#"{"message":"no"}"#)),
            403 => |_, _| Some(ScriptedAnswer::Status(403, &[], r#"{"message":"no"}"#)),
            _ => |_, _| Some(ScriptedAnswer::Status(404, &[], r#"{"message":"no"}"#)),
        };
        let server = ScriptedEngine::start(script).await;
        let error = server.connect(REQUEST_TIMEOUT).await.unwrap_err();
        assert_eq!(ends(error), (code, true), "{status}");
        assert_eq!(server.count("_ping"), 1, "{status}");
    }
}

#[tokio::test]
async fn every_question_has_a_deadline() {
    let mute = ScriptedEngine::start(|_, _| Some(ScriptedAnswer::Nothing)).await;
    let error = mute.connect(SHORT).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unreachable { .. }), "{error:?}");
    assert_eq!(ends(error), (3, true));
    assert!(mute.count("_ping") > 1);

    let stuck = ScriptedEngine::start(|line, _| {
        line.contains("/images/").then_some(ScriptedAnswer::Nothing)
    })
    .await;
    let engine = stuck.connect(SHORT).await.unwrap();
    let image = format!("{}/shop/app:1", stuck.host).parse().unwrap();
    let config = PushConfig { image, overwrite: false, timeout: LONG, idle_timeout: LONG };
    let keychain = Keychain::anonymous();
    let pushed = push(&engine, &client(&keychain), &keychain, &config, &mut |_| {}).await;
    let error = pushed.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unreachable { .. }), "{error:?}");

    // An answer that never ends is no answer.
    let trails = ScriptedEngine::start(|line, _| {
        line.contains("_ping").then_some(ScriptedAnswer::Trails("O"))
    })
    .await;
    let error = trails.connect(SHORT).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_answer_about_an_image_is_read() {
    let page = ScriptedEngine::start(|line, _| {
        line.contains("/images/").then_some(ScriptedAnswer::Status(200, &[], "<html>"))
    })
    .await;
    let error = page.push(LONG).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error:?}");

    let absent = ScriptedEngine::start(|line, _| {
        let text = r#"{"message":"no such image"}"#;
        line.contains("/images/").then_some(ScriptedAnswer::Status(404, &[], text))
    })
    .await;
    let error = absent.push(LONG).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoImage(_)), "{error:?}");
    assert_eq!(absent.count("/images/"), 1);
}

#[tokio::test]
async fn a_silent_build_is_given_up() {
    let mute =
        ScriptedEngine::start(|line, _| (line == "POST /build").then_some(ScriptedAnswer::Nothing))
            .await;
    let error = mute.build(SHORT).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Silent { step: None, .. }), "{error:?}");
    assert_eq!(ends(error), (4, true));

    let stuck = ScriptedEngine::start(|line, _| {
        let words = "{\"stream\":\"Step 1/1 : FROM scratch\\n\"}\r\n";
        (line == "POST /build").then_some(ScriptedAnswer::Trails(words))
    })
    .await;
    let error = stuck.build(Duration::from_millis(500)).await.unwrap_err();
    let ErrorKind::Silent { step, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(step.as_deref(), Some("[1/1] FROM scratch"));
    // Who knows what it has done: a build is not sent again.
    assert_eq!(stuck.count("POST /build"), 1);
}

#[tokio::test]
async fn a_build_that_is_put_off_is_not_sent_again() {
    let server = ScriptedEngine::start(|line, _| {
        let text = r#"{"message":"too many requests"}"#;
        (line == "POST /build").then_some(ScriptedAnswer::Status(
            429,
            &[("retry-after", "0")],
            text,
        ))
    })
    .await;
    let error = server.build(LONG).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Engine { status: 429, .. }), "{error:?}");
    assert_eq!(ends(error), (3, true));
    assert_eq!(server.count("POST /build"), 1);
}

#[tokio::test]
async fn a_silent_push_says_what_the_tag_names() {
    let scripts: [Script; 2] = [
        |line, _| (line.starts_with("POST ")).then_some(ScriptedAnswer::Nothing),
        |line, _| {
            line.starts_with("POST ")
                .then_some(ScriptedAnswer::Trails("{\"status\":\"Preparing\"}\r\n"))
        },
    ];
    for script in scripts {
        let server = ScriptedEngine::start(script).await;
        let error = server.push(SHORT).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::PushSilent { state: TagState::Absent, .. }),
            "{error:?}"
        );
        assert_eq!(ends(error), (4, true));
        assert_eq!(server.count("POST "), 1);
    }
}
