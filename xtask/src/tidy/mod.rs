//! `cargo xtask tidy`: the rules of the workspace that the compiler does not know.
//!
//! Each rule is a pure function from text or metadata to findings, with its cases beside it. Style that rustfmt or
//! clippy can check does not belong here.

mod arrows;
mod dependencies;
mod failure_modes;
mod folders;
mod pages;
mod programs;
mod purity;
mod sources;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::Args as ClapArgs;

/// The arguments of this task.
///
/// Checks the arrows between the crates and between their folders, what the pure ones may touch, that every source file says what it is
/// for, the sizes of files, that nothing names one machine or one registry of packages, that links resolve, and that the
/// tests of docs/failure-modes.md are there.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

/// Something that breaks a rule, or, as a warning, only deserves a second look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    file: String,
    /// One-based; 0 when the finding is about the file as a whole.
    line: usize,
    message: String,
    warning: bool,
}

impl Finding {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { file: file.to_owned(), line, message: message.into(), warning: false }
    }

    fn warning(file: &str, message: impl Into<String>) -> Finding {
        Finding { file: file.to_owned(), line: 0, message: message.into(), warning: true }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning" } else { "error" };
        match self.line {
            0 => write!(f, "{kind}: {}: {}", self.file, self.message),
            line => write!(f, "{kind}: {}:{line}: {}", self.file, self.message),
        }
    }
}

/// A text file of the project.
#[derive(Debug)]
struct Page {
    /// From the root of the workspace, with forward slashes.
    path: String,
    text: String,
}

pub(crate) fn run(_args: Args) -> Result<()> {
    let root = needs::workspace_root();
    let pages = pages_of(&root)?;
    let metadata = arrows::Metadata::read(&root)?;
    let mut findings = arrows::check(&metadata);
    for page in &pages {
        findings.extend(sources::check(&page.path, &page.text));
        findings.extend(programs::check(&page.path, &page.text));
    }
    findings.extend(purity::check(&pages));
    findings.extend(folders::check(&pages));
    findings.extend(dependencies::check(&pages));
    findings.extend(failure_modes::check(&pages));
    findings.extend(pages::check(
        &pages,
        &|path| root.join(path).exists(),
        &metadata.folders(&root),
    ));
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    ensure!(errors == 0, "{errors} rules broken");
    println!("tidy: {} files, {} warnings", pages.len(), findings.len());
    Ok(())
}

/// Every file that git knows or would know, as text; binary files are left out.
fn pages_of(root: &Path) -> Result<Vec<Page>> {
    needs::install(&[needs::Program::Git])?;
    let output = needs::Program::Git
        .command()
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to run git")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let list = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut pages = Vec::new();
    for path in list.split_terminator('\0') {
        // A file that was deleted but not yet from git's index is no file of the project any more.
        let Ok(bytes) = fs::read(root.join(path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            pages.push(Page { path: path.to_owned(), text });
        }
    }
    Ok(pages)
}
