//! Commands that a task waits for, and what a signal does to them.
//!
//! Ctrl-C and SIGTERM must not end a task before it has ended what it started. So they are caught: the command that
//! runs is ended, the task comes back from waiting, and its guards do the rest. A second signal ends the task at once.
//! Services that outlive a command belong to [`super::process`].

use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{process, thread};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::process::Identity;

/// How long a command may tidy up after a signal.
const TIDY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct State {
    running: Vec<Identity>,
    interrupted: bool,
}

static STATE: Mutex<State> = Mutex::new(State { running: Vec::new(), interrupted: false });
static WATCHING: OnceLock<Result<(), String>> = OnceLock::new();

/// From now on a signal ends the running commands and not this process. Call it before the first service starts.
pub fn catch_signals() -> Result<()> {
    let started = WATCHING.get_or_init(|| start_watching().map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(())
}

fn start_watching() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start a runtime for signals")?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to catch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to catch SIGTERM")?;
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(async {
            for second in [false, true] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if second {
                    process::exit(130);
                }
                eprintln!(
                    "\nInterrupted: ending what was started. Interrupt once more to leave it."
                );
                let running = {
                    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
                    state.interrupted = true;
                    std::mem::take(&mut state.running)
                };
                for identity in running {
                    // Each in a thread: the second signal must be seen while a command takes its time.
                    thread::spawn(move || identity.end(TIDY));
                }
            }
        });
    });
    Ok(())
}

/// Whether a signal came. Long waits that are no commands look at this.
pub fn interrupted() -> bool {
    STATE.lock().unwrap_or_else(PoisonError::into_inner).interrupted
}

/// Fails once a signal came.
pub fn stop_if_interrupted() -> Result<()> {
    if interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

/// Runs a command to its end. Its standard streams are as the command says.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    run_with(command, |_| ())
}

/// Runs a command to its end, and `meanwhile` with it: to read a pipe, for example.
pub fn run_with(command: &mut Command, meanwhile: impl FnOnce(&mut Child)) -> Result<ExitStatus> {
    stop_if_interrupted()?;
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("failed to start {name}"))?;
    let identity = Identity::of(child.id()).ok();
    if let Some(identity) = &identity {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.push(identity.clone());
    }
    meanwhile(&mut child);
    let status = child.wait().with_context(|| format!("failed to wait for {name}"));
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.running.retain(|running| Some(running) != identity.as_ref());
    drop(state);
    status
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_command_runs_to_its_end_and_its_pipe_is_read() {
        let mut text = String::new();
        let mut command = needs::Program::Sh.command();
        command.args(["-c", "echo out; exit 3"]).stdout(Stdio::piped());
        let status = run_with(&mut command, |child| {
            child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        })
        .unwrap();
        assert_eq!((status.code(), text.as_str()), (Some(3), "out\n"));
        let absent = "no-such-program";
        assert!(run(&mut Command::new(absent)).is_err());
    }
}
