//! Approvals that must not count, each by one fault, found on a real registry: the gate refuses and the fault is told. The same
//! run with the same approval without the fault is allowed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use e2e::{World, with_gates};
use fault_proxy::{Fault, Rule};
use jiff::{SignedDuration, Timestamp};
use rcgen::SigningKey as _;
use serde_json::{Value, json};
use verbatim_credentials::ExposeSecret as _;
use verbatim_oci::{Descriptor, Digest, Reference};
use verbatim_record::{
    Approval, Bundle, EnvironmentArtifact, EnvironmentId, PAYLOAD_TYPE, SigningKey, Statement, pae,
    sign,
};
use verbatim_registry::{Attachment, Layer};

/// The seed of the key of `lead`, who may approve.
const LEAD: u8 = 21;

/// An approval of a release for dev, as `lead` makes it.
fn approval(digest: &Digest, change: impl FnOnce(&mut Approval)) -> Result<Statement<Approval>> {
    let mut approval = Approval {
        seen: Vec::new(),
        environment: "shop/dev".parse()?,
        reason: "looks good".to_owned(),
        at: Timestamp::now(),
        until: None,
        plan: None,
        run: Default::default(),
    };
    change(&mut approval);
    Ok(Statement::approval("shop", digest, approval))
}

/// A bundle around any payload of any type, signed properly: for what our own code refuses to sign.
fn bundle(key: &SigningKey, payload_type: &str, payload: &[u8]) -> Result<Value> {
    let pair = rcgen::KeyPair::from_pem(key.to_pkcs8_pem()?.expose_secret())?;
    let signature = pair.sign(&pae(payload_type, payload))?;
    Ok(json!({
        "mediaType": verbatim_record::BUNDLE_MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.verifying_key().id().as_str() } },
        "dsseEnvelope": {
            "payload": BASE64.encode(payload),
            "payloadType": payload_type,
            "signatures": [{ "sig": BASE64.encode(signature) }],
        },
    }))
}

/// The bundle with another text in its payload, under the old signature.
fn with_payload(good: &Bundle, from: &str, to: &str) -> Result<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(good.bytes())?;
    let payload = document["dsseEnvelope"]["payload"].as_str().context("no payload")?;
    let text = String::from_utf8(e2e::base64(payload)?)?;
    anyhow::ensure!(text.contains(from), "{from} is not in {text}");
    document["dsseEnvelope"]["payload"] = json!(BASE64.encode(text.replace(from, to)));
    Ok(serde_json::to_vec(&document)?)
}

/// The forged approval of each case, for a release; what is told of it; and what the case is.
fn forgeries(digest: &Digest) -> Result<Vec<(&'static str, Vec<u8>, String)>> {
    let (lead, stranger, ci) = (e2e::key(LEAD)?, e2e::key(9)?, e2e::key(7)?);
    let other = Digest::of(b"another release");
    let good = sign(&approval(digest, |_| {})?, &lead)?;
    let of_other = sign(&approval(&other, |_| {})?, &lead)?;
    let signed = |key: &SigningKey, change: &dyn Fn(&mut Approval)| {
        anyhow::Ok(sign(&approval(digest, change)?, key)?.bytes().to_vec())
    };
    let payload = serde_json::to_string(&approval(digest, |_| {})?)?;
    let raw = |payload_type: &str, payload: &str| {
        anyhow::Ok(serde_json::to_vec(&bundle(&lead, payload_type, payload.as_bytes())?)?)
    };
    let twice =
        payload.replacen(r#""environment":"#, r#""environment":"shop/staging","environment":"#, 1);
    let text = String::from_utf8(good.bytes().to_vec())?;
    let type_twice =
        text.replacen(r#""payloadType":"#, r#""payloadType":"application/json","payloadType":"#, 1);
    let mut cosigned: Value = serde_json::from_str(&text)?;
    let signature = cosigned["dsseEnvelope"]["signatures"][0].clone();
    cosigned["dsseEnvelope"]["signatures"] = json!([signature, signature]);
    let mut unsigned: Value = serde_json::from_str(&text)?;
    let of_other_text: Value = serde_json::from_slice(of_other.bytes())?;
    unsigned["dsseEnvelope"]["signatures"] = of_other_text["dsseEnvelope"]["signatures"].clone();

    let unfit = "the signature does not match".to_owned();
    let (hour, now) = (SignedDuration::from_hours(1), Timestamp::now());
    Ok(vec![
        ("a changed payload", with_payload(&good, "looks good", "looks bad")?, unfit.clone()),
        ("a changed signature", serde_json::to_vec(&unsigned)?, unfit.clone()),
        ("a changed subject", with_payload(&of_other, &other.hex(), &digest.hex())?, unfit),
        ("of another release", of_other.bytes().to_vec(), format!("it is not about {digest}")),
        (
            "of another environment",
            signed(&lead, &|it| {
                it.environment = "shop/staging".parse().unwrap_or_else(|_| unreachable!())
            })?,
            "for shop/staging".to_owned(),
        ),
        (
            "expired",
            signed(&lead, &|it| (it.at, it.until) = (now - hour, Some(now - hour / 2)))?,
            "does not count: it expired at".to_owned(),
        ),
        (
            "by a wrong clock",
            signed(&lead, &|it| it.at = now + hour)?,
            "which is in the future".to_owned(),
        ),
        (
            "by an unknown key",
            signed(&stranger, &|_| {})?,
            "it is signed by a key that is not configured".to_owned(),
        ),
        (
            "by a key without the role",
            signed(&ci, &|_| {})?,
            "does not count: its key lacks the role".to_owned(),
        ),
        ("a payload type twice", type_twice.into_bytes(), "it is not a Sigstore bundle".to_owned()),
        (
            "an unknown payload type",
            raw("application/json", &payload)?,
            "its payload type is `application/json`".to_owned(),
        ),
        (
            "an environment twice",
            raw(PAYLOAD_TYPE, &twice)?,
            "its payload is not an in-toto statement".to_owned(),
        ),
        (
            "an unknown predicate type",
            raw(PAYLOAD_TYPE, &payload.replace("urn:verbatim:approval:v1", "urn:example:x"))?,
            "its predicate type `urn:example:x` is not used here".to_owned(),
        ),
        (
            "two signatures",
            serde_json::to_vec(&cosigned)?,
            "it has 2 signatures instead of one".to_owned(),
        ),
    ])
}

/// Attaches any bytes as the approval that `like` is.
async fn attach(
    image: &Reference,
    subject: Descriptor,
    like: &Bundle,
    bytes: Vec<u8>,
) -> Result<()> {
    let stored = like.attachment();
    let attachment = Attachment {
        subject,
        artifact_type: stored.artifact_type.to_owned(),
        layers: vec![Layer {
            media_type: stored.layer_media_type.to_owned(),
            bytes: bytes.into(),
            annotations: BTreeMap::new(),
        }],
        annotations: stored.annotations,
    };
    e2e::client()?.attach(&image.repository, &attachment).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_approval_counts() -> Result<()> {
    let world = with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    let count = forgeries(&Digest::of(b"any"))?.len();
    for index in 0..count {
        let release = world.release(&format!("Release {index}")).await?;
        let image: Reference = release.parse()?;
        let digest = image.digest.context("no digest")?;
        let subject = e2e::client()?.manifest(&image).await?.descriptor()?;
        let right = sign(&approval(&digest, |_| {})?, &e2e::key(LEAD)?)?;
        let (name, forged, told) =
            forgeries(&digest)?.into_iter().nth(index).context("no such case")?;
        attach(&image, subject.clone(), &right, forged).await?;
        let promote = ["promote", "dev", "--dry-run", "--release", &release];
        let refused = world.verbatim(&promote).await?.ends(1);
        assert!(refused.stdout.contains("refused  approvals"), "{name}: {refused}");
        let verify = world.verbatim(&["verify", &release]).await?;
        let all = format!("{refused}{verify}");
        assert!(all.contains(&told), "{name}: `{told}` is not in {all}");
        e2e::attach(&image, subject, &right).await?;
        let in_full = [promote.as_slice(), &["--format", "json"]].concat();
        let allowed = world.verbatim(&in_full).await?.ends(0);
        assert!(allowed.stdout.contains("approved by lead"), "{name}: {allowed}");
    }
    Ok(())
}

/// A document that is of none of the records, in base64.
const STRANGE: &str = "e30=";

/// A list in which the entry of the first record of a kind carries this in place of its document; and its digest.
fn with_data(list: &[u8], kind: &str, data: Option<&str>) -> Result<(String, Bytes)> {
    let mut document: Value = serde_json::from_slice(list)?;
    let entries = document["manifests"].as_array_mut().context("no list")?;
    let of_kind = |entry: &&mut Value| entry["annotations"].to_string().contains(kind);
    let entry = entries.iter_mut().find(of_kind).context("no entry")?;
    let digest = entry["digest"].as_str().context("no digest")?.to_owned();
    entry.as_object_mut().context("no entry")?.remove("data").context("it carries nothing")?;
    if let Some(data) = data {
        entry["data"] = data.into();
    }
    Ok((digest, document.to_string().into()))
}

/// Nothing is promoted, and nobody claims that there were no records.
async fn refuses(world: &World, promote: &[&str]) -> Result<()> {
    let refused = world.verbatim(promote).await?;
    assert_ne!(refused.code, 0, "{refused}");
    assert!(!refused.to_string().contains("never promoted"), "{refused}");
    assert!(!refused.to_string().contains("no test recorded"), "{refused}");
    Ok(())
}

/// A list of referrers that cannot be understood is not an empty one: of the release, and of the environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_list_of_records_is_not_an_empty_one() -> Result<()> {
    let config = test_registry::Config { referrers_api: false, ..test_registry::Config::default() };
    let world = World::start_with(config).await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let digest: Digest = release.split_once('@').context("no digest")?.1.parse()?;
    let dev: EnvironmentId = "shop/dev".parse()?;
    let promote = ["promote", "staging", "--dry-run", "--release", &release];
    let _ = world.verbatim(&promote).await?.ends(0);
    let image = e2e::client()?.manifest(&release.parse()?).await?;
    for subject in [digest, *EnvironmentArtifact::of(&dev).digest()] {
        let right = e2e::Listing::of(&world, &subject).await?;
        // A tag that leads to something else than a list.
        right.put(&image.media_type, image.bytes.clone()).await?;
        refuses(&world, &promote).await?;
        right.put_back().await?;
        let _ = world.verbatim(&promote).await?.ends(0);
        // Entries that lead nowhere: without their document, and with the document of another. The right list has it, and
        // then nothing has to be fetched.
        // Of the release the tests are asked for, of the environment the promotions.
        let kind = if subject == digest { "test-result" } else { "promotion" };
        for data in [None, Some(STRANGE)] {
            let (entry, changed) = with_data(&right.bytes, kind, data)?;
            let path = format!("/manifests/{entry}");
            world.registry_proxy.inject(Rule::new(Fault::Status(404)).path(&path).always());
            let _ = world.verbatim(&promote).await?.ends(0);
            right.put(verbatim_oci::media_type::OCI_INDEX, changed).await?;
            refuses(&world, &promote).await?;
            world.registry_proxy.heal();
            let _ = world.verbatim(&promote).await?.ends(0);
            right.put_back().await?;
        }
        // A right one that does not arrive as it is.
        for fault in [Fault::LyingBody, Fault::Truncate, Fault::Html] {
            let path = format!("/manifests/sha256-{}", subject.hex());
            world.registry_proxy.inject(Rule::new(fault).path(&path).always());
            refuses(&world, &promote).await?;
            world.registry_proxy.heal();
            let _ = world.verbatim(&promote).await?.ends(0);
        }
    }
    Ok(())
}
