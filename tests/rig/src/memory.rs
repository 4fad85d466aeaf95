//! Whether this machine has the memory that a rig takes.

use std::fs;

use anyhow::{Context as _, ensure};

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
