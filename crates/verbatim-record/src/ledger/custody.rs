//! The chain of custody of one release, for people: built, tested, promoted, in the order of time.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;
use verbatim_text::{one_line, plain};

use super::records::{Records, RejectedRecord};
use crate::envelope::Verified;
use crate::predicate::{Approval, CiRun, Promotion, Provenance, TestOutcome, TestResult, Veto};

/// What happened to a release, by its verified records. `Display` tells it to people, `Serialize` to programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Custody {
    /// The release. Not serialized: the document around it says more of it than the digest.
    #[serde(skip)]
    pub release: Digest,
    /// Oldest first.
    pub steps: Vec<CustodyStep>,
    /// Records that do not count.
    pub rejected: Vec<RejectedRecord>,
}

/// One verified record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustodyStep {
    /// The time of the record, as its signer says.
    pub at: Option<Timestamp>,
    /// What happened, for programs.
    pub kind: CustodyStepKind,
    /// What happened, in a few words that follow the kind.
    pub text: String,
    /// Name of the key.
    pub signed_by: String,
    /// The page of the CI run.
    pub run_url: Option<String>,
    /// Digest of the record.
    pub record: Digest,
}

/// What happened to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CustodyStepKind {
    /// A build record says how it was built.
    Built,
    /// Its tests passed.
    Tested,
    /// Its tests failed.
    Failed,
    /// It was moved into an environment.
    Promoted,
    /// Somebody approved it for an environment.
    Approved,
    /// Somebody kept it out of an environment, or of all.
    Vetoed,
    /// Somebody lifted a veto.
    Lifted,
}

impl Custody {
    /// What happened to `release`, from the records found on it.
    pub fn tell(release: Digest, records: &Records) -> Self {
        let builds = records.builds.iter().map(build_step);
        let tests = records.tests.iter().map(test_step);
        let promotions = records.promotions.iter().map(promotion_step);
        let approvals = records.approvals.iter().map(approval_step);
        let vetoes = records.vetoes.iter().map(veto_step);
        let mut steps: Vec<CustodyStep> =
            builds.chain(tests).chain(promotions).chain(approvals).chain(vetoes).collect();
        steps.sort_by_key(|step| (step.at, step.record));
        Self { release, steps, rejected: records.rejected.clone() }
    }
}

fn step<P>(
    record: &Verified<P>,
    kind: CustodyStepKind,
    text: String,
    run_url: Option<String>,
) -> CustodyStep {
    CustodyStep {
        at: record.recorded_at(),
        kind,
        text,
        signed_by: record.signed_by().to_owned(),
        run_url,
        record: record.record(),
    }
}

fn build_step(record: &Verified<Provenance>) -> CustodyStep {
    let provenance = record.predicate();
    let source = provenance.source().unwrap_or_default();
    let mut text = match (&source.commit, &source.repository) {
        (Some(commit), Some(repository)) => {
            format!("from commit {} of {repository}", short(commit))
        }
        (Some(commit), None) => format!("from commit {}", short(commit)),
        (None, _) => "from an unrecorded source".to_owned(),
    };
    if source.dirty {
        text.push_str(" with local changes");
    }
    text.push_str(&format!(" by {}", provenance.run_details.builder.id));
    let url = provenance.run().and_then(|run| run.url);
    step(record, CustodyStepKind::Built, text, url)
}

fn test_step(record: &Verified<TestResult>) -> CustodyStep {
    let result = record.predicate();
    let place = record
        .environment()
        .map_or_else(|| "an unknown environment".to_owned(), ToString::to_string);
    let mut parts = vec![format!("in {place}")];
    for (names, verdict) in [
        (&result.passed_tests, "passed"),
        (&result.warned_tests, "passed with warnings"),
        (&result.failed_tests, "failed"),
    ] {
        if !names.is_empty() {
            parts.push(format!("{} {verdict}", names.join(", ")));
        }
    }
    let kind = match result.result {
        TestOutcome::Failed => CustodyStepKind::Failed,
        TestOutcome::Passed | TestOutcome::Warned => CustodyStepKind::Tested,
    };
    step(record, kind, parts.join("; "), result.url.clone())
}

fn promotion_step(record: &Verified<Promotion>) -> CustodyStep {
    let promotion = record.predicate();
    let count = promotion.applications.len();
    let applications =
        promotion.applications.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(", ");
    let proof = if promotion.is_proven() { "proven on" } else { "NOT proven on" };
    let noun = if count == 1 { "application" } else { "applications" };
    let mut text = format!(
        "to {} (number {}), {proof} {count} {noun}",
        promotion.environment, promotion.chain.sequence
    );
    if count > 0 {
        text.push_str(&format!(": {applications}"));
    }
    if let Some(before) =
        promotion.release_before.filter(|before| *before != promotion.release.digest)
    {
        text.push_str(&format!("; replaced {}", before.short()));
    }
    if let Some(actor) = &promotion.run.actor {
        text.push_str(&format!("; started by {actor}"));
    }
    if !promotion.kind.is_promotion() {
        text.push_str(&format!("; a {}", promotion.kind.name()));
    }
    if let Some(reason) = &promotion.reason {
        text.push_str(&format!(": {reason}"));
    }
    step(record, CustodyStepKind::Promoted, text, promotion.run.url.clone())
}

fn approval_step(record: &Verified<Approval>) -> CustodyStep {
    let approval = record.predicate();
    let mut text = format!("for {}", approval.environment);
    if let Some(until) = approval.until {
        text.push_str(&format!(" until {until:.0}"));
    }
    because(&mut text, &approval.reason, &approval.run);
    step(record, CustodyStepKind::Approved, text, approval.run.url.clone())
}

fn veto_step(record: &Verified<Veto>) -> CustodyStep {
    let veto = record.predicate();
    let place = veto
        .environment
        .as_ref()
        .map_or_else(|| "every environment".to_owned(), ToString::to_string);
    let mut text = format!("for {place}");
    if let Some(until) = veto.until {
        text.push_str(&format!(" until {until:.0}"));
    }
    for lifted in &veto.lifts {
        text.push_str(&format!("; the veto {}", lifted.short()));
    }
    because(&mut text, &veto.reason, &veto.run);
    let kind =
        if veto.lifts.is_empty() { CustodyStepKind::Vetoed } else { CustodyStepKind::Lifted };
    step(record, kind, text, veto.run.url.clone())
}

fn because(text: &mut String, reason: &str, run: &CiRun) {
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    if let Some(actor) = &run.actor {
        text.push_str(&format!("; by {actor}"));
    }
}

fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

impl fmt::Display for CustodyStepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Built => "built",
            Self::Tested => "tested",
            Self::Failed => "failed",
            Self::Promoted => "promoted",
            Self::Approved => "approved",
            Self::Vetoed => "vetoed",
            Self::Lifted => "lifted",
        })
    }
}

impl fmt::Display for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.release)?;
        if self.steps.is_empty() {
            writeln!(f, "  no record that counts")?;
        }
        for step in &self.steps {
            let at =
                step.at.map_or_else(|| "at an unknown time".to_owned(), |at| format!("{at:.0}"));
            writeln!(f, "  {at}  {:<8}  {}", step.kind, one_line(&step.text))?;
            writeln!(f, "      record {}, signed by {}", step.record, step.signed_by)?;
            if let Some(url) = &step.run_url {
                writeln!(f, "      {}", one_line(url))?;
            }
        }
        if !self.rejected.is_empty() {
            writeln!(f, "  not counted:")?;
        }
        for rejected in &self.rejected {
            let kind = plain(rejected.predicate_type.as_deref().unwrap_or("unreadable"));
            writeln!(f, "      record {} ({kind}): {}", rejected.record, rejected.rejection)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Statement, sign};
    use crate::predicate::TestOutcome;
    use crate::testing::{
        at, build, environment, first, key, promoted, promotion, release, ring, test_run,
    };

    fn records() -> Records {
        let digest = release("one");
        let built = Statement::build("shop", &digest, build().provenance());
        let tested = |outcome, minutes| {
            let result = test_run("dev", outcome, minutes).result();
            sign(&Statement::test("shop", &digest, result), &key(1)).unwrap()
        };
        let mut again = promotion("dev", "one", first(), 20);
        again.release_before = Some(release("two"));
        let bundles = [
            tested(TestOutcome::Failed, 9),
            sign(&built, &key(1)).unwrap(),
            promoted("dev", "one", first(), 4),
            tested(TestOutcome::Passed, 12),
            sign(&Statement::promotion(again), &key(1)).unwrap(),
            sign(&built, &key(3)).unwrap(),
            sign(&Statement::approval("shop", &digest, approval()), &key(2)).unwrap(),
            sign(&Statement::veto("shop", &digest, veto(&[])), &key(2)).unwrap(),
            sign(&Statement::veto("shop", &digest, veto(&[release("veto")])), &key(2)).unwrap(),
        ];
        Records::of_release(bundles.iter().map(crate::Bundle::bytes), &ring(), digest, at(60))
    }

    fn approval() -> Approval {
        Approval {
            seen: Vec::new(),
            environment: environment("production"),
            reason: "looks good".to_owned(),
            at: at(30),
            until: Some(at(60)),
            plan: None,
            run: CiRun { actor: Some("bob".to_owned()), ..CiRun::default() },
        }
    }

    fn veto(lifts: &[Digest]) -> Veto {
        Veto {
            seen: Vec::new(),
            environment: None,
            lifts: lifts.to_vec(),
            reason: "it leaks".to_owned(),
            at: at(40 + i64::try_from(lifts.len()).unwrap()),
            until: None,
            run: CiRun::default(),
        }
    }

    #[test]
    fn the_story_of_a_release() {
        let custody = Custody::tell(release("one"), &records());
        let digests: Vec<String> =
            custody.steps.iter().map(|step| step.record.to_string()).collect();
        let mut told = custody.to_string();
        for (number, digest) in digests.iter().enumerate() {
            told = told.replace(digest, &format!("#{number}"));
        }
        let told = told
            .replace(&custody.rejected[0].record.to_string(), "#forged")
            .replace(key(3).verifying_key().id().as_str(), "#stranger")
            .replace(&release("one").to_string(), "#one")
            .replace(&release("two").short(), "#two")
            .replace(&release("veto").short(), "#veto");
        let url = "https://github.com/acme/shop/actions/runs/1";
        let want = format!(
            "\
#one
  2026-11-24T12:02:00Z  built     from commit ffac537e6cbb of https://github.com/acme/shop by urn:verbatim:builder:github
      record #0, signed by ci
      {url}
  2026-11-24T12:05:00Z  promoted  to shop/dev (number 1), proven on 1 application: shop-dev; started by alice
      record #1, signed by ci
      {url}
  2026-11-24T12:10:00Z  failed    in shop/dev; smoke failed
      record #2, signed by ci
      {url}
  2026-11-24T12:13:00Z  tested    in shop/dev; smoke passed
      record #3, signed by ci
      {url}
  2026-11-24T12:21:00Z  promoted  to shop/dev (number 1), proven on 1 application: shop-dev; replaced #two; started by alice
      record #4, signed by ci
      {url}
  2026-11-24T12:30:00Z  approved  for shop/production until 2026-11-24T13:00:00Z: looks good; by bob
      record #5, signed by lead
  2026-11-24T12:40:00Z  vetoed    for every environment: it leaks
      record #6, signed by lead
  2026-11-24T12:41:00Z  lifted    for every environment; the veto #veto: it leaks
      record #7, signed by lead
  not counted:
      record #forged (https://slsa.dev/provenance/v1): it is signed by a key that is not configured (`#stranger`)
"
        );
        assert_eq!(told, want);
    }

    #[test]
    fn nothing_is_a_story_too() {
        let custody = Custody::tell(release("one"), &Records::default());
        assert_eq!(custody.to_string(), format!("{}\n  no record that counts\n", release("one")));
    }

    #[test]
    fn the_same_as_data() {
        let value = serde_json::to_value(Custody::tell(release("one"), &records())).unwrap();
        let step = &value["steps"][2];
        assert_eq!(step["kind"], "failed");
        assert_eq!(step["at"], "2026-11-24T12:10:00Z");
        assert_eq!(step["signed_by"], "ci");
        assert_eq!(value["rejected"][0]["rejection"]["kind"], "unknown-key");
    }
}
