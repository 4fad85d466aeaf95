//! Attaching documents: to a registry with the referrers API, to one without, and by many at once.

use std::collections::BTreeSet;

use verbatim_oci::{Descriptor, Digest, Reference, media_type};
use verbatim_registry::{
    Attachment, Client, DerivedTags, ErrorKind, Layer, ManifestName, ReferrersSource,
};

use crate::scripted::{ScriptedRegistry, reply};
use crate::setup::{client, distribution, old_registry, push_image, registry, repository, tagged};

const KIND: &str = "application/vnd.example.record+json";

fn attachment(subject: Descriptor, content: &str) -> Attachment {
    Attachment {
        subject,
        artifact_type: KIND.to_owned(),
        layers: vec![Layer {
            media_type: KIND.to_owned(),
            bytes: content.to_owned().into(),
            annotations: Default::default(),
        }],
        annotations: [("example.kind".to_owned(), content.to_owned())].into(),
    }
}

async fn subject(client: &Client, reference: &Reference) -> Descriptor {
    push_image(client, reference, "subject").await;
    let fetched = client.manifest(reference).await.expect("the image");
    fetched.descriptor().expect("a manifest")
}

/// Attaches, lists and reads back.
async fn attach_and_read(host: &str, source: ReferrersSource) {
    let client = client();
    let reference = tagged(host, "v1");
    let repository = &reference.repository;
    let subject = subject(&client, &reference).await;
    let one = attachment(subject.clone(), "one");
    let attached = client.attach(repository, &one).await.expect("attached");
    assert_eq!((attached.descriptor.digest, attached.source), (one.digest(), source));
    let again = client.attach(repository, &one).await.expect("attached already");
    assert_eq!(again, attached);
    let two = attachment(subject.clone(), "two");
    client.attach(repository, &two).await.expect("attached");

    // Somebody else reads.
    let reader = crate::setup::client();
    let listed = reader.referrers(repository, &subject.digest, Some(KIND)).await.expect("a list");
    assert_eq!(listed.source, source);
    let digests = BTreeSet::from_iter(listed.descriptors.iter().map(|entry| entry.digest));
    assert_eq!(digests, BTreeSet::from([one.digest(), two.digest()]));
    let entry = listed.descriptors.iter().find(|entry| entry.digest == one.digest());
    let entry = entry.expect("the first");
    assert_eq!(entry.artifact_type.as_deref(), Some(KIND));
    assert_eq!(entry.annotations.get("example.kind").map(String::as_str), Some("one"));
    let other = reader.referrers(repository, &subject.digest, Some("other")).await;
    assert!(other.expect("a list").descriptors.is_empty());
    let layer = &one.layers[0];
    let blob = Descriptor::of(&layer.media_type, &layer.bytes);
    assert_eq!(reader.blob(repository, &blob, 1000).await.expect("the content"), layer.bytes);
    let tags = reader.tags(repository, DerivedTags::Hide).await.expect("tags");
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["v1"]);
}

#[tokio::test]
async fn attached_where_there_is_a_referrers_api() {
    attach_and_read(&registry().await.host(), ReferrersSource::Api).await;
}

#[tokio::test]
async fn attached_where_there_is_none() {
    attach_and_read(&old_registry().await.host(), ReferrersSource::FallbackTag).await;
}

#[tokio::test]
async fn attached_in_the_reference_implementation() {
    let Some(registry) = distribution().await else { return };
    attach_and_read(registry.host(), ReferrersSource::FallbackTag).await;
}

/// Requests are what a pipeline pays with.
#[tokio::test]
async fn an_attach_costs_few_requests() {
    for (registry, last) in [(registry().await, 1), (old_registry().await, 4)] {
        let setup = client();
        let reference = tagged(&registry.host(), "v1");
        let subject = subject(&setup, &reference).await;
        let client = client();
        client.attach(&reference.repository, &attachment(subject, "one")).await.expect("attached");
        // The empty configuration, which this registry always has; the content, looked for, begun and sent; the manifest;
        // and the listing: one look at the API, or that look and the tag, read, written, and read again.
        assert_eq!(client.requests(), 5 + last, "{:?}", registry.seen());
    }
}

/// Clients that share nothing, at one moment, on one tag. The tag has to rest for as long as it does in production: on a
/// machine that stalls, less would not tell a slow writer from none.
async fn attach_at_once(host: &str, count: usize) {
    let reference = tagged(host, "v1");
    let subject = subject(&client(), &reference).await;
    let config = || verbatim_registry::Config::new("verbatim-test/1");
    let all = (0..count).map(|n| {
        let attachment = attachment(subject.clone(), &n.to_string());
        let client = Client::new(config(), verbatim_credentials::Keychain::anonymous());
        let (client, repository) = (client.expect("a client"), &reference.repository);
        async move { client.attach(repository, &attachment).await.map(|a| a.descriptor.digest) }
    });
    let attached = futures_util::future::try_join_all(all).await.expect("all attached");
    let repository = &reference.repository;
    let listed = client().referrers(repository, &subject.digest, None).await.expect("a list");
    let listed = BTreeSet::from_iter(listed.descriptors.iter().map(|entry| entry.digest));
    assert_eq!(listed, BTreeSet::from_iter(attached));
}

#[tokio::test]
async fn many_attach_at_once_through_one_tag() {
    attach_at_once(&old_registry().await.host(), 12).await;
}

#[tokio::test]
async fn many_attach_at_once_in_the_reference_implementation() {
    let Some(registry) = distribution().await else { return };
    attach_at_once(registry.host(), 12).await;
}

#[tokio::test]
async fn what_a_listing_has_lost_is_listed_again() {
    let registry = old_registry().await;
    let client = client();
    let reference = tagged(&registry.host(), "v1");
    let repository = &reference.repository;
    let subject = subject(&client, &reference).await;
    let (one, two) = (attachment(subject.clone(), "one"), attachment(subject.clone(), "two"));
    client.attach(repository, &one).await.expect("attached");
    let tag = format!("sha256-{}", subject.digest.hex());
    let before = client.manifest(&tagged(&registry.host(), &tag)).await.expect("the listing");
    client.attach(repository, &two).await.expect("attached");
    // Somebody who had read the listing before the second attach writes it after.
    let name = ManifestName::Tag(tag.parse().expect("a tag"));
    client.put_manifest(repository, &name, &before.media_type, before.bytes).await.expect("put");
    let listed = client.referrers(repository, &subject.digest, None).await.expect("a list");
    assert_eq!(listed.descriptors.len(), 1);

    let relisted = client.relist(repository, &two.digest()).await.expect("listed again");
    assert_eq!(relisted.descriptor.artifact_type.as_deref(), Some(KIND));
    let listed = client.referrers(repository, &subject.digest, Some(KIND)).await.expect("a list");
    assert_eq!(listed.descriptors.len(), 2);

    let error = client.relist(repository, &subject.digest).await.expect_err("no subject");
    assert!(matches!(error.kind(), ErrorKind::NoSubject(digest) if *digest == subject.digest));
    let error = client.relist(repository, &Digest::of(b"gone")).await.expect_err("gone");
    assert!(error.is_not_found());
}

/// A registry that stores everything and lists nothing.
#[tokio::test]
async fn a_registry_that_does_not_list_is_found_out() {
    let server = ScriptedRegistry::start(|arrived| match arrived.line.split(' ').next() {
        Some("HEAD") => reply(200, &[], ""),
        Some("PUT") => reply(201, &[("oci-subject", &Digest::of(b"s").to_string())], ""),
        _ => reply(
            200,
            &[("content-type", media_type::OCI_INDEX)],
            r#"{"schemaVersion":2,"manifests":[]}"#,
        ),
    })
    .await;
    let one = attachment(Descriptor::of(media_type::OCI_MANIFEST, b"s"), "one");
    let error = client().attach(&repository(&server.host), &one).await.expect_err("not listed");
    assert!(matches!(error.kind(), ErrorKind::NotListed { record } if *record == one.digest()));
}

/// A registry whose tags cannot be changed stores the second document and cannot list it.
#[tokio::test]
async fn immutable_tags_are_recognised() {
    use test_registry::{Config, Registry};
    for (referrers_api, is_refused) in [(false, true), (true, false)] {
        let config = Config { referrers_api, immutable_tags: true, ..Config::default() };
        let registry = Registry::start(config).await.expect("a registry");
        let client = client();
        let reference = tagged(&registry.host(), "v1");
        let repository = &reference.repository;
        let subject = subject(&client, &reference).await;
        client.attach(repository, &attachment(subject.clone(), "one")).await.expect("attached");
        let two = attachment(subject.clone(), "two");
        match client.attach(repository, &two).await {
            Ok(_) => assert!(!is_refused),
            Err(error) => {
                assert!(is_refused, "{error}");
                let ErrorKind::ImmutableTag { tag, response } = error.kind() else {
                    panic!("{error}: {}", error.kind())
                };
                assert_eq!(tag.to_string(), format!("sha256-{}", subject.digest.hex()));
                assert!(response.has_code("PRECONDITION"), "{response}");
                let failure = verbatim_registry::cli::failure(error);
                assert!(failure.hints[0].contains("exempt tags that begin with `sha256-`"));
                let stored = Reference::by_digest(repository.clone(), two.digest());
                assert!(client.head(&stored).await.expect("an answer").is_some());
            }
        }
    }
}

/// A fallback tag with so much in it that the next entry would make it larger than a manifest may be.
#[tokio::test]
async fn a_full_listing_is_told_and_not_written() {
    let full = crate::referrers::records(12_000);
    assert!(full.len() > 4 << 20, "{}", full.len());
    let server = ScriptedRegistry::start(move |arrived| {
        match (arrived.line.split(' ').next(), arrived.line.contains("sha256-")) {
            (Some("HEAD"), _) => reply(200, &[], ""),
            (Some("PUT"), false) => reply(201, &[], ""),
            (Some("GET"), true) => {
                reply(200, &[("content-type", media_type::OCI_INDEX)], full.clone())
            }
            _ => reply(404, &[], ""),
        }
    })
    .await;
    let subject = Descriptor::of(media_type::OCI_MANIFEST, b"subject");
    let one = attachment(subject, "one");
    let error = client().attach(&repository(&server.host), &one).await.expect_err("it is full");
    assert!(matches!(error.kind(), ErrorKind::ListingFull { .. }), "{}", error.kind());
    assert!(!server.lines().iter().any(|line| line.starts_with("PUT") && line.contains("sha256-")));
}
