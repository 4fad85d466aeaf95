//! What a rig needs of the machine: Linux, some memory, and a few programs of Debian packages, installed if they are
//! missing and that is possible.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

/// Where programs are looked for: Debian keeps daemons where an ordinary user's PATH does not go.
pub(super) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program and the package that has it (Debian 12 and 13).
#[derive(Debug, Clone, Copy)]
struct Need {
    program: &'static str,
    package: &'static str,
}

const NEEDS: [Need; 3] = [
    Need { program: "etcd", package: "etcd-server" },
    Need { program: "redis-server", package: "redis-server" },
    Need { program: "git", package: "git" },
];

/// What only a test of repositories over ssh needs, and no rig.
const SSHD: Need = Need { program: "sshd", package: "openssh-server" };

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) etcd: PathBuf,
    pub(super) redis: PathBuf,
}

/// Finds the programs, and installs what is missing when this is Debian and we are root.
pub(super) fn ensure_installed() -> anyhow::Result<Programs> {
    ensure!(cfg!(target_os = "linux"), "the rig needs Linux: pods get addresses in 127.0.0.0/8");
    let missing: Vec<Need> =
        NEEDS.into_iter().filter(|need| find(need.program).is_none()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let path = |program: &str| {
        find(program).with_context(|| format!("{program} is not there, even after installing it"))
    };
    Ok(Programs { etcd: path("etcd")?, redis: path("redis-server")? })
}

/// Makes sure that there is an `sshd`, for tests that start one.
pub(crate) fn ensure_sshd() -> anyhow::Result<()> {
    if find(SSHD.program).is_none() {
        install(&[SSHD])?;
    }
    Ok(())
}

fn install(missing: &[Need]) -> anyhow::Result<()> {
    let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let command = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if find("apt-get").is_none() {
        bail!(
            "{} missing; install what your system calls {}",
            programs.join(", "),
            packages.join(", ")
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{} missing; run as root: {command}", programs.join(", "));
    }
    eprintln!("installing {} (needed for {})", packages.join(", "), programs.join(", "));
    let apt = |arguments: &[&str]| -> anyhow::Result<bool> {
        let status = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // The packages would start the system's own servers, which nobody asked for.
            .env("RUNLEVEL", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("cannot run apt-get")?;
        Ok(status.success())
    };
    let mut arguments = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    arguments.extend(&packages);
    // The lists of a fresh machine are empty or old: fetch them once.
    let installed = apt(&arguments)? || (apt(&["update", "--quiet"])? && apt(&arguments)?);
    ensure!(installed, "{command} failed; its messages are above");
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    let own = env::var("PATH").unwrap_or_default();
    own.split(':')
        .chain(SYSTEM_PATH.split(':'))
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
}

/// Refuses to start when the machine would swap.
pub(super) fn ensure_memory() -> anyhow::Result<()> {
    // Measured: 1.4 GiB after the start, 2 GiB with 65 applications.
    const NEEDED_MIB: u64 = 2048;
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let available = available_mib(&text).context("/proc/meminfo has no MemAvailable")?;
    ensure!(
        available >= NEEDED_MIB,
        "a rig needs about {NEEDED_MIB} MiB of memory and {available} MiB are free; end something (`cargo xtask rig status` \
         shows other rigs) or use a larger machine"
    );
    Ok(())
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_free_memory() {
        assert_eq!(available_mib("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n"), Some(2048));
        assert_eq!(available_mib("MemTotal: 9 kB\n"), None);
        assert_eq!(available_mib("MemAvailable: lots\n"), None);
    }
}
