//! `verbatim record`: attaches records that could not be attached when they were made.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Descriptor, Digest, Reference};
use verbatim_record::{
    Approval, Bundle, Chain, EnvironmentArtifact, EnvironmentId, Lock, Payload, Power, Predicate,
    PromotedRelease, Promotion, PromotionKind, Provenance, Role, Statement, TestResult, Veto,
};
use verbatim_text::one_line;

use super::context::{self, environment, registry};
use crate::environment::applications::{ObservedApp, Servers};
use crate::environment::{claims, ledger};
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs, failures};
use crate::promotion::changed_since;
use crate::records::statements;
use crate::records::store::Ledger;
use crate::records::{Registry, running};
use crate::release::find;

const EXAMPLES: &str = "\
Examples:
  verbatim record attach .verbatim/unattached/3f0c….json
  verbatim record attach .verbatim/unsigned/5b1e….json --digest sha256:5b1e…";

/// Attach saved records
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    #[command(subcommand)]
    command: RecordCommand,
}

#[derive(Debug, Subcommand)]
enum RecordCommand {
    Attach(AttachArgs),
}

/// Attach a record from a file
///
/// If a promotion is proven but its record cannot be attached, the deployment stands and verbatim ends with status 4.
/// It saves the signed record below .verbatim/unattached, or the unsigned statement below .verbatim/unsigned. So does
/// every command that makes a record. A saved lock, veto or approval does not count yet.
///
/// This command attaches a signed record to the release and to the environment. Attaching a record twice changes nothing.
///
/// It signs a statement only if you name its digest, which the run that saved it printed, or if the claim on an
/// application of the environment names it: the file may be another one by now. It prints what it signs. A promotion is
/// appended to the current end of its ledger, and signed as proven only if the applications are still as it says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct AttachArgs {
    /// The file that holds the record
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The digest of the statement to sign, as the run that saved it printed it
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Serialize)]
struct Attached {
    record: Digest,
    predicate_type: String,
    subjects: Vec<Digest>,
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attached {} ({})", self.record, self.predicate_type)
    }
}

pub(crate) async fn run(args: RecordArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let RecordCommand::Attach(args) = args.command;
    let project = context::project(&args.project, console).await?;
    let bytes = std::fs::read(&args.file).map_err(|error| {
        Failure::usage(error).context(format!("cannot read {}", args.file.display()))
    })?;
    let registry = registry(&project)?;
    let record = record(&project, &registry, &args, bytes, console).await?;
    let subjects = record.attachment().subjects;
    let About { release, places } = about(&project, &record)?;
    let release = match release {
        Some(digest) => Some(descriptor(&project, &registry, digest).await?),
        None => None,
    };
    registry.store.attach(&record, release.as_ref(), &places).await.map_err(failures::registry)?;
    console.result(&Attached {
        record: record.digest(),
        predicate_type: record.predicate_type().to_owned(),
        subjects,
    })?;
    Ok(ExitStatus::Done)
}

/// What a record is about, as far as this project knows it.
struct About {
    /// A release; a lock is about none.
    release: Option<Digest>,
    /// The environments; a build is about none, a veto may be about all.
    places: Vec<EnvironmentId>,
}

/// Tells releases and environments among the subjects of a record apart: an environment is known by its name, and whatever
/// has none here is a release.
fn about(project: &Project, record: &Bundle) -> Result<About, Failure> {
    let subjects = record.attachment().subjects;
    let environments = project.config.environments.iter().map(|it| &it.id);
    let places: Vec<EnvironmentId> =
        environments.filter(|id| is_among(id, &subjects)).cloned().collect();
    let artifacts: Vec<Digest> =
        places.iter().map(|id| *EnvironmentArtifact::of(id).digest()).collect();
    let mut others = subjects.iter().filter(|digest| !artifacts.contains(digest));
    let (release, another) = (others.next().copied(), others.next());
    // A lock is about an environment alone, so a digest that is none of ours is one that is not of this project.
    let is_lock = record.predicate_type() == Lock::TYPE;
    if another.is_some() || (is_lock && release.is_some()) {
        return Err(Failure::usage(
            "the record is about an environment that this configuration does not have",
        ));
    }
    match release.is_none() && places.is_empty() {
        true => Err(Failure::usage("the record is about nothing")),
        false => Ok(About { release, places }),
    }
}

/// The release in the registry.
async fn descriptor(
    project: &Project,
    registry: &Registry,
    digest: Digest,
) -> Result<Descriptor, Failure> {
    let reference = Reference::by_digest(find::home(project)?.clone(), digest);
    let manifest = registry.client.manifest(&reference).await.map_err(failures::registry)?;
    manifest.descriptor().map_err(failures::registry)
}

/// The record in a file, or the one that a statement in a file becomes when it is signed.
async fn record(
    project: &Project,
    registry: &Registry,
    args: &AttachArgs,
    bytes: Vec<u8>,
    console: &Console,
) -> Result<Bundle, Failure> {
    let file = args.file.display();
    let rejection = match Bundle::read(bytes.clone()) {
        Ok(record) => return Ok(record),
        Err(rejection) => rejection,
    };
    let Ok(payload) = Payload::read(bytes) else {
        return Err(Failure::usage(rejection).context(format!("{file} holds no record")));
    };
    let origin = Origin::of(args, &payload)?;
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
        Promotion::TYPE => {
            appended(project, registry, &payload, &origin, &args.file, &signer).await?
        }
        _ => {
            origin.check(&[], &args.file)?;
            payload
        }
    };
    match payload.predicate_type() {
        Lock::TYPE => may_lock(project, registry, &payload, &signer).await?,
        Veto::TYPE => may_veto(project, registry, &payload, &signer).await?,
        _ => {}
    }
    console.status(format!("signing {file}:\n{}", outline(&payload)));
    signer.sign_payload(payload).await.map_err(|error| {
        Failure::new(ExitStatus::Refused, error).context(format!("cannot sign {file}"))
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

fn statement<P: Predicate>(payload: &Payload) -> Result<Statement<P>, Failure> {
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
    fn of(args: &AttachArgs, payload: &Payload) -> Result<Self, Failure> {
        let digest = Digest::of(payload.bytes());
        match args.digest {
            None => Ok(Self::Claim(digest)),
            Some(named) if named == digest => Ok(Self::Named),
            Some(named) => Err(Failure::new(
                ExitStatus::No,
                format!("{} holds the statement {digest}, not {named}", args.file.display()),
            )
            .hint("it was changed since it was saved: look for the file that the run saved")),
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
        .hint(format!("to prove and record a release: verbatim promote {name} --release …")));
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
            "to prove and record what runs there: verbatim promote {name} --release …"
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

fn is_among(environment: &EnvironmentId, subjects: &[Digest]) -> bool {
    subjects.contains(EnvironmentArtifact::of(environment).digest())
}
