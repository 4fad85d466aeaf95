//! `tested`: suites passed against this very release in an environment, since it came there. Of several results the latest
//! counts.

use jiff::{SignedDuration, Timestamp};
use verbatim_record::{EnvironmentId, GateEvidence, Promotion, TestOutcome, TestResult, Verified};

use super::{Finding, ledgers, not_counted, to_the_second};
use crate::decision::Reason;
use crate::facts::Facts;

/// The latest result of one suite, or of a run as a whole.
struct SuiteRun<'a> {
    record: &'a Verified<TestResult>,
    at: Timestamp,
    failed: bool,
}

pub(super) fn judge(
    environment: &EnvironmentId,
    suites: &[String],
    max_age: Option<SignedDuration>,
    facts: &Facts,
) -> Finding {
    let (finding, oldest) = passed_ever(environment, suites, facts);
    // A rollback brings back what was tested when it came; that this is long ago is no news.
    let max_age = max_age.filter(|_| !facts.is_rollback);
    let (Some(oldest), Some(max_age)) = (oldest, max_age) else { return finding };
    if facts.now.duration_since(oldest) <= max_age {
        return finding;
    }
    Finding::refuse(
        Reason::TestsTooOld { at: oldest },
        format!("{}, but not all within {max_age:#}", finding.text),
        finding.evidence,
        format!("`verbatim test {} --release {}`", environment.name(), facts.release),
    )
}

/// Whether they passed at all, and when the first of them did.
fn passed_ever(
    environment: &EnvironmentId,
    suites: &[String],
    facts: &Facts,
) -> (Finding, Option<Timestamp>) {
    let records = match &facts.records {
        Ok(records) => records,
        Err(cause) => return (Finding::unreadable("the records of the release", cause), None),
    };
    // Bound to the release and to the environment: a result for anything else, however new, says nothing here.
    let of_here = |test: &&Verified<TestResult>| {
        test.environment() == Some(environment) && test.statement().is_about(&facts.release)
    };
    let stay = match stay(environment, facts) {
        Ok(stay) => stay,
        Err(finding) => return (*finding, None),
    };
    let (tests, earlier): (Vec<_>, Vec<_>) =
        records.tests.iter().filter(of_here).partition(|test| is_of_stay(test, stay));
    let since = stay.first().filter(|_| !earlier.is_empty());
    let since = since.map_or(String::new(), |came| {
        format!(" since promotion {} brought it there", came.predicate().chain.sequence)
    });
    let test = format!("`verbatim test {} --release {}`", environment.name(), facts.release);

    if suites.is_empty() {
        let whole = |result: &TestResult| Some(result.result);
        // A key for some suites does not say that the whole passed. That something failed, it does.
        let speaks_of_all = |test: &&&Verified<TestResult>| {
            test.signer().scope.suites.is_none() || test.predicate().result == TestOutcome::Failed
        };
        let tests: Vec<_> = tests.iter().filter(speaks_of_all).copied().collect();
        return match latest(&tests, whole) {
            None => {
                let text = format!("no test recorded in {environment}{since}");
                let reason = Reason::NotTested { suites: Vec::new() };
                let evidence = not_counted::<TestResult>(&records.rejected).collect();
                (Finding::refuse(reason, text, evidence, test), None)
            }
            Some(run) if run.failed => (failed(environment, &[("", run)], &[], test), None),
            Some(run) => passed(environment, &[("", run)]),
        };
    }

    let mut found = Vec::new();
    let mut missing = Vec::new();
    for suite in suites {
        match latest(&tests, |result| result.suite(suite)) {
            Some(run) => found.push((suite.as_str(), run)),
            None => missing.push(suite.as_str()),
        }
    }
    let (bad, good): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, run)| run.failed);
    if !bad.is_empty() {
        (failed(environment, &bad, &missing, test), None)
    } else if !missing.is_empty() {
        let refusal = Finding::refuse(
            Reason::NotTested { suites: missing.iter().map(|suite| (*suite).to_owned()).collect() },
            format!("{} did not run in {environment}{since}", missing.join(", ")),
            good.iter()
                .map(|(suite, run)| evidence(suite, run))
                .chain(not_counted::<TestResult>(&records.rejected))
                .collect(),
            test,
        );
        (refusal, None)
    } else {
        passed(environment, &good)
    }
}

/// The promotions since which the release has been in an environment, if it is what the ledger has there: what was tested
/// before it left and came back says nothing of what is there now. A rollback brings back what was tested when it came.
fn stay<'a>(
    environment: &EnvironmentId,
    facts: &'a Facts,
) -> Result<&'a [Verified<Promotion>], Box<Finding>> {
    if facts.is_rollback {
        return Ok(&[]);
    }
    let stay = ledgers::ledger(environment, facts)?.stay();
    let is_there = stay.first().is_some_and(|it| it.predicate().release.digest == facts.release);
    Ok(if is_there { stay } else { &[] })
}

/// Whether a result is of these promotions: by the one that it names, or, as old results name none, by its time.
fn is_of_stay(test: &Verified<TestResult>, stay: &[Verified<Promotion>]) -> bool {
    let Some(came) = stay.first() else { return true };
    match test.predicate().promotion() {
        Some(promotion) => stay.iter().any(|it| it.record() == promotion),
        None => test.recorded_at().is_some_and(|at| at >= came.predicate().finished_at),
    }
}

/// The latest of the results that `outcome` finds. At the same instant the failure counts.
fn latest<'a>(
    tests: &[&'a Verified<TestResult>],
    outcome: impl Fn(&TestResult) -> Option<TestOutcome>,
) -> Option<SuiteRun<'a>> {
    tests
        .iter()
        .filter_map(|record| {
            let failed = outcome(record.predicate())? == TestOutcome::Failed;
            Some(SuiteRun { record, at: record.recorded_at()?, failed })
        })
        .max_by_key(|run| (run.at, run.failed))
}

fn passed(
    environment: &EnvironmentId,
    runs: &[(&str, SuiteRun<'_>)],
) -> (Finding, Option<Timestamp>) {
    let at = runs.iter().map(|(_, run)| run.at).max().unwrap_or(Timestamp::UNIX_EPOCH);
    let finding = Finding::pass(
        Reason::SuitesPassed { at },
        format!("{} passed in {environment} at {}", names(runs), to_the_second(at)),
        runs.iter().map(|(suite, run)| evidence(suite, run)).collect(),
    );
    (finding, runs.iter().map(|(_, run)| run.at).min())
}

fn failed(
    environment: &EnvironmentId,
    runs: &[(&str, SuiteRun<'_>)],
    missing: &[&str],
    test: String,
) -> Finding {
    let at = runs.iter().map(|(_, run)| run.at).max().unwrap_or(Timestamp::UNIX_EPOCH);
    let mut text = format!("{} failed in {environment} at {}", names(runs), to_the_second(at));
    if !missing.is_empty() {
        text.push_str(&format!("; {} did not run", missing.join(", ")));
    }
    let suites = runs.iter().map(|(suite, _)| *suite).filter(|suite| !suite.is_empty());
    Finding::refuse(
        Reason::TestsFailed { suites: suites.map(ToOwned::to_owned).collect(), at },
        text,
        runs.iter().map(|(suite, run)| evidence(suite, run)).collect(),
        format!("fix the cause, then {test}; a new build is a new release"),
    )
}

fn names(runs: &[(&str, SuiteRun<'_>)]) -> String {
    let names: Vec<_> =
        runs.iter().map(|(suite, _)| *suite).filter(|suite| !suite.is_empty()).collect();
    if names.is_empty() { "the latest test run".to_owned() } else { names.join(", ") }
}

fn evidence(suite: &str, run: &SuiteRun<'_>) -> GateEvidence {
    let verdict = if run.failed { "failed" } else { "passed" };
    let subject = if suite.is_empty() { "test run" } else { suite };
    let signer = run.record.signed_by();
    GateEvidence {
        record: Some(run.record.record()),
        text: format!("{subject} {verdict} at {}, signed by {signer}", to_the_second(run.at)),
    }
}
