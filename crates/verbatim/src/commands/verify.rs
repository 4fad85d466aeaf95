//! `verbatim verify`.

use std::collections::BTreeSet;
use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_policy::Decision;
use verbatim_record::{
    Anchors, Custody, EnvironmentId, Records, Rejection, Testimony, Veto, in_force,
};
use verbatim_text::one_line;

use super::context::{self, ReleaseArgs, environment, find, registry};
use crate::project::{KeyArgs, ProjectArgs, failures};
use crate::promotion::{PromotionContext, ask};
use crate::records::statements;
use crate::release::{Named, Release, summary};

const EXAMPLES: &str = "\
Examples:
  verbatim verify                          the latest build or stage
  verbatim verify --release 42.3f0c9a      what a tag names now
  verbatim verify --release production     what runs in production
  verbatim verify --release sha256:3f0c… --environment production
  verbatim verify --release sha256:3f0c… --vsa --key ci.pem
  verbatim verify --release sha256:3f0c… --format json

cosign verifies the same records:
  cosign verify-attestation --key ci.pub --insecure-ignore-tlog=true \\
    --type slsaprovenance1 REPOSITORY@sha256:…";

/// Verify who built, tested and promoted a release
///
/// A release is verified if a key with the role for it signed a build record, no veto against it is in force, no record
/// of a configured key about it contradicts itself, and the ledgers of the environments that it entered are complete.
/// Otherwise verbatim says what is missing, and ends with 1.
///
/// With --environment, the gates of that environment must let it enter, too; Argo CD is asked for them.
///
/// With --vsa, other tools need not check again: they look whether a key that they trust signed the summary. It says
/// PASSED or FAILED, which policy was asked, and which records counted.
///
/// Only records count that a configured key signed, with the role for them. verbatim lists the others with the reason;
/// anybody who may push can attach them, so they decide nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// The release, as `--release` takes it
    #[arg(value_name = "REF", hide = true)]
    reference: Option<Named>,
    /// Also ask the gates of this environment: the release must be allowed to enter it now
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    /// Sign what came of it as a SLSA verification summary, and attach that to the release
    #[arg(long)]
    vsa: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, Serialize)]
struct Verified {
    #[serde(serialize_with = "crate::release::result::release")]
    release: Release,
    verified: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    doubts: Vec<String>,
    #[serde(flatten)]
    custody: Custody,
    ledgers: Vec<LedgerState>,
    /// The answers of the gates, if they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// The record of the summary, if one was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Digest>,
}

/// The ledger of an environment that the release was promoted to.
#[derive(Debug, Serialize)]
struct LedgerState {
    environment: EnvironmentId,
    promotions: usize,
    /// Promotions that the listing does not show, found by their digest.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    unlisted: BTreeSet<Digest>,
    faults: Vec<String>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.custody.fmt(f)?;
        for LedgerState { environment, promotions, unlisted, faults } in &self.ledgers {
            match faults.as_slice() {
                [] => writeln!(f, "  ledger of {environment}: {promotions} promotions, complete")?,
                faults => {
                    writeln!(f, "  ledger of {environment} is broken: {}", faults.join("; "))?
                }
            }
            for record in unlisted {
                writeln!(
                    f,
                    "      record {record} is not listed there; fetched by digest, and the next promotion lists it again"
                )?;
            }
        }
        if let Some(decision) = &self.decision {
            for line in decision.to_string().lines() {
                writeln!(f, "  {line}")?;
            }
        }
        for doubt in &self.doubts {
            writeln!(f, "  {doubt}")?;
        }
        if let Some(summary) = &self.summary {
            writeln!(f, "  summary signed and attached: record {summary}")?;
        }
        f.write_str(if self.verified { "verified" } else { "NOT verified" })
    }
}

pub(crate) async fn run(args: VerifyArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    if let Some(name) = &args.environment {
        // A typing mistake is told before anything is read.
        environment(&project, name)?;
    }
    let key = match args.vsa {
        true => Some(project.signer(&args.key, &[], console).await?),
        false => None,
    };
    let registry = registry(&project)?;
    let release = args.release.or(args.reference, &project)?;
    let found = find(&project, &registry, &release, console).await?;
    let (ring, now) = (&project.config.policy.ring, Timestamp::now());
    let digest = found.release.digest;
    let mut records =
        registry.store.all_of_release(ring, digest, now).await.map_err(failures::registry)?;
    let places = records.places();
    let mut ledgers = Vec::new();
    // A veto is attached to the release and to its environment, and either list may hide it.
    let mut vetoes = records.vetoes.clone();
    let mut testimony = Testimony::default();
    for environment in places {
        // What is known of the ledger from elsewhere: the history of the release, and what an earlier stage left.
        let handed_on =
            found.handed_on.iter().filter_map(|file| file.promotions.get(environment.name()));
        let of_release = records.promotions.iter();
        let of_release = of_release.filter(|it| it.predicate().environment == environment);
        let promotions = of_release.map(|it| it.anchor()).chain(handed_on.copied()).collect();
        let anchors = Anchors { promotions, records: Vec::new() };
        let ledger = registry
            .store
            .of_environment(ring, &environment, &anchors, now)
            .await
            .map_err(failures::registry)?;
        vetoes.extend(
            ledger.records.vetoes.into_iter().filter(|it| it.statement().is_about(&digest)),
        );
        testimony.extend(ledger.testimony);
        ledgers.push(LedgerState {
            promotions: ledger.chain.promotions().len(),
            unlisted: ledger.unlisted,
            faults: ledger.chain.faults().iter().map(ToString::to_string).collect(),
            environment,
        });
    }
    // What the ledgers vouch for, the list of the release alone does not.
    records = records.with_testimony(&testimony);
    let custody = Custody::tell(digest, &records);
    let mut doubts = doubts(&records, &vetoes, &ledgers, now);
    let decision = match &args.environment {
        Some(name) => {
            let place = environment(&project, name)?;
            let context = PromotionContext::of(&project, &registry, place, console)?;
            let (_, decision) = ask(&context, &found).await?;
            if !decision.allowed {
                let refusals: Vec<String> =
                    decision.refusals().map(|answer| answer.gate.name()).collect();
                doubts.push(format!("{} refuses it: {}", place.id, refusals.join(", ")));
            }
            Some(decision)
        }
        None => None,
    };
    let verified = doubts.is_empty();
    let summary = match &key {
        Some(key) => {
            let (name, policy) = (&project.config.project, &project.config.policy);
            let statement = summary::summary(name, &found.release, policy, &records, verified, now);
            let descriptor = found.resolved.manifest.descriptor().map_err(failures::registry)?;
            let subjects = (Some(&descriptor), &[][..]);
            let what = "the verification summary";
            Some(
                statements::say(&project, &registry, &statement, key, subjects, what, console)
                    .await?,
            )
        }
        None => None,
    };
    let release = found.release;
    let told = Verified { release, verified, doubts, custody, ledgers, decision, summary };
    console.result(&told)?;
    Ok(if verified { ExitStatus::Done } else { ExitStatus::No })
}

/// Why a release is not verified. Pure.
fn doubts(
    records: &Records,
    vetoes: &[verbatim_record::Verified<Veto>],
    ledgers: &[LedgerState],
    now: Timestamp,
) -> Vec<String> {
    let mut doubts = Vec::new();
    if records.builds.is_empty() {
        doubts.push("no key with the role for it says how the release was built".to_owned());
    }
    let vetoes = in_force(vetoes, now);
    // Of two lists that show the same veto.
    let mut told = BTreeSet::new();
    for veto in vetoes.into_iter().filter(|veto| told.insert(veto.statement_digest())) {
        let place = veto.environment().map_or_else(|| "everywhere".to_owned(), ToString::to_string);
        let reason = one_line(&veto.predicate().reason);
        doubts.push(format!("vetoed for {place} by {}: {reason}", veto.signed_by()));
    }
    let wrong = records.rejected.iter().filter(|it| is_by_our_key_about_it(&it.rejection));
    doubts.extend(wrong.map(|it| format!("record {} does not hold: {}", it.record, it.rejection)));
    let broken = ledgers.iter().filter(|ledger| !ledger.faults.is_empty());
    doubts.extend(broken.map(|ledger| format!("the ledger of {} is broken", ledger.environment)));
    doubts
}

/// Whether a record that does not count was signed by one of our keys, about this release: a contradiction or a wrong clock.
/// All the others can be made by anybody who may push, with the name of our key on them or copied from another release.
fn is_by_our_key_about_it(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::Contradiction(_) | Rejection::Environment { .. } | Rejection::Future { .. }
    )
}
