//! The claim: the annotation in which a run says what it writes, what stood there before, and until when it works.
//!
//! It travels in the same patch as the values, so both land together. It is no lock: two writers that overlap inside
//! the server both succeed, and only reading back tells which one is left. Each environment that writes to an application
//! has a claim of its own there. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use crate::model::{Application, SourceAt};
use crate::overrides::plan::AppPlan;
use crate::overrides::secret::is_hidden;
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
    let Some(environment) = environment else { return ANNOTATION.to_owned() };
    let is_plain = |(project, name): &(&str, &str)| {
        let length = "claim..".len() + project.len() + name.len();
        length <= MAX_NAME && !project.contains('.') && name.ends_with(char::is_alphanumeric)
    };
    match environment.split_once('/').filter(is_plain) {
        Some((project, name)) => format!("{ANNOTATION}.{project}.{name}"),
        None => {
            let hash = Digest::of(environment.as_bytes()).to_string();
            format!("{ANNOTATION}-{}", &hash["sha256:".len()..][..16])
        }
    }
}

/// Whether an annotation is a claim of some environment.
pub(crate) fn is_claim(annotation: &str) -> bool {
    annotation
        .strip_prefix(ANNOTATION)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

/// What a run says about its write. A field that only a later version writes does not matter here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Version of this format.
    pub version: u32,
    /// `project/environment`, if it is the write of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Unique for each run; also in the `infos` of its operation.
    pub nonce: String,
    /// How far the run is.
    pub state: ClaimState,
    /// The release that is written.
    pub release: String,
    /// Who runs: the URL of the CI run, or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was written.
    pub at: Timestamp,
    /// Until when the run works at most. After that an open claim belongs to a run that died.
    pub deadline: Timestamp,
    /// The source that is written to.
    pub source: SourceAt,
    /// What was written, and what stood there before.
    pub changes: Vec<ValueChange>,
    /// The record of the promotion, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// What the ledger lacked of this promotion when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// The version of the format that is written.
    pub const VERSION: u32 = 1;

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
            Ok(claim)
                if claim.version == Claim::VERSION
                    && claim.environment.as_deref() == environment =>
            {
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
        (claim.version == Claim::VERSION && is_its_place).then_some(claim)
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
    /// The source that it writes to, and what.
    pub source: SourceAt,
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
            let source = app.spec.sources().get(claim.source);
            let stands =
                |change: &ValueChange| deviations(source, std::slice::from_ref(change)).is_empty();
            claim.changes.retain(stands);
        }
        claims
    }

    fn meets(&self, claim: &Claim) -> bool {
        let is_ours = claim.environment.as_deref() == self.environment;
        let same_value =
            claim.changes.iter().any(|it| self.changes.iter().any(|our| our.key == it.key));
        is_ours || (claim.source == self.source && same_value)
    }

    fn does_the_same(&self, claim: &Claim) -> bool {
        let is_claimed = |ours: &ValueChange| {
            let theirs = claim.changes.iter().find(|theirs| theirs.key == ours.key);
            theirs.is_some_and(|theirs| same_element(&ours.new, &theirs.new))
        };
        // What it put back of a run before it is done.
        let is_done_or_ours = |theirs: &ValueChange| {
            theirs.is_noop() || self.changes.iter().any(|ours| ours.key == theirs.key)
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
    let source = app.spec.sources().get(claim.source);
    claim.state == ClaimState::Open && deviations(source, &claim.changes).is_empty()
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
            if earlier.key == change.key && stands {
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
    for claim in unproven.iter().filter(|claim| claim.source == plan.source) {
        for change in claim.undone_changes() {
            let is_known = |it: &ValueChange| it.key == change.key;
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::overrides::values::OverrideKey;

    fn change(key: &str, old: Option<&str>, new: Option<&str>) -> ValueChange {
        let element = |value: &str| json!({ "name": key, "value": value, "forceString": true });
        ValueChange {
            key: OverrideKey::Helm(key.into()),
            old: old.map(element),
            new: new.map(element).unwrap_or_default(),
        }
    }

    fn tag(old: Option<&str>, new: &str) -> ValueChange {
        change("image.tag", old, Some(new))
    }

    fn claim(environment: Option<&str>, state: ClaimState) -> Claim {
        Claim {
            version: 1,
            environment: environment.map(str::to_owned),
            nonce: "n".into(),
            state,
            release: "r1".into(),
            by: None,
            at: "2026-11-24T10:00:00Z".parse().unwrap(),
            deadline: "2026-11-24T10:10:00Z".parse().unwrap(),
            source: SourceAt::Single,
            changes: vec![tag(Some("1"), "2")],
            record: None,
            kept: None,
        }
    }

    /// An application with these claims, whose tag is `2`.
    fn app(claims: &[Claim]) -> Application {
        let annotations: serde_json::Map<String, Value> = claims
            .iter()
            .map(|claim| (claim_annotation(claim.environment.as_deref()), claim.to_text().into()))
            .collect();
        let parameters = [&tag(None, "2").new];
        serde_json::from_value(json!({
            "metadata": { "annotations": annotations },
            "spec": { "source": { "repoURL": "r", "helm": { "parameters": parameters } } },
        }))
        .unwrap()
    }

    fn word(standing: &ClaimStanding) -> &'static str {
        match standing {
            ClaimStanding::Free => "free",
            ClaimStanding::Resume(_) => "resume",
            ClaimStanding::TakeOver(_) => "take over",
            ClaimStanding::Held(_) => "held",
            ClaimStanding::Unreadable => "unreadable",
        }
    }

    const EARLY: &str = "2026-11-24T10:05:00Z";
    const LATE: &str = "2026-11-24T10:10:01Z";

    #[test]
    fn claims_are_judged() {
        use ClaimState::{Done, Failed, Open, Undone};
        let (ours, other) = (Some("shop/prod"), Some("blog/prod"));
        let of = |environment, state| vec![claim(environment, state)];
        let (none, some) = (Vec::new(), of(ours, Open));
        let mut later = of(ours, Open);
        later[0].changes = vec![tag(Some("1"), "3")];
        let mut elsewhere = of(other, Open);
        elsewhere[0].changes = vec![change("other.tag", Some("1"), None)];
        elsewhere[0].source = SourceAt::Single;
        // The claims, the release and the value that are wanted, when, whether by `--take-over`.
        let cases = [
            (&none, "r2", "3", EARLY, false, "free"),
            (&of(ours, Done), "r2", "3", EARLY, false, "free"),
            (&of(ours, Undone), "r2", "3", EARLY, false, "free"),
            (&of(ours, Failed), "r2", "3", EARLY, false, "free"),
            (&some, "r2", "3", EARLY, false, "held"),
            (&some, "r2", "3", LATE, false, "take over"),
            (&some, "r2", "3", EARLY, true, "take over"),
            (&some, "r1", "2", EARLY, false, "resume"),
            // The same release with other values is not the same work.
            (&some, "r1", "3", EARLY, false, "held"),
            // A claim without its values is one that somebody has overridden.
            (&later, "r2", "3", EARLY, false, "free"),
            // Another environment, or a run that belongs to none, is at work on the same value.
            (&of(other, Open), "r1", "2", EARLY, false, "held"),
            (&of(None, Open), "r1", "2", EARLY, false, "held"),
            (&of(None, Open), "r1", "2", LATE, false, "take over"),
            // And on another one.
            (&elsewhere, "r2", "3", EARLY, false, "free"),
        ];
        for (claims, release, value, now, take_over, want) in cases {
            let changes = [tag(None, value)];
            let claimant = Claimant {
                environment: ours,
                release,
                source: SourceAt::Single,
                changes: &changes,
                take_over,
                now: now.parse().unwrap(),
            };
            let got = claimant.standing(&app(claims));
            assert_eq!(word(&got), want, "{claims:?} {release} {value} {now} {take_over}");
        }
    }

    #[test]
    fn a_claim_that_cannot_be_read_holds_its_own_environment() {
        let mut app = app(&[]);
        app.metadata.annotations.insert(claim_annotation(Some("shop/prod")), "{}".into());
        let changes = [tag(None, "3")];
        for (environment, take_over, want) in [
            ("shop/prod", false, "unreadable"),
            ("shop/prod", true, "free"),
            ("blog/prod", false, "free"),
        ] {
            let claimant = Claimant {
                environment: Some(environment),
                release: "r2",
                source: SourceAt::Single,
                changes: &changes,
                take_over,
                now: LATE.parse().unwrap(),
            };
            assert_eq!(word(&claimant.standing(&app)), want, "{environment} {take_over}");
        }
    }

    #[test]
    fn the_values_before_a_run_without_proof_are_the_ones_to_go_back_to() {
        let of = |state| vec![claim(None, state)];
        let cases = [
            // The dead run's value still stands: go back to the one before it.
            (of(ClaimState::Open), "2", Some("1")),
            // Somebody changed it since: that one counts.
            (of(ClaimState::Open), "9", Some("9")),
            (Vec::new(), "2", Some("2")),
        ];
        for (unproven, stands, want) in cases {
            let changes = with_previous(vec![tag(Some(stands), "3")], &unproven);
            assert_eq!(changes, [tag(want, "3")], "{unproven:?} {stands}");
        }
        let changes = [tag(Some("2"), "3")];
        let claimant = Claimant {
            environment: None,
            release: "r2",
            source: SourceAt::Single,
            changes: &changes,
            take_over: false,
            now: EARLY.parse().unwrap(),
        };
        let unproven = |state| claimant.unproven(&app(&of(state))).len();
        let (open, failed) = (unproven(ClaimState::Open), unproven(ClaimState::Failed));
        assert_eq!((open, failed, unproven(ClaimState::Done)), (1, 1, 0));
    }

    #[test]
    fn what_a_run_without_proof_wrote_beside_the_plan_is_put_back() {
        let dead = Claim {
            changes: vec![
                tag(Some("1"), "2"),
                change("digest", Some("old"), Some("new")),
                change("note", None, Some("x")),
                change("gone", Some("y"), None),
                change("same", Some("z"), Some("z")),
            ],
            ..claim(None, ClaimState::Open)
        };
        let plan = AppPlan {
            app: crate::api::request::AppRef::new("a"),
            source: SourceAt::Single,
            source_name: "r".into(),
            changes: vec![tag(Some("2"), "3")],
        };
        let found = leftovers(&plan, std::slice::from_ref(&dead));
        assert_eq!(
            found,
            [
                change("digest", Some("new"), Some("old")),
                change("note", Some("x"), None),
                change("gone", None, Some("y")),
            ]
        );
        // The run that does it can be resumed, and puts nothing forth again.
        let mut changes = plan.changes.clone();
        changes.extend(found);
        let ours = Claim {
            nonce: "m".into(),
            release: "r2".into(),
            changes: with_previous(changes, &[dead]),
            ..claim(None, ClaimState::Open)
        };
        assert_eq!(leftovers(&plan, std::slice::from_ref(&ours)), []);
        let claimant = Claimant {
            environment: None,
            release: "r2",
            source: SourceAt::Single,
            changes: &plan.changes,
            take_over: false,
            now: EARLY.parse().unwrap(),
        };
        assert!(claimant.does_the_same(&ours));
    }

    #[test]
    fn a_claim_that_kubernetes_would_not_store_is_known_before() {
        let ours = claim(None, ClaimState::Open);
        let with = |name: &str, length: usize| {
            let mut app = app(&[]);
            app.metadata.annotations.insert(name.into(), "x".repeat(length));
            ours.excess(&app)
        };
        assert_eq!(with("other", 200 << 10), None);
        assert!(with("other", 255 << 10).is_some_and(|bytes| bytes > MAX_ANNOTATIONS));
        // It takes the place of the one before it.
        assert_eq!(with(ANNOTATION, 255 << 10), None);
        let large = tag(Some(&"x".repeat(130 << 10)), &"y".repeat(130 << 10));
        let large = Claim { changes: vec![large], ..ours.clone() };
        assert!(large.excess(&app(&[])).is_some());
    }

    #[test]
    fn each_environment_has_a_claim_of_its_own() {
        let long = format!("shop/{}", "p".repeat(60));
        for (environment, want) in [
            (None, "verbatim.dev/claim"),
            (Some("shop/prod"), "verbatim.dev/claim.shop.prod"),
            (Some("shop/eu.west"), "verbatim.dev/claim.shop.eu.west"),
            // There could be a project `shop` with an environment `eu.west`.
            (Some("shop.eu/west"), "verbatim.dev/claim-"),
            (Some("shop/prod-"), "verbatim.dev/claim-"),
            (Some(long.as_str()), "verbatim.dev/claim-"),
        ] {
            let name = claim_annotation(environment);
            assert!(is_claim(&name), "{name}");
            let hashed = name.starts_with("verbatim.dev/claim-");
            assert_eq!(hashed, want.starts_with("verbatim.dev/claim-"), "{name}");
            assert!(hashed || name == want, "{name}");
            assert!(name.len() <= "verbatim.dev/".len() + MAX_NAME, "{name}");
        }
        assert!(!is_claim("verbatim.dev/claims"));
        let both = app(&[
            claim(Some("shop/prod"), ClaimState::Open),
            claim(Some("blog/prod"), ClaimState::Done),
        ]);
        assert_eq!(read_claims(&both).len(), 2);
        assert_eq!(read_claim(&both, None), ClaimOnApp::Absent);
        let blog = read_claim(&both, Some("blog/prod"));
        assert_eq!(blog.known().map(|claim| claim.state), Some(ClaimState::Done));
        // One that was copied to another place counts nowhere.
        let mut copied = app(&[]);
        let text = claim(Some("shop/prod"), ClaimState::Open).to_text();
        copied.metadata.annotations.insert(claim_annotation(Some("blog/prod")), text);
        assert!(matches!(read_claim(&copied, Some("blog/prod")), ClaimOnApp::Foreign(_)));
        assert_eq!(read_claims(&copied), []);
    }

    #[test]
    fn a_claim_survives_its_annotation() {
        let claim = claim(None, ClaimState::Open);
        let mut app = Application::default();
        assert_eq!(read_claim(&app, None), ClaimOnApp::Absent);
        let finished_at = "2026-11-24T10:00:00.123456789Z".parse().unwrap();
        let statement = PendingRecord::Statement { digest: Digest::of(b"s"), finished_at };
        for kept in [None, Some(PendingRecord::Record(Digest::of(b"r"))), Some(statement)] {
            let claim = Claim { kept, ..claim.clone() };
            app.metadata.annotations.insert(ANNOTATION.into(), claim.to_text());
            assert_eq!(read_claim(&app, None), ClaimOnApp::Known(Box::new(claim)));
        }
        // What a later version adds does not make it unreadable.
        let mut later = serde_json::to_value(&claim).unwrap();
        later["waves"] = json!(3);
        app.metadata.annotations.insert(ANNOTATION.into(), later.to_string());
        assert_eq!(read_claim(&app, None), ClaimOnApp::Known(Box::new(claim)));
        app.metadata.annotations.insert(ANNOTATION.into(), r#"{"version":2}"#.into());
        assert!(matches!(read_claim(&app, None), ClaimOnApp::Foreign(_)));
    }
}
