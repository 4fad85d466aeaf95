//! Cases of a policy: facts and the decision that is wanted, so that a team can test its own rules. Pure.
//!
//! The facts become real records: signed, with keys made for the purpose under the names and roles of the configured ones,
//! and verified like those of a registry. What a case says can therefore only be what a record could say.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use verbatim_oci::Digest;
use verbatim_policy::{
    Author, Bans, Decision, Facts, Gates, LedgerReading, LiveReading, ReleaseOrder, decide,
};
use verbatim_record::{
    Approval, Build, BuildSource, Bundle, Chain, ChainLink, CiRun, EnvironmentId, KeyRing, Lock,
    Payload, Predicate, PromotedApplication, PromotedRelease, Promotion, PromotionProof, Readback,
    ReadbackOutcome, RecordJudge, Records, Revision, SigningKey, Statement, SuiteOutcome,
    TestOutcome, TestRun, TrustedKey, Veto, sign,
};

use crate::config::Config;
use crate::policy::gates::gates;

/// The release of every case, and the one that stands for any other.
const RELEASE: &[u8] = b"the release of a case";
const OTHER: &[u8] = b"another release";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    /// The version of this format: 1.
    pub version: u32,
    pub cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub name: String,
    /// Where the release wants to enter.
    pub environment: String,
    pub now: Timestamp,
    /// Whether it is a rollback.
    #[serde(default)]
    rollback: bool,
    /// Whether this rollback goes beyond the release that was there before the one that was promoted last.
    #[serde(default)]
    beyond_previous: bool,
    /// Who promotes it.
    #[serde(default = "somebody")]
    actor: String,
    /// The build record; none if it is left out.
    #[serde(default)]
    build: Option<BuildFact>,
    #[serde(default)]
    tests: Vec<TestFact>,
    #[serde(default)]
    promotions: Vec<PromotionFact>,
    #[serde(default)]
    approvals: Vec<ApprovalFact>,
    #[serde(default)]
    vetoes: Vec<BanFact>,
    #[serde(default)]
    locks: Vec<BanFact>,
    #[serde(default)]
    attestations: Vec<AttestationFact>,
    /// What else than the ledger says was seen in an environment.
    #[serde(default)]
    drift: BTreeMap<String, String>,
    #[serde(default)]
    healthy_since: BTreeMap<String, Timestamp>,
    #[serde(default)]
    manifests: Vec<Revision>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    order: OrderFact,
    #[serde(default)]
    applications: Vec<Value>,
    pub want: Wanted,
    /// The gates that refuse, all of them; not looked at if left out.
    #[serde(default)]
    pub refused_by: Option<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wanted {
    Allowed,
    Refused,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildFact {
    by: String,
    at: Timestamp,
    #[serde(default)]
    repository: Option<String>,
    #[serde(default)]
    branch: Option<String>,
    #[serde(default)]
    builder: Option<String>,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    dirty: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFact {
    by: String,
    at: Timestamp,
    #[serde(rename = "in")]
    environment: String,
    #[serde(default)]
    passed: Vec<String>,
    #[serde(default)]
    failed: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromotionFact {
    by: String,
    at: Timestamp,
    to: String,
    /// Whether it was another release.
    #[serde(default)]
    other: bool,
    #[serde(default)]
    manifests: Vec<Revision>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalFact {
    by: String,
    at: Timestamp,
    #[serde(default)]
    until: Option<Timestamp>,
    /// For which environment; that of the case if left out.
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    actor: Option<String>,
}

/// Who promotes in a case that does not say it: no owner of a key.
fn somebody() -> String {
    "a pipeline".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BanFact {
    by: String,
    at: Timestamp,
    #[serde(default)]
    until: Option<Timestamp>,
    /// For all environments instead of that of the case. Vetoes only.
    #[serde(default)]
    everywhere: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttestationFact {
    by: String,
    #[serde(rename = "type")]
    kind: String,
    predicate: Value,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderFact {
    #[default]
    First,
    Same,
    Newer,
    Older,
    Unrelated,
}

/// Why a case cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaseError {
    /// An environment that the configuration does not have.
    #[error("no environment `{0}`")]
    Environment(String),
    /// A key that the configuration does not have.
    #[error("no key `{0}` in the configuration")]
    Key(String),
    /// A record that would not count, so that the case would show something else than it says.
    #[error("a record that is given does not count: {0}")]
    Rejected(String),
    /// A record that cannot be made.
    #[error("a record that is given cannot be made: {0}")]
    Record(String),
}

/// Keys with the names and roles of the configured ones.
struct Keys {
    by_name: BTreeMap<String, SigningKey>,
    ring: KeyRing,
}

impl Keys {
    fn of(ring: &KeyRing) -> Result<Self, CaseError> {
        let defect = |error: &dyn std::fmt::Display| CaseError::Record(error.to_string());
        let mut by_name = BTreeMap::new();
        let mut trusted = Vec::new();
        for (number, key) in (1_u64..).zip(ring.iter()) {
            let made = SigningKey::generate(|bytes: &mut [u8]| {
                bytes.fill(0);
                for (place, byte) in bytes.iter_mut().rev().zip(number.to_le_bytes()) {
                    *place = byte;
                }
                Ok::<_, Infallible>(())
            })
            .map_err(|error| defect(&error))?;
            trusted.push(TrustedKey { key: made.verifying_key().into(), ..key.clone() });
            by_name.insert(key.name.clone(), made);
        }
        let ring =
            KeyRing::with_powers(trusted, ring.powers().clone()).map_err(|error| defect(&error))?;
        Ok(Self { by_name, ring })
    }

    fn get(&self, name: &str) -> Result<&SigningKey, CaseError> {
        self.by_name.get(name).ok_or_else(|| CaseError::Key(name.to_owned()))
    }

    fn sign<P: Predicate>(&self, by: &str, statement: &Statement<P>) -> Result<Bundle, CaseError> {
        sign(statement, self.get(by)?).map_err(|error| CaseError::Record(error.to_string()))
    }
}

/// What the policy of a configuration says to a case.
pub(crate) fn ask(config: &Config, case: &Case) -> Result<Decision, CaseError> {
    let environment = config
        .environment(&case.environment)
        .ok_or_else(|| CaseError::Environment(case.environment.clone()))?;
    let gates = gates(environment, &config.rules(environment.name()))
        .map_err(|error| CaseError::Record(error.to_string()))?;
    let keys = Keys::of(&config.policy.ring)?;
    let facts = Asked { config, case, keys: &keys, place: &environment.id }.facts(&gates)?;
    Ok(decide(&gates, &facts))
}

struct Asked<'a> {
    config: &'a Config,
    case: &'a Case,
    keys: &'a Keys,
    place: &'a EnvironmentId,
}

impl Asked<'_> {
    fn facts(&self, gates: &Gates) -> Result<Facts, CaseError> {
        let case = self.case;
        let release = Digest::of(RELEASE);
        let types = gates.attested_types();
        let mut bundles = self.said()?;
        let mut ledgers = BTreeMap::new();
        let mut live = BTreeMap::new();
        for environment in &self.config.environments {
            let promotions = self.promotions(environment.name())?;
            let chain = self.chain(&environment.id, &promotions);
            let head = chain.head().map(|head| head.predicate().release.digest);
            if let Some(digest) = head {
                live.insert(environment.id.clone(), LiveReading::Running(digest));
            }
            ledgers.insert(environment.id.clone(), LedgerReading::Known(chain));
            let own = promotions.into_iter().filter(|(_, other)| !other);
            bundles.extend(own.map(|(bundle, _)| bundle));
        }
        for (name, seen) in &case.drift {
            live.insert(self.environment(name)?, LiveReading::Differs(seen.clone()));
        }
        let bytes = bundles.iter().map(Bundle::bytes);
        let ring = &self.keys.ring;
        let judge = RecordJudge::of_release(ring.clone(), release, case.now, types)
            .of_project(Some(self.config.project.clone()));
        let records: Records = bytes.map(|bytes| judge.judge(bytes)).collect();
        let locks = self.locks()?;
        let locks =
            Records::of_environment(locks.iter().map(Bundle::bytes), ring, self.place, case.now);
        if let Some(rejected) = records.rejected.first().or(locks.rejected.first()) {
            return Err(CaseError::Rejected(rejected.rejection.to_string()));
        }
        let healthy_since = case
            .healthy_since
            .iter()
            .map(|(name, since)| Ok((self.environment(name)?, *since)))
            .collect::<Result<_, CaseError>>()?;
        let other = Digest::of(OTHER);
        let images = self.config.images.keys();
        Ok(Facts {
            release,
            environment: self.place.clone(),
            is_rollback: case.rollback,
            is_beyond_previous: case.beyond_previous,
            records: Ok(records),
            bans: Ok(Bans { locks: locks.locks, vetoes: Vec::new() }),
            ledgers,
            live,
            healthy_since,
            manifests: Ok(case.manifests.clone()),
            order: match case.order {
                OrderFact::First => ReleaseOrder::First,
                OrderFact::Same => ReleaseOrder::Same,
                OrderFact::Newer => ReleaseOrder::Newer,
                OrderFact::Older => ReleaseOrder::Older(other),
                OrderFact::Unrelated => ReleaseOrder::Unrelated(other),
            },
            commit_there: None,
            author: Author { key: None, person: None, actor: Some(case.actor.clone()) },
            plan: None,
            labels: Ok(images.map(|image| (image.clone(), case.labels.clone())).collect()),
            applications: json!(case.applications),
            run: CiRun { actor: Some(case.actor.clone()), ..CiRun::default() },
            now: case.now,
        })
    }

    fn environment(&self, name: &str) -> Result<EnvironmentId, CaseError> {
        let environment = self.config.environment(name);
        environment
            .map(|environment| environment.id.clone())
            .ok_or_else(|| CaseError::Environment(name.to_owned()))
    }

    /// What was said about the release, but for promotions.
    fn said(&self) -> Result<Vec<Bundle>, CaseError> {
        let release = Digest::of(RELEASE);
        let mut bundles = Vec::new();
        if let Some(fact) = &self.case.build {
            let provenance = build(fact).provenance();
            bundles
                .push(self.keys.sign(&fact.by, &Statement::build("case", &release, provenance))?);
        }
        for fact in &self.case.tests {
            let run = self.test(fact)?;
            let statement = Statement::test("case", &release, run.result());
            bundles.push(self.keys.sign(&fact.by, &statement)?);
        }
        for fact in &self.case.approvals {
            let environment = match &fact.environment {
                Some(name) => self.environment(name)?,
                None => self.place.clone(),
            };
            let approval = Approval {
                seen: Vec::new(),
                environment,
                reason: String::new(),
                at: fact.at,
                until: fact.until,
                plan: None,
                // An actor is somebody whom a CI names.
                run: CiRun {
                    ci: fact.actor.as_ref().map(|_| "case".to_owned()),
                    actor: fact.actor.clone(),
                    ..CiRun::default()
                },
            };
            let statement = Statement::approval("case", &release, approval);
            bundles.push(self.keys.sign(&fact.by, &statement)?);
        }
        for fact in &self.case.vetoes {
            let veto = Veto {
                seen: Vec::new(),
                environment: (!fact.everywhere).then(|| self.place.clone()),
                lifts: Vec::new(),
                reason: "a case".to_owned(),
                at: fact.at,
                until: fact.until,
                run: CiRun::default(),
            };
            bundles.push(self.keys.sign(&fact.by, &Statement::veto("case", &release, veto))?);
        }
        for fact in &self.case.attestations {
            let statement = Statement::any("case", &release, &fact.kind, fact.predicate.clone());
            let payload = serde_json::to_vec(&statement)
                .map_err(|error| CaseError::Record(error.to_string()))
                .and_then(|bytes| {
                    Payload::read(bytes).map_err(|error| CaseError::Record(error.to_string()))
                })?;
            let bundle = payload.signed_by(self.keys.get(&fact.by)?);
            bundles.push(bundle.map_err(|error| CaseError::Record(error.to_string()))?);
        }
        Ok(bundles)
    }

    fn test(&self, fact: &TestFact) -> Result<TestRun, CaseError> {
        let outcomes = |names: &[String], outcome| {
            let suites = names.iter().cloned();
            suites.map(|suite| SuiteOutcome { suite, outcome }).collect::<Vec<_>>()
        };
        let mut suites = outcomes(&fact.passed, TestOutcome::Passed);
        suites.extend(outcomes(&fact.failed, TestOutcome::Failed));
        Ok(TestRun {
            seen: Vec::new(),
            environment: self.environment(&fact.environment)?,
            suites,
            promotion: None,
            before: Vec::new(),
            after: Vec::new(),
            run: CiRun::default(),
            started_at: fact.at,
            finished_at: fact.at,
        })
    }

    fn locks(&self) -> Result<Vec<Bundle>, CaseError> {
        let signed = self.case.locks.iter().map(|fact| {
            let lock = Lock {
                seen: Vec::new(),
                environment: self.place.clone(),
                lifts: Vec::new(),
                reason: "a case".to_owned(),
                at: fact.at,
                until: fact.until,
                run: CiRun::default(),
            };
            self.keys.sign(&fact.by, &Statement::lock(lock))
        });
        signed.collect()
    }

    /// The promotions to an environment, chained in the order of the file, and whether each is of another release.
    fn promotions(&self, name: &str) -> Result<Vec<(Bundle, bool)>, CaseError> {
        let mut bundles: Vec<(Bundle, bool)> = Vec::new();
        let there = self.case.promotions.iter().filter(|fact| fact.to == name);
        for (sequence, fact) in (1..).zip(there) {
            let previous = bundles.last().map(|(bundle, _)| bundle.digest());
            let chain = ChainLink { seen: Vec::new(), sequence, previous, merged: Vec::new() };
            let promotion = promotion(self.environment(name)?, fact, chain);
            bundles.push((self.keys.sign(&fact.by, &Statement::promotion(promotion))?, fact.other));
        }
        if let Some(fact) =
            self.case.promotions.iter().find(|fact| self.config.environment(&fact.to).is_none())
        {
            return Err(CaseError::Environment(fact.to.clone()));
        }
        Ok(bundles)
    }

    fn chain(&self, id: &EnvironmentId, promotions: &[(Bundle, bool)]) -> Chain {
        let bytes = promotions.iter().map(|(bundle, _)| bundle.bytes());
        let records = Records::of_environment(bytes, &self.keys.ring, id, self.case.now);
        Chain::verify(id, records.promotions, &[])
    }
}

fn build(fact: &BuildFact) -> Build {
    Build {
        source: BuildSource {
            repository: fact.repository.clone(),
            commit: Some("0".repeat(40)),
            branch: fact.branch.clone(),
            dirty: fact.dirty,
            ..BuildSource::default()
        },
        image: "case".to_owned(),
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: Vec::new(),
        build_args: Vec::new(),
        ignored_inputs: BTreeMap::new(),
        builder: "buildkit".to_owned(),
        builder_id: fact.builder.clone().unwrap_or_else(|| Build::builder_id("case")),
        versions: BTreeMap::new(),
        run: CiRun { actor: fact.actor.clone(), ..CiRun::default() },
        started_at: fact.at,
        finished_at: fact.at,
    }
}

fn promotion(environment: EnvironmentId, fact: &PromotionFact, chain: ChainLink) -> Promotion {
    let proven = || Readback { outcome: ReadbackOutcome::Proven, evidence: Default::default() };
    let digest = Digest::of(if fact.other { OTHER } else { RELEASE });
    let repository = "case".to_owned();
    Promotion {
        kind: Default::default(),
        reason: None,
        environment,
        release: PromotedRelease {
            digest,
            repository,
            images: Default::default(),
            tag: None,
            commit: None,
        },
        release_before: None,
        applications: vec![PromotedApplication {
            name: "case".to_owned(),
            namespace: None,
            server: "https://argocd.example.com".to_owned(),
            overrides: Vec::new(),
            revisions: fact.manifests.clone(),
            proof: PromotionProof {
                spec: proven(),
                operation: proven(),
                manifests: proven(),
                running: proven(),
                settled_seconds: 0,
            },
        }],
        plan: None,
        policy: None,
        policy_origin: None,
        policy_keys: None,
        policy_changes: Vec::new(),
        without: Vec::new(),
        gates: Vec::new(),
        run: CiRun::default(),
        started_at: fact.at,
        finished_at: fact.at,
        chain,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    /// Keys of no value, by the names that the document gives.
    fn key(path: &Path) -> std::io::Result<String> {
        let seed = match path.to_str() {
            Some("keys/ci.pub") => 1,
            Some("keys/anna.pub") => 2,
            Some("keys/on-call.pub") => 3,
            _ => return Err(std::io::ErrorKind::NotFound.into()),
        };
        let key = SigningKey::generate(|bytes: &mut [u8]| {
            bytes.fill(seed);
            Ok::<_, Infallible>(())
        });
        Ok(key.unwrap().verifying_key().to_pem().unwrap())
    }

    /// The example of the document is a policy, and its cases come to what they say.
    #[test]
    fn the_documented_example_holds() {
        let document = include_str!("../../../../docs/gates.md");
        let blocks: Vec<&str> = document
            .split("```yaml\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap_or_default())
            .collect();
        let begin = "\
version: 1
project: shop
images: { app: { repository: registry.example.com/shop } }
argocd: { main: { url: https://argocd.example.com } }
set: { helm: { image.digest: '${digest}' } }
environments:
  - name: staging
    apps: [shop-staging]
    tests: { smoke: ./smoke.sh }
";
        let text = format!("{begin}{}{}", blocks[0], blocks[1]);
        let config = config::parse(Path::new("verbatim.yaml"), &text, &key)
            .unwrap_or_else(|error| panic!("{error}"));
        let cases: Cases = config::document(Path::new("cases.yaml"), blocks[2])
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(cases.cases.len(), 2);
        for case in &cases.cases {
            let decision = ask(&config, case).unwrap();
            let refused: BTreeSet<String> = decision.refusals().map(|it| it.gate.name()).collect();
            assert_eq!(decision.allowed, case.want == Wanted::Allowed, "{}: {decision}", case.name);
            assert_eq!(refused, case.refused_by.clone().unwrap_or_default(), "{decision}");
        }
    }
}
