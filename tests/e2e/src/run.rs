//! The `verbatim` binary as a child process, with an environment that holds what the test gives and nothing else.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// No command of these tests takes longer, also on a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(120);

/// How to run the binary in one folder.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Where it runs.
    pub folder: PathBuf,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it printed as data.
    pub stdout: String,
    /// What it told.
    pub stderr: String,
    /// The exit status; -1 if a signal ended it.
    pub code: i32,
}

impl Tool {
    /// A tool with the variables that every child needs.
    ///
    /// # Errors
    /// The machine has no PATH.
    pub fn new(folder: &Path, home: &Path) -> Result<Self> {
        let path = std::env::var_os("PATH").context("PATH is not set")?;
        let text =
            |value: &OsStr| value.to_str().map(str::to_owned).context("PATH or HOME is not UTF-8");
        let variables = BTreeMap::from([
            ("PATH".to_owned(), text(&path)?),
            ("HOME".to_owned(), text(home.as_os_str())?),
            // The identity and configuration of whoever runs the tests are not those of the tests.
            ("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned()),
            ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
        ]);
        Ok(Self { folder: folder.to_owned(), variables })
    }

    /// The same tool with a variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Runs the binary to its end.
    ///
    /// # Errors
    /// It cannot be built or started, or it does not end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Run> {
        self.start(arguments)?.end().await
    }

    /// Starts the binary.
    ///
    /// # Errors
    /// It cannot be built or started.
    pub fn start(&self, arguments: &[&str]) -> Result<Started> {
        let mut command = Command::new(binary()?);
        command.args(arguments);
        self.start_command(command, arguments)
    }

    /// Runs another program in the same place, to its end.
    ///
    /// # Errors
    /// It cannot be started, or it does not end.
    pub async fn other(&self, program: &Path, arguments: &[&str]) -> Result<Run> {
        let mut command = Command::new(program);
        command.args(arguments);
        self.start_command(command, arguments)?.end().await
    }

    fn start_command(&self, mut command: Command, arguments: &[&str]) -> Result<Started> {
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Started { child, line: arguments.join(" "), told: Vec::new() })
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Started {
    child: Child,
    line: String,
    /// What was read of its stderr already.
    told: Vec<u8>,
}

impl Started {
    /// Sends it SIGTERM, as a CI does with a job that is cancelled.
    ///
    /// # Errors
    /// It is gone already.
    pub fn terminate(&self) -> Result<()> {
        kill_process(self.pid().context("it has ended")?, Signal::TERM)
            .context("cannot send a signal")
    }

    /// Its process, until it has ended.
    pub fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }

    /// Reads what it tells until it tells this. What it did is known from itself alone: a server has answered before its
    /// client has read the answer.
    ///
    /// # Errors
    /// It ends without a word of it, or takes too long.
    pub async fn tells(&mut self, line: &str) -> Result<()> {
        self.reads(line, |told| told == line.as_bytes()).await
    }

    /// The same for a line that begins so.
    ///
    /// # Errors
    /// It ends without one, or takes too long.
    pub async fn begins_to_tell(&mut self, begin: &str) -> Result<()> {
        self.reads(begin, |told| told.starts_with(begin.as_bytes())).await
    }

    async fn reads(&mut self, line: &str, is_it: impl Fn(&[u8]) -> bool) -> Result<()> {
        let mut stderr = BufReader::new(self.child.stderr.take().context("it has no stderr")?);
        let read = async {
            loop {
                let from = self.told.len();
                if stderr.read_until(b'\n', &mut self.told).await? == 0 {
                    bail!("it never told `{line}`: {}", String::from_utf8_lossy(&self.told));
                }
                if is_it(self.told[from..].trim_ascii_end()) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.with_context(|| format!("no `{line}`"))??;
        self.told.extend_from_slice(stderr.buffer());
        self.child.stderr = Some(stderr.into_inner());
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end, or prints what is not UTF-8.
    pub async fn end(self) -> Result<Run> {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait_with_output()).await;
        let Output { status, stdout, stderr } = match ended {
            Ok(output) => output.context("cannot wait for it")?,
            Err(_) => bail!("`{}` did not end within {} s", self.line, DEADLINE.as_secs()),
        };
        let told = [self.told, stderr].concat();
        Ok(Run {
            stdout: String::from_utf8(stdout)?,
            stderr: String::from_utf8(told)?,
            code: status.code().unwrap_or(-1),
        })
    }
}

impl Run {
    /// The document on stdout.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {self}"))
    }

    /// The same run, if it ended so.
    ///
    /// # Panics
    /// It ended otherwise.
    #[track_caller]
    #[must_use]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The commands of this program that the notes of a result name.
pub fn noted_commands(result: &serde_json::Value) -> Vec<Vec<&str>> {
    let notes = result["notes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let commands = notes.iter().filter_map(|note| note.as_str()?.split_once(": verbatim "));
    commands.map(|(_, line)| line.split(' ').collect()).collect()
}

/// The binary of this workspace, built once for each test process: cargo names binaries to the tests of their own package
/// only.
fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build() -> Result<PathBuf> {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo
        // Of the whole workspace, as the tests are: with less of it selected, dependencies get other features, and are
        // compiled once more.
        .args(["build", "--quiet", "--locked", "--workspace", "--bin", "verbatim"])
        .current_dir(needs::workspace_root());
    // What cargo tells this test about its own package would make it build ring, and all that needs it, anew each time:
    // the build script of ring asks to be run again when one of these changes.
    for (name, _) in std::env::vars_os() {
        let is_of_package = |name: &str| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
        };
        if name.to_str().is_some_and(is_of_package) {
            cargo.env_remove(&name);
        }
    }
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("verbatim does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    // A test lies in `deps` of the folder that the binary lies in.
    let test = std::env::current_exe().context("cannot find this program")?;
    let folder = test.parent().and_then(Path::parent).context("this program lies nowhere")?;
    Ok(folder.join("verbatim"))
}
