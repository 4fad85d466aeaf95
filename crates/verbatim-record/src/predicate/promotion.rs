//! `urn:verbatim:promotion:v1`: a release was moved into an environment, under which conditions, with which proof.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::JsonText;
use super::{Predicate, Run};
use crate::artifact::{EnvironmentArtifact, EnvironmentId, ReleaseImage};
use crate::keys::Power;

/// One promotion. Written only after the proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// What kind of move it was.
    #[serde(default, skip_serializing_if = "PromotionKind::is_promotion")]
    pub kind: PromotionKind,
    /// Why, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where to.
    pub environment: EnvironmentId,
    /// What.
    pub release: PromotedRelease,
    /// The release that the ledger had there before; `None` for the first promotion.
    #[serde(default)]
    pub release_before: Option<Digest>,
    /// The applications that were changed, each with its proof.
    pub applications: Vec<Application>,
    /// SHA-256 of the plan that was executed.
    #[serde(default)]
    pub plan: Option<Digest>,
    /// SHA-256 of the policy (gates and keys) that was in force.
    #[serde(default)]
    pub policy: Option<Digest>,
    /// Where the policy was taken from, if not from the repository of the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_origin: Option<PolicyOrigin>,
    /// What the gates answered.
    #[serde(default)]
    pub gates: Vec<GateResult>,
    /// The CI run, with the actor.
    #[serde(default)]
    pub run: Run,
    /// When the first thing was written.
    pub started_at: Timestamp,
    /// When the proof was complete.
    pub finished_at: Timestamp,
    /// The place in the ledger of the environment.
    pub chain: ChainLink,
}

/// What a policy was taken from: a resource as in-toto describes one.
///
/// <https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyOrigin {
    /// How it was named.
    pub uri: String,
    /// What that name stood for: a `gitCommit`, or the `sha256` of a manifest.
    pub digest: BTreeMap<String, String>,
}

impl fmt::Display for PolicyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)?;
        self.digest.iter().try_for_each(|(kind, value)| write!(f, ", {kind} {value}"))
    }
}

/// Why a release entered an environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromotionKind {
    /// It is the next one.
    #[default]
    Promotion,
    /// It ran there before, and the one after it was bad.
    Rollback,
    /// It is the recorded one, and something else was found there.
    Restore,
    /// It ran there before by Argo CD's word; registry, records and gates were not asked.
    BreakGlass,
    /// Something that a later version may invent.
    #[serde(other)]
    Other,
}

impl PromotionKind {
    /// Whether it is an ordinary promotion.
    pub fn is_promotion(&self) -> bool {
        *self == Self::Promotion
    }

    /// A word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promotion => "promotion",
            Self::Rollback => "rollback",
            Self::Restore => "restore",
            Self::BreakGlass => "break-glass",
            Self::Other => "other",
        }
    }
}

/// The release of a promotion. Only the digest identifies it; the rest is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotedRelease {
    /// Digest of the top-level manifest.
    pub digest: Digest,
    /// Repository, with its registry.
    pub repository: String,
    /// Tag under which it was found or built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Source commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The images, if they are several; then the digest is that of the artifact that names them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ReleaseImage>,
}

impl PromotedRelease {
    /// Whether this digest is that of the release, or of one of its images.
    pub fn includes(&self, digest: &Digest) -> bool {
        self.digest == *digest || self.images.values().any(|image| image.digest == *digest)
    }
}

/// One Argo CD application within a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Name.
    pub name: String,
    /// Namespace of the Application object, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// URL of the Argo CD server, without credentials.
    pub server: String,
    /// What was written.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// The revisions of chart and values that the sync resolved, one a source.
    #[serde(default)]
    pub revisions: Vec<Revision>,
    /// What was read back.
    pub proof: Proof,
}

/// One parameter that was written into a source of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// `helm` or `kustomize`.
    pub kind: String,
    /// Name of the parameter or image.
    pub name: String,
    /// Value before; `None` if it was absent.
    #[serde(default)]
    pub before: Option<String>,
    /// Value now.
    pub after: String,
}

/// A source with the revision that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// URL of the repository, without credentials.
    pub repository: String,
    /// Chart name or folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Commit hash, or version of the chart.
    pub revision: String,
}

/// The four readbacks of one application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The override is in the application's spec.
    pub spec: Readback,
    /// The operation that ran carried it.
    pub operation: Readback,
    /// The rendered manifests have the digest.
    pub manifests: Readback,
    /// The running pods report it as their `imageID`.
    pub running: Readback,
    /// How long it was watched afterwards, in seconds.
    #[serde(default)]
    pub settled_seconds: u64,
}

/// One readback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readback {
    /// What it showed.
    pub outcome: ReadbackOutcome,
    /// What was seen, in the words of whoever looked.
    #[serde(default)]
    pub evidence: JsonText,
}

/// What a readback showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadbackOutcome {
    /// The digest.
    Proven,
    /// The digest, in templates: nothing runs (a CronJob, or scaled to zero).
    Template,
    /// Something else, or nothing. Also every outcome that a later version may invent: unknown is not proven.
    #[serde(other)]
    Unproven,
}

impl ReadbackOutcome {
    /// Whether this outcome is good enough.
    pub fn holds(self) -> bool {
        matches!(self, Self::Proven | Self::Template)
    }
}

impl Proof {
    /// Whether all four readbacks hold. Only the last can be satisfied by a template: the other three always exist.
    pub fn holds(&self) -> bool {
        let proven = |readback: &Readback| readback.outcome == ReadbackOutcome::Proven;
        proven(&self.spec)
            && proven(&self.operation)
            && proven(&self.manifests)
            && self.running.outcome.holds()
    }
}

/// What one gate answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Name of the gate, for example `after`.
    pub gate: String,
    /// Whether it let the release pass.
    pub passed: bool,
    /// Why, in a sentence.
    pub reason: String,
    /// What that rests on.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// Why it was promoted although the gate refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<String>,
}

/// Something that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The record, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Digest>,
    /// What it says, in a few words.
    pub text: String,
}

/// The place of a promotion in the ledger of its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLink {
    /// 1 for the first; afterwards one more than the highest that is named below.
    pub sequence: u64,
    /// Digest of the previous promotion record (of its bundle); `None` for the first.
    #[serde(default)]
    pub previous: Option<Digest>,
    /// Further records that had no successor, when two jobs had promoted at the same time: naming them here joins the
    /// branches again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Digest>,
}

impl ChainLink {
    /// The records that come directly before.
    pub fn parents(&self) -> impl Iterator<Item = &Digest> {
        self.previous.iter().chain(&self.merged)
    }
}

impl Promotion {
    /// Whether there is an application, and the proof of each holds.
    pub fn is_proven(&self) -> bool {
        !self.applications.is_empty() && self.applications.iter().all(|app| app.proof.holds())
    }
}

impl Predicate for Promotion {
    const TYPE: &'static str = "urn:verbatim:promotion:v1";
    const POWER: Option<Power> = Some(Power::Promote);

    fn recorded_at(&self) -> Option<Timestamp> {
        Some(self.finished_at)
    }

    fn environment(&self) -> Option<EnvironmentId> {
        Some(self.environment.clone())
    }

    fn further_power(&self) -> Option<Power> {
        let overridden = self.gates.iter().any(|gate| gate.overridden.is_some());
        overridden.then_some(Power::OverrideGate)
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        let environment = *EnvironmentArtifact::of(&self.environment).digest();
        if subjects != [self.release.digest, environment] {
            return Err("its subjects are not its release and its environment".to_owned());
        }
        let first = self.chain.previous.is_none();
        if first != (self.chain.sequence == 1) || (first && !self.chain.merged.is_empty()) {
            return Err("its sequence number does not fit its predecessors".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{first, promotion};

    /// The four readbacks, by their wire names.
    #[track_caller]
    fn check(outcomes: [&str; 4], want: bool) {
        let [spec, operation, manifests, running] = outcomes.map(|outcome| {
            serde_json::from_value(serde_json::json!({ "outcome": outcome })).unwrap()
        });
        let proof = Proof { spec, operation, manifests, running, settled_seconds: 0 };
        assert_eq!(proof.holds(), want, "{outcomes:?}");
        let mut promotion = promotion("dev", "one", first(), 0);
        promotion.applications.push(Application { proof, ..promotion.applications[0].clone() });
        assert_eq!(promotion.is_proven(), want, "one weak application is enough");
    }

    #[test]
    fn a_proof_is_as_strong_as_its_weakest_part() {
        check(["proven", "proven", "proven", "proven"], true);
        check(["proven", "proven", "proven", "template"], true);
        check(["proven", "proven", "template", "proven"], false);
        check(["template", "proven", "proven", "proven"], false);
        check(["proven", "template", "proven", "proven"], false);
        check(["proven", "proven", "proven", "unproven"], false);
        check(["proven", "proven", "proven", "invented-later"], false);
        check(["proven", "unproven", "proven", "proven"], false);
    }

    #[test]
    fn without_applications_nothing_is_proven() {
        let mut promotion = promotion("dev", "one", first(), 0);
        assert!(promotion.is_proven());
        promotion.applications.clear();
        assert!(!promotion.is_proven());
    }
}
