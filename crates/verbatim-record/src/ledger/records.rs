//! All records found on one manifest, sorted into what counts and what does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;

use super::testimony::{self, Testimony, Witness};
use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::envelope::{
    Envelope, Expectation, IMAGE_SIGNATURE_TYPE, Opened, Rejection, Verified, complete,
    complete_any, complete_signature, read_statement,
};
use crate::keys::{KeyEnd, KeyRing, Signer};
use crate::predicate::{
    Approval, HandOver, JsonText, Lock, Predicate, Promotion, Provenance, TestResult, Veto,
};

/// The records of one release, or of one environment. Within each list the oldest is first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Records {
    /// How it was built.
    pub builds: Vec<Verified<Provenance>>,
    /// Test runs, passed or failed.
    pub tests: Vec<Verified<TestResult>>,
    /// Promotions of it, or into it.
    pub promotions: Vec<Verified<Promotion>>,
    /// Approvals, expired or not.
    pub approvals: Vec<Verified<Approval>>,
    /// Vetoes and their lifts; [`in_force`](crate::in_force) tells which are in force.
    pub vetoes: Vec<Verified<Veto>>,
    /// Locks and their lifts, of environments only.
    pub locks: Vec<Verified<Lock>>,
    /// Keys that took over from others, in environments only.
    pub hand_overs: Vec<Verified<HandOver>>,
    /// Statements of other types that were asked for, by trusted keys of any role.
    pub attestations: Vec<Verified<JsonText>>,
    /// What does not count, and why: people should see that it is there.
    pub rejected: Vec<RejectedRecord>,
    /// Records of keys that have ended, for which there is no witness yet. They are among the rejected, too.
    #[serde(skip)]
    pending: Vec<JudgedRecord>,
}

/// A record of whatever kind, in the ledger of an environment.
#[derive(Debug)]
pub(super) struct Entry {
    /// Digest of its bytes.
    pub(super) record: Digest,
    /// Digest of what is signed.
    pub(super) statement: Digest,
    /// When it was made, as its signer says.
    pub(super) at: Option<Timestamp>,
    /// The records at the end of the ledger then.
    pub(super) seen: Vec<Digest>,
    /// Of a promotion those before it.
    pub(super) before: Vec<Digest>,
}

impl Entry {
    fn of<P: Predicate>(record: &Verified<P>) -> Self {
        Self {
            record: record.record(),
            statement: record.statement_digest(),
            at: record.recorded_at(),
            seen: record.predicate().seen(),
            before: Vec::new(),
        }
    }
}

/// A record that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedRecord {
    /// Digest of its bytes.
    pub record: Digest,
    /// Its predicate type, unverified.
    pub predicate_type: Option<String>,
    /// Why it does not count.
    pub rejection: Rejection,
}

impl Records {
    /// The records found on the manifest of a release.
    pub fn of_release<B: AsRef<[u8]>>(
        bundles: impl IntoIterator<Item = B>,
        ring: &KeyRing,
        release: Digest,
        now: Timestamp,
    ) -> Self {
        Self::with_attestations(bundles, ring, release, now, &BTreeSet::new())
    }

    /// The same, with the statements of further predicate types.
    pub fn with_attestations<B: AsRef<[u8]>>(
        bundles: impl IntoIterator<Item = B>,
        ring: &KeyRing,
        release: Digest,
        now: Timestamp,
        types: &BTreeSet<String>,
    ) -> Self {
        Self::judged(bundles, &RecordJudge::of_release(ring.clone(), release, now, types.clone()))
    }

    /// The records found on the artifact of an environment: its ledger.
    pub fn of_environment<B: AsRef<[u8]>>(
        bundles: impl IntoIterator<Item = B>,
        ring: &KeyRing,
        environment: &EnvironmentId,
        now: Timestamp,
    ) -> Self {
        Self::judged(bundles, &RecordJudge::of_environment(ring.clone(), environment, now))
    }

    /// What these records say of the keys that have ended.
    pub fn testimony(&self, ring: &KeyRing, now: Timestamp) -> Testimony {
        let ended: Vec<_> =
            ring.ended(now).map(|(signer, end)| (Arc::clone(signer), end)).collect();
        testimony::testimony(&ended, self.witnesses(), &Testimony::default())
    }

    /// The same records, with those of ended keys that other lists vouch for.
    #[must_use]
    pub fn with_testimony(mut self, known: &Testimony) -> Self {
        self.settle(known);
        self
    }

    /// These records and those of another list about the same manifest.
    #[must_use]
    pub fn joined_with(self, other: Self) -> Self {
        let mut all = RecordCollector::default();
        for Self {
            builds,
            tests,
            promotions,
            approvals,
            vetoes,
            locks,
            hand_overs,
            attestations,
            rejected,
            pending,
        } in [self, other]
        {
            let is_pending: BTreeSet<Digest> = pending.iter().map(|it| it.record).collect();
            let kept = rejected.into_iter().filter(|it| !is_pending.contains(&it.record));
            fn each<P>(
                records: Vec<Verified<P>>,
                wrap: impl Fn(Box<Verified<P>>) -> JudgedAs,
            ) -> impl Iterator<Item = JudgedRecord> {
                records.into_iter().map(move |it| JudgedRecord {
                    record: it.record(),
                    outcome: wrap(Box::new(it)),
                })
            }
            each(builds, JudgedAs::Build)
                .chain(each(tests, JudgedAs::Test))
                .chain(each(promotions, JudgedAs::Promotion))
                .chain(each(approvals, JudgedAs::Approval))
                .chain(each(vetoes, JudgedAs::Veto))
                .chain(each(locks, JudgedAs::Lock))
                .chain(each(hand_overs, JudgedAs::HandOver))
                .chain(each(attestations, JudgedAs::Attestation))
                .chain(
                    kept.map(|it| JudgedRecord {
                        record: it.record,
                        outcome: JudgedAs::Rejected(it),
                    }),
                )
                .chain(pending)
                .for_each(|one| all.add(one));
        }
        all.finish()
    }

    /// The environments that promotions among these name, also those for which there is no witness yet.
    pub fn places(&self) -> BTreeSet<EnvironmentId> {
        let pending = self.pending.iter().filter_map(|it| match &it.outcome {
            JudgedAs::Promotion(promotion) => Some(&**promotion),
            _ => None,
        });
        let promotions = self.promotions.iter().chain(pending);
        promotions.map(|it| it.predicate().environment.clone()).collect()
    }

    /// Each that counts and may stand in the ledger of an environment, as one of many of whatever kind.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let Self { tests, promotions, approvals, vetoes, locks, hand_overs, .. } = self;
        let promotions = promotions.iter().map(|it| Entry {
            before: it.predicate().chain.parents().copied().collect(),
            ..Entry::of(it)
        });
        let others = tests.iter().map(Entry::of).chain(approvals.iter().map(Entry::of));
        let bans = vetoes.iter().map(Entry::of).chain(locks.iter().map(Entry::of));
        promotions.chain(others).chain(bans).chain(hand_overs.iter().map(Entry::of))
    }

    /// The digests of those that count and may stand in the ledger of an environment.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.entries().map(|entry| entry.record)
    }

    /// The record that counts and has this statement, whoever signed it.
    pub fn of_statement(&self, statement: &Digest) -> Option<Digest> {
        let build = self.builds.iter().find(|it| it.statement_digest() == *statement);
        let other = || self.entries().find(|it| it.statement == *statement).map(|it| it.record);
        build.map(Verified::record).or_else(other)
    }

    /// The same, with what the ledger of an environment has about this release: either list may hide what the other shows.
    #[must_use]
    pub fn with_ledger(mut self, release: &Digest, ledger: &Self) -> Self {
        fn join<P: Clone>(release: &Digest, own: &mut Vec<Verified<P>>, others: &[Verified<P>]) {
            let is_new = |it: &&Verified<P>| !own.iter().any(|own| own.record() == it.record());
            let about = others.iter().filter(|it| it.statement().is_about(release));
            let new: Vec<_> = about.filter(is_new).cloned().collect();
            own.extend(new);
        }
        join(release, &mut self.tests, &ledger.tests);
        join(release, &mut self.approvals, &ledger.approvals);
        join(release, &mut self.vetoes, &ledger.vetoes);
        self.sort();
        self
    }

    fn witnesses(&self) -> Vec<Witness> {
        let promotions = self.promotions.iter().map(|it| Witness::of(it, false, true));
        let hand_overs = self.hand_overs.iter().map(|it| Witness::of(it, true, true));
        let pending = self.pending.iter().filter_map(|it| match &it.outcome {
            JudgedAs::Promotion(promotion) => Some(Witness::of(promotion, false, false)),
            JudgedAs::HandOver(hand_over) => Some(Witness::of(hand_over, true, false)),
            _ => None,
        });
        promotions.chain(hand_overs).chain(pending).collect()
    }

    /// Lets the records count for which there is a witness, here or elsewhere, and rejects the others.
    fn settle(&mut self, known: &Testimony) {
        if self.pending.is_empty() {
            return;
        }
        let mut ended: Vec<(Arc<Signer>, KeyEnd)> = Vec::new();
        for (signer, end, _) in self.pending.iter().filter_map(|it| it.outcome.ended()) {
            if !ended.iter().any(|(other, _)| other.key_id == signer.key_id) {
                ended.push((Arc::clone(signer), end));
            }
        }
        let told = testimony::testimony(&ended, self.witnesses(), known);
        let was: BTreeSet<Digest> = self.pending.iter().map(|it| it.record).collect();
        self.rejected.retain(|it| !was.contains(&it.record));
        for one in std::mem::take(&mut self.pending) {
            match one.outcome.ended() {
                Some((signer, end, predicate_type))
                    if !told.covers(&signer.key_id, &one.record) =>
                {
                    self.rejected.push(RejectedRecord {
                        record: one.record,
                        predicate_type: Some(predicate_type),
                        rejection: Rejection::NoWitness { key: signer.name.clone(), end },
                    });
                    self.pending.push(one);
                }
                _ => self.push(one.outcome),
            }
        }
        self.sort();
    }

    fn push(&mut self, outcome: JudgedAs) {
        match outcome {
            JudgedAs::Build(it) => self.builds.push(*it),
            JudgedAs::Test(it) => self.tests.push(*it),
            JudgedAs::Promotion(it) => self.promotions.push(*it),
            JudgedAs::Approval(it) => self.approvals.push(*it),
            JudgedAs::Veto(it) => self.vetoes.push(*it),
            JudgedAs::Lock(it) => self.locks.push(*it),
            JudgedAs::HandOver(it) => self.hand_overs.push(*it),
            JudgedAs::Attestation(it) => self.attestations.push(*it),
            JudgedAs::Rejected(it) => self.rejected.push(it),
        }
    }

    fn sort(&mut self) {
        oldest_first(&mut self.builds);
        oldest_first(&mut self.tests);
        oldest_first(&mut self.promotions);
        oldest_first(&mut self.approvals);
        oldest_first(&mut self.vetoes);
        oldest_first(&mut self.locks);
        oldest_first(&mut self.hand_overs);
    }

    fn judged<B: AsRef<[u8]>>(bundles: impl IntoIterator<Item = B>, judge: &RecordJudge) -> Self {
        bundles.into_iter().map(|bytes| judge.judge(bytes.as_ref())).collect()
    }
}

/// What the records of one manifest are judged by. With many of them, each can be judged as it comes, on any thread, and
/// its bytes need not be kept.
#[derive(Debug, Clone)]
pub struct RecordJudge {
    ring: KeyRing,
    expected: Expectation,
    types: BTreeSet<String>,
}

/// One judged record. Collected, they are [`Records`].
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedRecord {
    record: Digest,
    outcome: JudgedAs,
}

impl JudgedRecord {
    /// A referrer without a bundle, known by the digest of its manifest; and why.
    pub fn unusable(manifest: Digest, why: String) -> Self {
        let rejection = Rejection::Unusable(why);
        let rejected = RejectedRecord { record: manifest, predicate_type: None, rejection };
        Self { record: manifest, outcome: JudgedAs::Rejected(rejected) }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum JudgedAs {
    Build(Box<Verified<Provenance>>),
    Test(Box<Verified<TestResult>>),
    Promotion(Box<Verified<Promotion>>),
    Approval(Box<Verified<Approval>>),
    Veto(Box<Verified<Veto>>),
    Lock(Box<Verified<Lock>>),
    HandOver(Box<Verified<HandOver>>),
    Attestation(Box<Verified<JsonText>>),
    Rejected(RejectedRecord),
}

impl JudgedAs {
    /// The key of the record, its end and the type of the record, if it counts only with a witness.
    fn ended(&self) -> Option<(&Arc<Signer>, KeyEnd, String)> {
        fn of<P>(record: &Verified<P>) -> Option<(&Arc<Signer>, KeyEnd, String)> {
            let kind = record.statement().predicate_type.clone();
            Some((record.shared_signer(), record.ended()?, kind))
        }
        match self {
            Self::Build(it) => of(it),
            Self::Test(it) => of(it),
            Self::Promotion(it) => of(it),
            Self::Approval(it) => of(it),
            Self::Veto(it) => of(it),
            Self::Lock(it) => of(it),
            Self::HandOver(it) => of(it),
            Self::Attestation(it) => of(it),
            Self::Rejected(_) => None,
        }
    }
}

impl RecordJudge {
    /// For the records of a release, and statements of these further types about it.
    pub fn of_release(
        ring: KeyRing,
        release: Digest,
        now: Timestamp,
        types: BTreeSet<String>,
    ) -> Self {
        let expected = Expectation { subject: release, environment: None, project: None, now };
        Self { ring, expected, types }
    }

    /// For the records of an environment.
    pub fn of_environment(ring: KeyRing, environment: &EnvironmentId, now: Timestamp) -> Self {
        let subject = *EnvironmentArtifact::of(environment).digest();
        // One for all environments names its project alone.
        let project = Some(environment.project().to_owned());
        let expected =
            Expectation { subject, environment: Some(environment.clone()), project, now };
        Self { ring, expected, types: BTreeSet::new() }
    }

    /// The same, for records of this project: those that name another do not count.
    #[must_use]
    pub fn of_project(self, project: Option<String>) -> Self {
        Self { expected: Expectation { project, ..self.expected }, ..self }
    }

    /// Judges one stored bundle.
    pub fn judge(&self, bundle: &[u8]) -> JudgedRecord {
        let record = Digest::of(bundle);
        let outcome = self.outcome(record, bundle).unwrap_or_else(|(predicate_type, rejection)| {
            JudgedAs::Rejected(RejectedRecord { record, predicate_type, rejection })
        });
        JudgedRecord { record, outcome }
    }

    /// The record, or what it claims to be and why it does not count.
    fn outcome(
        &self,
        record: Digest,
        bundle: &[u8],
    ) -> Result<JudgedAs, (Option<String>, Rejection)> {
        let envelope = Envelope::open(bundle).map_err(|rejection| (None, rejection))?;
        let claims = |payload: &[u8]| read_statement(payload).map(|it| it.predicate_type);
        let opened = match Opened::open(record, &envelope, &self.ring) {
            Ok(opened) => opened,
            // Readers of the list want to know what it claims to be, and foreign statements may have foreign keys.
            Err(rejection) => {
                return Err(match claims(&envelope.payload) {
                    Ok(claimed) if !self.reads(&claimed) => {
                        (Some(claimed.clone()), Rejection::Foreign(claimed))
                    }
                    Ok(claimed) => (Some(claimed), rejection),
                    Err(rejection) => (None, rejection),
                });
            }
        };
        let claimed = opened.predicate_type().to_owned();
        self.sorted(opened).map_err(|rejection| (Some(claimed), rejection))
    }

    fn sorted(&self, opened: Opened) -> Result<JudgedAs, Rejection> {
        let (ring, expected) = (&self.ring, &self.expected);
        match opened.predicate_type() {
            Provenance::TYPE => {
                complete(opened, ring, expected).map(|it| JudgedAs::Build(Box::new(it)))
            }
            TestResult::TYPE => {
                complete(opened, ring, expected).map(|it| JudgedAs::Test(Box::new(it)))
            }
            Promotion::TYPE => {
                complete(opened, ring, expected).map(|it| JudgedAs::Promotion(Box::new(it)))
            }
            Approval::TYPE => {
                complete(opened, ring, expected).map(|it| JudgedAs::Approval(Box::new(it)))
            }
            Veto::TYPE => complete(opened, ring, expected).map(|it| JudgedAs::Veto(Box::new(it))),
            Lock::TYPE => complete(opened, ring, expected).map(|it| JudgedAs::Lock(Box::new(it))),
            HandOver::TYPE => {
                complete(opened, ring, expected).map(|it| JudgedAs::HandOver(Box::new(it)))
            }
            other if self.types.contains(other) => {
                complete_any(opened, expected).map(|it| JudgedAs::Attestation(Box::new(it)))
            }
            IMAGE_SIGNATURE_TYPE => {
                complete_signature(opened, ring, expected).map(|it| JudgedAs::Build(Box::new(it)))
            }
            foreign => Err(Rejection::Foreign(foreign.to_owned())),
        }
    }

    /// Whether statements of this type are looked at; others do not count.
    pub fn reads(&self, predicate_type: &str) -> bool {
        let own = [
            Provenance::TYPE,
            TestResult::TYPE,
            Promotion::TYPE,
            Approval::TYPE,
            Veto::TYPE,
            Lock::TYPE,
            HandOver::TYPE,
        ];
        // Of the signature of an image, its certificate tells what there is to tell.
        let is_told = predicate_type == IMAGE_SIGNATURE_TYPE && self.ring.trust_root().is_some();
        own.contains(&predicate_type) || is_told || self.types.contains(predicate_type)
    }
}

/// Collects records one after the other; one that comes twice counts once.
#[derive(Debug, Default)]
pub struct RecordCollector {
    records: Records,
    seen: BTreeSet<Digest>,
}

impl RecordCollector {
    /// Adds a record, unless it is there.
    pub fn add(&mut self, judged: JudgedRecord) {
        if !self.seen.insert(judged.record) {
            return;
        }
        match judged.outcome.ended() {
            Some(_) => self.records.pending.push(judged),
            None => self.records.push(judged.outcome),
        }
    }

    /// All of them, each kind in its order.
    pub fn finish(self) -> Records {
        let mut records = self.records;
        records.sort();
        records.settle(&Testimony::default());
        records
    }
}

impl FromIterator<JudgedRecord> for Records {
    fn from_iter<I: IntoIterator<Item = JudgedRecord>>(judged: I) -> Self {
        let mut gathering = RecordCollector::default();
        judged.into_iter().for_each(|one| gathering.add(one));
        gathering.finish()
    }
}

/// Records without a time come first: nothing becomes the latest by leaving it out.
fn oldest_first<P>(records: &mut [Verified<P>]) {
    records.sort_by_key(|record| (record.recorded_at(), record.record()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Bundle, Statement, sign};
    use crate::predicate::TestOutcome;
    use crate::testing::{at, build, environment, first, key, promoted, release, ring, test_run};

    fn signed_test(place: &str, outcome: TestOutcome, minutes: i64) -> Bundle {
        let result = test_run(place, outcome, minutes).result();
        sign(&Statement::test("shop", &release("one"), result), &key(1)).unwrap()
    }

    #[test]
    fn everything_is_sorted_and_nothing_is_dropped() {
        let late = signed_test("dev", TestOutcome::Failed, 9);
        let early = signed_test("dev", TestOutcome::Passed, 3);
        let built = sign(&Statement::build("shop", &release("one"), build().provenance()), &key(1))
            .unwrap();
        let forged =
            sign(&Statement::build("shop", &release("one"), build().provenance()), &key(3))
                .unwrap();
        let elsewhere = promoted("dev", "two", first(), 0);
        let promotion = promoted("dev", "one", first(), 5);
        let bundles = [&late, &early, &built, &forged, &elsewhere, &promotion, &promotion]
            .map(|it| it.bytes().to_vec());
        let mut bundles = bundles.to_vec();
        bundles.push(b"rubbish".to_vec());
        let records = Records::of_release(&bundles, &ring(), release("one"), at(60));
        let digests =
            |list: &[Verified<TestResult>]| list.iter().map(Verified::record).collect::<Vec<_>>();
        assert_eq!(digests(&records.tests), [early.digest(), late.digest()]);
        assert_eq!(records.builds.len(), 1);
        assert_eq!(records.promotions.len(), 1);
        let rejected: Vec<_> =
            records.rejected.iter().map(|it| (it.record, it.predicate_type.is_some())).collect();
        assert_eq!(
            rejected,
            [(forged.digest(), true), (elsewhere.digest(), true), (Digest::of(b"rubbish"), false)]
        );
    }

    #[test]
    fn other_statements_are_kept_if_somebody_asks_for_them() {
        let (report, sbom) = ("https://example.com/report/v1", "https://example.com/sbom/v1");
        let attested = |kind: &str, what: &str, number| {
            let mut statement = serde_json::to_value(Statement::build(
                "shop",
                &release(what),
                build().provenance(),
            ))
            .unwrap();
            statement["predicateType"] = kind.into();
            statement["predicate"] = serde_json::json!({ "critical": 0 });
            crate::testing::bundle_of(&serde_json::to_vec(&statement).unwrap(), number)
        };
        let bundles = [
            attested(report, "one", 2),
            attested(report, "two", 2),
            attested(report, "one", 3),
            attested(sbom, "one", 2),
            attested(sbom, "one", 3),
        ];
        let wanted = BTreeSet::from([report.to_owned()]);
        let records =
            Records::with_attestations(&bundles, &ring(), release("one"), at(60), &wanted);
        let kept: Vec<_> = records.attestations.iter().map(Verified::record).collect();
        assert_eq!(kept, [Digest::of(&bundles[0])]);
        assert_eq!(records.attestations[0].predicate().value()["critical"], 0);
        let rejected: Vec<_> = records.rejected.into_iter().map(|it| it.rejection).collect();
        let want = [
            Rejection::Subject { wanted: release("one") },
            Rejection::UnknownKey { hint: key(3).verifying_key().id().to_string() },
            // Whatever its key.
            Rejection::Foreign(sbom.to_owned()),
            Rejection::Foreign(sbom.to_owned()),
        ];
        assert_eq!(rejected, want);
        assert!(
            Records::of_release(&bundles, &ring(), release("one"), at(60)).attestations.is_empty()
        );
    }

    #[test]
    fn a_ledger_has_only_its_own_environment() {
        let own = promoted("dev", "one", first(), 0);
        let foreign = promoted("production", "one", first(), 0);
        let bundles = [own.bytes(), foreign.bytes()];
        let records = Records::of_environment(bundles, &ring(), &environment("dev"), at(60));
        assert_eq!(records.promotions.len(), 1);
        assert_eq!(records.rejected.len(), 1);
    }
}
