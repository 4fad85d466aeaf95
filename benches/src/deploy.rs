//! The comparison of deployments on a real Argo CD: what a client needs beyond what Argo CD itself needs.
//!
//! An observer of its own follows the application. Argo CD works from the moment when the operation is there until its
//! status shows the digest in the finished operation and in a comparison after it, synced and healthy. The rest of a
//! client's time is the client's: before, and after.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::application;
use super::cases::{Bench, Registry};
use super::compare::{Figures, Limit, row};
use super::measure::{Program, STUCK, Sample};
use rig::engine::children;
use rig::lease::{Lease, Pods};

const APP: &str = "bench";

/// Runs the comparison, twice: with pods that are ready at once, and with containers.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let docker_host = bench.docker_host()?;
    let registry = Registry::start(&bench.folder().join("deploy-registry"))?;
    let images = images(bench, &registry, &docker_host)?;
    compare(bench, Pods::Said, &registry, &images, "pods ready at once")?;
    compare(bench, Pods::Containers(&docker_host), &registry, &images, "containers")
}

fn compare(
    bench: &mut Bench,
    pods: Pods<'_>,
    registry: &Registry,
    images: &[String; 2],
    about: &str,
) -> Result<()> {
    let lease = Lease::new(bench.folder(), pods, true)?;
    let runtime = Runtime::new().context("failed to start a runtime")?;
    let scene = Scene { lease: &lease, registry, binary: bench.binary(), runtime: &runtime };
    let repository = format!("{}/bench/web", registry.host);
    application::create(&runtime, &lease.rig, APP, &repository)?;
    let observer = scene.observe();

    let rounds = bench.rounds(11);
    eprintln!("deploy ({about}): {rounds} rounds …");
    let (mut ours, mut peer) = (Times::default(), Times::default());
    // The first deployment of each client fills caches and does not count. Each deploys the image that the other did
    // not, so every one is a real change.
    for round in 0..=rounds {
        let mut pair = [true, false];
        if round % 2 == 1 {
            pair.reverse();
        }
        for (is_ours, digest) in pair.into_iter().zip(images) {
            let mut command = if is_ours { scene.ours(digest) } else { scene.peer(digest) };
            let times = scene.deploy(&mut command, digest, &observer)?;
            if round > 0 {
                let series = if is_ours { &mut ours } else { &mut peer };
                series.add(times);
            }
        }
    }
    let cli = Program::new::<&str>(&lease.rig.argocd.cli, []);
    bench.note("argocd", cli.version(&["version", "--client", "--short"])?);
    bench.note("Argo CD", lease.rig.argocd.version.clone());
    let figures = |which: fn(&Times) -> &Vec<Sample>| {
        let ours = Figures::of("`argocd deploy --settle 0`", which(&ours));
        (ours, Some(Figures::of("`argocd app set`, `sync`, `wait`", which(&peer))))
    };
    let (of_ours, of_peer) = figures(|times| &times.whole);
    bench.add(row(&format!("deploy, {about}: whole"), of_ours, of_peer, &[]));
    let (of_ours, of_peer) = figures(|times| &times.own);
    bench.add(row(
        &format!("deploy, {about}: without Argo CD's own time"),
        of_ours,
        of_peer,
        &[Limit::TimeRatio(0.5)],
    ));
    let (of_ours, of_peer) = figures(|times| &times.after);
    bench.add(row(
        &format!("deploy, {about}: after Argo CD is done"),
        of_ours,
        of_peer,
        &[Limit::Milliseconds(300.0)],
    ));
    Ok(())
}

/// The times of one client, one entry a deployment.
#[derive(Debug, Default)]
struct Times {
    /// From the start of the client to its end.
    whole: Vec<Sample>,
    /// The same without the time in which Argo CD worked.
    own: Vec<Sample>,
    /// From when Argo CD was done to the client's end.
    after: Vec<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Deployed {
    whole: Duration,
    own: Duration,
    after: Duration,
}

impl Times {
    fn add(&mut self, deployed: Deployed) {
        let sample = |time: Duration| Sample { seconds: time.as_secs_f64(), peak_kib: 0 };
        self.whole.push(sample(deployed.whole));
        self.own.push(sample(deployed.own));
        self.after.push(sample(deployed.after));
    }
}

/// Two images that differ in what they say, by digest.
fn images(bench: &Bench, registry: &Registry, docker_host: &str) -> Result<[String; 2]> {
    let context = bench.folder().join("demo");
    demo::demo_context(&context)?;
    let build = |name: &str| -> Result<String> {
        let metadata = bench.folder().join(format!("{name}.json"));
        let mut command = Command::new(bench.binary());
        command.args(["image", "build", "--push", "--quiet", "--format", "json", "--build-arg"]);
        command
            .arg(format!("COMMIT={name}"))
            .arg("--tag")
            .arg(format!("{}/bench/web:{name}", registry.host))
            .arg(&context);
        command.env("DOCKER_HOST", docker_host).stdout(fs::File::create(&metadata)?);
        let status = children::run(&mut command)?;
        ensure!(status.success(), "the image of the bench does not build: {status}");
        let told: Value =
            serde_json::from_slice(&fs::read(&metadata)?).context("the build tells no JSON")?;
        find_digest(&told).context("the build tells no digest")
    };
    Ok([build("one")?, build("two")?])
}

/// The digest of the pushed image in what `image build --push --format json` tells.
fn find_digest(told: &Value) -> Option<String> {
    told.pointer("/pushed/digest")?.as_str().map(str::to_owned)
}

struct Scene<'a> {
    lease: &'a Lease,
    registry: &'a Registry,
    binary: &'a Path,
    runtime: &'a Runtime,
}

impl Scene<'_> {
    fn observe(&self) -> Observer {
        let rig = &self.lease.rig;
        let url = format!("{}/api/v1/stream/applications?name={APP}", rig.argocd.url);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = self.runtime.spawn(follow(url, rig.argocd.tokens.admin.clone(), seen.clone()));
        Observer { seen, task }
    }

    fn ours(&self, digest: &str) -> Command {
        let rig = &self.lease.rig;
        let mut command = Command::new(self.binary);
        command.args([
            "argocd",
            "deploy",
            APP,
            "--server",
            &rig.argocd.url,
            "--settle",
            "0s",
            "--image",
        ]);
        command.arg(format!("{}/bench/web@{digest}", self.registry.host));
        command.arg("--helm-set").arg(format!("image.digest={digest}"));
        command.env("ARGOCD_AUTH_TOKEN", &rig.argocd.tokens.bot);
        command
    }

    /// What the documentation of Argo CD tells a CI job to run.
    fn peer(&self, digest: &str) -> Command {
        let rig = &self.lease.rig;
        let argocd =
            format!("{} --server {} --plaintext", rig.argocd.cli.display(), rig.argocd.server);
        let mut command = needs::Program::Sh.command();
        command.arg("-c").arg(format!(
            "{argocd} app set {APP} --helm-set-string image.digest={digest} && \
             {argocd} app sync {APP} && {argocd} app wait {APP} --sync --health"
        ));
        command.env("ARGOCD_AUTH_TOKEN", &rig.argocd.tokens.bot);
        command
    }

    /// Runs a client to its end, and splits its time.
    fn deploy(&self, command: &mut Command, digest: &str, observer: &Observer) -> Result<Deployed> {
        let name = command.get_program().to_string_lossy().into_owned();
        let start = Instant::now();
        observer.forget();
        let log = self.lease.path.with_file_name("deploy.log");
        let out = fs::File::create(&log).context("failed to create a log")?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let status = children::run(command)?;
        let end = Instant::now();
        children::stop_if_interrupted()?;
        if !status.success() {
            bail!(
                "{name} ended with {status}:\n{}",
                fs::read_to_string(&log).unwrap_or_default().trim()
            );
        }
        // The observer may see the last change a moment later than the client did.
        loop {
            let seen = observer.seen();
            if let (Some(began), Some(done)) = (began_at(&seen), done_at(&seen, digest, end)) {
                let whole = end.saturating_duration_since(start);
                let worked = done.min(end).saturating_duration_since(began);
                let after = end.saturating_duration_since(done);
                return Ok(Deployed { whole, own: whole.saturating_sub(worked), after });
            }
            ensure!(start.elapsed() < STUCK, "Argo CD never showed {digest} as deployed");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Follows the application for as long as it lives.
struct Observer {
    seen: Arc<Mutex<Vec<(Instant, Value)>>>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Forgets all but the last state.
    fn forget(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = seen.len().saturating_sub(1);
        seen.drain(..keep);
    }

    fn seen(&self) -> Vec<(Instant, Value)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the stream of changes, one JSON document a line, and notes when each came. Begins again when it ends.
async fn follow(url: String, token: String, seen: Arc<Mutex<Vec<(Instant, Value)>>>) {
    let Ok(client) = reqwest::Client::builder().no_proxy().build() else { return };
    loop {
        if let Ok(answer) = client.get(&url).bearer_auth(&token).send().await {
            let mut chunks = answer.bytes_stream();
            let mut text = Vec::new();
            while let Some(Ok(chunk)) = chunks.next().await {
                let now = Instant::now();
                text.extend_from_slice(&chunk);
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    if let Ok(mut event) = serde_json::from_slice::<Value>(&line) {
                        let application = event["result"]["application"].take();
                        seen.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((now, application));
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// When Argo CD was first seen to have an operation to do that the first state seen did not know.
fn began_at(seen: &[(Instant, Value)]) -> Option<Instant> {
    let operation = |application: &Value| {
        application
            .pointer("/status/operationState/startedAt")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let known = seen.first().and_then(|(_, application)| operation(application));
    let is_new = |application: &Value| {
        application["operation"].is_object() || operation(application) != known
    };
    seen.iter().skip(1).find(|(_, application)| is_new(application)).map(|(at, _)| *at)
}

/// When Argo CD was done with `digest`: the begin of the last unbroken time of being done before the client ended. If
/// it was only seen to be done after that, the time of that; the client then needed nothing beyond.
fn done_at(seen: &[(Instant, Value)], digest: &str, end: Instant) -> Option<Instant> {
    let mut since = None;
    for (at, application) in seen {
        match (is_done(application, digest), since) {
            (true, None) => since = Some(*at),
            // A state that was undone after the client had ended is not its affair.
            (false, Some(_)) if *at <= end => since = None,
            _ => {}
        }
    }
    since
}

/// Whether the status says: the operation with this digest succeeded, was compared after that, and all is well.
fn is_done(application: &Value, digest: &str) -> bool {
    let text =
        |pointer: &str| application.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let names = |pointer: &str| {
        application.pointer(pointer).is_some_and(|part| part.to_string().contains(digest))
    };
    let (finished, reconciled) =
        (text("/status/operationState/finishedAt"), text("/status/reconciledAt"));
    text("/status/operationState/phase") == "Succeeded"
        && names("/status/operationState/syncResult")
        && names("/status/sync/comparedTo")
        && text("/status/sync/status") == "Synced"
        && text("/status/health/status") == "Healthy"
        && !finished.is_empty()
        // Both are whole seconds in UTC, so that their order is that of their texts.
        && reconciled >= finished
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application(digest: &str, health: &str, reconciled: &str) -> Value {
        json!({ "status": {
            "operationState": {
                "phase": "Succeeded",
                "finishedAt": "2026-11-24T10:00:05Z",
                "syncResult": { "source": { "helm": { "parameters": [{ "value": digest }] } } },
            },
            "sync": { "status": "Synced", "comparedTo": { "source": { "helm": { "parameters": [{ "value": digest }] } } } },
            "health": { "status": health },
            "reconciledAt": reconciled,
        } })
    }

    #[test]
    fn done_means_finished_reconciled_and_well() {
        let after = "2026-11-24T10:00:06Z";
        assert!(is_done(&application("sha256:a", "Healthy", after), "sha256:a"));
        assert!(!is_done(&application("sha256:b", "Healthy", after), "sha256:a"));
        assert!(!is_done(&application("sha256:a", "Progressing", after), "sha256:a"));
        assert!(!is_done(&application("sha256:a", "Healthy", "2026-11-24T10:00:04Z"), "sha256:a"));
        assert!(!is_done(&Value::Null, "sha256:a"));
    }

    #[test]
    fn an_operation_begins_when_it_is_first_seen() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let state =
            |started: &str| json!({ "status": { "operationState": { "startedAt": started } } });
        let mut asked = state("1");
        asked["operation"] = json!({ "sync": {} });
        let seen =
            [(at(0), state("1")), (at(10), state("1")), (at(20), asked), (at(30), state("2"))];
        assert_eq!(began_at(&seen), Some(at(20)));
        assert_eq!(began_at(&seen[..2]), None);
        assert_eq!(began_at(&[(at(0), Value::Null), (at(5), state("1"))]), Some(at(5)));
        assert_eq!(began_at(&[]), None);
    }

    #[test]
    fn stale_health_right_after_the_operation_does_not_count() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let state = |health| application("sha256:a", health, "2026-11-24T10:00:06Z");
        let seen = [
            (at(0), Value::Null),
            (at(10), state("Healthy")),
            (at(20), state("Progressing")),
            (at(30), state("Healthy")),
        ];
        assert_eq!(done_at(&seen, "sha256:a", at(40)), Some(at(30)));
        assert_eq!(done_at(&seen[..3], "sha256:a", at(25)), None);
        assert_eq!(done_at(&seen[..2], "sha256:a", at(5)), Some(at(10)));
    }
}
