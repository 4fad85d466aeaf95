//! `verbatim record`: attaches records that could not be attached when they were made.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Descriptor, Digest, Reference};
use verbatim_record::{Bundle, EnvironmentArtifact, EnvironmentId};

use super::registry;
use crate::promotion::Registry;
use crate::settings::{Project, ProjectArgs};
use crate::{discover, failures};

const EXAMPLES: &str = "\
Examples:
  verbatim record attach .verbatim/unattached/3f0c….json";

/// Attach records that were kept in a file
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    #[command(subcommand)]
    command: RecordCommand,
}

#[derive(Debug, Subcommand)]
enum RecordCommand {
    Attach(AttachArgs),
}

/// Attach a record that was kept in a file
///
/// When a promotion is proven and its record cannot be attached, the promotion stands: it ends with status 4, and the
/// signed record is kept below .verbatim/unattached. This command attaches it to everything that it is about. Attaching
/// a record twice changes nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct AttachArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
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

/// Runs the command.
///
/// # Errors
/// The file holds no record, it is not about this project, or the registry does not take it.
pub(crate) async fn run(args: RecordArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let RecordCommand::Attach(args) = args.command;
    let project = Project::load(&args.project)?;
    let bytes = std::fs::read(&args.file).map_err(|error| {
        Failure::usage(error).context(format!("cannot read {}", args.file.display()))
    })?;
    let record = Bundle::read(bytes).map_err(|error| {
        Failure::usage(error).context(format!("{} holds no record", args.file.display()))
    })?;
    let Registry { client, store } = registry(&project)?;
    let image = discover::only_image(&project)?;

    let subjects = record.attachment().subjects;
    let environment = project
        .config
        .environments
        .iter()
        .map(|environment| &environment.id)
        .find(|id| is_among(id, &subjects));
    let release = subjects.iter().find(|digest| {
        environment.is_none_or(|id| EnvironmentArtifact::of(id).digest() != *digest)
    });
    let Some(release) = release else {
        return Err(Failure::usage("the record names no release"));
    };
    let reference = Reference::by_digest(image.repository.clone(), *release);
    let descriptor: Descriptor = client
        .manifest(&reference)
        .await
        .and_then(|manifest| manifest.descriptor())
        .map_err(failures::registry)?;
    if subjects.len() != usize::from(environment.is_some()) + 1 {
        return Err(Failure::usage(
            "the record is about an environment that this configuration does not have",
        ));
    }
    store.attach(&record, &descriptor, environment).await.map_err(failures::registry)?;
    console.result(&Attached {
        record: record.digest(),
        predicate_type: record.predicate_type().to_owned(),
        subjects,
    })?;
    Ok(ExitStatus::Done)
}

fn is_among(environment: &EnvironmentId, subjects: &[Digest]) -> bool {
    subjects.contains(EnvironmentArtifact::of(environment).digest())
}
