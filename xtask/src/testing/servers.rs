//! `cargo xtask test servers`: one set of raw HTTP cases, on the simulated and on the real Argo CD.
//!
//! The cases are [`simulated_argocd::cases`]; this prepares the servers and prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, ValueEnum};
use needs::Service;
use rig::{Nodes, Rig};
use simulated_argocd::cases::{self, Cell, Target};
use simulated_argocd::{Config, SimulatedArgocd, Tools};

use rig::tools::{Tool, tool};

/// The arguments of this suite.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask rig up && cargo xtask test servers    # both servers; a missing one is an error
  cargo xtask test servers --only simulated         # in half a minute, without a rig
  cargo xtask test servers --filter patch           # the cases with `patch` in their name

The real server is the rig that VERBATIM_RIG describes, or else the running rig of the name --rig.")]
pub(super) struct Args {
    /// One of the two servers
    #[arg(long, value_enum)]
    only: Option<Which>,
    /// The name of the running rig
    #[arg(long, value_name = "NAME", default_value = "default")]
    rig: String,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// How many cases run at the same time
    #[arg(long, value_name = "N", default_value_t = 6)]
    jobs: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The simulation
    Simulated,
    /// The rig
    Real,
}

/// One column of the table.
type Column = (&'static str, BTreeMap<&'static str, Cell>);

/// Runs the suite.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run_all(args))
}

async fn run_all(args: Args) -> anyhow::Result<()> {
    // Found before anything runs, so that a rig that is not there is told at once.
    let rig = if args.only == Some(Which::Simulated) { None } else { Some(rig(&args.rig)?) };
    let mut columns: Vec<Column> = Vec::new();
    if args.only != Some(Which::Real) {
        columns.push(("simulated", simulated(&args).await?));
    }
    if let Some(rig) = rig {
        columns.push(("real", run_on(&real(&rig), &args).await?));
    }
    print!("{}", table(&columns));
    let cells = || columns.iter().flat_map(|(_, cells)| cells.values());
    let passed = cells().filter(|cell| **cell == Cell::Passed).count();
    let failed = cells().filter(|cell| matches!(cell, Cell::Failed(_))).count();
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} cells of the table failed");
    }
    if passed == 0 {
        bail!("no case has `{}` in its name, or all were skipped", args.filter);
    }
    Ok(())
}

/// The description of the rig to use.
fn rig(name: &str) -> anyhow::Result<Rig> {
    if let Some(path) = env::var_os(Service::Rig.variable()) {
        return Rig::read(Path::new(&path));
    }
    rig::running(name).with_context(|| {
        format!(
            "the real Argo CD is not there: start it with `cargo xtask rig up --name {name}`, or use `--only simulated`"
        )
    })
}

fn real(rig: &Rig) -> Target {
    Target {
        name: "real".to_owned(),
        url: rig.argocd.url.clone(),
        password: rig.argocd.password.clone(),
        tokens: rig.argocd.tokens.clone(),
        git_root: rig.git.root.clone(),
        git_root_url: rig.git.root_url.clone(),
        fake_pods: matches!(rig.nodes, Nodes::Kwok { .. }),
    }
}

/// Starts the simulation with the pinned helm and kustomize, and runs the cases on it.
async fn simulated(args: &Args) -> anyhow::Result<BTreeMap<&'static str, Cell>> {
    let tools = Tools {
        helm: Some(tool(Tool::Helm)?),
        kustomize: Some(tool(Tool::Kustomize)?),
        ..Tools::default()
    };
    let folder = tempfile::tempdir()?;
    // Cases ask for unknown paths on purpose.
    let config = Config { tools, lenient: true, ..Config::default() };
    let password = config.password.clone();
    let server = SimulatedArgocd::start(config).await?;
    let root: PathBuf = folder.path().join("git");
    std::fs::create_dir_all(&root)?;
    let target = Target {
        name: "simulated".to_owned(),
        url: server.url(),
        password,
        tokens: server.tokens(),
        git_root_url: format!("file://{}", root.display()),
        git_root: root,
        fake_pods: true,
    };
    run_on(&target, args).await
}

async fn run_on(target: &Target, args: &Args) -> anyhow::Result<BTreeMap<&'static str, Cell>> {
    eprintln!("{}: {}", target.name, target.url);
    let began = Instant::now();
    let told = |name: &str, cell: &Cell, took: Duration| {
        if let Cell::Failed(reason) = cell {
            eprintln!("  {name}: failed after {:.1} s: {reason}", took.as_secs_f64());
        }
    };
    let cells = cases::run(target, &args.filter, args.jobs, told).await?;
    eprintln!("{}: {} cases in {:.1} s", target.name, cells.len(), began.elapsed().as_secs_f64());
    Ok(cells)
}

/// The table case × server, with the reasons below it.
fn table(columns: &[Column]) -> String {
    let names: BTreeSet<&str> =
        columns.iter().flat_map(|(_, cells)| cells.keys().copied()).collect();
    let names: Vec<&str> =
        cases::all().iter().map(|case| case.name).filter(|name| names.contains(name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{:width$}", "case");
    for (server, _) in columns {
        text.push_str(&format!("  {server:9}"));
    }
    text.push('\n');
    let mut notes = String::new();
    for name in names {
        let mut line = format!("{name:width$}");
        for (server, cells) in columns {
            let word = match cells.get(name) {
                Some(Cell::Passed) => "ok",
                Some(Cell::Skipped(reason)) => {
                    notes.push_str(&format!("skipped on {server}: {name}: {reason}\n"));
                    "skipped"
                }
                Some(Cell::Failed(reason)) => {
                    notes.push_str(&format!("failed on {server}: {name}: {reason}\n"));
                    "FAILED"
                }
                None => "-",
            };
            line.push_str(&format!("  {word:9}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text + &notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_below_the_table() {
        let name = cases::all()[0].name;
        let columns: Vec<Column> = vec![
            ("simulated", BTreeMap::from([(name, Cell::Passed)])),
            ("real", BTreeMap::from([(name, Cell::Skipped("no pods".to_owned()))])),
        ];
        let width = name.chars().count();
        let want = format!(
            "{:width$}  simulated  real     \n{name}  ok         skipped\nskipped on real: {name}: no pods\n",
            "case"
        );
        assert_eq!(table(&columns), want);
    }
}
