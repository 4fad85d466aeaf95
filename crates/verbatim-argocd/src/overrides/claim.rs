//! The claim: the annotation in which a run says what it writes, what stood there before, and until when it works.
//!
//! It travels in the same patch as the values, so both land together. It is no lock: two writers that overlap inside
//! the server both succeed, and only reading back tells which one is left. Each environment that writes to an application
//! has a claim of its own there. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use crate::model::Application;
use crate::overrides::plan::AppPlan;
use crate::overrides::secret::is_hidden;
use crate::overrides::stored::StoredClaim;
use crate::overrides::values::{ValueChange, deviations, same_element};

/// The annotation's name for a run that belongs to no environment.
pub(crate) const ANNOTATION: &str = "verbatim.dev/claim";

/// The longest name of an annotation without its prefix:
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set>.
const MAX_NAME: usize = 63;

/// All annotations of an object together, names and values, in bytes: `TotalAnnotationSizeLimitB` in Kubernetes'
/// `apimachinery/pkg/api/validation/objectmeta.go`.
pub(crate) const MAX_ANNOTATIONS: usize = 256 << 10;

/// What the end of a run adds to its claim.
const ENDING: usize = 1 << 10;

/// The name of the annotation with the claims of an environment: `verbatim.dev/claim.PROJECT.ENVIRONMENT`, or with a hash
/// where that is too long or not the only way to read it.
pub fn claim_annotation(environment: Option<&str>) -> String {
    match environment {
        Some(environment) => annotation_of(ANNOTATION, environment),
        None => ANNOTATION.to_owned(),
    }
}

/// The name of the annotation with the last records of an environment that are no promotions:
/// `verbatim.dev/records.PROJECT.ENVIRONMENT`, or with a hash.
pub fn records_annotation(environment: &str) -> String {
    annotation_of("verbatim.dev/records", environment)
}

fn annotation_of(prefix: &str, environment: &str) -> String {
    let is_plain = |(project, name): &(&str, &str)| {
        let kind = prefix.rsplit('/').next().unwrap_or_default();
        let length = kind.len() + "..".len() + project.len() + name.len();
        length <= MAX_NAME && !project.contains('.') && name.ends_with(char::is_alphanumeric)
    };
    match environment.split_once('/').filter(is_plain) {
        Some((project, name)) => format!("{prefix}.{project}.{name}"),
        None => {
            let hash = Digest::of(environment.as_bytes()).to_string();
            format!("{prefix}-{}", &hash["sha256:".len()..][..16])
        }
    }
}

/// Whether an annotation is a claim of some environment.
pub(crate) fn is_claim(annotation: &str) -> bool {
    annotation
        .strip_prefix(ANNOTATION)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

/// What a run says about its write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredClaim", into = "StoredClaim")]
pub struct Claim {
    /// `project/environment`, if it is the write of one.
    pub environment: Option<String>,
    /// Unique for each run; also in the `infos` of its operation.
    pub nonce: String,
    /// How far the run is.
    pub state: ClaimState,
    /// The release that is written.
    pub release: String,
    /// Who runs: the URL of the CI run, or a name.
    pub by: Option<String>,
    /// When it was written.
    pub at: Timestamp,
    /// Until when the run works at most. After that an open claim belongs to a run that died.
    pub deadline: Timestamp,
    /// What was written, and what stood there before.
    pub changes: Vec<ValueChange>,
    /// The record of the promotion, once there is one.
    pub record: Option<String>,
    /// What the ledger lacked of this promotion when it ended.
    pub kept: Option<PendingRecord>,
}

/// What a promotion kept in a file, because it was proven and its record could not be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PendingRecord {
    /// The record of this digest.
    Record(Digest),
    /// A statement, which could not be signed either.
    Statement {
        /// Its digest.
        digest: Digest,
        /// The end of the promotion that it tells of. Who signs it later gives it another place in the ledger and so
        /// another digest, but not another time.
        finished_at: Timestamp,
    },
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// At work, or dead.
    Open,
    /// The values were written and nothing more was asked for.
    Written,
    /// Proven.
    Done,
    /// Ended without proof; the values stand.
    Failed,
    /// The previous values were put back.
    Undone,
}

impl Claim {
    /// The name of its annotation.
    pub fn annotation(&self) -> String {
        claim_annotation(self.environment.as_deref())
    }

    /// The annotation's text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(&self.as_stored()).unwrap_or_default()
    }

    /// The claim as it stands on the application: without secrets.
    pub(crate) fn as_stored(&self) -> Self {
        let changes = self.changes.iter().map(ValueChange::without_secrets).collect();
        Self { changes, ..self.clone() }
    }

    /// How many bytes the annotations of an application take with this claim, if that is more than Kubernetes stores.
    pub(crate) fn excess(&self, app: &Application) -> Option<usize> {
        let name = self.annotation();
        let others = app.metadata.annotations.iter().filter(|(other, _)| **other != name);
        let others: usize = others.map(|(name, text)| name.len() + text.len()).sum();
        let bytes = others + name.len() + self.to_text().len() + ENDING;
        (bytes > MAX_ANNOTATIONS).then_some(bytes)
    }

    /// The changes that put back what stood there before.
    pub(crate) fn undone_changes(&self) -> Vec<ValueChange> {
        let undone = |change: &ValueChange| ValueChange {
            source: change.source,
            key: change.key.clone(),
            old: Some(change.new.clone()).filter(|written| !written.is_null()),
            new: change.old.clone().unwrap_or_default(),
        };
        self.changes.iter().map(undone).collect()
    }

    /// The same claim in another state.
    pub fn in_state(&self, state: ClaimState) -> Self {
        Self { state, ..self.clone() }
    }
}

/// The claim on an application.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimOnApp {
    /// None.
    Absent,
    /// One that we understand.
    Known(Box<Claim>),
    /// A text that this version does not understand.
    Foreign(String),
}

impl ClaimOnApp {
    /// The claim, if we understand it.
    pub fn known(&self) -> Option<&Claim> {
        match self {
            Self::Known(claim) => Some(claim),
            _ => None,
        }
    }
}

/// Reads the claim of an environment on an application, or that of a run that belongs to none.
pub fn read_claim(app: &Application, environment: Option<&str>) -> ClaimOnApp {
    match app.metadata.annotations.get(&claim_annotation(environment)) {
        None => ClaimOnApp::Absent,
        Some(text) => match serde_json::from_str::<Claim>(text) {
            Ok(claim) if claim.environment.as_deref() == environment => {
                ClaimOnApp::Known(Box::new(claim))
            }
            _ => ClaimOnApp::Foreign(text.clone()),
        },
    }
}

/// All claims on an application that this version understands, whosever they are; the latest first.
pub fn read_claims(app: &Application) -> Vec<Claim> {
    let texts = app.metadata.annotations.iter().filter(|(name, _)| is_claim(name));
    let known = |(name, text): (&String, &String)| {
        let claim: Claim = serde_json::from_str(text).ok()?;
        let is_its_place = *name == claim_annotation(claim.environment.as_deref());
        is_its_place.then_some(claim)
    };
    let mut claims: Vec<Claim> = texts.filter_map(known).collect();
    claims.sort_by_key(|claim| std::cmp::Reverse(claim.at));
    claims
}

/// What the claims on an application mean for a new run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClaimStanding {
    Free,
    /// An earlier run of the same release with the same values did not end: this one finishes its work.
    Resume(Box<Claim>),
    /// A run died, or its claim is taken over. Its previous values are the ones to go back to.
    TakeOver(Box<Claim>),
    Held(Box<Claim>),
    /// A newer version of this tool, or somebody else, wrote a claim that cannot be understood.
    Unreadable,
}

/// A run that wants to write, for the claims that it meets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant<'a> {
    /// `project/environment`, if it belongs to one.
    pub environment: Option<&'a str>,
    pub release: &'a str,
    /// What it writes.
    pub changes: &'a [ValueChange],
    pub take_over: bool,
    pub now: Timestamp,
}

impl Claimant<'_> {
    /// Judges the claims on an application. Those of other environments matter if they are about the same values: two
    /// environments may live on one application side by side.
    pub(crate) fn standing(&self, app: &Application) -> ClaimStanding {
        if let ClaimOnApp::Foreign(_) = read_claim(app, self.environment)
            && !self.take_over
        {
            return ClaimStanding::Unreadable;
        }
        let mut standing = ClaimStanding::Free;
        for claim in read_claims(app) {
            if !self.meets(&claim) || !is_open(app, &claim) {
                continue;
            }
            let claim = Box::new(claim);
            if self.does_the_same(&claim) {
                standing = ClaimStanding::Resume(claim);
            } else if self.take_over || claim.deadline < self.now {
                standing = ClaimStanding::TakeOver(claim);
            } else {
                return ClaimStanding::Held(claim);
            }
        }
        standing
    }

    /// The claims of runs that ended without a proof, or not at all, and that this one writes over. Nobody ever saw their
    /// values working, so the ones before them are those to go back to, each as long as it stands: somebody may have
    /// overridden some of them.
    pub(crate) fn unproven(&self, app: &Application) -> Vec<Claim> {
        let mut claims = read_claims(app);
        claims.retain(|claim| {
            self.meets(claim) && matches!(claim.state, ClaimState::Open | ClaimState::Failed)
        });
        for claim in &mut claims {
            let sources = app.spec.sources();
            let stands =
                |change: &ValueChange| deviations(sources, std::slice::from_ref(change)).is_empty();
            claim.changes.retain(stands);
        }
        claims
    }

    fn meets(&self, claim: &Claim) -> bool {
        let is_ours = claim.environment.as_deref() == self.environment;
        let is_ours_too =
            |it: &ValueChange| self.changes.iter().any(|own| own.is_of_same_value(it));
        is_ours || claim.changes.iter().any(is_ours_too)
    }

    fn does_the_same(&self, claim: &Claim) -> bool {
        let is_claimed = |ours: &ValueChange| {
            let theirs = claim.changes.iter().find(|theirs| theirs.is_of_same_value(ours));
            theirs.is_some_and(|theirs| same_element(&ours.new, &theirs.new))
        };
        // What it put back of a run before it is done.
        let is_done_or_ours = |theirs: &ValueChange| {
            theirs.is_noop() || self.changes.iter().any(|ours| ours.is_of_same_value(theirs))
        };
        claim.environment.as_deref() == self.environment
            && claim.release == self.release
            && self.changes.iter().all(is_claimed)
            && claim.changes.iter().all(is_done_or_ours)
    }
}

/// Whether a claim is open, and the values that it speaks of are still there. Both were written in one patch, so a claim
/// without its values is one that somebody has overridden.
fn is_open(app: &Application, claim: &Claim) -> bool {
    let deviations = deviations(app.spec.sources(), &claim.changes);
    claim.state == ClaimState::Open && deviations.is_empty()
}

/// The changes of a plan, with the values to go back to if the run fails before its sync: those from before the runs that
/// were never proven.
pub(crate) fn with_previous(mut changes: Vec<ValueChange>, unproven: &[Claim]) -> Vec<ValueChange> {
    for change in &mut changes {
        for earlier in unproven.iter().flat_map(|claim| &claim.changes) {
            let stands = match &change.old {
                Some(old) => same_element(old, &earlier.new),
                None => earlier.new.is_null(),
            };
            if earlier.is_of_same_value(change) && stands {
                change.old.clone_from(&earlier.old);
            }
        }
    }
    changes
}

/// What a run that was never proven has written beside the values of a plan, and what puts that back: a release that is
/// pinned by other keys must not run with the leftovers of another.
pub(crate) fn leftovers(plan: &AppPlan, unproven: &[Claim]) -> Vec<ValueChange> {
    let mut found: Vec<ValueChange> = Vec::new();
    for claim in unproven {
        for change in claim.undone_changes() {
            let is_known = |it: &ValueChange| it.is_of_same_value(&change);
            // What the claim does not keep cannot be put back.
            if !change.is_noop()
                && !is_hidden(&change.new)
                && !plan.changes.iter().any(is_known)
                && !found.iter().any(is_known)
            {
                found.push(change);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
