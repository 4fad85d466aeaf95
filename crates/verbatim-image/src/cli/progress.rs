//! Shows the progress of builds and pushes: a line that is redrawn on a terminal, plain lines in a CI log.

use std::time::Duration;

use tokio::time::Instant;
use verbatim_console::{Console, Progress};

use crate::EngineEvent;

/// The shortest time between two redraws.
const REDRAW_INTERVAL: Duration = Duration::from_millis(80);

/// Shows events to people: steps always, and their output with `--verbose`. A step that fails shows its last lines.
#[derive(Debug)]
pub struct EngineProgress {
    console: Console,
    progress: Progress,
    shows_output: bool,
    last_drawn: Option<Instant>,
}

impl EngineProgress {
    /// Starts a progress line with this label.
    pub fn new(console: &Console, label: impl Into<String>) -> Self {
        Self {
            console: console.clone(),
            progress: console.progress(label),
            shows_output: console.verbosity() > 0,
            last_drawn: None,
        }
    }

    pub fn show(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Started { engine, builder } => {
                self.progress.line(format!("{engine} builds with {builder}"));
            }
            EngineEvent::Sending { files, bytes } => {
                self.draw(|| format!("sending the context: {}", amount(files, bytes)));
            }
            EngineEvent::Sent { files, bytes } => {
                self.progress.line(format!("context: {}", amount(files, bytes)));
            }
            EngineEvent::Skipped(path) => {
                let path = path.display();
                self.console.warn(format!("skipped `{path}`, a socket or device"));
            }
            EngineEvent::Step(step) => {
                self.last_drawn = None;
                self.draw(|| step.clone());
                self.progress.line(step);
            }
            EngineEvent::Cached(step) => self.draw(|| format!("{step} (cached)")),
            EngineEvent::Output(line) if self.shows_output => {
                self.progress.line(format!("  {line}"))
            }
            EngineEvent::Output(line) => self.draw(|| line),
            EngineEvent::Layer { id, status, current, total } => {
                self.draw(|| layer(&id, &status, current, total));
            }
            EngineEvent::Warning(text) => self.console.warn(text),
        }
    }

    fn draw(&mut self, message: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.last_drawn.is_none_or(|last| now - last >= REDRAW_INTERVAL) {
            self.last_drawn = Some(now);
            self.progress.message(message());
        }
    }
}

fn layer(id: &str, status: &str, current: Option<u64>, total: Option<u64>) -> String {
    let mut text = if id.is_empty() || status.contains(id) {
        status.to_owned()
    } else {
        format!("{id}: {status}")
    };
    if let Some(current) = current.filter(|&current| current > 0) {
        text.push_str(&format!(" {}", size(current)));
        if let Some(total) = total {
            text.push_str(&format!(" of {}", size(total)));
        }
    }
    text
}

fn amount(files: u64, bytes: u64) -> String {
    format!("{} in {files} {}", size(bytes), if files == 1 { "entry" } else { "entries" })
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_layers_for_people() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (1 << 30, "1.0 GiB"),
            (1 << 50, "1024.0 TiB"),
        ];
        for (bytes, want) in cases {
            assert_eq!(size(bytes), want);
        }
        assert_eq!(layer("", "Pushing", Some(1024), Some(2048)), "Pushing 1.0 KiB of 2.0 KiB");
        assert_eq!(layer("abc", "Waiting", None, None), "abc: Waiting");
        assert_eq!(amount(1, 10), "10 B in 1 entry");
    }
}
