//! What came of a verification, as a SLSA verification summary for tools that trust who verified.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verbatim_oci::Digest;
use verbatim_record::{
    Records, ResourceDescriptor, Statement, SummaryResult, SummaryVerifier, VerificationSummary,
    Verified,
};

use crate::config::Policy;
use crate::release::Release;

/// The version of SLSA whose levels are named.
const SLSA_VERSION: &str = "1.0";

/// The summary of a verification. Pure.
///
/// A build record that counts says how the release was built, which is the first level of the build track. Whether the
/// platform that built it keeps the key from the build, as the second level asks, cannot be told from a record.
pub(crate) fn summary(
    project: &str,
    release: &Release,
    policy: &Policy,
    records: &Records,
    is_verified: bool,
    now: Timestamp,
) -> Statement<VerificationSummary> {
    fn digests<P>(records: &[Verified<P>]) -> impl Iterator<Item = Digest> {
        records.iter().map(Verified::record)
    }
    let Records { builds, tests, promotions, approvals, .. } = records;
    let inputs = digests(builds).chain(digests(tests));
    let inputs = inputs.chain(digests(promotions)).chain(digests(approvals));
    let (repository, digest) = (release.repository.to_string(), release.digest);
    let origin = policy.origin.as_ref().map(|origin| origin.uri.clone());
    let hash = policy.hash.map(|hash| ("sha256".to_owned(), hash.hex()));
    let summary = VerificationSummary {
        verifier: SummaryVerifier {
            id: format!("urn:verbatim:verifier:{project}"),
            version: BTreeMap::from([(
                "verbatim".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            )]),
        },
        time_verified: now,
        resource_uri: format!("oci://{repository}@{digest}"),
        policy: ResourceDescriptor {
            uri: Some(origin.unwrap_or_else(|| format!("urn:verbatim:policy:{project}"))),
            digest: hash.into_iter().collect(),
            ..ResourceDescriptor::default()
        },
        input_attestations: inputs
            .map(|record| ResourceDescriptor {
                digest: BTreeMap::from([("sha256".to_owned(), record.hex())]),
                ..ResourceDescriptor::default()
            })
            .collect(),
        verification_result: match is_verified {
            true => SummaryResult::Passed,
            false => SummaryResult::Failed,
        },
        verified_levels: vec![match is_verified {
            true => "SLSA_BUILD_LEVEL_1".to_owned(),
            false => "SLSA_BUILD_LEVEL_UNEVALUATED".to_owned(),
        }],
        slsa_version: SLSA_VERSION.to_owned(),
    };
    Statement::summary(&repository, &digest, summary)
}
