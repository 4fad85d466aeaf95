//! What is left, and what is said, when a service or the job itself fails in the middle of a promotion.

use anyhow::{Context as _, Result};
use e2e::World;
use fault_proxy::{Fault, Rule};
use http::Method;
use serde_json::json;

/// The promotion is proven, and its record cannot be stored: the deployment stands, the record is kept, and the command
/// that the message names attaches it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_attached_is_kept() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world
        .registry_proxy
        .inject(Rule::new(Fault::Status(403)).method(&Method::PUT).path("/manifests/").always());
    let run = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(4);
    assert!(
        run.stderr
            .contains("the promotion to shop/dev is done, but its record could not be attached"),
        "{run}"
    );
    assert!(!world.parameters("shop-dev").await?.is_empty(), "the deployment stands");
    let line = run.stderr.lines().find_map(|line| line.split_once("`verbatim record attach "));
    let file = line
        .and_then(|(_, rest)| rest.strip_suffix('`'))
        .context("no command is named")?
        .to_owned();

    world.registry_proxy.heal();
    let refused =
        world.verbatim(&["promote", "staging", "--dry-run", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("never promoted to shop/dev"), "{refused}");
    for _ in 0..2 {
        let _ = world.verbatim(&["record", "attach", &file, "--keep"]).await?.ends(0);
    }
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(0);
    let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
    let custody =
        world.verbatim(&["verify", &release, "--format", "json"]).await?.ends(0).json()?;
    assert_eq!(
        custody["ledgers"][0]["promotions"], 1,
        "attached twice, it is one record: {custody}"
    );
    Ok(())
}

/// "Could not be listed" is never "there is none".
#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_listed_close_the_gate() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let (_, digest) = release.split_once('@').context("no digest")?;
    world.carry(&release, &["dev"]).await?;
    world.argocd.forget_seen();
    for fault in [Fault::Status(403), Fault::Html, Fault::Truncate] {
        world
            .registry_proxy
            .inject(Rule::new(fault.clone()).method(&Method::GET).path("/referrers/").always());
        let run = world.verbatim(&["promote", "staging", "--release", &release]).await?;
        assert_ne!(run.code, 0, "{fault:?}: {run}");
        world.registry_proxy.heal();
        // Only those of the release. What they would say, nobody knows: there may be a veto among them.
        let of_release = format!("/referrers/{digest}");
        world
            .registry_proxy
            .inject(Rule::new(fault).method(&Method::GET).path(&of_release).always());
        let run = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(1);
        assert!(run.stdout.contains("cannot read the vetoes of the release"), "{run}");
        world.registry_proxy.heal();
    }
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lies_about_a_digest_is_not_believed() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let (_, digest) = release.split_once('@').context("no digest")?;
    world
        .registry_proxy
        .inject(Rule::new(Fault::LyingBody).method(&Method::GET).path(digest).always());
    let run = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(1);
    assert!(run.stderr.contains(digest), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argo_cd_that_refuses_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let cases =
        [(Fault::Status(401), 7), (Fault::Status(403), 7), (Fault::Html, 7), (Fault::Reset, 3)];
    for (fault, code) in cases {
        world.argocd_proxy.inject(Rule::new(fault.clone()).always());
        let run = world.verbatim(&["promote", "dev", "--release", &release]).await?;
        assert_eq!(run.code, code, "{fault:?}: {run}");
        world.argocd_proxy.heal();
    }
    assert_eq!(world.writes(), [] as [&str; 0]);
    // With everything healed, it goes through.
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    Ok(())
}

/// An environment that cannot be looked at is told with the same exit status as a promotion to it, and hides no other.
#[tokio::test(flavor = "multi_thread")]
async fn one_environment_that_cannot_be_read_hides_no_other() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    for (fault, code, kind) in
        [(Fault::Status(502), 3, "unreachable"), (Fault::Status(403), 7, "refused")]
    {
        let rule = Rule::new(fault).path("/api/v1/applications/shop-staging");
        world.argocd_proxy.inject(rule.always());
        let status = world.verbatim(&["status", "--format", "json"]).await?.ends(code).json()?;
        let states: Vec<_> = [0, 1, 2].map(|at| status["environments"][at]["state"].clone()).into();
        assert_eq!(states, ["running", "unknown", "empty"], "{status}");
        let error = &status["environments"][1]["error"];
        assert_eq!((&error["kind"], &error["status"]), (&json!(kind), &json!(code)), "{status}");
        let status = world.verbatim(&["status"]).await?.ends(code);
        let address = world.argocd_proxy.url();
        let told = format!("unknown: cannot read shop-staging of Argo CD {address}");
        assert!(status.stdout.contains(&told), "{status}");
        assert!(status.stderr.contains("warning: staging: "), "{status}");
        world.argocd_proxy.heal();
    }
    Ok(())
}

/// A job that is cancelled while Argo CD works says what it did; the next run finds the claim and finishes.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_finished_by_the_next() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.argocd.hold_operations("shop-dev", true);
    let mut job = world.tool.start(&["promote", "dev", "--release", &release, "--verbose"])?;
    job.tells("shop-dev: start the sync: done").await?;
    job.terminate()?;
    let run = job.end().await?.ends(130);
    let told: Vec<&str> =
        run.stderr.lines().skip_while(|line| *line != "error: interrupted").collect();
    assert_eq!(
        told,
        [
            "error: interrupted",
            "  in progress, may have taken effect: deploy to shop-dev",
            "    done: read the application",
            "    done: write the values",
            "    done: check the manifests",
            "    done: start the sync",
            "    in progress, may have taken effect: wait for Argo CD",
            "  not done: attach the record of shop/dev",
            "hint: run the same command again",
        ],
        "{run}"
    );
    let status = world.verbatim(&["status", "--check"]).await?.ends(1);
    assert!(status.stdout.contains("unfinished: a promotion of local."), "{status}");
    let hint = format!("finish it: verbatim promote dev --release {release}");
    assert!(status.stderr.contains(&hint), "{status}");
    assert!(!status.stderr.contains("verbatim restore dev"), "nothing to go back to: {status}");
    world.argocd.hold_operations("shop-dev", false);
    let run = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    assert!(run.stdout.contains("promotion 1"), "{run}");
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}
