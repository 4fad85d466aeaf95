//! Whoever may change an application in Argo CD: its labels, its annotations, whether it can be read.

use anyhow::{Context as _, Result};
use e2e::World;
use fault_proxy::{Fault, Rule};
use serde_json::json;

async fn label(world: &World, app: &str, stage: &str) -> Result<()> {
    let labels = json!([{ "op": "add", "path": "/metadata/labels", "value": { "stage": stage } }]);
    world.patch(app, labels).await.map(drop)
}

/// A world whose production is an application with a label.
async fn selected() -> Result<World> {
    let world = World::start().await?;
    let text = world.configuration();
    let apps = "apps: { project: default, selector: stage=production }";
    assert!(text.contains("apps: [shop-production]"), "{text}");
    world.project.write("verbatim.yaml", &text.replace("apps: [shop-production]", apps))?;
    label(&world, "shop-production", "production").await?;
    Ok(world)
}

/// A label brings an application into a second environment. The gates of the first one are then no way around those of the
/// second, and neither writes what the other reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_brings_no_application_into_two_environments() -> Result<()> {
    let world = selected().await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev", "staging", "production"]).await?;
    label(&world, "shop-dev", "production").await?;
    world.argocd.forget_seen();
    let next = world.release("Two").await?;
    for line in [
        &["promote", "dev", "--release", &next][..],
        &["promote", "production", "--release", &next],
        &["restore", "production"],
        &["rollback", "dev", "--from-argocd-history", "--reason", "all is down"],
    ] {
        let run = world.verbatim(line).await?.ends(2);
        assert!(run.stderr.contains("of the application `shop-dev`"), "{run}");
    }
    assert_eq!(world.writes(), [] as [&str; 0]);
    label(&world, "shop-dev", "dev").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &next]).await?.ends(0);
    Ok(())
}

/// Labels are free to whoever owns an application of any Argo CD project.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_brings_in_no_application_of_another_project() -> Result<()> {
    let world = selected().await?;
    let theirs = json!({
        "metadata": { "name": "theirs", "namespace": "argocd", "labels": { "stage": "production" } },
        "spec": {
            "project": "other",
            "source": { "repoURL": format!("file://{}", world.project.root.display()), "path": "chart", "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
        },
    });
    world.create_project("other").await?;
    world.api(http::Method::POST, "", Some(theirs)).await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev", "staging", "production"]).await?;
    let theirs = world.parameters("theirs").await?;
    assert!(theirs.is_empty(), "{theirs:?}");
    // Without a project it could.
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    world.project.write("verbatim.yaml", &text.replace("project: default, ", ""))?;
    let run = world.verbatim(&["promote", "production", "--release", &release]).await?.ends(2);
    assert!(run.stderr.contains("whoever may label an application"), "{run}");
    Ok(())
}

/// An application of Argo CD's own namespace has two names, and an environment without gates may use the other one.
#[tokio::test(flavor = "multi_thread")]
async fn another_name_brings_no_application_into_two_environments() -> Result<()> {
    let world = World::start().await?;
    let more = "\n  - name: hotfix\n    apps: [{ name: shop-production, namespace: argocd }]\n    settle: 0s\nkeys:";
    world.project.write("verbatim.yaml", &world.configuration().replacen("\nkeys:", more, 1))?;
    let release = world.release("One").await?;
    world.argocd.forget_seen();
    let run = world.verbatim(&["promote", "hotfix", "--release", &release]).await?.ends(2);
    assert!(run.stderr.contains("`hotfix` and `production` both write"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

/// The end of the ledger stands on the applications. One that cannot be read may say that the ledger was cut.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_cannot_be_read_hides_no_end_of_a_ledger() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let ever = text.replace("after: [staging]", "after: [{ environment: staging, ran: ever }]");
    assert_ne!(text, ever);
    world.project.write("verbatim.yaml", &ever)?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev", "staging"]).await?;
    let (promote, history) =
        (["promote", "production", "--release", &release], ["history", "staging"]);
    world
        .argocd_proxy
        .inject(Rule::new(Fault::Status(403)).path("/api/v1/applications/shop-staging").always());
    let run = world.verbatim(&promote).await?.ends(1);
    assert!(
        run.stdout.contains("refused  after:shop/staging") || run.stdout.contains("refused  after"),
        "{run}"
    );
    assert!(run.stdout.contains("what shop-staging says of the end of the ledger"), "{run}");
    let run = world.verbatim(&history).await?.ends(1);
    assert!(run.stdout.contains("what shop-staging says of the end of the ledger"), "{run}");
    world.argocd_proxy.heal();
    let _ = world.verbatim(&history).await?.ends(0);
    let _ = world.verbatim(&promote).await?.ends(0);
    let parameters = world.parameters("shop-production").await?;
    let digest = release.split_once('@').context("no digest")?.1;
    assert!(parameters.iter().any(|(_, value)| value.contains(digest)), "{parameters:?}");
    Ok(())
}

/// An annotation names a promotion that never was. It could be one whose record is hidden, so nothing is promoted; who looks
/// is told where it stands.
#[tokio::test(flavor = "multi_thread")]
async fn an_invented_end_of_a_ledger_stops_promotions_and_is_told() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let path = "/metadata/annotations";
    let good = world.api(http::Method::GET, "/shop-dev", None).await?;
    let good = good.pointer(path).context("no annotations")?.clone();
    let mut invented = good.clone();
    let texts = invented.as_object_mut().context("no annotations")?;
    let claim =
        texts.values_mut().find(|text| text.as_str().is_some_and(|it| it.contains("record")));
    let claim = claim.context("no claim")?;
    let mut changed: serde_json::Value = serde_json::from_str(claim.as_str().context("no text")?)?;
    changed["record"] = json!(format!("99@sha256:{}", "0".repeat(64)));
    *claim = json!(changed.to_string());
    world.patch("shop-dev", json!([{ "op": "replace", "path": path, "value": invented }])).await?;
    let next = world.release("Two").await?;
    world.argocd.forget_seen();
    let _ = world.verbatim(&["promote", "dev", "--release", &next]).await?.ends(1);
    assert_eq!(world.writes(), [] as [&str; 0]);
    let run = world.verbatim(&["history", "dev"]).await?.ends(1);
    assert!(run.stdout.contains("promotion 99"), "{run}");
    assert!(run.stdout.contains("it is named by the annotation on shop-dev"), "{run}");
    world.patch("shop-dev", json!([{ "op": "replace", "path": path, "value": good }])).await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &next]).await?.ends(0);
    Ok(())
}
