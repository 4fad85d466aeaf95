//! The services that the demo runs on, and where they are: engine, registry, Argo CD, a front door an environment.
//!
//! They are started here and end when this is dropped. What happens on them is the story's business.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail, ensure};
use rig::Nodes;
use serde::Deserialize;
use serde_json::json;
use simulated_argocd::{self as argocd, Account, Right, SimulatedArgocd, Tools};
use test_registry::Registry;
use tokio::runtime::Runtime;
use verbatim_oci::Reference;
use verbatim_record::SigningKey;

use super::assemble;
use super::door::{Door, Service};
use super::processes::Processes;
use super::project::{Addresses, ENVIRONMENTS, Fault, Project, hermetic};
use rig::engine::process::{self, UntilDropped};
use rig::engine::{Guard, children};
use rig::lease::{self, Lease, xtask};
use rig::tools::{self, Tool};

/// The file of the private key, in the folder of the services: outside the repository.
pub(super) const KEY: &str = "pipeline.pem";

/// The private key of whoever approves; no CI job has it.
pub(super) const APPROVER_KEY: &str = "release-manager.pem";

/// A node agent is up in a second; a machine that compiles at the same time needs longer.
const AGENT_START: Duration = Duration::from_secs(30);

/// Everything that runs. The order is that in which it ends: first what needs the others.
pub(super) struct World {
    doors: Vec<Door>,
    argocd: Argocd,
    registry: Registry,
    /// None where none can be had: then pods are ordinary processes.
    engine: Option<Guard>,
    runtime: Runtime,
    folder: PathBuf,
}

enum Argocd {
    Simulated { pods: Pods, server: Arc<SimulatedArgocd>, helm: bool },
    Real(Box<Lease>),
}

/// What runs the pods of the simulated Argo CD.
enum Pods {
    Containers(Agent),
    Processes(Arc<Processes>),
}

/// The node agent of the simulated Argo CD: a process of its own, as on the rig.
struct Agent {
    url: String,
    _process: UntilDropped,
}

impl World {
    /// Starts everything else. `folder` is for the files of the services. The real Argo CD needs an engine.
    pub(super) fn start(folder: &Path, engine: Option<Guard>, real: bool) -> Result<World> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("failed to start a runtime")?;
        let registry = runtime.block_on(Registry::start(test_registry::Config::default()))?;
        let argocd = match (&engine, real) {
            (Some(engine), true) => Argocd::Real(Box::new(Lease::new(
                folder,
                lease::Pods::Containers(&engine.docker_host),
                false,
            )?)),
            (None, true) => bail!("--real needs a Docker Engine: its pods are containers"),
            (engine, false) => simulated(
                &runtime,
                folder,
                engine.as_ref().map(|engine| engine.docker_host.as_str()),
            )?,
        };
        let mut world = World {
            doors: Vec::new(),
            argocd,
            registry,
            engine,
            runtime,
            folder: folder.to_owned(),
        };
        for name in ENVIRONMENTS {
            let service = world.service(&format!("demo-{name}"))?;
            let door = world.runtime.block_on(Door::open(service))?;
            world.doors.push(door);
        }
        Ok(world)
    }

    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            registry: self.registry.host(),
            argocd: self.argocd_url(),
            environments: self.doors.iter().map(Door::url).collect(),
        }
    }

    /// One line about Argo CD, for people.
    pub(super) fn about_argocd(&self) -> String {
        match &self.argocd {
            Argocd::Simulated { helm, .. } => {
                let chart = if *helm {
                    "charts rendered by helm"
                } else {
                    "no helm here: charts by plain substitution"
                };
                format!("{} (simulated; {chart})", self.argocd_url())
            }
            Argocd::Real(lease) => {
                format!("{} (Argo CD {})", lease.rig.argocd.url, lease.rig.argocd.version)
            }
        }
    }

    /// The engine's address, if there is one.
    pub(super) fn docker_host(&self) -> Option<&str> {
        self.engine.as_ref().map(|engine| engine.docker_host.as_str())
    }

    pub(super) fn registry(&self) -> String {
        self.registry.host()
    }

    /// A token that may read, change and sync applications.
    pub(super) fn token(&self) -> String {
        match &self.argocd {
            Argocd::Simulated { server, .. } => server.tokens().bot,
            Argocd::Real(lease) => lease.rig.argocd.tokens.bot.clone(),
        }
    }

    /// Shows Argo CD the repository, and makes one application an environment, as a platform team would have done
    /// long before: with the chart's own image, which does not exist.
    pub(super) fn install(&self, project: &Project) -> Result<()> {
        self.publish(project)?;
        for name in ENVIRONMENTS {
            let application = application(name, &self.repository_url(project));
            self.runtime
                .block_on(self.api(reqwest::Method::POST, "", &application))
                .with_context(|| format!("failed to create demo-{name}"))?;
        }
        Ok(())
    }

    /// Makes the commits of the repository visible to Argo CD.
    pub(super) fn publish(&self, project: &Project) -> Result<()> {
        // The simulated server reads the repository where it lies.
        let Argocd::Real(lease) = &self.argocd else { return Ok(()) };
        let bare = lease.rig.git.root.join("demo.git");
        if !bare.exists() {
            let mut command = needs::Program::Git.command();
            hermetic(&mut command);
            let status = children::run(
                command.args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&bare),
            )?;
            if !status.success() {
                bail!("git init failed: {status}");
            }
        }
        project.git(&["push", "--quiet", &bare.to_string_lossy(), "main"])?;
        Ok(())
    }

    fn repository_url(&self, project: &Project) -> String {
        match &self.argocd {
            Argocd::Simulated { .. } => format!("file://{}", project.root.display()),
            Argocd::Real(lease) => {
                format!("{}/demo.git", lease.rig.git.root_url.trim_end_matches('/'))
            }
        }
    }

    /// Deletes the override of an environment's application, as somebody might who does not know what it is for.
    pub(super) fn delete_override(&self, environment: &str) -> Result<()> {
        let name = format!("demo-{environment}");
        let patch = json!([{ "op": "remove", "path": "/spec/source/helm/parameters" }]).to_string();
        let body = json!({ "name": name, "patch": patch, "patchType": "json" });
        self.runtime.block_on(self.api(reqwest::Method::PATCH, &format!("/{name}"), &body))
    }

    async fn api(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<()> {
        let token = match &self.argocd {
            Argocd::Simulated { server, .. } => server.tokens().admin,
            Argocd::Real(lease) => lease.rig.argocd.tokens.admin.clone(),
        };
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let url = format!("{}/api/v1/applications{path}", self.argocd_url());
        let answer = client.request(method, url).bearer_auth(token).json(body).send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("Argo CD answered {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(())
    }

    fn argocd_url(&self) -> String {
        match &self.argocd {
            Argocd::Simulated { server, .. } => server.url(),
            Argocd::Real(lease) => lease.rig.argocd.url.clone(),
        }
    }

    fn service(&self, app: &str) -> Result<Service> {
        match &self.argocd {
            Argocd::Simulated { pods: Pods::Containers(agent), .. } => {
                Service::container(&agent.url, app)
            }
            Argocd::Simulated { pods: Pods::Processes(processes), .. } => {
                Ok(Service::Process(processes.clone(), app.to_owned()))
            }
            Argocd::Real(lease) => match &lease.rig.nodes {
                Nodes::Agent { url, .. } => Service::container(url, app),
                Nodes::Kwok { .. } => bail!("this rig runs no containers"),
            },
        }
    }

    /// Makes the image of a commit without an engine and pushes it, with a build record, under the tag that
    /// `verbatim build` would give it.
    pub(super) fn assemble(
        &self,
        project: &Project,
        commit: &str,
        fault: Option<Fault>,
    ) -> Result<()> {
        let tag = format!("local.{}", &commit[..12]);
        let image: Reference = format!("{}/demo/app:{tag}", self.registry.host()).parse()?;
        let variables =
            [("COMMIT", commit), ("VERSION", "1.4.0"), ("FAULT", fault.map_or("", Fault::name))];
        let pem = fs::read_to_string(self.folder.join(KEY)).context("failed to read the key")?;
        let key = SigningKey::from_pem(&pem).context("failed to read the key")?;
        self.runtime.block_on(async {
            let program = project.root.join("bin/demo");
            assemble::push(&assemble::client()?, &program, &image, commit, &variables, &key).await
        })
    }

    /// Fails when the simulated Argo CD was asked for something that it does not have: then the demo shows nothing.
    pub(super) fn nothing_unexpected(&self) -> Result<()> {
        if let Argocd::Simulated { server, .. } = &self.argocd {
            let requests = server.unexpected();
            ensure!(
                requests.is_empty(),
                "the simulated Argo CD has no route for: {}",
                requests.join(", ")
            );
        }
        Ok(())
    }

    /// A folder for files of the story.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What an environment's application answers on `/`.
    pub(super) fn ask(&self, environment: usize) -> Result<String> {
        let door = self.doors.get(environment).context("no such environment")?;
        self.runtime.block_on(async {
            let client =
                reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
            let answer = client.get(door.url()).send().await?.error_for_status()?;
            Ok(answer.text().await?.trim().to_owned())
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The servers end with their handles, which belong to this runtime.
        let _guard = self.runtime.enter();
        self.doors.clear();
    }
}

/// Starts a simulated Argo CD whose pods are containers of an engine, or ordinary processes.
fn simulated(runtime: &Runtime, folder: &Path, docker_host: Option<&str>) -> Result<Argocd> {
    let program = helm();
    let helm = program.is_some();
    let tools = Tools {
        helm: program,
        kustomize: on_path("kustomize").then(|| "kustomize".into()),
        substitute: !helm,
        ..Tools::default()
    };
    let pods = match docker_host {
        Some(_) => argocd::Pods::NodeAgent,
        None => argocd::Pods::Fake { ready_after: Duration::from_millis(30) },
    };
    let password = argocd::Config::default().password;
    let config = argocd::Config {
        accounts: Some(accounts(&password)),
        password,
        tools,
        pods,
        lenient: true,
        ..argocd::Config::default()
    };
    let server = runtime
        .block_on(SimulatedArgocd::start(config))
        .context("failed to start the simulated Argo CD")?;
    let server = Arc::new(server);
    let pods = match docker_host {
        Some(docker_host) => {
            Pods::Containers(Agent::start(folder, &server.kubeconfig(), docker_host)?)
        }
        None => {
            let programs = folder.join("programs");
            Pods::Processes(Arc::new(Processes::new(
                server.clone(),
                assemble::client()?,
                &programs,
            )))
        }
    };
    Ok(Argocd::Simulated { pods, server, helm })
}

/// The accounts of the rig, but that the pipeline's may read the repository too: so that a parameter that the chart
/// does not have is told before anything is written.
fn accounts(password: &str) -> Vec<Account> {
    let mut accounts = Account::usual(password);
    for account in accounts.iter_mut().filter(|account| account.name == "bot") {
        account.rights.push(Right::new("repositories", "get", "*"));
    }
    accounts
}

impl Agent {
    fn start(folder: &Path, kubeconfig: &str, docker_host: &str) -> Result<Agent> {
        #[derive(Deserialize)]
        struct Endpoint {
            url: String,
        }
        let (config, endpoint, log) =
            (folder.join("kubeconfig"), folder.join("agent.json"), folder.join("agent.log"));
        fs::write(&config, kubeconfig)
            .context("failed to write the kubeconfig of the node agent")?;
        let mut command =
            xtask(&["rig", "node-agent", "--node", argocd::NODE, "--docker-host", docker_host])?;
        command.arg("--kubeconfig").arg(&config).arg("--endpoint-file").arg(&endpoint);
        command.args(["--back-off", "1s"]);
        let identity = process::start_detached(&mut command, &log)?;
        let process = UntilDropped(identity.clone());
        let deadline = Instant::now() + AGENT_START;
        loop {
            // The file may be there and not be whole yet.
            if let Some(found) = fs::read(&endpoint)
                .ok()
                .and_then(|text| serde_json::from_slice::<Endpoint>(&text).ok())
            {
                return Ok(Agent { url: found.url, _process: process });
            }
            children::stop_if_interrupted()?;
            if !identity.is_running() || Instant::now() > deadline {
                bail!("the node agent did not start:\n{}", process::tail(&log, 10));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An application of the demo: the chart of the repository with the values of one environment.
fn application(environment: &str, repository: &str) -> serde_json::Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": format!("demo-{environment}"), "namespace": "argocd", "labels": { "demo": environment } },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": repository,
                "path": "chart",
                "targetRevision": "main",
                "helm": { "valueFiles": [format!("values-{environment}.yaml")] },
            },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
        },
    })
}

/// The real helm: from PATH, or built by Go. Without it charts are filled in by plain substitution.
fn helm() -> Option<PathBuf> {
    if on_path("helm") {
        return Some("helm".into());
    }
    if !on_path("go") {
        return None;
    }
    let built = tools::tool(Tool::Helm);
    built.inspect_err(|error| eprintln!("helm cannot be had: {error:#}")).ok()
}

fn on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file())
}
