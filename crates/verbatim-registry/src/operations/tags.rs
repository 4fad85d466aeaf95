//! The tags of a repository.

use serde::Deserialize;
use verbatim_oci::{Repository, Tag};

use crate::http::link::{self, NextPage};
use crate::http::transport::Call;
use crate::{Client, Error, ErrorKind};

/// What one page may have. Some registries send all tags at once, whatever they are asked.
const PAGE_LIMIT: u64 = 32 * 1024 * 1024;

/// How many tags are asked for at once. A registry may send fewer.
const PAGE: u32 = 1000;

/// How many pages are read: a registry that pages in circles must come to an end.
const MOST_PAGES: usize = 10_000;

/// What is done with tags that tools have derived from a digest (`sha256-<hex>`, `sha256-<hex>.sig`): they hold
/// referrers and signatures, and name no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivedTags {
    /// They are left out.
    Hide,
    /// They are listed with the others.
    Show,
}

#[derive(Deserialize)]
struct TagPage {
    /// Null in a repository that has lost its last tag.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository, in the order of the registry.
    ///
    /// # Errors
    ///
    /// If the registry cannot be asked, refuses, or does not know the repository; never a part of the list.
    pub async fn tags(
        &self,
        repository: &Repository,
        derived: DerivedTags,
    ) -> Result<Vec<Tag>, Error> {
        let url = self.url(repository, &format!("tags/list?n={PAGE}"))?;
        let mut call =
            Call::get(format!("list the tags of {repository}"), repository, url, PAGE_LIMIT);
        let mut tags = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = self.transport().call(&call).await?;
            let page: TagPage = serde_json::from_slice(&answer.body).map_err(|error| {
                call.error(ErrorKind::Malformed(format!("not a list of tags: {error}")))
            })?;
            // A tag that the specification does not allow cannot be asked for either.
            let page = page.tags.unwrap_or_default().into_iter().filter_map(|tag| tag.parse().ok());
            tags.extend(
                page.filter(|tag: &Tag| {
                    derived == DerivedTags::Show || !tag.is_derived_from_digest()
                }),
            );
            match link::next(&answer.headers, &call.url) {
                NextPage::End => return Ok(tags),
                NextPage::Page(url) => call.url = url,
                NextPage::Elsewhere(target) => {
                    let what = format!("the list of tags goes on elsewhere: {target}");
                    return Err(call.error(ErrorKind::Malformed(what)));
                }
            }
        }
        Err(call.error(ErrorKind::Malformed("a list of tags without an end".to_owned())))
    }
}
