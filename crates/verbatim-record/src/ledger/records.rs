//! All records found on one manifest, sorted into what counts and what does not.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;

use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::envelope::{
    Envelope, Expectation, Opened, Rejection, Verified, complete, complete_any, read_statement,
};
use crate::keys::KeyRing;
use crate::predicate::{
    Approval, JsonText, Lock, Predicate, Promotion, Provenance, TestResult, Veto,
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
    /// Statements of other types that were asked for, by trusted keys of any role.
    pub attestations: Vec<Verified<JsonText>>,
    /// What does not count, and why: people should see that it is there.
    pub rejected: Vec<RejectedRecord>,
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
    Attestation(Box<Verified<JsonText>>),
    Rejected(RejectedRecord),
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
        let environment = Some(environment.clone());
        let expected = Expectation { subject, environment, project: None, now };
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
            other if self.types.contains(other) => complete_any(opened, &expected.subject)
                .map(|it| JudgedAs::Attestation(Box::new(it))),
            foreign => Err(Rejection::Foreign(foreign.to_owned())),
        }
    }

    /// Whether statements of this type are looked at.
    fn reads(&self, predicate_type: &str) -> bool {
        let own = [
            Provenance::TYPE,
            TestResult::TYPE,
            Promotion::TYPE,
            Approval::TYPE,
            Veto::TYPE,
            Lock::TYPE,
        ];
        own.contains(&predicate_type) || self.types.contains(predicate_type)
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
    pub fn add(&mut self, JudgedRecord { record, outcome }: JudgedRecord) {
        if !self.seen.insert(record) {
            return;
        }
        let records = &mut self.records;
        match outcome {
            JudgedAs::Build(it) => records.builds.push(*it),
            JudgedAs::Test(it) => records.tests.push(*it),
            JudgedAs::Promotion(it) => records.promotions.push(*it),
            JudgedAs::Approval(it) => records.approvals.push(*it),
            JudgedAs::Veto(it) => records.vetoes.push(*it),
            JudgedAs::Lock(it) => records.locks.push(*it),
            JudgedAs::Attestation(it) => records.attestations.push(*it),
            JudgedAs::Rejected(it) => records.rejected.push(it),
        }
    }

    /// All of them, each kind in its order.
    pub fn finish(self) -> Records {
        let mut records = self.records;
        oldest_first(&mut records.builds);
        oldest_first(&mut records.tests);
        oldest_first(&mut records.promotions);
        oldest_first(&mut records.approvals);
        oldest_first(&mut records.vetoes);
        oldest_first(&mut records.locks);
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
