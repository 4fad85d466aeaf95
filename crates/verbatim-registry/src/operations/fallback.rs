//! The [referrers tag schema][spec]: the index under the tag `sha256-<hex>`, kept by clients where a registry has no
//! referrers API.
//!
//! Registries have no compare-and-set on tags, so one of two concurrent writers can undo the other. That cannot be
//! ruled out, but it is rare and noticed: an entry counts as written when the tag has kept it for longer than writers
//! take from reading to writing.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value};
use verbatim_http::chance;
use verbatim_oci::{Descriptor, Digest, Reference, Repository, Tag, media_type};

use crate::error::ErrorResponse;
use crate::operations::manifests::{MANIFEST_LIMIT, ManifestName};
use crate::operations::referrers::{LISTING_LIMIT, ReferrersIndex, read_index};
use crate::{Client, Error, ErrorKind};

/// How long to rewrite an entry that other writers keep removing. No pipeline has writers that go on for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time for which the tag must not change, however slow the registry is.
const LONGEST_SETTLE: Duration = Duration::from_secs(5);

/// The tag must not change for this many times the duration of our own read and write: another writer may be slower.
const SLOWER_WRITERS: u32 = 4;

/// Documents are [embedded][spec] in the index as long as all of them, in base64, have no more than this: then one
/// request reads a release with all its records. Every writer reads and writes the whole index, so it must stay small.
///
/// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#embedded-content
const EMBEDDED_LIMIT: usize = 1024 * 1024;

/// What is under the fallback tag.
#[derive(Debug)]
pub(crate) enum FallbackTag {
    /// A list.
    List(FallbackIndex),
    /// No list, as the registry says in so many words.
    Unknown,
    /// No list. Registries also answer so of what they do not show.
    NotFound,
}

impl FallbackTag {
    /// The list, if there is one.
    pub(crate) fn list(self) -> Option<FallbackIndex> {
        match self {
            Self::List(index) => Some(index),
            Self::Unknown | Self::NotFound => None,
        }
    }
}

/// The index under the fallback tag.
#[derive(Debug)]
pub(crate) struct FallbackIndex {
    /// The digest of the index as it was read.
    digest: Digest,
    pub(crate) entries: Vec<Descriptor>,
    /// The whole document: unknown fields of other writers are written back, too.
    document: Map<String, Value>,
}

impl Client {
    /// Reads the index under the fallback tag of `subject`.
    pub(crate) async fn fallback_index(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<FallbackTag, Error> {
        let reference = Reference::by_tag(repository.clone(), fallback_tag(subject, repository)?);
        let manifest = match self.manifest_or_absence(&reference, LISTING_LIMIT).await? {
            Ok(manifest) => manifest,
            Err(response) => {
                return match response.hides_repository() {
                    Some(kind) => Err(Error::at(format!("read {reference}"), repository, kind)),
                    None if response.has_code("MANIFEST_UNKNOWN") => Ok(FallbackTag::Unknown),
                    None => Ok(FallbackTag::NotFound),
                };
            }
        };
        // Some registries (GitLab's, in 2025) read the tag as the digest, and answer with the subject itself.
        if manifest.digest == *subject {
            return Ok(FallbackTag::Unknown);
        }
        let ReferrersIndex { entries, document } = read_index(&manifest.bytes)
            .map_err(|kind| manifest.error(format!("read {reference}"), kind))?;
        Ok(FallbackTag::List(FallbackIndex { digest: manifest.digest, entries, document }))
    }

    /// Adds `entries` to the index of `subject` and makes sure that they stay there.
    pub(crate) async fn list_in_fallback(
        &self,
        repository: &Repository,
        subject: &Digest,
        entries: &[Descriptor],
    ) -> Result<(), Error> {
        let began = Instant::now();
        // The last index that held the entries.
        let mut last: Option<Digest> = None;
        let mut settle = self.config().fallback_settle;
        let mut lost = 0;
        while began.elapsed() < PATIENCE {
            let guard = self.fallback_lock().lock().await;
            let looked = Instant::now();
            let index = self.fallback_index(repository, subject).await?.list();
            let holds = index.as_ref().filter(|index| index.contains_all(entries));
            match holds.map(|index| index.digest) {
                Some(digest) if last == Some(digest) => return Ok(()),
                Some(digest) => last = Some(digest),
                None => {
                    lost += u32::from(last.is_some());
                    last = self.write_fallback(repository, subject, index, entries).await?;
                    settle = settle.max(looked.elapsed() * SLOWER_WRITERS).min(LONGEST_SETTLE);
                }
            }
            drop(guard);
            // Concurrent writers must not stay in step; the more there are, the wider the spread.
            let spread = settle.mul_f64(chance() * f64::from(1 + lost.min(7)) / 2.0);
            tokio::time::sleep(settle + spread).await;
        }
        let record = entries.first().map_or(*subject, |entry| entry.digest);
        let place = format!("{repository}@{subject}");
        let kind = ErrorKind::NotListed { record };
        Err(Error::at(format!("list {record} as a referrer"), place, kind))
    }

    /// Writes the index with `entries` in it, and returns its digest. `None` if the result is unknown: then the next
    /// read shows it.
    async fn write_fallback(
        &self,
        repository: &Repository,
        subject: &Digest,
        index: Option<FallbackIndex>,
        entries: &[Descriptor],
    ) -> Result<Option<Digest>, Error> {
        let tag = fallback_tag(subject, repository)?;
        let place = format!("{repository}:{tag}");
        let fail = |kind| Error::at("list a referrer", place.clone(), kind);
        let (is_there, document) = match index {
            Some(index) => (true, index.document),
            None => (false, Map::new()),
        };
        let mut bytes = index_bytes(document, entries);
        if bytes.len() as u64 > MANIFEST_LIMIT {
            // Entries matter more than sparing readers a request.
            bytes = without_embedded(&bytes);
        }
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(fail(ErrorKind::ListingFull { limit: MANIFEST_LIMIT }));
        }
        let name = ManifestName::Tag(tag.clone());
        // Not retried on its own: that could undo what others wrote in the meantime.
        match self.put(repository, &name, media_type::OCI_INDEX, bytes, false).await {
            Ok(put) => Ok(Some(put.digest)),
            Err(error) if error.is_retryable() => Ok(None),
            Err(error) => match overwriting_refused(error.kind()) {
                Some(response) if is_there => {
                    Err(fail(ErrorKind::ImmutableTag { tag, response: response.clone() }))
                }
                _ => Err(error),
            },
        }
    }
}

impl FallbackIndex {
    fn contains_all(&self, entries: &[Descriptor]) -> bool {
        let have: BTreeSet<Digest> = self.entries.iter().map(|have| have.digest).collect();
        entries.iter().all(|entry| have.contains(&entry.digest))
    }
}

/// `sha256-<hex>`.
fn fallback_tag(subject: &Digest, repository: &Repository) -> Result<Tag, Error> {
    let text = format!("sha256-{}", subject.hex());
    text.parse().map_err(|_| {
        // 71 characters of the right kind always are a tag.
        let kind = ErrorKind::Malformed(format!("`{text}` is not a tag"));
        Error::at("name the tag for referrers", repository.to_string(), kind)
    })
}

/// The response to an overwritten tag, if it says that this tag cannot be overwritten. There is no common code for
/// that: Amazon ECR answers 400 with `TAG_INVALID`, Harbor 412 with `PRECONDITION`, others 403, 405 or 409. The
/// manifest under its digest was stored just before, so the registry does accept writes.
pub(crate) fn overwriting_refused(kind: &ErrorKind) -> Option<&ErrorResponse> {
    let (ErrorKind::Forbidden(response) | ErrorKind::Refused(response)) = kind else { return None };
    let is_about_content = ["MANIFEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "SIZE_INVALID"]
        .iter()
        .any(|code| response.has_code(code));
    let is_refusal = matches!(response.status, 400 | 403 | 405 | 409 | 412 | 423);
    Some(response).filter(|_| is_refusal && !is_about_content)
}

/// The bytes of `document` with `further` entries in it. Entries are ordered by digest, so writers with the same
/// entries write the same index.
fn index_bytes(mut document: Map<String, Value>, further: &[Descriptor]) -> Bytes {
    let mut entries = match document.remove("manifests") {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    let mut embedded: usize =
        entries.iter().filter_map(|entry| entry["data"].as_str()).map(str::len).sum();
    for entry in further {
        embedded += entry.data.as_ref().map_or(0, String::len);
        let data = entry.data.clone().filter(|_| embedded <= EMBEDDED_LIMIT);
        entries.push(serde_json::json!(Descriptor { data, ..entry.clone() }));
    }
    let digest = |entry: &Value| entry["digest"].as_str().unwrap_or_default().to_owned();
    // Stable: of two entries with one digest, the older one stays.
    entries.sort_by_key(digest);
    entries.dedup_by_key(|entry| digest(entry));
    document.insert("schemaVersion".to_owned(), 2.into());
    document.insert("mediaType".to_owned(), media_type::OCI_INDEX.into());
    document.insert("manifests".to_owned(), Value::Array(entries));
    Value::Object(document).to_string().into()
}

/// The index without embedded documents.
fn without_embedded(index: &Bytes) -> Bytes {
    let Ok(mut document) = serde_json::from_slice::<Value>(index) else { return index.clone() };
    let entries = document["manifests"].as_array_mut().into_iter().flatten();
    for entry in entries.filter_map(Value::as_object_mut) {
        entry.remove("data");
    }
    document.to_string().into()
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
        entries.iter().fold(Bytes::from_static(b"{}"), |bytes, entry| {
            index_bytes(parse(&bytes), std::slice::from_ref(*entry))
        })
    }

    #[test]
    fn the_same_entries_make_the_same_index() {
        let (a, b, c) = (entry("a"), entry("b"), entry("c"));
        let one = index(&[&a, &b, &c]);
        assert_eq!(one, index(&[&c, &b, &a, &b]));
        assert_eq!(one, index_bytes(Map::new(), &[b.clone(), c.clone(), a.clone()]));
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
        let bytes = index_bytes(document, &[b]);
        let bytes = index_bytes(serde_json::from_slice(&bytes).unwrap(), &[a]);
        let written: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(written["annotations"]["by"], "them");
        assert!(written["manifests"].as_array().unwrap().contains(&theirs));
        assert_eq!(written["manifests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn documents_are_embedded_while_there_is_room() {
        let entries: Vec<Descriptor> = (0..=u8::MAX)
            .map(|byte| Descriptor::embedding(media_type::OCI_MANIFEST, &[byte; 6 * 1024]))
            .collect();
        let bytes = index(&entries.iter().collect::<Vec<_>>());
        let read = |bytes: &Bytes| match Manifest::parse(bytes, None).unwrap() {
            Manifest::Index(index) => index.manifests,
            other => panic!("{other:?}"),
        };
        let written = read(&bytes);
        assert_eq!(written.len(), entries.len());
        // 6 KiB are 8 KiB in base64.
        let embedded: Vec<_> = written.iter().filter_map(Descriptor::embedded).collect();
        assert_eq!(embedded.len(), 128);
        // One that is there is not made larger by writing it once more, nor one that could not be embedded.
        assert_eq!(index_bytes(serde_json::from_slice(&bytes).unwrap(), &entries), bytes);
        let bare = without_embedded(&bytes);
        let want: Vec<_> =
            written.into_iter().map(|entry| Descriptor { data: None, ..entry }).collect();
        assert_eq!(read(&bare), want);
    }

    #[test]
    fn the_tag_is_that_of_the_specification() {
        let digest = Digest::of(b"");
        let tag = fallback_tag(&digest, &"h.io/a".parse().unwrap()).unwrap();
        assert_eq!(tag.to_string(), digest.to_string().replace(':', "-"));
        assert!(tag.is_derived_from_digest());
    }
}
