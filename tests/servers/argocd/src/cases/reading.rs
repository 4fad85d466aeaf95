//! Reading applications: what is missing, what is forbidden, lists, refreshes.

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::context::{Answer, As, Context, same};
use super::{Checked, cases};

cases! {
    "a missing application without a project" => missing,
    "a missing application with its project" => missing_with_project,
    "an application of another project" => other_project,
    "two projects" => two_projects,
    "a namespace that is not enabled" => other_namespace,
    "PATCH of a missing application" => patch_missing,
    "sync of a missing application" => sync_missing,
    "every view of a missing application" => views_of_missing,
    "the list holds an application, without health of its resources" => listed,
    "the list of an unknown project" => list_of_nothing,
    "the list with fields" => list_fields,
    "the list with a selector" => list_selector,
    "the status of a new application" => new_application,
    "refresh=normal compares before it answers" => refresh_normal,
    "refresh=hard compares before it answers" => refresh_hard,
    "any other value of refresh is a normal one" => refresh_other,
}

const NOT_FOUND: &str = "applications.argoproj.io \"none-such\" not found";

async fn missing(cx: &Context) -> Checked {
    for who in [As::Admin, As::Bot, As::Reader] {
        cx.get_as(who, "/api/v1/applications/none-such").await?.refused(
            403,
            7,
            "permission denied",
        )?;
    }
    Ok(())
}

async fn missing_with_project(cx: &Context) -> Checked {
    for who in [As::Admin, As::Bot] {
        cx.get_as(who, "/api/v1/applications/none-such?project=default")
            .await?
            .refused(404, 5, NOT_FOUND)?;
    }
    Ok(())
}

async fn other_project(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.get(&format!("/api/v1/applications/{app}?project=default")).await?.ok()?;
    let words = format!("applications.argoproj.io \"{app}\" not found");
    cx.get(&format!("/api/v1/applications/{app}?project=zzz")).await?.refused(404, 5, &words)
}

async fn two_projects(cx: &Context) -> Checked {
    let words = "multiple projects specified - the get endpoint accepts either zero or one project";
    cx.get("/api/v1/applications/x?project=a&project=b").await?.refused(400, 3, words)
}

async fn other_namespace(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let path = format!("/api/v1/applications/{app}?appNamespace=default&project=default");
    cx.get(&path).await?.refused(403, 7, "permission denied")?;
    cx.get(&format!("/api/v1/applications/{app}?appNamespace=argocd")).await?.ok()?;
    Ok(())
}

async fn patch_missing(cx: &Context) -> Checked {
    let path = "/api/v1/applications/none-such";
    let mut body = json!({ "name": "none-such", "patch": "[]", "patchType": "json" });
    cx.call(As::Admin, Method::PATCH, path, &body).await?.refused(403, 7, "permission denied")?;
    body["project"] = "default".into();
    cx.call(As::Admin, Method::PATCH, path, &body).await?.refused(404, 5, NOT_FOUND)
}

async fn sync_missing(cx: &Context) -> Checked {
    let path = "/api/v1/applications/none-such/sync";
    cx.post(path, &json!({})).await?.refused(403, 7, "permission denied")?;
    cx.post(path, &json!({ "project": "default" })).await?.refused(404, 5, NOT_FOUND)
}

async fn views_of_missing(cx: &Context) -> Checked {
    for view in ["syncwindows", "resource-tree", "managed-resources", "manifests"] {
        let path = format!("/api/v1/applications/none-such/{view}");
        cx.get(&path).await?.refused(403, 7, "permission denied")?;
        cx.get(&format!("{path}?project=default")).await?.refused(404, 5, NOT_FOUND)?;
    }
    Ok(())
}

/// The application among the items of a list.
fn find<'l>(list: &'l Value, name: &str) -> Option<&'l Value> {
    list["items"].as_array()?.iter().find(|app| app["metadata"]["name"] == name)
}

async fn listed(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.until(&app, "a comparison", |app| app["status"]["resources"][0]["health"].is_object())
        .await?;
    // The list comes from a cache that may lag a moment behind.
    let list = cx
        .until_get(&format!("/api/v1/applications?name={app}"), "the list", |answer| {
            find(&answer.json, &app).is_some_and(|one| one["status"]["resources"].is_array())
        })
        .await?
        .ok()?;
    ensure!(
        list["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|version| version.parse::<u64>().is_ok())
    );
    let Some(found) = find(&list, &app) else { anyhow::bail!("{app} is not in {list}") };
    same("the number of items", &list["items"].as_array().map_or(0, Vec::len), &1)?;
    ensure!(
        found["status"]["resources"][0].get("health").is_none(),
        "{}",
        found["status"]["resources"]
    );
    Ok(())
}

async fn list_of_nothing(cx: &Context) -> Checked {
    let list = cx.get("/api/v1/applications?projects=none-such").await?.ok()?;
    ensure!(list["items"].is_null(), "{list}");
    Ok(())
}

async fn list_fields(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.until(&app, "a comparison", |app| app["status"]["resources"].is_array()).await?;
    let path =
        format!("/api/v1/applications?name={app}&fields=items.metadata.name,items.spec.project");
    let list =
        cx.until_get(&path, "the list", |answer| find(&answer.json, &app).is_some()).await?.ok()?;
    let want = json!({ "metadata": { "name": app }, "spec": { "project": "default" } });
    same("the item", &list["items"][0], &want)
}

async fn list_selector(cx: &Context) -> Checked {
    let name = cx.name();
    let mut document = cx.document(&name, "settings");
    document["metadata"]["labels"] = json!({ "cases": name });
    cx.create(document).await?;
    let path = |label: &str| format!("/api/v1/applications?selector=cases%3D{label}");
    let found = |answer: &Answer| find(&answer.json, &name).is_some();
    cx.until_get(&path(&name), "the label to be found", found).await?;
    ensure!(!found(&cx.get(&path("other")).await?), "another label is found");
    Ok(())
}

async fn new_application(cx: &Context) -> Checked {
    let name = cx.name();
    let created = cx.create(cx.document(&name, "settings")).await?;
    same("the namespace", &created["metadata"]["namespace"], &"argocd")?;
    same(
        "the empty comparison",
        &created["status"]["sync"]["comparedTo"]["source"]["repoURL"],
        &"",
    )?;
    let app = cx
        .until(&name, "a comparison", |app| app["status"]["sync"]["status"] == "OutOfSync")
        .await?;
    let resource = &app["status"]["resources"][0];
    same("the resource", &resource["health"]["status"], &"Missing")?;
    same("its kind", &resource["kind"], &"ConfigMap")?;
    same("the application's health", &app["status"]["health"]["status"], &"Missing")?;
    same("the source's type", &app["status"]["sourceType"], &"Helm")?;
    same(
        "what was compared",
        &app["status"]["sync"]["comparedTo"]["source"],
        &app["spec"]["source"],
    )?;
    let revision = app["status"]["sync"]["revision"].as_str().unwrap_or_default();
    ensure!(revision.len() == 40, "the revision is {revision}");
    Ok(())
}

async fn refreshed(cx: &Context, kind: &str) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    cx.until(&app, "a comparison", |app| app["status"]["sync"]["status"] == "OutOfSync").await?;
    let operations = json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "1.0.1" }]);
    let patched = cx.patch(&app, &operations).await?.ok()?;
    let after = cx.get(&format!("/api/v1/applications/{app}?refresh={kind}")).await?.ok()?;
    same(
        "what was compared",
        &after["status"]["sync"]["comparedTo"]["source"],
        &after["spec"]["source"],
    )?;
    same("the parameter", &after["spec"]["source"]["helm"]["parameters"][0]["value"], &"1.0.1")?;
    ensure!(
        after["metadata"]["annotations"].get("argocd.argoproj.io/refresh").is_none(),
        "the annotation is still there"
    );
    let version = |app: &Value| {
        app["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok())
    };
    ensure!(version(&after) > version(&patched), "the resource version did not move");
    Ok(())
}

async fn refresh_normal(cx: &Context) -> Checked {
    refreshed(cx, "normal").await
}

async fn refresh_hard(cx: &Context) -> Checked {
    refreshed(cx, "hard").await
}

async fn refresh_other(cx: &Context) -> Checked {
    refreshed(cx, "false").await
}
