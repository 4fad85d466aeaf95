//! A clock that is wrong, here or there: nothing is decided by it, and it is told by its name.

use anyhow::{Context as _, Result};
use e2e::World;
use fault_proxy::{Fault, FaultProxy, Rule};
use jiff::{SignedDuration, Timestamp};

/// Makes a service two hours behind this machine.
fn set_back(proxy: &FaultProxy) -> Result<()> {
    let then = Timestamp::now().checked_sub(SignedDuration::from_hours(2))?;
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then)?;
    proxy.inject(Rule::new(Fault::Date(text)).always());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_by_a_wrong_clock() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let gates = "gates: { approvals: { role: promoter }, tested:";
    world.project.write("verbatim.yaml", &text.replacen("gates: { tested:", gates, 1))?;
    let good = world.release("Something good").await?;
    world.carry(&good, &["dev"]).await?;
    let new = world.release("Something new").await?;
    world.carry(&new, &["dev"]).await?;
    let plan = ["plan", "dev", "--release", &new, "--out", "plan.json"];
    let _ = world.verbatim(&plan).await?.ends(0);
    world.argocd.forget_seen();
    let registry = world.registry_proxy.address().to_string();
    let argocd = world.argocd_proxy.url().replacen("http://", "", 1);
    let argocd = argocd.split(':').next().context("no host")?;
    let both = [(&world.registry_proxy, registry.as_str()), (&world.argocd_proxy, argocd)];
    for (proxy, host) in both {
        set_back(proxy)?;
        let told = format!("error: the clock of {host} is ");
        for command in [
            &["promote", "dev", "--release", &new][..],
            &["plan", "dev", "--release", &new],
            &["apply", "plan.json"],
            &["test", "dev", "--release", &new],
            &["rollback", "dev"],
            &["restore", "dev"],
            &["approve", "staging", "--release", &new],
        ] {
            // An approval is attached in the registry, and asks no Argo CD.
            if command[0] == "approve" && host == argocd {
                continue;
            }
            let run = world.verbatim(command).await?.ends(1);
            let is_told = |line: &str| {
                line.starts_with(&told) && line.contains(" s behind ours: there it is ")
            };
            assert!(run.stderr.lines().any(is_told), "{command:?}: {run}");
            assert!(run.stderr.contains("hint: set the clock that is wrong"), "{run}");
        }
        proxy.heal();
    }
    assert_eq!(world.writes(), [""; 0]);
    let _ = world.verbatim(&["promote", "dev", "--release", &new]).await?.ends(0);
    Ok(())
}
