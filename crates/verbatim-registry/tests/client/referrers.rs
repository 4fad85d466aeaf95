//! Listing referrers: "none" and "could not be found out" are never mixed up.

use verbatim_oci::{Descriptor, Digest, media_type};
use verbatim_registry::{ReferrerContent, ReferrersSource};

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
    for status in [400, 402, 404, 405, 406, 409, 410, 415, 418, 422, 451, 501, 505] {
        check((status, "text/plain", "no".into()), none(), "0 by FallbackTag").await;
        check((status, json, "{}".into()), (200, one()), "1 by FallbackTag").await;
    }
    let absent = || (404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#.to_owned());
    // The API may be there, and not be shown: a registry that shows whether the tag is there hides nothing.
    for status in [401, 403] {
        check((status, "text/plain", String::new()), (200, one()), "1 by FallbackTag").await;
        check((status, "text/plain", String::new()), absent(), "0 by FallbackTag").await;
        check((status, "text/plain", String::new()), none(), "unknown").await;
        for refused in [401, 403] {
            check((status, "text/plain", String::new()), (refused, String::new()), "unknown").await;
        }
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
    // A repository that is not there, or that may not be seen, says nothing about its referrers.
    for code in ["NAME_UNKNOWN", "NAME_INVALID", "DENIED", "UNAUTHORIZED"] {
        let refusal = || serde_json::json!({ "errors": [{ "code": code }] }).to_string();
        for status in [400, 401, 403, 404, 405] {
            check((status, json, refusal()), (200, one()), "unknown").await;
            check((status, json, refusal()), absent(), "unknown").await;
        }
        check((404, json, "{}".into()), (404, refusal()), "unknown").await;
        let odd = format!(r#"{{"errors":[{{"code":"{}","message":null}}]}}"#, code.to_lowercase());
        check((404, json, odd.clone()), (200, one()), "unknown").await;
        check((404, json, "{}".into()), (404, odd), "unknown").await;
    }
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
    check((404, json, unknown.into()), (404, unknown.into()), "0 by FallbackTag").await;
    check((200, media_type::OCI_INDEX, "{".into()), none(), "unknown").await;
    check((200, media_type::OCI_INDEX, "{}".into()), none(), "unknown").await;
    check((404, json, String::new()), (200, "{".into()), "unknown").await;
    let image = r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}"#;
    check((404, json, String::new()), (200, image.into()), "unknown").await;
    // Go's empty list.
    check(
        (200, media_type::OCI_INDEX, r#"{"schemaVersion":2,"manifests":null}"#.into()),
        none(),
        "0 by Api",
    )
    .await;
}

/// Registries that read the tag `sha256-HEX` as the digest answer with the subject itself, which is no list; for an index, its
/// images are no referrers.
#[tokio::test]
async fn a_tag_that_answers_its_own_subject_is_no_list() {
    let image = r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}"#;
    for (subject, content_type) in
        [(image.to_owned(), media_type::OCI_MANIFEST), (index(&[entry("a", "x")]), INDEX.1)]
    {
        for api in [404, 403] {
            let body = subject.clone();
            let server = ScriptedRegistry::start(move |arrived| {
                match arrived.line.contains("/referrers/") {
                    true => reply(api, &[], ""),
                    false => reply(200, &[("content-type", content_type)], body.clone()),
                }
            })
            .await;
            let digest = Digest::of(subject.as_bytes());
            let listed = client().referrers(&repository(&server.host), &digest, None).await;
            let listed = listed.expect("a list");
            assert_eq!(
                (listed.descriptors.len(), listed.source),
                (0, ReferrersSource::FallbackTag)
            );
        }
    }
}

/// A registry without the API is asked for it once.
#[tokio::test]
async fn a_registry_without_the_api_is_asked_for_it_once() {
    for status in [401, 403, 404, 405, 501] {
        let server =
            ScriptedRegistry::start(move |arrived| match arrived.line.contains("/referrers/") {
                true => reply(status, &[], ""),
                false => reply(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            })
            .await;
        let client = client();
        for subject in [Digest::of(b"one"), Digest::of(b"two")] {
            let listed = client.referrers(&repository(&server.host), &subject, None).await;
            assert!(listed.expect("a list").descriptors.is_empty());
        }
        let asked = server.lines().iter().filter(|line| line.contains("/referrers/")).count();
        assert_eq!((asked, server.lines().len()), (1, 3), "{status}");
    }
}

/// Some registries link from the last page to itself, or to the first one.
#[tokio::test]
async fn pages_in_a_circle_end_where_they_begin() {
    let subject = Digest::of(b"subject");
    for back in ["?page=2".to_owned(), format!("/v2/example/app/referrers/{subject}")] {
        let target = back.clone();
        let server = ScriptedRegistry::start(move |arrived| {
            let (content, to) = match arrived.line.contains("page=2") {
                true => ("c", target.as_str()),
                false => ("a", "?page=2"),
            };
            let link = format!("<{to}>; rel=\"next\"");
            reply(200, &[INDEX, ("link", &link)], index(&[entry(content, "x")]))
        })
        .await;
        let listed = client().referrers(&repository(&server.host), &subject, None).await;
        let count = listed.expect("a list").descriptors.len();
        assert_eq!((count, server.lines().len()), (2, 2), "{back}");
    }
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

/// Whoever may push can attach any number of them.
#[tokio::test]
async fn referrers_without_end_are_too_many() {
    let page = index(&(0..9000).map(|number| entry(&number.to_string(), "x")).collect::<Vec<_>>());
    let number = std::sync::atomic::AtomicUsize::new(1);
    let server = ScriptedRegistry::start(move |_| {
        let next = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        reply(200, &[INDEX, ("link", &format!("<?page={next}>; rel=next"))], page.clone())
    })
    .await;
    let listed = client().referrers(&repository(&server.host), &Digest::of(b"subject"), None).await;
    let error = listed.expect_err("no end");
    assert_eq!(error.kind().to_string(), "more than 20000 referrers");
    assert_eq!(server.lines().len(), 3);
}

/// What one referrer is must not stop who reads all; what the registry does with it must not hide it.
#[tokio::test]
async fn a_bad_referrer_is_told_from_a_bad_registry() {
    const LIMIT: u64 = 100;
    type Answer = (u16, Option<String>);
    type Layer = Option<(u16, String)>;
    type Case = (String, Answer, Layer, &'static str);
    let layer = |size: usize, content: &str| Descriptor {
        size: size as u64,
        ..Descriptor::of("x", content.as_bytes())
    };
    let manifest = |layers: &[Descriptor]| {
        let config = Descriptor::of(media_type::OCI_EMPTY, b"{}");
        serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string()
    };
    let unknown = |code: &str| serde_json::json!({ "errors": [{ "code": code }] }).to_string();
    let long = "x".repeat(101);
    let ok = |body: &str| Some((200, body.to_owned()));
    let cases: [Case; 13] = [
        (manifest(&[layer(1, "a")]), (200, None), ok("a"), "a"),
        ("{}".into(), (200, None), None, "its manifest is malformed"),
        (
            r#"{"schemaVersion":2,"layers":"x"}"#.into(),
            (200, None),
            None,
            "its manifest is malformed",
        ),
        ("<html>".into(), (200, None), None, "its manifest is malformed"),
        (manifest(&[]), (200, None), None, "it has no content"),
        (manifest(&[layer(101, &long)]), (200, None), None, "its content has more than 100 bytes"),
        // The manifest lies, so it does not matter how much there is.
        (
            manifest(&[layer(9, &long)]),
            (200, None),
            ok(&long),
            "its content has more than 100 bytes",
        ),
        (
            manifest(&[layer(9, "aaa")]),
            (200, None),
            ok("aaa"),
            "its content has 3 bytes, its manifest says 9",
        ),
        (
            manifest(&[layer(1, "a")]),
            (200, None),
            Some((404, unknown("BLOB_UNKNOWN"))),
            "its content is not in the registry",
        ),
        // That may hide a record that counts.
        (
            manifest(&[layer(1, "a")]),
            (200, None),
            Some((404, unknown("NAME_UNKNOWN"))),
            "error: not found",
        ),
        (
            manifest(&[layer(1, "a")]),
            (200, None),
            Some((200, "b".into())),
            "error: the requested digest",
        ),
        (
            manifest(&[layer(1, "a")]),
            (404, Some(unknown("MANIFEST_UNKNOWN"))),
            None,
            "error: not found",
        ),
        (manifest(&[layer(1, "a")]), (200, Some("{}".into())), None, "error: the requested digest"),
    ];
    for (manifest, (status, instead), layer, want) in cases {
        let entry = Descriptor::of(media_type::OCI_MANIFEST, manifest.as_bytes());
        let body = instead.unwrap_or(manifest);
        let server = ScriptedRegistry::start(move |arrived| {
            match (arrived.line.contains("/blobs/"), &layer) {
                (false, _) => reply(status, &[("content-type", "text/plain")], body.clone()),
                (true, Some((status, content))) => reply(*status, &[], content.clone()),
                (true, None) => panic!("asked for {}", arrived.line),
            }
        })
        .await;
        let repository = repository(&server.host);
        let got = match client().referrer_content(&repository, &entry, LIMIT).await {
            Ok(ReferrerContent::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            Ok(ReferrerContent::Unusable(why)) => why.to_string(),
            Err(error) => format!("error: {}", error.kind()),
        };
        assert!(got.starts_with(want), "{got}, want {want}");
    }
    let large = Descriptor { size: 5 << 20, ..Descriptor::of(media_type::OCI_MANIFEST, b"") };
    let nowhere = repository("127.0.0.1:1");
    let got = client().referrer_content(&nowhere, &large, LIMIT).await;
    let Ok(ReferrerContent::Unusable(why)) = got else { panic!("{got:?}") };
    assert_eq!(why.to_string(), "its manifest has 5242880 bytes, more than 4194304");
}
