//! Everything that one test needs, started inside it: a registry and a simulated Argo CD, each behind a fault proxy, a
//! project with three environments, and the binary.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fault_proxy::{FaultProxy, Upstream};
use serde_json::{Value, json};
use simulated_argocd::{Config, Pods, SimulatedArgocd, Tools};
use tempfile::TempDir;
use test_registry::{Account, Registry};
use verbatim_credentials::{CredentialEnvironment, ExposeSecret as _, Keychain};
use verbatim_oci::Reference;
use verbatim_record::SigningKey;

use crate::image::{self, Built};
use crate::project::{Project, key};
use crate::run::{Run, Tool};

/// The environments, in their order.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];

/// What a test runs in. The order of the fields is that in which they end.
#[derive(Debug)]
pub struct World {
    /// In front of the registry.
    pub registry_proxy: FaultProxy,
    /// In front of Argo CD.
    pub argocd_proxy: FaultProxy,
    /// The registry itself.
    pub registry: Registry,
    /// Argo CD itself.
    pub argocd: SimulatedArgocd,
    /// The repository.
    pub project: Project,
    /// The binary, with the key and the token of a pipeline.
    pub tool: Tool,
    /// The key that the configuration trusts for everything.
    pub key: SigningKey,
    /// The logins of the registry, with and without the proxy, if it asks for one.
    pub keychain: Keychain,
    /// Made once: reading the certificates of the system takes longer than a request.
    http: reqwest::Client,
    folder: TempDir,
}

impl World {
    /// Starts it, with a registry that has the referrers API.
    ///
    /// # Errors
    /// A service does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(test_registry::Config::default()).await
    }

    /// Starts it on a registry of this kind.
    ///
    /// # Errors
    /// A service does not start.
    pub async fn start_with(config: test_registry::Config) -> Result<Self> {
        // The client of `api` wants one; another test of this process may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let account = config.auth.account().cloned();
        let registry = Registry::start(config).await?;
        let registry_proxy = FaultProxy::start(Upstream::Tcp(registry.host())).await?;
        // No helm is needed: what a chart can do is not the subject here.
        let tools = Tools { helm: None, kustomize: None, substitute: true, ..Tools::default() };
        let pods = Pods::Fake { ready_after: Duration::from_millis(10) };
        let argocd = SimulatedArgocd::start(Config { tools, pods, ..Config::default() }).await?;
        let argocd_host = argocd.url().replacen("http://", "", 1);
        let argocd_proxy = FaultProxy::start(Upstream::Tcp(argocd_host)).await?;
        let root = folder.path().join("project");
        let project = Project::create(&root).await?;
        let key = key(7)?;
        let pem = key.to_pkcs8_pem()?;
        let mut tool = Tool::new(&root, folder.path())?
            .with("VERBATIM_KEY", pem.expose_secret())
            .with("ARGOCD_AUTH_TOKEN", &argocd.tokens().bot);
        let mut keychain = Keychain::anonymous();
        if let Some(account) = account {
            let hosts = [registry.host(), registry_proxy.address().to_string()];
            tool = tool.with("DOCKER_AUTH_CONFIG", &logins(&account, &hosts));
            keychain =
                Keychain::from_environment(&CredentialEnvironment::from_map(&tool.variables));
        }
        let world = Self {
            registry_proxy,
            argocd_proxy,
            registry,
            argocd,
            project,
            tool,
            key,
            keychain,
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?,
            folder,
        };
        world.project.write("ci.pub", &world.key.verifying_key().to_pem()?)?;
        world.project.write("verbatim.yaml", &world.configuration())?;
        world.project.commit("Begin").await?;
        world.create_applications().await?;
        Ok(world)
    }

    /// A folder that is not part of the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The `verbatim.yaml` of the project.
    pub fn configuration(&self) -> String {
        format!(
            "version: 1
project: shop
images:
  app: {{ repository: {registry}/shop/app, tag: \"${{build}}.${{short_commit}}\" }}
argocd:
  main: {{ url: {argocd} }}
set:
  helm:
    image.repository: \"${{repository}}\"
    image.tag: \"${{tag}}@${{digest}}\"
environments:
  - name: dev
    apps: [shop-dev]
    stuck_after: 1s
    tests: {{ smoke: 'test ! -e ../fail && test \"$VERBATIM_ENVIRONMENT\" = dev && test ${{#VERBATIM_COMMIT}} = 40' }}
  - name: staging
    after: [dev]
    apps: [shop-staging]
    gates: {{ tested: {{ in: dev, suites: [smoke] }} }}
    settle: 0s
  - name: production
    after: [staging]
    apps: [shop-production]
    settle: 0s
keys:
  - {{ name: ci, file: ci.pub, roles: [builder, tester, promoter] }}
",
            registry = self.registry_proxy.address(),
            argocd = self.argocd_proxy.url(),
        )
    }

    /// Commits something, and makes the image of that commit with its build record. Returns its reference by digest.
    ///
    /// # Errors
    /// git or the registry refuses.
    pub async fn release(&self, message: &str) -> Result<String> {
        let commit = self.project.commit(message).await?;
        self.image(Built { commit, dirty: false, run: None }).await
    }

    /// Makes an image with its build record. Returns its reference by tag and digest.
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn image(&self, built: Built) -> Result<String> {
        let address = self.registry_proxy.address();
        let image: Reference =
            format!("{address}/shop/app:local.{}", &built.commit[..12]).parse()?;
        let client = image::client_with(self.keychain.clone())?;
        let digest = image::push_with(&client, &image, &built, &self.key).await?;
        Ok(image.pinned(digest).to_string())
    }

    /// Runs the binary.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub async fn verbatim(&self, arguments: &[&str]) -> Result<Run> {
        self.tool.run(arguments).await
    }

    /// Promotes a release, and tests it if the environment has tests; all of it must succeed.
    ///
    /// # Errors
    /// As [`World::verbatim`].
    ///
    /// # Panics
    /// One of them does not succeed.
    pub async fn carry(&self, release: &str, environments: &[&str]) -> Result<()> {
        for environment in environments {
            let _ = self.verbatim(&["promote", environment, "--release", release]).await?.ends(0);
            if *environment == "dev" {
                let _ = self.verbatim(&["test", environment, "--release", release]).await?.ends(0);
            }
        }
        Ok(())
    }

    /// The Helm parameters of an application, as Argo CD has them.
    ///
    /// # Errors
    /// Argo CD refuses.
    pub async fn parameters(&self, app: &str) -> Result<Vec<(String, String)>> {
        let application = self.api(http::Method::GET, &format!("/{app}"), None).await?;
        let parameters =
            application.pointer("/spec/source/helm/parameters").and_then(Value::as_array);
        let text =
            |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        Ok(parameters
            .into_iter()
            .flatten()
            .map(|entry| (text(entry, "name"), text(entry, "value")))
            .collect())
    }

    /// Changes an application by hand, with the operations of a JSON patch.
    ///
    /// # Errors
    /// Argo CD refuses.
    pub async fn patch(&self, app: &str, operations: Value) -> Result<Value> {
        let body = json!({ "name": app, "patch": operations.to_string(), "patchType": "json" });
        self.api(http::Method::PATCH, &format!("/{app}"), Some(body)).await
    }

    /// Asks the API of applications as an administrator, past the proxy.
    ///
    /// # Errors
    /// Argo CD refuses.
    pub async fn api(
        &self,
        method: http::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        self.ask(method, &format!("applications{path}"), body).await
    }

    /// Makes an Argo CD project that allows everything.
    ///
    /// # Errors
    /// Argo CD refuses.
    pub async fn create_project(&self, name: &str) -> Result<()> {
        let spec = json!({
            "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        });
        let body = json!({ "project": { "metadata": { "name": name }, "spec": spec } });
        self.ask(http::Method::POST, "projects", Some(body)).await.map(drop)
    }

    /// Gives the project of all applications these sync windows.
    ///
    /// # Errors
    /// Argo CD refuses.
    pub async fn windows(&self, windows: Value) -> Result<()> {
        let spec = json!({
            "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }], "syncWindows": windows,
        });
        let project = json!({ "metadata": { "name": "default" }, "spec": spec });
        let body = json!({ "project": project, "upsert": true });
        self.ask(http::Method::POST, "projects", Some(body)).await.map(drop)
    }

    /// Makes an ApplicationSet as an administrator.
    ///
    /// # Errors
    /// Argo CD refuses.
    pub async fn create_set(&self, set: Value) -> Result<()> {
        self.ask(http::Method::POST, "applicationsets", Some(set)).await.map(drop)
    }

    async fn ask(&self, method: http::Method, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("{}/api/v1/{path}", self.argocd.url());
        let mut request = self.http.request(method, url).bearer_auth(self.argocd.tokens().admin);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "Argo CD answered {status}: {text}");
        serde_json::from_str(&text).context("not JSON")
    }

    /// The requests that changed something in Argo CD: all but reads, one of which is a POST.
    pub fn writes(&self) -> Vec<String> {
        let is_write =
            |method: &str, target: &str| method != "GET" && !target.ends_with("/appdetails");
        let writes =
            self.argocd.seen().into_iter().filter(|seen| is_write(&seen.method, &seen.target));
        writes.map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    async fn create_applications(&self) -> Result<()> {
        for environment in ENVIRONMENTS {
            let application = json!({
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": { "name": format!("shop-{environment}"), "namespace": "argocd" },
                "spec": {
                    "project": "default",
                    "source": {
                        "repoURL": format!("file://{}", self.project.root.display()),
                        "path": "chart",
                        "targetRevision": "main",
                        "helm": { "valueFiles": [format!("values-{environment}.yaml")] },
                    },
                    "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
                },
            });
            self.api(http::Method::POST, "", Some(application)).await?;
        }
        self.argocd.forget_seen();
        Ok(())
    }
}

/// A docker configuration with the same login for some registries.
fn logins(account: &Account, hosts: &[String]) -> String {
    use base64::Engine as _;
    let login = format!("{}:{}", account.username, account.password);
    let login = base64::engine::general_purpose::STANDARD.encode(login);
    let entries = hosts.iter().map(|host| (host.clone(), json!({ "auth": login })));
    json!({ "auths": entries.collect::<serde_json::Map<_, _>>() }).to_string()
}
