//! What happens to an environment when a release is bad: it goes no further than its wave, and what was there is put back.

use anyhow::{Context as _, Result};
use e2e::World;
use serde_json::json;
use simulated_argocd::{Behaviour, PodRule};

/// A dev with so many applications, and more keys.
async fn world(count: usize, keys: &str) -> Result<(World, Vec<String>)> {
    let world = World::start().await?;
    let dev = world.api(http::Method::GET, "/shop-dev", None).await?;
    let names: Vec<String> = (1..=count).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        let metadata = json!({ "name": name, "namespace": "argocd" });
        let mut application = json!({ "metadata": metadata, "spec": dev["spec"] });
        application["spec"]["destination"]["namespace"] = name.as_str().into();
        world.api(http::Method::POST, "", Some(application)).await?;
    }
    let apps = format!("apps: [{}]\n    {keys}", names.join(", "));
    let text = world.configuration().replacen("apps: [shop-dev]", &apps, 1);
    world.project.write("verbatim.yaml", &text)?;
    Ok((world, names))
}

/// A release whose pods crash.
async fn bad(world: &World) -> Result<String> {
    let bad = world.release("Something bad").await?;
    let (_, image) = bad.split_once('@').context("no digest")?;
    let rule = PodRule { image: image.to_owned(), behaviour: Behaviour::Crash };
    world.argocd.set_pod_rules(vec![rule]);
    Ok(bad)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_is_put_back_after_a_bad_release() -> Result<()> {
    for (keys, flags) in
        [("on_failure: restore", &[][..]), ("settle: 0s", &["--on-failure", "restore"])]
    {
        let (world, names) = world(2, keys).await?;
        let good = world.release("Something good").await?;
        let _ = world.verbatim(&["promote", "dev", "--release", &good]).await?.ends(0);
        let bad = bad(&world).await?;
        let promote = [&["promote", "dev", "--release", &bad][..], flags].concat();
        let run = world.verbatim(&promote).await?.ends(1);
        assert!(run.stdout.contains("degraded"), "{run}");
        let (_, back) =
            run.stdout.split_once("put back what was there:\n").context("nothing is back")?;
        assert!(back.contains("proven  2 apps"), "{run}");
        assert!(!run.stderr.contains("verbatim restore"), "it is done: {run}");
        let (_, digest) = good.split_once('@').context("no digest")?;
        for name in &names {
            let parameters = world.parameters(name).await?;
            assert!(parameters.iter().any(|(_, value)| value.ends_with(digest)), "{parameters:?}");
        }
        let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
        let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.json()?;
        let promotions = history["promotions"].as_array().cloned().unwrap_or_default();
        let kinds: Vec<_> = promotions.iter().map(|it| &it["kind"]).collect();
        assert_eq!(kinds, ["restore", "promotion"], "{history}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_promotion_before_nothing_is_put_back() -> Result<()> {
    let (world, _) = world(1, "on_failure: restore").await?;
    let bad = bad(&world).await?;
    let run = world.verbatim(&["promote", "dev", "--release", &bad]).await?.ends(1);
    let told = "cannot put back what was there: nothing was promoted to shop/dev before";
    assert!(run.stdout.contains(told), "{run}");
    // The word of the command line counts.
    let keep = ["promote", "dev", "--release", &bad, "--on-failure", "keep"];
    let run = world.verbatim(&keep).await?.ends(1);
    assert!(!run.stdout.contains("put back"), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_in_waves() -> Result<()> {
    let (world, names) = world(4, "waves: [1, 50%]").await?;
    let good = world.release("Something good").await?;
    world.argocd.hold_operations("shop-1", true);
    world.argocd.hold_operations("shop-2", true);
    let mut job = world.tool.start(&["promote", "dev", "--release", &good, "--verbose"])?;
    job.tells("shop-1: start the sync: done").await?;
    for later in &names[1..] {
        assert_eq!(world.parameters(later).await?, [], "{later} waits for the first wave");
    }
    world.argocd.hold_operations("shop-1", false);
    job.tells("shop-2: start the sync: done").await?;
    for later in &names[2..] {
        assert_eq!(world.parameters(later).await?, [], "{later} waits for the second wave");
    }
    world.argocd.hold_operations("shop-2", false);
    let _ = job.end().await?.ends(0);

    let bad = bad(&world).await?;
    let run = world.verbatim(&["promote", "dev", "--release", &bad]).await?.ends(1);
    for later in &names[1..] {
        let told = format!("{later}: not begun, as shop-1 is not proven");
        assert!(run.stdout.contains(&told), "{run}");
    }
    let hint = "to put the previous ones back: verbatim restore dev";
    assert_eq!(run.stderr.matches(hint).count(), 1, "{run}");
    // The way back waits for none.
    let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
    Ok(())
}
