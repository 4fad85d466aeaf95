//! Progress: a line that is redrawn on a terminal, plain lines elsewhere.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Console;

/// How often a line of progress is printed where lines cannot be redrawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A progress line. Dropping it removes the redrawn line.
#[derive(Debug)]
pub struct Progress {
    console: Console,
    label: String,
    bar: Option<ProgressBar>,
    plain: Mutex<Plain>,
}

#[derive(Debug)]
struct Plain {
    last_printed: tokio::time::Instant,
    last_message: String,
}

impl Progress {
    pub(crate) fn start(console: &Console, label: String, total: Option<u64>) -> Self {
        let bar = console.is_interactive().then(|| {
            let bar = ProgressBar::new(total.unwrap_or(0));
            let template = match total {
                Some(_) => "{spinner} {prefix} {bar:24} {bytes}/{total_bytes} {wide_msg}",
                None => "{spinner} {prefix} {wide_msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            let bar = console.bars().add(bar);
            bar.set_prefix(label.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            console.status(&label);
        }
        let plain = Mutex::new(Plain {
            last_printed: tokio::time::Instant::now(),
            last_message: String::new(),
        });
        Self { console: console.clone(), label, bar, plain }
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

    /// Sets the total, in bytes.
    pub fn total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// Sets how much of it is done, in bytes.
    pub fn position(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Prints a line that stays above the redrawn one.
    pub fn line(&self, line: impl Into<String>) {
        self.console.status(line.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
