//! Every command of `verbatim argocd` beside the one of the real argocd command line that does the same, each on an
//! application of its own: afterwards the objects on the Kubernetes API are compared, or what both print.
//!
//! Needs the rig, of either kind of node. One test a table, so that a table can be run alone:
//! `cargo test --workspace --test twin -- changes`.

mod at_once;
mod door;
mod flags;
mod identities;
mod objects;
mod readings;
mod repositories;
mod sessions;
mod stage;
mod tables;

use anyhow::{Result, ensure};

use readings::Reading;
use stage::Stage;
use tables::Change;

#[tokio::test(flavor = "multi_thread")]
async fn changes_leave_the_same_objects() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "change").await?;
    changed(&stage, tables::CHANGES).await
}

/// Applications in a namespace that is not Argo CD's own, named as `NAMESPACE/NAME` or with `--app-namespace`.
#[tokio::test(flavor = "multi_thread")]
async fn applications_elsewhere_are_treated_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::elsewhere(rig.clone(), "place").await?;
    changed(&stage, tables::ELSEWHERE).await?;
    let stage = Stage::elsewhere(rig, "look").await?;
    gone_again(&stage).await?;
    read(&stage, "chart", "WHERE/APP", readings::READINGS_ELSEWHERE).await
}

/// Made and deleted. With `--wait` the argocd command line does not come back if the application is gone before its watch
/// is there, so what it deletes is waited for here.
async fn gone_again(stage: &Stage) -> Result<()> {
    let [theirs, ours] = created(stage, &tables::CREATES_ELSEWHERE[0]).await?;
    stage.argocd_does("app delete WHERE/APP --yes", &theirs).await?;
    stage.verbatim_does("delete APP -N WHERE --wait", &ours).await?;
    stage.gone(&theirs).await?;
    stage.gone(&ours).await
}

/// Makes an application with each, and compares them.
async fn created(stage: &Stage, create: &tables::Create) -> Result<[String; 2]> {
    let (theirs, ours) = (stage.name("theirs"), stage.name("ours"));
    stage.argocd_does(create.theirs, &theirs).await?;
    stage.verbatim_does(create.ours, &ours).await?;
    let pictures =
        (stage.picture(&theirs, create.sees).await?, stage.picture(&ours, create.sees).await?);
    objects::same(&pictures.0, &pictures.1)?;
    Ok([theirs, ours])
}

/// Several sources, each at a revision of its own.
#[tokio::test(flavor = "multi_thread")]
async fn several_sources_tell_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "several").await?;
    read(&stage, "several", "APP", readings::READINGS_OF_SEVERAL).await
}

/// Runs a table, and says everything that differs.
async fn changed(stage: &Stage, changes: &[Change]) -> Result<()> {
    let mut failed = Vec::new();
    for change in changes {
        if let Err(error) = one_change(stage, change).await {
            failed.push(format!("{}: {error:#}", change.what));
        }
    }
    stage.clean().await?;
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

async fn one_change(stage: &Stage, change: &Change) -> Result<()> {
    let (theirs, ours) = (stage.name("theirs"), stage.name("ours"));
    for app in [&theirs, &ours] {
        stage.make(app, change.folder).await?;
        for step in change.before {
            stage.argocd_does(step, app).await?;
        }
    }
    stage.argocd_does(change.theirs, &theirs).await?;
    stage.verbatim_does(change.ours, &ours).await?;
    let theirs = stage.picture(&theirs, change.sees).await?;
    let ours = stage.picture(&ours, change.sees).await?;
    objects::same(&theirs, &ours)
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_tell_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "read").await?;
    read(&stage, "chart", "APP", readings::READINGS).await
}

/// Runs a table on one application, which is synced and healthy.
async fn read(stage: &Stage, folder: &str, name: &str, readings: &[Reading]) -> Result<()> {
    let app = stage.name("app");
    stage.make(&app, folder).await?;
    stage.argocd_does(&format!("app sync {name}"), &app).await?;
    stage.argocd_does(&format!("app wait {name} --sync --health"), &app).await?;
    let mut failed = Vec::new();
    for reading in readings {
        if let Err(error) = one_reading(stage, &app, reading).await {
            failed.push(format!("{}: {error:#}", reading.ours));
        }
    }
    stage.clean().await?;
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

/// How often two readings are made that do not agree.
const READINGS_AT_MOST: usize = 20;

/// The controller changes an application whenever it likes, between their reading and ours, too, and the server's cache
/// comes after it. So they are read until both say the same; what is a difference stays one.
async fn one_reading(stage: &Stage, app: &str, reading: &Reading) -> Result<()> {
    let mut compared = read_by_both(stage, app, reading).await;
    for _ in 1..READINGS_AT_MOST {
        if compared.is_ok() {
            break;
        }
        // A real server: its states have no event that could be awaited here.
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        compared = read_by_both(stage, app, reading).await;
    }
    compared
}

async fn read_by_both(stage: &Stage, app: &str, reading: &Reading) -> Result<()> {
    let theirs = stage.argocd(reading.theirs, app).await?;
    let ours = stage.verbatim(reading.ours, app).await?;
    let codes = (theirs.code, ours.code);
    ensure!(codes == (reading.codes.0, reading.codes.1), "argocd: {theirs}\nverbatim: {ours}");
    (reading.compare)(&theirs.stdout, &ours.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_and_repositories_come_and_go_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "setup").await?;
    let outcome = setups(&stage).await;
    stage.clean().await?;
    outcome
}

async fn setups(stage: &Stage) -> Result<()> {
    for create in tables::CREATES {
        created(stage, create).await?;
    }
    from_files(stage).await?;
    deleting(stage).await?;
    repositories(stage).await
}

/// From a document, and with values from a file; a document that says something else replaces only when it may.
async fn from_files(stage: &Stage) -> Result<()> {
    let (theirs, ours) = (stage.name("theirs"), stage.name("ours"));
    for (app, program) in [(&theirs, "argocd"), (&ours, "verbatim")] {
        let file = |revision: &str| stage.document(app, revision);
        let create = |path: &str, more: &str| match program {
            "argocd" => format!("app create -f {path}{more}"),
            _ => format!("create -f {path}{more}"),
        };
        let run = async |line: String| match program {
            "argocd" => stage.argocd(&line, app).await,
            _ => stage.verbatim(&line, app).await,
        };
        ensure!(run(create(&file("main")?, "")).await?.code == 0, "{program} makes none");
        let refused = run(create(&file("less")?, "")).await?;
        ensure!(refused.code != 0, "{program} replaces what it may not: {refused}");
        let replaced = run(create(&file("less")?, " --upsert")).await?;
        ensure!(replaced.code == 0, "{replaced}");
    }
    let sees = tables::WHOLE;
    objects::same(&stage.picture(&theirs, sees).await?, &stage.picture(&ours, sees).await?)?;
    // What is stored differs, as the help says; what is made of it does not.
    let values = stage.file("values.yaml", "replicas: 2\nenvironment: twin\n")?;
    stage.argocd_does(&format!("app set APP --values-literal-file {values}"), &theirs).await?;
    stage.verbatim_does(&format!("override APP --values-literal-file {values}"), &ours).await?;
    for app in [&theirs, &ours] {
        stage.argocd_does("app sync APP", app).await?;
        // A sync of argocd ends with the operation; the comparison that follows it is waited for here.
        stage.argocd_does("app wait APP --sync --timeout 60", app).await?;
    }
    let sees = ["/status/sync/status"];
    let theirs = stage.picture(&theirs, &sees).await?;
    ensure!(theirs["deployment"]["/spec"]["replicas"] == 2, "{theirs}");
    objects::same(&theirs, &stage.picture(&ours, &sees).await?)
}

/// With cascade the objects go, too; without it they stay.
async fn deleting(stage: &Stage) -> Result<()> {
    for (theirs, ours, stays) in [
        ("app delete APP --yes", "delete APP --wait", false),
        ("app delete APP --yes --cascade=false", "delete APP --wait --cascade=false", true),
    ] {
        let (their_app, our_app) = (stage.name("theirs"), stage.name("ours"));
        for app in [&their_app, &our_app] {
            stage.make(app, "chart").await?;
            stage.argocd_does("app sync APP", app).await?;
        }
        stage.argocd_does(theirs, &their_app).await?;
        stage.verbatim_does(ours, &our_app).await?;
        for app in [&their_app, &our_app] {
            stage.gone(app).await?;
            let left = stage.deployment(app).await?.is_some();
            ensure!(left == stays, "the deployment of {app}: {left}, after {ours}");
            stage.remove_deployment(app).await?;
        }
    }
    Ok(())
}

/// A repository that is added is the same secret, but for its URL; a removed one is gone.
async fn repositories(stage: &Stage) -> Result<()> {
    let (theirs, ours) = (stage.repository("theirs").await?, stage.repository("ours").await?);
    stage.argocd_does(&format!("repo add {theirs} --name twin-repository"), "").await?;
    stage.verbatim_does(&format!("repo add {ours} --name twin-repository"), "").await?;
    let listed = (
        stage.argocd_does("repo list -o url", "").await?,
        stage.verbatim_does("repo list -o url", "").await?,
    );
    for url in [&theirs, &ours] {
        ensure!(listed.0.contains(url.as_str()) && listed.1.contains(url.as_str()), "{listed:?}");
    }
    let secrets = (stage.secret_of(&theirs).await?, stage.secret_of(&ours).await?);
    objects::same(&secrets.0, &secrets.1)?;
    // Each removes what the other has added.
    stage.verbatim_does(&format!("repo rm {theirs}"), "").await?;
    stage.argocd_does(&format!("repo rm {ours}"), "").await?;
    for url in [&theirs, &ours] {
        ensure!(stage.secret_of(url).await?.is_null(), "{url} is still there");
    }
    Ok(())
}

/// An operation that would never end is stopped by both in the same way.
#[tokio::test(flavor = "multi_thread")]
async fn operations_are_stopped_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "stop").await?;
    let outcome = stopping(&stage).await;
    stage.clean().await?;
    outcome
}

async fn stopping(stage: &Stage) -> Result<()> {
    let (theirs, ours) = (stage.name("theirs"), stage.name("ours"));
    for app in [&theirs, &ours] {
        stage.make(app, "stuck").await?;
        stage.argocd_does("app sync APP --async", app).await?;
        stage.running(app).await?;
    }
    stage.argocd_does("app terminate-op APP", &theirs).await?;
    stage.verbatim_does("terminate APP", &ours).await?;
    for app in [&theirs, &ours] {
        stage.argocd_does("app wait APP --operation --timeout 60", app).await?;
    }
    let sees = ["/status/operationState/phase", "/status/operationState/message"];
    let theirs = stage.picture(&theirs, &sees).await?;
    objects::same(&theirs, &stage.picture(&ours, &sees).await?)?;
    ensure!(theirs["/status/operationState/message"] == "Operation terminated", "{theirs}");
    Ok(())
}
