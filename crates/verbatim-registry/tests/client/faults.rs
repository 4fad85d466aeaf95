//! What happens when requests fail: which are repeated, how often, and what is reported in the end.

use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use http::Method;
use verbatim_credentials::Keychain;
use verbatim_oci::{Descriptor, Reference, media_type};
use verbatim_registry::{Client, Error, ErrorKind};

use crate::scripted::{ScriptedRegistry, reply};
use crate::setup::{client, config, push_image, registry, tagged};

fn kind(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Unreachable(_) => "unreachable",
        ErrorKind::Timeout(_) => "timeout",
        ErrorKind::BrokenOff(_) => "broken off",
        ErrorKind::Unauthorized(_) => "unauthorized",
        ErrorKind::Forbidden(_) => "forbidden",
        ErrorKind::NotFound(_) => "not found",
        ErrorKind::RateLimited { .. } => "rate limited",
        ErrorKind::ServerError { .. } => "server error",
        ErrorKind::DigestMismatch { .. } => "digest mismatch",
        ErrorKind::Manifest(_) => "manifest",
        other => panic!("{other:?}"),
    }
}

/// How long a silent server is waited for: short where one is silent on purpose, long where a slow machine must not look
/// like one.
fn patience(fault: &Fault) -> Duration {
    match fault {
        Fault::Stall | Fault::StallBody => Duration::from_secs(1),
        _ => Duration::from_secs(30),
    }
}

/// A client that tries thrice.
fn hasty(patience: Duration) -> Client {
    let mut config = config();
    config.timeouts.request = patience;
    config.timeouts.idle = patience;
    config.retry.attempts = 3;
    Client::new(config, Keychain::anonymous()).expect("a client")
}

#[tokio::test]
async fn each_fault_is_survived_once_and_told_when_it_stays() {
    // The fault; how many requests a resolve makes that meets it once, if that succeeds; what it fails with, after how many
    // requests, if it stays.
    let cases: [(Fault, Option<usize>, &str, usize); 17] = [
        (Fault::Close, Some(2), "unreachable", 3),
        (Fault::Reset, Some(2), "unreachable", 3),
        (Fault::Stall, Some(2), "timeout", 3),
        (Fault::Truncate, Some(2), "broken off", 3),
        (Fault::TruncateReset, Some(2), "broken off", 3),
        (Fault::StallBody, Some(2), "timeout", 3),
        (Fault::Status(500), Some(2), "server error", 3),
        (Fault::Status(502), Some(2), "server error", 3),
        (Fault::Status(503), Some(2), "server error", 3),
        (Fault::TooManyRequests { retry_after: 0 }, Some(2), "rate limited", 3),
        // A registry that asks for an hour is not retried.
        (Fault::TooManyRequests { retry_after: 3600 }, None, "rate limited", 1),
        (Fault::Status(401), None, "unauthorized", 1),
        (Fault::Status(403), None, "forbidden", 1),
        (Fault::Status(404), None, "not found", 1),
        (Fault::Html, None, "manifest", 1),
        (Fault::LyingDigestHeader, None, "digest mismatch", 1),
        (Fault::LyingBody, None, "digest mismatch", 1),
    ];
    let registry = registry().await;
    push_image(&client(), &tagged(&registry.host(), "v1"), "one").await;
    let upstream = Upstream::parse(&registry.url()).expect("an address");
    for (fault, survived, want, requests) in cases {
        let proxy = FaultProxy::start(upstream.clone()).await.expect("a proxy");
        let reference = tagged(&proxy.address().to_string(), "v1");
        proxy.inject(Rule::new(fault.clone()));
        let once = hasty(patience(&fault)).resolve(&reference).await;
        match survived {
            Some(requests) => {
                assert!(once.is_ok(), "{fault:?} once: {once:?}");
                assert_eq!(proxy.requests(), requests, "{fault:?} once");
            }
            None => assert_eq!(kind(&once.expect_err("a fault")), want, "{fault:?} once"),
        }
        let proxy = FaultProxy::start(upstream.clone()).await.expect("a proxy");
        let reference = tagged(&proxy.address().to_string(), "v1");
        proxy.inject(Rule::new(fault.clone()).always());
        let client = hasty(patience(&fault));
        let error = client.resolve(&reference).await.expect_err("a fault");
        assert_eq!(kind(&error), want, "{fault:?}");
        assert_eq!(proxy.requests(), requests, "{fault:?}");
        assert_eq!(client.requests(), requests as u64, "{fault:?}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let error =
        hasty(Duration::from_secs(30)).resolve(&tagged(&host, "v1")).await.expect_err("nobody");
    assert_eq!((kind(&error), error.is_retryable()), ("unreachable", true));
    assert_eq!(
        error.to_string(),
        format!("cannot read {host}/example/app:v1 (http://{host}/v2/example/app/manifests/v1)")
    );
    let cause = std::error::Error::source(error.kind()).expect("a cause").to_string();
    assert!(cause.starts_with("Connection refused"), "{cause}");
}

#[tokio::test]
async fn a_registry_is_waited_for_as_it_asks() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let count = AtomicUsize::new(0);
    let server = ScriptedRegistry::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply(429, &[("retry-after", "1")], r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#),
        _ => reply(
            200,
            &[("content-type", media_type::OCI_INDEX)],
            r#"{"schemaVersion":2,"manifests":[]}"#,
        ),
    })
    .await;
    let began = std::time::Instant::now();
    client().resolve(&tagged(&server.host, "v1")).await.expect("a digest in the end");
    // Never earlier: a lower bound holds on the slowest machine too.
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.lines().len(), 2);
}

/// Faults at every request of a push: the blob is stored in the end, or the push fails with the expected error.
#[tokio::test]
async fn a_push_survives_a_fault_at_any_of_its_requests() {
    let registry = registry().await;
    let upstream = Upstream::parse(&registry.url()).expect("an address");
    let faults = [Fault::Reset, Fault::Status(503), Fault::TooManyRequests { retry_after: 0 }];
    for (n, fault) in faults.into_iter().enumerate() {
        for index in 0..3 {
            let proxy = FaultProxy::start(upstream.clone()).await.expect("a proxy");
            proxy.inject(Rule::new(fault.clone()).nth(index));
            let reference = tagged(&proxy.address().to_string(), "v1");
            let content = format!("{n} {index}");
            let pushed = hasty(Duration::from_secs(30))
                .push_blob(&reference.repository, content.clone().into())
                .await;
            assert!(pushed.is_ok(), "{fault:?} at {index}: {pushed:?}");
            assert_eq!(proxy.faults_injected(), 1);
            let blob = Descriptor::of("x", content.as_bytes());
            let stored = tagged(&registry.host(), "v1").repository;
            assert_eq!(client().blob(&stored, &blob, 100).await.expect("the blob"), content);
        }
    }
}

/// A blob cut short or changed on its way is an error.
#[tokio::test]
async fn a_blob_is_whole_or_an_error() {
    let registry = registry().await;
    let content = vec![7_u8; 100_000];
    let blob = Descriptor::of("x", &content);
    let direct = tagged(&registry.host(), "v1").repository;
    client().push_blob(&direct, content.clone().into()).await.expect("a blob");
    let upstream = Upstream::parse(&registry.url()).expect("an address");
    let faults = [
        (Fault::Truncate, "broken off"),
        (Fault::TruncateReset, "broken off"),
        (Fault::StallBody, "timeout"),
        (Fault::LyingBody, "digest mismatch"),
    ];
    for (fault, want) in faults {
        let proxy = FaultProxy::start(upstream.clone()).await.expect("a proxy");
        proxy.inject(Rule::new(fault.clone()).path("/blobs/").method(&Method::GET).always());
        let repository = tagged(&proxy.address().to_string(), "v1").repository;
        let client = hasty(patience(&fault));
        let error = client.blob(&repository, &blob, 1 << 20).await.expect_err("a fault");
        assert_eq!(kind(&error), want, "{fault:?}");
    }
    let error = client().blob(&direct, &blob, 10).await.expect_err("larger than allowed");
    assert!(matches!(error.kind(), ErrorKind::TooLarge { limit: 10 }));
}

/// Dropping a call is safe at any moment, and leaves the client usable.
#[tokio::test]
async fn a_call_can_be_dropped() {
    let registry = registry().await;
    let direct = tagged(&registry.host(), "v1");
    push_image(&client(), &direct, "one").await;
    let proxy = FaultProxy::start(Upstream::parse(&registry.url()).expect("an address")).await;
    let proxy = proxy.expect("a proxy");
    proxy.inject(Rule::new(Fault::Stall).times(8));
    let reference: Reference = tagged(&proxy.address().to_string(), "v1");
    let client = client();
    for n in 0..8 {
        let mut call = Box::pin(client.resolve(&reference));
        tokio::select! {
            _ = &mut call => panic!("it was answered"),
            () = proxy.arrived(n + 1) => {}
        }
    }
    // Eight may run at once: none of the dropped ones holds its place.
    client.resolve(&reference).await.expect("a digest");
}
