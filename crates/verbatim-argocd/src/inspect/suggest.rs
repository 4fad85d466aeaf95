//! From what a source offers to the override that would pin an image in it, for a configuration that is only begun. It
//! guesses by the names that charts use; whether the manifests then show the digest, every deployment checks. Pure: what
//! the application is and what its chart lists is given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use thiserror::Error;
use verbatim_oci::{Reference, Repository};

use crate::model::{AppDetails, AppSource, Application};
use crate::overrides::values::{KustomizeImage, bare_digest};

/// What of a release a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePart {
    /// `host[:port]`.
    Registry,
    /// The repository without its registry.
    Path,
    /// The whole repository.
    Repository,
    /// The tag alone, beside a digest.
    Tag,
    /// The digest alone.
    Digest,
    /// The digest without its algorithm, where a chart puts `@sha256:` before it.
    Hex,
    /// `tag@digest`, where a chart puts a `:` before it.
    TagAndDigest,
    /// `repository:tag@digest`.
    Reference,
}

/// The values that would pin one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SuggestedPins {
    /// Helm parameters.
    Helm(BTreeMap<String, ImagePart>),
    /// The name in the manifests that a whole reference replaces.
    Kustomize(String),
}

/// An override for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The image's repository.
    pub repository: Repository,
    /// What is to be written.
    pub pins: SuggestedPins,
    /// Whether the source names this image already. Otherwise it is the only one that it could mean.
    pub is_named: bool,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoSuggestion {
    /// The source takes no values, or none of ours.
    #[error("a source of the kind {0} takes no value that names an image")]
    Kind(String),
    /// Nothing in it looks like an image.
    #[error("its values name no image in a way that is known here{}", listed(.0))]
    Nothing(Vec<String>),
    /// Several images, and it is not said which.
    #[error("it has several images: {}", joined(.0))]
    Several(Vec<Repository>),
    /// Not the image that is meant.
    #[error("it has no image {wanted}, but {}", joined(.has))]
    Other {
        /// Which is meant.
        wanted: Repository,
        /// What it has.
        has: Vec<Repository>,
    },
}

fn joined(all: &[Repository]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("; these come near: {}", names.join(", "))
    }
}

/// How one image is named among Helm parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ImageParameters {
    pins: BTreeMap<String, ImagePart>,
    /// What it names today, if that can be told.
    repository: Option<Repository>,
}

/// Suggests an override that pins `image` in a source of `app`; without one, the only image that it has.
///
/// `kind` is what Argo CD calls the source, `details` what the chart of a Helm source lists.
///
/// # Errors
/// [`NoSuggestion`]: it takes none, or it cannot be told which values are meant.
pub fn suggest(
    app: &Application,
    source: &AppSource,
    kind: &str,
    details: Option<&AppDetails>,
    image: Option<&Repository>,
) -> Result<Suggestion, NoSuggestion> {
    let live = live(app);
    match kind {
        "Helm" => helm(&parameters(source, details), &live, image),
        "Kustomize" => kustomize(source, &live, image),
        other => Err(NoSuggestion::Kind(other.to_owned())),
    }
}

/// The repositories that run, and what the manifests call them.
type RunningImages = BTreeMap<Repository, String>;

fn live(app: &Application) -> RunningImages {
    let named = |image: &String| {
        let repository = image.parse::<Reference>().ok()?.repository;
        Some((repository, image.parse::<KustomizeImage>().ok()?.name().to_owned()))
    };
    app.status.summary.images.iter().filter_map(named).collect()
}

/// The chart's values and those of files, under what the application sets.
fn parameters(source: &AppSource, details: Option<&AppDetails>) -> BTreeMap<String, String> {
    let chart = details.and_then(|details| details.helm.as_ref());
    let listed = chart.iter().flat_map(|helm| &helm.parameters);
    let text = |element: &Value, field: &str| element.get(field)?.as_str().map(str::to_owned);
    let own = source.helm_parameters().iter().filter_map(|element| {
        Some((text(element, "name")?, text(element, "value").unwrap_or_default()))
    });
    let mut all: BTreeMap<String, String> =
        listed.map(|parameter| (parameter.name.clone(), parameter.value.clone())).collect();
    // In the order in which Argo CD lets them win.
    let text_of_values = source.0.pointer("/helm/values").and_then(Value::as_str);
    let inline = text_of_values.and_then(|text| serde_saphyr::from_str::<Value>(text).ok());
    for values in [inline.as_ref(), source.0.pointer("/helm/valuesObject")].into_iter().flatten() {
        flatten("", values, &mut all);
    }
    all.extend(own);
    all
}

/// Values as parameters are named.
fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, into);
            }
        }
        Value::String(text) => drop(into.insert(name.to_owned(), text.clone())),
        // Nothing else is a part of an image's name, but for tags that somebody forgot to quote.
        other => drop(into.insert(name.to_owned(), other.to_string())),
    }
}

fn helm(
    parameters: &BTreeMap<String, String>,
    live: &RunningImages,
    image: Option<&Repository>,
) -> Result<Suggestion, NoSuggestion> {
    let groups = groups(parameters);
    if groups.is_empty() {
        let ends_like_one = |name: &&String| {
            let last = last(name).to_lowercase();
            ["image", "tag", "digest", "repo"].iter().any(|word| last.contains(word))
        };
        return Err(NoSuggestion::Nothing(
            parameters.keys().filter(ends_like_one).cloned().collect(),
        ));
    }
    let named: BTreeSet<&Repository> =
        groups.iter().filter_map(|group| group.repository.as_ref()).collect();
    let running: BTreeSet<&Repository> = live.keys().collect();
    let both: Vec<&Repository> = named.intersection(&running).copied().collect();
    let owned = |all: BTreeSet<&Repository>| all.into_iter().cloned().collect::<Vec<_>>();
    let wanted = match (image, &both[..], running.first(), &groups[..]) {
        (Some(image), ..) => image,
        (None, [only], ..) => only,
        // What the values of the only one are may come from where we cannot look, as a file of values; then it is what runs.
        (None, [], Some(only), [_]) if running.len() == 1 => *only,
        (None, [], None, [ImageParameters { repository: Some(only), .. }]) => only,
        (None, [], None, _) => return Err(NoSuggestion::Several(owned(named))),
        (None, [], ..) => return Err(NoSuggestion::Several(owned(running))),
        (None, several, ..) => {
            return Err(NoSuggestion::Several(several.iter().copied().cloned().collect()));
        }
    };
    let of_it: Vec<&ImageParameters> =
        groups.iter().filter(|group| group.repository.as_ref() == Some(wanted)).collect();
    let is_named = !of_it.is_empty();
    let chosen = match (&of_it[..], &groups[..]) {
        ([], [only]) => vec![only],
        ([], _) => {
            return Err(NoSuggestion::Other { wanted: wanted.clone(), has: owned(named) });
        }
        (several, _) => several.to_vec(),
    };
    let pins = chosen.into_iter().flat_map(|group| group.pins.clone()).collect();
    Ok(Suggestion { repository: wanted.clone(), pins: SuggestedPins::Helm(pins), is_named })
}

/// Every image that the parameters name: by a repository with a tag or a digest beside it, or by one whole reference.
fn groups(parameters: &BTreeMap<String, String>) -> Vec<ImageParameters> {
    parameters.keys().filter_map(|name| group(parameters, name)).collect()
}

/// The image whose repository, or whose whole reference, this parameter is.
fn group(parameters: &BTreeMap<String, String>, name: &str) -> Option<ImageParameters> {
    let beside = |sibling: &str| {
        let stem = &name[..name.len() - last(name).len()];
        let sibling = format!("{stem}{sibling}");
        parameters.contains_key(&sibling).then_some(sibling)
    };
    let of_image =
        || name.rsplit('.').nth(1).is_some_and(|parent| parent.to_lowercase().ends_with("image"));
    let value = parameters.get(name)?;
    // Of a value without a tag, something that we do not know of may be put behind it.
    let has_tag = |whole: &Reference| whole.tag.is_some() || whole.digest.is_some();
    let whole = value.parse::<Reference>().ok().filter(has_tag);
    let tag = match last(name) {
        // Some charts put a reference together from more parts than there are words for here.
        "repository" if beside("name").or_else(|| beside("username")).is_some() => return None,
        "repository" => beside("tag"),
        // Among other things, many objects have a name.
        "name" if beside("repository").is_none() && of_image() => Some(beside("tag")?),
        "image" => {
            let version = || whole.is_none().then(|| beside("version")).flatten();
            beside("tag").or_else(|| beside("imageTag")).or_else(version)
        }
        _ => return None,
    };
    let digest = digest_beside(parameters, &beside);
    if tag.is_none() && digest.is_none() {
        let repository = whole.filter(|_| last(name) == "image")?.repository;
        let pins = BTreeMap::from([(name.to_owned(), ImagePart::Reference)]);
        return Some(ImageParameters { pins, repository: Some(repository) });
    }
    let registry = beside("registry");
    let named = registry.as_ref().and_then(|registry| parameters.get(registry));
    let full = match named.filter(|registry| !registry.is_empty()) {
        Some(registry) => format!("{registry}/{value}"),
        None => value.clone(),
    };
    let path = if registry.is_some() { ImagePart::Path } else { ImagePart::Repository };
    let mut pins = BTreeMap::from([(name.to_owned(), path)]);
    pins.extend(registry.map(|registry| (registry, ImagePart::Registry)));
    let tagged = if digest.is_some() { ImagePart::Tag } else { ImagePart::TagAndDigest };
    pins.extend(tag.map(|tag| (tag, tagged)));
    pins.extend(digest);
    Some(ImageParameters { pins, repository: full.parse().ok() })
}

/// The parameter beside a repository that takes the digest, and in which form. What stands in it tells more than its name.
fn digest_beside(
    parameters: &BTreeMap<String, String>,
    beside: &impl Fn(&str) -> Option<String>,
) -> Option<(String, ImagePart)> {
    let usual = [
        ("digest", ImagePart::Digest),
        ("imageDigest", ImagePart::Digest),
        ("sha", ImagePart::Hex),
        ("sha256", ImagePart::Hex),
        ("imageSha", ImagePart::Hex),
    ];
    let (name, usual) = usual.into_iter().find_map(|(name, part)| Some((beside(name)?, part)))?;
    let form = match parameters.get(&name).map(String::as_str) {
        Some(value) if value.starts_with("sha256:") => ImagePart::Digest,
        Some(value) if bare_digest(value).is_some() => ImagePart::Hex,
        _ => usual,
    };
    Some((name, form))
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn kustomize(
    source: &AppSource,
    live: &RunningImages,
    image: Option<&Repository>,
) -> Result<Suggestion, NoSuggestion> {
    // What an entry replaces, and what by.
    let replaced: BTreeMap<Repository, String> = source
        .kustomize_images()
        .iter()
        .filter_map(|entry| {
            let text = entry.as_str()?;
            let name = text.parse::<KustomizeImage>().ok()?.name().to_owned();
            let new = text.split_once('=').map_or(text, |(_, new)| new);
            Some((new.parse::<Reference>().ok()?.repository, name))
        })
        .collect();
    let all: BTreeSet<&Repository> = live.keys().chain(replaced.keys()).collect();
    let repository = match (image, all.first(), all.len()) {
        (Some(image), ..) => image,
        (None, Some(only), 1) => *only,
        (None, None, _) => return Err(NoSuggestion::Nothing(Vec::new())),
        (None, ..) => return Err(NoSuggestion::Several(all.into_iter().cloned().collect())),
    };
    let known = replaced.get(repository).or_else(|| live.get(repository));
    // Of one that nobody mentions, the manifests may still name what it is to replace.
    let name = match (known, live.values().next(), live.len()) {
        (Some(name), ..) => name.clone(),
        (None, Some(only), 1) if replaced.is_empty() => only.clone(),
        _ if all.is_empty() => return Err(NoSuggestion::Nothing(Vec::new())),
        _ => {
            let (wanted, has) = (repository.clone(), all.into_iter().cloned().collect());
            return Err(NoSuggestion::Other { wanted, has });
        }
    };
    let (repository, is_named) = (repository.clone(), known.is_some());
    Ok(Suggestion { repository, pins: SuggestedPins::Kustomize(name), is_named })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{HelmDetails, Info};

    const HEX: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn parameters(listed: &[(&str, &str)]) -> BTreeMap<String, String> {
        listed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn live_of(images: &[&str]) -> RunningImages {
        let mut app = Application::default();
        app.status.summary.images = images.iter().map(|image| (*image).to_owned()).collect();
        live(&app)
    }

    fn repository(text: &str) -> Repository {
        text.parse().expect("a repository")
    }

    /// Every shape of chart: its values, and what is written into which.
    #[test]
    fn charts_are_understood_by_the_names_of_their_values() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [(&'a str, ImagePart)]);
        let cases: &[Case<'_>] = &[
            (
                &[("image.repository", "r.example/shop"), ("image.tag", "1"), ("replicas", "2")],
                "r.example/shop",
                &[
                    ("image.repository", ImagePart::Repository),
                    ("image.tag", ImagePart::TagAndDigest),
                ],
            ),
            (
                &[("image.repository", "r.example/shop"), ("image.tag", ""), ("image.digest", "")],
                "r.example/shop",
                &[
                    ("image.repository", ImagePart::Repository),
                    ("image.tag", ImagePart::Tag),
                    ("image.digest", ImagePart::Digest),
                ],
            ),
            (
                &[
                    ("image.registry", "r.example"),
                    ("image.repository", "a/shop"),
                    ("image.tag", "1"),
                ],
                "r.example/a/shop",
                &[
                    ("image.registry", ImagePart::Registry),
                    ("image.repository", ImagePart::Path),
                    ("image.tag", ImagePart::TagAndDigest),
                ],
            ),
            (
                &[("image.registry", ""), ("image.repository", "a/shop"), ("image.digest", "")],
                "docker.io/a/shop",
                &[
                    ("image.registry", ImagePart::Registry),
                    ("image.repository", ImagePart::Path),
                    ("image.digest", ImagePart::Digest),
                ],
            ),
            // Charts that write `@sha256:` themselves: of Grafana, of the Prometheus operator.
            (
                &[("image.repository", "r.example/shop"), ("image.tag", "1"), ("image.sha", "")],
                "r.example/shop",
                &[
                    ("image.repository", ImagePart::Repository),
                    ("image.tag", ImagePart::Tag),
                    ("image.sha", ImagePart::Hex),
                ],
            ),
            (
                &[("image.repository", "r.example/shop"), ("image.digest", HEX)],
                "r.example/shop",
                &[("image.repository", ImagePart::Repository), ("image.digest", ImagePart::Hex)],
            ),
            (
                &[("image.repository", "r.example/shop"), ("image.sha", "sha256:ab")],
                "r.example/shop",
                &[("image.repository", ImagePart::Repository), ("image.sha", ImagePart::Digest)],
            ),
            (
                &[("image", "r.example/shop:1")],
                "r.example/shop",
                &[("image", ImagePart::Reference)],
            ),
            (
                &[("web.image", "shop:1")],
                "docker.io/library/shop",
                &[("web.image", ImagePart::Reference)],
            ),
            (
                &[("web.image", "shop"), ("web.version", "1")],
                "docker.io/library/shop",
                &[("web.image", ImagePart::Repository), ("web.version", ImagePart::TagAndDigest)],
            ),
            (
                &[("web.image", "shop:1"), ("web.version", "the product's own")],
                "docker.io/library/shop",
                &[("web.image", ImagePart::Reference)],
            ),
            (
                &[("image", "r.example/shop"), ("imageTag", "1")],
                "r.example/shop",
                &[("image", ImagePart::Repository), ("imageTag", ImagePart::TagAndDigest)],
            ),
            (
                &[
                    ("image.name", "r.example/shop"),
                    ("image.tag", "1"),
                    ("serviceAccount.name", "x"),
                ],
                "r.example/shop",
                &[("image.name", ImagePart::Repository), ("image.tag", ImagePart::TagAndDigest)],
            ),
            // Two containers of one image are pinned together, and another one's values are let alone.
            (
                &[
                    ("web.image.repository", "r.example/shop"),
                    ("web.image.tag", "1"),
                    ("job.image.repository", "r.example/shop"),
                    ("job.image.tag", "1"),
                    ("redis.image.repository", "redis"),
                    ("redis.image.tag", "7"),
                ],
                "r.example/shop",
                &[
                    ("web.image.repository", ImagePart::Repository),
                    ("web.image.tag", ImagePart::TagAndDigest),
                    ("job.image.repository", ImagePart::Repository),
                    ("job.image.tag", ImagePart::TagAndDigest),
                ],
            ),
        ];
        for (listed, want, pins) in cases {
            let wanted = repository(want);
            let found = helm(&parameters(listed), &live_of(&[]), Some(&wanted));
            let pins = pins.iter().map(|(name, part)| ((*name).to_owned(), *part)).collect();
            let pins = SuggestedPins::Helm(pins);
            let want = Suggestion { repository: wanted, pins, is_named: true };
            assert_eq!(found, Ok(want), "{listed:?}");
        }
    }

    #[test]
    fn the_image_is_the_one_that_is_named_or_runs_or_is_alone() {
        let two: &[_] = &[
            ("image.repository", "r.example/shop"),
            ("image.tag", "1"),
            ("redis.image.repository", "redis"),
            ("redis.image.tag", "7"),
        ];
        let one = &two[..2];
        let (shop, redis) = ("r.example/shop", "docker.io/library/redis");
        type Case<'a> = (
            &'a [(&'a str, &'a str)],
            &'a [&'a str],
            Option<&'a str>,
            Result<&'a str, &'a [&'a str]>,
        );
        let cases: [Case<'_>; 8] = [
            (one, &[], None, Ok(shop)),
            // What runs tells more than the chart's own default.
            (one, &["other:1"], None, Ok("docker.io/library/other")),
            (one, &["other:1", "redis:7"], None, Err(&["docker.io/library/other", redis])),
            // It moves to another registry.
            (one, &[], Some("r.example/else"), Ok("r.example/else")),
            (two, &["r.example/shop:1@"], None, Err(&[redis, shop])),
            (two, &["r.example/shop:1"], None, Ok(shop)),
            (two, &["r.example/shop:1", "redis:7"], None, Err(&[redis, shop])),
            (two, &[], Some("r.example/else"), Err(&[redis, shop])),
        ];
        for (listed, live, image, want) in cases {
            let image = image.map(repository);
            let found = helm(&parameters(listed), &live_of(live), image.as_ref());
            let found = found.map(|suggestion| suggestion.repository);
            let want = want.map(repository).map_err(|all| {
                let has = all.iter().map(|one| repository(one)).collect();
                match image.clone() {
                    Some(wanted) => NoSuggestion::Other { wanted, has },
                    None => NoSuggestion::Several(has),
                }
            });
            assert_eq!(found, want, "{listed:?} {live:?} {image:?}");
        }
    }

    #[test]
    fn what_no_rule_fits_is_said_with_what_comes_near() {
        let split = [
            ("image.registry", "r.example"),
            ("image.username", "acme"),
            ("image.repository", "team"),
            ("image.name", "shop"),
            ("image.tag", "1"),
            ("replicas", "1"),
        ];
        let error =
            helm(&parameters(&split), &live_of(&[]), None).map_err(|error| error.to_string());
        let want = "its values name no image in a way that is known here; these come near: image.repository, image.tag";
        assert_eq!(error, Err(want.to_owned()));
    }

    #[test]
    fn kustomize_replaces_what_the_manifests_name() {
        type Case<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a str>, Option<(&'a str, &'a str)>);
        let cases: [Case<'_>; 7] = [
            (&[], &["nginx:1"], None, Some(("docker.io/library/nginx", "nginx"))),
            (&[], &["nginx:1"], Some("r.example/shop"), Some(("r.example/shop", "nginx"))),
            (
                &["shop/app=r.example/shop:1"],
                &["r.example/shop:1"],
                None,
                Some(("r.example/shop", "shop/app")),
            ),
            (&["r.example/shop:1"], &[], None, Some(("r.example/shop", "r.example/shop"))),
            (&[], &["nginx:1", "r.example/shop:1"], None, None),
            (&[], &["nginx:1", "r.example/shop:1"], Some("r.example/else"), None),
            (&[], &[], None, None),
        ];
        for (entries, live, image, want) in cases {
            let source = AppSource(json!({ "kustomize": { "images": entries } }));
            let found = kustomize(&source, &live_of(live), image.map(repository).as_ref());
            let found = found.map(|it| (it.repository, it.pins));
            let want = want.map(|(image, name)| {
                (repository(image), SuggestedPins::Kustomize(name.to_owned()))
            });
            assert_eq!(found.ok(), want, "{entries:?} {live:?} {image:?}");
        }
    }

    #[test]
    fn what_the_application_sets_stands_over_the_chart() {
        let own = |more: Value| {
            let mut source = json!({ "helm": { "values": "image: { tag: 1 }\nlist: [a]" } });
            let (Some(helm), Value::Object(more)) = (source["helm"].as_object_mut(), more) else {
                panic!("no objects")
            };
            helm.extend(more);
            AppSource(source)
        };
        let object = json!({ "image": { "repository": "r.example/shop" } });
        let named =
            json!([{ "name": "image.repository", "value": "r.example/shop" }, { "name": "empty" }]);
        let info = |name: &str, value: &str| Info { name: name.into(), value: value.into() };
        let listed = vec![info("image.repository", "nginx"), info("image.tag", "1")];
        let helm = Some(HelmDetails { parameters: listed, ..HelmDetails::default() });
        let details = AppDetails { kind: "Helm".into(), helm, kustomize: None };
        let app = Application::default();
        for more in [
            json!({ "valuesObject": object }),
            json!({ "parameters": named }),
            json!({ "values": "image: { repository: r.example/shop }" }),
            json!({ "valuesObject": { "image": { "repository": "nginx" } }, "parameters": named }),
        ] {
            let source = own(more);
            let found = suggest(&app, &source, "Helm", Some(&details), None);
            let found = found.map(|found| found.repository);
            assert_eq!(found, Ok(repository("r.example/shop")), "{source:?}");
        }
        let source = own(json!({}));
        let none = suggest(&app, &source, "Directory", None, None);
        assert_eq!(none, Err(NoSuggestion::Kind("Directory".into())));
    }
}
