//! A server that stops answering: no command takes much longer than its `--timeout`, whatever the request.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use futures_util::{StreamExt, stream};
use serde_json::json;
use verbatim_argocd::{
    Client, DeployOptions, DeployOutcome, SyncRequest, SyncUntil, deploy, nonce, prove, sync,
};

use support::{Rig, quick, wanted};

/// Long beyond what a command may take, so that a call which is not bounded is seen.
const NEVER: Duration = Duration::from_secs(600);

const REQUESTS: [(&str, &str); 9] = [
    ("GET", "/stream/"),
    ("GET", "/api/v1/applications/"),
    ("GET", "/can-i/"),
    ("GET", "/syncwindows"),
    ("PATCH", "/applications/"),
    ("GET", "/manifests"),
    ("POST", "/sync"),
    ("GET", "refresh="),
    ("GET", "/resource-tree"),
];

async fn stalled(rig: &Rig, method: &str, path: &str) -> (FaultProxy, Client) {
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    let method = method.parse().unwrap();
    proxy.inject(Rule::new(Fault::Stall).method(&method).path(path).always());
    let mut config = rig.config(&proxy.url(), rig.server.tokens().bot);
    config.timeouts.read = NEVER;
    config.timeouts.write = NEVER;
    config.timeouts.refresh = NEVER;
    let client = Client::new(config).unwrap();
    (proxy, client)
}

#[tokio::test]
async fn a_server_that_stops_answering_keeps_nobody_for_longer() {
    let rig = &Rig::start().await;
    // A hundred seconds are for a busy machine: three for the command, and some calls that put back what was written.
    let limit = Duration::from_secs(100);
    let options = DeployOptions { timeout: Duration::from_secs(3), ..quick() };
    let (options, limit) = (&options, &limit);
    let all =
        stream::iter(REQUESTS.into_iter().enumerate()).map(|(at, (method, path))| async move {
            let app = rig.app(&format!("slow{at}"), false, json!([])).await;
            let (_proxy, client) = stalled(rig, method, path).await;
            let mut request = wanted(&app, "1");
            request.options = options.clone();
            let deployed = tokio::time::timeout(*limit, deploy(&client, &request, &|_| {})).await;
            let deployed = deployed.unwrap_or_else(|_| panic!("deploy waits for {method} {path}"));
            let is_proven = deployed
                .as_ref()
                .is_ok_and(|report| matches!(report.outcome, DeployOutcome::Proven { .. }));
            // What is only asked to know more may stay unanswered.
            assert!(!is_proven || path == "/stream/", "{method} {path}: {deployed:?}");
            let images = &request.images;
            let proven =
                tokio::time::timeout(*limit, prove(&client, &app, images, options, &|_| {})).await;
            assert!(proven.is_ok(), "prove waits for {method} {path}");
            let request = SyncRequest { nonce: nonce().unwrap(), ..SyncRequest::default() };
            let synced = sync(&client, &app, &request, SyncUntil::Healthy, options, &|_| {});
            let synced = tokio::time::timeout(*limit, synced).await;
            assert!(synced.is_ok(), "sync waits for {method} {path}");
        });
    all.buffer_unordered(5).collect::<Vec<()>>().await;
}
