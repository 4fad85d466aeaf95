//! One promotion from end to end: gather, decide, plan, execute, prove, record. The order of these, and what each answer
//! means for the next, is all that is here.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::{Outcome, Report};
use verbatim_console::{Console, ExitStatus, Failure, StepState};
use verbatim_oci::Digest;
use verbatim_policy::{Decision, decide};
use verbatim_record::{
    Anchor, ChainLink, PromotedRelease, Promotion, Records, SigningKey, Statement,
};
use verbatim_registry::Client;

use crate::config::Environment;
use crate::discover::Found;
use crate::execute::{self, AppOutcome, Ended, Job, Order};
use crate::gates::gates;
use crate::gather::{self, Gathered};
use crate::look::Servers;
use crate::newer::{self, Ancestry, Origin};
use crate::plan::Plan;
use crate::release::{Release, ReleaseFile};
use crate::settings::Project;
use crate::source;
use crate::store::Store;
use crate::{building, evidence, failures, identity, recording};

/// The registry of a project, and the records in it.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    /// The client.
    pub client: Client,
    /// The records.
    pub store: Store,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Where to.
    pub environment: &'a Environment,
    /// What.
    pub found: &'a Found,
    /// The key that signs the record; none is needed to only look.
    pub key: Option<&'a SigningKey>,
    /// Promote although a newer release runs there.
    pub backwards: bool,
    /// Take over the claim of a run that is still within its time.
    pub take_over: bool,
}

/// How a promotion ended.
#[derive(Debug, Serialize)]
pub(crate) struct Promoted {
    /// The environment.
    pub environment: String,
    /// The release, with its tag.
    pub release: Release,
    /// Whether it runs there now, proven.
    pub proven: bool,
    /// What every gate said.
    pub decision: Decision,
    /// A newer release that runs there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<PromotedRelease>,
    /// What is wrong with the ledger, if nothing can be added to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ledger_faults: Vec<String>,
    /// What was to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// What became of each application.
    pub applications: Vec<AppOutcome>,
    /// The place of the promotion in the ledger, with its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Anchor>,
    /// How the command ends.
    #[serde(skip)]
    pub status: ExitStatus,
}

/// Promotes a release into an environment, or only plans it if there is no key.
///
/// # Errors
/// What stopped it before anything was written, or kept its record from being attached. All else is an outcome.
pub(crate) async fn promote(
    project: &Project,
    registry: &Registry,
    request: &Request<'_>,
    console: &Console,
) -> Result<Promoted, Failure> {
    let environment = request.environment;
    let rules = project.config.rules(environment.name());
    let gates = gates(environment, &rules).map_err(Failure::usage)?;
    let needed =
        gates.ledgers().filter_map(|id| project.config.environment(id.name())).chain([environment]);
    let servers = Servers::of(project, needed)?;
    let mut release = request.found.release.clone();

    let progress = console.progress(format!("gathering what is known of {release}"));
    let now = Timestamp::now();
    let gathered =
        gather::gather(project, &registry.store, &servers, environment, &gates, &release, now)
            .await?;
    drop(progress);
    let records = gathered.facts.records.as_ref().ok();
    if release.tag.is_none() {
        release.tag = records.and_then(|records| gather::tag(records, &release));
    }

    let decision = decide(&gates, &gathered.facts);
    let mut promoted = Promoted {
        environment: environment.id.to_string(),
        release: release.clone(),
        proven: false,
        decision,
        superseded_by: None,
        ledger_faults: Vec::new(),
        plan: None,
        applications: Vec::new(),
        record: None,
        status: ExitStatus::No,
    };
    if !request.backwards {
        promoted.superseded_by = newer_there(project, registry, &gathered, records, &release).await;
    }
    if promoted.superseded_by.is_some() {
        return Ok(Promoted { status: ExitStatus::Superseded, ..promoted });
    }
    let link = match gathered.ledger.next() {
        Ok(link) => link,
        Err(faults) => {
            promoted.ledger_faults = faults.iter().map(ToString::to_string).collect();
            return Ok(promoted);
        }
    };
    if !promoted.decision.allowed {
        return Ok(promoted);
    }

    let image = identity::wanted(&registry.client, &release, &request.found.resolved)
        .await
        .map_err(failures::registry)?;
    let by = project.ci.run_url.clone().or_else(|| project.run().actor);
    let options = execute::options(environment, request.take_over);
    let order = Order { release: &release, image: &image, by, options };
    let commit = records.and_then(|records| gather::source(records)?.commit);
    let before = gather::running(&gathered.ledger).map(|release| release.digest);
    let previous = gathered.ledger.anchor();
    let jobs = execute::jobs(gathered.seen, &release)?;
    let context = Context { project, registry, request, servers: &servers, order: &order, console };
    context.carry_out(promoted, jobs, Entry { link, before, previous, commit }).await
}

/// The release that the ledger has there, if it is newer than ours. What cannot be compared is not newer.
async fn newer_there(
    project: &Project,
    registry: &Registry,
    gathered: &Gathered,
    records: Option<&Records>,
    release: &Release,
) -> Option<PromotedRelease> {
    let there = gather::running(&gathered.ledger)?;
    if there.digest == release.digest {
        return None;
    }
    let ours = records.map(gather::origin).unwrap_or_default();
    let theirs = Origin { commit: there.commit.clone(), ..Origin::default() };
    let ancestry = ancestry(project, &ours, &theirs).await;
    let mut order = newer::order(&ours, &theirs, ancestry);
    if matches!(order, newer::Order::Unrelated | newer::Order::Same) {
        // Git does not tell; the runs that built the two may.
        let ring = &project.config.policy.ring;
        let records =
            registry.store.of_release(ring, there.digest, gathered.facts.now).await.ok()?;
        order = newer::order(&ours, &gather::origin(&records), ancestry);
    }
    (order == newer::Order::Older).then(|| there.clone())
}

async fn ancestry(project: &Project, ours: &Origin, theirs: &Origin) -> Ancestry {
    let (Some(ours), Some(theirs)) = (&ours.commit, &theirs.commit) else {
        return Ancestry::Unknown;
    };
    let folder = project.folder();
    let (forward, back) = tokio::join!(
        source::descends(folder, ours, theirs),
        source::descends(folder, theirs, ours)
    );
    match (forward.ok().flatten(), back.ok().flatten()) {
        (Some(true), _) => Ancestry::Descends,
        (_, Some(true)) => Ancestry::Precedes,
        (Some(false), Some(false)) => Ancestry::Apart,
        _ => Ancestry::Unknown,
    }
}

/// What carrying out a promotion needs, beside what it carries.
struct Context<'a> {
    project: &'a Project,
    registry: &'a Registry,
    request: &'a Request<'a>,
    servers: &'a Servers,
    order: &'a Order<'a>,
    console: &'a Console,
}

/// What the ledger is going to say, as far as it is known before.
struct Entry {
    link: ChainLink,
    before: Option<Digest>,
    previous: Option<Anchor>,
    commit: Option<String>,
}

impl Context<'_> {
    async fn carry_out(
        &self,
        mut promoted: Promoted,
        jobs: Vec<Job>,
        entry: Entry,
    ) -> Result<Promoted, Failure> {
        let environment = self.request.environment;
        let progress = self.console.progress("checking the applications");
        let checked = execute::check(self.servers, &jobs, self.order, self.console).await?;
        drop(progress);
        let (planned, reports): (Vec<_>, Vec<_>) = checked.into_iter().unzip();
        let plan = Plan {
            environment: environment.id.clone(),
            release: promoted.release.clone(),
            policy: self.project.config.policy.hash,
            apps: planned,
        };
        let refused = reports.iter().any(|report| !matches!(report.outcome, Outcome::Planned));
        promoted.plan = Some(plan.clone());
        promoted.applications =
            reports.into_iter().map(|report| outcome(report.app.to_string(), Ok(report))).collect();
        promoted.status = status(&promoted.applications);
        let Some(key) = self.request.key.filter(|_| !refused) else { return Ok(promoted) };

        self.console.status(format!("{} → {}", promoted.release, promoted.environment));
        let steps = jobs.iter().map(|job| format!("deploy to {}", job.target.app));
        self.console.plan_steps(steps.chain([format!("attach the record of {}", environment.id)]));
        let started_at = Timestamp::now();
        let ended =
            execute::execute(self.servers, jobs, &plan.apps, self.order, self.console).await?;
        let proofs = self.proofs(&ended);
        if let Some(applications) = proofs {
            let statement = self.statement(&promoted, &plan, applications, &entry, started_at);
            promoted.proven = statement.predicate.is_proven();
            if promoted.proven {
                promoted.record = Some(self.record(&statement, key, &ended, &entry).await?);
            }
        }
        if promoted.record.is_none() {
            execute::close(self.servers, &ended, entry.previous, self.console).await;
        }
        promoted.applications = ended
            .into_iter()
            .map(|ended| outcome(ended.job.target.app.to_string(), ended.result))
            .collect();
        promoted.status = status(&promoted.applications);
        if promoted.status == ExitStatus::Done && !promoted.proven {
            promoted.status = ExitStatus::No;
        }
        self.hand_on(&promoted);
        Ok(promoted)
    }

    /// What the record says of the applications; `None` if one of them is not proven.
    fn proofs(&self, ended: &[Ended]) -> Option<Vec<verbatim_record::Application>> {
        ended
            .iter()
            .map(|Ended { job, result }| match result {
                Ok(Report {
                    outcome: Outcome::Proven { proof }, plan: Some(plan), server, ..
                }) => Some(evidence::application(server, plan, &job.sources, proof)),
                _ => None,
            })
            .collect()
    }

    fn statement(
        &self,
        promoted: &Promoted,
        plan: &Plan,
        applications: Vec<verbatim_record::Application>,
        entry: &Entry,
        started_at: Timestamp,
    ) -> Statement<Promotion> {
        let release = &promoted.release;
        Statement::promotion(Promotion {
            environment: self.request.environment.id.clone(),
            release: PromotedRelease {
                digest: release.digest,
                repository: release.repository.to_string(),
                tag: release.tag.as_ref().map(ToString::to_string),
                commit: entry.commit.clone(),
            },
            release_before: entry.before,
            applications,
            plan: Some(plan.hash()),
            policy: Some(plan.policy),
            gates: promoted.decision.gate_results(),
            run: self.project.run(),
            started_at,
            finished_at: Timestamp::now(),
            chain: entry.link.clone(),
        })
    }

    /// Signs, attaches, and writes the place in the ledger where the registry's owner has no hand. If it cannot be
    /// attached, the applications keep the place before it: naming a record that nobody has would block the environment.
    async fn record(
        &self,
        statement: &Statement<Promotion>,
        key: &SigningKey,
        ended: &[Ended],
        entry: &Entry,
    ) -> Result<Anchor, Failure> {
        let environment = &self.request.environment.id;
        let record = recording::signed(statement, key)?;
        let descriptor =
            self.request.found.resolved.manifest.descriptor().map_err(failures::registry)?;
        let what = format!("the promotion to {environment}");
        let store = &self.registry.store;
        let attached = recording::attach(
            self.project,
            store,
            &record,
            &descriptor,
            Some(environment),
            &what,
            self.console,
        )
        .await;
        let anchor =
            Anchor { sequence: statement.predicate.chain.sequence, record: record.digest() };
        if attached.is_ok() {
            self.console.step(&format!("attach the record of {environment}"), StepState::Done);
        }
        let known = if attached.is_ok() { Some(anchor) } else { entry.previous };
        execute::close(self.servers, ended, known, self.console).await;
        attached?;
        Ok(anchor)
    }

    /// Tells the next stage, and the CI. The promotion stands, so a file that cannot be written is only a warning.
    fn hand_on(&self, promoted: &Promoted) {
        let file = self.request.found.handed_on.clone().map(|mut file| {
            let anchor =
                promoted.record.map(|anchor| (self.request.environment.name().to_owned(), anchor));
            file.promotions.extend(anchor);
            file
        });
        let handed = file.map_or(Ok(()), |file: ReleaseFile| {
            building::hand_on(self.project, &file, self.console)
        });
        if let Err(failure) = handed {
            self.console.warn(format!("{failure}"));
        }
        let summary = format!(
            "### {} → {}\n\n```text\n{promoted}\n```\n",
            promoted.release, promoted.environment
        );
        if let Err(error) = crate::handoff::summarise(&summary, &self.project.ci) {
            self.console.warn(error.to_string());
        }
    }
}

impl Promoted {
    /// What to do next, where Argo CD or an application stood in the way.
    pub(crate) fn hints(&self) -> Vec<String> {
        let of_app = |app: &AppOutcome| {
            app.report
                .iter()
                .flat_map(verbatim_argocd::cli::hints)
                .chain(app.hints.clone())
                .collect()
        };
        let mut hints: Vec<String> =
            self.applications.iter().flat_map::<Vec<String>, _>(of_app).collect();
        hints.dedup();
        hints
    }
}

fn outcome(app: String, result: Result<Report, verbatim_argocd::Error>) -> AppOutcome {
    match result {
        Ok(report) => AppOutcome {
            app,
            status: verbatim_argocd::cli::status(&report),
            report: Some(report),
            error: None,
            hints: Vec::new(),
        },
        Err(error) => {
            let failure = failures::argocd(error);
            let causes = failure.causes();
            let text = std::iter::once(failure.to_string()).chain(causes).collect::<Vec<_>>();
            AppOutcome {
                app,
                status: failure.status,
                report: None,
                error: Some(text.join(": ")),
                hints: failure.hints,
            }
        }
    }
}

fn status(applications: &[AppOutcome]) -> ExitStatus {
    execute::status(applications.iter().map(|application| application.status))
}

impl fmt::Display for Promoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.decision)?;
        if let Some(newer) = &self.superseded_by {
            let name = newer.tag.clone().unwrap_or_else(|| newer.digest.short());
            writeln!(
                f,
                "superseded: {} runs the newer release {name} ({})",
                self.environment, newer.digest
            )?;
            writeln!(f, "  to go back on purpose: verbatim promote --backwards")?;
        }
        for fault in &self.ledger_faults {
            writeln!(f, "the ledger cannot be relied on: {fault}")?;
        }
        let is_planned = |app: &AppOutcome| {
            app.report.as_ref().is_some_and(|report| matches!(report.outcome, Outcome::Planned))
        };
        if let Some(plan) = self.plan.as_ref().filter(|_| self.applications.iter().all(is_planned))
        {
            write!(f, "{plan}")?;
            return writeln!(f, "nothing was written");
        }
        for application in &self.applications {
            match (&application.report, &application.error) {
                (Some(report), _) => write!(f, "{report}")?,
                (None, error) => {
                    writeln!(f, "{}: {}", application.app, error.as_deref().unwrap_or("unknown"))?;
                }
            }
        }
        match &self.record {
            Some(anchor) => {
                writeln!(f, "{} runs in {}, promotion {anchor}", self.release, self.environment)
            }
            None => Ok(()),
        }
    }
}
