//! What the results of all commands have in common in JSON: one thing has one shape and one name, whichever command tells
//! it. `docs/json.md` describes them; a test reads what every command prints.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use verbatim_oci::Digest;
use verbatim_record::{Anchor, PromotedRelease, ReleaseImage};

use crate::release::Release;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseResult {
    /// As `--release` takes it.
    pub reference: String,
    /// Where the image is, or the artifact that names the images.
    pub repository: String,
    /// The tag that people know it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    pub digest: Digest,
    /// The commit that it was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The images, if they are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ReleaseImage>,
}

impl From<&Release> for ReleaseResult {
    fn from(release: &Release) -> Self {
        Self::from(&release.promoted(None))
    }
}

impl From<&PromotedRelease> for ReleaseResult {
    fn from(release: &PromotedRelease) -> Self {
        let PromotedRelease { digest, repository, tag, commit, images } = release.clone();
        let colon = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let reference = format!("{repository}{colon}@{digest}");
        Self { reference, repository, tag, digest, commit, images }
    }
}

/// The place of a promotion in the ledger, and its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PromotionPlace {
    /// Its number, from 1.
    pub number: u64,
    pub record: Digest,
}

impl From<Anchor> for PromotionPlace {
    fn from(Anchor { sequence, record }: Anchor) -> Self {
        Self { number: sequence, record }
    }
}

/// A digest in a line of a table: its first 12 digits.
pub(crate) fn twelve(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

/// A release as a field of a result.
pub(crate) fn release<S: Serializer>(release: &Release, serializer: S) -> Result<S::Ok, S::Error> {
    ReleaseResult::from(release).serialize(serializer)
}

/// A promotion as a field of a result, if there is one.
pub(crate) fn promotion<S: Serializer>(
    anchor: &Option<Anchor>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    anchor.map(PromotionPlace::from).serialize(serializer)
}
