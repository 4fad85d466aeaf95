//! Whoever holds a key that the policy trusts for a part: for one environment, for some suites. And whoever holds a key and
//! chooses the times that they sign.

use anyhow::{Context as _, Result};
use e2e::{World, by, refusals, with_gates};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use verbatim_credentials::ExposeSecret as _;
use verbatim_oci::{Descriptor, Reference};
use verbatim_record::{
    Bundle, EnvironmentArtifact, EnvironmentId, Promotion, SigningKey, Statement, SuiteOutcome,
    TestOutcome, TestRun, sign,
};

/// The seeds of the keys of `dev-ci`, which promotes and tests in dev, and of `load`, which runs the suite of that name.
const DEV_CI: u8 = 31;
const LOAD: u8 = 32;
/// The seed of the key of the pipeline.
const CI: u8 = 7;

/// A world with these two keys. Production waits for two suites in dev.
async fn world() -> Result<World> {
    let world = with_gates("").await?;
    let file = world.project.root.join("verbatim.yaml");
    let mut text = std::fs::read_to_string(&file)?;
    for (name, seed, limits) in [
        ("dev-ci", DEV_CI, "roles: [tester, promoter], environments: [dev]"),
        ("load", LOAD, "roles: [tester], suites: [load]"),
    ] {
        let key = e2e::key(seed)?;
        world.project.write(&format!("{name}.pub"), &key.verifying_key().to_pem()?)?;
        std::fs::write(world.beside(name), key.to_pkcs8_pem()?.expose_secret())?;
        text.push_str(&format!("  - {{ name: {name}, file: {name}.pub, {limits} }}\n"));
    }
    let text = text.replace("tests: { smoke: ", "tests: { load: 'true', smoke: ");
    std::fs::write(&file, text)?;
    Ok(world)
}

async fn release(world: &World, name: &str) -> Result<(Reference, Descriptor)> {
    let image: Reference = world.release(name).await?.parse()?;
    let resolved = e2e::client()?.resolve(&image).await?;
    let descriptor = resolved.manifest.descriptor()?;
    Ok((image, descriptor))
}

/// The last promotion of an environment as its history tells it, and its number; or nothing.
async fn last(world: &World, place: &str) -> Result<Option<(String, u64)>> {
    let run = world.verbatim(&["history", place, "--format", "json"]).await?.json()?;
    let Some(last) = run["promotions"].as_array().and_then(|all| all.first()).cloned() else {
        return Ok(None);
    };
    let record = last["record"].as_str().context("no record")?.to_owned();
    Ok(Some((record, last["number"].as_u64().context("no number")?)))
}

/// A promotion that nobody carried out, proven in every part, as the next one of the ledger.
async fn invented(
    world: &World,
    place: &str,
    image: &Reference,
    at: Timestamp,
    key: &SigningKey,
) -> Result<Bundle> {
    let chain = match last(world, place).await? {
        Some((record, number)) => json!({ "sequence": number + 1, "previous": record }),
        None => json!({ "sequence": 1 }),
    };
    let proven = json!({ "outcome": "proven", "evidence": {} });
    let promotion: Promotion = serde_json::from_value(json!({
        "environment": format!("shop/{place}"),
        "release": { "digest": image.digest, "repository": image.repository.to_string() },
        "applications": [{
            "name": format!("shop-{place}"), "server": "https://argocd.example.com",
            "proof": { "spec": proven, "operation": proven, "manifests": proven, "running": proven },
        }],
        "startedAt": at, "finishedAt": at, "chain": chain,
    }))?;
    Ok(sign(&Statement::promotion(promotion), key)?)
}

/// Attaches a promotion to its release and to its environment, as whoever may push can.
async fn attach(
    place: &str,
    (image, release): &(Reference, Descriptor),
    record: &Bundle,
) -> Result<()> {
    let id: EnvironmentId = format!("shop/{place}").parse()?;
    let artifact = EnvironmentArtifact::of(&id);
    let environment = Descriptor::of(EnvironmentArtifact::MEDIA_TYPE, artifact.bytes());
    e2e::attach(image, release.clone(), record).await?;
    e2e::attach(image, environment, record).await
}

/// All of the answers of the gates, as text.
fn evidence(run: &Value, gate: &str) -> String {
    let answers = run["decision"]["answers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let meant = answers.iter().filter(|answer| answer["gate"] == gate);
    meant
        .map(|answer| format!("{} {} {}", answer["reason"], answer["text"], answer["evidence"]))
        .collect()
}

/// The binary says it before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_environment_signs_for_no_other() -> Result<()> {
    let world = world().await?;
    let release = world.release("One").await?;
    let digest = release.split_once('@').context("no digest")?.1;
    let _ = by(&world, "dev-ci", &["promote", "dev", "--release", &release]).await?.ends(0);
    let before = world.writes().len();
    for line in [
        &["promote", "staging", "--release", &release][..],
        &["lock", "staging", "--reason", "x"],
        &["veto", digest, "--reason", "x"],
        &["veto", digest, "--environment", "staging", "--reason", "x"],
        &["approve", "staging", "--release", &release, "--anyway"],
    ] {
        let run = by(&world, "dev-ci", line).await?.ends(2);
        assert!(run.stderr.contains("it speaks for the environments dev only, not for"), "{run}");
    }
    assert_eq!(world.writes().len(), before);
    let _ = by(&world, "dev-ci", &["veto", digest, "--environment", "dev", "--reason", "x"])
        .await?
        .ends(0);
    // The suites of a key are those that it runs.
    let run = by(&world, "load", &["test", "dev", "--release", &release]).await?.ends(2);
    assert!(run.stderr.contains("it speaks for the suites load only, not for `smoke`"), "{run}");
    let load = ["test", "dev", "--release", &release, "--suite", "load"];
    let _ = by(&world, "load", &load).await?.ends(0);
    Ok(())
}

/// Nor does what is signed without the binary.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_environment_proves_nothing_in_another() -> Result<()> {
    let world = world().await?;
    let first = world.release("One").await?;
    world.carry(&first, &["dev", "staging"]).await?;
    let bad = release(&world, "Bad").await?;
    let reference = bad.0.to_string();
    let at = Timestamp::now();
    let record = invented(&world, "staging", &bad.0, at, &e2e::key(DEV_CI)?).await?;
    attach("staging", &bad, &record).await?;
    let production = ["promote", "production", "--release", &reference, "--format", "json"];
    let run = world.verbatim(&production).await?.ends(1).json()?;
    assert!(refusals(&run).contains(&"after"), "{run}");
    let told = evidence(&run, "after");
    assert!(told.contains("never-there"), "{told}");
    let why = "it speaks for the environments dev only, not for `staging`";
    assert!(told.contains(why), "{told}");
    // The ledger stays whole, and everybody is told.
    let run = world.verbatim(&["history", "staging"]).await?.ends(0);
    assert!(run.stdout.contains(why), "{run}");
    let run = world.verbatim(&["status", "--check"]).await?.ends(0);
    assert!(run.stderr.contains(why), "{run}");
    let run = world.verbatim(&["verify", &reference]).await?;
    assert!(run.stdout.contains(why), "{run}");
    Ok(())
}

/// A tester of one suite does not say that the others passed, nor that all did.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_suite_passes_no_other() -> Result<()> {
    let world = world().await?;
    let bad = release(&world, "Bad").await?;
    let reference = bad.0.to_string();
    let _ = world.verbatim(&["promote", "dev", "--release", &reference]).await?.ends(0);
    let (promotion, _) = last(&world, "dev").await?.context("nothing was promoted")?;
    for suites in [&["load", "smoke"][..], &["smoke"]] {
        let passed =
            |name: &&str| SuiteOutcome { suite: (*name).to_owned(), outcome: TestOutcome::Passed };
        let run = TestRun {
            seen: Vec::new(),
            environment: "shop/dev".parse()?,
            suites: suites.iter().map(passed).collect(),
            promotion: Some(promotion.parse()?),
            before: Vec::new(),
            after: Vec::new(),
            run: Default::default(),
            started_at: Timestamp::now(),
            finished_at: Timestamp::now(),
        };
        let statement = Statement::test("shop", &bad.1.digest, run.result());
        e2e::attach(&bad.0, bad.1.clone(), &sign(&statement, &e2e::key(LOAD)?)?).await?;
    }
    let staging = ["promote", "staging", "--release", &reference, "--format", "json"];
    let run = world.verbatim(&staging).await?.ends(1).json()?;
    assert_eq!(refusals(&run), ["tested"], "{run}");
    let told = evidence(&run, "tested");
    assert!(told.contains("it speaks for the suites load only, not for `smoke`"), "{told}");
    let _ = world.verbatim(&["test", "dev", "--release", &reference]).await?.ends(0);
    let _ = world.verbatim(&staging).await?.ends(0);
    Ok(())
}

/// Whoever signs chooses the time. It must not be before that of the promotion before, so nothing has soaked for a week that
/// came today.
#[tokio::test(flavor = "multi_thread")]
async fn no_promotion_is_dated_back() -> Result<()> {
    let world = world().await?;
    let first = world.release("One").await?;
    world.carry(&first, &["dev", "staging"]).await?;
    let bad = release(&world, "Bad").await?;
    let reference = bad.0.to_string();
    let at = Timestamp::now() - SignedDuration::from_hours(24 * 8);
    let record = invented(&world, "staging", &bad.0, at, &e2e::key(CI)?).await?;
    attach("staging", &bad, &record).await?;
    let production = ["promote", "production", "--release", &reference, "--format", "json"];
    let run = world.verbatim(&production).await?.ends(1).json()?;
    let told = evidence(&run, "after");
    assert!(told.contains("ledger-broken") && told.contains("which is later"), "{told}");
    let run = world.verbatim(&["history", "staging"]).await?.ends(1);
    assert!(run.stdout.contains("which is later"), "{run}");
    let run = world.verbatim(&["status", "--check"]).await?.ends(1);
    assert!(run.stdout.contains("which is later"), "{run}");
    Ok(())
}

/// One person with two keys is one person, and `policy check` says so before anybody waits for the second approval.
#[tokio::test(flavor = "multi_thread")]
async fn two_keys_of_one_person_are_one_approval() -> Result<()> {
    let gates = "    gates: { approvals: { role: release-manager, count: 2, not_author: true } }\n";
    let world = with_gates(gates).await?;
    let laptop = e2e::key(34)?;
    world.project.write("laptop.pub", &laptop.verifying_key().to_pem()?)?;
    std::fs::write(world.beside("laptop"), laptop.to_pkcs8_pem()?.expose_secret())?;
    let file = world.project.root.join("verbatim.yaml");
    let text = std::fs::read_to_string(&file)?;
    let text = text
        .replace("file: ci.pub,", "file: ci.pub, actors: [pipeline],")
        .replace("file: lead.pub,", "file: lead.pub, actors: [lead, lead@example.com],")
        .replace("roles: [promoter, break-glass]", "roles: [promoter, release-manager]");
    let key = "file: laptop.pub, roles: [release-manager], actors: [Lead@example.com]";
    std::fs::write(&file, format!("{text}  - {{ name: laptop, {key} }}\n"))?;
    let run = world.verbatim(&["policy", "check"]).await?.ends(0);
    let want = "the key `chief` has no `actors`: with `not_author` its approvals for shop/dev do not count";
    assert!(run.stdout.contains(want), "{run}");

    let release = world.release("One").await?;
    for person in ["lead", "laptop", "chief"] {
        let _ = by(&world, person, &["approve", "dev", "--release", &release]).await?.ends(0);
    }
    let promote = ["promote", "dev", "--release", &release, "--format", "json"];
    let run = world.verbatim(&promote).await?.ends(1).json()?;
    assert_eq!(refusals(&run), ["approvals"], "{run}");
    let told = evidence(&run, "approvals");
    assert!(told.contains("1 of 2 approvals"), "{told}");
    assert!(told.contains("its key has no `actors`, so it may be that of an author"), "{told}");

    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("file: chief.pub,", "file: chief.pub, actors: [LEAD],"))?;
    let run = world.verbatim(&["policy", "check"]).await?.ends(0);
    assert!(run.stdout.contains("its keys are of 1 persons"), "{run}");
    let run = world.verbatim(&promote).await?.ends(1).json()?;
    assert!(evidence(&run, "approvals").contains("1 of 2 approvals"), "{run}");
    std::fs::write(&file, text.replace("file: chief.pub,", "file: chief.pub, actors: [chief],"))?;
    let _ = world.verbatim(&promote).await?.ends(0);
    Ok(())
}

/// Whoever may promote may undo a promotion. To choose among all releases that ever ran there needs an approval, also in two
/// steps.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_one_release_back_alone() -> Result<()> {
    let world = with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    let mut releases = Vec::new();
    for name in ["One", "Two", "Three"] {
        let release = world.release(name).await?;
        let _ = by(&world, "lead", &["approve", "dev", "--release", &release]).await?.ends(0);
        world.carry(&release, &["dev"]).await?;
        releases.push(release);
    }
    // The approval of then was for then: it is still there, so make it count no more.
    let file = world.project.root.join("verbatim.yaml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(
        &file,
        text.replace("role: release-manager }", "role: release-manager, max_age: 1s }"),
    )?;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let steps = ["rollback", "dev", "--steps", "2", "--format", "json"];
    let run = world.verbatim(&steps).await?.ends(1).json()?;
    assert_eq!(refusals(&run), ["approvals"], "{run}");
    let _ = world.verbatim(&["rollback", "dev", "--reason", "slow"]).await?.ends(0);
    let again = ["rollback", "dev", "--format", "json"];
    let run = world.verbatim(&again).await?.ends(1).json()?;
    assert_eq!(refusals(&run), ["approvals"], "{run}");
    // To put the recorded release back is no choice.
    let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
    std::fs::write(&file, text)?;
    let _ = by(&world, "lead", &["approve", "dev", "--release", &releases[0]]).await?.ends(0);
    let _ = world.verbatim(&again).await?.ends(0);
    Ok(())
}
