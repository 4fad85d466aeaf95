//! Writing blobs and manifests.

use std::sync::atomic::{AtomicBool, Ordering};

use verbatim_oci::{Digest, media_type};
use verbatim_registry::{ErrorKind, ManifestName, MountResult, UploadResult};

use crate::scripted::{ScriptedRegistry, reply};
use crate::setup::{client, push_image, registry, repository, tagged};

const MANIFEST: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

#[tokio::test]
async fn a_blob_is_sent_once() {
    let registry = registry().await;
    let repository = repository(&registry.host());
    let first = client();
    let sent = first.push_blob(&repository, "content".into()).await.expect("a blob");
    assert_eq!(sent, (Digest::of(b"content"), UploadResult::Sent));
    // Looked for, begun, sent.
    assert_eq!(first.requests(), 3);
    first.push_blob(&repository, "content".into()).await.expect("a blob");
    assert_eq!(first.requests(), 3, "what was sent is remembered");
    let second = client();
    let (_, upload) = second.push_blob(&repository, "content".into()).await.expect("a blob");
    assert_eq!((upload, second.requests()), (UploadResult::Existed, 1));
    assert!(client().has_blob(&repository, &Digest::of(b"content")).await.expect("an answer"));
    assert!(!client().has_blob(&repository, &Digest::of(b"other")).await.expect("an answer"));
}

/// What registries answer to the begin of an upload.
/// A registry that stored a blob and does not say 201 is asked whether it is there.
#[tokio::test]
async fn an_odd_answer_to_a_stored_blob_is_looked_into() {
    for (status, stored) in [(200, true), (202, true), (204, true), (200, false), (202, false)] {
        let sent = AtomicBool::new(false);
        let server = ScriptedRegistry::start(move |arrived| match arrived.line.split(' ').next() {
            Some("POST") => reply(202, &[("location", "/upload")], ""),
            Some("PUT") => {
                sent.store(stored, Ordering::SeqCst);
                reply(status, &[], "")
            }
            _ => reply(if sent.load(Ordering::SeqCst) { 200 } else { 404 }, &[], ""),
        })
        .await;
        let pushed = client().push_blob(&repository(&server.host), "blob".into()).await;
        assert_eq!(pushed.is_ok(), stored, "{status}: {pushed:?}");
    }
}

#[tokio::test]
async fn an_upload_goes_on_where_the_registry_says() {
    let digest = Digest::of(b"content");
    let check = async |location: &'static str, want: Result<&str, &str>| {
        let server = ScriptedRegistry::start(move |arrived| {
            let path = arrived.line.split(' ').nth(1).expect("a path");
            match arrived.line.split(' ').next() {
                Some("HEAD") => reply(404, &[], ""),
                Some("POST") if location.is_empty() => reply(202, &[], ""),
                Some("POST") => {
                    assert_eq!(arrived.headers["content-length"], "0");
                    let host = arrived.headers["host"].to_str().expect("a host");
                    reply(202, &[("location", &location.replace("HOST", host))], "")
                }
                Some("PUT") => {
                    assert_eq!(arrived.body, "content");
                    assert!(path.contains("digest="), "{path}");
                    reply(201, &[], "")
                }
                _ => panic!("unexpected: {}", arrived.line),
            }
        })
        .await;
        let pushed = client().push_blob(&repository(&server.host), "content".into()).await;
        match want {
            Ok(line) => {
                pushed.expect("a blob");
                assert_eq!(server.lines().last().map(String::as_str), Some(line));
            }
            Err(text) => assert_eq!(pushed.expect_err("refused").kind().to_string(), text),
        }
    };
    let put = |path: &str| format!("PUT {path}digest={digest}");
    check("/v2/a/blobs/uploads/1", Ok(&put("/v2/a/blobs/uploads/1?"))).await;
    check("/upload?state=a%2Fb%3D&x", Ok(&put("/upload?state=a%2Fb%3D&x&"))).await;
    check("http://HOST/elsewhere/1?", Ok(&put("/elsewhere/1?&"))).await;
    check("", Err("unexpected answer: the upload has no `Location` header")).await;
    check(
        "http://10.0.0.1/x?_state=secret",
        Err("the registry redirects to plain HTTP, http://10.0.0.1/x"),
    )
    .await;
    check("ftp://h/x", Err("unexpected answer: an address with the scheme `ftp`")).await;
}

#[tokio::test]
async fn a_blob_is_taken_over_or_that_is_refused() {
    let other = "example/other";
    let digest = Digest::of(b"content");
    let check = async |status: u16, want: MountResult, requests: &[&str]| {
        let server = ScriptedRegistry::start(move |arrived| {
            match arrived.line.split(' ').next() {
                Some("POST") => {
                    reply(status, &[("location", "/v2/example/app/blobs/uploads/1")], "")
                }
                // Tidying up may fail.
                _ => reply(405, &[], ""),
            }
        })
        .await;
        let from = format!("{}/{other}", server.host).parse().expect("a repository");
        let mounted = client().mount(&repository(&server.host), &digest, &from).await;
        assert_eq!(mounted.expect("an answer"), want);
        assert_eq!(server.lines(), requests);
    };
    let post = format!("POST /v2/example/app/blobs/uploads/?mount={digest}&from={other}");
    check(201, MountResult::Mounted, &[&post]).await;
    check(202, MountResult::Refused, &[&post, "DELETE /v2/example/app/blobs/uploads/1"]).await;
    let from = "elsewhere.example.com/x".parse().expect("a repository");
    let client = client();
    let mounted = client.mount(&repository("127.0.0.1:1"), &digest, &from).await;
    assert_eq!((mounted.expect("an answer"), client.requests()), (MountResult::Refused, 0));
}

#[tokio::test]
async fn a_manifest_is_written_byte_for_byte() {
    let registry = registry().await;
    let client = client();
    let reference = tagged(&registry.host(), "v1");
    let digest = push_image(&client, &reference, "one").await;
    let fetched = client.manifest(&reference).await.expect("the manifest");
    let name = ManifestName::Tag("v2".parse().expect("a tag"));
    let put = client
        .put_manifest(&reference.repository, &name, &fetched.media_type, fetched.bytes.clone())
        .await
        .expect("a manifest");
    assert_eq!((put.digest, put.subject), (digest, None));
    let again = client.resolve(&tagged(&registry.host(), "v2")).await.expect("a digest");
    assert_eq!((again.digest(), again.manifest.bytes), (digest, fetched.bytes));
}

/// What registries answer to a manifest: with the digest, without it, with another one, without a Location.
#[tokio::test]
async fn the_digest_of_what_was_written_is_checked() {
    let truth = Digest::of(MANIFEST.as_bytes());
    let check = async |header: Option<Digest>,
                       stored: &'static str,
                       name: ManifestName,
                       want: &str| {
        let server = ScriptedRegistry::start(move |arrived| match (&arrived.line, header) {
            (line, _) if line.starts_with("GET") => {
                reply(200, &[("content-type", media_type::OCI_INDEX)], stored)
            }
            (_, Some(digest)) => reply(201, &[("docker-content-digest", &digest.to_string())], ""),
            (_, None) => reply(201, &[], ""),
        })
        .await;
        let repository = repository(&server.host);
        let put =
            client().put_manifest(&repository, &name, media_type::OCI_INDEX, MANIFEST.into()).await;
        let got = match put {
            Ok(put) => format!("{} after {}", put.digest, server.lines().len()),
            Err(error) => error.kind().to_string(),
        };
        assert_eq!(got, want);
    };
    let tag = || ManifestName::Tag("v1".parse().expect("a tag"));
    let other = Digest::of(b"other");
    check(Some(truth), "", tag(), &format!("{truth} after 1")).await;
    check(None, MANIFEST, tag(), &format!("{truth} after 2")).await;
    check(None, "", ManifestName::Digest, &format!("{truth} after 1")).await;
    let changed = r#"{"schemaVersion":2,"manifests":[] }"#;
    let stored = Digest::of(changed.as_bytes());
    check(
        None,
        changed,
        tag(),
        &format!("the requested digest is {truth}, but the content has {stored}"),
    )
    .await;
    check(
        Some(other),
        "",
        ManifestName::Digest,
        &format!(
            "the digest in the registry's response header is {other}, but the content has {truth}"
        ),
    )
    .await;
}

/// An upload is begun and given up; the registry's clock comes with the answer.
#[tokio::test]
async fn whether_a_repository_may_be_written_is_asked_without_a_trace() {
    let check = async |status: u16, end: u16, is_writable: bool| {
        let server = ScriptedRegistry::start(move |arrived| match arrived.line.split(' ').next() {
            Some("POST") => reply(status, &[("location", "/v2/example/app/blobs/uploads/1")], ""),
            Some("DELETE") => reply(end, &[], ""),
            _ => panic!("unexpected: {}", arrived.line),
        })
        .await;
        let (client, repository) = (client(), repository(&server.host));
        assert!(client.clock(&repository).is_none(), "nobody was asked yet");
        let answer = client.check_push(&repository).await;
        assert!(client.clock(&repository).is_some(), "every answer has the time");
        let post = "POST /v2/example/app/blobs/uploads/";
        match is_writable {
            true => {
                answer.expect("an answer");
                assert_eq!(server.lines(), [post, "DELETE /v2/example/app/blobs/uploads/1"]);
            }
            false => {
                let error = answer.expect_err("refused");
                assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{error:?}");
                assert_eq!(server.lines(), [post]);
            }
        }
    };
    check(202, 204, true).await;
    check(202, 405, true).await;
    check(403, 204, false).await;
}
