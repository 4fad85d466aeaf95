//! Copying: between registries of both kinds, within one, and from one that lies.

use std::collections::BTreeSet;

use bytes::Bytes;
use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use test_registry::Registry;
use verbatim_oci::{Descriptor, Digest, Reference, Repository, media_type};
use verbatim_registry::{
    Attachment, Client, CopyCounts, CopyOptions, Error, ErrorKind, Layer, ReferrersSource,
};

use crate::scripted::{ScriptedRegistry, reply};
use crate::setup::{client, distribution, old_registry, push_image, push_index, registry, tagged};

const ALL: CopyOptions = CopyOptions { referrers: true, overwrite: false };

async fn copy(
    client: &Client,
    from: &Reference,
    to: &Reference,
    options: CopyOptions,
) -> Result<CopyCounts, Error> {
    let image = client.manifest(from).await?;
    client.copy(&from.repository, &image, &to.repository, to.tag.as_ref(), options).await
}

async fn attach(client: &Client, repository: &Repository, to: Digest, content: &str) -> Digest {
    let subject = client.manifest(&Reference::by_digest(repository.clone(), to)).await;
    let attachment = Attachment {
        subject: subject.expect("a subject").descriptor().expect("a manifest"),
        artifact_type: "application/vnd.example".to_owned(),
        layers: vec![Layer {
            media_type: "text/plain".to_owned(),
            bytes: Bytes::from(content.to_owned()),
            annotations: Default::default(),
        }],
        annotations: [("example.kind".to_owned(), content.to_owned())].into(),
    };
    client.attach(repository, &attachment).await.expect("attached").descriptor.digest
}

async fn listed(client: &Client, repository: &Repository, subject: &Digest) -> BTreeSet<Digest> {
    let listed = client.referrers(repository, subject, None).await.expect("a list").descriptors;
    let kinds: Vec<_> = listed.iter().filter_map(|it| it.annotations.get("example.kind")).collect();
    assert_eq!(kinds.len(), listed.len(), "annotations come along");
    listed.into_iter().map(|it| it.digest).collect()
}

/// An index of two images; two documents refer to it, one to one of its images, and one to one of the documents.
struct SignedImage {
    index: Digest,
    listings: Vec<(Digest, BTreeSet<Digest>)>,
}

async fn signed_image(client: &Client, reference: &Reference) -> SignedImage {
    let index = push_index(client, reference, &["linux/amd64", "linux/arm64"]).await;
    let host = reference.repository.registry();
    let image = client.resolve(&tagged(host, "image-linux-arm64")).await.expect("it").digest();
    let repository = &reference.repository;
    let signature = attach(client, repository, index, "signature").await;
    let bill = attach(client, repository, index, "bill of materials").await;
    let scan = attach(client, repository, image, "scan").await;
    let of_bill = attach(client, repository, bill, "signature of the bill").await;
    let listings = vec![
        (index, BTreeSet::from([signature, bill])),
        (image, BTreeSet::from([scan])),
        (bill, BTreeSet::from([of_bill])),
        (scan, BTreeSet::new()),
    ];
    SignedImage { index, listings }
}

async fn between(source: &str, target: &str, listed_by: ReferrersSource) {
    let reference = tagged(source, "v1");
    let signed_image = signed_image(&client(), &reference).await;
    let to: Reference = format!("{target}/mirror/app:v1").parse().expect("a reference");
    // Somebody else's client each time: nothing is known from before.
    let copied = copy(&client(), &reference, &to, ALL).await.expect("a copy");
    assert_eq!((copied.manifests, copied.referrers), (3 + 4, 4), "{source} to {target}");

    let reader = client();
    assert_eq!(reader.resolve(&to).await.expect("the tag").digest(), signed_image.index);
    for (subject, want) in &signed_image.listings {
        assert_eq!(listed(&reader, &to.repository, subject).await, *want, "{source} to {target}");
        for referrer in want {
            let reference = Reference::by_digest(to.repository.clone(), *referrer);
            let manifest = reader.manifest(&reference).await.expect("a referrer").parse();
            let verbatim_oci::Manifest::Image(image) = manifest.expect("a manifest") else {
                panic!("not an image")
            };
            reader.blob(&to.repository, &image.layers[0], 1000).await.expect("its content");
        }
    }
    let by =
        reader.referrers(&to.repository, &signed_image.index, None).await.expect("a list").source;
    assert_eq!(by, listed_by);
    let again = copy(&client(), &reference, &to, ALL).await.expect("the same copy");
    assert_eq!((again.sent, again.mounted, again.referrers), (0, 0, 4));
}

#[tokio::test]
async fn an_image_is_copied_with_all_that_refers_to_it() {
    let (new, old) = (registry().await, old_registry().await);
    between(&new.host(), &registry().await.host(), ReferrersSource::Api).await;
    between(&old.host(), &registry().await.host(), ReferrersSource::Api).await;
    between(&registry().await.host(), &old_registry().await.host(), ReferrersSource::FallbackTag)
        .await;
}

#[tokio::test]
async fn within_a_registry_content_is_taken_over() {
    let Some(registry) = distribution().await else { return };
    let reference = tagged(registry.host(), "v1");
    signed_image(&client(), &reference).await;
    let to: Reference = format!("{}/elsewhere:v1", registry.host()).parse().expect("a reference");
    let copied = copy(&client(), &reference, &to, ALL).await.expect("a copy");
    assert_eq!((copied.sent, copied.referrers), (0, 4));
    assert!(copied.mounted > 4, "{copied:?}");
}

#[tokio::test]
async fn only_the_image_if_that_is_asked_for() {
    let (source, target) = (registry().await, registry().await);
    let reference = tagged(&source.host(), "v1");
    let signed_image = signed_image(&client(), &reference).await;
    let to = tagged(&target.host(), "v1");
    let options = CopyOptions { referrers: false, overwrite: false };
    let copied = copy(&client(), &reference, &to, options).await.expect("a copy");
    assert_eq!((copied.manifests, copied.referrers), (3, 0));
    assert!(listed(&client(), &to.repository, &signed_image.index).await.is_empty());
}

#[tokio::test]
async fn a_tag_is_moved_only_if_that_is_asked_for() {
    let (source, target) = (registry().await, registry().await);
    let (from, to) = (tagged(&source.host(), "v1"), tagged(&target.host(), "v1"));
    let wanted = push_image(&client(), &from, "one").await;
    let there = push_image(&client(), &to, "two").await;
    target.forget_seen();
    let refused = copy(&client(), &from, &to, ALL).await.expect_err("the tag is taken");
    assert!(matches!(refused.kind(), ErrorKind::TagTaken { found } if *found == there));
    assert!(writes(&target).is_empty(), "{:?}", writes(&target));
    let options = CopyOptions { overwrite: true, ..ALL };
    copy(&client(), &from, &to, options).await.expect("a copy");
    assert_eq!(client().resolve(&to).await.expect("the tag").digest(), wanted);
}

fn writes(registry: &Registry) -> Vec<String> {
    let seen =
        registry.seen().into_iter().filter(|it| !["GET", "HEAD"].contains(&it.method.as_str()));
    seen.map(|it| format!("{} {}", it.method, it.target)).collect()
}

/// A source that sends other bytes, or too many, or too few. The target must not get them, nor the manifest.
#[tokio::test]
async fn wrong_content_is_not_passed_on() {
    let layer = Bytes::from(vec![b'a'; 300_000]);
    let config = Bytes::from_static(b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, &config),
        "layers": [Descriptor::of(media_type::OCI_LAYER_GZIP, &layer)],
    })
    .to_string();
    let cases = [
        (b'b', 300_000, false),
        (b'a', 300_001, false),
        (b'a', 299_999, false),
        (b'a', 300_000, true),
    ];
    for (content, size, is_right) in cases {
        let (manifest, layer_digest) = (manifest.clone(), Digest::of(&layer));
        let source = ScriptedRegistry::start(move |arrived| match arrived.line.as_str() {
            line if line.contains("/manifests/sha256-") => reply(404, &[], ""),
            line if line.contains("/manifests/") => {
                reply(200, &[("content-type", media_type::OCI_MANIFEST)], manifest.clone())
            }
            line if line.contains(&layer_digest.to_string()) => {
                reply(200, &[], vec![content; size])
            }
            line if line.contains("/blobs/") => reply(200, &[], "{}"),
            _ => reply(404, &[], ""),
        })
        .await;
        let target = registry().await;
        let to = tagged(&target.host(), "v1");
        let copied = copy(&client(), &tagged(&source.host, "v1"), &to, ALL).await;
        assert_eq!(copied.is_ok(), is_right, "{copied:?}");
        assert_eq!(client().head(&to).await.expect("an answer").is_some(), is_right);
        let stored = client().has_blob(&to.repository, &layer_digest).await.expect("an answer");
        assert_eq!(stored, is_right);
    }
}

/// What a registry answers in the place of the usual: a part of the request line, the status, the code.
type Oddity = (&'static str, u16, &'static str);

/// Copies within a registry that is odd in one way, from its second answer on where it is about a tag.
async fn copy_past(oddity: Oddity, options: CopyOptions) -> Result<CopyCounts, Error> {
    let registry = registry().await;
    push_image(&client(), &tagged(&registry.host(), "v1"), "one").await;
    let upstream = Upstream::parse(&registry.url()).expect("an address");
    let proxy = FaultProxy::start(upstream).await.expect("a proxy");
    let host = proxy.address().to_string();
    let from = tagged(&host, "v1");
    let to: Reference = format!("{host}/other/app:v2").parse().expect("a reference");
    let (line, status, code) = oddity;
    let rule = |line: &str, status: u16, code: &str| {
        let (method, path) = line.split_once(' ').expect("method and path");
        let fault = match code {
            "" => Fault::Status(status),
            code => Fault::Code { status, code: code.to_owned() },
        };
        Rule::new(fault).method(&method.parse().expect("a method")).path(path).always()
    };
    if line.starts_with("PUT") {
        copy(&client(), &from, &to, ALL).await.expect("the first time");
    }
    if line.contains("mount") {
        // The test registry has one store for all repositories.
        proxy.inject(rule("HEAD /other/app/blobs/", 404, "BLOB_UNKNOWN"));
    }
    proxy.inject(rule(line, status, code));
    let copied = copy(&client(), &from, &to, options).await?;
    let direct = format!("{}/other/app:v2", registry.host());
    client().resolve(&direct.parse().expect("a reference")).await.expect("it is there");
    Ok(copied)
}

/// A mount and a look are only there to send less. A registry that refuses either gets the content.
#[tokio::test]
async fn content_is_sent_where_it_cannot_be_mounted_or_looked_for() {
    for line in ["POST mount=", "HEAD /other/app/blobs/", "HEAD /other/app/manifests/"] {
        for (status, code) in [
            (400, "UNSUPPORTED"),
            (401, "UNAUTHORIZED"),
            (403, "DENIED"),
            (404, "NAME_UNKNOWN"),
            (405, ""),
            (409, ""),
            (416, ""),
            (501, ""),
        ] {
            let copied = copy_past((line, status, code), ALL).await;
            assert!(copied.is_ok(), "{line} {status}: {copied:?}");
        }
    }
    for status in [429, 500, 502, 503, 504] {
        let copied = copy_past(("POST mount=", status, ""), ALL).await.expect("sent");
        assert_eq!((copied.sent, copied.mounted), (2, 0), "{status}");
    }
}

/// A tag that must not change, and that is already what it should be, is no failure, and is not written again.
#[tokio::test]
async fn a_tag_that_is_already_right_stays() {
    let moving = CopyOptions { overwrite: true, ..ALL };
    for (status, code) in [
        (400, "TAG_INVALID"),
        (412, "PRECONDITION"),
        (409, "TAG_IMMUTABLE"),
        (403, "DENIED"),
        (405, "UNSUPPORTED"),
    ] {
        for options in [ALL, moving] {
            let copied = copy_past(("PUT /manifests/v2", status, code), options).await;
            assert!(copied.is_ok(), "{status} {code} {options:?}: {copied:?}");
        }
    }
}

#[tokio::test]
async fn an_immutable_tag_that_names_something_else_is_refused() {
    let config = test_registry::Config { immutable_tags: true, ..Default::default() };
    let registry = Registry::start(config).await.expect("a registry");
    let (from, to) = (tagged(&registry.host(), "v1"), tagged(&registry.host(), "v2"));
    let client = client();
    push_image(&client, &from, "one").await;
    push_image(&client, &to, "two").await;
    let moving = CopyOptions { overwrite: true, ..ALL };
    let error = copy(&client, &from, &to, moving).await.expect_err("immutable");
    assert!(matches!(error.kind(), ErrorKind::Refused(response) if response.status == 412));
}

/// The cache image of a builder: an index whose entries are layers and a configuration.
#[tokio::test]
async fn entries_of_an_index_are_copied_by_their_type() {
    let (one, other) = (registry().await, registry().await);
    let (from, to) = (tagged(&one.host(), "cache"), tagged(&other.host(), "cache"));
    let client = client();
    let image = push_image(&client, &tagged(&one.host(), "v1"), "image").await;
    let image = client.manifest(&from.pinned(image)).await.expect("it").descriptor().expect("it");
    let mut blobs = Vec::new();
    for (media_type, content) in [
        (media_type::OCI_LAYER_GZIP, "layer"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "another"),
        ("application/vnd.buildkit.cacheconfig.v0", r#"{"layers":[]}"#),
    ] {
        client.push_blob(&from.repository, content.into()).await.expect("a blob");
        blobs.push(Descriptor::of(media_type, content.as_bytes()));
    }
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": blobs.iter().chain([&image]).collect::<Vec<_>>(),
        "annotations": null,
    });
    let name = verbatim_registry::ManifestName::Tag("cache".parse().expect("a tag"));
    let bytes = Bytes::from(index.to_string());
    let put = client.put_manifest(&from.repository, &name, media_type::OCI_INDEX, bytes.clone());
    put.await.expect("an index");
    let copied = copy(&client, &from, &to, ALL).await.expect("a copy");
    assert_eq!((copied.manifests, copied.sent), (2, 5));
    assert_eq!(client.resolve(&to).await.expect("it").digest(), Digest::of(&bytes));
    for blob in &blobs {
        client.blob(&to.repository, blob, 1000).await.expect("a blob");
    }
}

/// Which side sent something wrong is named, and is not asked again.
#[tokio::test]
async fn wrong_content_of_the_source_is_its_own_fault() {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, b"[7]"),
        "layers": [],
    })
    .to_string();
    for (sent, want) in [
        ("[8]", "the requested digest is"),
        ("[7", "the requested digest is"),
        ("", "the requested digest is"),
        ("[7] and more", "more than 3 bytes"),
    ] {
        let body = manifest.clone();
        let source =
            ScriptedRegistry::start(move |arrived| match arrived.line.contains("/blobs/") {
                true => reply(200, &[], sent),
                false if arrived.line.contains("/referrers/") => reply(404, &[], ""),
                false => reply(200, &[("content-type", media_type::OCI_MANIFEST)], body.clone()),
            })
            .await;
        let target = registry().await;
        let (from, to) = (tagged(&source.host, "v1"), tagged(&target.host(), "v1"));
        let error = copy(&client(), &from, &to, ALL).await.expect_err("wrong");
        assert!(error.kind().to_string().starts_with(want), "{sent}: {}", error.kind());
        assert!(error.to_string().contains(&source.host), "{error}");
        assert!(!error.to_string().contains(&target.host()), "{error}");
        assert!(!error.is_retryable());
        let blobs = source.lines().iter().filter(|line| line.contains("/blobs/")).count();
        assert_eq!(blobs, 1, "{sent}");
        client().resolve(&to).await.expect_err("not there");
    }
    // A source that fails is asked again, as often as any registry.
    let source = ScriptedRegistry::start(move |arrived| match arrived.line.contains("/blobs/") {
        true => reply(503, &[], ""),
        false => reply(200, &[("content-type", media_type::OCI_MANIFEST)], manifest.clone()),
    })
    .await;
    let target = registry().await;
    let (from, to) = (tagged(&source.host, "v1"), tagged(&target.host(), "v1"));
    let error = copy(&client(), &from, &to, ALL).await.expect_err("failing");
    assert!(error.to_string().contains(&source.host), "{error}");
    let blobs = source.lines().iter().filter(|line| line.contains("/blobs/")).count();
    assert_eq!(blobs, crate::setup::config().retry.attempts as usize);
}
