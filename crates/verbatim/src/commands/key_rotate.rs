//! `verbatim key rotate`: another key goes on, and says what it has seen of the ledgers.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{
    Anchor, Anchors, Chain, EnvironmentId, HandOver, KeyId, Predicate, Promotion, Records,
    Statement, TrustedKey, Verified,
};

use super::context::{self, environment, registry, trusted_key};
use crate::config::Environment;
use crate::project::signer::RecordSigner;
use crate::project::{
    KeyArgs, KeyFileArgs, Project, ProjectArgs, failures, signing_command, signing_key,
};
use crate::records::attach::{self, RecordSubject};
use crate::records::store::Ledger;
use crate::records::{Registry, statements};
use crate::release::result::PromotionPlace;

const EXAMPLES: &str = "\
Examples:
  verbatim key rotate --from ci --old-key keys/ci.pem --key keys/ci-2.pem
  verbatim key rotate --from ci --key keys/ci-2.pem    without the old key
  verbatim key rotate --from ci --environment production --last-good 41 \\
    --key keys/ci-2.pem

Then end the old key in `keys`, and keep its entry:
  - { name: ci, file: keys/ci.pub, roles: […], not_after: 2026-12-01T09:00:00Z }";

/// Hand the ledgers of one key over to another
///
/// The records of a key that has ended count only if a record of another key from before its end names them. This makes
/// that record: for each environment, the new key signs what it has seen at the end of the ledger. The old key signs it,
/// too, if you have it.
///
/// Both keys must be in `keys`. The new one must have the roles and the scope of the old one. Whatever the old key signs
/// after this does not count once it has ended, so give the new key to the pipeline first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RotateArgs {
    /// The old key, by its name in `keys`
    #[arg(long, value_name = "NAME")]
    from: String,
    /// The private key of the old one, as PEM
    #[arg(long, value_name = "FILE", conflicts_with = "old_signer")]
    old_key: Option<PathBuf>,
    /// A command that signs with the old key
    #[arg(long, value_name = "COMMAND")]
    old_signer: Option<String>,
    /// Only this environment, by its name in verbatim.yaml [default: all]
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    /// Vouch for the promotions up to this number only: later ones of the old key are not ours
    #[arg(long, value_name = "N", requires = "environment")]
    last_good: Option<u64>,
    /// The new key
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, Serialize)]
struct Rotated {
    from: String,
    to: String,
    ledgers: Vec<HandedOver>,
    /// The earliest end for the old key.
    until: Timestamp,
}

/// The ledger of an environment, seen by the new key.
#[derive(Debug, Serialize)]
struct HandedOver {
    environment: EnvironmentId,
    /// The last promotion that it vouches for.
    promotion: PromotionPlace,
    /// How many records it names.
    seen: usize,
    /// The record of the new key.
    record: Digest,
    /// The record of the old key.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_record: Option<Digest>,
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, ledgers, until } = self;
        if ledgers.is_empty() {
            writeln!(f, "`{from}` has signed nothing that another key has to vouch for")?;
        }
        for HandedOver { environment, promotion, record, old_record, .. } in ledgers {
            let also = old_record.map_or("", |_| ", and so does the old key");
            writeln!(
                f,
                "{environment}: `{to}` vouches for the ledger up to promotion {}{also}",
                promotion.number
            )?;
            if f.alternate() {
                writeln!(f, "  record {record}")?;
            }
        }
        write!(
            f,
            "now end `{from}` in `keys`, and keep its entry, because its records need it:\n  not_after: {until:.0}    or revoked_at, if somebody else may have it"
        )
    }
}

/// Runs the command.
pub(crate) async fn run(args: RotateArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let ring = &project.config.policy.ring;
    let old = trusted_key(&project, &args.from)?;
    let key = project.signer(&args.key, &[], console).await?;
    let new = ring
        .find(&key.verifying_key().id())
        .ok_or_else(|| Failure::usage("without `keys` there is no key to hand over to"))?;
    takes_over(old, new)?;
    let old_signer = old_signer(&project, &args, old).await?;
    let environments: Vec<&Environment> = match &args.environment {
        Some(name) => vec![environment(&project, name)?],
        None => project.config.environments.iter().collect(),
    };
    let registry = registry(&project)?;
    let pair = Pair { old: old.key.id(), signer: &key, old_signer: old_signer.as_ref() };
    let mut ledgers = Vec::new();
    for environment in environments {
        if old.scope.check_environment(Some(environment.name())).is_err() {
            continue;
        }
        let handed =
            hand_over(&project, &registry, environment, &pair, args.last_good, console).await?;
        ledgers.extend(handed);
    }
    // What is seen has to be from before the end, and a policy tells whole seconds.
    let until = Timestamp::now() + SignedDuration::from_secs(2);
    let (from, to) = (old.name.clone(), new.name.clone());
    console.result(&Rotated { from, to, ledgers, until })?;
    Ok(ExitStatus::Done)
}

/// Checks that what the new key says of the old one would count.
fn takes_over(old: &TrustedKey, new: &TrustedKey) -> Result<(), Failure> {
    let (from, to) = (&old.name, &new.name);
    if old.key == new.key {
        return Err(Failure::usage(format!("the signing key is `{from}` itself"))
            .hint("sign with the key that takes over: --key FILE"));
    }
    let lacking: Vec<&str> = old.roles.difference(&new.roles).map(|role| role.as_str()).collect();
    if !lacking.is_empty() {
        let roles = lacking.join(", ");
        return Err(Failure::usage(format!("`{to}` lacks roles of `{from}`: {roles}"))
            .hint("a key vouches only for what it could have signed; add them to its `roles`"));
    }
    match new.scope.includes(&old.scope) {
        true => Ok(()),
        false => Err(Failure::usage(format!("`{to}` speaks for less than `{from}`"))
            .hint("a key vouches only for what it could have signed; compare `environments`, `projects` and `suites`")),
    }
}

/// Who signs with the old key, if anybody can.
async fn old_signer(
    project: &Project,
    args: &RotateArgs,
    old: &TrustedKey,
) -> Result<Option<RecordSigner>, Failure> {
    let signer = match (&args.old_key, &args.old_signer) {
        (Some(file), _) => {
            let file = KeyFileArgs { key: Some(file.clone()) };
            RecordSigner::Key(signing_key(&file, &project.variables)?, file.key)
        }
        (None, Some(line)) => signing_command(line, &project.config.policy.ring).await?,
        (None, None) => return Ok(None),
    };
    match Some(&signer.verifying_key()) == old.key.key() {
        true => Ok(Some(signer)),
        false => Err(Failure::usage(format!("the old key is not `{}`", old.name))),
    }
}

/// The two keys of a hand-over.
struct Pair<'a> {
    old: KeyId,
    signer: &'a RecordSigner,
    old_signer: Option<&'a RecordSigner>,
}

/// Signs and attaches what the new key has seen in an environment; nothing, if the old key has signed nothing there.
async fn hand_over(
    project: &Project,
    registry: &Registry,
    environment: &Environment,
    pair: &Pair<'_>,
    last_good: Option<u64>,
    console: &Console,
) -> Result<Option<HandedOver>, Failure> {
    let (id, ring, now) = (&environment.id, &project.config.policy.ring, Timestamp::now());
    let read = registry.store.of_environment(ring, id, Anchors::NONE, now).await;
    let Ledger { chain, records, .. } = read.map_err(failures::registry)?;
    let Some((promotion, seen)) = seen(&chain, &records, &pair.old, last_good)
        .map_err(|why| Failure::new(ExitStatus::No, format!("{id}: {why}")))?
    else {
        return Ok(None);
    };
    let count = seen.len();
    let statement = Statement::hand_over(HandOver {
        environment: id.clone(),
        from: pair.old.to_string(),
        to: pair.signer.verifying_key().id().to_string(),
        seen,
        at: Timestamp::now(),
        run: project.run(),
    });
    let what = format!("the hand-over of {id}");
    let subjects = (None, std::slice::from_ref(id));
    let record =
        statements::say(project, registry, &statement, pair.signer, subjects, &what, console)
            .await?;
    let old_record = match pair.old_signer {
        Some(signer) => {
            let what = RecordSubject::Said(&what);
            let signed = attach::signed(project, &statement, signer, what).await?;
            attach::attach(
                project,
                &registry.store,
                &signed,
                None,
                std::slice::from_ref(id),
                what,
                console,
            )
            .await?;
            Some(signed.digest())
        }
        None => None,
    };
    let environment = id.clone();
    Ok(Some(HandedOver {
        environment,
        promotion: promotion.into(),
        seen: count,
        record,
        old_record,
    }))
}

/// What of a ledger the new key vouches for: the last promotion, and the records that it names. Those name
/// the ones before them. Pure.
fn seen(
    chain: &Chain,
    records: &Records,
    old: &KeyId,
    last_good: Option<u64>,
) -> Result<Option<(Anchor, Vec<Digest>)>, String> {
    let number = |it: &Verified<Promotion>| it.predicate().chain.sequence;
    let heads: Vec<&Verified<Promotion>> = match last_good {
        Some(wanted) => {
            let found = chain.promotions().iter().find(|it| number(it) == wanted);
            vec![found.ok_or_else(|| format!("there is no promotion {wanted} that counts"))?]
        }
        None => {
            let next = chain.next().map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                format!("the ledger is broken: {}", faults.join("; "))
            })?;
            let parents: Vec<&Digest> = next.parents().collect();
            chain.promotions().iter().filter(|it| parents.contains(&&it.record())).collect()
        }
    };
    let Some(last) = heads.iter().copied().max_by_key(|it| number(it)) else { return Ok(None) };
    let named = heads.iter().map(|it| it.record());
    // After a leak nobody can tell what else of the old key is older than it says. What the gates of the promotions rest on
    // follows from them.
    if last_good.is_some() {
        return Ok(Some((last.anchor(), named.collect())));
    }
    fn of<'a, P: Predicate + 'a>(
        records: &'a [Verified<P>],
        old: &'a KeyId,
    ) -> impl Iterator<Item = Digest> + 'a {
        records.iter().filter(move |it| it.key_id() == old).map(Verified::record)
    }
    let said = of(&records.approvals, old)
        .chain(of(&records.vetoes, old))
        .chain(of(&records.locks, old))
        .chain(of(&records.hand_overs, old));
    Ok(Some((last.anchor(), named.chain(said).collect())))
}
