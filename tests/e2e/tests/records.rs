//! Records against whoever may write to the registry but does not have the key: what was changed, copied, hidden or forged
//! never counts. The real cosign accepts every record that does.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use e2e::{World, with_gates};
use test_registry::{Account, Auth, Registry};
use verbatim_credentials::{CredentialEnvironment, ExposeSecret as _, Keychain};
use verbatim_oci::{Descriptor, Digest, Manifest, Reference};
use verbatim_record::{
    BUNDLE_MEDIA_TYPE, Bundle, EnvironmentArtifact, Predicate, Promotion, Statement, sign,
};
use verbatim_registry::ManifestName;

fn digest(release: &str) -> Result<Digest> {
    Ok(release.split_once('@').context("no digest")?.1.parse()?)
}

/// The bundles that are attached to a release.
pub(crate) async fn bundles(release: &str) -> Result<(Reference, Descriptor, Vec<Bundle>)> {
    let client = e2e::client()?;
    let image: Reference = release.parse()?;
    let subject = client.manifest(&image).await?.descriptor()?;
    let listed =
        client.referrers(&image.repository, &subject.digest, Some(BUNDLE_MEDIA_TYPE)).await?;
    let mut found = Vec::new();
    for entry in listed.descriptors {
        let manifest =
            client.manifest(&Reference::by_digest(image.repository.clone(), entry.digest)).await?;
        let Manifest::Image(manifest) = manifest.parse()? else { continue };
        let bytes = client.blob(&image.repository, &manifest.layers[0], 1 << 20).await?;
        found.push(Bundle::read(bytes.to_vec())?);
    }
    Ok((image, subject, found))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_does_not_count() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    let (image, subject, found) = bundles(&release).await?;
    let test = found
        .iter()
        .find(|bundle| bundle.predicate_type().contains("test-result"))
        .context("no test")?;
    // One character of the signature.
    let text = String::from_utf8(test.bytes().to_vec())?;
    let at = text.find("\"sig\":\"").context("no signature")? + "\"sig\":\"".len() + 20;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let changed = Bundle::read(format!("{}{other}{}", &text[..at], &text[at + 1..]).into_bytes())?;
    e2e::attach(&image, subject, &changed).await?;
    // Whoever may push can attach that, so it is told and decides nothing.
    let run = world.verbatim(&["verify", &release]).await?.ends(0);
    assert!(run.stdout.contains("the signature does not match"), "{run}");
    // The untouched one beside it still counts.
    let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
    Ok(())
}

/// The promotion of one release, attached to another: signed by the right key, and about something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_record_does_not_count() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    world.carry(&first, &["dev"]).await?;
    let (_, _, found) = bundles(&first).await?;
    let second = world.release("Second").await?;
    let (image, subject, _) = bundles(&second).await?;
    for record in &found {
        e2e::attach(&image, subject.clone(), record).await?;
    }
    let refused = world.verbatim(&["promote", "staging", "--release", &second]).await?.ends(1);
    assert!(refused.stdout.contains("never promoted to shop/dev"), "{refused}");
    let verify = world.verbatim(&["verify", &second]).await?.ends(0);
    assert!(verify.stdout.contains(&format!("it is not about {}", digest(&second)?)), "{verify}");
    Ok(())
}

/// Whoever may push signs a promotion with a key of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_counts_for_nothing_and_is_shown() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    world.carry(&first, &["dev"]).await?;
    let (image, subject, found) = bundles(&first).await?;
    let promotion =
        found.iter().find(|bundle| bundle.predicate_type() == "urn:verbatim:promotion:v1");
    let statement: Statement<Promotion> = statement(promotion.context("no promotion")?)?;
    let forged = sign(&statement, &e2e::key(9)?)?;
    e2e::attach(&image, subject, &forged).await?;
    let run = world.verbatim(&["verify", &first]).await?.ends(0);
    assert!(run.stdout.contains("it is signed by a key that is not configured"), "{run}");
    Ok(())
}

pub(crate) fn statement<P: Predicate>(bundle: &Bundle) -> Result<Statement<P>> {
    let outer: serde_json::Value = serde_json::from_slice(bundle.bytes())?;
    let payload = outer["dsseEnvelope"]["payload"].as_str().context("no payload")?;
    Ok(serde_json::from_slice(&e2e::base64(payload)?)?)
}

/// A registry that lost the records (or hides them) is told by what stands on the applications.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_cut_is_noticed() -> Result<()> {
    let mut world = World::start().await?;
    let release = world.release("First").await?;
    world.carry(&release, &["dev"]).await?;
    // Another registry, with the same image and build record, and nothing else.
    world.registry = Registry::start(test_registry::Config::default()).await?;
    world.registry_proxy =
        fault_proxy::FaultProxy::start(fault_proxy::Upstream::Tcp(world.registry.host())).await?;
    world.project.write("verbatim.yaml", &world.configuration())?;
    let release = world.release("Second").await?;
    let refused = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("is known elsewhere and missing here"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_believed_only_from_configured_keys() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    world.carry(&release, &["dev"]).await?;
    // The team replaces its key; the old one is not trusted any more.
    world.project.write("ci.pub", &e2e::key(8)?.verifying_key().to_pem()?)?;
    let run = world.verbatim(&["verify", &release]).await?.ends(1);
    assert!(run.stdout.contains("no record that counts"), "{run}");
    let refused =
        world.verbatim(&["promote", "staging", "--dry-run", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("refused  after"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_accepts_every_record() -> Result<()> {
    let Some(cosign) = e2e::cosign() else { return Ok(()) };
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev", "staging"]).await?;
    let types = [
        "https://slsa.dev/provenance/v1",
        "https://in-toto.io/attestation/test-result/v0.1",
        "urn:verbatim:promotion:v1",
    ];
    let image: Reference = release.parse()?;
    let by_digest = format!("{}@{}", image.repository, digest(&release)?);
    for predicate in types {
        let arguments = [
            "verify-attestation",
            "--key",
            "ci.pub",
            "--insecure-ignore-tlog=true",
            "--allow-http-registry",
            "--type",
            predicate,
            &by_digest,
        ];
        let run = world.tool.other(&cosign, &arguments).await?.ends(0);
        assert!(run.stdout.contains("payload"), "{run}");
    }
    // And it refuses what another key is said to have signed.
    world.project.write("other.pub", &e2e::key(8)?.verifying_key().to_pem()?)?;
    let arguments = [
        "verify-attestation",
        "--key",
        "other.pub",
        "--insecure-ignore-tlog=true",
        "--allow-http-registry",
        "--type",
        types[2],
        &by_digest,
    ];
    let run = world.tool.other(&cosign, &arguments).await?;
    assert_ne!(run.code, 0, "{run}");
    Ok(())
}

/// Who trusts the verifier need not check again: the summary says what came of it, also that it is not verified.
#[tokio::test(flavor = "multi_thread")]
async fn a_summary_tells_others_what_was_verified() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    let of_release = digest(&release)?;
    let summary = async |status: i32| -> Result<serde_json::Value> {
        let verify = ["verify", &release, "--vsa", "--format", "json"];
        let told = world.verbatim(&verify).await?.ends(status).json()?;
        let record = told["summary"].as_str().context("no summary")?.to_owned();
        let (_, _, bundles) = bundles(&release).await?;
        let is_it = |it: &&Bundle| it.digest().to_string() == record;
        let bundle = bundles.iter().find(is_it).context("it is not attached")?;
        let bundle: serde_json::Value = serde_json::from_slice(bundle.bytes())?;
        let payload = bundle["dsseEnvelope"]["payload"].as_str().context("no payload")?;
        let statement: serde_json::Value = serde_json::from_slice(&e2e::base64(payload)?)?;
        assert_eq!(statement["predicateType"], "https://slsa.dev/verification_summary/v1");
        assert_eq!(statement["subject"][0]["digest"]["sha256"], of_release.hex());
        Ok(statement["predicate"].clone())
    };
    let passed = summary(0).await?;
    assert_eq!(passed["verificationResult"], "PASSED");
    assert_eq!(passed["verifiedLevels"], serde_json::json!(["SLSA_BUILD_LEVEL_1"]));
    assert_eq!(passed["verifier"]["id"], "urn:verbatim:verifier:shop");
    assert_eq!(passed["inputAttestations"].as_array().map(Vec::len), Some(1), "{passed}");
    assert!(passed["policy"]["digest"]["sha256"].is_string(), "{passed}");
    let of_release = of_release.to_string();
    let veto = ["veto", &of_release, "--reason", "it leaks", "--no-annotation"];
    let _ = world.verbatim(&veto).await?.ends(0);
    assert_eq!(summary(1).await?["verificationResult"], "FAILED");
    let Some(cosign) = e2e::cosign() else { return Ok(()) };
    let image: Reference = release.parse()?;
    let by_digest = format!("{}@{of_release}", image.repository);
    let read = ["verify-attestation", "--key", "ci.pub", "--insecure-ignore-tlog=true"];
    let of_type = ["--allow-http-registry", "--type", "https://slsa.dev/verification_summary/v1"];
    let arguments = [&read[..], &of_type, &[by_digest.as_str()]].concat();
    let run = world.tool.other(&cosign, &arguments).await?.ends(0);
    assert!(run.stdout.contains("payload"), "{run}");
    Ok(())
}

/// The records lie in a repository of their own, which another account may write to than the images.
#[tokio::test(flavor = "multi_thread")]
async fn the_repository_of_the_records_has_its_own_credentials() -> Result<()> {
    let account =
        |name: &str| Account { username: name.to_owned(), password: format!("of {name}") };
    let accounts = ["app", "records"].map(|name| (format!("shop/{name}"), account(name)));
    let auth = Auth::PerRepository(accounts.clone().into());
    let mut world =
        World::start_with(test_registry::Config { auth, ..test_registry::Config::default() })
            .await?;
    let hosts = [world.registry.host(), world.registry_proxy.address().to_string()];
    let logins = |known: &[(String, Account)]| {
        let mut entries = serde_json::Map::new();
        for (host, (repository, account)) in
            hosts.iter().flat_map(|host| known.iter().map(move |it| (host, it)))
        {
            let login = BASE64.encode(format!("{}:{}", account.username, account.password));
            entries.insert(format!("{host}/{repository}"), serde_json::json!({ "auth": login }));
        }
        serde_json::json!({ "auths": entries }).to_string()
    };
    world.tool = world.tool.clone().with("DOCKER_AUTH_CONFIG", &logins(&accounts));
    world.keychain =
        Keychain::from_environment(&CredentialEnvironment::from_map(&world.tool.variables));
    let records = format!("records: {}/shop/records\nargocd:\n", world.registry_proxy.address());
    let configuration = world.configuration().replace("argocd:\n", &records);
    world.project.write("verbatim.yaml", &configuration)?;
    let release = world.release("One").await?;
    world.registry.forget_seen();

    // The account of the images alone may not even look.
    let alone = world.tool.clone().with("DOCKER_AUTH_CONFIG", &logins(&accounts[..1]));
    let run = alone.run(&["promote", "dev", "--release", &release]).await?.ends(7);
    assert!(run.stderr.contains("/shop/records"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    // What a builder signed beside the image is taken over into the records.
    let _ = world.verbatim(&["adopt", &release]).await?.ends(0);
    world.carry(&release, &["dev"]).await?;
    let told = world.verbatim(&["verify", &release]).await?.ends(0);
    assert!(told.stdout.contains("to shop/dev (number 1), proven"), "{told}");
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    let written: Vec<_> = world
        .registry
        .seen()
        .into_iter()
        .filter(|seen| seen.method == http::Method::PUT && seen.target.contains("/manifests/"))
        .map(|seen| seen.target.contains("/shop/records/"))
        .collect();
    assert!(!written.is_empty() && written.iter().all(|in_records| *in_records), "{written:?}");
    Ok(())
}

/// An approval that a person wrote by hand and signed with the real cosign opens the gate; as strictly as one of ours.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_made_with_cosign_opens_the_gate() -> Result<()> {
    let Some(cosign) = e2e::cosign() else { return Ok(()) };
    let mut world = with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    world.tool = world.tool.clone().with("COSIGN_PASSWORD", "a b");
    std::fs::write(world.beside("ci"), world.key.to_pkcs8_pem()?.expose_secret())?;
    for person in ["lead", "ci"] {
        let (key, prefix) = (format!("../{person}"), format!("../{person}-cosign"));
        let import = ["import-key-pair", "--key", &key, "--output-key-prefix", &prefix, "--yes"];
        let _ = world.tool.other(&cosign, &import).await?.ends(0);
    }
    let release = world.release("One").await?;
    let image: Reference = release.parse()?;
    let target = format!("{}@{}", image.repository, digest(&release)?);
    let promote = ["promote", "dev", "--verbose", "--release", &release];
    // (whose key, for which environment, what keeps the release out then)
    let said = [
        ("ci", "shop/dev", Some("its key lacks the role `release-manager`")),
        ("lead", "shop/staging", Some("0 of 1 approval by `release-manager`")),
        ("lead", "shop/dev", None),
    ];
    let _ = world.verbatim(&promote).await?.ends(1);
    for (person, environment, refused) in said {
        let approval = serde_json::json!({
            "environment": environment, "reason": "looks good", "at": jiff::Timestamp::now(),
        });
        world.project.write("approval.json", &approval.to_string())?;
        let key = format!("../{person}-cosign.key");
        let attest = [
            "attest",
            "--key",
            &key,
            "--type",
            "urn:verbatim:approval:v1",
            "--predicate",
            "approval.json",
            "--use-signing-config=false",
            "--tlog-upload=false",
            "--allow-http-registry",
            "--yes",
            &target,
        ];
        let _ = world.tool.other(&cosign, &attest).await?.ends(0);
        let run = world.verbatim(&promote).await?.ends(i32::from(refused.is_some()));
        let told = refused.unwrap_or("approved by lead");
        assert!(run.stdout.contains(told), "{told}: {run}");
    }
    Ok(())
}

/// A veto for one environment is listed by the release and by the environment: a registry that hides one list hides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_veto_that_one_list_hides_is_found_in_the_other() -> Result<()> {
    let config = test_registry::Config { referrers_api: false, ..test_registry::Config::default() };
    let world = World::start_with(config).await?;
    let release = world.release("One").await?;
    let of_release = digest(&release)?;
    let promote = ["promote", "dev", "--dry-run", "--release", &release];
    let veto = ["veto", &of_release.to_string(), "--environment", "dev", "--reason", "it leaks"];
    let _ = world.verbatim(&promote).await?.ends(0);
    let _ = world.verbatim(&veto).await?.ends(0);
    let of_environment = *EnvironmentArtifact::of(&"shop/dev".parse()?).digest();
    for hidden in [of_release, of_environment] {
        let listing = e2e::Listing::of(&world, &hidden).await?;
        let hide = |entries: &mut Vec<serde_json::Value>| {
            let had = entries.len();
            entries.retain(|entry| !entry.to_string().contains("urn:verbatim:veto:v1"));
            assert_eq!(entries.len() + 1, had);
        };
        listing.rewrite(hide).await?;
        let run = world.verbatim(&promote).await?.ends(1);
        assert!(run.stdout.contains("vetoed: it leaks"), "{run}");
        listing.put_back().await?;
    }
    Ok(())
}

/// Overwrites the listing of an environment with its first entries, as a writer does who had read it before.
async fn overwrite_ledger(world: &World, environment: &str, keep: usize) -> Result<usize> {
    let listing = e2e::Listing::of_environment(world, environment).await?;
    listing.rewrite(|entries| entries.truncate(keep)).await
}

/// A fallback tag that somebody wrote back is no loss: records are found by the digests that the applications and their
/// successors name, and listed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_listing_lost_is_found_and_listed_again() -> Result<()> {
    let config = test_registry::Config { referrers_api: false, ..test_registry::Config::default() };
    let world = World::start_with(config).await?;
    for message in ["First", "Second"] {
        let release = world.release(message).await?;
        let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    }
    assert_eq!(overwrite_ledger(&world, "dev", 0).await?, 2);
    let third = world.release("Third").await?;
    let promoted = world.verbatim(&["promote", "dev", "--release", &third]).await?.ends(0);
    assert!(promoted.stdout.contains("promotion 3"), "{promoted}");
    assert_eq!(overwrite_ledger(&world, "dev", 3).await?, 3, "all are listed again");
    // Whoever only reads lists nothing, and tells.
    assert_eq!(overwrite_ledger(&world, "dev", 1).await?, 3);
    let verify = world.verbatim(&["verify", &third]).await?.ends(0);
    assert!(verify.stdout.contains("is not listed there; fetched by digest"), "{verify}");
    assert_eq!(overwrite_ledger(&world, "dev", 1).await?, 1);
    Ok(())
}

/// A key that the job does not have: a command signs with it. Should it fail when everything is done, the statement is
/// kept, and signed and attached later.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_signs_in_place_of_a_key() -> Result<()> {
    let mut world = World::start().await?;
    world.tool.variables.remove("VERBATIM_KEY");
    std::fs::write(world.beside("key.pem"), world.key.to_pkcs8_pem()?.expose_secret())?;
    let script = "cat > ../message
if test -e ../broken && ! grep -q '^verbatim asks' ../message; then echo 'the service is down' >&2; exit 1; fi
openssl dgst -sha256 -sign ../key.pem ../message | openssl base64
";
    std::fs::write(world.beside("sign.sh"), script)?;
    world.tool = world.tool.clone().with("VERBATIM_SIGNER", "sh ../sign.sh");
    let release = world.release("First").await?;
    std::fs::write(world.beside("broken"), "")?;
    let promoted = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(4);
    assert!(promoted.stderr.contains("its record could not be signed"), "{promoted}");
    assert!(promoted.stderr.contains("the service is down"), "what the command says is shown");
    let file = promoted.stderr.split("verbatim record attach ").nth(1).context("no command")?;
    let file = file.split(['`', ' ']).next().context("no file")?.to_owned();
    let refused = world.verbatim(&["record", "attach", &file]).await?.ends(7);
    assert!(refused.stderr.contains("its command ended with status 1"), "{refused}");

    std::fs::remove_file(world.beside("broken"))?;
    let _ = world.verbatim(&["record", "attach", &file]).await?.ends(0);
    let verify = world.verbatim(&["verify", &release]).await?.ends(0);
    assert!(verify.stdout.contains("to shop/dev (number 1), proven"), "{verify}");

    // A key that is nobody's here is found out before anything is done.
    std::fs::write(world.beside("key.pem"), e2e::key(8)?.to_pkcs8_pem()?.expose_secret())?;
    let refused = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(7);
    assert!(refused.stderr.contains("add its public key to `keys`"), "{refused}");
    Ok(())
}

/// The old form of cosign keeps attestations under a tag beside the image. Nothing there counts, and it is in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn attestations_under_the_old_tags_of_cosign_are_not_read() -> Result<()> {
    let mut world = with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    let commit = world.project.commit("First").await?;
    let built = e2e::Built { commit, dirty: false, run: None };
    let release = world.image(built.clone()).await?;
    let _ = e2e::by(&world, "lead", &["approve", "dev", "--release", &release]).await?.ends(0);
    let (_, _, found) = bundles(&release).await?;
    let is_approval = |bundle: &Bundle| bundle.predicate_type() == "urn:verbatim:approval:v1";
    let approval = found.into_iter().find(is_approval).context("no approval")?;

    // Another registry has the same image, and the approval in the old form alone.
    let configuration = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let before = world.registry_proxy.address().to_string();
    world.registry = Registry::start(test_registry::Config::default()).await?;
    world.registry_proxy =
        fault_proxy::FaultProxy::start(fault_proxy::Upstream::Tcp(world.registry.host())).await?;
    let after = world.registry_proxy.address().to_string();
    world.project.write("verbatim.yaml", &configuration.replace(&before, &after))?;
    let release = world.image(built).await?;
    let outer: serde_json::Value = serde_json::from_slice(approval.bytes())?;
    let envelope = Bytes::from(outer["dsseEnvelope"].to_string());
    let (image, subject, _) = bundles(&release).await?;
    let client = e2e::client()?;
    let config = Bytes::from_static(b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": verbatim_oci::media_type::OCI_MANIFEST,
        "config": Descriptor::of(verbatim_oci::media_type::OCI_CONFIG, &config),
        "layers": [Descriptor::of("application/vnd.dsse.envelope.v1+json", &envelope)],
    });
    for blob in [envelope, config] {
        client.push_blob(&image.repository, blob).await?;
    }
    let tag = format!("{}.att", digest(&release)?.to_string().replace(':', "-")).parse()?;
    let (tag, kind) = (ManifestName::Tag(tag), verbatim_oci::media_type::OCI_MANIFEST);
    client.put_manifest(&image.repository, &tag, kind, manifest.to_string().into()).await?;
    let promote = ["promote", "dev", "--release", &release, "--format", "json"];
    let run = world.verbatim(&promote).await?.ends(1);
    assert_eq!(e2e::refusals(&run.json()?), ["approvals"], "{run}");

    e2e::attach(&image, subject, &approval).await?;
    let _ = world.verbatim(&promote).await?.ends(0);
    Ok(())
}
