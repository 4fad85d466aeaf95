//! Tests an environment: looks whether the release is what runs there, runs its suites, looks once more, signs how they
//! ended. A failure is recorded too: a test that was run until it passed is not the same as one that passed.

mod live;
pub(crate) mod suites;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{
    Anchors, Chain, EnvironmentId, PromotedRelease, SeenApplication, Statement, SuiteOutcome,
    TestOutcome, TestResult, TestRun, Verified,
};

use self::live::NotLive;
use self::suites::SuiteResult;
use crate::config::{Apps, Environment, Suite};
use crate::environment::applications::{self, ObservedApp, Servers};
use crate::environment::ledger;
use crate::project::signer::RecordSigner;
use crate::project::{Project, failures};
use crate::records::Registry;
use crate::records::attach::{self, RecordSubject};
use crate::records::store::Ledger;
use crate::release::Release;
use crate::release::find::{self, ResolvedRelease};
use crate::release::result::twelve;

/// How the tests of an environment ended.
#[derive(Debug, Serialize)]
pub(crate) struct TestReport {
    pub environment: String,
    #[serde(serialize_with = "crate::release::result::release")]
    pub release: Release,
    pub passed: bool,
    /// How each ended; absent if it passed.
    pub suites: BTreeMap<String, Option<String>>,
    /// Whether that was found, and not run now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub earlier: bool,
    /// How long the suites ran.
    #[serde(skip)]
    pub took: Option<Duration>,
    pub record: Digest,
}

/// Short: one line, and why a suite failed. With `{:#}` also every suite and the record.
impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.passed, self.earlier) {
            (true, false) => "tested",
            (true, true) => "tested before",
            (false, _) => "failed",
        };
        let wanted = self.suites.iter().filter(|(_, why)| why.is_none() == self.passed);
        let suites: Vec<&str> = wanted.map(|(name, _)| name.as_str()).collect();
        let (environment, digest) = (&self.environment, twelve(&self.release.digest));
        write!(f, "{environment}  {digest}  {verdict}  {}", suites.join(", "))?;
        if let Some(took) = self.took {
            write!(f, "  {:.1}s", took.as_secs_f64())?;
        }
        for (suite, why) in &self.suites {
            match why {
                None if f.alternate() => write!(f, "\n  passed  {suite}")?,
                None => {}
                Some(why) => write!(f, "\n  failed  {suite}: {why}")?,
            }
        }
        match f.alternate() {
            true => write!(f, "\n  record {}", self.record),
            false => Ok(()),
        }
    }
}

/// Runs suites of an environment against a release; all of them if `chosen` is empty.
pub(crate) async fn test(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    found: &ResolvedRelease,
    chosen: &[String],
    key: &RecordSigner,
    console: &Console,
) -> Result<TestReport, Failure> {
    let suites = choose(environment, chosen)?;
    let id = key.verifying_key().id();
    project.speaks_for(&id, Some(&environment.id))?;
    project.speaks_for_suites(&id, suites.iter().map(|(name, _)| name.as_str()))?;
    for (name, suite) in &suites {
        suites::check(name, suite, project.folder())?;
    }
    let servers = Servers::of(project, [environment])?;
    let Standing { promotion, promoted, release: expected, ledger, before } =
        standing(project, registry, &servers, environment, found).await?;
    let variables = variables(environment, found, &promoted);
    console.plan_steps(suites.iter().map(|(name, _)| format!("run the suite {name}")));
    let (started_at, clock) = (Timestamp::now(), Instant::now());
    let mut outcomes = Vec::new();
    let mut told = BTreeMap::new();
    // While a suite runs, an interrupt has to end it first.
    let guard = console.tidy_guard();
    for (name, suite) in suites {
        console.status(format!("{}: running the suite {name}", environment.id));
        // A suite before it may have changed them. What has failed by then is recorded all the same.
        let ended = match suites::check(name, suite, project.folder()) {
            Ok(()) => {
                let folder = project.folder();
                suites::run(suite, folder, &variables, &project.variables, console).await
            }
            Err(changed) => SuiteResult::Failed(changed.whole()),
        };
        let why = match ended {
            SuiteResult::Passed => None,
            SuiteResult::Failed(why) => Some(why),
            SuiteResult::Interrupted => return Err(Failure::interrupted()),
        };
        let outcome = if why.is_none() { TestOutcome::Passed } else { TestOutcome::Failed };
        outcomes.push(SuiteOutcome { suite: name.clone(), outcome });
        told.insert(name.clone(), why);
        console.step(&format!("run the suite {name}"), verbatim_console::StepState::Done);
    }
    drop(guard);
    let took = clock.elapsed();
    let seen = readable(applications::at(environment, &servers).await?)?;
    let after = live::look(&seen, &expected, &ledger, Timestamp::now());
    let after = match after {
        Ok(after) => match live::difference(&before, &after) {
            None => Ok(after),
            Some(difference) => Err(difference),
        },
        Err(why) => Err(why.to_string()),
    };
    let after = after.map_err(|why| {
        let what = format!("{} changed while its tests ran: {why}", environment.id);
        Failure::new(ExitStatus::Conflict, what)
            .hint("nothing was recorded; when it is as promoted, test again")
    })?;
    let run = TestRun {
        seen: ledger.seen().to_vec(),
        environment: environment.id.clone(),
        suites: outcomes,
        promotion: Some(promotion),
        before,
        after,
        run: project.run(),
        started_at,
        finished_at: Timestamp::now(),
    };
    let release = &found.release;
    let statement = Statement::test(&release.repository.to_string(), &release.digest, run.result());
    let descriptor = found.resolved.manifest.descriptor().map_err(failures::registry)?;
    let what = format!("the test of {}", environment.id);
    let what = RecordSubject::Done(&what);
    let record = attach::signed(project, &statement, key, what).await?;
    let environments = std::slice::from_ref(&environment.id);
    attach::attach(project, &registry.store, &record, &descriptor, environments, what, console)
        .await?;
    Ok(TestReport {
        environment: environment.id.to_string(),
        release: release.clone(),
        passed: told.values().all(Option::is_none),
        suites: told,
        earlier: false,
        took: Some(took),
        record: record.digest(),
    })
}

/// The result of all suites of an environment, if the release passed them since it came there.
pub(crate) async fn earlier(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    found: &ResolvedRelease,
) -> Result<Option<TestReport>, Failure> {
    let (ring, now) = (&project.config.policy.ring, Timestamp::now());
    let (store, digest) = (&registry.store, found.release.digest);
    let ledger = store.of_environment(ring, &environment.id, Anchors::NONE, now);
    let records = store.of_release(ring, digest, now);
    let (ledger, records) = tokio::try_join!(ledger, records).map_err(failures::registry)?;
    let records = records.with_ledger(&digest, &ledger.records);
    let Some(came) = ledger.chain.began() else { return Ok(None) };
    let suites: Vec<&str> = environment.tests.keys().map(String::as_str).collect();
    let passed =
        passed_since(&records.tests, &environment.id, &suites, came.predicate().finished_at);
    Ok(passed.map(|record| TestReport {
        environment: environment.id.to_string(),
        release: found.release.clone(),
        passed: true,
        suites: environment.tests.keys().map(|name| (name.clone(), None)).collect(),
        earlier: true,
        took: None,
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
pub(crate) fn choose<'a>(
    environment: &'a Environment,
    chosen: &[String],
) -> Result<Vec<(&'a String, &'a Suite)>, Failure> {
    let all = &environment.tests;
    if all.is_empty() {
        return Err(Failure::usage(format!("{} has no tests", environment.id))
            .hint("add one to the environment: `tests: { smoke: ./smoke.sh }`"));
    }
    if let Some(unknown) = chosen.iter().find(|name| !all.contains_key(*name)) {
        let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!("{} has no suite `{unknown}`", environment.id))
            .hint(format!("known suites: {known}")));
    }
    Ok(all.iter().filter(|(name, _)| chosen.is_empty() || chosen.contains(name)).collect())
}

/// What is there before the first suite.
struct Standing {
    /// The record of the last promotion.
    promotion: Digest,
    promoted: PromotedRelease,
    /// The release as its values were written.
    release: Release,
    ledger: Chain,
    before: Vec<SeenApplication>,
}

/// Looks whether the release is what was promoted last, and what runs. Tests of an environment where something else runs
/// would say something about that.
async fn standing(
    project: &Project,
    registry: &Registry,
    servers: &Servers,
    environment: &Environment,
    found: &ResolvedRelease,
) -> Result<Standing, Failure> {
    let (id, name, now) = (&environment.id, environment.name(), Timestamp::now());
    let store = &registry.store;
    let (seen, Ledger { chain: ledger, .. }) =
        ledger::ledger_with(project, store, servers, environment, now).await?;
    servers.check_clocks()?;
    let seen = readable(seen)?;
    let refused = |why: String| Failure::new(ExitStatus::No, why);
    if let Some(fault) = ledger.faults().first() {
        return Err(refused(format!("the ledger of {id} is broken: {fault}")));
    }
    let promote = format!("promote first: verbatim promote {name}");
    let Some(head) = ledger.head() else {
        return Err(refused(format!("nothing was promoted to {id} yet")).hint(promote));
    };
    let (digest, promoted) = (found.release.digest, head.predicate().release.clone());
    if promoted.digest != digest {
        let there = promoted.digest;
        return Err(refused(format!("{id} runs {there}, not {digest}")).hint(promote));
    }
    let Some(release) = find::recorded(project, &promoted) else {
        return Err(refused(format!("what was promoted to {id} is not of this configuration")));
    };
    let promotion = head.record();
    let before = live::look(&seen, &release, &ledger, now);
    let before = before.map_err(|why| match why {
        NotLive::Unknown(_) => {
            Failure::new(ExitStatus::Unknown, format!("cannot tell what {id} runs: {why}"))
        }
        NotLive::Unfinished(_) => refused(format!("{id} is being changed: {why}"))
            .hint("wait for that promotion, or look: verbatim status"),
        NotLive::Differs(_) => refused(format!("{id} does not run {digest} as promoted: {why}"))
            .hint(format!("to put it back: verbatim restore {name}")),
    })?;
    Ok(Standing { promotion, promoted, release, ledger, before })
}

/// The applications, if all of them can be read.
fn readable(seen: Vec<ObservedApp>) -> Result<Vec<ObservedApp>, Failure> {
    let readable = seen.into_iter().map(|ObservedApp { app, server_url, application }| {
        let application = application.map_err(failures::argocd)?;
        Ok(ObservedApp { app, server_url, application: Ok(application) })
    });
    readable.collect()
}

/// What a test can know of what it tests.
fn variables(
    environment: &Environment,
    found: &ResolvedRelease,
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
