//! The applications of an environment by their labels: one that is not found any more is told, and never left out without
//! a word.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::World;
use serde_json::json;
use simulated_argocd::{Config, Pods, SimulatedArgocd, Tools};

/// A world whose dev has the two applications with a label, with a good release on both.
async fn world() -> Result<(World, String)> {
    let world = World::start().await?;
    let text = world.configuration();
    let selected =
        text.replacen("apps: [shop-dev]", "apps: { project: default, selector: stage=dev }", 1);
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

/// Without registry and ledger, the claims on the applications tell what the last promotion changed.
#[tokio::test(flavor = "multi_thread")]
async fn breaking_the_glass_leaves_no_application_out_without_a_word() -> Result<()> {
    let (world, _) = world().await?;
    let bad = world.release("Something bad").await?;
    world.carry(&bad, &["dev"]).await?;
    label(&world, "shop-production", "dve").await?;
    world.argocd.forget_seen();
    let line = ["rollback", "dev", "--from-argocd-history", "--reason", "all is down"];
    let run = world.verbatim(&line).await?.ends(1);
    let told = "shop-production was part of the last promotion to shop/dev, by its claim, and is not found any more";
    assert!(run.stderr.contains(told), "{run}");
    assert!(run.stderr.contains("--without"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    let without = [&line[..], &["--without", "shop-production"]].concat();
    let run = world.verbatim(&without).await?.ends(0);
    assert!(run.stdout.contains("without shop-production, which left the environment"), "{run}");
    Ok(())
}

/// Another Argo CD, with one application in a project that the first has, too.
async fn other_server(world: &World, spec: &serde_json::Value) -> Result<SimulatedArgocd> {
    let tools = Tools { helm: None, kustomize: None, substitute: true, ..Tools::default() };
    let pods = Pods::Fake { ready_after: Duration::from_millis(10) };
    let server = SimulatedArgocd::start(Config { tools, pods, ..Config::default() }).await?;
    for (url, token) in
        [(server.url(), server.tokens().admin), (world.argocd.url(), world.argocd.tokens().admin)]
    {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let post = async |path: &str, body: serde_json::Value| {
            let url = format!("{url}/api/v1/{path}");
            let answer = http.post(url).bearer_auth(&token).json(&body).send().await?;
            anyhow::ensure!(answer.status().is_success(), "{}", answer.text().await?);
            Ok(())
        };
        let rules = json!({
            "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        });
        post("projects", json!({ "project": { "metadata": { "name": "web" }, "spec": rules } }))
            .await?;
        let mut spec = spec.clone();
        spec["project"] = "web".into();
        let metadata = json!({ "name": "shop-web", "namespace": "argocd" });
        post("applications", json!({ "metadata": metadata, "spec": spec })).await?;
    }
    Ok(server)
}

/// The same name on two servers is two applications, and what is in another project is none of them, whatever its labels.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_project_on_two_servers_is_one_environment() -> Result<()> {
    let world = World::start().await?;
    let dev = world.api(http::Method::GET, "/shop-dev", None).await?;
    let eu = other_server(&world, &dev["spec"]).await?;
    let text = world.configuration();
    let main = format!("  main: {{ url: {} }}\n", world.argocd_proxy.url());
    let both = format!("{main}  eu: {{ url: {}, token_variable: ARGOCD_EU_TOKEN }}\n", eu.url());
    let text = text.replacen(&main, &both, 1);
    let text = text.replacen("apps: [shop-dev]", "apps: { project: web, servers: [main, eu] }", 1);
    let text =
        text.replacen("apps: [shop-staging]", "apps: [{ name: shop-staging, server: main }]", 1);
    let text = text.replacen(
        "apps: [shop-production]",
        "apps: [{ name: shop-production, server: main }]",
        1,
    );
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("On two servers").await?;
    let tool = world.tool.clone().with("ARGOCD_EU_TOKEN", &eu.tokens().bot);
    let promote = ["promote", "dev", "--release", &release, "--format", "json"];
    let promoted = tool.run(&promote).await?.ends(0).json()?;
    let applications = promoted["applications"].as_array().context("no applications")?;
    let places: Vec<_> = applications
        .iter()
        .map(|it| (it["app"].as_str(), it["report"]["server"].as_str().unwrap_or_default()))
        .collect();
    let url = |url: String| format!("{}/", url.trim_end_matches('/'));
    let on = [url(eu.url()), url(world.argocd_proxy.url())];
    assert_eq!(places, [(Some("shop-web"), on[0].as_str()), (Some("shop-web"), on[1].as_str())]);
    assert!(world.parameters("shop-web").await?.iter().any(|(name, _)| name == "image.tag"));
    assert_eq!(world.parameters("shop-dev").await?, [], "it is in another project");
    let _ = tool.run(&["status", "--check"]).await?.ends(0);

    // One of them is gone from its server: then nothing is known to be all.
    let http = reqwest::Client::builder().no_proxy().build()?;
    let gone = http.delete(format!("{}/api/v1/applications/shop-web", eu.url()));
    let gone = gone.bearer_auth(eu.tokens().admin).header("content-type", "application/json");
    anyhow::ensure!(gone.send().await?.status().is_success());
    let run = tool.run(&["promote", "dev", "--release", &release]).await?.ends(7);
    assert!(run.stderr.contains("Argo CD `eu` has no application of the project `web`"), "{run}");
    Ok(())
}
