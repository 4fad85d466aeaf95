//! Deployments of a canary that pauses: what `--on-pause` makes of it. What the controller does is
//! [`rollouts`]'.

use anyhow::{Context as _, Result, ensure};
use e2e::{Run, Tool};

use super::cluster::Cluster;
use super::rollouts;

/// Deploys while the canary goes up to its first pause.
pub(crate) async fn judged(
    tool: &Tool,
    cluster: &Cluster,
    arguments: &[&str],
    on_pause: &str,
    app: &str,
) -> Result<Run> {
    let arguments = [arguments, &["--on-pause", on_pause, "--timeout", "100"]].concat();
    let (run, paused) = tokio::join!(tool.run(&arguments), rollouts::pause(cluster, app));
    paused.context("the canary does not begin")?;
    run
}

/// Deploys again what is paused already, so that nothing but the pause is left for the deadline.
pub(crate) async fn kept(
    tool: &Tool,
    cluster: &Cluster,
    arguments: &[&str],
    app: &str,
) -> Result<Run> {
    is_paused(&judged(tool, cluster, arguments, "accept", app).await?, 0)?;
    let run = tool.run(&[arguments, &["--on-pause", "wait", "--timeout", "30"]].concat()).await?;
    ensure!(run.stderr.lines().any(|line| line == pause(app)), "it does not tell the pause: {run}");
    Ok(run)
}

/// Deploys, and lets the canary go on once the deployment says that it waits for that.
pub(crate) async fn finished(
    tool: &Tool,
    cluster: &Cluster,
    arguments: &[&str],
    app: &str,
) -> Result<Run> {
    let arguments = [arguments, &["--on-pause", "wait", "--timeout", "200"]].concat();
    let mut deployment = tool.start(&arguments)?;
    rollouts::pause(cluster, app).await.context("the canary does not begin")?;
    deployment.tells(&pause(app)).await?;
    rollouts::finish(cluster, app).await.context("the canary does not end")?;
    deployment.end().await
}

/// What a deployment says that waits for the pause to end.
fn pause(app: &str) -> String {
    let missing = "the rollout is not complete, 1 of 3 replicas are updated";
    format!("{app}: paused: Rollout {app}: {missing}")
}

/// One of three is there, and it runs the digest.
pub(crate) fn is_paused(run: &Run, status: i32) -> Result<()> {
    ensure!(run.code == status, "{run}");
    let outcome = run.json()?["outcome"].clone();
    ensure!(outcome["outcome"] == "paused", "{run}");
    let container = &outcome["workloads"][0]["containers"][0];
    ensure!(container["match"] == "deployed", "{run}");
    Ok(())
}

/// All of them run the digest.
pub(crate) fn is_proven(run: &Run, pods: u64) -> Result<()> {
    ensure!(run.code == 0, "{run}");
    let outcome = run.json()?["outcome"].clone();
    ensure!(outcome["outcome"] == "proven", "{run}");
    let rollout = &outcome["proof"]["workloads"][0];
    ensure!(rollout["level"]["level"] == "pods" && rollout["level"]["pods"] == pods, "{run}");
    Ok(())
}
