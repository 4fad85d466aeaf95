//! `verbatim record`: attaches records that could not be attached when they were made.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Descriptor, Digest, Reference};
use verbatim_record::{
    Bundle, Chain, EnvironmentArtifact, EnvironmentId, Lock, Payload, Power, Predicate,
    PromotedRelease, Promotion, PromotionKind, Provenance, Role, Statement, TestResult, Veto,
};

use super::context::{self, environment, registry};
use crate::environment::applications::Servers;
use crate::environment::ledger;
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs, failures};
use crate::records::statements;
use crate::records::{Registry, running};
use crate::release::find;

const EXAMPLES: &str = "\
Examples:
  verbatim record attach .verbatim/unattached/3f0c….json";

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
/// This command signs the statement if needed, appends a promotion to the current end of its ledger, and attaches the
/// record to the release and to the environment. Attaching a record twice changes nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct AttachArgs {
    /// The file that holds the record
    #[arg(value_name = "FILE")]
    file: PathBuf,
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
    let project = context::project(&args.project).await?;
    let bytes = std::fs::read(&args.file).map_err(|error| {
        Failure::usage(error).context(format!("cannot read {}", args.file.display()))
    })?;
    let registry = registry(&project)?;
    let record = record(&project, &registry, &args, bytes, console).await?;
    let subjects = record.attachment().subjects;
    let About { release, place } = about(&project, &record)?;
    let release = match release {
        Some(digest) => Some(descriptor(&project, &registry, digest).await?),
        None => None,
    };
    registry.store.attach(&record, release.as_ref(), place).await.map_err(failures::registry)?;
    console.result(&Attached {
        record: record.digest(),
        predicate_type: record.predicate_type().to_owned(),
        subjects,
    })?;
    Ok(ExitStatus::Done)
}

/// What a record is about, as far as this project knows it.
struct About<'a> {
    /// A release; a lock is about none.
    release: Option<Digest>,
    /// An environment; a build is about none.
    place: Option<&'a EnvironmentId>,
}

/// Tells releases and environments among the subjects of a record apart: an environment is known by its name, and whatever
/// has none here is a release.
fn about<'a>(project: &'a Project, record: &Bundle) -> Result<About<'a>, Failure> {
    let subjects = record.attachment().subjects;
    let mut environments = project.config.environments.iter().map(|it| &it.id);
    let place = environments.find(|id| is_among(id, &subjects));
    let artifact = place.map(|id| *EnvironmentArtifact::of(id).digest());
    let mut others = subjects.iter().filter(|digest| Some(**digest) != artifact);
    let (release, another) = (others.next().copied(), others.next());
    // A lock is about an environment alone, so a digest that is none of ours is one that is not of this project.
    let is_lock = record.predicate_type() == Lock::TYPE;
    if another.is_some() || (is_lock && release.is_some()) {
        return Err(Failure::usage(
            "the record is about an environment that this configuration does not have",
        ));
    }
    match (release, place) {
        (None, None) => Err(Failure::usage("the record is about nothing")),
        _ => Ok(About { release, place }),
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
    let role = match payload.predicate_type() {
        Provenance::TYPE => Some(Role::BUILDER),
        TestResult::TYPE => Some(Role::TESTER),
        Promotion::TYPE => Some(Role::PROMOTER),
        _ => None,
    };
    let roles: Vec<Role> = role.into_iter().collect();
    let signer = project.signer(&args.key, &roles, console).await?;
    let payload = match payload.predicate_type() {
        Promotion::TYPE => appended(project, registry, &payload, &signer).await?,
        Lock::TYPE => {
            may_lock(project, registry, &payload, &signer).await?;
            payload
        }
        Veto::TYPE => {
            may_veto(project, registry, &payload, &signer).await?;
            payload
        }
        _ => payload,
    };
    signer.sign_payload(payload).await.map_err(|error| {
        Failure::new(ExitStatus::Refused, error).context(format!("cannot sign {file}"))
    })
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
    let locks = statements::locks(project, registry, place, Timestamp::now()).await?;
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
    let place = veto.environment.as_ref();
    let vetoes = statements::vetoes(project, registry, release, place, Timestamp::now()).await?;
    let lifted: Vec<_> = vetoes.iter().filter(|it| veto.lifts.contains(&it.record())).collect();
    statements::may_lift(project, &lifted, signer, &format!("veto against {release}"))
}

/// A promotion that was kept without a signature, as the next one of the ledger: others may have followed meanwhile.
async fn appended(
    project: &Project,
    registry: &Registry,
    payload: &Payload,
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
    let (_, ledger) =
        ledger::ledger_with_anchors(project, &registry.store, &servers, place, now).await?;
    promotion.chain = ledger.next().map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let why = format!("the ledger of {id} is broken: {}", faults.join("; "));
        Failure::new(ExitStatus::No, why)
    })?;
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
