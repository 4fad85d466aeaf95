//! `urn:verbatim:promotion:v1`: a release was moved into an environment, under which conditions, with which proof.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::JsonText;
use super::{CiRun, Predicate};
use crate::artifact::{
    EnvironmentArtifact, EnvironmentId, ReleaseArtifact, ReleaseDocument, ReleaseImage,
};
use crate::keys::Power;

/// One promotion. Written only after the proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// What kind of move it was.
    #[serde(default, skip_serializing_if = "PromotionKind::is_promotion")]
    pub kind: PromotionKind,
    /// The reason for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The environment that it entered.
    pub environment: EnvironmentId,
    /// What entered it.
    pub release: PromotedRelease,
    /// The release before it, by the ledger; `None` for the first promotion.
    #[serde(default)]
    pub release_before: Option<Digest>,
    /// The applications that were changed, each with its proof.
    pub applications: Vec<PromotedApplication>,
    /// SHA-256 of the executed plan.
    #[serde(default)]
    pub plan: Option<Digest>,
    /// SHA-256 of the policy (gates and keys) in force.
    #[serde(default)]
    pub policy: Option<Digest>,
    /// The origin of the policy, if it is not the repository of the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_origin: Option<PolicyOrigin>,
    /// SHA-256 of the keys that the policy trusts, with what they are trusted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_keys: Option<Digest>,
    /// What of the policy is not as it was at the promotion before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_changes: Vec<PolicyChange>,
    /// Applications of the promotion before that left the environment for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The answers of the gates.
    #[serde(default)]
    pub gates: Vec<GateResult>,
    /// The CI run, with the actor.
    #[serde(default)]
    pub run: CiRun,
    /// When the first thing was written.
    pub started_at: Timestamp,
    /// When the proof was complete.
    pub finished_at: Timestamp,
    /// The place in the ledger of the environment.
    pub chain: ChainLink,
}

/// The origin of a policy: a resource as in-toto describes one.
///
/// <https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyOrigin {
    /// The name in the configuration.
    pub uri: String,
    /// What the name stood for: a `gitCommit`, or the `sha256` of a manifest.
    pub digest: BTreeMap<String, String>,
}

/// Something of a policy that is not as it was at an earlier promotion. That its rules change is usual; that they come from
/// elsewhere, or that other keys count, is worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyChange {
    /// What has changed.
    pub what: PolicyPart,
    /// What it was: the name of the origin, or the SHA-256 of the keys. `None` for a file, whose place means nothing to
    /// others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// A part of a policy whose change is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyPart {
    /// Where the policy comes from.
    Origin,
    /// The keys that it trusts.
    Keys,
    /// A part that a later version may invent.
    #[serde(other)]
    Other,
}

impl fmt::Display for PolicyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was = self.was.as_deref();
        match self.what {
            PolicyPart::Origin => {
                let was = was.unwrap_or("a file");
                write!(f, "the policy came from {was} before")
            }
            PolicyPart::Keys => f.write_str("the policy trusted other keys before"),
            PolicyPart::Other => f.write_str("the policy was another one before"),
        }
    }
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
    /// The next release.
    #[default]
    Promotion,
    /// An earlier release, because the one after it was bad.
    Rollback,
    /// The recorded release, because something else was found there.
    Restore,
    /// An earlier release by the history of Argo CD, without registry, records and gates.
    BreakGlass,
    /// A kind that a later version may invent.
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
    /// Full hash of the source commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The images, if they are several; then the digest is that of the artifact that names them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ReleaseImage>,
}

impl PromotedRelease {
    /// Whether this is the digest of the release, or of one of its images.
    pub fn includes(&self, digest: &Digest) -> bool {
        self.digest == *digest || self.images.values().any(|image| image.digest == *digest)
    }
}

/// One Argo CD application within a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotedApplication {
    /// Name of the Application object.
    pub name: String,
    /// Namespace of the Application object, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// URL of the Argo CD server, without credentials.
    pub server: String,
    /// The parameters written.
    #[serde(default)]
    pub overrides: Vec<AppliedOverride>,
    /// The revisions of chart and values that the sync resolved, one for each source.
    #[serde(default)]
    pub revisions: Vec<Revision>,
    /// What was read back, level by level.
    pub proof: PromotionProof,
}

/// One parameter written into a source of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedOverride {
    /// The position of the source, counted from 1; `None` if all values of the application went into one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<usize>,
    /// `helm` or `kustomize`.
    pub kind: String,
    /// Name of the parameter or image.
    pub name: String,
    /// Value before; `None` if it was absent.
    #[serde(default)]
    pub before: Option<String>,
    /// Value that was written.
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
pub struct PromotionProof {
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

/// What one level of the proof showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readback {
    /// Whether it showed the digest.
    pub outcome: ReadbackOutcome,
    /// What was seen, as the reader of that level tells it.
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
    /// Something else or nothing, and every outcome that a later version may invent: unknown is not proven.
    #[serde(other)]
    Unproven,
}

impl ReadbackOutcome {
    /// Whether this outcome counts as proof.
    pub fn holds(self) -> bool {
        matches!(self, Self::Proven | Self::Template)
    }
}

impl PromotionProof {
    /// Whether all four readbacks hold. Only the last can be satisfied by a template: the other three always exist.
    pub fn holds(&self) -> bool {
        let proven = |readback: &Readback| readback.outcome == ReadbackOutcome::Proven;
        proven(&self.spec)
            && proven(&self.operation)
            && proven(&self.manifests)
            && self.running.outcome.holds()
    }
}

/// The answer of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Name of the gate, for example `after`.
    pub gate: String,
    /// Whether it let the release pass.
    pub passed: bool,
    /// Why, in a sentence.
    pub reason: String,
    /// What the answer rests on.
    #[serde(default)]
    pub evidence: Vec<GateEvidence>,
    /// Why the release was promoted although the gate refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<String>,
}

/// Something that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateEvidence {
    /// The record, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Digest>,
    /// The evidence in a few words.
    pub text: String,
}

/// The place of a promotion in the ledger of its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLink {
    /// 1 for the first; then one more than the highest of those named below.
    pub sequence: u64,
    /// Digest of the previous promotion record (of its bundle); `None` for the first.
    #[serde(default)]
    pub previous: Option<Digest>,
    /// Further records without a successor, if two jobs promoted at the same time: naming them here joins the branches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Digest>,
    /// The other records of the ledger that nothing there had followed yet: bans, approvals, tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Digest>,
}

impl ChainLink {
    /// The records that come directly before.
    pub fn parents(&self) -> impl Iterator<Item = &Digest> {
        self.previous.iter().chain(&self.merged)
    }
}

impl Promotion {
    /// Whether there is an application, and every proof holds.
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

    fn names(&self) -> Vec<Digest> {
        let evidence = self.gates.iter().flat_map(|gate| &gate.evidence);
        self.chain.parents().copied().chain(evidence.filter_map(|it| it.record)).collect()
    }

    fn seen(&self) -> Vec<Digest> {
        self.chain.seen.clone()
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        let environment = *EnvironmentArtifact::of(&self.environment).digest();
        if subjects != [self.release.digest, environment] {
            return Err("its subjects are not its release and its environment".to_owned());
        }
        if !self.release.images.is_empty() {
            let (project, images) =
                (self.environment.project().to_owned(), self.release.images.clone());
            let artifact = ReleaseArtifact::of(&ReleaseDocument { project, images });
            if artifact.digest() != self.release.digest {
                return Err("its images do not make the digest of its release".to_owned());
            }
        }
        let first = self.chain.previous.is_none();
        if first != (self.chain.sequence == 1) || (first && !self.chain.merged.is_empty()) {
            return Err("its sequence number does not fit its predecessors".to_owned());
        }
        if self.finished_at < self.started_at {
            return Err("it ended before it began".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{first, promotion, release};

    /// The four readbacks, by their wire names.
    #[track_caller]
    fn check(outcomes: [&str; 4], want: bool) {
        let [spec, operation, manifests, running] = outcomes.map(|outcome| {
            serde_json::from_value(serde_json::json!({ "outcome": outcome })).unwrap()
        });
        let proof = PromotionProof { spec, operation, manifests, running, settled_seconds: 0 };
        assert_eq!(proof.holds(), want, "{outcomes:?}");
        let mut promotion = promotion("dev", "one", first(), 0);
        promotion
            .applications
            .push(PromotedApplication { proof, ..promotion.applications[0].clone() });
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
    fn a_release_includes_its_images() {
        let image = ReleaseImage {
            repository: "registry.example/shop".parse().unwrap(),
            tag: None,
            digest: release("image"),
        };
        let mut promoted = promotion("dev", "one", first(), 0).release;
        promoted.images.insert("app".to_owned(), image);
        let got = ["one", "image", "two"].map(|what| promoted.includes(&release(what)));
        assert_eq!(got, [true, true, false]);
    }

    /// Whoever reads the digest of a record relies on its images being those of that digest.
    #[test]
    fn images_make_the_digest_of_their_release() {
        let image = |name: &str| ReleaseImage {
            repository: format!("registry.example/{name}").parse().unwrap(),
            tag: None,
            digest: release(name),
        };
        let images =
            BTreeMap::from([("app".to_owned(), image("app")), ("web".to_owned(), image("web"))]);
        let document = ReleaseDocument { project: "shop".to_owned(), images: images.clone() };
        let subjects = |it: &Promotion| {
            [it.release.digest, *EnvironmentArtifact::of(&it.environment).digest()]
        };
        let mut promotion = promotion("dev", "one", first(), 0);
        promotion.release.digest = ReleaseArtifact::of(&document).digest();
        promotion.release.images = images;
        assert_eq!(promotion.check(&subjects(&promotion)), Ok(()));
        let told = Err("its images do not make the digest of its release".to_owned());
        let mut other = promotion.clone();
        other.release.images.insert("web".to_owned(), image("evil"));
        assert_eq!(other.check(&subjects(&other)), told);
        // The digest of an image is not that of a release of several.
        let mut single = promotion;
        single.release.digest = release("one");
        assert_eq!(single.check(&subjects(&single)), told);
    }

    #[test]
    fn without_applications_nothing_is_proven() {
        let mut promotion = promotion("dev", "one", first(), 0);
        assert!(promotion.is_proven());
        promotion.applications.clear();
        assert!(!promotion.is_proven());
    }
}
