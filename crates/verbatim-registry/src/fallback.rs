//! The [referrers tag schema][spec]: the index under the tag `sha256-<hex>`, kept by clients where a registry has no
//! referrers API.
//!
//! Registries have no compare-and-set on tags, so that of two writers at the same moment one undoes the other. Nobody
//! can rule that out. It is made rare and it is noticed: an entry counts as written when the tag has stayed as it is,
//! with the entry in it, for longer than writers take from reading to writing.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value};
use verbatim_oci::{Descriptor, Digest, Reference, Repository, Tag, media_type};

use crate::manifests::PutAs;
use crate::referrers::{ReferrersIndex, read_index};
use crate::{Client, Error, ErrorKind, retry};

/// How long an entry is fought for. Writers that never let the tag rest for a moment are more than a pipeline has.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time for which the tag has to rest, however slow the registry is.
const LONGEST_SETTLE: Duration = Duration::from_secs(5);

/// The tag must rest for this many times what reading and writing it took us: another writer may be slower.
const SLOWER_WRITERS: u32 = 4;

/// What is in the index under the fallback tag.
#[derive(Debug)]
pub(crate) struct FallbackIndex {
    /// The digest of the index as it was read.
    digest: Digest,
    pub(crate) entries: Vec<Descriptor>,
    /// The whole document: what other writers put into it and we do not know is written back with it.
    document: Map<String, Value>,
}

impl Client {
    /// Reads the index under the fallback tag of `subject`; `None` if there is none.
    pub(crate) async fn fallback_index(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Option<FallbackIndex>, Error> {
        let reference = Reference::by_tag(repository.clone(), fallback_tag(subject, repository)?);
        let Some(manifest) = self.find_manifest(&reference).await? else { return Ok(None) };
        let ReferrersIndex { entries, document } = read_index(&manifest.bytes).map_err(|kind| {
            Error::at(format!("read {reference}"), manifest.place().to_owned(), kind)
        })?;
        Ok(Some(FallbackIndex { digest: manifest.digest, entries, document }))
    }

    /// Puts `entry` into the index of `subject` and sees to it that it stays there.
    pub(crate) async fn list_in_fallback(
        &self,
        repository: &Repository,
        subject: &Digest,
        entry: &Descriptor,
    ) -> Result<(), Error> {
        let began = Instant::now();
        // The index in which the entry was seen, or put, the last time.
        let mut last: Option<Digest> = None;
        let mut settle = self.config().fallback_settle;
        let mut lost = 0;
        while began.elapsed() < PATIENCE {
            let guard = self.fallback_lock().lock().await;
            let looked = Instant::now();
            let index = self.fallback_index(repository, subject).await?;
            let holds = index.as_ref().filter(|index| index.contains(entry));
            match holds.map(|index| index.digest) {
                Some(digest) if last == Some(digest) => return Ok(()),
                Some(digest) => last = Some(digest),
                None => {
                    lost += u32::from(last.is_some());
                    let document = index.map(|index| index.document).unwrap_or_default();
                    last = self.write_fallback(repository, subject, document, entry).await?;
                    settle = settle.max(looked.elapsed() * SLOWER_WRITERS).min(LONGEST_SETTLE);
                }
            }
            drop(guard);
            // Writers that began at one moment must not march in step; the more of them, the wider.
            let spread = settle.mul_f64(retry::chance() * f64::from(1 + lost.min(7)) / 2.0);
            tokio::time::sleep(settle + spread).await;
        }
        let kind = ErrorKind::NotListed { record: entry.digest };
        let place = format!("{repository}@{subject}");
        Err(Error::at(format!("list {} as a referrer", entry.digest), place, kind))
    }

    /// Writes the index with `entry` in it; the digest of what was written. `None` if that is not known: then the next
    /// look tells.
    async fn write_fallback(
        &self,
        repository: &Repository,
        subject: &Digest,
        document: Map<String, Value>,
        entry: &Descriptor,
    ) -> Result<Option<Digest>, Error> {
        let name = PutAs::Tag(fallback_tag(subject, repository)?);
        let bytes = index_bytes(document, entry);
        // Not sent again by itself: meanwhile others may have written, and would be undone.
        match self.put(repository, &name, media_type::OCI_INDEX, bytes, false).await {
            Ok(put) => Ok(Some(put.digest)),
            Err(error) if error.is_retryable() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl FallbackIndex {
    fn contains(&self, entry: &Descriptor) -> bool {
        self.entries.iter().any(|have| have.digest == entry.digest)
    }
}

/// `sha256-<hex>`.
fn fallback_tag(subject: &Digest, repository: &Repository) -> Result<Tag, Error> {
    let text = format!("sha256-{}", subject.hex());
    text.parse().map_err(|_| {
        // 71 characters of the right kind always are a tag.
        let kind = ErrorKind::Malformed(format!("`{text}` is no tag"));
        Error::at("name the tag for referrers", repository.to_string(), kind)
    })
}

/// The bytes of `document` with `entry` in it. Entries are ordered by digest, so that writers who know the same entries
/// write the same index.
fn index_bytes(mut document: Map<String, Value>, entry: &Descriptor) -> Bytes {
    let mut entries = match document.remove("manifests") {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    entries.push(serde_json::json!(entry));
    let digest = |entry: &Value| entry["digest"].as_str().unwrap_or_default().to_owned();
    // Stable: of two entries with one digest, the one that was there stays.
    entries.sort_by_key(digest);
    entries.dedup_by_key(|entry| digest(entry));
    document.insert("schemaVersion".to_owned(), 2.into());
    document.insert("mediaType".to_owned(), media_type::OCI_INDEX.into());
    document.insert("manifests".to_owned(), Value::Array(entries));
    Value::Object(document).to_string().into()
}

#[cfg(test)]
mod tests {
    use verbatim_oci::Manifest;

    use super::*;

    fn entry(content: &str) -> Descriptor {
        Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes())
    }

    fn index(entries: &[&Descriptor]) -> Bytes {
        let parse = |bytes: &Bytes| serde_json::from_slice(bytes).unwrap();
        entries
            .iter()
            .fold(Bytes::from_static(b"{}"), |bytes, entry| index_bytes(parse(&bytes), entry))
    }

    #[test]
    fn the_same_entries_make_the_same_index() {
        let (a, b, c) = (entry("a"), entry("b"), entry("c"));
        let one = index(&[&a, &b, &c]);
        assert_eq!(one, index(&[&c, &b, &a, &b]));
        let Manifest::Index(index) = Manifest::parse(&one, None).unwrap() else {
            panic!("not an index")
        };
        assert_eq!(index.manifests.len(), 3);
        assert!([a, b, c].iter().all(|entry| index.contains(&entry.digest)));
    }

    #[test]
    fn what_others_wrote_stays() {
        let (a, b) = (entry("a"), entry("b"));
        let mut theirs = serde_json::json!(a);
        theirs["urls"] = serde_json::json!(["https://h/x"]);
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": [theirs],
            "annotations": {"by": "them"},
        });
        let Value::Object(document) = document else { panic!("not an object") };
        let bytes = index_bytes(document, &b);
        let bytes = index_bytes(serde_json::from_slice(&bytes).unwrap(), &a);
        let written: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(written["annotations"]["by"], "them");
        assert!(written["manifests"].as_array().unwrap().contains(&theirs));
        assert_eq!(written["manifests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_tag_is_that_of_the_specification() {
        let digest = Digest::of(b"");
        let tag = fallback_tag(&digest, &"h.io/a".parse().unwrap()).unwrap();
        assert_eq!(tag.to_string(), digest.to_string().replace(':', "-"));
        assert!(tag.is_derived_from_digest());
    }
}
