//! Resolving and reading: what is asked, how often, and what is believed.

use verbatim_credentials::Keychain;
use verbatim_oci::{Digest, Manifest, Platform, Reference, media_type};
use verbatim_registry::{Client, DerivedTags, DigestClaim, ErrorKind};

use crate::scripted::{ScriptedRegistry, reply};
use crate::setup::{client, config, push_image, push_index, registry, repository, tagged};

const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

#[tokio::test]
async fn a_tag_is_resolved_with_one_request() {
    let registry = registry().await;
    let reference = tagged(&registry.host(), "v1");
    let digest = push_image(&client(), &reference, "one").await;
    registry.forget_seen();
    let client = client();
    let resolved = client.resolve(&reference).await.expect("a digest");
    assert_eq!(resolved.digest(), digest);
    assert_eq!(resolved.reference.to_string(), format!("{reference}@{digest}"));
    assert_eq!(Digest::of(&resolved.manifest.bytes), digest);
    assert_eq!((registry.seen().len(), client.requests()), (1, 1));
}

#[tokio::test]
async fn all_types_of_manifests_are_asked_for() {
    let server = ScriptedRegistry::start(|_| {
        reply(200, &[("content-type", media_type::OCI_INDEX)], MANIFEST)
    })
    .await;
    client().resolve(&tagged(&server.host, "v1")).await.expect("a digest");
    let arrived = server.arrived();
    let accepts: Vec<&str> = arrived[0]
        .headers
        .get_all("accept")
        .iter()
        .flat_map(|value| value.to_str().expect("text").split(','))
        .map(str::trim)
        .collect();
    assert_eq!(accepts, media_type::ALL_MANIFESTS);
    assert_eq!(arrived[0].headers["user-agent"], "verbatim-test/1");
}

#[tokio::test]
async fn an_index_is_resolved_as_a_whole_or_for_one_platform() {
    let registry = registry().await;
    let client = client();
    let reference = tagged(&registry.host(), "multi");
    let digest = push_index(&client, &reference, &["linux/amd64", "linux/arm64"]).await;
    assert_eq!(client.resolve(&reference).await.expect("a digest").digest(), digest);
    let platform: Platform = "linux/arm64".parse().expect("a platform");
    let resolved = client.resolve_for(&reference, &platform).await.expect("an image");
    let image = client.resolve(&tagged(&registry.host(), "image-linux-arm64")).await.expect("it");
    assert_eq!(resolved.digest(), image.digest());
    assert!(matches!(resolved.manifest.parse().expect("a manifest"), Manifest::Image(_)));
    let platform: Platform = "windows/amd64".parse().expect("a platform");
    let error = client.resolve_for(&reference, &platform).await.expect_err("no such image");
    assert_eq!(
        error.kind().to_string(),
        "no image for windows/amd64, only for linux/amd64, linux/arm64"
    );
}

#[tokio::test]
async fn what_is_missing_is_none_where_that_is_an_answer() {
    let registry = registry().await;
    let client = client();
    let (there, missing) = (tagged(&registry.host(), "v1"), tagged(&registry.host(), "v2"));
    let digest = push_image(&client, &there, "one").await;
    let head = client.head(&there).await.expect("an answer").expect("it is there");
    assert_eq!(
        (head.digest, head.media_type.as_deref()),
        (Some(digest), Some(media_type::OCI_MANIFEST))
    );
    assert!(head.size.is_some_and(|size| size > 100));
    assert_eq!(client.head(&missing).await.expect("an answer"), None);
    assert_eq!(client.find_manifest(&missing).await.expect("an answer"), None);
    let error = client.resolve(&missing).await.expect_err("missing");
    assert!(error.is_not_found() && !error.is_retryable());
    let ErrorKind::NotFound(refusal) = error.kind() else { panic!("{error}") };
    assert!(refusal.has_code("MANIFEST_UNKNOWN"), "{refusal}");
}

/// Every way in which a registry can be wrong about a digest.
#[tokio::test]
async fn no_claim_about_a_digest_is_believed() {
    let truth = Digest::of(MANIFEST.as_bytes());
    let other = Digest::of(b"other");
    let check = async |header: &'static str, asked: Option<Digest>, want: &str| {
        let server = ScriptedRegistry::start(move |_| {
            let mut headers = vec![("content-type", media_type::OCI_INDEX)];
            if !header.is_empty() {
                headers.push(("docker-content-digest", header));
            }
            reply(200, &headers, MANIFEST)
        })
        .await;
        let reference = Reference { digest: asked, ..tagged(&server.host, "v1") };
        let got = match client().resolve(&reference).await {
            Ok(resolved) => format!("resolved {}", resolved.digest()),
            Err(error) => error.kind().to_string(),
        };
        assert_eq!(got, want, "{header} {asked:?}");
        assert_eq!(server.lines().len(), 1, "a lie is not asked for twice");
    };
    let leak_text = |text: String| &*text.leak();
    let leak = |digest: Digest| leak_text(digest.to_string());
    let resolved = format!("resolved {truth}");
    check("", None, &resolved).await;
    check("", Some(truth), &resolved).await;
    check(leak(truth), Some(truth), &resolved).await;
    check("sha512:abc", None, &resolved).await;
    let lying_header = format!(
        "the digest in the registry's response header is {other}, but the content has {truth}"
    );
    check(leak(other), None, &lying_header).await;
    check(leak(other), Some(truth), &lying_header).await;
    let not_asked = format!("the requested digest is {other}, but the content has {truth}");
    check("", Some(other), &not_asked).await;
    check(leak(other), Some(other), &not_asked).await;
    // What cannot be read claims nothing.
    for odd in ["sha256:12", "sha256:", "none", " "] {
        check(odd, None, &resolved).await;
        check(odd, Some(truth), &resolved).await;
        check(odd, Some(other), &not_asked).await;
    }
    check(leak_text(format!("\"{truth}\"")), None, &resolved).await;
    check(leak_text(format!("W/\"{other}\"")), None, &lying_header).await;
}

#[tokio::test]
async fn a_head_that_contradicts_its_own_name_is_an_error() {
    let other = Digest::of(b"other");
    let server = ScriptedRegistry::start(move |_| {
        reply(200, &[("docker-content-digest", &other.to_string())], "")
    })
    .await;
    let asked = Digest::of(b"asked");
    let reference = tagged(&server.host, "v1").pinned(asked);
    let error = client().head(&reference).await.expect_err("a contradiction");
    assert!(matches!(
        error.kind(),
        ErrorKind::DigestMismatch { claim: DigestClaim::Asked, expected, actual }
            if *expected == asked && *actual == other
    ));
}

#[tokio::test]
async fn what_is_no_manifest_is_not_resolved() {
    let check = async |content_type: &'static str, body: &'static str, want: &str| {
        let server =
            ScriptedRegistry::start(move |_| reply(200, &[("content-type", content_type)], body))
                .await;
        let error = client().resolve(&tagged(&server.host, "v1")).await.expect_err("no manifest");
        assert_eq!(error.kind().to_string(), want, "{body}");
    };
    check("text/html", "<html>welcome</html>", "the manifest is malformed").await;
    check(media_type::OCI_INDEX, "{", "the manifest is malformed").await;
    check(media_type::OCI_MANIFEST, MANIFEST, "the manifest is malformed").await;
    let big = format!("\"{}\"", "x".repeat(4 * 1024 * 1024)).leak();
    check(media_type::OCI_INDEX, big, "more than 4194304 bytes").await;
}

#[tokio::test]
async fn tags_are_read_to_the_last_page() {
    let server = ScriptedRegistry::start(|arrived| match arrived.line.as_str() {
        "GET /v2/example/app/tags/list?n=1000" => reply(
            200,
            &[("link", r#"</v2/example/app/tags/list?n=1000&last=b>; rel="next""#)],
            r#"{"name":"example/app","tags":["a","b","sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.sig"]}"#,
        ),
        "GET /v2/example/app/tags/list?n=1000&last=b" => reply(
            200,
            &[("link", r#"<?next_page=token>; rel="next""#)],
            r#"{"tags":["c"]}"#,
        ),
        "GET /v2/example/app/tags/list?next_page=token" => reply(200, &[], r#"{"tags":null}"#),
        "GET /v2/example/other/tags/list?n=1000" => {
            reply(200, &[("link", r#"<http://127.0.0.1:1/x>; rel="next""#)], r#"{"tags":["a"]}"#)
        }
        line => panic!("unexpected: {line}"),
    })
    .await;
    let names = async |derived| -> Vec<String> {
        let tags = client().tags(&repository(&server.host), derived).await.expect("tags");
        tags.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(DerivedTags::Hide).await, ["a", "b", "c"]);
    assert_eq!(names(DerivedTags::Show).await.len(), 4);
    let other = format!("{}/example/other", server.host).parse().expect("a repository");
    let error = client().tags(&other, DerivedTags::Hide).await.expect_err("never a part");
    assert_eq!(
        error.kind().to_string(),
        "unexpected answer: the list of tags continues on another server: http://127.0.0.1:1/x"
    );
}

/// A registry that pages by `n` and `last`, as the specification says.
#[tokio::test]
async fn a_real_registry_lists_its_tags() {
    let registry = registry().await;
    let client = client();
    for tag in ["v1", "v2", "v3"] {
        push_image(&client, &tagged(&registry.host(), tag), tag).await;
    }
    let tags = client.tags(&repository(&registry.host()), DerivedTags::Hide).await.expect("tags");
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["v1", "v2", "v3"]);
}

#[tokio::test]
async fn no_more_requests_run_at_once_than_allowed() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    // Answers are held back until as many requests wait as may run at once; one more would be counted too.
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counters = Arc::clone(&running);
    let app = axum::Router::new().fallback(move || {
        let counters = Arc::clone(&counters);
        async move {
            let now = counters.0.fetch_add(1, Ordering::SeqCst) + 1;
            counters.1.fetch_max(now, Ordering::SeqCst);
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            counters.0.fetch_sub(1, Ordering::SeqCst);
            reply(200, &[("content-type", media_type::OCI_INDEX)], MANIFEST)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let config = verbatim_registry::Config { concurrency: 3, ..config() };
    let keychain = verbatim_credentials::Keychain::anonymous();
    let client = verbatim_registry::Client::new(config, keychain).expect("a client");
    let reference = tagged(&host, "v1");
    let all = (0..40).map(|_| client.resolve(&reference));
    futures_util::future::try_join_all(all).await.expect("digests");
    server.abort();
    assert!((1..=3).contains(&running.1.load(Ordering::SeqCst)), "{running:?}");
}

/// What `NO_PROXY` excepts is reached directly, also by a redirect.
#[tokio::test]
async fn proxies_are_those_of_the_environment() {
    let digest = Digest::of(MANIFEST.as_bytes());
    let proxy = ScriptedRegistry::start(|arrived| match arrived.line.contains("redirect") {
        true => reply(307, &[("location", "http://127.0.0.1:9/x")], ""),
        false => reply(200, &[("content-type", media_type::OCI_INDEX)], MANIFEST),
    })
    .await;
    let client = |no_proxy: &'static str| {
        let mut config = config();
        config.plain_http.insert("reg.corp.invalid:5000".to_owned());
        config.retry.attempts = 1;
        let address = format!("http://{}", proxy.host);
        config.proxies = verbatim_http::Proxies::from_variables(|name| match name {
            "HTTP_PROXY" => Some(address.clone()),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        });
        Client::new(config, Keychain::anonymous()).expect("a client")
    };
    let reference: Reference = "reg.corp.invalid:5000/a/b:v1".parse().expect("a reference");
    for through in ["", "corp.example", "reg.corp.invalid:5001", "*.other.invalid", "10.0.0.0/8"] {
        let resolved = client(through).resolve(&reference).await.expect("the proxy answers");
        assert_eq!(resolved.digest(), digest, "{through}");
    }
    let line = "GET http://reg.corp.invalid:5000/v2/a/b/manifests/v1";
    assert_eq!(proxy.lines(), [line; 5]);
    for direct in ["reg.corp.invalid:5000", "*.corp.invalid", ".corp.invalid", "invalid", "x,*"] {
        let error = client(direct).resolve(&reference).await.expect_err("nobody is there");
        assert!(matches!(error.kind(), ErrorKind::Unreachable(_)), "{direct}: {}", error.kind());
    }
    assert_eq!(proxy.lines().len(), 5);
    let away: Reference = "reg.corp.invalid:5000/redirect/b:v1".parse().expect("a reference");
    client("").resolve(&away).await.expect_err("nobody is there");
    assert_eq!(proxy.lines().len(), 6, "this machine is reached directly");
}
