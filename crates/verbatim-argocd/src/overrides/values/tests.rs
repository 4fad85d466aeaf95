//! Values as they are written, stored and compared: cases, no server.

use super::*;

#[test]
fn kustomize_images_are_known_by_the_name_that_they_replace() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let cases = [
        ("nginx", Some("nginx")),
        ("nginx:1", Some("nginx")),
        ("host:5000/x", Some("host:5000/x")),
        ("host:5000/x:1", Some("host:5000/x")),
        (&*format!("host:5000/x@{digest}"), Some("host:5000/x")),
        (&*format!("host:5000/x:1@{digest}"), Some("host:5000/x")),
        ("web=host:5000/x:1", Some("web")),
        ("host:5000/old=host:5000/new", Some("host:5000/old")),
        ("", None),
        ("=x", None),
        ("x=", None),
        ("a b", None),
        (":1", None),
    ];
    for (text, want) in cases {
        let image = text.parse::<KustomizeImage>().ok();
        assert_eq!(image.as_ref().map(KustomizeImage::name), want, "{text}");
    }
}

#[test]
fn elements_are_compared_by_meaning() {
    let cases = [
        (
            json!({"name":"a","value":"1"}),
            json!({"name":"a","value":"1","forceString":false}),
            true,
        ),
        (json!({"name":"a"}), json!({"name":"a","value":""}), true),
        (
            json!({"name":"a","value":"1"}),
            json!({"name":"a","value":"1","forceString":true}),
            false,
        ),
        (json!("x:1"), json!("x:1"), true),
        (json!("x:1"), json!("x:2"), false),
        (json!("x:1"), json!({"name":"x"}), false),
        (json!({"name":"web","count":2}), json!({"name":"web","count":3}), false),
        (json!({"name":"a","path":"p"}), json!({"name":"a","path":"p"}), true),
        (json!({"name":"a","array":["1"]}), json!({"name":"a","array":["2"]}), false),
    ];
    for (a, b, want) in cases {
        assert_eq!(same_element(&a, &b), want, "{a} {b}");
    }
}

/// With what Helm 3.19 makes of `--set a=VALUE`.
#[test]
fn only_what_helm_types_differs_by_being_forced() {
    let typed = ["true", "FALSE", "null", "0", "7", "-1", "+5", "{a,1}", "$ARGOCD_APP_NAME"];
    let texts = ["", "1.10", "007", "1e5", "v1", "1@sha256:2", "yes", "9223372036854775808"];
    let cases = typed.map(|it| (it, false)).into_iter().chain(texts.map(|it| (it, true)));
    for (value, want) in cases {
        let (text, other) = (parameter("a", value, true), parameter("a", value, false));
        assert_eq!(same_element(&text, &other), want, "{value}");
    }
}

#[test]
fn parts_of_images_are_known_by_their_names() {
    let parts = ["image.tag", "image.Digest", "web.imageTag", "image.sha", "version", "registry"];
    let others = ["ingress.enabled", "replicas", "image.pullPolicy", "tag.enabled"];
    for (names, want) in [(&parts[..], true), (&others, false)] {
        for name in names {
            assert_eq!(is_part_of_image(name), want, "{name}");
        }
    }
}

#[test]
fn typed_parameters_are_stored_as_argo_cd_stores_them() {
    let wanted = OverrideValues {
        helm: [("on", "true"), ("tag", "7")].map(|(a, b)| (a.into(), b.into())).into(),
        typed: ["on".to_owned()].into(),
        ..OverrideValues::default()
    };
    let elements: Vec<Value> = wanted.wanted().map(|(_, element)| element).collect();
    let want = [
        json!({ "name": "on", "value": "true" }),
        json!({ "name": "tag", "value": "7", "forceString": true }),
    ];
    assert_eq!(elements, want);
}

#[test]
fn a_source_that_lost_a_value_says_which() {
    let source = json!({ "repoURL": "r", "helm": { "parameters": [
        { "name": "image.tag", "value": "2", "forceString": true },
        { "name": "twice", "value": "1" }, { "name": "twice", "value": "2" },
        { "name": "on", "value": "true" },
        { "name": "off", "value": "false", "forceString": true },
    ]}});
    let spec = |source: Value| -> crate::model::Application {
        serde_json::from_value(json!({ "spec": { "source": source } })).unwrap()
    };
    let change = |name: &str, value: &str| ValueChange {
        source: SourceAt::Single,
        key: OverrideKey::Helm(name.into()),
        old: None,
        new: parameter(name, value, true),
    };
    let changes = [
        change("image.tag", "2"),
        change("image.tag", "3"),
        change("gone", "1"),
        change("twice", "1"),
        change("on", "true"),
        ValueChange { new: parameter("off", "false", false), ..change("off", "") },
    ];
    let found: Vec<_> =
        deviations(spec(source).spec.sources(), &changes).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "helm:image.tag is 2, wrote 3",
            "helm:gone is (absent), wrote 1",
            "helm:twice is there more than once, wrote 1",
            "helm:on is true (without forceString), wrote true",
            "helm:off is false (with forceString), wrote false",
        ]
    );
    assert_eq!(deviations(spec(Value::Null).spec.sources(), &changes[..1]).len(), 1);
}

#[test]
fn digests_are_found_in_values() {
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let wanted = OverrideValues {
        helm: [
            ("image.tag".to_owned(), format!("1@{a}")),
            ("image.digest".to_owned(), a.to_string()),
        ]
        .into(),
        kustomize: vec![format!("web=x/y@{b}").parse().unwrap(), "z:sha256:12".parse().unwrap()],
        ..OverrideValues::default()
    };
    assert_eq!(wanted.digests(), [a, b]);
    // A chart that writes `@sha256:` itself takes the digits alone; beside a whole digest they may be any hash.
    let bare = |digest: Digest| ("image.sha".to_owned(), digest.hex());
    let only = OverrideValues { helm: [bare(b)].into(), ..OverrideValues::default() };
    assert_eq!((only.digests(), only.likely_digests()), (vec![b], vec![b]));
    let both = OverrideValues {
        helm: [bare(b), ("image.digest".to_owned(), a.to_string())].into(),
        ..OverrideValues::default()
    };
    assert_eq!((both.digests(), both.likely_digests()), (vec![a, b], vec![a]));
}
