//! Whoever may push, with what another project signed: two projects often share the key of their CI, and a registry.

use anyhow::{Context as _, Result};
use e2e::{Built, with_gates};
use verbatim_oci::Reference;

/// The image of another project, and the record of its build by the same key, in the repository of this one.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_project_built_is_not_ours() -> Result<()> {
    let world = with_gates("    gates: { signed: { builders: ['*'] } }\n").await?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let blog = text.replace("project: shop", "project: blog").replace("/shop/app", "/blog/web");
    world.project.write("blog.yaml", &blog)?;
    let commit = world.project.commit("Another project").await?;
    let host = world.registry_proxy.address();
    let theirs: Reference = format!("{host}/blog/web:1").parse()?;
    let built = Built { commit, dirty: false, run: None };
    let digest = e2e::push_unrecorded(&theirs, &built).await?.digest;
    let theirs = theirs.pinned(digest).to_string();
    let _ = world.verbatim(&["adopt", &theirs, "--config", "blog.yaml"]).await?.ends(0);
    let _ = world.verbatim(&["verify", &theirs, "--config", "blog.yaml"]).await?.ends(0);
    let ours = format!("{host}/shop/app:1");
    let _ = world.verbatim(&["registry", "copy", &theirs, &ours]).await?.ends(0);
    std::fs::remove_dir_all(world.project.root.join(".verbatim"))?;
    world.argocd.forget_seen();
    let run = world.verbatim(&["promote", "dev", "--release", &ours]).await?.ends(1);
    assert!(run.stdout.contains("refused  signed"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0], "{run}");
    let run = world.verbatim(&["verify", &ours]).await?.ends(1);
    assert!(run.stdout.contains("it is of project `blog`, not of `shop`"), "{run}");
    // Whoever takes over what others built says so.
    let adopted = ours.split_once("/shop").map(|_| format!("{host}/shop/app@{digest}"));
    let adopted = adopted.context("no image")?;
    let _ = world.verbatim(&["adopt", &adopted]).await?.ends(0);
    let _ = world.verbatim(&["promote", "dev", "--release", &ours]).await?.ends(0);
    Ok(())
}
