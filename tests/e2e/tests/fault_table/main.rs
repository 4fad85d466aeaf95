//! One table of (service, fault, request): every cell is run with the real binary on a world of its own. It must end as the
//! rules say, tell what happened, leave nothing untold behind, and the same run must succeed when the fault is gone.
//!
//! A run without faults tells which requests there are. The results lie in `target/tmp/faults-*.md` afterwards.

mod cell;
mod expect;
mod kill;
mod report;
mod run;
mod scene;
mod shape;
mod stage;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use cell::{Cell, Sample, Trouble, cells, picked};
use run::Ended;
use scene::{Command, Scene, Setting};
use stage::Stage;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// As many cells at a time as two cores carry, over all tables: half of the time of a cell is waiting.
const WORKERS: usize = 8;
static PLACES: Semaphore = Semaphore::const_new(WORKERS);

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_while_promoting() -> Result<()> {
    table(Scene::plain(Command::Promote), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_before_a_gate() -> Result<()> {
    table(Scene::plain(Command::PromoteGated), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_without_the_referrers_api() -> Result<()> {
    table(Scene { command: Command::Promote, setting: Setting::FallbackTag }, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_login() -> Result<()> {
    table(Scene { command: Command::Promote, setting: Setting::Login }, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_while_testing() -> Result<()> {
    table(Scene::plain(Command::Test), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_while_building() -> Result<()> {
    match e2e::docker_host() {
        Some(engine) => table(Scene::plain(Command::Build), Some(engine)).await,
        None => Ok(()),
    }
}

async fn table(scene: Scene, engine: Option<String>) -> Result<()> {
    let mut cells = sample()?.of(found(scene, engine.as_deref()).await?);
    let count = cells.len();
    // What waits for the longest begins first, or everything waits for it at the end.
    cells.sort_by_key(|cell| cell.trouble != Trouble::Slow);
    let cells = Arc::new(Mutex::new(VecDeque::from(cells)));
    let mut workers = JoinSet::new();
    for _ in 0..count.min(WORKERS) {
        workers.spawn(work(Arc::clone(&cells), engine.clone()));
    }
    let mut ended: Vec<Ended> = Vec::new();
    while let Some(some) = workers.join_next().await {
        ended.extend(some?);
    }
    let shown = report::tables(scene, &ended);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(scene.file());
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
    assert!(
        count > 0 && count - reached <= count / 50 + 1,
        "only {reached} of {count} cells were reached"
    );
    Ok(())
}

/// One cell in N where `VERBATIM_FAULT_SAMPLE` is `SEED/N`; otherwise all.
#[expect(clippy::disallowed_methods, reason = "how a step asks for a part of the table")]
fn sample() -> Result<Sample> {
    match std::env::var("VERBATIM_FAULT_SAMPLE") {
        Ok(text) => Sample::parse(&text).with_context(|| format!("no SEED/N: {text}")),
        Err(_) => Ok(Sample::ALL),
    }
}

/// Runs cells one after the other, each in the world that the one before has left.
async fn work(cells: Arc<Mutex<VecDeque<Cell>>>, engine: Option<String>) -> Vec<Ended> {
    let (mut ended, mut kept) = (Vec::new(), None);
    loop {
        let place = PLACES.acquire().await;
        let Some(cell) = cells.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else {
            return ended;
        };
        let one = run::run(cell, &mut kept, engine.as_deref()).await;
        drop(place);
        show(&one);
        ended.push(one);
    }
}

/// With `--nocapture` the cells are seen as they end.
#[expect(clippy::print_stdout, reason = "what the test harness captures is stdout")]
fn show(ended: &Ended) {
    let mark = if ended.faults.is_empty() { "ok" } else { "FAULT" };
    println!("{mark} {:?} {:.1} s {}", ended.code, ended.took.as_secs_f64(), ended.cell);
    for fault in &ended.faults {
        println!("  {fault}");
    }
}

/// The cells, from what a run without faults asks of its services.
async fn found(scene: Scene, engine: Option<&str>) -> Result<Vec<Cell>> {
    let stage = Stage::set(scene, engine).await?;
    let names = stage.names().await?;
    let known: Vec<usize> = scene
        .services()
        .iter()
        .map(|service| Ok(stage.proxy(*service)?.requests()))
        .collect::<Result<_>>()?;
    let _ = stage.run().await?.ends(0);
    let mut all = Vec::new();
    for (&service, known) in scene.services().iter().zip(known) {
        all.extend(cells(scene, service, &picked(&stage.seen(service, known)?, &names)));
    }
    Ok(all)
}
