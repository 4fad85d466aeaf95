//! in-toto ResourceDescriptor: what predicates and statements point to.
//!
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::null_is_default;
use crate::artifact::{EnvironmentArtifact, EnvironmentId};

/// in-toto ResourceDescriptor: a pointer to something, by name, URI or digest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescriptor {
    /// Name, for people and for telling descriptors apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Global identifier of it, a URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Algorithm (`sha256`, `gitCommit`, …) to lower-case hex.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub digest: BTreeMap<String, String>,
    /// Where it can be had, if not at `uri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_location: Option<String>,
    /// Media type of what it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Anything else; our own keys begin with `verbatim_`, as the rules for extension fields advise.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub annotations: BTreeMap<String, serde_json::Value>,
}

impl ResourceDescriptor {
    /// An artifact of a registry.
    pub fn artifact(name: &str, digest: &Digest) -> Self {
        Self {
            name: Some(name.to_owned()),
            digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
            ..Self::default()
        }
    }

    /// An environment, by its artifact.
    pub fn environment(id: &EnvironmentId) -> Self {
        Self {
            uri: Some(id.uri()),
            ..Self::artifact(&id.to_string(), EnvironmentArtifact::of(id).digest())
        }
    }

    /// The SHA-256 digest, if there is a well-formed one.
    pub fn sha256(&self) -> Option<Digest> {
        format!("sha256:{}", self.digest.get("sha256")?).parse().ok()
    }

    /// The text of one annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::environment;

    #[test]
    fn an_environment_has_a_name_a_uri_and_a_digest() {
        let id = environment("dev");
        let want = serde_json::json!({
            "name": "shop/dev",
            "uri": "urn:verbatim:environment:shop/dev",
            "digest": { "sha256": EnvironmentArtifact::of(&id).digest().hex() },
        });
        assert_eq!(serde_json::to_value(ResourceDescriptor::environment(&id)).unwrap(), want);
    }
}
