//! Finds programs, and installs the Debian packages of those that are missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::Program;

/// Where programs are: Debian keeps daemons where an ordinary user's PATH does not go.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path of a program, from PATH or where the system keeps its daemons.
#[expect(clippy::disallowed_methods, reason = "where programs are, only the environment knows")]
pub fn find(program: &str) -> Option<PathBuf> {
    let own = env::var("PATH").unwrap_or_default();
    own.split(':')
        .chain(SYSTEM_PATH.split(':'))
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
}

/// Makes sure of programs: installs what is missing, when this is Debian and we are root.
///
/// # Errors
/// If a program is missing and cannot be installed; the message says what to install.
pub fn install(programs: &[Program]) -> Result<()> {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|program| program.name()).collect();
    let names = names.join(", ");
    if find("apt-get").is_none() {
        bail!(
            "this machine lacks {names}; install what your system calls {}",
            words(&missing).join(", ")
        );
    }
    let shown = || format!("apt-get install --no-install-recommends {}", words(&missing).join(" "));
    if !rustix::process::geteuid().is_root() {
        bail!("this machine lacks {names}; run as root: {}", shown());
    }
    tell(&format!("Installing {names} (apt-get, under a minute) …"));
    // The lists of a fresh machine are empty or old: fetch them once.
    let installed =
        apt_install(&missing)? || (apt(&["update", "--quiet"])? && apt_install(&missing)?);
    ensure!(installed, "{} failed; its messages are above", shown());
    match self::missing(programs).first() {
        None => Ok(()),
        Some(program) => bail!("{}, even after installing it", program.lacking()),
    }
}

fn missing(programs: &[Program]) -> Vec<Program> {
    programs.iter().copied().filter(|program| find(program.name()).is_none()).collect()
}

fn words(programs: &[Program]) -> Vec<&'static str> {
    programs.iter().flat_map(|program| program.packages()).copied().collect()
}

fn apt_install(programs: &[Program]) -> Result<bool> {
    let mut arguments = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    for program in programs {
        match program.package_before() {
            Some(before) if !known(program.packages())? => arguments.push(before),
            _ => arguments.extend(program.packages()),
        }
    }
    apt(&arguments)
}

/// Whether this release of Debian has these packages.
fn known(packages: &[&str]) -> Result<bool> {
    let output = Command::new("apt-cache").arg("show").args(packages).output();
    Ok(output.context("cannot run apt-cache")?.status.success())
}

fn apt(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        // Another step, or the machine's own updates, may be at it.
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The packages would start the system's own servers, which nobody asked for.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run apt-get")?;
    Ok(status.success())
}

#[expect(clippy::print_stderr, reason = "whoever waits for this wants to know why")]
fn tell(text: &str) {
    eprintln!("{text}");
}
