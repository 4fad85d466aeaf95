//! Whether a repository may be written to, found out without leaving anything behind.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use verbatim_oci::Repository;

use crate::http::transport::RegistryResponse;
use crate::{Client, Error};

/// A repository that lets uploads in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WritableRepository {
    /// What time it is for the registry, by the `Date` of its answer, if it has one. In whole seconds.
    pub date: Option<Timestamp>,
}

impl Client {
    /// Begins an [upload][spec] and gives it up again.
    ///
    /// [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
    ///
    /// # Errors
    ///
    /// If the registry cannot be asked, or lets nothing in.
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
