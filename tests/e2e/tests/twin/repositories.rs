//! Repositories of every kind, on real servers: added by both programs, compared as secrets, and used by an application.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use e2e::{Charts, Sshd, charts};
use test_registry::{Config, Registry};

use super::objects;
use super::stage::Stage;

/// How a repository is added by each, but for its URL.
struct Add {
    theirs: String,
    ours: String,
    /// With this, neither can add it.
    wrong: [String; 2],
    /// What makes an application of it, if one of the fixtures can be.
    application: Option<&'static str>,
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_over_ssh_are_added_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "ssh").await?;
    let Some(server) = Sshd::start(&stage.tool.folder).await? else { return Ok(()) };
    let mut urls = Vec::new();
    for name in ["theirs", "ours"] {
        stage.repository(name).await?;
        urls.push(server.url(&stage.bare(name)));
    }
    let outcome = over_ssh(&stage, &server, [&urls[0], &urls[1]]).await;
    stage.clean().await?;
    stage.argocd_does(&format!("cert rm {} --cert-type ssh", server.host()), "").await?;
    mount_known_hosts(&stage).await?;
    outcome
}

/// A host that Argo CD does not know is not reached, nor one that has another key than it should; only then the key of the
/// user matters.
async fn over_ssh(stage: &Stage, server: &Sshd, [theirs, ours]: [&str; 2]) -> Result<()> {
    let with = |key: &Path| format!("--ssh-private-key-path {}", key.display());
    let (right, wrong) = (with(&server.key), with(&server.other_key));
    let unchecked = "--insecure-skip-server-verification";
    refused(stage, [theirs, ours], [&right, &right], "unknown").await?;
    know(stage, server, &server.other_key).await?;
    refused(stage, [theirs, ours], [&right, &right], "mismatch").await?;
    let add = Add {
        theirs: format!("{right} {unchecked}"),
        ours: format!("{right} {unchecked}"),
        wrong: [format!("{wrong} {unchecked}"), format!("{wrong} {unchecked}")],
        application: None,
    };
    added(stage, [theirs, ours], &add).await?;
    know(stage, server, &server.host_key).await?;
    let application = Some("--path chart --revision main");
    let add =
        Add { theirs: right.clone(), ours: right, wrong: [wrong.clone(), wrong], application };
    added(stage, [theirs, ours], &add).await
}

/// Neither adds it, and both say this.
async fn refused(
    stage: &Stage,
    [theirs, ours]: [&str; 2],
    [by_them, by_us]: [&str; 2],
    why: &str,
) -> Result<()> {
    let runs = (
        stage.argocd(&format!("repo add {theirs} {by_them}"), "").await?,
        stage.verbatim(&format!("repo add {ours} {by_us}"), "").await?,
    );
    ensure!(runs.0.code == 20 && runs.0.stderr.contains(why), "argocd adds {theirs}: {}", runs.0);
    ensure!(runs.1.code == 7 && runs.1.stderr.contains(why), "verbatim adds {ours}: {}", runs.1);
    Ok(())
}

/// Tells Argo CD that the server has this key.
async fn know(stage: &Stage, server: &Sshd, key: &Path) -> Result<()> {
    let line = stage.file("known", &server.known_by(key)?)?;
    stage.argocd_does(&format!("cert add-ssh --batch --upsert --from {line}"), "").await?;
    mount_known_hosts(stage).await
}

/// Does what a kubelet does with the ConfigMap that the repository server has mounted.
async fn mount_known_hosts(stage: &Stage) -> Result<()> {
    let path = "/api/v1/namespaces/argocd/configmaps/argocd-ssh-known-hosts-cm";
    let map = stage.kube(http::Method::GET, path).await?.unwrap_or_default();
    let text = map["data"]["ssh_known_hosts"].as_str().context("it knows no hosts")?;
    let file = &stage.rig.argocd.known_hosts;
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, file).context("the known hosts cannot be replaced")
}

/// The account of the servers with charts.
const NAME: &str = "charts";
const PASSWORD: &str = "pass-word";

#[tokio::test(flavor = "multi_thread")]
async fn helm_repositories_are_added_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "helm").await?;
    let mut served = Vec::new();
    for name in ["theirs", "ours"] {
        let folder = stage.tool.folder.join(format!("{name}-charts"));
        std::fs::create_dir_all(&folder)?;
        served.push(Charts::serve(&stage.rig, &folder, Some((NAME, PASSWORD))).await?);
    }
    let password = stage.file("password", &format!("{PASSWORD}\n"))?;
    let wrong = stage.file("wrong", "x")?;
    let common = format!("--type helm --name twin-charts --username {NAME}");
    let add = Add {
        theirs: format!("{common} --password {PASSWORD}"),
        ours: format!("{common} --password-file {password}"),
        wrong: [format!("{common} --password x"), format!("{common} --password-file {wrong}")],
        application: Some("--helm-chart web --revision 0.1.0"),
    };
    let outcome = added(&stage, [&served[0].url, &served[1].url], &add).await;
    stage.clean().await?;
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn oci_registries_are_added_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "oci").await?;
    let mut registries = Vec::new();
    for _ in ["theirs", "ours"] {
        let registry = Registry::start(Config::default()).await?;
        charts::push(&stage.rig, &stage.tool.folder, &registry.host()).await?;
        registries.push(registry);
    }
    let common = "--type helm --name twin-oci --enable-oci --insecure-oci-force-http";
    let charts = Add {
        theirs: common.into(),
        ours: common.into(),
        wrong: [format!("{common} --type git"), format!("{common} --type git")],
        application: Some("--helm-chart web --revision 0.1.0"),
    };
    // Of manifests; a chart is none, so nothing is made of it here.
    let common = "--type oci --insecure-oci-force-http";
    let manifests = Add {
        theirs: common.into(),
        ours: common.into(),
        wrong: ["--type oci".into(), "--type oci".into()],
        application: None,
    };
    let mut outcome = Ok(());
    for (before, folder, add) in [("", "charts", charts), ("oci://", "charts/web", manifests)] {
        let urls: Vec<_> =
            registries.iter().map(|one| format!("{before}{}/{folder}", one.host())).collect();
        outcome = outcome.and(added(&stage, [&urls[0], &urls[1]], &add).await);
    }
    stage.clean().await?;
    outcome
}

async fn added(stage: &Stage, [theirs, ours]: [&str; 2], add: &Add) -> Result<()> {
    let refused = (
        stage.argocd(&format!("repo add {theirs} {}", add.wrong[0]), "").await?,
        stage.verbatim(&format!("repo add {ours} {}", add.wrong[1]), "").await?,
    );
    ensure!(refused.0.code == 20, "argocd adds {theirs}: {}", refused.0);
    ensure!(refused.1.code != 0, "verbatim adds {ours}: {}", refused.1);
    stage.argocd_does(&format!("repo add {theirs} {}", add.theirs), "").await?;
    stage.verbatim_does(&format!("repo add {ours} {}", add.ours), "").await?;
    let secrets = (stage.secret_of(theirs).await?, stage.secret_of(ours).await?);
    objects::same(&secrets.0, &secrets.1)?;
    // Adding it again is fine, and what each has added serves an application.
    stage.verbatim_does(&format!("repo add {ours} {}", add.ours), "").await?;
    for (url, program) in [(theirs, "argocd"), (ours, "verbatim")] {
        let Some(application) = add.application else { continue };
        let app = stage.name(program);
        let line = format!(
            "create APP --repo {url} {application} --dest-namespace default --dest-name in-cluster"
        );
        stage.verbatim_does(&line, &app).await?;
        stage.verbatim_does("sync APP", &app).await?;
        let deployment = stage.deployment(&app).await?;
        deployment.with_context(|| format!("{app} has no deployment"))?;
    }
    let listed = stage.verbatim_does("repo list", "").await?;
    for url in [theirs, ours] {
        let row = listed.lines().find(|line| line.contains(url)).unwrap_or_default();
        ensure!(row.contains("Successful"), "{url}: {listed}");
    }
    // Each removes what the other has added.
    stage.verbatim_does(&format!("repo rm {theirs}"), "").await?;
    stage.argocd_does(&format!("repo rm {ours}"), "").await?;
    for url in [theirs, ours] {
        ensure!(stage.secret_of(url).await?.is_null(), "{url} is still there");
    }
    Ok(())
}
