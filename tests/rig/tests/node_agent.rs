//! The node agent on a real Kubernetes API server and a real Docker Engine, as a rig has them.
//!
//! They need a rig: `cargo xtask rig up`, `eval "$(cargo xtask rig env)"`, `cargo test -p rig --test node_agent`.
//! Without one they say so and do nothing, or fail where `VERBATIM_TEST_REQUIRE` is set.
//!
//! The tests have several threads: the registry lives in the test, and answers while the test waits for crane.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use node_agent::{
    image_id::{ANNOTATION, Mode, Modes},
    services::ADDRESS_ANNOTATION,
};
use rig::{Nodes, Rig};
use serde_json::{Value, json};
use test_registry::{Config, Registry};

/// Long enough for two busy cores; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// A rig, a registry, and a namespace of its own in the cluster.
struct World {
    rig: Rig,
    agent: String,
    http: reqwest::Client,
    namespace: String,
    registry: Registry,
    crane: PathBuf,
    dir: tempfile::TempDir,
}

impl World {
    async fn new(name: &str) -> anyhow::Result<Option<Self>> {
        let Some(path) = needs::service(needs::Service::Rig) else { return Ok(None) };
        let rig = Rig::read(Path::new(&path))?;
        let Nodes::Agent { url, .. } = rig.nodes.clone() else {
            bail!("this rig runs no containers")
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .danger_accept_invalid_certs(true)
            .timeout(PATIENCE)
            .build()?;
        let dir = tempfile::tempdir()?;
        let namespace = format!("{name}-{}", std::process::id());
        let crane = crane(&rig)?;
        let world = Self {
            rig,
            agent: url,
            http,
            namespace: namespace.clone(),
            registry: Registry::start(Config::default()).await?,
            crane,
            dir,
        };
        world.post("/api/v1/namespaces", json!({ "metadata": { "name": namespace } })).await?;
        Ok(Some(world))
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Option<Value>> {
        let url = format!("{}{path}", self.rig.kubernetes.url);
        let mut request =
            self.http.request(method.clone(), url).bearer_auth(&self.rig.kubernetes.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        if status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "{method} {path}: {status}: {}", body["message"]);
        Ok(Some(body))
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<()> {
        self.send(reqwest::Method::POST, path, Some(body)).await?.context("no such path").map(drop)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.send(reqwest::Method::GET, path, None).await?.unwrap_or_default())
    }

    fn path(&self, kind: &str) -> String {
        let group = match kind {
            "deployments" => "apis/apps/v1",
            "jobs" => "apis/batch/v1",
            _ => "api/v1",
        };
        format!("/{group}/namespaces/{}/{kind}", self.namespace)
    }

    /// Makes a pod of one container.
    async fn pod(
        &self,
        name: &str,
        image: &str,
        annotations: Value,
        args: &[&str],
    ) -> anyhow::Result<()> {
        let pod = json!({
            "metadata": { "name": name, "annotations": annotations, "labels": { "app": name } },
            "spec": { "terminationGracePeriodSeconds": 1, "containers": [{
                "name": "web", "image": image, "args": args,
                "env": [{ "name": "PORT", "value": "8080" }],
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "path": "/v2/", "port": "http" }, "periodSeconds": 1 },
            }]},
        });
        self.post(&self.path("pods"), pod).await
    }

    async fn wait(
        &self,
        what: &str,
        path: &str,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let looking = async {
            loop {
                last = self.get(path).await?;
                if holds(&last) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(result) => result?,
            Err(_) => bail!("{what}: not within {} s; last seen: {last:#}", PATIENCE.as_secs()),
        }
        Ok(last)
    }

    /// Waits until a pod's container reports `holds`; returns the container's status.
    async fn container(
        &self,
        pod: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let path = format!("{}/{pod}", self.path("pods"));
        let pod =
            self.wait(what, &path, |pod| holds(&pod["status"]["containerStatuses"][0])).await?;
        Ok(pod["status"]["containerStatuses"][0].clone())
    }

    fn crane(&self, args: &[&str]) -> anyhow::Result<String> {
        run(Command::new(&self.crane).args(args).env("DOCKER_CONFIG", self.dir.path()))
    }

    /// Pushes an image whose program is crane itself: a static binary that is there anyway. With the arguments
    /// `registry serve` it is a web server. Returns the repository and the digest.
    fn image(&self, repository: &str, version: &str) -> anyhow::Result<(String, String)> {
        let repository = format!("{}/{repository}", self.registry.host());
        let layer = self.dir.path().join("layer.tar");
        let bin = self.crane.parent().context("crane lies in a folder")?;
        run(needs::Program::Tar.command().arg("-cf").arg(&layer).arg("-C").arg(bin).arg("crane"))?;
        let base = format!("{repository}:base");
        self.crane(&["append", "--insecure", "-f", text(&layer)?, "-t", &base])?;
        let tag = format!("{repository}:{version}");
        let version = format!("VERSION={version}");
        self.crane(&[
            "mutate",
            &base,
            "--insecure",
            "--entrypoint",
            "/crane",
            "--set-platform",
            &platform(),
            "-e",
            &version,
            "-t",
            &tag,
        ])?;
        let digest = self.crane(&["digest", "--insecure", &tag])?;
        Ok((repository, digest))
    }

    async fn end(&self) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        self.send(reqwest::Method::DELETE, &path, None).await?;
        self.wait("an empty namespace", &self.path("pods"), |pods| {
            pods["items"].as_array().is_none_or(Vec::is_empty)
        })
        .await?;
        Ok(())
    }
}

/// The arguments that make the image a web server on the pod's address.
const SERVE: [&str; 4] = ["registry", "serve", "--address", "$(POD_IP):$(PORT)"];

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

fn crane(rig: &Rig) -> anyhow::Result<PathBuf> {
    run(Command::new(&rig.program).args(["rig", "tools", "crane"])).map(PathBuf::from)
}

fn platform() -> String {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    format!("linux/{arch}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_answers_through_its_service_and_leaves_nothing() -> anyhow::Result<()> {
    let Some(world) = World::new("service").await? else { return Ok(()) };
    let (repository, digest) = world.image("web", "1")?;
    let image = format!("{repository}:1@{digest}");
    world.pod("web", &image, json!({}), &SERVE).await?;
    let service = json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
    });
    world.post(&world.path("services"), service).await?;
    let status = world.container("web", "a ready pod", |it| it["ready"] == true).await?;
    assert_eq!(status["imageID"], format!("{repository}@{digest}"));
    assert_eq!(status["restartCount"], 0);

    let path = format!("{}/web", world.path("services"));
    let service = world
        .wait("a forwarded port", &path, |it| {
            it["metadata"]["annotations"][ADDRESS_ANNOTATION].is_string()
        })
        .await?;
    let address = service["metadata"]["annotations"][ADDRESS_ANNOTATION]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let told = world
        .http
        .get(format!("{}/services/{}/web", world.agent, world.namespace))
        .send()
        .await?
        .text()
        .await?;
    assert_eq!(told, address);
    let answer = world.http.get(format!("http://{address}/v2/")).send().await?;
    assert!(answer.status().is_success());

    world.send(reqwest::Method::DELETE, &format!("{}/web", world.path("pods")), None).await?;
    world.wait("no pod", &format!("{}/web", world.path("pods")), Value::is_null).await?;
    // The port stays, and nobody answers.
    assert!(world.http.get(format!("http://{address}/v2/")).send().await.is_err());
    let logs =
        world.http.get(format!("{}/logs/{}/web/web", world.agent, world.namespace)).send().await?;
    assert_eq!(logs.status(), reqwest::StatusCode::NOT_FOUND);
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_image_id_can_be_had() -> anyhow::Result<()> {
    let Some(world) = World::new("image-id").await? else { return Ok(()) };
    let (repository, manifest) = world.image("web", "1")?;
    let (_, other) = world.image("web", "2")?;
    let reference = format!("{repository}@{manifest}");
    let index_tag = format!("{repository}:index");
    world.crane(&["index", "append", "--insecure", "-m", &reference, "-t", &index_tag])?;
    let index = world.crane(&["digest", "--insecure", &index_tag])?;
    let config: Value =
        serde_json::from_str(&world.crane(&["manifest", "--insecure", &reference])?)?;
    let config = config["config"]["digest"].as_str().context("a manifest has a configuration")?;
    let image = format!("{repository}:index@{index}");

    for (number, (mode, want)) in [
        ("index", format!("{repository}@{index}")),
        ("manifest", format!("{repository}@{manifest}")),
        ("config", config.to_owned()),
        ("docker-pullable", format!("docker-pullable://{repository}@{index}")),
        ("none", String::new()),
        ("literal:anything", "anything".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("pod-{number}");
        world.pod(&name, &image, json!({ ANNOTATION: mode }), &SERVE).await?;
        let status = world.container(&name, "a ready pod", |it| it["ready"] == true).await?;
        assert_eq!(status["imageID"], want, "{mode}");
    }
    // The same workload ran the index before.
    world
        .pod("older", &format!("{repository}@{other}"), json!({ ANNOTATION: "older" }), &SERVE)
        .await?;
    let status = world.container("older", "a ready pod", |it| it["ready"] == true).await?;
    assert_eq!(status["imageID"], format!("{repository}@{index}"));

    world.pod("wrong", &image, json!({ ANNOTATION: "wrong" }), &SERVE).await?;
    let status = world
        .container("wrong", "a refusal", |it| it["state"]["waiting"]["message"].is_string())
        .await?;
    assert_eq!(status["state"]["waiting"]["reason"], "CreateContainerConfigError");

    // And while it runs, for the namespace.
    world.pod("changes", &image, json!({}), &SERVE).await?;
    world.container("changes", "a ready pod", |it| it["ready"] == true).await?;
    let modes =
        Modes { default: Mode::Index, namespaces: [(world.namespace.clone(), Mode::None)].into() };
    let url = format!("{}/image-id", world.agent);
    world.http.put(&url).json(&modes).send().await?.error_for_status()?;
    world
        .container("changes", "no image id", |it| it["imageID"] == "" && it["ready"] == true)
        .await?;
    world.http.put(&url).json(&Modes::default()).send().await?.error_for_status()?;
    world
        .container("changes", "its image id", |it| it["imageID"] == format!("{repository}@{index}"))
        .await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_look_as_they_do_on_a_kubelet() -> anyhow::Result<()> {
    let Some(world) = World::new("failures").await? else { return Ok(()) };
    let (repository, digest) = world.image("web", "1")?;
    let missing = format!("{repository}@sha256:{}", "1".repeat(64));
    world.pod("missing", &missing, json!({}), &SERVE).await?;
    let waits = |reason: &'static str| move |it: &Value| it["state"]["waiting"]["reason"] == reason;
    let status = world.container("missing", "a back-off", waits("ImagePullBackOff")).await?;
    let message = status["state"]["waiting"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&missing), "{message}");
    assert_eq!(status["restartCount"], 0);

    // crane exits with 1 when it does not know a command.
    let image = format!("{repository}@{digest}");
    world.pod("crashing", &image, json!({}), &["no-such-command"]).await?;
    let status = world.container("crashing", "a crash loop", waits("CrashLoopBackOff")).await?;
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    let status = world
        .container("crashing", "two restarts", |it| it["restartCount"].as_u64() >= Some(2))
        .await?;
    assert_eq!(status["ready"], false);
    let url = format!("{}/logs/{}/crashing/web", world.agent, world.namespace);
    let log = world.http.get(url).send().await?.error_for_status()?.text().await?;
    assert!(log.contains("no-such-command"), "{log}");

    // A pod that is never ready is deleted in its grace period all the same.
    world
        .pod("unready", &image, json!({}), &["registry", "serve", "--address", "$(POD_IP):1234"])
        .await?;
    world.container("unready", "a running pod", |it| it["state"]["running"].is_object()).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_complete_or_fail_with_their_containers() -> anyhow::Result<()> {
    let Some(world) = World::new("jobs").await? else { return Ok(()) };
    let (repository, digest) = world.image("web", "1")?;
    let image = format!("{repository}@{digest}");
    let job = |name: &str, init: &[&str], main: &[&str]| {
        json!({
            "metadata": { "name": name },
            "spec": { "backoffLimit": 0, "template": { "spec": {
                "restartPolicy": "Never",
                "initContainers": [{ "name": "init", "image": image, "args": init }],
                "containers": [{ "name": "main", "image": image, "args": main }],
            }}},
        })
    };
    for (name, init, main, want) in [
        ("good", ["version"], ["version"], "Complete"),
        ("bad", ["version"], ["no-such-command"], "Failed"),
        ("stuck", ["no-such-command"], ["version"], "Failed"),
    ] {
        world.post(&world.path("jobs"), job(name, &init, &main)).await?;
        let path = format!("{}/{name}", world.path("jobs"));
        let ended = |job: &Value| {
            let conditions = job["status"]["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter().any(|one| one["type"] == want && one["status"] == "True")
            })
        };
        world.wait(&format!("job {name} to be {want}"), &path, ended).await?;
    }
    let pods = world.get(&format!("{}?labelSelector=job-name%3Dstuck", world.path("pods"))).await?;
    let status = &pods["items"][0]["status"];
    assert_eq!(status["phase"], "Failed");
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 1);
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    world.end().await
}
