//! Releases of several images: puts together the artifact that names them, stores and records it, and reads it back. What
//! the images are is the caller's.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Digest, Manifest, Tag};
use verbatim_record::{
    BuildSource, ComposedRelease, EMPTY_BLOB, ReleaseArtifact, ReleaseDocument, ReleaseImage,
    Statement,
};
use verbatim_registry::{Client, ManifestName, ResolvedManifest};

use crate::project::signer::RecordSigner;
use crate::project::{Project, failures};
use crate::records::Registry;
use crate::records::attach::{self, RecordSubject};
use crate::release::{Release, authors, find};

/// An image that was built or adopted.
#[derive(Clone, Debug)]
pub(crate) struct ReleasePart {
    /// Its name in the configuration.
    pub name: String,
    pub image: ReleaseImage,
    /// The digest of its build record.
    pub record: Digest,
}

/// Makes a release of images: of one, that image; of several, the artifact that names them, with a build record of its
/// own. What already exists stays as it is.
pub(crate) async fn compose(
    project: &Project,
    registry: &Registry,
    signer: &RecordSigner,
    parts: Vec<ReleasePart>,
    source: &BuildSource,
    console: &Console,
) -> Result<(Release, Digest), Failure> {
    if let [ReleasePart { name, image, record }] = parts.as_slice() {
        let ReleaseImage { repository, tag, digest } = image.clone();
        let images = BTreeMap::new();
        return Ok((Release { image: name.clone(), repository, tag, digest, images }, *record));
    }
    let first_tag = parts.first().and_then(|part| part.image.tag.clone());
    let tag = first_tag.map(|first| self::tag(&first)).transpose()?;
    let images: BTreeMap<String, ReleaseImage> =
        parts.into_iter().map(|part| (part.name, part.image)).collect();
    let document = ReleaseDocument { project: project.config.project.clone(), images };
    check(project, &document).map_err(Failure::usage)?;
    let artifact = ReleaseArtifact::of(&document);
    let release = Release {
        image: document.project.clone(),
        repository: find::home(project)?.clone(),
        tag,
        digest: artifact.digest(),
        images: document.images.clone(),
    };
    store(&registry.client, &release, &artifact).await.map_err(failures::registry)?;
    let record = record(project, registry, signer, &release, &artifact, source, console).await?;
    Ok((release, record))
}

async fn store(
    client: &Client,
    release: &Release,
    artifact: &ReleaseArtifact,
) -> Result<(), verbatim_registry::Error> {
    let repository = &release.repository;
    client.push_blob(repository, Bytes::from_static(EMPTY_BLOB)).await?;
    client.push_blob(repository, Bytes::copy_from_slice(artifact.document())).await?;
    let name = release.tag.clone().map_or(ManifestName::Digest, ManifestName::Tag);
    let bytes = Bytes::copy_from_slice(artifact.manifest());
    client.put_manifest(repository, &name, ReleaseArtifact::MEDIA_TYPE, bytes).await.map(drop)
}

/// The build record of the release, signed now unless there is one that counts and says the same.
async fn record(
    project: &Project,
    registry: &Registry,
    signer: &RecordSigner,
    release: &Release,
    artifact: &ReleaseArtifact,
    source: &BuildSource,
    console: &Console,
) -> Result<Digest, Failure> {
    let ring = &project.config.policy.ring;
    let records = registry
        .store
        .builds_so_far(ring, release.digest, Timestamp::now())
        .await
        .map_err(failures::registry)?;
    if let Some(last) = records.builds.last()
        && last.predicate().source().as_ref() == Some(source)
    {
        return Ok(last.record());
    }
    let composed = ComposedRelease {
        source: source.clone(),
        images: release.images.clone(),
        run: project.run(),
        at: Timestamp::now(),
        versions: BTreeMap::from([("verbatim".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
    };
    let name = release.repository.to_string();
    let commits = authors::commits(project, source).await;
    let provenance = composed.provenance().with_commits(&commits);
    let statement = Statement::build(&name, &release.digest, provenance);
    let what = RecordSubject::Done("the release");
    let record = attach::signed(project, &statement, signer, what).await?;
    let descriptor = artifact.descriptor();
    attach::attach(project, &registry.store, &record, &descriptor, &[], what, console).await?;
    Ok(record.digest())
}

/// The tag of a release of several images, from that of the first: in one repository the two must differ.
pub(crate) fn tag(first: &Tag) -> Result<Tag, Failure> {
    format!("release-{first}").parse().map_err(|error| {
        Failure::usage(error).context(format!("cannot make the tag of a release from `{first}`"))
    })
}

/// What stands in the artifact of a release.
pub(crate) async fn read(
    client: &Client,
    resolved: &ResolvedManifest,
) -> Result<ReleaseDocument, Failure> {
    let reference = &resolved.reference;
    let manifest = resolved.manifest.parse().map_err(failures::registry)?;
    let layer = match manifest {
        Manifest::Image(image)
            if image.artifact_type.as_deref() == Some(ReleaseArtifact::ARTIFACT_TYPE) =>
        {
            image.layers.into_iter().next()
        }
        _ => None,
    };
    let Some(layer) = layer else {
        return Err(Failure::usage(format!("{reference} is not a release of several images"))
            .hint("`verbatim build` or `verbatim adopt` makes one, and prints its reference"));
    };
    let limit = ReleaseArtifact::MAX_DOCUMENT_SIZE;
    let bytes = client.blob(&reference.repository, &layer, limit).await;
    serde_json::from_slice(&bytes.map_err(failures::registry)?).map_err(|error| {
        Failure::new(ExitStatus::Refused, error).context(format!("cannot read {reference}"))
    })
}

/// Whether a release has the images of the configuration, each from its repository.
pub(crate) fn check(project: &Project, document: &ReleaseDocument) -> Result<(), String> {
    let config = &project.config;
    if document.project != config.project {
        return Err(format!("it is of project `{}`", document.project));
    }
    for (name, image) in &document.images {
        match config.images.get(name) {
            None => return Err(format!("it has an image `{name}`, which is not configured")),
            Some(configured) if configured.repository != image.repository => {
                return Err(format!("its image `{name}` is of {}", image.repository));
            }
            Some(_) => {}
        }
    }
    match config.images.keys().find(|name| !document.images.contains_key(*name)) {
        Some(missing) => Err(format!("it has no image `{missing}`")),
        None => Ok(()),
    }
}
