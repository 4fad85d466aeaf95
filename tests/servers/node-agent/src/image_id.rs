//! What is reported as the `imageID` of a container. Runtimes differ, and a proof must cope with all of them; so a test
//! can choose. Pure.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The pod annotation that chooses a [`Mode`] for all containers of the pod.
pub const ANNOTATION: &str = "node-agent.verbatim.dev/image-id";

/// How an `imageID` looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Mode {
    /// `repository@` the digest that was pulled: the index if there is one. What containerd does.
    #[default]
    Index,
    /// `repository@` the digest of the manifest of this node's platform.
    Manifest,
    /// `sha256:…` of the image's configuration. What Docker does for an image that was never pulled or pushed.
    Config,
    /// `docker-pullable://repository@` the digest that was pulled. What dockershim did.
    DockerPullable,
    /// `repository@` the digest that the same workload reported before this one; a made-up one if there was none.
    Older,
    /// Nothing, as while a container is being created.
    None,
    /// This text as it stands.
    Literal(String),
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "index" => Self::Index,
            "manifest" => Self::Manifest,
            "config" => Self::Config,
            "docker-pullable" => Self::DockerPullable,
            "older" => Self::Older,
            "none" => Self::None,
            _ => match text.strip_prefix("literal:") {
                Some(literal) => Self::Literal(literal.to_owned()),
                None => {
                    return Err(format!(
                        "`{text}` is not one of index, manifest, config, docker-pullable, older, none, literal:TEXT"
                    ));
                }
            },
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("index"),
            Self::Manifest => f.write_str("manifest"),
            Self::Config => f.write_str("config"),
            Self::DockerPullable => f.write_str("docker-pullable"),
            Self::Older => f.write_str("older"),
            Self::None => f.write_str("none"),
            Self::Literal(text) => write!(f, "literal:{text}"),
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

/// The digests of a container's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digests {
    /// `registry/path`, without tag and digest.
    pub(crate) repository: String,
    /// What was pulled, if the image came from a registry.
    pub(crate) top: Option<String>,
    /// The manifest of this platform.
    pub(crate) manifest: Option<String>,
    pub(crate) config: String,
}

/// The `imageID` of an image. `older` is another digest that the same workload ran before.
pub(crate) fn choose(mode: &Mode, image: &Digests, older: Option<&str>) -> String {
    let repository = &image.repository;
    let named = |digest: &Option<String>| match digest {
        Some(digest) => format!("{repository}@{digest}"),
        // An image that no registry knows has only its configuration's digest.
        None => image.config.clone(),
    };
    match mode {
        Mode::Index => named(&image.top),
        Mode::Manifest => named(&image.manifest.clone().or_else(|| image.top.clone())),
        Mode::Config => image.config.clone(),
        Mode::DockerPullable => match &image.top {
            Some(digest) => format!("docker-pullable://{repository}@{digest}"),
            None => format!("docker://{}", image.config),
        },
        Mode::Older => format!("{repository}@{}", older.unwrap_or(NEVER_PULLED)),
        Mode::None => String::new(),
        Mode::Literal(text) => text.clone(),
    }
}

/// A digest that no image has.
const NEVER_PULLED: &str =
    "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Which mode holds for a pod: its annotation, else its namespace's, else the node's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modes {
    /// For pods of namespaces that have none.
    pub default: Mode,
    /// By namespace.
    pub namespaces: BTreeMap<String, Mode>,
}

impl Modes {
    /// The mode of a pod. An annotation that is no mode is an error to be shown on the pod.
    pub(crate) fn of(
        &self,
        namespace: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Mode, String> {
        if let Some(text) = annotations.get(ANNOTATION) {
            return text.parse();
        }
        Ok(self.namespaces.get(namespace).unwrap_or(&self.default).clone())
    }
}

/// Splits `repository[:tag][@digest]`. A colon before the last slash belongs to the registry's port.
pub(crate) fn split_reference(reference: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    let name = rest.rfind('/').map_or(0, |slash| slash + 1);
    match rest[name..].rfind(':') {
        Some(colon) => (&rest[..name + colon], Some(&rest[name + colon + 1..]), digest),
        None => (rest, None, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_they_are_read() {
        for text in [
            "index",
            "manifest",
            "config",
            "docker-pullable",
            "older",
            "none",
            "literal:",
            "literal:a@b",
        ] {
            assert_eq!(text.parse::<Mode>().unwrap().to_string(), text);
        }
        assert!("Index".parse::<Mode>().is_err());
    }

    #[test]
    fn each_mode_has_its_form() {
        let pulled = Digests {
            repository: "r.example/a".to_owned(),
            top: Some("sha256:top".to_owned()),
            manifest: Some("sha256:man".to_owned()),
            config: "sha256:con".to_owned(),
        };
        let built = Digests { top: None, manifest: None, ..pulled.clone() };
        for (mode, image, older, want) in [
            ("index", &pulled, None, "r.example/a@sha256:top"),
            ("manifest", &pulled, None, "r.example/a@sha256:man"),
            ("config", &pulled, None, "sha256:con"),
            ("docker-pullable", &pulled, None, "docker-pullable://r.example/a@sha256:top"),
            ("older", &pulled, Some("sha256:old"), "r.example/a@sha256:old"),
            (
                "older",
                &pulled,
                None,
                "r.example/a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            ),
            ("none", &pulled, None, ""),
            ("literal:x", &pulled, None, "x"),
            ("index", &built, None, "sha256:con"),
            ("manifest", &built, None, "sha256:con"),
            ("docker-pullable", &built, None, "docker://sha256:con"),
        ] {
            assert_eq!(choose(&mode.parse().unwrap(), image, older), want, "{mode}");
        }
    }

    #[test]
    fn the_nearest_choice_wins() {
        let modes = Modes {
            default: Mode::Manifest,
            namespaces: BTreeMap::from([("a".to_owned(), Mode::None)]),
        };
        let none = BTreeMap::new();
        let config = BTreeMap::from([(ANNOTATION.to_owned(), "config".to_owned())]);
        let wrong = BTreeMap::from([(ANNOTATION.to_owned(), "wrong".to_owned())]);
        assert_eq!(modes.of("b", &none), Ok(Mode::Manifest));
        assert_eq!(modes.of("a", &none), Ok(Mode::None));
        assert_eq!(modes.of("a", &config), Ok(Mode::Config));
        assert!(modes.of("a", &wrong).is_err());
    }

    #[test]
    fn references_are_split_at_the_right_colon() {
        for (reference, want) in [
            ("a", ("a", None, None)),
            ("a:1", ("a", Some("1"), None)),
            ("h:5000/a", ("h:5000/a", None, None)),
            ("h:5000/a:1", ("h:5000/a", Some("1"), None)),
            ("h:5000/a:1@sha256:x", ("h:5000/a", Some("1"), Some("sha256:x"))),
            ("h:5000/a@sha256:x", ("h:5000/a", None, Some("sha256:x"))),
        ] {
            assert_eq!(split_reference(reference), want, "{reference}");
        }
    }
}
