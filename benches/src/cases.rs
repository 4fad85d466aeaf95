//! The comparisons: what is run against what, on which services, and within which limits.
//!
//! Services are started when the first comparison needs them and end with this task. How a run is measured and what
//! the figures mean is decided elsewhere.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Case;
use super::compare::{Figures, Limit, Row, row};
use super::measure::{Program, in_turn};
use rig::engine::process::{self, UntilDropped};
use rig::engine::{self, Guard, children};
use rig::tools::{self, Tool};

/// The context of the `build` comparison.
const FILES: u64 = 20_000;
const CONTEXT_BYTES: u64 = 1 << 30;

/// Everything that the comparisons share.
pub(super) struct Bench {
    /// Dropped first: its files lie in the folder.
    engine: Option<Guard>,
    binary: PathBuf,
    rounds: Option<u16>,
    folder: tempfile::TempDir,
    versions: Vec<(String, String)>,
    rows: Vec<Row>,
}

impl Bench {
    pub(super) fn new(binary: PathBuf, rounds: Option<u16>) -> Result<Bench> {
        let folder = tempfile::Builder::new()
            .prefix("verbatim-bench-")
            .tempdir()
            .context("failed to create a folder")?;
        let version = Program::new::<&str>(&binary, []).version(&["--version"])?;
        let versions = vec![("verbatim".to_owned(), version)];
        Ok(Bench { binary, rounds, folder, versions, rows: Vec::new(), engine: None })
    }

    pub(super) fn run(&mut self, case: Case) -> Result<()> {
        match case {
            Case::Startup => self.startup(),
            Case::Resolve => self.resolve(),
            Case::Build => self.build(),
            Case::Deploy => super::deploy::run(self),
            Case::Fleet => super::fleet::run(self),
            Case::Argocd => super::argocd::run(self),
            Case::Policy => super::policy::run(self),
        }
    }

    /// The versions of all programs, and the rows; ends the services.
    pub(super) fn finish(self) -> (Vec<(String, String)>, Vec<Row>) {
        (self.versions, self.rows)
    }

    fn startup(&mut self) -> Result<()> {
        let crane = self.crane()?;
        let ours = Program::new(&self.binary, ["--version"]);
        let peer = Program::new(&crane, ["version"]);
        self.compare(
            "start",
            60,
            ("`verbatim --version`", ours),
            ("`crane version`", peer),
            &[Limit::TimeRatio(1.0)],
        )
    }

    fn resolve(&mut self) -> Result<()> {
        let crane = self.crane()?;
        let registry = Registry::start(&self.folder.path().join("registry"))?;
        let image = format!("{}/bench/app:1", registry.host);
        push_something(&crane, self.folder.path(), &image)?;
        let ours = Program::new(&self.binary, ["registry", "resolve", &image]);
        let peer = Program::new(&crane, ["digest", &image]);
        self.compare(
            "resolve a tag",
            60,
            ("`registry resolve`", ours),
            ("`crane digest`", peer),
            &[Limit::TimeRatio(1.0)],
        )
    }

    fn build(&mut self) -> Result<()> {
        let docker_host = self.docker_host()?;
        let context = self.folder.path().join("context");
        write_context(&context)?;
        let context = context.to_string_lossy().into_owned();
        let ours =
            Program::new(&self.binary, ["image", "build", "--tag", "bench/ours:1", &context])
                .env("DOCKER_HOST", &docker_host);
        let peer = Program::new(
            Path::new("docker"),
            ["build", "--quiet", "--tag", "bench/peer:1", &context],
        )
        .env("DOCKER_HOST", &docker_host)
        .env("DOCKER_BUILDKIT", "0");
        self.note(
            "docker",
            peer.version(&[
                "version",
                "--format",
                "client {{.Client.Version}}, engine {{.Server.Version}}",
            ])?,
        );
        self.compare(
            "build from 1 GiB in 20,000 files",
            5,
            ("`image build`", ours),
            ("`docker build` (classic)", peer),
            &[Limit::TimeRatio(1.0), Limit::PeakMib(32.0)],
        )
    }

    pub(super) fn compare(
        &mut self,
        name: &str,
        rounds: u16,
        (our_name, ours): (&str, Program),
        (peer_name, peer): (&str, Program),
        limits: &[Limit],
    ) -> Result<()> {
        let rounds = usize::from(self.rounds.unwrap_or(rounds));
        eprintln!("{name}: {rounds} rounds …");
        let (of_ours, of_peer) = in_turn(
            |is_ours| if is_ours { ours.clone() } else { peer.clone() },
            rounds,
            self.folder.path(),
        )?;
        let (ours, peer) = (Figures::of(our_name, &of_ours), Figures::of(peer_name, &of_peer));
        self.add(row(name, ours, Some(peer), limits));
        Ok(())
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn rounds(&self, usual: u16) -> usize {
        usize::from(self.rounds.unwrap_or(usual))
    }

    pub(super) fn docker_host(&mut self) -> Result<String> {
        if let Some(engine) = &self.engine {
            return Ok(engine.docker_host.clone());
        }
        let engine = engine::ensure(&self.folder.path().join("engine"))?.until_dropped();
        Ok(self.engine.insert(engine).docker_host.clone())
    }

    pub(super) fn note(&mut self, program: &str, version: String) {
        if self.versions.iter().all(|(known, _)| known != program) {
            self.versions.push((program.to_owned(), version));
        }
    }

    pub(super) fn crane(&mut self) -> Result<PathBuf> {
        let crane = tools::tool(Tool::Crane)?;
        let version = Program::new::<&str>(&crane, []).version(&["version"])?;
        self.note("crane", version);
        Ok(crane)
    }
}

/// The reference registry, on a free port, with its data in a folder of its own.
pub(super) struct Registry {
    pub(super) host: String,
    _process: UntilDropped,
}

impl Registry {
    pub(super) fn start(folder: &Path) -> Result<Registry> {
        let program = tools::tool(Tool::Registry)?;
        fs::create_dir_all(folder).context("failed to create the folder of the registry")?;
        let host = format!("127.0.0.1:{}", free_port()?);
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\nhttp: {{addr: {host:?}}}\n",
            folder.join("data")
        );
        fs::write(&config, text).context("failed to write the configuration of the registry")?;
        let log = folder.join("log");
        let identity =
            process::start_detached(Command::new(program).arg("serve").arg(&config), &log)?;
        let process = UntilDropped(identity.clone());
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(&host).is_err() {
            if !identity.is_running() || Instant::now() > deadline {
                bail!("the registry did not start:\n{}", process::tail(&log, 10));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Registry { host, _process: process })
    }
}

/// Pushes a small image under this reference. Two pushes of it are the same image.
pub(super) fn push_something(crane: &Path, folder: &Path, image: &str) -> Result<()> {
    let layer = folder.join("layer.tar");
    // Two blocks of zeros: the shortest archive there is.
    fs::write(&layer, [0; 1024]).context("failed to write a layer")?;
    let mut command = Command::new(crane);
    command.args(["append", "--new_tag", image, "--new_layer"]).arg(&layer);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let status = children::run(&mut command)?;
    if !status.success() {
        bail!("{image} could not be pushed: {status}");
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// Many files of equal size in folders of a hundred, none like another, and a Dockerfile that copies only itself:
/// what is measured is the way to the engine, not the engine's disk.
fn write_context(folder: &Path) -> Result<()> {
    eprintln!("writing {FILES} files …");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..FILES {
        if number % 100 == 0 {
            fs::create_dir_all(folder.join(format!("{:03}", number / 100)))
                .context("failed to write the context")?;
            children::stop_if_interrupted()?;
        }
        let path = folder.join(format!("{:03}/{number:05}.bin", number / 100));
        let mut file =
            BufWriter::new(fs::File::create(path).context("failed to write the context")?);
        for _ in 0..CONTEXT_BYTES / FILES / 8 {
            // xorshift64: not compressible, and the same on every machine.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            file.write_all(&random.to_le_bytes()).context("failed to write the context")?;
        }
        file.flush().context("failed to write the context")?;
    }
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n")
        .context("failed to write the context")
}
