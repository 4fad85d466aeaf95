//! What others do while a promotion is under way: a newer release, a lock, a veto.

use anyhow::Result;
use e2e::World;
use serde_json::json;

/// Two releases, the second of a later commit.
async fn two(world: &World) -> Result<[String; 2]> {
    Ok([world.release("Older").await?, world.release("Newer").await?])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_release_that_is_under_way_is_not_waited_for() -> Result<()> {
    let world = World::start().await?;
    let [older, newer] = two(&world).await?;
    for (first, second, code) in [(&newer, &older, 6), (&older, &newer, 5)] {
        world.argocd.hold_operations("shop-dev", true);
        let first = ["promote", "dev", "--release", first, "--verbose", "--backwards"];
        let mut job = world.tool.start(&first)?;
        job.tells("shop-dev: write the values: done").await?;
        let run = world.verbatim(&["promote", "dev", "--release", second]).await?.ends(code);
        let told = format!("superseded: another run promotes the newer release {newer}");
        assert_eq!(run.stdout.contains(&told), code == 6, "{run}");
        world.argocd.hold_operations("shop-dev", false);
        let _ = job.end().await?.ends(0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_ends_when_a_newer_release_takes_its_place() -> Result<()> {
    let world = World::start().await?;
    let [older, newer] = two(&world).await?;
    world.argocd.hold_operations("shop-dev", true);
    let mut job = world.tool.start(&["promote", "dev", "--release", &older, "--verbose"])?;
    job.tells("shop-dev: write the values: done").await?;
    let next = ["promote", "dev", "--release", &newer, "--take-over"];
    let next = world.tool.start(&next)?;
    let run = job.end().await?.ends(6);
    assert!(run.stdout.contains("superseded: another run promotes the newer release"), "{run}");
    world.argocd.hold_operations("shop-dev", false);
    let _ = next.end().await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_stops_what_is_under_way_before_its_next_application() -> Result<()> {
    for (ban, told) in [
        (
            &["lock", "dev", "--reason", "incident 4711"][..],
            "shop/dev was locked meanwhile: incident 4711",
        ),
        (&["veto", "--reason", "it leaks"], "the release was vetoed meanwhile: it leaks"),
    ] {
        let world = World::start().await?;
        let dev = world.api(http::Method::GET, "/shop-dev", None).await?;
        let names: Vec<String> = (1..=5).map(|number| format!("shop-{number}")).collect();
        for name in &names {
            let metadata = json!({ "name": name, "namespace": "argocd" });
            let mut application = json!({ "metadata": metadata, "spec": dev["spec"] });
            application["spec"]["destination"]["namespace"] = name.as_str().into();
            world.api(http::Method::POST, "", Some(application)).await?;
            world.argocd.hold_operations(name, true);
        }
        let apps = format!("apps: [{}]", names.join(", "));
        let text = world.configuration().replacen("apps: [shop-dev]", &apps, 1);
        world.project.write("verbatim.yaml", &text)?;
        let release = world.release("Something new").await?;
        let mut job = world.tool.start(&["promote", "dev", "--release", &release, "--verbose"])?;
        job.tells("shop-4: write the values: done").await?;
        let mut ban = ban.to_vec();
        if ban[0] == "veto" {
            ban.insert(1, &release);
        }
        let _ = world.verbatim(&ban).await?.ends(0);
        // A look is made when the last one is some seconds old.
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        for name in &names {
            world.argocd.hold_operations(name, false);
        }
        let run = job.end().await?.ends(1);
        assert!(
            run.stdout.contains(&format!("shop-5: not begun: {told}; nothing was written")),
            "{run}"
        );
        assert_eq!(world.parameters("shop-5").await?, []);
        assert_eq!(world.parameters("shop-4").await?.len(), 2, "{run}");
        let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.json()?;
        assert_eq!(history["promotions"], json!([]), "{history}");
    }
    Ok(())
}
