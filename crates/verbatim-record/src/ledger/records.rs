//! All records that were found on one manifest, sorted into what counts and what does not.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;

use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::envelope::{
    Envelope, Expected, Opened, Rejection, Verified, complete, complete_any, read_statement,
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
    /// Test runs.
    pub tests: Vec<Verified<TestResult>>,
    /// Promotions.
    pub promotions: Vec<Verified<Promotion>>,
    /// Approvals, over or not.
    pub approvals: Vec<Verified<Approval>>,
    /// Vetoes and their liftings; [`in_force`](crate::in_force) tells which of them count now.
    pub vetoes: Vec<Verified<Veto>>,
    /// Locks and their liftings, of environments only.
    pub locks: Vec<Verified<Lock>>,
    /// Statements of the other types that were asked for. Their signers are trusted keys of whatever role.
    pub attestations: Vec<Verified<JsonText>>,
    /// What does not count, and why. Listed, so that a person sees that something is there.
    pub rejected: Vec<Rejected>,
}

/// A record that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Digest of its bytes.
    pub record: Digest,
    /// What it claims to be, unverified.
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

    /// The same, and the statements of other predicate types that somebody wants to look at.
    pub fn with_attestations<B: AsRef<[u8]>>(
        bundles: impl IntoIterator<Item = B>,
        ring: &KeyRing,
        release: Digest,
        now: Timestamp,
        types: &BTreeSet<String>,
    ) -> Self {
        Self::judged(bundles, &Judge::of_release(ring.clone(), release, now, types.clone()))
    }

    /// The records found on the artifact of an environment: its ledger.
    pub fn of_environment<B: AsRef<[u8]>>(
        bundles: impl IntoIterator<Item = B>,
        ring: &KeyRing,
        environment: &EnvironmentId,
        now: Timestamp,
    ) -> Self {
        Self::judged(bundles, &Judge::of_environment(ring.clone(), environment, now))
    }

    fn judged<B: AsRef<[u8]>>(bundles: impl IntoIterator<Item = B>, judge: &Judge) -> Self {
        bundles.into_iter().map(|bytes| judge.judge(bytes.as_ref())).collect()
    }
}

/// What the records that are found on one manifest are held against. For those who have many of them: each can be judged
/// as it comes, wherever there is a processor for it, and its bytes need not be kept.
#[derive(Debug, Clone)]
pub struct Judge {
    ring: KeyRing,
    expected: Expected,
    types: BTreeSet<String>,
}

/// One record that was judged. Collected, they are [`Records`].
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    record: Digest,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Build(Box<Verified<Provenance>>),
    Test(Box<Verified<TestResult>>),
    Promotion(Box<Verified<Promotion>>),
    Approval(Box<Verified<Approval>>),
    Veto(Box<Verified<Veto>>),
    Lock(Box<Verified<Lock>>),
    Attestation(Box<Verified<JsonText>>),
    Rejected(Rejected),
}

impl Judge {
    /// For the records of a release, and statements of these other types about it.
    pub fn of_release(
        ring: KeyRing,
        release: Digest,
        now: Timestamp,
        types: BTreeSet<String>,
    ) -> Self {
        Self { ring, expected: Expected { subject: release, environment: None, now }, types }
    }

    /// For the records of an environment.
    pub fn of_environment(ring: KeyRing, environment: &EnvironmentId, now: Timestamp) -> Self {
        let subject = *EnvironmentArtifact::of(environment).digest();
        let expected = Expected { subject, environment: Some(environment.clone()), now };
        Self { ring, expected, types: BTreeSet::new() }
    }

    /// Judges one stored bundle.
    pub fn judge(&self, bundle: &[u8]) -> Judged {
        let record = Digest::of(bundle);
        let outcome = self.outcome(record, bundle).unwrap_or_else(|(predicate_type, rejection)| {
            Outcome::Rejected(Rejected { record, predicate_type, rejection })
        });
        Judged { record, outcome }
    }

    /// The record, or what it claims to be and why it does not count.
    fn outcome(
        &self,
        record: Digest,
        bundle: &[u8],
    ) -> Result<Outcome, (Option<String>, Rejection)> {
        let envelope = Envelope::open(bundle).map_err(|rejection| (None, rejection))?;
        let claims = |payload: &[u8]| read_statement(payload).map(|it| it.predicate_type);
        let opened = match Opened::open(record, &envelope, &self.ring) {
            Ok(opened) => opened,
            // Whoever reads the list wants to know what it claims to be, and foreign statements may have foreign keys.
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

    fn sorted(&self, opened: Opened) -> Result<Outcome, Rejection> {
        let (ring, expected) = (&self.ring, &self.expected);
        match opened.predicate_type() {
            Provenance::TYPE => {
                complete(opened, ring, expected).map(|it| Outcome::Build(Box::new(it)))
            }
            TestResult::TYPE => {
                complete(opened, ring, expected).map(|it| Outcome::Test(Box::new(it)))
            }
            Promotion::TYPE => {
                complete(opened, ring, expected).map(|it| Outcome::Promotion(Box::new(it)))
            }
            Approval::TYPE => {
                complete(opened, ring, expected).map(|it| Outcome::Approval(Box::new(it)))
            }
            Veto::TYPE => complete(opened, ring, expected).map(|it| Outcome::Veto(Box::new(it))),
            Lock::TYPE => complete(opened, ring, expected).map(|it| Outcome::Lock(Box::new(it))),
            other if self.types.contains(other) => {
                complete_any(opened, &expected.subject).map(|it| Outcome::Attestation(Box::new(it)))
            }
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

/// Puts records together, one after the other. A record that is there twice counts once.
#[derive(Debug, Default)]
pub struct Gathering {
    records: Records,
    seen: BTreeSet<Digest>,
}

impl Gathering {
    /// Adds a record.
    pub fn add(&mut self, Judged { record, outcome }: Judged) {
        if !self.seen.insert(record) {
            return;
        }
        let records = &mut self.records;
        match outcome {
            Outcome::Build(it) => records.builds.push(*it),
            Outcome::Test(it) => records.tests.push(*it),
            Outcome::Promotion(it) => records.promotions.push(*it),
            Outcome::Approval(it) => records.approvals.push(*it),
            Outcome::Veto(it) => records.vetoes.push(*it),
            Outcome::Lock(it) => records.locks.push(*it),
            Outcome::Attestation(it) => records.attestations.push(*it),
            Outcome::Rejected(it) => records.rejected.push(it),
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

impl FromIterator<Judged> for Records {
    fn from_iter<I: IntoIterator<Item = Judged>>(judged: I) -> Self {
        let mut gathering = Gathering::default();
        judged.into_iter().for_each(|one| gathering.add(one));
        gathering.finish()
    }
}

/// Records without a time come first: nothing may become the latest by leaving it out.
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
        ];
        let wanted = BTreeSet::from([report.to_owned()]);
        let records =
            Records::with_attestations(&bundles, &ring(), release("one"), at(60), &wanted);
        let kept: Vec<_> = records.attestations.iter().map(Verified::record).collect();
        assert_eq!(kept, [Digest::of(&bundles[0])]);
        assert_eq!(records.attestations[0].predicate().value()["critical"], 0);
        assert_eq!(records.rejected.len(), 3);
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
