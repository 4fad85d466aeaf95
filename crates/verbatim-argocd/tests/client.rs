//! The client against a scripted server: what is sent, what is repeated, and what an answer is taken for.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, Response, Version};
use secrecy::SecretString;
use serde_json::json;
use verbatim_argocd::{
    AppRef, Client, Config, ErrorKind, IdentitySource, JobIdentity, Refresh, SyncRequest, Timeouts,
    Watch, WatchEvent, read_together, server_url,
};
use verbatim_http::RetryPolicy;

/// One scripted answer: status, media type, more headers, body.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

fn json_answer(status: u16, body: serde_json::Value) -> Answer {
    Answer { status, content_type: "application/json", body: body.to_string(), ..Answer::default() }
}

fn html(status: u16) -> Answer {
    Answer { status, content_type: "text/html", body: "<html>".into(), ..Answer::default() }
}

fn app_answer() -> Answer {
    json_answer(200, json!({ "metadata": { "name": "shop", "resourceVersion": "7" } }))
}

#[derive(Clone, Debug)]
struct Got {
    line: String,
    headers: HeaderMap,
    version: Version,
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

async fn answer(State(script): State<Script>, request: HttpRequest) -> Response<Body> {
    script.got.lock().unwrap().push(Got {
        line: format!("{} {}", request.method(), request.uri()),
        headers: request.headers().clone(),
        version: request.version(),
    });
    let answer = script.answers.lock().unwrap().pop_front();
    let Some(answer) = answer else { return std::future::pending().await };
    let mut response =
        Response::builder().status(answer.status).header("Content-Type", answer.content_type);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).unwrap()
}

async fn serve(answers: Vec<Answer>) -> (Client, Script) {
    let (config, script) = config_for(answers).await;
    (Client::new(config).unwrap(), script)
}

async fn config_for(answers: Vec<Answer>) -> (Config, Script) {
    let script = Script { answers: Arc::new(Mutex::new(answers.into())), ..Script::default() };
    let listener =
        tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = Config::new(server_url(&url, false, Some("argo")).unwrap());
    config.token = Some("a-token".into());
    config.headers = vec![("X-Proxy".into(), SecretString::from("secret"))];
    config.retry = RetryPolicy {
        attempts: 3,
        budget: Duration::from_secs(5),
        first_wait: Duration::from_millis(5),
        ..config.retry
    };
    config.timeouts = Timeouts {
        connect: Duration::from_secs(1),
        read: Duration::from_millis(300),
        write: Duration::from_millis(300),
        refresh: Duration::from_millis(300),
    };
    (config, script)
}

fn lines(script: &Script) -> Vec<String> {
    script.got.lock().unwrap().iter().map(|got| got.line.clone()).collect()
}

fn shop() -> AppRef {
    AppRef::new("shop")
}

/// Several replicas of the server have a cache each. One that is behind that of the refresh does not tell what is there now.
#[tokio::test]
async fn a_list_of_a_replica_that_is_behind_is_asked_for_again() {
    let app = |name: &str, version: &str| {
        let metadata = json!({ "name": name, "namespace": "argocd", "resourceVersion": version });
        json!({ "metadata": metadata })
    };
    let list = |a: &str, c: &str| {
        json_answer(200, json!({ "items": [app("a", a), app("b", "2"), app("c", c)] }))
    };
    let refreshed = json_answer(200, app("a", "10"));
    let (client, script) = serve(vec![refreshed, list("1", "3"), list("10", "9")]).await;
    let apps = ["a", "b", "c"].map(AppRef::new);
    let read = read_together(&client, &apps).await;
    let versions: Vec<_> =
        read.iter().map(|app| app.as_ref().unwrap().metadata.resource_version.as_str()).collect();
    assert_eq!(versions, ["10", "2", "9"]);
    assert_eq!(lines(&script).len(), 3, "{:?}", lines(&script));
}

/// A login's token has less than five minutes left, and the server sends the next one along.
#[tokio::test]
async fn a_renewed_token_is_used_from_then_on() {
    let renewing = Answer {
        headers: vec![("Set-Cookie", "argocd.token=new.token.x; path=/; SameSite=lax; httpOnly")],
        ..app_answer()
    };
    let logout = Answer { headers: vec![("Set-Cookie", "argocd.token=; path=/")], ..app_answer() };
    let (client, script) = serve(vec![renewing, logout, app_answer()]).await;
    for _ in 0..3 {
        client.get(&shop()).await.unwrap();
    }
    let got = script.got.lock().unwrap();
    let sent: Vec<_> =
        got.iter().map(|got| got.headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer a-token", "Bearer new.token.x", "Bearer new.token.x"]);
}

/// What has no end is not kept in memory, and not asked for again.
#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let long = || json_answer(200, serde_json::json!({ "x": "y".repeat(100) }));
    let (mut config, script) = config_for(vec![long(), long()]).await;
    config.largest_answer = 50;
    let error = Client::new(config).unwrap().get(&shop()).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::TooLarge(50)), "{error:?}");
    assert_eq!(lines(&script).len(), 1);
}

/// A CI job has no stored secret, but its identity: a session that ends in the middle of a wait does not end the wait.
#[tokio::test]
async fn a_job_whose_session_has_ended_logs_in_again() {
    let ended =
        || json_answer(401, json!({ "code": 16, "message": "invalid session: token is expired" }));
    let dex = json_answer(200, json!({ "access_token": "second", "token_type": "bearer" }));
    let (config, script) = config_for(vec![
        ended(),
        dex,
        app_answer(),
        app_answer(),
        ended(),
        json_answer(401, json!({ "error": "access_denied" })),
    ])
    .await;
    let source = IdentitySource::Token("identity".into());
    let job = Some(JobIdentity { connector: "ci".into(), source });
    let client = Client::new(Config { job, ..config }).unwrap();
    // A write, too: what is answered 401 did nothing.
    client.patch(&shop(), "[]".into()).await.unwrap();
    client.get(&shop()).await.unwrap();
    let error = client.get(&shop()).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Unauthenticated(_)), "{error:?}");
    let got = script.got.lock().unwrap();
    let sent: Vec<_> = got
        .iter()
        .map(|got| format!("{} {}", got.line, got.headers["authorization"].to_str().unwrap()))
        .collect();
    let basic = "Basic YXJnby1jZC1jbGk6";
    assert_eq!(
        sent,
        [
            "PATCH /argo/api/v1/applications/shop Bearer a-token".to_owned(),
            format!("POST /argo/api/dex/token {basic}"),
            "PATCH /argo/api/v1/applications/shop Bearer second".to_owned(),
            "GET /argo/api/v1/applications/shop Bearer second".to_owned(),
            "GET /argo/api/v1/applications/shop Bearer second".to_owned(),
            format!("POST /argo/api/dex/token {basic}"),
        ]
    );
}

#[tokio::test]
async fn requests_are_as_the_server_wants_them() {
    let (client, script) =
        serve(vec![app_answer(), app_answer(), app_answer(), json_answer(200, json!({}))]).await;
    client.get(&shop()).await.unwrap();
    client.patch(&shop(), "[]".into()).await.unwrap();
    let app = AppRef { project: Some("web".into()), ..shop() };
    client.replace(&app, json!({ "metadata": {} })).await.unwrap();
    client.terminate(&shop()).await.unwrap();
    assert_eq!(
        lines(&script),
        [
            "GET /argo/api/v1/applications/shop",
            "PATCH /argo/api/v1/applications/shop",
            "PUT /argo/api/v1/applications/shop?project=web&validate=false",
            "DELETE /argo/api/v1/applications/shop/operation",
        ]
    );
    for (index, got) in script.got.lock().unwrap().iter().enumerate() {
        let header = |name: &str| got.headers.get(name).map(|value| value.to_str().unwrap());
        // Over HTTP/2 everything would be taken for gRPC.
        assert_eq!(got.version, Version::HTTP_11);
        assert_eq!(header("Authorization"), Some("Bearer a-token"));
        assert_eq!(header("X-Proxy"), Some("secret"));
        // Exactly this on everything but a GET, also without a body: else 415.
        assert_eq!(header("Content-Type"), (index > 0).then_some("application/json"));
    }
    assert_eq!(client.requests(), 4);
    // Neither token nor header is in what is printed.
    assert!(
        !format!("{client:?}").contains("secret") && !format!("{client:?}").contains("a-token")
    );
}

#[tokio::test]
async fn reads_are_repeated_within_their_budget_and_writes_never() {
    let bad = |status| html(status);
    let limited = Answer {
        status: 429,
        headers: vec![("Retry-After", "0")],
        content_type: "text/plain",
        ..Answer::default()
    };
    // Reads: (answers, requests that are sent, whether it works in the end).
    let truncated = Answer { body: r#"{"metadata":{"#.into(), ..app_answer() };
    let reads = [
        (vec![bad(503), bad(502), app_answer()], 3, true),
        (vec![limited.clone(), app_answer()], 2, true),
        (vec![truncated, app_answer()], 2, true),
        (vec![bad(504), bad(504), bad(504), app_answer()], 3, false),
        // Not transient: once.
        (vec![html(200), app_answer()], 1, false),
        (vec![bad(500), app_answer()], 1, false),
        (vec![json_answer(401, json!({ "code": 16, "message": "x" })), app_answer()], 1, false),
        (vec![json_answer(403, json!({ "code": 7, "message": "x" })), app_answer()], 1, false),
        (vec![json_answer(200, json!({ "metadata": 1 })), app_answer()], 1, false),
    ];
    for (answers, want, works) in reads {
        let (client, script) = serve(answers).await;
        let got = client.get(&shop()).await;
        assert_eq!((got.is_ok(), lines(&script).len()), (works, want), "{got:?}");
    }
    let writes = [bad(503), limited, html(200)];
    for answer in writes {
        let (client, script) = serve(vec![answer.clone(), app_answer()]).await;
        assert!(client.sync(&shop(), &SyncRequest::default()).await.is_err());
        assert_eq!(lines(&script).len(), 1);
        let (client, script) = serve(vec![answer.clone(), app_answer()]).await;
        assert!(client.patch(&shop(), "[]".into()).await.is_err());
        assert_eq!(lines(&script).len(), 1);
        // A wrong password must never be tried twice: five of them lock the account.
        let (client, script) = serve(vec![answer, app_answer()]).await;
        assert!(client.login("admin", &"x".into()).await.is_err());
        assert_eq!(lines(&script).len(), 1);
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let (client, _) = serve(vec![]).await;
    let error = client.refresh(&shop(), Refresh::Normal).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Timeout(_)), "{:?}", error.kind);
    let error = client.patch(&shop(), "[]".into()).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Timeout(_)), "{:?}", error.kind);
    assert!(!error.kind.nothing_happened());
}

#[tokio::test]
async fn nobody_listening_is_told_without_the_layers() {
    // Bound and dropped again: the port is free.
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = Config::new(server_url(&format!("http://{address}"), false, None).unwrap());
    config.retry = RetryPolicy {
        attempts: 2,
        budget: Duration::from_secs(1),
        first_wait: Duration::from_millis(5),
        ..config.retry
    };
    let client = Client::new(config).unwrap();
    let error = client.get(&shop()).await.unwrap_err();
    let ErrorKind::Unreachable(transport) = &error.kind else { panic!("{:?}", error.kind) };
    assert!(transport.to_string().starts_with("Connection refused"), "{transport}");
    assert!(error.kind.nothing_happened());
    assert_eq!(error.to_string(), "cannot read application shop");
    assert_eq!(client.requests(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let away = Answer {
        status: 307,
        headers: vec![("Location", "https://elsewhere.example.com/")],
        ..Answer::default()
    };
    let (client, script) = serve(vec![away]).await;
    let error = client.get(&shop()).await.unwrap_err();
    assert!(
        matches!(&error.kind, ErrorKind::Redirected(to) if to.contains("elsewhere")),
        "{:?}",
        error.kind
    );
    assert_eq!(lines(&script).len(), 1);
}

#[tokio::test]
async fn a_token_that_is_not_good_is_noticed_though_the_answer_is_200() {
    let (client, _) = serve(vec![json_answer(200, json!({}))]).await;
    let error = client.who_am_i().await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Unauthenticated(_)), "{:?}", error.kind);
}

#[tokio::test]
async fn a_watch_comes_back_and_says_that_it_was_away() {
    let stream = |version: &str| Answer {
        status: 200,
        content_type: "text/event-stream",
        body: format!(
            "data: {{\"result\":{{\"type\":\"MODIFIED\",\"application\":{{\"metadata\":{{\"resourceVersion\":\"{version}\"}}}}}}}} \n\n\n"
        ),
        ..Answer::default()
    };
    let forbidden = json_answer(403, json!({ "code": 7, "message": "permission denied" }));
    let (client, script) = serve(vec![stream("1"), html(502), stream("2"), forbidden]).await;
    let mut watch = Watch::start(&client, &shop());
    let mut told = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(30), watch.next()).await.unwrap() {
            WatchEvent::Changed(app) => told.push(app.metadata.resource_version),
            WatchEvent::Interrupted => told.push("interrupted".into()),
            WatchEvent::Deleted => told.push("deleted".into()),
            WatchEvent::Lost(error) => {
                assert!(matches!(error.kind, ErrorKind::PermissionDenied(_)), "{:?}", error.kind);
                break;
            }
        }
    }
    assert_eq!(told, ["1", "interrupted", "interrupted", "2", "interrupted"]);
    let accept = script.got.lock().unwrap()[0].headers["Accept"].clone();
    // Exactly this: with anything beside it, the server answers in another framing.
    assert_eq!(accept, "text/event-stream");
}
