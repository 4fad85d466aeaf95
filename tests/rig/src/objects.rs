//! The Kubernetes objects of a rig: Argo CD's definitions and configuration, accounts, and (with kwok) Nodes.

use std::{fs, path::Path};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};

use super::{
    kube::Kube,
    sso::{self, SingleSignOn},
};

pub(super) const NAMESPACE: &str = "argocd";

/// Applies everything that Argo CD needs before it starts. `argocd` is the folder of its Go module.
pub(super) async fn apply(
    kube: &Kube,
    argocd: &Path,
    sso: &SingleSignOn,
    password_hash: &str,
    now: &str,
) -> anyhow::Result<()> {
    let definitions = ["application-crd.yaml", "appproject-crd.yaml", "applicationset-crd.yaml"]
        .map(|file| async move {
            let text = read(&argocd.join("manifests/crds").join(file))?;
            let name = name_in(&text).with_context(|| format!("{file} has no name"))?;
            let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
            kube.apply(&path, text).await?;
            established(kube, &path).await
        });
    let configuration = async {
        kube.apply(
            &format!("/api/v1/namespaces/{NAMESPACE}"),
            object("v1", "Namespace", NAMESPACE, json!({})).to_string(),
        )
        .await?;
        configure(kube, argocd, sso).await?;
        secret(kube, password_hash, now).await
    };
    tokio::try_join!(try_join_all(definitions), configuration)?;
    Ok(())
}

/// Applies Argo CD's configuration: the files it ships, and on top of them the accounts of the rig, and who is let
/// in without one.
pub(super) async fn configure(
    kube: &Kube,
    argocd: &Path,
    sso: &SingleSignOn,
) -> anyhow::Result<()> {
    let files = [
        "argocd-cm.yaml",
        "argocd-cmd-params-cm.yaml",
        "argocd-gpg-keys-cm.yaml",
        "argocd-rbac-cm.yaml",
        "argocd-ssh-known-hosts-cm.yaml",
        "argocd-tls-certs-cm.yaml",
    ];
    try_join_all(files.map(|file| async move {
        let text = read(&argocd.join("manifests/base/config").join(file))?;
        kube.apply(&config_map(file.trim_end_matches(".yaml")), text).await
    }))
    .await?;
    // As merge patches, so that they add to what was applied.
    kube.merge(&config_map("argocd-cm"), &json!({ "data": settings(sso) })).await?;
    let rights = json!({ "data": { "policy.csv": format!("{POLICY}{}", sso::POLICY) } });
    kube.merge(&config_map("argocd-rbac-cm"), &rights).await
}

/// What the rig sets in `argocd-cm`.
fn settings(sso: &SingleSignOn) -> Map<String, Value> {
    let mut settings = sso.settings();
    for account in ["admin", "bot", "reader"] {
        settings.insert(format!("accounts.{account}"), "apiKey".into());
    }
    settings
}

/// Takes away what was set besides in `argocd-cm`. What the rig sets stays there all the time: Argo CD's server starts anew
/// when its single sign-on changes.
pub(super) async fn forget_settings(kube: &Kube, sso: &SingleSignOn) -> anyhow::Result<()> {
    let path = config_map("argocd-cm");
    let (own, map) = (settings(sso), kube.get(&path).await?.unwrap_or_default());
    let names = map["data"].as_object().into_iter().flat_map(Map::keys);
    let foreign = names.filter(|name| !own.contains_key(*name));
    let nothing: Map<_, _> = foreign.map(|name| (name.clone(), Value::Null)).collect();
    kube.merge(&path, &json!({ "data": nothing })).await
}

/// The host keys that Argo CD knows, as its repository server finds them in a file.
pub(super) async fn known_hosts(kube: &Kube) -> anyhow::Result<String> {
    let map = kube.get(&config_map("argocd-ssh-known-hosts-cm")).await?.unwrap_or_default();
    let text = map["data"]["ssh_known_hosts"].as_str();
    text.map(str::to_owned).context("Argo CD ships no known hosts")
}

/// What a pipeline's account needs, and one that can only look.
const POLICY: &str = "\
p, role:pipeline, applications, get, */*, allow
p, role:pipeline, applications, update, */*, allow
p, role:pipeline, applications, sync, */*, allow
p, role:pipeline, repositories, get, *, allow
p, role:reader, applications, get, */*, allow
g, bot, role:pipeline
g, reader, role:reader
";

async fn secret(kube: &Kube, password_hash: &str, now: &str) -> anyhow::Result<()> {
    let data =
        json!({ "stringData": { "admin.password": password_hash, "admin.passwordMtime": now } });
    let mut secret = object("v1", "Secret", "argocd-secret", data);
    // Argo CD watches only what carries this label.
    secret["metadata"]["labels"] =
        json!({ "app.kubernetes.io/part-of": "argocd", "app.kubernetes.io/name": "argocd-secret" });
    kube.apply(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/argocd-secret"), secret.to_string())
        .await
}

/// Makes the Nodes that kwok then calls ready. They are roomy: kwok is for many pods.
pub(super) async fn kwok_nodes(kube: &Kube, count: u32) -> anyhow::Result<()> {
    try_join_all((0..count).map(|number| async move {
        let name = format!("kwok-{number}");
        let path = format!("/api/v1/nodes/{name}");
        kube.apply(&path, object("v1", "Node", &name, json!({})).to_string()).await
    }))
    .await?;
    Ok(())
}

async fn established(kube: &Kube, path: &str) -> anyhow::Result<()> {
    let look = || async {
        let definition = kube.get(path).await?.unwrap_or_default();
        let conditions = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True"))
    };
    super::wait::until("its custom resources", look).await
}

pub(super) fn config_map(name: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}")
}

fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object =
        json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}

/// The name of the object in a manifest whose `metadata` is plainly laid out, as Argo CD's are.
fn name_in(manifest: &str) -> Option<&str> {
    manifest.lines().find_map(|line| line.strip_prefix("  name: ")).map(str::trim)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_of_a_definition() {
        let manifest = "apiVersion: a/v1\nkind: K\nmetadata:\n  labels:\n    name: wrong\n  name: right.example.com\nspec:\n";
        assert_eq!(name_in(manifest), Some("right.example.com"));
        assert_eq!(name_in("kind: K\n"), None);
    }
}
