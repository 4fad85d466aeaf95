//! The identity provider of an imagined CI: it signs who a job is, as GitHub and GitLab do for theirs.
//!
//! Two issuers on one address, each with a key of its own. What a token says, its job decides: the tests are about who
//! trusts it, and how far. The provider keeps nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use p256::SecretKey;
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use loopback::Served;

/// The issuers, by the last part of their URL.
const ISSUERS: [&str; 2] = ["github", "gitlab"];

/// How long a token is good for, in seconds: as long as one of GitHub.
const LIFETIME: i64 = 300;

/// A running provider; dropping it ends it.
#[derive(Debug)]
pub struct IdentityProvider {
    url: String,
    _served: Served,
}

impl IdentityProvider {
    /// Starts one; its issuers are named by this address.
    ///
    /// # Errors
    /// The address is taken, or the system has no random numbers.
    pub async fn start(listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}");
        let issuers = ISSUERS.map(|name| Issuer::new(name, &format!("{url}/{name}")));
        let issuers = issuers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let app = Router::new()
            .route("/{issuer}/.well-known/openid-configuration", get(configuration))
            .route("/{issuer}/keys", get(keys))
            .route("/{issuer}/identity", get(identity))
            .with_state(Arc::new(issuers));
        Ok(Self { url, _served: Served::on(listener, address, app) })
    }

    /// The URL that the issuers lie under: `URL/github`, `URL/gitlab`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The request token of a job whose identity token shall have these claims: GitHub gives it to the job as
/// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`. What is missing of time, issuer and audience is added.
pub fn request_token(claims: &Value) -> String {
    BASE64.encode(claims.to_string())
}

struct Issuer {
    name: &'static str,
    url: String,
    key: SigningKey,
}

impl Issuer {
    fn new(name: &'static str, url: &str) -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| anyhow::anyhow!("the system has no random numbers: {error}"))?;
        // One number in 2^32 is not below the order of the curve.
        let key = SecretKey::from_slice(&bytes).context("these random bytes are no key")?;
        Ok(Self { name, url: url.to_owned(), key: SigningKey::from(&key) })
    }

    /// A token with these claims, as a JSON Web Token (RFC 7519).
    fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.name });
        let text = [header, claims.clone()].map(|part| BASE64.encode(part.to_string())).join(".");
        let signature: Signature = self.key.sign(text.as_bytes());
        format!("{text}.{}", BASE64.encode(signature.to_bytes()))
    }

    /// What the claims of a job become.
    fn complete(&self, asked: &Value, audience: Option<&str>) -> anyhow::Result<Value> {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.url,
            "aud": audience.unwrap_or("https://ci.example.com"),
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME,
        });
        let asked = asked.as_object().context("the claims are no object")?;
        ensure!(asked.contains_key("sub"), "the claims have no `sub`");
        for (name, value) in asked {
            claims[name] = value.clone();
        }
        Ok(claims)
    }
}

type Issuers = State<Arc<Vec<Issuer>>>;

fn find<'a>(issuers: &'a [Issuer], name: &str) -> Result<&'a Issuer, StatusCode> {
    issuers.iter().find(|issuer| issuer.name == name).ok_or(StatusCode::NOT_FOUND)
}

/// OpenID Connect Discovery 1.0, as far as a verifier reads it.
async fn configuration(
    State(issuers): Issuers,
    Path(name): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let url = &find(&issuers, &name)?.url;
    Ok(Json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/keys"),
        // Nobody logs in here with a browser, but clients demand that the addresses are there.
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "id_token_signing_alg_values_supported": ["ES256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    })))
}

/// The key as a JSON Web Key (RFC 7517).
async fn keys(
    State(issuers): Issuers,
    Path(name): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let issuer = find(&issuers, &name)?;
    let point = issuer.key.verifying_key().to_sec1_point(false);
    let coordinate = |at: usize| BASE64.encode(&point.as_bytes()[at..at + 32]);
    Ok(Json(json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": issuer.name,
        // An uncompressed point is a byte that says so, and two numbers.
        "x": coordinate(1), "y": coordinate(33),
    }]})))
}

/// What a request may say beside its token.
#[derive(Deserialize)]
struct Asked {
    audience: Option<String>,
}

/// The identity token of a job, in the form in which GitHub gives it out.
async fn identity(
    State(issuers): Issuers,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let issuer = find(&issuers, &name)?;
    let claims = claims_of(&headers).ok_or(StatusCode::FORBIDDEN)?;
    let claims = issuer.complete(&claims, asked.audience.as_deref());
    let claims = claims.map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(Json(json!({ "count": 1, "value": issuer.sign(&claims) })))
}

fn claims_of(headers: &HeaderMap) -> Option<Value> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    serde_json::from_slice(&BASE64.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::{VerifyingKey, signature::Verifier as _};

    use super::*;
    use loopback::any_loopback_port;

    async fn read(request: reqwest::RequestBuilder) -> Value {
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    #[tokio::test]
    async fn a_token_is_signed_with_the_published_key_of_its_issuer() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let provider = IdentityProvider::start(any_loopback_port()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for name in ISSUERS {
            let url = format!("{}/{name}", provider.url());
            let found = read(http.get(format!("{url}/.well-known/openid-configuration"))).await;
            assert_eq!(found["issuer"], url);
            let keys = read(http.get(found["jwks_uri"].as_str().unwrap())).await;
            let request = http.get(format!("{url}/identity?audience=https%3A%2F%2Fargocd"));
            let request =
                request.bearer_auth(request_token(&json!({ "sub": "repo:a/b", "exp": 7 })));
            let token = read(request).await["value"].as_str().unwrap().to_owned();

            let (signed, signature) = token.rsplit_once('.').unwrap();
            let number = |name: &str| BASE64.decode(keys["keys"][0][name].as_str().unwrap());
            let point = [vec![4], number("x").unwrap(), number("y").unwrap()].concat();
            let signature = Signature::from_slice(&BASE64.decode(signature).unwrap()).unwrap();
            let key = VerifyingKey::from_sec1_bytes(&point).unwrap();
            key.verify(signed.as_bytes(), &signature).unwrap();
            let claims = BASE64.decode(signed.split_once('.').unwrap().1).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!((&claims["iss"], &claims["aud"]), (&json!(url), &json!("https://argocd")));
            assert_eq!((&claims["sub"], &claims["exp"]), (&json!("repo:a/b"), &json!(7)));
        }
        let nobody = http.get(format!("{}/github/identity", provider.url())).send().await.unwrap();
        assert_eq!(nobody.status().as_u16(), 403);
    }
}
