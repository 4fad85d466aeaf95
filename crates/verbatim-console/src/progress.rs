//! Progress: a line that is redrawn on a terminal, plain lines elsewhere, and there only of what takes long.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::AbortHandle;

use crate::Console;

/// How often a line of progress is printed where lines cannot be redrawn; also how long something takes before it is
/// worth its first line there.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A progress line. Dropping it removes the redrawn line.
#[derive(Debug)]
pub struct Progress {
    console: Console,
    label: String,
    bar: Option<ProgressBar>,
    plain: Mutex<Plain>,
    /// Prints the label if this takes long.
    first_line: Option<AbortHandle>,
}

#[derive(Debug)]
struct Plain {
    last_printed: tokio::time::Instant,
    last_message: String,
}

impl Progress {
    pub(crate) fn start(console: &Console, label: String) -> Self {
        let bar = console.is_interactive().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}") {
                bar.set_style(style);
            }
            let bar = console.bars().add(bar);
            bar.set_prefix(label.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let first_line = bar.is_none().then(|| first_line(console, &label)).flatten();
        let plain = Mutex::new(Plain {
            last_printed: tokio::time::Instant::now(),
            last_message: String::new(),
        });
        Self { console: console.clone(), label, bar, plain, first_line }
    }

    /// Says what is happening now; outside a terminal, at most every ten seconds.
    pub fn message(&self, message: impl Into<String>) {
        let message = message.into();
        match &self.bar {
            Some(bar) => bar.set_message(message),
            None => {
                let Ok(mut plain) = self.plain.lock() else { return };
                if plain.last_message != message && plain.last_printed.elapsed() >= PLAIN_INTERVAL {
                    self.console.status(format!("{}: {message}", self.label));
                    plain.last_printed = tokio::time::Instant::now();
                    plain.last_message = message;
                }
            }
        }
    }

    /// Prints a line that stays above the redrawn one.
    pub fn line(&self, line: impl Into<String>) {
        self.console.status(line.into());
    }
}

/// Prints the label at once with `-v`, else when this has taken long.
fn first_line(console: &Console, label: &str) -> Option<AbortHandle> {
    if console.verbosity() > 0 {
        console.status(label);
        return None;
    }
    let (console, label) = (console.clone(), label.to_owned());
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let line = runtime.spawn(async move {
        tokio::time::sleep(PLAIN_INTERVAL).await;
        console.status(format!("{label} …"));
    });
    Some(line.abort_handle())
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(line) = &self.first_line {
            line.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
