//! Blobs: read and verified, written, taken over from another repository.

use std::path::Path;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use url::Url;
use verbatim_oci::{Descriptor, Digest, Repository};

use crate::auth::scope::{Access, TokenScope};
use crate::error::DigestClaim;
use crate::http::endpoint;
use crate::http::transport::{Call, RegistryResponse};
use crate::http::wire::RequestBody;
use crate::operations::manifests::{check, claimed_digest};
use crate::{Client, Error, ErrorKind};

/// What the answers to an upload may have.
const SMALL: u64 = 64 * 1024;

/// What became of a blob that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadResult {
    /// The registry had it already.
    Existed,
    /// It was sent.
    Sent,
}

/// What became of a blob that was to be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountResult {
    /// It is there now.
    Mounted,
    /// The registry does not do that, or not for this blob: it has to be sent.
    Refused,
}

impl Client {
    /// Reads a blob into memory and verifies it. Takes no more than the descriptor says, nor more than `limit` bytes. If
    /// the descriptor carries the content, nothing is asked.
    ///
    /// # Errors
    ///
    /// Besides failures of the registry: [`ErrorKind::TooLarge`], and [`ErrorKind::DigestMismatch`] if the content is
    /// another one.
    pub async fn blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = self.blob_call("read", repository, &blob.digest, blob.size)?;
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

    /// Reads a blob piece by piece into `writer` and verifies it at the end: until this has returned without an error,
    /// what was written must not be used. A stream that breaks is not begun again.
    ///
    /// # Errors
    ///
    /// As [`Client::blob`], and if the writer fails.
    pub async fn blob_to(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Error> {
        let call = self.blob_call("read", repository, &blob.digest, blob.size)?;
        let fail = |kind| call.error(kind);
        let mut stream = self.transport().open(&call).await?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = stream.chunk().await.map_err(fail)? {
            size += chunk.len() as u64;
            if size > blob.size {
                return Err(fail(ErrorKind::TooLarge { limit: blob.size }));
            }
            hash.update(&chunk);
            writer.write_all(&chunk).await.map_err(|error| fail(ErrorKind::Io(error)))?;
        }
        writer.flush().await.map_err(|error| fail(ErrorKind::Io(error)))?;
        check(&call, DigestClaim::Asked, blob.digest, Digest::from_sha256(hash.finalize().into()))
    }

    /// Asks whether a blob is stored in the repository. What was found or sent once is not asked for again.
    ///
    /// # Errors
    ///
    /// If the registry cannot be asked or refuses.
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
        let call = self.blob_call("look for", repository, digest, 0)?;
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
        let content_type = "application/octet-stream".to_owned();
        let body = RequestBody::Bytes { content_type, bytes };
        Ok((digest, self.push(repository, digest, body).await?))
    }

    /// Stores a file as a blob, unless the registry has it already. The file is read while it is sent; `blob` says its
    /// digest and size.
    ///
    /// # Errors
    ///
    /// As [`Client::push_blob`], and if the file cannot be read.
    pub async fn push_blob_file(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        path: &Path,
    ) -> Result<UploadResult, Error> {
        let body = RequestBody::File { path: path.to_owned(), size: blob.size };
        self.push(repository, blob.digest, body).await
    }

    /// Looks, and sends if needed. Sending takes two requests, of which the second alone cannot be repeated: a session
    /// that failed is left to the registry's own clean-up, and a new one is begun.
    async fn push(
        &self,
        repository: &Repository,
        digest: Digest,
        body: RequestBody,
    ) -> Result<UploadResult, Error> {
        // One token for looking and for sending.
        if self.has_blob_for(repository, &digest, TokenScope::push(repository)).await? {
            return Ok(UploadResult::Existed);
        }
        self.send(repository, digest, || ready(Ok(body.clone())).boxed()).await?;
        Ok(UploadResult::Sent)
    }

    /// Sends a blob, again if that may help. `body` gives its content for each attempt.
    pub(crate) async fn send<'a>(
        &self,
        repository: &Repository,
        digest: Digest,
        body: impl Fn() -> BoxFuture<'a, Result<RequestBody, Error>>,
    ) -> Result<(), Error> {
        let body = &body;
        let send = || async move { self.upload(repository, digest, body().await?).await };
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
        let begin = self.upload_call(repository, "")?;
        let answer = self.transport().call(&begin).await?;
        let mut url = self.session(&begin, &answer)?;
        // Appended, and not parsed: the session's own query must come back letter by letter.
        let mut query = url.query().map(|query| format!("{query}&")).unwrap_or_default();
        query.push_str(&format!("digest={digest}"));
        url.set_query(Some(&query));
        let call = Call { method: Method::PUT, url, body, ..begin };
        let answer = self.transport().call(&call).await?;
        if answer.status != StatusCode::CREATED {
            let status = answer.status.as_u16();
            return Err(call.error(ErrorKind::Malformed(format!("{status} to a whole upload"))));
        }
        match claimed_digest(&answer).map_err(|kind| call.error(kind))? {
            Some(claimed) => check(&call, DigestClaim::Header, claimed, digest),
            None => Ok(()),
        }
    }

    /// Takes a blob over from another repository of the same registry, without sending it.
    ///
    /// # Errors
    ///
    /// If the registry cannot be asked. That it refuses to mount is no error: [`MountResult::Refused`].
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
        let mut call = self.upload_call(repository, &query)?;
        call.action = format!("mount {digest} from {from} into {repository}");
        call.need = TokenScope::push(repository).and(from, Access::Pull);
        let answer = self.transport().call(&call).await?;
        if answer.status == StatusCode::CREATED {
            self.note_stored(repository, *digest);
            return Ok(MountResult::Mounted);
        }
        // The registry has begun an upload instead. It is of no use.
        if let Ok(url) = self.session(&call, &answer) {
            self.give_up(call, url).await;
        }
        Ok(MountResult::Refused)
    }

    pub(crate) fn blob_call<'a>(
        &self,
        verb: &str,
        repository: &'a Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Call<'a>, Error> {
        let url = self.url(repository, &format!("blobs/{digest}"))?;
        Ok(Call::get(format!("{verb} {digest} in {repository}"), repository, url, limit))
    }

    pub(crate) fn upload_call<'a>(
        &self,
        repository: &'a Repository,
        query: &str,
    ) -> Result<Call<'a>, Error> {
        let url = self.url(repository, &format!("blobs/uploads/{query}"))?;
        Ok(Call {
            method: Method::POST,
            need: TokenScope::push(repository),
            body: RequestBody::Empty,
            repeat: false,
            ..Call::get(format!("send a blob to {repository}"), repository, url, SMALL)
        })
    }

    /// Ends an upload that nothing is sent to. That may fail without harm: registries forget those that nobody goes on with.
    pub(crate) async fn give_up(&self, begun: Call<'_>, url: Url) {
        let cancel = Call { method: Method::DELETE, url, body: RequestBody::None, ..begun };
        if let Err(error) = self.transport().call(&cancel).await {
            tracing::debug!(%error, "an upload stays begun");
        }
    }

    /// Where the upload that an answer opens goes on.
    pub(crate) fn session(&self, call: &Call<'_>, answer: &RegistryResponse) -> Result<Url, Error> {
        let location = answer.header("location").and_then(|text| call.url.join(text).ok());
        let Some(url) = location else {
            let what = "an upload without a `Location`".to_owned();
            return Err(call.error(ErrorKind::Malformed(what)));
        };
        endpoint::check_scheme(self.config(), &call.url, &url).map_err(|kind| call.error(kind))?;
        Ok(url)
    }
}
