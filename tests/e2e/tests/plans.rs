//! Plans: shown before, saved, applied exactly or not at all.

use anyhow::{Context as _, Result};
use e2e::World;
use serde_json::{Value, json};
use verbatim_oci::Reference;
use verbatim_record::{Approval, Statement, sign};

fn digest(release: &str) -> &str {
    release.split_once('@').map_or(release, |(_, digest)| digest)
}

/// Plans a promotion to dev into `../plan.json`.
async fn plan(world: &World, release: &str) -> Result<Value> {
    let arguments = ["plan", "dev", "--release", release, "--out", "../plan.json"];
    let _ = world.verbatim(&arguments).await?.ends(0);
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(serde_json::from_slice(&std::fs::read(world.beside("plan.json"))?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_is_applied_exactly() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    let second = world.release("Second").await?;
    world.carry(&first, &["dev"]).await?;
    world.argocd.forget_seen();
    let saved = plan(&world, &second).await?;
    // By the digest alone the tag would be another; the plan tells it.
    let applied = ["apply", "../plan.json", "--format", "json"];
    let applied = world.verbatim(&applied).await?.ends(0).json()?;
    assert_eq!(applied["plan_hash"], saved["hash"]);
    assert_eq!(applied["release"]["digest"], digest(&second));
    let changes = saved["plan"]["apps"][0]["plan"]["changes"].as_array().cloned();
    let planned: Vec<_> = changes
        .into_iter()
        .flatten()
        .map(|change| (change["new"]["name"].clone(), change["new"]["value"].clone()))
        .collect();
    let written: Vec<_> = world
        .parameters("shop-dev")
        .await?
        .into_iter()
        .map(|(name, value)| (json!(name), json!(value)))
        .collect();
    assert_eq!(written, planned);
    // What it was made from is gone now.
    let again = world.verbatim(&["apply", "../plan.json"]).await?.ends(5);
    assert!(again.stdout.contains("the ledger of shop/dev ends with promotion 2@"), "{again}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_approved_for_its_own_environment_alone() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    world.carry(&first, &["dev"]).await?;
    world.argocd.forget_seen();
    plan(&world, &first).await?;
    let approve = ["approve", "staging", "--release", &first, "--plan", "../plan.json", "--anyway"];
    let refused = world.verbatim(&approve).await?.ends(2);
    assert!(refused.stderr.contains("plan.json is a plan of sha256:"), "{refused}");
    assert!(refused.stderr.contains("to shop/dev, not of sha256:"), "{refused}");
    let approve = ["approve", "dev", "--release", &first, "--plan", "../plan.json", "--anyway"];
    let _ = world.verbatim(&[&approve[..], &["--yes"]].concat()).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_the_manifests_become() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    let second = world.release("Second").await?;
    world.carry(&first, &["dev"]).await?;
    world.argocd.forget_seen();
    let dry = ["promote", "dev", "--dry-run", "--release", &second, "--format", "json"];
    let dry = world.verbatim(&dry).await?.ends(0).json()?;
    assert_eq!(dry["predictions"][0]["gaps"], json!([]));
    let image =
        dry["predictions"][0]["differences"].as_array().into_iter().flatten().find(|difference| {
            difference["path"].as_str().is_some_and(|path| path.ends_with("/image"))
        });
    let then = image.map(|difference| difference["then"].as_str().unwrap_or_default());
    assert!(then.is_some_and(|then| then.ends_with(digest(&second))), "{dry}");
    assert_eq!(dry["writes"][0], "PATCH /api/v1/applications/shop-dev: the values and the claim");
    assert_eq!(world.writes(), [] as [&str; 0]);
    // The prediction was right.
    world.carry(&second, &["dev"]).await?;
    let rendered = world.api(http::Method::GET, "/shop-dev/manifests", None).await?.to_string();
    assert!(then.is_some_and(|then| rendered.contains(then)), "{rendered}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_plan_is_refused_and_says_how() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    let _ = plan(&world, &release).await?;
    // Somebody changes a value.
    let parameter = json!({ "name": "image.tag", "value": "by-hand" });
    let patch =
        json!([{ "op": "add", "path": "/spec/source/helm/parameters", "value": [parameter] }]);
    world.patch("shop-dev", patch).await?;
    // Somebody changes the rules.
    let rules = world.configuration().replace("[builder, tester, promoter]", "[builder, promoter]");
    world.project.write("verbatim.yaml", &rules)?;
    world.argocd.forget_seen();
    let run = world.verbatim(&["apply", "../plan.json"]).await?.ends(5);
    assert!(run.stdout.contains("shop-dev: helm:image.tag is by-hand, was (absent)"), "{run}");
    assert!(run.stdout.contains("the policy is sha256:"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

/// The chart that a plan was made with is part of the world, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_outdated_when_the_chart_moves() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    let before = plan(&world, &release).await?;
    let revision = before["plan"]["apps"][0]["revisions"][0].as_str().unwrap_or_default();
    let commit = world.project.commit("Change the chart").await?;
    world.api(http::Method::GET, "/shop-dev?refresh=normal", None).await?;
    let run = world.verbatim(&["apply", "../plan.json"]).await?.ends(5);
    let told = format!("shop-dev: its sources are at {commit}, were at {revision}");
    assert!(run.stdout.contains(&told), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_no_permission() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    // A plan for an application that was never compared knows no revision, and is outdated as soon as one is known.
    let _ = world.api(http::Method::GET, "/shop-staging?refresh=normal", None).await?;
    world.argocd.forget_seen();
    let arguments = ["plan", "staging", "--release", &release, "--out", "../plan.json"];
    let run = world.verbatim(&arguments).await?.ends(0);
    assert!(run.stdout.contains("refused  after"), "{run}");
    let dry = ["promote", "staging", "--dry-run", "--release", &release];
    let _ = world.verbatim(&dry).await?.ends(1);
    let run = world.verbatim(&["apply", "../plan.json"]).await?.ends(1);
    assert!(run.stdout.contains("never promoted to shop/dev"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    // The gates open, and the plan is still the same.
    world.carry(&release, &["dev"]).await?;
    let _ = world.verbatim(&["apply", "../plan.json"]).await?.ends(0);
    Ok(())
}

/// An approval that names a plan is for that plan alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_approved_by_its_hash() -> Result<()> {
    let world = World::start().await?;
    let lead = e2e::key(5)?;
    world.project.write("lead.pub", &lead.verifying_key().to_pem()?)?;
    let rules = world.configuration().replace(
        "    apps: [shop-dev]\n",
        "    apps: [shop-dev]\n    gates: { approvals: { role: release-manager } }\n",
    );
    let keys = "  - { name: lead, file: lead.pub, roles: [release-manager] }\n";
    world.project.write("verbatim.yaml", &format!("{rules}{keys}"))?;
    let release = world.release("First").await?;
    let saved = plan(&world, &release).await?;
    let refused = world.verbatim(&["apply", "../plan.json"]).await?.ends(1);
    assert!(refused.stdout.contains("refused  approvals"), "{refused}");
    let image: Reference = release.parse()?;
    let approval = Approval {
        seen: Vec::new(),
        environment: "shop/dev".parse()?,
        reason: String::new(),
        at: jiff::Timestamp::now(),
        until: None,
        plan: Some(saved["hash"].as_str().context("no hash")?.parse()?),
        run: Default::default(),
    };
    let name = image.repository.to_string();
    let digest = image.digest.context("no digest")?;
    let record = sign(&Statement::approval(&name, &digest, approval), &lead)?;
    let subject = e2e::client()?.manifest(&image).await?.descriptor()?;
    e2e::attach(&image, subject, &record).await?;
    let refused = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("it is for a saved plan: run `verbatim apply`"), "{refused}");
    let _ = world.verbatim(&["apply", "../plan.json"]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_edited_is_not_applied() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    let saved = plan(&world, &release).await?.to_string();
    let edited = saved.replace("shop-dev", "shop-production");
    std::fs::write(world.beside("plan.json"), edited)?;
    let run = world.verbatim(&["apply", "../plan.json"]).await?.ends(2);
    assert!(run.stderr.contains("it was changed after it was made"), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_a_comment_on_a_pull_request() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    let arguments = ["plan", "staging", "--release", &release, "--format", "markdown"];
    let run = world.verbatim(&arguments).await?.ends(0);
    let registry = world.registry_proxy.address();
    let shown = run.stdout.replace(&registry.to_string(), "registry.example");
    for want in [
        "### `registry.example/shop/app:local.",
        "**Not yet.**",
        "| after | **refused** | never promoted to shop/dev | ",
        "| `shop-staging` | `helm:image.repository` | `(absent)` | `registry.example/shop/app` |",
        "<details><summary>What the manifests become, predicted</summary>",
        "Plan `sha256:",
    ] {
        assert!(shown.contains(want), "{want} is not in\n{run}");
    }
    Ok(())
}
