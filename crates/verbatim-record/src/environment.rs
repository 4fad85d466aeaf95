//! The name of an environment and the OCI artifact that stands for it in a registry.
//!
//! Records are attached to manifests, so an environment needs a manifest of its own to carry its ledger. It is
//! made from nothing but the environment's id: everybody who knows the id knows its digest, without asking.
//! The bytes are part of every signature made so far and must never change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

/// Longest project or environment name. The id has to fit where names are short: labels, tags, job names.
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
    /// One of the two names is empty, too long, or has a character that is not allowed.
    #[error(
        "`{0}` is not a name: 1 to {MAX_NAME} of a-z A-Z 0-9 . _ -, beginning with a letter or digit"
    )]
    Name(String),
}

impl EnvironmentId {
    /// Joins the two names.
    ///
    /// # Errors
    /// A name that is empty, longer than 63 characters, or has other characters than letters, digits, `.`, `_`, `-`.
    pub fn new(project: &str, name: &str) -> Result<Self, EnvironmentIdError> {
        for part in [project, name] {
            if !is_name(part) {
                return Err(EnvironmentIdError::Name(part.to_owned()));
            }
        }
        Ok(Self { project: project.to_owned(), name: name.to_owned() })
    }

    /// The product.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The stage, for example `staging`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI that names this environment inside statements.
    pub fn uri(&self) -> String {
        format!("urn:verbatim:environment:{self}")
    }

    /// Another environment of the same project.
    ///
    /// # Errors
    /// As [`EnvironmentId::new`].
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

/// The blob that serves as config and only layer: the two bytes `{}`, as the OCI image specification has it for
/// artifacts without content.
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
