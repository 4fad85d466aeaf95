//! Every fault as a client meets it, before a real HTTP server, and the passage of ordinary traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::Method;
use reqwest::{Client, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::*;
use loopback::Served;

const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// A service that counts its requests and answers 200 bytes of JSON with a digest header.
struct Service {
    served: Served,
    hits: Arc<AtomicUsize>,
}

fn body() -> String {
    format!("{{\"text\":\"{}\",\"n\":1}}", "x".repeat(183))
}

async fn service() -> Service {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = hits.clone();
    let handler = any(async move |sent: bytes::Bytes| {
        counted.fetch_add(1, Ordering::SeqCst);
        let echoed = if sent.is_empty() { body() } else { format!("got {}", sent.len()) };
        ([("docker-content-digest", DIGEST)], echoed)
    });
    let app = Router::new().fallback(handler);
    Service { served: Served::start(any_loopback_port(), app).await.unwrap(), hits }
}

async fn proxy(service: &Service) -> FaultProxy {
    FaultProxy::start(Upstream::Tcp(service.served.address().to_string())).await.unwrap()
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

async fn get(proxy: &FaultProxy) -> reqwest::Result<Response> {
    client().get(format!("{}/v2/a?b=c", proxy.url())).send().await
}

/// The whole chain of an error's causes.
fn causes(error: &dyn std::error::Error) -> String {
    let next = error.source().map(|source| format!(": {}", causes(source)));
    format!("{error}{}", next.unwrap_or_default())
}

#[tokio::test]
async fn traffic_passes_unchanged_and_is_counted() {
    let service = service().await;
    let proxy = proxy(&service).await;
    let answer = get(&proxy).await.unwrap();
    assert_eq!(answer.headers()["docker-content-digest"], DIGEST);
    assert_eq!(answer.text().await.unwrap(), body());
    let sent = client().put(format!("{}/up", proxy.url())).body(vec![7; 1_500_000]).send().await;
    assert_eq!(sent.unwrap().text().await.unwrap(), "got 1500000");
    let seen: Vec<_> = proxy
        .seen()
        .into_iter()
        .map(|one| (one.method, one.target, one.status, one.delivered))
        .collect();
    let ok = Some(StatusCode::OK);
    assert_eq!(
        seen,
        [
            (Method::GET, "/v2/a?b=c".to_owned(), ok, true),
            (Method::PUT, "/up".to_owned(), ok, true)
        ]
    );
    assert_eq!((proxy.requests(), proxy.faults_injected()), (2, 0));
}

#[tokio::test]
async fn made_up_answers() {
    let service = service().await;
    let proxy = proxy(&service).await;
    for code in [401, 403, 404, 500, 502, 503] {
        proxy.inject(Rule::new(Fault::Status(code)));
        assert_eq!(get(&proxy).await.unwrap().status().as_u16(), code);
    }
    proxy.inject(Rule::new(Fault::TooManyRequests { retry_after: 7 }));
    let limited = get(&proxy).await.unwrap();
    assert_eq!(
        (limited.status().as_u16(), limited.headers()["retry-after"].as_bytes()),
        (429, &b"7"[..])
    );
    proxy.inject(Rule::new(Fault::Html));
    let page = get(&proxy).await.unwrap();
    assert_eq!(
        (page.status().as_u16(), page.headers()["content-type"].as_bytes()),
        (200, &b"text/html; charset=utf-8"[..])
    );
    assert!(page.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(service.hits.load(Ordering::SeqCst), 0);
    // Every rule was for one request.
    assert_eq!(get(&proxy).await.unwrap().text().await.unwrap(), body());
}

#[tokio::test]
async fn broken_connections() {
    let service = service().await;
    for (fault, words) in [
        (Fault::Close, "connection closed before message completed"),
        (Fault::Reset, "Connection reset by peer"),
    ] {
        let proxy = proxy(&service).await;
        proxy.inject(Rule::new(fault));
        let error = get(&proxy).await.unwrap_err();
        assert!(causes(&error).contains(words), "{}", causes(&error));
        assert!(get(&proxy).await.is_ok());
    }
}

#[tokio::test]
async fn unreachable_from_the_nth_request_on() {
    let service = service().await;
    let proxy = proxy(&service).await;
    proxy.inject(Rule::new(Fault::Unreachable).nth(1));
    assert!(get(&proxy).await.is_ok());
    assert!(get(&proxy).await.is_err());
    let error = loop {
        // The listener closes right after the second request; until then the kernel may still accept.
        match TcpStream::connect(proxy.address()).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn unreachable_on_a_connection_that_was_kept_open_too() {
    let service = service().await;
    let proxy = proxy(&service).await;
    proxy.inject(Rule::new(Fault::Unreachable).path("/last"));
    let mut kept = TcpStream::connect(proxy.address()).await.unwrap();
    let mut ask = async |path: &str| {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        kept.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        kept.read(&mut answer).await.unwrap_or(0)
    };
    assert!(ask("/first").await > 0);
    let _ = get_path(&proxy, "/last").await;
    assert_eq!(ask("/first").await, 0);
    assert_eq!(service.hits.load(Ordering::SeqCst), 1);
}

async fn get_path(proxy: &FaultProxy, path: &str) -> reqwest::Result<Response> {
    client().get(format!("{}{path}", proxy.url())).send().await
}

#[tokio::test]
async fn cut_answers() {
    let service = service().await;
    for fault in [Fault::Truncate, Fault::TruncateReset] {
        let proxy = proxy(&service).await;
        proxy.inject(Rule::new(fault.clone()));
        let mut answer = get(&proxy).await.unwrap();
        let length = u64::try_from(body().len()).unwrap();
        assert_eq!((answer.status(), answer.content_length()), (StatusCode::OK, Some(length)));
        let mut read = 0;
        let error = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => read += bytes.len(),
                Ok(None) => panic!("the body ended well"),
                Err(error) => break error,
            }
        };
        // A reset may overtake the bytes that were sent before it.
        let wanted = if fault == Fault::Truncate {
            vec![body().len() / 2]
        } else {
            vec![0, body().len() / 2]
        };
        assert!(wanted.contains(&read), "{read} bytes, then {}", causes(&error));
    }
}

#[tokio::test]
async fn lying_answers() {
    let service = service().await;
    let proxy = proxy(&service).await;
    proxy.inject(Rule::new(Fault::LyingDigestHeader));
    let answer = get(&proxy).await.unwrap();
    assert_ne!(answer.headers()["docker-content-digest"], DIGEST);
    assert_eq!(answer.text().await.unwrap(), body());
    let then = "Sat, 28 Nov 2026 10:00:00 GMT";
    proxy.inject(Rule::new(Fault::Date(then.to_owned())));
    assert_eq!(get(&proxy).await.unwrap().headers()["date"], then);
    proxy.inject(Rule::new(Fault::LyingBody));
    let answer = get(&proxy).await.unwrap();
    assert_eq!(answer.headers()["docker-content-digest"], DIGEST);
    assert_eq!(answer.text().await.unwrap(), body().replace("\"n\":1", "\"n\":2"));
}

#[tokio::test]
async fn a_stalled_request_is_seen_and_never_answered() {
    let service = service().await;
    let proxy = proxy(&service).await;
    proxy.inject(Rule::new(Fault::Stall));
    let waiting = tokio::spawn(client().get(proxy.url()).send());
    proxy.arrived(1).await;
    assert_eq!((proxy.seen()[0].status, proxy.seen()[0].delivered), (None, false));
    // Another request goes through, the first is still open.
    assert!(get(&proxy).await.is_ok());
    assert!(!waiting.is_finished());
    proxy.heal();
    assert!(waiting.await.unwrap().is_err());

    proxy.inject(Rule::new(Fault::StallBody));
    let mut answer = get(&proxy).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap().len(), body().len() / 2);
    let silent = tokio::time::timeout(Duration::from_millis(50), answer.chunk()).await;
    assert!(silent.is_err(), "the rest of the body came");
}

#[tokio::test]
async fn a_delivered_request_takes_effect_although_its_answer_is_lost() {
    let service = service().await;
    let proxy = proxy(&service).await;
    for (fault, hits) in [(Fault::Reset, 1), (Fault::Close, 2), (Fault::Status(502), 3)] {
        proxy.inject(Rule::new(fault).delivered());
        let _ = get(&proxy).await;
        assert_eq!(service.hits.load(Ordering::SeqCst), hits);
    }
    proxy.inject(Rule::new(Fault::Status(502)));
    assert_eq!(get(&proxy).await.unwrap().status(), StatusCode::BAD_GATEWAY);
    assert_eq!(service.hits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_service_that_is_down_is_a_bad_gateway() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(Upstream::Tcp(closed.to_string())).await.unwrap();
    assert_eq!(get(&proxy).await.unwrap().status(), StatusCode::BAD_GATEWAY);
    assert!(!proxy.seen()[0].delivered);
}

#[tokio::test]
async fn a_unix_socket_and_an_upgraded_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let engine = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream
            .write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            .await
            .unwrap();
        // Raw bytes from here on, both ways.
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        word.reverse();
        stream.write_all(&word).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let proxy = FaultProxy::start(Upstream::parse(&format!("unix://{}", path.display())).unwrap())
        .await
        .unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let request = b"POST /session HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-A: b\r\n\r\nping";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("gnip"), "{answer}");
    assert!(engine.await.unwrap().contains("X-A: b"));
}

#[test]
fn upstreams() {
    let tcp = |host: &str| Some(Upstream::Tcp(host.to_owned()));
    let cases = [
        ("http://127.0.0.1:80", tcp("127.0.0.1:80")),
        ("tcp://[::1]:80/", tcp("[::1]:80")),
        ("unix:///run/docker.sock", Some(Upstream::Unix("/run/docker.sock".into()))),
        ("https://127.0.0.1:80", None),
        ("http://127.0.0.1", None),
        ("http://127.0.0.1:80/path", None),
    ];
    for (text, want) in cases {
        assert_eq!(Upstream::parse(text).ok(), want, "{text}");
    }
}
