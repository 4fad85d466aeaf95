//! Several applications of one server: one watch for all, one list for all, and a cache that is behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use serde_json::{Value, json};
use simulated_argocd::Pace;
use tokio::time::sleep;
use verbatim_argocd::{
    AppRef, Client, DeployOutcome, DeployWarning, Subscription, read_since, read_together,
};

use support::{Rig, run, value, wanted};

async fn three(rig: &Rig) -> Vec<AppRef> {
    let mut apps = Vec::new();
    for name in ["a", "b", "c"] {
        let app = rig.app(name, false, json!([{ "name": "replicas", "value": "1" }])).await;
        apps.push(AppRef { project: Some("default".into()), ..app });
    }
    apps
}

fn subscribe(client: &Client, apps: &[AppRef]) -> Subscription {
    let apps: Vec<_> = apps.iter().map(|app| (app.clone(), "argocd".to_owned())).collect();
    Subscription::start(client, &apps)
}

fn targets(rig: &Rig, part: &str) -> Vec<String> {
    let seen = rig.server.seen().into_iter();
    seen.filter(|seen| seen.method == "GET" && seen.target.contains(part))
        .map(|seen| seen.target)
        .collect()
}

/// Somebody else's parameter, written at a time when the cache does not show it for a while. Returns when it is stored.
async fn somebody_writes(rig: &Rig, app: &AppRef, name: &str, value: &str) {
    let client = rig.client();
    let parameters = json!([{ "name": name, "value": value }]);
    let patch =
        json!([{ "op": "add", "path": "/spec/source/helm/parameters", "value": parameters }]);
    let (writer, of) = (client.clone(), app.clone());
    // It is answered when the cache shows it.
    tokio::spawn(async move { writer.patch(&of, patch.to_string()).await });
    while !rig.parameters(app).await.contains(&(name.to_owned(), value.to_owned())) {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn several_deployments_share_one_stream() {
    let rig = Rig::start().await;
    let apps = three(&rig).await;
    let client = rig.client();
    rig.server.forget_seen();
    let subscription = subscribe(&client, &apps);
    let requests: Vec<_> = apps.iter().map(|app| wanted(app, "1")).collect();
    let reports = tokio::join!(
        run(&client, &requests[0]),
        run(&client, &requests[1]),
        run(&client, &requests[2])
    );
    for report in [&reports.0, &reports.1, &reports.2] {
        assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }
    assert_eq!(targets(&rig, "/stream/").len(), 1);
    // The first look, and what the end of the claim has left: the stream shows both.
    let reads = targets(&rig, "/api/v1/applications/");
    let is_read =
        |target: &&String| target.ends_with("?project=default") && !target[21..].contains('/');
    assert_eq!(reads.iter().filter(is_read).count(), 0, "{reads:#?}");
    drop(subscription);
    run(&client, &wanted(&apps[0], "2")).await;
    assert_eq!(targets(&rig, "/stream/").len(), 2, "afterwards each has its own");
}

#[tokio::test]
async fn where_a_common_stream_is_refused_each_has_its_own() {
    let rig = Rig::start().await;
    let apps = three(&rig).await;
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    proxy.inject(Rule::new(Fault::Status(403)).path("/stream/applications?projects").always());
    let client = rig.client_at(&proxy.url());
    rig.server.forget_seen();
    let _subscription = subscribe(&client, &apps);
    let requests: Vec<_> = apps.iter().map(|app| wanted(app, "1")).collect();
    let reports = tokio::join!(run(&client, &requests[0]), run(&client, &requests[1]));
    for report in [&reports.0, &reports.1] {
        assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
        let is_blind =
            |warning: &DeployWarning| matches!(warning, DeployWarning::NotChecked { .. });
        assert!(!report.warnings.iter().any(is_blind), "{:?}", report.warnings);
    }
    assert_eq!(targets(&rig, "/stream/applications?name=").len(), 2);
}

#[tokio::test]
async fn what_only_a_cache_still_shows_is_no_reason_to_refuse() {
    let rig = Rig::start().await;
    let apps = three(&rig).await;
    let client = rig.client();
    let _subscription = subscribe(&client, &apps);
    rig.server.set_pace(Pace { cache_ms: 1000, ..Pace::default() });
    somebody_writes(&rig, &apps[0], "image.tag", "theirs").await;
    let report = run(&client, &wanted(&apps[0], "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    // What stood there when it was written over, and not what the cache showed.
    let old = &report.plan.unwrap().changes[0].old;
    assert_eq!(old.as_ref().unwrap()["value"], "theirs", "{old:?}");
    assert_eq!(rig.parameters(&apps[0]).await, [("image.tag".to_owned(), value("1"))]);
}

#[tokio::test]
async fn what_a_cache_renders_that_is_behind_is_rendered_again() {
    let rig = Rig::start().await;
    let apps = three(&rig).await;
    // Longer than a write waits for it.
    rig.server.set_pace(Pace { cache_ms: 2500, ..Pace::default() });
    let report = run(&rig.client(), &wanted(&apps[0], "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
}

#[tokio::test]
async fn what_is_read_together_is_as_it_is_now() {
    let rig = Rig::start().await;
    let apps = three(&rig).await;
    let client = rig.client();
    rig.server.set_pace(Pace { cache_ms: 1000, ..Pace::default() });
    // The last one: that which is refreshed for the list is the first.
    somebody_writes(&rig, &apps[2], "replicas", "3").await;
    rig.server.forget_seen();
    let read = read_together(&client, &apps).await;
    let shown: Vec<Value> = read
        .iter()
        .map(|app| {
            let app = app.as_ref().unwrap();
            let parameter =
                app.spec.sources().iter().next().unwrap().1.helm_parameters()[0].clone();
            json!([app.metadata.name, parameter["value"]])
        })
        .collect();
    assert_eq!(json!(shown), json!([["a", "1"], ["b", "1"], ["c", "3"]]));
    let units: u32 = rig.server.seen().iter().map(|seen| seen.units).sum();
    assert_eq!(units, 2, "a refresh, and nothing for each: {:#?}", rig.server.seen());
}

#[tokio::test]
async fn what_is_gone_is_told_among_those_that_are_read_together() {
    let rig = Rig::start().await;
    let mut apps = three(&rig).await;
    apps.push(AppRef { project: Some("default".into()), ..AppRef::new("none") });
    let read = read_together(&rig.client(), &apps).await;
    let is_there: Vec<bool> = read.iter().map(Result::is_ok).collect();
    assert_eq!(is_there, [true, true, true, false]);
    assert!(matches!(read[3].as_ref().unwrap_err().kind, verbatim_argocd::ErrorKind::NotFound(_)));
}

#[tokio::test]
async fn without_a_controller_they_are_read_one_by_one() {
    let rig = Rig::start().await;
    let apps = three(&rig).await;
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    proxy.inject(Rule::new(Fault::Status(504)).path("refresh=").always());
    let read = read_together(&rig.client_at(&proxy.url()), &apps).await;
    assert!(read.iter().all(Result::is_ok), "{read:?}");
}

#[tokio::test]
async fn a_list_that_is_older_than_what_was_seen_is_not_enough() {
    let rig = Rig::start().await;
    let apps = three(&rig).await;
    let client = rig.client();
    rig.server.set_pace(Pace { cache_ms: 1000, ..Pace::default() });
    somebody_writes(&rig, &apps[0], "replicas", "3").await;
    let now = client.get(&apps[0]).await.unwrap().metadata.resource_version;
    let read = read_since(&client, &apps[0], "argocd", &now).await.unwrap();
    assert_eq!(read.metadata.resource_version, now);
}
