//! Whoever may change the file of a plan between the job that plans and the job that applies: an artifact of the CI, a cache,
//! an earlier step. The attacker has no key, and computes the hash of the file anew.

use anyhow::{Context as _, Result};
use e2e::{Built, World, by, with_gates};
use serde_json::{Value, json};
use verbatim_oci::{Digest, Reference};

/// Plans a promotion of a release to dev into `../plan.json`.
async fn plan(world: &World, release: &str) -> Result<Value> {
    let arguments = ["plan", "dev", "--release", release, "--out", "../plan.json"];
    let _ = world.verbatim(&arguments).await?.ends(0);
    Ok(serde_json::from_slice(&std::fs::read(world.beside("plan.json"))?)?)
}

/// Writes the file anew, with a hash that fits what it says.
fn rewrite(world: &World, saved: &Value, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut saved = saved.clone();
    change(&mut saved["plan"]);
    let hash = Digest::of(saved["plan"].to_string().as_bytes()).to_string();
    saved["hash"] = json!(hash);
    std::fs::write(world.beside("plan.json"), saved.to_string())?;
    Ok(hash)
}

/// The new values of the only application.
fn set(plan: &mut Value, repository: &str, tag: &str) {
    for change in plan["apps"][0]["plan"]["changes"].as_array_mut().into_iter().flatten() {
        let is_tag = change["new"]["name"] == "image.tag";
        change["new"]["value"] = json!(if is_tag { tag } else { repository });
    }
}

fn digest(release: &str) -> &str {
    release.split_once('@').map_or(release, |(_, digest)| digest)
}

/// A world whose values name the image, as those of the documents do.
async fn world() -> Result<World> {
    let world = World::start().await?;
    let text = world
        .configuration()
        .replace("${repository}", "${app.repository}")
        .replace("${tag}@${digest}", "${app.tag}@${app.digest}");
    world.project.write("verbatim.yaml", &text)?;
    Ok(world)
}

/// The gates look at the release that the plan names; what is written must be that one, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_brings_no_image_that_no_gate_has_seen() -> Result<()> {
    let world = world().await?;
    let good = world.release("Good").await?;
    let evil: Reference = format!("{}/evil/x:1", world.registry_proxy.address()).parse()?;
    let built = Built { commit: "e".repeat(40), dirty: false, run: None };
    let evil = evil.pinned(e2e::push_unrecorded(&evil, &built).await?.digest);
    let (repository, evil_digest) =
        (evil.repository.to_string(), evil.digest.context("no digest")?.to_string());
    let saved = plan(&world, &good).await?;
    let tag = saved["plan"]["release"]["tag"].as_str().context("no tag")?.to_owned();
    let home = saved["plan"]["release"]["repository"].as_str().context("no place")?.to_owned();
    let good_digest = digest(&good);
    world.argocd.forget_seen();
    type Attack<'a> = (&'a str, Box<dyn Fn(&mut Value) + 'a>);
    let attacks: [Attack<'_>; 5] = [
        (
            "the plan has the image `app`",
            Box::new(|plan| {
                let image = json!({ "repository": repository, "digest": evil_digest });
                plan["release"]["images"] = json!({ "app": image });
                set(plan, &repository, &format!("untagged@{evil_digest}"));
            }),
        ),
        (
            "the release is in",
            Box::new(|plan| {
                plan["release"]["repository"] = json!(repository);
                set(plan, &repository, &format!("{tag}@{good_digest}"));
            }),
        ),
        (
            "does not have the tag `production`",
            Box::new(|plan| {
                plan["release"]["tag"] = json!("production");
                set(plan, &home, &format!("production@{good_digest}"));
            }),
        ),
        (
            "helm:image.tag is to become",
            Box::new(|plan| set(plan, &home, &format!("{tag}@{evil_digest}"))),
        ),
        (
            "the name of its image is `app`, the plan says `other`",
            Box::new(|plan| plan["release"]["image"] = json!("other")),
        ),
    ];
    for (told, change) in attacks {
        rewrite(&world, &saved, change)?;
        let run = world.verbatim(&["apply", "../plan.json"]).await?.ends(5);
        assert!(run.stdout.contains(told), "`{told}` is not in {run}");
        assert_eq!(world.writes(), [] as [&str; 0], "{run}");
    }
    // Nothing is wrong with what was planned.
    rewrite(&world, &saved, |_| ())?;
    let _ = world.verbatim(&["apply", "../plan.json"]).await?.ends(0);
    Ok(())
}

/// An override is somebody's word, and the plan is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_overrides_no_gate_by_itself() -> Result<()> {
    let world = with_gates("    gates: { windows: [{ allow: '2020-01-01' }] }\n").await?;
    let release = world.release("One").await?;
    let saved = plan(&world, &release).await?;
    world.argocd.forget_seen();
    let overrides = json!([{ "gate": "windows", "reason": "x" }]);
    let hash = rewrite(&world, &saved, |plan| plan["overrides"] = overrides)?;
    let apply = ["apply", "../plan.json"];
    // The key of `chief` may override, but nobody asked it to.
    let run = by(&world, "chief", &apply).await?.ends(1);
    assert!(run.stderr.contains("the plan overrides the gate `windows`: x"), "{run}");
    assert!(run.stderr.contains("--override-gate windows --reason"), "{run}");
    assert!(run.stderr.contains("verbatim approve dev --release"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0], "{run}");
    // The approval of somebody who may not override is not enough, nor is one of another plan.
    let approve = ["approve", "dev", "--release", &release, "--anyway", "--plan"];
    let _ = by(&world, "lead", &[&approve[..], &[&hash]].concat()).await?.ends(0);
    let other = Digest::of(b"another plan").to_string();
    let _ = by(&world, "chief", &[&approve[..], &[&other]].concat()).await?.ends(0);
    let _ = by(&world, "chief", &apply).await?.ends(1);
    assert_eq!(world.writes(), [] as [&str; 0]);
    // Repeated, or approved by its hash, it counts.
    let repeated = ["apply", "../plan.json", "--override-gate", "windows", "--reason", "down"];
    let run = by(&world, "chief", &repeated).await?.ends(0);
    assert!(run.stdout.contains("windows"), "{run}");
    let release = world.release("Two").await?;
    let plan = ["plan", "dev", "--release", &release, "--out", "../plan.json"];
    let plan = [&plan[..], &["--override-gate", "windows", "--reason", "down"]].concat();
    let _ = world.verbatim(&plan).await?.ends(0);
    let _ = by(&world, "chief", &apply).await?.ends(1);
    let approve = ["approve", "dev", "--release", &release, "--plan", "../plan.json", "--yes"];
    let approved = by(&world, "chief", &approve).await?.ends(0);
    assert!(approved.stderr.contains("overrides the gate windows: down"), "{approved}");
    let _ = by(&world, "chief", &apply).await?.ends(0);
    Ok(())
}

/// That an application left the environment is somebody's word, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_leaves_no_application_out_by_itself() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    // No application is in two environments.
    let (begin, keys) = (text.find("  - name: production"), text.find("keys:"));
    let (begin, keys) = (begin.context("no production")?, keys.context("no keys")?);
    let text = format!("{}{}", &text[..begin], &text[keys..]);
    let both = text.replace("apps: [shop-dev]", "apps: [shop-dev, shop-production]");
    world.project.write("verbatim.yaml", &both)?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    world.project.write("verbatim.yaml", &text)?;
    let arguments = ["plan", "dev", "--release", &release, "--out", "../plan.json"];
    let without = [&arguments[..], &["--without", "shop-production"]].concat();
    let _ = world.verbatim(&without).await?.ends(0);
    world.argocd.forget_seen();
    let run = world.verbatim(&["apply", "../plan.json"]).await?.ends(1);
    assert!(run.stderr.contains("the plan leaves out shop-production"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0], "{run}");
    let apply = ["apply", "../plan.json", "--without", "shop-production"];
    let _ = world.verbatim(&apply).await?.ends(0);
    Ok(())
}

/// A plan that lay around for long is not what anybody looks at today.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_does_not_count_for_ever() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    let saved = plan(&world, &release).await?;
    world.argocd.forget_seen();
    let hours = |hours: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    for (at, told) in [(hours(-8 * 24), "it counts for 7 days"), (hours(1), "in the future")] {
        rewrite(&world, &saved, |plan| plan["made_at"] = json!(at.to_string()))?;
        let run = world.verbatim(&["apply", "../plan.json"]).await?.ends(1);
        assert!(run.stderr.contains(told), "{run}");
    }
    // The time is part of what is approved.
    let hash = rewrite(&world, &saved, |_| ())?;
    let younger = rewrite(&world, &saved, |plan| plan["made_at"] = json!(hours(0).to_string()))?;
    assert_ne!(hash, younger);
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

/// Who approves a plan sees what it is, and what it is is a release that the registry has.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_approved_by_who_has_seen_it() -> Result<()> {
    let world = world().await?;
    let release = world.release("One").await?;
    let saved = plan(&world, &release).await?;
    let approve = ["approve", "dev", "--release", &release, "--anyway", "--plan", "../plan.json"];
    let run = world.verbatim(&approve).await?.ends(2);
    assert!(run.stderr.contains("--yes"), "{run}");
    let yes = [&approve[..], &["--yes"]].concat();
    rewrite(&world, &saved, |plan| {
        let image = json!({ "repository": "evil.example/x", "digest": Digest::of(b"evil") });
        plan["release"]["images"] = json!({ "app": image });
    })?;
    let run = world.verbatim(&yes).await?.ends(2);
    assert!(run.stderr.contains("the plan has the image `app`"), "{run}");
    rewrite(&world, &saved, |_| ())?;
    let run = world.verbatim(&yes).await?.ends(0);
    assert!(run.stderr.contains("shop-dev     helm:image.tag         (absent)  local."), "{run}");
    Ok(())
}
