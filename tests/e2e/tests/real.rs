//! One release on a real Docker Engine and a real Argo CD, whose own command line sees what was written.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use e2e::{Project, Tool};
use rig::Rig;
use serde_json::{Value, json};
use test_registry::{Config, Registry};
use verbatim_credentials::ExposeSecret as _;

/// A project of its own on a shared rig: its applications and its repository have names that nobody else has.
struct OnRig {
    rig: Rig,
    registry: Registry,
    project: Project,
    tool: Tool,
    name: String,
    _folder: tempfile::TempDir,
}

impl OnRig {
    async fn start(rig: Rig, docker_host: &str) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let registry = Registry::start(Config::default()).await?;
        let root = folder.path().join("project");
        let project = Project::create(&root).await?;
        e2e::context(&root).await?;
        let key = e2e::key(7)?;
        let tool = Tool::new(&root, folder.path())?
            .with("VERBATIM_KEY", key.to_pkcs8_pem()?.expose_secret())
            .with("ARGOCD_AUTH_TOKEN", &rig.argocd.tokens.bot)
            .with("DOCKER_HOST", docker_host);
        let name = format!("e2e-{}", std::process::id());
        let this = Self { rig, registry, project, tool, name, _folder: folder };
        this.project.write("ci.pub", &key.verifying_key().to_pem()?)?;
        this.project.write("verbatim.yaml", &this.configuration())?;
        this.project.commit("Begin").await?;
        this.publish().await?;
        this.api(http::Method::POST, "", Some(this.application())).await?;
        Ok(this)
    }

    fn configuration(&self) -> String {
        format!(
            "version: 1
project: {name}
images:
  app: {{ repository: {registry}/{name}, args: {{ COMMIT: \"${{commit}}\" }} }}
argocd:
  main: {{ url: {argocd} }}
set:
  helm:
    image.repository: \"${{repository}}\"
    image.tag: \"${{tag}}@${{digest}}\"
environments:
  - {{ name: dev, apps: [{name}], timeout: 3m, tests: {{ smoke: 'touch ../ran; while test -e ../wait; do sleep 0.1; done' }} }}
keys:
  - {{ name: ci, file: ci.pub, roles: [builder, tester, promoter] }}
",
            name = self.name,
            registry = self.registry.host(),
            argocd = self.rig.argocd.url,
        )
    }

    fn application(&self) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            // Deleting it deletes what it made.
            "metadata": { "name": self.name, "namespace": "argocd", "finalizers": ["resources-finalizer.argocd.argoproj.io"] },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": format!("{}/{}.git", self.rig.git.root_url.trim_end_matches('/'), self.name),
                    "path": "chart",
                    "targetRevision": "main",
                    "helm": { "valueFiles": ["values-dev.yaml"] },
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
            },
        })
    }

    /// Shows the git server of the rig the repository.
    async fn publish(&self) -> Result<()> {
        let bare = self.rig.git.root.join(format!("{}.git", self.name));
        let bare = bare.to_str().context("the path is not UTF-8")?;
        self.project.git(&["init", "--quiet", "--bare", "--initial-branch=main", bare]).await?;
        self.project.git(&["push", "--quiet", bare, "main"]).await?;
        Ok(())
    }

    async fn api(&self, method: http::Method, path: &str, body: Option<Value>) -> Result<Value> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(60))
            .build()?;
        let url = format!("{}/api/v1/applications{path}", self.rig.argocd.url);
        let request = client.request(method, url).bearer_auth(&self.rig.argocd.tokens.admin);
        let request = request.header("content-type", "application/json");
        let answer =
            request.body(body.map(|body| body.to_string()).unwrap_or_default()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(status.is_success(), "Argo CD answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Runs the real command line of Argo CD.
    async fn argocd(&self, arguments: &[&str]) -> Result<e2e::Run> {
        let mut tool = self.tool.clone();
        tool.variables.extend(self.rig.env.clone());
        tool.other(Path::new(&self.rig.argocd.cli), arguments).await
    }

    async fn remove(&self) -> Result<()> {
        self.api(http::Method::DELETE, &format!("/{}", self.name), None).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_argocd_sees_what_was_written() -> Result<()> {
    let (Some(docker_host), Some(rig)) = (e2e::docker_host(), e2e::rig()) else { return Ok(()) };
    let world = Arc::new(OnRig::start(rig, &docker_host).await?);
    let looking = Arc::clone(&world);
    // In a task, so that the rig is left as it was whatever is found, a failed assertion included.
    let told = tokio::spawn(async move { look(&looking).await }).await;
    world.remove().await?;
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

async fn look(world: &OnRig) -> Result<()> {
    let built = world.tool.run(&["build", "--format", "json"]).await?.ends(0).json()?;
    let digest = built["release"]["digest"].as_str().context("no digest")?.to_owned();
    let again = world.tool.run(&["build", "--format", "json"]).await?.ends(0).json()?;
    assert_eq!((&again["how"], &again["release"]), (&json!("reused"), &built["release"]));

    let promoted = world.tool.run(&["promote", "dev", "--format", "json"]).await?.ends(0).json()?;
    assert_eq!(promoted["proven"], true);
    let workload = &promoted["applications"][0]["report"]["outcome"]["proof"]["workloads"][0];
    assert_eq!(workload["level"]["level"], "pods", "{workload}");
    assert_eq!(workload["containers"][0]["match"], "deployed", "{workload}");

    let app = world.name.as_str();
    let shown = world.argocd(&["app", "get", app, "--show-params"]).await?.ends(0);
    // Its table cuts long values.
    assert!(shown.stdout.contains(&format!("@{}", &digest[..20])), "{shown}");
    // 0 and nothing to show: live state is what the application wants.
    let diff = world.argocd(&["app", "diff", app]).await?.ends(0);
    assert_eq!(diff.stdout.trim(), "", "{diff}");
    let history = world.argocd(&["app", "history", app, "-o", "id"]).await?.ends(0);
    assert_eq!(history.stdout.split_whitespace().count(), 1, "one sync: {history}");
    overrides(world, &digest).await?;
    logs(world).await?;
    let custody = world.tool.run(&["verify"]).await?.ends(0);
    assert!(custody.stdout.contains("proven on 1 application"), "{custody}");
    tests(world).await?;
    through_kubernetes(world).await
}

/// The same write as a patch of a version on the real API server, with the rights of a kubeconfig.
async fn through_kubernetes(world: &OnRig) -> Result<()> {
    let url = format!("url: {}", world.rig.argocd.url);
    let via = world.configuration().replace(&url, &format!("{url}, via: kubernetes"));
    world.project.write("kubernetes.yaml", &via)?;
    let app = world.name.as_str();
    let by_hand = ["app", "set", app, "--helm-set", "image.tag=by-hand"];
    let _ = world.argocd(&by_hand).await?.ends(0);
    let restore = ["restore", "dev", "--config", "kubernetes.yaml"];
    let given = std::fs::read_to_string(&world.rig.kubernetes.kubeconfig)?;
    let stranger = world.project.root.with_file_name("stranger");
    std::fs::write(&stranger, given.replace(&world.rig.kubernetes.token, "of-a-stranger"))?;
    let stranger = world.tool.clone().with("KUBECONFIG", &stranger.to_string_lossy());
    let run = stranger.run(&restore).await?.ends(7);
    assert!(run.stdout.contains("Kubernetes API: Unauthorized"), "{run}");
    let kubeconfig = world.rig.kubernetes.kubeconfig.to_string_lossy();
    let tool = world.tool.clone().with("KUBECONFIG", &kubeconfig);
    let run = tool.run(&restore).await?.ends(0);
    assert!(run.stdout.contains("proven"), "{run}");
    let status = world.tool.run(&["status", "--check"]).await?.ends(0);
    assert!(status.stdout.contains("running"), "{status}");
    Ok(())
}

/// What is tested is what runs, and a sync meanwhile is noticed.
async fn tests(world: &OnRig) -> Result<()> {
    let (app, test) = (world.name.as_str(), ["test", "dev"]);
    let beside = |name: &str| world.project.root.with_file_name(name);
    let _ = world.tool.run(&test).await?.ends(0);
    std::fs::remove_file(beside("ran"))?;
    let _ = world.argocd(&["app", "set", app, "--helm-set", "image.tag=by-hand"]).await?.ends(0);
    let run = world.tool.run(&test).await?.ends(1);
    assert!(run.stderr.contains("as promoted: "), "{run}");
    assert!(!beside("ran").exists(), "nothing was run");
    let _ = world.tool.run(&["restore", "dev"]).await?.ends(0);
    std::fs::write(beside("wait"), "")?;
    let job = world.tool.start(&test)?;
    while !beside("ran").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let _ = world.argocd(&["app", "sync", app]).await?.ends(0);
    std::fs::remove_file(beside("wait"))?;
    let run = job.end().await?.ends(5);
    assert!(run.stderr.contains(&format!("{app}: an operation began at ")), "{run}");
    Ok(())
}

/// What stands in the application, what the chart says in its place, and whose it is.
async fn overrides(world: &OnRig, digest: &str) -> Result<()> {
    let list = ["argocd", "overrides", "--server", &world.rig.argocd.url, "--format", "json"];
    let run = world.tool.run(&list).await?.ends(0);
    let json = run.json()?;
    let all = json["overrides"].as_array().context("no list")?;
    let is_tag =
        |one: &&Value| one["app"]["name"] == world.name.as_str() && one["key"] == "helm:image.tag";
    let tag = all.iter().find(is_tag).context("the tag is not listed")?;
    assert!(tag["value"].as_str().is_some_and(|value| value.ends_with(digest)), "{tag}");
    assert_eq!(tag["git"], json!({ "state": "known", "value": "none" }), "{tag}");
    assert_eq!(tag["set_by"]["environment"], format!("{}/dev", world.name), "{tag}");
    assert_eq!(tag["set_by"]["promotion"]["number"], 1, "{tag}");
    Ok(())
}

/// What the container wrote, by the real argocd and by ours: the demo tells at its start what it is.
async fn logs(world: &OnRig) -> Result<()> {
    let app = world.name.as_str();
    let server = ["--server", world.rig.argocd.url.as_str()];
    let admin = world.tool.clone().with("ARGOCD_AUTH_TOKEN", &world.rig.argocd.tokens.admin);
    for (flags, lines) in [
        (&[][..], 1),
        (&["--tail", "1"], 1),
        // Zero is no limit to Argo CD.
        (&["--tail", "0"], 1),
        (&["--since-seconds", "3600"], 1),
        (&["--filter", "LISTENS"], 1),
        (&["--filter", "LISTENS", "-m"], 0),
        (&["--filter", "nothing like it"], 0),
        (&["--kind", "Deployment", "--group", "apps"], 1),
        (&["--kind", "Service"], 0),
    ] {
        let theirs = world.argocd(&[&["app", "logs", app], flags].concat()).await?;
        let ours = admin.run(&[&["argocd", "logs", app], flags, &server].concat()).await?;
        assert_eq!((theirs.code, ours.code), (0, 0), "{flags:?}\n{theirs}\n{ours}");
        assert_eq!(theirs.stdout, ours.stdout, "{flags:?}\n{theirs}\n{ours}");
        assert_eq!(ours.stdout.lines().count(), lines, "{flags:?}: {ours}");
        assert!(lines == 0 || ours.stdout.contains(" listens on "), "{flags:?}: {ours}");
    }
    Ok(())
}
