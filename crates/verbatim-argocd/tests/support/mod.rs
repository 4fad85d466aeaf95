//! A simulated Argo CD with a git repository, and clients for it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use simulated_argocd::{Config as ServerConfig, SimulatedArgocd, Tools};
use verbatim_argocd::{
    AppRef, Application, Claim, Client, Config, DeployOptions, DeployReport, DeployRequest,
    OverrideValues, SyncUntil, Timeouts, WantedImage, Watch, WatchEvent, deploy, nonce, read_claim,
    server_url, sync as sync_app,
};
use verbatim_http::RetryPolicy;
use verbatim_oci::Digest;

pub(crate) const REPOSITORY: &str = "127.0.0.1:5000/example/web";

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  replicas: {{ .Values.replicas }}
  progressDeadlineSeconds: {{ .Values.progressDeadlineSeconds }}
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}"}}
    spec:
      containers:
        - {name: web, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}
"#;

/// A chart whose Job, a hook, alone runs the image. It is deleted when it has succeeded.
const HOOK: &str = r#"apiVersion: batch/v1
kind: Job
metadata:
  name: "{{ .Release.Name }}-migrate"
  annotations:
    argocd.argoproj.io/hook: "{{ .Values.hook }}"
    argocd.argoproj.io/hook-delete-policy: "{{ .Values.policy }}"
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: migrate, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}
"#;

const HOOK_VALUES: &str = "hook: PreSync
policy: HookSucceeded
image: {repository: 127.0.0.1:5000/example/web, tag: latest}
";

const CONFIG: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {image: "{{ .Values.image.tag }}"}
"#;

/// What an app of apps has of its child.
const CHILD: &str = r#"apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: child, namespace: argocd}
spec: {source: {repoURL: r, helm: {parameters: [{name: image.tag, value: old}]}}}
"#;

const VALUES: &str = "replicas: 2
progressDeadlineSeconds: 600
image: {repository: 127.0.0.1:5000/example/web, tag: latest}
";

/// Sync windows that let nobody sync.
pub(crate) const DENY: &str =
    r#"[{ "kind": "deny", "schedule": "* * * * *", "duration": "24h", "applications": ["*"] }]"#;

/// A server and its git repository. Ends when it is dropped.
pub(crate) struct Rig {
    pub(crate) server: SimulatedArgocd,
    git: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        // For the administrator's own requests.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let git = tempfile::tempdir().unwrap();
        write_chart(&git.path().join("chart"), VALUES, &[("deployment.yaml", DEPLOYMENT)]);
        let templates = [("config.yaml", CONFIG), ("hook.yaml", HOOK)];
        write_chart(&git.path().join("hook"), HOOK_VALUES, &templates);
        let hook = HOOK
            .replace("{{ .Values.image.tag }}", "old")
            .replace("{{ .Values.hook }}", "PreSync")
            .replace("{{ .Values.policy }}", "HookSucceeded");
        let templates = [("deployment.yaml", DEPLOYMENT), ("hook.yaml", &hook)];
        write_chart(&git.path().join("both"), VALUES, &templates);
        let cache = DEPLOYMENT
            .replace("metadata: {name: \"{{ .Release.Name }}\"}", "metadata: {name: cache}")
            .replace("{{ .Values.progressDeadlineSeconds }}", "1")
            .replace("{app: \"{{ .Release.Name }}\"}", "{app: cache}")
            .replace(
                "{{ .Values.image.repository }}:{{ .Values.image.tag }}",
                "{{ .Values.cache }}",
            );
        let labelled = DEPLOYMENT.replace(
            "metadata: {name: \"{{ .Release.Name }}\"}",
            "metadata: {name: \"{{ .Release.Name }}\", labels: {version: \"{{ .Values.image.tag }}\"}}",
        );
        write_chart(&git.path().join("labelled"), VALUES, &[("deployment.yaml", &labelled)]);
        write_chart(&git.path().join("parent"), "{}", &[("child.yaml", CHILD)]);
        let templates = [("deployment.yaml", DEPLOYMENT), ("cache.yaml", &cache)];
        let values = format!("{VALUES}cache: redis:7\n");
        write_chart(&git.path().join("two"), &values, &templates);
        std::fs::write(
            git.path().join("chart/.argocd-source-shadow.yaml"),
            "helm: {parameters: [{name: image.tag, value: shadowed}]}\n",
        )
        .unwrap();
        for arguments in [
            &["init", "-q", "-b", "main"][..],
            &["add", "-A"],
            &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "chart"],
        ] {
            run_git(git.path(), arguments);
        }
        let tools = Tools { helm: None, kustomize: None, substitute: true, ..Tools::default() };
        let server = SimulatedArgocd::start(ServerConfig { tools, ..ServerConfig::default() })
            .await
            .unwrap();
        Self { server, git }
    }

    /// Takes the chart away: no application renders any more.
    pub(crate) fn remove_chart(&self) {
        run_git(self.git.path(), &["rm", "-q", "-r", "chart"]);
        let commit =
            ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "x"];
        run_git(self.git.path(), &commit);
    }

    pub(crate) fn config(&self, url: &str, token: String) -> Config {
        let mut config = Config::new(server_url(url, false, None).unwrap());
        config.token = Some(token.into());
        config.timeouts = Timeouts {
            connect: Duration::from_secs(2),
            read: Duration::from_secs(5),
            write: Duration::from_secs(10),
            refresh: Duration::from_secs(5),
        };
        config.retry = RetryPolicy { first_wait: Duration::from_millis(20), ..config.retry };
        config
    }

    /// A client with the token of a pipeline: it may get, update and sync.
    pub(crate) fn client(&self) -> Client {
        self.client_at(&self.server.url())
    }

    pub(crate) fn client_at(&self, url: &str) -> Client {
        Client::new(self.config(url, self.server.tokens().bot)).unwrap()
    }

    /// Makes an application of the chart, with parameters on it, and deploys it.
    pub(crate) async fn app(&self, name: &str, automated: bool, parameters: Value) -> AppRef {
        self.app_of("chart", name, automated, parameters).await
    }

    /// The same of another chart.
    pub(crate) async fn app_of(
        &self,
        chart: &str,
        name: &str,
        automated: bool,
        parameters: Value,
    ) -> AppRef {
        let mut policy = json!({ "syncOptions": ["CreateNamespace=true"] });
        if automated {
            policy["automated"] = json!({});
        }
        self.post(
            "/api/v1/applications",
            json!({
                "metadata": { "name": name },
                "spec": {
                    "project": "default",
                    "source": {
                        "repoURL": format!("file://{}", self.git.path().display()),
                        "path": chart, "targetRevision": "main", "helm": { "parameters": parameters },
                    },
                    "destination": { "server": "https://kubernetes.default.svc", "namespace": name },
                    "syncPolicy": policy,
                },
            }),
        )
        .await;
        let app: AppRef = name.parse().unwrap();
        let sync = verbatim_argocd::SyncRequest { nonce: nonce().unwrap(), ..Default::default() };
        let report = sync_app(&self.client(), &app, &sync, SyncUntil::Healthy, &quick(), &|_| {})
            .await
            .unwrap();
        assert_eq!(verbatim_argocd::cli::status(&report).code(), 0, "{report:?}");
        app
    }

    /// Has the pods of an application, which is in the namespace of its name, made anew.
    pub(crate) async fn replace_pods(&self, app: &AppRef) {
        for pod in self.server.live_objects().into_values().filter(|one| one["kind"] == "Pod") {
            let (name, namespace) = (&pod["metadata"]["name"], &pod["metadata"]["namespace"]);
            if *namespace == app.name.as_str() {
                let path = format!(
                    "/api/v1/applications/{app}/resource?resourceName={}&namespace={app}&version=v1&kind=Pod&force=true",
                    name.as_str().unwrap()
                );
                self.send(reqwest::Method::DELETE, &path, Value::Null).await;
            }
        }
    }

    /// Has the nodes report this of all containers of an application's pods. The pods stay, and the application is as it was.
    pub(crate) async fn report(&self, app: &AppRef, state: Value) {
        for pod in self.server.live_objects().into_values().filter(|one| one["kind"] == "Pod") {
            let (name, namespace) = (&pod["metadata"]["name"], &pod["metadata"]["namespace"]);
            if *namespace != app.name.as_str() {
                continue;
            }
            let mut containers = pod["status"]["containerStatuses"].clone();
            for container in containers.as_array_mut().unwrap() {
                container.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
            }
            let patch = json!({ "status": { "containerStatuses": containers } }).to_string();
            let path = format!(
                "/api/v1/applications/{app}/resource?resourceName={}&namespace={app}&version=v1&kind=Pod&patchType=application%2Fmerge-patch%2Bjson",
                name.as_str().unwrap()
            );
            self.post(&path, json!(patch)).await;
        }
    }

    /// Waits until an application is so.
    pub(crate) async fn until(&self, app: &AppRef, is_so: impl Fn(&Application) -> bool) {
        let mut watch = Watch::start(&self.client(), app);
        loop {
            let WatchEvent::Changed(app) = watch.next().await else { panic!("the watch is lost") };
            if is_so(&app) {
                return;
            }
        }
    }

    /// Gives the project of all applications these sync windows.
    pub(crate) async fn windows(&self, windows: &str) {
        let windows: Value = serde_json::from_str(windows).unwrap();
        let spec = json!({
            "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }], "syncWindows": windows,
        });
        let project = json!({ "metadata": { "name": "default" }, "spec": spec });
        self.post("/api/v1/projects", json!({ "project": project, "upsert": true })).await;
    }

    /// Sends something as the administrator.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.send(reqwest::Method::POST, path, body).await
    }

    /// Patches an application as the administrator.
    #[allow(dead_code, reason = "not every file of tests needs it")]
    pub(crate) async fn patch(&self, app: &AppRef, patch: &Value) {
        let body = json!({ "name": app.name, "patch": patch.to_string(), "patchType": "merge" });
        let path = format!("/api/v1/applications/{app}");
        self.send(reqwest::Method::PATCH, &path, body).await;
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http
            .request(method, format!("{}{path}", self.server.url()))
            .header("Content-Type", "application/json")
            .bearer_auth(self.server.tokens().admin)
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The Helm parameters that an application has now.
    pub(crate) async fn parameters(&self, app: &AppRef) -> Vec<(String, String)> {
        let app = self.client().get(app).await.unwrap();
        let sources = app.spec.sources();
        let parameters = sources.iter().flat_map(|(_, source)| source.helm_parameters());
        let text =
            |parameter: &Value, name: &str| parameter[name].as_str().unwrap_or("").to_owned();
        parameters.map(|one| (text(one, "name"), text(one, "value"))).collect()
    }

    /// The claim on an application.
    pub(crate) async fn claim(&self, app: &AppRef) -> Option<Claim> {
        read_claim(&self.client().get(app).await.unwrap(), None).known().cloned()
    }

    /// What an application is said to be.
    pub(crate) async fn spec(&self, app: &str) -> Value {
        self.client().object(&app.parse().unwrap()).await.unwrap()["spec"].clone()
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        let seen = self.server.seen().into_iter();
        seen.filter(|seen| seen.method != "GET")
            .map(|seen| format!("{} {}", seen.method, seen.target))
            .collect()
    }
}

fn write_chart(folder: &Path, values: &str, templates: &[(&str, &str)]) {
    std::fs::create_dir_all(folder.join("templates")).unwrap();
    let about = "apiVersion: v2\nname: web\nversion: 0.1.0\n";
    std::fs::write(folder.join("Chart.yaml"), about).unwrap();
    std::fs::write(folder.join("values.yaml"), values).unwrap();
    for (name, text) in templates {
        std::fs::write(folder.join("templates").join(name), text).unwrap();
    }
}

fn run_git(folder: &Path, arguments: &[&str]) {
    let status = needs::Program::Git
        .command()
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", folder)
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "git {arguments:?}");
}

pub(crate) fn quick() -> DeployOptions {
    DeployOptions {
        // Long enough for a machine that is busy with other tests.
        timeout: Duration::from_secs(90),
        patience: Duration::from_millis(500),
        ..DeployOptions::default()
    }
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

pub(crate) fn image(digest: Digest) -> WantedImage {
    WantedImage::new(Some(REPOSITORY.parse().unwrap()), digest)
}

/// Deploys, and fails the test if nothing was written.
pub(crate) async fn run(client: &Client, request: &DeployRequest) -> DeployReport {
    deploy(client, request, &|_| {})
        .await
        .unwrap_or_else(|error| panic!("{error}: {:?}", error.kind))
}

/// A deployment of `TAG@DIGEST` into `image.tag`.
pub(crate) fn wanted(app: &AppRef, release: &str) -> DeployRequest {
    let digest = digest(release);
    DeployRequest {
        app: app.clone(),
        values: OverrideValues {
            helm: [("image.tag".to_owned(), format!("{release}@{digest}"))].into(),
            ..OverrideValues::default()
        },
        images: vec![image(digest)],
        release: release.to_owned(),
        environment: None,
        by: Some("https://ci.example.com/1".into()),
        revisions: Vec::new(),
        nonce: nonce().unwrap(),
        options: quick(),
        expected: None,
    }
}

/// The value that [`wanted`] writes.
pub(crate) fn value(release: &str) -> String {
    format!("{release}@{}", digest(release))
}
