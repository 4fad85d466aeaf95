//! The steps that every move of a release is made of. Each does one thing and leaves the order to its caller.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verbatim_argocd::claim::Kept;
use verbatim_argocd::{Outcome, Report, WantedImage};
use verbatim_console::{Failure, StepState};
use verbatim_oci::{Descriptor, Digest};
use verbatim_policy::Facts;
use verbatim_record::{
    Anchor, Chain, ChainLink, EnvironmentId, Promotion, PromotionKind, Records, Statement,
};

use super::outcome::Promoted;
use super::{Site, charts};
use crate::environment::applications::Seen;
use crate::project::failures;
use crate::project::signer::RecordSigner;
use crate::promotion::execute::{self, End, Ended, Job, Order};
use crate::promotion::gather::{self, Gathered};
use crate::promotion::plan::Plan;
use crate::records::attach::{self, What};
use crate::records::convert;
use crate::release::find::Found;
use crate::release::handoff::{self, ReleaseFile};
use crate::release::{Release, builds, digests};

/// What is known before anything is decided.
pub(crate) struct Situation {
    /// The release, with the tag of its build record if it was named by its digest alone.
    pub release: Release,
    /// For the policy.
    pub facts: Facts,
    /// The applications.
    pub seen: Vec<Seen>,
    /// The ledger of the environment.
    pub ledger: Chain,
}

impl Situation {
    /// The records of the release, if they could be read.
    pub(crate) fn records(&self) -> Option<&Records> {
        self.facts.records.as_ref().ok()
    }
}

/// What the ledger is going to say, as far as it is known before.
pub(crate) struct Entry {
    /// What kind of move it is.
    pub kind: PromotionKind,
    /// Why, in the words of whoever asked for it.
    pub reason: Option<String>,
    /// The place.
    pub link: ChainLink,
    /// The release that is there according to the ledger.
    pub before: Option<Digest>,
    /// The end of the ledger.
    pub previous: Option<Anchor>,
    /// The source of the release.
    pub commit: Option<String>,
    /// Whether a proof is worth a place there.
    pub news: News,
}

/// Whether the proof of a release is news for the ledger, or is of what the ledger says already.
pub(crate) enum News {
    /// It is, whatever was done.
    Always,
    /// It is if something was written.
    IfWritten,
    /// It is if something was written, or if these are not the charts that it runs with, by application.
    IfWrittenOrOther(BTreeMap<String, Vec<String>>),
}

impl News {
    fn is_of(&self, promotion: &Promotion, is_written: bool) -> bool {
        match self {
            Self::Always => true,
            Self::IfWritten => is_written,
            Self::IfWrittenOrOther(known) => is_written || charts::revisions(promotion) != *known,
        }
    }
}

/// Everything that is to be written, checked and not yet written.
pub(crate) struct Planned {
    /// The plan.
    pub plan: Plan,
    /// What each application says to it.
    pub reports: Vec<Report>,
    /// Whether all of them agree.
    pub is_ready: bool,
    jobs: Vec<Job>,
    images: Vec<WantedImage>,
    take_over: bool,
}

/// What became of a plan.
pub(super) struct Executed {
    /// The plan.
    pub plan: Plan,
    /// What became of each application.
    pub ended: Vec<Ended>,
    /// When the first thing was written.
    pub started_at: Timestamp,
}

impl Site<'_> {
    /// Gathers what is known of a release and of this environment.
    ///
    /// # Errors
    /// What cannot be done without: the applications and the ledger of the environment itself.
    pub(crate) async fn gather(&self, found: &Found) -> Result<Situation, Failure> {
        let mut release = found.release.clone();
        let progress = self.console.progress(format!("gathering what is known of {release}"));
        let now = Timestamp::now();
        let Gathered { facts, seen, ledger } = gather::gather(
            self.project,
            self.registry,
            &self.servers,
            self.environment,
            &self.gates,
            found,
            now,
        )
        .await?;
        drop(progress);
        if release.tag.is_none() {
            let records = facts.records.as_ref().ok();
            release.tag = records.and_then(|records| builds::tag(records, &release));
        }
        Ok(Situation { release, facts, seen, ledger })
    }

    /// Plans the writes, and has every application checked without writing anything.
    ///
    /// # Errors
    /// An application or a manifest that could not be read. Refusals are part of the plan.
    pub(crate) async fn plan(
        &self,
        situation: Situation,
        found: &Found,
        take_over: bool,
    ) -> Result<Planned, Failure> {
        let Situation { release, seen, ledger, .. } = situation;
        let images = digests::wanted(&self.registry.client, &release, &found.resolved)
            .await
            .map_err(failures::registry)?;
        let jobs = execute::jobs(seen, &release)?;
        self.check(release, images, jobs, ledger.anchor(), take_over).await
    }

    /// Has every application checked what is to be written to it, without writing anything.
    ///
    /// # Errors
    /// An application that could not be asked. Refusals are part of the plan.
    pub(super) async fn check(
        &self,
        release: Release,
        images: Vec<WantedImage>,
        jobs: Vec<Job>,
        ledger: Option<Anchor>,
        take_over: bool,
    ) -> Result<Planned, Failure> {
        let progress = self.console.progress("checking the applications");
        let order = self.order(&release, &images, take_over);
        let checked = execute::check(&self.servers, &jobs, &order, self.console).await?;
        drop(progress);
        let (apps, reports): (Vec<_>, Vec<_>) = checked.into_iter().unzip();
        let plan = Plan {
            environment: self.environment.id.clone(),
            release,
            policy: self.project.config.policy.hash,
            ledger,
            overrides: Vec::new(),
            apps,
        };
        Ok(Planned {
            is_ready: reports.iter().all(|report| matches!(report.outcome, Outcome::Planned)),
            plan,
            reports,
            jobs,
            images,
            take_over,
        })
    }

    /// Tells what a plan would change, as far as that can be told before: the manifests, and the requests.
    ///
    /// # Errors
    /// The manifests of an application could not be rendered as they are.
    pub(crate) async fn preview(
        &self,
        promoted: &mut Promoted,
        planned: &Planned,
    ) -> Result<(), Failure> {
        let progress = self.console.progress("rendering the manifests as they are");
        let plans = &planned.plan.apps;
        promoted.predictions = execute::predict(&self.servers, plans, &planned.images).await?;
        drop(progress);
        promoted.writes = execute::writes(plans);
        promoted.writes.push(format!(
            "PUT a record beside {} and the ledger of {}",
            planned.plan.release.digest, self.environment.id
        ));
        Ok(())
    }

    /// Executes a plan on all applications, and proves each.
    ///
    /// # Errors
    /// None that stops the others: what went wrong with one application is in its result.
    pub(super) async fn execute(&self, planned: Planned) -> Result<Executed, Failure> {
        let Planned { plan, jobs, images, take_over, .. } = planned;
        let id = &self.environment.id;
        self.console.status(format!("{} → {id}", plan.release));
        let steps = jobs.iter().map(|job| execute::step(&job.target));
        self.console.plan_steps(steps.chain([record_step(id)]));
        let started_at = Timestamp::now();
        let order = self.order(&plan.release, &images, take_over);
        let ended = execute::execute(&self.servers, jobs, &plan.apps, &order, self.console).await?;
        Ok(Executed { plan, ended, started_at })
    }

    /// Executes a plan, proves it, records it, and tells the next stage.
    ///
    /// # Errors
    /// The record could not be attached. What became of the applications is part of the outcome.
    pub(crate) async fn carry_out(
        &self,
        mut promoted: Promoted,
        planned: Planned,
        entry: Entry,
        found: &Found,
        key: &RecordSigner,
    ) -> Result<Promoted, Failure> {
        let descriptor = found.resolved.manifest.descriptor().map_err(failures::registry)?;
        let Executed { plan, ended, started_at } = self.execute(planned).await?;
        if let Some(applications) = proofs(&ended) {
            let statement = self.statement(&promoted, &plan, applications, &entry, started_at);
            promoted.proven = statement.predicate.is_proven();
            let is_written = ended.iter().any(has_written);
            let is_news = entry.news.is_of(&statement.predicate, is_written);
            if promoted.proven && is_news {
                let previous = entry.previous;
                promoted.record =
                    Some(self.record(&statement, key, &descriptor, &ended, previous).await?);
            }
        }
        if promoted.record.is_none() {
            let end = End { record: entry.previous, kept: None };
            execute::close(&self.servers, &ended, end, self.console).await;
        }
        promoted.ended(ended);
        self.hand_on(&promoted, found.handed_on.clone());
        Ok(promoted)
    }

    fn order<'o>(
        &self,
        release: &'o Release,
        images: &'o [WantedImage],
        take_over: bool,
    ) -> Order<'o> {
        let by = self.project.ci.run_url.clone().or_else(|| self.project.run().actor);
        Order { release, images, by, options: execute::options(self.environment, take_over) }
    }

    fn statement(
        &self,
        promoted: &Promoted,
        plan: &Plan,
        applications: Vec<verbatim_record::Application>,
        entry: &Entry,
        started_at: Timestamp,
    ) -> Statement<Promotion> {
        Statement::promotion(Promotion {
            kind: entry.kind,
            reason: entry.reason.clone(),
            environment: self.environment.id.clone(),
            release: promoted.release.promoted(entry.commit.clone()),
            release_before: entry.before,
            applications,
            plan: Some(plan.hash()),
            policy: plan.policy,
            policy_origin: self.project.config.policy.origin.clone(),
            gates: promoted.decision.gate_results(),
            run: self.project.run(),
            started_at,
            finished_at: Timestamp::now(),
            chain: entry.link.clone(),
        })
    }

    /// Signs, attaches, and writes the place in the ledger where the registry's owner has no hand. If it cannot be
    /// attached, the applications keep the place before it, as naming a record that nobody has would block the environment,
    /// and say beside it what is kept.
    async fn record(
        &self,
        statement: &Statement<Promotion>,
        key: &RecordSigner,
        release: &Descriptor,
        ended: &[Ended],
        previous: Option<Anchor>,
    ) -> Result<Anchor, Failure> {
        let environment = &self.environment.id;
        let what = format!("the promotion to {environment}");
        let what = What::Done(&what);
        let record = match attach::signed(self.project, statement, key, what).await {
            Ok(record) => record,
            Err(failure) => {
                let end = End { record: previous, kept: attach::unsigned(statement) };
                execute::close(&self.servers, ended, end, self.console).await;
                return Err(failure);
            }
        };
        let attached = attach::attach(
            self.project,
            &self.registry.store,
            &record,
            release,
            Some(environment),
            what,
            self.console,
        )
        .await;
        let anchor =
            Anchor { sequence: statement.predicate.chain.sequence, record: record.digest() };
        if attached.is_ok() {
            self.console.step(&record_step(environment), StepState::Done);
        }
        let end = match &attached {
            Ok(()) => End { record: Some(anchor), kept: None },
            Err(_) => End { record: previous, kept: Some(Kept::Record(record.digest())) },
        };
        execute::close(&self.servers, ended, end, self.console).await;
        attached?;
        Ok(anchor)
    }

    /// Tells the next stage, and the CI. The promotion stands, so a file that cannot be written is only a warning.
    fn hand_on(&self, promoted: &Promoted, handed_on: Option<ReleaseFile>) {
        let file = handed_on.map(|mut file| {
            let anchor = promoted.record.map(|anchor| (self.environment.name().to_owned(), anchor));
            file.promotions.extend(anchor);
            file
        });
        let handed =
            file.map_or(Ok(()), |file| handoff::hand_on(self.project, &file, self.console));
        if let Err(failure) = handed {
            self.console.warn(format!("{failure}"));
        }
        let summary = format!(
            "### {} → {}\n\n```text\n{promoted}\n```\n",
            promoted.release, promoted.environment
        );
        if let Err(error) = handoff::summarise(&summary, &self.project.ci) {
            self.console.warn(error.to_string());
        }
    }
}

/// Whether an application was changed.
fn has_written(ended: &Ended) -> bool {
    ended.result.as_ref().is_ok_and(|report| report.claim.is_some())
}

fn record_step(environment: &EnvironmentId) -> String {
    format!("attach the record of {environment}")
}

/// What the record says of the applications; `None` if one of them is not proven.
fn proofs(ended: &[Ended]) -> Option<Vec<verbatim_record::Application>> {
    ended
        .iter()
        .map(|Ended { job, result }| match result {
            Ok(Report { outcome: Outcome::Proven { proof }, plan: Some(plan), server, .. }) => {
                Some(convert::application(server, plan, &job.sources, proof))
            }
            _ => None,
        })
        .collect()
}
