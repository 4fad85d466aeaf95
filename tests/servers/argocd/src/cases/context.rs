//! What a case works with: requests, answers, applications of its own, and waiting.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::Target;
use crate::cluster::random_hex;

/// How long a case waits for what a server does by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a refresh is waited for before it is asked for again.
const REFRESH: Duration = Duration::from_secs(10);

/// What all cases of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: Target,
    http: Client,
    /// The name of the run's own repository.
    repository: String,
    /// A clone of it, to push from; one case at a time.
    clone: tempfile::TempDir,
    pushing: Mutex<()>,
    run: String,
    count: AtomicUsize,
}

impl Shared {
    /// Pushes the fixture into a repository of its own.
    pub(super) async fn prepare(target: Target) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http =
            Client::builder().no_proxy().http1_only().timeout(Duration::from_secs(60)).build()?;
        let run = random_hex()[..6].to_owned();
        let shared = Self {
            target,
            http,
            repository: format!("cases-{run}.git"),
            clone: tempfile::tempdir()?,
            pushing: Mutex::default(),
            run,
            count: AtomicUsize::new(0),
        };
        let bare = shared.bare();
        git(
            shared.clone.path(),
            &["init", "-q", "-b", "main", "--bare", &bare.display().to_string()],
        )?;
        git(shared.clone.path(), &["init", "-q", "-b", "main", "."])?;
        copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), shared.clone.path())?;
        shared.commit("fixtures")?;
        Ok(shared)
    }

    fn bare(&self) -> PathBuf {
        self.target.git_root.join(&self.repository)
    }

    fn commit(&self, message: &str) -> anyhow::Result<()> {
        git(self.clone.path(), &["add", "-A"])?;
        git(self.clone.path(), &["commit", "-q", "--allow-empty", "-m", message])?;
        git(self.clone.path(), &["push", "-q", &self.bare().display().to_string(), "HEAD:main"])
    }

    pub(super) fn remove_repository(&self) {
        let _ = std::fs::remove_dir_all(self.bare());
    }
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = needs::Program::Git
        .command()
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args([
            "-c",
            "user.name=cases",
            "-c",
            "user.email=cases@example.invalid",
            "-c",
            "safe.directory=*",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run git")?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    Admin,
    Bot,
    Reader,
    Nobody,
}

/// What a case works with.
#[derive(Debug)]
pub struct Context {
    shared: Arc<Shared>,
    /// Begins the names of everything that the case makes.
    prefix: String,
    count: AtomicUsize,
    /// Paths to delete at the end.
    made: Mutex<Vec<String>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) asked: String,
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) text: String,
    /// `null` when the body is not JSON.
    pub(super) json: Value,
}

impl Answer {
    /// The JSON of a 200.
    pub(super) fn ok(self) -> anyhow::Result<Value> {
        ensure!(self.status == 200, "{} answered {} {}", self.asked, self.status, self.text.trim());
        Ok(self.json)
    }

    /// An error of the gateway with this status, code, and text.
    pub(super) fn refused(&self, status: u16, code: i64, message: &str) -> anyhow::Result<()> {
        self.refused_with(status, code, |got| got == message)
            .with_context(|| format!("wanted `{message}`"))
    }

    /// An error whose text contains `part`.
    pub(super) fn refused_containing(
        &self,
        status: u16,
        code: i64,
        part: &str,
    ) -> anyhow::Result<()> {
        self.refused_with(status, code, |got| got.contains(part))
            .with_context(|| format!("wanted `…{part}…`"))
    }

    fn refused_with(
        &self,
        status: u16,
        code: i64,
        fits: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let as_wanted = self.status == status
            && self.json["code"] == code
            && self.json["message"].as_str().is_some_and(fits)
            && self.json["error"] == self.json["message"]
            && self.content_type == "application/json";
        ensure!(
            as_wanted,
            "{} answered {} {} {}",
            self.asked,
            self.status,
            self.content_type,
            self.text.trim()
        );
        Ok(())
    }

    /// A line of plain text, as Go's HTTP server writes errors.
    pub(super) fn plain(&self, status: u16, line: &str) -> anyhow::Result<()> {
        let as_wanted = self.status == status
            && self.content_type == "text/plain; charset=utf-8"
            && self.text == format!("{line}\n");
        ensure!(
            as_wanted,
            "{} answered {} {} {:?}",
            self.asked,
            self.status,
            self.content_type,
            self.text
        );
        Ok(())
    }
}

impl Context {
    pub(super) fn new(shared: Arc<Shared>, _case: &str) -> Self {
        let number = shared.count.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("t{}-{number}", shared.run);
        Self { shared, prefix, count: AtomicUsize::new(0), made: Mutex::default() }
    }

    pub(super) fn target(&self) -> &Target {
        &self.shared.target
    }

    /// A name that nobody else uses.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.prefix, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// The URL of the run's repository.
    pub(super) fn repository(&self) -> String {
        format!(
            "{}/{}",
            self.shared.target.git_root_url.trim_end_matches('/'),
            self.shared.repository
        )
    }

    /// Adds a file to the repository.
    pub(super) fn push(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let _one = self.shared.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.shared.clone.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
        std::fs::write(file, text)?;
        self.shared.commit(path)
    }

    fn token(&self, who: As) -> Option<&str> {
        let tokens = &self.shared.target.tokens;
        match who {
            As::Admin => Some(&tokens.admin),
            As::Bot => Some(&tokens.bot),
            As::Reader => Some(&tokens.reader),
            As::Nobody => None,
        }
    }

    /// A request without a body and without `Content-Type`.
    pub(super) fn request(&self, who: As, method: &Method, path: &str) -> RequestBuilder {
        let request =
            self.shared.http.request(method.clone(), format!("{}{path}", self.shared.target.url));
        match self.token(who) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let request = request.build()?;
        let asked = format!("{} {}", request.method(), request.url().path());
        let answer = self.shared.http.execute(request).await.with_context(|| asked.clone())?;
        let content_type = answer
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { asked, status, content_type, text, json })
    }

    /// A call with a JSON body.
    pub(super) async fn call(
        &self,
        who: As,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let request = self.request(who, &method, path).header("content-type", "application/json");
        self.send(if body.is_null() { request } else { request.body(body.to_string()) }).await
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.get_as(As::Admin, path).await
    }

    pub(super) async fn get_as(&self, who: As, path: &str) -> anyhow::Result<Answer> {
        // A refresh ends with an event, which a write that comes between takes away; the server then waits for ever, and
        // every client has to ask again.
        let more_asks = if path.contains("refresh=") { 3 } else { 0 };
        for _ in 0..more_asks {
            let answer = self.send(self.request(who, &Method::GET, path));
            if let Ok(answer) = tokio::time::timeout(REFRESH, answer).await {
                return answer;
            }
        }
        self.send(self.request(who, &Method::GET, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.call(As::Admin, Method::POST, path, body).await
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(As::Admin, Method::DELETE, path, &Value::Null).await
    }

    /// A JSON patch of an application, by admin.
    pub(super) async fn patch(&self, app: &str, operations: &Value) -> anyhow::Result<Answer> {
        self.patch_text(As::Admin, app, "json", &operations.to_string()).await
    }

    pub(super) async fn patch_text(
        &self,
        who: As,
        app: &str,
        kind: &str,
        patch: &str,
    ) -> anyhow::Result<Answer> {
        let body = json!({ "name": app, "patch": patch, "patchType": kind });
        self.call(who, Method::PATCH, &format!("/api/v1/applications/{app}"), &body).await
    }

    /// The document of an application of a folder in the run's repository.
    pub(super) fn document(&self, name: &str, path: &str) -> Value {
        let source =
            json!({ "repoURL": self.repository(), "targetRevision": "main", "path": path });
        let destination =
            json!({ "server": "https://kubernetes.default.svc", "namespace": "default" });
        json!({ "metadata": { "name": name }, "spec": { "project": "default", "destination": destination, "source": source } })
    }

    /// Creates an application of a folder, and removes it at the end of the case.
    pub(super) async fn app(&self, path: &str) -> anyhow::Result<String> {
        let name = self.name();
        self.create(self.document(&name, path)).await?;
        Ok(name)
    }

    /// Creates an application of the chart with the parameter `image.tag`.
    pub(super) async fn app_with_tag(&self, tag: &str) -> anyhow::Result<String> {
        let name = self.name();
        let mut document = self.document(&name, "chart");
        document["spec"]["source"]["helm"] = json!({ "parameters": [parameter("image.tag", tag)] });
        self.create(document).await?;
        Ok(name)
    }

    /// Creates an application, and removes it at the end of the case.
    pub(super) async fn create(&self, document: Value) -> anyhow::Result<Value> {
        let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.remove_at_end(format!("/api/v1/applications/{name}?cascade=true"));
        self.post("/api/v1/applications", &document).await?.ok()
    }

    /// Deletes `path` when the case is over.
    pub(super) fn remove_at_end(&self, path: String) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// The application, as admin sees it.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Value> {
        self.get(&format!("/api/v1/applications/{name}")).await?.ok()
    }

    /// Syncs with a nonce, and gives the application as the answer shows it.
    pub(super) async fn sync(&self, name: &str, nonce: &str) -> anyhow::Result<Answer> {
        let body = json!({ "infos": [{ "name": "x-op", "value": nonce }] });
        self.post(&format!("/api/v1/applications/{name}/sync"), &body).await
    }

    /// Syncs and waits until the operation is over and the comparison after it is done.
    pub(super) async fn synced(&self, name: &str) -> anyhow::Result<Value> {
        let nonce = self.name();
        self.sync(name, &nonce).await?.ok()?;
        self.until(name, "the operation to end", |app| is_over(app) && nonce_of(app) == nonce)
            .await?;
        self.get(&format!("/api/v1/applications/{name}?refresh=normal")).await?.ok()
    }

    /// Waits until the application is as wanted.
    pub(super) async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let path = format!("/api/v1/applications/{name}");
        let answer = self.until_get(&path, what, |answer| wanted(&answer.json)).await?;
        answer.ok()
    }

    /// Asks for `path` until the answer is as wanted. Every wait of a case for another's work is this one, so that no
    /// case has less patience on a busy machine than the others.
    pub(super) async fn until_get(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Answer) -> bool,
    ) -> anyhow::Result<Answer> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("waited for {what}; {path} answers {} {}", answer.status, answer.text);
            }
            // The real server has no event for a state that is already reached; a look costs one of its 50 a second.
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
    }

    /// Deletes what the case made, newest first.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        // A project can be deleted only when its applications are gone.
        let wait = made.iter().any(|path| path.contains("/projects/"));
        for path in made.into_iter().rev() {
            let app = path
                .strip_prefix("/api/v1/applications/")
                .and_then(|rest| rest.strip_suffix("?cascade=true"));
            if let Some(app) = app {
                // An operation that runs would keep the application alive.
                self.delete(&format!("/api/v1/applications/{app}/operation")).await?;
            }
            let answer = self.delete(&path).await?;
            // What the case itself has deleted is forbidden or missing by now.
            let gone = matches!(answer.status, 200 | 403 | 404);
            ensure!(gone, "{} answered {} {}", answer.asked, answer.status, answer.text);
            if let Some(app) = app.filter(|_| wait) {
                self.gone(app).await?;
            }
        }
        Ok(())
    }

    /// Waits until an application is not there any more.
    pub(super) async fn gone(&self, name: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/applications/{name}");
        let being_deleted =
            |answer: &Answer| answer.json["metadata"]["deletionTimestamp"].is_string();
        let answer = self.until_get(&path, "the end", |answer| !being_deleted(answer)).await?;
        ensure!(answer.status == 403, "{name} is not being deleted: {answer:?}");
        Ok(())
    }
}

/// A parameter that stays a string.
pub(super) fn parameter(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value, "forceString": true })
}

/// Whether no operation is under way and the last one has ended.
pub(super) fn is_over(app: &Value) -> bool {
    let phase = app["status"]["operationState"]["phase"].as_str().unwrap_or_default();
    app.get("operation").is_none() && matches!(phase, "Succeeded" | "Failed" | "Error")
}

/// The nonce of the last operation.
pub(super) fn nonce_of(app: &Value) -> &str {
    app["status"]["operationState"]["operation"]["info"][0]["value"].as_str().unwrap_or_default()
}

/// Fails with both values, unless they are equal.
pub(super) fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    got: &T,
    want: &U,
) -> anyhow::Result<()> {
    ensure!(got == want, "{what} is {got:?} instead of {want:?}");
    Ok(())
}
