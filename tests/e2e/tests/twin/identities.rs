//! How a job that keeps no secret gets in: an imagined CI signs who it is, the rig's Dex makes a session of that, and Argo CD's
//! access rules say what the job may. The argocd command line has no such login; it is given what the request of Argo CD's
//! documentation brings.

use anyhow::{Context as _, Result, ensure};
use e2e::Run;
use serde_json::{Value, json};

use super::objects;
use super::stage::{Env, Stage, done};

/// A job of the imagined CI.
struct Job {
    /// The connector of Dex that it names.
    connector: &'static str,
    issuer: &'static str,
    claims: Value,
}

/// As GitHub describes a job; the access rules of the rig name it by its subject.
fn on_github(branch: &str) -> Job {
    let reference = format!("refs/heads/{branch}");
    let claims = json!({
        "sub": format!("repo:example/shop:ref:{reference}"), "repository": "example/shop", "ref": reference,
        "repository_owner": "example", "event_name": "push", "workflow": "deploy", "run_id": "7",
        "actor": "octocat", "runner_environment": "github-hosted",
    });
    Job { connector: "github-actions", issuer: "github", claims }
}

/// As GitLab describes a job; the access rules name the group of who started it.
fn on_gitlab(group: &str) -> Job {
    let claims = json!({
        "sub": "project_path:example/shop:ref_type:branch:ref:main", "project_path": "example/shop",
        "namespace_path": "example", "ref": "main", "ref_type": "branch", "ref_protected": "true",
        "pipeline_source": "push", "job_id": "7", "user_login": "tanuki", "groups_direct": [group],
    });
    Job { connector: "gitlab-ci", issuer: "gitlab", claims }
}

/// What a job does, in a home of its own.
struct Desk<'a> {
    stage: &'a Stage,
    job: Job,
    home: String,
    http: reqwest::Client,
}

impl<'a> Desk<'a> {
    fn new(stage: &'a Stage, job: Job) -> Result<Self> {
        let home = tempfile::tempdir_in(&stage.tool.folder)?.keep();
        let home = home.to_str().context("the path is not UTF-8")?.to_owned();
        Ok(Self { stage, job, home, http: reqwest::Client::builder().no_proxy().build()? })
    }

    /// Where the job asks for its identity.
    fn provider(&self) -> String {
        format!("{}/{}/identity?job=7", self.stage.rig.identity.url, self.job.issuer)
    }

    /// The identity token of the job, as GitLab puts it into a variable.
    async fn identity(&self) -> Result<String> {
        let request = self.http.get(self.provider());
        let answer =
            request.bearer_auth(identity_provider::request_token(&self.job.claims)).send().await?;
        let answer: Value = serde_json::from_str(&answer.error_for_status()?.text().await?)?;
        answer["value"].as_str().map(str::to_owned).context("there is no token")
    }

    /// Our login, from what the CI has put into the environment.
    async fn login(&self) -> Result<Run> {
        let line = format!("login --ci-identity {}", self.job.connector);
        if self.job.issuer == "gitlab" {
            let token = self.identity().await?;
            let run = self.verbatim_with(&[("GITLAB_OIDC_TOKEN", Some(&token))], &line, "").await?;
            ensure!(!run.to_string().contains(&token), "the token is told");
            return Ok(run);
        }
        let (url, token) = (self.provider(), identity_provider::request_token(&self.job.claims));
        let env: &Env<'_> = &[
            ("ACTIONS_ID_TOKEN_REQUEST_URL", Some(&url)),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", Some(&token)),
        ];
        let line = format!("{line} --audience https://argocd.example.com");
        self.verbatim_with(env, &line, "").await
    }

    /// The session that the request of Argo CD's documentation brings; with the groups, which it does not ask for.
    async fn exchanged(&self) -> Result<String> {
        let form = reqwest::Url::parse_with_params(
            "http://form/",
            [
                ("connector_id", self.job.connector),
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("scope", "openid email profile groups federated:id"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token", &self.identity().await?),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ],
        )?;
        let request = self.http.post(format!("{}/api/dex/token", self.stage.rig.argocd.url));
        let request = request
            .basic_auth("argo-cd-cli", Some(""))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
        let text = request.send().await?.text().await?;
        let answer: Value = serde_json::from_str(&text)?;
        answer["access_token"].as_str().map(str::to_owned).with_context(|| format!("Dex: {text}"))
    }

    async fn verbatim_with(&self, other: &Env<'_>, line: &str, app: &str) -> Result<Run> {
        let mut env = vec![("HOME", Some(self.home.as_str())), ("ARGOCD_AUTH_TOKEN", None)];
        env.extend_from_slice(other);
        self.stage.verbatim_with(&env, line, app).await
    }

    /// A command of ours after the login.
    async fn verbatim(&self, line: &str, app: &str) -> Result<Run> {
        self.verbatim_with(&[], line, app).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_of_a_job_lets_both_do_the_same() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "job").await?;
    let mut outcome = Ok(());
    for job in [on_github("main"), on_gitlab("example/deployers")] {
        outcome = outcome.and(deploys(&Desk::new(&stage, job)?).await);
    }
    stage.clean().await?;
    outcome
}

async fn deploys(desk: &Desk<'_>) -> Result<()> {
    let (stage, subject) = (desk.stage, &desk.job.claims["sub"]);
    let told = done("verbatim", "login", desk.login().await?)?;
    ensure!(told.contains(subject.as_str().unwrap_or_default()), "{told}");
    let token = desk.exchanged().await?;
    let theirs_env: &Env<'_> = &[("ARGOCD_AUTH_TOKEN", Some(token.as_str()))];
    let (theirs, ours) = (stage.name("theirs"), stage.name("ours"));
    for app in [&theirs, &ours] {
        stage.make(app, "chart").await?;
    }
    for (by_them, by_us) in [
        ("account get-user-info", "whoami"),
        ("account can-i sync applications default/APP", "can-i sync applications default/APP"),
        ("app get APP", "get APP"),
        ("app set APP --helm-set-string image.tag=2", "override APP --helm-set image.tag=2"),
        ("app sync APP", "sync APP"),
        ("app wait APP --sync --health", "wait APP"),
    ] {
        done("argocd", by_them, stage.argocd_with(theirs_env, by_them, &theirs).await?)?;
        done("verbatim", by_us, desk.verbatim(by_us, &ours).await?)?;
    }
    let sees = ["/spec", "/status/operationState/operation", "/status/history"];
    let picture = stage.picture(&theirs, &sees).await?;
    objects::same(&picture, &stage.picture(&ours, &sees).await?)?;
    let by = &picture["/status/operationState/operation"]["initiatedBy"]["username"];
    ensure!(by == subject, "{picture}");
    // What its role does not have.
    let runs = (
        stage.argocd_with(theirs_env, "app delete APP --yes", &theirs).await?,
        desk.verbatim("delete APP", &ours).await?,
    );
    ensure!((runs.0.code, runs.1.code) == (20, 7), "argocd: {}\nverbatim: {}", runs.0, runs.1);
    Ok(())
}

/// What Dex takes, Argo CD may still refuse: a job is somebody, but not one that an access rule names.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_no_rule_names_may_nothing() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "visit").await?;
    let app = stage.name("app");
    stage.make(&app, "chart").await?;
    let mut outcome = Ok(());
    for job in [on_github("feature"), on_gitlab("example/visitors")] {
        outcome = outcome.and(looks_on(&Desk::new(&stage, job)?, &app).await);
    }
    stage.clean().await?;
    outcome
}

async fn looks_on(desk: &Desk<'_>, app: &str) -> Result<()> {
    done("verbatim", "login", desk.login().await?)?;
    done("verbatim", "whoami", desk.verbatim("whoami", app).await?)?;
    let token = desk.exchanged().await?;
    let env: &Env<'_> = &[("ARGOCD_AUTH_TOKEN", Some(token.as_str()))];
    for (by_them, by_us) in [("app get APP", "get APP"), ("app sync APP", "sync APP")] {
        let runs =
            (desk.stage.argocd_with(env, by_them, app).await?, desk.verbatim(by_us, app).await?);
        ensure!((runs.0.code, runs.1.code) == (20, 7), "argocd: {}\nverbatim: {}", runs.0, runs.1);
        ensure!(runs.1.stderr.contains("permission denied"), "verbatim: {}", runs.1);
    }
    Ok(())
}

/// What Dex does not take: who issued the token, until when it holds, and of which groups the job has to be.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_dex_does_not_take_is_refused() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "stranger").await?;
    let mut expired = on_github("main");
    expired.claims["exp"] = json!(1_700_000_000);
    let strangers = [
        (on_gitlab("example/others"), "access_denied"),
        (Job { connector: "gitlab-ci", ..on_github("main") }, "access_denied"),
        (expired, "access_denied"),
        (Job { connector: "nobody", ..on_github("main") }, "connector does not exist"),
    ];
    for (job, why) in strangers {
        let desk = Desk::new(&stage, job)?;
        let run = desk.login().await?;
        ensure!(run.code == 7 && run.stderr.contains(why), "{run}");
        ensure!(run.stderr.contains("hint:"), "{run}");
        let run = desk.verbatim("whoami", "").await?;
        ensure!(run.code != 0, "something is kept: {run}");
    }
    stage.clean().await
}
