//! The ways back: to the last good release, to what was recorded, and to what Argo CD remembers when nobody else can be asked.

use anyhow::{Context as _, Result};
use e2e::{Run, World};
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};
use simulated_argocd::{Behaviour, PodRule};

fn digest(release: &str) -> &str {
    release.split_once('@').map_or(release, |(_, digest)| digest)
}

/// The value of `image.tag`.
async fn tag(world: &World, app: &str) -> Result<Option<String>> {
    let parameters = world.parameters(app).await?;
    Ok(parameters.into_iter().find(|(name, _)| name == "image.tag").map(|(_, value)| value))
}

/// Two releases in dev, the second one bad.
async fn two(world: &World) -> Result<(String, String)> {
    let (good, bad) = (world.release("Good").await?, world.release("Bad").await?);
    world.carry(&good, &["dev"]).await?;
    world.carry(&bad, &["dev"]).await?;
    Ok((good, bad))
}

async fn history(world: &World) -> Result<Vec<Value>> {
    let run = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
    Ok(run.json()?["promotions"].as_array().cloned().unwrap_or_default())
}

fn kinds(history: &[Value]) -> Vec<&str> {
    history.iter().filter_map(|entry| entry["kind"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_puts_the_last_good_release_back() -> Result<()> {
    let world = World::start().await?;
    let (good, bad) = two(&world).await?;
    let _ = world.project.commit("Change the chart").await?;
    world.api(http::Method::GET, "/shop-dev?refresh=normal", None).await?;
    world.argocd.forget_seen();
    let dry = world.verbatim(&["rollback", "dev", "--dry-run"]).await?.ends(0);
    assert!(dry.stdout.contains("which was promoted as number 1"), "{dry}");
    assert!(dry.stdout.contains("shop-dev: Argo CD deployed it at "), "{dry}");
    assert!(dry.stdout.contains("shop-dev: only the image goes back"), "{dry}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    let arguments = ["rollback", "dev", "--reason", "it is slow", "--format", "json"];
    let run = world.verbatim(&arguments).await?.ends(0).json()?;
    assert_eq!((&run["kind"], &run["proven"]), (&json!("rollback"), &json!(true)));
    assert_eq!(run["release"]["digest"], digest(&good));
    assert_eq!(run["vetoed"], digest(&bad));
    assert!(tag(&world, "shop-dev").await?.is_some_and(|tag| tag.ends_with(digest(&good))));
    let told = history(&world).await?;
    assert_eq!(kinds(&told), ["rollback", "promotion", "promotion"]);
    assert_eq!(told[0]["reason"], "it is slow");
    assert_eq!(told[0]["before"], digest(&bad));
    assert_eq!((&told[1]["vetoed"], &told[2]["vetoed"]), (&json!("it is slow"), &Value::Null));
    // There is nothing before it.
    let run = world.verbatim(&["rollback", "dev"]).await?.ends(1);
    assert!(run.stderr.contains("the ledger has no good release before what runs there"), "{run}");
    Ok(())
}

/// A pipeline that does not know of the rollback comes again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_does_not_come_again() -> Result<()> {
    let world = World::start().await?;
    let (_, bad) = two(&world).await?;
    let _ = world.verbatim(&["rollback", "dev", "--reason", "it is slow"]).await?.ends(0);
    world.argocd.forget_seen();
    let refused = world.verbatim(&["promote", "dev", "--release", &bad]).await?.ends(1);
    assert!(refused.stdout.contains("vetoed: it is slow"), "{refused}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    // Only that release is kept out, and only of dev.
    let next = world.release("Better").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &next]).await?.ends(0);
    // Without a veto it would have come again.
    let _ = world.verbatim(&["rollback", "dev", "--veto", "none"]).await?.ends(0);
    let _ = world.verbatim(&["promote", "dev", "--release", &next]).await?.ends(0);
    Ok(())
}

/// What was not proven is in no ledger; the last good release is the last one of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_never_came_up_is_rolled_back() -> Result<()> {
    let world = World::start().await?;
    let good = world.release("Good").await?;
    world.carry(&good, &["dev"]).await?;
    let bad = world.release("Bad").await?;
    let behaviour = Behaviour::Crash;
    world.argocd.set_pod_rules(vec![PodRule { image: digest(&bad).to_owned(), behaviour }]);
    let _ = world.verbatim(&["promote", "dev", "--release", &bad]).await?.ends(1);
    let status =
        world.verbatim(&["status", "--check", "--format", "json"]).await?.ends(1).json()?;
    let dev = &status["environments"][0];
    assert_eq!(
        (&dev["state"], &dev["unfinished"][0]["phase"]),
        (&json!("unfinished"), &json!("failed"))
    );
    let run = world.verbatim(&["rollback", "dev", "--format", "json"]).await?.ends(0).json()?;
    assert_eq!(run["release"]["digest"], digest(&good));
    assert_eq!(run["vetoed"], digest(&bad));
    assert_eq!(kinds(&history(&world).await?), ["rollback", "promotion"]);
    Ok(())
}

/// Argo CD's own rollback refuses that.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_works_with_automatic_sync() -> Result<()> {
    let world = World::start().await?;
    let policy = json!([{ "op": "add", "path": "/spec/syncPolicy", "value": { "automated": { "selfHeal": true } } }]);
    world.patch("shop-dev", policy).await?;
    let (good, _) = two(&world).await?;
    let run = world.verbatim(&["rollback", "dev", "--veto", "none", "--format", "json"]).await?;
    let run = run.ends(0).json()?;
    assert_eq!(run["release"]["digest"], digest(&good));
    assert_eq!(run["vetoed"], Value::Null);
    let status =
        world.verbatim(&["status", "--check", "--format", "json"]).await?.ends(0).json()?;
    assert_eq!(status["environments"][0]["state"], "running");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_back_several_steps_or_to_one_that_is_named() -> Result<()> {
    let world = World::start().await?;
    let mut releases = Vec::new();
    for name in ["First", "Second", "Third"] {
        let release = world.release(name).await?;
        world.carry(&release, &["dev"]).await?;
        releases.push(release);
    }
    let never = world.release("Never there").await?;
    let run = world.verbatim(&["rollback", "dev", "--to", digest(&never)]).await?.ends(1);
    assert!(run.stderr.contains("was never proven there"), "{run}");
    let _ = world.verbatim(&["rollback", "dev", "--steps", "2"]).await?.ends(0);
    assert!(tag(&world, "shop-dev").await?.is_some_and(|tag| tag.ends_with(digest(&releases[0]))));
    let _ = world.verbatim(&["rollback", "dev", "--to", digest(&releases[1])]).await?.ends(0);
    assert!(tag(&world, "shop-dev").await?.is_some_and(|tag| tag.ends_with(digest(&releases[1]))));
    Ok(())
}

/// Nothing is written if there would be nothing to pull.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_the_registry_lost_is_not_rolled_back_to() -> Result<()> {
    let world = World::start().await?;
    let (good, _) = two(&world).await?;
    world.argocd.forget_seen();
    let gone = Rule::new(Fault::Status(404)).path(digest(&good)).always();
    world.registry_proxy.inject(gone);
    let run = world.verbatim(&["rollback", "dev"]).await?.ends(7);
    assert!(run.stderr.contains(&format!("cannot go back to {}", digest(&good))), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    world.registry_proxy.heal();
    let _ = world.verbatim(&["rollback", "dev"]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_that_was_deleted_is_restored() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Good").await?;
    world.carry(&release, &["dev"]).await?;
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    let gone = json!([{ "op": "remove", "path": "/spec/source/helm/parameters" }]);
    world.patch("shop-dev", gone).await?;
    let status = world.verbatim(&["status", "--check"]).await?.ends(1);
    assert!(status.stdout.contains("drift: shop-dev: helm:image.repository is gone"), "{status}");
    assert!(status.stderr.contains("hint: verbatim restore dev"), "{status}");
    let _ = world.verbatim(&["restore", "dev", "--dry-run"]).await?.ends(0);
    assert_eq!(tag(&world, "shop-dev").await?, None);
    let run = world.verbatim(&["restore", "dev", "--format", "json"]).await?.ends(0).json()?;
    assert_eq!((&run["kind"], &run["proven"]), (&json!("restore"), &json!(true)));
    assert!(tag(&world, "shop-dev").await?.is_some_and(|tag| tag.ends_with(digest(&release))));
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    assert_eq!(kinds(&history(&world).await?), ["restore", "promotion"]);
    // Where nothing is missing, nothing is written, and it is proven all the same.
    world.argocd.forget_seen();
    let run = world.verbatim(&["restore", "dev"]).await?.ends(0);
    assert!(run.stdout.contains("  as recorded"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    assert_eq!(history(&world).await?.len(), 2);
    Ok(())
}

/// The claim is no part of what is proven. Who removes it while a restore works keeps it from nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_claim_is_removed_is_recorded() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Good").await?;
    world.carry(&release, &["dev"]).await?;
    let gone = json!([{ "op": "remove", "path": "/spec/source/helm/parameters" }]);
    world.patch("shop-dev", gone).await?;
    world.argocd.hold_operations("shop-dev", true);
    let mut job = world.tool.start(&["restore", "dev", "--verbose"])?;
    job.tells("shop-dev: write the values: done").await?;
    let claim = json!([{ "op": "remove", "path": "/metadata/annotations" }]);
    world.patch("shop-dev", claim).await?;
    world.argocd.hold_operations("shop-dev", false);
    let run = job.end().await?.ends(0);
    assert!(run.stderr.contains("the claim could not be closed: the claim is gone"), "{run}");
    assert_eq!(kinds(&history(&world).await?), ["restore", "promotion"]);
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_was_made_again_is_told_and_restored() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Good").await?;
    world.carry(&release, &["dev"]).await?;
    let old = world.api(http::Method::GET, "/shop-dev", None).await?;
    world.api(http::Method::DELETE, "/shop-dev?cascade=false", Some(json!({}))).await?;
    let source = json!({
        "repoURL": old["spec"]["source"]["repoURL"], "path": "chart", "targetRevision": "main",
        "helm": { "valueFiles": ["values-dev.yaml"] },
    });
    let new = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": { "name": "shop-dev", "namespace": "argocd" },
        "spec": { "project": "default", "source": source, "destination": old["spec"]["destination"] },
    });
    world.api(http::Method::POST, "", Some(new)).await?;
    let status = world.verbatim(&["status", "--check"]).await?.ends(1);
    assert!(status.stdout.contains("the application was re-created at "), "{status}");
    let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_promotion_brought_is_told() -> Result<()> {
    let world = World::start().await?;
    let (good, other) = (world.release("Good").await?, world.release("By hand").await?);
    world.carry(&good, &["dev"]).await?;
    let by_hand = json!([{ "op": "replace", "path": "/spec/source/helm/parameters/1/value", "value": format!("x@{}", digest(&other)) }]);
    world.patch("shop-dev", by_hand).await?;
    let sync = json!({ "name": "shop-dev" });
    world.api(http::Method::POST, "/shop-dev/sync", Some(sync)).await?;
    let status =
        world.verbatim(&["status", "--check", "--format", "json"]).await?.ends(1).json()?;
    let drift = &status["environments"][0]["drift"]["shop-dev"][0];
    assert_eq!(drift["drift"], "changed");
    assert_eq!(drift["known_as"], Value::Null);
    assert!(
        drift["found"].as_str().is_some_and(|found| found.ends_with(digest(&other))),
        "{drift}"
    );
    Ok(())
}

fn kept(run: &Run) -> Result<Vec<String>> {
    let files = run.json()?["kept"].as_array().cloned().unwrap_or_default();
    files.iter().map(|file| file.as_str().map(str::to_owned).context("no path")).collect()
}

/// Neither the registry answers nor is there a key; what is done is kept, and told once both are back.
#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_without_registry_and_key() -> Result<()> {
    let world = World::start().await?;
    let (good, bad) = two(&world).await?;
    world.registry_proxy.inject(Rule::new(Fault::Status(503)).always());
    let mut tool = world.tool.clone();
    tool.variables.remove("VERBATIM_KEY");
    let _ = tool.run(&["rollback", "dev", "--from-argocd-history"]).await?.ends(2);
    let line =
        ["rollback", "dev", "--from-argocd-history", "--reason", "all is down", "--format", "json"];
    let run = tool.run(&line).await?.ends(0);
    assert!(run.stderr.contains("the record will be unsigned"), "{run}");
    let files = kept(&run)?;
    let json = run.json()?;
    assert_eq!((&json["kind"], &json["proven"]), (&json!("break-glass"), &json!(true)));
    assert!(json["notes"].to_string().contains("no gate was asked"), "{json}");
    assert!(tag(&world, "shop-dev").await?.is_some_and(|tag| tag.ends_with(digest(&good))));
    world.registry_proxy.heal();
    let status = world.verbatim(&["status", "--check"]).await?.ends(1);
    assert!(status.stdout.contains("unrecorded: a promotion of "), "{status}");
    assert!(status.stderr.contains(&format!("verbatim record attach {}\n", files[0])), "{status}");
    assert!(!status.stderr.contains("verbatim restore"), "the bad one: {status}");
    // Its claim names the promotion; that the veto is ours, only the run said.
    let alone = world.verbatim(&["record", "attach", &files[1]]).await?.ends(1);
    assert!(alone.stderr.contains("nobody says that a run of this project saved"), "{alone}");
    let commands = e2e::noted_commands(&json);
    assert_eq!(commands.len(), 2, "{json}");
    for command in &commands {
        let _ = tool.run(command).await?.ends(2);
        let _ = world.verbatim(command).await?.ends(0);
    }
    let told = history(&world).await?;
    assert_eq!(kinds(&told), ["break-glass", "promotion", "promotion"]);
    assert_eq!(told[0]["reason"], "all is down");
    assert_eq!(told[1]["vetoed"], "all is down", "{bad}");
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

/// Rules with a mistake stop every command but this one; what is wrong elsewhere stops this one, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_though_the_rules_are_wrong() -> Result<()> {
    let world = World::start().await?;
    let (good, _) = two(&world).await?;
    let right = world.configuration();
    let line = ["rollback", "dev", "--from-argocd-history", "--reason", "nobody can"];
    for (from, to) in [
        ("    apps: [shop-dev]\n", "    apps: [shop-dev]\n    gates: { wndows: [] }\n"),
        ("after: [dev]", "after: [nowhere]"),
        ("file: ci.pub", "file: nowhere.pub"),
        ("roles: [builder", "rolls: [builder"),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right);
        world.project.write("verbatim.yaml", &wrong)?;
        let _ = world.verbatim(&["rollback", "dev"]).await?.ends(2);
        let dry = world.verbatim(&[&line[..], &["--dry-run"]].concat()).await?.ends(0);
        assert!(
            dry.stderr.contains("continuing without a policy: verbatim.yaml is not valid"),
            "{dry}"
        );
    }
    let run = world.verbatim(&[&line[..], &["--format", "json"]].concat()).await?.ends(0);
    assert!(tag(&world, "shop-dev").await?.is_some_and(|tag| tag.ends_with(digest(&good))));
    world.project.write("verbatim.yaml", &right.replace("argocd:\n", "argocdd:\n"))?;
    let broken = world.verbatim(&line).await?.ends(2);
    assert!(broken.stderr.contains("argocdd"), "{broken}");
    world.project.write("verbatim.yaml", &right)?;
    for file in kept(&run)? {
        let _ = world.verbatim(&["record", "attach", &file]).await?.ends(0);
    }
    let told = history(&world).await?;
    assert_eq!(
        (&told[0]["kind"], &told[0]["reason"]),
        (&json!("break-glass"), &json!("nobody can"))
    );
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

/// With a key the record is signed at once, at the place that the applications know.
#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_with_a_key() -> Result<()> {
    let world = World::start().await?;
    let _ = two(&world).await?;
    world.registry_proxy.inject(Rule::new(Fault::Status(503)).always());
    let _ = world.verbatim(&["rollback", "dev"]).await?.ends(3);
    let line = [
        "rollback",
        "dev",
        "--from-argocd-history",
        "--reason",
        "all is down",
        "--veto",
        "none",
        "--format",
        "json",
    ];
    let run = world.verbatim(&line).await?.ends(0);
    world.registry_proxy.heal();
    let mut tool = world.tool.clone();
    tool.variables.remove("VERBATIM_KEY");
    for file in kept(&run)? {
        let _ = tool.run(&["record", "attach", &file]).await?.ends(0);
    }
    assert_eq!(kinds(&history(&world).await?), ["break-glass", "promotion", "promotion"]);
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}
