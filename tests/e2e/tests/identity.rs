//! A CI job that has no secret logs in with its identity: an identity provider and a Dex, made for the test, that hold
//! the client to what Argo CD's documentation tells to send. On the real Dex: `twin/identities.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use e2e::{Tool, World};
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};

/// What the provider issues, and what Dex makes of it.
const IDENTITY: &str = "identity-of-the-job";
const SESSION: &str = "session-of-the-job";

/// What Dex was asked for.
type Asked = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

struct Provider {
    url: String,
    asked: Asked,
    serving: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Provider {
    async fn start() -> Result<Self> {
        let asked = Asked::default();
        let router = Router::new()
            .route("/identity", get(identity))
            .route("/api/dex/token", post(exchange))
            .route("/api/v1/session/userinfo", get(user))
            .route("/api/version", get(async || Json(json!({ "Version": "v3.6.1" }))))
            .with_state(Arc::clone(&asked));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, asked, serving, folder: tempfile::tempdir()? })
    }

    fn tool(&self) -> Result<Tool> {
        Ok(Tool::new(self.folder.path(), self.folder.path())?.with("ARGOCD_SERVER", &self.url))
    }
}

/// GitHub's: only who knows the token of the job gets its identity, for the audience that was asked for.
async fn identity(RawQuery(query): RawQuery, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let query = query.unwrap_or_default();
    match bearer(&headers) == Some("job-token")
        && query == "job=7&audience=https%3A%2F%2Fargocd.example.com"
    {
        true => (StatusCode::OK, Json(json!({ "count": 1, "value": IDENTITY }))),
        false => (StatusCode::FORBIDDEN, Json(json!({ "message": query }))),
    }
}

/// Dex's, which knows one connector.
async fn exchange(
    State(asked): State<Asked>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    // In the words of Dex 2.41, which says nothing of why it does not take a token.
    let refused = |status: StatusCode, error: &str, words: &str| {
        let mut answer = json!({ "error": error });
        if !words.is_empty() {
            answer["error_description"] = json!(words);
        }
        (status, Json(answer))
    };
    let basic = base64::engine::general_purpose::STANDARD.encode("argo-cd-cli:");
    if headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
        != Some(&format!("Basic {basic}"))
    {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client", "Invalid client credentials.");
    }
    let form: BTreeMap<String, String> = reqwest::Url::parse(&format!("http://form/?{body}"))
        .map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default();
    let answer = match (form["connector_id"].as_str(), form["subject_token"].as_str()) {
        ("ci", IDENTITY) => (
            StatusCode::OK,
            Json(json!({ "access_token": SESSION, "token_type": "bearer", "expires_in": 86400 })),
        ),
        ("ci", _) => refused(StatusCode::UNAUTHORIZED, "access_denied", ""),
        _ => refused(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "Requested connector does not exist.",
        ),
    };
    asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(form);
    answer
}

/// Argo CD's: the session is one of the job.
async fn user(headers: HeaderMap) -> Json<Value> {
    let known = bearer(&headers) == Some(SESSION);
    Json(json!({ "loggedIn": known, "username": "repo:example/shop:ref:refs/heads/main" }))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_logs_in_with_its_identity() -> Result<()> {
    let provider = Provider::start().await?;
    let gitlab = provider.tool()?.with("GITLAB_OIDC_TOKEN", IDENTITY);
    let github = provider
        .tool()?
        .with("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/identity?job=7", provider.url))
        .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job-token");
    let login = ["argocd", "login", "--ci-identity", "ci", "--format", "json"];
    let told = gitlab.run(&login).await?.ends(0).json()?;
    assert_eq!(told["username"], "repo:example/shop:ref:refs/heads/main");
    let with_audience = [&login[..], &["--audience", "https://argocd.example.com"]].concat();
    let told = github.run(&with_audience).await?.ends(0).json()?;
    assert_eq!(told["username"], "repo:example/shop:ref:refs/heads/main");

    let asked = provider.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let form = asked.first().context("Dex was not asked")?;
    let field = |name: &str| form[name].as_str();
    assert_eq!(field("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(field("subject_token_type"), "urn:ietf:params:oauth:token-type:id_token");
    assert_eq!(field("requested_token_type"), "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(field("scope"), "openid email profile groups federated:id");

    // The session is kept, so that the next command needs no identity.
    let kept = provider.tool()?.run(&["argocd", "whoami", "--format", "json"]).await?.ends(0);
    assert_eq!(kept.json()?["username"], "repo:example/shop:ref:refs/heads/main");
    Ok(())
}

/// A rollout may last longer than the session of a job: it logs in again, and the wait goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_session_ends_while_it_waits_goes_on() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    let mut job = world.tool.clone().with("GITLAB_OIDC_TOKEN", IDENTITY);
    job.variables.remove("ARGOCD_AUTH_TOKEN");
    let server = world.argocd_proxy.url();
    let login = ["argocd", "login", "--server", &server, "--ci-identity", "ci"];
    let _ = job.run(&login).await?.ends(0);
    world.argocd.hold_operations("shop-dev", true);
    let mut run = job.start(&["promote", "dev", "--release", &release, "--verbose"])?;
    run.tells("shop-dev: write the values: done").await?;
    world.argocd.end_sessions();
    world.argocd.hold_operations("shop-dev", false);
    let run = run.end().await?.ends(0);
    assert!(run.stdout.contains("proven  1 app"), "{run}");
    // Whoever may not log in again is told so, and what is under way is told, too.
    world.argocd.hold_operations("shop-staging", true);
    let _ = job.run(&["test", "dev"]).await?.ends(0);
    let mut run = job.start(&["promote", "staging", "--release", &release, "--verbose"])?;
    run.tells("shop-staging: write the values: done").await?;
    world.argocd_proxy.inject(Rule::new(Fault::Status(401)).path("/api/dex/token").always());
    world.argocd.end_sessions();
    let run = run.end().await?.ends(4);
    assert!(run.stderr.contains("cannot log in again"), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_not_taken_says_why() -> Result<()> {
    let provider = Provider::start().await?;
    let tool = provider.tool()?;
    let login = |connector: &'static str| ["argocd", "login", "--ci-identity", connector];
    let none = tool.run(&login("ci")).await?.ends(2);
    assert!(none.stderr.contains("id-token: write"), "{none}");

    let foreign = tool.clone().with("GITLAB_OIDC_TOKEN", "of-somebody-else");
    let foreign = foreign.run(&login("ci")).await?.ends(7);
    assert!(foreign.stderr.contains("access_denied"), "{foreign}");
    assert!(!foreign.stderr.contains("of-somebody-else"), "{foreign}");

    let elsewhere = tool.clone().with("GITLAB_OIDC_TOKEN", IDENTITY);
    let elsewhere = elsewhere.run(&login("other")).await?.ends(7);
    assert!(elsewhere.stderr.contains("connector does not exist"), "{elsewhere}");
    assert!(elsewhere.stderr.contains("dex.config"), "{elsewhere}");

    let forbidden = tool
        .with("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/identity?job=7", provider.url))
        .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "wrong");
    let forbidden = forbidden.run(&login("ci")).await?.ends(7);
    assert!(forbidden.stderr.contains("GitHub"), "{forbidden}");
    Ok(())
}
