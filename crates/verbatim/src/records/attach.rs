//! Signs a record and attaches it. A record of something that has happened must not get lost: if it cannot be signed or
//! attached, it is kept in a file, and the message names the command that does that later.

use std::fmt;
use std::path::{Path, PathBuf};

use verbatim_argocd::PendingRecord;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Descriptor, Digest};
use verbatim_record::{Bundle, EnvironmentId, Payload, Predicate, Promotion, SignError, Statement};

use crate::project::files::{self, FileError};
use crate::project::signer::{RecordSigner, SigningError};
use crate::project::{Project, failures};
use crate::records::store::Store;

/// The file below the state folder that something is kept in.
pub(crate) fn file(kept: PendingRecord) -> PathBuf {
    match kept {
        PendingRecord::Record(digest) => named(UNATTACHED, digest),
        PendingRecord::Statement { digest, .. } => named(UNSIGNED, digest),
    }
}

fn named(folder: &str, digest: Digest) -> PathBuf {
    Path::new(folder).join(format!("{}.json", digest.hex()))
}

const UNATTACHED: &str = "unattached";
const UNSIGNED: &str = "unsigned";

/// What a record is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RecordSubject<'a> {
    /// Something that is done; without its record nobody else can know.
    Done(&'a str),
    /// Something that somebody says; it counts for nothing until its record is attached.
    Said(&'a str),
}

impl RecordSubject<'_> {
    /// How things stand if something kept its record from being `signed` or `attached`.
    fn without(self, step: &str) -> String {
        match self {
            Self::Done(what) => format!("{what} is done, but its record could not be {step}"),
            Self::Said(what) => format!("{what} could not be {step}, and does not count yet"),
        }
    }
}

impl fmt::Display for RecordSubject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(what) => write!(f, "the record of {what}"),
            Self::Said(what) => f.write_str(what),
        }
    }
}

pub(crate) async fn signed<P: Predicate>(
    project: &Project,
    statement: &Statement<P>,
    signer: &RecordSigner,
    what: RecordSubject<'_>,
) -> Result<Bundle, Failure> {
    let payload = Payload::of(statement).map_err(defect)?;
    let error = match signer.sign_payload(payload.clone()).await {
        Ok(record) => return Ok(record),
        Err(SigningError::Statement(error)) => return Err(defect(error)),
        Err(error) => error,
    };
    let failure = Failure::new(ExitStatus::Unknown, error).context(what.without("signed"));
    let digest = Digest::of(payload.bytes());
    Err(match keep(project, named(UNSIGNED, digest), payload.bytes()) {
        Ok(path) => failure.hint(format!(
            "to sign and attach the saved statement: `{}`",
            attach_command(&path, Some(digest))
        )),
        Err(error) => failure.hint(format!("cannot save the statement either: {error}")),
    })
}

fn defect(error: SignError) -> Failure {
    Failure::new(ExitStatus::Defect, error).context("cannot make the record")
}

/// Attaches a record. An interrupt is held off until that has ended, for a bounded time.
pub(crate) async fn attach<'a>(
    project: &Project,
    store: &Store,
    record: &Bundle,
    release: impl Into<Option<&'a Descriptor>>,
    environments: &[EnvironmentId],
    what: RecordSubject<'_>,
    console: &Console,
) -> Result<(), Failure> {
    let _guard = console.tidy_guard();
    let progress = console.progress(format!("attaching {what}"));
    let attached = tokio::select! {
        attached = store.attach(record, release.into(), environments) => attached.map_err(failures::registry),
        // What is to be done about it is said below.
        () = console.interrupt().cancelled() => Err(Failure::new(ExitStatus::Interrupted, "interrupted")),
    };
    drop(progress);
    let failure = match attached {
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    let interrupted = failure.status == ExitStatus::Interrupted;
    let failure = Failure {
        status: if interrupted { ExitStatus::Interrupted } else { ExitStatus::Unknown },
        ..failure.context(what.without("attached"))
    };
    Err(match keep(project, named(UNATTACHED, record.digest()), record.bytes()) {
        Ok(path) => {
            failure.hint(format!("to attach the saved record: `{}`", attach_command(&path, None)))
        }
        // The last resort: whoever has the log has the record.
        Err(error) => failure
            .hint(format!("cannot save the signed record either ({error}); it is: "))
            .hint(String::from_utf8_lossy(record.bytes()).into_owned()),
    })
}

/// What is kept of a promotion that could not be signed.
pub(crate) fn unsigned(promotion: &Statement<Promotion>) -> Option<PendingRecord> {
    let digest = Digest::of(Payload::of(promotion).ok()?.bytes());
    Some(PendingRecord::Statement { digest, finished_at: promotion.predicate.finished_at })
}

/// The command that attaches what is kept in a file. A statement without a signature is named by its digest, too: the file may
/// be another one by then.
fn attach_command(file: &Path, statement: Option<Digest>) -> String {
    let digest = statement.map(|digest| format!(" --digest {digest}")).unwrap_or_default();
    format!("verbatim record attach {}{digest}", file.display())
}

/// What is kept for later.
#[derive(Debug)]
pub(crate) struct Kept {
    pub path: PathBuf,
    /// The record, if it is signed.
    pub record: Option<Digest>,
    /// What attaches it.
    pub command: String,
}

/// Keeps a record for later, signed if somebody can sign it.
pub(crate) async fn queue<P: Predicate>(
    project: &Project,
    statement: &Statement<P>,
    signer: Option<&RecordSigner>,
    what: RecordSubject<'_>,
) -> Result<Kept, Failure> {
    let payload = Payload::of(statement).map_err(defect)?;
    let signed = match signer {
        Some(signer) => signer.sign_payload(payload.clone()).await.ok(),
        None => None,
    };
    let statement = Digest::of(payload.bytes());
    let kept = match &signed {
        Some(record) => keep(project, named(UNATTACHED, record.digest()), record.bytes()),
        None => keep(project, named(UNSIGNED, statement), payload.bytes()),
    };
    let record = signed.map(|record| record.digest());
    let unsigned = record.is_none().then_some(statement);
    kept.map(|path| Kept { command: attach_command(&path, unsigned), path, record })
        .map_err(|error| Failure::new(ExitStatus::Unknown, error).context(what.without("kept")))
}

/// Keeps a record or a statement in a file of this name below the state folder.
fn keep(project: &Project, name: PathBuf, bytes: &[u8]) -> Result<PathBuf, FileError> {
    let state = project.state_folder();
    files::make_folder(&state)?;
    let path = state.join(name);
    if let Some(folder) = path.parent() {
        files::make_folder(folder)?;
    }
    files::replace(&path, &String::from_utf8_lossy(bytes))?;
    Ok(path)
}
