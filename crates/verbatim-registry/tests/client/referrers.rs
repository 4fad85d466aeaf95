//! Listing referrers: "none" and "could not be found out" are never mixed up.

use verbatim_oci::{Descriptor, Digest, media_type};
use verbatim_registry::ReferrersSource;

use crate::scripted::{ScriptedRegistry, reply};
use crate::setup::{client, repository};

fn entry(content: &str, artifact_type: &str) -> Descriptor {
    Descriptor {
        artifact_type: Some(artifact_type.to_owned()),
        ..Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes())
    }
}

fn index(entries: &[Descriptor]) -> String {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": entries,
    })
    .to_string()
}

const INDEX: (&str, &str) = ("content-type", media_type::OCI_INDEX);

#[tokio::test]
async fn pages_are_read_to_the_last_and_filtered_here_too() {
    let subject = Digest::of(b"subject");
    let server = ScriptedRegistry::start(|arrived| {
        if arrived.line.contains("page=2") {
            return reply(200, &[INDEX], index(&[entry("c", "x"), entry("a", "x")]));
        }
        let link = r#"<?page=2>; rel="next""#;
        reply(200, &[INDEX, ("link", link)], index(&[entry("a", "x"), entry("b", "y")]))
    })
    .await;
    let repository = repository(&server.host);
    let listed = client().referrers(&repository, &subject, Some("x")).await.expect("a list");
    assert_eq!(listed.descriptors, [entry("a", "x"), entry("c", "x")]);
    assert_eq!(listed.source, ReferrersSource::Api);
    let path = format!("GET /v2/example/app/referrers/{subject}");
    assert_eq!(server.lines(), [format!("{path}?artifactType=x"), format!("{path}?page=2")]);
    let all = client().referrers(&repository, &subject, None).await.expect("a list");
    assert_eq!(all.descriptors.len(), 3);
}

/// Each answer of the API, with each answer for the tag: what is listed, or that it could not be.
#[tokio::test]
async fn none_and_unknown_are_told_apart() {
    let subject = Digest::of(b"subject");
    let check = async |api: (u16, &'static str, String), tag: (u16, String), want: &str| {
        let (api_answer, tag_answer) = (api.clone(), tag.clone());
        let server = ScriptedRegistry::start(move |arrived| {
            if arrived.line.contains("/referrers/") {
                let (status, content_type, body) = api_answer.clone();
                return reply(status, &[("content-type", content_type)], body);
            }
            assert!(arrived.line.ends_with(&format!("/manifests/sha256-{}", subject.hex())));
            reply(tag_answer.0, &[INDEX], tag_answer.1.clone())
        })
        .await;
        let mut config = crate::setup::config();
        config.retry.attempts = 1;
        let keychain = verbatim_credentials::Keychain::anonymous();
        let client = verbatim_registry::Client::new(config, keychain).expect("a client");
        let got = match client.referrers(&repository(&server.host), &subject, None).await {
            Ok(listed) => format!("{} by {:?}", listed.descriptors.len(), listed.source),
            Err(_) => "unknown".to_owned(),
        };
        assert_eq!(got, want, "{api:?} {tag:?}");
    };
    let one = || index(&[entry("a", "x")]);
    let json = "application/json";
    let none = || (404, String::new());
    check((200, media_type::OCI_INDEX, index(&[])), none(), "0 by Api").await;
    check((200, media_type::OCI_INDEX, one()), none(), "1 by Api").await;
    check(
        (200, "application/vnd.oci.image.index.v1+json; charset=utf-8", one()),
        none(),
        "1 by Api",
    )
    .await;
    // No such API: the tag decides.
    for status in [400, 404, 406] {
        check((status, "text/plain", "no".into()), none(), "0 by FallbackTag").await;
        check((status, json, "{}".into()), (200, one()), "1 by FallbackTag").await;
    }
    check((200, "text/html", "<html>".into()), (200, one()), "1 by FallbackTag").await;
    // Success, and no list: a proxy, or an old registry. Without anything under the tag it is not known which.
    check((200, "text/html", "<html>".into()), none(), "unknown").await;
    check((200, json, one()), none(), "unknown").await;
    // It could not be found out.
    for status in [401, 403, 429, 500, 503] {
        check((status, json, "{}".into()), none(), "unknown").await;
        check((404, json, "{}".into()), (status, String::new()), "unknown").await;
    }
    check((200, media_type::OCI_INDEX, "{".into()), none(), "unknown").await;
    check((200, media_type::OCI_INDEX, "{}".into()), none(), "unknown").await;
    check((404, json, String::new()), (200, "{".into()), "unknown").await;
    let image = r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}"#;
    check((404, json, String::new()), (200, image.into()), "unknown").await;
}

#[tokio::test]
async fn a_list_that_breaks_off_is_no_list() {
    let server = ScriptedRegistry::start(|arrived| match arrived.line.contains("page=2") {
        true => reply(404, &[], ""),
        false => {
            let link = r#"<?page=2>; rel="next""#;
            reply(200, &[INDEX, ("link", link)], index(&[entry("a", "x")]))
        }
    })
    .await;
    let subject = Digest::of(b"subject");
    let listed = client().referrers(&repository(&server.host), &subject, None).await;
    let error = listed.expect_err("half a list");
    assert_eq!(error.kind().to_string(), "unexpected answer: the list of referrers ends early");
}

/// An index of many records, as a registry without pages sends it.
pub(crate) fn records(count: usize) -> String {
    let entry = |number: usize| Descriptor {
        artifact_type: Some("application/vnd.dev.sigstore.bundle.v0.3+json".to_owned()),
        annotations: [
            ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
            ("dev.sigstore.bundle.predicateType".to_owned(), "urn:example:record:v1".to_owned()),
            ("org.opencontainers.image.created".to_owned(), "2026-11-24T12:00:00Z".to_owned()),
        ]
        .into(),
        ..Descriptor::of(media_type::OCI_MANIFEST, number.to_string().as_bytes())
    };
    index(&(0..count).map(entry).collect::<Vec<_>>())
}

#[tokio::test]
async fn ten_thousand_referrers_in_one_page_are_all_read() {
    let all = records(10_000);
    for has_api in [true, false] {
        let all = all.clone();
        let server = ScriptedRegistry::start(move |arrived| {
            match arrived.line.contains("/referrers/") == has_api {
                true => reply(200, &[INDEX], all.clone()),
                false => reply(404, &[], ""),
            }
        })
        .await;
        let subject = Digest::of(b"subject");
        let listed = client().referrers(&repository(&server.host), &subject, None).await;
        assert_eq!(listed.expect("a list").descriptors.len(), 10_000);
    }
}
