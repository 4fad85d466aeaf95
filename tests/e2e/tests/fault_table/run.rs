//! Runs one cell and says what is wrong with it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::Run;
use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, timeout};
use verbatim_credentials::ExposeSecret as _;

use crate::cell::{Cell, Service, Trouble};
use crate::expect::allowed;
use crate::scene::Command;
use crate::shape::shape;
use crate::stage::{HASTY, Remote, Stage, done};

/// How long a signal waits for the request that it is for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a cell.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) cell: Cell,
    /// The exit status; `None` if the request was never made.
    pub(crate) code: Option<i32>,
    /// What is wrong, each with the output.
    pub(crate) faults: Vec<String>,
    /// How long it took, with everything that it needs.
    pub(crate) took: Duration,
}

/// Runs a cell, in the world that an earlier one has left in order, or in a new one; and leaves it to the next one, if it
/// is in order.
pub(crate) async fn run(cell: Cell, kept: &mut Option<Stage>, engine: Option<&str>) -> Ended {
    let began = Instant::now();
    let (code, faults) = match tried(&cell, kept, engine).await {
        Ok(tried) => tried,
        Err(error) => (None, vec![format!("{error:#}")]),
    };
    Ended { cell, code, faults, took: began.elapsed() }
}

/// The exit status, if the fault was met, and what is wrong.
async fn tried(
    cell: &Cell,
    kept: &mut Option<Stage>,
    engine: Option<&str>,
) -> Result<(Option<i32>, Vec<String>)> {
    let mut stage = match kept.take().filter(Stage::is_fresh) {
        Some(mut stage) => {
            stage.next().await?;
            stage
        }
        None => Stage::set(cell.scene, engine).await?,
    };
    let before = stage.remote().await?;
    let proxy = stage.proxy(cell.service)?;
    let known = proxy.faults_injected();
    let (rule, only_its_shape) = cell.rule();
    if only_its_shape {
        let (names, wanted) = (stage.names().await?, cell.request.shape.clone());
        proxy.inject_where(rule, move |method, target| shape(method, target, &names) == wanted);
    } else {
        proxy.inject(rule);
    }
    let run = broken(&stage, cell, known).await?;
    if stage.proxy(cell.service)?.faults_injected() == known {
        return Ok((None, Vec::new()));
    }
    let mut faults = judged(&stage, cell, &run, &before).await?;
    stage.heal(cell.service).await?;
    let again = stage.run().await?;
    if again.code != 0 {
        faults.push(format!("the same run without the fault fails: {again}"));
    } else if let Err(missing) = done(&stage).await? {
        faults.push(format!("the same run without the fault ends with 0, yet {missing}: {again}"));
    } else if is_promotion(cell) && stage.remote().await?.claim["state"] != "done" {
        faults.push(format!("the same run without the fault leaves an open claim: {again}"));
    }
    if faults.is_empty() {
        *kept = Some(stage);
    } else {
        faults.push(format!("the run with the fault: {run}"));
    }
    Ok((Some(run.code), faults))
}

fn is_promotion(cell: &Cell) -> bool {
    matches!(cell.scene.command, Command::Promote | Command::PromoteGated)
}

async fn broken(stage: &Stage, cell: &Cell, known: usize) -> Result<Run> {
    if cell.trouble == Trouble::Slow {
        let hasty = stage.tool.clone().with("VERBATIM_CONFIG", HASTY);
        return hasty.run(&stage.arguments()).await;
    }
    if !cell.trouble.is_signal() {
        return stage.run().await;
    }
    let proxy = stage.proxy(cell.service)?;
    let child = stage.tool.start(&stage.arguments())?;
    let reached = timeout(PATIENCE, proxy.faulted(known + 1));
    let pid = child.pid().context("it has ended at once")?;
    let mut ended = std::pin::pin!(child.end());
    tokio::select! {
        reached = reached => reached.context("neither the request nor the end came")?,
        run = &mut ended => return run,
    }
    let signal = match cell.trouble {
        Trouble::Interrupt => Signal::INT,
        _ => Signal::TERM,
    };
    // It may have ended in this moment.
    let _ = kill_process(pid, signal);
    ended.await
}

async fn judged(stage: &Stage, cell: &Cell, run: &Run, before: &Remote) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let allowed = allowed(cell);
    if !allowed.contains(&run.code) {
        faults.push(format!("exit {} is not among {allowed:?}", run.code));
    }
    let output = format!("{}{}", run.stdout, run.stderr);
    for word in ["panicked", "RUST_BACKTRACE", "defect in verbatim", "stack backtrace"] {
        if output.contains(word) {
            faults.push(format!("`{word}` is in the output"));
        }
    }
    let key = stage.world.key.to_pkcs8_pem()?;
    let secrets = key.expose_secret().lines().filter(|line| !line.starts_with("---"));
    let token = stage.world.argocd.tokens().bot;
    let password = stage.scene.registry().auth.account().map(|account| account.password.clone());
    let others = [Some(token), password].into_iter().flatten();
    if secrets.map(str::to_owned).chain(others).any(|secret| output.contains(&secret)) {
        faults.push("a secret is in the output".to_owned());
    }
    if run.code == 0 {
        if let Err(missing) = done(stage).await? {
            faults.push(format!("exit 0, yet {missing}"));
        }
        return Ok(faults);
    }
    if !cell.trouble.is_signal() && run.code != 1 && !tells(stage, cell, run)? {
        faults.push(
            "the message does not name the service, or no cause and nothing to do".to_owned(),
        );
    }
    let after = stage.remote().await?;
    faults.extend(unnamed(before, &after, &stage.app(), &output));
    Ok(faults)
}

/// Whether the message names what failed, and why or what to do.
fn tells(stage: &Stage, cell: &Cell, run: &Run) -> Result<bool> {
    let output = format!("{}{}", run.stdout, run.stderr);
    let address = stage.proxy(cell.service)?.address().to_string();
    let word = match cell.service {
        Service::Engine => "engine",
        Service::Registry => "registry",
        Service::ArgoCd => "shop-",
    };
    let named = output.contains(&address) || output.contains(word);
    let reasons = ["caused by:", "hint:", "refused", "not proven", "unknown"];
    Ok(named && reasons.iter().any(|reason| output.contains(reason)))
}

/// What has changed in the services and is not told.
fn unnamed(before: &Remote, after: &Remote, app: &str, output: &str) -> Vec<String> {
    let mut unnamed = Vec::new();
    let says = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if before.parameters != after.parameters
        && !(output.contains(app)
            && says(&[
                "the values stand",
                "may have been written",
                "may have taken effect",
                "is done",
                "done: ",
            ]))
    {
        unnamed.push(format!("the values of the application are {:?}", after.parameters));
    }
    if before.operations != after.operations && !output.contains(app) {
        unnamed.push("an operation took place".to_owned());
    }
    if before.tags != after.tags && !says(&["push", "may have taken effect"]) {
        unnamed.push(format!("the tags are {:?}", after.tags));
    }
    if (&before.records, before.ledger) != (&after.records, after.ledger)
        && !says(&["record", "may have taken effect"])
    {
        unnamed.push(format!("the records are {:?}", after.records));
    }
    unnamed
}
