//! Reads, verifies, writes and mounts blobs.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::{Method, StatusCode};
use url::Url;
use verbatim_oci::{Descriptor, Digest, Repository};

use crate::auth::scope::{Access, TokenScope};
use crate::error::DigestClaim;
use crate::http::endpoint;
use crate::http::transport::{Call, RegistryResponse};
use crate::http::wire::RequestBody;
use crate::operations::manifests::{check, claimed_digest};
use crate::{Client, Error, ErrorKind};

/// The largest answer to an upload, in bytes.
const SMALL: u64 = 64 * 1024;

/// The result of storing a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadResult {
    /// The registry had it already.
    Existed,
    /// It was sent.
    Sent,
}

/// The result of mounting a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountResult {
    /// The repository has it now.
    Mounted,
    /// The registry does not mount, or not this blob: it must be sent.
    Refused,
}

impl Client {
    /// Reads a blob into memory and verifies it. Reads at most the size in the descriptor, and at most `limit` bytes.
    /// Sends no request if the descriptor embeds the content.
    ///
    /// # Errors
    ///
    /// Besides failures of the registry: [`ErrorKind::TooLarge`], and [`ErrorKind::DigestMismatch`] if the content
    /// differs.
    pub async fn blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = self.blob_call("read", repository, &blob.digest, blob.size).await?;
        if blob.size > limit {
            return Err(call.error(ErrorKind::TooLarge { limit }));
        }
        if let Some(content) = blob.embedded() {
            return Ok(content.into());
        }
        let answer = self.transport().call(&call).await?;
        check(&call, DigestClaim::Asked, blob.digest, Digest::of(&answer.body))?;
        Ok(answer.body)
    }

    /// Asks whether a blob is stored in the repository. Does not ask again about blobs that were found or sent.
    ///
    /// # Errors
    ///
    /// If the registry cannot be reached or refuses.
    pub async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        self.has_blob_for(repository, digest, TokenScope::pull(repository)).await
    }

    pub(crate) async fn has_blob_for(
        &self,
        repository: &Repository,
        digest: &Digest,
        need: TokenScope,
    ) -> Result<bool, Error> {
        if self.is_known_stored(repository, *digest) {
            return Ok(true);
        }
        let call = self.blob_call("look for", repository, digest, 0).await?;
        let call = Call { method: Method::HEAD, answers: &[404], need, ..call };
        let found = self.transport().call(&call).await?.status != StatusCode::NOT_FOUND;
        if found {
            self.note_stored(repository, *digest);
        }
        Ok(found)
    }

    /// Stores bytes as a blob, unless the registry has it already.
    ///
    /// # Errors
    ///
    /// Besides failures of the registry: [`ErrorKind::DigestMismatch`] if it says that it stored something else.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        bytes: Bytes,
    ) -> Result<(Digest, UploadResult), Error> {
        let digest = Digest::of(&bytes);
        if self.may_skip(repository, &digest).await? {
            return Ok((digest, UploadResult::Existed));
        }
        let content_type = "application/octet-stream".to_owned();
        let body = RequestBody::Bytes { content_type, bytes };
        self.send(repository, digest, || ready(Ok(body.clone())).boxed()).await?;
        Ok((digest, UploadResult::Sent))
    }

    /// Whether a blob that is to be stored is there already. A registry that does not tell gets it sent. One token serves
    /// both requests.
    pub(crate) async fn may_skip(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error> {
        match self.has_blob_for(repository, digest, TokenScope::push(repository)).await {
            Err(error) if error.kind().refusal().is_some() => Ok(false),
            found => found,
        }
    }

    /// Sends a blob, with retries. Sending takes two requests, and the second alone cannot be repeated: a retry leaves the
    /// failed session to the registry's clean-up and begins a new one.
    ///
    /// `body` returns its content for each attempt.
    pub(crate) async fn send<'a>(
        &self,
        repository: &Repository,
        digest: Digest,
        body: impl Fn() -> BoxFuture<'a, Result<RequestBody, Error>>,
    ) -> Result<(), Error> {
        let body = &body;
        let send = || async move {
            let body = body().await?;
            let source = match &body {
                RequestBody::Stream { pieces, .. } => Some(pieces.clone()),
                _ => None,
            };
            let sent = self.upload(repository, digest, body).await;
            // What broke is where the content comes from: the target only saw it end.
            sent.map_err(|error| source.and_then(|it| it.take_failure()).unwrap_or(error))
        };
        self.transport().persist(send).await?;
        self.note_stored(repository, digest);
        Ok(())
    }

    async fn upload(
        &self,
        repository: &Repository,
        digest: Digest,
        body: RequestBody,
    ) -> Result<(), Error> {
        let begin = self.upload_call(repository, "").await?;
        let answer = self.transport().call(&begin).await?;
        let mut url = self.session(&begin, &answer)?;
        // Appended, not parsed: the session's own query must not change.
        let mut query = url.query().map(|query| format!("{query}&")).unwrap_or_default();
        query.push_str(&format!("digest={digest}"));
        url.set_query(Some(&query));
        let call = Call { method: Method::PUT, url, body, ..begin };
        let answer = self.transport().call(&call).await?;
        // Some registries answer otherwise to what they stored.
        if answer.status != StatusCode::CREATED && !self.has_blob(repository, &digest).await? {
            let status = answer.status.as_u16();
            return Err(
                call.error(ErrorKind::Malformed(format!("status {status} for a complete upload")))
            );
        }
        match claimed_digest(&answer) {
            Some(claimed) => check(&call, DigestClaim::Header, claimed, digest),
            None => Ok(()),
        }
    }

    /// Mounts a blob from another repository of the same registry, without sending it.
    ///
    /// # Errors
    ///
    /// If the registry cannot be spoken to at all. Whatever it answers is not an error but [`MountResult::Refused`], and
    /// neither is an answer that does not come: the blob can be sent, and that is tried again.
    pub async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<MountResult, Error> {
        if from.registry() != repository.registry() {
            return Ok(MountResult::Refused);
        }
        let query = format!("?mount={digest}&from={}", from.path());
        let mut call = self.upload_call(repository, &query).await?;
        call.action = format!("mount {digest} from {from} into {repository}");
        call.need = TokenScope::push(repository).and(from, Access::Pull);
        let answer = match self.transport().call(&call).await {
            Ok(answer) => answer,
            Err(error) if error.is_retryable() || error.kind().refusal().is_some() => {
                tracing::debug!(%error, kind = %error.kind(), "not mounted");
                return Ok(MountResult::Refused);
            }
            Err(error) => return Err(error),
        };
        if answer.status == StatusCode::CREATED {
            self.note_stored(repository, *digest);
            return Ok(MountResult::Mounted);
        }
        // The registry began an upload instead, which is not needed.
        if let Ok(url) = self.session(&call, &answer) {
            self.give_up(call, url).await;
        }
        Ok(MountResult::Refused)
    }

    pub(crate) async fn blob_call<'a>(
        &self,
        verb: &str,
        repository: &'a Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Call<'a>, Error> {
        let url = self.url(repository, &format!("blobs/{digest}")).await?;
        Ok(Call::get(format!("{verb} {digest} in {repository}"), repository, url, limit))
    }

    pub(crate) async fn upload_call<'a>(
        &self,
        repository: &'a Repository,
        query: &str,
    ) -> Result<Call<'a>, Error> {
        let url = self.url(repository, &format!("blobs/uploads/{query}")).await?;
        Ok(Call {
            method: Method::POST,
            need: TokenScope::push(repository),
            body: RequestBody::Empty,
            repeat: false,
            ..Call::get(format!("send a blob to {repository}"), repository, url, SMALL)
        })
    }

    /// Cancels an unused upload. A failure does no harm: registries expire abandoned uploads.
    pub(crate) async fn give_up(&self, begun: Call<'_>, url: Url) {
        let cancel = Call { method: Method::DELETE, url, body: RequestBody::None, ..begun };
        if let Err(error) = self.transport().call(&cancel).await {
            tracing::debug!(%error, "an upload stays begun");
        }
    }

    /// The URL of the upload session that an answer opens.
    pub(crate) fn session(&self, call: &Call<'_>, answer: &RegistryResponse) -> Result<Url, Error> {
        let location = answer.header("location").and_then(|text| call.url.join(text).ok());
        let location = location.map(|url| endpoint::behind_tls(&call.url, url));
        let Some(url) = location else {
            let what = "the upload has no `Location` header".to_owned();
            return Err(call.error(ErrorKind::Malformed(what)));
        };
        endpoint::check_scheme(self.config(), &call.url, &url).map_err(|kind| call.error(kind))?;
        Ok(url)
    }
}
