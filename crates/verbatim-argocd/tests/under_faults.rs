//! Every request of a deployment meets every fault. Whatever is said about the end must be true of the server.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use futures_util::{StreamExt, stream};
use http::Method;
use serde_json::json;
use simulated_argocd::Pace;

use verbatim_argocd::{
    AppRef, ClaimState, Client, DeployOutcome, ErrorKind, Leftover, UndoResult, deploy,
};
use verbatim_http::RetryPolicy;

use support::{Rig, value, wanted};

/// The requests of a deployment, by method and a part of the path.
const REQUESTS: [(&str, &str, usize); 11] = [
    ("GET", "/stream/", 0),
    ("GET", "/api/v1/applications/", 0),
    ("GET", "/can-i/", 0),
    ("GET", "/syncwindows", 0),
    ("PATCH", "/applications/", 0),
    ("GET", "/manifests", 0),
    ("POST", "/sync", 0),
    ("GET", "refresh=", 0),
    ("GET", "/managed-resources", 0),
    ("GET", "/resource?", 0),
    // The end of the claim.
    ("PATCH", "/applications/", 1),
];

fn faults() -> Vec<Fault> {
    vec![
        Fault::Close,
        Fault::Reset,
        Fault::Delay(300),
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(404),
        Fault::TooManyRequests { retry_after: 1 },
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::Html,
        Fault::Truncate,
        Fault::TruncateReset,
        Fault::Stall,
        Fault::StallBody,
    ]
}

/// What was found after a deployment under a fault.
struct End {
    place: String,
    outcome: Result<DeployOutcome, verbatim_argocd::Error>,
    value: Option<String>,
    claim: Option<ClaimState>,
    proxied: usize,
}

/// Only what never answers has to be waited for. Everything else may take its time on a busy machine.
fn patience(fault: &Fault) -> Duration {
    let stalls = matches!(fault, Fault::Stall | Fault::StallBody);
    Duration::from_secs(if stalls { 4 } else { 20 })
}

async fn deploy_under(
    rig: &Rig,
    name: String,
    rule: Rule,
    patience: Duration,
    place: String,
) -> End {
    let app = rig.app(&name, false, json!([{ "name": "image.tag", "value": "old" }])).await;
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    proxy.inject(rule);
    let mut config = rig.config(&proxy.url(), rig.server.tokens().bot);
    config.timeouts.read = patience;
    config.timeouts.write = patience;
    config.timeouts.refresh = patience;
    let client = Client::new(config).unwrap();
    let outcome = deploy(&client, &wanted(&app, "1"), &|_| {}).await.map(|report| report.outcome);
    let (value, claim) = state(rig, &app).await;
    End { place, outcome, value, claim, proxied: proxy.faults_injected() }
}

async fn state(rig: &Rig, app: &AppRef) -> (Option<String>, Option<ClaimState>) {
    let tag = rig.parameters(app).await.into_iter().find(|(name, _)| name == "image.tag");
    (tag.map(|(_, value)| value), rig.claim(app).await.map(|claim| claim.state))
}

/// What must hold however it ends: what is said to be written is, and what is said not to be is not.
fn check(end: &End, may_fail: bool) {
    let End { place, outcome, value: found, claim, .. } = end;
    let (ours, old) = (Some(value("1")), Some("old".to_owned()));
    match outcome {
        Ok(DeployOutcome::Proven { .. }) => assert_eq!(*found, ours, "{place}"),
        Ok(DeployOutcome::Refused { undo: UndoResult::NotNeeded | UndoResult::Done, .. }) => {
            assert_eq!(*found, old, "{place}: {outcome:?}");
            assert_ne!(*claim, Some(ClaimState::Open), "{place}");
        }
        Ok(DeployOutcome::TakenBack { .. }) => {
            assert_eq!(*found, old, "{place}: {outcome:?}");
            assert_ne!(*claim, Some(ClaimState::Open), "{place}");
        }
        Ok(DeployOutcome::Unknown { left, .. }) => match left {
            Leftover::Nothing | Leftover::PreviousValues => {
                assert_eq!(*found, old, "{place}: {outcome:?}")
            }
            Leftover::PerhapsValues | Leftover::Operation => {}
            Leftover::Values | Leftover::ValuesAndOperation => {
                assert_eq!(*found, ours, "{place}: {outcome:?}")
            }
        },
        Ok(other) => panic!("{place}: {other:?}"),
        Err(error) => {
            assert_eq!(*found, old, "{place}: {error}: {}", error.kind);
            assert_ne!(*claim, Some(ClaimState::Open), "{place}: {error}: {}", error.kind);
        }
    }
    if !may_fail {
        assert!(matches!(outcome, Ok(DeployOutcome::Proven { .. })), "{place}: {outcome:?}");
    }
}

/// Faults that pass by themselves must not fail a deployment, wherever they strike once.
fn passes(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Close
            | Fault::Reset
            | Fault::Delay(_)
            | Fault::TooManyRequests { .. }
            | Fault::Status(502 | 503)
            | Fault::Truncate
            | Fault::TruncateReset
            | Fault::Stall
            | Fault::StallBody
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_at_any_request_is_survived_or_told_truly() {
    // Most of the time is spent waiting for deadlines, so some rows go at once.
    stream::iter(REQUESTS)
        .for_each_concurrent(3, |(method, path, nth)| row(method, path, nth))
        .await;
}

async fn row(method: &str, path: &str, nth: usize) {
    // A server of its own: the simulated controller slows down with the number of applications.
    let rig = Rig::start().await;
    // Late enough that every deployment has to ask for the comparison after its operation, on a busy machine, too.
    rig.server.set_pace(Pace { settle_ms: 3000, ..Pace::default() });
    let mut cells = Vec::new();
    for (index, fault) in faults().into_iter().enumerate() {
        for delivered in [false, true] {
            // Only a write that took effect before its answer was lost is another case.
            if delivered && method == "GET" {
                continue;
            }
            let rule = Rule::new(fault.clone())
                .method(&method.parse::<Method>().unwrap())
                .path(path)
                .nth(nth);
            let rule = if delivered { rule.delivered() } else { rule };
            let place = format!("{method} {path} {nth} {fault:?} delivered={delivered}");
            cells.push((format!("f{index}-{delivered}"), rule, place, fault.clone()));
        }
    }
    let count = cells.len();
    let mut ends =
        stream::iter(cells)
            .map(|(name, rule, place, fault)| {
                let rig = &rig;
                async move {
                    (deploy_under(rig, name, rule, patience(&fault), place).await, passes(&fault))
                }
            })
            .buffer_unordered(2);
    let mut seen = 0;
    while let Some((end, passes)) = ends.next().await {
        check(&end, !passes);
        assert_eq!(end.proxied, 1, "{}: no request met the fault", end.place);
        seen += 1;
    }
    assert_eq!(seen, count);
}

#[tokio::test]
async fn a_server_that_goes_away_for_good_is_told_truly() {
    let rig = Rig::start().await;
    for (r, (method, path, nth)) in REQUESTS.iter().enumerate().skip(1) {
        let app = rig
            .app(&format!("gone{r}"), false, json!([{ "name": "image.tag", "value": "old" }]))
            .await;
        let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
        proxy.inject(
            Rule::new(Fault::Unreachable)
                .method(&method.parse::<Method>().unwrap())
                .path(path)
                .nth(*nth),
        );
        let mut config = rig.config(&proxy.url(), rig.server.tokens().bot);
        config.retry = RetryPolicy { attempts: 2, ..config.retry };
        let client = Client::new(config).unwrap();
        let mut request = wanted(&app, "1");
        request.options.timeout = Duration::from_secs(4);
        let outcome = deploy(&client, &request, &|_| {}).await.map(|report| report.outcome);
        let (found, _) = state(&rig, &app).await;
        let place = format!("{method} {path} {nth}");
        match outcome {
            Err(error) => {
                assert!(
                    matches!(error.kind, ErrorKind::Unreachable(_)),
                    "{place}: {:?}",
                    error.kind
                );
                assert_eq!(found.as_deref(), Some("old"), "{place}");
            }
            // Connections that stood already go on to work.
            Ok(DeployOutcome::Proven { .. }) => assert_eq!(found, Some(value("1")), "{place}"),
            Ok(DeployOutcome::Unknown { left: Leftover::PerhapsValues, .. }) => {}
            Ok(DeployOutcome::Unknown { left, missing, .. }) => {
                assert!(
                    matches!(left, Leftover::Values | Leftover::ValuesAndOperation),
                    "{place}: {left:?} {missing}"
                );
                assert_eq!(found, Some(value("1")), "{place}");
            }
            Ok(other) => panic!("{place}: {other:?}"),
        }
    }
}
