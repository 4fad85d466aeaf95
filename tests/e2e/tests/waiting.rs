//! Gates that are closed and may open: waited for as long as somebody says, and no longer than it may help.

use anyhow::Result;
use e2e::{World, by, refusals, with_gates};
use fault_proxy::{Fault, Rule};
use serde_json::Value;

const APPROVALS: &str =
    "    gates: { approvals: { role: release-manager } }\n    wait_for_gates: 2m\n";

/// The notes of a result.
fn notes(result: &Value) -> String {
    result["notes"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_waited_for() -> Result<()> {
    let world = with_gates(APPROVALS).await?;
    let release = world.release("One").await?;
    let mut job = world.tool.start(&["promote", "dev", "--release", &release])?;
    job.begins_to_tell("waiting for approvals of shop/dev, until ").await?;
    assert_eq!(world.writes(), [] as [&str; 0]);
    // A registry that is away for a moment ends no wait.
    world.registry_proxy.inject(Rule::new(Fault::Status(503)).always());
    job.begins_to_tell("warning: still waiting: ").await?;
    world.registry_proxy.heal();
    let _ = by(&world, "lead", &["approve", "dev", "--release", &release]).await?.ends(0);
    let _ = job.end().await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_is_waited_for_as_long_as_it_takes() -> Result<()> {
    let world = World::start().await?;
    let soak = "gates: { soak: { in: dev, for: 8s }, tested: ";
    let text = world.configuration().replacen("gates: { tested: ", soak, 1);
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let promote = ["promote", "staging", "--release", &release, "--format", "json"];
    // It cannot be over in time, so nobody waits.
    let short = [&promote[..], &["--wait-for-gates", "1s"]].concat();
    let run = world.verbatim(&short).await?.ends(1);
    assert_eq!(refusals(&run.json()?), ["soak"], "{run}");
    assert!(notes(&run.json()?).contains("not waited for: no release may enter before"), "{run}");
    let long = [&promote[..], &["--wait-for-gates", "1m"]].concat();
    let run = world.verbatim(&long).await?.ends(0);
    assert!(run.stderr.contains("waiting for soak (not before "), "{run}");
    Ok(())
}

/// What is said while it waits counts: a veto is not waited for, and a newer release is ahead for good.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_closed_ends_the_wait() -> Result<()> {
    let world = with_gates(APPROVALS).await?;
    let (one, two) = (world.release("One").await?, world.release("Two").await?);
    let promote = |release| ["promote", "dev", "--release", release];
    let mut job = world.tool.start(&promote(&one))?;
    job.begins_to_tell("waiting for approvals of shop/dev, until ").await?;
    let veto = ["veto", "--release", &one, "--reason", "it leaks"];
    let _ = world.verbatim(&veto).await?.ends(0);
    let run = job.end().await?.ends(1);
    assert!(run.stdout.contains("vetoed: it leaks"), "{run}");

    let mut job = world.tool.start(&promote(&one))?;
    let refused = job.begins_to_tell("waiting for ").await;
    assert!(refused.is_err(), "it has a veto");
    let _ = world.verbatim(&["unveto", "--release", &one, "--reason", "no"]).await?.ends(0);
    let mut job = world.tool.start(&promote(&one))?;
    job.begins_to_tell("waiting for approvals of shop/dev, until ").await?;
    let _ = by(&world, "lead", &["approve", "dev", "--release", &two]).await?.ends(0);
    let _ = world.verbatim(&promote(&two)).await?.ends(0);
    let run = job.end().await?.ends(6);
    assert!(run.stdout.contains("superseded: shop/dev runs the newer release"), "{run}");
    Ok(())
}
