//! Operations: the slot, the nonce, results and history, windows, auto-sync, rollback, stale status.

use anyhow::ensure;
use serde_json::{Value, json};

use super::context::{Context, is_over, nonce_of, parameter, same};
use super::{Checked, cases};

cases! {
    "sync: the answer holds the operation with its nonce and sources" => answer_of_sync,
    "sync: the nonce is in the final state" => nonce,
    "sync: results name resources and images" => results,
    "sync: the history tells sources and who it was" => history,
    "sync: again without a change" => unchanged,
    "sync: without a body" => no_body,
    "sync: a dry run leaves no history" => dry_run,
    "sync: of one resource leaves no history" => partial,
    "sync: a revision that does not exist" => bad_revision,
    "sync: the slot is taken" => slot,
    "sync: of many at once one wins" => one_winner,
    "sync: while one runs" => while_running,
    "sync: a patch while one runs" => patch_while_running,
    "sync: a retry says finished while it runs" => retry,
    "terminate" => terminate,
    "terminate when nothing runs" => terminate_idle,
    "status is stale after a patch" => stale,
    "comparedTo follows without a refresh" => compared,
    "reconciledAt is not before the operation's end" => reconciled,
    "auto-sync deploys a patch by itself" => auto_sync,
    "auto-sync refuses another revision" => auto_sync_revision,
    "auto-sync that is switched off" => auto_sync_off,
    "rollback brings an old source back and leaves the spec" => rollback,
    "rollback to an unknown id" => rollback_unknown,
    "rollback with auto-sync" => rollback_auto,
    "no sync windows" => no_windows,
    "a deny window" => deny_window,
    "a deny window that lets people sync" => manual_window,
    "a deny window that begins while an operation runs" => closing_window,
    "multi-source: operation, result and comparison have lists" => multi_source,
    "multi-source: a patch by index" => multi_source_patch,
    "multi-source: the single source is absent" => multi_source_single,
    "delete removes the application" => delete,
}

async fn answer_of_sync(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx.sync(&app, "nonce-1").await?.ok()?;
    let operation = &answer["operation"];
    same("the info", &operation["info"], &json!([{ "name": "x-op", "value": "nonce-1" }]))?;
    same("the source", &operation["sync"]["source"], &answer["spec"]["source"])?;
    same("who", &operation["initiatedBy"], &json!({ "username": "admin" }))?;
    ensure!(
        operation["sync"]["revision"].as_str().is_some_and(|revision| revision.len() == 40),
        "{operation}"
    );
    ensure!(
        answer["status"].get("operationState").is_none(),
        "{}",
        answer["status"]["operationState"]
    );
    Ok(())
}

async fn nonce(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    for nonce in ["one", "two"] {
        cx.sync(&app, nonce).await?.ok()?;
        let after = cx
            .until(&app, "the operation to end", |app| is_over(app) && nonce_of(app) == nonce)
            .await?;
        let state = &after["status"]["operationState"];
        same("the phase", &state["phase"], &"Succeeded")?;
        same("the message", &state["message"], &"successfully synced (all tasks run)")?;
        ensure!(state["startedAt"].is_string() && state["finishedAt"].is_string(), "{state}");
    }
    Ok(())
}

async fn results(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let after = cx.synced(&app).await?;
    let result = &after["status"]["operationState"]["syncResult"];
    same("the source", &result["source"], &after["spec"]["source"])?;
    let deployment = result["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["kind"] == "Deployment");
    let Some(deployment) = deployment else { anyhow::bail!("no Deployment in {result}") };
    same("its images", &deployment["images"], &json!(["127.0.0.1:5000/shop/web:1.0.0"]))?;
    same("its status", &deployment["status"], &"Synced")?;
    same("its message", &deployment["message"], &format!("deployment.apps/{app} created"))?;
    same("its phase", &deployment["syncPhase"], &"Sync")
}

async fn history(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    cx.synced(&app).await?;
    cx.patch(&app, &json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "1.0.1" }])).await?.ok()?;
    let after = cx.synced(&app).await?;
    let history = after["status"]["history"].as_array().cloned().unwrap_or_default();
    let tags: Vec<Value> =
        history.iter().map(|one| one["source"]["helm"]["parameters"][0]["value"].clone()).collect();
    same("the tags", &tags, &vec!["1.0.0", "1.0.1"])?;
    let ids: Vec<Value> = history.iter().map(|one| one["id"].clone()).collect();
    same("the ids", &ids, &vec![0, 1])?;
    same("who", &history[1]["initiatedBy"]["username"], &"admin")?;
    ensure!(
        history[1]["deployedAt"].is_string() && history[1]["deployStartedAt"].is_string(),
        "{}",
        history[1]
    );
    Ok(())
}

async fn unchanged(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.synced(&app).await?;
    let after = cx.synced(&app).await?;
    let message = &after["status"]["operationState"]["syncResult"]["resources"][0]["message"];
    same("the message", message, &format!("configmap/{app}-settings unchanged"))?;
    same("the sync status", &after["status"]["sync"]["status"], &"Synced")?;
    same("the health", &after["status"]["health"]["status"], &"Healthy")?;
    ensure!(
        after["status"]["resources"][0].get("health").is_none(),
        "a ConfigMap has a health: {}",
        after["status"]["resources"]
    );
    Ok(())
}

async fn no_body(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx.post(&format!("/api/v1/applications/{app}/sync"), &Value::Null).await?.ok()?;
    ensure!(
        answer["operation"]["sync"].is_object() && answer["operation"].get("info").is_none(),
        "{}",
        answer["operation"]
    );
    cx.until(&app, "the operation to end", is_over).await?;
    Ok(())
}

async fn dry_run(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.post(&format!("/api/v1/applications/{app}/sync"), &json!({ "dryRun": true })).await?.ok()?;
    let after = cx.until(&app, "the operation to end", is_over).await?;
    same("the phase", &after["status"]["operationState"]["phase"], &"Succeeded")?;
    ensure!(after["status"].get("history").is_none(), "{}", after["status"]["history"]);
    same("the sync status", &after["status"]["sync"]["status"], &"OutOfSync")
}

async fn partial(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let one = json!({ "resources": [{ "group": "", "kind": "Service", "name": app, "namespace": "default" }] });
    cx.post(&format!("/api/v1/applications/{app}/sync"), &one).await?.ok()?;
    let after = cx.until(&app, "the operation to end", is_over).await?;
    same("the phase", &after["status"]["operationState"]["phase"], &"Succeeded")?;
    let kinds: Vec<&Value> = after["status"]["operationState"]["syncResult"]["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["kind"])
        .collect();
    same("what was synced", &kinds, &vec!["Service"])?;
    ensure!(after["status"].get("history").is_none(), "{}", after["status"]["history"]);
    Ok(())
}

async fn bad_revision(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let answer = cx
        .post(&format!("/api/v1/applications/{app}/sync"), &json!({ "revision": "nope" }))
        .await?;
    answer.refused_containing(400, 9, "revision not found")
}

const BUSY: &str = "another operation is already in progress";

/// An application whose operation runs and does not end by itself.
async fn busy(cx: &Context) -> anyhow::Result<String> {
    busy_in(cx, "default").await
}

/// The same in a project.
async fn busy_in(cx: &Context, project: &str) -> anyhow::Result<String> {
    let app = cx.name();
    let mut document = cx.document(&app, "slow");
    document["spec"]["project"] = project.into();
    cx.create(document).await?;
    cx.sync(&app, "first").await?.ok()?;
    cx.until(&app, "the operation to run", |app| {
        app["status"]["operationState"]["phase"] == "Running"
    })
    .await?;
    Ok(app)
}

async fn slot(cx: &Context) -> Checked {
    let app = busy(cx).await?;
    cx.sync(&app, "second").await?.refused(400, 9, BUSY)?;
    same("the nonce", &nonce_of(&cx.read(&app).await?), &"first")
}

async fn one_winner(cx: &Context) -> Checked {
    let app = cx.app("slow").await?;
    let nonces: Vec<String> = (0..6).map(|number| format!("n{number}")).collect();
    let answers =
        futures_util::future::try_join_all(nonces.iter().map(|nonce| cx.sync(&app, nonce))).await?;
    let winners: Vec<&String> = answers
        .iter()
        .zip(&nonces)
        .filter(|(answer, _)| answer.status == 200)
        .map(|(_, nonce)| nonce)
        .collect();
    same("the number of winners", &winners.len(), &1)?;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.refused(400, 9, BUSY)?;
    }
    let running = cx
        .until(&app, "the operation to run", |app| {
            app["status"]["operationState"]["phase"] == "Running"
        })
        .await?;
    same("the nonce that runs", &nonce_of(&running), &winners[0].as_str())
}

async fn while_running(cx: &Context) -> Checked {
    let app = busy(cx).await?;
    let running = cx.read(&app).await?;
    same("the operation", &running["operation"]["info"][0]["value"], &"first")?;
    let state = &running["status"]["operationState"];
    ensure!(state.get("finishedAt").is_none() && state["startedAt"].is_string(), "{state}");
    let hook = cx
        .until(&app, "the hook to appear", |app| {
            app["status"]["resources"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|one| one["hook"] == true)
        })
        .await?;
    let hook = hook["status"]["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["hook"] == true)
        .cloned()
        .unwrap_or_default();
    ensure!(
        hook["kind"] == "Job"
            && hook["health"]["status"] == "Progressing"
            && hook.get("status").is_none(),
        "{hook}"
    );
    Ok(())
}

async fn patch_while_running(cx: &Context) -> Checked {
    let app = busy(cx).await?;
    let patched = cx
        .patch(
            &app,
            &json!([{ "op": "add", "path": "/metadata/annotations", "value": { "a": "b" } }]),
        )
        .await?
        .ok()?;
    same("the operation", &patched["operation"]["info"][0]["value"], &"first")
}

async fn retry(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let bad = json!([{ "op": "add", "path": "/spec/source/helm/parameters/-", "value": parameter("replicas", "abc") }]);
    cx.patch(&app, &bad).await?.ok()?;
    let back_off = json!({ "duration": "1s", "factor": 1, "maxDuration": "2s" });
    let body = json!({ "retryStrategy": { "limit": 1, "backoff": back_off } });
    cx.post(&format!("/api/v1/applications/{app}/sync"), &body).await?.ok()?;
    let waits = cx
        .until(&app, "the first attempt to fail", |app| {
            app["status"]["operationState"]["retryCount"] == 1
        })
        .await?;
    let state = &waits["status"]["operationState"];
    same("the phase", &state["phase"], &"Running")?;
    ensure!(waits.get("operation").is_some(), "the slot is free");
    let message = state["message"].as_str().unwrap_or_default();
    ensure!(message.contains("etrying"), "{message}");
    if message.contains(". Retrying attempt #1 at ") {
        ensure!(state["finishedAt"].is_string(), "{state}");
    }
    let after = cx.until(&app, "the last attempt", is_over).await?;
    let state = &after["status"]["operationState"];
    same("the phase", &state["phase"], &"Failed")?;
    let message = state["message"].as_str().unwrap_or_default();
    ensure!(message.ends_with(" (retried 1 times)."), "{message}");
    Ok(())
}

async fn terminate(cx: &Context) -> Checked {
    let app = busy(cx).await?;
    let path = format!("/api/v1/applications/{app}/operation");
    same("the answer", &cx.delete(&path).await?.ok()?, &json!({}))?;
    let after = cx.until(&app, "the operation to end", is_over).await?;
    let state = &after["status"]["operationState"];
    same("the phase", &state["phase"], &"Failed")?;
    same("the message", &state["message"], &"Operation terminated")
}

async fn terminate_idle(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let words = "Unable to terminate operation. No operation is in progress";
    cx.delete(&format!("/api/v1/applications/{app}/operation")).await?.refused(400, 3, words)
}

/// The parameter of what the status was compared with.
fn compared_value(app: &Value) -> &Value {
    &app["status"]["sync"]["comparedTo"]["source"]["helm"]["parameters"][0]["value"]
}

fn set_tag(tag: &str) -> Value {
    json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": tag }])
}

async fn stale(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let before = cx.synced(&app).await?;
    same("the sync status before", &before["status"]["sync"]["status"], &"Synced")?;
    let patched = cx.patch(&app, &set_tag("1.0.1")).await?.ok()?;
    same("the new value", &patched["spec"]["source"]["helm"]["parameters"][0]["value"], &"1.0.1")?;
    // The answer has the new spec beside the old comparison.
    same("the compared value", compared_value(&patched), &"1.0.0")?;
    same("the sync status", &patched["status"]["sync"]["status"], &"Synced")
}

async fn compared(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    cx.synced(&app).await?;
    cx.patch(&app, &set_tag("1.0.1")).await?.ok()?;
    let after = cx.until(&app, "the comparison", |app| compared_value(app) == "1.0.1").await?;
    same("the sync status", &after["status"]["sync"]["status"], &"OutOfSync")
}

async fn reconciled(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let after = cx.synced(&app).await?;
    let (reconciled, finished) =
        (&after["status"]["reconciledAt"], &after["status"]["operationState"]["finishedAt"]);
    // Both are UTC with whole seconds, so that texts compare as times do.
    ensure!(
        reconciled.as_str() >= finished.as_str() && finished.is_string(),
        "{reconciled} and {finished}"
    );
    Ok(())
}

/// An application of the chart that syncs by itself, when it has done so once.
async fn automatic(cx: &Context) -> anyhow::Result<String> {
    let name = cx.name();
    let mut document = cx.document(&name, "chart");
    document["spec"]["source"]["helm"] = json!({ "parameters": [parameter("image.tag", "1.0.0")] });
    document["spec"]["syncPolicy"] = json!({ "automated": {} });
    cx.create(document).await?;
    cx.until(&name, "the first automatic sync", |app| {
        is_over(app) && app["status"]["sync"]["status"] == "Synced"
    })
    .await?;
    Ok(name)
}

async fn auto_sync(cx: &Context) -> Checked {
    let app = automatic(cx).await?;
    cx.patch(&app, &set_tag("1.0.1")).await?.ok()?;
    let deployed = |app: &Value| {
        app["status"]["operationState"]["syncResult"]["source"]["helm"]["parameters"][0]["value"]
            == "1.0.1"
    };
    let after = cx.until(&app, "the automatic sync", |app| is_over(app) && deployed(app)).await?;
    let operation = &after["status"]["operationState"]["operation"];
    same("who", &operation["initiatedBy"], &json!({ "automated": true }))?;
    ensure!(operation.get("info").is_none(), "{operation}");
    Ok(())
}

async fn auto_sync_revision(cx: &Context) -> Checked {
    let app = automatic(cx).await?;
    let answer = cx
        .post(&format!("/api/v1/applications/{app}/sync"), &json!({ "revision": "other" }))
        .await?;
    answer.refused(400, 9, "Cannot sync to other: auto-sync currently set to main")
}

async fn auto_sync_off(cx: &Context) -> Checked {
    let name = cx.name();
    let mut document = cx.document(&name, "settings");
    document["spec"]["syncPolicy"] = json!({ "automated": { "enabled": false } });
    cx.create(document).await?;
    cx.until(&name, "a comparison", |app| app["status"]["sync"]["status"] == "OutOfSync").await?;
    // Another comparison, after which an operation would have been started.
    let after = cx.get(&format!("/api/v1/applications/{name}?refresh=normal")).await?.ok()?;
    ensure!(
        after.get("operation").is_none() && after["status"].get("operationState").is_none(),
        "{after}"
    );
    Ok(())
}

async fn rollback(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    cx.synced(&app).await?;
    cx.patch(&app, &set_tag("1.0.1")).await?.ok()?;
    cx.synced(&app).await?;
    let answer = cx
        .post(&format!("/api/v1/applications/{app}/rollback"), &json!({ "id": 0 }))
        .await?
        .ok()?;
    let operation = &answer["operation"];
    same("the strategy", &operation["sync"]["syncStrategy"], &json!({ "apply": {} }))?;
    same(
        "the old value",
        &operation["sync"]["source"]["helm"]["parameters"][0]["value"],
        &"1.0.0",
    )?;
    ensure!(operation.get("info").is_none(), "{operation}");
    cx.until(&app, "the rollback", is_over).await?;
    let after = cx.get(&format!("/api/v1/applications/{app}?refresh=normal")).await?.ok()?;
    same("the spec's value", &after["spec"]["source"]["helm"]["parameters"][0]["value"], &"1.0.1")?;
    same("the sync status", &after["status"]["sync"]["status"], &"OutOfSync")?;
    same("the history", &after["status"]["history"].as_array().map_or(0, Vec::len), &3)
}

async fn rollback_unknown(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let words = format!("application argocd/{app} does not have deployment with id 99");
    cx.post(&format!("/api/v1/applications/{app}/rollback"), &json!({ "id": 99 }))
        .await?
        .refused(400, 3, &words)
}

async fn rollback_auto(cx: &Context) -> Checked {
    let app = automatic(cx).await?;
    let words = "rollback cannot be initiated when auto-sync is enabled";
    cx.post(&format!("/api/v1/applications/{app}/rollback"), &json!({ "id": 0 }))
        .await?
        .refused(400, 9, words)
}

async fn no_windows(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let windows = cx.get(&format!("/api/v1/applications/{app}/syncwindows")).await?.ok()?;
    same("the answer", &windows, &json!({ "canSync": true }))
}

/// An application in a project of its own whose one window denies syncs at all times.
async fn windowed(cx: &Context, manual: bool) -> anyhow::Result<String> {
    let project = cx.name();
    let window = json!({ "kind": "deny", "schedule": "* * * * *", "duration": "24h", "applications": ["*"], "manualSync": manual });
    let spec = json!({
        "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }], "syncWindows": [window],
    });
    cx.remove_at_end(format!("/api/v1/projects/{project}"));
    cx.post(
        "/api/v1/projects",
        &json!({ "project": { "metadata": { "name": project }, "spec": spec } }),
    )
    .await?
    .ok()?;
    let name = cx.name();
    let mut document = cx.document(&name, "settings");
    document["spec"]["project"] = project.into();
    cx.create(document).await?;
    Ok(name)
}

async fn deny_window(cx: &Context) -> Checked {
    let app = windowed(cx, false).await?;
    let path = format!("/api/v1/applications/{app}");
    let window =
        json!({ "kind": "deny", "schedule": "* * * * *", "duration": "24h", "manualSync": false });
    let want = json!({ "activeWindows": [window], "assignedWindows": [window], "canSync": false });
    same("the windows", &cx.get(&format!("{path}/syncwindows")).await?.ok()?, &want)?;
    for body in [json!({}), json!({ "dryRun": true })] {
        cx.post(&format!("{path}/sync"), &body).await?.refused(
            403,
            7,
            "cannot sync: blocked by sync window",
        )?;
    }
    // A patch is not a sync.
    cx.patch(
        &app,
        &json!([{ "op": "add", "path": "/metadata/annotations", "value": { "a": "b" } }]),
    )
    .await?
    .ok()?;
    Ok(())
}

async fn manual_window(cx: &Context) -> Checked {
    let app = windowed(cx, true).await?;
    let windows = cx.get(&format!("/api/v1/applications/{app}/syncwindows")).await?.ok()?;
    same("canSync", &windows["canSync"], &true)?;
    same("the active window", &windows["activeWindows"][0]["manualSync"], &true)?;
    cx.synced(&app).await?;
    Ok(())
}

/// The operation goes on running, keeps the slot, and says why.
async fn closing_window(cx: &Context) -> Checked {
    let project = cx.name();
    cx.remove_at_end(format!("/api/v1/projects/{project}"));
    let put = async |windows: Value| {
        let spec = json!({
            "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }], "syncWindows": windows,
        });
        let project = json!({ "metadata": { "name": project }, "spec": spec });
        let body = json!({ "project": project, "upsert": true });
        cx.post("/api/v1/projects", &body).await?.ok()
    };
    put(json!([])).await?;
    let app = busy_in(cx, &project).await?;
    let deny = json!({ "kind": "deny", "schedule": "* * * * *", "duration": "24h", "applications": ["*"] });
    put(json!([deny])).await?;
    cx.get(&format!("/api/v1/applications/{app}?refresh=normal")).await?.ok()?;
    let told = "Sync operation blocked by sync window";
    let state = cx
        .until(&app, "the operation to be held", |app| {
            app["status"]["operationState"]["message"].as_str().is_some_and(|it| it == told)
        })
        .await?;
    same("the phase", &state["status"]["operationState"]["phase"], &"Running")?;
    ensure!(state["operation"].is_object(), "the slot is free");
    Ok(())
}

/// An application of the chart and of the settings.
async fn with_two_sources(cx: &Context) -> anyhow::Result<String> {
    let name = cx.name();
    let mut document = cx.document(&name, "chart");
    let mut chart = document["spec"]["source"].clone();
    let mut settings = chart.clone();
    chart["helm"] = json!({ "parameters": [parameter("image.tag", "1.0.0")] });
    settings["path"] = "settings".into();
    document["spec"] = json!({ "project": "default", "destination": document["spec"]["destination"], "sources": [chart, settings] });
    cx.create(document).await?;
    Ok(name)
}

async fn multi_source(cx: &Context) -> Checked {
    let app = with_two_sources(cx).await?;
    let answer = cx.sync(&app, "multi").await?.ok()?;
    let sync = &answer["operation"]["sync"];
    same("the operation's sources", &sync["sources"], &answer["spec"]["sources"])?;
    same("its revisions", &sync["revisions"].as_array().map_or(0, Vec::len), &2)?;
    cx.until(&app, "the operation to end", is_over).await?;
    let after = cx.get(&format!("/api/v1/applications/{app}?refresh=normal")).await?.ok()?;
    let status = &after["status"];
    same(
        "the result's sources",
        &status["operationState"]["syncResult"]["sources"],
        &after["spec"]["sources"],
    )?;
    same(
        "the compared sources",
        &status["sync"]["comparedTo"]["sources"],
        &after["spec"]["sources"],
    )?;
    same("the single one", &status["sync"]["comparedTo"]["source"], &json!({ "repoURL": "" }))?;
    same("the revisions", &status["sync"]["revisions"].as_array().map_or(0, Vec::len), &2)?;
    same("the types", &status["sourceTypes"], &json!(["Helm", "Helm"]))?;
    same("the history's sources", &status["history"][0]["sources"], &after["spec"]["sources"])?;
    same("the sync status", &status["sync"]["status"], &"Synced")
}

async fn multi_source_patch(cx: &Context) -> Checked {
    let app = with_two_sources(cx).await?;
    let operations = json!([
        { "op": "test", "path": "/spec/sources/0/path", "value": "chart" },
        { "op": "test", "path": "/spec/sources/0/helm/parameters/0", "value": parameter("image.tag", "1.0.0") },
        { "op": "replace", "path": "/spec/sources/0/helm/parameters/0/value", "value": "1.0.1" },
    ]);
    let patched = cx.patch(&app, &operations).await?.ok()?;
    same("the value", &patched["spec"]["sources"][0]["helm"]["parameters"][0]["value"], &"1.0.1")
}

async fn multi_source_single(cx: &Context) -> Checked {
    let app = with_two_sources(cx).await?;
    let words = "error applying patch: add operation does not apply: doc is missing path: \"/spec/source/helm\": missing value";
    cx.patch(&app, &json!([{ "op": "add", "path": "/spec/source/helm", "value": {} }]))
        .await?
        .refused(500, 2, words)
}

async fn delete(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.synced(&app).await?;
    let answer = cx.delete(&format!("/api/v1/applications/{app}?cascade=true")).await?.ok()?;
    same("the answer", &answer, &json!({}))?;
    cx.gone(&app).await
}
