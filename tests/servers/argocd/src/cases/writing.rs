//! Creating and overwriting: idempotence, validation, updates that are lost, owners that take changes back.

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::context::{As, Context, is_over, parameter, same};
use super::{Checked, cases};

cases! {
    "create: the same again" => create_again,
    "create: another one of that name" => create_other,
    "create: upsert merges annotations and replaces the spec" => upsert,
    "create: a path that does not exist" => create_invalid,
    "PUT spec answers the spec" => put_spec,
    "of two overlapping patches one is lost" => lost_patch,
    "tests do not keep a patch from being lost" => lost_with_tests,
    "an overlapping annotation is lost, too" => lost_annotation,
    "an unknown parameter is accepted" => unknown_parameter,
    "a chart that fails is refused" => chart_fails,
    "a scalar in place of a map is refused" => scalar_into_map,
    "a missing path is refused" => path_missing,
    "a missing revision is refused" => revision_missing,
    "a repository that does not answer is refused" => repository_down,
    "without validation a broken spec is accepted" => broken_spec,
    "an application that does not render cannot be patched or synced" => broken_application,
    "an application that does not render can be replaced without validation" => broken_replaced,
    "a value of a wrong kind fails only the operation" => wrong_kind,
    "a value that makes no label fails only the operation" => wrong_label,
    "an ApplicationSet takes an override back" => set_reverts,
    "an ApplicationSet that ignores parameters keeps them" => set_ignores,
    "an ApplicationSet that ignores parameters of one source loses them with a change of any" => set_loses,
    "an ApplicationSet that preserves annotations keeps them" => set_preserves,
    "a project is replaced only by who has seen it" => project_versions,
    "a project in use is not deleted" => project_in_use,
}

async fn create_again(cx: &Context) -> Checked {
    let name = cx.name();
    let mut document = cx.document(&name, "settings");
    document["metadata"]["annotations"] = json!({ "nonce": "1" });
    let first = cx.create(document.clone()).await?;
    let second = cx.post("/api/v1/applications", &document).await?.ok()?;
    same("the application", &second["metadata"]["uid"], &first["metadata"]["uid"])
}

async fn create_other(cx: &Context) -> Checked {
    let name = cx.name();
    let mut document = cx.document(&name, "settings");
    document["metadata"]["annotations"] = json!({ "nonce": "1" });
    cx.create(document.clone()).await?;
    document["metadata"]["annotations"]["nonce"] = "2".into();
    let words = "existing application spec is different, use upsert flag to force update";
    cx.post("/api/v1/applications", &document).await?.refused(400, 3, words)
}

async fn upsert(cx: &Context) -> Checked {
    let name = cx.name();
    let mut document = cx.document(&name, "settings");
    document["metadata"]["annotations"] = json!({ "a": "1", "b": "1" });
    cx.create(document.clone()).await?;
    document["metadata"]["annotations"] = json!({ "b": "2" });
    document["spec"]["source"]["helm"] =
        json!({ "parameters": [{ "name": "value", "value": "2" }] });
    let after = cx.post("/api/v1/applications?upsert=true", &document).await?.ok()?;
    let annotations = &after["metadata"]["annotations"];
    ensure!(annotations["a"] == "1" && annotations["b"] == "2", "{annotations}");
    same("the parameter", &after["spec"]["source"]["helm"]["parameters"][0]["value"], &"2")
}

async fn create_invalid(cx: &Context) -> Checked {
    let name = cx.name();
    let answer = cx.post("/api/v1/applications", &cx.document(&name, "nope")).await?;
    answer.refused_containing(400, 3, "nope: app path does not exist")?;
    answer.refused_containing(400, 3, &format!("application spec for {name} is invalid: InvalidSpecError: Unable to generate manifests in nope: "))
}

async fn put_spec(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let mut spec = cx.read(&app).await?["spec"].clone();
    spec["source"]["helm"]["parameters"] = json!([parameter("image.tag", "1.0.1")]);
    let answer = cx
        .call(As::Admin, Method::PUT, &format!("/api/v1/applications/{app}/spec"), &spec)
        .await?
        .ok()?;
    same("the answer", &answer, &spec)?;
    same("the spec", &cx.read(&app).await?["spec"], &spec)
}

/// Two patches at the same moment, until one is lost: both were answered with 200.
async fn lost(
    cx: &Context,
    first: impl Fn(usize) -> Value,
    second: impl Fn(usize) -> Value,
    kept: impl Fn(&Value, usize) -> (bool, bool),
) -> Checked {
    let name = cx.name();
    let mut document = cx.document(&name, "chart");
    document["metadata"]["annotations"] = json!({ "w": "0" });
    document["spec"]["source"]["helm"] =
        json!({ "parameters": [parameter("image.tag", "0"), parameter("note", "0")] });
    cx.create(document).await?;
    for round in 1..=10 {
        let (one, two) = (first(round), second(round));
        let (one, two) = tokio::try_join!(cx.patch(&name, &one), cx.patch(&name, &two))?;
        if one.status == 200 && two.status == 200 {
            let (first_kept, second_kept) = kept(&cx.read(&name).await?, round);
            if first_kept != second_kept {
                return Ok(());
            }
        }
    }
    anyhow::bail!("in ten rounds no update was lost")
}

fn set_parameter(at: usize, value: usize) -> Value {
    json!({ "op": "replace", "path": format!("/spec/source/helm/parameters/{at}/value"), "value": value.to_string() })
}

fn parameter_is(app: &Value, at: usize, value: usize) -> bool {
    app["spec"]["source"]["helm"]["parameters"][at]["value"].as_str() == Some(&value.to_string())
}

async fn lost_patch(cx: &Context) -> Checked {
    let kept = |app: &Value, round| (parameter_is(app, 0, round), parameter_is(app, 1, round));
    lost(
        cx,
        |round| json!([set_parameter(0, round)]),
        |round| json!([set_parameter(1, round)]),
        kept,
    )
    .await
}

async fn lost_with_tests(cx: &Context) -> Checked {
    let guarded = |at: usize, round: usize| {
        let name = ["image.tag", "note"][at];
        json!([{ "op": "test", "path": format!("/spec/source/helm/parameters/{at}/name"), "value": name }, set_parameter(at, round)])
    };
    let kept = |app: &Value, round| (parameter_is(app, 0, round), parameter_is(app, 1, round));
    lost(cx, |round| guarded(0, round), |round| guarded(1, round), kept).await
}

async fn lost_annotation(cx: &Context) -> Checked {
    let annotate = |round: usize| json!([{ "op": "replace", "path": "/metadata/annotations/w", "value": round.to_string() }]);
    let kept = |app: &Value, round: usize| {
        (
            parameter_is(app, 0, round),
            app["metadata"]["annotations"]["w"].as_str() == Some(&round.to_string()),
        )
    };
    lost(cx, |round| json!([set_parameter(0, round)]), annotate, kept).await
}

/// Adds a parameter to an application of the chart.
async fn with_parameter(
    cx: &Context,
    added: Value,
) -> anyhow::Result<(String, super::context::Answer)> {
    let app = cx.app_with_tag("1.0.0").await?;
    let answer = cx
        .patch(
            &app,
            &json!([{ "op": "add", "path": "/spec/source/helm/parameters/-", "value": added }]),
        )
        .await?;
    Ok((app, answer))
}

async fn unknown_parameter(cx: &Context) -> Checked {
    with_parameter(cx, json!({ "name": "no.such.key", "value": "x" })).await?.1.ok()?;
    Ok(())
}

async fn chart_fails(cx: &Context) -> Checked {
    let (app, answer) =
        with_parameter(cx, json!({ "name": "image.digest", "value": "md5:1" })).await?;
    answer.refused_containing(400, 3, "image.digest must start with sha256:")?;
    answer.refused_containing(400, 3, &format!("application spec for {app} is invalid: InvalidSpecError: Unable to generate manifests in chart: rpc error: code = Unknown desc = failed to execute helm template command: failed running helm: `helm template . --name-template {app} --namespace default --kube-version "))
}

async fn scalar_into_map(cx: &Context) -> Checked {
    let (_, answer) = with_parameter(cx, json!({ "name": "image", "value": "x" })).await?;
    answer.refused_containing(
        400,
        3,
        "failed parsing --set-string data: unable to parse key: interface conversion",
    )
}

async fn replaced(
    cx: &Context,
    member: &str,
    value: &str,
) -> anyhow::Result<super::context::Answer> {
    let app = cx.app("settings").await?;
    cx.patch(
        &app,
        &json!([{ "op": "replace", "path": format!("/spec/source/{member}"), "value": value }]),
    )
    .await
}

async fn path_missing(cx: &Context) -> Checked {
    let words = "Unable to generate manifests in nope: rpc error: code = Unknown desc = nope: app path does not exist";
    replaced(cx, "path", "nope").await?.refused_containing(400, 3, words)
}

async fn revision_missing(cx: &Context) -> Checked {
    let words = "unable to resolve 'nope' to a commit SHA: revision not found";
    replaced(cx, "targetRevision", "nope").await?.refused_containing(400, 3, words)
}

async fn repository_down(cx: &Context) -> Checked {
    let answer = replaced(cx, "repoURL", "git://127.0.0.1:1/x.git").await?;
    answer.refused_containing(400, 3, "InvalidSpecError: repository not accessible: repositories not accessible: &Repository{Repo: \"git://127.0.0.1:1/x.git\"")
}

/// Makes an application that does not render.
async fn broken(cx: &Context) -> anyhow::Result<String> {
    let app = cx.app("settings").await?;
    let mut spec = cx.read(&app).await?["spec"].clone();
    spec["source"]["path"] = "nope".into();
    let path = format!("/api/v1/applications/{app}/spec?validate=false");
    cx.call(As::Admin, Method::PUT, &path, &spec).await?.ok()?;
    Ok(app)
}

async fn broken_spec(cx: &Context) -> Checked {
    let app = broken(cx).await?;
    let status = cx
        .until(&app, "the error", |app| app["status"]["conditions"][0]["type"] == "ComparisonError")
        .await?["status"]
        .clone();
    same("the sync status", &status["sync"]["status"], &"Unknown")?;
    same("what was compared", &status["sync"]["comparedTo"]["source"]["path"], &"nope")?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("failed to generate manifest for source 1 of 1")
            && message.contains("app path does not exist"),
        "{message}"
    );
    Ok(())
}

async fn broken_application(cx: &Context) -> Checked {
    let app = broken(cx).await?;
    let answer = cx
        .patch(
            &app,
            &json!([{ "op": "add", "path": "/metadata/annotations", "value": { "a": "b" } }]),
        )
        .await?;
    answer.refused_containing(400, 3, "nope: app path does not exist")?;
    cx.sync(&app, "x").await?.ok()?;
    let after = cx.until(&app, "the operation to end", is_over).await?;
    same("the phase", &after["status"]["operationState"]["phase"], &"Error")?;
    let message = after["status"]["operationState"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("app path does not exist"), "{message}");
    cx.get(&format!("/api/v1/applications/{app}/manifests")).await?.refused_containing(
        500,
        2,
        "nope: app path does not exist",
    )
}

/// What a PUT takes: labels and annotations as they are in the body, and neither status nor version of it.
async fn broken_replaced(cx: &Context) -> Checked {
    let app = broken(cx).await?;
    let path = format!("/api/v1/applications/{app}");
    let mut object = cx.get(&path).await?.ok()?;
    object["metadata"]["annotations"] = json!({ "a": "b" });
    object["metadata"]["resourceVersion"] = "1".into();
    object["status"] = json!({ "sync": { "status": "Synced" } });
    cx.call(As::Bot, Method::PUT, &path, &object).await?.refused_containing(
        400,
        3,
        "nope: app path does not exist",
    )?;
    let path = format!("{path}?project=default&validate=false");
    let stored = cx.call(As::Bot, Method::PUT, &path, &object).await?.ok()?;
    same("the annotations", &stored["metadata"]["annotations"], &json!({ "a": "b" }))?;
    same("the source", &stored["spec"]["source"]["path"], &"nope")?;
    ensure!(stored["status"]["sync"]["status"] != "Synced", "the status of the body was taken");
    ensure!(stored["metadata"]["resourceVersion"] != "1", "the version of the body was taken");
    Ok(())
}

async fn wrong_kind(cx: &Context) -> Checked {
    refused_by_kubernetes(cx, parameter("replicas", "abc")).await
}

async fn wrong_label(cx: &Context) -> Checked {
    let digest = format!("sha256:{}", "a".repeat(64));
    for value in [format!("1@{digest}"), "a@b".to_owned(), "a".repeat(64), "-a".to_owned()] {
        refused_by_kubernetes(cx, parameter("version", &value)).await?;
    }
    Ok(())
}

async fn refused_by_kubernetes(cx: &Context, added: Value) -> Checked {
    let (app, answer) = with_parameter(cx, added).await?;
    answer.ok()?;
    cx.sync(&app, "x").await?.ok()?;
    let after = cx.until(&app, "the operation to end", is_over).await?;
    let state = &after["status"]["operationState"];
    same("the phase", &state["phase"], &"Failed")?;
    let message = state["message"].as_str().unwrap_or_default();
    ensure!(
        message.starts_with("one or more synchronization tasks completed unsuccessfully, reason: "),
        "{message}"
    );
    let failed = state["syncResult"]["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["status"] == "SyncFailed");
    same("what failed", &failed.map(|one| one["kind"].clone()), &Some(json!("Deployment")))
}

/// Creates a set of one application, patches that, and gives the application when it is at rest.
async fn generated(
    cx: &Context,
    more: Value,
    rest: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let source = json!({
        "repoURL": cx.repository(), "targetRevision": "main", "path": "chart",
        "helm": { "parameters": [parameter("image.tag", "1.0.0")] },
    });
    let app = made_by_set(cx, json!({ "source": source }), more).await?;
    let patch = json!([
        { "op": "add", "path": "/metadata/annotations/example.invalid~1mine", "value": "x" },
        { "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "2.0.0" },
    ]);
    let patched = cx.patch(&app, &patch).await?.ok()?;
    same("the owner", &patched["metadata"]["ownerReferences"][0]["kind"], &"ApplicationSet")?;
    same(
        "the patched value",
        &patched["spec"]["source"]["helm"]["parameters"][0]["value"],
        &"2.0.0",
    )?;
    cx.until(&app, "the owner to act", rest).await
}

/// Creates a set of one application with these sources, and gives its name when it is there.
async fn made_by_set(cx: &Context, sources: Value, more: Value) -> anyhow::Result<String> {
    let (set, app) = (cx.name(), cx.name());
    let mut document = cx.document("{{.n}}", "chart");
    document["metadata"]["annotations"] = json!({ "from": "set" });
    if let (Some(spec), Value::Object(sources)) = (document["spec"].as_object_mut(), sources) {
        spec.remove("source");
        spec.extend(sources);
    }
    let mut spec = json!({ "goTemplate": true, "generators": [{ "list": { "elements": [{ "n": app }] } }], "template": document });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    let body = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": { "name": set }, "spec": spec });
    cx.remove_at_end(format!("/api/v1/applicationsets/{set}"));
    cx.post("/api/v1/applicationsets?upsert=true", &body).await?.ok()?;
    let path = format!("/api/v1/applications/{app}");
    cx.until_get(&path, "the set to make its application", |answer| answer.status == 200).await?;
    Ok(app)
}

fn tag_of(app: &Value) -> &Value {
    &app["spec"]["source"]["helm"]["parameters"][0]["value"]
}

fn is_annotated(app: &Value) -> bool {
    app["metadata"]["annotations"].get("example.invalid/mine").is_some()
}

async fn set_reverts(cx: &Context) -> Checked {
    let app = generated(cx, json!({}), |app| tag_of(app) == "1.0.0" && !is_annotated(app)).await?;
    same("the set's annotation", &app["metadata"]["annotations"]["from"], &"set")
}

async fn set_ignores(cx: &Context) -> Checked {
    let more = json!({ "ignoreApplicationDifferences": [{ "jsonPointers": ["/spec/source/helm/parameters"] }] });
    let app = generated(cx, more, |app| !is_annotated(app)).await?;
    same("the override", tag_of(&app), &"2.0.0")
}

async fn set_loses(cx: &Context) -> Checked {
    let source =
        |path| json!({ "repoURL": cx.repository(), "targetRevision": "main", "path": path });
    let mut chart = source("chart");
    chart["helm"] = json!({ "parameters": [parameter("image.tag", "1.0.0")] });
    let path = ".spec.sources[0].helm.parameters";
    let more = json!({ "ignoreApplicationDifferences": [{ "jqPathExpressions": [path] }] });
    let app = made_by_set(cx, json!({ "sources": [chart, source("settings")] }), more).await?;
    let parameters = |app: &Value| app["spec"]["sources"][0]["helm"]["parameters"].clone();
    let patch = json!([
        { "op": "add", "path": "/metadata/annotations/example.invalid~1mine", "value": "x" },
        { "op": "replace", "path": "/spec/sources/0/helm/parameters/0/value", "value": "2.0.0" },
    ]);
    cx.patch(&app, &patch).await?.ok()?;
    let after = cx.until(&app, "the owner to act", |app| !is_annotated(app)).await?;
    same("the override after another change", &parameters(&after)[0]["value"], &"2.0.0")?;
    let other =
        json!([{ "op": "replace", "path": "/spec/sources/1/targetRevision", "value": "HEAD" }]);
    cx.patch(&app, &other).await?.ok()?;
    let reverted = |app: &Value| app["spec"]["sources"][1]["targetRevision"] == "main";
    let after = cx.until(&app, "the owner to act", reverted).await?;
    // Neither the override nor what the template has.
    same("the parameters after a change of the sources", &parameters(&after), &Value::Null)
}

async fn set_preserves(cx: &Context) -> Checked {
    let more = json!({ "preservedFields": { "annotations": ["example.invalid/mine"] } });
    let app = generated(cx, more, |app| tag_of(app) == "1.0.0").await?;
    ensure!(is_annotated(&app), "{}", app["metadata"]["annotations"]);
    Ok(())
}

async fn project_versions(cx: &Context) -> Checked {
    let name = cx.name();
    let spec =
        json!({ "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }] });
    let body = json!({ "project": { "metadata": { "name": name }, "spec": spec } });
    cx.remove_at_end(format!("/api/v1/projects/{name}"));
    let path = format!("/api/v1/projects/{name}");
    let first = cx.post("/api/v1/projects", &body).await?.ok()?;
    let put = async |project: &Value| {
        cx.call(As::Admin, Method::PUT, &path, &json!({ "project": project })).await
    };
    let mut changed = first.clone();
    changed["spec"]["description"] = "once".into();
    put(&changed).await?.ok()?;
    changed["spec"]["description"] = "twice".into();
    let words = "the object has been modified; please apply your changes to the latest version and try again";
    put(&changed).await?.refused_containing(409, 10, words)?;
    if let Some(metadata) = changed["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    put(&changed).await?.refused_containing(
        400,
        3,
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    )
}

async fn project_in_use(cx: &Context) -> Checked {
    let project = cx.name();
    let spec =
        json!({ "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }] });
    cx.remove_at_end(format!("/api/v1/projects/{project}"));
    cx.post(
        "/api/v1/projects",
        &json!({ "project": { "metadata": { "name": project }, "spec": spec } }),
    )
    .await?
    .ok()?;
    let name = cx.name();
    let mut document = cx.document(&name, "settings");
    document["spec"]["project"] = project.clone().into();
    cx.create(document).await?;
    let answer = cx.delete(&format!("/api/v1/projects/{project}")).await?;
    answer.refused(400, 3, "project is referenced by 1 applications")
}
