//! A release by its tag, by some digits of its digest, or by where it runs: wherever a command takes one.

use anyhow::Result;
use e2e::{Built, Run, World};
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};

fn digest(release: &str) -> &str {
    release.split_once('@').map_or("", |(_, digest)| digest)
}

fn tag(release: &str) -> &str {
    let name = release.split('@').next().unwrap_or_default();
    name.rsplit_once(':').map_or("", |(_, tag)| tag)
}

/// The first digits of the digest, as `status` shows them.
fn digits(release: &str) -> &str {
    &digest(release)["sha256:".len()..][..12]
}

/// The digest of the release that a command says it took.
fn taken(run: &Run) -> Result<Value> {
    Ok(run.json()?["release"]["digest"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_takes_a_release_by_all_its_names() -> Result<()> {
    let world = World::start().await?;
    let (first, second) = (world.release("First").await?, world.release("Second").await?);
    world.carry(&first, &["dev", "staging"]).await?;
    world.carry(&second, &["dev"]).await?;
    let is = |release: &str| json!(digest(release));
    let marked = format!("sha256:{}", digits(&second));
    let pinned = format!("{}@{}", tag(&second), digest(&second));
    let names = [tag(&second), digits(&second), &marked, &pinned, digest(&second), "dev"];
    for name in names {
        let arguments = ["verify", "--release", name, "--format", "json"];
        let run = world.verbatim(&arguments).await?.ends(0);
        assert_eq!(taken(&run)?, is(&second), "{name}: {run}");
        let is_said = run.stderr.contains(&format!("`{name}` is "));
        assert_eq!(is_said, !name.contains("sha256:") || name == marked, "{name}: {run}");
    }
    // The variable takes the same, and the commands that name a release on their own, too.
    let tool = world.tool.clone().with("VERBATIM_RELEASE", "staging");
    let run = tool.run(&["plan", "dev", "--backwards", "--format", "json"]).await?.ends(0);
    assert_eq!(taken(&run)?, is(&first), "{run}");
    let named = [
        (&["approve", "staging", "--anyway"][..], "dev", &second),
        (&["test", "dev"], digits(&second), &second),
        (&["veto", "--reason", "it leaks"], tag(&first), &first),
        (&["unveto", "--reason", "it does not"], "staging", &first),
        (&["promote", "staging"], "dev", &second),
        (&["rollback", "staging", "--veto", "none"], digits(&first), &first),
    ];
    for (command, name, want) in named {
        let arguments = [command, &["--release", name, "--format", "json"]].concat();
        let run = world.verbatim(&arguments).await?.ends(0);
        assert_eq!(taken(&run)?, is(want), "{arguments:?}: {run}");
    }
    // As earlier versions had it.
    let run = world.verbatim(&["verify", digest(&first), "--format", "json"]).await?.ends(0);
    assert_eq!(taken(&run)?, is(&first));
    let old = ["rollback", "dev", "--to", digest(&first), "--dry-run", "--format", "json"];
    assert_eq!(taken(&world.verbatim(&old).await?.ends(0))?, is(&first));
    let twice = ["verify", "--release", "dev", digest(&first)];
    let run = world.verbatim(&twice).await?.ends(2);
    assert!(run.stderr.contains("the release is named twice"), "{run}");
    let run = world.verbatim(&["veto", "--reason", "which one"]).await?.ends(2);
    assert!(run.stderr.contains("no release is named"), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_and_a_digest_have_to_belong_together() -> Result<()> {
    let world = World::start().await?;
    let (first, second) = (world.release("First").await?, world.release("Second").await?);
    let repository = first.split_once(":local").map_or("", |(repository, _)| repository);
    let crossed = format!("{}@{}", tag(&first), digest(&second));
    for name in [crossed.clone(), format!("{repository}:{crossed}")] {
        let run = world.verbatim(&["promote", "dev", "--release", &name]).await?.ends(1);
        let told = format!("names {}, and no record that counts says that", digest(&first));
        assert!(run.stderr.contains(&told), "{run}");
    }
    assert_eq!(world.writes(), [] as [&str; 0]);
    let unknown = format!("other@{}", digest(&second));
    let run = world.verbatim(&["verify", "--release", &unknown]).await?.ends(1);
    assert!(run.stderr.contains("there is no tag `other`"), "{run}");
    // One that has moved since was the tag of this release, as its record says.
    let built = Built { commit: "0".repeat(40), dirty: false, run: None };
    let image = second.split('@').next().unwrap_or_default().parse()?;
    let moved = e2e::push_unrecorded(&image, &built).await?;
    assert_ne!(moved.digest.to_string(), digest(&second));
    let _ = world.verbatim(&["promote", "dev", "--release", &second]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_that_name_two_releases_choose_neither() -> Result<()> {
    let world = World::start().await?;
    let (first, second) = (world.release("First").await?, world.release("Second").await?);
    world.carry(&first, &["dev"]).await?;
    let run = world.verbatim(&["verify", "--release", digits(&second)]).await?.ends(7);
    assert!(run.stderr.contains("no release begins with"), "{run}");
    // A tag of one release that begins the digest of another.
    let tagged = format!("{}:{}", first.split_once(":local").map_or("", |it| it.0), digits(&first));
    let commit = "1".repeat(40);
    let built = Built { commit, dirty: false, run: None };
    let other = e2e::push_unrecorded(&tagged.parse()?, &built).await?.digest.to_string();
    let run = world.verbatim(&["verify", "--release", digits(&first)]).await?.ends(2);
    for candidate in [digest(&first), &other] {
        assert!(run.stderr.contains(&format!("hint: it may be {candidate}")), "{run}");
    }
    // With its mark it is no tag.
    let marked = format!("sha256:{}", digits(&first));
    let _ = world.verbatim(&["verify", "--release", &marked]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_names_what_runs_there_or_nothing() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    let run = world.verbatim(&["verify", "--release", "dev"]).await?.ends(1);
    assert!(run.stderr.contains("nothing was promoted there yet"), "{run}");
    let run = world.verbatim(&["verify", "--release", "devel"]).await?.ends(7);
    assert!(run.stderr.contains("and no environment; the environments: dev, staging"), "{run}");
    world.carry(&release, &["dev"]).await?;
    // Whoever only looks needs no Argo CD, and is told what is not known without it.
    world.argocd_proxy.inject(Rule::new(Fault::Status(403)).always());
    let run = world.verbatim(&["verify", "--release", "dev"]).await?.ends(0);
    assert!(run.stderr.contains("whether this is the last promotion to shop/dev"), "{run}");
    Ok(())
}
