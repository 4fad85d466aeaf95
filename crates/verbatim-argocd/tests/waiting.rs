//! What a run looks at while it waits on a simulated Argo CD: hooks, health, holds, and answers that fail.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use serde_json::json;
use simulated_argocd::{Behaviour, Pace, PodRule};
use tokio::sync::Notify;
use verbatim_argocd::cli::{hints, status};
use verbatim_argocd::{
    AppFailure, AppRef, Application, Client, DeployEvent, DeployOptions, DeployOutcome,
    DeployReport, DeployRequest, DeployStep, DeployWarning, Error, EvidenceLevel, HealthStatus,
    KnownBy, Leftover, Missing, ProofStage, StateChange, UndoResult, WantedImage, WindowWait,
    deploy, prove, wait_for_window,
};

use support::{DENY, Rig, digest, image, quick, run, value, wanted};

fn rule(image: &str, behaviour: Behaviour) -> Vec<PodRule> {
    vec![PodRule { image: image.to_owned(), behaviour }]
}

/// Does something while a deployment runs, which ends whether that is done or not.
async fn beside(
    run: impl Future<Output = Result<DeployReport, Error>>,
    something: impl Future<Output = ()>,
) -> DeployReport {
    tokio::select! {
        report = run => report.unwrap(),
        () = async { something.await; std::future::pending().await } => unreachable!(),
    }
}

/// Runs a deployment, and `then` when it first tells that the health became `health`.
async fn run_until(
    client: &Client,
    request: &DeployRequest,
    health: HealthStatus,
    then: impl Future<Output = ()>,
) -> DeployReport {
    let told = Notify::new();
    let listen = |event: DeployEvent| {
        let DeployEvent::Changed { change: StateChange::Health { to, .. } } = event else { return };
        if to == health {
            told.notify_one();
        }
    };
    let something = async {
        told.notified().await;
        then.await;
    };
    beside(deploy(client, request, &listen), something).await
}

/// `managed-resources` says nothing of hooks, and a hook may be gone when the operation is over.
#[tokio::test]
async fn an_image_that_only_a_hook_runs_is_proven_by_the_operation() {
    let rig = Rig::start().await;
    for (name, automated, policy) in [
        ("by-hand", false, "HookSucceeded"),
        ("by-itself", true, "HookSucceeded"),
        ("kept", false, "BeforeHookCreation"),
    ] {
        let policy = json!([{ "name": "policy", "value": policy }]);
        let app = rig.app_of("hook", name, automated, policy).await;
        let release = format!("1-{name}");
        let report = run(&rig.client(), &wanted(&app, &release)).await;
        let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{name}: {report:?}") };
        let level = match name {
            "kept" => EvidenceLevel::Pods { pods: 1 },
            _ => EvidenceLevel::Operation { hook: "PreSync".to_owned(), names_image: true },
        };
        assert_eq!(proof.workloads[0].level, level);
        assert_eq!(proof.workloads[0].workload, format!("Job {name}-migrate"));
        assert_eq!(proof.rendered.len(), 1, "{proof:?}");
        // And the same judged without a deployment.
        let images = [image(digest(&release))];
        let report = prove(&rig.client(), &app, &images, &quick(), &|_| {}).await.unwrap();
        assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{name}: {report:?}");
    }
}

/// What is proven without a deployment is not rendered before, and a comparison has no hooks.
#[tokio::test]
async fn a_hook_that_ran_another_image_of_the_repository_is_no_proof() {
    let rig = Rig::start().await;
    let tag = json!([{ "name": "image.tag", "value": value("1") }]);
    let app = rig.app_of("both", "both", false, tag).await;
    let images = [image(digest("1"))];
    let report = prove(&rig.client(), &app, &images, &quick(), &|_| {}).await.unwrap();
    let DeployOutcome::NotProven { at: ProofStage::Cluster, problems } = &report.outcome else {
        panic!("{report:?}")
    };
    let old = format!("{}:old", support::REPOSITORY);
    assert_eq!(
        problems[0].to_string(),
        format!("Job both-migrate: the sync ran the hook with {old}")
    );
}

#[tokio::test]
async fn a_hook_that_no_sync_runs_is_no_proof() {
    let rig = Rig::start().await;
    for (name, automated) in [("fails-only", false), ("fails-only-auto", true)] {
        let hook = json!([{ "name": "hook", "value": "SyncFail" }]);
        let app = rig.app_of("hook", name, automated, hook).await;
        let report = run(&rig.client(), &wanted(&app, "1")).await;
        let DeployOutcome::NotProven { at: ProofStage::Cluster, problems } = &report.outcome else {
            panic!("{report:?}")
        };
        assert_eq!(problems[0].place, format!("Job {name}-migrate"));
        assert!(problems[0].what.to_string().contains("nothing tells that this hook ran"));
        // It is deployed, whatever that proves: nothing is taken back.
        let written = ("image.tag".to_owned(), value("1"));
        assert!(rig.parameters(&app).await.contains(&written), "{name}");
    }
}

#[tokio::test]
async fn a_proof_has_to_hold_for_the_settle_time() {
    let rig = Rig::start().await;
    let client = rig.client();
    let app = rig.app("shop", false, json!([])).await;
    let settling = Notify::new();
    let listen = |event: DeployEvent| {
        if matches!(event, DeployEvent::Begin { step: DeployStep::Settle }) {
            settling.notify_one();
        }
    };
    let mut request = wanted(&app, "1");
    request.options.settle = Duration::from_secs(30);
    // Somebody writes another value during the hold.
    let report = beside(deploy(&client, &request, &listen), async {
        settling.notified().await;
        let change = json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "x" }]);
        client.patch(&app, change.to_string()).await.unwrap();
    })
    .await;
    assert!(matches!(report.outcome, DeployOutcome::Overwritten { .. }), "{report:?}");
    let mut request = wanted(&app, "2");
    request.options.settle = Duration::from_secs(1);
    let report = run(&client, &request).await;
    let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(proof.settled_seconds, 1);
}

#[tokio::test]
async fn a_hold_that_is_broken_begins_anew() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    let (holds, settling, progressing) = (AtomicUsize::new(0), Notify::new(), Notify::new());
    let listen = |event: DeployEvent| match event {
        DeployEvent::Begin { step: DeployStep::Settle } => {
            holds.fetch_add(1, Ordering::Relaxed);
            settling.notify_one();
        }
        // Not that of the rollout.
        DeployEvent::Changed { change: StateChange::Health { to, .. } }
            if to == HealthStatus::Progressing && holds.load(Ordering::Relaxed) > 0 =>
        {
            progressing.notify_one();
        }
        _ => {}
    };
    let mut request = wanted(&app, "1");
    request.options.settle = Duration::from_secs(3);
    let client = rig.client();
    let report = beside(deploy(&client, &request, &listen), async {
        settling.notified().await;
        rig.server.set_pod_rules(rule(&digest("1").to_string(), Behaviour::NeverReady));
        rig.replace_pods(&app).await;
        progressing.notified().await;
        rig.server.set_pod_rules(Vec::new());
        rig.replace_pods(&app).await;
    })
    .await;
    let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
    assert_eq!((proof.settled_seconds, holds.into_inner()), (3, 2));
}

/// What a node reports is all that changes: Argo CD has nothing to do, and its application is as it was.
#[tokio::test]
async fn a_hold_that_a_node_breaks_begins_anew() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    let (holds, settling, differing) = (AtomicUsize::new(0), Notify::new(), Notify::new());
    let listen = |event: DeployEvent| match event {
        DeployEvent::Begin { step: DeployStep::Settle } => {
            holds.fetch_add(1, Ordering::Relaxed);
            settling.notify_one();
        }
        DeployEvent::Waiting { missing: Missing::Proof(_) }
            if holds.load(Ordering::Relaxed) > 0 =>
        {
            differing.notify_one();
        }
        _ => {}
    };
    let mut request = wanted(&app, "1");
    request.options.settle = Duration::from_secs(2);
    request.options.patience = Duration::from_secs(20);
    let image = |release: &str| json!({ "imageID": format!("web@{}", digest(release)) });
    let client = rig.client();
    let report = beside(deploy(&client, &request, &listen), async {
        settling.notified().await;
        rig.report(&app, image("old")).await;
        differing.notified().await;
        rig.report(&app, image("1")).await;
    })
    .await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert_eq!(holds.into_inner(), 2);
}

/// In between they are on their way to what is wanted, as far as the nodes tell.
#[tokio::test]
async fn the_patience_with_a_difference_begins_anew_after_pods_that_are_on_their_way() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    let (differing, waiting) = (Notify::new(), Notify::new());
    let listen = |event: DeployEvent| match event {
        DeployEvent::Waiting { missing: Missing::Proof(what) }
            if what.to_string().contains("ContainerCreating") =>
        {
            waiting.notify_one();
        }
        DeployEvent::Waiting { missing: Missing::Proof(_) } => differing.notify_one(),
        _ => {}
    };
    let mut request = wanted(&app, "1");
    request.options.patience = Duration::from_secs(3);
    let running = |release: &str| {
        let image = format!("web@{}", digest(release));
        json!({ "imageID": image, "state": { "running": {} } })
    };
    let creating = json!({ "state": { "waiting": { "reason": "ContainerCreating" } } });
    let old = Behaviour::ImageId(format!("web@{}", digest("old")));
    rig.server.set_pod_rules(rule(&digest("1").to_string(), old));
    let client = rig.client();
    let report = beside(deploy(&client, &request, &listen), async {
        differing.notified().await;
        rig.report(&app, creating).await;
        waiting.notified().await;
        tokio::time::sleep(request.options.patience).await;
        rig.report(&app, running("old")).await;
        differing.notified().await;
        rig.report(&app, running("1")).await;
    })
    .await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
}

#[tokio::test]
async fn the_patience_with_a_difference_begins_anew_after_another_rollout() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    let of_release = |behaviour| rule(&digest("1").to_string(), behaviour);
    let other = || of_release(Behaviour::ImageId(format!("web@{}", digest("old"))));
    let (differing, progressing) = (Notify::new(), Notify::new());
    let listen = |event: DeployEvent| match event {
        DeployEvent::Waiting { missing: Missing::Proof(_) } => differing.notify_one(),
        DeployEvent::Changed {
            change: StateChange::Health { to: HealthStatus::Progressing, .. },
        } => {
            progressing.notify_one();
        }
        _ => {}
    };
    let mut request = wanted(&app, "1");
    request.options.patience = Duration::from_secs(3);
    rig.server.set_pod_rules(other());
    let client = rig.client();
    let report = beside(deploy(&client, &request, &listen), async {
        differing.notified().await;
        // The patience with the first difference goes by while pods are made anew.
        rig.server.set_pod_rules(of_release(Behaviour::NeverReady));
        rig.replace_pods(&app).await;
        progressing.notified().await;
        tokio::time::sleep(request.options.patience).await;
        rig.server.set_pod_rules(other());
        rig.replace_pods(&app).await;
        differing.notified().await;
        rig.server.set_pod_rules(Vec::new());
        rig.replace_pods(&app).await;
    })
    .await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
}

#[tokio::test]
async fn an_application_that_is_degraded_for_a_moment_is_proven() {
    let rig = Rig::start().await;
    let deadline = json!([{ "name": "progressDeadlineSeconds", "value": "1" }]);
    let app = rig.app("shop", false, deadline).await;
    rig.server.set_pod_rules(rule(&digest("1").to_string(), Behaviour::NeverReady));
    let report = run_until(&rig.client(), &wanted(&app, "1"), HealthStatus::Degraded, async {
        rig.server.set_pod_rules(Vec::new());
        rig.replace_pods(&app).await;
    })
    .await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    // For long it is a failure.
    rig.server.set_pod_rules(rule(&digest("2").to_string(), Behaviour::NeverReady));
    let mut request = wanted(&app, "2");
    request.options.stuck_after = Duration::from_secs(1);
    let report = run(&rig.client(), &request).await;
    let DeployOutcome::Degraded { why: AppFailure::Health { .. }, .. } = &report.outcome else {
        panic!("{report:?}")
    };
}

#[tokio::test]
async fn what_was_degraded_before_and_is_not_of_the_release_does_not_matter() {
    let rig = Rig::start().await;
    let app = rig.app_of("two", "shop", false, json!([])).await;
    rig.server.set_pod_rules(rule("redis:7", Behaviour::NeverReady));
    rig.replace_pods(&app).await;
    rig.until(&app, |app| app.status.health.status == HealthStatus::Degraded).await;
    // The second time nothing is written, and the proof of the first time tells what was so before.
    for release in ["1", "1"] {
        let report = run(&rig.client(), &wanted(&app, release)).await;
        let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
        assert_eq!(proof.health, HealthStatus::Degraded);
        let told = DeployWarning::UnhealthyBefore { resources: vec!["Deployment cache".into()] };
        assert!(report.warnings.contains(&told), "{report:?}");
        assert_eq!(proof.workloads[0].level, EvidenceLevel::Pods { pods: 2 });
    }
    // Pods of the release that fail are found beside it.
    let mut rules = rule("redis:7", Behaviour::NeverReady);
    rules.extend(rule(&digest("2").to_string(), Behaviour::Crash));
    rig.server.set_pod_rules(rules);
    let mut request = wanted(&app, "2");
    request.options.stuck_after = Duration::from_secs(1);
    let report = run(&rig.client(), &request).await;
    let DeployOutcome::Degraded { .. } = &report.outcome else { panic!("{report:?}") };
}

#[tokio::test]
async fn a_proven_pod_is_not_read_again_while_others_are_awaited() {
    let rig = Rig::start().await;
    let cache = digest("cache");
    rig.server.set_pod_rules(rule(&cache.to_string(), Behaviour::ImageId(String::new())));
    let parameters = json!([
        { "name": "cache", "value": format!("redis@{cache}") }, { "name": "image.tag", "value": value("1") },
    ]);
    let app = rig.app_of("two", "shop", false, parameters).await;
    rig.server.forget_seen();
    let options = DeployOptions { patience: Duration::from_secs(2), ..quick() };
    let images = [image(digest("1")), WantedImage::new(None, cache)];
    let report = prove(&rig.client(), &app, &images, &options, &|_| {}).await.unwrap();
    assert!(matches!(report.outcome, DeployOutcome::NotProven { .. }), "{report:?}");
    let seen = rig.server.seen();
    let reads = |name: &str| {
        let pods = seen.iter().filter(|seen| seen.target.contains("kind=Pod"));
        pods.filter(|seen| seen.target.contains(&format!("resourceName={name}-"))).count()
    };
    // Two pods each.
    assert_eq!(reads("shop"), 2);
    assert!(reads("cache") >= 6, "{}", reads("cache"));
}

#[tokio::test]
async fn an_error_of_the_server_while_a_run_waits_is_waited_out() {
    let rig = Rig::start().await;
    for (at, path) in
        ["refresh=", "/managed-resources", "/resource-tree", "kind=Pod"].iter().enumerate()
    {
        let app = rig.app(&format!("shop{at}"), false, json!([])).await;
        let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
        proxy.inject(Rule::new(Fault::Status(500)).path(path));
        let mut request = wanted(&app, "1");
        // Whatever the first look says, the second one has a refresh before it.
        rig.server.set_pace(Pace { settle_ms: 1000, ..Pace::default() });
        request.options.settle = Duration::from_millis(100);
        let report = run(&rig.client_at(&proxy.url()), &request).await;
        assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{path}: {report:?}");
        assert_eq!(proxy.faults_injected(), 1, "{path}");
    }
}

/// Its history keeps nothing, and the last operation was a partial one, as self-heal makes them.
#[tokio::test]
async fn what_runs_already_without_a_known_sync_is_synced_again() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    let limit = json!([{ "op": "add", "path": "/spec/revisionHistoryLimit", "value": 0 }]);
    rig.client().patch(&app, limit.to_string()).await.unwrap();
    run(&rig.client(), &wanted(&app, "1")).await;
    let part = json!({ "resources": [{ "group": "apps", "kind": "Deployment", "name": "shop" }] });
    rig.post("/api/v1/applications/shop/sync", part).await;
    rig.until(&app, |app| {
        app.operation.is_none()
            && app.status.operation_state.as_ref().is_some_and(|state| {
                state.operation.sync.as_ref().is_some_and(|sync| !sync.resources.is_empty())
            })
    })
    .await;
    let request = wanted(&app, "1");
    let report = run(&rig.client(), &request).await;
    let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(proof.operation.as_ref().map(|it| it.known_by), Some(KnownBy::Nonce));
    assert_eq!(report.claim.unwrap().nonce, request.nonce);
}

/// A sync that waits for something in the slot of an application.
async fn taken_slot(rig: &Rig, app: &AppRef) {
    rig.server.hold_operations(&app.name, true);
    let other = verbatim_argocd::SyncRequest { nonce: "other".into(), ..Default::default() };
    rig.client().sync(app, &other).await.unwrap();
    let runs = |app: &Application| {
        app.status.operation_state.as_ref().is_some_and(|it| format!("{:?}", it.phase) == "Running")
    };
    rig.until(app, runs).await;
}

#[tokio::test]
async fn an_operation_of_somebody_else_is_ended_if_that_is_asked_for() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    taken_slot(&rig, &app).await;
    let mut request = wanted(&app, "1");
    request.options.timeout = Duration::from_secs(2);
    let report = run(&rig.client(), &request).await;
    assert_eq!(status(&report).code(), 4, "{report:?}");
    let DeployOutcome::Unknown { missing: Missing::OperationSlot, left, .. } = &report.outcome
    else {
        panic!("{report:?}")
    };
    assert_eq!(*left, Leftover::PreviousValues);
    assert_eq!(rig.parameters(&app).await, []);
    let hints = hints(&report, &|remedy| Some(remedy.flag().to_owned()));
    assert_eq!(hints[0], "if the operation never ends: `verbatim argocd terminate shop`");
    assert_eq!(hints[1], "to end it before the sync: --terminate-foreign");
    assert!(!rig.writes().iter().any(|write| write.starts_with("DELETE")), "{:?}", rig.writes());

    // It holds the next operation as well, until that is ended: then nothing holds any more.
    let mut request = wanted(&app, "2");
    request.options.terminate_foreign = true;
    let listen = |event: DeployEvent| {
        if let DeployEvent::Warning { warning: DeployWarning::Ended(_) } = event {
            rig.server.hold_operations("shop", false);
        }
    };
    let report = deploy(&rig.client(), &request, &listen).await.unwrap();
    let DeployOutcome::Proven { proof } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(proof.operation.as_ref().unwrap().known_by, KnownBy::Nonce);
    let [ended] = &proof.ended[..] else { panic!("{proof:?}") };
    assert_eq!(ended.initiated_by.username, "bot");
    let told: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("ended another operation, as asked: a sync of bot"), "{told:?}");
    let ends = rig.writes().iter().filter(|write| write.starts_with("DELETE")).count();
    assert_eq!(ends, 1, "{:?}", rig.writes());
}

#[tokio::test]
async fn a_window_that_closes_while_an_operation_runs_is_told() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    rig.server.hold_operations("shop", true);
    let request = wanted(&app, "1");
    let told = Notify::new();
    let listen = |event: DeployEvent| {
        let want = "a sync window closed meanwhile, so Argo CD holds the operation until syncing is allowed again";
        if matches!(event, DeployEvent::Waiting { missing } if missing.to_string() == want) {
            told.notify_one();
        }
    };
    let client = rig.client();
    let report = beside(deploy(&client, &request, &listen), async {
        let is_ours = |app: &Application| {
            let state = app.status.operation_state.as_ref();
            state.is_some_and(|it| {
                format!("{:?}", it.phase) == "Running"
                    && it.operation.has_info("verbatim.dev/nonce", &request.nonce)
            })
        };
        rig.until(&app, is_ours).await;
        rig.windows(DENY).await;
        told.notified().await;
        // When it may, the operation goes on.
        rig.windows("[]").await;
        rig.server.hold_operations("shop", false);
    })
    .await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
}

#[tokio::test]
async fn a_window_that_opens_in_time_is_waited_for() {
    let rig = Rig::start().await;
    let app = rig.app("shop", false, json!([])).await;
    rig.windows(DENY).await;
    let client = rig.client();
    let report = run(&client, &wanted(&app, "1")).await;
    let DeployOutcome::Refused { reasons, .. } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(reasons[0].to_string(), "a sync window forbids syncing now: deny * * * * * for 24h");
    let hints = hints(&report, &|remedy| Some(remedy.flag().to_owned()));
    assert_eq!(hints[1], "if one opens soon, to wait for it: --wait-for-window 1h");

    let told = std::sync::Mutex::new(Vec::new());
    let opened = Notify::new();
    let tell = |wait: WindowWait| {
        told.lock().unwrap().push(wait.to_string());
        opened.notify_one();
    };
    let limit = Duration::from_secs(2);
    // A wait that tells nothing ends all the same.
    let opens = async {
        opened.notified().await;
        rig.windows("[]").await;
        std::future::pending().await
    };
    tokio::select! {
        () = wait_for_window(&client, &app, limit, &tell) => {}
        () = opens => {}
    }
    let told = told.into_inner().unwrap();
    let want = "shop: a sync window forbids syncing now (deny * * * * * for 24h); waiting for one that allows it, for";
    assert!(told.len() == 1 && told[0].starts_with(want), "{told:?}");
    let report = run(&client, &wanted(&app, "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
}

/// A chart that makes a label from the tag: seen before the write where an old tag stands in it, else in the manifests.
#[tokio::test]
async fn a_label_that_kubernetes_refuses_is_refused_before_the_sync() {
    let rig = Rig::start().await;
    let client = rig.client();
    let old = json!([{ "name": "image.tag", "value": "41.3f0c9a1" }]);
    let told = format!("version of Deployment auto would be {}", value("1"));
    for (name, automated, parameters, dry_run, is_written) in [
        ("first", false, json!([]), false, true),
        ("dry", false, old.clone(), true, false),
        ("auto", true, old.clone(), false, false),
    ] {
        let app = rig.app_of("labelled", name, automated, parameters).await;
        let before = rig.parameters(&app).await;
        rig.server.forget_seen();
        let mut request = wanted(&app, "1");
        request.options.dry_run = dry_run;
        let report = run(&client, &request).await;
        let DeployOutcome::Refused { reasons, undo } = &report.outcome else {
            panic!("{name}: {report:?}")
        };
        let reason = reasons[0].to_string();
        assert!(reason.contains(&told.replace("auto", name)), "{name}: {reason}");
        let hints = hints(&report, &|remedy| Some(remedy.flag().to_owned()));
        assert!(
            hints[0].contains("`image.digest: ${digest}` beside `image.tag: ${tag}`"),
            "{hints:?}"
        );
        assert_eq!(*undo == UndoResult::Done, is_written, "{name}");
        let syncs = rig.writes().into_iter().filter(|write| write.ends_with("/sync")).count();
        assert_eq!((syncs, rig.parameters(&app).await), (0, before), "{name}");
    }
}

/// An automatic sync deploys without waiting for us: that the manifests cannot be looked at takes nothing back.
#[tokio::test]
async fn manifests_that_do_not_render_take_nothing_back_from_an_automatic_sync() {
    let rig = Rig::start().await;
    let app = rig.app("auto", true, json!([])).await;
    let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
    proxy.inject(Rule::new(Fault::Status(500)).path("/manifests").always());
    let report = run(&rig.client_at(&proxy.url()), &wanted(&app, "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    let told: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("cannot check the rendered manifests: "), "{told:?}");
    assert_eq!(rig.parameters(&app).await, [("image.tag".to_owned(), value("1"))]);
    // Its claim alone is written after the values.
    let patches = rig.writes().into_iter().filter(|write| write.starts_with("PATCH")).count();
    assert_eq!(patches, 2);
}
