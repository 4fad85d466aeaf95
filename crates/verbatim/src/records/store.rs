//! The records of a project in its registry: listed and verified, attached and read back. What they mean is known to
//! `verbatim-record`, how a registry is spoken to to `verbatim-registry`; this converts between the two.
//!
//! A registry may lose an entry of a listing: of two jobs that write a fallback tag at the same moment one undoes the
//! other. A record that is known by its digest, from an anchor or a successor, is therefore fetched by it, and the next
//! job that adds to the ledger lists it again. Only what cannot be fetched either is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use verbatim_console::Failure;
use verbatim_oci::{Descriptor, Digest, Repository};
use verbatim_record::{
    Anchors, BUNDLE_MEDIA_TYPE, Bundle, Chain, EMPTY_BLOB, EnvironmentArtifact, EnvironmentId,
    JudgedRecord, KeyRing, LedgerLog, MAX_BUNDLE_SIZE, PREDICATE_TYPE_ANNOTATION, RecordCollector,
    RecordJudge, Records, Testimony,
};
use verbatim_registry::{Attachment, Client, Error, Layer, ManifestName, ReferrerContent};

use crate::project::clock;

/// How many records are fetched at the same time.
const CONCURRENCY: usize = 8;

/// The ledger of an environment.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Its promotions, and whether they can be relied on.
    pub chain: Chain,
    /// The other records that were wanted.
    pub records: Records,
    /// Records that the listing does not have and that were fetched by their digest.
    pub unlisted: BTreeSet<Digest>,
    /// What they say of the records of keys that have ended.
    pub testimony: Testimony,
}

impl Ledger {
    /// That of an environment of which nobody has said anything.
    pub(crate) fn empty(environment: &EnvironmentId) -> Self {
        Self {
            chain: Chain::verify(environment, [], &[]),
            records: Records::default(),
            unlisted: BTreeSet::new(),
            testimony: Testimony::default(),
        }
    }

    /// The releases that its records are about.
    pub(crate) fn releases(&self) -> BTreeSet<Digest> {
        let Records { approvals, vetoes, tests, .. } = &self.records;
        // Of the subjects of a record the release is the first.
        let promoted = self.chain.promotions().iter().map(|it| it.predicate().release.digest);
        let said = (approvals.iter().filter_map(|it| it.statement().subjects().next()))
            .chain(vetoes.iter().filter_map(|it| it.statement().subjects().next()))
            .chain(tests.iter().filter_map(|it| it.statement().subjects().next()));
        promoted.chain(said).collect()
    }
}

/// What the listing of an environment has: verified records that are not a ledger yet.
#[derive(Debug)]
pub(crate) struct Listed {
    ring: KeyRing,
    environment: EnvironmentId,
    records: Records,
    now: Timestamp,
}

impl Listed {
    /// What an environment has of which nobody has said anything.
    pub(crate) fn empty(ring: &KeyRing, environment: &EnvironmentId, now: Timestamp) -> Self {
        let (ring, environment) = (ring.clone(), environment.clone());
        Self { ring, environment, records: Records::default(), now }
    }
}

/// What happens to statements of types that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Foreign {
    /// They are not read, if the listing says what they are.
    Skipped,
    /// They are told among what does not count.
    Told,
}

/// Where the records of a project are kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    client: Client,
    repository: Repository,
    /// Whose records they are; `None` for those of any project.
    project: Option<String>,
    /// Records that are stored and not listed, by the environment whose ledger lacks them.
    unlisted: Arc<Mutex<BTreeMap<EnvironmentId, BTreeMap<Digest, Bundle>>>>,
}

impl Store {
    /// The records in this repository.
    pub(crate) fn new(client: Client, repository: Repository) -> Self {
        Self { client, repository, project: None, unlisted: Arc::default() }
    }

    /// The same, for records of this project: those that name another do not count.
    #[must_use]
    pub(crate) fn of_project(self, project: &str) -> Self {
        Self { project: Some(project.to_owned()), ..self }
    }

    /// Fails if the clock of the registry, by its last answer, and that of this machine are too far apart. Then records are
    /// taken for ones of the future, or what they wait for for past.
    pub(crate) fn check_clock(&self) -> Result<(), Failure> {
        clock::check([(self.repository.registry(), self.client.clock(&self.repository))])
    }

    /// The verified records of a release. What its entry in the listing calls a statement of others is not read: whoever
    /// may call one of ours so may as well take it out of the listing, and it is found in the same way.
    pub(crate) async fn of_release(
        &self,
        ring: &KeyRing,
        release: Digest,
        now: Timestamp,
    ) -> Result<Records, Error> {
        self.with_attestations(ring, release, &BTreeSet::new(), now).await
    }

    /// The build records of a release, for who is about to add one. In a repository that nobody has written to there are none;
    /// whoever decides by records asks otherwise, as "no such repository" is not "no records".
    pub(crate) async fn builds_so_far(
        &self,
        ring: &KeyRing,
        release: Digest,
        now: Timestamp,
    ) -> Result<Records, Error> {
        match self.of_release(ring, release, now).await {
            Err(error) if error.is_no_repository() => Ok(Records::default()),
            records => records,
        }
    }

    /// The same, with statements of other types that are trusted as far as their key goes.
    pub(crate) async fn with_attestations(
        &self,
        ring: &KeyRing,
        release: Digest,
        types: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Records, Error> {
        let judge = self.judge_of(ring, release, types, now);
        self.records(&release, judge, Foreign::Skipped).await
    }

    /// All that is attached to a release, with the statements of others.
    pub(crate) async fn all_of_release(
        &self,
        ring: &KeyRing,
        release: Digest,
        now: Timestamp,
    ) -> Result<Records, Error> {
        let judge = self.judge_of(ring, release, &BTreeSet::new(), now);
        self.records(&release, judge, Foreign::Told).await
    }

    fn judge_of(
        &self,
        ring: &KeyRing,
        release: Digest,
        types: &BTreeSet<String>,
        now: Timestamp,
    ) -> RecordJudge {
        RecordJudge::of_release(ring.clone(), release, now, types.clone())
            .of_project(self.project.clone())
    }

    /// The ledger of an environment: its verified promotions, whether they can be relied on, and what else is wanted.
    /// `anchors` is what is known of its end from elsewhere.
    pub(crate) async fn of_environment(
        &self,
        ring: &KeyRing,
        environment: &EnvironmentId,
        anchors: &Anchors,
        now: Timestamp,
    ) -> Result<Ledger, Error> {
        let listed = self.listed(ring, environment, now).await?;
        self.ledger(listed, anchors).await
    }

    /// The first half of [`Store::of_environment`]: the records that are listed. For those who find out meanwhile what is
    /// known of the end of the ledger. An anchor that is newer than the listing is no harm: its record is fetched by its
    /// digest.
    pub(crate) async fn listed(
        &self,
        ring: &KeyRing,
        environment: &EnvironmentId,
        now: Timestamp,
    ) -> Result<Listed, Error> {
        let artifact = EnvironmentArtifact::of(environment);
        let judge = RecordJudge::of_environment(ring.clone(), environment, now);
        let records = self.records(artifact.digest(), judge, Foreign::Skipped).await?;
        Ok(Listed { ring: ring.clone(), environment: environment.clone(), records, now })
    }

    /// The second half: the promotions that are listed as a chain, and all records as a log, with those that only anchors and
    /// successors know.
    pub(crate) async fn ledger(&self, listed: Listed, anchors: &Anchors) -> Result<Ledger, Error> {
        let Listed { ring, environment, mut records, now } = listed;
        let chain_of = |records: &Records| {
            let promotions = records.promotions.iter().cloned();
            Chain::verify(&environment, promotions, &anchors.promotions)
                .explained(&records.rejected)
                .within(&LedgerLog::of(records, &anchors.records))
        };
        let mut chain = chain_of(&records);
        let mut missing: BTreeSet<Digest> = chain.missing().collect();
        let mut known: BTreeSet<Digest> = records.digests().collect();
        let mut unlisted: BTreeMap<Digest, Bundle> = BTreeMap::new();
        while !missing.is_empty() {
            let fetched = self.fetch(&missing).await?;
            known.append(&mut missing);
            let found = Records::of_environment(&fetched, &ring, &environment, now);
            let bundles = fetched.into_iter().filter_map(|it| Bundle::read(it.to_vec()).ok());
            unlisted.extend(bundles.map(|it| (it.digest(), it)));
            // What is fetched may be a witness for what is listed, and the other way round.
            records = records.joined_with(found);
            chain = chain_of(&records);
            missing = chain.missing().filter(|record| !known.contains(record)).collect();
        }
        let counts: BTreeSet<Digest> = records.digests().collect();
        unlisted.retain(|digest, _| counts.contains(digest));
        let digests = unlisted.keys().copied().collect();
        self.note_unlisted(&environment, unlisted);
        let testimony = records.testimony(&ring, now);
        // They are in the chain.
        records.promotions = Vec::new();
        Ok(Ledger { chain, records, unlisted: digests, testimony })
    }

    /// Attaches a record to everything that it is about, and sees it listed. `release` points to the release; the
    /// artifacts of `environments` are pushed if they are not there. Attaching the same record again changes nothing.
    ///
    /// What was found missing from the listings of those environments is listed again on this occasion.
    pub(crate) async fn attach(
        &self,
        record: &Bundle,
        release: Option<&Descriptor>,
        environments: &[EnvironmentId],
    ) -> Result<(), Error> {
        for digest in &record.attachment().subjects {
            let is_it = |it: &&EnvironmentId| EnvironmentArtifact::of(it).digest() == digest;
            if let Some(release) = release.filter(|release| *digest == release.digest) {
                self.attach_to(record, release.clone()).await?;
            } else if let Some(environment) = environments.iter().find(is_it) {
                let artifact = self.push_environment(environment).await?;
                self.attach_to(record, artifact.clone()).await?;
                self.list_again(environment, &artifact).await;
            }
        }
        Ok(())
    }

    async fn attach_to(&self, record: &Bundle, subject: Descriptor) -> Result<(), Error> {
        let stored = record.attachment();
        let attachment = Attachment {
            subject,
            artifact_type: stored.artifact_type.to_owned(),
            layers: vec![Layer {
                media_type: stored.layer_media_type.to_owned(),
                bytes: stored.layer.into(),
                annotations: BTreeMap::new(),
            }],
            annotations: stored.annotations,
        };
        self.client.attach(&self.repository, &attachment).await.map(drop)
    }

    /// Lists again what the listing of an environment has lost. The record that was to be attached is attached; that an
    /// older one is still not listed is found out, and tried again, by the next job.
    async fn list_again(&self, environment: &EnvironmentId, artifact: &Descriptor) {
        let lost = {
            let unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
            unlisted.get(environment).cloned().unwrap_or_default()
        };
        for (digest, record) in lost {
            match self.attach_to(&record, artifact.clone()).await {
                Ok(()) => {
                    let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
                    unlisted.entry(environment.clone()).or_default().remove(&digest);
                }
                Err(error) => tracing::warn!(%digest, %error, "cannot list a record again"),
            }
        }
    }

    fn note_unlisted(&self, environment: &EnvironmentId, records: BTreeMap<Digest, Bundle>) {
        let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        unlisted.entry(environment.clone()).or_default().extend(records);
    }

    /// Pushes the artifact that stands for an environment. It is the same for everyone, so nothing is overwritten.
    async fn push_environment(&self, environment: &EnvironmentId) -> Result<Descriptor, Error> {
        let artifact = EnvironmentArtifact::of(environment);
        self.client.push_blob(&self.repository, Bytes::from_static(EMPTY_BLOB)).await?;
        let bytes = Bytes::copy_from_slice(artifact.bytes());
        let descriptor = Descriptor::of(EnvironmentArtifact::MEDIA_TYPE, &bytes);
        self.client
            .put_manifest(
                &self.repository,
                &ManifestName::Digest,
                EnvironmentArtifact::MEDIA_TYPE,
                bytes,
            )
            .await?;
        Ok(descriptor)
    }

    /// The records that are attached to a manifest. While some are fetched others are verified, on other processors, and
    /// the bytes of none are kept: there may be thousands.
    async fn records(
        &self,
        subject: &Digest,
        judge: RecordJudge,
        foreign: Foreign,
    ) -> Result<Records, Error> {
        let listed =
            self.client.referrers(&self.repository, subject, Some(BUNDLE_MEDIA_TYPE)).await?;
        let is_read = |entry: &Descriptor| {
            let claimed = entry.annotations.get(PREDICATE_TYPE_ANNOTATION);
            foreign == Foreign::Told || claimed.is_none_or(|claimed| judge.reads(claimed))
        };
        let entries: Vec<_> = listed.descriptors.into_iter().filter(is_read).collect();
        let judge = Arc::new(judge);
        // In the order of the listing, so that two runs tell the same.
        let mut judged = stream::iter(entries)
            .map(|entry| {
                let judge = Arc::clone(&judge);
                async move {
                    let limit = MAX_BUNDLE_SIZE as u64;
                    let content = self.client.referrer_content(&self.repository, &entry, limit);
                    Ok::<_, Error>(match content.await? {
                        ReferrerContent::Bytes(bundle) => judged(judge, bundle).await,
                        // Anybody may have pushed it, so it is told and stops nothing.
                        ReferrerContent::Unusable(why) => {
                            JudgedRecord::unusable(entry.digest, why.to_string())
                        }
                    })
                }
            })
            .buffered(CONCURRENCY);
        let mut gathering = RecordCollector::default();
        while let Some(one) = judged.try_next().await? {
            gathering.add(one);
        }
        Ok(gathering.finish())
    }

    /// The records of these digests, as far as the registry has them. A record's digest is that of its blob.
    async fn fetch(&self, records: &BTreeSet<Digest>) -> Result<Vec<Bytes>, Error> {
        let fetched: Vec<Option<Bytes>> = stream::iter(records.iter().copied())
            .map(|digest| async move {
                // Its size is not known; this much is read and no more.
                let size = MAX_BUNDLE_SIZE as u64;
                let blob = Descriptor { digest, size, ..Descriptor::of(BUNDLE_MEDIA_TYPE, b"") };
                match self.client.blob(&self.repository, &blob, size).await {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(fetched.into_iter().flatten().collect())
    }
}

/// Judges a record on another thread.
async fn judged(judge: Arc<RecordJudge>, bundle: Bytes) -> JudgedRecord {
    let work = {
        let (judge, bundle) = (Arc::clone(&judge), bundle.clone());
        tokio::task::spawn_blocking(move || judge.judge(&bundle))
    };
    // Whatever keeps a thread from it does not keep this one.
    work.await.unwrap_or_else(|_| judge.judge(&bundle))
}
