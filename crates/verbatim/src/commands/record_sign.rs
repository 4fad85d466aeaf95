//! What `verbatim record attach` does with a statement that nobody has signed yet: finds out whether a run of this project
//! kept it, whether it is still true, and signs it.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{
    Approval, Bundle, Chain, Lock, Payload, Power, Predicate, PromotedRelease, Promotion,
    PromotionKind, Provenance, Role, Statement, TestResult, Veto,
};
use verbatim_text::one_line;

use super::context::environment;
use super::record::AttachArgs;
use crate::environment::applications::{ObservedApp, Servers};
use crate::environment::{claims, ledger};
use crate::project::Project;
use crate::project::signer::RecordSigner;
use crate::promotion::changed_since;
use crate::records::store::Ledger;
use crate::records::{Registry, running, statements};

/// The record that a statement in a file becomes when it is signed.
pub(super) async fn sign(
    project: &Project,
    registry: &Registry,
    args: &AttachArgs,
    payload: Payload,
    file: &Path,
    console: &Console,
) -> Result<Bundle, Failure> {
    let origin = Origin::of(args, file, &payload)?;
    let role = match payload.predicate_type() {
        Provenance::TYPE => Some(Role::BUILDER),
        TestResult::TYPE => Some(Role::TESTER),
        Promotion::TYPE => Some(Role::PROMOTER),
        _ => None,
    };
    let roles: Vec<Role> = role.into_iter().collect();
    let signer = project.signer(&args.key, &roles, console).await?;
    check_scope(project, &payload, &signer)?;
    let payload = match payload.predicate_type() {
        Promotion::TYPE => appended(project, registry, &payload, &origin, file, &signer).await?,
        _ => {
            origin.check(&[], file)?;
            payload
        }
    };
    match payload.predicate_type() {
        Lock::TYPE => may_lock(project, registry, &payload, &signer).await?,
        Veto::TYPE => may_veto(project, registry, &payload, &signer).await?,
        _ => {}
    }
    console.status(format!("signing {}:\n{}", file.display(), outline(&payload)));
    signer.sign_payload(payload).await.map_err(|error| {
        Failure::new(ExitStatus::Refused, error).context(format!("cannot sign {}", file.display()))
    })
}

/// Checks that the key may speak of what a statement is about.
fn check_scope(project: &Project, payload: &Payload, signer: &RecordSigner) -> Result<(), Failure> {
    let id = signer.verifying_key().id();
    let place = match payload.predicate_type() {
        Promotion::TYPE => statement::<Promotion>(payload)?.predicate.environment(),
        Lock::TYPE => statement::<Lock>(payload)?.predicate.environment(),
        Veto::TYPE => statement::<Veto>(payload)?.predicate.environment(),
        Approval::TYPE => statement::<Approval>(payload)?.predicate.environment(),
        TestResult::TYPE => {
            let result = statement::<TestResult>(payload)?.predicate;
            project.speaks_for_suites(&id, result.suites().into_iter().flatten())?;
            result.environment()
        }
        // How it was built is about no environment.
        _ => return Ok(()),
    };
    project.speaks_for(&id, place.as_ref())
}

pub(super) fn statement<P: Predicate>(payload: &Payload) -> Result<Statement<P>, Failure> {
    serde_json::from_slice(payload.bytes()).map_err(Failure::usage)
}

/// Checks that a lock, or its lifting, would count with this key.
async fn may_lock(
    project: &Project,
    registry: &Registry,
    payload: &Payload,
    signer: &RecordSigner,
) -> Result<(), Failure> {
    project.may(signer, Power::Lock, "locks")?;
    let lock = statement::<Lock>(payload)?.predicate;
    if lock.lifts.is_empty() {
        return Ok(());
    }
    let place = environment(project, lock.environment.name())?;
    let ledger = statements::ledger(project, registry, &place.id, Timestamp::now()).await?;
    let locks = ledger.records.locks;
    let lifted: Vec<_> = locks.iter().filter(|it| lock.lifts.contains(&it.record())).collect();
    statements::may_lift(project, &lifted, signer, &format!("lock of {}", lock.environment))
}

/// Checks that a veto, or its lifting, would count with this key.
async fn may_veto(
    project: &Project,
    registry: &Registry,
    payload: &Payload,
    signer: &RecordSigner,
) -> Result<(), Failure> {
    project.may(signer, Power::Veto, "vetoes")?;
    let statement = statement::<Veto>(payload)?;
    let (release, veto) = (statement.subjects().next(), &statement.predicate);
    let (Some(release), false) = (release, veto.lifts.is_empty()) else { return Ok(()) };
    let (place, now) = (veto.environment.as_ref(), Timestamp::now());
    let ledger = match place {
        Some(id) => Some(statements::ledger(project, registry, id, now).await?),
        None => None,
    };
    let of_place = (place, ledger.as_ref());
    let vetoes = statements::vetoes(project, registry, release, of_place, now).await?;
    let lifted: Vec<_> = vetoes.iter().filter(|it| veto.lifts.contains(&it.record())).collect();
    statements::may_lift(project, &lifted, signer, &format!("veto against {release}"))
}

/// How it is known that a run of this project kept a statement.
#[derive(Debug)]
enum Origin {
    /// Somebody names its digest.
    Named,
    /// The claim on an application has to name this digest.
    Claim(Digest),
}

impl Origin {
    fn of(args: &AttachArgs, file: &Path, payload: &Payload) -> Result<Self, Failure> {
        let digest = Digest::of(payload.bytes());
        match args.digest.as_slice() {
            named if named.contains(&digest) => Ok(Self::Named),
            [named] if args.files.len() == 1 => Err(Failure::new(
                ExitStatus::No,
                format!("{} holds the statement {digest}, not {named}", file.display()),
            )
            .hint("it was changed since it was saved: look for the file that the run saved")),
            _ => Ok(Self::Claim(digest)),
        }
    }

    /// Refuses what no run is known to have kept. `seen` are the applications of its environment.
    fn check(&self, seen: &[ObservedApp], file: &Path) -> Result<(), Failure> {
        match self {
            Self::Claim(digest) if !claims::names_statement(seen, digest) => Err(Failure::new(
                ExitStatus::No,
                format!("nobody says that a run of this project saved {}", file.display()),
            )
            .hint("a statement without a signature may be anybody's: name the digest that the run printed, with --digest")),
            _ => Ok(()),
        }
    }
}

/// What a statement says, for who is about to sign it: all but the evidence, which is long.
fn outline(payload: &Payload) -> String {
    let mut statement: Value = serde_json::from_slice(payload.bytes()).unwrap_or_default();
    without_evidence(&mut statement);
    let text = serde_json::to_string_pretty(&statement).unwrap_or_default();
    let lines: Vec<String> = text.lines().map(|line| format!("  {}", one_line(line))).collect();
    lines.join("\n")
}

fn without_evidence(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("evidence");
            fields.values_mut().for_each(without_evidence);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_evidence),
        _ => {}
    }
}

/// A promotion that was kept without a signature, as the next one of the ledger: others may have followed meanwhile. What it
/// says is proven has to be so still.
async fn appended(
    project: &Project,
    registry: &Registry,
    payload: &Payload,
    origin: &Origin,
    file: &Path,
    signer: &RecordSigner,
) -> Result<Payload, Failure> {
    let mut statement = statement::<Promotion>(payload)?;
    let promotion = &mut statement.predicate;
    if let Some(power) = promotion.further_power() {
        project.may(signer, power, "overrides")?;
    }
    let id = promotion.environment.clone();
    let place = environment(project, id.name())?;
    let servers = Servers::of(project, [place])?;
    let now = Timestamp::now();
    let (seen, Ledger { chain: ledger, .. }) =
        ledger::ledger_with(project, &registry.store, &servers, place, now).await?;
    origin.check(&seen, file)?;
    let changed = if promotion.is_proven() { changed_since(promotion, &seen, now) } else { vec![] };
    if !changed.is_empty() {
        let changed: Vec<String> = changed.iter().map(|change| one_line(change)).collect();
        let name = id.name();
        return Err(Failure::new(
            ExitStatus::Conflict,
            format!(
                "{id} is not as the statement says, so it is not signed: {}",
                changed.join("; ")
            ),
        )
        .hint("to see what runs there: verbatim status")
        .hint(format!(
            "to prove and record a release: verbatim promote {name} --release {}",
            promotion.release.digest
        )));
    }
    promotion.chain = ledger.next().map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let why = format!("the ledger of {id} is broken: {}", faults.join("; "));
        Failure::new(ExitStatus::No, why)
    })?;
    let late = ledger
        .latest_end()
        .filter(|end| end.duration_since(promotion.finished_at) > verbatim_record::MAX_CLOCK_SKEW);
    if let Some(end) = late {
        let name = id.name();
        let why = format!(
            "it ended at {:.0}, and the ledger of {id} went on until {end:.0}: the times of a ledger grow",
            promotion.finished_at
        );
        return Err(Failure::new(ExitStatus::Conflict, why).hint(format!(
            "to prove and record what runs there: verbatim promote {name} --release {}",
            promotion.release.digest
        )));
    }
    // Without the registry the digest of a release of several images was only computed.
    let known = known_by_its_images(&ledger, &promotion.release);
    if let (PromotionKind::BreakGlass, Some(known)) = (promotion.kind, known) {
        promotion.release = known.clone();
    }
    promotion.release_before = running(&ledger).map(|release| release.digest);
    Payload::of(&Statement::promotion(statement.predicate)).map_err(Failure::usage)
}

/// The release of several images that was promoted last with these.
fn known_by_its_images<'a>(
    ledger: &'a Chain,
    release: &PromotedRelease,
) -> Option<&'a PromotedRelease> {
    let has_images = |known: &&PromotedRelease| {
        release
            .images
            .iter()
            .all(|(name, image)| known.images.get(name).is_some_and(|it| it.digest == image.digest))
    };
    let promoted = ledger.promotions().iter().rev().map(|it| &it.predicate().release);
    promoted.filter(|_| !release.images.is_empty()).find(has_images)
}
