//! `verbatim record`: attaches records that could not be attached when they were made.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, FailureReport};
use verbatim_oci::{Descriptor, Digest, Reference};
use verbatim_record::{
    Bundle, Chain, ChainFit, EnvironmentArtifact, EnvironmentId, KeyRing, Lock, Payload, Predicate,
    Promotion, Provenance, Records, Verified,
};

use super::context::{self, environment, registry};
use super::record_sign::{sign, statement};
use crate::environment::ledger::{LedgerReading, RecordsRepository, ledger_alone};
use crate::project::{KeyArgs, Project, ProjectArgs, failures};
use crate::records::Registry;
use crate::release::find;

const EXAMPLES: &str = "\
Examples:
  verbatim record attach .verbatim/unattached/3f0c….json
  verbatim record attach .verbatim/unattached/*.json
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

/// Attach records from files
///
/// If a promotion is proven but its record cannot be attached, the deployment stands and verbatim ends with status 4.
/// It saves the signed record below .verbatim/unattached, or the unsigned statement below .verbatim/unsigned. So does
/// every command that makes a record. A saved lock, veto or approval does not count yet.
///
/// This command attaches a signed record to the release and to the environment, and removes its file. It looks first: a
/// record that is there already stays as it is, and a promotion after which others were recorded is refused (5), because
/// the ledger would have two ends. Promotions of several files are attached in the order in which they happened.
///
/// It signs a statement only if you name its digest, which the run that saved it printed, or if the claim on an
/// application of the environment names it: the file may be another one by now. It prints what it signs. A promotion is
/// appended to the current end of its ledger, and signed as proven only if the applications are still as it says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AttachArgs {
    /// The files that hold the records
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// The digest of a statement to sign, as the run that saved it printed it; may be repeated
    #[arg(long, value_name = "DIGEST")]
    pub(super) digest: Vec<Digest>,
    /// Keep the files
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    pub(super) key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// What became of the files.
#[derive(Serialize)]
struct AttachResult {
    records: Vec<Attached>,
    /// What was not attached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<NotAttached>,
}

#[derive(Serialize)]
struct Attached {
    file: PathBuf,
    record: Digest,
    predicate_type: String,
    subjects: Vec<Digest>,
    /// Whether somebody had attached it already.
    was_there: bool,
    /// Whether its file was removed.
    removed: bool,
}

#[derive(Serialize)]
struct NotAttached {
    file: PathBuf,
    error: FailureReport,
}

impl fmt::Display for AttachResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Attached { file, record, predicate_type, was_there, removed, .. } in &self.records {
            match was_there {
                true => write!(f, "{record} was attached already ({predicate_type})")?,
                false => write!(f, "attached {record} ({predicate_type})")?,
            }
            match removed {
                true => writeln!(f, "; removed {}", file.display())?,
                false => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// A file with what it holds.
struct SavedRecord {
    file: PathBuf,
    content: SavedContent,
}

enum SavedContent {
    Signed(Bundle),
    /// A statement that nobody has signed yet.
    Unsigned(Payload),
}

pub(crate) async fn run(args: RecordArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let RecordCommand::Attach(args) = args.command;
    let project = context::project(&args.project, console).await?;
    let mut saved = args.files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    saved.sort_by_key(SavedRecord::order);
    let registry = registry(&project)?;
    let mut result = AttachResult { records: Vec::new(), failed: Vec::new() };
    let is_one = saved.len() == 1;
    let mut statuses = Vec::new();
    for SavedRecord { file, content } in saved {
        match attach(&project, &registry, &args, &file, content, console).await {
            Ok(attached) => {
                let removed = !args.keep && is_removed(&file, console);
                result.records.push(Attached { removed, ..attached });
            }
            Err(failure) if is_one => return Err(failure),
            Err(failure) => {
                console.warn(format!("{}: {}", file.display(), failure.whole()));
                failure.hints.iter().for_each(|hint| console.status(format!("hint: {hint}")));
                statuses.push(failure.status);
                result.failed.push(NotAttached { file, error: failure.report() });
            }
        }
    }
    console.result(&result)?;
    Ok(ExitStatus::of_all(statuses))
}

fn read(file: &Path) -> Result<SavedRecord, Failure> {
    let bytes = std::fs::read(file).map_err(|error| {
        Failure::usage(error).context(format!("cannot read {}", file.display()))
    })?;
    let content = match Bundle::read(bytes.clone()) {
        Ok(record) => SavedContent::Signed(record),
        Err(rejection) => SavedContent::Unsigned(Payload::read(bytes).map_err(|_| {
            Failure::usage(rejection).context(format!("{} holds no record", file.display()))
        })?),
    };
    Ok(SavedRecord { file: file.to_owned(), content })
}

impl SavedRecord {
    /// The builds first, then the promotions as they followed each other, then what is said about them.
    fn order(&self) -> (u8, Option<Timestamp>) {
        let (kind, at) = match &self.content {
            SavedContent::Signed(record) => (record.predicate_type(), record.created()),
            SavedContent::Unsigned(payload) => (payload.predicate_type(), payload.created()),
        };
        match kind {
            Provenance::TYPE => (0, at),
            Promotion::TYPE => (1, at),
            _ => (2, at),
        }
    }
}

/// Whether a file could be removed.
fn is_removed(file: &Path, console: &Console) -> bool {
    let removed = std::fs::remove_file(file);
    if let Err(error) = &removed {
        console.warn(format!("cannot remove {}: {error}", file.display()));
    }
    removed.is_ok()
}

/// Attaches what a file holds, unless it is there.
async fn attach(
    project: &Project,
    registry: &Registry,
    args: &AttachArgs,
    file: &Path,
    content: SavedContent,
    console: &Console,
) -> Result<Attached, Failure> {
    let now = Timestamp::now();
    let (predicate_type, subjects) = match &content {
        SavedContent::Signed(it) => (it.predicate_type().to_owned(), it.attachment().subjects),
        SavedContent::Unsigned(it) => (it.predicate_type().to_owned(), it.subjects()),
    };
    let About { release, places } = about(project, &predicate_type, &subjects)?;
    let found = look(project, registry, (release, &places), &content, now).await?;
    let attached = |record, was_there| Attached {
        file: file.to_owned(),
        record,
        predicate_type: predicate_type.clone(),
        subjects: subjects.clone(),
        was_there,
        removed: false,
    };
    let record = match (content, found) {
        // Signed once more, it would be there twice.
        (SavedContent::Unsigned(_), Found::Everywhere(record) | Found::Somewhere(record)) => {
            return Ok(attached(record, true));
        }
        (SavedContent::Unsigned(payload), Found::Nowhere) => {
            sign(project, registry, args, payload, file, console).await?
        }
        (SavedContent::Signed(_), Found::Everywhere(record)) => return Ok(attached(record, true)),
        (SavedContent::Signed(record), _) => record,
    };
    // Of a promotion that gets its place now, the ledger may know the release better than the run did.
    let subjects = record.attachment().subjects;
    let release = match release {
        Some(_) => about(project, &predicate_type, &subjects)?.release,
        None => None,
    };
    let release = match release {
        Some(digest) => Some(descriptor(project, registry, digest).await?),
        None => None,
    };
    registry.store.attach(&record, release.as_ref(), &places).await.map_err(failures::registry)?;
    Ok(Attached { subjects, ..attached(record.digest(), false) })
}

/// Where a record is found before it is attached.
enum Found {
    Nowhere,
    /// In one of the lists that are to have it.
    Somewhere(Digest),
    Everywhere(Digest),
}

/// Looks for a record in the lists of its release and of its environments, and refuses a promotion that would fork the
/// ledger.
async fn look(
    project: &Project,
    registry: &Registry,
    (release, places): (Option<Digest>, &[EnvironmentId]),
    content: &SavedContent,
    now: Timestamp,
) -> Result<Found, Failure> {
    let statement = match content {
        SavedContent::Signed(record) => record.statement_digest(),
        SavedContent::Unsigned(payload) => Digest::of(payload.bytes()),
    };
    let (ring, store) = (&project.config.policy.ring, &registry.store);
    let mut found: Vec<Option<Digest>> = Vec::new();
    if let Some(release) = release {
        let records = store.builds_so_far(ring, release, now).await.map_err(failures::registry)?;
        found.push(records.of_statement(&statement));
    }
    for id in places {
        let place = environment(project, id.name())?;
        let LedgerReading { ledger, .. } =
            ledger_alone(project, store, place, RecordsRepository::MayBeNew, now).await?;
        let own = match content {
            SavedContent::Signed(record) => fits(&ledger.chain, record, ring, id, now)?,
            SavedContent::Unsigned(payload) => same_promotion(&ledger.chain, payload),
        };
        found.push(own.or_else(|| ledger.records.of_statement(&statement)));
    }
    Ok(match found.iter().flatten().next().copied() {
        None => Found::Nowhere,
        Some(record) if found.iter().all(Option::is_some) => Found::Everywhere(record),
        Some(record) => Found::Somewhere(record),
    })
}

/// The record of a signed promotion, if its ledger has it. Fails if the ledger has gone on without it. One that does not
/// count changes no ledger.
fn fits(
    chain: &Chain,
    record: &Bundle,
    ring: &KeyRing,
    id: &EnvironmentId,
    now: Timestamp,
) -> Result<Option<Digest>, Failure> {
    let records = Records::of_environment([record.bytes()], ring, id, now);
    let Some(promotion) = records.promotions.first() else { return Ok(None) };
    let (number, name) = (promotion.predicate().chain.sequence, id.name());
    match chain.fit(promotion) {
        ChainFit::There(record) => Ok(Some(record)),
        ChainFit::Next => Ok(None),
        ChainFit::Behind { end } => Err(Failure::new(
            ExitStatus::Conflict,
            format!(
                "the ledger of {id} went on without this promotion (number {number}) and ends with number {}: \
                 attached now, it would fork the ledger",
                end.sequence
            ),
        )
        .hint(format!("what the ledger has: verbatim history {name}"))
        .hint(format!(
            "if this release runs there, prove and record it again: verbatim promote {name} --release {}",
            promotion.predicate().release.digest
        ))
        .hint("if not, the file is of no use any more: remove it")),
        ChainFit::Ahead { record } => Err(Failure::new(
            ExitStatus::No,
            format!("promotion {number} of {id} follows record {record}, which its ledger does not have"),
        )
        .hint("attach that one first, or both at once: `verbatim record attach` takes several files")),
    }
}

/// The record of a promotion that was kept without a signature, if somebody has signed it since: then it has got its place,
/// and its statement is another one.
fn same_promotion(chain: &Chain, payload: &Payload) -> Option<Digest> {
    if payload.predicate_type() != Promotion::TYPE {
        return None;
    }
    let kept = statement::<Promotion>(payload).ok()?.predicate;
    let is_it = |it: &&Verified<Promotion>| {
        let it = it.predicate();
        (it.kind, it.started_at, it.finished_at) == (kept.kind, kept.started_at, kept.finished_at)
            && it.run == kept.run
            && it.plan == kept.plan
    };
    chain.promotions().iter().find(is_it).map(Verified::record)
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
fn about(project: &Project, predicate_type: &str, subjects: &[Digest]) -> Result<About, Failure> {
    let environments = project.config.environments.iter().map(|it| &it.id);
    let places: Vec<EnvironmentId> =
        environments.filter(|id| is_among(id, subjects)).cloned().collect();
    let artifacts: Vec<Digest> =
        places.iter().map(|id| *EnvironmentArtifact::of(id).digest()).collect();
    let mut others = subjects.iter().filter(|digest| !artifacts.contains(digest));
    let (release, another) = (others.next().copied(), others.next());
    // A lock is about an environment alone, so a digest that is none of ours is one that is not of this project.
    let is_lock = predicate_type == Lock::TYPE;
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

fn is_among(environment: &EnvironmentId, subjects: &[Digest]) -> bool {
    subjects.contains(EnvironmentArtifact::of(environment).digest())
}
