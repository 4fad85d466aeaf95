//! The steps of `cargo xtask ci --deep`: what takes too long for every change. Each writes a page of docs/evidence.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use needs::{Program, Service, workspace_root};
use serde::Deserialize;

use super::count::Count;
use super::evidence::Page;
use super::needs::{Need, Provided};
use super::steps::{self, INTERLEAVED, Step, Work, cargo, fault_table, finish, interleaved};
use super::{Ended, Failure, fresh};
use crate::cargo_tools::CARGO_MUTANTS;
use crate::testing;

/// All deep steps in their order.
pub(super) const DEEP: &[Step] = &[
    Step {
        name: "faults",
        what: "Every fault of every service, at every request of build, promote and test",
        minutes: 5,
        needs: &[Need::Program(Program::Git), Need::Service(Service::Engine)],
        work: Work::Deep(faults),
    },
    Step {
        name: "kills",
        what: "A promotion is killed at each of its requests, and the next run has to cope",
        minutes: 6,
        needs: &[Need::Program(Program::Git)],
        work: Work::Deep(kills),
    },
    Step {
        name: "interleavings",
        what: "Our writes and those of others to one application of the real Argo CD, side by side",
        minutes: 5,
        needs: INTERLEAVED,
        work: Work::Deep(interleavings),
    },
    Step {
        name: "model",
        what: "Every order of steps of our writes, the server, the controller and other clients, in a model",
        minutes: 10,
        needs: &[],
        work: Work::Deep(model),
    },
    Step {
        name: "fuzz",
        what: "Readers of what strangers write, fed by libFuzzer",
        minutes: 60,
        needs: &[Need::Program(Program::Cxx)],
        work: Work::Deep(fuzz),
    },
    Step {
        name: "attach",
        what: "Twenty processes attach to one image at the same moment, a hundred times",
        minutes: 3,
        needs: &[],
        work: Work::Deep(attach),
    },
    Step {
        name: "advisories",
        what: "Known faults of the dependencies",
        minutes: 1,
        needs: &[Need::Program(Program::Git)],
        work: Work::Deep(advisories),
    },
    Step {
        name: "mutants",
        what: "Mutants of the policy, the records and the judge that no unit test finds",
        minutes: 80,
        needs: &[Need::Program(Program::Git)],
        work: Work::Deep(mutants),
    },
    Step {
        name: "fresh-machine",
        what: "Each step of ci alone, on a Debian with a Rust and a Go toolchain and nothing else",
        minutes: 30,
        needs: &[
            Need::Program(Program::Debootstrap),
            Need::Program(Program::Git),
            Need::Program(Program::Unshare),
        ],
        work: Work::Deep(fresh::run),
    },
];

fn faults(provided: &Provided, page: &mut Page) -> Result<Ended> {
    let ended = fault_table(provided, 1, &["--skip", KILLS])?;
    // One file a scene; a scene says in its first line how many cells it had.
    let scenes = results("faults-")?;
    page.figure("scenes", scenes.len());
    let cells = scenes.values().filter_map(|text| text.split(' ').next()?.parse::<usize>().ok());
    page.figure("cells", cells.sum::<usize>());
    page.text(
        "The exit status of each cell; docs/faults.md has the rules. If a cell has several, each was seen. An empty cell is not tried.\n\n",
    );
    for text in scenes.values() {
        page.text(text);
    }
    Ok(ended)
}

/// The tests that kill, in the same program as the table of faults.
const KILLS: &str = "kill::";

fn kills(provided: &Provided, page: &mut Page) -> Result<Ended> {
    let ended = fault_table(provided, 1, &[KILLS])?;
    page.text(
        "A promotion is killed at each of its requests, before the request takes effect and after it. The next run, on \
         another machine, finishes it or goes back; then each application holds what the ledger says, its claim is \
         closed, and the ledger is whole.\n\n\
         | scene | kill points | finished | went back | not reached |\n|---|---|---|---|---|\n",
    );
    for row in results("kills-")?.values() {
        page.text(row);
    }
    Ok(ended)
}

fn interleavings(provided: &Provided, page: &mut Page) -> Result<Ended> {
    let ended = interleaved(provided, 1000)?;
    page.text(
        "In each round a run of ours (values with their claim, back to the values before, an annotation, or a whole \
         deployment; through Argo CD, or the values through the Kubernetes API) and one to three other writers change the \
         same application: the real `argocd`, patches of the Kubernetes API, and the controller of an ApplicationSet that owns \
         one application in four. A watch on the Kubernetes API is the judge. A change of somebody else that our write took \
         back must have been told, and through the Kubernetes API none may be taken back.\n\n\
         | rounds | deployments proven | ours refused or overwritten | changes we took back, told | not told, as the watch \
         was blind | taken back by others |\n|---|---|---|---|---|---|\n",
    );
    for row in results("interleavings")?.values() {
        page.text(row);
    }
    Ok(ended)
}

fn model(_: &Provided, page: &mut Page) -> Result<Ended> {
    let tests = ["test", "--package", "verbatim-argocd", "--lib"];
    let ended = finish(cargo(&[&tests[..], &["explored::", "--", "--include-ignored"]].concat()))?;
    let rows: Vec<String> = results("model")?.into_values().collect();
    let rows = rows.concat();
    let states = rows.lines().filter_map(|row| row.split('|').nth(2)?.trim().parse::<usize>().ok());
    page.figure("states", states.sum::<usize>());
    page.text(
        "A small model of Argo CD (requests that read first and write the whole object later, a watch that is late, the \
         controller, an ApplicationSet, other clients) and runs of ours, which decide with the functions of the real ones, \
         are explored exhaustively: every order of steps. In no state that can be reached does a run end with 0 and other \
         values stand, is a change of somebody else gone that was not told, or can the next run not go on. Without any one \
         of the rules the exploration finds a broken promise, which a test shows.\n\n\
         | world | states | ends | took |\n|---|---|---|---|\n",
    );
    page.text(&rows);
    Ok(ended)
}

/// What tests have left in `target/tmp`, by the names of the files.
fn results(prefix: &str) -> Result<BTreeMap<String, String>> {
    let folder = workspace_root().join("target/tmp");
    let mut results = BTreeMap::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(".md") {
            results.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(results)
}

fn fuzz(provided: &Provided, page: &mut Page) -> Result<Ended> {
    let tried = testing::fuzz_all(provided.seed)?;
    page.figure("inputs", tried.iter().map(|it| it.inputs).sum::<u64>());
    page.text(
        "libFuzzer chooses the inputs and keeps those that reach new code; the readers are built with every check of the \
         compiler. A target is broken by a panic, by an input that takes ten seconds or two gibibytes, or by a promise that does \
         not hold, such as that what is printed is read as the same. `tests/fuzz/src/targets.rs` has them; `cargo test` reads \
         `tests/fuzz/corpus`.\n\n\
         | target | inputs | took | broken by |\n|---|---|---|---|\n",
    );
    for it in &tried {
        let broken = it.broken_by.as_deref().unwrap_or("none");
        page.text(&format!(
            "| {} | {} | {} s | {broken} |\n",
            it.target,
            it.inputs,
            it.took.as_secs()
        ));
    }
    let broken = tried.iter().filter(|it| it.broken_by.is_some()).count();
    Ok(match broken {
        0 => Ended::Passed(Count::default()),
        _ => Ended::Failed(Failure::new(format!("{broken} targets were broken"))),
    })
}

fn advisories(_: &Provided, page: &mut Page) -> Result<Ended> {
    let ended = steps::advisories()?;
    // The servers and tools of tests are written in Go. What is known of them is told, and stops nobody.
    let go = match rig::tools::known_faults()? {
        Some(said) => said,
        None => "not checked, the database of Go cannot be had".to_owned(),
    };
    page.figure("Go modules of the tests", go);
    Ok(ended.unwrap_or_else(|| {
        Ended::Failed(Failure::new("the database of advisories cannot be had here".to_owned()))
    }))
}

fn attach(_: &Provided, page: &mut Page) -> Result<Ended> {
    let (processes, rounds) = (20, 100);
    let attached = testing::attach(processes, rounds, None)?;
    page.figure("documents", attached.all);
    page.figure("listed afterwards", attached.listed());
    page.figure("refused, and the process said so", attached.refused);
    page.figure("lost", attached.lost);
    Ok(match attached.verdict() {
        Ok(()) => Ended::Passed(Count::default()),
        Err(error) => Ended::Failed(Failure::new(error.to_string())),
    })
}

/// What is mutated, and whose unit tests have to notice.
const MUTATED: [&str; 3] = [
    "crates/verbatim-policy/**",
    "crates/verbatim-record/**",
    "crates/verbatim-argocd/src/judge/**",
];
/// One mutant in so many is tried: about 300 of 1,500.
const MUTANT_SHARDS: u64 = 5;

fn mutants(provided: &Provided, page: &mut Page) -> Result<Ended> {
    let out = tempfile::tempdir().context("failed to create a folder")?;
    let mut command = Command::new(CARGO_MUTANTS.get()?);
    command.args(["mutants", "--no-times", "--jobs", "1", "--timeout", "600"]);
    command.args(["--build-timeout", "900", "--sharding", "round-robin", "--shard"]);
    command.arg(format!("{}/{MUTANT_SHARDS}", provided.seed % MUTANT_SHARDS));
    for package in ["verbatim-policy", "verbatim-record", "verbatim-argocd"] {
        command.args(["--package", package]);
    }
    for files in MUTATED {
        command.args(["--file", files]);
    }
    command.arg("--output").arg(out.path()).args(["--", "--lib"]);
    let ended = finish(provided.to(command))?;
    let found = Mutants::read(&out.path().join("mutants.out"))?;
    page.figure("tried", found.total_mutants);
    page.figure("noticed by a test", found.caught + found.timeout);
    page.figure("do not compile", found.unviable);
    page.figure("missed", found.missed);
    for line in found.missed_lines.lines() {
        page.text(&format!("- `{line}`\n"));
    }
    Ok(match ended {
        // It counts no tests, and ends with 2 if it missed a mutant.
        Ended::Failed(..) if found.missed > 0 => {
            Ended::Failed(Failure::new(format!("{} mutants were missed", found.missed)))
        }
        other => other,
    })
}

/// `outcomes.json` and `missed.txt` of cargo-mutants: <https://mutants.rs/mutants-out.html>.
#[derive(Debug, Deserialize)]
struct Mutants {
    total_mutants: usize,
    caught: usize,
    missed: usize,
    timeout: usize,
    unviable: usize,
    #[serde(skip)]
    missed_lines: String,
}

impl Mutants {
    fn read(folder: &Path) -> Result<Mutants> {
        let outcomes = fs::read(folder.join("outcomes.json")).context("no outcomes of mutants")?;
        let mut found: Mutants = serde_json::from_slice(&outcomes)?;
        found.missed_lines = fs::read_to_string(folder.join("missed.txt")).unwrap_or_default();
        Ok(found)
    }
}
