//! What a client sees of the registry, over HTTP.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::{Account, Auth, Bearer, Config, Registry};

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn account() -> Account {
    Account { username: "ci".to_owned(), password: "p:w".to_owned() }
}

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

async fn put_index(registry: &Registry, body: String, token: Option<&str>) -> reqwest::Response {
    let request = client()
        .put(format!("{}/v2/a/b/c/manifests/1", registry.url()))
        .header("content-type", INDEX_TYPE);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    request.body(body).send().await.unwrap()
}

fn with_subject() -> String {
    let subject = r#","subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2}}"#;
    format!("{}{subject}", INDEX.trim_end_matches('}'))
}

const REFERRERS: &str =
    "/v2/a/b/c/referrers/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test]
async fn a_manifest_is_stored_and_the_requests_are_known() {
    let registry = Registry::start(Config::default()).await.unwrap();
    assert_eq!(put_index(&registry, INDEX.to_owned(), None).await.status(), StatusCode::CREATED);
    let body =
        client().get(format!("{}/v2/a/b/c/manifests/1", registry.url())).send().await.unwrap();
    assert_eq!(body.text().await.unwrap(), INDEX);
    let seen: Vec<String> =
        registry.seen().iter().map(|one| format!("{} {}", one.method, one.target)).collect();
    assert_eq!(seen, ["PUT /v2/a/b/c/manifests/1", "GET /v2/a/b/c/manifests/1"]);
}

#[tokio::test]
async fn the_referrers_api_is_there_or_hidden() {
    for (referrers_api, status) in [(true, StatusCode::OK), (false, StatusCode::NOT_FOUND)] {
        let registry =
            Registry::start(Config { referrers_api, ..Config::default() }).await.unwrap();
        let put = put_index(&registry, with_subject(), None).await;
        assert_eq!(put.status(), StatusCode::CREATED);
        assert_eq!(put.headers().contains_key("oci-subject"), referrers_api);
        let listed = client().get(format!("{}{REFERRERS}", registry.url())).send().await.unwrap();
        assert_eq!(listed.status(), status);
        if referrers_api {
            let index: Value = listed.json().await.unwrap();
            assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn basic_login_is_demanded() {
    let registry = Registry::start(Config { auth: Auth::Basic(account()), ..Config::default() })
        .await
        .unwrap();
    let url = format!("{}/v2/", registry.url());
    let refused = client().get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    let wrong = client().get(&url).basic_auth("ci", Some("other")).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let right = client().get(&url).basic_auth("ci", Some("p:w")).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_allows_what_its_scope_says() {
    let bearer =
        Bearer { account: account(), anonymous_pull: true, lifetime: Duration::from_secs(60) };
    let registry =
        Registry::start(Config { auth: Auth::Bearer(bearer), ..Config::default() }).await.unwrap();
    let refused = put_index(&registry, INDEX.to_owned(), None).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let expected = format!(
        r#"Bearer realm="{}/token",service="test-registry",scope="repository:a/b/c:pull,push""#,
        registry.url()
    );
    assert_eq!(challenge, expected);

    let url =
        format!("{}/token?service=test-registry&scope=repository:a/b/c:pull,push", registry.url());
    let token = |answer: Value| answer["token"].as_str().unwrap().to_owned();
    let pull_only = token(client().get(&url).send().await.unwrap().json().await.unwrap());
    assert_eq!(
        put_index(&registry, INDEX.to_owned(), Some(&pull_only)).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let pushing = client().get(&url).basic_auth("ci", Some("p:w")).send().await.unwrap();
    let pushing = token(pushing.json().await.unwrap());
    assert_eq!(
        put_index(&registry, INDEX.to_owned(), Some(&pushing)).await.status(),
        StatusCode::CREATED
    );
    let manifest = format!("{}/v2/a/b/c/manifests/1", registry.url());
    let pulled = client().get(&manifest).bearer_auth(&pull_only).send().await.unwrap();
    assert_eq!(pulled.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_tokens_end() {
    let bearer = Bearer { account: account(), anonymous_pull: false, lifetime: Duration::ZERO };
    let registry =
        Registry::start(Config { auth: Auth::Bearer(bearer), ..Config::default() }).await.unwrap();
    let exchange = async |refresh: &str| {
        let body = format!(
            "grant_type=refresh_token&service=test-registry&scope=repository:a:pull&refresh_token={refresh}"
        );
        let request = client().post(format!("{}/token", registry.url()));
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap()
    };
    assert_eq!(exchange("wrong").await.status(), StatusCode::UNAUTHORIZED);
    let given = exchange("p:w").await;
    assert_eq!(given.status(), StatusCode::OK);
    let token: Value = given.json().await.unwrap();
    let ended = client()
        .get(format!("{}/v2/", registry.url()))
        .bearer_auth(token["token"].as_str().unwrap());
    assert_eq!(ended.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn storage_outlives_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { storage: Some(folder.path().to_owned()), ..Config::default() };
    let first = Registry::start(config.clone()).await.unwrap();
    assert_eq!(put_index(&first, INDEX.to_owned(), None).await.status(), StatusCode::CREATED);
    drop(first);
    let second = Registry::start(config).await.unwrap();
    let read = client().get(format!("{}/v2/a/b/c/manifests/1", second.url())).send().await.unwrap();
    assert_eq!(read.text().await.unwrap(), INDEX);
}
