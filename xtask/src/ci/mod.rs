//! `cargo xtask ci`: everything that a change must pass, in order, each step with its time.
//!
//! With `--deep` the steps that take too long for that, whose results are kept in docs/evidence.
//!
//! The same command on a laptop and in CI. Every service that a step needs is started here and ended here. What a
//! step checks is the business of the tool that it calls; nothing is judged here.

mod count;
mod deep;
mod evidence;
mod excerpt;
mod fresh;
mod needs;
mod services;
mod steps;

use std::collections::BTreeSet;
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args as ClapArgs;

use rig::engine::children;

use self::count::Count;
use self::deep::DEEP;
use self::evidence::{About, Commit, Page};
use self::services::Services;
use self::steps::{STEPS, Step, Work};

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  cargo xtask ci\n  cargo xtask ci --only fmt --only clippy\n  cargo xtask ci --skip e2e\n  cargo xtask ci --deep --only faults"
)]
pub(crate) struct Args {
    /// Run only these steps
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Vec<String>,
    /// Leave these steps out
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    skip: Vec<String>,
    /// Run the steps that take too long for every change, and write docs/evidence
    #[arg(long)]
    deep: bool,
    /// What chooses samples [default: the commit]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Stop at the first step that fails
    #[arg(long)]
    fail_fast: bool,
    /// Print the steps, and run none
    #[arg(long)]
    list: bool,
}

fn step_names() -> clap::builder::PossibleValuesParser {
    let names: BTreeSet<_> = STEPS.iter().chain(DEEP).map(|step| step.name).collect();
    names.into_iter().collect::<Vec<_>>().into()
}

#[derive(Debug)]
enum Ended {
    /// It passed; with the tests it ran, if it runs tests.
    Passed(Count),
    /// It did not.
    Failed(Failure),
}

/// Why a step failed.
#[derive(Debug)]
struct Failure {
    /// The tests it ran, if it came that far.
    count: Count,
    /// In one line.
    reason: String,
    /// What it printed of it.
    told: Vec<String>,
}

impl Failure {
    fn new(reason: String) -> Self {
        Self { count: Count::default(), reason, told: Vec::new() }
    }
}

#[derive(Debug)]
struct Report {
    name: &'static str,
    took: Duration,
    ended: Ended,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (all, other) = if args.deep { (DEEP, "") } else { (STEPS, "--deep ") };
    let chosen: Vec<&Step> =
        all.iter().filter(|step| chosen(step.name, &args.only, &args.skip)).collect();
    if args.list {
        for step in &chosen {
            println!("{:<13} {}", step.name, step.what);
        }
        return Ok(());
    }
    if let Some(name) = args.only.iter().find(|name| all.iter().all(|step| step.name != **name)) {
        bail!("{name} is no step of this run; try: cargo xtask ci {other}--only {name}");
    }
    let commit = Commit::read()?;
    let seed = args.seed.unwrap_or_else(|| commit.seed());
    let today = jiff::Zoned::now().date().to_string();
    children::catch_signals()?;
    let start = Instant::now();
    let mut services = Services::new()?;
    let mut reports = Vec::new();
    for step in chosen {
        println!("\n── {}", heading(step));
        let began = Instant::now();
        let mut page = Page::default();
        let mut ended = needs::provide(step.needs, seed, &mut services)
            .and_then(|provided| match step.work {
                Work::Plain(run) => run(&provided),
                Work::Deep(run) => run(&provided, &mut page),
            })
            .unwrap_or_else(|error| Ended::Failed(Failure::new(format!("{error:#}"))));
        services.end_of_step();
        let took = began.elapsed();
        if args.deep && !children::interrupted() {
            let about = About {
                name: step.name,
                what: step.what,
                commit: &commit,
                seed,
                today: &today,
                took,
                ended: &ended,
            };
            if let Err(error) = page.write(&about) {
                ended = Ended::Failed(Failure::new(format!("{error:#}")));
            }
        }
        let report = Report { name: step.name, took, ended };
        println!("── {}", line(&report));
        let failed = matches!(report.ended, Ended::Failed(..));
        reports.push(report);
        if children::interrupted() || (failed && args.fail_fast) {
            break;
        }
    }
    let began = Instant::now();
    let stopped = services.stop();
    if stopped.is_err() || began.elapsed() > Duration::from_secs(1) {
        let ended = match &stopped {
            Ok(()) => Ended::Passed(Count::default()),
            Err(error) => Ended::Failed(Failure::new(format!("{error:#}"))),
        };
        reports.push(Report { name: "services", took: began.elapsed(), ended });
    }
    drop(services);
    children::stop_if_interrupted()?;
    let (text, failed) = summary(&reports, start.elapsed());
    println!("\n{text}");
    if failed > 0 {
        // Not an error for `main` to print: the last line is the one with the numbers.
        process::exit(1);
    }
    Ok(())
}

fn chosen(name: &str, only: &[String], skip: &[String]) -> bool {
    (only.is_empty() || only.iter().any(|one| one == name)) && skip.iter().all(|one| one != name)
}

/// What is printed before a step, so that nobody waits without knowing for how long.
fn heading(step: &Step) -> String {
    match step.minutes {
        0 => format!("{} · {}", step.name, step.what),
        minutes => format!("{} · {} (about {minutes} min)", step.name, step.what),
    }
}

/// One line about a step that ended.
fn line(report: &Report) -> String {
    let (mark, about) = match &report.ended {
        Ended::Passed(count) if count.total() > 0 => ("ok", format!("{} tests", count.total())),
        Ended::Passed(_) => ("ok", String::new()),
        Ended::Failed(failure) => ("FAILED", failure.reason.clone()),
    };
    format!("{:<13} {mark:<8} {:>7.1} s  {about}", report.name, report.took.as_secs_f64())
        .trim_end()
        .to_owned()
}

/// What failed, the table at the end, and how much failed. A step that runs no tests counts as one.
fn summary(reports: &[Report], took: Duration) -> (String, usize) {
    let mut text = String::new();
    for report in reports {
        if let Ended::Failed(failure) = &report.ended
            && !failure.told.is_empty()
        {
            text.push_str(&format!("── what {} told\n", report.name));
            failure.told.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            text.push('\n');
        }
    }
    let mut all = Count::default();
    for report in reports {
        text.push_str(&line(report));
        text.push('\n');
        match &report.ended {
            Ended::Passed(count) => {
                all.passed += count.passed.max(usize::from(count.total() == 0));
            }
            Ended::Failed(failure) => {
                all.passed += failure.count.passed;
                all.failed += failure.count.failed.max(1);
            }
        }
    }
    text.push_str(&format!(
        "{:.0} s in all\n{} passed, {} failed",
        took.as_secs_f64(),
        all.passed,
        all.failed
    ));
    (text, all.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(chosen("fmt", &[], &[]));
        assert!(chosen("fmt", &names(&["fmt"]), &[]));
        assert!(!chosen("deny", &names(&["fmt"]), &[]));
        assert!(!chosen("fmt", &[], &names(&["fmt"])));
        assert!(!chosen("fmt", &names(&["fmt"]), &names(&["fmt"])));
    }

    #[test]
    fn the_last_line_counts_tests_and_steps_without_tests() {
        let report = |name, ended| Report { name, took: Duration::from_millis(1250), ended };
        let reports = [
            report("fmt", Ended::Passed(Count::default())),
            report("unit", Ended::Passed(Count { passed: 40, failed: 0 })),
            report("doc", Ended::Failed(Failure::new("exit status: 101".to_owned()))),
            report(
                "e2e",
                Ended::Failed(Failure {
                    count: Count { passed: 3, failed: 2 },
                    reason: "exit status: 101".to_owned(),
                    told: vec!["failures:".to_owned(), "    b".to_owned()],
                }),
            ),
        ];
        let (text, failed) = summary(&reports, Duration::from_secs(61));
        assert_eq!(failed, 3);
        assert_eq!(text.lines().last(), Some("44 passed, 3 failed"));
        assert!(text.starts_with("── what e2e told\nfailures:\n    b\n\nfmt "), "{text}");
        assert!(text.contains("unit          ok           1.2 s  40 tests\n"), "{text}");
        assert!(text.contains("doc           FAILED       1.2 s  exit status: 101\n"), "{text}");
    }

    #[test]
    fn step_names_are_unique() {
        for steps in [STEPS, DEEP] {
            let names: BTreeSet<_> = steps.iter().map(|step| step.name).collect();
            assert_eq!(names.len(), steps.len());
        }
    }
}
