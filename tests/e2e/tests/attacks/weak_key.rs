//! Whoever holds a key that the policy trusts for little, and may push: a release manager, a tester. And what the word
//! "verified" means then.

use anyhow::{Context as _, Result};
use e2e::{Built, World, by, with_gates};
use verbatim_oci::Reference;

fn digest(release: &str) -> Result<&str> {
    Ok(release.split_once('@').context("no digest")?.1)
}

/// An image in the repository that no pipeline built.
async fn image(world: &World, tag: &str) -> Result<String> {
    let host = world.registry_proxy.address();
    let image: Reference = format!("{host}/shop/app:{tag}").parse()?;
    let built = Built { commit: tag.repeat(40), dirty: false, run: None };
    Ok(image.pinned(e2e::push_unrecorded(&image, &built).await?.digest).to_string())
}

/// A veto or an approval is a record, too. It does not say that the release is one of ours.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_verified_that_no_builder_vouches_for() -> Result<()> {
    let world = with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    let (vetoed, approved) = (image(&world, "a").await?, image(&world, "b").await?);
    let veto = ["veto", digest(&vetoed)?, "--reason", "malware"];
    let _ = by(&world, "lead", &veto).await?.ends(0);
    let _ = by(&world, "lead", &["approve", "dev", "--release", &approved]).await?.ends(0);
    for image in [&vetoed, &approved] {
        let run = world.verbatim(&["verify", image]).await?.ends(1);
        assert!(run.stdout.contains("no key with the role for it says how"), "{run}");
        assert!(run.stdout.trim_end().ends_with("NOT verified"), "{run}");
    }
    Ok(())
}

/// Who reads "verified" does not look for what else the list says.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_verified_that_somebody_vetoed() -> Result<()> {
    let world = with_gates("").await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let digest = digest(&release)?;
    for place in [&[][..], &["--environment", "dev"]] {
        let _ = world.verbatim(&["verify", &release]).await?.ends(0);
        let veto = [&["veto", digest, "--reason", "it leaks"], place].concat();
        let _ = by(&world, "lead", &veto).await?.ends(0);
        let run =
            world.verbatim(&["verify", &release, "--format", "json"]).await?.ends(1).json()?;
        let doubts = run["doubts"].as_array().cloned().unwrap_or_default();
        assert_eq!(doubts.len(), 1, "{run}");
        assert!(doubts[0].as_str().is_some_and(|it| it.ends_with("by lead: it leaks")), "{run}");
        let unveto = [&["unveto", digest, "--reason", "it does not"], place].concat();
        let _ = by(&world, "lead", &unveto).await?.ends(0);
    }
    let _ = world.verbatim(&["verify", &release]).await?.ends(0);
    Ok(())
}

/// What is verified was built by us. Whether it may go somewhere is another question, and the gates answer it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_verified_may_not_enter_everywhere() -> Result<()> {
    let world = with_gates("").await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let _ = world.verbatim(&["verify", &release]).await?.ends(0);
    let staging = ["verify", &release, "--environment", "staging"];
    let _ = world.verbatim(&staging).await?.ends(0);
    let production = ["verify", &release, "--environment", "production", "--format", "json"];
    let run = world.verbatim(&production).await?.ends(1).json()?;
    assert_eq!(run["doubts"], serde_json::json!(["shop/production refuses it: after"]), "{run}");
    assert_eq!(e2e::refusals(&run), ["after"], "{run}");
    let run = world.verbatim(&["verify", &release, "--environment", "prod"]).await?.ends(2);
    assert!(run.stderr.contains("no environment `prod`"), "{run}");
    Ok(())
}
