//! All records that were found on one manifest, sorted into what counts and what does not.

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;

use crate::bundle::Bundle;
use crate::environment::{EnvironmentArtifact, EnvironmentId};
use crate::predicate::{Predicate, Promotion, Provenance, TestResult};
use crate::ring::KeyRing;
use crate::verify::{Expected, Rejection, Verified, verify};

/// The records of one release, or of one environment. Within each list the oldest is first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Records {
    /// How it was built.
    pub builds: Vec<Verified<Provenance>>,
    /// Test runs.
    pub tests: Vec<Verified<TestResult>>,
    /// Promotions.
    pub promotions: Vec<Verified<Promotion>>,
    /// What does not count, and why. Listed, so that a person sees that something is there.
    pub rejected: Vec<Rejected>,
}

/// A record that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
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
        Self::sort(bundles, ring, &Expected { subject: release, environment: None, now })
    }

    /// The records found on the artifact of an environment: its ledger.
    pub fn of_environment<B: AsRef<[u8]>>(
        bundles: impl IntoIterator<Item = B>,
        ring: &KeyRing,
        environment: &EnvironmentId,
        now: Timestamp,
    ) -> Self {
        let subject = *EnvironmentArtifact::of(environment).digest();
        let expected = Expected { subject, environment: Some(environment.clone()), now };
        Self::sort(bundles, ring, &expected)
    }

    fn sort<B: AsRef<[u8]>>(
        bundles: impl IntoIterator<Item = B>,
        ring: &KeyRing,
        expected: &Expected,
    ) -> Self {
        let mut records = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        for bytes in bundles {
            let bytes = bytes.as_ref();
            if seen.insert(Digest::of(bytes)) {
                records.add(bytes, ring, expected);
            }
        }
        oldest_first(&mut records.builds);
        oldest_first(&mut records.tests);
        oldest_first(&mut records.promotions);
        records
    }

    fn add(&mut self, bytes: &[u8], ring: &KeyRing, expected: &Expected) {
        // The claimed type only chooses which verification is tried; that checks it again, under the signature.
        let claimed = Bundle::read(bytes.to_vec()).map(|bundle| bundle.predicate_type().to_owned());
        let outcome = match claimed.as_deref() {
            Ok(Provenance::TYPE) => verify(bytes, ring, expected).map(|it| self.builds.push(it)),
            Ok(TestResult::TYPE) => verify(bytes, ring, expected).map(|it| self.tests.push(it)),
            Ok(Promotion::TYPE) => verify(bytes, ring, expected).map(|it| self.promotions.push(it)),
            Ok(foreign) => Err(Rejection::Foreign(foreign.to_owned())),
            Err(rejection) => Err(rejection.clone()),
        };
        if let Err(rejection) = outcome {
            let record = Digest::of(bytes);
            self.rejected.push(Rejected { record, predicate_type: claimed.ok(), rejection });
        }
    }
}

/// Records without a time come first: nothing may become the latest by leaving it out.
fn oldest_first<P>(records: &mut [Verified<P>]) {
    records.sort_by_key(|record| (record.recorded_at(), record.record()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::sign;
    use crate::predicate::TestOutcome;
    use crate::statement::Statement;
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
    fn a_ledger_has_only_its_own_environment() {
        let own = promoted("dev", "one", first(), 0);
        let foreign = promoted("production", "one", first(), 0);
        let bundles = [own.bytes(), foreign.bytes()];
        let records = Records::of_environment(bundles, &ring(), &environment("dev"), at(60));
        assert_eq!(records.promotions.len(), 1);
        assert_eq!(records.rejected.len(), 1);
    }
}
