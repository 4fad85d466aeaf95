//! The watch of applications: its frames, its first event, its silence.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::context::{As, Context, same};
use super::{Checked, cases};

cases! {
    "watch: server-sent events begin with ADDED" => events,
    "watch: a change is MODIFIED" => modified,
    "watch: a deletion is DELETED" => deleted,
    "watch: lines of JSON for any other Accept" => lines,
    "watch: fields" => fields,
    "watch: names" => names,
    "watch: a version and no name shows only what changes" => changes_only,
    "watch: a missing application is silence, without a head" => missing,
    "watch: a version of the future is silence, without a head" => future,
    "watch: the version of a patch gives that state or a newer one" => version_of_patch,
    "watch: a silent stream of events sends a comment" => keep_alive,
    "watch: needs a token" => no_token,
}

/// How long silence is listened to.
const SILENCE: Duration = Duration::from_secs(2);
/// How long an event may take.
const EVENT: Duration = Duration::from_secs(30);

/// A stream that is read frame by frame.
struct Reader {
    answer: Response,
    read: String,
}

impl Reader {
    async fn open(cx: &Context, query: &str, accept: &str) -> anyhow::Result<Self> {
        let request =
            cx.request(As::Admin, &Method::GET, &format!("/api/v1/stream/applications?{query}"));
        let sending = request.header("accept", accept).send();
        let answer = tokio::time::timeout(EVENT, sending).await.context("no head came")??;
        ensure!(answer.status() == 200, "the stream was answered with {}", answer.status());
        Ok(Self { answer, read: String::new() })
    }

    /// What comes before `end`, which is taken away.
    async fn until(&mut self, end: &str) -> anyhow::Result<String> {
        loop {
            if let Some(at) = self.read.find(end) {
                let frame = self.read[..at].to_owned();
                self.read.drain(..at + end.len());
                return Ok(frame);
            }
            let chunk = tokio::time::timeout(EVENT, self.answer.chunk())
                .await
                .context("no event came")??;
            self.read.push_str(&String::from_utf8(chunk.context("the stream ended")?.to_vec())?);
        }
    }

    async fn event(&mut self) -> anyhow::Result<Value> {
        let frame = self.until(" \n\n\n").await?;
        let data = frame
            .trim_start_matches(":\n")
            .strip_prefix("data: ")
            .with_context(|| format!("not an event: {frame}"))?;
        Ok(serde_json::from_str(data)?)
    }

    /// The first event after a change. The server lists, then subscribes: a change in between is lost, so there are
    /// several.
    async fn event_of_change(&mut self, cx: &Context, app: &str) -> anyhow::Result<Value> {
        for value in 0..20 {
            cx.patch(app, &annotate(&value.to_string())).await?.ok()?;
            if let Ok(event) = tokio::time::timeout(SILENCE, self.event()).await {
                return event;
            }
        }
        bail!("no change was told")
    }
}

const SSE: &str = "text/event-stream";

/// An application that nobody writes to any more.
async fn quiet(cx: &Context) -> anyhow::Result<String> {
    let app = cx.app("settings").await?;
    cx.synced(&app).await?;
    // The controller compares once more after an operation, and writes what it finds.
    let mut reader = Reader::open(cx, &format!("name={app}"), SSE).await?;
    while let Ok(event) = tokio::time::timeout(SILENCE, reader.event()).await {
        event?;
    }
    Ok(app)
}

async fn events(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    let mut reader = Reader::open(cx, &format!("name={app}&project=default"), SSE).await?;
    same("the content type", &reader.answer.headers()["content-type"].to_str()?, &SSE)?;
    let event = reader.event().await?;
    same("the type", &event["result"]["type"], &"ADDED")?;
    let got = &event["result"]["application"];
    same("the name", &got["metadata"]["name"], &app.as_str())?;
    same("the sync status", &got["status"]["sync"]["status"], &"Synced")
}

fn annotate(value: &str) -> Value {
    json!([{ "op": "add", "path": "/metadata/annotations", "value": { "a": value } }])
}

async fn modified(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    let mut reader = Reader::open(cx, &format!("name={app}"), SSE).await?;
    reader.event().await?;
    let event = reader.event_of_change(cx, &app).await?;
    same("the type", &event["result"]["type"], &"MODIFIED")
}

async fn deleted(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    let mut reader = Reader::open(cx, &format!("name={app}"), SSE).await?;
    reader.event().await?;
    // What is told of a change is told of the deletion too.
    reader.event_of_change(cx, &app).await?;
    cx.delete(&format!("/api/v1/applications/{app}")).await?.ok()?;
    loop {
        let event = reader.event().await?;
        if event["result"]["type"] == "DELETED" {
            return Ok(());
        }
        same("the type", &event["result"]["type"], &"MODIFIED")?;
    }
}

async fn lines(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    for accept in ["*/*", "text/event-stream, */*", "application/json"] {
        let mut reader = Reader::open(cx, &format!("name={app}"), accept).await?;
        same(
            "the content type",
            &reader.answer.headers()["content-type"].to_str()?,
            &"application/json",
        )?;
        let event: Value = serde_json::from_str(&reader.until("\n").await?)?;
        same("the type", &event["result"]["type"], &"ADDED")?;
    }
    Ok(())
}

async fn fields(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    let query = format!(
        "name={app}&fields=result.type,result.application.metadata.name,result.application.status.sync.status"
    );
    let event = Reader::open(cx, &query, SSE).await?.event().await?;
    let want = json!({ "result": { "type": "ADDED", "application": { "metadata": { "name": app }, "status": { "sync": { "status": "Synced" } } } } });
    same("the event", &event, &want)
}

async fn names(cx: &Context) -> Checked {
    let (one, two) = (quiet(cx).await?, quiet(cx).await?);
    let query = format!("projects=default&names={one}&names=argocd/{two}");
    let mut reader = Reader::open(cx, &query, SSE).await?;
    let mut want = [one, two];
    want.sort();
    for name in want {
        let event = reader.event().await?;
        same("the type", &event["result"]["type"], &"ADDED")?;
        let got = &event["result"]["application"]["metadata"]["name"];
        same("the name", got, &name.as_str())?;
    }
    Ok(())
}

async fn changes_only(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    let list = cx.get(&format!("/api/v1/applications?names={app}")).await?.ok()?;
    let version = list["metadata"]["resourceVersion"].as_str().context("no version")?;
    let query = format!("names={app}&resourceVersion={version}");
    // Whether the controller has come to rest for good cannot be known, so silence is no proof. The head comes with the
    // first event, and that is not ADDED.
    let opened = Reader::open(cx, &query, SSE);
    let changed = async {
        for value in 0.. {
            cx.patch(&app, &annotate(&value.to_string())).await?.ok()?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    let mut reader = tokio::select! {
        reader = opened => reader?,
        never = changed => return never,
    };
    same("the type", &reader.event().await?["result"]["type"], &"MODIFIED")
}

/// Not even a status line comes.
async fn silent(cx: &Context, query: &str) -> Checked {
    let request =
        cx.request(As::Admin, &Method::GET, &format!("/api/v1/stream/applications?{query}"));
    let sending = request.header("accept", SSE).send();
    if let Ok(answer) = tokio::time::timeout(SILENCE, sending).await {
        bail!("an answer came: {}", answer?.status());
    }
    Ok(())
}

async fn missing(cx: &Context) -> Checked {
    silent(cx, "name=none-such").await
}

async fn future(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    silent(cx, &format!("name={app}&resourceVersion=900000000")).await
}

async fn version_of_patch(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    let patched = cx.patch(&app, &annotate("new")).await?.ok()?;
    let version = patched["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let event = Reader::open(cx, &format!("name={app}&resourceVersion={version}"), SSE)
        .await?
        .event()
        .await?;
    same("the annotation", &event["result"]["application"]["metadata"]["annotations"]["a"], &"new")
}

async fn keep_alive(cx: &Context) -> Checked {
    let app = quiet(cx).await?;
    let mut reader = Reader::open(cx, &format!("name={app}"), SSE).await?;
    let mut read = reader.until(" \n\n\n").await?;
    // 15 s after the head; the controller may have looked at the application meanwhile.
    while !read.starts_with(":\n") {
        read = reader.until("\n").await? + "\n";
    }
    Ok(())
}

async fn no_token(cx: &Context) -> Checked {
    let answer = cx.get_as(As::Nobody, "/api/v1/stream/applications?name=x").await?;
    ensure!(answer.status == 401, "{answer:?}");
    let message = answer.json["error"]["message"].as_str().or(answer.json["message"].as_str());
    same("the message", &message, &Some("no session information"))
}
