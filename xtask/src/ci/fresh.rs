//! Each step of ci alone, in a root of Debian that has the two toolchains and nothing else.
//!
//! The root is made once by debootstrap. Every step gets a layer of its own over it, so that what one step installs is
//! not there for the next one. The toolchains and what cargo and go download are the machine's; the workspace is a clone of
//! the commit with a target folder of its own, in which, as in the cache of built tools, steps find what earlier steps built.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use needs::{Program, workspace_root};

use super::count::Count;
use super::evidence::Page;
use super::needs::Provided;
use super::steps::STEPS;
use super::{Ended, Failure, children};

/// Enters the root and runs one step; its arguments are the folder of all this, the step, and the clone's place.
const ENTER: &str = include_str!("fresh.sh");
const RELEASE: &str = "bookworm";

pub(super) fn run(_: &Provided, page: &mut Page) -> Result<Ended> {
    let folder = workspace_root().join("target/fresh-machine");
    let base = folder.join("base");
    fs::create_dir_all(&folder).context("failed to create a folder")?;
    if !base.join("etc/debian_version").is_file() {
        println!("Making a root of Debian {RELEASE} (about a minute, once) …");
        let mut make = Program::Debootstrap.command();
        let made = children::run(make.args(["--variant=minbase", RELEASE]).arg(&base))?;
        ensure!(made.success(), "debootstrap failed: {made}");
    }
    clone(&folder.join("src"))?;
    page.figure("Debian", RELEASE);
    let mut rows = String::from(
        "| step | result | took | installed before it, besides what links Rust |\n|---|---|---|---|\n",
    );
    let (mut passed, mut failed) = (0, 0);
    for step in STEPS {
        let began = Instant::now();
        let log = folder.join(format!("{}.log", step.name));
        let out = fs::File::create(&log).context("failed to create a log")?;
        let mut enter = Program::Unshare.command();
        enter
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-eu", "-c", ENTER, "sh"])
            .arg(&folder)
            .arg(step.name)
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        let status = children::run(&mut enter)?;
        children::stop_if_interrupted()?;
        let result = if status.success() { "passed" } else { "FAILED" };
        if status.success() {
            passed += 1
        } else {
            failed += 1
        }
        let told = fs::read_to_string(&log).unwrap_or_default();
        let row = format!(
            "| {} | {result} | {:.0} s | {} |\n",
            step.name,
            began.elapsed().as_secs_f64(),
            installed(&told),
        );
        print!("{row}");
        if !status.success() {
            println!("its output: {}", log.display());
        }
        rows.push_str(&row);
    }
    page.figure("steps that passed", passed);
    page.text(
        "The toolchains and what cargo and go download are this machine's. What was built for this step before, of the workspace and of Argo CD and the other tools, is not built again.\n\n",
    );
    page.text(&rows);
    let count = Count { passed, failed };
    Ok(if failed == 0 {
        Ended::Passed(count)
    } else {
        Ended::Failed(Failure {
            count,
            reason: format!("{failed} steps do not run alone on a fresh machine"),
            told: Vec::new(),
        })
    })
}

/// The programs of which a step says that it installs them.
fn installed(told: &str) -> String {
    let lines = told.lines().filter_map(|line| line.strip_prefix("Installing "));
    let names: Vec<&str> = lines.filter_map(|rest| Some(rest.split_once(" (")?.0)).collect();
    names.join(", ")
}

/// A clone of what is committed, whose target folder stays.
fn clone(to: &Path) -> Result<()> {
    let git = |arguments: &[&str], at: &Path| -> Result<()> {
        let mut command: Command = Program::Git.command();
        let status = children::run(command.args(arguments).current_dir(at))?;
        ensure!(status.success(), "git {} failed: {status}", arguments.join(" "));
        Ok(())
    };
    let root = workspace_root();
    if !to.join(".git").is_dir() {
        let (from, to) = (root.display().to_string(), to.display().to_string());
        git(&["clone", "--quiet", "--no-hardlinks", &from, &to], &root)?;
    }
    git(&["fetch", "--quiet", &root.display().to_string(), "HEAD"], to)?;
    git(&["reset", "--quiet", "--hard", "FETCH_HEAD"], to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_installed_is_read_from_what_it_says() {
        let told = "Setting up git\nInstalling git (apt-get, under a minute) …\ntest a ... ok\nInstalling sshd, ssh (apt-get, under a minute) …\n";
        assert_eq!(installed(told), "git, sshd, ssh");
        assert_eq!(installed(""), "");
    }
}
