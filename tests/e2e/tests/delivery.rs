//! How applications are deployed: by verbatim.yaml, or by the command line. Whatever stands in the way, the hint names the
//! flag that the command has, and the key.

use anyhow::Result;
use e2e::World;

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
    let text = text.replacen(tag, &format!("{tag}    other.digest: \"${{digest}}\"\n"), 1);
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("Something new").await?;
    for command in ["promote", "plan"] {
        let run = world.verbatim(&[command, "dev", "--release", &release]).await?.ends(1);
        assert!(run.stdout.contains("the chart has no parameter other.digest"), "{run}");
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
