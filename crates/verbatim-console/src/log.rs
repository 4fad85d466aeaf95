//! Logs for developers: off unless asked for, on stderr. Nothing that a user must know is only in the log.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use verbatim_text::tamed;

/// Starts the log. `filter` is the value of `VERBATIM_LOG`, in the syntax of [`EnvFilter`]; it wins over `verbose`.
pub(crate) fn start(verbose: u8, filter: Option<&str>, color: bool) {
    let directives = match (filter, verbose) {
        (Some(filter), _) if !filter.is_empty() => filter,
        (_, 0) => return,
        (_, 1) => "verbatim=info",
        (_, 2) => "verbatim=debug",
        (_, _) => "trace",
    };
    // `verbatim` as a target prefix covers all crates of this workspace: `verbatim_registry` and so on.
    let filter = EnvFilter::builder().parse_lossy(directives);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || TamedStderr { colours: color })
        .with_ansi(color);
    // Fails only if a log was started before; then that one stays.
    let _ = subscriber.try_init();
}

/// Standard error, for words of strangers in the log.
#[derive(Debug)]
struct TamedStderr {
    colours: bool,
}

impl Write for TamedStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = tamed(&String::from_utf8_lossy(bytes), self.colours);
        io::stderr().lock().write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
