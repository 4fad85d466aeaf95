//! `verbatim key revoke`: what would count, and what not, if a key ended. Changes nothing.

use std::fmt;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::{
    Anchors, Ban, BanPlace, Chain, EnvironmentId, KeyRing, Promotion, TrustedKey, Verified,
    in_force,
};
use verbatim_text::one_line;

use super::context::{self, registry, trusted_key};
use crate::project::{ProjectArgs, failures};
use crate::records::store::Ledger;

const EXAMPLES: &str = "\
Examples:
  verbatim key revoke ci                              if it ended now
  verbatim key revoke ci --at 2026-12-01T09:00:00Z    if it leaked then";

/// Explain what still counts if a key is revoked, and how to revoke it
///
/// Changes nothing: a key is revoked in the policy, by `revoked_at`. Its records from before that time count if a record of
/// another key from before that time names them. Its vetoes, locks and failed tests from before stay in force. Everything
/// else that it signed does not count.
///
/// Ends with 1 if promotions would no longer count.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RevokeArgs {
    /// The key, by its name in `keys`
    #[arg(value_name = "NAME")]
    name: String,
    /// Since when somebody else may have it [default: now]
    #[arg(long, value_name = "WHEN")]
    at: Option<Timestamp>,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, Serialize)]
struct Revoked {
    key: String,
    at: Timestamp,
    ledgers: Vec<LedgerAfter>,
}

/// The ledger of an environment, with the key and without it.
#[derive(Debug, Serialize)]
struct LedgerAfter {
    environment: EnvironmentId,
    /// The number of the last promotion that counts now.
    last: Option<u64>,
    /// The number of the last one that would count.
    last_then: Option<u64>,
    /// Promotions that would no longer count.
    lost: Vec<u64>,
    /// What would be wrong with the ledger.
    faults: Vec<String>,
    /// Vetoes and locks of the key that stay in force.
    bans: Vec<String>,
}

impl LedgerAfter {
    /// Compares what counts now with what would.
    fn of(environment: EnvironmentId, now: &Chain, then: &Chain, bans: Vec<String>) -> Self {
        let number = |it: &Verified<Promotion>| it.predicate().chain.sequence;
        let counts = |it: &&Verified<Promotion>| {
            then.promotions().iter().any(|other| other.record() == it.record())
        };
        let lost = now.promotions().iter().filter(|it| !counts(it)).map(number).collect();
        Self {
            environment,
            last: now.promotions().last().map(number),
            last_then: then.promotions().last().map(number),
            lost,
            faults: then.faults().iter().map(ToString::to_string).collect(),
            bans,
        }
    }
}

impl fmt::Display for LedgerAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, last_then, lost, faults, bans, .. } = self;
        match (lost.as_slice(), last_then) {
            ([], None) => write!(f, "{environment}: nothing was promoted there")?,
            ([], Some(last)) => write!(f, "{environment}: all promotions count, up to {last}")?,
            ([one], _) => write!(f, "{environment}: promotion {one} does not count any more")?,
            ([first, .., last], _) => {
                let count = lost.len();
                write!(
                    f,
                    "{environment}: {count} promotions do not count any more, from {first} to {last}"
                )?;
            }
        }
        if let (false, Some(last)) = (lost.is_empty(), last_then) {
            write!(f, "; the last one that counts is {last}")?;
        }
        for fault in faults {
            write!(f, "\n  the ledger is broken: {fault}")?;
        }
        for ban in bans {
            write!(f, "\n  stays in force: {ban}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, at, ledgers } = self;
        for ledger in ledgers {
            writeln!(f, "{ledger}")?;
        }
        write!(
            f,
            "to revoke `{key}`, add this to its entry in `keys`, and keep the entry, because its records need it:\n  revoked_at: {at:.0}"
        )
    }
}

impl Revoked {
    /// What keeps more of the ledgers.
    fn hints(&self) -> Vec<String> {
        let lossy = self.ledgers.iter().filter(|ledger| !ledger.lost.is_empty());
        lossy
            .map(|ledger| {
                let (key, name) = (&self.key, ledger.environment.name());
                format!(
                    "if the promotions to {name} are yours, another key can vouch for them before the end: verbatim key rotate --from {key} --environment {name} --key …"
                )
            })
            .collect()
    }
}

/// Runs the command.
pub(crate) async fn run(args: RevokeArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let key = trusted_key(&project, &args.name)?;
    let ring = &project.config.policy.ring;
    let now = Timestamp::now();
    // A policy tells whole seconds, and what was signed in this one still counts.
    let at = args.at.unwrap_or(now + SignedDuration::from_secs(1));
    let without = without(ring, key, at)?;
    let registry = registry(&project)?;
    let mut ledgers = Vec::new();
    for environment in &project.config.environments {
        let id = &environment.id;
        let read = |ring, now| registry.store.of_environment(ring, id, Anchors::NONE, now);
        let (before, after) = tokio::try_join!(read(ring, now), read(&without, now.max(at)))
            .map_err(failures::registry)?;
        let bans = bans_of(key, &after, now);
        ledgers.push(LedgerAfter::of(id.clone(), &before.chain, &after.chain, bans));
    }
    let revoked = Revoked { key: key.name.clone(), at, ledgers };
    console.result(&revoked)?;
    for hint in revoked.hints() {
        console.status(format!("hint: {hint}"));
    }
    let loses = revoked.ledgers.iter().any(|ledger| !ledger.lost.is_empty());
    Ok(if loses { ExitStatus::No } else { ExitStatus::Done })
}

/// The same keys, one of which is revoked.
fn without(ring: &KeyRing, key: &TrustedKey, at: Timestamp) -> Result<KeyRing, Failure> {
    let keys = ring.iter().cloned().map(|mut it| {
        if it.name == key.name {
            it.life.revoked_at = Some(at);
        }
        it
    });
    ring.with_keys(keys).map_err(|error| Failure::new(ExitStatus::Defect, error))
}

/// The vetoes and locks of a key that are in force.
fn bans_of(key: &TrustedKey, ledger: &Ledger, now: Timestamp) -> Vec<String> {
    let id = key.key.id();
    fn told<P: BanPlace>(
        kind: &str,
        bans: &[Verified<Ban<P>>],
        id: &verbatim_record::KeyId,
        now: Timestamp,
    ) -> Vec<String> {
        let own = in_force(bans, now).into_iter().filter(|ban| ban.key_id() == id);
        own.map(|ban| {
            let reason = one_line(&ban.predicate().reason);
            format!("the {kind} {}: {reason}", ban.record())
        })
        .collect()
    }
    let records = &ledger.records;
    [told("lock", &records.locks, &id, now), told("veto", &records.vetoes, &id, now)].concat()
}
