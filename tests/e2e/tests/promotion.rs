//! A release on its way through the environments, on a simulated Argo CD and a real registry protocol.

use anyhow::Result;
use e2e::{Built, World};
use serde_json::json;
use simulated_argocd::{Behaviour, PodRule};

fn digest(release: &str) -> &str {
    release.split_once('@').map_or(release, |(_, digest)| digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_digest_goes_through_three_environments() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev", "staging", "production"]).await?;
    for environment in e2e::ENVIRONMENTS {
        let parameters = world.parameters(&format!("shop-{environment}")).await?;
        let tag =
            parameters.iter().find(|(name, _)| name == "image.tag").map(|(_, value)| value.clone());
        let tag = tag.unwrap_or_default();
        assert!(
            tag.starts_with("local.") && tag.ends_with(&format!("@{}", digest(&release))),
            "{parameters:?}"
        );
    }
    let status =
        world.verbatim(&["status", "--check", "--format", "json"]).await?.ends(0).json()?;
    for row in status["environments"].as_array().into_iter().flatten() {
        assert_eq!(row["state"], "running", "{row}");
        assert_eq!(row["release"]["reference"], release.as_str(), "{row}");
    }
    let custody =
        world.verbatim(&["verify", &release, "--format", "json"]).await?.ends(0).json()?;
    assert_eq!(custody["verified"], true);
    let kinds: Vec<_> = custody["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| step["kind"].clone())
        .collect();
    assert_eq!(kinds, ["built", "promoted", "tested", "promoted", "promoted"]);
    Ok(())
}

/// Between the test in one environment and the promotion to the next, somebody pushes another image under the same tag.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_takes_no_release_along() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    let tag = release.split('@').next().unwrap_or_default();
    let built = Built { commit: "0".repeat(40), dirty: false, run: None };
    let other = e2e::push_unrecorded(&tag.parse()?, &built).await?.digest.to_string();
    assert_ne!(other, digest(&release));
    let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
    let parameters = world.parameters("shop-staging").await?;
    assert!(
        parameters.iter().any(|(_, value)| value.ends_with(digest(&release))),
        "{parameters:?}"
    );
    // The tag alone is the other image by now, and nobody has tested that.
    let run = world.verbatim(&["promote", "production", "--release", tag]).await?.ends(1);
    assert!(run.stdout.contains(&other), "{run}");
    assert!(run.stdout.contains("never promoted to shop/staging"), "{run}");
    Ok(())
}

/// The same with a registry that has no referrers API: records are found through the fallback tag.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_through_the_fallback_tag() -> Result<()> {
    let config = test_registry::Config { referrers_api: false, ..test_registry::Config::default() };
    let world = World::start_with(config).await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev", "staging"]).await?;
    let _ = world.verbatim(&["verify", &release]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_cannot_be_skipped() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    world.argocd.forget_seen();
    let refused = world.verbatim(&["promote", "production", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("never promoted to shop/staging"), "{refused}");
    assert!(refused.stdout.contains("to pass: `verbatim promote staging"), "{refused}");
    assert_eq!(world.writes(), [] as [&str; 0], "nothing was written");
    assert_eq!(world.parameters("shop-production").await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_and_writes_nothing() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let run =
        world.verbatim(&["promote", "dev", "--dry-run", "--release", &release]).await?.ends(0);
    assert!(run.stdout.contains(&format!("@{}", digest(&release))), "{run}");
    assert!(run.stdout.contains("nothing was written"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    // It needs no key.
    let mut tool = world.tool.clone();
    tool.variables.remove("VERBATIM_KEY");
    let _ = tool.run(&["promote", "dev", "--dry-run", "--release", &release]).await?.ends(0);
    let _ = tool.run(&["promote", "dev", "--release", &release]).await?.ends(2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_test_closes_the_next_gate_until_it_passes() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(0);
    std::fs::write(world.beside("fail"), "")?;
    let failed = world
        .verbatim(&["test", "dev", "--release", &release, "--format", "json"])
        .await?
        .ends(1)
        .json()?;
    assert_eq!(failed["passed"], false);
    assert_eq!(failed["suites"]["smoke"], "its command ended with status 1");
    let refused = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("smoke failed"), "{refused}");
    std::fs::remove_file(world.beside("fail"))?;
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(0);
    let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_runs_there_is_tested() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    let second = world.release("Second").await?;
    let run = world.verbatim(&["test", "dev", "--release", &first]).await?.ends(1);
    assert!(run.stderr.contains("nothing was promoted to shop/dev yet"), "{run}");
    world.carry(&first, &["dev"]).await?;
    let run = world.verbatim(&["test", "dev", "--release", &second]).await?.ends(1);
    assert!(
        run.stderr.contains(&format!("shop/dev runs {}, not {}", digest(&first), digest(&second))),
        "{run}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn going_backwards_must_be_said() -> Result<()> {
    let world = World::start().await?;
    let old = world.release("Old").await?;
    let new = world.release("New").await?;
    world.carry(&new, &["dev"]).await?;
    world.argocd.forget_seen();
    let superseded = world.verbatim(&["promote", "dev", "--release", &old]).await?.ends(6);
    assert!(
        superseded.stdout.contains("superseded: shop/dev runs the newer release"),
        "{superseded}"
    );
    assert_eq!(world.writes(), [] as [&str; 0]);
    let _ = world.verbatim(&["promote", "dev", "--release", &old, "--backwards"]).await?.ends(0);
    Ok(())
}

/// Two builds of one commit: only the number of the run tells which is the newer.
#[tokio::test(flavor = "multi_thread")]
async fn of_one_commit_the_later_run_is_the_newer() -> Result<()> {
    let world = World::start().await?;
    let commit = world.project.commit("Something new").await?;
    let run = |number| Some(("ci/shop".to_owned(), number));
    let early = world.image(Built { commit: commit.clone(), dirty: true, run: run(7) }).await?;
    let late = world.image(Built { commit, dirty: false, run: run(8) }).await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &late]).await?.ends(0);
    let _ = world.verbatim(&["promote", "dev", "--release", &early]).await?.ends(6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dirty_build_goes_no_further_than_the_first_environment() -> Result<()> {
    let world = World::start().await?;
    let commit = world.project.commit("Something new").await?;
    let release = world.image(Built { commit, dirty: true, run: None }).await?;
    world.carry(&release, &["dev"]).await?;
    let refused = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("refused  clean_source"), "{refused}");
    Ok(())
}

/// A later job that was told nothing finds the release by commit, and refuses one whose record does not count.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_job_finds_the_release_of_its_commit() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let promoted = world.verbatim(&["promote", "dev", "--format", "json"]).await?.ends(0).json()?;
    assert_eq!(promoted["release"]["digest"], digest(&release));
    world.project.commit("Never built").await?;
    let run = world.verbatim(&["promote", "dev"]).await?.ends(2);
    assert!(run.stderr.contains("was this commit built?"), "{run}");
    // Somebody moves the tag of that commit onto another image.
    let commit = world.project.git(&["rev-parse", "HEAD"]).await?;
    let tag = format!("{}/shop/app:local.{}", world.registry_proxy.address(), &commit[..12]);
    let built = Built { commit: "0".repeat(40), dirty: false, run: None };
    e2e::push(&tag.parse()?, &built, &world.key).await?;
    let run = world.verbatim(&["promote", "dev"]).await?.ends(1);
    assert!(run.stderr.contains("no record that counts says it was built from"), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_image_is_degraded_and_not_recorded() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.argocd.set_pod_rules(vec![PodRule {
        image: digest(&release).to_owned(),
        behaviour: Behaviour::Crash,
    }]);
    let run = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(1);
    assert!(run.stdout.contains("shop-dev degraded"), "{run}");
    let refused = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("never promoted to shop/dev"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_stops_before_it_is_everywhere() -> Result<()> {
    let world = World::start().await?;
    let dev = world.api(http::Method::GET, "/shop-dev", None).await?;
    let names: Vec<String> = (1..=6).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        let metadata = json!({ "name": name, "namespace": "argocd" });
        let mut application = json!({ "metadata": metadata, "spec": dev["spec"] });
        application["spec"]["destination"]["namespace"] = name.as_str().into();
        world.api(http::Method::POST, "", Some(application)).await?;
    }
    let apps = format!("apps: [{}]", names.join(", "));
    let text = world.configuration().replacen("apps: [shop-dev]", &apps, 1);
    world.project.write("verbatim.yaml", &text)?;
    let good = world.release("Something good").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &good]).await?.ends(0);
    let bad = world.release("Something bad").await?;
    let behaviour = Behaviour::Crash;
    world.argocd.set_pod_rules(vec![PodRule { image: digest(&bad).to_owned(), behaviour }]);
    world.argocd.forget_seen();
    let run = world.verbatim(&["promote", "dev", "--release", &bad]).await?.ends(1);
    assert!(run.stdout.contains("shop-6: not begun, as shop-"), "{run}");
    let writes = world.writes();
    for (name, begun) in names.iter().zip([true, true, true, true, false, false]) {
        let is_written = writes.iter().any(|write| write.contains(&format!("/{name}")));
        assert_eq!(is_written, begun, "{name}: {writes:?}");
    }
    // The way back stops for none.
    let run = world.verbatim(&["restore", "dev"]).await?.ends(0);
    assert!(run.stdout.contains("proven  6 apps"), "{run}");
    Ok(())
}

/// Argo CD is content, but the nodes report another image.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_must_be_what_was_promoted() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let other = format!("registry.example/shop/app@sha256:{}", "1".repeat(64));
    let rule = PodRule { image: digest(&release).to_owned(), behaviour: Behaviour::ImageId(other) };
    world.argocd.set_pod_rules(vec![rule]);
    let run = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(1);
    assert!(run.stdout.contains("shop-dev not proven"), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_seen() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    let patch = json!([{ "op": "replace", "path": "/spec/source/helm/parameters", "value": [] }]);
    world.patch("shop-dev", patch).await?;
    let _ = world.verbatim(&["status"]).await?.ends(0);
    let status = world.verbatim(&["status", "--check"]).await?.ends(1);
    assert!(status.stdout.contains("drift: shop-dev: helm:image.repository is gone"), "{status}");
    Ok(())
}
