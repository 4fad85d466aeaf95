//! Logs for developers: off unless asked for, on stderr. Nothing that a user must know is only in the log.

use tracing_subscriber::EnvFilter;

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
        .with_writer(std::io::stderr)
        .with_ansi(color);
    // Fails only if a log was started before; then that one stays.
    let _ = subscriber.try_init();
}
