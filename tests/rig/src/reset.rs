//! `rig reset`: takes away everything that was made since `up`, while the processes keep running.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::spawn_blocking,
};

use super::{
    git,
    kube::Kube,
    objects,
    sso::SingleSignOn,
    state::{Home, KNOWN_HOSTS},
    tools, wait,
};

/// Namespaces that belong to the cluster itself.
const KEPT: [&str; 5] =
    ["default", "kube-system", "kube-public", "kube-node-lease", objects::NAMESPACE];

/// What tests leave in a kept namespace: collections that can be deleted whole.
const WORKLOADS: [&str; 8] = [
    "apis/apps/v1/{}/deployments",
    "apis/apps/v1/{}/statefulsets",
    "apis/apps/v1/{}/daemonsets",
    "apis/apps/v1/{}/replicasets",
    "apis/batch/v1/{}/jobs",
    "apis/batch/v1/{}/cronjobs",
    "api/v1/{}/pods",
    "api/v1/{}/configmaps",
];

pub(super) async fn reset(home: &Home) -> anyhow::Result<()> {
    let rig = super::running(&home.name)?;
    let _lock = home.lock()?;
    let began = Instant::now();
    let kube = Kube::new(&rig.kubernetes.url, &rig.kubernetes.token)?;
    remove_applications(&kube).await?;
    remove_workloads(&kube).await?;
    // Argo CD's configuration as its release ships it, plus the rig's own.
    let source =
        spawn_blocking(|| tools::module_source("github.com/argoproj/argo-cd/v3")).await??;
    let sso = SingleSignOn { argocd: rig.argocd.url, identity: rig.identity.url };
    let text = |name: &str| objects::config_map(name);
    objects::forget_settings(&kube, &sso).await?;
    for name in [
        "argocd-rbac-cm",
        "argocd-cmd-params-cm",
        "argocd-tls-certs-cm",
        "argocd-ssh-known-hosts-cm",
    ] {
        // Not deleted: Argo CD's parts would see a moment without configuration.
        kube.merge(&text(name), &json!({ "data": null })).await?;
    }
    objects::configure(&kube, &source, &sso).await?;
    home.write(KNOWN_HOSTS, objects::known_hosts(&kube).await?.as_bytes())?;
    let (root, scratch) = (home.path("git"), home.path("tmp"));
    spawn_blocking(move || git::fill(&root, &scratch)).await??;
    flush_redis(home).await?;
    eprintln!("reset took {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Applications and what makes them, projects, repositories and clusters.
async fn remove_applications(kube: &Kube) -> anyhow::Result<()> {
    // Sets first: they would make their applications anew.
    for kind in ["applicationsets", "applications", "appprojects"] {
        let list = format!("/apis/argoproj.io/v1alpha1/{kind}");
        for (namespace, name) in kube.list(&list).await? {
            let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/{kind}/{name}");
            if kind == "appprojects" && name == "default" {
                let spec = json!({ "spec": {
                    "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
                    "destinations": [{ "namespace": "*", "server": "*" }],
                    "sourceRepos": ["*"],
                }});
                // `null` first takes away fields that a test added.
                kube.merge(&path, &json!({ "spec": null })).await.ok();
                kube.merge(&path, &spec).await?;
                continue;
            }
            // Without its finalizer Argo CD does not wait for the resources; they go with their namespaces.
            kube.merge(&path, &json!({ "metadata": { "finalizers": null } })).await?;
            kube.delete(&path).await?;
        }
        wait::until(kind, || async {
            let left = kube.list(&list).await?;
            Ok(left.iter().all(|(_, name)| kind == "appprojects" && name == "default"))
        })
        .await?;
    }
    let secrets = format!("/api/v1/namespaces/{}/secrets", objects::NAMESPACE);
    // Repositories, their credentials and clusters are secrets with this label.
    kube.delete(&format!("{secrets}?labelSelector=argocd.argoproj.io%2Fsecret-type")).await
}

/// Namespaces with all they hold, and workloads in those that stay.
async fn remove_workloads(kube: &Kube) -> anyhow::Result<()> {
    for (_, name) in kube.list("/api/v1/namespaces").await? {
        if !KEPT.contains(&name.as_str()) {
            kube.delete(&format!("/api/v1/namespaces/{name}")).await?;
        }
    }
    let kept = "namespaces/default";
    for collection in WORKLOADS {
        let path = collection.replace("{}", kept);
        kube.delete(&format!("/{path}?propagationPolicy=Background")).await?;
    }
    for (_, name) in kube.list("/api/v1/namespaces/default/services").await? {
        if name != "kubernetes" {
            kube.delete(&format!("/api/v1/namespaces/default/services/{name}")).await?;
        }
    }
    wait::until("an empty cluster", || async {
        let namespaces = kube.list("/api/v1/namespaces").await?;
        let pods = kube.list("/api/v1/pods").await?;
        Ok(pods.is_empty() && namespaces.iter().all(|(_, name)| KEPT.contains(&name.as_str())))
    })
    .await
    .context(
        "something keeps a namespace or pod from going away; `rig down` and `rig up` always work",
    )
}

/// Argo CD's caches know the git history that was just replaced.
async fn flush_redis(home: &Home) -> anyhow::Result<()> {
    let (port, password) =
        home.state()?.and_then(|state| state.redis).context("this rig has no redis")?;
    let flush = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(format!("AUTH {password}\r\nFLUSHALL\r\nQUIT\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::ensure!(answer.matches("+OK").count() == 3, "redis answered {answer:?}");
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(5), flush)
        .await
        .context("redis does not answer")??;
    Ok(())
}
