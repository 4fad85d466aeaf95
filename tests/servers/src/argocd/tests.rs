//! What the simulation has beside the real server: its switches, and that it does not forgive unknown requests.
//! How it answers as Argo CD is tested by the shared cases, on both servers.

use reqwest::{Client, StatusCode};

use super::*;

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn an_unknown_request_is_remembered() {
    let server =
        SimulatedArgocd::start(Config { lenient: true, ..Config::default() }).await.unwrap();
    let status = async |path: &str| {
        client().get(format!("{}{path}", server.url())).send().await.unwrap().status()
    };
    assert_eq!(status("/api/v1/nope").await, StatusCode::NOT_FOUND);
    assert_eq!(status("/api/v1/clusters").await, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(status("/api/version").await, StatusCode::OK);
    assert_eq!(server.unexpected(), ["GET /api/v1/nope", "GET /api/v1/clusters"]);
    let seen: Vec<u16> = server.seen().iter().map(|one| one.status).collect();
    assert_eq!(seen, [404, 501, 200]);
}

#[tokio::test]
#[should_panic(expected = "the simulated Argo CD has no route for: GET /api/v1/nope")]
async fn an_unknown_request_fails_the_test() {
    let server = SimulatedArgocd::start(Config::default()).await.unwrap();
    client().get(format!("{}/api/v1/nope", server.url())).send().await.unwrap();
}

#[tokio::test]
async fn the_kubernetes_part_needs_its_token() {
    let server = SimulatedArgocd::start(Config::default()).await.unwrap();
    let url = format!("{}/_kube/api/v1/pods", server.url());
    assert_eq!(client().get(&url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let config: serde_json::Value = serde_json::from_str(&server.kubeconfig()).unwrap();
    let token = config["users"][0]["user"]["token"].as_str().unwrap();
    let listed = client().get(&url).bearer_auth(token).send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
}
