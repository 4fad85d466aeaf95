//! The life of the process: terminal, log, runtime, signals, panic, exit status.

use std::future::Future;
use std::io::IsTerminal;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::args::Terminal;
use crate::{Console, ConsoleArgs, ExitStatus, Failure, log};

/// How long a command may clean up after an interrupt.
const TIDY_TIME: Duration = Duration::from_secs(20);

/// Runs a command to its end and returns the exit code of the process.
///
/// The first Ctrl-C or SIGTERM cancels [`Console::interrupt`]. A command that holds a
/// [`Console::tidy_guard`] then gets up to 20 seconds; any other is dropped where it stands. A second signal always
/// ends it. A panic is reported as a defect.
pub fn main<C, F>(args: &ConsoleArgs, command: C) -> ExitCode
where
    C: FnOnce(Console) -> F,
    F: Future<Output = Result<ExitStatus, Failure>>,
{
    let console = Console::new(args, &terminal());
    log::start(
        args.verbose,
        std::env::var_os("VERBATIM_LOG").and_then(|v| v.into_string().ok()).as_deref(),
        console.color_stderr(),
    );
    report_panics();
    // One thread: starting more takes longer than most commands, and what needs another thread asks for it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console.failure(&Failure::new(ExitStatus::Defect, error).context("cannot start"));
            return ExitStatus::Defect.into();
        }
    };
    let ended = panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(until_signal(&console, command(console.clone())))
    }));
    // Threads that still read a file or wait for a name server must not hold the process up.
    runtime.shutdown_background();
    let status = match ended {
        Ok(Ok(status)) => status,
        Ok(Err(failure)) => {
            console.failure(&failure);
            failure.status
        }
        Err(_) => ExitStatus::Defect,
    };
    status.into()
}

/// Waits for the command or for the signal that ends it.
async fn until_signal(
    console: &Console,
    command: impl Future<Output = Result<ExitStatus, Failure>>,
) -> Result<ExitStatus, Failure> {
    let mut command = std::pin::pin!(command);
    tokio::select! {
        biased;
        ended = &mut command => return ended,
        () = a_signal() => console.interrupt().cancel(),
    }
    if !console.is_tidying() {
        return Err(Failure::interrupted());
    }
    console.warn("interrupted: cleaning up; interrupt again to stop now");
    let ended = tokio::select! {
        biased;
        ended = tokio::time::timeout(TIDY_TIME, &mut command) => ended,
        () = a_signal() => return Err(Failure::interrupted()),
    };
    match ended {
        // It finished despite the signal.
        Ok(Ok(ExitStatus::Done)) => Ok(ExitStatus::Done),
        Ok(Ok(_)) | Err(_) => Err(Failure::interrupted()),
        Ok(Err(failure)) if failure.status == ExitStatus::Interrupted => Err(failure),
        Ok(Err(failure)) => {
            Err(Failure { status: ExitStatus::Interrupted, ..failure.context("interrupted") })
        }
    }
}

/// Returns at the next Ctrl-C or SIGTERM; never, where signals cannot be received.
async fn a_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn report_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        default(info);
        let note = "this is a defect in verbatim; please report it with the lines above and the command line";
        let _ = std::io::Write::write_all(
            &mut std::io::stderr().lock(),
            format!("error: {note}\n").as_bytes(),
        );
    }));
}

fn terminal() -> Terminal {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is = |name: &str, want: &str| std::env::var_os(name).is_some_and(|value| value == want);
    Terminal {
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        no_color: set("NO_COLOR"),
        force_color: set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0"),
        ci: set("CI") && !is("CI", "false"),
        dumb: is("TERM", "dumb"),
    }
}
