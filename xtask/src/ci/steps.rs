//! The steps of `cargo xtask ci`, as a table: the cheap ones first, so that a slip is told in the first minute.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{Context, Result, bail};
use needs::{Program, Service};

use super::count::Count;
use super::needs::{Need, Provided};
use super::{Ended, children};
use needs::workspace_root;
use rig::lease::xtask;

/// Builds in five minutes on two cores, so it is kept in a cache that clones share.
const CARGO_DENY: &str = "0.20.2";

pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// What is installed, built and started before it, and all that its tests may ask for.
    pub(super) needs: &'static [Need],
    pub(super) run: fn(&Provided) -> Result<Ended>,
}

const GIT: Need = Need::Program(Program::Git);
const SH: Need = Need::Program(Program::Sh);
const ENGINE: Need = Need::Service(Service::Engine);
const RIG: Need = Need::Service(Service::Rig);
const COSIGN: Need = Need::Service(Service::Cosign);
const REGISTRY: Need = Need::Service(Service::Registry);

/// An SSH server of a test, its keys, and the client that git runs.
const SSH: [Need; 4] = [
    Need::Program(Program::Sshd),
    Need::Program(Program::SshKeygen),
    Need::Program(Program::Ssh),
    Need::Program(Program::Id),
];

/// All steps in their order.
pub(super) const STEPS: &[Step] = &[
    Step { name: "fmt", what: "the sources are formatted", needs: &[], run: fmt },
    Step { name: "clippy", what: "no warnings", needs: &[], run: clippy },
    Step {
        name: "tidy",
        what: "the rules that the compiler does not know",
        needs: &[GIT],
        run: |provided| task(&["tidy"], provided),
    },
    Step {
        name: "codegen",
        what: "generated files are current",
        needs: &[],
        run: |provided| task(&["codegen", "--check"], provided),
    },
    Step { name: "doc", what: "the documentation builds without warnings", needs: &[], run: doc },
    Step { name: "unit", what: "unit tests", needs: &[GIT, SH], run: unit },
    Step {
        name: "client",
        what: "clients and commands against servers in the test",
        needs: &[
            GIT,
            SH,
            Need::Program(Program::Docker),
            Need::Program(Program::Kill),
            Need::Program(Program::Tar),
            ENGINE,
            COSIGN,
            REGISTRY,
            RIG,
        ],
        run: client,
    },
    Step { name: "doctest", what: "examples in the documentation", needs: &[], run: doctest },
    Step {
        name: "demo",
        what: "the demo application builds, warns of nothing, passes its tests",
        needs: &[],
        run: demo,
    },
    Step {
        name: "e2e",
        what: "the real binaries on a real engine, registry and Argo CD",
        needs: &[
            Need::Binaries,
            GIT,
            SSH[0],
            SSH[1],
            SSH[2],
            SSH[3],
            ENGINE,
            COSIGN,
            REGISTRY,
            RIG,
        ],
        run: e2e,
    },
    Step {
        name: "faults",
        what: "every fault of every service, at every request of build, promote and test",
        needs: &[GIT, ENGINE],
        run: faults,
    },
    Step {
        name: "twins",
        what: "every Argo CD command and that of the real argocd, on applications alike",
        // What is compared is the objects, and containers would only take time.
        needs: &[Need::Binaries, GIT, SSH[0], SSH[1], SSH[2], SSH[3], Need::RigWithoutPods],
        run: twins,
    },
    Step {
        name: "servers",
        what: "one set of cases on the simulated and the real Argo CD",
        needs: &[GIT, ENGINE, RIG],
        run: |provided| task(&["test", "servers"], provided),
    },
    Step {
        name: "pipeline",
        what: "one release through three environments, on the simulated Argo CD",
        needs: &[GIT, ENGINE],
        run: |provided| task(&["pipeline"], provided),
    },
    Step {
        name: "stopped",
        what: "a build that answers wrongly stops in dev",
        needs: &[GIT, ENGINE],
        run: |provided| task(&["pipeline", "--demo-fault", "wrong-answer"], provided),
    },
    Step {
        name: "engineless",
        what: "the same release where no engine can be had",
        needs: &[GIT],
        run: |provided| task(&["pipeline", "--no-engine"], provided),
    },
    Step {
        name: "real",
        what: "the same release on a real Argo CD",
        needs: &[GIT, ENGINE],
        run: |provided| task(&["pipeline", "--real"], provided),
    },
    Step {
        name: "deny",
        what: "licences, sources, bans, advisories of the dependencies",
        needs: &[GIT],
        run: deny,
    },
];

fn fmt(_: &Provided) -> Result<Ended> {
    finish(cargo(&["fmt", "--all", "--check"]))
}

fn clippy(_: &Provided) -> Result<Ended> {
    // All targets are not all: tests that run only when they are asked for by name have to be named.
    for targets in [&["--all-targets"][..], &["--test", "*"]] {
        let mut command = cargo(&["clippy", "--workspace", "--locked"]);
        command.args(targets).args(["--", "-D", "warnings"]);
        let ended = finish(command)?;
        if !matches!(ended, Ended::Passed(_)) {
            return Ok(ended);
        }
    }
    Ok(Ended::Passed(Count::default()))
}

fn doc(_: &Provided) -> Result<Ended> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    // Modules tell who reads the source where their private parts are.
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    finish(command)
}

fn unit(provided: &Provided) -> Result<Ended> {
    finish(provided.to_tests(cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "e2e",
        "--locked",
        "--lib",
        "--bins",
        "--no-fail-fast",
    ])))
}

fn client(provided: &Provided) -> Result<Ended> {
    finish(provided.to_tests(cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "e2e",
        "--locked",
        "--test",
        "*",
        "--no-fail-fast",
    ])))
}

fn doctest(_: &Provided) -> Result<Ended> {
    finish(cargo(&["test", "--workspace", "--locked", "--doc", "--no-fail-fast"]))
}

fn demo(_: &Provided) -> Result<Ended> {
    let manifest = workspace_root().join("tests/demo/app/Cargo.toml");
    let with_manifest = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.arg("--manifest-path").arg(&manifest);
        command
    };
    for command in [with_manifest(&["fmt", "--check"]), {
        let mut command = with_manifest(&["clippy", "--all-targets", "--locked"]);
        command.args(["--", "-D", "warnings"]);
        command
    }] {
        let ended = finish(command)?;
        if !matches!(ended, Ended::Passed(_)) {
            return Ok(ended);
        }
    }
    finish(with_manifest(&["test", "--locked", "--quiet"]))
}

fn e2e(provided: &Provided) -> Result<Ended> {
    let mut command = provided.to_tests(end_to_end("suite"));
    // A test waits for its services for more than half of its time.
    command.args(["--", "--test-threads", "4"]);
    finish(command)
}

/// Runs one test program of the package `e2e`. It is asked for by name in the whole workspace, not by its package: of another
/// selection of packages the dependencies have other features, and all of them would be compiled once more.
fn end_to_end(name: &str) -> Command {
    cargo(&["test", "--workspace", "--locked", "--no-fail-fast", "--test", name])
}

fn faults(provided: &Provided) -> Result<Ended> {
    let mut command = provided.to_tests(end_to_end("fault_table"));
    // Every table at once: what bounds the load is how many cells run at a time, over all tables.
    command.args(["--", "--test-threads", "16"]);
    finish(command)
}

fn twins(provided: &Provided) -> Result<Ended> {
    finish(provided.to_tests(end_to_end("twin")))
}

/// A task of this program. It starts by itself what is not provided.
fn task(arguments: &[&str], provided: &Provided) -> Result<Ended> {
    finish(provided.to(xtask(arguments)?))
}

fn deny(_: &Provided) -> Result<Ended> {
    let program = cargo_deny()?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(workspace_root());
        command
    };
    let ended = finish(deny(&["--locked", "check", "bans", "licenses", "sources"]))?;
    if !matches!(ended, Ended::Passed(_)) {
        return Ok(ended);
    }
    // The database of advisories is a git repository elsewhere. Where it cannot be had, nothing can be said.
    let fetched =
        children::run(deny(&["fetch", "db"]).stdout(Stdio::null()).stderr(Stdio::null()))?;
    if !fetched.success() {
        println!("advisories: not checked, the database of advisories cannot be had here");
        return Ok(ended);
    }
    finish(deny(&["--locked", "check", "--disable-fetch", "advisories"]))
}

/// cargo-deny of the pinned version: from PATH, from the cache, or built into the cache.
fn cargo_deny() -> Result<PathBuf> {
    let is_it = |program: &Path| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).trim().ends_with(CARGO_DENY)
        })
    };
    let on_path = PathBuf::from("cargo-deny");
    if is_it(&on_path) {
        return Ok(on_path);
    }
    let root = cache().join(format!("cargo-deny-{CARGO_DENY}"));
    let cached = root.join("bin/cargo-deny");
    if is_it(&cached) {
        return Ok(cached);
    }
    println!(
        "Building cargo-deny {CARGO_DENY} into {} (about five minutes, once) …",
        root.display()
    );
    let mut install =
        cargo(&["install", "--locked", "--version", CARGO_DENY, "cargo-deny", "--root"]);
    // Its own target folder, which cargo removes: ours would keep a hundred crates that nothing else uses.
    install.arg(&root).env_remove("CARGO_TARGET_DIR");
    let status = children::run(&mut install)?;
    if !status.success() {
        bail!("cargo-deny {CARGO_DENY} does not build: {status}");
    }
    Ok(cached)
}

/// Where programs are kept that clones share.
fn cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME")
        .or_else(|| Some(set("HOME")?.join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("verbatim")
}

pub(super) fn cargo(arguments: &[&str]) -> Command {
    let mut command = needs::cargo();
    command.args(arguments).current_dir(workspace_root());
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// Runs the last command of a step: its output is shown as it comes, and its tests are counted.
fn finish(mut command: Command) -> Result<Ended> {
    let mut count = Count::default();
    let mut broken = None;
    let status = children::run_with(command.stdout(Stdio::piped()), |child| {
        let shown =
            child.stdout.take().map(|pipe| show(pipe, &mut io::stdout().lock(), &mut count));
        broken = shown.and_then(Result::err);
    })?;
    if let Some(error) = broken {
        return Err(error).context("failed to read the output");
    }
    Ok(if status.success() {
        Ended::Passed(count)
    } else {
        Ended::Failed(count, status.to_string())
    })
}

fn show(pipe: impl io::Read, out: &mut impl Write, count: &mut Count) -> io::Result<()> {
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        out.write_all(&line)?;
        count.add_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Program::Sh.command();
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tests_are_counted_while_the_output_is_shown() {
        let text = "test result: ok. 2 passed; 0 failed;
more
test result: FAILED. 4 passed; 1 failed;
";
        let (mut out, mut count) = (Vec::new(), Count::default());
        show(text.as_bytes(), &mut out, &mut count).unwrap();
        assert_eq!(out, text.as_bytes());
        assert_eq!(count, Count { passed: 6, failed: 1 });
        assert!(matches!(finish(shell("true")).unwrap(), Ended::Passed(_)));
        assert!(matches!(finish(shell("false")).unwrap(), Ended::Failed(..)));
    }
}
