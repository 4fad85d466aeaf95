//! The tags of a repository.

use std::collections::BTreeSet;

use serde::Deserialize;
use verbatim_oci::{Repository, Tag};

use crate::http::link::{NextPage, Pages};
use crate::http::transport::Call;
use crate::{Client, Error, ErrorKind};

/// The largest page, in bytes. Some registries send all tags at once, whatever the page size.
const PAGE_LIMIT: u64 = 32 * 1024 * 1024;

/// How many tags to request at once. A registry may send fewer.
const PAGE: u32 = 1000;

/// How many pages are read: a registry that pages in circles must not loop forever.
const MOST_PAGES: usize = 10_000;

/// What to do with tags that tools derive from a digest (`sha256-<hex>`, `sha256-<hex>.sig`): they hold referrers and
/// signatures, and name no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivedTags {
    /// Leave them out.
    Hide,
    /// List them with the others.
    Show,
}

#[derive(Deserialize)]
struct TagPage {
    /// Null in a repository without its last tag.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository, in the order of the registry.
    ///
    /// # Errors
    ///
    /// If the registry cannot be reached, refuses, or does not know the repository. Never returns a part of the list.
    pub async fn tags(
        &self,
        repository: &Repository,
        derived: DerivedTags,
    ) -> Result<Vec<Tag>, Error> {
        let url = self.url(repository, &format!("tags/list?n={PAGE}")).await?;
        let mut call =
            Call::get(format!("list the tags of {repository}"), repository, url, PAGE_LIMIT);
        let (mut tags, mut seen, mut pages) = (Vec::new(), BTreeSet::new(), Pages::default());
        for _ in 0..MOST_PAGES {
            let answer = self.transport().call(&call).await?;
            let page: TagPage = serde_json::from_slice(&answer.body).map_err(|error| {
                call.error(ErrorKind::Malformed(format!("not a list of tags: {error}")))
            })?;
            // A tag that the specification does not allow cannot be requested either.
            let names: Vec<Tag> =
                page.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse().ok()).collect();
            // A registry that goes in circles under addresses that differ each time.
            let is_repeated = !names.is_empty() && names.iter().all(|tag| seen.contains(tag));
            let is_wanted =
                |tag: &Tag| derived == DerivedTags::Show || !tag.is_derived_from_digest();
            let new = names.into_iter().filter(|tag| seen.insert(tag.clone()) && is_wanted(tag));
            tags.extend(new);
            match pages.next(&answer.headers, &call.url) {
                NextPage::End => return Ok(tags),
                _ if is_repeated => return Ok(tags),
                NextPage::Page(url) => call.url = url,
                NextPage::Elsewhere(target) => {
                    let what = format!("the list of tags continues on another server: {target}");
                    return Err(call.error(ErrorKind::Malformed(what)));
                }
            }
        }
        Err(call.error(ErrorKind::Malformed("the list of tags does not end".to_owned())))
    }
}
