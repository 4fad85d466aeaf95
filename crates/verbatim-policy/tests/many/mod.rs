//! A release with many records, and gates that look at all of them. Used by a test and by `cargo xtask bench policy`.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use verbatim_oci::Digest;
use verbatim_policy::{
    ATTESTED_VARIABLES, ApprovalRequirement, Author, Bans, BuildRequirement, Condition, Facts,
    Gate, Gates, LedgerReading, LiveReading, Presence, ReleaseOrder, StatementRequirement,
    StatementTime, WHEN_VARIABLES, Window, WindowKind, ZonedWindow,
};
use verbatim_record::{
    Approval, Build, BuildSource, Bundle, Chain, ChainLink, CiRun, EnvironmentId, KeyLife, KeyRing,
    KeyScope, Payload, Promotion, RecordJudge, Records, Revision, Role, SigningKey, Statement,
    SuiteOutcome, TestOutcome, TestRun, TrustedKey, Veto, sign,
};

const REPORT: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// What a record was found on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Release,
    Ledger,
}

fn key(number: u8) -> SigningKey {
    let made = SigningKey::generate(|bytes| {
        bytes.fill(number);
        Ok::<_, Infallible>(())
    });
    made.unwrap_or_else(|never| match never {})
}

/// The keys of a pipeline and of four people.
fn ring() -> KeyRing {
    let trusted = |name: &str, number, roles: &[&str]| TrustedKey {
        name: name.to_owned(),
        key: key(number).verifying_key().into(),
        roles: roles.iter().map(|role| Role::new(*role)).collect(),
        actors: BTreeSet::from([format!("{name}@example.com")]),
        scope: KeyScope::ANYTHING,
        life: KeyLife::UNLIMITED,
    };
    let keys = [
        trusted("ci", 1, &["builder", "tester", "promoter"]),
        trusted("anna", 2, &["release-manager"]),
        trusted("ben", 3, &["release-manager"]),
        trusted("carl", 4, &["release-manager"]),
        trusted("dora", 5, &["release-manager"]),
    ];
    KeyRing::new(keys).unwrap_or_default()
}

fn noon() -> Timestamp {
    Timestamp::from_second(1_795_521_600).unwrap_or_default()
}

fn after(seconds: usize) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    noon().saturating_add(SignedDuration::from_secs(seconds)).unwrap_or_default()
}

/// When the decision is made: after all of the records.
fn now() -> Timestamp {
    noon().saturating_add(SignedDuration::from_hours(24)).unwrap_or_default()
}

fn environment(name: &str) -> Option<EnvironmentId> {
    EnvironmentId::new("shop", name).ok()
}

fn release() -> Digest {
    Digest::of(b"the release")
}

fn revisions() -> Vec<Revision> {
    let text = r#"[{"repository":"https://git.example.com/shop/deploy","path":"chart","revision":"ffac537e6cbbf934b08745a378932722df287a53"}]"#;
    serde_json::from_str(text).unwrap_or_default()
}

fn run(number: usize) -> CiRun {
    CiRun {
        project: Some("shop".to_owned()),
        ci: Some("github".to_owned()),
        pipeline: Some("github.com/acme/shop/.github/workflows/ci.yml".to_owned()),
        number: u64::try_from(number).ok(),
        url: Some(format!("https://github.com/acme/shop/actions/runs/{number}")),
        actor: Some("alice".to_owned()),
    }
}

/// `count` records, one after the other: half of them tests, attestations, approvals and vetoes of the release, and half
/// of them the ledger of staging, which ends with the release. None is like another.
pub(crate) fn records(count: usize) -> Result<Vec<(Found, Bundle)>, Box<dyn std::error::Error>> {
    let staging = environment("staging").ok_or("a name")?;
    let production = environment("production").ok_or("a name")?;
    let mut records = Vec::with_capacity(count);
    let mut previous: Option<Digest> = None;
    let promotions = count / 2;
    for number in 0..count {
        let found = if number < promotions { Found::Ledger } else { Found::Release };
        let bundle = match (found, number % 4) {
            (Found::Ledger, _) => {
                let is_last = number + 1 == promotions;
                let what = if is_last { release() } else { Digest::of(&number.to_le_bytes()) };
                let sequence = u64::try_from(number)? + 1;
                let chain = ChainLink { sequence, previous, merged: Vec::new(), seen: Vec::new() };
                sign(&Statement::promotion(promotion(&staging, what, number, chain)?), &key(1))?
            }
            (Found::Release, _) if number + 1 == count => {
                sign(&Statement::build("shop", &release(), build().provenance()), &key(1))?
            }
            (Found::Release, 0) => sign(
                &Statement::test("shop", &release(), tested(&staging, number).result()),
                &key(1),
            )?,
            (Found::Release, 1) => attested(number)?,
            (Found::Release, 2) => {
                let approval = Approval {
                    seen: Vec::new(),
                    environment: production.clone(),
                    reason: format!("demo {number} went well"),
                    at: after(number),
                    until: None,
                    plan: None,
                    // Somebody else than who built it.
                    run: CiRun::default(),
                };
                let by = 2 + u8::try_from(number / 4 % 4)?;
                sign(&Statement::approval("shop", &release(), approval), &key(by))?
            }
            (Found::Release, _) => {
                let veto = Veto {
                    seen: Vec::new(),
                    environment: Some(production.clone()),
                    lifts: Vec::new(),
                    reason: format!("incident {number}"),
                    at: after(number),
                    // Long over when the decision is made.
                    until: Some(after(number + 60)),
                    run: run(number),
                };
                sign(&Statement::veto("shop", &release(), veto), &key(2))?
            }
        };
        if found == Found::Ledger {
            previous = Some(bundle.digest());
        }
        records.push((found, bundle));
    }
    Ok(records)
}

fn build() -> Build {
    Build {
        source: BuildSource {
            repository: Some("https://github.com/acme/shop".to_owned()),
            commit: Some("ffac537e6cbbf934b08745a378932722df287a53".to_owned()),
            branch: Some("main".to_owned()),
            ..BuildSource::default()
        },
        image: "registry.example.com/shop:42.ffac537".to_owned(),
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: vec!["linux/amd64".to_owned()],
        build_args: vec!["VERSION".to_owned()],
        ignored_inputs: BTreeMap::new(),
        builder: "buildkit".to_owned(),
        builder_id: Build::builder_id("github"),
        versions: BTreeMap::from([("verbatim".to_owned(), "0.1.0".to_owned())]),
        run: run(0),
        started_at: after(0),
        finished_at: after(60),
    }
}

fn tested(environment: &EnvironmentId, number: usize) -> TestRun {
    let suites = ["smoke", "load", "contract"]
        .map(|suite| SuiteOutcome { suite: suite.to_owned(), outcome: TestOutcome::Passed });
    TestRun {
        seen: Vec::new(),
        environment: environment.clone(),
        suites: suites.into(),
        promotion: None,
        before: Vec::new(),
        after: Vec::new(),
        run: run(number),
        started_at: after(number),
        finished_at: after(number + 30),
    }
}

fn attested(number: usize) -> Result<Bundle, Box<dyn std::error::Error>> {
    let findings: Vec<_> = (0..8)
        .map(|finding| json!({ "id": format!("CVE-2026-{number:05}{finding}"), "severity": "low" }))
        .collect();
    let predicate = json!({
        "scanner": { "uri": "https://scanner.example.com", "version": "1.2.3", "result": { "critical": 0, "findings": findings } },
        "metadata": { "scanStartedOn": after(number).to_string(), "scanFinishedOn": after(number + 20).to_string() },
    });
    let statement = Statement::any("shop", &release(), REPORT, predicate);
    Ok(Payload::read(serde_json::to_vec(&statement)?)?.signed_by(&key(1))?)
}

fn promotion(
    environment: &EnvironmentId,
    digest: Digest,
    number: usize,
    chain: ChainLink,
) -> Result<Promotion, serde_json::Error> {
    let proven = |evidence: Value| json!({ "outcome": "proven", "evidence": evidence });
    let values = json!({ "image.repository": "registry.example.com/shop", "image.tag": format!("{number}.ffac537@{digest}") });
    let pods: Vec<_> = (0..3)
        .map(|pod| json!({ "pod": format!("shop-{number:05}-{pod}"), "imageID": format!("registry.example.com/shop@{digest}"), "match": "index" }))
        .collect();
    serde_json::from_value(json!({
        "environment": environment,
        "release": {
            "digest": digest, "repository": "registry.example.com/shop", "tag": format!("{number}.ffac537"),
            "commit": "ffac537e6cbbf934b08745a378932722df287a53",
        },
        "releaseBefore": chain.previous,
        "applications": [{
            "name": format!("shop-{}", environment.name()), "server": "https://argocd.example.com",
            "revisions": revisions(),
            "proof": {
                "spec": proven(json!({ "values": values })),
                "operation": proven(json!({ "nonce": format!("{number:016x}"), "values": values })),
                "manifests": proven(json!({ "workloads": [{ "kind": "Deployment", "name": "shop", "digest": digest }] })),
                "running": proven(json!({ "pods": pods })),
                "settledSeconds": 10,
            },
        }],
        "plan": Digest::of(b"plan"), "policy": Digest::of(b"policy"), "run": run(number),
        "startedAt": after(number), "finishedAt": after(number + 1), "chain": chain,
    }))
}

/// What the records of the release are held against.
pub(crate) fn judge_of_release() -> RecordJudge {
    RecordJudge::of_release(ring(), release(), now(), BTreeSet::from([REPORT.to_owned()]))
}

/// What the ledger is held against.
pub(crate) fn judge_of_ledger() -> Option<RecordJudge> {
    Some(RecordJudge::of_environment(ring(), &environment("staging")?, now()))
}

/// Every gate, as strict as these records allow.
pub(crate) fn gates() -> Result<Gates, Box<dyn std::error::Error>> {
    let staging = environment("staging").ok_or("a name")?;
    let window: Window = "00:00-24:00".parse()?;
    let report = StatementRequirement {
        predicate_type: REPORT.to_owned(),
        role: Role::TESTER,
        condition: Some(Condition::parse(
            "predicate.scanner.result.critical == 0",
            ATTESTED_VARIABLES,
        )?),
        latest: None,
    };
    let field = ["metadata", "scanFinishedOn"].map(str::to_owned).into();
    let latest = Some(StatementTime { field, max_age: Some(SignedDuration::from_hours(48)) });
    let hours = |hours| SignedDuration::from_hours(hours);
    let mut approvals = ApprovalRequirement {
        count: 4,
        role: Role::new("release-manager"),
        not_author: true,
        max_age: None,
    };
    let four = Gate::Approvals(approvals.clone());
    approvals.max_age = Some(hours(48));
    Ok(Gates::new(vec![
        Gate::Locked,
        Gate::Vetoed,
        Gate::After { environment: staging.clone(), ran: Presence::Still },
        Gate::Tested {
            environment: staging.clone(),
            suites: vec!["smoke".to_owned(), "load".to_owned()],
            max_age: Some(hours(48)),
        },
        Gate::CleanSource,
        Gate::Signed(BuildRequirement {
            builders: vec!["urn:verbatim:builder:*".to_owned()],
            sources: vec!["https://github.com/acme/*".to_owned()],
            branches: vec!["main".to_owned()],
        }),
        Gate::SameManifests { environment: staging.clone() },
        Gate::Soak { environment: staging, period: hours(1) },
        four,
        Gate::Approvals(approvals),
        Gate::Windows {
            windows: vec![ZonedWindow {
                kind: WindowKind::Allow,
                window,
                zone_name: "UTC".to_owned(),
                zone: jiff::tz::TimeZone::UTC,
            }],
        },
        Gate::Attested(report.clone()),
        Gate::Attested(StatementRequirement { latest, ..report }),
        Gate::Order { unrelated: false },
        Gate::Freshness { max_age: hours(48) },
        Gate::When {
            name: "main".to_owned(),
            condition: Condition::parse("release.branch == \"main\"", WHEN_VARIABLES)?,
        },
    ]))
}

/// The facts, with what the judges made of the records.
pub(crate) fn facts(of_release: Records, of_ledger: Records) -> Option<Facts> {
    let staging = environment("staging")?;
    let chain = Chain::verify(&staging, of_ledger.promotions, &[]);
    Some(Facts {
        release: release(),
        environment: environment("production")?,
        is_rollback: false,
        is_beyond_previous: false,
        records: Ok(of_release),
        bans: Ok(Bans::default()),
        ledgers: BTreeMap::from([(staging.clone(), LedgerReading::Known(chain))]),
        live: BTreeMap::from([(staging.clone(), LiveReading::Running(release()))]),
        healthy_since: BTreeMap::from([(staging, noon())]),
        manifests: Ok(revisions()),
        order: ReleaseOrder::Newer,
        commit_there: None,
        author: Author { key: None, person: None, actor: Some("ci@example.com".to_owned()) },
        plan: None,
        labels: Ok(BTreeMap::new()),
        applications: json!([]),
        run: run(1),
        now: now(),
    })
}
