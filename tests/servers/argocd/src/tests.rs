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
    assert_eq!(status("/api/v1/gpgkeys").await, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(status("/api/version").await, StatusCode::OK);
    assert_eq!(server.unexpected(), ["GET /api/v1/nope", "GET /api/v1/gpgkeys"]);
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

/// A server, and a git folder with one application of plain manifests: a Deployment of `image`.
struct World {
    server: SimulatedArgocd,
    _git: tempfile::TempDir,
}

async fn world(image: &str, config: Config) -> World {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{progressDeadlineSeconds: 1, template: {{spec: {{containers: [{{name: web, image: {image}}}]}}}}}}\n"
    );
    std::fs::create_dir(folder.path().join("app")).unwrap();
    std::fs::write(folder.path().join("app/web.yaml"), manifest).unwrap();
    for arguments in
        [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "first"]]
    {
        let mut git = needs::Program::Git.command();
        git.current_dir(folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.invalid"]).args(arguments);
        assert!(git.status().unwrap().success());
    }
    let server = SimulatedArgocd::start(config).await.unwrap();
    let source = json!({ "repoURL": format!("file://{}", folder.path().display()), "path": "app", "targetRevision": "main" });
    let destination = json!({ "server": "https://kubernetes.default.svc", "namespace": "default" });
    let app = json!({ "metadata": { "name": "web" }, "spec": { "source": source, "destination": destination } });
    let world = World { server, _git: folder };
    world.call(reqwest::Method::POST, "", &app).await;
    world
}

impl World {
    async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &serde_json::Value,
    ) -> serde_json::Value {
        let url = format!("{}/api/v1/applications{path}", self.server.url());
        let request =
            client().request(method, url).bearer_auth(self.server.tokens().admin).json(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    async fn app(&self) -> serde_json::Value {
        self.call(reqwest::Method::GET, "/web", &serde_json::Value::Null).await
    }

    /// Waits for a state of the application, by the store's own events.
    async fn until(&self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let mut changes = self.server.server.store.changes();
        loop {
            let app = self.app().await;
            if wanted(&app) {
                return app;
            }
            tokio::time::timeout(Duration::from_secs(30), changes.changed())
                .await
                .unwrap()
                .unwrap();
        }
    }

    async fn sync(&self) {
        self.call(reqwest::Method::POST, "/web/sync", &json!({})).await;
    }
}

fn phase_of(app: &serde_json::Value) -> &str {
    objects::text(app, "/status/operationState/phase")
}

fn health_of(app: &serde_json::Value) -> &str {
    objects::text(app, "/status/health/status")
}

#[tokio::test]
async fn a_held_operation_runs_until_it_is_let_go() {
    let world = world("a:1", Config::default()).await;
    world.server.hold_operations("web", true);
    world.sync().await;
    // The Deployment is there and healthy; the operation is not over.
    let held = world.until(|app| health_of(app) == "Healthy").await;
    assert_eq!(phase_of(&held), "Running");
    world.server.hold_operations("web", false);
    world.until(|app| phase_of(app) == "Succeeded" && app.get("operation").is_none()).await;
}

#[tokio::test]
async fn the_status_is_older_than_the_end_of_the_operation() {
    let pace = Pace { settle_ms: 60_000, live_ms: 60_000, ..Pace::default() };
    let world = world("a:1", Config { pace, ..Config::default() }).await;
    world.until(|app| objects::text(app, "/status/sync/status") == "OutOfSync").await;
    world.sync().await;
    let done = world.until(|app| phase_of(app) == "Succeeded").await;
    assert_eq!(
        (health_of(&done), objects::text(&done, "/status/sync/status")),
        ("Missing", "OutOfSync")
    );
    assert!(world.server.live_objects().contains_key("Deployment default/web"));
}

#[tokio::test]
async fn pods_do_as_they_are_told() {
    let told = |image: &str, behaviour| PodRule { image: image.to_owned(), behaviour };
    let other = "host/a@sha256:0000".to_owned();
    let cases = [
        (Behaviour::Ready, "Healthy"),
        (Behaviour::ImageId(other.clone()), "Healthy"),
        (Behaviour::ImagePullBackOff, "Degraded"),
        (Behaviour::Crash, "Degraded"),
        (Behaviour::NeverReady, "Degraded"),
        (Behaviour::Unschedulable, "Degraded"),
    ];
    for (behaviour, health) in cases {
        let world = world("host/a:1", Config::default()).await;
        world.server.set_pod_rules(vec![
            told("host/a", behaviour.clone()),
            told("other", Behaviour::Crash),
        ]);
        world.sync().await;
        // A rollout that gets nowhere is Progressing until its deadline of one second.
        world.until(|app| health_of(app) == health).await;
        let objects = world.server.live_objects();
        let pod =
            objects.iter().find(|(name, _)| name.starts_with("Pod ")).map(|(_, pod)| pod).unwrap();
        let id = objects::text(pod, "/status/containerStatuses/0/imageID");
        match behaviour {
            Behaviour::ImageId(_) => assert_eq!(id, other),
            Behaviour::ImagePullBackOff | Behaviour::Unschedulable => assert_eq!(id, ""),
            _ => assert!(
                id.starts_with("host/a@sha256:") && id.len() == "host/a@sha256:".len() + 64,
                "{id}"
            ),
        }
    }
}

#[tokio::test]
async fn a_right_of_one_project_does_not_reach_another() {
    let mut accounts = Account::usual("password");
    accounts[1].rights = vec![Right::new("applications", "get", "other/*")];
    let world = world("a:1", Config { accounts: Some(accounts), ..Config::default() }).await;
    let status = async |query: &str| {
        let url = format!("{}/api/v1/applications/web{query}", world.server.url());
        client()
            .get(url)
            .bearer_auth(world.server.tokens().bot)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status("").await, 403);
    assert_eq!(status("?project=default").await, 403);
    // Allowed in that project, where the application is not.
    assert_eq!(status("?project=other").await, 404);
}
