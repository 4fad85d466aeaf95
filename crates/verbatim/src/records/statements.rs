//! What people say about releases and environments: approvals, vetoes, locks, and their liftings. Signs and attaches them;
//! what they lead to is decided by the gates.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Descriptor, Digest};
use verbatim_record::{
    Anchors, Ban, BanPlace, EnvironmentId, Power, Predicate, Statement, Verified, Veto, in_force,
};

use crate::config::Period;
use crate::project::signer::RecordSigner;
use crate::project::{Project, failures};
use crate::records::Registry;
use crate::records::attach::{self, RecordSubject};
use crate::records::store::Ledger;

/// Until when something counts.
#[derive(Clone, Debug, Args)]
pub(crate) struct UntilArgs {
    /// How long it counts, such as 2h or 14d [default: until lifted]
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
    period: Option<Period>,
    /// When it ends, such as 2026-12-24T00:00:00Z
    #[arg(long, value_name = "WHEN")]
    until: Option<Timestamp>,
}

impl UntilArgs {
    /// The end, if there is one.
    pub(crate) fn end(&self, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        if self.period.is_some_and(|period| period.0.is_zero()) {
            return Err(Failure::usage("--for needs a time above zero")
                .hint("omit --for if it should count until lifted"));
        }
        let period = self.period.map(|period| {
            let period = SignedDuration::try_from(period.0).unwrap_or(SignedDuration::MAX);
            now.saturating_add(period).unwrap_or(Timestamp::MAX)
        });
        match self.until.or(period) {
            Some(end) if end <= now => Err(Failure::usage(format!("{end:.0} is in the past"))),
            end => Ok(end),
        }
    }
}

/// Signs a statement and attaches it to what it is about.
pub(crate) async fn say<P: Predicate>(
    project: &Project,
    registry: &Registry,
    statement: &Statement<P>,
    key: &RecordSigner,
    subjects: (Option<&Descriptor>, &[EnvironmentId]),
    what: &str,
    console: &Console,
) -> Result<Digest, Failure> {
    let environment = statement.predicate.environment();
    project.speaks_for(&key.verifying_key().id(), environment.as_ref())?;
    let what = RecordSubject::Said(what);
    let record = attach::signed(project, statement, key, what).await?;
    let (release, environments) = subjects;
    attach::attach(project, &registry.store, &record, release, environments, what, console).await?;
    Ok(record.digest())
}

/// The bans among some that are in force, checked to be ones that this key may lift.
pub(crate) fn to_lift<'a, P: BanPlace>(
    project: &Project,
    bans: &'a [Verified<Ban<P>>],
    key: &RecordSigner,
    what: &str,
    now: Timestamp,
) -> Result<Vec<&'a Verified<Ban<P>>>, Failure> {
    let bans = in_force(bans, now);
    if bans.is_empty() {
        return Err(Failure::new(ExitStatus::No, format!("there is no {what} in force")));
    }
    may_lift(project, &bans, key, what)?;
    Ok(bans)
}

/// Checks that a key may lift some bans. The command is right, and the answer is no.
pub(crate) fn may_lift<P: BanPlace>(
    project: &Project,
    bans: &[&Verified<Ban<P>>],
    key: &RecordSigner,
    what: &str,
) -> Result<(), Failure> {
    let own = key.verifying_key().id();
    let foreign = bans.iter().find(|ban| *ban.key_id() != own);
    match foreign {
        Some(ban) if !project.has_power(key, Power::Lift) => Err(Failure::new(
            ExitStatus::No,
            format!(
                "the {what} {} is by `{}`, and the roles of the signing key do not let it lift those of others",
                ban.record(),
                ban.signed_by()
            ),
        )
        .hint("`powers: { lift: … }` says which roles may")),
        _ => Ok(()),
    }
}

/// The ledger of an environment, for who is about to add a record to it. In a repository that nobody has written to it is
/// empty.
pub(crate) async fn ledger(
    project: &Project,
    registry: &Registry,
    environment: &EnvironmentId,
    now: Timestamp,
) -> Result<Ledger, Failure> {
    let ring = &project.config.policy.ring;
    match registry.store.of_environment(ring, environment, Anchors::NONE, now).await {
        Err(error) if error.is_no_repository() => Ok(Ledger::empty(environment)),
        ledger => ledger.map_err(failures::registry),
    }
}

/// The vetoes against a release for one place and their liftings: from the release, and from the ledger of the environment,
/// if it is one.
pub(crate) async fn vetoes(
    project: &Project,
    registry: &Registry,
    release: Digest,
    (environment, ledger): (Option<&EnvironmentId>, Option<&Ledger>),
    now: Timestamp,
) -> Result<Vec<Verified<Veto>>, Failure> {
    let ring = &project.config.policy.ring;
    let store = &registry.store;
    let records = store.of_release(ring, release, now).await.map_err(failures::registry)?;
    let mut vetoes = records.vetoes;
    vetoes.extend(ledger.iter().flat_map(|ledger| ledger.records.vetoes.iter().cloned()));
    vetoes.retain(|veto| veto.statement().is_about(&release) && veto.environment() == environment);
    Ok(vetoes)
}
