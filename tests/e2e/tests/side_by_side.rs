//! Two projects that write into one application, as umbrella charts have it: neither is in the other's way.

use anyhow::{Context as _, Result};
use e2e::{Built, World};
use serde_json::{Value, json};
use verbatim_oci::Reference;

use crate::several::WEB;

/// The second project: an image and keys of its own, and the same applications.
const BLOG: &str = "blog.yaml";

async fn world() -> Result<World> {
    let world = World::start().await?;
    let blog = world
        .configuration()
        .replace("project: shop", "project: blog")
        .replace("/shop/app", "/shop/web")
        .replace("    image.", "    web.");
    world.project.write(BLOG, &blog)?;
    world.project.write("chart/templates/web.yaml", WEB)?;
    let values = std::fs::read_to_string(world.project.root.join("chart/values.yaml"))?;
    let web = "web: { repository: registry.demo.example/demo/web, tag: none }\n";
    world.project.write("chart/values.yaml", &format!("{values}{web}"))?;
    Ok(world)
}

/// Pushes an image as somebody else's builder, and adopts it.
async fn release(world: &World, config: &str, name: &str, commit: &str) -> Result<String> {
    let built = Built { commit: commit.to_owned(), dirty: false, run: None };
    let host = world.registry_proxy.address();
    let image: Reference = format!("{host}/shop/{name}:local.{}", &commit[..12]).parse()?;
    let image = image.pinned(e2e::push_unrecorded(&image, &built).await?.digest).to_string();
    let _ = world.verbatim(&["adopt", &image, "--config", config]).await?.ends(0);
    Ok(image)
}

async fn claim(world: &World, name: &str) -> Result<Value> {
    let application = world.api(http::Method::GET, "/shop-dev", None).await?;
    let claim = application["metadata"]["annotations"][format!("verbatim.dev/{name}")].as_str();
    Ok(serde_json::from_str(claim.with_context(|| format!("no {name}"))?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projects_live_on_one_application() -> Result<()> {
    let world = world().await?;
    for round in ["One", "Two"] {
        let commit = world.project.commit(round).await?;
        let app = release(&world, "verbatim.yaml", "app", &commit).await?;
        let web = release(&world, BLOG, "web", &commit).await?;
        let promote = ["promote", "dev", "--release"];
        let run = world.verbatim(&[&promote[..], &[&app]].concat()).await?.ends(0);
        assert!(run.stdout.contains("proven  1 app"), "{run}");
        let run = world.verbatim(&[&promote[..], &[&web, "--config", BLOG]].concat()).await?;
        assert!(run.ends(0).stdout.contains("proven  1 app"));
    }
    for (config, project) in [("verbatim.yaml", "shop"), (BLOG, "blog")] {
        let history = ["history", "dev", "--config", config, "--format", "json"];
        let history = world.verbatim(&history).await?.ends(0).json()?;
        let numbers = history["promotions"].as_array().map(Vec::len);
        assert_eq!(numbers, Some(2), "{history}");
        let status = ["status", "--config", config, "--format", "json"];
        let status = world.verbatim(&status).await?.ends(0).json()?;
        assert_eq!(status["environments"][0]["state"], "running", "{status}");
        let claim = claim(&world, &format!("claim.{project}.dev")).await?;
        assert_eq!(
            (&claim["state"], &claim["environment"]),
            (&json!("done"), &json!(format!("{project}/dev")))
        );
    }
    Ok(())
}

/// The claim of a run that works on the same value, for whatever environment, holds others off; one of another value does not.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_same_value_holds_off() -> Result<()> {
    let world = world().await?;
    let commit = world.project.commit("One").await?;
    let app = release(&world, "verbatim.yaml", "app", &commit).await?;
    let web = release(&world, BLOG, "web", &commit).await?;
    world.argocd.hold_operations("shop-dev", true);
    let mut job = world.tool.start(&["promote", "dev", "--release", &app, "--verbose"])?;
    job.tells("shop-dev: write the values: done").await?;
    let set = format!("image.tag=x@{}", app.rsplit('@').next().context("no digest")?);
    let argocd = ["argocd", "override", "shop-dev", "--server", &world.argocd_proxy.url()];
    let run = world.verbatim(&[&argocd[..], &["--helm-set", &set]].concat()).await?.ends(5);
    assert!(run.stdout.contains("another run"), "{run}");
    let mut other =
        world.tool.start(&["promote", "dev", "--release", &web, "--config", BLOG, "--verbose"])?;
    other.tells("shop-dev: write the values: done").await?;
    world.argocd.hold_operations("shop-dev", false);
    let (one, two) = (job.end().await?, other.end().await?);
    // Both deploy the state of both; whose operation comes first is chance.
    assert_eq!((one.code, two.code), (0, 0), "{one}\n{two}");
    Ok(())
}
