//! What is promoted. How it is named on the command line and in variables is in `named`, which release a command means
//! is decided in `find`.

pub(crate) mod adopt;
mod authors;
pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod compose;
pub(crate) mod digests;
pub(crate) mod find;
pub(crate) mod handoff;
mod inputs;
pub(crate) mod named;
pub(crate) mod order;
pub(crate) mod provenance;
pub(crate) mod result;
pub(crate) mod source;
pub(crate) mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use verbatim_oci::{Digest, Reference, Repository, Tag};
use verbatim_record::{PromotedRelease, ReleaseImage};

pub(crate) use self::named::Named;

/// A release, pinned: one image, or several that belong together and are named by an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    /// The name of its image in the configuration; of several images, the name of the project.
    pub image: String,
    /// Where the image is, or the artifact that names the images.
    pub repository: Repository,
    /// A tag that people know it by; never used to find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The hash of its top-level manifest, or of the artifact.
    pub digest: Digest,
    /// The images by name, if they are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ReleaseImage>,
}

/// Stands where a tag is wanted for people and none is known; still a valid one, since it becomes part of references.
const NO_TAG: &str = "untagged";

impl Release {
    /// `repository[:tag]@digest`.
    pub(crate) fn reference(&self) -> Reference {
        Reference {
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            digest: Some(self.digest),
        }
    }

    /// The release as a promotion record names it.
    pub(crate) fn promoted(&self, commit: Option<String>) -> PromotedRelease {
        PromotedRelease {
            digest: self.digest,
            repository: self.repository.to_string(),
            tag: self.tag.as_ref().map(ToString::to_string),
            commit,
            images: self.images.clone(),
        }
    }

    /// Its images by name: one, or several.
    pub(crate) fn images(&self) -> BTreeMap<String, ReleaseImage> {
        match self.images.is_empty() {
            true => BTreeMap::from([(self.image.clone(), self.only())]),
            false => self.images.clone(),
        }
    }

    fn only(&self) -> ReleaseImage {
        ReleaseImage {
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            digest: self.digest,
        }
    }

    /// How a release that a file tells differs from this one, which the registry has.
    pub(crate) fn differences(&self, told: &Release) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |what: &str, is: &dyn fmt::Display, said: &dyn fmt::Display| {
            let (is, said) = (is.to_string(), said.to_string());
            if is != said {
                differences.push(format!("{what} {is}, the plan says {said}"));
            }
        };
        differ("the digest of the release is", &self.digest, &told.digest);
        differ("the release is in", &self.repository, &told.repository);
        let quoted = |name: &str| format!("`{name}`");
        differ("the name of its image is", &quoted(&self.image), &quoted(&told.image));
        match (&self.tag, &told.tag) {
            (is, said) if is == said => {}
            (_, Some(tag)) => differences.push(format!(
                "the release does not have the tag `{tag}` of the plan, by the registry and by its build record"
            )),
            (is, None) => differences.push(format!(
                "the release has the tag `{}`, the plan has none",
                is.as_ref().map_or(NO_TAG, Tag::as_str)
            )),
        }
        let names: BTreeSet<&String> = self.images.keys().chain(told.images.keys()).collect();
        for name in names {
            let (is, said) = (self.images.get(name), told.images.get(name));
            if is != said {
                let at = |image: Option<&ReleaseImage>| {
                    image.map_or_else(|| "nowhere".to_owned(), |it| it.reference().to_string())
                };
                let (is, said) = (at(is), at(said));
                let registry = format!("the release in the registry has it at {is}");
                differences.push(match told.images.contains_key(name) {
                    true => format!("the plan has the image `{name}` at {said}, {registry}"),
                    false => format!("the image `{name}` of the plan is nowhere, {registry}"),
                });
            }
        }
        differences
    }

    /// The value of a template variable such as `app.digest`, or `digest` for the only image.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let (image, field) = match name.split_once('.') {
            Some((image, field)) => (self.images().remove(image)?, field),
            None if self.images.is_empty() => (self.only(), name),
            None => return None,
        };
        Some(match field {
            "registry" => image.repository.registry().to_owned(),
            "path" => image.repository.path().to_owned(),
            "name" => image.repository.name().to_owned(),
            "repository" => image.repository.to_string(),
            "tag" => image.tag.as_ref().map_or(NO_TAG, Tag::as_str).to_owned(),
            "digest" => image.digest.to_string(),
            "hex" => image.digest.hex(),
            "reference" => image.reference().to_string(),
            _ => return None,
        })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference().fmt(f)
    }
}

#[cfg(test)]
impl Release {
    /// The image `app` at `repository[:tag]`, for tests.
    pub(crate) fn sample(reference: &str) -> Self {
        let Reference { repository, tag, .. } = reference.parse().unwrap();
        let image = "app".to_owned();
        Self { image, repository, tag, digest: Digest::of(b"x"), images: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_images_each_has_its_own_variables() {
        let image = |name: &str| ReleaseImage {
            repository: format!("registry.example/{name}").parse().unwrap(),
            tag: None,
            digest: Digest::of(name.as_bytes()),
        };
        let images = ["app", "web"].map(|name| (name.to_owned(), image(name)));
        let several = Release { images: images.into(), ..Release::sample("registry.example/a") };
        let digest = Digest::of(b"web").to_string();
        assert_eq!(several.variable("web.digest"), Some(digest));
        assert_eq!(several.variable("app.name").as_deref(), Some("app"));
        for name in ["digest", "reference", "other.digest", "web.size"] {
            assert_eq!(several.variable(name), None, "{name}");
        }
    }

    #[test]
    fn a_file_tells_no_other_release() {
        let release = Release::sample("registry.example/app:1");
        let image = |name: &str| ReleaseImage {
            repository: format!("registry.example/{name}").parse().unwrap(),
            tag: None,
            digest: Digest::of(name.as_bytes()),
        };
        let (web, evil) = (image("web"), image("evil"));
        let several = |image: &ReleaseImage| Release {
            images: BTreeMap::from([("web".to_owned(), image.clone())]),
            ..release.clone()
        };
        let cases = [
            (release.clone(), release.clone(), None),
            (release.clone(), several(&web), Some("the plan has the image `web` at")),
            (several(&web), release.clone(), Some("of the plan is nowhere")),
            (
                several(&web),
                several(&evil),
                Some("the plan has the image `web` at registry.example/evil@"),
            ),
            (
                release.clone(),
                Release { digest: Digest::of(b"y"), ..release.clone() },
                Some("the digest of the release is"),
            ),
            (
                release.clone(),
                Release::sample("evil.example/app:1"),
                Some("the plan says evil.example/app"),
            ),
            (
                release.clone(),
                Release::sample("registry.example/app:2"),
                Some("does not have the tag `2`"),
            ),
            (
                release.clone(),
                Release::sample("registry.example/app"),
                Some("has the tag `1`, the plan has none"),
            ),
        ];
        for (release, told, want) in cases {
            let got = release.differences(&told).join("; ");
            assert_eq!(got.is_empty(), want.is_none(), "{got}");
            assert!(want.is_none_or(|want| got.contains(want)), "{want:?} is not in {got}");
        }
    }

    #[test]
    fn variables_name_every_part() {
        let digest = Digest::of(b"x").to_string();
        let reference = format!("registry.example:5000/team/web:1.2@{digest}");
        let cases = [
            ("registry", Some("registry.example:5000")),
            ("path", Some("team/web")),
            ("name", Some("web")),
            ("repository", Some("registry.example:5000/team/web")),
            ("tag", Some("1.2")),
            ("digest", Some(digest.as_str())),
            ("hex", digest.strip_prefix("sha256:")),
            ("reference", Some(reference.as_str())),
            ("app.digest", Some(digest.as_str())),
            ("other.digest", None),
            ("size", None),
        ];
        for (name, want) in cases {
            assert_eq!(
                Release::sample("registry.example:5000/team/web:1.2").variable(name).as_deref(),
                want,
                "{name}"
            );
        }
        assert_eq!(
            Release::sample("registry.example/a").variable("tag").as_deref(),
            Some("untagged")
        );
    }
}
