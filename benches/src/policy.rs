//! Decisions over many records: how long they take, how much memory they need, and what is fetched for them.
//!
//! What a registry takes to send its answers is not ours, so the ten thousand records are verified and decided over from a
//! file; and from a registry that lists as many, of which a hundred matter.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime::Runtime;

use super::cases::{Bench, Registry};
use super::compare::{Figures, Limit, row};
use super::measure::{Program, alone};
use super::policy_scene::{Scene, TEST_RESULT};
use needs::cargo;
use needs::workspace_root;
use rig::engine::children;
use rig::tools::{self, Tool};

/// The records of the large cases.
const MANY: usize = 10_000;

/// The records that matter in the small ones.
const FEW: usize = 100;

/// What a decision over [`MANY`] may take.
const LIMITS: [Limit; 2] = [Limit::Milliseconds(1000.0), Limit::PeakMib(64.0)];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    from_a_file(bench)?;
    from_a_fallback_tag(bench)?;
    from_the_referrers_api(bench)?;
    among_many(bench)
}

/// Every record is verified, and every gate asked.
fn from_a_file(bench: &mut Bench) -> Result<()> {
    let program = build()?;
    let file = bench.folder().join("records");
    let made = children::run(Command::new(&program).arg("make").arg(&file).arg(MANY.to_string()))?;
    ensure!(made.success(), "the records could not be made: {made}");
    let rounds = bench.rounds(15);
    eprintln!("decide over {MANY} records: {rounds} rounds …");
    let samples = alone(&Program::new(&program, [&file]), rounds, bench.folder())?;
    let figures = Figures::of("`decide`", &samples);
    bench.add(row(&format!("verify {MANY} records and ask every gate"), figures, None, &LIMITS));
    Ok(())
}

/// The example of `verbatim-policy`, built for release.
fn build() -> Result<std::path::PathBuf> {
    eprintln!("Building decide for release …");
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--quiet"]);
    command.args(["--package", "verbatim-policy", "--example", "decide"]);
    let status = children::run(command.current_dir(workspace_root()))?;
    if !status.success() {
        bail!("the release build failed: {status}");
    }
    Ok(super::target_folder()?.join("release/examples/decide"))
}

/// Where there is no referrers API all records come with the index under the fallback tag, in one request.
fn from_a_fallback_tag(bench: &mut Bench) -> Result<()> {
    let registry = Registry::start(&bench.folder().join("policy-registry"))?;
    let scene = Scene::start(bench, &registry.host, "few")?;
    scene.add_records(FEW)?;
    let name = format!("{FEW} records from a registry, every gate");
    against_cosign(bench, &scene, &name)?;
    let rounds = bench.rounds(15);
    let figures = Figures::of("the stand-in for Argo CD", &scene.comparisons(rounds)?);
    bench.add(row(&format!("{name}: one comparison of that"), figures, None, &[]));
    Ok(())
}

/// The referrers API lists records without what is in them, so each is a request more. No registry among the peers has that
/// API; the one of the tests has.
fn from_the_referrers_api(bench: &mut Bench) -> Result<()> {
    let (_runtime, registry) = registry_of_tests()?;
    let scene = Scene::start(bench, &registry.host(), "listed")?;
    scene.add_records(FEW)?;
    let fetched = fetched(bench, &registry, &scene)?;
    ensure!(fetched >= FEW, "{FEW} records came with {fetched} documents, so not by that API");
    let name = format!("{FEW} records from a registry with the referrers API, every gate");
    against_cosign(bench, &scene, &name)
}

/// All records of a release are fetched and verified, and every gate is asked, in the time in which cosign verifies one.
/// What cosign takes for all of them, which is the same work, stands beside it.
fn against_cosign(bench: &mut Bench, scene: &Scene, name: &str) -> Result<()> {
    let one = scene.image_with_one_record(bench)?;
    let cosign = tools::tool(Tool::Cosign)?;
    bench.note("cosign", version(&cosign)?);
    let key = scene.public_key();
    let home = bench.folder().to_string_lossy().into_owned();
    let peer = |image: &str| {
        let arguments = [
            "verify-attestation",
            "--key",
            &key.to_string_lossy(),
            "--insecure-ignore-tlog=true",
            "--allow-http-registry",
            "--type",
            TEST_RESULT,
            image,
        ];
        Program::new(&cosign, arguments.map(OsString::from)).env("HOME", &home)
    };
    bench.compare(
        name,
        15,
        ("`policy explain`", scene.explain()),
        ("`cosign verify-attestation` of one record", peer(&one)),
        &[Limit::TimeRatio(1.0)],
    )?;
    bench.compare(
        &format!("{name}: the same records"),
        15,
        ("`policy explain`", scene.explain()),
        ("`cosign verify-attestation` of that release", peer(&scene.release())),
        &[Limit::TimeRatio(1.0)],
    )
}

/// A registry lists [`MANY`] records, and [`FEW`] of them are of a kind that a gate looks at.
fn among_many(bench: &mut Bench) -> Result<()> {
    let (_runtime, registry) = registry_of_tests()?;
    let scene = Scene::start(bench, &registry.host(), "many")?;
    scene.add_records(FEW)?;
    scene.add_noise(MANY - FEW)?;
    let explain = scene.explain();
    let fetched = fetched(bench, &registry, &scene)?;
    // Each record is in its manifest. The image is one more, and the ledgers have two records.
    ensure!(
        (FEW..FEW + 10).contains(&fetched),
        "{fetched} documents were fetched for a decision to which {FEW} of {MANY} records matter"
    );
    let rounds = bench.rounds(9);
    eprintln!("explain with {MANY} records listed: {rounds} rounds …");
    let figures = Figures::of("`policy explain`", &alone(&explain, rounds, bench.folder())?);
    bench.add(row(
        &format!("{FEW} records that matter among {MANY} listed"),
        figures,
        None,
        &LIMITS,
    ));
    Ok(())
}

/// A registry with the referrers API, and what it runs on.
fn registry_of_tests() -> Result<(Runtime, test_registry::Registry)> {
    let runtime = Runtime::new().context("failed to start a runtime")?;
    let config = test_registry::Config::default();
    let registry = runtime.block_on(test_registry::Registry::start(config))?;
    Ok((runtime, registry))
}

/// How many manifests one decision fetches from this registry.
fn fetched(bench: &Bench, registry: &test_registry::Registry, scene: &Scene) -> Result<usize> {
    registry.forget_seen();
    scene.explain().sample(bench.folder())?;
    Ok(registry.seen().iter().filter(|seen| seen.target.contains("/manifests/")).count())
}

/// cosign tells its version in the middle of a banner.
fn version(cosign: &Path) -> Result<String> {
    let output = Command::new(cosign).arg("version").output().context("cannot run cosign")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("GitVersion:"));
    Ok(line.unwrap_or("unknown").trim().to_owned())
}
