//! `verbatim history`.

use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::Application;
use verbatim_console::{Console, ExitStatus, Failure, Table};
use verbatim_oci::Digest;
use verbatim_record::{
    Chain, ChainFault, CiRun, EnvironmentId, HiddenRecord, NamedBy, PolicyChange, PolicyOrigin,
    Promotion, PromotionKind, RejectedRecord, Verified, Veto, in_force,
};
use verbatim_text::Words;

use super::context::{self, environment, registry};
use crate::config::App;
use crate::environment::applications::{self, ObservedApp};
use crate::environment::claims::{self, Attempt, Unrecorded};
use crate::environment::ledger::{LedgerReading, RecordsRepository, ledger_alone};
use crate::environment::rules::{self, PolicyStamp};
use crate::project::{Project, ProjectArgs};
use crate::records::running;
use crate::records::store::Ledger;
use crate::release::find;
use crate::release::result::ReleaseResult;

const EXAMPLES: &str = "\
Examples:
  verbatim history production
  verbatim history production --limit 5 --format json";

/// Show the promotions of an environment
///
/// Lists when each happened, who promoted which release, and how it ended, newest first. Reads the ledger and counts
/// only signed records of trusted keys. Ends with 1 if the ledger is broken.
///
/// Argo CD is asked for what the ledger does not have: the last promotion that ended without a proof, or has not ended,
/// as the applications tell of it, and those that were proven and not recorded. A promotion that a gate refused leaves
/// nothing behind but the output of its job. Without Argo CD the ledger is shown, with a warning: whether its end is
/// there is known from the applications.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HistoryArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    environment: String,
    /// Show at most N promotions
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, Serialize)]
struct History {
    environment: EnvironmentId,
    /// How many there are in all.
    total: usize,
    promotions: Vec<HistoryEntry>,
    /// Promotions that the ledger does not have, as nothing was proven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<Attempt>,
    /// Promotions that were proven and that the ledger lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unrecorded: Vec<Unrecorded>,
    /// Why it is not known whether the ledger has its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_end: Option<String>,
    /// What is wrong with the ledger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
    /// Promotions of trusted keys that do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<RejectedRecord>,
}

/// One promotion.
#[derive(Debug, Serialize)]
struct HistoryEntry {
    number: u64,
    kind: PromotionKind,
    release: ReleaseResult,
    /// The release before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Digest>,
    started_at: Timestamp,
    finished_at: Timestamp,
    duration_seconds: i64,
    /// Whether its proof is complete.
    proven: bool,
    /// Why the release must not enter any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    vetoed: Option<Words>,
    /// Gates that refused and were overridden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overridden: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Words>,
    applications: Vec<String>,
    /// Applications that left the environment for good, as somebody said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Digest>,
    /// The hash of the policy that was in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Digest>,
    /// What that policy was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_origin: Option<PolicyOrigin>,
    /// What of the policy was not as it was at the promotion before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policy_changes: Vec<PolicyChange>,
    run: CiRun,
    signed_by: String,
    record: Digest,
}

impl HistoryEntry {
    /// `earlier`: the promotions before it, oldest first.
    fn of(
        record: &Verified<Promotion>,
        earlier: &[Verified<Promotion>],
        vetoes: &[&Verified<Veto>],
    ) -> Self {
        let promotion = record.predicate();
        let digest = &promotion.release.digest;
        let veto = vetoes.iter().find(|veto| veto.statement().is_about(digest));
        let overridden = promotion.gates.iter().filter(|gate| gate.overridden.is_some());
        Self {
            number: promotion.chain.sequence,
            kind: promotion.kind,
            release: (&promotion.release).into(),
            before: promotion.release_before,
            started_at: promotion.started_at,
            finished_at: promotion.finished_at,
            duration_seconds: promotion.finished_at.duration_since(promotion.started_at).as_secs(),
            proven: promotion.is_proven(),
            vetoed: veto.map(|veto| veto.predicate().reason.as_str().into()),
            overridden: overridden.map(|gate| gate.gate.clone()).collect(),
            reason: promotion.reason.as_deref().map(Words::from),
            applications: promotion.applications.iter().map(|app| app.name.clone()).collect(),
            without: promotion.without.clone(),
            plan: promotion.plan,
            policy: promotion.policy,
            policy_origin: promotion.policy_origin.clone(),
            policy_changes: rules::changes(
                PolicyStamp::last(earlier).as_ref(),
                PolicyStamp::recorded(promotion).as_ref(),
            ),
            run: promotion.run.clone(),
            signed_by: record.signed_by().to_owned(),
            record: record.record(),
        }
    }

    /// How it ended, and what is to be known of it.
    fn result(&self) -> String {
        let mut parts = vec![if self.proven { "proven" } else { "NOT proven" }.to_owned()];
        parts.extend(self.overridden.iter().map(|gate| format!("over the gate {gate}")));
        parts.extend(self.vetoed.iter().map(|_| "vetoed since".to_owned()));
        parts.extend(self.policy_changes.iter().map(ToString::to_string));
        parts.extend(self.reason.as_ref().map(ToString::to_string));
        parts.join("; ")
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "the ledger cannot be relied on: {fault}")?;
        }
        for RejectedRecord { record, rejection, .. } in &self.rejected {
            writeln!(f, "record {record} does not count: {rejection}")?;
        }
        for attempt in &self.attempts {
            writeln!(f, "not in the ledger: {attempt}")?;
        }
        for unrecorded in &self.unrecorded {
            writeln!(f, "not in the ledger: {unrecorded}")?;
        }
        if self.promotions.is_empty() {
            return writeln!(f, "nothing was promoted to {} yet", self.environment);
        }
        let mut table = Table::new(["", "WHEN", "TOOK", "KIND", "TAG", "DIGEST", "BY", "RESULT"]);
        for entry in &self.promotions {
            let by = entry.run.actor.clone().unwrap_or_else(|| entry.signed_by.clone());
            table.row([
                entry.number.to_string(),
                format!("{:.0}", entry.finished_at),
                format!("{} s", entry.duration_seconds),
                entry.kind.name().to_owned(),
                entry.release.tag.clone().unwrap_or_else(|| "-".to_owned()),
                entry.release.digest.short(),
                by,
                entry.result(),
            ]);
        }
        table.fmt(f)?;
        match self.total - self.promotions.len() {
            0 => Ok(()),
            more => writeln!(f, "{more} earlier ones: --limit {}", self.total),
        }
    }
}

pub(crate) async fn run(args: HistoryArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let environment = environment(&project, &args.environment)?;
    let registry = registry(&project)?;
    let progress = console.progress(format!("reading the ledger of {}", environment.id));
    let now = Timestamp::now();
    // What stands on the applications tells when the end of the ledger was cut off.
    let repository = RecordsRepository::HasToBeThere;
    let reading = ledger_alone(&project, &registry.store, environment, repository, now).await?;
    let mut open_end = reading.open_end();
    // Somebody who may take rights away must not hide the end so. A server that is away hides nothing for long.
    let withheld = open_end.take_if(|_| applications::is_withheld(&reading.seen));
    let LedgerReading { ledger: Ledger { chain, records, .. }, seen, .. } = reading;
    drop(progress);
    let vetoes = in_force(&records.vetoes, now);
    let promotions = chain.promotions();
    let newest = promotions.iter().enumerate().rev();
    let history = History {
        environment: environment.id.clone(),
        total: chain.promotions().len(),
        promotions: newest
            .take(args.limit)
            .map(|(index, record)| HistoryEntry::of(record, &promotions[..index], &vetoes))
            .collect(),
        attempts: claims::past_attempts(read(&seen), now),
        unrecorded: unrecorded(&project, &chain, &seen),
        open_end,
        faults: chain.faults().iter().map(|fault| told(fault, &seen)).chain(withheld).collect(),
        rejected: chain.not_counted().to_vec(),
    };
    console.result(&history)?;
    if let Some(why) = &history.open_end {
        console.warn(format!(
            "whether these are all promotions to {} is not known: {why}",
            environment.id
        ));
    }
    let name = environment.name();
    history.unrecorded.iter().for_each(|it| console.status(format!("hint: {}", it.hint(name))));
    Ok(if history.faults.is_empty() { ExitStatus::Done } else { ExitStatus::No })
}

/// The applications that could be read.
fn read(seen: &[ObservedApp]) -> impl Iterator<Item = (&App, &Application)> {
    seen.iter().filter_map(|it| Some((&it.app, it.application.as_ref().ok()?)))
}

/// The promotions that the ledger lacks, with the files that are here.
fn unrecorded(project: &Project, chain: &Chain, seen: &[ObservedApp]) -> Vec<Unrecorded> {
    let promoted = running(chain).and_then(|release| find::recorded(project, release));
    let mut unrecorded = claims::unrecorded(read(seen), promoted.as_ref(), chain);
    unrecorded.iter_mut().for_each(|it| it.look_below(&project.state_folder()));
    unrecorded
}

/// A fault of the ledger. Of an end that is missing also who names it: the record may be hidden, or what stands there may be
/// invented.
fn told(fault: &ChainFault, seen: &[ObservedApp]) -> String {
    match fault {
        ChainFault::Cut { anchor } => match applications::that_name(seen, anchor).as_slice() {
            [] => fault.to_string(),
            apps => format!("{fault}; it is named by the annotation on {}", apps.join(", ")),
        },
        ChainFault::Hidden(HiddenRecord { record, named_by: NamedBy::Application }) => {
            let apps = applications::that_anchor(seen, record).join(", ");
            format!("record {record}, which the annotation on {apps} names, is missing")
        }
        other => other.to_string(),
    }
}
