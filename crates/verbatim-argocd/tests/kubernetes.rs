//! Changes of applications through the Kubernetes API: nothing of others is lost there, since a change counts for the version
//! that was read. On the simulated server; the end-to-end suite has the same on a real one.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
use serde_json::{Value, json};
use verbatim_argocd::cli::{failure, status};
use verbatim_argocd::{
    AppRef, Client, DeployOutcome, DeployReport, DeployWarning, KubernetesAccess, UndoResult,
    WriteRefusal, close_claim, deploy, undo_last,
};

use support::{Rig, run, value, wanted};

/// A server, a proxy in front of its Kubernetes API, and a client that changes applications through both.
struct Scene {
    rig: Rig,
    proxy: FaultProxy,
    client: Client,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let rig = Rig::start().await;
        let folder = tempfile::tempdir().unwrap();
        let proxy = FaultProxy::start(Upstream::parse(&rig.server.url()).unwrap()).await.unwrap();
        let kubeconfig = rig.server.kubeconfig().replace(&rig.server.url(), &proxy.url());
        let file = folder.path().join("config");
        std::fs::write(&file, kubeconfig).unwrap();
        let client = client(&rig, file, None);
        Self { rig, proxy, client, folder }
    }

    /// Deploys while another client makes a change after we read and before we write.
    async fn deploy_beside(&self, app: &AppRef, change: Value) -> DeployReport {
        let patch = "PATCH".parse().unwrap();
        self.proxy.inject(Rule::new(Fault::Delay(300)).method(&patch));
        let ours = wanted(app, "1");
        let deployment = deploy(&self.client, &ours, &|_| {});
        let other = async {
            while !self.proxy.seen().iter().any(|seen| seen.method == "PATCH") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.rig.client().patch(app, change.to_string()).await.unwrap();
        };
        tokio::join!(deployment, other).0.unwrap()
    }
}

fn client(rig: &Rig, kubeconfig: PathBuf, context: Option<&str>) -> Client {
    let mut config = rig.config(&rig.server.url(), rig.server.tokens().bot);
    config.kubernetes = Some(KubernetesAccess {
        kubeconfigs: vec![kubeconfig],
        context: context.map(str::to_owned),
    });
    Client::new(config).unwrap()
}

#[tokio::test]
async fn applications_are_changed_there_and_synced_here() {
    let Scene { rig, client, proxy, folder: _folder } = Scene::start().await;
    let app = rig.app("shop", false, json!([])).await;
    rig.server.forget_seen();
    let mut ours = wanted(&app, "1");
    ours.options.close_claim = false;
    let report = run(&client, &ours).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    let end = report.claim.unwrap().in_state(verbatim_argocd::ClaimState::Done);
    close_claim(&client, &app, &end).await.end.unwrap();
    assert_eq!(rig.claim(&app).await, Some(end));
    // Argo CD itself was asked for nothing but the sync.
    let changes = |write: &String| !write.ends_with("/appdetails");
    let writes: Vec<_> = rig.writes().into_iter().filter(changes).collect();
    assert_eq!(writes, ["POST /api/v1/applications/shop/sync"]);
    let there = proxy.seen();
    // A change of a version that the controller has replaced meanwhile is refused, and made anew.
    let taken =
        there.iter().filter(|it| it.method == "PATCH" && it.status == Some(http::StatusCode::OK));
    assert_eq!(taken.count(), 2, "{there:?}");
    // What was written is taken back there, too.
    let undone = undo_last(&client, &app).await.unwrap();
    assert!(rig.parameters(&app).await.is_empty(), "{undone:?}");
}

#[tokio::test]
async fn a_change_of_somebody_else_meanwhile_stays() {
    let scene = Scene::start().await;
    let app = scene.rig.app("shop", false, json!([])).await;
    let change = json!([{ "op": "add", "path": "/spec/revisionHistoryLimit", "value": 3 }]);
    let report = scene.deploy_beside(&app, change).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert_eq!(scene.rig.spec("shop").await["revisionHistoryLimit"], 3);
    let lost = |one: &DeployWarning| matches!(one, DeployWarning::LostForeignChange { .. });
    assert!(!report.warnings.iter().any(lost), "{report:?}");
    // It was refused once, and made anew from what stood there then.
    let patches = scene.proxy.seen().iter().filter(|seen| seen.method == "PATCH").count();
    assert!(patches >= 3, "{:?}", scene.proxy.seen());
}

#[tokio::test]
async fn another_value_of_somebody_else_meanwhile_is_not_written_over() {
    let scene = Scene::start().await;
    let old = json!([{ "name": "image.tag", "value": "old", "forceString": true }]);
    let app = scene.rig.app("shop", false, old).await;
    let path = "/spec/source/helm/parameters/0/value";
    let change = json!([{ "op": "replace", "path": path, "value": "theirs" }]);
    let report = scene.deploy_beside(&app, change).await;
    assert_eq!(status(&report).code(), 5, "{report:?}");
    let theirs = ("image.tag".to_owned(), "theirs".to_owned());
    assert_eq!(scene.rig.parameters(&app).await, [theirs]);
}

#[tokio::test]
async fn an_answer_that_got_lost_is_looked_for() {
    let scene = Scene::start().await;
    let app = scene.rig.app("shop", false, json!([])).await;
    let patch = "PATCH".parse().unwrap();
    scene.proxy.inject(Rule::new(Fault::Close).method(&patch).delivered());
    let report = run(&scene.client, &wanted(&app, "1")).await;
    assert!(matches!(report.outcome, DeployOutcome::Proven { .. }), "{report:?}");
    assert_eq!(scene.rig.parameters(&app).await[0].1, value("1"));
}

#[tokio::test]
async fn what_cannot_be_reached_or_is_another_cluster_is_said() {
    let scene = Scene::start().await;
    let app = scene.rig.app("shop", false, json!([])).await;
    let file = |name: &str, text: &str| {
        let file = scene.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let good = scene.rig.server.kubeconfig();
    // Another cluster, with an application of the same name, and one without.
    let other = Rig::start().await;
    other.app("shop", false, json!([])).await;
    let empty = Rig::start().await;
    let elsewhere = |rig: &Rig| rig.server.kubeconfig();
    let broken = good.replace("\"token\"", "\"tokens\"");
    let cases = [
        (elsewhere(&other), None, 2, "another application argocd/shop"),
        (elsewhere(&empty), None, 7, "not found"),
        (broken, None, 7, "Unauthorized"),
        (good.clone(), Some("production"), 2, "production"),
        ("clusters: 1".to_owned(), None, 2, "cannot use the kubeconfig"),
        (good.replace("\"token\":", "\"exec\":{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"command\":\"no-such-plugin\",\"interactiveMode\":\"Never\"},\"x\":"), None, 2, "No such file"),
    ];
    for (number, (text, context, code, words)) in cases.into_iter().enumerate() {
        let client = client(&scene.rig, file(&format!("config-{number}"), &text), context);
        let error = deploy(&client, &wanted(&app, "1"), &|_| {}).await.unwrap_err();
        let told = format!("{error}: {}", error.kind);
        assert!(told.contains(words), "{number}: {told}");
        assert_eq!(failure(error).status.code(), code, "{number}: {told}");
    }
    // Who may not patch is told before anything is sent.
    let text = scene.rig.server.reader_kubeconfig();
    let reader = client(&scene.rig, file("reader", &text), None);
    let report = deploy(&reader, &wanted(&app, "1"), &|_| {}).await.unwrap();
    let DeployOutcome::Refused { reasons, undo: UndoResult::NotNeeded } = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(reasons[..], [WriteRefusal::MayNotPatch]);
    assert_eq!(status(&report).code(), 7);
    let missing = client(&scene.rig, scene.folder.path().join("missing"), None);
    let error = deploy(&missing, &wanted(&app, "1"), &|_| {}).await.unwrap_err();
    assert!(error.kind.to_string().contains("cannot use the kubeconfig"), "{}", error.kind);
    assert!(scene.rig.parameters(&app).await.is_empty());
    assert!(other.parameters(&app).await.is_empty());
}
