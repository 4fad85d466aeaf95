//! Cargo's tools of a pinned version: from PATH, from a cache that clones share, or built into it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use needs::{cargo, workspace_root};
use rig::engine::children;

pub(crate) const CARGO_DENY: CargoTool =
    CargoTool { name: "cargo-deny", version: "0.20.2", says: &["--version"], minutes: 5 };
pub(crate) const CARGO_MACHETE: CargoTool =
    CargoTool { name: "cargo-machete", version: "0.9.2", says: &["--version"], minutes: 1 };
pub(crate) const CARGO_MUTANTS: CargoTool = CargoTool {
    name: "cargo-mutants",
    version: "27.1.0",
    says: &["mutants", "--version"],
    minutes: 3,
};

pub(crate) const CARGO_ZIGBUILD: CargoTool =
    CargoTool { name: "cargo-zigbuild", version: "0.24.1", says: &["--version"], minutes: 2 };
pub(crate) const CARGO_AUDITABLE: CargoTool =
    CargoTool { name: "cargo-auditable", version: "0.7.7", says: &[], minutes: 1 };
pub(crate) const CARGO_CYCLONEDX: CargoTool = CargoTool {
    name: "cargo-cyclonedx",
    version: "0.5.9",
    says: &["cyclonedx", "--version"],
    minutes: 2,
};
pub(crate) const CARGO_DEB: CargoTool =
    CargoTool { name: "cargo-deb", version: "3.8.0", says: &["--version"], minutes: 2 };

/// A program of a crate of the same name.
pub(crate) struct CargoTool {
    name: &'static str,
    version: &'static str,
    /// The arguments with which it says its version. None: it does not say; then only the cache is known to have the right one.
    says: &'static [&'static str],
    /// How long it builds on two cores.
    minutes: u32,
}

impl CargoTool {
    pub(crate) fn get(&self) -> Result<PathBuf> {
        let Self { name, version, minutes, .. } = self;
        let on_path = PathBuf::from(name);
        if !self.says.is_empty() && self.is(&on_path) {
            return Ok(on_path);
        }
        let root = cache().join(format!("{name}-{version}"));
        let cached = root.join("bin").join(name);
        if self.is(&cached) {
            return Ok(cached);
        }
        println!("Building {name} {version} into {} (about {minutes} min, once) …", root.display());
        let mut install = cargo();
        install.args(["install", "--locked", "--version", version, name, "--root"]);
        install.current_dir(workspace_root());
        // Its own target folder, which cargo removes: ours would keep a hundred crates that nothing else uses.
        install.arg(&root).env_remove("CARGO_TARGET_DIR");
        let status = children::run(&mut install)?;
        if !status.success() {
            bail!("{name} {version} does not build: {status}");
        }
        Ok(cached)
    }

    fn is(&self, program: &Path) -> bool {
        if self.says.is_empty() {
            return program.exists();
        }
        let output = Command::new(program).args(self.says).output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).trim().ends_with(self.version)
        })
    }
}

/// Where programs are kept that clones share.
pub(crate) fn cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME")
        .or_else(|| Some(set("HOME")?.join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("verbatim")
}
