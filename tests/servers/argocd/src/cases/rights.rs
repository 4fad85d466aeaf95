//! What the accounts `bot` (get, update, sync; get of repositories) and `reader` (get) may do, and in which words they are refused.

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::context::{Answer, As, Context, parameter, same};
use super::{Checked, cases};

cases! {
    "the bot may get, patch, sync and look around" => bot_may,
    "the bot may not create" => bot_create,
    "the bot may not delete" => bot_delete,
    "the bot may not read the project" => bot_project,
    "the reader sees no repositories" => reader_repositories,
    "the reader may get and refresh" => reader_may,
    "the reader may not patch" => reader_patch,
    "the reader may not put a spec" => reader_put_spec,
    "the reader may not sync" => reader_sync,
    "the reader may not terminate" => reader_terminate,
    "the reader may not roll back" => reader_rollback,
    "appdetails: the chart's parameters, for the application's own sources only" => appdetails,
    "appdetails: the bot may ask, the reader may not" => bot_appdetails,
    "a repository that is missing is forbidden" => repository,
}

/// The direct enforcement: the right that is missing, and whose.
fn denied(answer: &Answer, right: &str, who: &str) -> anyhow::Result<()> {
    answer.refused_containing(403, 7, &format!("permission denied: {right}, sub: {who}, iat: 20"))
}

async fn bot_may(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let operations = json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "1.0.1" }]);
    cx.patch_text(As::Bot, &app, "json", &operations.to_string()).await?.ok()?;
    let path = format!("/api/v1/applications/{app}");
    let synced = cx.call(As::Bot, Method::POST, &format!("{path}/sync"), &json!({})).await?.ok()?;
    same("who began it", &synced["operation"]["initiatedBy"]["username"], &"bot")?;
    for view in ["", "/syncwindows", "/resource-tree", "/managed-resources", "/manifests"] {
        cx.get_as(As::Bot, &format!("{path}{view}")).await?.ok()?;
    }
    Ok(())
}

async fn bot_create(cx: &Context) -> Checked {
    let name = cx.name();
    let answer = cx
        .call(As::Bot, Method::POST, "/api/v1/applications", &cx.document(&name, "settings"))
        .await?;
    denied(&answer, &format!("applications, create, default/{name}"), "bot")?;
    Ok(())
}

async fn bot_delete(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx
        .call(As::Bot, Method::DELETE, &format!("/api/v1/applications/{app}"), &Value::Null)
        .await?;
    denied(&answer, &format!("applications, delete, default/{app}"), "bot")?;
    Ok(())
}

async fn bot_project(cx: &Context) -> Checked {
    let answer = cx.get_as(As::Bot, "/api/v1/projects/default").await?;
    denied(&answer, "projects, get, default", "bot")?;
    Ok(())
}

async fn reader_repositories(cx: &Context) -> Checked {
    let list = cx.get_as(As::Reader, "/api/v1/repositories").await?.ok()?;
    ensure!(list["items"].is_null(), "{list}");
    Ok(())
}

async fn reader_may(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.get_as(As::Reader, &format!("/api/v1/applications/{app}")).await?.ok()?;
    cx.get_as(As::Reader, &format!("/api/v1/applications/{app}?refresh=normal")).await?.ok()?;
    Ok(())
}

async fn reader_patch(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx.patch_text(As::Reader, &app, "json", "[]").await?;
    denied(&answer, &format!("applications, update, default/{app}"), "reader")?;
    Ok(())
}

async fn reader_put_spec(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let spec = cx.read(&app).await?["spec"].clone();
    let answer = cx
        .call(As::Reader, Method::PUT, &format!("/api/v1/applications/{app}/spec"), &spec)
        .await?;
    answer.refused(403, 7, "permission denied")
}

async fn reader_sync(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    for body in [json!({}), json!({ "project": "default" })] {
        let answer = cx
            .call(As::Reader, Method::POST, &format!("/api/v1/applications/{app}/sync"), &body)
            .await?;
        denied(&answer, &format!("applications, sync, default/{app}"), "reader")?;
    }
    Ok(())
}

async fn reader_terminate(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx
        .call(
            As::Reader,
            Method::DELETE,
            &format!("/api/v1/applications/{app}/operation"),
            &Value::Null,
        )
        .await?;
    answer.refused(403, 7, "permission denied")
}

async fn reader_rollback(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx
        .call(
            As::Reader,
            Method::POST,
            &format!("/api/v1/applications/{app}/rollback"),
            &json!({ "id": 0 }),
        )
        .await?;
    ensure!(answer.status == 403 && answer.json["code"] == 7, "{answer:?}");
    Ok(())
}

/// The URL as one part of a path.
fn encoded(url: &str) -> String {
    url.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn appdetails(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let url = cx.repository();
    let own = json!({ "repoURL": url, "path": "chart", "targetRevision": "main", "helm": { "parameters": [parameter("image.tag", "1.0.0")] } });
    let body =
        |source: &Value| json!({ "source": source, "appName": app, "appProject": "default" });
    let path = format!("/api/v1/repositories/{}/appdetails", encoded(&url));
    let details = cx.post(&path, &body(&own)).await?.ok()?;
    same("the type", &details["type"], &"Helm")?;
    let known = details["helm"]["parameters"].as_array().cloned().unwrap_or_default();
    let tag = known.iter().find(|one| one["name"] == "image.tag");
    same("the chart's own tag", &tag.map(|tag| tag["value"].clone()), &Some(json!("1.0.0")))?;
    // The same application with parameters that it does not have, nor ever had.
    let mut other = own.clone();
    other["helm"]["parameters"][0]["value"] = "2.0.0".into();
    cx.post(&path, &body(&other)).await?.refused(403, 7, "permission denied")
}

async fn bot_appdetails(cx: &Context) -> Checked {
    let app = cx.app("chart").await?;
    let url = cx.repository();
    let source = json!({ "repoURL": url, "path": "chart", "targetRevision": "main" });
    let body = json!({ "source": source, "appName": app, "appProject": "default" });
    let path = format!("/api/v1/repositories/{}/appdetails", encoded(&url));
    let details = cx.call(As::Bot, Method::POST, &path, &body).await?.ok()?;
    same("the type", &details["type"], &"Helm")?;
    let answer = cx.call(As::Reader, Method::POST, &path, &body).await?;
    denied(&answer, &format!("repositories, get, {url}"), "reader")?;
    Ok(())
}

async fn repository(cx: &Context) -> Checked {
    let url = cx.repository();
    let path = format!("/api/v1/repositories/{}", encoded(&url));
    // A missing one, for those who may see all: as forbidden as for those who may not.
    for who in [As::Admin, As::Reader] {
        cx.get_as(who, &path).await?.refused(403, 7, "permission denied")?;
    }
    cx.remove_at_end(path.clone());
    let body = json!({ "repo": url, "type": "git" });
    same(
        "the answer",
        &cx.post("/api/v1/repositories?upsert=true", &body).await?.ok()?["repo"],
        &url.as_str(),
    )?;
    same("the repository", &cx.get(&path).await?.ok()?["repo"], &url.as_str())?;
    same("as the bot sees it", &cx.get_as(As::Bot, &path).await?.ok()?["repo"], &url.as_str())?;
    cx.get_as(As::Reader, &path).await?.refused(403, 7, "permission denied")
}
