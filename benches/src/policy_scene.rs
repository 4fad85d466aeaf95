//! What a decision needs around it: an image with a build record, promoted to staging and tested there, on a simulated Argo
//! CD; and as many records of it as are wanted. Measures nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulated_argocd::{Config, Pace, Pods, SimulatedArgocd, Tools};
use tokio::runtime::Runtime;
use verbatim_credentials::{ExposeSecret as _, Keychain};
use verbatim_oci::{Descriptor, Reference};
use verbatim_record::{
    Approval, BUNDLE_MEDIA_TYPE, Bundle, CiRun, EnvironmentId, PREDICATE_TYPE_ANNOTATION, Payload,
    SigningKey, Statement, SuiteOutcome, TestOutcome, TestRun, Veto, sign,
};
use verbatim_registry::{Attachment, Client, Layer};

use super::cases::{Bench, push_something};
use super::measure::{Program, Sample};
use needs::workspace_root;
use rig::engine::children;

/// The predicate type of test results.
pub(super) const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

const REPORT: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// Attaching one after the other costs a round trip each; a registry in the same process takes several at once.
const AT_ONCE: usize = 8;

pub(super) struct Scene {
    runtime: Runtime,
    argocd: SimulatedArgocd,
    client: Client,
    folder: PathBuf,
    home: PathBuf,
    binary: PathBuf,
    image: Reference,
    subject: Descriptor,
}

impl Scene {
    /// Makes it, with its images in this registry.
    pub(super) fn start(bench: &mut Bench, registry: &str, name: &str) -> Result<Scene> {
        // Nothing here speaks TLS, but an HTTP client cannot be made without somebody to do it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let crane = bench.crane()?;
        let (folder, home) = (bench.folder().join(name), bench.folder().to_owned());
        let runtime = Runtime::new().context("failed to start a runtime")?;
        let tools = Tools { helm: None, kustomize: None, substitute: true, ..Tools::default() };
        let pods = Pods::Fake { ready_after: Duration::from_millis(10) };
        // How long Argo CD waits before it compares is not ours.
        let pace = Pace { compare_ms: 0, ..Pace::default() };
        let config = Config { tools, pods, pace, ..Config::default() };
        let argocd = runtime.block_on(SimulatedArgocd::start(config))?;
        project(&folder, registry, &argocd.url())?;
        let image = format!("{registry}/shop/app:1");
        push_something(&crane, &home, &image)?;
        let image: Reference = image.parse()?;
        let mut config = verbatim_registry::Config::new("verbatim-bench");
        config.fallback_settle = Duration::from_millis(5);
        let client = Client::new(config, Keychain::anonymous())?;
        let subject = runtime.block_on(client.manifest(&image))?.descriptor()?;
        let image = image.pinned(subject.digest);
        let binary = bench.binary().to_owned();
        let scene = Scene { runtime, argocd, client, folder, home, binary, image, subject };
        for environment in ["staging", "production"] {
            scene.runtime.block_on(scene.create(environment))?;
        }
        scene.verbatim(&["adopt", &scene.image.to_string()])?;
        scene.verbatim(&["promote", "staging"])?;
        scene.verbatim(&["test", "staging"])?;
        Ok(scene)
    }

    /// The public half of the key that signs for the pipeline.
    pub(super) fn public_key(&self) -> PathBuf {
        self.folder.join("ci.pub")
    }

    /// The question that is measured: may the release enter production?
    pub(super) fn explain(&self) -> Program {
        let config = self.folder.join("verbatim.yaml").to_string_lossy().into_owned();
        let release = self.image.to_string();
        let words = ["policy", "explain", "production", "--release", &release, "--config", &config];
        let program = Program::new(&self.binary, words);
        self.variables()
            .into_iter()
            .fold(program, |program, (name, value)| program.env(name, &value))
    }

    /// The release that it is about.
    pub(super) fn release(&self) -> String {
        self.image.to_string()
    }

    /// How long the stand-in for Argo CD takes for the comparison that a decision waits for: it asks git for the commit.
    pub(super) fn comparisons(&self, rounds: usize) -> Result<Vec<Sample>> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url =
            format!("{}/api/v1/applications/shop-production?refresh=normal", self.argocd.url());
        let token = self.argocd.tokens().bot;
        let one = async || {
            let began = Instant::now();
            let answer = client.get(&url).bearer_auth(&token).send().await?.error_for_status()?;
            answer.bytes().await?;
            Ok::<_, reqwest::Error>(Sample { seconds: began.elapsed().as_secs_f64(), peak_kib: 0 })
        };
        self.runtime.block_on(async {
            let mut samples = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                samples.push(one().await?);
            }
            Ok(samples)
        })
    }

    /// Adds records of the release until it has `count`, of every kind that a gate looks at. Three are there.
    pub(super) fn add_records(&self, count: usize) -> Result<()> {
        eprintln!("attaching {count} records …");
        let name = self.image.repository.to_string();
        for number in 3..count {
            let record = self.record(&name, number)?;
            self.runtime.block_on(self.attach(&self.image, &self.subject, &record))?;
        }
        Ok(())
    }

    /// Lists `count` records more that are of a kind that nobody asks for.
    pub(super) fn add_noise(&self, count: usize) -> Result<()> {
        eprintln!("listing {count} other records …");
        let one = |number: usize| {
            let kind = "https://example.com/attestation/sbom/v1".to_owned();
            let mut attachment = self.attachment(&self.subject, b"{}".to_vec());
            attachment.annotations.insert(PREDICATE_TYPE_ANNOTATION.to_owned(), kind);
            attachment.annotations.insert("com.example.number".to_owned(), number.to_string());
            let bytes = attachment.manifest_bytes();
            let (client, repository) = (&self.client, &self.image.repository);
            async move {
                let media_type = verbatim_oci::media_type::OCI_MANIFEST;
                let name = verbatim_registry::ManifestName::Digest;
                client.put_manifest(repository, &name, media_type, bytes).await.map(drop)
            }
        };
        let all = async {
            let repository = &self.image.repository;
            self.client.push_blob(repository, Bytes::from_static(b"{}")).await?;
            stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await
        };
        Ok(self.runtime.block_on(all)?)
    }

    /// Another image, of which there is one test result. Returns its reference by digest.
    pub(super) fn image_with_one_record(&self, bench: &mut Bench) -> Result<String> {
        let crane = bench.crane()?;
        let image = format!("{}/shop/one:1", self.image.repository.api_host());
        push_something(&crane, &self.home, &image)?;
        let image: Reference = image.parse()?;
        let subject = self.runtime.block_on(self.client.manifest(&image))?.descriptor()?;
        let record = self.tested(&image.repository.to_string(), 0)?;
        self.runtime.block_on(self.attach(&image, &subject, &record))?;
        Ok(Reference::by_digest(image.repository, subject.digest).to_string())
    }

    fn record(&self, name: &str, number: usize) -> Result<Bundle> {
        let (release, production) =
            (&self.subject.digest, EnvironmentId::new("shop", "production")?);
        let run = CiRun { number: u64::try_from(number).ok(), ..CiRun::default() };
        let at = Timestamp::now();
        Ok(match number % 4 {
            0 => {
                let until = None;
                let reason = format!("demo {number} went well");
                let approval = Approval {
                    seen: Vec::new(),
                    environment: production,
                    reason,
                    at,
                    until,
                    plan: None,
                    run,
                };
                sign(&Statement::approval(name, release, approval), &key(2)?)?
            }
            1 => {
                let veto = Veto {
                    seen: Vec::new(),
                    environment: Some(production),
                    lifts: Vec::new(),
                    reason: format!("incident {number}"),
                    at: at.saturating_sub(SignedDuration::from_hours(2))?,
                    // Over when the decision is made.
                    until: Some(at.saturating_sub(SignedDuration::from_hours(1))?),
                    run,
                };
                sign(&Statement::veto(name, release, veto), &key(2)?)?
            }
            2 => {
                let predicate = json!({
                    "scanner": { "uri": "https://scanner.example.com", "result": { "critical": 0, "number": number } },
                    "metadata": { "scanFinishedOn": at.to_string() },
                });
                let statement = Statement::any(name, release, REPORT, predicate);
                Payload::read(serde_json::to_vec(&statement)?)?.signed_by(&key(1)?)?
            }
            _ => self.tested(name, number)?,
        })
    }

    fn tested(&self, name: &str, number: usize) -> Result<Bundle> {
        let at = Timestamp::now();
        let run = TestRun {
            seen: Vec::new(),
            environment: EnvironmentId::new("shop", "staging")?,
            suites: vec![SuiteOutcome { suite: "smoke".to_owned(), outcome: TestOutcome::Passed }],
            promotion: None,
            before: Vec::new(),
            after: Vec::new(),
            run: CiRun { number: u64::try_from(number).ok(), ..CiRun::default() },
            started_at: at,
            finished_at: at,
        };
        Ok(sign(&Statement::test(name, &self.subject.digest, run.result()), &key(1)?)?)
    }

    fn attachment(&self, subject: &Descriptor, bytes: Vec<u8>) -> Attachment {
        let layer = Layer {
            media_type: BUNDLE_MEDIA_TYPE.to_owned(),
            bytes: bytes.into(),
            annotations: Default::default(),
        };
        Attachment {
            subject: subject.clone(),
            artifact_type: BUNDLE_MEDIA_TYPE.to_owned(),
            layers: vec![layer],
            annotations: Default::default(),
        }
    }

    async fn attach(&self, image: &Reference, subject: &Descriptor, record: &Bundle) -> Result<()> {
        let stored = record.attachment();
        let attachment = Attachment {
            annotations: stored.annotations,
            ..self.attachment(subject, stored.layer)
        };
        self.client
            .attach(&image.repository, &attachment)
            .await
            .context("cannot attach a record")?;
        Ok(())
    }

    /// Runs the binary, for what has to be there before.
    fn verbatim(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.binary);
        let pem = key(1)?.to_pkcs8_pem()?;
        command.args(arguments).current_dir(&self.folder).envs(self.variables());
        let output = command.env("VERBATIM_KEY", pem.expose_secret()).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "verbatim {}: {text}", arguments.join(" "));
        Ok(())
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ARGOCD_AUTH_TOKEN", self.argocd.tokens().bot),
            // What this user has kept is not for here.
            ("HOME", self.home.to_string_lossy().into_owned()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ]
    }

    async fn create(&self, environment: &str) -> Result<()> {
        let application = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": { "name": format!("shop-{environment}"), "namespace": "argocd" },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": format!("file://{}", self.folder.display()),
                    "path": "chart",
                    "targetRevision": "main",
                    "helm": { "valueFiles": [format!("values-{environment}.yaml")] },
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
            },
        });
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}/api/v1/applications", self.argocd.url());
        let request = client.post(url).bearer_auth(self.argocd.tokens().admin).json(&application);
        request.send().await?.error_for_status().context("cannot create an application")?;
        Ok(())
    }
}

/// A key of no value: 1 is that of the pipeline, 2 that of a person.
pub(super) fn key(number: u8) -> Result<SigningKey> {
    Ok(SigningKey::generate(|bytes| {
        bytes.fill(number);
        Ok::<_, std::convert::Infallible>(())
    })?)
}

/// A repository with the demo's chart, and every gate before production.
fn project(folder: &Path, registry: &str, argocd: &str) -> Result<()> {
    copy(&workspace_root().join("tests/demo/app/chart"), &folder.join("chart"))?;
    fs::write(folder.join("ci.pub"), key(1)?.verifying_key().to_pem()?)?;
    fs::write(folder.join("lead.pub"), key(2)?.verifying_key().to_pem()?)?;
    let configuration = format!(
        "version: 1
project: shop
images: {{ app: {{ repository: {registry}/shop/app }} }}
argocd: {{ main: {{ url: {argocd} }} }}
set: {{ helm: {{ image.repository: \"${{repository}}\", image.tag: \"${{tag}}@${{digest}}\" }} }}
environments:
  - {{ name: staging, apps: [shop-staging], settle: 0s, tests: {{ smoke: 'true' }} }}
  - name: production
    apps: [shop-production]
    after: [staging]
    gates:
      tested: {{ in: staging, suites: [smoke], max_age: 1d }}
      signed: {{ builders: ['*'] }}
      same_manifests: staging
      soak: {{ in: staging, for: 1s }}
      approvals: {{ role: release-manager, not_author: true, max_age: 1d }}
      windows: [{{ allow: '00:00-24:00' }}]
      attested: {{ type: {REPORT}, when: 'predicate.scanner.result.critical == 0', time: metadata.scanFinishedOn, max_age: 1d }}
      order: newer
      freshness: 1d
      when: {{ own: 'environment.name == \"production\"' }}
keys:
  - {{ name: ci, file: ci.pub, roles: [builder, tester, promoter] }}
  - {{ name: lead, file: lead.pub, roles: [release-manager] }}
"
    );
    fs::write(folder.join("verbatim.yaml"), configuration)?;
    git(folder)
}

/// Makes a repository of a folder, with one commit.
pub(super) fn git(folder: &Path) -> Result<()> {
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "Begin"],
    ] {
        let mut command = needs::Program::Git.command();
        command.args(["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]);
        command.args(arguments).current_dir(folder);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let status = children::run(&mut command)?;
        ensure!(status.success(), "git {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), &target)?),
        }
    }
    Ok(())
}
