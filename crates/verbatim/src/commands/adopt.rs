//! `verbatim adopt`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde::Deserialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Digest, Reference};
use verbatim_record::Role;

use super::context::{self, registry};
use crate::project::{KeyArgs, Project, ProjectArgs};
use crate::release::adopt;

const EXAMPLES: &str = "\
Examples:
  verbatim adopt registry.example.com/shop:42@sha256:3f0c…

  The image that buildx pushed:
  docker buildx build --push --metadata-file build.json …
  verbatim adopt --metadata-file build.json

  A release of two images:
  verbatim adopt app=registry.example.com/app@sha256:… \\
    web=registry.example.com/web@sha256:…

verbatim looks for the source in this order:
  1. provenance signed by a trusted key (cosign attest --type slsaprovenance1)
  2. provenance that BuildKit adds to the image
  3. the label org.opencontainers.image.revision
  4. the commit that is checked out here
RecordSubject the image itself says (1 to 3) must agree.";

/// Adopt an image that another builder made
///
/// Finds out which source the image was built from and signs that as its build record. The image can then be promoted
/// like one from `verbatim build`. verbatim verifies provenance that a trusted key signed; BuildKit does not sign the
/// provenance that it adds to an image, and the record says so. Later stages find the release as they do after
/// `verbatim build`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AdoptArgs {
    /// The image, by digest: `[NAME=]repository[:tag]@sha256:…`; name every image of the release
    #[arg(value_name = "IMAGE", required_unless_present = "metadata_file")]
    images: Vec<Named<Reference>>,
    /// The output of `docker buildx build --metadata-file`: `[NAME=]FILE`; may be repeated
    #[arg(long, value_name = "FILE")]
    metadata_file: Vec<Named<PathBuf>>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// A value, and which image of the configuration it is of.
#[derive(Clone, Debug)]
struct Named<T> {
    name: Option<String>,
    value: T,
}

impl<T: FromStr> FromStr for Named<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text.split_once('=') {
            Some((name, value)) => Ok(Self { name: Some(name.to_owned()), value: value.parse()? }),
            None => Ok(Self { name: None, value: text.parse()? }),
        }
    }
}

/// What of a metadata file of buildx is needed.
#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(rename = "containerimage.digest")]
    digest: Digest,
    #[serde(rename = "image.name")]
    name: Option<String>,
}

pub(crate) async fn run(args: AdoptArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let mut images = BTreeMap::new();
    for image in args.images {
        add(&project, &mut images, image)?;
    }
    for Named { name, value: file } in args.metadata_file {
        let value = from_metadata(&project, name.as_deref(), &file)?;
        add(&project, &mut images, Named { name, value })?;
    }
    if let Some(missing) = project.config.images.keys().find(|name| !images.contains_key(*name)) {
        return Err(Failure::usage(format!("the image `{missing}` is not named"))
            .hint("name every image of the configuration"));
    }
    let signer = project.signer(&args.key, &[Role::BUILDER], console).await?;
    let outcome = adopt::adopt(&project, &registry(&project)?, &signer, images, console).await?;
    console.result(&outcome)?;
    Ok(ExitStatus::Done)
}

/// Notes an image under its name in the configuration.
fn add(
    project: &Project,
    images: &mut BTreeMap<String, Reference>,
    Named { name, value: reference }: Named<Reference>,
) -> Result<(), Failure> {
    if reference.digest.is_none() {
        return Err(Failure::usage(format!("{reference} has no digest")).hint(
            format!("a tag may name another image tomorrow; its digest: verbatim registry resolve {reference}"),
        ));
    }
    let configured = &project.config.images;
    let is_of = |image: &&crate::config::Image| image.repository == reference.repository;
    let found = match &name {
        Some(name) => configured.get(name).filter(is_of),
        None => configured.values().find(is_of),
    };
    let Some(image) = found else {
        let all = configured.values().map(|it| format!("{}={}", it.name, it.repository));
        return Err(Failure::usage(format!("{reference} is not an image of the configuration"))
            .hint(format!("its images: {}", all.collect::<Vec<_>>().join(", "))));
    };
    match images.insert(image.name.clone(), reference) {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!("the image `{}` is named twice", image.name))),
    }
}

/// The image that a metadata file is about. If it has several names, the one of our repository.
fn from_metadata(project: &Project, name: Option<&str>, file: &Path) -> Result<Reference, Failure> {
    let text = std::fs::read(file).map_err(|error| {
        Failure::usage(error).context(format!("cannot read {}", file.display()))
    })?;
    let wrong = |why: String| {
        Failure::usage(why).context(format!("{} is not a metadata file of buildx", file.display()))
    };
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let names = metadata.name.unwrap_or_default();
    let references = names.split(',').filter_map(|name| name.trim().parse::<Reference>().ok());
    let images = &project.config.images;
    let mut ours = references.filter(|reference| {
        images
            .values()
            .filter(|image| name.is_none_or(|name| name == image.name))
            .any(|image| image.repository == reference.repository)
    });
    match (ours.next(), images.len()) {
        (Some(reference), _) => Ok(reference.pinned(metadata.digest)),
        // An image that was exported without a name still has its digest.
        (None, 1) if names.is_empty() => {
            let home = crate::release::find::home(project)?;
            Ok(Reference::by_digest(home.clone(), metadata.digest))
        }
        (None, _) => {
            Err(wrong(format!("none of its names (`{names}`) is an image of the configuration")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_may_have_names() {
        let digest = Digest::of(b"x");
        let named: Named<Reference> = format!("app=r.example/app@{digest}").parse().unwrap();
        assert_eq!(named.name.as_deref(), Some("app"));
        assert_eq!(named.value.digest, Some(digest));
        let plain: Named<Reference> = format!("r.example/app@{digest}").parse().unwrap();
        assert_eq!(plain.name, None);
        assert!("app=".parse::<Named<Reference>>().is_err());
    }

    #[test]
    fn a_metadata_file_of_buildx_is_read() {
        let digest = Digest::of(b"x");
        let text = serde_json::json!({
            "buildx.build.ref": "builder/builder0/abc",
            "containerimage.config.digest": Digest::of(b"config"),
            "containerimage.descriptor": { "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": 856 },
            "containerimage.digest": digest,
            "image.name": "docker.io/example/shop:1,r.example/app:1",
        });
        let metadata: Metadata = serde_json::from_value(text).unwrap();
        assert_eq!(metadata.digest, digest);
        assert_eq!(metadata.name.as_deref(), Some("docker.io/example/shop:1,r.example/app:1"));
        assert!(serde_json::from_str::<Metadata>(r#"{"image.name":"x"}"#).is_err());
    }
}
