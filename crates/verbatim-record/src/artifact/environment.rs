//! The name of an environment and the OCI artifact that stands for it in a registry.
//!
//! Records are attached to manifests, so an environment needs a manifest of its own to carry its ledger. It is made from
//! the environment's id alone: everybody who knows the id knows the digest, without asking. The bytes are part of every
//! signature made so far and must never change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

/// Longest project or environment name, in bytes. The id has to fit where names are short: labels, tags, job names.
const MAX_NAME: usize = 63;

/// `project/environment`: a product and a named stage of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentId {
    project: String,
    name: String,
}

/// Why a text is not an environment id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentIdError {
    /// There is no `/`, or more than one.
    #[error("`{0}` is not of the form project/environment")]
    Form(String),
    /// A name is empty, too long, or has a character that is not allowed.
    #[error(
        "`{0}` is not a name: 1 to {MAX_NAME} of a-z A-Z 0-9 . _ -, beginning with a letter or digit"
    )]
    Name(String),
}

impl EnvironmentId {
    /// Joins the two names.
    ///
    /// # Errors
    /// If a name is empty, longer than 63 characters, or has characters other than letters, digits, `.`, `_`, `-`.
    pub fn new(project: &str, name: &str) -> Result<Self, EnvironmentIdError> {
        for part in [project, name] {
            if !is_name(part) {
                return Err(EnvironmentIdError::Name(part.to_owned()));
            }
        }
        Ok(Self { project: project.to_owned(), name: name.to_owned() })
    }

    /// The project, for example `shop`.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The stage, for example `staging`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI of this environment in statements.
    pub fn uri(&self) -> String {
        format!("urn:verbatim:environment:{self}")
    }

    /// Another environment of the same project.
    ///
    /// # Errors
    /// If [`EnvironmentId::new`] refuses the name.
    pub fn sibling(&self, name: &str) -> Result<Self, EnvironmentIdError> {
        Self::new(&self.project, name)
    }
}

/// Names are written into JSON by hand below, so nothing that needs escaping may pass.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.name)
    }
}

impl FromStr for EnvironmentId {
    type Err = EnvironmentIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (project, name) =
            text.split_once('/').ok_or_else(|| EnvironmentIdError::Form(text.to_owned()))?;
        if name.contains('/') {
            return Err(EnvironmentIdError::Form(text.to_owned()));
        }
        Self::new(project, name)
    }
}

impl TryFrom<String> for EnvironmentId {
    type Error = EnvironmentIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EnvironmentId> for String {
    fn from(id: EnvironmentId) -> Self {
        id.to_string()
    }
}

/// The OCI manifest that stands for an environment. Push [`EMPTY_BLOB`] first, then [`Self::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentArtifact {
    bytes: Vec<u8>,
    digest: Digest,
}

/// The blob that is both config and only layer: the two bytes `{}`, as the OCI image specification asks of artifacts
/// without content.
pub const EMPTY_BLOB: &[u8] = b"{}";

/// Media type of [`EMPTY_BLOB`].
pub const EMPTY_BLOB_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";

impl EnvironmentArtifact {
    /// Media type to push the manifest with.
    pub const MEDIA_TYPE: &'static str = "application/vnd.oci.image.manifest.v1+json";

    /// The `artifactType` inside the manifest.
    pub const ARTIFACT_TYPE: &'static str = "application/vnd.verbatim.environment.v1";

    /// The artifact of one environment. The same id gives the same bytes, always.
    pub fn of(id: &EnvironmentId) -> Self {
        let empty = format!(
            r#"{{"mediaType":"{EMPTY_BLOB_MEDIA_TYPE}","digest":"{}","size":{}}}"#,
            Digest::of(EMPTY_BLOB),
            EMPTY_BLOB.len(),
        );
        // Written out, not serialised: the order of fields must survive every change of the types around it.
        // The empty layer is there because some registries refuse `"layers":[]`.
        let bytes = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"{}","config":{empty},"layers":[{empty}],"annotations":{{"verbatim.environment":"{id}"}}}}"#,
            Self::MEDIA_TYPE,
            Self::ARTIFACT_TYPE,
        )
        .into_bytes();
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }

    /// The manifest, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of [`Self::bytes`]: the second subject of promotions.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, accepted: bool) {
        let id = text.parse::<EnvironmentId>();
        assert_eq!(id.is_ok(), accepted, "{text:?}: {id:?}");
        if let Ok(id) = id {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.split_once('/'), Some((id.project(), id.name())));
        }
    }

    #[test]
    fn ids() {
        check("shop/production", true);
        check("Shop-2.0/eu_west.1", true);
        check(&format!("{}/{}", "a".repeat(63), "b".repeat(63)), true);
        check(&format!("{}/b", "a".repeat(64)), false);
        for text in [
            "", "/", "shop", "shop/", "/dev", "a/b/c", "a//b", "a b/c", "a/é", "a/\"", "a/\\",
            "a/\n", "-a/b", ".a/b",
        ] {
            check(text, false);
        }
    }

    /// These bytes are the subject of every promotion ever signed. If this test fails, ledgers are lost: the code is
    /// wrong, not the test.
    #[test]
    fn the_artifact_never_changes() {
        let artifact = EnvironmentArtifact::of(&"shop/production".parse().unwrap());
        assert_eq!(
            std::str::from_utf8(artifact.bytes()).unwrap(),
            concat!(
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""artifactType":"application/vnd.verbatim.environment.v1","#,
                r#""config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"#,
                r#""layers":[{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}],"#,
                r#""annotations":{"verbatim.environment":"shop/production"}}"#,
            )
        );
        assert_eq!(
            artifact.digest().to_string(),
            "sha256:5b5ca4f83f587f74fcd56d4cef3651fa39c3832f7bf74a7b48abb45a5e04aa4b"
        );
    }

    proptest! {
        #[test]
        fn every_artifact_is_json_and_names_its_environment(id in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}/[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}") {
            let id: EnvironmentId = id.parse().unwrap();
            let artifact = EnvironmentArtifact::of(&id);
            let manifest: serde_json::Value = serde_json::from_slice(artifact.bytes()).unwrap();
            prop_assert_eq!(&manifest["annotations"]["verbatim.environment"], &id.to_string());
            prop_assert_eq!(*artifact.digest(), Digest::of(artifact.bytes()));
        }
    }
}
