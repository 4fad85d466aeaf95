//! Our writes and those of others to one application of the real Argo CD, side by side, in an order that a seed chooses. The
//! judge is a watch on the Kubernetes API, not our client: whatever somebody else changed and one of our writes took back
//! must have been told by that run, and what a run says of its own values must be so.

mod server;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::Tool;
use futures_util::{StreamExt as _, stream};
use http::Method;
use rig::Rig;
use serde_json::{Value, json};
use tokio::time::sleep;

use server::{Judge, Kube, application, application_set};

/// How many applications are written to at the same time: the server allows itself 50 requests a second.
const AT_ONCE: usize = 4;
/// Rounds in which nobody asked for more.
const FEW: u64 = 24;
/// The longest that a writer waits before it begins.
const SPREAD_MS: u64 = 250;

/// What one of our runs does to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    /// Values and claim.
    Override,
    /// The same through the Kubernetes API, where nothing of others may be taken back.
    OverrideThere,
    /// Values and claim, a sync, a proof, and the end of the claim.
    Deploy,
    /// Back to the values before.
    Undo,
    /// An annotation for others to read.
    Annotate,
}

/// A field that somebody else writes, through the Kubernetes API or with the real `argocd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theirs {
    Label,
    Annotation,
    HistoryLimit,
    SyncOption,
    /// Another value of the same source, by `argocd app set`.
    Parameter,
    /// A label in the template of the ApplicationSet that owns the application, which its controller brings.
    SetLabel,
}

/// What others write to an application of nobody's, and to one of an ApplicationSet, which takes back the rest by itself.
const TO_ANY: [Theirs; 5] = [
    Theirs::Label,
    Theirs::Annotation,
    Theirs::HistoryLimit,
    Theirs::SyncOption,
    Theirs::Parameter,
];
const TO_OWNED: [Theirs; 3] = [Theirs::SetLabel, Theirs::Annotation, Theirs::Parameter];

/// The lane whose application an ApplicationSet owns.
const OWNED: u64 = 3;

impl Theirs {
    /// What the field is in an application.
    fn read(self, app: &Value) -> Option<String> {
        let at = |pointer: &str| app.pointer(pointer).cloned();
        let found = match self {
            Self::Label => at("/metadata/labels/team"),
            Self::Annotation => at("/metadata/annotations/team"),
            Self::HistoryLimit => at("/spec/revisionHistoryLimit"),
            Self::SyncOption => at("/spec/syncPolicy/syncOptions/0"),
            Self::Parameter => parameter(app, "environment").map(Value::String),
            Self::SetLabel => at("/metadata/labels/set"),
        };
        found.map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
    }

    /// The value of a round: no two rounds that follow each other have the same.
    fn value(self, round: u64) -> String {
        match self {
            Self::HistoryLimit | Self::Parameter => (round % 50 + 1).to_string(),
            // The server keeps what it does not know.
            Self::SyncOption => format!("Note{round}=true"),
            Self::Label | Self::Annotation | Self::SetLabel => format!("t{round}"),
        }
    }
}

fn parameter(app: &Value, name: &str) -> Option<String> {
    let parameters = app.pointer("/spec/source/helm/parameters")?.as_array()?;
    let found = parameters.iter().find(|one| one["name"] == name)?;
    Some(found["value"].as_str().unwrap_or_default().to_owned())
}

/// Numbers that a seed chooses.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        self.0 = hasher.finish();
        self.0 % limit
    }
}

/// What came of a round.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    rounds: u64,
    /// Changes of others that our writes took back, all of them told.
    told: u64,
    /// Changes of others that another one's write took back.
    others: u64,
    /// Our runs that ended with another status than 0.
    refused: u64,
    /// Changes that our writes took back in runs that said that they could not see such.
    unseen: u64,
    /// Runs that deployed and proved.
    proven: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_others_is_lost_untold() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let (seed, rounds) = rounds()?;
    let runs = stream::iter(0..AT_ONCE as u64).map(|lane| {
        let rig = rig.clone();
        tokio::spawn(async move {
            let mut world = World::start(rig, lane).await?;
            let tried = world.rounds(seed, (lane..rounds).step_by(AT_ONCE)).await;
            world.remove().await?;
            tried
        })
    });
    let mut all = Tally::default();
    for run in runs.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
        let tally = run??;
        all.rounds += tally.rounds;
        all.told += tally.told;
        all.others += tally.others;
        all.refused += tally.refused;
        all.unseen += tally.unseen;
        all.proven += tally.proven;
    }
    let Tally { rounds, told, others, refused, unseen, proven } = all;
    let shown = format!("| {rounds} | {proven} | {refused} | {told} | {unseen} | {others} |\n");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("interleavings.md"), shown)?;
    Ok(())
}

/// The seed and how many rounds, from `VERBATIM_INTERLEAVINGS=SEED/N`.
#[expect(clippy::disallowed_methods, reason = "how a step asks for more")]
fn rounds() -> Result<(u64, u64)> {
    let Ok(text) = std::env::var("VERBATIM_INTERLEAVINGS") else { return Ok((1, FEW)) };
    let (seed, rounds) = text.split_once('/').with_context(|| format!("no SEED/N: {text}"))?;
    Ok((seed.parse()?, rounds.parse()?))
}

/// One application, and those who write to it.
struct World {
    rig: Rig,
    app: String,
    /// Whether an ApplicationSet of the same name owns it.
    is_owned: bool,
    tool: Tool,
    kube: Kube,
    judge: Judge,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(rig: Rig, lane: u64) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let app = format!("interleaved-{}-{lane}", std::process::id());
        let tool = Tool::new(folder.path(), folder.path())?
            .with("ARGOCD_SERVER", &rig.argocd.url)
            .with("ARGOCD_AUTH_TOKEN", &rig.argocd.tokens.admin)
            .with("KUBECONFIG", &rig.kubernetes.kubeconfig.to_string_lossy());
        let kube = Kube::new(&rig)?;
        let is_owned = lane == OWNED;
        let made = if is_owned {
            kube.call_set(Method::POST, "", Some(application_set(&app, &rig))).await?;
            kube.made(&app).await?
        } else {
            kube.call(Method::POST, "", Some(application(&app, &rig))).await?
        };
        let version = made["metadata"]["resourceVersion"].as_str().context("no version")?;
        let judge = Judge::start(kube.clone(), app.clone(), version.to_owned());
        Ok(Self { rig, app, is_owned, tool, kube, judge, _folder: folder })
    }

    async fn remove(&self) -> Result<()> {
        let name = format!("/{}", self.app);
        if self.is_owned {
            // Its application goes with it.
            return self.kube.call_set(Method::DELETE, &name, None).await.map(drop);
        }
        self.kube.call(Method::DELETE, &name, None).await.map(drop)
    }

    async fn rounds(&mut self, seed: u64, rounds: impl Iterator<Item = u64>) -> Result<Tally> {
        let mut tally = Tally::default();
        for round in rounds {
            let place = format!("seed {seed}, round {round}");
            let one = self.round(seed, round).await.context(place)?;
            tally.rounds += 1;
            tally.told += one.told;
            tally.others += one.others;
            tally.refused += one.refused;
            tally.unseen += one.unseen;
            tally.proven += one.proven;
        }
        Ok(tally)
    }

    async fn round(&mut self, seed: u64, round: u64) -> Result<Tally> {
        let mut chance = Chance(seed.wrapping_mul(1_000_003) ^ round);
        let ours = match chance.below(8) {
            0 => Ours::Undo,
            1 => Ours::Annotate,
            2 => Ours::Deploy,
            3 | 4 => Ours::OverrideThere,
            _ => Ours::Override,
        };
        let all: &[Theirs] = if self.is_owned { &TO_OWNED } else { &TO_ANY };
        let count = 1 + chance.below(3);
        let mut theirs: Vec<(Theirs, Duration)> = Vec::new();
        while (theirs.len() as u64) < count {
            let one = all[chance.below(all.len() as u64) as usize];
            let wait = Duration::from_millis(chance.below(SPREAD_MS));
            if theirs.iter().all(|(known, _)| *known != one) {
                theirs.push((one, wait));
            }
        }
        let from = self.judge.seen().len().saturating_sub(1);
        let others = theirs.iter().map(|(one, wait)| async {
            sleep(*wait).await;
            self.write(*one, &one.value(round)).await
        });
        let wait = Duration::from_millis(chance.below(SPREAD_MS / 4));
        let (run, others) = tokio::join!(
            async {
                sleep(wait).await;
                self.run(ours, round).await
            },
            futures_util::future::join_all(others)
        );
        let run = run?;
        others.into_iter().collect::<Result<Vec<_>>>()?;
        let states = self.judge.until_now(&self.kube, &self.app).await?.split_off(from);
        let told: Vec<Value> = run.warnings();
        let mut tally = Tally { refused: u64::from(run.code != 0), ..Tally::default() };
        tally.proven += u64::from(ours == Ours::Deploy && run.code == 0);
        for (one, _) in &theirs {
            match lost(&states, *one, &one.value(round), &run) {
                None => {}
                Some(By::Others) => tally.others += 1,
                Some(By::Us) if ours == Ours::OverrideThere => {
                    bail!("{one:?} was taken back: {run:?}\n{}", tale(&states, *one))
                }
                Some(By::Us) if told.iter().any(|told| is_about(told, *one, &one.value(round))) => {
                    tally.told += 1;
                }
                Some(By::Us) if run.is_blind() => tally.unseen += 1,
                Some(By::Us) => bail!("{one:?} was lost untold: {run:?}\n{}", tale(&states, *one)),
            }
        }
        if matches!(ours, Ours::Override | Ours::OverrideThere | Ours::Deploy) {
            truthful(&states, &run, round)?;
        }
        Ok(tally)
    }

    /// Somebody else's write, answered with success.
    async fn write(&self, what: Theirs, value: &str) -> Result<()> {
        let path = format!("/{}", self.app);
        let patch = match what {
            Theirs::Label => json!({ "metadata": { "labels": { "team": value } } }),
            Theirs::Annotation => json!({ "metadata": { "annotations": { "team": value } } }),
            Theirs::HistoryLimit => {
                json!({ "spec": { "revisionHistoryLimit": value.parse::<u64>()? } })
            }
            Theirs::SyncOption => json!({ "spec": { "syncPolicy": { "syncOptions": [value] } } }),
            Theirs::Parameter => {
                let set = format!("environment={value}");
                let arguments = ["app", "set", &self.app, "-p", &set];
                let mut tool = self.tool.clone();
                tool.variables.extend(self.rig.env.clone());
                let run = tool.other(&self.rig.argocd.cli, &arguments).await?;
                ensure!(run.code == 0, "{run}");
                return Ok(());
            }
            Theirs::SetLabel => {
                let labels = json!({ "labels": { "set": value } });
                let patch = json!({ "spec": { "template": { "metadata": labels } } });
                return self.kube.call_set(Method::PATCH, &path, Some(patch)).await.map(drop);
            }
        };
        self.kube.call(Method::PATCH, &path, Some(patch)).await.map(drop)
    }

    async fn run(&self, what: Ours, round: u64) -> Result<Ran> {
        let value = format!("image.tag={}", ours_in(round));
        let image = format!("{IMAGE}@{}", digest_in(round));
        let write = ["argocd", "override", &self.app, "--helm-set", &value];
        let deploy = ["argocd", "deploy", &self.app, "--image", &image, "--helm-set", &value];
        let arguments: Vec<&str> = match what {
            Ours::Override => write.to_vec(),
            Ours::OverrideThere => [&write[..], &["--via", "kubernetes"]].concat(),
            Ours::Deploy => [&deploy[..], &["--timeout", "60"]].concat(),
            Ours::Undo => vec!["argocd", "override", "--undo", &self.app],
            Ours::Annotate => vec!["argocd", "confirm-deletion", &self.app],
        };
        let run = self.tool.run(&[&arguments[..], &["--format", "json"]].concat()).await?;
        ensure!([0, 1, 4, 5].contains(&run.code), "{run}");
        let result = serde_json::from_str(&run.stdout).unwrap_or_default();
        Ok(Ran { what, code: run.code, stderr: run.stderr, result })
    }
}

/// The image that the chart of the rig names by itself.
const IMAGE: &str = "127.0.0.1:5000/example/web";

/// The digest that a run of ours writes in a round. Nobody pulls it: the workload has no pods.
fn digest_in(round: u64) -> String {
    format!("sha256:{round:064x}")
}

/// The value that a run of ours writes in a round.
fn ours_in(round: u64) -> String {
    format!("r{round}@{}", digest_in(round))
}

/// One of our runs at its end.
#[derive(Debug)]
struct Ran {
    what: Ours,
    code: i32,
    stderr: String,
    result: Value,
}

impl Ran {
    /// Whether it told that it could not see what it took back.
    fn is_blind(&self) -> bool {
        let told = format!("{} {}", self.result["warnings"], self.stderr);
        told.contains("whether our write took back a change of another client")
    }

    /// The losses that it told, in its result or to people.
    fn warnings(&self) -> Vec<Value> {
        let in_result = self.result["warnings"].as_array().cloned().unwrap_or_default();
        let lines = self.stderr.lines().filter(|line| line.contains("overwrote another client"));
        in_result.into_iter().chain(lines.map(|line| json!(line))).collect()
    }
}

/// Whether a warning tells that this change is gone.
fn is_about(told: &Value, what: Theirs, value: &str) -> bool {
    let place = match what {
        Theirs::Label => "/metadata/labels/team",
        Theirs::Annotation => "/metadata/annotations/team",
        Theirs::HistoryLimit => "/spec/revisionHistoryLimit",
        Theirs::SyncOption => "/spec/syncPolicy/syncOptions",
        Theirs::Parameter => "/spec/source/helm/parameters/environment",
        Theirs::SetLabel => "/metadata/labels/set",
    };
    let text = told.to_string();
    text.contains(place) && text.contains(value)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Us,
    Others,
}

/// Who took a change back, if it was there and is not there any more.
fn lost(states: &[Value], what: Theirs, value: &str, run: &Ran) -> Option<By> {
    let has = |state: &Value| what.read(state).as_deref() == Some(value);
    let first = states.iter().position(has)?;
    let gone = states[first..].iter().position(|state| !has(state))? + first;
    // Whose write it was, its mark tells: nobody else changes these.
    let mark = |state: &Value| match run.what {
        Ours::Annotate => {
            state.pointer("/metadata/annotations/argocd.argoproj.io~1deletion-approved").cloned()
        }
        Ours::Override | Ours::OverrideThere | Ours::Deploy | Ours::Undo => {
            state.pointer("/metadata/annotations/verbatim.dev~1claim").cloned()
        }
    };
    // One that was there before is brought back by somebody who had read it then.
    let is_ours = states[..gone].iter().all(|before| mark(before) != mark(&states[gone]));
    Some(if is_ours { By::Us } else { By::Others })
}

/// Whether what a run said of its own values was so: exit 0 only if they stood beside its claim.
fn truthful(states: &[Value], run: &Ran, round: u64) -> Result<()> {
    let value = ours_in(round);
    let stood = states.iter().any(|state| {
        let claim = state.pointer("/metadata/annotations/verbatim.dev~1claim");
        let is_ours = claim.and_then(Value::as_str).is_some_and(|claim| claim.contains(&value));
        is_ours && parameter(state, "image.tag").as_deref() == Some(&value)
    });
    match run.code {
        0 => ensure!(stood, "exit 0, and the values never stood: {run:?}"),
        // What was refused was not written.
        5 if run.result["outcome"]["outcome"] == "refused" => {
            ensure!(!stood, "refused, and the values stood: {run:?}");
        }
        _ => {}
    }
    Ok(())
}

/// The states of a field, for people.
fn tale(states: &[Value], what: Theirs) -> String {
    let line = |state: &Value| {
        let version = &state["metadata"]["resourceVersion"];
        let claim = state.pointer("/metadata/annotations/verbatim.dev~1claim");
        let at = claim.and_then(Value::as_str).unwrap_or_default();
        format!("{version} {:?} {}", what.read(state), at.chars().take(160).collect::<String>())
    };
    states.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_judge_sees_who_took_a_change_back() {
    let state = |claim: &str, team: &str, limit: u64| {
        json!({
            "metadata": { "annotations": { "verbatim.dev/claim": claim }, "labels": { "team": team } },
            "spec": { "revisionHistoryLimit": limit },
        })
    };
    let run = Ran { what: Ours::Override, code: 0, stderr: String::new(), result: Value::Null };
    let cases: BTreeMap<&str, (Vec<Value>, Option<By>)> = BTreeMap::from([
        ("stays", (vec![state("a", "", 1), state("a", "t", 1), state("b", "t", 1)], None)),
        ("never there", (vec![state("a", "", 1), state("b", "", 1)], None)),
        ("by us", (vec![state("a", "", 1), state("a", "t", 1), state("b", "", 1)], Some(By::Us))),
        (
            "by another",
            (vec![state("a", "", 1), state("a", "t", 1), state("a", "", 2)], Some(By::Others)),
        ),
        (
            "by another, and our claim with it",
            (vec![state("a", "", 1), state("b", "t", 1), state("a", "", 1)], Some(By::Others)),
        ),
    ]);
    for (name, (states, want)) in cases {
        assert_eq!(lost(&states, Theirs::Label, "t", &run), want, "{name}");
    }
    let told = json!({ "path": "/metadata/labels/team", "value": "t7" });
    assert!(is_about(&told, Theirs::Label, "t7") && !is_about(&told, Theirs::Annotation, "t7"));
    assert!(!is_about(&told, Theirs::Label, "t8"));
    assert!(truthful(&[state("r1", "", 1)], &run, 1).is_err());
}
