//! Takes over images that another builder made: finds out what they were built from, signs that as their build record,
//! and leaves the release for the next stage. Builds nothing.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Descriptor, Digest, Manifest, Reference};
use verbatim_record::{
    AdoptedImage, BuildSource, Provenance, ReleaseImage, SourceClaim, Statement, Verified,
};
use verbatim_registry::{Client, Error, FetchedManifest};

use crate::project::signer::RecordSigner;
use crate::project::{Project, failures, git};
use crate::records::Registry;
use crate::records::attach::{self, RecordSubject};
use crate::records::store::Store;
use crate::release::compose::{ReleasePart, compose};
use crate::release::handoff::{hand_on, release_file};
use crate::release::provenance::{self, BY_RECORD, BY_WORK_TREE};
use crate::release::{Release, authors, source};

/// No image configuration and no provenance is larger.
const LIMIT: u64 = 16 * 1024 * 1024;

/// A release that another builder made.
#[derive(Debug, Serialize)]
pub(crate) struct AdoptResult {
    #[serde(serialize_with = "crate::release::result::release")]
    pub release: Release,
    /// What it was built from.
    pub source: BuildSource,
    /// What the source of each image is known from.
    pub known_from: BTreeMap<String, Vec<SourceClaim>>,
    /// Whether somebody who is trusted has signed the source of each image.
    pub verified: bool,
    /// The digest of the build record of the release.
    pub record: Digest,
}

/// Short: the release, and what it was built from. With `{:#}` also its images in full and its record.
impl fmt::Display for AdoptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.release)?;
        if f.alternate() {
            for (name, image) in &self.release.images {
                writeln!(f, "  {name}  {}", image.reference())?;
            }
        }
        let commit = self.source.commit.as_deref().unwrap_or("unknown");
        write!(f, "  adopted, from commit {commit}")?;
        for (name, claims) in &self.known_from {
            for claim in claims {
                let signed = if claim.signed { "signed" } else { "unsigned" };
                write!(f, "\n  {name}: according to its {} ({signed})", claim.by)?;
            }
        }
        match f.alternate() {
            true => write!(f, "\n  record {}", self.record),
            false => Ok(()),
        }
    }
}

/// Adopts images: those of the configuration, each with its digest.
pub(crate) async fn adopt(
    project: &Project,
    registry: &Registry,
    signer: &RecordSigner,
    images: BTreeMap<String, Reference>,
    console: &Console,
) -> Result<AdoptResult, Failure> {
    let mut parts = Vec::new();
    let mut known_from = BTreeMap::new();
    let mut sources: Vec<BuildSource> = Vec::new();
    for (name, reference) in images {
        let progress = console.progress(format!("inspecting {reference}"));
        let (part, source, claims) =
            one(project, registry, signer, &name, &reference, console).await?;
        drop(progress);
        parts.push(part);
        sources.push(source);
        known_from.insert(name, claims);
    }
    let Some(source) = sources.first().cloned() else {
        return Err(Failure::usage("no image is named"));
    };
    if sources.iter().any(|other| other.commit != source.commit) {
        return Err(Failure::new(
            ExitStatus::No,
            "the images were built from different commits, so they are not one release",
        ));
    }
    let (release, record) = compose(project, registry, signer, parts, &source, console).await?;
    let result = AdoptResult {
        release: release.clone(),
        source: source.clone(),
        verified: known_from.values().all(|claims| claims.iter().any(|claim| claim.signed)),
        known_from,
        record,
    };
    hand_on(project, &release_file(project, release, source, record), console)?;
    Ok(result)
}

async fn one(
    project: &Project,
    registry: &Registry,
    signer: &RecordSigner,
    name: &str,
    reference: &Reference,
    console: &Console,
) -> Result<(ReleasePart, BuildSource, Vec<SourceClaim>), Failure> {
    let client = &registry.client;
    let resolved = client.resolve(reference).await.map_err(failures::registry)?;
    let digest = resolved.digest();
    let part = |record| ReleasePart {
        name: name.to_owned(),
        image: ReleaseImage {
            repository: reference.repository.clone(),
            tag: reference.tag.clone(),
            digest,
        },
        record,
    };
    // A record that counts already exists: of a trusted builder that signs provenance, or of an earlier run.
    let there = trusted(project, &registry.store, digest).await?;
    if let Some(record) = &there
        && let Some(source) = record.predicate().source()
    {
        return Ok((part(record.record()), source, vec![signed(record)]));
    }
    // Records may be kept elsewhere; what other tools sign lies beside the image.
    let beside = Store::new(client.clone(), reference.repository.clone());
    let beside = trusted(project, &beside, digest).await?;
    let mut claims: Vec<SourceClaim> = beside.iter().map(signed).collect();
    claims.extend(told_by_image(client, reference, &resolved.manifest).await?);
    if claims.is_empty() {
        claims.extend(work_tree(project).await);
        if !claims.is_empty() {
            console.warn(format!(
                "{reference} does not say what it was built from; verbatim records the commit that is checked out here"
            ));
        }
    }
    let source = provenance::agreed(&claims).map_err(|why| {
        Failure::new(ExitStatus::No, format!("{reference} cannot be adopted: {why}"))
            .hint("label it when it is built: org.opencontainers.image.revision=COMMIT")
    })?;
    let adopted = AdoptedImage {
        source: source.clone(),
        image: reference.to_string(),
        known_from: claims.clone(),
        run: project.run(),
        at: Timestamp::now(),
        versions: BTreeMap::from([("verbatim".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
    };
    let what = format!("the adoption of {reference}");
    let repository = reference.repository.to_string();
    let commits = authors::commits(project, &source).await;
    let provenance = adopted.provenance().with_commits(&commits);
    let statement = Statement::build(&repository, &digest, provenance);
    let record = attach::signed(project, &statement, signer, RecordSubject::Done(&what)).await?;
    let descriptor: Descriptor = resolved.manifest.descriptor().map_err(failures::registry)?;
    let what = RecordSubject::Done(&what);
    attach::attach(project, &registry.store, &record, &descriptor, &[], what, console).await?;
    Ok((part(record.digest()), source, claims))
}

/// The newest build record that counts.
async fn trusted(
    project: &Project,
    store: &Store,
    digest: Digest,
) -> Result<Option<Verified<Provenance>>, Failure> {
    let ring = &project.config.policy.ring;
    let records = store.builds_so_far(ring, digest, Timestamp::now()).await;
    Ok(records.map_err(failures::registry)?.builds.pop())
}

fn signed(record: &Verified<Provenance>) -> SourceClaim {
    let source = record.predicate().source().unwrap_or_default();
    SourceClaim {
        by: BY_RECORD.to_owned(),
        signed: true,
        commit: source.commit,
        repository: source.repository,
        builder: Some(record.predicate().run_details.builder.id.clone()),
    }
}

/// What an image says of itself, which nobody has signed.
async fn told_by_image(
    client: &Client,
    reference: &Reference,
    manifest: &FetchedManifest,
) -> Result<Vec<SourceClaim>, Failure> {
    let repository = &reference.repository;
    let by_digest = |digest| Reference::by_digest(repository.clone(), digest);
    let mut claims = Vec::new();
    let first = match manifest.parse().map_err(failures::registry)? {
        Manifest::Image(image) => Some(image),
        Manifest::Index(index) => {
            for entry in &index.manifests {
                let kind = entry.annotations.get(provenance::REFERENCE_TYPE).map(String::as_str);
                if kind == Some(provenance::ATTESTATION) {
                    claims.extend(attested(client, reference, entry).await?);
                }
            }
            match index.images().next() {
                Some(image) => {
                    let image = client.manifest(&by_digest(image.digest)).await;
                    match image.and_then(|it| it.parse()).map_err(failures::registry)? {
                        Manifest::Image(image) => Some(image),
                        _ => None,
                    }
                }
                None => None,
            }
        }
        _ => None,
    };
    if let Some(image) = first {
        let config = client.blob(repository, &image.config, LIMIT).await;
        claims.extend(provenance::of_labels(&config.map_err(failures::registry)?));
    }
    claims.dedup();
    Ok(claims)
}

/// What the provenance says that an index attaches to one of its images.
async fn attested(
    client: &Client,
    reference: &Reference,
    entry: &Descriptor,
) -> Result<Vec<SourceClaim>, Failure> {
    let repository = &reference.repository;
    let about = entry.annotations.get(provenance::REFERENCE_DIGEST);
    let about: Option<Digest> = about.and_then(|digest| digest.parse().ok());
    let manifest = client.manifest(&Reference::by_digest(repository.clone(), entry.digest)).await;
    let parsed: Result<Manifest, Error> = manifest.and_then(|manifest| manifest.parse());
    let Manifest::Image(attestation) = parsed.map_err(failures::registry)? else {
        return Ok(Vec::new());
    };
    let mut claims = Vec::new();
    for layer in &attestation.layers {
        let kind = layer.annotations.get(provenance::PREDICATE_TYPE);
        if !kind.is_some_and(|kind| kind.starts_with("https://slsa.dev/provenance/")) {
            continue;
        }
        let statement = client.blob(repository, layer, LIMIT).await.map_err(failures::registry)?;
        let claim = provenance::of_buildkit(&statement, about).map_err(|error| {
            Failure::new(ExitStatus::No, error)
                .context(format!("the provenance inside {reference} does not hold"))
        })?;
        claims.extend(claim);
    }
    Ok(claims)
}

/// The commit that is checked out here. A tree with changes says so.
async fn work_tree(project: &Project) -> Option<SourceClaim> {
    let state = git::state(project.folder()).await.ok()?;
    let repository = source::source(&state, &project.ci).ok()?.repository;
    let commit = if state.is_dirty() { format!("{}-dirty", state.commit) } else { state.commit };
    Some(SourceClaim {
        by: BY_WORK_TREE.to_owned(),
        signed: false,
        commit: Some(commit),
        repository,
        builder: None,
    })
}
