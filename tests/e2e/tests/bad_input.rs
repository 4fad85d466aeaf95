//! What a wrong file or a wrong word leads to: the exit status, a message that shows the place or the name, and nothing half
//! done in any service.
//!
//! Mistakes that are found before a service is asked (the configuration, the command line, keys) are in the command tests
//! of `verbatim`; here is what takes a service, an engine or a repository to be found.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use e2e::{Run, Tool, World};
use verbatim_oci::Digest;
use verbatim_record::{Provenance, Statement};

/// What differs from run to run.
const FILTERS: [(&str, &str); 7] = [
    (r"127\.0\.0\.1:\d+", "[address]"),
    (r"sha256:[0-9a-f]{64}", "[digest]"),
    (r"sha256:[0-9a-f]{12}\b", "[digest]"),
    (r"local\.[0-9a-f]{12}", "local.[commit]"),
    (r"\b[0-9a-f]{40}\b", "[commit]"),
    (r"/\S*/project/", "[folder]/"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[time]"),
];

/// A mistake, and the command that meets it.
struct Case<'a> {
    what: &'static str,
    arguments: &'a [&'a str],
    code: i32,
}

impl Case<'_> {
    /// Runs it, sees that no service was changed, and gives its output for the snapshot.
    async fn run(&self, world: &World, tool: &Tool) -> Result<String> {
        world.argocd.forget_seen();
        world.registry.forget_seen();
        let before = world.parameters("shop-dev").await?;
        let run: Run = tool.run(self.arguments).await?;
        assert_eq!(run.code, self.code, "{}: {run}", self.what);
        assert_eq!(world.parameters("shop-dev").await?, before, "{}: {run}", self.what);
        let writes = world.writes();
        assert!(writes.is_empty(), "{}: {writes:?}", self.what);
        let seen = world.registry.seen();
        let methods: BTreeSet<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
        let is_read = |method: &&str| ["GET", "HEAD"].contains(method);
        assert!(methods.iter().all(is_read), "{}: the registry was changed", self.what);
        let line: Vec<&str> =
            self.arguments.iter().copied().filter(|one| !one.contains('@')).collect();
        Ok(format!("## {}: verbatim {}\n{run}\n", self.what, line.join(" ")))
    }
}

fn assert_told(name: &str, shown: &str) {
    insta::with_settings!({ filters => FILTERS.to_vec() }, {
        insta::assert_snapshot!(name, shown);
    });
}

/// Replaces a part of the configuration, and commits it.
async fn configure(world: &World, from: &str, to: &str) -> Result<()> {
    let text = world.configuration();
    assert!(text.contains(from), "{from} is not in\n{text}");
    world.project.write("verbatim.yaml", &text.replacen(from, to, 1))?;
    world.project.commit("Configure").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_argocd_does_not_have() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let promote = ["promote", "dev", "--release", &release];
    let mut shown = String::new();

    configure(&world, "apps: [shop-dev]", "apps: [shop-devel]").await?;
    let case = Case { what: "an unknown application", arguments: &promote, code: 7 };
    shown.push_str(&case.run(&world, &world.tool).await?);

    configure(&world, "image.tag:", "image.tga:").await?;
    let what = "a parameter that the chart lacks";
    let case = Case { what, arguments: &promote, code: 1 };
    shown.push_str(&case.run(&world, &world.tool).await?);
    assert_told("argocd", &shown);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_does_not_have() -> Result<()> {
    let world = World::start().await?;
    let address = world.registry_proxy.address();
    let release = format!("{address}/shop/app:1.0@sha256:{}", "0".repeat(64));
    let arguments = ["promote", "dev", "--release", &release];
    let mut shown = String::new();
    let case = Case { what: "a release that is not there", arguments: &arguments, code: 7 };
    shown.push_str(&case.run(&world, &world.tool).await?);
    let case = Case { what: "a commit that nobody built", arguments: &["promote", "dev"], code: 2 };
    shown.push_str(&case.run(&world, &world.tool).await?);
    assert_told("registry", &shown);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_built() -> Result<()> {
    let Some(engine) = e2e::docker_host() else { return Ok(()) };
    let world = World::start().await?;
    let tool = world.tool.clone().with("DOCKER_HOST", &engine);
    let build = ["build"];
    let mut shown = String::new();

    let case = Case { what: "no Dockerfile", arguments: &build, code: 2 };
    shown.push_str(&case.run(&world, &tool).await?);

    configure(&world, "images:\n  app: { ", "images:\n  app: { context: elsewhere, ").await?;
    let case = Case { what: "no context", arguments: &build, code: 2 };
    shown.push_str(&case.run(&world, &tool).await?);

    assert_told("build", &shown);

    // The words of a step are the engine's own, and differ from version to version.
    world.project.write("verbatim.yaml", &world.configuration())?;
    for (line, code, words) in [
        ("COPY nowhere /", 1, ["the step `", "COPY nowhere /` failed:"]),
        ("CPY verbatim.yaml /", 2, ["the Dockerfile or an option of the build is wrong:", "CPY"]),
    ] {
        world.project.write("Dockerfile", &format!("FROM scratch\n{line}\n"))?;
        world.project.commit(line).await?;
        let case = Case { what: line, arguments: &build, code };
        let told = case.run(&world, &tool).await?;
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    }
    Ok(())
}

/// A build of a changed tree is told, tagged as such, and goes no further than the first environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_dirty_tree() -> Result<()> {
    let Some(engine) = e2e::docker_host() else { return Ok(()) };
    let world = World::start().await?;
    let tool = world.tool.clone().with("DOCKER_HOST", &engine);
    world.project.write("Dockerfile", "FROM scratch\nCOPY verbatim.yaml /\n")?;
    let built = tool.run(&["build", "--format", "json"]).await?.ends(0);
    assert!(built.stderr.contains("the tree differs from its commit (Dockerfile)"), "{built}");
    let release = built.json()?["release"]["reference"].as_str().unwrap_or_default().to_owned();
    assert!(release.contains("-dirty@"), "{release}");
    let _ = tool.run(&["promote", "dev", "--release", &release]).await?.ends(0);
    let _ = tool.run(&["test", "dev", "--release", &release]).await?.ends(0);
    let arguments = ["promote", "staging", "--release", &release];
    let case = Case { what: "a build of a dirty tree", arguments: &arguments, code: 1 };
    assert_told("dirty", &case.run(&world, &tool).await?);
    Ok(())
}

/// What git ignores is in no commit, and `git status` does not tell of it: a build that sends it is dirty, unless the
/// configuration allows it. Then its hash is in the record.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_commit_holds() -> Result<()> {
    let Some(engine) = e2e::docker_host() else { return Ok(()) };
    let world = World::start().await?;
    let tool = world.tool.clone().with("DOCKER_HOST", &engine);
    world.project.write("Dockerfile", "FROM scratch\nCOPY dist .env* /\n")?;
    world.project.write(".gitignore", "dist/\n.env\n.verbatim/\n")?;
    world.project.commit("Ignore what is built").await?;
    std::fs::create_dir(world.project.root.join("dist"))?;
    world.project.write("dist/app.js", "1")?;
    world.project.write(".env", "2")?;
    let build = async || -> Result<(Run, String)> {
        let built = tool.run(&["build", "--format", "json"]).await?.ends(0);
        let release = built.json()?["release"]["reference"].as_str().unwrap_or_default().to_owned();
        Ok((built, release))
    };
    let (built, release) = build().await?;
    assert!(built.stderr.contains("git ignores .env, dist, and the build sends it"), "{built}");
    assert!(release.contains("-dirty@"), "{release}");
    let staging = tool.run(&["promote", "staging", "--release", &release]).await?.ends(1);
    assert!(staging.stdout.contains("clean_source"), "{staging}");

    let image = "tag: \"${build}.${short_commit}\"";
    configure(&world, image, &format!("{image}, ignored_inputs: [./dist/]")).await?;
    let (built, release) = build().await?;
    assert!(built.stderr.contains("git ignores .env, and the build sends it"), "{built}");
    assert!(release.contains("-dirty@"), "{release}");

    world.project.write(".dockerignore", ".env\n")?;
    world.project.commit("Send no secrets").await?;
    let (built, release) = build().await?;
    assert!(!built.stderr.contains("warning"), "{built}");
    assert!(!release.contains("-dirty@"), "{release}");
    let (_, _, found) = super::records::bundles(&release).await?;
    let [record] = &found[..] else { anyhow::bail!("{} records", found.len()) };
    let statement: Statement<Provenance> = super::records::statement(record)?;
    let line = format!("{}  dist/app.js\n", Digest::of(b"1").hex());
    let hash = Digest::of(line.as_bytes()).hex();
    assert_eq!(statement.predicate.ignored_inputs(), BTreeMap::from([("dist".to_owned(), hash)]));
    Ok(())
}
