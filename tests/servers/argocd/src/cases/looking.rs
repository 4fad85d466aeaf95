//! What is looked at beside the application itself: settings, clusters, projects, events, logs, states of objects.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::context::{As, Context, same};
use super::{Checked, cases};

cases! {
    "the settings name the server's own namespace" => settings,
    "the clusters and the projects that a token may see" => catalogues,
    "the events of an application tell who made it" => events,
    "events of a missing application" => events_of_missing,
    "the logs of an application without pods are empty" => no_logs,
    "a log that cannot be read is told like a line of it" => unreadable_log,
    "logs without the right to them" => forbidden_logs,
    "a managed resource has four states" => four_states,
}

async fn settings(cx: &Context) -> Checked {
    for who in [As::Admin, As::Bot] {
        let settings = cx.get_as(who, "/api/v1/settings").await?.ok()?;
        same("controllerNamespace", &settings["controllerNamespace"], &"argocd")?;
    }
    Ok(())
}

async fn catalogues(cx: &Context) -> Checked {
    let clusters = cx.get("/api/v1/clusters").await?.ok()?;
    let cluster = &clusters["items"][0];
    same("the server", &cluster["server"], &"https://kubernetes.default.svc")?;
    same("the name", &cluster["name"], &"in-cluster")?;
    ensure!(cluster["info"]["applicationsCount"].is_number(), "{cluster}");
    ensure!(cluster["info"]["connectionState"]["status"].is_string(), "{cluster}");
    let projects = cx.get("/api/v1/projects").await?.ok()?;
    let names = projects["items"].as_array().into_iter().flatten();
    ensure!(names.into_iter().any(|one| one["metadata"]["name"] == "default"), "{projects}");
    // Without the right they are empty, and that is no error.
    for path in ["/api/v1/clusters", "/api/v1/projects"] {
        let list = cx.get_as(As::Bot, path).await?.ok()?;
        same("the items", &list["items"], &Value::Null)?;
    }
    Ok(())
}

async fn events(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let list = cx.get(&format!("/api/v1/applications/{app}/events")).await?.ok()?;
    let events = list["items"].as_array().context("there are no items")?;
    let made = events.iter().find(|event| event["reason"] == "ResourceCreated");
    let made = made.with_context(|| format!("nobody made it: {list}"))?;
    same("the message", &made["message"], &"admin created application")?;
    same("the object", &made["involvedObject"]["kind"], &"Application")?;
    same("its name", &made["involvedObject"]["name"], &app.as_str())?;
    ensure!(made["lastTimestamp"].is_string() && made["count"].is_number(), "{made}");
    Ok(())
}

async fn events_of_missing(cx: &Context) -> Checked {
    let answer = cx.get("/api/v1/applications/none-such/events").await?;
    answer.refused(403, 7, "permission denied")
}

async fn no_logs(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx.get(&format!("/api/v1/applications/{app}/logs")).await?;
    same("the status", &answer.status, &200)?;
    same("the media type", &answer.content_type, &"application/json")?;
    same("the body", &answer.text.trim(), &"")
}

async fn unreadable_log(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1").await?;
    cx.synced(&app).await?;
    // The pods are there before the application is healthy, and only they matter.
    cx.until(&app, "a pod", |app| {
        app["status"]["summary"]["images"].as_array().is_some_and(|images| !images.is_empty())
    })
    .await?;
    let answer = cx.get(&format!("/api/v1/applications/{app}/logs?tailLines=5")).await?;
    same("the status", &answer.status, &200)?;
    let lines: Result<Vec<Value>, _> = answer.text.lines().map(serde_json::from_str).collect();
    let lines = lines.with_context(|| answer.text.clone())?;
    let (end, failures) = lines.split_last().with_context(|| answer.text.clone())?;
    same("the mark of the end", &end["result"]["last"], &true)?;
    for line in failures {
        let result = &line["result"];
        same("the pod", &result["podName"], &"")?;
        same("the time", &result["timeStamp"], &Value::Null)?;
        let why = result["content"].as_str().unwrap_or_default();
        // No node answers at all, or the node has no such container yet.
        ensure!(why.contains("containerLogs") || why.contains("waiting to start"), "{line}");
    }
    Ok(())
}

async fn forbidden_logs(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    for (who, path) in [(As::Bot, app.as_str()), (As::Admin, "none-such")] {
        let answer = cx.get_as(who, &format!("/api/v1/applications/{path}/logs")).await?;
        same("the status", &answer.status, &403)?;
        let error = &answer.json["error"];
        same("the code", &error["grpc_code"], &7)?;
        same("the status in words", &error["http_status"], &"Forbidden")?;
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(message.starts_with("permission denied"), "{}", answer.text);
    }
    Ok(())
}

async fn four_states(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.synced(&app).await?;
    let list = cx.get(&format!("/api/v1/applications/{app}/managed-resources")).await?.ok()?;
    let resource = &list["items"][0];
    for state in ["targetState", "liveState", "normalizedLiveState", "predictedLiveState"] {
        let text = resource[state].as_str().with_context(|| format!("no {state}: {resource}"))?;
        let object: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
        same(state, &object["kind"], &resource["kind"])?;
    }
    Ok(())
}
