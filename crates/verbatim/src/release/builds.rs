//! What the build records of a release say: its source, where it comes from, its tag. Pure.

use std::collections::BTreeSet;

use verbatim_oci::{Reference, Repository, Tag};
use verbatim_record::{BuildSource, Provenance, Records, Verified};

use super::Release;
use super::order::Origin;

/// What the newest build record that counts says of the source.
pub(crate) fn source(records: &Records) -> Option<BuildSource> {
    records.builds.last().and_then(|record| record.predicate().source())
}

/// Where a release comes from, for telling which of two is newer.
pub(crate) fn origin(records: &Records) -> Origin {
    let build = records.builds.last().map(verbatim_record::Verified::predicate);
    Origin {
        commit: build.and_then(|build| Some(build.source()?.lasting_commit()?.to_owned())),
        run: build.and_then(|build| build.run()).unwrap_or_default(),
    }
}

/// The tag that the build record has, for a release that was named by its digest alone.
pub(crate) fn tag(records: &Records, release: &Release) -> Option<Tag> {
    let build = records.builds.last()?.predicate();
    let image = build.build_definition.external_parameters.get("image")?.as_str()?;
    let reference: Reference = image.parse().ok()?;
    reference.tag.filter(|_| reference.repository == release.repository)
}

/// The tags that a release had in a repository, by what builders and promotions say.
pub(crate) fn tags(records: &Records, repository: &Repository) -> BTreeSet<Tag> {
    let built = records.builds.iter().filter_map(|record| {
        let parameters = &record.predicate().build_definition.external_parameters;
        let image: Reference = parameters.get("image")?.as_str()?.parse().ok()?;
        image.tag.filter(|_| image.repository == *repository)
    });
    let promoted = records.promotions.iter().filter_map(|record| {
        let release = &record.predicate().release;
        let is_here = release.repository == repository.to_string();
        release.tag.as_ref().filter(|_| is_here)?.parse().ok()
    });
    built.chain(promoted).collect()
}

/// Whether a build record is of an image in this repository. One that names no image, of another builder, says nothing else.
pub(crate) fn is_in(record: &Verified<Provenance>, repository: &Repository) -> bool {
    let parameters = &record.predicate().build_definition.external_parameters;
    let image = parameters.get("image").and_then(|image| image.as_str());
    image.is_none_or(|image| {
        image.parse::<Reference>().is_ok_and(|image| image.repository == *repository)
    })
}
