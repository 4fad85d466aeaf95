//! What was proven of one application and changed while another was waited for: nothing of it is recorded.

use anyhow::Result;
use e2e::World;
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};

/// Applications of dev: the second is proven only when its operation is let go.
const APPS: &str = "    apps: [shop-dev, shop-staging]\n";

/// A project whose only environment has two applications.
async fn world() -> Result<World> {
    let world = World::start().await?;
    let text = world.configuration().replace("    apps: [shop-dev]\n", APPS);
    let (dev, _) = text.split_once("  - name: staging").unwrap_or((&text, ""));
    let keys = "keys:\n  - { name: ci, file: ci.pub, roles: [builder, tester, promoter] }\n";
    world.project.write("verbatim.yaml", &format!("{dev}{keys}"))?;
    Ok(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_after_its_proof_is_not_recorded() -> Result<()> {
    let by_hand = json!([
        { "op": "replace", "path": "/spec/source/helm/parameters/1/value", "value": "by-hand" },
    ]);
    // Somebody else's run, as far as the applications tell: its claim, and the values as they are.
    let claimed = json!([
        { "op": "replace", "path": "/metadata/annotations/verbatim.dev~1claim.shop.dev", "value": "{\"version\":99}" },
    ]);
    // Not a value of ours, but other manifests than those that run.
    let beside = json!([
        { "op": "add", "path": "/spec/source/helm/parameters/-", "value": { "name": "port", "value": "9090" } },
    ]);
    for (change, told) in [
        (by_hand, "shop-dev after its proof: helm:image.tag is by-hand"),
        (claimed, "shop-dev after its proof: has a claim that this verbatim does not know"),
        (beside, "shop-dev after its proof: sync is OutOfSync, was Synced"),
    ] {
        let world = world().await?;
        let release = world.release("Something new").await?;
        world.argocd.hold_operations("shop-staging", true);
        let mut job = world.tool.start(&["promote", "dev", "--release", &release, "--verbose"])?;
        job.tells("shop-dev: prove what runs: done").await?;
        let _ = world.patch("shop-dev", change).await?;
        let _ = world.api(http::Method::GET, "/shop-dev?refresh=normal", None).await?;
        world.argocd.hold_operations("shop-staging", false);
        let run = job.end().await?.ends(5);
        assert!(run.stdout.contains(told), "{told}: {run}");
        let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.json()?;
        assert_eq!(history["promotions"], json!([]), "{history}");
        let _ = world.verbatim(&["status", "--check"]).await?.ends(1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stayed_is_recorded() -> Result<()> {
    let world = world().await?;
    let release = world.release("Something new").await?;
    let run = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    assert!(run.stdout.contains("proven  2 apps"), "{run}");
    let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.json()?;
    assert_eq!(history["promotions"].as_array().map(Vec::len), Some(1), "{history}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gates_saw_is_what_runs() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let gates = "gates: { same_manifests: dev, tested: ";
    world.project.write("verbatim.yaml", &text.replacen("gates: { tested: ", gates, 1))?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    let seen = world.project.git(&["rev-parse", "HEAD"]).await?;
    let promote = ["promote", "staging", "--release", &release];
    let late = world.argocd_proxy.faults_injected() + 1;
    world.argocd_proxy.inject(Rule::new(Fault::Delay(3000)).method(&http::Method::PATCH));
    let job = world.tool.start(&promote)?;
    world.argocd_proxy.faulted(late).await;
    // After the gate, and before the sync: what it deploys was proven nowhere.
    world.project.write("chart/values-staging.yaml", "environment: other\n")?;
    world.project.commit("Change the chart").await?;
    let run = job.end().await?.ends(5);
    assert!(run.stdout.contains("was to be deployed"), "{run}");
    // The sync was pinned to what the gate saw.
    let application = world.api(http::Method::GET, "/shop-staging", None).await?;
    let deployed = &application["status"]["operationState"]["syncResult"]["revision"];
    assert_eq!(deployed.as_str(), Some(seen.as_str()), "{application}");
    let history = world.verbatim(&["history", "staging", "--format", "json"]).await?.json()?;
    assert_eq!(history["promotions"], json!([]), "{history}");
    // The gate says it, too, when it is asked again.
    let run = world.verbatim(&promote).await?.ends(1);
    assert!(run.stdout.contains("same_manifests"), "{run}");
    Ok(())
}

/// The chart lies beside the code, so each commit is a new revision of it, also one that renders the same.
#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_moved_on_are_proven_again() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let gates = "gates: { same_manifests: dev, tested: ";
    world.project.write("verbatim.yaml", &text.replacen("gates: { tested: ", gates, 1))?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    world.project.write("README", "Of no importance to the chart.\n")?;
    let seen = world.project.commit("Explain").await?;
    let promote = ["promote", "staging", "--release", &release, "--format", "json"];
    let run = world.verbatim(&promote).await?.ends(1);
    let refused = run.json()?;
    let answers = refused["decision"]["answers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let answer = answers.iter().find(|it| it["passed"] == false).unwrap_or(&Value::Null);
    assert_eq!(answer["gate"], "same_manifests", "{run}");
    // The remedy is a command that works: nothing has to be written, and what is rendered now is what is proven.
    let remedy = answer["remedy"].as_str().unwrap_or_default();
    let command = remedy.split('`').nth(1).and_then(|it| it.strip_prefix("verbatim "));
    let command: Vec<&str> = command.unwrap_or_default().split(' ').collect();
    world.argocd.forget_seen();
    let _ = world.verbatim(&command).await?.ends(0);
    let run = world.verbatim(&promote).await?.ends(0);
    let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.json()?;
    assert_eq!(history["promotions"].as_array().map(Vec::len), Some(2), "{history}");
    assert!(run.stdout.contains(&seen), "{run}");
    Ok(())
}
