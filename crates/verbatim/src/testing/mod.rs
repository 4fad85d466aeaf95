//! Tests an environment: checks that the release is the one that runs there, runs its suites, signs how they ended. A
//! failure is recorded too: a test that was run until it passed is not the same as one that passed.

pub(crate) mod suites;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{
    EnvironmentId, PromotedRelease, Promotion, Statement, SuiteOutcome, TestOutcome, TestResult,
    TestRun, Verified,
};

use self::suites::Ended;
use crate::config::{Apps, Environment, Suite};
use crate::project::signer::RecordSigner;
use crate::project::{Project, failures};
use crate::records::Registry;
use crate::records::attach::{self, What};
use crate::records::store::Wanted;
use crate::release::Release;
use crate::release::find::Found;

/// How the tests of an environment ended.
#[derive(Debug, Serialize)]
pub(crate) struct Tested {
    /// The environment.
    pub environment: String,
    /// The release.
    #[serde(serialize_with = "crate::release::result::release")]
    pub release: Release,
    /// Whether all suites passed.
    pub passed: bool,
    /// How each ended; absent if it passed.
    pub suites: BTreeMap<String, Option<String>>,
    /// Whether that was found, and not run now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub earlier: bool,
    /// The digest of the record.
    pub record: Digest,
}

impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "passed" } else { "failed" };
        writeln!(f, "{} {verdict} in {}", self.release.digest, self.environment)?;
        for (suite, why) in &self.suites {
            match why {
                None => writeln!(f, "  passed  {suite}")?,
                Some(why) => writeln!(f, "  failed  {suite}: {why}")?,
            }
        }
        write!(f, "  record {}", self.record)
    }
}

/// Runs suites of an environment against a release; all of them if `chosen` is empty.
///
/// # Errors
/// Nothing to run, another release there, an interrupt, or a record that could not be attached.
pub(crate) async fn test(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    found: &Found,
    chosen: &[String],
    key: &RecordSigner,
    console: &Console,
) -> Result<Tested, Failure> {
    let suites = choose(environment, chosen)?;
    let (promotion, promoted) = promotion_there(project, registry, environment, found).await?;
    let variables = variables(environment, found, &promoted);
    console.plan_steps(suites.iter().map(|(name, _)| format!("run the suite {name}")));
    let started_at = Timestamp::now();
    let mut outcomes = Vec::new();
    let mut told = BTreeMap::new();
    // While a suite runs, an interrupt has to end it first.
    let guard = console.tidy_guard();
    for (name, suite) in suites {
        console.status(format!("testing {}: {name}", environment.id));
        let why = match suites::run(suite, project.folder(), &variables, console).await {
            Ended::Passed => None,
            Ended::Failed(why) => Some(why),
            Ended::Interrupted => return Err(Failure::interrupted()),
        };
        let outcome = if why.is_none() { TestOutcome::Passed } else { TestOutcome::Failed };
        outcomes.push(SuiteOutcome { suite: name.clone(), outcome });
        told.insert(name.clone(), why);
        console.step(&format!("run the suite {name}"), verbatim_console::StepState::Done);
    }
    drop(guard);
    let run = TestRun {
        environment: environment.id.clone(),
        suites: outcomes,
        promotion: Some(promotion),
        run: project.run(),
        started_at,
        finished_at: Timestamp::now(),
    };
    let release = &found.release;
    let statement = Statement::test(&release.repository.to_string(), &release.digest, run.result());
    let descriptor = found.resolved.manifest.descriptor().map_err(failures::registry)?;
    let what = format!("the test of {}", environment.id);
    let what = What::Done(&what);
    let record = attach::signed(project, &statement, key, what).await?;
    attach::attach(project, &registry.store, &record, &descriptor, None, what, console).await?;
    Ok(Tested {
        environment: environment.id.to_string(),
        release: release.clone(),
        passed: told.values().all(Option::is_none),
        suites: told,
        earlier: false,
        record: record.digest(),
    })
}

/// The result of all suites of an environment, if the release passed them since it came there.
///
/// # Errors
/// The records could not be read.
pub(crate) async fn earlier(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    found: &Found,
) -> Result<Option<Tested>, Failure> {
    let (ring, now) = (&project.config.policy.ring, Timestamp::now());
    let wanted = Wanted::only::<Promotion>();
    let (store, digest) = (&registry.store, found.release.digest);
    let ledger = store.of_environment(ring, &environment.id, &wanted, &[], now);
    let wanted = Wanted::only::<TestResult>();
    let records = store.of_release(ring, digest, &wanted, now);
    let (ledger, records) = tokio::try_join!(ledger, records).map_err(failures::registry)?;
    let Some(came) = ledger.chain.began() else { return Ok(None) };
    let suites: Vec<&str> = environment.tests.keys().map(String::as_str).collect();
    let passed =
        passed_since(&records.tests, &environment.id, &suites, came.predicate().finished_at);
    Ok(passed.map(|record| Tested {
        environment: environment.id.to_string(),
        release: found.release.clone(),
        passed: true,
        suites: environment.tests.keys().map(|name| (name.clone(), None)).collect(),
        earlier: true,
        record,
    }))
}

/// The latest record by which each of some suites passed, none of them before some time. Of several results of a suite
/// the latest counts.
fn passed_since(
    tests: &[Verified<TestResult>],
    environment: &EnvironmentId,
    suites: &[&str],
    since: Timestamp,
) -> Option<Digest> {
    let there: Vec<_> = tests.iter().filter(|it| it.environment() == Some(environment)).collect();
    let latest = suites.iter().map(|suite| {
        let results = there.iter().filter_map(|record| {
            let is_failed = record.predicate().suite(suite)? == TestOutcome::Failed;
            Some((record.recorded_at()?, is_failed, record.record()))
        });
        results.max().filter(|(at, is_failed, _)| !is_failed && *at >= since)
    });
    let latest: Option<Vec<_>> = latest.collect();
    latest?.into_iter().max().map(|(_, _, record)| record)
}

/// The suites of an environment that are meant; all of them if none is chosen.
///
/// # Errors
/// There is none, or not of that name.
pub(crate) fn choose<'a>(
    environment: &'a Environment,
    chosen: &[String],
) -> Result<Vec<(&'a String, &'a Suite)>, Failure> {
    let all = &environment.tests;
    if all.is_empty() {
        return Err(Failure::usage(format!("{} has no tests", environment.id))
            .hint("add `tests: { smoke: ./smoke.sh }` to it"));
    }
    if let Some(unknown) = chosen.iter().find(|name| !all.contains_key(*name)) {
        let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!("{} has no suite `{unknown}`", environment.id))
            .hint(format!("its suites: {known}")));
    }
    Ok(all.iter().filter(|(name, _)| chosen.is_empty() || chosen.contains(name)).collect())
}

/// The record of the promotion that brought the release there. Tests of an environment where something else runs would
/// say something about that.
async fn promotion_there(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    found: &Found,
) -> Result<(Digest, PromotedRelease), Failure> {
    let ring = &project.config.policy.ring;
    let ledger = registry
        .store
        .of_environment(ring, &environment.id, &Wanted::only::<Promotion>(), &[], Timestamp::now())
        .await
        .map_err(failures::registry)?
        .chain;
    if let Some(fault) = ledger.faults().first() {
        return Err(Failure::new(
            ExitStatus::No,
            format!("the ledger of {} cannot be relied on: {fault}", environment.id),
        ));
    }
    let digest = found.release.digest;
    match ledger.head() {
        Some(head) if head.predicate().release.digest == digest => {
            Ok((Verified::record(head), head.predicate().release.clone()))
        }
        Some(head) => {
            let there = head.predicate().release.digest;
            Err(Failure::new(
                ExitStatus::No,
                format!("{} runs {there}, not {digest}", environment.id),
            )
            .hint(format!("promote first: verbatim promote {}", environment.name())))
        }
        None => Err(Failure::new(
            ExitStatus::No,
            format!("nothing was promoted to {} yet", environment.id),
        )
        .hint(format!("promote first: verbatim promote {}", environment.name()))),
    }
}

/// What a test can know of what it tests.
fn variables(
    environment: &Environment,
    found: &Found,
    promoted: &PromotedRelease,
) -> Vec<(String, String)> {
    let release = &found.release;
    let apps = match &environment.apps {
        Apps::Named(apps) => apps.as_slice(),
        Apps::Selected(_) => &[],
    };
    let urls: BTreeMap<&str, &str> =
        apps.iter().filter_map(|app| Some((app.name.as_str(), app.url.as_deref()?))).collect();
    let url = environment.url.as_deref().or_else(|| urls.values().next().copied());
    let images: BTreeMap<String, String> = release
        .images()
        .into_iter()
        .map(|(name, image)| (name, image.reference().to_string()))
        .collect();
    let mut variables = vec![
        ("VERBATIM_RELEASE".to_owned(), release.to_string()),
        ("VERBATIM_REPOSITORY".to_owned(), release.repository.to_string()),
        ("VERBATIM_DIGEST".to_owned(), release.digest.to_string()),
        ("VERBATIM_PROJECT".to_owned(), environment.id.project().to_owned()),
        ("VERBATIM_ENVIRONMENT".to_owned(), environment.name().to_owned()),
        ("VERBATIM_URLS".to_owned(), json!(urls).to_string()),
        ("VERBATIM_IMAGES".to_owned(), json!(images).to_string()),
    ];
    let known = [("VERBATIM_TAG", &promoted.tag), ("VERBATIM_COMMIT", &promoted.commit)];
    variables.extend(
        known
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    variables.extend(url.map(|url| ("VERBATIM_URL".to_owned(), url.to_owned())));
    variables
}
