//! What builds a release: the targets of Rust, and programs in a folder that clones share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use needs::Program;
use rig::engine::children;

use crate::cargo_tools::{CARGO_AUDITABLE, CARGO_ZIGBUILD, cache};

/// The C compiler and linker for every target, with a C library of each; a package of Python.
const ZIG: &str = "0.17.1";

/// Installs what builds for a target; gives the `PATH` to build with.
pub(super) fn install(target: &str) -> Result<OsString> {
    let mut rustup = Program::Rustup.command();
    let status = children::run(rustup.args(["target", "add", target]))?;
    ensure!(status.success(), "rustup has no target {target}: {status}");
    let mut folders = vec![zig()?];
    for tool in [CARGO_ZIGBUILD, CARGO_AUDITABLE] {
        folders.extend(tool.get()?.parent().map(PathBuf::from).filter(|it| it.is_absolute()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    std::env::join_paths(folders).context("a folder of the programs has a `:` in its name")
}

/// The folder of a Python that has zig.
fn zig() -> Result<PathBuf> {
    let root = cache().join(format!("ziglang-{ZIG}"));
    let python = root.join("bin/python3");
    let is_there = || {
        let mut command = Command::new(&python);
        let output = command.args(["-m", "ziglang", "version"]).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == ZIG)
    };
    if !is_there() {
        println!("Installing zig {ZIG} into {} …", root.display());
        let mut command = Program::Python3.command();
        let made = children::run(command.args(["-m", "venv"]).arg(&root))?;
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        let installed = children::run(command.arg(format!("ziglang=={ZIG}")))?;
        ensure!(
            made.success() && installed.success() && is_there(),
            "zig {ZIG} cannot be installed"
        );
    }
    Ok(root.join("bin"))
}
