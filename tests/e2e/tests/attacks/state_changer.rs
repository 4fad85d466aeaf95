//! Whoever may change what a run leaves below `.verbatim` for the next one: an artifact of the CI, a cache, an earlier step. The
//! attacker has no key, and wants a signature of somebody who has.

use anyhow::{Context as _, Result};
use e2e::{Built, Run, World};
use serde_json::{Value, json};
use verbatim_oci::{Digest, Reference};
use verbatim_record::{CiRun, Statement, SuiteOutcome, TestOutcome, TestRun};

/// A world whose pipeline has a signing command that proves its key and then signs nothing more.
async fn world() -> Result<(World, e2e::Tool)> {
    let world = World::start().await?;
    let pem = world.tool.variables["VERBATIM_KEY"].clone();
    std::fs::write(world.beside("ci"), pem)?;
    let script = "cat > ../message
grep -q '^verbatim asks' ../message || exit 1
openssl dgst -sha256 -sign ../ci ../message | openssl base64
";
    std::fs::write(world.beside("sign.sh"), script)?;
    let mut tool = world.tool.clone().with("VERBATIM_SIGNER", "sh ../sign.sh");
    tool.variables.remove("VERBATIM_KEY");
    Ok((world, tool))
}

/// The arguments of the command that a message names.
fn named(run: &Run) -> Result<Vec<String>> {
    let (_, rest) = run.stderr.split_once("`verbatim record attach ").context("no command")?;
    let line = rest.split('`').next().context("no command")?;
    Ok(line.split(' ').map(str::to_owned).collect())
}

async fn attach(world: &World, arguments: &[&str]) -> Result<Run> {
    world.verbatim(&[&["record", "attach"], arguments].concat()).await
}

async fn promotions(world: &World) -> Result<usize> {
    let run = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
    Ok(run.json()?["promotions"].as_array().map_or(0, Vec::len))
}

/// A promotion that could not be signed is signed as it was saved, and only while it is true.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_signed_later_only_as_it_was() -> Result<()> {
    let (world, tool) = world().await?;
    let release = world.release("One").await?;
    let run = tool.run(&["promote", "dev", "--release", &release]).await?.ends(4);
    let [file, flag, digest] = named(&run)?.try_into().map_err(|_| anyhow::anyhow!("{run}"))?;
    assert_eq!(flag, "--digest");
    let path = world.project.root.join(&file);
    let kept = std::fs::read(&path)?;
    assert_eq!(digest, Digest::of(&kept).to_string());
    type Change = fn(&mut Value);
    let changes: [Change; 4] = [
        // Eight days of soak at once.
        |it| it["predicate"]["finishedAt"] = json!("2020-01-01T00:00:00Z"),
        |it| it["predicate"]["gates"] = json!([]),
        |it| it["predicate"]["run"]["actor"] = json!("anna"),
        |it| {
            let evil = Digest::of(b"evil");
            it["subject"][0]["digest"]["sha256"] = json!(evil.hex());
            it["predicate"]["release"]["digest"] = json!(evil);
        },
    ];
    for change in changes {
        let mut statement: Value = serde_json::from_slice(&kept)?;
        change(&mut statement);
        std::fs::write(&path, statement.to_string())?;
        let run = attach(&world, &[&file]).await?.ends(1);
        assert!(run.stderr.contains("nobody says that a run of this project saved"), "{run}");
        let run = attach(&world, &[&file, "--digest", &digest]).await?.ends(1);
        assert!(run.stderr.contains(&format!(", not {digest}")), "{run}");
    }
    assert_eq!(promotions(&world).await?, 0);
    // What it says has to be so still.
    std::fs::write(&path, &kept)?;
    let value = "/spec/source/helm/parameters/1/value";
    let parameters = world.parameters("shop-dev").await?;
    world.patch("shop-dev", json!([{ "op": "replace", "path": value, "value": "evil" }])).await?;
    let run = attach(&world, &[&file, "--digest", &digest]).await?.ends(5);
    assert!(run.stderr.contains("shop-dev: helm:image.tag is evil"), "{run}");
    assert_eq!(promotions(&world).await?, 0);
    let was = &parameters[1].1;
    world.patch("shop-dev", json!([{ "op": "replace", "path": value, "value": was }])).await?;
    world.api(http::Method::GET, "/shop-dev?refresh=normal", None).await?;
    // The claim on the application names it, so nobody else has to.
    let run = attach(&world, &[&file]).await?.ends(0);
    assert!(run.stderr.contains(r#""predicateType": "urn:verbatim:promotion:v1""#), "{run}");
    assert!(run.stderr.contains(&digest_of(&release)), "{run}");
    assert_eq!(promotions(&world).await?, 1);
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

fn digest_of(release: &str) -> String {
    release.split_once('@').map_or(release, |(_, digest)| digest).to_owned()
}

/// A test that nobody ran is not signed because it lies there.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_saved_is_not_signed() -> Result<()> {
    let (world, _) = world().await?;
    let release = world.release("One").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let now = jiff::Timestamp::now();
    let run = TestRun {
        seen: Vec::new(),
        environment: "shop/dev".parse()?,
        suites: vec![SuiteOutcome { suite: "smoke".to_owned(), outcome: TestOutcome::Passed }],
        promotion: None,
        before: Vec::new(),
        after: Vec::new(),
        run: CiRun::default(),
        started_at: now,
        finished_at: now,
    };
    let statement = Statement::test("shop", &digest_of(&release).parse()?, run.result());
    let bytes = serde_json::to_vec(&statement)?;
    let digest = Digest::of(&bytes);
    let folder = world.project.root.join(".verbatim/unsigned");
    std::fs::create_dir_all(&folder)?;
    let file = format!(".verbatim/unsigned/{}.json", digest.hex());
    std::fs::write(world.project.root.join(&file), bytes)?;
    let run = attach(&world, &[&file]).await?.ends(1);
    assert!(run.stderr.contains("nobody says that a run of this project saved"), "{run}");
    let promote = ["promote", "staging", "--release", &release];
    let run = world.verbatim(&promote).await?.ends(1);
    assert!(run.stdout.contains("refused  tested"), "{run}");
    Ok(())
}

/// The file that one stage leaves for the next says which release it is, and nobody signed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_nobody_built_is_not_handed_on() -> Result<()> {
    let world = World::start().await?;
    let commit = world.project.commit("Built elsewhere").await?;
    let host = world.registry_proxy.address();
    let push = async |path: &str, commit: &str| {
        let image: Reference = format!("{host}/{path}:1").parse()?;
        let built = Built { commit: commit.to_owned(), dirty: false, run: None };
        let digest = e2e::push_unrecorded(&image, &built).await?.digest;
        anyhow::Ok(image.pinned(digest).to_string())
    };
    let good = push("shop/app", &commit).await?;
    let _ = world.verbatim(&["adopt", &good]).await?.ends(0);
    let path = world.project.root.join(".verbatim/release.json");
    let left: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let old = world.image(Built { commit: "0".repeat(40), dirty: false, run: None }).await?;
    let (evil, unbuilt) = (push("evil/x", "e").await?, push("shop/app", "e").await?);
    let mirror = push("evil/mirror", &commit).await?;
    let (where_, built) = (format!("are in {host}/shop/app"), format!("built from {commit}"));
    for (reference, told) in
        [(&evil, &where_), (&mirror, &where_), (&unbuilt, &built), (&old, &built)]
    {
        let image: Reference = reference.parse()?;
        let mut file = left.clone();
        file["release"]["repository"] = json!(image.repository.to_string());
        file["release"]["digest"] = json!(image.digest);
        std::fs::write(&path, file.to_string())?;
        let run = world.verbatim(&["promote", "dev"]).await?.ends(1);
        assert!(run.stderr.contains(told), "`{told}` is not in {run}");
        assert_eq!(world.writes(), [] as [&str; 0], "{run}");
        // Named, the release is asked about as any other, and what the file says of it is left out.
        if reference == &unbuilt {
            let named =
                ["plan", "dev", "--release", digest_of(reference).as_str()].map(str::to_owned);
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            let run = world.verbatim(&named).await?.ends(0);
            assert!(run.stderr.contains("release.json is not used"), "{run}");
        }
    }
    std::fs::write(&path, left.to_string())?;
    let _ = world.verbatim(&["promote", "dev"]).await?.ends(0);
    Ok(())
}
