//! What a row of the table is tried on: an image that really runs, a repository with all fixtures, repositories of
//! charts, and the rig. Knows no shape.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Charts, Project, Tool, charts};
use rig::Rig;
use serde_json::{Value, json};
use test_registry::{Config, Registry};

use super::begun::{self, Begun};
use super::canary;
use super::cluster::Cluster;
use super::followed::followed;
use super::table::{End, Maker, Shape, shapes};

/// The names that shapes are made of.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The git repository with the fixtures.
    pub(crate) git: String,
    /// `HOST:PORT` of the registry.
    pub(crate) registry: String,
    /// The repository of the image.
    pub(crate) repository: String,
    pub(crate) digest: String,
    /// The repository with tag and digest.
    pub(crate) image: String,
    /// A token that may see everything.
    pub(crate) admin: String,
    /// The URL of a Helm repository.
    pub(crate) charts: String,
    /// The folder of an OCI registry with charts, as Argo CD wants it.
    pub(crate) oci_charts: String,
}

pub(crate) struct Scene {
    names: Names,
    /// The same with another image of the repository, which is older.
    before: Names,
    rig: Rig,
    tool: Tool,
    http: reqwest::Client,
    cluster: Cluster,
    _registry: Registry,
    _charts: Charts,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn start(rig: Rig, docker_host: &str) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let registry = Registry::start(Config::default()).await?;
        let tool = Tool::new(folder.path(), folder.path())?
            .with("ARGOCD_SERVER", &rig.argocd.url)
            .with("ARGOCD_AUTH_TOKEN", &rig.argocd.tokens.bot)
            .with("DOCKER_HOST", docker_host);
        let repository = format!("{}/shapes/team/web", registry.host());
        let digest = build(&tool, folder.path(), &repository, "1.0").await?;
        let earlier = build(&tool, folder.path(), &repository, "0.9").await?;
        let charts = Charts::serve(&rig, folder.path(), None).await?;
        charts::push(&rig, folder.path(), &registry.host()).await?;
        let names = Names {
            git: format!("{}/{}", rig.git.root_url.trim_end_matches('/'), repository_name()),
            registry: registry.host(),
            image: format!("{repository}:1.0@{digest}"),
            repository,
            digest,
            admin: rig.argocd.tokens.admin.clone(),
            charts: charts.url.clone(),
            oci_charts: format!("{}/charts", registry.host()),
        };
        let before = Names {
            image: format!("{}:0.9@{earlier}", names.repository),
            digest: earlier,
            ..names.clone()
        };
        publish(&rig, folder.path(), &names).await?;
        let http =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let cluster = Cluster::prepare(&rig).await?;
        let scene = Self {
            names,
            before,
            cluster,
            rig,
            tool,
            http,
            _registry: registry,
            _charts: charts,
            _folder: folder,
        };
        let oci = json!({
            "repo": scene.names.oci_charts, "name": scene.names.oci_charts, "type": "helm",
            "enableOCI": true, "insecureOCIForceHttp": true,
        });
        scene.api(http::Method::POST, "/repositories?upsert=true", Some(oci)).await?;
        Ok(scene)
    }

    /// Deploys to an application of this shape, and looks how that ended.
    pub(crate) async fn attempt(&self, shape: &Shape) -> Result<()> {
        let app = application_name(shape.name);
        self.make(shape, &app).await?;
        let all = deployment(shape, &app, &self.names);
        let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
        let run = match shape.end {
            End::Paused(on_pause, _) => {
                canary::judged(&self.tool, &self.cluster, &arguments, on_pause, &app).await?
            }
            End::StaysPaused => canary::kept(&self.tool, &self.cluster, &arguments, &app).await?,
            End::GoesOn(_) => canary::finished(&self.tool, &self.cluster, &arguments, &app).await?,
            End::Followed { by, behind, .. } => {
                let deploy = |names: &Names, timeout: &str| {
                    [deployment(shape, &app, names), vec!["--timeout".into(), timeout.into()]]
                        .concat()
                };
                let names = (&self.before, &self.names);
                followed(&self.tool, (&self.cluster, by), &app, names, (&deploy, behind)).await?
            }
            End::Blocked(time, ..) => {
                let text: Vec<&str> = arguments
                    .iter()
                    .copied()
                    .filter(|it| !["--format", "json"].contains(it))
                    .collect();
                self.tool.run(&[&text[..], &["--timeout", time]].concat()).await?
            }
            _ => self.tool.run(&[&arguments[..], &["--timeout", "100"]].concat()).await?,
        };
        let told = || format!("{run}");
        match &shape.end {
            End::Proven(levels) | End::Followed { levels, .. } => is_proven(&run, levels)?,
            End::ClaimWiped => {
                is_proven(&run, &[("Deployment", "pods")])?;
                says(&run, "removes the claim")?;
                ensure!(self.claim(&app).await?.is_none(), "the claim is still there: {}", told());
            }
            End::LostLater => {
                is_proven(&run, &[("Deployment", "pods")])?;
                says(&run, "may revert the override")?;
                ensure!(self.claim(&app).await?.is_some(), "the claim is gone: {}", told());
                self.lose(&app).await?;
            }
            End::ImageKept => {
                ensure!(run.code == 0, "{}", told());
                let cron_job = format!("/apis/batch/v1/namespaces/{app}/cronjobs/nightly");
                self.cluster.set_image(&cron_job, "example/other:1").await?;
                let again =
                    self.tool.run(&[&arguments[..], &["--timeout", "100"]].concat()).await?;
                ensure!(again.code == 1, "{again}");
                says(&again, "the live object has example/other:1")?;
            }
            End::BrokenBefore => {
                ensure!(run.code == 1, "{}", told());
                ensure!(run.json()?["outcome"]["outcome"] == "degraded", "{}", told());
                let later = ["--helm-set", "note=later", "--timeout", "100"];
                let again = self.tool.run(&[&arguments[..], &later].concat()).await?;
                ensure!(again.code == 0, "{again}");
                says(&again, "unhealthy-before")?;
            }
            End::Refused(status, words) => {
                ensure!(run.code == *status, "{}", told());
                says(&run, words)?;
                ensure!(self.claim(&app).await?.is_none(), "something was written: {}", told());
                if matches!(shape.maker, Maker::Labelled) {
                    let found = self.application(&app).await?;
                    let tracked = &found["metadata"]["annotations"][TRACKING_ID];
                    ensure!(
                        tracked.is_null(),
                        "its parent is not known by the label only: {found}"
                    );
                }
            }
            End::TakenBack(words) => {
                ensure!(run.code == 1, "{}", told());
                says(&run, words)?;
                let claim = self.claim(&app).await?;
                ensure!(
                    claim.is_some_and(|claim| claim["state"] == "undone"),
                    "it was not taken back: {}",
                    told()
                );
            }
            End::Degraded(words) => {
                ensure!(run.code == 1, "{}", told());
                says(&run, words)?;
                ensure!(run.json()?["outcome"]["outcome"] == "degraded", "{}", told());
            }
            End::Blocked(_, status, words) => {
                ensure!(run.code == *status, "{}", told());
                words.iter().try_for_each(|words| says(&run, words))?;
            }
            End::Held(words) => {
                ensure!(run.code == 1, "{}", told());
                says(&run, words)?;
                let wait = self.tool.run(&["argocd", "wait", &app, "--timeout", "3"]).await?;
                ensure!(wait.code == 4, "{wait}");
                says(&wait, "Suspended")?;
                let sync = ["argocd", "sync", &app, "--timeout", "5"];
                let synced = self.tool.run(&sync).await?;
                ensure!(synced.code == 4, "{synced}");
                let asked = self.tool.run(&[&sync[..], &["--suspended"]].concat()).await?;
                ensure!(asked.code == 0, "{asked}");
            }
            End::Paused(_, status) => canary::is_paused(&run, *status)?,
            End::StaysPaused => canary::is_paused(&run, 4)?,
            End::GoesOn(pods) => canary::is_proven(&run, *pods)?,
        }
        Ok(())
    }

    /// Writes a first configuration for an application of this shape that runs, if the table says what must be in it.
    pub(crate) async fn begin(&self, shape: &Shape) -> Result<()> {
        let Some(wanted) = begun::wanted(shape.name) else { return Ok(()) };
        let stage = format!("dev={}", application_name(shape.name));
        let run = self.tool.run(&["init", &stage, "--dry-run", "--format", "json"]).await?;
        match wanted {
            Begun::With(values) => {
                ensure!(run.code == 0, "{run}");
                let told = run.json()?;
                ensure!(told["repository"] == self.names.repository.as_str(), "{run}");
                let found = &told["environments"][0]["applications"][0]["values"];
                ensure!(*found == json!(values), "{run}");
            }
            Begun::Not(words) => {
                ensure!(run.code == 1, "{run}");
                says(&run, words)?;
            }
        }
        Ok(())
    }

    /// Makes the application, or has it made and waits until it is there.
    async fn make(&self, shape: &Shape, app: &str) -> Result<()> {
        let document = application(shape, app, &self.names);
        let (path, body) = match shape.maker {
            Maker::Hand => ("/applications", document),
            Maker::Set(more) => {
                let mut spec = more(&self.names);
                spec["template"] = document;
                ("/applicationsets", json!({ "metadata": { "name": app }, "spec": spec }))
            }
            Maker::Parent(_) | Maker::Labelled => {
                let mut spec = match shape.maker {
                    Maker::Parent(more) => more(),
                    _ => leaving_metadata_alone(),
                };
                spec["project"] = "default".into();
                spec["source"] = json!({
                    "repoURL": self.names.git, "path": parent(shape), "targetRevision": "main",
                });
                spec["destination"] =
                    json!({ "server": "https://kubernetes.default.svc", "namespace": "argocd" });
                spec["syncPolicy"]["automated"] = json!({ "prune": true, "selfHeal": true });
                let name = format!("{app}-parent");
                ("/applications", json!({ "metadata": metadata(&name), "spec": spec }))
            }
        };
        self.api(http::Method::POST, path, Some(body)).await?;
        let made = async {
            while !self.is_made(shape, app).await {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), made)
            .await
            .context("the application was never made")?;
        if let Maker::Labelled = shape.maker {
            let label = json!({ "app.kubernetes.io/instance": format!("{app}-parent") });
            let metadata = json!({ "annotations": { TRACKING_ID: null }, "labels": label });
            let path = format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{app}");
            self.cluster.patch(&path, json!({ "metadata": metadata })).await?;
        }
        Ok(())
    }

    /// Changes the template of the ApplicationSet of this name: first something that takes no override away, then its sources,
    /// which does.
    async fn lose(&self, app: &str) -> Result<()> {
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applicationsets/{app}");
        let note = json!({ "metadata": { "annotations": { "note": "later" } } });
        self.cluster.patch(&path, json!({ "spec": { "template": note } })).await?;
        let noted = |live: &Value| live["metadata"]["annotations"]["note"] == "later";
        let parameters = self.followed_by_set(app, noted).await?;
        ensure!(parameters.contains(&self.names.digest), "an annotation took it: {parameters}");
        let set = self.cluster.awaited(&path, |_| true).await?;
        let mut sources = set["spec"]["template"]["spec"]["sources"].clone();
        sources[1]["targetRevision"] = "HEAD".into();
        let sources = json!({ "spec": { "sources": sources } });
        self.cluster.patch(&path, json!({ "spec": { "template": sources } })).await?;
        let moved = |live: &Value| live["spec"]["sources"][1]["targetRevision"] == "HEAD";
        let parameters = self.followed_by_set(app, moved).await?;
        ensure!(!parameters.contains(&self.names.digest), "the override stayed: {parameters}");
        Ok(())
    }

    /// The parameters of the first source once an ApplicationSet has made the application as wanted.
    async fn followed_by_set(&self, app: &str, wanted: impl Fn(&Value) -> bool) -> Result<String> {
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{app}");
        let live = self.cluster.awaited(&path, wanted).await?;
        Ok(live["spec"]["sources"][0]["helm"]["parameters"].to_string())
    }

    /// Whether the application is there, and whoever makes it is through with that.
    async fn is_made(&self, shape: &Shape, app: &str) -> bool {
        let read = async |name: &str| {
            self.api(http::Method::GET, &format!("/applications/{name}"), None).await
        };
        if !matches!(shape.maker, Maker::Parent(_) | Maker::Labelled) {
            return read(app).await.is_ok();
        }
        read(&format!("{app}-parent")).await.is_ok_and(|parent| {
            parent["status"]["operationState"]["phase"] == "Succeeded"
                && parent["status"]["sync"]["status"] == "Synced"
        })
    }

    /// Deletes the applications, and with them what they made.
    pub(crate) async fn remove(&self) -> Result<()> {
        for shape in shapes() {
            let app = application_name(shape.name);
            let path = match shape.maker {
                Maker::Hand => format!("/applications/{app}"),
                Maker::Set(_) => format!("/applicationsets/{app}"),
                Maker::Parent(_) => format!("/applications/{app}-parent"),
                Maker::Labelled => {
                    // The parent does not know it as its own any more.
                    let child = format!("/applications/{app}");
                    let _ = self.api(http::Method::DELETE, &child, None).await;
                    format!("/applications/{app}-parent")
                }
            };
            // One that could not be created has told so already.
            let _ = self.api(http::Method::DELETE, &path, None).await;
        }
        self.cluster.clean().await?;
        // Its own client: the HTTP gateway finds no route for a repository with a slash in its name.
        let mut tool = self.tool.clone();
        tool.variables.extend(self.rig.env.clone());
        tool.other(&self.rig.argocd.cli, &["repo", "rm", &self.names.oci_charts]).await.map(drop)
    }

    async fn application(&self, app: &str) -> Result<Value> {
        self.api(http::Method::GET, &format!("/applications/{app}"), None).await
    }

    async fn claim(&self, app: &str) -> Result<Option<Value>> {
        let found = self.application(app).await?;
        let claim = found["metadata"]["annotations"]["verbatim.dev/claim"].as_str();
        claim.map(serde_json::from_str).transpose().context("the claim is no JSON")
    }

    async fn api(&self, method: http::Method, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("{}/api/v1{path}", self.rig.argocd.url);
        let request = self.http.request(method, url).bearer_auth(&self.rig.argocd.tokens.admin);
        let request = request.header("content-type", "application/json");
        let answer =
            request.body(body.map(|body| body.to_string()).unwrap_or_default()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: Argo CD answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// The annotation that says of which application a resource is.
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";

/// The arguments of a deployment to an application of this shape, but for its timeout.
fn deployment(shape: &Shape, app: &str, names: &Names) -> Vec<String> {
    let image = format!("{}@{}", names.repository, names.digest);
    let command = ["argocd", "deploy", app, "--image", &image, "--format", "json"];
    command.map(str::to_owned).into_iter().chain((shape.values)(names)).collect()
}

/// The part of a parent application by which it heals its children, but for their annotations and labels.
fn leaving_metadata_alone() -> Value {
    json!({
        "ignoreDifferences": [{
            "group": "argoproj.io", "kind": "Application",
            "jsonPointers": ["/metadata/annotations", "/metadata/labels"],
        }],
        "syncPolicy": { "syncOptions": ["RespectIgnoreDifferences=true"] },
    })
}

/// Unique on a rig that several runs share.
fn application_name(shape: &str) -> String {
    format!("shape-{}-{shape}", std::process::id())
}

fn repository_name() -> String {
    format!("shapes-{}.git", std::process::id())
}

/// The application of a shape, whoever makes it.
fn application(shape: &Shape, app: &str, names: &Names) -> Value {
    let mut spec = (shape.spec)(names);
    spec["project"] = "default".into();
    spec["destination"] = json!({ "server": "https://kubernetes.default.svc", "namespace": app });
    let options = spec["syncPolicy"]["syncOptions"].as_array().cloned().unwrap_or_default();
    let options: Vec<_> = options.into_iter().chain([json!("CreateNamespace=true")]).collect();
    spec["syncPolicy"]["syncOptions"] = options.into();
    json!({ "metadata": metadata(app), "spec": spec })
}

fn metadata(app: &str) -> Value {
    // With it, deleting an application deletes what it made.
    let finalizers = ["resources-finalizer.argocd.argoproj.io"];
    json!({ "name": app, "namespace": "argocd", "finalizers": finalizers })
}

/// The folder from which a parent makes the application of a shape.
fn parent(shape: &Shape) -> String {
    format!("parents/{}", shape.name)
}

pub(crate) fn says(run: &e2e::Run, words: &str) -> Result<()> {
    let text = format!("{}{}", run.stdout, run.stderr).to_lowercase();
    ensure!(text.contains(&words.to_lowercase()), "does not say `{words}`: {run}");
    Ok(())
}

/// Proven, every workload at this level.
fn is_proven(run: &e2e::Run, levels: &[(&str, &str)]) -> Result<()> {
    ensure!(run.code == 0, "{run}");
    let outcome = run.json()?["outcome"].clone();
    ensure!(outcome["outcome"] == "proven", "{run}");
    let found = levels_of(&outcome["proof"]["workloads"]);
    let wanted: Vec<_> =
        levels.iter().map(|(kind, level)| ((*kind).to_owned(), (*level).to_owned())).collect();
    ensure!(found == wanted, "{found:?}, not {wanted:?}: {run}");
    Ok(())
}

/// The kind of each workload with the level of its proof, sorted.
fn levels_of(workloads: &Value) -> Vec<(String, String)> {
    let mut levels: Vec<_> = workloads
        .as_array()
        .into_iter()
        .flatten()
        .map(|workload| {
            let kind = workload["workload"].as_str().unwrap_or_default();
            let level = workload["level"]["level"].as_str().unwrap_or_default();
            (kind.split(' ').next().unwrap_or_default().to_owned(), level.to_owned())
        })
        .collect();
    levels.sort();
    levels
}

/// An image of this version, by its digest.
async fn build(tool: &Tool, folder: &Path, repository: &str, version: &str) -> Result<String> {
    let context = folder.join("context");
    e2e::context(&context).await?;
    let context = context.to_str().context("the path is not UTF-8")?;
    let (tag, argument) = (format!("{repository}:{version}"), format!("VERSION={version}"));
    let run = tool
        .run(&[
            "image",
            "build",
            "--push",
            "--format",
            "json",
            "--build-arg",
            &argument,
            "--tag",
            &tag,
            context,
        ])
        .await?
        .ends(0);
    let digest = run.json()?["pushed"]["digest"].as_str().map(str::to_owned);
    digest.context("the build tells no digest")
}

/// Makes a repository of all fixtures, and of the ones that cannot stand in a folder for everybody, and shows it to the
/// git server of the rig.
async fn publish(rig: &Rig, folder: &Path, names: &Names) -> Result<()> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rig/fixtures");
    let project = Project::copy(&fixtures, &folder.join("fixtures")).await?;
    let shadow = "helm: {parameters: [{name: image.tag, value: shadowed, forceString: true}]}\n";
    let by_name = format!(".argocd-source-{}.yaml", application_name("shadowed-by-name"));
    for (chart, file) in [("shadowed", ".argocd-source.yaml"), ("shadowed-by-name", &by_name)] {
        e2e::copy(&fixtures.join("chart"), &project.root.join(chart))?;
        project.write(&format!("{chart}/{file}"), shadow)?;
    }
    for shape in
        shapes().iter().filter(|shape| matches!(shape.maker, Maker::Parent(_) | Maker::Labelled))
    {
        let mut child = application(shape, &application_name(shape.name), names);
        child["apiVersion"] = "argoproj.io/v1alpha1".into();
        child["kind"] = "Application".into();
        std::fs::create_dir_all(project.root.join(parent(shape)))?;
        project.write(&format!("{}/child.json", parent(shape)), &child.to_string())?;
    }
    project.commit("Add the fixtures").await?;
    let bare = rig.git.root.join(repository_name());
    let bare = bare.to_str().context("the path is not UTF-8")?;
    project.git(&["init", "--quiet", "--bare", "--initial-branch=main", bare]).await?;
    project.git(&["push", "--quiet", bare, "main"]).await?;
    Ok(())
}
