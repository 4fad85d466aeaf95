//! What `status` and `history` tell while one of the services is away, and of promotions that the ledger does not have.

use anyhow::Result;
use e2e::World;
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};
use simulated_argocd::{Behaviour, PodRule};

fn digest(release: &str) -> &str {
    release.split_once('@').map_or("", |(_, digest)| digest)
}

async fn dev(world: &World, ends: i32) -> Result<Value> {
    let run = world.verbatim(&["status", "--format", "json"]).await?.ends(ends);
    Ok(run.json()?["environments"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_argo_cd_the_ledger_is_told() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    // One whose applications are named, and one whose applications nobody can list.
    let text = world.configuration();
    let selected = text.replace("apps: [shop-dev]", "apps: { project: default }");
    for configuration in [&text, &selected] {
        world.project.write("verbatim.yaml", configuration)?;
        world.argocd_proxy.inject(Rule::new(Fault::Status(503)).always());
        let told = dev(&world, 3).await?;
        assert_eq!(told["state"], "unknown", "{told}");
        assert_eq!(told["release"]["digest"], digest(&release), "{told}");
        assert_eq!(told["promotion"]["number"], 1, "{told}");
        assert_eq!(told["drift"], Value::Null, "nobody knows: {told}");
        let table = world.verbatim(&["status"]).await?.ends(3);
        assert!(table.stdout.contains(&digest(&release)[..19]), "{table}");
        let run = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
        assert!(run.stderr.contains("whether these are all promotions to shop/dev"), "{run}");
        let history = run.json()?;
        assert_eq!(history["promotions"][0]["release"]["digest"], digest(&release), "{history}");
        assert!(history["open_end"].is_string() && history["faults"].is_null(), "{history}");
        world.argocd_proxy.heal();
    }
    // Neither needs a token.
    world.project.write("verbatim.yaml", &text)?;
    let mut tool = world.tool.clone();
    tool.variables.remove("ARGOCD_AUTH_TOKEN");
    let run = tool.run(&["history", "dev"]).await?.ends(0);
    assert!(run.stdout.contains("proven"), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_registry_what_runs_is_told() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    world.registry_proxy.inject(Rule::new(Fault::Status(503)).always());
    let told = dev(&world, 3).await?;
    assert_eq!((&told["state"], &told["release"]), (&json!("unknown"), &Value::Null), "{told}");
    let runs = told["live"]["shop-dev"][0].as_str().unwrap_or_default();
    assert!(runs.ends_with(digest(&release)), "{told}");
    let table = world.verbatim(&["status"]).await?.ends(3);
    assert!(table.stdout.contains("shop-dev: runs "), "{table}");
    assert!(table.stdout.contains("shop-staging: Argo CD tells of no image"), "{table}");
    let _ = world.verbatim(&["history", "dev"]).await?.ends(3);
    Ok(())
}

/// What ended without a proof is no record. The applications tell of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_failed_is_in_the_history() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.release("One").await?, world.release("Two").await?);
    world.carry(&one, &["dev"]).await?;
    let image = digest(&two).to_owned();
    world.argocd.set_pod_rules(vec![PodRule { image, behaviour: Behaviour::Crash }]);
    let _ = world.verbatim(&["promote", "dev", "--release", &two]).await?.ends(1);
    let run = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
    let told = run.json()?;
    assert_eq!(told["promotions"].as_array().map(Vec::len), Some(1), "{told}");
    let attempt = &told["attempts"][0];
    assert_eq!((&attempt["phase"], &attempt["reference"]), (&json!("failed"), &json!(two)));
    let run = world.verbatim(&["history", "dev"]).await?.ends(0);
    assert!(run.stdout.starts_with("not in the ledger: a promotion of "), "{run}");
    assert!(run.stdout.contains("ended without proof (shop-dev)"), "{run}");
    // Something else stands there since, and the claim is that of a promotion that is in the ledger.
    let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
    let run = world.verbatim(&["history", "dev"]).await?.ends(0);
    assert!(!run.stdout.contains("not in the ledger"), "{run}");
    Ok(())
}
