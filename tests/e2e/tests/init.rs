//! The first configuration of a project, from what Argo CD knows of its applications.

use anyhow::Result;
use e2e::{Tool, World};
use serde_json::json;

const STAGES: [&str; 4] =
    ["init", "dev=shop-dev", "staging=shop-staging", "production=shop-production"];

/// A world whose project has no configuration, and the binary with the variables that name its Argo CD.
async fn bare(world: &World) -> Result<Tool> {
    std::fs::remove_file(world.project.root.join("verbatim.yaml"))?;
    Ok(world.tool.clone().with("ARGOCD_SERVER", &world.argocd_proxy.url()))
}

/// The file is read by every other command: with it alone, a release goes through the environments.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_carries_a_release() -> Result<()> {
    let world = World::start().await?;
    let tool = bare(&world).await?;
    let image = format!("{}/shop/app", world.registry_proxy.address());
    let more = ["--image", &image, "--name", "shop", "--public-key", "ci.pub"];
    let run = tool.run(&[&STAGES[..], &more].concat()).await?.ends(0);
    assert!(run.stdout.contains("shop-staging: image.repository, image.tag\n"), "{run}");
    assert!(!run.stdout.contains("key generate"), "the key is there: {run}");
    assert_eq!(world.writes(), [] as [&str; 0], "it only looks");
    let release = world.release("With its first configuration").await?;
    for stage in ["dev", "staging", "production"] {
        let _ = world.verbatim(&["promote", stage, "--release", &release]).await?.ends(0);
    }
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_over_a_file_or_over_a_doubt() -> Result<()> {
    let world = World::start().await?;
    let there = world.verbatim(&STAGES).await?.ends(2);
    assert!(there.stderr.contains("verbatim.yaml is there already"), "{there}");
    let tool = bare(&world).await?;
    // A plain folder takes no values.
    let plain = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": "plain", "namespace": "argocd" },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": format!("file://{}", world.project.root.display()),
                "path": "manifests", "targetRevision": "main", "directory": {},
            },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
        },
    });
    std::fs::create_dir(world.project.root.join("manifests"))?;
    world
        .project
        .write("manifests/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: m }\n")?;
    let _ = world.project.commit("Add a plain folder").await?;
    world.api(http::Method::POST, "", Some(plain)).await?;
    let image = "--image=r.example/shop";
    let cases: [(&[&str], i32, &str); 9] = [
        (&["init", image, "dev"], 2, "want ENV=APP"),
        (&["init", image, "dev=A"], 2, "no application"),
        (&["init", image, "d/ev=a"], 2, "is not a name"),
        (&["init", image, "dev=shop-dev", "dev=shop-staging"], 2, "dev is named twice"),
        (&["init", image, "dev=shop-dev", "--name", "a b"], 2, "`a b` is not a name"),
        (&["init", image, "dev=shop-dev,shop-dev"], 2, "shop-dev is named twice"),
        (&["init", image, "dev=shop-dev", "next=shop-dev"], 2, "shop-dev is named twice"),
        (&["init", image, "dev=nowhere"], 7, "nowhere"),
        (&["init", image, "dev=plain"], 1, "plain manifests have no parameters"),
    ];
    for (arguments, code, words) in cases {
        let run = tool.run(arguments).await?.ends(code);
        assert!(run.stderr.contains(words), "{words}: {run}");
        assert!(!world.project.root.join("verbatim.yaml").exists(), "{run}");
    }
    Ok(())
}

/// Without a server to ask, and without writing anything: what most charts have, for people to look at.
#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_shown_without_asking_anybody() -> Result<()> {
    let world = World::start().await?;
    let offline = ["--offline", "--image", "r.example/acme/shop", "--dry-run"];
    let tool = bare(&world).await?.with("ARGOCD_SERVER", "argocd.example.com");
    let run = tool.run(&[&STAGES[..], &offline, &["--name", "shop"]].concat()).await?.ends(0);
    insta::assert_snapshot!("init_offline", run.stdout);
    assert!(!world.project.root.join("verbatim.yaml").exists());
    let told = tool.run(&[&STAGES[..], &offline, &["--format", "json"]].concat()).await?.ends(0);
    let told = told.json()?;
    assert_eq!(told["written"], false);
    assert_eq!(
        told["environments"][1]["applications"][0]["values"],
        json!(["image.repository", "image.tag"])
    );
    assert_eq!(told["environments"][1]["environment"], "project/staging");
    assert_eq!(told["next"][0], "verbatim key generate keys/ci");
    assert_eq!(world.argocd.seen().len(), 0, "nobody was asked");
    Ok(())
}
