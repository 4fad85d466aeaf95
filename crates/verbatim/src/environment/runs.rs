//! What runs in an environment, by its ledger: the release that its name stands for where a command takes a release.

use jiff::Timestamp;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::{Chain, PromotedRelease, Verified};

use super::ledger::{RecordsRepository, ledger_alone};
use crate::config::Environment;
use crate::project::Project;
use crate::records::store::Store;

/// The release of the last promotion to an environment, and the number of that. Says so if Argo CD could not be asked
/// whether that is the last.
pub(crate) async fn runs_in(
    project: &Project,
    store: &Store,
    environment: &Environment,
    now: Timestamp,
    console: &Console,
) -> Result<(PromotedRelease, u64), Failure> {
    let progress = console.progress(format!("reading the ledger of {}", environment.id));
    let reading =
        ledger_alone(project, store, environment, RecordsRepository::HasToBeThere, now).await?;
    drop(progress);
    if let Some(why) = reading.open_end() {
        console.warn(format!(
            "whether this is the last promotion to {} is not known: {why}",
            environment.id
        ));
    }
    running(&reading.ledger.chain).map_err(|why| {
        Failure::new(ExitStatus::No, format!("what runs in {} is not known: {why}", environment.id))
            .hint(format!("to see more: verbatim status; verbatim history {}", environment.name()))
    })
}

/// Why a ledger does not tell what runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NothingRuns {
    #[error("nothing was promoted there yet")]
    Empty,
    #[error("its ledger is broken: {0}")]
    Broken(String),
    /// It may run, and so may the one before it.
    #[error("promotion {0}, the last one, is not proven")]
    Unproven(u64),
}

fn running(chain: &Chain) -> Result<(PromotedRelease, u64), NothingRuns> {
    if let Some(fault) = chain.faults().first() {
        return Err(NothingRuns::Broken(fault.to_string()));
    }
    let last = chain.head().map(Verified::predicate).ok_or(NothingRuns::Empty)?;
    match last.is_proven() {
        true => Ok((last.release.clone(), last.chain.sequence)),
        false => Err(NothingRuns::Unproven(last.chain.sequence)),
    }
}
