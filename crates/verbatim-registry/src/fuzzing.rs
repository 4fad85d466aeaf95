//! What `tests/fuzz` calls: readers of answers that nobody outside may call.

use http::header::{HeaderValue, LINK, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName};
use url::Url;

use crate::auth::challenge::challenges;
use crate::http::link::{NextPage, next};
use crate::operations::referrers::read_index;

/// Reads a `Link` header of an answer at `current`; gives the next page at the same server.
pub fn link(value: &[u8], current: &Url) -> Option<Url> {
    match next(&headers(LINK, value)?, current) {
        NextPage::Page(url) => Some(url),
        NextPage::End | NextPage::Elsewhere(_) => None,
    }
}

/// Reads a `WWW-Authenticate` header; gives how many challenges and parameters it has.
pub fn challenge(value: &[u8]) -> Option<(usize, usize)> {
    let found = challenges(&headers(WWW_AUTHENTICATE, value)?);
    Some((found.len(), found.iter().map(|challenge| challenge.parameters.len()).sum()))
}

/// Reads a list of referrers; gives how many entries it has.
pub fn referrers(bytes: &[u8]) -> Option<usize> {
    read_index(bytes).ok().map(|index| index.entries.len())
}

fn headers(name: HeaderName, value: &[u8]) -> Option<HeaderMap> {
    Some(HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).ok()?)]))
}
