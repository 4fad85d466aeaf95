//! Signs a record and attaches it. A record of something that has happened must not get lost: if it cannot be attached,
//! it is kept in a file, and the message names the command that attaches it.

use std::path::PathBuf;

use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Descriptor;
use verbatim_record::{Bundle, EnvironmentId, Predicate, SigningKey, Statement, sign};

use crate::settings::Project;
use crate::store::Store;
use crate::{failures, handoff};

/// Below the state folder.
const FOLDER: &str = "unattached";

/// Signs a statement.
///
/// # Errors
/// The statement contradicts itself: a defect.
pub(crate) fn signed<P: Predicate>(
    statement: &Statement<P>,
    key: &SigningKey,
) -> Result<Bundle, Failure> {
    sign(statement, key)
        .map_err(|error| Failure::new(ExitStatus::Defect, error).context("cannot make the record"))
}

/// Attaches a record. An interrupt is held off until that has ended, for a bounded time.
///
/// # Errors
/// It is not attached. What it tells of has happened all the same, so the outcome of the command is "unfinished".
pub(crate) async fn attach(
    project: &Project,
    store: &Store,
    record: &Bundle,
    release: &Descriptor,
    environment: Option<&EnvironmentId>,
    what: &str,
    console: &Console,
) -> Result<(), Failure> {
    let _guard = console.tidy_guard();
    let progress = console.progress(format!("attaching the record of {what}"));
    let attached = tokio::select! {
        attached = store.attach(record, release, environment) => attached.map_err(failures::registry),
        () = console.interrupt().cancelled() => Err(Failure::interrupted()),
    };
    drop(progress);
    let failure = match attached {
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    let interrupted = failure.status == ExitStatus::Interrupted;
    let failure = Failure {
        status: if interrupted { ExitStatus::Interrupted } else { ExitStatus::Unknown },
        ..failure.context(format!("{what} is done, and its record could not be attached"))
    };
    Err(match keep(project, record) {
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

/// Keeps a record in a file.
fn keep(project: &Project, record: &Bundle) -> Result<PathBuf, handoff::HandoffError> {
    let state = project.state_folder();
    handoff::make_folder(&state)?;
    let folder = state.join(FOLDER);
    handoff::make_folder(&folder)?;
    let path = folder.join(format!("{}.json", record.digest().hex()));
    handoff::replace(&path, &String::from_utf8_lossy(record.bytes()))?;
    Ok(path)
}
