//! Our writes and those of another client to one application of a simulated Argo CD, side by side: what was lost is told,
//! and what was not compared is not closed.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use serde_json::{Value, json};
use simulated_argocd::Pace;
use tokio::sync::Notify;
use verbatim_argocd::cli::status;
use verbatim_argocd::{
    AppRef, Claim, ClaimState, Client, ClosedClaim, DeployEvent, DeployOutcome, DeployStep,
    DeployWarning, NotClosed, close_claim, deploy,
};

use support::{Rig, run, wanted};

/// An application with a proven deployment, whose claim is to be closed with its record.
struct Proven {
    rig: Rig,
    client: Client,
    app: AppRef,
    end: Claim,
}

async fn proven() -> Proven {
    let rig = Rig::start().await;
    let client = rig.client();
    let app = rig.app("shop", false, json!([])).await;
    let mut ours = wanted(&app, "1");
    ours.options.close_claim = false;
    let claim = run(&client, &ours).await.claim.unwrap();
    let end = Claim { record: Some("1@sha256:a".into()), ..claim.in_state(ClaimState::Done) };
    Proven { rig, client, app, end }
}

/// Closes a claim while another client writes: it reads after us and writes before us.
async fn closed_beside(rig: &Rig, app: &AppRef, end: &Claim, change: Value) -> ClosedClaim {
    let client = rig.client();
    rig.server.forget_seen();
    rig.server.set_pace(Pace { write_ms: 300, ..Pace::default() });
    let other = async {
        while rig.writes().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.server.set_pace(Pace { write_ms: 0, ..Pace::default() });
        client.patch(app, change.to_string()).await.unwrap();
    };
    tokio::join!(close_claim(&client, app, end), other).0
}

#[tokio::test]
async fn a_change_of_somebody_else_that_our_write_overlaid_is_told() {
    for pointer in OVERLAID {
        overlaid_by(DeployStep::Write, pointer).await;
    }
}

#[tokio::test]
async fn a_change_of_somebody_else_that_closing_the_claim_overlaid_is_told() {
    for pointer in OVERLAID {
        overlaid_by(DeployStep::Close, pointer).await;
    }
}

#[tokio::test]
async fn a_change_of_somebody_else_that_closing_with_the_record_overlaid_is_told() {
    let Proven { rig, app, end, .. } = proven().await;
    let change = json!([{ "op": "add", "path": "/spec/revisionHistoryLimit", "value": 3 }]);
    let closed = closed_beside(&rig, &app, &end, change).await;
    closed.end.unwrap();
    let warnings = closed.warnings;
    let survived = rig.spec("shop").await["revisionHistoryLimit"] == 3;
    let lost = DeployWarning::LostForeignChange {
        path: "/spec/revisionHistoryLimit".into(),
        value: "3".into(),
    };
    assert!(survived || warnings.contains(&lost), "{warnings:?}");
    // What was written last stands. If that is theirs, it may have brought the open claim back.
    assert!(survived || rig.claim(&app).await == Some(end));
}

#[tokio::test]
async fn a_proof_whose_values_were_gone_while_its_claim_was_closed_is_none() {
    let Proven { rig, app, end, .. } = proven().await;
    let change = json!([{ "op": "remove", "path": "/spec/source/helm/parameters" }]);
    let closed = closed_beside(&rig, &app, &end, change).await;
    // Ours overlaid theirs and stands, or theirs came last. In neither case is it known what runs.
    assert!(matches!(closed.end, Err(NotClosed::Changed(_))), "{closed:?}");
}

#[tokio::test]
async fn a_claim_is_never_closed_over_what_was_not_compared() {
    let Proven { rig, client, app, end } = proven().await;
    let change =
        json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "x" }]);
    client.patch(&app, change.to_string()).await.unwrap();
    let closed = close_claim(&client, &app, &end).await;
    assert!(matches!(closed.end, Err(NotClosed::Changed(_))), "{closed:?}");
    assert_eq!(rig.claim(&app).await.map(|claim| claim.state), Some(ClaimState::Open));
    // Nor is the loss of both a mere loss of the claim.
    let wiped = json!([{ "op": "remove", "path": "/metadata/annotations/verbatim.dev~1claim" }])
        .to_string();
    client.patch(&app, wiped).await.unwrap();
    let closed = close_claim(&client, &app, &end).await;
    assert!(matches!(closed.end, Err(NotClosed::Changed(_))), "{closed:?}");
    // Another run took it over, with the same values.
    let mut theirs = wanted(&app, "1");
    theirs.options.take_over = true;
    run(&client, &theirs).await;
    let theirs = rig.claim(&app).await;
    let closed = close_claim(&client, &app, &end).await;
    assert!(matches!(closed.end, Err(NotClosed::TakenOver)), "{closed:?}");
    assert_eq!(rig.claim(&app).await, theirs);
}

/// The server refuses every patch of what does not render. A claim that nobody can close would keep others away.
#[tokio::test]
async fn a_claim_is_closed_on_what_does_not_render_any_more() {
    let Proven { rig, client, app, end } = proven().await;
    rig.remove_chart();
    let patch = json!([{ "op": "add", "path": "/metadata/annotations/x", "value": "y" }]);
    assert!(client.patch(&app, patch.to_string()).await.is_err());
    rig.server.forget_seen();
    close_claim(&client, &app, &end).await.end.unwrap();
    assert_eq!(rig.claim(&app).await, Some(end));
    let put = "PUT /api/v1/applications/shop?project=default&validate=false";
    assert!(rig.writes().iter().any(|write| write == put), "{:?}", rig.writes());
}

/// What another client changes: a value of the source, and fields beside it.
const OVERLAID: [&str; 3] =
    ["/spec/source/helm/parameters/0/value", "/spec/revisionHistoryLimit", "/metadata/labels/team"];

#[tokio::test]
async fn what_is_put_back_is_told_and_so_is_what_that_overlaid() {
    for pointer in OVERLAID {
        overlaid_by(DeployStep::Undo, pointer).await;
    }
}

/// Another client changes something while one of our writes is under way.
async fn overlaid_by(step: DeployStep, pointer: &str) {
    let rig = Rig::start().await;
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    let is_undone = step == DeployStep::Undo;
    if is_undone {
        // No sync begins, so the values go back.
        let rule = Rule::new(Fault::Status(404)).method(&"POST".parse().unwrap());
        proxy.inject(rule.path("/sync").always());
    }
    let client = rig.client_at(&proxy.url());
    let app = rig.app("shop", false, json!([{ "name": "replicas", "value": "1" }])).await;
    let value = if pointer.ends_with("Limit") { json!(3) } else { json!("3") };
    let operation = if pointer.ends_with("/value") { "replace" } else { "add" };
    let mut change = vec![json!({ "op": operation, "path": pointer, "value": value })];
    if pointer.starts_with("/metadata/labels") {
        change.insert(0, json!({ "op": "add", "path": "/metadata/labels", "value": {} }));
    }
    let change = Value::Array(change);
    rig.server.set_pace(Pace { write_ms: 300, ..Pace::default() });
    let wrote = Notify::new();
    let ours = wanted(&app, "1");
    let listen = |event: DeployEvent| {
        if matches!(event, DeployEvent::Begin { step: begun } if begun == step) {
            wrote.notify_one();
        }
    };
    let deployment = deploy(&client, &ours, &listen);
    let other = async {
        wrote.notified().await;
        // Reads after us and writes before us: gone with our write, though it is answered 200.
        rig.server.set_pace(Pace { write_ms: 0, ..Pace::default() });
        client.patch(&app, change.to_string()).await.unwrap();
    };
    let (report, ()) = tokio::join!(deployment, other);
    let report = report.unwrap();
    let survived = client.object(&app).await.unwrap().pointer(pointer) == Some(&value);
    let is_it = |warning: &DeployWarning| match warning {
        DeployWarning::LostForeignChange { path, value } => {
            path.replace("replicas/", "0/") == pointer && value == "3"
        }
        _ => false,
    };
    // Which of the two reads first is the server's business; what must not be is a loss without a word.
    assert!(survived || report.warnings.iter().any(is_it), "{pointer}: {report:?}");
    let text = report.to_string();
    match &report.outcome {
        _ if !is_undone => {}
        DeployOutcome::TakenBack { .. } => {
            assert!(
                text.contains("the values were written, and the previous ones are back"),
                "{text}"
            );
            assert_eq!(status(&report).code(), 7);
        }
        // Theirs came last, and brought our values again.
        _ => {
            assert!(survived && text.contains("another client wrote over them"), "{text}");
            assert_eq!(status(&report).code(), 4);
        }
    }
}
