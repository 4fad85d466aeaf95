//! Which processes a rig is made of, with which flags and environment. Pure: paths and ports in, launches out.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    process::{Launch, MARKER},
    state::{Home, Options},
    tools::{Tool, Tools},
};

/// The namespaces beside Argo CD's own that may hold applications, if a project allows it.
const NAMESPACES: &str = "apps-*";

/// The file that Dex reads.
const DEX_CONFIGURATION: &str = "dex.yaml";

/// The ports of a rig, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) argocd: u16,
    pub(super) argocd_metrics: u16,
    pub(super) repo_server: u16,
    pub(super) repo_metrics: u16,
    pub(super) controller_metrics: u16,
    pub(super) applicationset: [u16; 3],
    /// Of Dex: for clients, for metrics, and for its own administration.
    pub(super) dex: [u16; 3],
    pub(super) identity: u16,
    pub(super) redis: u16,
    pub(super) etcd: u16,
    pub(super) etcd_peer: u16,
    pub(super) kubernetes: u16,
    pub(super) git: u16,
}

impl Ports {
    pub(super) const COUNT: usize = 17;

    pub(super) fn from_free(free: [u16; Self::COUNT]) -> Self {
        let [
            argocd,
            argocd_metrics,
            repo_server,
            repo_metrics,
            controller_metrics,
            s0,
            s1,
            s2,
            d0,
            d1,
            d2,
            identity,
            redis,
            etcd,
            peer,
            kube,
            git,
        ] = free;
        Self {
            argocd,
            argocd_metrics,
            repo_server,
            repo_metrics,
            controller_metrics,
            applicationset: [s0, s1, s2],
            dex: [d0, d1, d2],
            identity,
            redis,
            etcd,
            etcd_peer: peer,
            kubernetes: kube,
            git,
        }
    }
}

/// What the launches are made from.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) home: &'a Home,
    pub(super) id: &'a str,
    pub(super) tools: &'a Tools,
    pub(super) ports: Ports,
    pub(super) options: &'a Options,
    pub(super) redis_password: &'a str,
    /// This program: it serves git, and is the node agent.
    pub(super) xtask: PathBuf,
    /// Where the programs of Debian packages are looked for.
    pub(super) path: &'a str,
}

fn args(list: &[&str]) -> Vec<String> {
    list.iter().map(|arg| (*arg).to_owned()).collect()
}

impl Parts<'_> {
    fn file(&self, name: &str) -> String {
        self.home.path(name).display().to_string()
    }

    fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (MARKER.to_owned(), self.id.to_owned()),
            // The folder `bin` has what Argo CD calls: helm, kustomize and its git wrapper.
            ("PATH".to_owned(), format!("{}:{}", self.file("bin"), self.path)),
            ("HOME".to_owned(), self.file("home")),
            ("TMPDIR".to_owned(), self.file("tmp")),
        ])
    }

    fn launch(&self, name: &'static str, program: impl Into<PathBuf>, args: Vec<String>) -> Launch {
        Launch { name, program: program.into(), args, env: self.env() }
    }

    pub(super) fn etcd(&self, program: PathBuf) -> Launch {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        let cluster = format!("default={peer}");
        let list = args(&[
            "--data-dir",
            &self.file("etcd"),
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &cluster,
            "--auto-compaction-retention=1",
            "--quota-backend-bytes=2147483648",
            "--logger=zap",
            "--log-level=warn",
        ]);
        self.launch("etcd", program, list)
    }

    pub(super) fn redis(&self, program: PathBuf) -> Launch {
        let list = args(&[
            "--bind",
            "127.0.0.1",
            "--port",
            &self.ports.redis.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
            "--requirepass",
            self.redis_password,
        ]);
        self.launch("redis", program, list)
    }

    pub(super) fn git(&self) -> Launch {
        let listen = format!("127.0.0.1:{}", self.ports.git);
        self.launch(
            "git",
            &self.xtask,
            args(&["rig", "serve-git", "--listen", &listen, "--root", &self.file("git")]),
        )
    }

    /// The identity provider of an imagined CI.
    pub(super) fn identity(&self) -> Launch {
        let listen = format!("127.0.0.1:{}", self.ports.identity);
        self.launch("identity", &self.xtask, args(&["rig", "identity", "--listen", &listen]))
    }

    pub(super) fn kube_apiserver(&self) -> anyhow::Result<Launch> {
        let list = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.ports.kubernetes),
            format!("--cert-dir={}", self.file("certs")),
            "--authorization-mode=AlwaysAllow".to_owned(),
            format!("--token-auth-file={}", self.file("tokens.csv")),
            "--anonymous-auth=false".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.file("service-account.pub")),
            format!("--service-account-signing-key-file={}", self.file("service-account.key")),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            // For logs. The name of the node is no name of this machine.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            // Debian's etcd 3.4 lacks RequestWatchProgress: clients that stream their lists would loop.
            "--feature-gates=WatchList=false".to_owned(),
            // There is no controller that makes service accounts, and none that takes the not-ready taint away.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
            "--enable-priority-and-fairness=false".to_owned(),
            "--max-requests-inflight=2000".to_owned(),
            "--max-mutating-requests-inflight=1000".to_owned(),
        ];
        Ok(self.launch("kube-apiserver", self.tools.path(Tool::KubeApiserver)?, list))
    }

    fn kubeconfig_flag(&self) -> String {
        format!("--kubeconfig={}", self.file("kubeconfig"))
    }

    pub(super) fn kube_controller_manager(&self) -> anyhow::Result<Launch> {
        // No endpointslice controller: it refuses pods on loopback addresses, and nothing here reads its slices.
        let controllers = [
            "deployment",
            "replicaset",
            "statefulset",
            "daemonset",
            "job",
            "cronjob",
            "garbage-collector",
            "namespace",
            "pod-garbage-collector",
            "ttl-after-finished",
        ];
        let list: Vec<String> =
            controllers.iter().map(|name| format!("{name}-controller")).collect();
        let list = vec![
            self.kubeconfig_flag(),
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            "--concurrent-deployment-syncs=10".to_owned(),
            format!("--controllers={}", list.join(",")),
        ];
        Ok(self.launch(
            "kube-controller-manager",
            self.tools.path(Tool::KubeControllerManager)?,
            list,
        ))
    }

    pub(super) fn kube_scheduler(&self) -> anyhow::Result<Launch> {
        let mut list = vec![self.kubeconfig_flag()];
        list.extend(args(&[
            "--secure-port=0",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]));
        Ok(self.launch("kube-scheduler", self.tools.path(Tool::KubeScheduler)?, list))
    }

    pub(super) fn kwok(&self) -> anyhow::Result<Launch> {
        let list = vec![
            self.kubeconfig_flag(),
            "--manage-all-nodes".to_owned(),
            format!("--config={}", self.file("kwok.yaml")),
            "--node-ip=127.0.0.1".to_owned(),
            "--node-lease-duration-seconds=0".to_owned(),
        ];
        Ok(self.launch("kwok", self.tools.path(Tool::Kwok)?, list))
    }

    pub(super) fn node_agent(&self, docker_host: &str, node: &str) -> Launch {
        let list = args(&[
            "rig",
            "node-agent",
            "--kubeconfig",
            &self.file("kubeconfig"),
            "--docker-host",
            docker_host,
            "--node",
            node,
            // A kubelet begins with ten seconds; tests of crashing images would mostly wait.
            "--back-off",
            "1s",
            "--back-off-max",
            "30s",
            "--endpoint-file",
            &self.file("node-agent.json"),
        ]);
        self.launch("node-agent", &self.xtask, list)
    }

    fn argocd(&self, name: &'static str, flags: Vec<String>) -> anyhow::Result<Launch> {
        let mut launch = self.launch(name, self.tools.path(Tool::Argocd)?, flags);
        let mut set = |key: &str, value: String| launch.env.insert(key.to_owned(), value);
        set("ARGOCD_BINARY_NAME", name.to_owned());
        set("KUBECONFIG", self.file("kubeconfig"));
        // `https://kubernetes.default.svc` then means the cluster of the kubeconfig.
        set("ARGOCD_FAKE_IN_CLUSTER", "true".to_owned());
        set("ARGOCD_TLS_DATA_PATH", self.file("empty"));
        set("ARGOCD_SSH_DATA_PATH", self.file("ssh"));
        set("ARGOCD_GPG_DATA_PATH", self.file("empty"));
        set("ARGOCD_PLUGINSOCKFILEPATH", self.file("plugins"));
        set("ARGOCD_APPLICATION_NAMESPACES", NAMESPACES.to_owned());
        set("ARGOCD_GPG_ENABLED", "false".to_owned());
        set("ARGOCD_ASK_PASS_SOCK", self.file("tmp/ask-pass.sock"));
        set("GIT_CONFIG_NOSYSTEM", "1".to_owned());
        set("REDIS_PASSWORD", self.redis_password.to_owned());
        set("HOSTNAME", "rig-0".to_owned());
        if !self.options.default_limits {
            // Argo CD allows itself 50 requests a second to Kubernetes, and tests wait on that more than on anything.
            set("ARGOCD_K8S_CLIENT_QPS", "2000".to_owned());
            set("ARGOCD_K8S_CLIENT_BURST", "4000".to_owned());
        }
        Ok(launch)
    }

    fn redis_and_repo_server(&self) -> Vec<String> {
        let mut list = vec![format!("--redis=127.0.0.1:{}", self.ports.redis)];
        list.push(format!("--repo-server=127.0.0.1:{}", self.ports.repo_server));
        list.push("--repo-server-plaintext".to_owned());
        list
    }

    pub(super) fn repo_server(&self) -> anyhow::Result<Launch> {
        let list = vec![
            "--address=127.0.0.1".to_owned(),
            format!("--port={}", self.ports.repo_server),
            "--metrics-address=127.0.0.1".to_owned(),
            format!("--metrics-port={}", self.ports.repo_metrics),
            format!("--redis=127.0.0.1:{}", self.ports.redis),
            "--disable-tls".to_owned(),
            // Its default does not go together with --disable-tls.
            "--client-ca-path=".to_owned(),
        ];
        self.argocd("argocd-repo-server", list)
    }

    /// A plugin, as a side container of the repo server would run it: it listens on a socket in the folder of plugins.
    pub(super) fn plugin(&self) -> anyhow::Result<Launch> {
        let list = vec![format!("--config-dir-path={}", self.file("plugin"))];
        self.argocd("argocd-cmp-server", list)
    }

    pub(super) fn application_controller(&self) -> anyhow::Result<Launch> {
        let mut list = self.redis_and_repo_server();
        list.push(format!("--metrics-port={}", self.ports.controller_metrics));
        self.argocd("argocd-application-controller", list)
    }

    pub(super) fn server(&self) -> anyhow::Result<Launch> {
        let mut list = self.redis_and_repo_server();
        list.extend([
            "--insecure".to_owned(),
            "--address=127.0.0.1".to_owned(),
            format!("--port={}", self.ports.argocd),
            "--metrics-address=127.0.0.1".to_owned(),
            format!("--metrics-port={}", self.ports.argocd_metrics),
            format!("--dex-server=http://127.0.0.1:{}", self.ports.dex[0]),
            "--dex-server-plaintext".to_owned(),
            format!("--staticassets={}", self.file("empty")),
        ]);
        self.argocd("argocd-server", list)
    }

    /// Argo CD's program that writes Dex's configuration from its own, and ends. The other one that it has for Dex starts it,
    /// too, but with fixed ports on all addresses, and a file that all rigs of a machine would share.
    pub(super) fn dex_configuration(&self) -> anyhow::Result<Launch> {
        let out = self.file(DEX_CONFIGURATION);
        self.argocd("argocd-dex", args(&["gendexcfg", "--disable-tls", "--out", &out]))
    }

    pub(super) fn dex(&self) -> anyhow::Result<Launch> {
        let [web, metrics, administration] = self.ports.dex;
        let list = vec![
            "serve".to_owned(),
            self.file(DEX_CONFIGURATION),
            format!("--web-http-addr=127.0.0.1:{web}"),
            format!("--telemetry-addr=127.0.0.1:{metrics}"),
            format!("--grpc-addr=127.0.0.1:{administration}"),
        ];
        Ok(self.launch("dex", self.tools.path(Tool::Dex)?, list))
    }

    pub(super) fn applicationset_controller(&self) -> anyhow::Result<Launch> {
        let [metrics, probe, webhook] = self.ports.applicationset;
        let list = vec![
            format!("--metrics-addr=127.0.0.1:{metrics}"),
            format!("--probe-addr=127.0.0.1:{probe}"),
            format!("--webhook-addr=127.0.0.1:{webhook}"),
            format!("--argocd-repo-server=127.0.0.1:{}", self.ports.repo_server),
            "--repo-server-plaintext".to_owned(),
        ];
        self.argocd("argocd-applicationset-controller", list)
    }
}
