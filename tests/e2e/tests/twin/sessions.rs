//! How both programs get in: with a client certificate, with the token of a project's role, and with a session that ends
//! while they wait.

use anyhow::{Result, ensure};
use serde_json::json;

use super::door::Door;
use super::objects;
use super::stage::{Env, Stage, done};

/// Where a server that asks for a client certificate stands before Argo CD, both need the same three files.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_lets_both_in() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "door").await?;
    let outcome = behind_the_door(&stage).await;
    stage.clean().await?;
    outcome
}

async fn behind_the_door(stage: &Stage) -> Result<()> {
    let folder = &stage.tool.folder;
    let door = Door::open(stage.rig.argocd.server.parse()?, folder).await?;
    let at = |name: &str| folder.join(name).display().to_string();
    let known = format!("--server-crt {}", at("ca.pem"));
    let shown =
        format!("{known} --client-crt {} --client-crt-key {}", at("client.pem"), at("client.key"));
    let (theirs, ours) = (stage.name("theirs"), stage.name("ours"));
    for app in [&theirs, &ours] {
        stage.make(app, "chart").await?;
    }
    // Without a certificate of its own, argocd tries again without end: there is nothing to compare.
    for (options, codes) in [("", (Some(1), 7)), (&known, (None, 7)), (&shown, (Some(0), 0))] {
        let env: &Env<'_> =
            &[("ARGOCD_SERVER", Some(door.address.as_str())), ("ARGOCD_OPTS", Some(options))];
        if let Some(code) = codes.0 {
            let line = "app set APP --helm-set-string image.tag=2";
            let run = stage.argocd_with(env, line, &theirs).await?;
            ensure!(run.code == code, "{options}\nargocd: {run}");
        }
        let run = stage.verbatim_with(env, "override APP --helm-set image.tag=2", &ours).await?;
        ensure!(run.code == codes.1, "{options}\nverbatim: {run}");
        let hinted = run.stderr.contains("with --client-crt FILE");
        ensure!(hinted == (options == known), "{options}\nverbatim: {run}");
    }
    // The watch of a sync comes through the door, too.
    let env: &Env<'_> =
        &[("ARGOCD_SERVER", Some(door.address.as_str())), ("ARGOCD_OPTS", Some(&shown))];
    done("argocd", "app sync", stage.argocd_with(env, "app sync APP", &theirs).await?)?;
    done("verbatim", "sync", stage.verbatim_with(env, "sync APP", &ours).await?)?;
    let sees = ["/spec", "/status/operationState/phase", "/status/history"];
    objects::same(&stage.picture(&theirs, &sees).await?, &stage.picture(&ours, &sees).await?)
}

/// A token of a project's role, made by the real argocd: what it may and what it may not.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_role_lets_both_do_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "role").await?;
    let project = format!("role-{}", std::process::id());
    let outcome = as_role(&stage, &project).await;
    stage.clean().await?;
    stage.argocd_does(&format!("proj delete {project}"), "").await?;
    outcome
}

async fn as_role(stage: &Stage, project: &str) -> Result<()> {
    for line in [
        format!("proj create {project} -d *,* -s *"),
        format!("proj role create {project} deployer"),
        format!("proj role add-policy {project} deployer -a get -o *"),
        format!("proj role add-policy {project} deployer -a update -o *"),
        format!("proj role add-policy {project} deployer -a sync -o *"),
    ] {
        stage.argocd_does(&line, "").await?;
    }
    let token =
        stage.argocd_does(&format!("proj role create-token {project} deployer -t"), "").await?;
    let token = token.trim();
    let env: &Env<'_> = &[("ARGOCD_AUTH_TOKEN", Some(token))];
    let (theirs, ours) = (stage.name("theirs"), stage.name("ours"));
    for app in [&theirs, &ours] {
        stage.make(app, "chart").await?;
        stage.argocd_does(&format!("app set APP --project {project}"), app).await?;
    }
    let who = stage.verbatim_with(env, "whoami", "").await?;
    ensure!(who.code == 0 && who.stdout.contains(&format!("proj:{project}:deployer")), "{who}");
    for (by_them, by_us) in [
        ("app set APP --helm-set-string image.tag=2", "override APP --helm-set image.tag=2"),
        ("app sync APP", "sync APP"),
        ("app wait APP --sync --health", "wait APP"),
    ] {
        done("argocd", by_them, stage.argocd_with(env, by_them, &theirs).await?)?;
        done("verbatim", by_us, stage.verbatim_with(env, by_us, &ours).await?)?;
    }
    let sees = ["/spec", "/status/operationState/operation", "/status/history"];
    let picture = stage.picture(&theirs, &sees).await?;
    objects::same(&picture, &stage.picture(&ours, &sees).await?)?;
    let by = &picture["/status/operationState/operation"]["initiatedBy"]["username"];
    ensure!(*by == format!("proj:{project}:deployer"), "{picture}");
    // Outside of its project, and what its role does not have.
    let other = stage.name("other");
    stage.make(&other, "chart").await?;
    for (by_them, by_us, app) in [
        ("app get APP", "get APP", &other),
        ("app sync APP", "sync APP", &other),
        ("app delete APP --yes", "delete APP", &ours),
    ] {
        let runs = (
            stage.argocd_with(env, by_them, app).await?,
            stage.verbatim_with(env, by_us, app).await?,
        );
        ensure!((runs.0.code, runs.1.code) == (20, 7), "argocd: {}\nverbatim: {}", runs.0, runs.1);
    }
    Ok(())
}

/// How long a login lasts here. Argo CD renews a token that has less than five minutes left with each answer.
const SESSION: &str = "12s";

/// A session that ends while a wait goes on is renewed; afterwards the token that it began with is worth nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_in_mid_wait_is_renewed() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "session").await?;
    let settings = "/api/v1/namespaces/argocd/configmaps/argocd-cm";
    let duration = |value| json!({ "data": { "users.session.duration": value } });
    stage.kube_merge(settings, &duration(json!(SESSION))).await?;
    let outcome = outlasting(&stage).await;
    stage.kube_merge(settings, &duration(json!(null))).await?;
    stage.clean().await?;
    outcome
}

async fn outlasting(stage: &Stage) -> Result<()> {
    let app = stage.name("app");
    stage.make(&app, "stuck").await?;
    stage.argocd_does("app sync APP --async", &app).await?;
    stage.running(&app).await?;
    // The login of the real argocd; ours reads the file that it keeps.
    let env: &Env<'_> =
        &[("ARGOCD_AUTH_TOKEN", None), ("ARGOCD_SERVER", None), ("ARGOCD_OPTS", None)];
    let argocd = &stage.rig.argocd;
    let line = format!(
        "login {} --plaintext --username {} --password {}",
        argocd.server, argocd.username, argocd.password
    );
    done("argocd", "login", stage.argocd_with(env, &line, "").await?)?;
    done("verbatim", "whoami", stage.verbatim_with(env, "whoami", "").await?)?;
    let wait = stage.verbatim_with(env, "wait APP --operation --timeout 30", &app).await?;
    // Nothing has ended the operation, and nothing but the deadline ended the wait: no answer was "who are you?".
    ensure!(wait.code == 4 && !wait.stderr.contains("credentials"), "{wait}");
    let (theirs, ours) = (
        stage.argocd_with(env, "app get APP", &app).await?,
        stage.verbatim_with(env, "get APP", &app).await?,
    );
    ensure!((theirs.code, ours.code) == (20, 7), "argocd: {theirs}\nverbatim: {ours}");
    stage.argocd_does("app terminate-op APP", &app).await?;
    stage.argocd_does("app wait APP --operation --timeout 60", &app).await.map(drop)
}
