//! The targets, in the order of their names.

use std::collections::BTreeMap;
use std::str::from_utf8;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use url::Url;
use verbatim_argocd::{Application, read_claim, read_claims};
use verbatim_image::template::Template;
use verbatim_oci::{Digest, Manifest, Platform, Reference, Repository, Tag};
use verbatim_policy::{Condition, Window, WindowKind, ZonedWindow, is_open, next_opening};
use verbatim_record::{Anchor, Bundle, EnvironmentId, SigningKey, VerifyingKey};

/// A time in a month with a change of the clocks.
fn now() -> Timestamp {
    Timestamp::from_second(1_774_700_000).unwrap_or_default()
}

pub(crate) fn bundle(input: &[u8]) {
    if let Ok(bundle) = Bundle::read(input.to_vec()) {
        assert_eq!(bundle.bytes(), input, "the bytes that were read are those that are kept");
        assert_eq!(bundle.digest(), Digest::of(input));
    }
    if let Ok(text) = from_utf8(input) {
        let _ = (SigningKey::from_pem(text), VerifyingKey::from_pem(text));
    }
}

pub(crate) fn challenge(input: &[u8]) {
    if let Some((challenges, parameters)) = verbatim_registry::fuzzing::challenge(input) {
        // A challenge has a word, a parameter a `=`.
        assert!(challenges <= input.len());
        assert!(parameters <= input.iter().filter(|byte| **byte == b'=').count());
    }
}

pub(crate) fn claim(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let name = "verbatim.dev/claim.shop.dev";
    let app = json!({ "metadata": { "name": "shop", "annotations": { name: text, "verbatim.dev/claim": text } } });
    let Ok(app) = serde_json::from_value::<Application>(app) else { return };
    let _ = (read_claim(&app, Some("shop/dev")), read_claim(&app, None));
    for claim in read_claims(&app) {
        let written = serde_json::to_string(&claim).unwrap_or_default();
        let again: Value = serde_json::from_str(&written).unwrap_or_default();
        assert_eq!(
            serde_json::to_value(&claim).ok(),
            Some(again),
            "a claim is written as it was read"
        );
    }
    let _ = text.parse::<Anchor>().map(|anchor| {
        assert_eq!(anchor.to_string().parse::<Anchor>().ok().as_ref(), Some(&anchor));
    });
    let _ = text.parse::<EnvironmentId>().map(|environment| {
        assert_eq!(
            environment.to_string().parse::<EnvironmentId>().ok().as_ref(),
            Some(&environment)
        );
    });
}

pub(crate) fn condition(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let Ok(condition) = Condition::parse(text, &["release", "builds"]) else { return };
    let variables = BTreeMap::from([
        (
            "release".to_owned(),
            json!({ "digest": "sha256:00", "images": { "app": { "tag": "1.2" } } }),
        ),
        ("builds".to_owned(), json!([{ "branch": "main", "tests": [1, 2.5, "x", null] }])),
    ]);
    assert!(condition.variables().iter().all(|name| name == "now" || variables.contains_key(name)));
    let _ = condition.holds(&variables, now());
}

pub(crate) fn configuration(input: &[u8]) {
    if let Ok(text) = from_utf8(input) {
        verbatim::fuzzing::configuration(text);
    }
}

pub(crate) fn docker_config(input: &[u8]) {
    let _ =
        verbatim_credentials::fuzzing::docker_config(input, "registry.example:5000", "shop/app");
    let _ = verbatim_credentials::fuzzing::docker_config(input, "docker.io", "library/busybox");
}

pub(crate) fn dockerfile(input: &[u8]) {
    if let Ok(text) = from_utf8(input) {
        // Each base has a word of its own.
        assert!(verbatim_image::fuzzing::dockerfile(text) <= input.len());
    }
}

pub(crate) fn dockerignore(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let (path, file) = text.split_once('\n').unwrap_or((text, ""));
    let path = path.trim_matches('/');
    if path.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return;
    }
    let lost = verbatim_image::fuzzing::lost_folder(file, path);
    assert_eq!(lost, None, "{path:?} is kept by {file:?}, and this folder above it is not entered");
}

pub(crate) fn link(input: &[u8]) {
    let Ok(current) = "https://registry.example/v2/a/tags/list?n=10".parse::<Url>() else { return };
    if let Some(next) = verbatim_registry::fuzzing::link(input, &current) {
        assert_eq!(next.origin(), current.origin(), "a login goes to no other server");
    }
}

pub(crate) fn manifest(input: &[u8]) {
    let known = Manifest::parse(input, None);
    for content_type in
        ["application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"]
    {
        if let (Ok(known), Ok(told)) = (&known, Manifest::parse(input, Some(content_type))) {
            let is_index = |manifest: &Manifest| matches!(manifest, Manifest::Index(_));
            let names_itself =
                serde_json::from_slice::<Value>(input).is_ok_and(|it| it["mediaType"].is_string());
            assert!(!names_itself || is_index(known) == is_index(&told), "a document is one thing");
        }
    }
}

pub(crate) fn plan(input: &[u8]) {
    if let Ok(text) = from_utf8(input) {
        verbatim::fuzzing::plan(text);
    }
}

pub(crate) fn reference(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    reads_what_it_prints::<Reference>(text);
    reads_what_it_prints::<Repository>(text);
    reads_what_it_prints::<Tag>(text);
    reads_what_it_prints::<Digest>(text);
    reads_what_it_prints::<Platform>(text);
}

/// What was read is printed so that it is read as the same.
fn reads_what_it_prints<T>(text: &str)
where
    T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug,
{
    if let Ok(read) = text.parse::<T>() {
        let printed = read.to_string();
        assert_eq!(printed.parse::<T>().ok(), Some(read), "{text:?} is printed as {printed:?}");
    }
}

pub(crate) fn referrers(input: &[u8]) {
    if let Some(entries) = verbatim_registry::fuzzing::referrers(input) {
        assert!(entries <= input.len());
    }
}

pub(crate) fn statement(input: &[u8]) {
    assert!(verbatim_record::fuzzing::statement(input) <= 1, "a statement is of one type");
}

pub(crate) fn template(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let Ok(template) = text.parse::<Template>() else { return };
    assert_eq!(template.as_str(), text);
    let rendered = template.render(|_| Some("x")).unwrap_or_default();
    assert!(rendered.len() <= text.len(), "a name is longer than x");
    let _ = template.render_tag(|name| (name != "none").then_some("1.2"));
}

pub(crate) fn windows(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let Ok(window) = text.parse::<Window>() else { return };
    let printed = window.to_string();
    assert_eq!(printed.parse::<Window>().ok().as_ref(), Some(&window));
    let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
    let zoned = |kind| ZonedWindow {
        kind,
        window: window.clone(),
        zone_name: String::new(),
        zone: zone.clone(),
    };
    for kind in [WindowKind::Allow, WindowKind::Deny] {
        let windows = [zoned(kind)];
        if let Some(opening) = next_opening(&windows, now()) {
            assert!(opening > now() && is_open(&windows, opening), "{printed} opens at {opening}");
        }
    }
}
