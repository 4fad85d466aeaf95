//! Cargo as a child of a task that cargo itself has started.
//!
//! Cargo tells a program that it runs which package that is of, in variables. Build scripts watch some of them (that of
//! `ring` watches `CARGO_MANIFEST_DIR`), so a cargo that inherited them would build half of the tree anew, and the one
//! that is run by hand the next time again.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What cargo sets for a program that it runs:
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-crates>.
const OF_A_PACKAGE: [&str; 6] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_MANIFEST_LINKS",
    "CARGO_CRATE_NAME",
    "CARGO_BIN_NAME",
    "CARGO_PRIMARY_PACKAGE",
];

/// The cargo that runs this, as if it were called by hand.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let inherited = env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_str().is_some_and(is_of_a_package)) {
        command.env_remove(name);
    }
    command
}

/// The folder of the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn is_of_a_package(name: &str) -> bool {
    OF_A_PACKAGE.contains(&name) || name.starts_with("CARGO_PKG_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_set_stays() {
        let removed = ["CARGO_MANIFEST_DIR", "CARGO_PKG_VERSION", "CARGO_BIN_NAME"];
        let kept = ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "CARGO_BUILD_JOBS"];
        assert!(removed.into_iter().all(is_of_a_package));
        assert!(!kept.into_iter().any(is_of_a_package));
    }

    #[test]
    fn no_child_learns_of_this_package() {
        // Cargo runs this test with these variables.
        let gone: Vec<_> = cargo()
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_owned())
            .collect();
        assert!(gone.iter().any(|name| name == "CARGO_MANIFEST_DIR"), "{gone:?}");
    }
}
