//! Releases of several images, and images that another builder has made.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use e2e::{Built, World};
use fault_proxy::{Fault, Rule};
use serde_json::json;
use verbatim_credentials::ExposeSecret as _;
use verbatim_oci::{Descriptor, Digest, Reference, media_type};
use verbatim_registry::ManifestName;

/// A second container beside that of the demo's chart.
pub(crate) const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
spec:
  replicas: 1
  selector: { matchLabels: { app: {{ .Release.Name }}-web } }
  template:
    metadata: { labels: { app: {{ .Release.Name }}-web } }
    spec:
      containers:
        - { name: web, image: \"{{ .Values.web.repository }}:{{ .Values.web.tag }}\" }
";

/// A world whose project has two images.
async fn world() -> Result<World> {
    let world = World::start().await?;
    let host = world.registry_proxy.address();
    let configuration = world
        .configuration()
        .replace(
            "environments:\n",
            "    web.repository: \"${web.repository}\"\n    web.tag: \"${web.tag}@${web.digest}\"\nenvironments:\n",
        )
        .replace("\"${repository}\"", "\"${app.repository}\"")
        .replace("\"${tag}@${digest}\"", "\"${app.tag}@${app.digest}\"")
        .replace(
            "argocd:\n",
            &format!(
                "  web: {{ repository: {host}/shop/web, tag: \"${{build}}.${{short_commit}}\" }}\nargocd:\n"
            ),
        );
    world.project.write("verbatim.yaml", &configuration)?;
    world.project.write("chart/templates/web.yaml", WEB)?;
    let values = std::fs::read_to_string(world.project.root.join("chart/values.yaml"))?;
    let values =
        format!("{values}web: {{ repository: registry.demo.example/demo/web, tag: none }}\n");
    world.project.write("chart/values.yaml", &values)?;
    Ok(world)
}

/// Pushes an image of a commit, as somebody else's builder. Returns its reference by tag and digest.
async fn pushed(world: &World, name: &str, commit: &str) -> Result<Reference> {
    let built = Built { commit: commit.to_owned(), dirty: false, run: None };
    let host = world.registry_proxy.address();
    let image: Reference = format!("{host}/shop/{name}:local.{}", &commit[..12]).parse()?;
    let descriptor = e2e::push_unrecorded(&image, &built).await?;
    Ok(image.pinned(descriptor.digest))
}

#[tokio::test(flavor = "multi_thread")]
async fn several_images_go_through_the_environments_as_one() -> Result<()> {
    let world = world().await?;
    let commit = world.project.commit("Two images").await?;
    let (app, web) = (pushed(&world, "app", &commit).await?, pushed(&world, "web", &commit).await?);
    // A release has all images of the configuration.
    let one = world.verbatim(&["adopt", &app.to_string()]).await?.ends(2);
    assert!(one.stderr.contains("the image `web` is not named"), "{one}");

    let arguments = ["adopt", &app.to_string(), &format!("web={web}"), "--format", "json"];
    let adopted = world.verbatim(&arguments).await?.ends(0).json()?;
    let digest = adopted["release"]["digest"].as_str().context("no digest")?.to_owned();
    let image = web.digest.context("no digest")?.to_string();
    assert_eq!(adopted["release"]["images"]["web"]["digest"], image);
    assert_eq!(adopted["source"]["commit"], commit);
    assert_eq!(adopted["verified"], false, "a label is signed by nobody");
    // The same images are the same release.
    let again = world.verbatim(&arguments).await?.ends(0).json()?;
    assert_eq!((&again["release"], &again["record"]), (&adopted["release"], &adopted["record"]));

    let promoted = world.verbatim(&["promote", "dev", "--format", "json"]).await?.ends(0);
    let parameters = world.parameters("shop-dev").await?;
    let digests = [app, web].map(|image| image.digest);
    for image in digests {
        let image = image.context("no digest")?.to_string();
        assert!(parameters.iter().any(|(_, value)| value.ends_with(&image)), "{parameters:?}");
        let proof = &promoted.json()?["applications"][0]["report"];
        assert!(
            proof.to_string().matches(&image).count() > 2,
            "proven by manifests and pods: {proof}"
        );
    }
    let refused = world.verbatim(&["promote", "staging"]).await?.ends(1);
    assert!(refused.stdout.contains("refused  tested"), "{refused}");
    let _ = world.verbatim(&["test", "dev"]).await?.ends(0);
    // On another machine there is nothing but the registry: found by the tag that the build left.
    std::fs::remove_dir_all(world.project.root.join(".verbatim"))?;
    let staged = world.verbatim(&["promote", "staging"]).await?.ends(0);
    assert!(staged.stdout.contains(&digest), "{staged}");
    let verify = world.verbatim(&["verify", &digest]).await?.ends(0);
    for part in ["built", "tested", "to shop/dev", "to shop/staging"] {
        assert!(verify.stdout.contains(part), "{verify}");
    }
    let _ = world.verbatim(&["status", "--check"]).await?;
    // An image alone is no release of this project.
    let alone = format!("{}@{}", verify_home(&world), digests[0].context("no digest")?);
    let refused = world.verbatim(&["promote", "production", "--release", &alone]).await?.ends(2);
    assert!(refused.stderr.contains("is not a release of several images"), "{refused}");
    Ok(())
}

fn verify_home(world: &World) -> String {
    format!("{}/shop/app", world.registry_proxy.address())
}

/// The second image does not come to run, although the first does.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_images_has_to_be_proven() -> Result<()> {
    let world = world().await?;
    // The template of the second one has a value of its own, so the override changes nothing.
    let fixed = WEB.replace("{{ .Values.web.tag }}", "fixed");
    world.project.write("chart/templates/web.yaml", &fixed)?;
    let commit = world.project.commit("A mistake in the chart").await?;
    let (app, web) = (pushed(&world, "app", &commit).await?, pushed(&world, "web", &commit).await?);
    let _ = world.verbatim(&["adopt", &app.to_string(), &web.to_string()]).await?.ends(0);
    let refused = world.verbatim(&["promote", "dev"]).await?;
    assert_ne!(refused.code, 0, "{refused}");
    let web = web.digest.context("no digest")?.to_string();
    assert!(refused.stdout.contains(&web), "it says which image is missing: {refused}");
    Ok(())
}

/// Conditions see the labels of each image, and never those of one of them as if they were the release's.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_images_has_labels() -> Result<()> {
    let world = world().await?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let commit = world.project.commit("Two images").await?;
    let images = [pushed(&world, "app", &commit).await?, pushed(&world, "web", &commit).await?];
    let [app, web] = images.map(|image| image.to_string());
    let _ = world.verbatim(&["adopt", &app, &web]).await?.ends(0);
    let label = "labels[\"org.opencontainers.image.revision\"]";
    for (condition, code, told) in [
        (
            format!("release.images.all(name, release.images[name].{label}.size() == 40)"),
            0,
            "when:own      holds",
        ),
        (
            format!("release.images.all(name, release.images[name].{label} == \"\")"),
            1,
            "does not hold",
        ),
        (
            "release.images.app.labels.team == \"web\"".to_owned(),
            1,
            "there is no field `release.images.app.labels.team`",
        ),
        ("!has(release.labels.experimental)".to_owned(), 1, "there is no field `release.labels`"),
    ] {
        let gates =
            format!("    apps: [shop-dev]\n    gates: {{ when: {{ own: '{condition}' }} }}\n");
        world.project.write("verbatim.yaml", &text.replace("    apps: [shop-dev]\n", &gates))?;
        let run = world.verbatim(&["promote", "dev", "--dry-run"]).await?.ends(code);
        assert!(run.stdout.contains(told), "{condition}: {run}");
    }
    Ok(())
}

/// Two releases of both images in dev, one after the other. Returns their digests and those of their images.
async fn two(world: &World) -> Result<Vec<(String, [String; 2])>> {
    let mut releases = Vec::new();
    for message in ["Good", "Bad"] {
        let commit = world.project.commit(message).await?;
        let images = [pushed(world, "app", &commit).await?, pushed(world, "web", &commit).await?];
        let [app, web] = images.each_ref().map(ToString::to_string);
        let adopted = world.verbatim(&["adopt", &app, &web, "--format", "json"]).await?.ends(0);
        let digest = adopted.json()?["release"]["digest"].as_str().context("no digest")?.to_owned();
        let _ = world.verbatim(&["promote", "dev"]).await?.ends(0);
        let image = |image: Reference| Some(image.digest?.to_string());
        releases.push((digest, images.map(image).map(Option::unwrap_or_default)));
    }
    Ok(releases)
}

/// The registry is down, and both images go back together; the record is completed by the ledger when that can be read.
/// `is_told`: the values have all that makes the release.
async fn goes_back(world: &World, apps: [&str; 2], is_told: bool) -> Result<()> {
    let releases = two(world).await?;
    let [(good, images), (bad, _)] = releases.as_slice() else { panic!("{releases:?}") };
    world.registry_proxy.inject(Rule::new(Fault::Status(503)).always());
    let line = ["rollback", "dev", "--from-argocd-history", "--reason", "all is down"];
    let json = [&line[..], &["--format", "json"]].concat();
    let run = world.verbatim(&json).await?.ends(0).json()?;
    assert_eq!((&run["kind"], &run["proven"]), (&json!("break-glass"), &json!(true)));
    assert_eq!(run["release"]["digest"] == **good, is_told, "made from the values alone");
    for (app, digest) in apps.into_iter().zip(images) {
        let parameters = world.parameters(app).await?;
        assert!(parameters.iter().any(|(_, value)| value.ends_with(digest)), "{parameters:?}");
    }
    world.registry_proxy.heal();
    let files: Vec<&str> =
        run["kept"].as_array().into_iter().flatten().filter_map(|file| file.as_str()).collect();
    let [rollback, veto] = files.as_slice() else { panic!("{files:?}") };
    assert!(rollback.contains("/unsigned/") && veto.contains("/unattached/"), "{files:?}");
    for file in files {
        let _ = world.verbatim(&["record", "attach", file]).await?.ends(0);
    }
    let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0).json()?;
    let told = &history["promotions"];
    assert_eq!(
        (&told[0]["kind"], &told[0]["release"]["digest"]),
        (&json!("break-glass"), &json!(good))
    );
    assert_eq!((&told[0]["before"], &told[1]["vetoed"]), (&json!(bad), &json!("all is down")));
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_for_several_images_of_one_application() -> Result<()> {
    let world = world().await?;
    goes_back(&world, ["shop-dev", "shop-dev"], true).await?;
    // A release that is named is found by its images.
    let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.json()?;
    let bad = history["promotions"][1]["release"]["digest"].as_str().context("no digest")?;
    let line =
        ["rollback", "dev", "--from-argocd-history", "--reason", "x", "--dry-run", "--to", bad];
    let run = world.verbatim(&line).await?.ends(0);
    assert!(run.stdout.contains("back to ") && run.stdout.contains("nothing was written"), "{run}");
    Ok(())
}

/// An application for each image: which of their deployments belong together, the claims tell. One value has not the tag of
/// the image, so which release it is only the ledger knows.
#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_for_an_application_of_each_image() -> Result<()> {
    let world = world().await?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let apps = "    apps:
      - { name: shop-dev, set: { helm: { image.repository: '${app.repository}', image.tag: '${app.tag}@${app.digest}' } } }
      - { name: shop-production, set: { helm: { web.repository: '${web.repository}', web.tag: 'x@${web.digest}' } } }
";
    let text = text.replace("    apps: [shop-dev]\n", apps);
    // No application is in two environments.
    let (text, _) = text.split_once("  - name: production").context("no production")?;
    let keys = "keys:\n  - { name: ci, file: ci.pub, roles: [builder, tester, promoter] }\n";
    world.project.write("verbatim.yaml", &format!("{text}{keys}"))?;
    goes_back(&world, ["shop-dev", "shop-production"], false).await?;
    let line = ["rollback", "dev", "--from-argocd-history", "--reason", "x", "--steps", "2"];
    let run = world.verbatim(&line).await?.ends(1);
    assert!(run.stderr.contains("the last promotion can be undone, with --steps 1"), "{run}");
    Ok(())
}

/// An index as BuildKit pushes it: an image, and a statement about it that nobody has signed.
async fn with_provenance(image: &Reference, about: Digest, commit: &str) -> Result<Reference> {
    let client = e2e::client()?;
    let manifest = client.manifest(image).await?.descriptor()?;
    let statement = Bytes::from(
        json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{ "name": "pkg:docker/shop", "digest": { "sha256": about.hex() } }],
            "predicate": { "builder": { "id": "" }, "metadata": {
                "https://mobyproject.org/buildkit@v1#metadata": { "vcs": { "revision": commit } },
            } },
        })
        .to_string(),
    );
    let config = Bytes::from_static(b"{}");
    let mut layer = json!(Descriptor::of("application/vnd.in-toto+json", &statement));
    layer["annotations"] =
        json!({ "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" });
    let attestation = Bytes::from(
        json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": Descriptor::of(media_type::OCI_CONFIG, &config),
            "layers": [layer],
        })
        .to_string(),
    );
    let mut entry = json!(Descriptor::of(media_type::OCI_MANIFEST, &attestation));
    entry["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    entry["annotations"] = json!({
        "vnd.docker.reference.digest": manifest.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    });
    let mut first = json!(manifest);
    first["platform"] = json!({ "architecture": "amd64", "os": "linux" });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": [first, entry],
    });
    for blob in [statement, config] {
        client.push_blob(&image.repository, blob).await?;
    }
    let put = async |kind, bytes| {
        client.put_manifest(&image.repository, &ManifestName::Digest, kind, bytes).await
    };
    put(media_type::OCI_MANIFEST, attestation).await?;
    let index = put(media_type::OCI_INDEX, index.to_string().into()).await?;
    Ok(Reference::by_digest(image.repository.clone(), index.digest))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_another_builder_is_adopted() -> Result<()> {
    let world = World::start().await?;
    let commit = world.project.commit("Built elsewhere").await?;
    let image = pushed(&world, "app", &commit).await?;
    let digest = image.digest.context("no digest")?;
    let by_tag = world.verbatim(&["adopt", &format!("{}:x", image.repository)]).await?.ends(2);
    assert!(by_tag.stderr.contains("has no digest"), "{by_tag}");

    let other = "0123456789abcdef0123456789abcdef01234567";
    let apart = with_provenance(&image, digest, other).await?;
    let refused = world.verbatim(&["adopt", &apart.to_string()]).await?.ends(1);
    let why = format!("its buildkit-provenance says {other}, its label says {commit}");
    assert!(refused.stderr.contains(&why), "{refused}");
    let elsewhere = with_provenance(&image, Digest::of(b"another"), &commit).await?;
    let refused = world.verbatim(&["adopt", &elsewhere.to_string()]).await?.ends(1);
    assert!(refused.stderr.contains("it is not about sha256:"), "{refused}");

    let index = with_provenance(&image, digest, &commit).await?;
    let metadata = json!({
        "containerimage.digest": index.digest,
        "image.name": format!("docker.io/example/shop:1,{}:7.abc", index.repository),
    });
    world.project.write("build.json", &metadata.to_string())?;
    let adopted = world.verbatim(&["adopt", "--metadata-file", "build.json"]).await?.ends(0);
    assert!(adopted.stdout.contains("its buildkit-provenance (unsigned)"), "{adopted}");
    let promoted = world.verbatim(&["promote", "dev"]).await?.ends(0);
    assert!(promoted.stderr.contains(":7.abc@sha256:"), "{promoted}");
    Ok(())
}

/// What cosign signs with a trusted key counts here: a provenance as a build record, an approval as an approval.
#[tokio::test(flavor = "multi_thread")]
async fn attestations_of_cosign_count() -> Result<()> {
    let Some(cosign) = e2e::cosign() else { return Ok(()) };
    let mut world = World::start().await?;
    world.tool = world.tool.clone().with("COSIGN_PASSWORD", "a b");
    let commit = world.project.commit("Built elsewhere").await?;
    let image = pushed(&world, "app", &commit).await?;
    let digest = image.digest.context("no digest")?;
    let target = format!("{}@{digest}", image.repository);
    let pem = world.key.to_pkcs8_pem()?;
    std::fs::write(world.beside("ci.pem"), pem.expose_secret())?;
    let import = ["import-key-pair", "--key", "../ci.pem", "--output-key-prefix", "../ci", "--yes"];
    let _ = world.tool.other(&cosign, &import).await?.ends(0);
    let attest = async |kind: &str, predicate: serde_json::Value| {
        world.project.write("predicate.json", &predicate.to_string())?;
        let arguments = [
            "attest",
            "--key",
            "../ci.key",
            "--type",
            kind,
            "--predicate",
            "predicate.json",
            "--use-signing-config=false",
            "--tlog-upload=false",
            "--allow-http-registry",
            "--yes",
            &target,
        ];
        let _ = world.tool.other(&cosign, &arguments).await?.ends(0);
        anyhow::Ok(())
    };
    attest(
        "slsaprovenance1",
        json!({
            "buildDefinition": {
                "buildType": "https://ci.example/build/v1",
                "externalParameters": {},
                "resolvedDependencies": [
                    { "uri": "git+https://git.example/shop", "digest": { "gitCommit": commit } },
                ],
            },
            "runDetails": { "builder": { "id": "https://ci.example/builder" } },
        }),
    )
    .await?;
    let adopted = world.verbatim(&["adopt", &image.to_string(), "--format", "json"]).await?.ends(0);
    let adopted = adopted.json()?;
    assert_eq!(adopted["verified"], true, "{adopted}");
    assert_eq!(adopted["known_from"]["app"][0]["builder"], "https://ci.example/builder");

    // cosign's own key file signs records too.
    world.tool.variables.remove("VERBATIM_KEY");
    let promote = ["promote", "dev", "--key", "../ci.key"];
    let _ = world.verbatim(&promote).await?.ends(0);
    world.tool = world.tool.clone().with("COSIGN_PASSWORD", "wrong");
    let refused = world.verbatim(&promote).await?.ends(2);
    assert!(refused.stderr.contains("wrong password for this cosign key file"), "{refused}");
    world.tool = world.tool.clone().with("COSIGN_PASSWORD", "a b");

    let at = jiff::Timestamp::now();
    let approval = json!({ "environment": "shop/staging", "reason": "looks good", "at": at });
    let attest = [
        "attest",
        "--key",
        "../ci.key",
        "--type",
        "urn:verbatim:approval:v1",
        "--predicate",
        "predicate.json",
        "--use-signing-config=false",
        "--tlog-upload=false",
        "--allow-http-registry",
        "--yes",
        &target,
    ];
    world.project.write("predicate.json", &approval.to_string())?;
    let _ = world.tool.other(&cosign, &attest).await?.ends(0);
    let verify = world.verbatim(&["verify", &target]).await?.ends(0);
    assert!(verify.stdout.contains("approved"), "{verify}");
    Ok(())
}
