//! The steps of `cargo xtask ci`, as a table: the cheap ones first, so that a slip is told in the first minute.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use needs::{Program, Service};

use super::count::Count;
use super::evidence::Page;
use super::excerpt::Excerpt;
use super::needs::{Need, Provided};
use super::{Ended, Failure, children};
use crate::cargo_tools::{CARGO_DENY, CARGO_MACHETE};
use needs::workspace_root;
use rig::lease::xtask;

/// One cell in this many of the fault table; all of them are a step of `ci --deep`.
const FAULT_SAMPLE: u32 = 8;

pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// How long it takes on two cores where all is built, in minutes; 0 for less than one.
    pub(super) minutes: u32,
    /// What is installed, built and started before it, and all that its tests may ask for.
    pub(super) needs: &'static [Need],
    pub(super) work: Work,
}

pub(super) enum Work {
    /// In every `ci`.
    Plain(fn(&Provided) -> Result<Ended>),
    /// In `ci --deep`; what it finds goes to its page.
    Deep(fn(&Provided, &mut Page) -> Result<Ended>),
}

const GIT: Need = Need::Program(Program::Git);
const SH: Need = Need::Program(Program::Sh);
const ENGINE: Need = Need::Service(Service::Engine);
const RIG: Need = Need::Service(Service::Rig);
const COSIGN: Need = Need::Service(Service::Cosign);
const REGISTRY: Need = Need::Service(Service::Registry);
const VECTORS: Need = Need::Service(Service::Vectors);

/// An SSH server of a test, its keys, and the client that git runs.
const SSH: [Need; 4] = [
    Need::Program(Program::Sshd),
    Need::Program(Program::SshKeygen),
    Need::Program(Program::Ssh),
    Need::Program(Program::Id),
];

/// All steps in their order.
pub(super) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        what: "the sources are formatted",
        minutes: 0,
        needs: &[],
        work: Work::Plain(fmt),
    },
    Step {
        name: "spelling",
        what: "no word is misspelt",
        minutes: 0,
        needs: &[GIT, Need::Program(Program::Codespell)],
        work: Work::Plain(spelling),
    },
    Step { name: "clippy", what: "no warnings", minutes: 1, needs: &[], work: Work::Plain(clippy) },
    Step {
        name: "tidy",
        what: "the rules that the compiler does not know",
        minutes: 0,
        needs: &[GIT],
        work: Work::Plain(|provided| task(&["tidy"], provided)),
    },
    Step {
        name: "codegen",
        what: "generated files are current",
        minutes: 0,
        needs: &[],
        work: Work::Plain(|provided| task(&["codegen", "--check"], provided)),
    },
    Step {
        name: "doc",
        what: "the documentation builds without warnings",
        minutes: 0,
        needs: &[],
        work: Work::Plain(doc),
    },
    Step {
        name: "unit",
        what: "unit tests",
        minutes: 1,
        needs: &[GIT, SH, VECTORS],
        work: Work::Plain(unit),
    },
    Step {
        name: "client",
        what: "clients and commands against servers in the test",
        minutes: 5,
        needs: &[
            GIT,
            SH,
            Need::Program(Program::Docker),
            Need::Program(Program::Kill),
            Need::Program(Program::Tar),
            ENGINE,
            COSIGN,
            REGISTRY,
            VECTORS,
            RIG,
        ],
        work: Work::Plain(client),
    },
    Step {
        name: "doctest",
        what: "examples in the documentation",
        minutes: 0,
        needs: &[],
        work: Work::Plain(doctest),
    },
    Step {
        name: "demo",
        what: "the demo application builds, warns of nothing, passes its tests",
        minutes: 0,
        needs: &[],
        work: Work::Plain(demo),
    },
    Step {
        name: "e2e",
        what: "the real binaries on a real engine, registry and Argo CD",
        minutes: 3,
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
        work: Work::Plain(e2e),
    },
    Step {
        name: "install",
        what: "the installer of a release, in dash and in busybox, against right and wrong answers",
        minutes: 0,
        needs: &[
            Need::Program(Program::Busybox),
            Need::Program(Program::Curl),
            Need::Program(Program::Openssl),
            Need::Program(Program::Sh),
            Need::Program(Program::Tar),
        ],
        work: Work::Plain(install),
    },
    Step {
        name: "faults",
        what: "faults of every service at requests of build, promote and test: one cell in eight",
        minutes: 1,
        needs: &[GIT, ENGINE],
        work: Work::Plain(faults),
    },
    Step {
        name: "attach",
        what: "many processes attach to one image at the same moment: three rounds of a hundred",
        minutes: 0,
        needs: &[],
        work: Work::Plain(|provided| task(&["test", "attach", "--rounds", "3"], provided)),
    },
    Step {
        name: "twins",
        what: "every Argo CD command and that of the real argocd, on applications alike",
        minutes: 2,
        // What is compared is the objects, and containers would only take time.
        needs: &[Need::Binaries, GIT, SSH[0], SSH[1], SSH[2], SSH[3], Need::RigWithoutPods],
        work: Work::Plain(twins),
    },
    Step {
        name: "servers",
        what: "one set of cases on the simulated and the real Argo CD",
        minutes: 1,
        needs: &[GIT, ENGINE, RIG],
        work: Work::Plain(|provided| task(&["test", "servers"], provided)),
    },
    Step {
        name: "pipeline",
        what: "one release through three environments, on the simulated Argo CD",
        minutes: 0,
        needs: &[GIT, ENGINE],
        work: Work::Plain(|provided| task(&["pipeline"], provided)),
    },
    Step {
        name: "stopped",
        what: "a build that answers wrongly stops in dev",
        minutes: 0,
        needs: &[GIT, ENGINE],
        work: Work::Plain(|provided| task(&["pipeline", "--demo-fault", "wrong-answer"], provided)),
    },
    Step {
        name: "engineless",
        what: "the same release where no engine can be had",
        minutes: 0,
        needs: &[GIT],
        work: Work::Plain(|provided| task(&["pipeline", "--no-engine"], provided)),
    },
    Step {
        name: "real",
        what: "the same release on a real Argo CD",
        minutes: 0,
        needs: &[GIT, ENGINE],
        work: Work::Plain(|provided| task(&["pipeline", "--real"], provided)),
    },
    Step {
        name: "unused",
        what: "no dependency that nothing uses",
        minutes: 0,
        needs: &[],
        work: Work::Plain(unused),
    },
    Step {
        name: "deny",
        what: "licences, sources, bans, advisories of the dependencies",
        minutes: 0,
        needs: &[GIT],
        work: Work::Plain(deny),
    },
];

fn fmt(_: &Provided) -> Result<Ended> {
    finish(cargo(&["fmt", "--all", "--check"]))
}

/// What is misspelt on purpose, and which words are not ours, says `.codespellrc`.
fn spelling(_: &Provided) -> Result<Ended> {
    let listed = Program::Git
        .command()
        .args([
            "ls-files",
            "-z",
            "--",
            ":!*.lock",
            ":!*go.sum",
            ":!*/fixtures/*",
            ":!*.snap",
            ":!tests/fuzz/corpus/*",
        ])
        .current_dir(workspace_root())
        .output()
        .context("failed to run git")?;
    let names = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;
    let mut command = Program::Codespell.command();
    command.args(names.split_terminator('\0')).current_dir(workspace_root());
    finish(command)
}

fn unused(_: &Provided) -> Result<Ended> {
    let mut command = Command::new(CARGO_MACHETE.get()?);
    command.args(["--skip-target-dir", "."]).current_dir(workspace_root());
    finish(command)
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
    command.env(INTERLEAVINGS, format!("{}/24", provided.seed));
    // A test waits for its services for more than half of its time.
    command.args(["--", "--test-threads", "4"]);
    finish(command)
}

/// How many rounds of interleaved writes are tried, and with which seed.
const INTERLEAVINGS: &str = "VERBATIM_INTERLEAVINGS";

/// What [`interleaved`] needs.
pub(super) const INTERLEAVED: &[Need] = &[Need::Binaries, GIT, Need::RigWithoutPods];

/// Has our writes and those of others meet on the real Argo CD, in so many rounds.
pub(super) fn interleaved(provided: &Provided, rounds: u32) -> Result<Ended> {
    let mut command = provided.to_tests(end_to_end("suite"));
    command.env(INTERLEAVINGS, format!("{}/{rounds}", provided.seed));
    command.args(["--", "interleaved::"]);
    finish(command)
}

/// Runs one test program of the package `e2e`. It is asked for by name in the whole workspace, not by its package: of another
/// selection of packages the dependencies have other features, and all of them would be compiled once more.
fn end_to_end(name: &str) -> Command {
    cargo(&["test", "--workspace", "--locked", "--no-fail-fast", "--test", name])
}

fn faults(provided: &Provided) -> Result<Ended> {
    fault_table(provided, FAULT_SAMPLE, &[])
}

/// Tries one cell in so many, of the tables that `which` of the harness's arguments choose.
pub(super) fn fault_table(provided: &Provided, of: u32, which: &[&str]) -> Result<Ended> {
    let mut command = provided.to_tests(end_to_end("fault_table"));
    command.env("VERBATIM_FAULT_SAMPLE", format!("{}/{of}", provided.seed));
    // Every table at once: what bounds the load is how many cells run at a time, over all tables.
    command.args(["--", "--test-threads", "16"]).args(which);
    finish(command)
}

fn install(provided: &Provided) -> Result<Ended> {
    finish(provided.to_tests(end_to_end("install")))
}

fn twins(provided: &Provided) -> Result<Ended> {
    finish(provided.to_tests(end_to_end("twin")))
}

/// A task of this program. It starts by itself what is not provided.
fn task(arguments: &[&str], provided: &Provided) -> Result<Ended> {
    finish(provided.to(xtask(arguments)?))
}

fn deny(_: &Provided) -> Result<Ended> {
    for manifest in LOCKED {
        let ended = finish(cargo_deny(manifest, &["check", "bans", "licenses", "sources"])?)?;
        if !matches!(ended, Ended::Passed(_)) {
            return Ok(ended);
        }
    }
    match advisories()? {
        Some(ended) => Ok(ended),
        // `ci --deep` does not let this pass.
        None => {
            println!("advisories: not checked, the database of advisories cannot be had here");
            Ok(Ended::Passed(Count::default()))
        }
    }
}

/// The packages with a lock file of their own.
const LOCKED: &[&str] = &["Cargo.toml", "tests/demo/app/Cargo.toml"];

/// Whether known faults concern the dependencies. `None`: the database of advisories, a git repository elsewhere, cannot be
/// had.
pub(super) fn advisories() -> Result<Option<Ended>> {
    let mut fetch = cargo_deny("Cargo.toml", &["fetch", "db"])?;
    if !children::run(fetch.stdout(Stdio::null()).stderr(Stdio::null()))?.success() {
        return Ok(None);
    }
    for manifest in LOCKED {
        let ended = finish(cargo_deny(manifest, &["check", "--disable-fetch", "advisories"])?)?;
        if !matches!(ended, Ended::Passed(_)) {
            return Ok(Some(ended));
        }
    }
    Ok(Some(Ended::Passed(Count::default())))
}

fn cargo_deny(manifest: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(CARGO_DENY.get()?);
    command.args(["--locked", "--config", "deny.toml", "--manifest-path", manifest]);
    command.args(arguments).current_dir(workspace_root());
    Ok(command)
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
pub(super) fn finish(mut command: Command) -> Result<Ended> {
    let (mut count, mut excerpt) = (Count::default(), Excerpt::default());
    let mut broken = None;
    let status = children::run_with(command.stdout(Stdio::piped()), |child| {
        let mut line_read = |line: &str| {
            count.add_line(line);
            excerpt.add_line(line);
        };
        let shown =
            child.stdout.take().map(|pipe| show(pipe, &mut io::stdout().lock(), &mut line_read));
        broken = shown.and_then(Result::err);
    })?;
    if let Some(error) = broken {
        return Err(error).context("failed to read the output");
    }
    Ok(if status.success() {
        Ended::Passed(count)
    } else {
        Ended::Failed(Failure { count, reason: status.to_string(), told: excerpt.lines() })
    })
}

fn show(
    pipe: impl io::Read,
    out: &mut impl Write,
    line_read: &mut impl FnMut(&str),
) -> io::Result<()> {
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        out.write_all(&line)?;
        line_read(String::from_utf8_lossy(&line).trim_end());
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
        show(text.as_bytes(), &mut out, &mut |line: &str| count.add_line(line)).unwrap();
        assert_eq!(out, text.as_bytes());
        assert_eq!(count, Count { passed: 6, failed: 1 });
        assert!(matches!(finish(shell("true")).unwrap(), Ended::Passed(_)));
        let Ended::Failed(failure) = finish(shell("echo why; false")).unwrap() else { panic!() };
        assert_eq!(failure.told, ["why"]);
    }
}
