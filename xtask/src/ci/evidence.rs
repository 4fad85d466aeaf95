//! The pages of docs/evidence: what a deep step found, when, on which commit, with which seed.

use std::fmt::Display;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use needs::{Program, workspace_root};

use super::Ended;
use crate::git::git;

const FOLDER: &str = "docs/evidence";

/// The state of the sources that a run tries.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) hash: String,
    /// Whether files differ from it; the pages themselves do not count.
    changed: bool,
}

impl Commit {
    pub(super) fn read() -> Result<Commit> {
        needs::install(&[Program::Git])?;
        let hash = git(&["rev-parse", "HEAD"])?;
        let pages = format!(":!{FOLDER}");
        let changed = !git(&["status", "--porcelain", "--", ".", &pages])?.trim().is_empty();
        Ok(Commit { hash: hash.trim().to_owned(), changed })
    }

    /// A seed: each commit tries something else, and always the same.
    pub(super) fn seed(&self) -> u64 {
        let digits = self.hash.get(..8).unwrap_or_default();
        u64::from_str_radix(digits, 16).unwrap_or_default()
    }
}

/// What a deep step has to say.
#[derive(Debug, Default)]
pub(super) struct Page {
    figures: Vec<(&'static str, String)>,
    text: String,
}

impl Page {
    /// One row of the table.
    pub(super) fn figure(&mut self, name: &'static str, value: impl Display) {
        self.figures.push((name, value.to_string()));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Writes the page of a step.
    pub(super) fn write(&self, about: &About<'_>) -> Result<()> {
        let path = workspace_root().join(FOLDER).join(format!("{}.md", about.name));
        let folder = path.parent().context("a page without a folder")?;
        fs::create_dir_all(folder).context("failed to create a folder")?;
        let written = fs::write(&path, self.render(about));
        written.with_context(|| format!("failed to write {}", path.display()))
    }

    fn render(&self, about: &About<'_>) -> String {
        let About { name, what, commit, seed, today, took, ended } = about;
        let result = match ended {
            Ended::Passed(_) => "passed".to_owned(),
            Ended::Failed(failure) => format!("failed: {}", failure.reason),
        };
        let short = commit.hash.get(..12).unwrap_or(&commit.hash);
        let changed = if commit.changed { ", with changes" } else { "" };
        let mut rows = vec![
            ("date", (*today).to_owned()),
            ("commit", format!("{short}{changed}")),
            ("seed", seed.to_string()),
            ("took", format!("{:.0} s", took.as_secs_f64())),
            ("result", result),
        ];
        rows.extend(self.figures.iter().cloned());
        let rows: String =
            rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        let text = if self.text.is_empty() { String::new() } else { format!("\n{}", self.text) };
        format!(
            "<!-- `cargo xtask ci --deep --only {name}` writes this page. -->\n\n# {what}\n\n| | |\n|---|---|\n{rows}{text}"
        )
    }
}

/// What every page says of its step.
#[derive(Debug)]
pub(super) struct About<'a> {
    pub(super) name: &'a str,
    pub(super) what: &'a str,
    pub(super) commit: &'a Commit,
    pub(super) seed: u64,
    pub(super) today: &'a str,
    pub(super) took: Duration,
    pub(super) ended: &'a Ended,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ci::Failure;

    #[test]
    fn a_page_says_when_on_what_and_how_it_ended() {
        let commit = Commit { hash: "0123456789abcdef".to_owned(), changed: true };
        let mut page = Page::default();
        page.figure("cells", 830);
        page.text("Nothing else.\n");
        let text = page.render(&About {
            name: "faults",
            what: "Every fault",
            commit: &commit,
            seed: 7,
            today: "2026-01-02",
            took: Duration::from_millis(61_400),
            ended: &Ended::Failed(Failure::new("exit status: 101".to_owned())),
        });
        let want = "\
<!-- `cargo xtask ci --deep --only faults` writes this page. -->

# Every fault

| | |
|---|---|
| date | 2026-01-02 |
| commit | 0123456789ab, with changes |
| seed | 7 |
| took | 61 s |
| result | failed: exit status: 101 |
| cells | 830 |

Nothing else.
";
        assert_eq!(text, want);
        assert_eq!(commit.seed(), 0x0123_4567);
    }
}
