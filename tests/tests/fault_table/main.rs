//! One table of (service, fault, request): every cell is run with the real binary on a world of its own. It must end as the
//! rules say, tell what happened, leave nothing untold behind, and the same run must succeed when the fault is gone.
//!
//! A run without faults tells which requests there are. The results lie in `target/tmp/faults-*.md` afterwards.

mod cell;
mod expect;
mod report;
mod run;
mod stage;

use std::path::Path;

use anyhow::{Context as _, Result};
use cell::{Cell, Command, cells, picked};
use run::Ended;
use stage::Stage;
use tokio::task::JoinSet;

/// As many as two cores carry: most of the time of a cell is waiting.
const SIDE_BY_SIDE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_while_promoting() -> Result<()> {
    table(Command::Promote, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_while_testing() -> Result<()> {
    table(Command::Test, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_while_building() -> Result<()> {
    match e2e::docker_host() {
        Some(engine) => table(Command::Build, Some(engine)).await,
        None => Ok(()),
    }
}

async fn table(command: Command, engine: Option<String>) -> Result<()> {
    let cells = found(command, engine.as_deref()).await?;
    let count = cells.len();
    let mut running = JoinSet::new();
    let mut ended: Vec<Ended> = Vec::new();
    for cell in cells {
        if running.len() >= SIDE_BY_SIDE {
            ended.extend(running.join_next().await.transpose()?.inspect(show));
        }
        let engine = engine.clone();
        running.spawn(async move { run::run(cell, engine.as_deref()).await });
    }
    while let Some(one) = running.join_next().await {
        let one = one?;
        show(&one);
        ended.push(one);
    }
    let shown = report::tables(command, &ended);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{command}.md"));
    std::fs::write(&file, &shown).with_context(|| format!("cannot write {}", file.display()))?;
    let mut faults = String::new();
    for one in &ended {
        for fault in &one.faults {
            faults.push_str(&format!("## {}\n{fault}\n", one.cell));
        }
    }
    assert!(faults.is_empty(), "{faults}");
    // The number of requests varies a little from run to run; a table that is missed as a whole proves nothing.
    let reached = ended.iter().filter(|one| one.code.is_some()).count();
    assert!(reached * 20 >= count * 19, "only {reached} of {count} cells were reached");
    Ok(())
}

/// With `--nocapture` the cells are seen as they end.
#[expect(clippy::print_stdout, reason = "what the test harness captures is stdout")]
fn show(ended: &Ended) {
    let mark = if ended.faults.is_empty() { "ok" } else { "FAULT" };
    println!("{mark} {:?} {}", ended.code, ended.cell);
    for fault in &ended.faults {
        println!("  {fault}");
    }
}

/// The cells, from what a run without faults asks of its services.
async fn found(command: Command, engine: Option<&str>) -> Result<Vec<Cell>> {
    let stage = Stage::set(command, engine).await?;
    let services = command.services();
    let known: Vec<usize> = services
        .iter()
        .map(|service| Ok(stage.proxy(*service)?.requests()))
        .collect::<Result<_>>()?;
    let _ = stage.run().await?.ends(0);
    let mut all = Vec::new();
    for (service, known) in services.into_iter().zip(known) {
        all.extend(cells(command, service, &picked(&stage.seen(service, known)?)));
    }
    Ok(all)
}
