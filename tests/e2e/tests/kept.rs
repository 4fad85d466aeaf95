//! Records that could not be attached, or not even signed: they are kept in a file, the command ends with 4, and the message
//! names the command that attaches them.

use anyhow::{Context as _, Result};
use e2e::{Built, Run, World, by, refusals, with_gates};
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};
use verbatim_oci::Reference;

/// The registry takes blobs, and no manifests.
fn take_nothing(world: &World) {
    let rule = Rule::new(Fault::Status(403)).method(&http::Method::PUT).path("/manifests/");
    world.registry_proxy.inject(rule.always());
}

/// The files that a message names a command for.
fn files(run: &Run) -> Vec<String> {
    let told = run.stderr.split("verbatim record attach ").skip(1);
    told.filter_map(|rest| rest.split(['`', '\n', ' ']).next()).map(str::to_owned).collect()
}

/// The digest of the statement that a message names a command for.
fn digest(run: &Run) -> Result<String> {
    let (_, rest) = run.stderr.split_once(" --digest ").context("no digest")?;
    Ok(rest.split('`').next().unwrap_or_default().to_owned())
}

/// What keeps a release out of dev.
async fn refused(world: &World, release: &str) -> Result<Vec<String>> {
    let explain = ["policy", "explain", "dev", "--release", release, "--format", "json"];
    let explained = world.verbatim(&explain).await?.json()?;
    Ok(refusals(&explained).into_iter().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_counts_once_it_is_attached() -> Result<()> {
    let world = with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    let release = world.release("One").await?;
    let digest = release.split_once('@').map_or("", |(_, digest)| digest);
    let here = ["--environment", "dev"];
    let veto = ["veto", digest, "--reason", "it leaks"];
    let unveto = ["unveto", digest, "--reason", "it does not"];
    let (veto_here, unveto_here) = ([&veto[..], &here].concat(), [&unveto[..], &here].concat());
    let said: [(&[&str], &[&str]); 7] = [
        (&["approve", "dev", "--release", &release], &[]),
        (&["lock", "dev", "--reason", "audit"], &["locked"]),
        (&["unlock", "dev", "--reason", "audited"], &[]),
        (&veto, &["vetoed"]),
        (&unveto, &[]),
        (&veto_here, &["vetoed"]),
        (&unveto_here, &[]),
    ];
    let mut before = vec!["approvals".to_owned()];
    for (arguments, want) in said {
        assert_eq!(refused(&world, &release).await?, before, "before {arguments:?}");
        take_nothing(&world);
        let run = by(&world, "lead", arguments).await?.ends(4);
        world.registry_proxy.heal();
        assert!(run.stderr.contains("could not be attached, and does not count yet"), "{run}");
        assert_eq!(refused(&world, &release).await?, before, "after {arguments:?}");
        let [file] = files(&run).try_into().map_err(|_| anyhow::anyhow!("no file: {run}"))?;
        // It is signed: whoever attaches it needs no key.
        let mut tool = world.tool.clone();
        tool.variables.remove("VERBATIM_KEY");
        let _ = tool.run(&["record", "attach", &file]).await?.ends(0);
        assert_eq!(refused(&world, &release).await?, want, "{arguments:?}");
        before = want.iter().map(|gate| (*gate).to_owned()).collect();
    }
    Ok(())
}

/// A lock names its environment by digest alone; one of another project is not taken for a release.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_project_is_not_attached() -> Result<()> {
    let world = with_gates("").await?;
    take_nothing(&world);
    let run = by(&world, "lead", &["lock", "dev", "--reason", "audit"]).await?.ends(4);
    world.registry_proxy.heal();
    let file = files(&run).pop().context("no file")?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    world.project.write("verbatim.yaml", &text.replace("project: shop", "project: other"))?;
    let run = world.verbatim(&["record", "attach", &file]).await?.ends(2);
    assert!(run.stderr.contains("an environment that this configuration does not have"), "{run}");
    world.project.write("verbatim.yaml", &text)?;
    let _ = world.verbatim(&["record", "attach", &file]).await?.ends(0);
    Ok(())
}

/// What somebody said, and whose key may not sign it in their place.
struct Unsigned<'a> {
    by: &'a str,
    says: &'a [&'a str],
    not_by: &'a str,
    /// What keeps the release out afterwards.
    refused: &'a [&'a str],
}

/// A service that signs may be down, too. Then the statement is kept, and signed by whoever may say the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_signed_is_signed_by_those_who_may() -> Result<()> {
    let world = with_gates("").await?;
    let robot = e2e::key(23)?;
    world.project.write("robot.pub", &robot.verifying_key().to_pem()?)?;
    let pem = robot.to_pkcs8_pem()?;
    std::fs::write(world.beside("robot"), verbatim_credentials::ExposeSecret::expose_secret(&pem))?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let text = format!("{text}  - {{ name: robot, file: robot.pub, roles: [builder] }}\n");
    world.project.write("verbatim.yaml", &text)?;
    // It proves which key it has, and then signs nothing.
    let script = "cat > ../message
grep -q '^verbatim asks' ../message || exit 1
openssl dgst -sha256 -sign \"../$1\" ../message | openssl base64
";
    std::fs::write(world.beside("sign.sh"), script)?;
    let unsigned = async |person: &str, arguments: &[&str]| {
        let signer = format!("sh ../sign.sh {person}");
        let mut tool = world.tool.clone().with("VERBATIM_SIGNER", &signer);
        tool.variables.remove("VERBATIM_KEY");
        let run = tool.run(arguments).await?.ends(4);
        assert!(run.stderr.contains("could not be signed, and does not count yet"), "{run}");
        anyhow::Ok((files(&run).pop().context("no file")?, digest(&run)?))
    };
    let release = world.release("One").await?;
    let digest = release.split_once('@').map_or("", |(_, digest)| digest);
    let veto = ["veto", digest, "--reason", "it leaks"];
    let unveto = ["unveto", digest, "--reason", "it does not"];
    let lock = ["lock", "dev", "--reason", "audit"];
    let unlock = ["unlock", "dev", "--reason", "audited"];
    let said = [
        Unsigned { by: "lead", says: &lock, not_by: "robot", refused: &["locked"] },
        Unsigned { by: "chief", says: &unlock, not_by: "ci", refused: &[] },
        Unsigned { by: "lead", says: &veto, not_by: "robot", refused: &["vetoed"] },
        Unsigned { by: "chief", says: &unveto, not_by: "ci", refused: &[] },
    ];
    for it in said {
        let (file, statement) = unsigned(it.by, it.says).await?;
        let attach = ["record", "attach", &file, "--digest", &statement];
        // The pipeline may lock, and not lift what a person imposed; the robot may not even lock.
        let (run, why) = match it.not_by {
            "ci" => (world.verbatim(&attach).await?, "is by `lead`"),
            other => (by(&world, other, &attach).await?, "would not count"),
        };
        let run = run.ends(if it.not_by == "ci" { 1 } else { 2 });
        assert!(run.stderr.contains(why), "{run}");
        let _ = by(&world, it.by, &attach).await?.ends(0);
        assert_eq!(refused(&world, &release).await?, it.refused, "{:?}", it.says);
    }
    let approve = ["approve", "dev", "--release", &release, "--anyway"];
    let (file, statement) = unsigned("lead", &approve).await?;
    let attach = ["record", "attach", &file, "--digest", &statement];
    let _ = by(&world, "lead", &attach).await?.ends(0);
    let told = world.verbatim(&["verify", &release]).await?.ends(0);
    assert!(told.stdout.contains("approved"), "{told}");
    Ok(())
}

/// The promotions of dev, newest first.
async fn history(world: &World) -> Result<Vec<Value>> {
    let run = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
    Ok(run.json()?["promotions"].as_array().cloned().unwrap_or_default())
}

/// Runs a command while the registry takes nothing, sees that nobody else can know, and attaches what was kept.
async fn late(world: &World, arguments: &[&str], records: usize) -> Result<()> {
    let before = history(world).await?.len();
    take_nothing(world);
    let run = world.verbatim(arguments).await?.ends(4);
    world.registry_proxy.heal();
    assert_eq!(history(world).await?.len(), before, "{run}");
    let files = files(&run);
    assert_eq!(files.len(), records, "{run}");
    for file in files {
        let _ = world.verbatim(&["record", "attach", &file]).await?.ends(0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_known_once_it_is_attached() -> Result<()> {
    let world = World::start().await?;
    let commit = world.project.commit("Built elsewhere").await?;
    let host = world.registry_proxy.address();
    let image: Reference = format!("{host}/shop/app:local.{}", &commit[..12]).parse()?;
    let built = Built { commit, dirty: false, run: None };
    let first = image.pinned(e2e::push_unrecorded(&image, &built).await?.digest).to_string();
    late(&world, &["adopt", &first], 1).await?;
    let told = world.verbatim(&["verify", &first]).await?.ends(0);
    assert!(told.stdout.contains("built"), "{told}");
    late(&world, &["promote", "dev", "--release", &first], 1).await?;
    late(&world, &["test", "dev", "--release", &first], 1).await?;
    // Build and test are what the gates of staging ask for.
    let _ = world.verbatim(&["promote", "staging", "--release", &first]).await?.ends(0);

    let second = world.release("Two").await?;
    let plan = ["plan", "dev", "--release", &second, "--out", "../plan.json"];
    let _ = world.verbatim(&plan).await?.ends(0);
    late(&world, &["apply", "../plan.json"], 1).await?;
    late(&world, &["rollback", "dev", "--reason", "it is slow"], 2).await?;
    let told = history(&world).await?;
    assert_eq!((&told[0]["kind"], &told[1]["vetoed"]), (&json!("rollback"), &json!("it is slow")));

    let gone = json!([{ "op": "remove", "path": "/spec/source/helm/parameters" }]);
    world.patch("shop-dev", gone).await?;
    late(&world, &["restore", "dev"], 1).await?;
    let kinds: Vec<_> = history(&world).await?.iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["restore", "rollback", "promotion", "promotion"]);
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

/// What `status` says of dev, with its hints.
async fn dev(world: &World, ends: i32) -> Result<(Value, String)> {
    let run = world.verbatim(&["status", "--check", "--format", "json"]).await?.ends(ends);
    Ok((run.json()?["environments"][0].clone(), run.stderr))
}

/// Promotes to dev while the registry takes nothing. Returns the file that the record is kept in.
async fn unrecorded(world: &World, release: &str) -> Result<String> {
    take_nothing(world);
    let run = world.verbatim(&["promote", "dev", "--release", release]).await?.ends(4);
    world.registry_proxy.heal();
    files(&run).pop().context("no file")
}

/// What runs is right and the ledger is behind: nobody is to take that for drift and put the old release back.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_lacks_its_record_is_not_taken_for_drift() -> Result<()> {
    let world = World::start().await?;
    for message in ["One", "Two"] {
        let release = world.release(message).await?;
        let file = unrecorded(&world, &release).await?;
        let (told, hints) = dev(&world, 1).await?;
        assert_eq!(told["state"], "unrecorded", "{told}");
        let detail = told["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("was proven but is missing from the ledger (shop-dev)"), "{told}");
        assert!(!detail.contains(';'), "it explains every difference: {told}");
        let it = &told["unrecorded"][0];
        assert_eq!((&it["reference"], &it["file"]), (&json!(release), &json!(file)));
        assert_eq!((&it["is_signed"], &it["is_here"]), (&json!(true), &json!(true)), "{told}");
        assert!(
            hints.contains(&format!(
                "hint: to add it to the ledger: verbatim record attach {file}\n"
            )),
            "{hints}"
        );
        assert!(!hints.contains("restore"), "{hints}");

        world.argocd.forget_seen();
        for arguments in [&["restore", "dev"][..], &["restore", "dev", "--dry-run"]] {
            let run = world.verbatim(arguments).await?.ends(1);
            assert!(run.stderr.contains("is ahead of its ledger"), "{run}");
            assert_eq!(files(&run), [file.as_str()]);
        }
        assert_eq!(world.writes(), [] as [&str; 0]);

        // On another machine the file is not there.
        let (here, elsewhere) = (world.project.root.join(&file), world.beside("elsewhere.json"));
        std::fs::rename(&here, &elsewhere)?;
        let (told, hints) = dev(&world, 1).await?;
        assert_eq!(told["unrecorded"][0]["is_here"], false, "{told}");
        assert!(hints.contains("where the job that promoted"), "{hints}");
        std::fs::rename(&elsewhere, &here)?;
        let _ = world.verbatim(&["record", "attach", &file]).await?.ends(0);
        let (told, hints) = dev(&world, 0).await?;
        assert_eq!(told["state"], "running", "{told}");
        assert!(!hints.contains("hint:"), "{hints}");
        let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
    }
    assert_eq!(history(&world).await?.len(), 2);
    Ok(())
}

/// Changes the application of dev, and has Argo CD compare it.
async fn patched(world: &World, patch: Value) -> Result<()> {
    world.patch("shop-dev", patch).await?;
    world.api(http::Method::GET, "/shop-dev?refresh=normal", None).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lacks_its_record_is_recorded_again_or_discarded_on_purpose() -> Result<()> {
    let world = World::start().await?;
    let (one, two, three) =
        (world.release("One").await?, world.release("Two").await?, world.release("Three").await?);
    world.carry(&one, &["dev"]).await?;
    let file = unrecorded(&world, &two).await?;
    std::fs::remove_file(world.project.root.join(file))?;
    let (_, hints) = dev(&world, 1).await?;
    let again = format!("verbatim promote dev --release {two}");
    assert!(hints.contains(&again), "{hints}");
    let _ = world.verbatim(&["promote", "dev", "--release", &two]).await?.ends(0);
    let _ = dev(&world, 0).await?;
    // The claim still names the lost file; an application that is out of sync is no reason to look for it.
    let name = "/spec/source/helm/releaseName";
    patched(&world, json!([{ "op": "add", "path": name, "value": "other" }])).await?;
    let (told, _) = dev(&world, 1).await?;
    assert_eq!((&told["state"], &told["unrecorded"]), (&json!("drift"), &Value::Null), "{told}");
    patched(&world, json!([{ "op": "remove", "path": name }])).await?;

    let _ = unrecorded(&world, &three).await?;
    let _ = world.verbatim(&["restore", "dev"]).await?.ends(1);
    let _ = world.verbatim(&["restore", "dev", "--discard-unrecorded"]).await?.ends(0);
    let _ = dev(&world, 0).await?;
    let told = history(&world).await?;
    let head = (&told[0]["kind"], &told[0]["release"]["reference"]);
    assert_eq!(head, (&json!("restore"), &json!(two)));
    Ok(())
}

/// Neither signed nor attached, a promotion is proven all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_lacks_its_signature_is_not_taken_for_drift() -> Result<()> {
    let world = with_gates("").await?;
    let release = world.release("One").await?;
    let script = "cat > ../message
grep -q '^verbatim asks' ../message || exit 1
openssl dgst -sha256 -sign ../lead ../message | openssl base64
";
    std::fs::write(world.beside("sign.sh"), script)?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let promoter = text.replace("release-manager]", "release-manager, promoter]");
    assert_ne!(promoter, text);
    world.project.write("verbatim.yaml", &promoter)?;
    let mut tool = world.tool.clone().with("VERBATIM_SIGNER", "sh ../sign.sh");
    tool.variables.remove("VERBATIM_KEY");
    let run = tool.run(&["promote", "dev", "--release", &release]).await?.ends(4);
    let file = files(&run).pop().context("no file")?;
    let (told, hints) = dev(&world, 1).await?;
    assert_eq!(told["state"], "unrecorded", "{told}");
    assert_eq!(told["unrecorded"][0]["is_signed"], false, "{told}");
    assert!(hints.contains(&format!("verbatim record attach {file}\n")), "{hints}");
    let _ = world.verbatim(&["record", "attach", &file]).await?.ends(0);
    let (told, _) = dev(&world, 0).await?;
    assert_eq!(told["state"], "running", "{told}");
    Ok(())
}

/// The image is in the registry, and nobody can say who built it until its record is attached.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_counts_once_its_record_is_attached() -> Result<()> {
    let Some(engine) = e2e::docker_host() else { return Ok(()) };
    let world = with_gates("    gates: { signed: { builders: ['*'] } }\n").await?;
    world.project.write("Dockerfile", "FROM scratch\nCOPY verbatim.yaml /\n")?;
    world.project.commit("Something to build").await?;
    let tool = world.tool.clone().with("DOCKER_HOST", &engine);
    // The engine puts the image by its tag; a record is put by its digest.
    let rule = Rule::new(Fault::Status(403)).method(&http::Method::PUT).path("/manifests/sha256:");
    world.registry_proxy.inject(rule.always());
    let run = tool.run(&["build", "--format", "json"]).await?.ends(4);
    world.registry_proxy.heal();
    assert!(
        run.stderr.contains("the build is done, but its record could not be attached"),
        "{run}"
    );
    let [file] = files(&run).try_into().map_err(|_| anyhow::anyhow!("no file: {run}"))?;
    let kept = std::fs::read(world.project.root.join(&file))?;
    let digest = verbatim_record::Bundle::read(kept)?.attachment().subjects[0];
    let image = format!("{}/shop/app@{digest}", world.registry_proxy.address());
    assert_eq!(refused(&world, &image).await?, ["signed"]);
    let promote = ["promote", "dev", "--release", &image];
    let _ = world.verbatim(&promote).await?.ends(1);
    // It is signed: whoever attaches it needs no key.
    let mut tool = world.tool.clone();
    tool.variables.remove("VERBATIM_KEY");
    let _ = tool.run(&["record", "attach", &file]).await?.ends(0);
    assert_eq!(refused(&world, &image).await?, [] as [&str; 0]);
    let _ = world.verbatim(&promote).await?.ends(0);
    // The record has the tag, too.
    let (told, _) = dev(&world, 0).await?;
    assert!(told["release"]["tag"].as_str().is_some_and(|tag| tag.starts_with("local.")), "{told}");
    Ok(())
}

/// Whoever has the image would have the key that signs for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_private_key_never_gets_into_the_image() -> Result<()> {
    let Some(engine) = e2e::docker_host() else { return Ok(()) };
    let world = World::start().await?;
    let pem = world.tool.variables["VERBATIM_KEY"].clone();
    std::fs::create_dir(world.project.root.join("keys"))?;
    world.project.write("keys/ci.pem", &pem)?;
    world.project.write(".gitignore", "*.pem\n")?;
    world.project.write("Dockerfile", "FROM scratch\nCOPY . /\n")?;
    world.project.commit("Copy everything").await?;
    let mut tool = world.tool.clone().with("DOCKER_HOST", &engine);
    tool.variables.remove("VERBATIM_KEY");
    let build = ["build", "--key", "keys/ci.pem"];
    let run = tool.run(&build).await?.ends(2);
    assert!(run.stderr.contains("keys/ci.pem` must not be in an image"), "{run}");
    assert!(run.stderr.contains("other users may read the private key keys/ci.pem"), "{run}");
    assert!(run.stderr.contains(".dockerignore"), "{run}");
    world.project.write(".dockerignore", "**/*.pem\n")?;
    world.project.commit("Keep the key out").await?;
    // By another name, and in another file.
    std::fs::hard_link(world.project.root.join("keys/ci.pem"), world.project.root.join("linked"))?;
    let run = tool.run(&build).await?.ends(2);
    assert!(run.stderr.contains("linked` must not be in an image"), "{run}");
    std::fs::remove_file(world.project.root.join("linked"))?;
    world.project.write(".env", &format!("KEY='{pem}'"))?;
    let run = tool.run(&build).await?.ends(2);
    assert!(run.stderr.contains(".env` must not be in an image"), "{run}");
    let variable = world.tool.clone().with("DOCKER_HOST", &engine);
    let run = variable.run(&["build"]).await?.ends(2);
    assert!(run.stderr.contains(".env` must not be in an image"), "{run}");
    std::fs::remove_file(world.project.root.join(".env"))?;
    let _ = tool.run(&build).await?.ends(0);
    Ok(())
}

/// How many promotions of dev the ledger has, which is whole.
async fn whole(world: &World) -> Result<usize> {
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(history(world).await?.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_attached_once_and_its_file_removed() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    let file = unrecorded(&world, &release).await?;
    let (here, copy) = (world.project.root.join(&file), world.beside("copy.json"));
    std::fs::copy(&here, &copy)?;
    let attach = ["record", "attach", "--format", "json"];
    let run = world.verbatim(&[&attach[..], &[&file]].concat()).await?.ends(0);
    let told = &run.json()?["records"][0];
    assert_eq!((&told["was_there"], &told["removed"]), (&json!(false), &json!(true)), "{run}");
    assert!(!here.exists());
    let copied = copy.to_string_lossy();
    let run = world.verbatim(&[&attach[..], &[&copied, "--keep"]].concat()).await?.ends(0);
    let told = &run.json()?["records"][0];
    assert_eq!((&told["was_there"], &told["removed"]), (&json!(true), &json!(false)), "{run}");
    let run = world.verbatim(&["record", "attach", &copied]).await?.ends(0);
    assert!(run.stdout.contains(" was attached already "), "{run}");
    assert!(run.stdout.ends_with(&format!("; removed {copied}\n")), "{run}");
    assert!(!copy.exists());
    assert_eq!(whole(&world).await?, 1);
    Ok(())
}

/// Attached after all, it would be a second end of the ledger, and every gate would close.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_went_on_without_is_not_attached() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.release("One").await?, world.release("Two").await?);
    for (lost, after) in [(&one, &one), (&two, &one)] {
        let file = unrecorded(&world, lost).await?;
        let promote = ["promote", "dev", "--backwards", "--release", after];
        let _ = world.verbatim(&promote).await?.ends(0);
        let before = whole(&world).await?;
        let run = world.verbatim(&["record", "attach", &file]).await?.ends(5);
        assert!(run.stderr.contains("went on without this promotion"), "{run}");
        assert!(run.stderr.contains("it would fork the ledger"), "{run}");
        assert!(world.project.root.join(&file).exists(), "it is kept");
        assert_eq!(whole(&world).await?, before);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_are_attached_at_once() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (world.release("One").await?, world.release("Two").await?);
    world.carry(&one, &["dev"]).await?;
    world.carry(&two, &["dev"]).await?;
    take_nothing(&world);
    let run = world.verbatim(&["rollback", "dev", "--reason", "it is slow"]).await?.ends(4);
    world.registry_proxy.heal();
    let mut files = files(&run);
    assert_eq!(files.len(), 2, "{run}");
    // One that cannot be attached keeps no other from it.
    let lost = world.project.root.join(".verbatim/other.json");
    let veto = std::fs::read_to_string(world.project.root.join(&files[0]))?;
    std::fs::write(&lost, veto.replace("\"signatures\"", "\"signatories\""))?;
    let attach = ["record", "attach", ".verbatim/other.json"];
    let run = world.verbatim(&attach).await?.ends(2);
    assert!(run.stderr.contains("holds no record"), "{run}");
    std::fs::remove_file(&lost)?;
    files.reverse();
    let attach = [&["record", "attach"][..], &[&files[0], &files[1]]].concat();
    let run = world.verbatim(&attach).await?.ends(0);
    assert_eq!(run.stdout.matches("; removed ").count(), 2, "{run}");
    let told = history(&world).await?;
    assert_eq!((&told[0]["kind"], &told[1]["vetoed"]), (&json!("rollback"), &json!("it is slow")));
    assert_eq!(whole(&world).await?, 3);
    Ok(())
}
