//! Signs a record and attaches it. A record of something that has happened must not get lost: if it cannot be signed or
//! attached, it is kept in a file, and the message names the command that does that later.

use std::fmt;
use std::path::PathBuf;

use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Descriptor, Digest};
use verbatim_record::{Bundle, EnvironmentId, Payload, Predicate, SignError, Statement};

use crate::settings::Project;
use crate::signer::{RecordSigner, SigningError};
use crate::store::Store;
use crate::{failures, handoff};

/// Below the state folder.
const UNATTACHED: &str = "unattached";
const UNSIGNED: &str = "unsigned";

/// What a record is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'a> {
    /// Something that is done; without its record nobody else can know.
    Done(&'a str),
    /// Something that somebody says; it counts for nothing until its record is attached.
    Said(&'a str),
}

impl What<'_> {
    /// How things stand if something kept its record from being `signed` or `attached`.
    fn without(self, step: &str) -> String {
        match self {
            Self::Done(what) => format!("{what} is done, and its record could not be {step}"),
            Self::Said(what) => format!("{what} could not be {step}, and does not count yet"),
        }
    }
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(what) => write!(f, "the record of {what}"),
            Self::Said(what) => f.write_str(what),
        }
    }
}

/// Signs a statement.
///
/// # Errors
/// There is no signature. The statement is kept in a file, and the message says so.
pub(crate) async fn signed<P: Predicate>(
    project: &Project,
    statement: &Statement<P>,
    signer: &RecordSigner,
    what: What<'_>,
) -> Result<Bundle, Failure> {
    let payload = Payload::of(statement).map_err(defect)?;
    let error = match signer.sign_payload(payload.clone()).await {
        Ok(record) => return Ok(record),
        Err(SigningError::Statement(error)) => return Err(defect(error)),
        Err(error) => error,
    };
    let failure = Failure::new(ExitStatus::Unknown, error).context(what.without("signed"));
    let name = Digest::of(payload.bytes());
    Err(match keep(project, UNSIGNED, name, payload.bytes()) {
        Ok(path) => failure.hint(format!(
            "the statement is kept; sign and attach it with `verbatim record attach {}`",
            path.display()
        )),
        Err(error) => failure.hint(format!("the statement could not be kept either: {error}")),
    })
}

fn defect(error: SignError) -> Failure {
    Failure::new(ExitStatus::Defect, error).context("cannot make the record")
}

/// Attaches a record. An interrupt is held off until that has ended, for a bounded time.
///
/// # Errors
/// It is not attached. It is signed all the same, so the outcome of the command is "unfinished".
pub(crate) async fn attach<'a>(
    project: &Project,
    store: &Store,
    record: &Bundle,
    release: impl Into<Option<&'a Descriptor>>,
    environment: Option<&EnvironmentId>,
    what: What<'_>,
    console: &Console,
) -> Result<(), Failure> {
    let _guard = console.tidy_guard();
    let progress = console.progress(format!("attaching {what}"));
    let attached = tokio::select! {
        attached = store.attach(record, release.into(), environment) => attached.map_err(failures::registry),
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
    Err(match keep(project, UNATTACHED, record.digest(), record.bytes()) {
        Ok(path) => failure.hint(format!(
            "the signed record is kept; attach it with `verbatim record attach {}`",
            path.display()
        )),
        // The last resort: whoever has the log has the record.
        Err(error) => failure
            .hint(format!("the signed record could not be kept either ({error}); it is: "))
            .hint(String::from_utf8_lossy(record.bytes()).into_owned()),
    })
}

/// Keeps a record for later, signed if somebody can sign it. Returns the file, and whether it is signed.
///
/// # Errors
/// It cannot be written. What it tells of has happened all the same.
pub(crate) async fn queue<P: Predicate>(
    project: &Project,
    statement: &Statement<P>,
    signer: Option<&RecordSigner>,
    what: What<'_>,
) -> Result<(PathBuf, bool), Failure> {
    let payload = Payload::of(statement).map_err(defect)?;
    let signed = match signer {
        Some(signer) => signer.sign_payload(payload.clone()).await.ok(),
        None => None,
    };
    let kept = match &signed {
        Some(record) => keep(project, UNATTACHED, record.digest(), record.bytes()),
        None => keep(project, UNSIGNED, Digest::of(payload.bytes()), payload.bytes()),
    };
    kept.map(|path| (path, signed.is_some()))
        .map_err(|error| Failure::new(ExitStatus::Unknown, error).context(what.without("kept")))
}

/// Keeps a record or a statement in a file.
fn keep(
    project: &Project,
    folder: &str,
    name: Digest,
    bytes: &[u8],
) -> Result<PathBuf, handoff::HandoffError> {
    let state = project.state_folder();
    handoff::make_folder(&state)?;
    let folder = state.join(folder);
    handoff::make_folder(&folder)?;
    let path = folder.join(format!("{}.json", name.hex()));
    handoff::replace(&path, &String::from_utf8_lossy(bytes))?;
    Ok(path)
}
