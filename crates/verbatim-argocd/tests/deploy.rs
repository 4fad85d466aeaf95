//! Deployments to a simulated Argo CD: what is written, what is taken back, and what is said about it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use serde_json::json;
use simulated_argocd::{Behaviour, Pace, PodRule};
use tokio::sync::Notify;
use verbatim_argocd::cli::status;
use verbatim_argocd::{
    AppFailure, AppRef, Claim, ClaimState, Client, DeployEvent, DeployOptions, DeployOutcome,
    DeployRequest, DeployStep, DeployWarning, EvidenceLevel, ImageMatch, KnownBy, Leftover,
    ProofStage, SyncRequest, SyncUntil, UndoResult, WriteRefusal, close_claim, deploy, nonce,
    prove, read_claim, sync, undo_last,
};

use support::{Rig, digest, image, quick, run, value, wanted};

fn tag(release: &str) -> Vec<(String, String)> {
    vec![("image.tag".to_owned(), value(release))]
}

fn rule(image: &str, behaviour: Behaviour) -> Vec<PodRule> {
    vec![PodRule { image: image.to_owned(), behaviour }]
}

#[tokio::test]
async fn a_digest_is_deployed_and_proven_with_few_requests() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    rig.server.forget_seen();
    let request = wanted(&app, "1");
    let report = run(&rig.client(), &request).await;
    let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(status(&report).code(), 0);
    assert_eq!(proof.operation.as_ref().unwrap().known_by, KnownBy::Nonce);
    assert_eq!(proof.workloads[0].level, EvidenceLevel::Pods { pods: 2 });
    assert!(
        proof.workloads[0]
            .containers
            .iter()
            .all(|container| container.matched == ImageMatch::Deployed)
    );
    assert_eq!(proof.revisions[0].len(), 40);
    assert_eq!(rig.parameters(&app).await, tag("1"));

    let claim = rig.claim(&app).await.unwrap();
    assert_eq!((claim.state, claim.nonce.as_str()), (ClaimState::Done, request.nonce.as_str()));
    assert_eq!(claim.changes[0].old, None);

    // The first only asks for the chart's parameters.
    let writes = rig.writes();
    let writes: Vec<&str> = writes.iter().map(|write| write.rsplit('/').next().unwrap()).collect();
    assert_eq!(writes, ["appdetails", "shop", "sync", "shop"]);
    // Reads of the application cost the cluster a request each: the first look, and the refresh after the operation.
    let seen = rig.server.seen();
    let reads = seen.iter().filter(|seen| {
        seen.method == "GET"
            && (seen.target == "/api/v1/applications/shop"
                || seen.target.starts_with("/api/v1/applications/shop?"))
    });
    // One more for the look of this test.
    assert!(reads.count() <= 5, "{seen:#?}");
}

#[tokio::test]
async fn an_automatic_sync_is_left_to_itself_and_adopted() {
    let rig = Rig::start().await;
    let app = rig.app("auto", true, json!([])).await;
    rig.server.forget_seen();
    let report = run(&rig.client(), &wanted(&app, "1")).await;
    let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
    let operation = proof.operation.as_ref().unwrap();
    assert!(operation.initiated_by.automated, "{operation:?}");
    assert!(!rig.writes().iter().any(|write| write.ends_with("/sync")), "{:?}", rig.writes());
    assert!(
        report.warnings.iter().all(|warning| matches!(warning, DeployWarning::NotChecked { .. })),
        "{report:?}"
    );
}

#[tokio::test]
async fn what_runs_already_is_proven_without_a_write() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    run(&rig.client(), &wanted(&app, "1")).await;
    rig.server.forget_seen();
    let report = run(&rig.client(), &wanted(&app, "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert!(rig.writes().is_empty(), "{:?}", rig.writes());
}

/// What an earlier run left without proof is proven now, and its claim says so.
#[tokio::test]
async fn the_claim_of_a_run_without_proof_is_closed_by_the_next() {
    let rig = Rig::start().await;
    rig.server.set_pace(Pace { settle_ms: 1000, ..Pace::default() });
    let app = rig.app("shop", false, json!([])).await;
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    proxy.inject(Rule::new(Fault::Status(401)).path("refresh="));
    let report = run(&rig.client_at(&proxy.url()), &wanted(&app, "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Unknown { .. }), "{report:?}");
    assert_eq!(report.claim.unwrap().state, ClaimState::Failed);
    rig.server.forget_seen();
    let report = run(&rig.client(), &wanted(&app, "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert_eq!(report.claim.unwrap().state, ClaimState::Done);
    // The values stand: only the claim is written.
    assert_eq!(rig.writes().len(), 1, "{:?}", rig.writes());
    assert_eq!(rig.claim(&app).await.unwrap().state, ClaimState::Done);
}

#[tokio::test]
async fn a_dry_run_and_every_early_refusal_write_nothing() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    rig.server.forget_seen();
    let mut request = wanted(&app, "1");
    request.options.dry_run = true;
    let report = run(&rig.client(), &request).await;
    assert!(matches!(report.outcome, DeployOutcome::Planned), "{report:?}");
    let plan = report.plan.unwrap();
    assert_eq!((plan.changes.len(), plan.changes[0].old.as_ref()), (1, None));

    // A token that may only read.
    request.options.dry_run = false;
    let reader = Client::new(rig.config(&rig.server.url(), rig.server.tokens().reader)).unwrap();
    let report = run(&reader, &request).await;
    let DeployOutcome::Refused { reasons, undo: UndoResult::NotNeeded } = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(status(&report).code(), 7);

    // A parameter that the chart lacks, where the token may ask for them.
    let admin = Client::new(rig.config(&rig.server.url(), rig.server.tokens().admin)).unwrap();
    let mut typo = wanted(&app, "1");
    typo.values.helm = [("image.tga".to_owned(), value("1"))].into();
    let report = run(&admin, &typo).await;
    let DeployOutcome::Refused { reasons, .. } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(
        reasons,
        &[WriteRefusal::MissingParameter {
            name: "image.tga".into(),
            similar: Some("image.tag".into())
        }]
    );
    let asked = ["/api/v1/repositories/", "/appdetails"];
    let writes = rig.writes();
    assert!(writes.iter().all(|write| asked.iter().all(|part| write.contains(part))), "{writes:?}");
}

#[tokio::test]
async fn manifests_without_the_digest_stop_it_and_the_old_values_come_back() {
    let rig = Rig::start().await;
    let client = rig.client();
    let before =
        json!([{ "name": "replicas", "value": "1" }, { "name": "image.tag", "value": "old" }]);
    // A misspelt parameter that is written all the same, and a file in git that wins over the application.
    for (name, automated, parameter) in [
        ("typo", false, "image.tga"),
        ("shadow", false, "image.tag"),
        ("autotypo", true, "image.tga"),
    ] {
        let app = rig.app(name, automated, before.clone()).await;
        let mut request = wanted(&app, "1");
        request.values.helm = [(parameter.to_owned(), value("1"))].into();
        request.options.allow_unknown_parameters = true;
        let report = run(&client, &request).await;
        let DeployOutcome::Refused { reasons, undo: UndoResult::Done } = &report.outcome else {
            panic!("{name}: {report:?}")
        };
        assert!(matches!(reasons[..], [WriteRefusal::NotRendered { .. }]), "{name}: {reasons:?}");
        assert_eq!(status(&report).code(), 1);
        let pairs =
            [("replicas", "1"), ("image.tag", "old")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(rig.parameters(&app).await, pairs, "{name}");
        assert_eq!(report.claim.unwrap().state, ClaimState::Undone, "{name}");
    }
}

#[tokio::test]
async fn nodes_that_report_something_else_make_the_proof_fail() {
    let rig = Rig::start().await;
    let client = rig.client();
    let old = format!("{}@{}", support::REPOSITORY, digest("old"));
    let cases = [
        (
            "older",
            old.clone(),
            format!("the node reports {old}, which is not {}", image(digest("older"))),
        ),
        ("silent", String::new(), "it runs, and the node does not report which image".to_owned()),
    ];
    for (release, image_id, want) in cases {
        let app = rig.app(release, false, json!([])).await;
        rig.server.set_pod_rules(rule(&digest(release).to_string(), Behaviour::ImageId(image_id)));
        let report = run(&client, &wanted(&app, release)).await;
        let DeployOutcome::NotProven { at: ProofStage::Cluster, problems } = &report.outcome else {
            panic!("{report:?}")
        };
        assert_eq!(problems[0].what.to_string(), want);
        assert_eq!(status(&report).code(), 1);
        assert_eq!(report.claim.as_ref().unwrap().state, ClaimState::Failed);
        // The values stand, and can be taken back by name.
        assert_eq!(rig.parameters(&app).await, tag(release));
        assert_eq!(undo_last(&client, &app).await.unwrap().undo, UndoResult::Done);
        assert_eq!(rig.parameters(&app).await, []);
    }
}

#[tokio::test]
async fn a_platforms_manifest_and_a_config_are_the_image_too() {
    let rig = Rig::start().await;
    let client = rig.client();
    let cases = [
        (
            "by-manifest",
            format!("docker-pullable://mirror.example.com/web@{}", digest("amd64")),
            ImageMatch::PlatformManifest,
        ),
        ("by-config", digest("config").to_string(), ImageMatch::Config),
    ];
    for (release, image_id, want) in cases {
        let app = rig.app(release, false, json!([])).await;
        rig.server.set_pod_rules(rule(&digest(release).to_string(), Behaviour::ImageId(image_id)));
        let mut request = wanted(&app, release);
        request.images[0].manifests = [digest("amd64"), digest("arm64")].into();
        request.images[0].configs = [digest("config")].into();
        let report = run(&client, &request).await;
        let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
        assert!(
            proof.workloads[0].containers.iter().all(|container| container.matched == want),
            "{proof:?}"
        );
        // And the same judged without a deployment.
        let report = prove(&client, &app, &request.images, &quick(), &|_| {}).await.unwrap();
        assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    }
}

#[tokio::test]
async fn pods_that_do_not_start_are_named_before_the_deadline() {
    let rig = Rig::start().await;
    let client = rig.client();
    for (release, behaviour) in [("pull", Behaviour::ImagePullBackOff), ("crash", Behaviour::Crash)]
    {
        let app = rig.app(release, false, json!([])).await;
        rig.server.set_pod_rules(rule(&digest(release).to_string(), behaviour));
        let mut request = wanted(&app, release);
        request.options.stuck_after = Duration::from_millis(1);
        let report = run(&client, &request).await;
        let DeployOutcome::Degraded { why: AppFailure::Stuck { pods }, .. } = &report.outcome
        else {
            panic!("{report:?}")
        };
        assert!(pods[0].health.message.len() > 5, "{pods:?}");
        assert_eq!(status(&report).code(), 1);
    }
    // Not ready, and no failure to see: unknown at the deadline, never success.
    let app = rig.app("waits", false, json!([])).await;
    rig.server.set_pod_rules(rule(&digest("waits").to_string(), Behaviour::NeverReady));
    let mut request = wanted(&app, "waits");
    request.options.timeout = Duration::from_secs(3);
    let report = run(&client, &request).await;
    let DeployOutcome::Unknown { left: Leftover::ValuesAndOperation, missing, .. } =
        &report.outcome
    else {
        panic!("{report:?}")
    };
    assert!(missing.to_string().contains("Progressing"), "{missing}");
    assert_eq!(status(&report).code(), 4);
}

#[tokio::test]
async fn where_the_controller_stays_away_nothing_is_written() {
    let rig = Rig::start().await;
    let app = rig.app("skipped", false, json!([])).await;
    let patch =
        json!({ "metadata": { "annotations": { "argocd.argoproj.io/skip-reconcile": "true" } } });
    rig.patch(&app, &patch).await;
    let writes = rig.writes().len();
    let client = rig.client();
    let request = SyncRequest { nonce: nonce().unwrap(), ..SyncRequest::default() };
    let synced = sync(&client, &app, &request, SyncUntil::Healthy, &quick(), &|_| {}).await;
    for report in [run(&client, &wanted(&app, "1")).await, synced.unwrap()] {
        let DeployOutcome::Refused { reasons, .. } = &report.outcome else { panic!("{report:?}") };
        assert_eq!(*reasons, [WriteRefusal::NotReconciled]);
        assert_eq!(status(&report).code(), 1);
    }
    assert_eq!(rig.writes().len(), writes);
}

#[tokio::test]
async fn of_two_deployments_at_once_one_is_proven_and_the_other_says_so() {
    let rig = Rig::start().await;
    let client = rig.client();
    // Slow writes overlap: both are answered 200, and one of them is lost.
    rig.server.set_pace(Pace { write_ms: 150, ..Pace::default() });
    for round in 0..4 {
        let app = rig.app(&format!("shop{round}"), round % 2 == 1, json!([])).await;
        let (a, b) = (wanted(&app, "a"), wanted(&app, "b"));
        let (a, b) = tokio::join!(run(&client, &a), run(&client, &b));
        let now = rig.parameters(&app).await;
        for (report, release) in [(&a, "a"), (&b, "b")] {
            match &report.outcome {
                DeployOutcome::Proven { .. } => assert_eq!(now, tag(release), "{report:?}"),
                DeployOutcome::Overwritten { .. } => {
                    assert_ne!(now, tag(release), "{report:?}");
                    assert_eq!(status(report).code(), 5);
                }
                DeployOutcome::Refused { reasons, undo: UndoResult::NotNeeded } => {
                    assert!(
                        matches!(
                            reasons[0],
                            WriteRefusal::Claimed { .. } | WriteRefusal::PlanOutdated { .. }
                        ),
                        "{report:?}"
                    );
                }
                _ => panic!("{report:?}"),
            }
        }
        let proven = [&a, &b]
            .into_iter()
            .filter(|r| matches!(r.outcome, DeployOutcome::Proven { .. }))
            .count();
        assert_eq!(proven, 1, "{a:?} {b:?}");
    }
}

/// Runs a deployment until a step is done, and drops it there, as a killed job is.
async fn killed_after(client: &Client, request: &DeployRequest, step: DeployStep) {
    let reached = Notify::new();
    let listen = |event: DeployEvent| {
        if matches!(event, DeployEvent::Done { step: done } if done == step) {
            reached.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = reached.notified() => {}
        report = deploy(client, request, &listen) => panic!("it ended before {step}: {report:?}"),
    }
}

#[tokio::test]
async fn the_claim_of_a_killed_run_is_respected_resumed_taken_over_or_undone() {
    let rig = Rig::start().await;
    let client = rig.client();
    let app = rig.app("shop", false, json!([{ "name": "image.tag", "value": "old" }])).await;
    let killed = wanted(&app, "killed");
    for step in [DeployStep::Write, DeployStep::Render, DeployStep::Sync] {
        rig.server.hold_operations("shop", true);
        killed_after(&client, &killed, step).await;
        rig.server.hold_operations("shop", false);
        // Another release does not touch it.
        let report = run(&client, &wanted(&app, "other")).await;
        let DeployOutcome::Refused { reasons, undo: UndoResult::NotNeeded } = &report.outcome
        else {
            panic!("{report:?}")
        };
        assert!(
            matches!(&reasons[..], [WriteRefusal::Claimed { release, .. }] if release == "killed"),
            "{reasons:?}"
        );
        assert_eq!(status(&report).code(), 5);
        // The same release finishes it.
        let report = run(&client, &wanted(&app, "killed")).await;
        assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
        assert!(
            report.warnings.contains(&DeployWarning::Resumed { nonce: killed.nonce.clone() }),
            "{report:?}"
        );
        let claim = report.claim.unwrap();
        assert_eq!(claim.state, ClaimState::Done);
        // The value before the killed run is the one to go back to.
        assert_eq!(claim.changes[0].old.as_ref().unwrap()["value"], "old");
        assert_eq!(undo_last(&client, &app).await.unwrap().undo, UndoResult::Done);
        assert_eq!(rig.parameters(&app).await, [("image.tag".to_owned(), "old".to_owned())]);
    }
    // With permission another release takes over.
    killed_after(&client, &killed, DeployStep::Write).await;
    let mut other = wanted(&app, "other");
    other.options.take_over = true;
    let report = run(&client, &other).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert_eq!(report.claim.unwrap().changes[0].old.as_ref().unwrap()["value"], "old");
    // And after its deadline without.
    let mut short = wanted(&app, "short");
    short.options.timeout = Duration::from_secs(1);
    killed_after(&client, &short, DeployStep::Write).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let report = run(&client, &wanted(&app, "late")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
}

#[tokio::test]
async fn claims_are_timed_by_the_clock_of_the_server() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    // As if this machine were ahead of all others.
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    proxy.inject(Rule::new(Fault::Date("Tue, 24 Nov 2026 10:00:00 GMT".into())).always());
    let client = rig.client_at(&proxy.url());
    let dead = wanted(&app, "1");
    killed_after(&client, &dead, DeployStep::Write).await;
    let claim = rig.claim(&app).await.unwrap();
    let begun: jiff::Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    assert!(claim.at.duration_since(begun).abs() < jiff::SignedDuration::from_mins(1), "{claim:?}");
    let report = run(&client, &wanted(&app, "2")).await;
    let DeployOutcome::Refused { reasons, .. } = &report.outcome else { panic!("{report:?}") };
    assert!(matches!(reasons[..], [WriteRefusal::Claimed { .. }]), "{reasons:?}");
}

#[tokio::test]
async fn what_a_dead_run_wrote_and_knew_is_neither_left_nor_forgotten() {
    let rig = Rig::start().await;
    let client = rig.client();
    let app = rig.app("shop", false, json!([{ "name": "note", "value": "original" }])).await;
    let with = |release: &str, keys: &[(&str, &str)]| {
        let mut request = wanted(&app, release);
        let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        request.values.helm.extend(keys);
        request.environment = Some("shop/dev".into());
        request
    };
    let claim = async || {
        let app = client.get(&app).await.unwrap();
        read_claim(&app, Some("shop/dev")).known().cloned().unwrap()
    };
    let note = async || {
        let parameters = rig.parameters(&app).await;
        parameters.into_iter().find(|(name, _)| name == "note").map(|(_, value)| value)
    };
    // The place in the ledger, as the runner writes it.
    let done = run(&client, &with("0", &[])).await.claim.unwrap();
    let end = Claim { record: Some("7@sha256:a".into()), ..done };
    close_claim(&client, &app, &end).await.end.unwrap();
    // A run that writes another key, too, and dies.
    killed_after(&client, &with("1", &[("note", "x")]), DeployStep::Write).await;
    let dead = claim().await;
    assert_eq!((dead.state, dead.record.as_deref()), (ClaimState::Open, Some("7@sha256:a")));
    assert_eq!(note().await.as_deref(), Some("x"));
    // One that has no such key takes over, and dies as well.
    let mut next = with("2", &[]);
    next.options.take_over = true;
    killed_after(&client, &next, DeployStep::Write).await;
    let dead = claim().await;
    assert_eq!(dead.record.as_deref(), Some("7@sha256:a"));
    assert_eq!(note().await.as_deref(), Some("original"));
    // Its own next run finishes it, without being told to.
    let report = run(&client, &with("2", &[])).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert_eq!(claim().await.record.as_deref(), Some("7@sha256:a"));
    assert_eq!(note().await.as_deref(), Some("original"));
}

#[tokio::test]
async fn a_taken_operation_slot_is_waited_for() {
    let rig = Rig::start().await;
    let client = rig.client();
    let app = rig.app("shop", false, json!([])).await;
    rig.server.hold_operations("shop", true);
    let other = verbatim_argocd::SyncRequest { nonce: "other".into(), ..Default::default() };
    client.sync(&app, &other).await.unwrap();
    let waiting = Notify::new();
    let listen = |event: DeployEvent| {
        if matches!(event, DeployEvent::Waiting { .. }) {
            waiting.notify_one();
        }
    };
    let request = wanted(&app, "1");
    let (report, ()) = tokio::join!(deploy(&client, &request, &listen), async {
        waiting.notified().await;
        rig.server.hold_operations("shop", false);
    });
    let report = report.unwrap();
    let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(proof.operation.as_ref().unwrap().known_by, KnownBy::Nonce);
    // An operation that never ends is no success.
    rig.server.hold_operations("shop", true);
    let mut request = wanted(&app, "2");
    request.options.timeout = Duration::from_secs(2);
    let report = run(&client, &request).await;
    assert!(matches!(report.outcome, DeployOutcome::Unknown { .. }), "{report:?}");
    assert_eq!(status(&report).code(), 4);
    rig.server.hold_operations("shop", false);
}

/// Before 3.0 a label is all that tells of a parent, and charts set the same label on their own.
#[tokio::test]
async fn a_parent_that_only_a_label_names_is_found_among_its_resources() {
    let rig = Rig::start().await;
    rig.app_of("parent", "root", true, json!([])).await;
    let heal =
        json!([{ "op": "add", "path": "/spec/syncPolicy/automated/selfHeal", "value": true }]);
    rig.client().patch(&"root".parse().unwrap(), heal.to_string()).await.unwrap();
    for (name, label) in [("child", "root"), ("other", "root"), ("third", "nobody")] {
        let app = rig.app(name, false, json!([])).await;
        let labels = json!([{
            "op": "add", "path": "/metadata/labels", "value": { "app.kubernetes.io/instance": label },
        }]);
        rig.client().patch(&app, labels.to_string()).await.unwrap();
        let report = run(&rig.client(), &wanted(&app, "1")).await;
        let is_refused = matches!(
            &report.outcome,
            DeployOutcome::Refused { reasons, .. }
                if matches!(&reasons[..], [WriteRefusal::Owned { name, known: true, .. }] if name == "root")
        );
        assert_eq!(is_refused, name == "child", "{name}: {report:?}");
        assert!(is_refused || status(&report).code() == 0, "{name}: {report:?}");
    }
    // With a label of its own, the usual one says nothing.
    rig.server.set_label_key("example.com/instance");
    let app: AppRef = "child".parse().unwrap();
    let report = run(&rig.client(), &wanted(&app, "2")).await;
    assert_eq!(status(&report).code(), 0, "{report:?}");
    let labels = json!([{
        "op": "add", "path": "/metadata/labels", "value": { "example.com/instance": "root" },
    }]);
    rig.client().patch(&app, labels.to_string()).await.unwrap();
    let report = run(&rig.client(), &wanted(&app, "3")).await;
    let DeployOutcome::Refused { reasons, .. } = &report.outcome else { panic!("{report:?}") };
    assert!(matches!(&reasons[..], [WriteRefusal::Owned { known: true, .. }]), "{reasons:?}");
}

#[tokio::test]
async fn owners_that_revert_are_refused_and_noticed() {
    let rig = Rig::start().await;
    let admin = Client::new(rig.config(&rig.server.url(), rig.server.tokens().admin)).unwrap();
    let app = rig.app("plain", false, json!([])).await;
    let source = serde_json::to_value(
        admin.get(&app).await.unwrap().spec.sources().iter().next().unwrap().1,
    )
    .unwrap();
    for (name, exempt) in
        [("strict", json!([])), ("lenient", json!([{ "jsonPointers": ["/spec/source/helm"] }]))]
    {
        let template = json!({
            "metadata": { "name": name },
            "spec": {
                "project": "default", "source": source,
                "destination": { "server": "https://kubernetes.default.svc", "namespace": name },
                "syncPolicy": { "syncOptions": ["CreateNamespace=true"] },
            },
        });
        rig.post(
            "/api/v1/applicationsets",
            json!({
                "metadata": { "name": name },
                "spec": {
                    "generators": [{ "list": { "elements": [{ "x": "1" }] } }],
                    "ignoreApplicationDifferences": exempt, "template": template,
                },
            }),
        )
        .await;
    }
    let (strict, lenient): (AppRef, AppRef) =
        ("strict".parse().unwrap(), "lenient".parse().unwrap());
    until_there(&admin, &[&strict, &lenient]).await;

    let report = run(&admin, &wanted(&strict, "1")).await;
    let DeployOutcome::Refused { reasons, undo: UndoResult::NotNeeded } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(matches!(reasons[..], [WriteRefusal::Owned { known: true, .. }]), "{reasons:?}");
    // Trusted all the same: the loss does not go untold.
    let mut request = wanted(&strict, "1");
    request.options.trust_owner = true;
    let report = run(&admin, &request).await;
    assert!(matches!(report.outcome, DeployOutcome::Overwritten { .. }), "{report:?}");
    // The exempt one keeps the values; its annotations are wiped, and that is told.
    let report = run(&admin, &wanted(&lenient, "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert!(report.warnings.contains(&DeployWarning::ClaimLost), "{report:?}");
    assert_eq!(report.claim, None);
    // A token that may not look at the set cannot know.
    let report = run(&rig.client(), &wanted(&lenient, "2")).await;
    let DeployOutcome::Refused { reasons, .. } = &report.outcome else { panic!("{report:?}") };
    assert!(matches!(reasons[..], [WriteRefusal::Owned { known: false, .. }]), "{reasons:?}");
}

async fn until_there(client: &Client, apps: &[&AppRef]) {
    let all = async {
        for app in apps {
            while client.get(app).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
}

#[tokio::test]
async fn an_earlier_plan_is_kept_or_refused() {
    let rig = Rig::start().await;
    let client = rig.client();
    let app = rig.app("shop", false, json!([{ "name": "image.tag", "value": "old" }])).await;
    let mut dry = wanted(&app, "1");
    dry.options = DeployOptions { dry_run: true, ..quick() };
    let plan = run(&client, &dry).await.plan.unwrap();
    let change = json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "newer" }]);
    client.patch(&app, change.to_string()).await.unwrap();
    let request = DeployRequest { expected: Some(plan), ..wanted(&app, "1") };
    let report = run(&client, &request).await;
    let DeployOutcome::Refused { reasons, .. } = &report.outcome else { panic!("{report:?}") };
    let want =
        WriteRefusal::PlanOutdated { differences: vec!["helm:image.tag is newer, was old".into()] };
    assert_eq!(reasons, &[want]);
    assert_eq!(status(&report).code(), 5);
}
