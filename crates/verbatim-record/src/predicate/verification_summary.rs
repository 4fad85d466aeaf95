//! SLSA verification summary v1: somebody checked the records of a release against a policy, and this came of it. For tools
//! that trust who checked, and do not check themselves.
//! <https://slsa.dev/spec/v1.0/verification_summary>

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::{Predicate, ResourceDescriptor};
use crate::artifact::EnvironmentId;
use crate::keys::Power;

/// One verification and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSummary {
    /// Who checked.
    pub verifier: SummaryVerifier,
    /// When.
    pub time_verified: Timestamp,
    /// The release, as who fetches it names it: `oci://REPOSITORY@DIGEST`.
    pub resource_uri: String,
    /// The rules that it was checked against.
    pub policy: ResourceDescriptor,
    /// The records that counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_attestations: Vec<ResourceDescriptor>,
    /// Whether it may be used.
    pub verification_result: SummaryResult,
    /// What was reached: the highest SLSA level of each track.
    pub verified_levels: Vec<String>,
    /// The version of SLSA whose levels these are.
    pub slsa_version: String,
}

/// The program that checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryVerifier {
    /// URI of who checked.
    pub id: String,
    /// The versions of its parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

/// What came of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SummaryResult {
    /// It satisfies the policy.
    Passed,
    /// It does not.
    Failed,
}

impl Predicate for VerificationSummary {
    const TYPE: &'static str = "https://slsa.dev/verification_summary/v1";
    const POWER: Option<Power> = None;

    fn recorded_at(&self) -> Option<Timestamp> {
        Some(self.time_verified)
    }

    fn environment(&self) -> Option<EnvironmentId> {
        None
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        match subjects {
            [_] => Ok(()),
            _ => Err("it is not about one release".to_owned()),
        }
    }
}
