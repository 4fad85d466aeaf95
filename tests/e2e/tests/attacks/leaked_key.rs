//! Whoever holds a copy of a key that the policy trusted: a leaked secret of the CI, a laptop that was sold. And what the
//! person on call does about it.

use anyhow::{Context as _, Result};
use e2e::{Built, Run, World, by, refusals, with_gates};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use verbatim_credentials::ExposeSecret as _;
use verbatim_oci::{Descriptor, Digest, Reference};
use verbatim_record::{
    Bundle, EnvironmentArtifact, EnvironmentId, Lock, Promotion, SigningKey, Statement, sign,
};

/// The seeds of the key of the pipeline, and of the one that takes over.
const CI: u8 = 7;
const NEXT: u8 = 33;

/// A world with a second key for the pipeline, and with the first one in a file.
async fn world() -> Result<World> {
    let world = with_gates("").await?;
    for (name, seed) in [("ci", CI), ("next", NEXT)] {
        let key = e2e::key(seed)?;
        world.project.write(&format!("{name}.pub"), &key.verifying_key().to_pem()?)?;
        std::fs::write(world.beside(name), key.to_pkcs8_pem()?.expose_secret())?;
    }
    let key = "  - { name: next, file: next.pub, roles: [builder, tester, promoter] }\n";
    change(&world, |text| format!("{text}{key}"))?;
    Ok(world)
}

fn change(world: &World, change: impl FnOnce(String) -> String) -> Result<()> {
    let file = world.project.root.join("verbatim.yaml");
    let text = std::fs::read_to_string(&file)?;
    Ok(std::fs::write(&file, change(text))?)
}

/// Ends the key of the pipeline in the policy, and waits until it has ended.
async fn end(world: &World, word: &str, end: &str) -> Result<()> {
    let entry = "{ name: ci, file: ci.pub,";
    change(world, |text| text.replace(entry, &format!("{entry} {word}: {end},")))?;
    let left = end.parse::<Timestamp>()?.duration_since(Timestamp::now());
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
    Ok(())
}

/// Lets the next key vouch for what it sees, and tells the end that is left for the old one.
async fn rotate(world: &World, arguments: &[&str]) -> Result<(Value, String)> {
    let line = [&["key", "rotate", "--from", "ci", "--format", "json"], arguments].concat();
    let run = by(world, "next", &line).await?.ends(0).json()?;
    let end = run["until"].as_str().context("no end")?.to_owned();
    Ok((run, end))
}

/// A commit with its image, built by a key.
async fn release(world: &World, name: &str, key: &SigningKey) -> Result<(Reference, Descriptor)> {
    let commit = world.project.commit(name).await?;
    let host = world.registry_proxy.address();
    let image: Reference = format!("{host}/shop/app:local.{}", &commit[..12]).parse()?;
    let digest = e2e::push(&image, &Built { commit, dirty: false, run: None }, key).await?;
    let image = image.pinned(digest);
    let descriptor = e2e::client()?.resolve(&image).await?.manifest.descriptor()?;
    Ok((image, descriptor))
}

async fn history(world: &World, place: &str) -> Result<Value> {
    world.verbatim(&["history", place, "--format", "json"]).await?.ends(0).json()
}

/// The numbers of the promotions that count, newest first.
fn numbers(history: &Value) -> Vec<u64> {
    let promotions = history["promotions"].as_array().map(Vec::as_slice).unwrap_or_default();
    promotions.iter().filter_map(|it| it["number"].as_u64()).collect()
}

/// A promotion to staging that nobody carried out, after the first one there.
async fn invented(world: &World, image: &Reference, at: Timestamp) -> Result<Bundle> {
    let history = history(world, "staging").await?;
    let promotions = history["promotions"].as_array().context("no promotions")?;
    let first = promotions.last().context("no promotion")?["record"].clone();
    let proven = json!({ "outcome": "proven", "evidence": {} });
    let promotion: Promotion = serde_json::from_value(json!({
        "environment": "shop/staging",
        "release": { "digest": image.digest, "repository": image.repository.to_string() },
        "applications": [{
            "name": "shop-staging", "server": "https://argocd.example.com",
            "proof": { "spec": proven, "operation": proven, "manifests": proven, "running": proven },
        }],
        "startedAt": at, "finishedAt": at, "chain": { "sequence": 2, "previous": first },
    }))?;
    Ok(sign(&Statement::promotion(promotion), &e2e::key(CI)?)?)
}

async fn attach(image: &Reference, place: &str, record: &Bundle) -> Result<()> {
    let id: EnvironmentId = format!("shop/{place}").parse()?;
    let artifact = EnvironmentArtifact::of(&id);
    let subject = Descriptor::of(EnvironmentArtifact::MEDIA_TYPE, artifact.bytes());
    e2e::attach(image, subject, record).await
}

async fn promote(world: &World, who: &str, place: &str, image: &Reference) -> Result<Run> {
    by(world, who, &["promote", place, "--release", &image.to_string(), "--format", "json"]).await
}

/// Nobody has done anything wrong: the key is changed every year, and the ledgers stay whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_every_ledger_whole() -> Result<()> {
    let world = world().await?;
    let (ci, next) = (e2e::key(CI)?, e2e::key(NEXT)?);
    let one = release(&world, "One", &ci).await?.0;
    world.carry(&one.to_string(), &["dev", "staging"]).await?;
    let old = world.beside("ci").to_string_lossy().into_owned();
    let (handed, until) = rotate(&world, &["--old-key", &old]).await?;
    let ledgers = handed["ledgers"].as_array().context("no ledgers")?;
    assert_eq!(ledgers.len(), 2, "{handed}");
    assert!(
        ledgers.iter().all(|it| it["promotion"]["number"] == 1 && it["old_record"].is_string())
    );
    end(&world, "not_after", &until).await?;

    // The old key signs nothing any more, and what it signed counts.
    let run = promote(&world, "ci", "dev", &one).await?.ends(2);
    assert!(run.stderr.contains("the signing key `ci` is retired since"), "{run}");
    for place in ["dev", "staging"] {
        assert_eq!(numbers(&history(&world, place).await?), [1]);
    }
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    let _ = world.verbatim(&["verify", &one.to_string()]).await?.ends(0);
    // The release goes on, on the build and the tests of the old key.
    let _ = promote(&world, "next", "production", &one).await?.ends(0);
    let two = release(&world, "Two", &next).await?.0;
    let _ = promote(&world, "next", "dev", &two).await?.ends(0);
    let _ = by(&world, "next", &["test", "dev", "--release", &two.to_string()]).await?.ends(0);
    let _ = promote(&world, "next", "staging", &two).await?.ends(0);
    assert_eq!(numbers(&history(&world, "staging").await?), [2, 1]);
    // And it goes back to what the old key promoted.
    let _ = by(&world, "next", &["rollback", "staging", "--reason", "slow"]).await?.ends(0);
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

/// Without a key that has seen them, the word of the old one on the time of its records is no evidence.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_vouched_for_does_not_count() -> Result<()> {
    let world = world().await?;
    let one = release(&world, "One", &e2e::key(CI)?).await?.0;
    world.carry(&one.to_string(), &["dev", "staging"]).await?;
    let run = world.verbatim(&["key", "revoke", "ci"]).await?.ends(1);
    let want = "shop/staging: promotion 1 does not count any more";
    assert!(run.stdout.contains(want) && run.stdout.contains("revoked_at: "), "{run}");
    assert!(run.stderr.contains("key rotate --from ci --environment staging"), "{run}");
    let now = Timestamp::now() + SignedDuration::from_secs(1);
    end(&world, "revoked_at", &now.to_string()).await?;
    let run = promote(&world, "next", "production", &one).await?.ends(1).json()?;
    assert!(refusals(&run).contains(&"after"), "{run}");
    assert!(run.to_string().contains("no record of another key from before then names"), "{run}");
    assert!(numbers(&history(&world, "staging").await?).is_empty());
    // It goes on from there: the release is built and promoted again.
    let two = release(&world, "Two", &e2e::key(NEXT)?).await?.0;
    let _ = promote(&world, "next", "dev", &two).await?.ends(0);
    Ok(())
}

/// The key is out, and somebody has used it. The person on call looks at the history, vouches for what is theirs, and
/// revokes the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_key_writes_no_history() -> Result<()> {
    let world = world().await?;
    let ci = e2e::key(CI)?;
    let one = release(&world, "One", &ci).await?.0;
    world.carry(&one.to_string(), &["dev", "staging"]).await?;
    let mut locks = Vec::new();
    for place in ["production", "staging"] {
        let lock = ["lock", place, "--reason", "freeze", "--format", "json"];
        let lock = by(&world, "ci", &lock).await?.ends(0).json()?;
        locks.push(lock["record"].as_str().context("no record")?.parse::<Digest>()?);
    }
    let unlock = |place: &str, lock: Digest, at: Timestamp| -> Result<Bundle> {
        let unlock = Lock {
            seen: Vec::new(),
            environment: format!("shop/{place}").parse()?,
            lifts: vec![lock],
            reason: "over".to_owned(),
            at,
            until: None,
            run: Default::default(),
        };
        Ok(sign(&Statement::lock(unlock), &ci)?)
    };

    // The thief ends a lock, in a record that is older than the last promotion that is ours, by what it says; builds; and says
    // that it was promoted.
    let before = Timestamp::now() - SignedDuration::from_mins(10);
    attach(&one, "staging", &unlock("staging", locks[1], before)?).await?;
    let bad = release(&world, "Bad", &ci).await?;
    let forged = invented(&world, &bad.0, Timestamp::now()).await?;
    attach(&bad.0, "staging", &forged).await?;
    assert_eq!(numbers(&history(&world, "staging").await?), [2, 1]);

    let _ = rotate(&world, &["--environment", "dev"]).await?;
    let staging = ["--environment", "staging", "--last-good", "1"];
    let (handed, until) = rotate(&world, &staging).await?;
    assert_eq!(handed["ledgers"][0]["promotion"]["number"], 1, "{handed}");
    end(&world, "revoked_at", &until).await?;
    assert_eq!(numbers(&history(&world, "staging").await?), [1]);
    let run = world.verbatim(&["status", "--check"]).await?.ends(0);
    assert!(run.stderr.contains("key `ci` is revoked since"), "{run}");

    // The thief dates more of it back: another promotion, a build, and the end of the lock.
    let long_ago = Timestamp::now() - SignedDuration::from_secs(1);
    let worse = release(&world, "Worse", &ci).await?;
    attach(&worse.0, "staging", &invented(&world, &worse.0, long_ago).await?).await?;
    let forged = unlock("production", locks[0], long_ago - SignedDuration::from_mins(1))?;
    attach(&one, "production", &forged).await?;
    assert_eq!(numbers(&history(&world, "staging").await?), [1]);
    for image in [&bad.0, &worse.0] {
        let run = promote(&world, "next", "production", image).await?.ends(1).json()?;
        assert_eq!(refusals(&run), ["locked", "after", "clean_source"], "{run}");
        let run = world.verbatim(&["verify", &image.to_string()]).await?.ends(1);
        assert!(run.stdout.contains("key `ci` is revoked since"), "{run}");
    }
    // Who vouched for the promotion vouched for no unlock.
    let run = promote(&world, "next", "staging", &one).await?.ends(1).json()?;
    assert!(refusals(&run).contains(&"locked"), "{run}");
    // What the key kept out stays out, until somebody else says otherwise.
    let run = promote(&world, "next", "production", &one).await?.ends(1).json()?;
    assert_eq!(refusals(&run), ["locked"], "{run}");
    let _ = by(&world, "lead", &["unlock", "production", "--reason", "over"]).await?.ends(0);
    let _ = promote(&world, "next", "production", &one).await?.ends(0);
    let _ = world.verbatim(&["verify", &one.to_string()]).await?.ends(0);
    Ok(())
}

/// A key hands over what it could have signed, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_weak_key_vouches_for_no_strong_one() -> Result<()> {
    let world = world().await?;
    let one = release(&world, "One", &e2e::key(CI)?).await?.0;
    world.carry(&one.to_string(), &["dev"]).await?;
    let rotate = ["key", "rotate", "--from", "ci"];
    let run = by(&world, "lead", &rotate).await?.ends(2);
    assert!(run.stderr.contains("`lead` lacks roles of `ci`: builder, promoter, tester"), "{run}");
    let run = by(&world, "ci", &rotate).await?.ends(2);
    assert!(run.stderr.contains("the signing key is `ci` itself"), "{run}");
    change(&world, |text| {
        text.replace(
            "{ name: next, file: next.pub,",
            "{ name: next, file: next.pub, environments: [dev],",
        )
    })?;
    let run = by(&world, "next", &rotate).await?.ends(2);
    assert!(run.stderr.contains("`next` speaks for less than `ci`"), "{run}");
    Ok(())
}
