//! Checks whether a repository accepts pushes, without leaving anything behind.

use verbatim_oci::Repository;

use crate::{Client, Error};

impl Client {
    /// Begins an [upload][spec] and cancels it.
    ///
    /// [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
    ///
    /// # Errors
    ///
    /// If the registry cannot be reached, or refuses the upload.
    pub async fn check_push(&self, repository: &Repository) -> Result<(), Error> {
        let mut begin = self.upload_call(repository, "").await?;
        begin.action = format!("begin an upload to {repository}");
        let answer = self.transport().call(&begin).await?;
        let url = self.session(&begin, &answer)?;
        self.give_up(begin, url).await;
        Ok(())
    }
}
