//! A promotion to many applications at once: fifty on the rig, against the argocd CLI as a CI job would run it for each and
//! against Argo CD itself; a thousand on the simulated server, against the floor that Argo CD's own limit sets.
//!
//! The server allows itself 50 requests a second to Kubernetes. So what a client sends takes a time that no client can go
//! below: that is the floor.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use verbatim_credentials::ExposeSecret as _;

use super::application;
use super::cases::{Bench, Registry, push_something};
use super::compare::{Figures, Limit, row};
use super::measure::{Program, STUCK, Sample};
use super::policy_scene::{copy, git, key};
use needs::{cargo, workspace_root};
use rig::engine::children;
use rig::lease::{Lease, Pods};

/// The applications on the rig.
const FEW: usize = 50;

/// The applications on the simulated server.
const MANY: usize = 1000;

/// What the server allows itself: requests a second, after so many at once.
const RATE: f64 = 50.0;
const BURST: f64 = 100.0;

/// How many processes of the peer run at the same time.
const AT_ONCE: usize = 16;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    // Nothing here speaks TLS, but an HTTP client cannot be made without somebody to do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    on_the_rig(bench)?;
    simulated(bench)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("fleet-{number:04}")).collect()
}

fn on_the_rig(bench: &mut Bench) -> Result<()> {
    let runtime = Runtime::new().context("failed to start a runtime")?;
    let registry = Registry::start(&bench.folder().join("fleet-registry"))?;
    let lease = Lease::new(bench.folder(), Pods::Said, true)?;
    let rig = &lease.rig;
    let names = names(FEW);
    for name in &names {
        application::create(&runtime, rig, name, &format!("{}/shop/app", registry.host))?;
    }
    let folder = bench.folder().join("fleet-rig");
    let set = "image.repository: \"${repository}\", image.digest: \"${digest}\"";
    project(&folder, &registry.host, &rig.argocd.url, set, &names)?;
    let scene = Scene {
        binary: bench.binary().to_owned(),
        home: bench.folder().to_owned(),
        folder,
        token: rig.argocd.tokens.bot.clone(),
    };
    let images = images(bench, &scene, &registry.host)?;
    let api =
        Api { url: rig.argocd.url.clone(), token: rig.argocd.tokens.admin.clone(), http: http()? };
    let cli = &rig.argocd.cli;
    let argocd = format!("{} --server {} --plaintext", cli.display(), rig.argocd.server);
    let peer = |digest: &str| {
        let one = format!(
            "{argocd} app set {{}} --helm-set-string image.digest={digest} && \
             {argocd} app sync {{}} && {argocd} app wait {{}} --sync --health"
        );
        let list = names.join("\\n");
        let all = format!("printf '{list}\\n' | xargs -P {AT_ONCE} -I{{}} sh -c '{one}'");
        Program::new(Path::new("sh"), ["-c".into(), OsString::from(all)])
            .env("ARGOCD_AUTH_TOKEN", &rig.argocd.tokens.bot)
            .env("HOME", &scene.home.to_string_lossy())
    };
    let (mut ours, mut theirs, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    // The first of all makes the pods, and fills caches.
    scene.promote(&images[0]).sample(bench.folder())?;
    for round in 0..bench.rounds(3) {
        eprintln!("fleet of {FEW} on the rig: round {} …", round + 1);
        // Each deploys what the one before did not.
        theirs.push(peer(&images[1].digest).sample(bench.folder())?);
        alone.push(runtime.block_on(api.sync_all(&names, &images[0].digest))?);
        ours.push(scene.promote(&images[1]).sample(bench.folder())?);
        runtime.block_on(api.sync_all(&names, &images[0].digest))?;
    }
    let version = Program::new::<&str>(cli, []).version(&["version", "--client", "--short"])?;
    bench.note("argocd", version);
    bench.note("Argo CD", rig.argocd.version.clone());
    let ours = || Figures::of("`promote`", &ours);
    let name = format!("promote to {FEW} applications on the rig");
    let peer = Figures::of(
        &format!("`argocd app set`, `sync`, `wait` under `xargs -P {AT_ONCE}`"),
        &theirs,
    );
    bench.add(row(&name, ours(), Some(peer), &[Limit::TimeRatio(1.0)]));
    let alone = Figures::of("Argo CD, when all syncs are posted at once", &alone);
    let name = format!("{name}: against Argo CD itself");
    bench.add(row(&name, ours(), Some(alone), &[Limit::TimeRatio(1.3)]));
    Ok(())
}

fn simulated(bench: &mut Bench) -> Result<()> {
    let runtime = Runtime::new().context("failed to start a runtime")?;
    let registry = Registry::start(&bench.folder().join("fleet-many-registry"))?;
    let server = Simulated::start()?;
    let names = names(MANY);
    let folder = bench.folder().join("fleet-many");
    let set = "image.repository: \"${repository}\", image.tag: \"${tag}@${digest}\"";
    let commit = project(&folder, &registry.host, &server.url, set, &names)?;
    let api = Api { url: server.url.clone(), token: server.admin.clone(), http: http()? };
    eprintln!("making {MANY} applications …");
    runtime.block_on(api.create(&names, &folder, &commit))?;
    let scene = Scene {
        binary: bench.binary().to_owned(),
        home: bench.folder().to_owned(),
        folder,
        token: server.bot.clone(),
    };
    let images = images(bench, &scene, &registry.host)?;
    let pace = json!({ "request_ms": 20, "operation_ms": 2000, "limited": true });
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for image in images.iter().cycle().take(bench.rounds(1)) {
        runtime.block_on(api.control(Method::PUT, "pace", &pace))?;
        runtime.block_on(api.control(Method::DELETE, "requests", &Value::Null))?;
        eprintln!("fleet of {MANY} on the simulated server …");
        ours.push(scene.promote(image).sample(bench.folder())?);
        let seen = runtime.block_on(api.control(Method::GET, "requests", &Value::Null))?;
        let units = seen["requests"].as_array().into_iter().flatten();
        let units: u64 = units.filter_map(|seen| seen["units"].as_u64()).sum();
        eprintln!(
            "{units} requests to Kubernetes, {:.1} an application",
            units as f64 / MANY as f64
        );
        floor.push(Sample { seconds: (units as f64 - BURST).max(0.0) / RATE, peak_kib: 0 });
    }
    let figures = Figures::of("`promote`", &ours);
    let floor = Figures::of("what its requests take at 50 a second", &floor);
    let limits = [Limit::TimeRatio(1.2), Limit::PeakMib(100.0)];
    let name = format!("promote to {MANY} applications, 20 ms a request, 2 s an operation");
    bench.add(row(&name, figures, Some(floor), &limits));
    Ok(())
}

/// A release, as the project's registry has it.
struct Image {
    reference: String,
    digest: String,
}

/// Two releases that are different.
fn images(bench: &mut Bench, scene: &Scene, registry: &str) -> Result<[Image; 2]> {
    let crane = bench.crane()?;
    let make = |tag: &str| -> Result<Image> {
        let image = format!("{registry}/shop/app:{tag}");
        push_something(&crane, &scene.home, &image)?;
        // Of the same layer, but another image.
        let label = format!("tag={tag}");
        let mut command = Command::new(&crane);
        command.args(["mutate", "--label", &label, "--tag", &image, &image]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(children::run(&mut command)?.success(), "{image} could not be labelled");
        let mut command = Command::new(&crane);
        let output = command.args(["digest", &image]).output().context("crane does not run")?;
        let digest = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(digest.starts_with("sha256:"), "{image} has no digest");
        let reference = format!("{image}@{digest}");
        scene.verbatim(&["adopt", &reference])?;
        Ok(Image { reference, digest })
    };
    Ok([make("1")?, make("2")?])
}

/// A repository with the demo's chart and an environment of these applications. Returns its commit.
fn project(
    folder: &Path,
    registry: &str,
    argocd: &str,
    set: &str,
    apps: &[String],
) -> Result<String> {
    copy(&workspace_root().join("tests/demo/app/chart"), &folder.join("chart"))?;
    fs::write(folder.join("ci.pub"), key(1)?.verifying_key().to_pem()?)?;
    let configuration = format!(
        "version: 1
project: shop
images: {{ app: {{ repository: {registry}/shop/app }} }}
argocd: {{ main: {{ url: {argocd} }} }}
set: {{ helm: {{ {set} }} }}
environments:
  - {{ name: production, settle: 0s, apps: [{}] }}
keys:
  - {{ name: ci, file: ci.pub, roles: [builder, tester, promoter] }}
",
        apps.join(", ")
    );
    fs::write(folder.join("verbatim.yaml"), configuration)?;
    git(folder)?;
    let mut command = needs::Program::Git.command();
    let output = command.args(["rev-parse", "HEAD"]).current_dir(folder).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A project with what its commands need.
struct Scene {
    binary: PathBuf,
    home: PathBuf,
    folder: PathBuf,
    token: String,
}

impl Scene {
    /// What is measured.
    fn promote(&self, image: &Image) -> Program {
        let config = self.folder.join("verbatim.yaml").to_string_lossy().into_owned();
        let words = [
            "promote",
            "production",
            "--release",
            &image.reference,
            "--config",
            &config,
            "--backwards",
        ];
        let variables = self.variables().unwrap_or_default();
        let program = Program::new(&self.binary, words);
        variables.into_iter().fold(program, |program, (name, value)| program.env(name, &value))
    }

    fn verbatim(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(&self.folder).envs(self.variables()?);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "verbatim {}: {text}", arguments.join(" "));
        Ok(())
    }

    fn variables(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("ARGOCD_AUTH_TOKEN", self.token.clone()),
            ("VERBATIM_KEY", key(1)?.to_pkcs8_pem()?.expose_secret().to_owned()),
            // What this user has kept is not for here.
            ("HOME", self.home.to_string_lossy().into_owned()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ])
    }
}

/// The simulated server as a process, built for release: a thousand applications are much for one that is not.
struct Simulated {
    process: Child,
    url: String,
    admin: String,
    bot: String,
}

impl Simulated {
    fn start() -> Result<Self> {
        eprintln!("Building the simulated Argo CD for release …");
        let mut command = cargo();
        command.args(["build", "--release", "--locked", "--quiet"]);
        command.args(["--package", "simulated-argocd", "--bin", "simulated-argocd"]);
        let status = children::run(command.current_dir(workspace_root()))?;
        ensure!(status.success(), "the release build failed: {status}");
        let program = super::target_folder()?.join("release/simulated-argocd");
        let mut command = Command::new(program);
        command.arg("--substitute").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().context("the simulated Argo CD does not start")?;
        let mut line = String::new();
        let out = process.stdout.take().context("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let about: Value = serde_json::from_str(&line).context("it does not say where it is")?;
        let text = |pointer: &str| {
            about.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (url, admin, bot) = (text("/url"), text("/tokens/admin"), text("/tokens/bot"));
        Ok(Self { process, url, admin, bot })
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn http() -> Result<reqwest::Client> {
    let client = reqwest::Client::builder().no_proxy().timeout(STUCK);
    client.build().context("failed to make an HTTP client")
}

/// The API, for what is made ready and for what Argo CD does alone.
struct Api {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Api {
    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let mut request =
            self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("no answer to {path}"))?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path} was answered {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    async fn control(&self, method: Method, what: &str, body: &Value) -> Result<Value> {
        self.send(method, &format!("/_control/{what}"), body).await
    }

    /// Makes applications of the project's chart, each in a namespace of its own.
    async fn create(&self, names: &[String], folder: &Path, commit: &str) -> Result<()> {
        let one = |name: &String| {
            let application = json!({
                "metadata": { "name": name, "namespace": "argocd" },
                "spec": {
                    "project": "default",
                    "source": {
                        "repoURL": format!("file://{}", folder.display()),
                        "path": "chart",
                        "targetRevision": commit,
                    },
                    "destination": { "server": "https://kubernetes.default.svc", "namespace": name },
                },
            });
            async move { self.send(Method::POST, "/api/v1/applications", &application).await.map(drop) }
        };
        stream::iter(names).map(one).buffer_unordered(8).try_collect().await
    }

    /// Writes a digest into an application.
    async fn write(&self, name: &str, digest: &str) -> Result<()> {
        let path = format!("/api/v1/applications/{name}");
        let app = self.send(Method::GET, &path, &Value::Null).await?;
        let mut parameters =
            app.pointer("/spec/source/helm/parameters").cloned().unwrap_or_else(|| json!([]));
        for parameter in parameters.as_array_mut().into_iter().flatten() {
            if parameter["name"] == "image.digest" {
                parameter["value"] = digest.into();
            }
        }
        let patch = json!([{ "op": "replace", "path": "/spec/source/helm/parameters", "value": parameters }]);
        let body = json!({ "name": name, "patch": patch.to_string(), "patchType": "json" });
        self.send(Method::PATCH, &path, &body).await.map(drop)
    }

    /// Writes a digest into all applications; then syncs all of them at once. The time from then until all are done.
    async fn sync_all(&self, names: &[String], digest: &str) -> Result<Sample> {
        stream::iter(names)
            .map(|name| self.write(name, digest))
            .buffer_unordered(8)
            .try_collect::<()>()
            .await?;
        // The burst is there again.
        tokio::time::sleep(Duration::from_secs_f64(BURST / RATE)).await;
        let began = Instant::now();
        let sync = |name: &String| {
            let path = format!("/api/v1/applications/{name}/sync");
            let body = json!({ "name": name });
            async move { self.send(Method::POST, &path, &body).await.map(drop) }
        };
        stream::iter(names).map(sync).buffer_unordered(FEW).try_collect::<()>().await?;
        loop {
            let list = self.send(Method::GET, "/api/v1/applications", &Value::Null).await?;
            let apps = list["items"].as_array().into_iter().flatten();
            let done = apps.filter(|app| is_done(app, digest)).count();
            if done >= names.len() {
                return Ok(Sample { seconds: began.elapsed().as_secs_f64(), peak_kib: 0 });
            }
            if began.elapsed() > STUCK {
                bail!("only {done} of {} applications are done", names.len());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether an application is synced and healthy with a digest, after an operation that deployed it.
fn is_done(app: &Value, digest: &str) -> bool {
    let text = |pointer: &str| app.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let has = |pointer: &str| {
        app.pointer(pointer).is_some_and(|source| source.to_string().contains(digest))
    };
    app.get("operation").is_none()
        && text("/status/operationState/phase") == "Succeeded"
        && has("/status/operationState/syncResult/source")
        && has("/status/sync/comparedTo/source")
        && text("/status/sync/status") == "Synced"
        && text("/status/health/status") == "Healthy"
}
