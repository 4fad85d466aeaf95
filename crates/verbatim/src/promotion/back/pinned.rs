//! Which images the values of an application pin, read back from what the templates of the configuration made of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use verbatim_argocd::{OverrideKey, PastValue, PastValues, SourceAt, ValueChange};
use verbatim_oci::{Digest, Tag};

use crate::config::{Set, Template};

/// Stands in a value where no tag was known.
const NO_TAG: &str = "untagged";

/// An image as values pin it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub digest: Digest,
    /// The tag that stands beside it.
    pub tag: Option<Tag>,
}

/// Images by their names in the configuration.
pub(super) type Pins = BTreeMap<String, Pin>;

/// Values that stand in an application or did, and the images that they pin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    pub past: PastValues,
    pub pins: Pins,
}

/// The templates of the values of an application, by source and key.
pub(super) type Templates = BTreeMap<(SourceAt, OverrideKey), Template>;

/// The template of a value of a source.
pub(super) fn template<'a>(set: &'a Set, key: &OverrideKey) -> Option<&'a Template> {
    match key {
        OverrideKey::Helm(name) => set.helm.get(name),
        OverrideKey::Kustomize(name) => set.kustomize.get(name),
        _ => None,
    }
}

/// The images that the values of an application are made from; `only` is the name of the only one.
pub(super) fn carried(templates: &Templates, only: Option<&str>) -> BTreeSet<String> {
    templates.values().flat_map(|template| pinned_by(template, only)).collect()
}

/// Values with the images that they pin, if they are of the shape that the configuration gives them: a value may have
/// been written by hand, or under another configuration.
pub(super) fn read(templates: &Templates, only: Option<&str>, past: PastValues) -> Option<Values> {
    let mut pins = Pins::new();
    let mut tags: BTreeMap<String, Tag> = BTreeMap::new();
    for PastValue { source, key, text, .. } in &past.values {
        let template = templates.get(&(*source, key.clone()))?;
        let names = pinned_by(template, only);
        let mut found = found(text);
        if found.len() < names.len() && writes_hex(template) {
            found = found_hex(text);
        }
        if names.len() != found.len() {
            return None;
        }
        for (name, (digest, tag)) in names.into_iter().zip(found) {
            if let Some(tag) = tag {
                tags.entry(name.clone()).or_insert(tag);
            }
            let pin = pins.entry(name).or_insert(Pin { digest, tag: None });
            if pin.digest != digest {
                return None;
            }
        }
        if let Some((name, tag)) = whole_tag(template, only).zip(text.parse().ok()) {
            tags.entry(name).or_insert(tag);
        }
    }
    for (name, pin) in &mut pins {
        pin.tag = tags.remove(name).filter(|tag| tag.as_str() != NO_TAG);
    }
    Some(Values { past, pins })
}

/// The values that some changes replace, as if they had been deployed.
pub(super) fn replaced(changes: &[ValueChange]) -> PastValues {
    let values = changes.iter().map(PastValue::before).collect();
    PastValues { id: 0, deployed_at: None, values }
}

/// The images whose digests a template writes, in their order.
fn pinned_by(template: &Template, only: Option<&str>) -> Vec<String> {
    let image = |variable: &str| match variable.rsplit_once('.') {
        Some((image, "digest" | "hex" | "reference")) => Some(image.to_owned()),
        None if matches!(variable, "digest" | "hex" | "reference") => only.map(str::to_owned),
        _ => None,
    };
    template.variables().filter_map(image).collect()
}

/// The image whose tag is all that a template writes.
fn whole_tag(template: &Template, only: Option<&str>) -> Option<String> {
    let variable = template.as_str().strip_prefix("${")?.strip_suffix('}')?;
    match variable.rsplit_once('.') {
        Some((image, "tag")) => Some(image.to_owned()),
        None if variable == "tag" => only.map(str::to_owned),
        _ => None,
    }
}

/// Every digest in a text, with the tag before it: `[repository:]tag@digest`.
fn found(text: &str) -> Vec<(Digest, Option<Tag>)> {
    let digest_at = |at: usize| text.get(at..at + 71)?.parse::<Digest>().ok();
    let digests = text.match_indices("sha256:").filter_map(|(at, _)| Some((at, digest_at(at)?)));
    digests.map(|(at, digest)| (digest, text.get(..at).and_then(tag_before))).collect()
}

/// Whether a template writes a digest without its algorithm.
fn writes_hex(template: &Template) -> bool {
    template.variables().any(|variable| variable.rsplit('.').next() == Some("hex"))
}

/// Every digest in a text, with or without its algorithm; the tag before it, if it has one.
fn found_hex(text: &str) -> Vec<(Digest, Option<Tag>)> {
    let parts = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let digest = |part: &str| {
        let part = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        format!("sha256:{part}").parse::<Digest>().ok()
    };
    let starts = parts.scan(0, |end, part| {
        let at = *end;
        *end += part.len();
        Some((at, part))
    });
    let found = starts.filter_map(|(at, part)| Some((at, digest(part)?)));
    let before = |at: usize| {
        let before = text.get(..at)?;
        tag_before(before.strip_suffix("sha256:").unwrap_or(before))
    };
    found.map(|(at, digest)| (digest, before(at))).collect()
}

fn tag_before(text: &str) -> Option<Tag> {
    let before = text.strip_suffix('@')?;
    let tag = before.rsplit([':', '=']).next()?;
    tag.parse().ok().filter(|_| !tag.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_stands_before_the_digest() {
        let digest = Digest::of(b"x");
        let cases = [
            (format!("7.abc@{digest}"), vec![Some("7.abc")]),
            (format!("web=registry.example:5000/shop:7.abc@{digest}"), vec![Some("7.abc")]),
            (format!("registry.example:5000/shop@{digest}"), vec![None]),
            (digest.to_string(), vec![None]),
            (format!("1@{digest} 2@{digest}"), vec![Some("1"), None]),
            ("7.abc".to_owned(), vec![]),
            ("sha256:7abc".to_owned(), vec![]),
        ];
        for (text, want) in cases {
            let got = found(&text).into_iter().map(|(_, tag)| tag.map(|tag| tag.to_string()));
            let want: Vec<_> = want.into_iter().map(|tag| tag.map(str::to_owned)).collect();
            assert_eq!(got.collect::<Vec<_>>(), want, "{text}");
        }
    }

    fn helm(key: &str) -> OverrideKey {
        OverrideKey::Helm(key.to_owned())
    }

    fn set(templates: &[(&str, &str)]) -> Templates {
        let of =
            |(key, text): &(&str, &str)| ((SourceAt::Single, helm(key)), text.parse().unwrap());
        templates.iter().map(of).collect()
    }

    fn past(values: &[(&str, String)]) -> PastValues {
        let value = |(key, text): &(&str, String)| PastValue {
            source: SourceAt::Single,
            key: helm(key),
            text: text.clone(),
            is_typed: false,
        };
        PastValues { id: 1, deployed_at: None, values: values.iter().map(value).collect() }
    }

    #[test]
    fn images_are_read_back_from_values() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let told = |set: &Templates, values: &[(&str, String)]| {
            read(set, Some("app"), past(values)).map(|values| {
                let pins = values.pins.into_iter();
                pins.map(|(name, pin)| {
                    let tag = pin.tag.map_or_else(|| "-".to_owned(), |tag| tag.to_string());
                    format!("{name} {tag} {}", if pin.digest == a { "a" } else { "b" })
                })
                .collect::<Vec<_>>()
            })
        };
        let one = set(&[("tag", "${tag}@${digest}"), ("name", "${repository}")]);
        let name = ("name", "r.example/app".to_owned());
        let check = |set: &Templates, values: &[(&str, String)], want: Option<&[&str]>| {
            let want = want.map(|want| want.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
            assert_eq!(told(set, values), want, "{values:?}");
        };
        check(&one, &[("tag", format!("1@{a}")), name.clone()], Some(&["app 1 a"]));
        check(&one, &[("tag", format!("untagged@{a}")), name.clone()], Some(&["app - a"]));
        // By hand, or under another configuration.
        check(&one, &[("tag", "1".to_owned()), name.clone()], None);
        check(&one, &[("tag", format!("1@{a}")), ("name", b.to_string())], None);
        check(&one, &[("other", format!("1@{a}"))], None);
        let apart = set(&[("tag", "${app.tag}"), ("digest", "${app.digest}")]);
        check(&apart, &[("tag", "7".to_owned()), ("digest", a.to_string())], Some(&["app 7 a"]));
        let hex = |digest: &Digest| digest.hex();
        let of_hex = set(&[("tag", "${tag}"), ("sha", "${hex}")]);
        check(&of_hex, &[("tag", "7".to_owned()), ("sha", hex(&a))], Some(&["app 7 a"]));
        check(&of_hex, &[("tag", "7".to_owned()), ("sha", "7".to_owned())], None);
        let joined = set(&[("x", "${tag}@sha256:${hex}"), ("y", "sha-${app.hex}")]);
        let values = [("x", format!("7@{a}")), ("y", format!("sha-{}", hex(&a)))];
        check(&joined, &values, Some(&["app 7 a"]));
        check(&joined, &[("x", format!("7@{a}")), ("y", format!("sha-{}", hex(&b)))], None);
        let several = set(&[("app", "${app.reference}"), ("web", "${web.tag}@${web.digest}")]);
        let values = [("app", format!("r.example/app:1@{a}")), ("web", format!("2@{b}"))];
        check(&several, &values, Some(&["app 1 a", "web 2 b"]));
        assert_eq!(carried(&several, None), BTreeSet::from(["app".to_owned(), "web".to_owned()]));
        // One image with two digests is none.
        let twice = set(&[("x", "${app.digest}"), ("y", "${app.digest}")]);
        check(&twice, &[("x", a.to_string()), ("y", b.to_string())], None);
        check(&twice, &[("x", a.to_string()), ("y", a.to_string())], Some(&["app - a"]));
    }
}
