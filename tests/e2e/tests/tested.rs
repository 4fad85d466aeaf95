//! What a test says, it says of what ran: before its suites and after them.

use anyhow::Result;
use e2e::World;
use serde_json::{Value, json};

/// Sets another image by hand, and syncs it.
async fn by_hand(world: &World, value: &str) -> Result<()> {
    let change = json!([{ "op": "replace", "path": "/spec/source/helm/parameters/1/value", "value": value }]);
    let _ = world.patch("shop-dev", change).await?;
    let _ = world.api(http::Method::POST, "/shop-dev/sync", Some(json!({}))).await?;
    Ok(())
}

/// How many tests are recorded.
async fn tests(world: &World, release: &str) -> Result<usize> {
    let verify = world.verbatim(&["verify", release]).await?;
    Ok(verify.stdout.lines().filter(|line| line.contains(" tested ")).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_tested_in_the_name_of_the_release() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration().replacen(
        "'test ! -e ../fail",
        "'touch ../ran && test ! -e ../fail",
        1,
    );
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("Something new").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let test = ["test", "dev", "--release", &release];
    by_hand(&world, "other").await?;
    let run = world.verbatim(&test).await?.ends(1);
    assert!(run.stderr.contains("as promoted: shop-dev: helm:image.tag is other, was "), "{run}");
    assert!(run.stderr.contains("verbatim restore dev"), "{run}");
    assert!(!world.beside("ran").exists(), "nothing was run");
    assert_eq!(tests(&world, &release).await?, 0);

    let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
    let _ = world.verbatim(&test).await?.ends(0);
    assert!(world.beside("ran").exists());
    assert_eq!(tests(&world, &release).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_tested_is_not_recorded() -> Result<()> {
    let world = World::start().await?;
    let wait = "'touch ../ran && while test ! -e ../go; do sleep 0.1; done'";
    let text = world.configuration();
    let (head, tail) = text.split_once("    tests: { smoke: ").unwrap_or_default();
    let (_, tail) = tail.split_once('\n').unwrap_or_default();
    world
        .project
        .write("verbatim.yaml", &format!("{head}    tests: {{ smoke: {wait} }}\n{tail}"))?;
    let release = world.release("Something new").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let application = world.api(http::Method::GET, "/shop-dev", None).await?;
    let value = application.pointer("/spec/source/helm/parameters/1/value").and_then(Value::as_str);
    let value = value.unwrap_or_default().to_owned();
    // The second time it was there for a while only, and is gone when the suite ends.
    for (values, told) in [
        (vec!["other"], "helm:image.tag is other, was "),
        (vec!["other", &value], "an operation began at "),
    ] {
        let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
        for file in ["go", "ran"] {
            let _ = std::fs::remove_file(world.beside(file));
        }
        let job = world.tool.start(&["test", "dev", "--release", &release])?;
        while !world.beside("ran").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        for value in values {
            by_hand(&world, value).await?;
            until_done(&world).await?;
        }
        std::fs::write(world.beside("go"), "")?;
        let run = job.end().await?.ends(5);
        assert!(run.stderr.contains("shop/dev changed while its tests ran: shop-dev: "), "{run}");
        assert!(run.stderr.contains(told), "{told}: {run}");
        assert_eq!(tests(&world, &release).await?, 0);
    }
    Ok(())
}

/// Waits for the end of the operation.
async fn until_done(world: &World) -> Result<()> {
    loop {
        let application = world.api(http::Method::GET, "/shop-dev?refresh=normal", None).await?;
        let status = &application["status"];
        if status["operationState"]["phase"] == "Succeeded"
            && application["operation"].is_null()
            && status["sync"]["status"] == "Synced"
            && status["health"]["status"] == "Healthy"
        {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_counts_for_the_promotion_that_it_saw() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    let other = world.release("Something else").await?;
    world.carry(&other, &["dev"]).await?;
    let back = ["promote", "dev", "--release", &release, "--backwards"];
    let _ = world.verbatim(&back).await?.ends(0);
    let staging = ["promote", "staging", "--release", &release];
    let refused = world.verbatim(&staging).await?.ends(1);
    let told = "smoke did not run in shop/dev since promotion 3 brought it there";
    assert!(refused.stdout.contains(told), "{refused}");
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(0);
    // Promoted once more, it has been there all the time.
    let _ = world.verbatim(&back).await?.ends(0);
    let _ = world.verbatim(&staging).await?.ends(0);
    Ok(())
}
