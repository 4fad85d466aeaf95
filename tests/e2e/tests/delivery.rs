//! How applications are deployed: by verbatim.yaml, or by the command line. Whatever stands in the way, the hint names the
//! flag that the command has, and the key.

use anyhow::{Context as _, Result};
use e2e::World;
use serde_json::json;

/// A resource beside the workload.
const EXTRA: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: {{ .Release.Name }}-extra }\ndata: { a: b }\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_in_the_sources_is_deleted_or_accepted() -> Result<()> {
    let world = World::start().await?;
    world.project.write("chart/templates/extra.yaml", EXTRA)?;
    let good = world.release("With a resource").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &good]).await?.ends(0);
    std::fs::remove_file(world.project.root.join("chart/templates/extra.yaml"))?;
    let new = world.release("Without the resource").await?;
    let promote = ["promote", "dev", "--release", &new];

    let run = world.verbatim(&promote).await?.ends(1);
    assert!(run.stdout.contains("no longer in the sources, and not deleted"), "{run}");
    for hint in [
        "hint: to delete them: --prune, or `deploy: { prune: true }` in verbatim.yaml",
        "hint: to keep them: --allow-unpruned, or `deploy: { allow_unpruned: true }` in verbatim.yaml",
    ] {
        assert!(run.stderr.contains(hint), "{hint}: {run}");
    }
    let kept = [&promote[..], &["--allow-unpruned"]].concat();
    let _ = world.verbatim(&kept).await?.ends(0);
    let text = world.configuration();
    let text = text.replacen("environments:\n", "deploy: { prune: true }\nenvironments:\n", 1);
    world.project.write("verbatim.yaml", &text)?;
    let _ = world.verbatim(&promote).await?.ends(0);
    let tree = world.api(http::Method::GET, "/shop-dev/resource-tree", None).await?;
    assert!(!tree.to_string().contains("shop-dev-extra"), "{tree}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_the_chart_does_not_list_is_written_on_demand() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let tag = "    image.tag: \"${tag}@${digest}\"\n";
    let text = text.replacen(tag, &format!("{tag}    image.tags: \"${{digest}}\"\n"), 1);
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("Something new").await?;
    for command in ["promote", "plan"] {
        let run = world.verbatim(&[command, "dev", "--release", &release]).await?.ends(1);
        assert!(run.stdout.contains("the chart has no parameter image.tags"), "{run}");
        let hint = "--allow-unknown-parameters, or `deploy: { allow_unknown_parameters: true }` in verbatim.yaml";
        assert!(run.stderr.contains(hint), "{run}");
    }
    let flag = ["promote", "dev", "--release", &release, "--allow-unknown-parameters"];
    let _ = world.verbatim(&flag).await?.ends(0);
    let own = "    apps: [shop-staging]\n    deploy: { allow_unknown_parameters: true }\n";
    let text = text.replacen("    apps: [shop-staging]\n", own, 1);
    world.project.write("verbatim.yaml", &text)?;
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(0);
    let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
    Ok(())
}

/// A window that opens is waited for before anything is decided, and nothing is written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_window_that_opens_is_waited_for() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("In the night").await?;
    let deny = json!({ "kind": "deny", "schedule": "* * * * *", "duration": "24h", "applications": ["*"] });
    world.windows(json!([deny])).await?;
    let promote = ["promote", "dev", "--release", &release];
    let run = world.verbatim(&promote).await?.ends(1);
    let hint = "hint: if one opens soon, to wait for it: --wait-for-window 1h, or `deploy: { wait_for_window: 1h }` in verbatim.yaml";
    assert!(run.stderr.contains(hint), "{run}");

    let waiting = [&promote[..], &["--wait-for-window", "3s"]].concat();
    let before = world.argocd_proxy.requests();
    let job = world.tool.start(&waiting)?;
    until(&world, before, |seen| seen.ends_with("/syncwindows")).await?;
    world.windows(json!([])).await?;
    let run = job.end().await?.ends(0);
    let told = "shop-dev: a sync window forbids syncing now (deny * * * * * for 24h); waiting for one that allows it, for";
    assert!(run.stderr.contains(told), "{run}");

    // A window that does not open refuses, as it does without the flag.
    world.windows(json!([deny])).await?;
    let next = world.release("In the next night").await?;
    world.argocd.forget_seen();
    let staging = ["promote", "dev", "--release", &next, "--wait-for-window", "1s"];
    let run = world.verbatim(&staging).await?.ends(1);
    assert!(run.stdout.contains("a sync window forbids syncing now: deny"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

/// The operation of somebody else is ended, and result and record say whose it was.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_somebody_else_is_ended_and_recorded() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let text =
        text.replacen("environments:\n", "deploy: { terminate_foreign: true }\nenvironments:\n", 1);
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("One").await?;
    world.argocd.hold_operations("shop-dev", true);
    let sync = json!({ "infos": [{ "name": "who", "value": "a person" }] });
    world.api(http::Method::POST, "/shop-dev/sync", Some(sync)).await?;
    world.argocd.forget_seen();
    let promote = ["promote", "dev", "--release", &release, "--format", "json"];
    let job = world.tool.start(&promote)?;
    until(&world, 0, |seen| seen.starts_with("DELETE") && seen.ends_with("/operation")).await?;
    world.argocd.hold_operations("shop-dev", false);
    let run = job.end().await?.ends(0);
    assert!(
        run.stderr
            .contains("warning: shop-dev: ended another operation, as asked: a sync of admin"),
        "{run}"
    );
    let proof = &run.json()?["applications"][0]["report"]["outcome"]["proof"];
    assert_eq!(proof["ended"][0]["initiated_by"]["username"], "admin", "{proof}");
    let (_, _, found) = crate::records::bundles(&release).await?;
    let is_promotion =
        |bundle: &&verbatim_record::Bundle| bundle.predicate_type() == "urn:verbatim:promotion:v1";
    let record = found.iter().find(is_promotion).context("no record")?;
    let promotion = crate::records::statement::<verbatim_record::Promotion>(record)?.predicate;
    let evidence = serde_json::to_value(&promotion.applications[0].proof.operation.evidence)?;
    assert_eq!(evidence["ended"][0]["initiated_by"]["username"], "admin", "{evidence}");
    Ok(())
}

/// Waits until Argo CD has answered such a request, after so many others.
async fn until(world: &World, before: usize, is_it: impl Fn(&str) -> bool) -> Result<()> {
    let wait = async {
        loop {
            let seen = world.argocd_proxy.seen();
            let answered = seen.iter().skip(before).filter(|one| one.status.is_some());
            let mut lines = answered.map(|one| format!("{} {}", one.method, one.target));
            if lines.any(|line| is_it(line.split('?').next().unwrap_or_default())) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), wait).await.context("no such request")
}
