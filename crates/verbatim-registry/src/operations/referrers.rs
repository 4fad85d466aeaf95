//! The referrers of a manifest: signatures, records, attestations.
//!
//! "There is none" is an answer; "cannot find out" is an error. The two are never mixed up, because gates depend on the
//! listing.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use verbatim_oci::{Descriptor, Digest, Manifest, Repository, media_type};

use crate::http::link::{NextPage, Pages};
use crate::http::transport::Call;
use crate::operations::fallback::FallbackTag;
use crate::operations::manifests::content_type;
use crate::{Client, Error, ErrorKind};

/// The most bytes of one page of referrers, and of the index under a fallback tag: some registries send ten thousand
/// entries in one page.
pub(crate) const LISTING_LIMIT: u64 = 32 * 1024 * 1024;

/// The most referrers of one manifest that are read: twice as many as a fallback tag can hold. Whoever may push can attach more
/// of them, and they must not fill the memory of everybody who reads.
const MOST_REFERRERS: usize = 20_000;

/// The most bytes of all pages.
const LISTINGS_LIMIT: u64 = 2 * LISTING_LIMIT;

/// How many pages of referrers are read: a registry that pages in circles must not loop forever.
const MOST_PAGES: usize = 1000;

/// The referrers of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrers {
    /// The referrers, in the order of the registry, each once.
    pub descriptors: Vec<Descriptor>,
    /// Where they are listed.
    pub source: ReferrersSource,
}

/// Where the referrers of a subject are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferrersSource {
    /// By the registry's [referrers API][spec].
    ///
    /// [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
    Api,
    /// In the index under the tag `sha256-<hex>`, which clients keep where the registry has no such API.
    FallbackTag,
}

impl Client {
    /// Lists the referrers of `subject`, of one artifact type or of all.
    ///
    /// # Errors
    ///
    /// If the list cannot be read completely. A subject without referrers, or one that does not exist, has an empty
    /// list. A repository that does not exist, or that the login may not see, has none.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, Error> {
        let (descriptors, source) = match self.ask_api(repository, subject, artifact_type).await? {
            ReferrersAnswer::ByApi(descriptors) => (descriptors, ReferrersSource::Api),
            ReferrersAnswer::NoApi => {
                let index = self.fallback_index(repository, subject).await?.list();
                let descriptors = index.map(|index| index.entries).unwrap_or_default();
                (descriptors, ReferrersSource::FallbackTag)
            }
            // An old registry may answer this way, and so may a proxy that wants a login. A fallback tag proves the
            // first.
            ReferrersAnswer::SomethingElse(error) => {
                match self.fallback_index(repository, subject).await?.list() {
                    Some(index) => (index.entries, ReferrersSource::FallbackTag),
                    None => return Err(error),
                }
            }
            // An old registry may answer this way, and so does one that has the list and does not show it. A
            // registry that shows this login whether the fallback tag is there hides nothing of the repository.
            ReferrersAnswer::Denied(error) => {
                let entries = match self.fallback_index(repository, subject).await? {
                    FallbackTag::List(index) => index.entries,
                    FallbackTag::Unknown => Vec::new(),
                    FallbackTag::NotFound => return Err(error),
                };
                self.note_no_referrers_api(repository);
                (entries, ReferrersSource::FallbackTag)
            }
        };
        Ok(Referrers { descriptors: select(descriptors, artifact_type), source })
    }

    /// The list from the API; `None` if the registry has no such API, or does not answer with a list.
    pub(crate) async fn listed_by_api(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        match self.ask_api(repository, subject, artifact_type).await? {
            ReferrersAnswer::ByApi(descriptors) => Ok(Some(descriptors)),
            ReferrersAnswer::NoApi
            | ReferrersAnswer::SomethingElse(_)
            | ReferrersAnswer::Denied(_) => Ok(None),
        }
    }

    /// Asks the API. Its absence is noted for each repository.
    async fn ask_api(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<ReferrersAnswer, Error> {
        if self.lacks_referrers_api(repository) {
            return Ok(ReferrersAnswer::NoApi);
        }
        let listed = self.ask_referrers_api(repository, subject, artifact_type).await?;
        if matches!(listed, ReferrersAnswer::NoApi) {
            self.note_no_referrers_api(repository);
        }
        Ok(listed)
    }

    async fn ask_referrers_api(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<ReferrersAnswer, Error> {
        let mut url = self.url(repository, &format!("referrers/{subject}")).await?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let action = format!("list the referrers of {subject} in {repository}");
        let mut call = Call {
            accept: &[media_type::OCI_INDEX],
            ..Call::get(action, repository, url, LISTING_LIMIT)
        };
        let (mut descriptors, mut bytes) = (Vec::new(), 0);
        let mut pages = Pages::default();
        for page in 0..MOST_PAGES {
            let answer = match self.transport().call(&call).await {
                Ok(answer) => answer,
                Err(error) if page == 0 => return without_api(error),
                Err(error) if error.kind().refusal().is_some() => {
                    return Err(error.with_kind(ends_early()));
                }
                Err(error) => return Err(error),
            };
            let is_index = answer.status.is_success()
                && content_type(&answer).as_deref() == Some(media_type::OCI_INDEX);
            let fail = |what: &str| call.error(ErrorKind::Malformed(what.to_owned()));
            if !is_index && page == 0 {
                let error = fail("the answer is not a list of referrers");
                return Ok(ReferrersAnswer::SomethingElse(error));
            }
            if !is_index {
                return Err(call.error(ends_early()));
            }
            let entries = read_entries(&answer.body).map_err(|kind| call.error(kind))?;
            descriptors.extend(entries);
            bytes += answer.body.len() as u64;
            if descriptors.len() > MOST_REFERRERS || bytes > LISTINGS_LIMIT {
                return Err(call.error(ErrorKind::TooManyReferrers { limit: MOST_REFERRERS }));
            }
            match pages.next(&answer.headers, &call.url) {
                NextPage::End => return Ok(ReferrersAnswer::ByApi(descriptors)),
                NextPage::Page(url) => call.url = url,
                NextPage::Elsewhere(_) => {
                    return Err(fail("the list of referrers continues on another server"));
                }
            }
        }
        Err(call.error(ErrorKind::Malformed("the list of referrers does not end".to_owned())))
    }
}

/// The answer of the API.
enum ReferrersAnswer {
    ByApi(Vec<Descriptor>),
    /// There is no such API.
    NoApi,
    /// Success, but no list. Read as "none", it would hide every record.
    SomethingElse(Error),
    /// 401 or 403, without a word about the repository.
    Denied(Error),
}

fn ends_early() -> ErrorKind {
    ErrorKind::Malformed("the list of referrers ends early".to_owned())
}

/// What a refusal says of the API. Registries without it answer 404 by the specification, and about every other status in
/// the wild; 401 and 403 may also be an answer about the list. A failure that may pass is none, and neither is a
/// refusal that speaks of the repository.
fn without_api(error: Error) -> Result<ReferrersAnswer, Error> {
    let Some(response) = error.kind().refusal() else { return Err(error) };
    if let Some(kind) = response.hides_repository() {
        return Err(error.with_kind(kind));
    }
    Ok(match response.status {
        401 | 403 => ReferrersAnswer::Denied(error),
        _ => ReferrersAnswer::NoApi,
    })
}

#[derive(Debug)]
pub(crate) struct ReferrersIndex {
    pub(crate) entries: Vec<Descriptor>,
    /// The whole document, including unknown fields.
    pub(crate) document: Map<String, Value>,
}

/// Reads an index of referrers, including unknown fields.
pub(crate) fn read_index(bytes: &[u8]) -> Result<ReferrersIndex, ErrorKind> {
    let entries = read_entries(bytes)?;
    let document = serde_json::from_slice(bytes).map_err(|_| malformed("is not a JSON object"))?;
    Ok(ReferrersIndex { entries, document })
}

/// Reads the entries of an index of referrers. A document without a list is not an empty list: it is something else,
/// and may hide records. (Go writes an empty list as `null`.) There may be ten thousand entries, so nothing else is
/// kept.
fn read_entries(bytes: &[u8]) -> Result<Vec<Descriptor>, ErrorKind> {
    let list: ReferrersDocument =
        serde_json::from_slice(bytes).map_err(|_| malformed("is not a JSON object"))?;
    match (list.manifests, Manifest::parse(bytes, Some(media_type::OCI_INDEX))) {
        (None, _) => Err(malformed("has no `manifests`")),
        (Some(None), _) => Ok(Vec::new()),
        (_, Ok(Manifest::Index(index))) => Ok(index.manifests),
        (_, Ok(_)) => Err(malformed("is not an index")),
        (_, Err(error)) => Err(ErrorKind::Manifest(error)),
    }
}

fn malformed(what: &str) -> ErrorKind {
    ErrorKind::Malformed(format!("the list of referrers {what}"))
}

/// Whether there is a list: `None` without the field, `Some(None)` for `null`.
#[derive(Deserialize)]
struct ReferrersDocument {
    #[serde(default, deserialize_with = "given")]
    manifests: Option<Option<IgnoredAny>>,
}

fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<IgnoredAny>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The entries of one artifact type, each once. Registries may filter, and not all do.
fn select(descriptors: Vec<Descriptor>, artifact_type: Option<&str>) -> Vec<Descriptor> {
    let mut seen = std::collections::BTreeSet::new();
    let wanted = |entry: &Descriptor| {
        artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
    };
    descriptors.into_iter().filter(|entry| wanted(entry) && seen.insert(entry.digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_list_is_not_an_empty_list() {
        for (text, want) in [
            (r#"{"schemaVersion":2,"manifests":[]}"#, Ok(0)),
            (r#"{"schemaVersion":2,"manifests":null}"#, Ok(0)),
            (r#"{"schemaVersion":2}"#, Err("has no `manifests`")),
            (r#"{"schemaVersion":2,"manifests":{}}"#, Err("")),
            (r#"{"schemaVersion":2,"manifests":[{}]}"#, Err("")),
            ("[]", Err("has no `manifests`")),
            ("<html>", Err("is not a JSON object")),
        ] {
            match (read_entries(text.as_bytes()), want) {
                (Ok(entries), Ok(count)) => assert_eq!(entries.len(), count, "{text}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn entries_are_selected_once_by_type() {
        let entry = |content: &str, artifact_type: Option<&str>| Descriptor {
            artifact_type: artifact_type.map(str::to_owned),
            ..Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes())
        };
        let all = vec![
            entry("a", Some("x")),
            entry("b", Some("y")),
            entry("c", None),
            entry("a", Some("x")),
        ];
        let check = |artifact_type: Option<&str>, want: &[usize]| {
            let want: Vec<_> = want.iter().map(|&at| all[at].clone()).collect();
            assert_eq!(select(all.clone(), artifact_type), want, "{artifact_type:?}");
        };
        check(None, &[0, 1, 2]);
        check(Some("x"), &[0]);
        check(Some("z"), &[]);
    }
}
