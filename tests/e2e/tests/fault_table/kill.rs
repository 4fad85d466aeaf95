//! A promotion is killed, with SIGKILL, at each of its requests: before the request takes effect, and after it took effect
//! and its answer was lost. The next run, on another machine, finishes the work or goes back. Then every application holds
//! the release that the ledger says, and the ledger is whole.
//!
//! The results lie in `target/tmp/kills-*.md` afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use e2e::{Run, Tool, World};
use fault_proxy::{Fault, FaultProxy, Rule};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{PLACES, WORKERS, sample};

/// How long the kill waits for the request that it is for.
const PATIENCE: Duration = Duration::from_secs(60);

/// In what the promotion is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// One application, which is synced by the promotion.
    One,
    Three,
    /// One application that syncs itself.
    Automatic,
    /// One application that an ApplicationSet owns, which leaves the values and the claim alone.
    OfSet,
}

impl Scene {
    const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Three => "three",
            Self::Automatic => "automatic",
            Self::OfSet => "of-set",
        }
    }

    const fn applications(self) -> &'static [&'static str] {
        match self {
            Self::One | Self::Automatic => &["shop-dev"],
            Self::Three => &["shop-dev", "shop-staging", "shop-production"],
            Self::OfSet => &["shop-set"],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Registry,
    ArgoCd,
}

/// Where it is killed, and what comes then.
#[derive(Clone, Copy, Debug)]
struct Point {
    service: Service,
    /// The request to the service, counted from 0.
    nth: usize,
    /// Whether the request has taken effect.
    delivered: bool,
    next: Next,
}

/// The next run, on another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// The same promotion.
    Finish,
    GoBack,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, nth, delivered, next } = self;
        let effect = if *delivered { "after its effect" } else { "before its effect" };
        write!(f, "{service:?} request {nth}, {effect}, then {next:?}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_of_one_application_is_killed() -> Result<()> {
    killed(Scene::One).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_of_three_applications_is_killed() -> Result<()> {
    killed(Scene::Three).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_killed_where_argo_cd_syncs_by_itself() -> Result<()> {
    killed(Scene::Automatic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_killed_where_a_set_owns_the_application() -> Result<()> {
    killed(Scene::OfSet).await
}

/// What became of the points so far.
#[derive(Debug, Default)]
struct Tally {
    finished: usize,
    gone_back: usize,
    /// The run ended before it came to the request: their number varies a little.
    not_reached: usize,
    faults: String,
}

async fn killed(scene: Scene) -> Result<()> {
    let points = sample()?.of(points(scene).await?);
    let count = points.len();
    let points = Arc::new(Mutex::new(VecDeque::from(points)));
    let mut workers = JoinSet::new();
    for _ in 0..count.min(WORKERS) {
        workers.spawn(work(scene, Arc::clone(&points)));
    }
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        let tally = tally?;
        all.finished += tally.finished;
        all.gone_back += tally.gone_back;
        all.not_reached += tally.not_reached;
        all.faults.push_str(&tally.faults);
    }
    let Tally { finished, gone_back, not_reached, faults } = all;
    let shown =
        format!("| {} | {count} | {finished} | {gone_back} | {not_reached} |\n", scene.name());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kills-{}.md", scene.name()));
    std::fs::write(&file, &shown).with_context(|| format!("cannot write {}", file.display()))?;
    assert!(faults.is_empty(), "{faults}");
    assert!(count > 0 && not_reached <= count / 10 + 1, "only some were reached: {shown}");
    Ok(())
}

/// The points, from the requests of a promotion that nobody disturbs.
async fn points(scene: Scene) -> Result<Vec<Point>> {
    let mut stage = Stage::set(scene).await?;
    let release = stage.new_release().await?;
    let known = [stage.world.registry_proxy.requests(), stage.world.argocd_proxy.requests()];
    let _ = stage.world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let made = [
        (Service::Registry, stage.world.registry_proxy.requests() - known[0]),
        (Service::ArgoCd, stage.world.argocd_proxy.requests() - known[1]),
    ];
    let mut points = Vec::new();
    for (service, count) in made {
        for nth in 0..count {
            for delivered in [false, true] {
                // By turns, so that each request meets both.
                let finishes = (nth % 2 == 0) == delivered;
                let next = if finishes { Next::Finish } else { Next::GoBack };
                points.push(Point { service, nth, delivered, next });
            }
        }
    }
    Ok(points)
}

async fn work(scene: Scene, points: Arc<Mutex<VecDeque<Point>>>) -> Tally {
    let (mut tally, mut kept) = (Tally::default(), None);
    loop {
        let place = PLACES.acquire().await;
        let Some(point) = points.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else {
            return tally;
        };
        let tried = tried(scene, point, &mut kept).await;
        drop(place);
        match tried {
            Ok(Some(Next::Finish)) => tally.finished += 1,
            Ok(Some(Next::GoBack)) => tally.gone_back += 1,
            Ok(None) => tally.not_reached += 1,
            Err(error) => {
                let _ = writeln!(tally.faults, "## {}, {point}\n{error:#}", scene.name());
            }
        }
    }
}

/// What was done next, if the request was made at all.
async fn tried(scene: Scene, point: Point, kept: &mut Option<Stage>) -> Result<Option<Next>> {
    let mut stage = match kept.take().filter(|stage| stage.uses < 6) {
        Some(stage) => stage,
        None => Stage::set(scene).await?,
    };
    let release = stage.new_release().await?;
    let promote = ["promote", "dev", "--release", &release];
    let proxy = match point.service {
        Service::Registry => &stage.world.registry_proxy,
        Service::ArgoCd => &stage.world.argocd_proxy,
    };
    let rule = Rule::new(Fault::Stall).nth(point.nth);
    let Some(killed) = kill_at(proxy, rule, point.delivered, &stage.world.tool, &promote).await?
    else {
        return Ok(None);
    };
    proxy.heal();
    stage.next_machine()?;
    let back = ["restore", "dev", "--take-over"];
    let line = match point.next {
        Next::Finish => &promote[..],
        Next::GoBack => &back,
    };
    let next = stage.tool.run(line).await?;
    let told = || format!("killed: {killed}\nthen: {next}");
    if next.code != 0 {
        bail!("the next run ends with {}\n{}", next.code, told());
    }
    stage.is_in_order(point.next, &release).await.with_context(told)?;
    *kept = Some(stage);
    Ok(Some(point.next))
}

/// Runs the promotion until it meets the rule, and kills it there. `None` if it ends before.
async fn kill_at(
    proxy: &FaultProxy,
    rule: Rule,
    delivered: bool,
    tool: &Tool,
    promote: &[&str],
) -> Result<Option<Run>> {
    let known = proxy.seen().iter().filter(|one| one.struck).count();
    proxy.inject(if delivered { rule.delivered() } else { rule });
    let child = tool.start(promote)?;
    let pid = child.pid().context("it has ended at once")?;
    let mut ended = std::pin::pin!(child.end());
    tokio::select! {
        struck = timeout(PATIENCE, proxy.struck(known + 1)) => {
            struck.context("neither the request nor the end came")?;
        }
        _ = &mut ended => {
            proxy.heal();
            return Ok(None);
        }
    }
    // It may have ended in this moment.
    let _ = kill_process(pid, Signal::KILL);
    ended.await.map(Some)
}

/// A world with a release that runs.
struct Stage {
    world: World,
    scene: Scene,
    /// The binary on the machine of the next run.
    tool: Tool,
    /// How many promotions were killed here.
    uses: usize,
}

impl Stage {
    async fn set(scene: Scene) -> Result<Self> {
        let world = World::start().await?;
        let text = world.configuration();
        let (dev, _) = text.split_once("  - name: staging").context("no staging")?;
        let apps = format!("    apps: [{}]\n", scene.applications().join(", "));
        let dev = dev.replace("    apps: [shop-dev]\n", &apps).replace("    stuck_after: 1s\n", "");
        let keys = "keys:\n  - { name: ci, file: ci.pub, roles: [builder, tester, promoter] }\n";
        world.project.write("verbatim.yaml", &format!("{dev}{keys}"))?;
        let mut tool = world.tool.clone();
        match scene {
            Scene::One | Scene::Three => {}
            Scene::Automatic => {
                let automated = json!([
                    { "op": "add", "path": "/spec/syncPolicy", "value": { "automated": {} } },
                ]);
                let _ = world.patch("shop-dev", automated).await?;
            }
            Scene::OfSet => {
                make_set(&world).await?;
                // The token of a pipeline may not look at sets here.
                tool = tool.with("ARGOCD_AUTH_TOKEN", &world.argocd.tokens().admin);
            }
        }
        let mut stage = Self { world, scene, tool: tool.clone(), uses: 0 };
        stage.world.tool = tool;
        let release = stage.world.release("Something old").await?;
        let _ = stage.world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
        Ok(stage)
    }

    async fn new_release(&mut self) -> Result<String> {
        self.uses += 1;
        self.world.release(&format!("Something new, {}", self.uses)).await
    }

    /// Another machine: nothing is there but what the pipeline gives to each of its jobs.
    fn next_machine(&mut self) -> Result<()> {
        let left = self.world.project.root.join(".verbatim");
        if left.exists() {
            std::fs::remove_dir_all(left)?;
        }
        let home = self.world.beside(&format!("home-{}", self.uses));
        std::fs::create_dir_all(&home)?;
        let home = home.to_str().context("the folder is not UTF-8")?;
        self.tool = self.world.tool.clone().with("HOME", home);
        Ok(())
    }

    /// Whether the services are in one of the two states, and the ledger is whole and says which.
    async fn is_in_order(&self, next: Next, release: &str) -> Result<()> {
        let history = self.tool.run(&["history", "dev", "--format", "json"]).await?;
        anyhow::ensure!(history.code == 0, "the ledger is not whole: {history}");
        let history = history.json()?;
        let promotions = history["promotions"].as_array().context("no promotions")?;
        let numbers: Vec<_> = promotions.iter().map(|it| it["number"].clone()).collect();
        let newest_first =
            (1..=numbers.len()).rev().map(|number| json!(number)).collect::<Vec<_>>();
        anyhow::ensure!(numbers == newest_first, "the ledger has {numbers:?}: {history}");
        let head = promotions.first().context("an empty ledger")?;
        let digest = head["release"]["digest"].as_str().context("no digest")?;
        let is_new = release.ends_with(digest);
        anyhow::ensure!(is_new || next == Next::GoBack, "the ledger ends with {digest}");
        for app in self.scene.applications() {
            let parameters = self.world.parameters(app).await?;
            let tag = parameters.iter().find(|(name, _)| name == "image.tag");
            let holds = tag.is_some_and(|(_, value)| value.ends_with(digest));
            anyhow::ensure!(holds, "{app} has {tag:?}, the ledger says {digest}");
            let claim = self.claim(app).await?;
            let is_closed = matches!(claim["state"].as_str(), None | Some("done"));
            anyhow::ensure!(is_closed, "{app} has the claim {claim}");
        }
        let status = self.tool.run(&["status", "--check"]).await?;
        anyhow::ensure!(status.code == 0, "it is not as the ledger says: {status}");
        Ok(())
    }

    async fn claim(&self, app: &str) -> Result<Value> {
        let application = self.world.api(http::Method::GET, &format!("/{app}"), None).await?;
        let annotations = &application["metadata"]["annotations"];
        let claims: BTreeMap<String, String> =
            serde_json::from_value(annotations.clone()).unwrap_or_default();
        let claim = claims.get("verbatim.dev/claim.shop.dev");
        Ok(claim.map_or(Ok(Value::Null), |claim| serde_json::from_str(claim))?)
    }
}

/// An ApplicationSet that makes one application like those of the world, and waits until it is there.
async fn make_set(world: &World) -> Result<()> {
    let application = world.api(http::Method::GET, "/shop-dev", None).await?;
    let set = json!({
        "metadata": { "name": "sets" },
        "spec": {
            "generators": [{ "list": { "elements": [{}] } }],
            "ignoreApplicationDifferences": [{ "jsonPointers": ["/spec/source/helm/parameters"] }],
            "preservedFields": { "annotations": ["verbatim.dev/claim.shop.dev"] },
            "template": {
                "metadata": { "name": "shop-set" },
                "spec": application["spec"],
            },
        },
    });
    world.create_set(set).await?;
    timeout(PATIENCE, async {
        while world.api(http::Method::GET, "/shop-set", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .context("the set made no application")
}
