//! What an image says it was built from: its label, and the provenance that BuildKit puts into its index. Nobody has signed
//! either. Pure; whoever fetches the documents is the caller.

use serde::Deserialize;
use serde_json::Value;
use verbatim_http::RedactedUrl;
use verbatim_oci::Digest;
use verbatim_record::{BuildSource, SourceClaim};

/// Annotation of a manifest in an index: what it is, if it is no image.
pub(crate) const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Annotation of a manifest in an index: the digest of the image that it is about.
pub(crate) const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// The [`REFERENCE_TYPE`] of attestations.
/// <https://github.com/moby/buildkit/blob/v0.26.0/docs/attestations/attestation-storage.md>
pub(crate) const ATTESTATION: &str = "attestation-manifest";
/// Annotation of a layer of such a manifest: the predicate type of its statement.
pub(crate) const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// The end of a revision when files differed from the commit.
const DIRTY: &str = "-dirty";

/// Who says so, in a [`SourceClaim`].
pub(crate) const BY_BUILDKIT: &str = "buildkit-provenance";
/// See [`BY_BUILDKIT`].
pub(crate) const BY_LABEL: &str = "label";
/// See [`BY_BUILDKIT`].
pub(crate) const BY_RECORD: &str = "signed-provenance";
/// See [`BY_BUILDKIT`].
pub(crate) const BY_WORK_TREE: &str = "work-tree";

/// Why a statement about an image tells nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProvenanceError {
    #[error("it is no in-toto statement: {0}")]
    Form(String),
    /// About something else: it was put there by somebody who has changed the index.
    #[error("it is not about {0}, to which the index attaches it")]
    Subject(Digest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    subject: Vec<Subject>,
    predicate: Value,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

/// What a provenance of BuildKit (SLSA v0.2 or v1) says, which is attached to `image` in an index. `None` if it names no
/// source.
pub(crate) fn of_buildkit(
    bytes: &[u8],
    image: Option<Digest>,
) -> Result<Option<SourceClaim>, ProvenanceError> {
    let statement: Statement =
        serde_json::from_slice(bytes).map_err(|error| ProvenanceError::Form(error.to_string()))?;
    if let Some(image) = image {
        let is_about = |it: &Subject| it.digest.get("sha256") == Some(&image.hex());
        if !statement.subject.iter().any(is_about) {
            return Err(ProvenanceError::Subject(image));
        }
    }
    let predicate = &statement.predicate;
    let text = |paths: &[&str]| {
        paths.iter().find_map(|path| predicate.pointer(path)?.as_str()).map(str::to_owned)
    };
    // A git context is fetched by BuildKit itself; a local one is described by the client. `~1` is `/` in a pointer.
    let fetched = text(&[
        "/invocation/configSource/digest/sha1",
        "/buildDefinition/externalParameters/configSource/digest/sha1",
    ]);
    let told = text(&[
        "/metadata/https:~1~1mobyproject.org~1buildkit@v1#metadata/vcs/revision",
        "/runDetails/metadata/buildkit_metadata/vcs/revision",
    ]);
    let Some(commit) = fetched.or(told) else { return Ok(None) };
    let repository = text(&[
        "/invocation/configSource/uri",
        "/buildDefinition/externalParameters/configSource/uri",
        "/metadata/https:~1~1mobyproject.org~1buildkit@v1#metadata/vcs/source",
        "/runDetails/metadata/buildkit_metadata/vcs/source",
    ]);
    Ok(Some(SourceClaim {
        by: BY_BUILDKIT.to_owned(),
        signed: false,
        commit: Some(commit),
        repository: repository.map(|uri| plain(&uri)),
        builder: text(&["/builder/id", "/runDetails/builder/id"]).filter(|id| !id.is_empty()),
    }))
}

/// What the labels of an image configuration say.
pub(crate) fn of_labels(config: &[u8]) -> Option<SourceClaim> {
    let config: Value = serde_json::from_slice(config).ok()?;
    let label = |name: &str| {
        let text = config["config"]["Labels"][name].as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    Some(SourceClaim {
        by: BY_LABEL.to_owned(),
        signed: false,
        commit: Some(label("org.opencontainers.image.revision")?),
        repository: label("org.opencontainers.image.source").map(|uri| plain(&uri)),
        builder: None,
    })
}

/// The address of a repository without fragment, scheme prefix and credentials.
fn plain(uri: &str) -> String {
    let uri = uri.strip_prefix("git+").unwrap_or(uri);
    RedactedUrl::of_repository(uri.split('#').next().unwrap_or(uri)).to_string()
}

/// The source that claims agree on: the first that names one counts, and no other may contradict it.
pub(crate) fn agreed(claims: &[SourceClaim]) -> Result<BuildSource, String> {
    let mut with_commit = claims.iter().filter_map(|claim| Some((claim, claim.commit.as_ref()?)));
    let Some((first, revision)) = with_commit.next() else {
        return Err("nothing says what it was built from".to_owned());
    };
    if let Some((other, found)) = with_commit.find(|(_, found)| *found != revision) {
        return Err(format!(
            "its sources disagree: its {} says {revision}, its {} says {found}",
            first.by, other.by
        ));
    }
    let (commit, dirty) = match revision.strip_suffix(DIRTY) {
        Some(commit) => (commit, true),
        None => (revision.as_str(), false),
    };
    let repository = claims.iter().find_map(|claim| claim.repository.clone());
    Ok(BuildSource { repository, commit: Some(commit.to_owned()), dirty, ..BuildSource::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COMMIT: &str = "ffac537e6cbbf934b08745a378932722df287a53";

    fn statement(image: Digest, predicate: &Value) -> Vec<u8> {
        json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{ "name": "pkg:docker/shop@1", "digest": { "sha256": image.hex() } }],
            "predicate": predicate,
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn both_versions_of_buildkit_tell_the_commit() {
        let image = Digest::of(b"image");
        let vcs = json!({ "revision": COMMIT, "source": "https://me:secret@git.example/shop.git" });
        let fetched = json!({ "uri": "https://git.example/shop.git#refs/heads/main", "digest": { "sha1": COMMIT } });
        let cases = [
            json!({ "builder": { "id": "https://ci.example/1" }, "metadata": { "https://mobyproject.org/buildkit@v1#metadata": { "vcs": vcs } } }),
            json!({ "builder": { "id": "https://ci.example/1" }, "invocation": { "configSource": fetched } }),
            json!({ "runDetails": { "builder": { "id": "https://ci.example/1" }, "metadata": { "buildkit_metadata": { "vcs": vcs } } } }),
            json!({ "runDetails": { "builder": { "id": "https://ci.example/1" } }, "buildDefinition": { "externalParameters": { "configSource": fetched } } }),
        ];
        for predicate in cases {
            let claim = of_buildkit(&statement(image, &predicate), Some(image)).unwrap().unwrap();
            assert_eq!(claim.commit.as_deref(), Some(COMMIT));
            assert_eq!(claim.repository.as_deref(), Some("https://git.example/shop.git"));
            assert_eq!(claim.builder.as_deref(), Some("https://ci.example/1"));
            assert!(!claim.signed);
            let other = Digest::of(b"other");
            let refused = of_buildkit(&statement(other, &predicate), Some(image));
            assert_eq!(refused, Err(ProvenanceError::Subject(image)));
        }
        assert_eq!(of_buildkit(&statement(image, &json!({})), Some(image)), Ok(None));
        assert!(matches!(of_buildkit(b"{}", None), Err(ProvenanceError::Form(_))));
    }

    #[test]
    fn labels_tell_the_commit() {
        let config =
            json!({ "config": { "Labels": { "org.opencontainers.image.revision": COMMIT } } });
        assert_eq!(
            of_labels(config.to_string().as_bytes()).unwrap().commit.as_deref(),
            Some(COMMIT)
        );
        for config in ["{}", "not JSON", r#"{"config":{"Labels":null}}"#] {
            assert_eq!(of_labels(config.as_bytes()), None);
        }
    }

    #[test]
    fn claims_must_not_contradict_each_other() {
        let claim = |by: &str, commit: Option<&str>| SourceClaim {
            by: by.to_owned(),
            signed: false,
            commit: commit.map(str::to_owned),
            repository: None,
            builder: None,
        };
        let commit = |claims: &[SourceClaim]| {
            agreed(claims).map(|source| (source.commit.unwrap_or_default(), source.dirty))
        };
        assert_eq!(commit(&[claim("label", Some("a"))]), Ok(("a".to_owned(), false)));
        assert_eq!(commit(&[claim("label", Some("a-dirty"))]), Ok(("a".to_owned(), true)));
        let both = [claim("buildkit-provenance", Some("a")), claim("label", Some("a"))];
        assert_eq!(commit(&both), Ok(("a".to_owned(), false)));
        let apart = [claim("buildkit-provenance", Some("a")), claim("label", Some("b"))];
        assert_eq!(
            commit(&apart).unwrap_err(),
            "its sources disagree: its buildkit-provenance says a, its label says b"
        );
        assert_eq!(
            commit(&[claim("label", None)]).unwrap_err(),
            "nothing says what it was built from"
        );
        assert!(commit(&[]).is_err());
    }
}
