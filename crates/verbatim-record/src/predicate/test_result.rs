//! in-toto test-result v0.1: which suites ran against a release in an environment, and how they ended.
//! <https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md>
//!
//! The predicate type has no field for the environment or the time. Both are in its configuration: a descriptor of the
//! environment artifact, whose annotations say when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use verbatim_oci::Digest;

use super::descriptor::ResourceDescriptor;
use super::json::null_is_default;
use super::{CiRun, Predicate};
use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::keys::Power;

const STARTED_ON: &str = "verbatim_startedOn";
const FINISHED_ON: &str = "verbatim_finishedOn";
const PROMOTION: &str = "verbatim_promotion";
const RUN: &str = "verbatim_run";
const BEFORE: &str = "verbatim_before";
const AFTER: &str = "verbatim_after";
const SEEN: &str = "verbatim_seen";

/// How a test run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestOutcome {
    /// Every test passed.
    Passed,
    /// Passed, with warnings.
    Warned,
    /// At least one test failed.
    Failed,
}

/// in-toto test-result v0.1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// The outcome as a whole.
    pub result: TestOutcome,
    /// What the tests ran with: the environment.
    #[serde(default, deserialize_with = "null_is_default")]
    pub configuration: Vec<ResourceDescriptor>,
    /// The page of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Names of suites that passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub passed_tests: Vec<String>,
    /// Names of suites that passed with warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub warned_tests: Vec<String>,
    /// Names of suites that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub failed_tests: Vec<String>,
}

/// How one suite ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuiteOutcome {
    /// Name of the suite.
    pub suite: String,
    /// Its result.
    pub outcome: TestOutcome,
}

/// An application of the environment, as Argo CD showed it beside the tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenApplication {
    /// Name of the Application object.
    pub name: String,
    /// Namespace of the Application object, if it is not that of Argo CD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// URL of the Argo CD server, without credentials.
    pub server: String,
    /// When its last operation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Timestamp>,
    /// The number of its last deployment in the history of Argo CD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<i64>,
    /// The images that its pods ran.
    #[serde(default)]
    pub images: Vec<String>,
}

/// A run of `verbatim test`, as it goes into a [`TestResult`].
#[derive(Debug, Clone, PartialEq)]
pub struct TestRun {
    /// Where the tested release ran.
    pub environment: EnvironmentId,
    /// Every suite that started.
    pub suites: Vec<SuiteOutcome>,
    /// The promotion record that brought the release there, if known.
    pub promotion: Option<Digest>,
    /// The applications before the first suite.
    pub before: Vec<SeenApplication>,
    /// The applications after the last suite.
    pub after: Vec<SeenApplication>,
    /// The records at the end of the ledger before the first suite.
    pub seen: Vec<Digest>,
    /// The CI run that tested.
    pub run: CiRun,
    /// Start of the first suite.
    pub started_at: Timestamp,
    /// End of the last suite.
    pub finished_at: Timestamp,
}

impl TestRun {
    /// The predicate. A run without suites has tested nothing and counts as failed.
    pub fn result(&self) -> TestResult {
        let named = |outcome| {
            self.suites
                .iter()
                .filter(|suite| suite.outcome == outcome)
                .map(|suite| suite.suite.clone())
                .collect::<Vec<_>>()
        };
        let (passed_tests, warned_tests, failed_tests) =
            (named(TestOutcome::Passed), named(TestOutcome::Warned), named(TestOutcome::Failed));
        let result = if self.suites.is_empty() || !failed_tests.is_empty() {
            TestOutcome::Failed
        } else if !warned_tests.is_empty() {
            TestOutcome::Warned
        } else {
            TestOutcome::Passed
        };
        TestResult {
            result,
            configuration: vec![self.environment_descriptor()],
            url: self.run.url.clone(),
            passed_tests,
            warned_tests,
            failed_tests,
        }
    }

    fn environment_descriptor(&self) -> ResourceDescriptor {
        let mut annotations = BTreeMap::from([
            (STARTED_ON.to_owned(), json!(self.started_at)),
            (FINISHED_ON.to_owned(), json!(self.finished_at)),
            (RUN.to_owned(), json!(self.run)),
        ]);
        if let Some(promotion) = &self.promotion {
            annotations.insert(PROMOTION.to_owned(), json!(promotion));
        }
        if !self.seen.is_empty() {
            annotations.insert(SEEN.to_owned(), json!(self.seen));
        }
        for (name, seen) in [(BEFORE, &self.before), (AFTER, &self.after)] {
            if !seen.is_empty() {
                annotations.insert(name.to_owned(), json!(seen));
            }
        }
        ResourceDescriptor { annotations, ..ResourceDescriptor::environment(&self.environment) }
    }
}

impl TestResult {
    /// How one suite ended, or `None` if it did not run. Of a suite that is listed twice, the worse result.
    pub fn suite(&self, name: &str) -> Option<TestOutcome> {
        let listed = |list: &[String]| list.iter().any(|suite| suite == name);
        if listed(&self.failed_tests) {
            Some(TestOutcome::Failed)
        } else if listed(&self.warned_tests) {
            Some(TestOutcome::Warned)
        } else {
            listed(&self.passed_tests).then_some(TestOutcome::Passed)
        }
    }

    /// The promotion record that brought the tested release to the environment.
    pub fn promotion(&self) -> Option<Digest> {
        self.environment_descriptor()?.annotation(PROMOTION)?.parse().ok()
    }

    /// The CI run that tested, if recorded.
    pub fn run(&self) -> Option<CiRun> {
        serde_json::from_value(self.environment_descriptor()?.annotations.get(RUN)?.clone()).ok()
    }

    /// The only environment in the configuration. Two would leave open where the tests ran.
    fn environment_descriptor(&self) -> Option<&ResourceDescriptor> {
        let mut found = self.configuration.iter().filter(|entry| environment_id(entry).is_some());
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }
}

/// The environment that a descriptor points to. The digest decides; the name only says which id to try.
fn environment_id(entry: &ResourceDescriptor) -> Option<EnvironmentId> {
    let id: EnvironmentId = entry.name.as_deref()?.parse().ok()?;
    (entry.sha256()? == *EnvironmentArtifact::of(&id).digest()).then_some(id)
}

impl Predicate for TestResult {
    const TYPE: &'static str = "https://in-toto.io/attestation/test-result/v0.1";
    const POWER: Option<Power> = Some(Power::Test);

    fn recorded_at(&self) -> Option<Timestamp> {
        self.environment_descriptor()?.annotation(FINISHED_ON)?.parse().ok()
    }

    fn environment(&self) -> Option<EnvironmentId> {
        self.environment_descriptor().and_then(environment_id)
    }

    fn only_keeps_out(&self) -> bool {
        self.result == TestOutcome::Failed
    }

    fn suites(&self) -> Option<Vec<&str>> {
        let lists = [&self.passed_tests, &self.warned_tests, &self.failed_tests];
        Some(lists.into_iter().flatten().map(String::as_str).collect())
    }

    fn seen(&self) -> Vec<Digest> {
        let seen = self.environment_descriptor().and_then(|it| it.annotations.get(SEEN));
        seen.and_then(|seen| serde_json::from_value(seen.clone()).ok()).unwrap_or_default()
    }

    fn check(&self, _subjects: &[Digest]) -> Result<(), String> {
        let failed = !self.failed_tests.is_empty();
        if failed && self.result != TestOutcome::Failed {
            return Err("it lists failed tests and says that it passed".to_owned());
        }
        // Of several results the latest counts, so one without a time could be taken for anything.
        if self.environment_descriptor().is_some() && self.recorded_at().is_none() {
            return Err("it does not say when the tests ended".to_owned());
        }
        Ok(())
    }
}
