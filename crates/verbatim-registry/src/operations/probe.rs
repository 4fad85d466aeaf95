//! Checks whether a repository accepts pushes, without leaving anything behind.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use verbatim_oci::Repository;

use crate::http::transport::RegistryResponse;
use crate::{Client, Error};

/// A repository that accepts uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WritableRepository {
    /// The registry's time, from the `Date` header of its answer. In whole seconds.
    pub date: Option<Timestamp>,
}

impl Client {
    /// Begins an [upload][spec] and cancels it.
    ///
    /// [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
    ///
    /// # Errors
    ///
    /// If the registry cannot be reached, or refuses the upload.
    pub async fn check_push(&self, repository: &Repository) -> Result<WritableRepository, Error> {
        let mut begin = self.upload_call(repository, "")?;
        begin.action = format!("begin an upload to {repository}");
        let answer = self.transport().call(&begin).await?;
        let date = date(&answer);
        let url = self.session(&begin, &answer)?;
        self.give_up(begin, url).await;
        Ok(WritableRepository { date })
    }
}

fn date(answer: &RegistryResponse) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(answer.header("date")?.trim()).ok()
}
