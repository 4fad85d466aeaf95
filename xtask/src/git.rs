//! git, as tasks ask it.

use anyhow::{Context, Result, ensure};
use needs::{Program, workspace_root};

/// What a command of git says, in the clone of this workspace.
pub(crate) fn git(arguments: &[&str]) -> Result<String> {
    let output = Program::Git.command().args(arguments).current_dir(workspace_root()).output();
    let output = output.context("failed to run git")?;
    ensure!(output.status.success(), "git {} failed: {}", arguments.join(" "), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
