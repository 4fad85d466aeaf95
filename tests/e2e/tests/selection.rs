//! The applications of an environment by their labels: one that is not found any more is told, and never left out without
//! a word.

use anyhow::Result;
use e2e::World;
use serde_json::json;

/// A world whose dev has the two applications with a label, with a good release on both.
async fn world() -> Result<(World, String)> {
    let world = World::start().await?;
    let text = world.configuration();
    let selected = text.replacen("apps: [shop-dev]", "apps: { selector: stage=dev }", 1);
    // No application is in two environments.
    let production = selected.find("  - name: production").unwrap_or(selected.len());
    let keys = selected.find("keys:").unwrap_or(selected.len());
    let text = format!("{}{}", &selected[..production], &selected[keys..]);
    world.project.write("verbatim.yaml", &text)?;
    for app in ["shop-dev", "shop-production"] {
        label(&world, app, "dev").await?;
    }
    let good = world.release("Something good").await?;
    world.carry(&good, &["dev"]).await?;
    Ok((world, good))
}

async fn label(world: &World, app: &str, stage: &str) -> Result<()> {
    let labels = json!([{ "op": "add", "path": "/metadata/labels", "value": { "stage": stage } }]);
    world.patch(app, labels).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_lost_its_label_is_not_left_out_without_a_word() -> Result<()> {
    let (world, good) = world().await?;
    label(&world, "shop-production", "dve").await?;
    world.argocd.forget_seen();

    // Of what is there now, the next environment must not believe that it is all.
    let next = world.verbatim(&["promote", "staging", "--release", &good]).await?.ends(1);
    assert!(next.stdout.contains("shop-production: was part of the last promotion"), "{next}");
    let status = world.verbatim(&["status", "--check"]).await?.ends(1);
    assert!(status.stdout.contains("shop-production: was part of the last promotion"), "{status}");
    assert!(status.stderr.contains("verbatim promote dev --without shop-production"), "{status}");

    let new = world.release("Something new").await?;
    for command in [
        &["promote", "dev", "--release", &new][..],
        &["plan", "dev", "--release", &new],
        &["restore", "dev"],
    ] {
        let run = world.verbatim(command).await?.ends(1);
        assert!(run.stdout.contains("shop-production: was part of the last promotion"), "{run}");
        assert!(run.stdout.contains("nothing was written"), "{run}");
        let flag =
            format!("{} dev --without shop-production", command[0].replace("plan", "promote"));
        assert!(run.stderr.contains(&flag), "{flag}: {run}");
    }
    assert_eq!(world.writes(), [""; 0]);

    // What is there cannot be left out.
    let wrong = ["promote", "dev", "--release", &new, "--without", "shop-dev"];
    let wrong = world.verbatim(&wrong).await?.ends(2);
    assert!(wrong.stderr.contains("--without shop-dev: it is part of the environment"), "{wrong}");

    // The plan says what it leaves out, and so does the record.
    let without = ["--without", "shop-production"];
    let plan = [&["plan", "dev", "--release", &new, "--out", "plan.json"][..], &without].concat();
    let planned = world.verbatim(&plan).await?.ends(0);
    assert!(planned.stdout.contains("without shop-production"), "{planned}");
    let apply = [&["apply", "plan.json"][..], &without].concat();
    let applied = world.verbatim(&apply).await?.ends(0);
    assert!(applied.stdout.contains("proven  1 app"), "{applied}");
    let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.json()?;
    assert_eq!(history["promotions"][0]["without"], json!(["shop-production"]), "{history}");
    // From now on it is no part of the environment.
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    let _ = world.verbatim(&["promote", "dev", "--release", &new]).await?.ends(0);
    Ok(())
}
