//! Single objects of an application: their actions, and changes past the sources.

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::context::{As, Context, same};
use super::{Checked, cases};

cases! {
    "a Deployment offers actions" => offered,
    "an action changes an object in its cluster" => restarted,
    "the older call of an action takes its name alone" => paused,
    "an action that there is not" => no_such_action,
    "an object is patched in its cluster" => patched,
    "an object is deleted in its cluster" => deleted,
    "objects of others are not found" => foreign_object,
    "the bot may change no object and run no action" => bot,
}

/// A synced application with a Deployment of its name, and the query that names that.
async fn with_deployment(cx: &Context) -> anyhow::Result<(String, String)> {
    let app = cx.app_with_tag("1").await?;
    cx.synced(&app).await?;
    let namespace = cx.read(&app).await?["spec"]["destination"]["namespace"]
        .as_str()
        .context("the application has no namespace")?
        .to_owned();
    let query =
        format!("resourceName={app}&namespace={namespace}&version=v1&kind=Deployment&group=apps");
    Ok((format!("/api/v1/applications/{app}/resource"), query))
}

async fn live(cx: &Context, path: &str, query: &str) -> anyhow::Result<Value> {
    let answer = cx.get(&format!("{path}?{query}")).await?.ok()?;
    let text = answer["manifest"].as_str().context("there is no manifest")?;
    Ok(serde_json::from_str(text)?)
}

async fn offered(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    let list = cx.get(&format!("{path}/actions?{query}")).await?.ok()?;
    let actions = list["actions"].as_array().with_context(|| list.to_string())?;
    let action = |name: &str| actions.iter().find(|one| one["name"] == name);
    let restart = action("restart").with_context(|| list.to_string())?;
    ensure!(restart["disabled"] != true, "{restart}");
    let resume = action("resume").with_context(|| list.to_string())?;
    same("what is not paused", &resume["disabled"], &true)
}

/// The body of an action on the object of a query.
fn action(query: &str, action: &str) -> Value {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut body: Value = pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    body["action"] = json!(action);
    body
}

async fn restarted(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    let answer = cx.post(&format!("{path}/actions/v2"), &action(&query, "restart")).await?.ok()?;
    same("the answer", &answer, &json!({}))?;
    let annotations =
        &live(cx, &path, &query).await?["spec"]["template"]["metadata"]["annotations"];
    ensure!(annotations["kubectl.kubernetes.io/restartedAt"].is_string(), "{annotations}");
    Ok(())
}

async fn paused(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    cx.post(&format!("{path}/actions?{query}"), &json!("pause")).await?.ok()?;
    same("paused", &live(cx, &path, &query).await?["spec"]["paused"], &true)
}

async fn no_such_action(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    let answer = cx.post(&format!("{path}/actions/v2"), &action(&query, "fly")).await?;
    answer.refused_containing(500, 2, "error getting Lua resource action")
}

async fn patched(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    let patches = [
        ("application/merge-patch+json", r#"{"metadata":{"labels":{"note":"1"}}}"#, "1"),
        (
            "application/json-patch+json",
            r#"[{"op":"replace","path":"/metadata/labels/note","value":"2"}]"#,
            "2",
        ),
    ];
    for (kind, patch, want) in patches {
        let kind = kind.replace('+', "%2B");
        let answer =
            cx.post(&format!("{path}?{query}&patchType={kind}"), &json!(patch)).await?.ok()?;
        let object: Value = serde_json::from_str(answer["manifest"].as_str().unwrap_or_default())?;
        same("the answer", &object["metadata"]["labels"]["note"], &want)?;
        let object = live(cx, &path, &query).await?;
        same("the object", &object["metadata"]["labels"]["note"], &want)?;
    }
    Ok(())
}

async fn deleted(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    let answer = cx.delete(&format!("{path}?{query}")).await?.ok()?;
    same("the answer", &answer, &json!({}))?;
    let app = path.split('/').nth(4).context("the path names no application")?;
    // The object may wait for its pods; that it is out of sync then is what a pipeline sees.
    cx.until(app, "a missing object", |app| app["status"]["sync"]["status"] == "OutOfSync").await?;
    Ok(())
}

async fn foreign_object(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    let query = query.replace("resourceName=", "resourceName=not-");
    for answer in [
        cx.get(&format!("{path}?{query}")).await?,
        cx.get(&format!("{path}/actions?{query}")).await?,
        cx.delete(&format!("{path}?{query}")).await?,
        cx.post(&format!("{path}/actions/v2"), &action(&query, "restart")).await?,
    ] {
        answer.refused_containing(400, 3, "not found as part of application")?;
    }
    Ok(())
}

async fn bot(cx: &Context) -> Checked {
    let (path, query) = with_deployment(cx).await?;
    let merge = "application/merge-patch%2Bjson";
    let asked = [
        (Method::POST, format!("{path}/actions/v2"), action(&query, "restart")),
        (Method::POST, format!("{path}?{query}&patchType={merge}"), json!("{}")),
        (Method::DELETE, format!("{path}?{query}"), Value::Null),
    ];
    for (method, path, body) in asked {
        let answer = cx.call(As::Bot, method, &path, &body).await?;
        answer.refused(403, 7, "permission denied")?;
    }
    cx.get_as(As::Bot, &format!("{path}/actions?{query}")).await?.ok()?;
    Ok(())
}
