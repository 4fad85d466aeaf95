//! Build records about what `verbatim build` did not build: images of another builder, and releases of several images.
//! Both are SLSA provenance, as all build records.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::descriptor::ResourceDescriptor;
use super::provenance::object;
use super::{
    Build, BuildDefinition, BuildMetadata, BuildPlatform, BuildSource, CiRun, Provenance,
    RunDetails,
};
use crate::artifact::ReleaseImage;

/// An image of another builder.
#[derive(Debug, Clone, PartialEq)]
pub struct AdoptedImage {
    /// What it was built from, as far as known.
    pub source: BuildSource,
    /// The reference that it was found by.
    pub image: String,
    /// How the source is known.
    pub known_from: Vec<SourceClaim>,
    /// The CI run that adopted it.
    pub run: CiRun,
    /// When it was signed.
    pub at: Timestamp,
    /// Versions by component, for example `verbatim`.
    pub versions: BTreeMap<String, String>,
}

/// A claim about what an image was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceClaim {
    /// The origin of the claim: `buildkit-provenance`, `label`, `work-tree`.
    pub by: String,
    /// Whether a trusted key signed it.
    pub signed: bool,
    /// Full hash of the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// URL of the git repository, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The builder, in the words of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}

impl AdoptedImage {
    /// The `buildType` of these records.
    pub const TYPE: &'static str = "urn:verbatim:build:adopted:v1";

    /// This as SLSA provenance.
    pub fn provenance(&self) -> Provenance {
        provenance(
            Self::TYPE,
            json!({ "source": self.source, "image": self.image }),
            json!({ "run": self.run, "knownFrom": self.known_from }),
            source_dependency(&self.source).into_iter().collect(),
            &self.run,
            &self.versions,
            self.at,
        )
    }
}

/// A release of several images.
#[derive(Debug, Clone, PartialEq)]
pub struct ComposedRelease {
    /// The source of all of them.
    pub source: BuildSource,
    /// The images, by name.
    pub images: BTreeMap<String, ReleaseImage>,
    /// The CI run that put it together.
    pub run: CiRun,
    /// When it was signed.
    pub at: Timestamp,
    /// Versions by component, for example `verbatim`.
    pub versions: BTreeMap<String, String>,
}

impl ComposedRelease {
    /// The `buildType` of these records.
    pub const TYPE: &'static str = "urn:verbatim:build:release:v1";

    /// This as SLSA provenance.
    pub fn provenance(&self) -> Provenance {
        let images = self.images.iter().map(|(name, image)| ResourceDescriptor {
            uri: Some(image.reference().to_string()),
            ..ResourceDescriptor::artifact(name, &image.digest)
        });
        let dependencies = images.chain(source_dependency(&self.source)).collect();
        provenance(
            Self::TYPE,
            json!({ "source": self.source, "images": self.images }),
            json!({ "run": self.run }),
            dependencies,
            &self.run,
            &self.versions,
            self.at,
        )
    }
}

fn provenance(
    kind: &str,
    external: Value,
    internal: Value,
    resolved_dependencies: Vec<ResourceDescriptor>,
    run: &CiRun,
    versions: &BTreeMap<String, String>,
    at: Timestamp,
) -> Provenance {
    Provenance {
        build_definition: BuildDefinition {
            build_type: kind.to_owned(),
            external_parameters: object(external),
            internal_parameters: object(internal),
            resolved_dependencies,
        },
        run_details: RunDetails {
            // The signer vouches for it, not the builder.
            builder: BuildPlatform {
                id: Build::builder_id(run.ci.as_deref().unwrap_or("local")),
                version: versions.clone(),
            },
            metadata: Some(BuildMetadata {
                invocation_id: run.url.clone(),
                started_on: Some(at),
                finished_on: Some(at),
            }),
            byproducts: Vec::new(),
        },
    }
}

/// A dirty tree is not the commit, so the commit is then no dependency that was resolved.
pub(super) fn source_dependency(source: &BuildSource) -> Option<ResourceDescriptor> {
    let (repository, commit) = (source.repository.as_ref()?, source.commit.as_ref()?);
    (!source.dirty).then(|| ResourceDescriptor {
        uri: Some(format!("git+{repository}@{commit}")),
        digest: BTreeMap::from([("gitCommit".to_owned(), commit.clone())]),
        ..ResourceDescriptor::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predicate::Predicate as _;
    use crate::testing::{at, build, release, run};

    #[test]
    fn source_and_run_can_be_read_from_them() {
        let source = BuildSource { dirty: true, ..build().source };
        let adopted = AdoptedImage {
            source: source.clone(),
            image: "registry.example/shop@sha256:0".to_owned(),
            known_from: Vec::new(),
            run: run(),
            at: at(0),
            versions: BTreeMap::new(),
        };
        let image = ReleaseImage {
            repository: "registry.example/shop".parse().unwrap(),
            tag: None,
            digest: release("one"),
        };
        let reference = image.reference().to_string();
        let composed = ComposedRelease {
            source: source.clone(),
            images: BTreeMap::from([("app".to_owned(), image)]),
            run: run(),
            at: at(0),
            versions: BTreeMap::new(),
        };
        let of_image = ResourceDescriptor {
            uri: Some(reference),
            ..ResourceDescriptor::artifact("app", &release("one"))
        };
        let dependencies = composed.provenance().build_definition.resolved_dependencies;
        assert_eq!(dependencies, [of_image], "not the commit: the tree was dirty");
        for provenance in [adopted.provenance(), composed.provenance()] {
            assert_eq!(provenance.source(), Some(source.clone()), "also that it was dirty");
            assert_eq!(provenance.run(), Some(run()));
            assert_eq!(provenance.recorded_at(), Some(at(0)));
            assert_eq!(provenance.check(&[]), Ok(()));
            let mut without = provenance;
            without.build_definition.external_parameters.remove("source");
            assert!(without.check(&[]).is_err());
        }
    }
}
