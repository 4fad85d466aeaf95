//! Pods that do not start, on a simulated Argo CD: what is told of them, and when.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use simulated_argocd::{Behaviour, PodRule};
use verbatim_argocd::cli::status;
use verbatim_argocd::{
    Client, DeployEvent, DeployOptions, DeployOutcome, DeployReport, DeployRequest, deploy, prove,
};

use support::{Rig, digest, quick, run, wanted};

fn rule(release: &str, behaviour: Behaviour) -> Vec<PodRule> {
    vec![PodRule { image: digest(release).to_string(), behaviour }]
}

/// Deploys, and gives the obstacles that were told on the way.
async fn told(rig: &Rig, request: &DeployRequest) -> (DeployReport, Vec<String>) {
    let told = Mutex::new(Vec::new());
    let listener = |event| {
        if let DeployEvent::Obstructed { obstacle } = event {
            told.lock().unwrap().push(obstacle.to_string());
        }
    };
    let report = deploy(&rig.client(), request, &listener).await.unwrap();
    (report, told.into_inner().unwrap())
}

#[tokio::test]
async fn a_container_that_crashes_is_told_with_the_end_of_its_log() {
    let rig = Rig::start().await;
    let app = rig.app("log", false, json!([])).await;
    let log = "starting\ncannot find \u{1b}[31mDATABASE_URL\n".to_owned();
    rig.server.set_pod_rules(rule("log", Behaviour::CrashLogging(log)));
    let mut request = wanted(&app, "log");
    request.options.stuck_after = Duration::from_secs(3);
    let (report, told) = told(&rig, &request).await;
    assert_eq!(status(&report).code(), 1);
    let why = "container web (and 1 other pod) ends with exit status 1, Error, and was started again once";
    assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
    // A pipeline's token seldom may read logs.
    let text = report.to_string();
    assert!(
        text.contains(why) && text.contains("its log cannot be read: permission denied"),
        "{text}"
    );
    let admin = Client::new(rig.config(&rig.server.url(), rig.server.tokens().admin)).unwrap();
    rig.server.forget_seen();
    let report = prove(&admin, &app, &request.images, &request.options, &|_| {}).await.unwrap();
    let text = report.to_string();
    assert!(text.contains("2 pods with the wanted image keep failing"), "{text}");
    assert!(text.contains(why) && text.contains("    | starting\n"), "{text}");
    assert!(text.contains("    | cannot find \\u{1b}[31mDATABASE_URL\n"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    let obstacle = &json["outcome"]["obstacles"][0];
    assert_eq!((&obstacle["obstacle"], &obstacle["exit_code"]), (&json!("crash"), &json!(1)));
    // One log, once.
    let logs = rig.server.seen().into_iter().filter(|seen| seen.target.contains("/logs"));
    assert_eq!(logs.count(), 1);
}

#[tokio::test]
async fn a_pod_without_a_node_is_told_at_once_and_at_the_deadline() {
    let rig = Rig::start().await;
    let app = rig.app("no-node", false, json!([])).await;
    rig.server.set_pod_rules(rule("no-node", Behaviour::Unschedulable));
    let mut request = wanted(&app, "no-node");
    request.options.timeout = Duration::from_secs(9);
    let (report, told) = told(&rig, &request).await;
    let why = "(and 1 other pod) has no node, Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.";
    assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
    assert!(report.to_string().contains(why), "{report}");
    assert_eq!(status(&report).code(), 4);
    // The same when it is only looked at, for less than the time in which that may be as usual.
    let options = DeployOptions { timeout: Duration::from_secs(2), ..quick() };
    let report = prove(&rig.client(), &app, &request.images, &options, &|_| {}).await.unwrap();
    assert!(report.to_string().contains(why), "{report}");
}

#[tokio::test]
async fn what_starts_is_not_read_for_that() {
    let rig = Rig::start().await;
    let app = rig.app("well", false, json!([])).await;
    let report = run(&rig.client(), &wanted(&app, "well")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    let seen = rig.server.seen();
    let of_obstacles = |target: &str| target.contains("/logs") || target.contains("/events");
    assert!(!seen.iter().any(|seen| of_obstacles(&seen.target)), "{seen:?}");
    // The Deployment and its two pods, for the proof.
    assert_eq!(seen.iter().filter(|seen| seen.target.contains("/resource?")).count(), 3);
}
