//! What stands in the applications in the place of what git says, and who put it there.

use anyhow::Result;
use e2e::World;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn every_override_is_listed_with_what_git_says_and_who_set_it() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let by_hand = json!([
        { "name": "image.tag", "value": "nightly" },
        { "name": "dbPassword", "value": "hunter2" },
        { "name": "replicas", "value": "9" },
    ]);
    let block = json!({ "valueFiles": ["values-staging.yaml"], "parameters": by_hand });
    let patch = json!([{ "op": "replace", "path": "/spec/source/helm", "value": block }]);
    world.patch("shop-staging", patch).await?;
    world.argocd.forget_seen();
    let url = world.argocd.url();
    let overrides = ["argocd", "overrides", "--server", &url];
    let run = world.verbatim(&overrides).await?.ends(0);
    // One list, where Argo CD runs, and what each of two charts says; nothing else.
    let seen: Vec<String> = world.argocd.seen().into_iter().map(|one| one.target).collect();
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert_eq!(world.writes(), [] as [&str; 0]);

    let json = world.verbatim(&[&overrides[..], &["--format", "json"]].concat()).await?.ends(0);
    assert!(!json.stdout.contains("hunter2"), "{json}");
    let json = json.json()?;
    let find = |app: &str, key: &str| -> Value {
        let all = json["overrides"].as_array().cloned().unwrap_or_default();
        let is_it = |one: &&Value| one["app"]["name"] == app && one["key"] == key;
        all.iter().find(is_it).cloned().unwrap_or_default()
    };
    let tag = find("shop-dev", "helm:image.tag");
    assert_eq!(tag["git"], json!({ "state": "known", "value": "none" }), "{tag}");
    assert_eq!(tag["set_by"]["environment"], "shop/dev", "{tag}");
    assert_eq!(tag["set_by"]["reference"], release, "{tag}");
    assert_eq!(tag["set_by"]["promotion"]["number"], 1, "{tag}");
    let record = tag["set_by"]["promotion"]["record"].as_str().unwrap_or_default();
    let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
    assert!(record.starts_with("sha256:") && history.stdout.contains(record), "{record} {history}");
    let replicas = find("shop-staging", "helm:replicas");
    assert_eq!(replicas["value"], "9");
    assert_eq!(replicas["set_by"], Value::Null);

    let text = run.stdout.replace(&release[release.find("@sha256:").unwrap_or(0)..], "@DIGEST");
    let text = text
        .replace(&world.registry_proxy.address().to_string(), "REGISTRY")
        .replace(&record[.."sha256:".len() + 12], "RECORD");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let text = lines.collect::<Vec<_>>().join("\n");
    let tag = release.rsplit_once('@').and_then(|(tag, _)| tag.rsplit_once(':'));
    insta::assert_snapshot!(text.replace(tag.map_or("?", |(_, tag)| tag), "TAG"), @r"
    APP KEY VALUE GIT SET BY PROMOTION
    shop-dev helm:image.repository REGISTRY/shop/app registry.demo.example/demo/app shop/dev 1 RECORD
    shop-dev helm:image.tag TAG@DIGEST none shop/dev 1 RECORD
    shop-staging helm:image.tag nightly none unknown
    shop-staging helm:dbPassword (hidden) (not listed) unknown
    shop-staging helm:replicas 9 (not listed) unknown

    5 overrides in 3 applications, 3 without a claim
    ");
    Ok(())
}
