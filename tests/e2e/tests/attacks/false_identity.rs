//! Whoever has a certificate, as everybody may have one, and may push: of another workflow, of a fork, of a branch of their
//! own. And whoever has the right workflow sign something that is not so.

use anyhow::Result;
use e2e::{Built, World, refusals, with_gates};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use test_sigstore::{Claims, Flaw, Sigstore};
use verbatim_oci::{Descriptor, Reference};
use verbatim_record::Bundle;

const REPOSITORY: &str = "https://github.com/acme/shop";

/// What only a push to `main` may build.
const IDENTITY: &str = "  - name: release
    roles: [builder]
    identity:
      issuer: https://token.actions.githubusercontent.com
      workflow: https://github.com/acme/shop/.github/workflows/release.yml
      ref: refs/heads/main
      event: push
trust_root: { file: trusted_root.json }
";

/// A world that trusts the builds of one workflow and of no key, and an image that nobody has vouched for.
struct Scene {
    world: World,
    sigstore: Sigstore,
    image: Reference,
    descriptor: Descriptor,
    commit: String,
}

impl Scene {
    async fn new() -> Result<Self> {
        let gates = format!(
            "    gates: {{ signed: {{ builders: ['*'], sources: ['{REPOSITORY}'], branches: [main] }} }}\n"
        );
        let world = with_gates(&gates).await?;
        let sigstore = Sigstore::new()?;
        world.project.write("trusted_root.json", &sigstore.trusted_root().to_string())?;
        let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
        let text = text.replace("[builder, tester, promoter]", "[tester, promoter]");
        world.project.write("verbatim.yaml", &format!("{text}{IDENTITY}"))?;
        let commit = world.project.commit("One").await?;
        let host = world.registry_proxy.address();
        let image: Reference = format!("{host}/shop/app:1").parse()?;
        let built = Built { commit: commit.clone(), dirty: false, run: None };
        let descriptor = e2e::push_unrecorded(&image, &built).await?;
        let image = image.pinned(descriptor.digest);
        Ok(Self { world, sigstore, image, descriptor, commit })
    }

    /// The certificate that the policy asks for.
    fn right(&self) -> Claims {
        Claims::workflow("acme/shop", "release.yml", &self.commit)
    }

    /// Provenance of the image from this commit, as GitHub's own action writes it.
    fn provenance(&self, commit: &str) -> String {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "shop", "digest": { "sha256": self.descriptor.digest.hex() } }],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                    "externalParameters": { "workflow": { "repository": REPOSITORY } },
                    "resolvedDependencies": [{
                        "uri": format!("git+{REPOSITORY}@refs/heads/main"),
                        "digest": { "gitCommit": commit },
                    }],
                },
                "runDetails": { "builder": { "id": "https://github.com/actions/runner/github-hosted" } },
            },
        })
        .to_string()
    }

    async fn attach(&self, bundle: &Value) -> Result<()> {
        let bundle = Bundle::read(bundle.to_string().into_bytes())?;
        e2e::attach(&self.image, self.descriptor.clone(), &bundle).await
    }

    async fn promote(&self, code: i32) -> Result<Value> {
        let image = self.image.to_string();
        let promote = ["promote", "dev", "--release", &image, "--format", "json"];
        self.world.verbatim(&promote).await?.ends(code).json()
    }
}

fn a_minute_ago() -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_workflow_builds_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    let (right, text) = (scene.right(), scene.provenance(&scene.commit));
    let other = |text: &str| Some(text.to_owned());
    let mut reasons = Vec::new();
    for (claims, reason) in [
        (
            Claims::workflow("acme/shop", "tests.yml", &scene.commit),
            "its subject is `https://github.com/acme/shop/.github/workflows/tests.yml@refs/heads/main`, not",
        ),
        (
            Claims::workflow("evil/shop", "release.yml", &scene.commit),
            "its subject is `https://github.com/evil/shop/.github/workflows/release.yml@refs/heads/main`, not",
        ),
        (
            Claims { repository: other("https://github.com/evil/fork"), ..right.clone() },
            "its repository is `https://github.com/evil/fork`, not that of",
        ),
        (
            Claims { reference: other("refs/heads/mine"), ..right.clone() },
            "its ref is `refs/heads/mine`, not refs/heads/main",
        ),
        (
            Claims { event: other("pull_request_target"), ..right.clone() },
            "its event is `pull_request_target`, not push",
        ),
        (
            Claims { issuer: "https://accounts.example.com".to_owned(), ..right.clone() },
            "its issuer is `https://accounts.example.com`, not",
        ),
    ] {
        scene.attach(&scene.sigstore.attest(text.as_bytes(), &claims, a_minute_ago())?).await?;
        reasons.push(reason.to_owned());
    }
    // The right words by the wrong authority, and with a certificate that had ended when it was used.
    let elsewhere = Sigstore::new()?.attest(text.as_bytes(), &right, a_minute_ago())?;
    scene.attach(&elsewhere).await?;
    reasons.push("its certificate does not count: certificate chain is invalid".to_owned());
    for (flaw, reason) in [
        (Flaw::Expired, "its certificate does not count: certificate chain is invalid"),
        (Flaw::NoEntry, "it is in no transparency log"),
        (Flaw::OtherTime, "its certificate does not count: invalid inclusion promise"),
    ] {
        let made =
            scene.sigstore.attest_with(text.as_bytes(), &right, a_minute_ago(), Some(flaw))?;
        scene.attach(&made).await?;
        reasons.push(reason.to_owned());
    }
    // The workflow says what its steps tell it; the certificate says for which commit it ran.
    let lie = scene.provenance(&"0".repeat(40));
    scene.attach(&scene.sigstore.attest(lie.as_bytes(), &right, a_minute_ago())?).await?;
    reasons.push(format!(
        "its commit is {}, and that of its certificate {}",
        "0".repeat(40),
        scene.commit
    ));

    let run = scene.promote(1).await?;
    assert!(refusals(&run).contains(&"signed"), "{run}");
    assert_eq!(scene.world.writes(), [] as [&str; 0], "{run}");
    let image = scene.image.to_string();
    let run = scene.world.verbatim(&["verify", &image, "-v"]).await?.ends(1);
    for reason in reasons {
        assert!(run.stdout.contains(&reason), "{reason} is not in {run}");
    }
    Ok(())
}

/// What the attackers lack. Nothing that they attached is in its way.
#[tokio::test(flavor = "multi_thread")]
async fn provenance_of_the_right_workflow_is_a_build_record() -> Result<()> {
    let scene = Scene::new().await?;
    let text = scene.provenance(&scene.commit);
    let stranger = Claims::workflow("evil/shop", "release.yml", &scene.commit);
    let at = a_minute_ago();
    for claims in [stranger, scene.right()] {
        scene.attach(&scene.sigstore.attest(text.as_bytes(), &claims, at)?).await?;
    }
    let _ = scene.promote(0).await?;
    let image = scene.image.to_string();
    let run = scene.world.verbatim(&["verify", &image]).await?.ends(0);
    assert!(run.stdout.contains("signed by release"), "{run}");
    assert!(run.stdout.contains(&format!("{at:.0}  built")), "{run}");
    Ok(())
}

/// Who may push any branch could otherwise have the workflow sign: the policy is asked whether that is meant.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_for_any_branch_is_warned_of() -> Result<()> {
    let scene = Scene::new().await?;
    let check = ["policy", "check"];
    let run = scene.world.verbatim(&check).await?.ends(0);
    assert!(!run.stdout.contains("the identity `release`"), "{run}");
    let text = std::fs::read_to_string(scene.world.project.root.join("verbatim.yaml"))?;
    for (lines, told) in [
        (&["      ref: refs/heads/main\n"][..], "names no `ref`:"),
        (&["      event: push\n"], "names no `event`:"),
        (
            &["      ref: refs/heads/main\n", "      event: push\n"],
            "names no `ref` and no `event`:",
        ),
    ] {
        let text = lines.iter().fold(text.clone(), |text, line| text.replace(line, ""));
        scene.world.project.write("verbatim.yaml", &text)?;
        let run = scene.world.verbatim(&check).await?.ends(0);
        let warned = format!("warning: the identity `release` {told}");
        assert!(run.stdout.contains(&warned), "{told}: {run}");
    }
    Ok(())
}
