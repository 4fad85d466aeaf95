//! The comparison of single commands with those of the argocd command line client, on a real Argo CD: time, memory, and
//! requests to the server.
//!
//! Requests are counted by a proxy, in runs of their own; there the client is told to speak gRPC-Web, one HTTP request a
//! call, which is what it speaks through most ingresses.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use fault_proxy::{FaultProxy, Upstream};
use rig::Rig;
use tokio::runtime::Runtime;

use super::application;
use super::cases::Bench;
use super::compare::{Figures, Limit, row};
use super::measure::{Program, in_turn};
use rig::lease::{Lease, Pods};

const APP: &str = "bench";

/// What stands for the number of the run, so that every write changes something.
const RUN: &str = "{run}";

/// What stands for the repository with the chart.
const GIT: &str = "{git}";

/// A command of ours, and the one of the argocd client that does the same.
struct Twin {
    ours: &'static str,
    peer: &'static str,
}

const fn twin(ours: &'static str, peer: &'static str) -> Twin {
    Twin { ours, peer }
}

const TWINS: [Twin; 20] = [
    twin("version", "version"),
    twin("whoami", "account get-user-info"),
    twin("can-i sync applications default/bench", "account can-i sync applications default/bench"),
    twin("list", "app list"),
    twin("get bench", "app get bench"),
    twin("get bench --show-params", "app get bench --show-params"),
    twin("get bench --refresh", "app get bench --refresh"),
    twin("manifests bench", "app manifests bench"),
    twin("resources bench", "app resources bench"),
    twin("history bench", "app history bench"),
    twin("diff bench", "app diff bench"),
    twin("cluster list", "cluster list"),
    twin("project list", "proj list"),
    twin(
        "override bench --helm-set replicas={run}",
        "app set bench --helm-set-string replicas={run}",
    ),
    twin("sync bench", "app sync bench"),
    twin("wait bench --sync --health", "app wait bench --sync --health"),
    twin("rollback bench", "app rollback bench"),
    twin("repo list", "repo list"),
    twin(
        "create bench-{run} --repo {git} --path chart --dest-name in-cluster --dest-namespace bench-{run}",
        "app create bench-{run} --repo {git} --path chart --dest-name in-cluster --dest-namespace bench-{run}",
    ),
    // Both count their runs alike, so that each finds the applications that the last two have made.
    twin("delete bench-{run}", "app delete bench-{run} --yes"),
];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let lease = Lease::new(bench.folder(), Pods::Said, true)?;
    let runtime = Runtime::new().context("failed to start a runtime")?;
    let scene = Scene {
        rig: &lease.rig,
        binary: bench.binary().to_owned(),
        home: bench.folder().to_owned(),
        runtime: &runtime,
    };
    application::create(&runtime, &lease.rig, APP, "registry.example/bench/web")?;
    // Synced and healthy, so that `diff` finds nothing and ends with 0.
    scene.ours("sync bench", &lease.rig.argocd.server, 0).sample(bench.folder())?;
    let cli = Program::new::<&str>(&lease.rig.argocd.cli, []);
    bench.note("argocd", cli.version(&["version", "--client", "--short"])?);
    bench.note("Argo CD", lease.rig.argocd.version.clone());
    for twin in &TWINS {
        scene.compare(bench, twin)?;
    }
    Ok(())
}

struct Scene<'a> {
    rig: &'a Rig,
    binary: std::path::PathBuf,
    home: std::path::PathBuf,
    runtime: &'a Runtime,
}

impl Scene<'_> {
    fn compare(&self, bench: &mut Bench, twin: &Twin) -> Result<()> {
        let rounds = bench.rounds(9);
        eprintln!("argocd {}: {rounds} rounds …", twin.ours);
        let server = &self.rig.argocd.server;
        let mut run = 0;
        let mut number = || {
            run += 1;
            run
        };
        let (of_ours, of_peer) = in_turn(
            |is_ours| match is_ours {
                true => self.ours(twin.ours, server, number()),
                false => self.peer(twin.peer, server, number()),
            },
            rounds,
            bench.folder(),
        )?;
        let requests = (
            self.count(|server| self.ours(twin.ours, server, number()), bench.folder())?,
            self.count(
                |server| {
                    let mut peer = self.peer(twin.peer, server, number());
                    peer.arguments.push("--grpc-web".into());
                    peer
                },
                bench.folder(),
            )?,
        );
        let ours = Figures::of(&format!("`argocd {}`", twin.ours), &of_ours);
        let peer = Figures::of(&format!("`argocd {}`", twin.peer), &of_peer);
        let limits = [Limit::TimeRatio(1.0), Limit::MemoryRatio(0.2)];
        let name = twin.ours.split(' ').next().unwrap_or_default();
        bench.add(row(&format!("argocd: {name}"), ours, Some(peer), &limits).requests(requests));
        Ok(())
    }

    /// The requests of one run.
    fn count(&self, program: impl FnOnce(&str) -> Program, folder: &Path) -> Result<usize> {
        let upstream = Upstream::parse(&self.rig.argocd.url)?;
        let proxy = self.runtime.block_on(FaultProxy::start(upstream))?;
        program(&proxy.address().to_string()).sample(folder)?;
        Ok(proxy.requests())
    }

    fn ours(&self, words: &str, server: &str, run: usize) -> Program {
        self.program(&self.binary, &["argocd"], words, server, run)
    }

    fn peer(&self, words: &str, server: &str, run: usize) -> Program {
        self.program(&self.rig.argocd.cli, &[], words, server, run)
    }

    /// Both understand the same variables and the same `--plaintext`.
    fn program(
        &self,
        path: &Path,
        before: &[&str],
        words: &str,
        server: &str,
        run: usize,
    ) -> Program {
        let words = words
            .split(' ')
            .map(|word| word.replace(RUN, &run.to_string()).replace(GIT, &self.rig.git.url));
        let before = before.iter().map(|word| (*word).to_owned());
        let all = before.chain(words).chain(["--plaintext".to_owned()]);
        Program::new(path, all.map(OsString::from))
            .env("ARGOCD_SERVER", server)
            .env("ARGOCD_AUTH_TOKEN", &self.rig.argocd.tokens.admin)
            // Neither may find what this user has kept, nor keep anything.
            .env("HOME", &self.home.to_string_lossy())
            .env("XDG_CONFIG_HOME", &self.home.join("config").to_string_lossy())
    }
}
