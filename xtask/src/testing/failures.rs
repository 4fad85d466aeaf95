//! `cargo xtask test failures`: runs exactly the tests that docs/failure-modes.md names, and tells the result of each row.
//!
//! Tests that need a service look for it as always: those whose service is not named say so and count as not run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use needs::{cargo, workspace_root};
use rig::engine::children;

use crate::failure_modes::{PAGE, Row, TestName, TestProgram, rows};

/// One cell in so many of the fault table, and of the places where a run is killed; `ci --deep` tries all.
const FAULT_SAMPLE: (&str, &str) = ("VERBATIM_FAULT_SAMPLE", "0/8");

/// The arguments of this suite.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask test failures                       # all tests that the page names, in minutes
  cargo xtask test failures --list                # the rows, without running anything
  cargo xtask test failures --filter 'suite back' # the rows with this in their text or their tests

Tests that need a real Argo CD and a Docker Engine run if VERBATIM_RIG and VERBATIM_TEST_DOCKER_HOST name them.")]
pub(super) struct Args {
    /// Print the rows, and run nothing
    #[arg(long)]
    list: bool,
    /// Only rows with this in their text or in the name of a test
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// What it lacks.
    NotHere(String),
    /// What it printed.
    Failed(String),
}

/// How a row ended, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Passed,
    NotYet,
    NotHere,
    Failed,
}

impl Mark {
    const fn word(self) -> &'static str {
        match self {
            Mark::Passed => "ok",
            Mark::NotYet => "not yet",
            Mark::NotHere => "not run here",
            Mark::Failed => "FAILED",
        }
    }
}

/// How the tests of one program ended, by their paths.
type Outcomes = BTreeMap<String, Outcome>;

/// Runs the suite.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let path = workspace_root().join(PAGE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut rows = rows(&text).map_err(|faults| {
        let (line, fault) = &faults[0];
        anyhow::anyhow!("{PAGE}:{line}: {fault}")
    })?;
    rows.retain(|row| matches(row, &args.filter));
    if rows.is_empty() {
        bail!("no row has `{}` in it", args.filter);
    }
    if args.list {
        for row in &rows {
            println!("{}", shown(row, ""));
        }
        println!("{} rows", rows.len());
        return Ok(());
    }
    let mut ended = BTreeMap::new();
    for (program, paths) in programs(&rows) {
        eprintln!("{program}: {} tests", paths.len());
        let outcomes = run_program(program, &paths)?;
        ended.insert(program, outcomes);
    }
    let mut count = BTreeMap::new();
    let mut details = String::new();
    for row in &rows {
        let (mark, why) = judge(row, &ended);
        *count.entry(mark).or_insert(0_usize) += 1;
        println!("{}", shown(row, mark.word()));
        if !why.is_empty() {
            details.push_str(&format!("{PAGE}:{}: {}\n{why}", row.line, mark.word()));
        }
    }
    let number = |mark: Mark| count.get(&mark).copied().unwrap_or_default();
    print!("{details}");
    println!("{} not run here, {} not yet", number(Mark::NotHere), number(Mark::NotYet));
    println!("{} passed, {} failed", number(Mark::Passed), number(Mark::Failed));
    if number(Mark::Failed) > 0 {
        bail!("{} rows failed", number(Mark::Failed));
    }
    Ok(())
}

fn matches(row: &Row, filter: &str) -> bool {
    row.what.contains(filter) || row.tests.iter().any(|(test, _)| test.to_string().contains(filter))
}

/// The tests of the rows, each once, by their programs.
fn programs(rows: &[Row]) -> BTreeMap<&TestProgram, BTreeSet<&str>> {
    let mut programs: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for TestName { program, path } in rows.iter().flat_map(|row| &row.tests).map(|(test, _)| test) {
        programs.entry(program).or_default().insert(path);
    }
    programs
}

fn shown(row: &Row, mark: &str) -> String {
    let servers: BTreeSet<&str> = row.tests.iter().map(|(_, server)| server.as_str()).collect();
    let servers = Vec::from_iter(servers).join(", ");
    let mut text = format!("{mark:<12}  {servers:<21}  {}", row.what);
    for (test, _) in &row.tests {
        text.push_str(&format!("\n{:37}{test}", ""));
    }
    text.trim_start().to_owned()
}

/// Runs these tests of one program. What cargo says of its work is shown, what the tests print is read.
fn run_program(program: &TestProgram, paths: &BTreeSet<&str>) -> anyhow::Result<Outcomes> {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]).args(program.selection());
    command.args(["--", "--exact", "--show-output"]);
    if matches!(program, TestProgram::EndToEnd(_)) {
        // As `cargo xtask ci` does: such a test waits for more than half of its time.
        command.args(["--test-threads", "4"]);
    }
    command.args(paths).current_dir(workspace_root());
    if std::env::var_os(FAULT_SAMPLE.0).is_none() {
        command.env(FAULT_SAMPLE.0, FAULT_SAMPLE.1);
    }
    let (mut output, mut broken) = (Vec::new(), None);
    children::run_with(command.stdout(Stdio::piped()), |child| {
        broken = child.stdout.take().and_then(|mut pipe| pipe.read_to_end(&mut output).err());
    })?;
    if let Some(error) = broken {
        return Err(error).context("cannot read what the tests print");
    }
    Ok(outcomes(&String::from_utf8_lossy(&output)))
}

/// What the harness prints, read: `test PATH ... ok`, and below `---- PATH stdout ----` what the test printed.
fn outcomes(output: &str) -> Outcomes {
    let mut outcomes = BTreeMap::new();
    for line in output.lines() {
        let Some((path, word)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        let outcome = match word {
            "ok" => Outcome::Passed,
            word if word.starts_with("ignored") => Outcome::NotHere(word.to_owned()),
            _ => Outcome::Failed(String::new()),
        };
        outcomes.insert(path.to_owned(), outcome);
    }
    for (path, text) in printed(output) {
        match outcomes.get_mut(path) {
            Some(Outcome::Failed(told)) => *told = text,
            Some(passed @ Outcome::Passed) => {
                // A test that lacks a service says so and passes, see the package `needs`.
                if let Some(why) = text.lines().find_map(|line| line.strip_prefix("skipped: ")) {
                    *passed = Outcome::NotHere(why.to_owned());
                }
            }
            _ => {}
        }
    }
    outcomes
}

/// What each test printed.
fn printed(output: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in output.lines() {
        let head = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(path) = head {
            found.push((path, String::new()));
        } else if line == "successes:" || line == "failures:" {
            // Nobody's: the lists of names that end each part.
            found.push(("", String::new()));
        } else if let Some((_, text)) = found.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

/// How a row ended: as the worst of its tests, with what there is to say of each that did not pass.
fn judge(row: &Row, ended: &BTreeMap<&TestProgram, Outcomes>) -> (Mark, String) {
    let mut mark = if row.missing { Mark::NotYet } else { Mark::Passed };
    let mut told = String::new();
    for (test, _) in &row.tests {
        let outcome = ended.get(&test.program).and_then(|outcomes| outcomes.get(&test.path));
        let (this, why) = match outcome {
            Some(Outcome::Passed) => continue,
            Some(Outcome::NotHere(why)) => (Mark::NotHere, why.as_str()),
            Some(Outcome::Failed(why)) => (Mark::Failed, why.trim_end()),
            None => (Mark::Failed, "it did not run: no test has this name, or nothing was built"),
        };
        mark = mark.max(this);
        told.push_str(&format!("  {test}: {why}\n"));
    }
    (mark, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 4 tests
test back::a ... ok
test back::b ... ok
test back::c ... FAILED
test back::d ... ok

successes:

---- back::a stdout ----
something
---- back::b stdout ----
skipped: VERBATIM_RIG does not name a rig

successes:
    back::a
    back::b
    back::d

failures:

---- back::c stdout ----
thread 'back::c' panicked: 1 is not 2

failures:
    back::c

test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 30 filtered out; finished in 0.10s
";

    fn page(tests: &str, does: &str) -> Vec<Row> {
        let text = format!(
            "| what happens | what verbatim does | test | server |\n|---|---|---|---|\n| it ends | {does} | {tests} | pure |\n"
        );
        rows(&text).unwrap()
    }

    #[test]
    fn a_row_ends_as_the_worst_of_its_tests() {
        for (tests, does, want, told) in [
            ("`suite back::a`", "1", Mark::Passed, ""),
            ("`suite back::a`", "1; the rest not yet", Mark::NotYet, ""),
            ("`suite back::a`, `suite back::b`", "1", Mark::NotHere, "VERBATIM_RIG"),
            ("`suite back::c`, `suite back::b`", "1", Mark::Failed, "1 is not 2"),
            ("`suite back::d`, `suite back::e`", "1", Mark::Failed, "back::e: it did not run"),
            ("`suite back::d`, `twin back::d`", "1", Mark::Failed, "twin back::d: it did not run"),
        ] {
            let rows = page(tests, does);
            let program = TestProgram::EndToEnd("suite".to_owned());
            let ended = BTreeMap::from([(&program, outcomes(OUTPUT))]);
            let (mark, why) = judge(&rows[0], &ended);
            assert_eq!(mark, want, "{tests}");
            assert!(why.contains(told), "{tests}: {why}");
            assert_eq!(why.is_empty(), told.is_empty(), "{tests}: {why}");
        }
    }

    #[test]
    fn what_a_test_printed_is_its_own() {
        let outcomes = outcomes(OUTPUT);
        assert_eq!(outcomes.len(), 4);
        let told = "thread 'back::c' panicked: 1 is not 2\n\n".to_owned();
        assert_eq!(outcomes["back::c"], Outcome::Failed(told));
    }

    #[test]
    fn each_test_runs_once_and_rows_are_chosen_by_their_text() {
        let rows = page("`suite a`, `suite a`, `argocd lib b`", "1");
        let programs = programs(&rows);
        assert_eq!(programs.len(), 2);
        assert!(programs.values().all(|paths| paths.len() == 1), "{programs:?}");
        assert!(matches(&rows[0], "ends") && matches(&rows[0], "argocd lib"));
        assert!(!matches(&rows[0], "begins"));
    }
}
