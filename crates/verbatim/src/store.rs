//! The records of a project in its registry: listed and verified, attached and read back. What they mean is known to
//! `verbatim-record`, how a registry is spoken to to `verbatim-registry`; this converts between the two.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use verbatim_oci::{Descriptor, Digest, Manifest, Reference, Repository};
use verbatim_record::{
    Anchor, BUNDLE_MEDIA_TYPE, Bundle, Chain, EMPTY_BLOB, EnvironmentArtifact, EnvironmentId,
    KeyRing, MAX_BUNDLE_SIZE, Records,
};
use verbatim_registry::{Attachment, Client, Error, Layer, PutAs};

/// How many records are fetched at the same time.
const CONCURRENCY: usize = 8;

/// Where the records of a project are kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    client: Client,
    repository: Repository,
}

impl Store {
    /// The records in this repository.
    pub(crate) fn new(client: Client, repository: Repository) -> Self {
        Self { client, repository }
    }

    /// The verified records of a release.
    ///
    /// # Errors
    /// They could not be listed, or not all read. That is never the same as "there are none".
    pub(crate) async fn of_release(
        &self,
        ring: &KeyRing,
        release: Digest,
        now: Timestamp,
    ) -> Result<Records, Error> {
        Ok(Records::of_release(self.bundles(&release).await?, ring, release, now))
    }

    /// The ledger of an environment: its verified promotions, and whether they can be relied on. `anchors` is what is known of its end from elsewhere.
    ///
    /// # Errors
    /// As [`Store::of_release`].
    pub(crate) async fn of_environment(
        &self,
        ring: &KeyRing,
        environment: &EnvironmentId,
        anchors: &[Anchor],
        now: Timestamp,
    ) -> Result<Chain, Error> {
        let artifact = EnvironmentArtifact::of(environment);
        let bundles = self.bundles(artifact.digest()).await?;
        let records = Records::of_environment(bundles, ring, environment, now);
        Ok(Chain::verify(environment, records.promotions, anchors))
    }

    /// Attaches a record to everything that it is about, and sees it listed. `release` points to the release; the
    /// artifact of an environment is pushed if it is not there. Attaching the same record again changes nothing.
    ///
    /// # Errors
    /// The registry refused, failed, or does not list what it stored.
    pub(crate) async fn attach(
        &self,
        record: &Bundle,
        release: &Descriptor,
        environment: Option<&EnvironmentId>,
    ) -> Result<(), Error> {
        let stored = record.attachment();
        let layer = Layer {
            media_type: stored.layer_media_type.to_owned(),
            bytes: stored.layer.into(),
            annotations: Default::default(),
        };
        let mut subjects = Vec::new();
        for digest in &stored.subjects {
            if *digest == release.digest {
                subjects.push(release.clone());
            } else if let Some(environment) = environment {
                subjects.push(self.push_environment(environment).await?);
            }
        }
        for subject in subjects {
            let attachment = Attachment {
                subject,
                artifact_type: stored.artifact_type.to_owned(),
                layers: vec![layer.clone()],
                annotations: stored.annotations.clone(),
            };
            self.client.attach(&self.repository, &attachment).await?;
        }
        Ok(())
    }

    /// Pushes the artifact that stands for an environment. It is the same for everyone, so nothing is overwritten.
    async fn push_environment(&self, environment: &EnvironmentId) -> Result<Descriptor, Error> {
        let artifact = EnvironmentArtifact::of(environment);
        self.client.push_blob(&self.repository, Bytes::from_static(EMPTY_BLOB)).await?;
        let bytes = Bytes::copy_from_slice(artifact.bytes());
        let descriptor = Descriptor::of(EnvironmentArtifact::MEDIA_TYPE, &bytes);
        self.client
            .put_manifest(&self.repository, &PutAs::Digest, EnvironmentArtifact::MEDIA_TYPE, bytes)
            .await?;
        Ok(descriptor)
    }

    /// The bundles that are attached to a manifest, unverified.
    async fn bundles(&self, subject: &Digest) -> Result<Vec<Bytes>, Error> {
        let listed =
            self.client.referrers(&self.repository, subject, Some(BUNDLE_MEDIA_TYPE)).await?;
        stream::iter(listed.descriptors)
            .map(|descriptor| self.bundle(descriptor.digest))
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn bundle(&self, manifest: Digest) -> Result<Bytes, Error> {
        let reference = Reference::by_digest(self.repository.clone(), manifest);
        let layer = match self.client.manifest(&reference).await?.parse()? {
            Manifest::Image(image) => image.layers.into_iter().next(),
            _ => None,
        };
        match layer {
            Some(layer) if layer.size <= MAX_BUNDLE_SIZE as u64 => {
                self.client.blob(&self.repository, &layer, MAX_BUNDLE_SIZE as u64).await
            }
            // Nothing that could be verified: it is listed as a record that does not count. It is no error, or whoever may
            // push could stop every promotion with one large referrer.
            _ => Ok(Bytes::new()),
        }
    }
}
