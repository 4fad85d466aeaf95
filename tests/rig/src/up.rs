//! `rig up`: starts the parts in the order in which they need each other, as many at once as that allows.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Instant,
};

use crate::description::{Argocd as ArgocdInfo, Git, Identity, Kubernetes, Nodes, Rig};
use anyhow::{Context as _, bail};
use needs::Program;
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    argocd::Argocd,
    components::{Parts, Ports},
    down, git,
    kube::Kube,
    memory, objects,
    process::{self, Launch, Process},
    sso::SingleSignOn,
    state::{Home, KNOWN_HOSTS, Options, State},
    tools::{self, Tool},
    wait,
};
use crate::engine;

/// What a rig runs of this machine; ssh is for git, with repositories that Argo CD has over ssh.
const NEEDS: [Program; 4] = [Program::Etcd, Program::RedisServer, Program::Git, Program::Ssh];

fn path(program: Program) -> anyhow::Result<PathBuf> {
    needs::find(program.name()).with_context(|| program.lacking())
}

/// What `up` found or did.
pub(super) struct Up {
    pub(super) rig: Rig,
    pub(super) already: bool,
}

/// Brings a rig up, or finds it running. On failure, and on Ctrl-C, what was started is ended again.
pub(super) async fn up(home: &Home, options: Options) -> anyhow::Result<Up> {
    let _lock = home.lock()?;
    if let Some(state) = home.state()? {
        if down::runs(&state) {
            let rig = Rig::read(&home.description())?;
            if state.options != options {
                bail!(
                    "rig `{name}` runs with other options; end it first (cargo xtask rig down --name {name}), or start one \
                     under another name",
                    name = home.name
                );
            }
            return Ok(Up { rig, already: true });
        }
        eprintln!(
            "ending what is left of rig `{}`, which did not come up or lost a process",
            home.name
        );
        down::end(home, &state).await?;
    }
    memory::ensure_memory()?;
    needs::install(&NEEDS)?;
    let mut list = vec![
        Tool::KubeApiserver,
        Tool::KubeControllerManager,
        Tool::KubeScheduler,
        Tool::Argocd,
        Tool::Dex,
        Tool::Helm,
        Tool::Kustomize,
    ];
    if options.kwok_nodes.is_some() {
        list.push(Tool::Kwok);
    }
    let (tools, argocd_source) = spawn_blocking(move || {
        anyhow::Ok((
            tools::ensure_built(&list)?,
            tools::module_source("github.com/argoproj/argo-cd/v3")?,
        ))
    })
    .await??;
    let state = State {
        id: random_hex::<16>()?,
        boot_id: process::boot_id(),
        ready: false,
        options,
        processes: Vec::new(),
        redis: None,
        docker_host: None,
    };
    // From here on `down` can clean up, whatever happens to this process.
    home.write_state(&state)?;
    let mut starter = Starter { home, state, began: Instant::now() };
    let result = tokio::select! {
        result = starter.run(&tools, &argocd_source) => result,
        () = interrupted() => Err(anyhow::anyhow!("interrupted; ended what was started")),
    };
    match result {
        Ok(rig) => Ok(Up { rig, already: false }),
        Err(error) => {
            if let Err(second) = down::end(home, &starter.state).await {
                eprintln!("warning: {second:#}");
            }
            Err(error)
        }
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

struct Starter<'a> {
    home: &'a Home,
    state: State,
    began: Instant,
}

/// Secrets and addresses that are made up for this `up`.
struct Made {
    ports: Ports,
    kube_token: String,
    password: String,
    redis_password: String,
}

impl Starter<'_> {
    async fn run(&mut self, tools: &tools::Tools, argocd_source: &Path) -> anyhow::Result<Rig> {
        let made = Made {
            ports: Ports::from_free(free_ports()?),
            kube_token: random_hex::<16>()?,
            password: random_hex::<8>()?,
            redis_password: random_hex::<16>()?,
        };
        prepare(self.home, &made, tools, argocd_source)?;
        self.state.redis = Some((made.ports.redis, made.redis_password.clone()));
        let options = self.state.options.clone();
        let id = self.state.id.clone();
        let parts = Parts {
            home: self.home,
            id: &id,
            tools,
            ports: made.ports,
            options: &options,
            redis_password: &made.redis_password,
            xtask: crate::lease::this_program()?,
            path: needs::SYSTEM_PATH,
        };
        let nodes = self.nodes(&parts).await?;
        let etcd = self.start(&parts.etcd(path(Program::Etcd)?))?;
        self.start(&parts.redis(path(Program::RedisServer)?))?;
        let git_server = self.start(&parts.git())?;
        let identity = self.start(&parts.identity())?;
        let apiserver = self.start(&parts.kube_apiserver()?)?;
        let hash = {
            let (argocd, password, home) = (
                tools.path(Tool::Argocd)?.to_owned(),
                made.password.clone(),
                self.home.path("home"),
            );
            spawn_blocking(move || super::argocd::hash_password(&argocd, &password, &home))
                .await??
        };

        let kube_url = format!("https://127.0.0.1:{}", made.ports.kubernetes);
        let kube = Kube::new(&kube_url, &made.kube_token)?;
        self.until(&[&etcd, &apiserver], || async { kube.ready().await }).await?;
        self.say("the Kubernetes API server answers");
        let controllers =
            [self.start(&parts.kube_controller_manager()?)?, self.start(&parts.kube_scheduler()?)?];
        let repo_server = self.start(&parts.repo_server()?)?;
        let plugin = self.start(&parts.plugin()?)?;
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let sso = SingleSignOn {
            argocd: format!("http://127.0.0.1:{}", made.ports.argocd),
            identity: format!("http://127.0.0.1:{}", made.ports.identity),
        };
        objects::apply(&kube, argocd_source, &sso, &hash, &now).await?;
        self.home.write(KNOWN_HOSTS, objects::known_hosts(&kube).await?.as_bytes())?;
        self.say("Argo CD's definitions and configuration are applied");

        let server = self.start(&parts.server()?)?;
        let controller = self.start(&parts.application_controller()?)?;
        let sets = self.start(&parts.applicationset_controller()?)?;
        let node = match &nodes {
            Nodes::Agent { docker_host, node, .. } => {
                self.start(&parts.node_agent(docker_host, node))?
            }
            Nodes::Kwok { nodes } => {
                objects::kwok_nodes(&kube, *nodes).await?;
                self.start(&parts.kwok()?)?
            }
        };
        let argocd = Argocd::new(&sso.argocd)?;
        let repo_health = Argocd::new(&format!("http://127.0.0.1:{}", made.ports.repo_metrics))?;
        let all = [
            &git_server,
            &controllers[0],
            &controllers[1],
            &repo_server,
            &plugin,
            &server,
            &controller,
            &sets,
            &node,
        ];
        self.until(&all, || async { argocd.healthy().await && repo_health.healthy().await })
            .await?;
        self.say("Argo CD answers");
        let tokens = argocd.tokens(&made.password).await?;
        let dex = self.start_dex(&parts).await?;
        self.until(&[&identity, &dex], || async { argocd.lets_jobs_in().await }).await?;
        self.say("Dex answers behind it");
        self.until(&all, || async { node_is_ready(&kube).await }).await?;
        self.say("a Node is ready");

        let nodes = match nodes {
            Nodes::Agent { docker_host, node, .. } => {
                Nodes::Agent { url: agent_url(self.home)?, docker_host, node }
            }
            kwok @ Nodes::Kwok { .. } => kwok,
        };
        let root_url = format!("http://127.0.0.1:{}", made.ports.git);
        let mut rig = Rig {
            schema_version: 1,
            name: self.home.name.clone(),
            argocd: ArgocdInfo {
                server: format!("127.0.0.1:{}", made.ports.argocd),
                url: sso.argocd,
                version: argocd.version().await?,
                username: "admin".to_owned(),
                password: made.password,
                tokens,
                cli: tools.path(Tool::Argocd)?.to_owned(),
                known_hosts: self.home.path(KNOWN_HOSTS),
            },
            identity: Identity { url: sso.identity },
            kubernetes: Kubernetes {
                url: kube_url,
                kubeconfig: self.home.path("kubeconfig"),
                token: made.kube_token,
            },
            git: Git {
                url: format!("{root_url}/{}", git::REPOSITORY),
                root: self.home.path("git"),
                root_url,
            },
            nodes,
            program: parts.xtask.clone(),
            logs: self.home.path("logs"),
            env: BTreeMap::new(),
        };
        rig.env = environment(&rig, &self.home.description());
        self.home.write("rig.json", &serde_json::to_vec_pretty(&rig)?)?;
        self.state.ready = true;
        self.home.write_state(&self.state)?;
        Ok(rig)
    }

    /// Its configuration has a secret that Argo CD's server makes up at its first start, so it comes after that.
    async fn start_dex(&mut self, parts: &Parts<'_>) -> anyhow::Result<Process> {
        let (launch, dir) = (parts.dex_configuration()?, self.home.path("tmp"));
        spawn_blocking(move || process::run(&launch, &dir)).await??;
        self.start(&parts.dex()?)
    }

    /// Decides what runs the pods; with the agent, an engine is found or started first.
    async fn nodes(&mut self, parts: &Parts<'_>) -> anyhow::Result<Nodes> {
        if let Some(nodes) = parts.options.kwok_nodes {
            return Ok(Nodes::Kwok { nodes });
        }
        let docker_host = match &parts.options.docker_host {
            Some(host) => host.clone(),
            None => {
                let dir = self.home.make_dir("engine")?;
                let engine = spawn_blocking(move || engine::ensure(&dir)).await?.context(
                    "pods run in a Docker Engine (or give --docker-host, or --kwok for pods that are only said to run)",
                )?;
                self.say(&format!("Docker Engine {} at {}", engine.version, engine.docker_host));
                engine.docker_host
            }
        };
        self.state.docker_host = Some(docker_host.clone());
        self.home.write_state(&self.state)?;
        Ok(Nodes::Agent {
            url: String::new(),
            docker_host,
            node: down::node_name(&self.home.name, &self.state.id),
        })
    }

    fn start(&mut self, launch: &Launch) -> anyhow::Result<Process> {
        let process = process::start(launch, &self.home.log(launch.name), &self.home.path("tmp"))?;
        self.state.processes.push(process.clone());
        self.home.write_state(&self.state)?;
        Ok(process)
    }

    /// Waits until `look` answers true; gives up at once when one of `processes` ends.
    async fn until<F>(
        &self,
        processes: &[&Process],
        mut look: impl FnMut() -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = bool>,
    {
        let names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
        let what =
            format!("one of {} (logs in {})", names.join(", "), self.home.path("logs").display());
        wait::until(&what, || {
            let checked = processes
                .iter()
                .try_for_each(|process| process.check(&self.home.log(&process.name)));
            let look = look();
            async move {
                checked?;
                Ok(look.await)
            }
        })
        .await
    }

    fn say(&self, what: &str) {
        eprintln!("{:5.1} s  {what}", self.began.elapsed().as_secs_f64());
    }
}

/// Writes the files that the parts read.
fn prepare(
    home: &Home,
    made: &Made,
    tools: &tools::Tools,
    argocd_source: &Path,
) -> anyhow::Result<()> {
    for dir in ["logs", "tmp", "home", "empty", "bin", "certs", "etcd", "plugin", "plugins", "ssh"]
    {
        home.make_dir(dir)?;
    }
    for entry in fs::read_dir(home.path("logs"))? {
        fs::remove_file(entry?.path())?;
    }
    git::fill(&home.path("git"), &home.path("tmp"))?;
    let bin = home.path("bin");
    for tool in [Tool::Helm, Tool::Kustomize] {
        symlink(tools.path(tool)?, bin.join(tool.name()))?;
    }
    // The repo server runs this for every git source, also with signature checks off.
    let wrapper = bin.join("git-verify-wrapper.sh");
    fs::copy(argocd_source.join("hack/git-verify-wrapper.sh"), &wrapper)
        .context("cannot copy git-verify-wrapper.sh")?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o700))?;
    home.write("tokens.csv", format!("{},admin,1,system:masters\n", made.kube_token).as_bytes())?;
    let key = signing_key()?;
    home.write("service-account.key", key.to_pkcs8_pem(LineEnding::LF)?.as_bytes())?;
    home.write(
        "service-account.pub",
        key.public_key().to_public_key_pem(LineEnding::LF)?.as_bytes(),
    )?;
    // JSON is YAML too.
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "rig",
        "clusters": [{ "name": "rig", "cluster": {
            "server": format!("https://127.0.0.1:{}", made.ports.kubernetes),
            "insecure-skip-tls-verify": true,
        }}],
        "users": [{ "name": "admin", "user": { "token": made.kube_token } }],
        "contexts": [{ "name": "rig", "context": {
            "cluster": "rig", "user": "admin", "namespace": objects::NAMESPACE,
        }}],
    });
    home.write("kubeconfig", &serde_json::to_vec_pretty(&kubeconfig)?)?;
    home.write("plugin/plugin.yaml", PLUGIN.as_bytes())?;
    home.write("kwok.yaml", KWOK_STAGES.as_bytes())
}

const KWOK_STAGES: &str = include_str!("../kwok.yaml");

/// The plugin `rig`, for applications that name it.
const PLUGIN: &str = include_str!("../plugin.yaml");

fn signing_key() -> anyhow::Result<p256::SecretKey> {
    loop {
        let mut bytes = [0; 32];
        random(&mut bytes)?;
        // Refuses the few values that are not below the order of the curve.
        if let Ok(key) = p256::SecretKey::from_slice(&bytes) {
            return Ok(key);
        }
    }
}

async fn node_is_ready(kube: &Kube) -> bool {
    let Ok(Some(nodes)) = kube.get("/api/v1/nodes").await else { return false };
    let ready = |node: &serde_json::Value| {
        let conditions = node["status"]["conditions"].as_array();
        conditions.is_some_and(|all| {
            all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        })
    };
    nodes["items"].as_array().is_some_and(|nodes| nodes.iter().any(ready))
}

fn agent_url(home: &Home) -> anyhow::Result<String> {
    #[derive(serde::Deserialize)]
    struct Endpoint {
        url: String,
    }
    let bytes = fs::read(home.path("node-agent.json"))
        .context("the node agent did not tell its address")?;
    Ok(serde_json::from_slice::<Endpoint>(&bytes)?.url)
}

/// What the tools of the project and the real clients read from the environment.
fn environment(rig: &Rig, description: &Path) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("ARGOCD_SERVER".to_owned(), rig.argocd.server.clone()),
        ("ARGOCD_AUTH_TOKEN".to_owned(), rig.argocd.tokens.admin.clone()),
        // The real client asks about TLS otherwise, and would read the user's own configuration.
        ("ARGOCD_OPTS".to_owned(), "--plaintext".to_owned()),
        ("KUBECONFIG".to_owned(), rig.kubernetes.kubeconfig.display().to_string()),
        (needs::Service::Rig.variable().to_owned(), description.display().to_string()),
    ]);
    if let Nodes::Agent { docker_host, .. } = &rig.nodes {
        env.insert("DOCKER_HOST".to_owned(), docker_host.clone());
    }
    env
}

fn random(bytes: &mut [u8]) -> anyhow::Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| anyhow::anyhow!("the system has no random numbers: {error}"))
}

fn random_hex<const N: usize>() -> anyhow::Result<String> {
    let mut bytes = [0; N];
    random(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// Ports that nobody listens on, below the range that the kernel takes outgoing ports from: between this look and the
/// start of the server nothing takes them by chance.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    const FIRST: u16 = 20_000;
    const LAST: u16 = 32_000;
    let mut seed = [0; 2];
    random(&mut seed)?;
    let start = FIRST + u16::from_ne_bytes(seed) % (LAST - FIRST);
    // All are held until all are found, so that no port is found twice.
    let held: Vec<TcpListener> = (start..LAST)
        .chain(FIRST..start)
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .take(N)
        .collect();
    let ports: Vec<u16> =
        held.iter().filter_map(|listener| listener.local_addr().ok()).map(|it| it.port()).collect();
    ports
        .try_into()
        .map_err(|_| anyhow::anyhow!("there are not {N} free ports between {FIRST} and {LAST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_distinct_and_free() {
        let ports: [u16; Ports::COUNT] = free_ports().unwrap();
        let distinct: std::collections::BTreeSet<u16> = ports.into_iter().collect();
        assert_eq!(distinct.len(), ports.len());
    }
}
