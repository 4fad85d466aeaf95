//! Login in front of the registry: Basic, and Bearer with its token server.
//!
//! It decides who may reach the registry, and knows nothing about what the registry does with a request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Form, RawQuery, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Account, Auth, Bearer};

/// The `service` that the challenge names and a token request has to repeat.
const SERVICE: &str = "test-registry";

/// Puts the login of `auth` in front of `app`.
pub(super) fn protect(app: Router, auth: &Auth) -> Router {
    match auth {
        Auth::Anonymous => app,
        Auth::Basic(account) => app.layer(middleware::from_fn_with_state(account.clone(), basic)),
        Auth::PerRepository(accounts) => {
            let accounts = Arc::new(accounts.clone());
            app.layer(middleware::from_fn_with_state(accounts, per_repository))
        }
        Auth::Bearer(bearer) => {
            let issuer = Arc::new(Issuer { bearer: bearer.clone(), tokens: Mutex::default() });
            app.layer(middleware::from_fn_with_state(issuer.clone(), token_needed)).merge(
                Router::new()
                    .route("/token", get(token_by_basic).post(token_by_form))
                    .with_state(issuer),
            )
        }
    }
}

async fn basic(State(account): State<Account>, request: Request, next: Next) -> Response {
    if basic_matches(request.headers(), &account) == Some(true) {
        return next.run(request).await;
    }
    unauthorized(r#"Basic realm="test registry""#.to_owned())
}

async fn per_repository(
    State(accounts): State<Arc<BTreeMap<String, Account>>>,
    request: Request,
    next: Next,
) -> Response {
    let is = |account: &Account| basic_matches(request.headers(), account) == Some(true);
    let allowed = match needed(request.method(), request.uri().path()) {
        Some((repository, _)) => accounts.get(&repository).is_some_and(is),
        None => accounts.values().any(is),
    };
    if allowed {
        return next.run(request).await;
    }
    unauthorized(r#"Basic realm="test registry""#.to_owned())
}

/// Whether the Basic header names `account`; `None` without such a header.
fn basic_matches(headers: &HeaderMap, account: &Account) -> Option<bool> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let sent = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Some(sent.as_deref() == Some(&format!("{}:{}", account.username, account.password)))
}

struct Issuer {
    bearer: Bearer,
    /// Token to what it allows and when it ends.
    tokens: Mutex<BTreeMap<String, Grant>>,
}

#[derive(Clone)]
struct Grant {
    scopes: Vec<Scope>,
    until: Instant,
}

/// `repository:NAME:ACTION,ACTION`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    repository: String,
    actions: Vec<String>,
}

impl Scope {
    fn parse(text: &str) -> Option<Self> {
        let (name, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        let actions = actions.split(',').map(str::to_owned).collect();
        Some(Self { repository: name.to_owned(), actions })
    }
}

/// What a request to `/v2/…` needs: a repository and an action; `None` for `/v2/` itself.
fn needed(method: &Method, path: &str) -> Option<(String, &'static str)> {
    let rest = path.strip_prefix("/v2/")?;
    let end = ["/manifests/", "/blobs/", "/tags/", "/referrers/"]
        .iter()
        .filter_map(|part| rest.rfind(part))
        .max()?;
    let action = match *method {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "push",
    };
    Some((rest[..end].to_owned(), action))
}

async fn token_needed(State(issuer): State<Arc<Issuer>>, request: Request, next: Next) -> Response {
    let needed = needed(request.method(), request.uri().path());
    if issuer.allows(request.headers(), needed.as_ref()) {
        return next.run(request).await;
    }
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut challenge = format!(r#"Bearer realm="http://{host}/token",service="{SERVICE}""#);
    if let Some((repository, action)) = needed {
        // A registry asks for `pull` beside every other action, as `distribution` does.
        let actions = if action == "pull" { "pull".to_owned() } else { format!("pull,{action}") };
        challenge.push_str(&format!(r#",scope="repository:{repository}:{actions}""#));
    }
    unauthorized(challenge)
}

impl Issuer {
    fn allows(&self, headers: &HeaderMap, needed: Option<&(String, &'static str)>) -> bool {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = token.and_then(|value| value.strip_prefix("Bearer ")) else {
            return false;
        };
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(grant) = tokens.get(token) else { return false };
        let covered = |(repository, action): &(String, &'static str)| {
            let holds = |scope: &Scope| {
                scope.repository == *repository && scope.actions.iter().any(|one| one == action)
            };
            grant.scopes.iter().any(holds)
        };
        grant.until > Instant::now() && needed.is_none_or(covered)
    }

    /// A token for `scopes`, cut down to pulling when `known` is false.
    fn issue(&self, scopes: Vec<Scope>, known: bool) -> Response {
        let allowed = |action: &String| known || (self.bearer.anonymous_pull && action == "pull");
        let scopes = scopes
            .into_iter()
            .map(|scope| Scope {
                actions: scope.actions.into_iter().filter(allowed).collect(),
                ..scope
            })
            .collect();
        let token = random_token();
        let grant = Grant { scopes, until: Instant::now() + self.bearer.lifetime };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), grant);
        let expires_in = self.bearer.lifetime.as_secs();
        Json(json!({ "token": token, "access_token": token, "expires_in": expires_in }))
            .into_response()
    }
}

/// `GET /token?service=…&scope=…&scope=…`, with Basic or without a login.
async fn token_by_basic(
    State(issuer): State<Arc<Issuer>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let pairs = form_pairs(query.as_deref().unwrap_or_default());
    if !pairs.iter().any(|(name, value)| name == "service" && value == SERVICE) {
        return (StatusCode::BAD_REQUEST, "unknown service\n").into_response();
    }
    // A scope parameter may hold several scopes, parted by spaces.
    let scopes =
        pairs.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| value.split(' '));
    let scopes: Vec<Scope> = scopes.filter_map(Scope::parse).collect();
    match basic_matches(&headers, &issuer.bearer.account) {
        Some(true) => issuer.issue(scopes, true),
        Some(false) => unauthorized(r#"Basic realm="test registry tokens""#.to_owned()),
        None => issuer.issue(scopes, false),
    }
}

/// The OAuth2 form of the token request.
#[derive(Debug, Deserialize)]
struct TokenForm {
    grant_type: String,
    #[serde(default)]
    service: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    refresh_token: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// `POST /token` with an identity token or a password.
async fn token_by_form(State(issuer): State<Arc<Issuer>>, Form(form): Form<TokenForm>) -> Response {
    let account = &issuer.bearer.account;
    let known = match form.grant_type.as_str() {
        "refresh_token" => form.refresh_token == account.password,
        "password" => form.username == account.username && form.password == account.password,
        _ => {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": "unsupported_grant_type" })))
                .into_response();
        }
    };
    if !known || form.service != SERVICE {
        return unauthorized(r#"Basic realm="test registry tokens""#.to_owned());
    }
    issuer.issue(form.scope.split(' ').filter_map(Scope::parse).collect(), true)
}

fn form_pairs(query: &str) -> Vec<(String, String)> {
    let url = format!("http://localhost/?{query}");
    let url = reqwest::Url::parse(&url).ok();
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

fn random_token() -> String {
    let mut bytes = [0_u8; 24];
    // The source of randomness is the operating system's: when it fails, an empty token simply never matches a second one.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

fn unauthorized(challenge: String) -> Response {
    let body: Value = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required", "detail": null }] });
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], Json(body)).into_response()
}
