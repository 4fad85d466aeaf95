//! Keeps what lets somebody act as this pipeline from the commands that it runs: a test of a pull request, and whatever that
//! calls, could read the private key of its parent.
//!
//! The environment that a process began with can be read by every process of its user (`/proc/PID/environ`), whatever the
//! process has removed from it since. So before a command that runs tests does anything, it begins anew, without these
//! variables, and is handed them through a pipe that nobody can read twice. And a process that is not dumpable can be read by
//! no other process of its user: prctl(2), PR_SET_DUMPABLE.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::Variables;
use crate::config::holds_secret;

/// Says that the secrets are on the standard input.
const HANDED_OVER: &str = "VERBATIM_SECRETS_ON_STDIN";

/// What fits into a pipe that nobody reads yet: pipe(7).
const MOST: usize = 60_000;

/// What was handed over.
static SECRETS: OnceLock<Variables> = OnceLock::new();

/// Lets no other process of this user read the memory of this one.
pub(crate) fn hide_memory() {
    // A kernel without it is no reason to stop: nothing here depends on it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Takes the secrets out of what others can read of this process. To be called before anything else.
///
/// # Errors
/// If the process cannot begin anew.
pub(crate) fn begin() -> io::Result<()> {
    // The process is the same before and after, and one that it starts is not meant.
    let own = std::process::id().to_string();
    if std::env::var_os(HANDED_OVER).is_some_and(|process| process == own.as_str()) {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        SECRETS.get_or_init(|| unpacked(&text));
        return Ok(());
    }
    let variables = super::of_process();
    let of_secrets = variables.iter().filter(|(name, _)| holds_secret(name));
    let secrets: Variables =
        of_secrets.map(|(name, value)| (name.clone(), value.clone())).collect();
    if secrets.is_empty() {
        return Ok(());
    }
    let text = packed(&secrets);
    if text.len() > MOST {
        let most = format!("the secrets in the environment are longer than {MOST} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, most));
    }
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(text.as_bytes())?;
    drop(writer);
    let mut anew = Command::new(std::env::current_exe()?);
    anew.args(std::env::args_os().skip(1)).stdin(Stdio::from(reader)).env(HANDED_OVER, own);
    for name in secrets.keys() {
        anew.env_remove(name);
    }
    Err(anew.exec())
}

/// The secrets that were handed over, for what this process starts in the place of itself.
pub(super) fn handed_over() -> Variables {
    SECRETS.get().cloned().unwrap_or_default()
}

/// No variable has a NUL in it.
fn packed(secrets: &Variables) -> String {
    secrets.iter().map(|(name, value)| format!("{name}={value}\0")).collect()
}

fn unpacked(text: &str) -> Variables {
    let pairs = text.split_terminator('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_handed_over_as_they_are() {
        let secrets: Variables = [
            ("VERBATIM_KEY".to_owned(), "-----BEGIN\nA=B\n".to_owned()),
            ("ARGOCD_AUTH_TOKEN".to_owned(), String::new()),
        ]
        .into_iter()
        .collect();
        assert_eq!(unpacked(&packed(&secrets)), secrets);
    }
}
