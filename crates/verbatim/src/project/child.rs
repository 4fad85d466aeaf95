//! Child processes that are told to end, and how one ended. What is run, and why, is the caller's.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// How long a command that is told to end may take to do so.
const GRACE: Duration = Duration::from_secs(5);

/// How a command ended that did not end with 0.
pub(crate) fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("its command ended with status {code}"),
        (None, Some(signal)) => format!("its command was ended by signal {signal}"),
        (None, None) => "its command ended without a status".to_owned(),
    }
}

/// Asks the leader of a process group and all that it has started to end, then makes them.
pub(crate) async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(group) = group else { return };
    // A group that is gone is what was wanted.
    let _ = kill_process_group(group, Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }
}
