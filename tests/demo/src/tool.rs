//! The `verbatim` binary as a child process, in an environment that holds what a CI job would hold, and nothing more.
//!
//! Variables of the CI or of the person that runs the demo do not reach it: it would take them for its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use super::narrate::Narrator;
use needs::cargo;
use needs::workspace_root;
use rig::engine::children;
use rig::lease;

/// How to run `verbatim` in the demo's repository.
#[derive(Debug)]
pub(super) struct Tool {
    narrator: Narrator,
    binary: PathBuf,
    root: PathBuf,
    env: Vec<(String, String)>,
}

impl Tool {
    /// The tool in the folder `root`, with the variables that a CI job would have as secrets.
    pub(super) fn new(
        narrator: Narrator,
        binary: &Path,
        root: &Path,
        env: Vec<(String, String)>,
    ) -> Tool {
        Tool { narrator, binary: binary.to_owned(), root: root.to_owned(), env }
    }

    /// Shows and runs a command, and compares its exit status with the one that the story needs.
    pub(super) fn run(&self, arguments: &[&str], want: i32) -> Result<()> {
        let line = line(arguments);
        self.narrator.command(&line);
        let status = children::run(&mut self.command(arguments))?;
        children::stop_if_interrupted()?;
        expect(&line, status, want)
    }

    /// Runs a command without showing it, and returns what it prints on stdout.
    pub(super) fn output(&self, arguments: &[&str]) -> Result<String> {
        let mut text = String::new();
        let mut broken = None;
        let mut command = self.command(arguments);
        let status = children::run_with(command.stdout(Stdio::piped()), |child| {
            let read = child
                .stdout
                .take()
                .map(|mut pipe| std::io::Read::read_to_string(&mut pipe, &mut text));
            broken = read.and_then(Result::err);
        })?;
        if let Some(error) = broken {
            return Err(error).context("failed to read what verbatim prints");
        }
        expect(&line(arguments), status, 0)?;
        Ok(text)
    }

    /// Runs a command without showing it, and returns what it reports as JSON.
    pub(super) fn report(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = self.output(&[arguments, &["--quiet", "--format", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("`{}`: no JSON", line(arguments)))
    }

    /// Runs a command without showing anything of it: whether it says yes. An exit status that is neither yes nor no
    /// is an error.
    pub(super) fn holds(&self, arguments: &[&str]) -> Result<bool> {
        let mut command = self.command(arguments);
        let status = children::run(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        children::stop_if_interrupted()?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => bail!("`{}` ended with {status}", line(arguments)),
        }
    }

    /// The variables, as lines for a shell.
    pub(super) fn exports(&self) -> Vec<String> {
        self.env.iter().map(|(name, value)| format!("export {name}={value}")).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(&self.root).env_clear();
        // Gates ask who promotes; on a machine without a CI that is its user.
        command.env("USER", "demo");
        for name in ["PATH", "LANG", "TERM", "NO_COLOR"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        if self.narrator.colour() {
            command.env("CLICOLOR_FORCE", "1");
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The command as somebody would type it.
fn line(arguments: &[&str]) -> String {
    let quoted = arguments.iter().map(|argument| match argument.contains(' ') {
        true => format!(" '{argument}'"),
        false => format!(" {argument}"),
    });
    format!("verbatim{}", quoted.collect::<String>())
}

fn expect(line: &str, status: ExitStatus, want: i32) -> Result<()> {
    if status.code() != Some(want) {
        bail!("`{line}` ended with {status}, and should have ended with exit status {want}");
    }
    Ok(())
}

pub(super) fn build() -> Result<PathBuf> {
    eprintln!("Building verbatim (minutes at first) …");
    let mut command = cargo();
    // Named together with this program, so that both are built with the same features of the crates they share, and
    // nothing is compiled twice.
    command.args([
        "build",
        "--locked",
        "--package",
        "verbatim",
        "--package",
        "xtask",
        "--bin",
        "verbatim",
    ]);
    let status = children::run(command.current_dir(workspace_root()))?;
    if !status.success() {
        bail!("verbatim does not build: {status}");
    }
    // This program lies in the same folder.
    let path = lease::this_program()?.with_file_name("verbatim");
    path.is_file().then_some(path).context("cargo put the binary somewhere else")
}
