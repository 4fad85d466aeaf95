//! The rig with a repository of this run, both programs, and the Kubernetes API.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{Project, Run, Tool};
use rig::Rig;
use serde_json::{Value, json};

use super::objects::picture;

/// A hook that waits for a node that there is not: its sync never ends.
const STUCK: &str = "apiVersion: batch/v1
kind: Job
metadata:
  name: \"{{ .Release.Name }}\"
  annotations: {argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}
spec:
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {no-such-node: \"true\"}
      containers: [{name: stuck, image: example.invalid/stuck:1}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: \"{{ .Release.Name }}\"}
";

/// The projects of Argo CD, on the Kubernetes API.
const PROJECTS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/appprojects";

/// What both programs work on.
pub(crate) struct Stage {
    pub(crate) rig: Rig,
    pub(crate) tool: Tool,
    http: reqwest::Client,
    repository: String,
    prefix: String,
    /// The namespace of the applications, and the project that lets them be there; else Argo CD's own, and `default`.
    elsewhere: Option<String>,
    count: AtomicUsize,
    made: Mutex<Vec<String>>,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Publishes the fixtures in a repository of their own.
    pub(crate) async fn start(rig: Rig, what: &str) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let tool = Tool::new(folder.path(), folder.path())?;
        let prefix = format!("twin-{what}-{}", std::process::id());
        let http = reqwest::Client::builder()
            .no_proxy()
            // The API server of the rig makes its own certificate.
            .tls_danger_accept_invalid_certs(true)
            .timeout(Duration::from_secs(60))
            .build()?;
        let stage = Self {
            rig,
            tool,
            http,
            repository: String::new(),
            prefix,
            elsewhere: None,
            count: AtomicUsize::new(0),
            made: Mutex::default(),
            _folder: folder,
        };
        let repository = stage.repository("fixtures").await?;
        Ok(Self { repository, ..stage })
    }

    /// The same, with the applications in a namespace that is not Argo CD's own.
    pub(crate) async fn elsewhere(rig: Rig, what: &str) -> Result<Self> {
        let stage = Self::start(rig, what).await?;
        // What the rig lets hold applications begins like this.
        let namespace = format!("apps-{}", stage.prefix);
        stage
            .kube_post(
                "/api/v1/namespaces",
                &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }),
            )
            .await?;
        let project = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": { "name": namespace },
            "spec": {
                "sourceNamespaces": [namespace], "sourceRepos": ["*"],
                "destinations": [{ "server": "*", "namespace": "*" }],
            },
        });
        stage.kube_post(PROJECTS, &project).await?;
        Ok(Self { elsewhere: Some(namespace), ..stage })
    }

    /// Makes a repository with the fixtures, on the git server of the rig, and gives its URL.
    pub(crate) async fn repository(&self, name: &str) -> Result<String> {
        let root = self.tool.folder.join(name);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rig/fixtures");
        let project = Project::copy(&fixtures, &root).await?;
        std::fs::create_dir_all(root.join("stuck/templates"))?;
        project.write("stuck/Chart.yaml", "apiVersion: v2\nname: stuck\nversion: 0.1.0\n")?;
        project.write("stuck/templates/stuck.yaml", STUCK)?;
        project.commit("Fixtures").await?;
        project.git(&["branch", "less"]).await?;
        project.git(&["switch", "--quiet", "less"]).await?;
        std::fs::remove_file(root.join("chart/templates/service.yaml"))?;
        let values = std::fs::read_to_string(root.join("chart/values.yaml"))?;
        ensure!(values.contains("\nreplicas: 1\n"), "the chart has other values");
        project
            .write("chart/values.yaml", &values.replace("\nreplicas: 1\n", "\nreplicas: 2\n"))?;
        project.commit("Leave the service out, and run two").await?;
        let bare = self.bare(name);
        let path = bare.to_str().context("the path is not UTF-8")?;
        project.git(&["init", "--quiet", "--bare", "--initial-branch=main", path]).await?;
        project.git(&["push", "--quiet", path, "main", "less"]).await?;
        let root_url = self.rig.git.root_url.trim_end_matches('/');
        Ok(format!("{root_url}/{}-{name}.git", self.prefix))
    }

    /// Where the repository of this name lies.
    pub(crate) fn bare(&self, name: &str) -> PathBuf {
        self.rig.git.root.join(format!("{}-{name}.git", self.prefix))
    }

    /// A name that nobody else uses, for an application that is removed at the end. Names of one length, so that tables of
    /// both programs cut them alike.
    pub(crate) fn name(&self, whose: &str) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}-{whose}", self.prefix);
        self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(name.clone());
        name
    }

    /// Makes an application of a folder of the repository; `several` has two sources, `plugin` is one of the rig's plugin.
    pub(crate) async fn make(&self, app: &str, folder: &str) -> Result<()> {
        if folder == "several" {
            let file = self.several(app)?;
            return self.argocd_does(&format!("app create -f {file}"), app).await.map(drop);
        }
        let what = match folder {
            "plugin" => "--path plain --config-management-plugin rig".to_owned(),
            folder => format!("--path {folder}"),
        };
        let place = match self.elsewhere {
            Some(_) => " --app-namespace WHERE --project WHERE",
            None => "",
        };
        let line = format!(
            "app create APP --repo REPO {what} --revision main --dest-namespace default \
             --dest-server https://kubernetes.default.svc -l twin=APP{place}"
        );
        self.argocd_does(&line, app).await.map(drop)
    }

    /// The document of an application of two sources, the second with a name.
    fn several(&self, app: &str) -> Result<String> {
        let source = format!("repoURL: \"{}\", path: chart, targetRevision: main", self.repository);
        let text = format!(
            "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: {app}}}
spec:
  project: default
  sources:
  - {{{source}}}
  - {{{source}, name: two, helm: {{releaseName: {app}-two}}}}
  destination: {{server: \"https://kubernetes.default.svc\", namespace: default}}
"
        );
        self.file(&format!("{app}.yaml"), &text)
    }

    fn words(&self, line: &str, app: &str) -> Vec<String> {
        let place = self.elsewhere.as_deref().unwrap_or("argocd");
        let one = |word: &str| {
            word.replace("APP", app).replace("REPO", &self.repository).replace("WHERE", place)
        };
        line.split_whitespace().map(one).collect()
    }

    /// Runs the argocd command line as admin.
    pub(crate) async fn argocd(&self, line: &str, app: &str) -> Result<Run> {
        self.argocd_with(&[], line, app).await
    }

    /// The same with other variables than those of the rig.
    pub(crate) async fn argocd_with(&self, other: &Env<'_>, line: &str, app: &str) -> Result<Run> {
        let tool = with(self.tool.clone(), self.rig.env.clone(), other);
        let words = self.words(line, app);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        tool.other(Path::new(&self.rig.argocd.cli), &words).await
    }

    /// Runs `verbatim argocd` as admin.
    pub(crate) async fn verbatim(&self, line: &str, app: &str) -> Result<Run> {
        self.verbatim_with(&[], line, app).await
    }

    /// The same with other variables.
    pub(crate) async fn verbatim_with(
        &self,
        other: &Env<'_>,
        line: &str,
        app: &str,
    ) -> Result<Run> {
        let admin = [
            ("ARGOCD_SERVER".to_owned(), self.rig.argocd.url.clone()),
            ("ARGOCD_AUTH_TOKEN".to_owned(), self.rig.argocd.tokens.admin.clone()),
        ];
        let tool = with(self.tool.clone(), admin, other);
        let words = self.words(&format!("argocd {line}"), app);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        tool.run(&words).await
    }

    /// What the argocd command line prints when it does what it is told.
    pub(crate) async fn argocd_does(&self, line: &str, app: &str) -> Result<String> {
        done("argocd", line, self.argocd(line, app).await?)
    }

    /// What `verbatim argocd` prints when it does what it is told.
    pub(crate) async fn verbatim_does(&self, line: &str, app: &str) -> Result<String> {
        done("verbatim argocd", line, self.verbatim(line, app).await?)
    }

    /// Asks the Kubernetes API for an object, or to delete one.
    pub(crate) async fn kube(&self, method: http::Method, path: &str) -> Result<Option<Value>> {
        self.kube_with(self.http.request(method, format!("{}{path}", self.rig.kubernetes.url)))
            .await
    }

    /// Merges something into an object.
    pub(crate) async fn kube_merge(&self, path: &str, patch: &Value) -> Result<()> {
        let url = format!("{}{path}", self.rig.kubernetes.url);
        let request = self.http.patch(url).header("content-type", "application/merge-patch+json");
        self.kube_with(request.body(patch.to_string())).await.map(drop)
    }

    async fn kube_post(&self, path: &str, object: &Value) -> Result<()> {
        let url = format!("{}{path}", self.rig.kubernetes.url);
        self.kube_with(self.http.post(url).json(object)).await.map(drop)
    }

    async fn kube_with(&self, request: reqwest::RequestBuilder) -> Result<Option<Value>> {
        let answer = request.bearer_auth(&self.rig.kubernetes.token).send().await?;
        let status = answer.status();
        if status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let text = answer.text().await?;
        ensure!(status.is_success(), "Kubernetes answered {status}: {text}");
        Ok(Some(serde_json::from_str(&text)?))
    }

    /// An application, as the Kubernetes API has it.
    pub(crate) async fn application(&self, app: &str) -> Result<Option<Value>> {
        let place = self.elsewhere.as_deref().unwrap_or("argocd");
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{place}/applications/{app}");
        self.kube(http::Method::GET, &path).await
    }

    fn deployment_path(app: &str) -> String {
        format!("/apis/apps/v1/namespaces/default/deployments/{app}")
    }

    /// The deployment of an application of the chart.
    pub(crate) async fn deployment(&self, app: &str) -> Result<Option<Value>> {
        let found = self.kube(http::Method::GET, &Self::deployment_path(app)).await?;
        Ok(found.filter(|object| object["metadata"]["deletionTimestamp"].is_null()))
    }

    pub(crate) async fn remove_deployment(&self, app: &str) -> Result<()> {
        self.kube(http::Method::DELETE, &Self::deployment_path(app)).await?;
        let service = format!("/api/v1/namespaces/default/services/{app}");
        self.kube(http::Method::DELETE, &service).await.map(drop)
    }

    /// The parts of an application that are compared; and what its deployment and its ConfigMap hold, if it has them.
    pub(crate) async fn picture(&self, app: &str, parts: &[&str]) -> Result<Value> {
        let object = self.application(app).await?.with_context(|| format!("{app} is gone"))?;
        let mut picture = picture(&object, app, parts);
        if let Some(deployment) = self.deployment(app).await? {
            picture["deployment"] = super::objects::picture(&deployment, app, &["/spec"]);
        }
        let path = format!("/api/v1/namespaces/default/configmaps/{app}");
        if let Some(map) = self.kube(http::Method::GET, &path).await? {
            picture["configMap"] = super::objects::picture(&map, app, &["/data"]);
        }
        Ok(picture)
    }

    /// The data of the secret that holds a repository; `null` if there is none.
    pub(crate) async fn secret_of(&self, url: &str) -> Result<Value> {
        let list = self
            .kube(
                http::Method::GET,
                "/api/v1/namespaces/argocd/secrets?labelSelector=argocd.argoproj.io/secret-type=repository",
            )
            .await?
            .unwrap_or_default();
        for secret in list["items"].as_array().into_iter().flatten() {
            let mut data = serde_json::Map::new();
            for (name, value) in secret["data"].as_object().into_iter().flatten() {
                let bytes = e2e::base64(value.as_str().unwrap_or_default())?;
                data.insert(name.clone(), String::from_utf8(bytes)?.into());
            }
            if data.get("url").is_some_and(|found| found == url) {
                data.insert("url".into(), "URL".into());
                return Ok(data.into());
            }
        }
        Ok(Value::Null)
    }

    /// Waits until the operation of an application runs.
    pub(crate) async fn running(&self, app: &str) -> Result<()> {
        for _ in 0..100 {
            let object = self.application(app).await?.unwrap_or_default();
            let message = &object["status"]["operationState"]["message"];
            if message
                .as_str()
                .is_some_and(|message| message.contains("waiting for completion of hook"))
            {
                return Ok(());
            }
            // A real server: its states have no event that could be awaited here.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the operation of {app} does not run")
    }

    /// Waits until an application is not there any more.
    pub(crate) async fn gone(&self, app: &str) -> Result<()> {
        for _ in 0..300 {
            if self.application(app).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{app} is still there")
    }

    /// Writes a file, and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.tool.folder.join(name);
        std::fs::write(&path, text)?;
        path.to_str().map(str::to_owned).context("the path is not UTF-8")
    }

    /// Writes the document of an application of the chart, and gives its path.
    pub(crate) fn document(&self, app: &str, revision: &str) -> Result<String> {
        let repository = &self.repository;
        let text = format!(
            "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: {app}, labels: {{team: web}}}}
spec:
  project: default
  source: {{repoURL: \"{repository}\", path: chart, targetRevision: {revision}}}
  destination: {{server: \"https://kubernetes.default.svc\", namespace: default}}
"
        );
        self.file(&format!("{app}-{revision}.yaml"), &text)
    }

    pub(crate) async fn clean(&self) -> Result<()> {
        let made = std::mem::take(
            &mut *self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for app in &made {
            if self.application(app).await?.is_some() {
                self.argocd_does("app delete WHERE/APP --yes", app).await?;
            }
        }
        // Projects go last: without theirs, nothing of an application is deleted.
        for app in &made {
            self.gone(app).await?;
        }
        if let Some(place) = &self.elsewhere {
            self.kube(http::Method::DELETE, &format!("{PROJECTS}/{place}")).await?;
            self.kube(http::Method::DELETE, &format!("/api/v1/namespaces/{place}")).await?;
        }
        Ok(())
    }
}

/// Variables in the place of others; `None` takes one away.
pub(crate) type Env<'a> = [(&'a str, Option<&'a str>)];

fn with(mut tool: Tool, some: impl IntoIterator<Item = (String, String)>, other: &Env<'_>) -> Tool {
    tool.variables.extend(some);
    for (name, value) in other {
        match value {
            Some(value) => drop(tool.variables.insert((*name).to_owned(), (*value).to_owned())),
            None => drop(tool.variables.remove(*name)),
        }
    }
    tool
}

pub(crate) fn done(program: &str, line: &str, run: Run) -> Result<String> {
    ensure!(run.code == 0, "{program} {line}: {run}");
    Ok(run.stdout)
}
