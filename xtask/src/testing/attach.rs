//! `cargo xtask test attach`: many processes attach to one image at the same moment, through the fallback tag of a registry
//! without a referrers API. Whoever ended with 0 must find its document listed afterwards.
//!
//! Registries have no compare-and-set on tags, so it cannot be proven that no entry is lost; it can be tried often.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use test_registry::{Config as RegistryConfig, Registry};
use tokio::process::Command;
use verbatim_credentials::Keychain;
use verbatim_oci::{Descriptor, Digest, Reference, Tag, media_type};
use verbatim_registry::{Client, Config, ManifestName};

use needs::cargo;
use needs::workspace_root;
use rig::engine::children;
use rig::lease;

/// The arguments of this suite.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask test attach                                      # 20 processes, 100 rounds
  cargo xtask test attach --rounds 3                           # in a minute
  cargo xtask test attach --registry localhost:5000            # a registry that runs already")]
pub(super) struct Args {
    /// How many processes attach at the same time
    #[arg(long, value_name = "N", default_value_t = 20)]
    processes: usize,
    /// How often they do
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: usize,
    /// `host:port` of a registry without login [default: one in this process, without a referrers API]
    #[arg(long, value_name = "HOST")]
    registry: Option<String>,
}

/// What became of one process.
struct Ended {
    document: Option<Digest>,
    failure: String,
}

/// How the processes of all rounds ended.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// How many there were.
    pub(crate) all: usize,
    /// How many failed, and said so.
    pub(crate) refused: usize,
    /// How many said that they attached a document that is not listed.
    pub(crate) lost: usize,
}

impl Attached {
    pub(crate) fn listed(&self) -> usize {
        self.all - self.refused - self.lost
    }

    /// A process that says that it failed has told the truth; but if most do, this has tried nothing.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let Self { all, refused, lost } = self;
        if *lost > 0 || refused * 20 > *all {
            bail!("{lost} of {all} documents were lost, {refused} could not be attached");
        }
        Ok(())
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    attach(args.processes, args.rounds, args.registry.as_deref())?.verdict()
}

/// Lets so many processes attach, so often, in a registry without login: of this process, if none is given.
pub(crate) fn attach(
    processes: usize,
    rounds: usize,
    registry: Option<&str>,
) -> anyhow::Result<Attached> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(attach_all(processes, rounds, registry))
}

async fn attach_all(
    processes: usize,
    rounds: usize,
    registry: Option<&str>,
) -> anyhow::Result<Attached> {
    let binary = build()?;
    let folder = tempfile::tempdir()?;
    let own = match registry {
        Some(_) => None,
        None => {
            let config = RegistryConfig { referrers_api: false, ..RegistryConfig::default() };
            Some(Registry::start(config).await?)
        }
    };
    let host = match (registry, &own) {
        (Some(host), _) => host.to_owned(),
        (None, Some(registry)) => registry.host(),
        (None, None) => bail!("no registry"),
    };
    let mut attached = Attached { all: processes * rounds, ..Attached::default() };
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        let image = image(&host, round).await?;
        let began = Instant::now();
        let attaching =
            (0..processes).map(|n| attach_one(&binary, folder.path(), &image, round, n));
        let ended = futures_util::future::try_join_all(attaching).await?;
        slowest = slowest.max(began.elapsed());
        let listed = listed(&image).await?;
        for Ended { document, failure } in &ended {
            match document {
                Some(document) if listed.contains(document) => {}
                Some(document) => {
                    attached.lost += 1;
                    println!("round {round}: {document} was attached and is not listed");
                }
                None => {
                    attached.refused += 1;
                    println!("round {round}: a process failed, and said so: {failure}");
                }
            }
        }
    }
    let Attached { all, refused, lost } = attached;
    println!(
        "{all} documents in {rounds} rounds of {processes} processes: {} listed, {refused} refused, {lost} lost; the slowest round took {:.1} s",
        attached.listed(),
        slowest.as_secs_f64(),
    );
    Ok(attached)
}

/// A new image for each round, so that listings stay small.
async fn image(host: &str, round: usize) -> anyhow::Result<Reference> {
    let client = client()?;
    let content = bytes::Bytes::from(format!(r#"{{"round":{round}}}"#));
    let tag: Tag = format!("round-{round}").parse()?;
    let image = Reference::by_tag(format!("{host}/stress/app").parse()?, tag.clone());
    client.push_blob(&image.repository, content.clone()).await?;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, &content),
        "layers": [],
    });
    let (name, bytes) = (ManifestName::Tag(tag), manifest.to_string().into());
    let put =
        client.put_manifest(&image.repository, &name, media_type::OCI_MANIFEST, bytes).await?;
    Ok(image.pinned(put.digest))
}

async fn attach_one(
    binary: &Path,
    folder: &Path,
    image: &Reference,
    round: usize,
    number: usize,
) -> anyhow::Result<Ended> {
    let file = folder.join(format!("{round}-{number}"));
    std::fs::write(&file, format!("document {number} of round {round}\n"))?;
    let output = Command::new(binary)
        .args(["referrers", "attach", "--type", "application/vnd.example", "--format", "json"])
        .arg(image.to_string())
        .arg(&file)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run the program")?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Ok(Ended { document: None, failure: format!("{}: {told}", output.status) });
    }
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let document = answer["digest"].as_str().context("no digest")?.parse()?;
    Ok(Ended { document: Some(document), failure: String::new() })
}

async fn listed(image: &Reference) -> anyhow::Result<BTreeSet<Digest>> {
    let digest = image.digest.context("no digest")?;
    let listed = client()?.referrers(&image.repository, &digest, None).await?;
    Ok(listed.descriptors.into_iter().map(|entry| entry.digest).collect())
}

fn client() -> anyhow::Result<Client> {
    Ok(Client::new(Config::new("verbatim-stress"), Keychain::anonymous())?)
}

fn build() -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command.args([
        "build",
        "--locked",
        "--package",
        "verbatim-registry",
        "--package",
        "xtask",
        "--bin",
        "verbatim-registry",
    ]);
    let status = children::run(command.current_dir(workspace_root()))?;
    if !status.success() {
        bail!("verbatim-registry does not build: {status}");
    }
    // This program lies in the same folder.
    let path = lease::this_program()?.with_file_name("verbatim-registry");
    path.is_file().then_some(path).context("cargo put the program somewhere else")
}
