//! The dialect of PATCH: the library behind it, its texts, and what of a patch takes effect.

use anyhow::ensure;
use serde_json::{Value, json};

use super::context::{As, Context, parameter, same};
use super::{Checked, cases};

cases! {
    "patch: a test that fails" => test_fails,
    "patch: a test that passes, and a write" => test_passes,
    "patch: null tests for absence" => test_absent,
    "patch: no value tests for absence" => test_absent_without_value,
    "patch: a test below something absent" => test_missing_parent,
    "patch: a test of an index out of range" => test_index,
    "patch: a number is not a string" => test_number,
    "patch: members of a tested object in any order" => test_object_order,
    "patch: Go escapes < > & in what is tested" => test_html,
    "patch: the first annotations, two at once" => two_annotations,
    "patch: a test of the current resource version" => test_version,
    "patch: a test of a stale resource version" => test_stale_version,
    "patch: a failed test undoes the operations before it" => test_undoes,
    "patch: add below absent annotations" => add_below_absent,
    "patch: add at the end of a list" => append,
    "patch: a slash in a name" => slash,
    "patch: replace what is absent" => replace_absent,
    "patch: remove what is absent" => remove_absent,
    "patch: an index out of range in sources" => replace_index,
    "patch: text that is not JSON" => not_json,
    "patch: an unknown type of patch" => unknown_type,
    "patch: no type is a JSON patch" => empty_type,
    "patch: merge" => merge,
    "patch: merge ignores a resource version" => merge_version,
    "patch: merge replaces lists" => merge_list,
    "patch: an unknown field of the spec is dropped" => unknown_field,
    "patch: a wrong type in the spec" => wrong_type,
    "patch: a parameter's value that is a number" => number_value,
    "patch: an emptied part is removed" => emptied,
    "patch: status and operation do not take effect" => status_ignored,
}

/// An application with the parameter `image.tag` = `1<2` in a note, and the annotation `x` = `2`.
async fn application(cx: &Context) -> anyhow::Result<String> {
    let name = cx.name();
    let mut document = cx.document(&name, "chart");
    document["metadata"]["annotations"] = json!({ "x": "2" });
    let parameters =
        json!([parameter("image.tag", "1.0.0"), { "name": "note", "value": "a<b&c>d" }]);
    document["spec"]["source"]["helm"] = json!({ "parameters": parameters });
    cx.create(document).await?;
    Ok(name)
}

/// A patch that is refused with this text.
async fn refused(cx: &Context, operations: Value, message: &str) -> Checked {
    let app = application(cx).await?;
    cx.patch(&app, &operations).await?.refused(500, 2, message)
}

/// A patch that is taken.
async fn taken(cx: &Context, operations: Value) -> anyhow::Result<Value> {
    let app = application(cx).await?;
    cx.patch(&app, &operations).await?.ok()
}

const WRITE: &str = r#"{"op":"replace","path":"/metadata/annotations/x","value":"3"}"#;

fn write() -> Value {
    serde_json::from_str(WRITE).unwrap_or_default()
}

async fn test_fails(cx: &Context) -> Checked {
    let test = json!([{ "op": "test", "path": "/metadata/annotations/x", "value": "no" }, write()]);
    refused(
        cx,
        test,
        "error applying patch: testing value /metadata/annotations/x failed: test failed",
    )
    .await
}

async fn test_passes(cx: &Context) -> Checked {
    let app = taken(
        cx,
        json!([{ "op": "test", "path": "/metadata/annotations/x", "value": "2" }, write()]),
    )
    .await?;
    same("the annotation", &app["metadata"]["annotations"]["x"], &"3")
}

async fn test_absent(cx: &Context) -> Checked {
    taken(cx, json!([{ "op": "test", "path": "/spec/source/kustomize", "value": null }, write()]))
        .await?;
    let present = json!([{ "op": "test", "path": "/spec/source/helm", "value": null }]);
    refused(
        cx,
        present,
        "error applying patch: testing value /spec/source/helm failed: test failed",
    )
    .await
}

async fn test_absent_without_value(cx: &Context) -> Checked {
    taken(cx, json!([{ "op": "test", "path": "/spec/source/kustomize" }, write()])).await?;
    Ok(())
}

async fn test_missing_parent(cx: &Context) -> Checked {
    let test = json!([{ "op": "test", "path": "/spec/source/kustomize/images", "value": null }]);
    let words = "error applying patch: test operation does not apply: is missing path: /spec/source/kustomize/images: missing value";
    refused(cx, test, words).await
}

async fn test_index(cx: &Context) -> Checked {
    let test = json!([{ "op": "test", "path": "/spec/source/helm/parameters/7", "value": null }]);
    let words = "error applying patch: error in test for path: '/spec/source/helm/parameters/7': Unable to access invalid index: 7: invalid index referenced";
    refused(cx, test, words).await
}

async fn test_number(cx: &Context) -> Checked {
    let test = json!([{ "op": "test", "path": "/metadata/annotations/x", "value": 2 }]);
    refused(
        cx,
        test,
        "error applying patch: testing value /metadata/annotations/x failed: test failed",
    )
    .await
}

async fn test_object_order(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let patch = r#"[{"op":"test","path":"/spec/source/helm/parameters/0","value":{"forceString":true,"value":"1.0.0","name":"image.tag"}}]"#;
    cx.patch_text(As::Admin, &app, "json", patch).await?.ok()?;
    Ok(())
}

async fn test_html(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let test = |value: &str| {
        format!(
            r#"[{{"op":"test","path":"/spec/source/helm/parameters/1/value","value":"{value}"}}]"#
        )
    };
    let raw = cx.patch_text(As::Admin, &app, "json", &test("a<b&c>d")).await?;
    raw.refused(500, 2, "error applying patch: testing value /spec/source/helm/parameters/1/value failed: test failed")?;
    cx.patch_text(As::Admin, &app, "json", &test("a\\u003cb\\u0026c\\u003ed")).await?.ok()?;
    Ok(())
}

async fn two_annotations(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    let patch = json!([
        { "op": "test", "path": "/metadata/annotations", "value": null },
        { "op": "add", "path": "/metadata/annotations", "value": {} },
        { "op": "add", "path": "/metadata/annotations/a", "value": "1" },
        { "op": "add", "path": "/metadata/annotations/b", "value": "2" },
    ]);
    let patched = cx.patch(&app, &patch).await?.ok()?;
    same("the annotations", &patched["metadata"]["annotations"], &json!({ "a": "1", "b": "2" }))?;
    // Once they are there, the same patch overwrites nothing.
    let message = "error applying patch: testing value /metadata/annotations failed: test failed";
    cx.patch(&app, &patch).await?.refused(500, 2, message)
}

async fn test_version(cx: &Context) -> Checked {
    let app = application(cx).await?;
    // The controller writes the status of a new application several times; a version may be stale at once.
    for _ in 0..20 {
        let version =
            cx.get(&format!("/api/v1/applications/{app}?refresh=normal")).await?.ok()?["metadata"]
                ["resourceVersion"]
                .clone();
        let answer = cx.patch(&app, &json!([{ "op": "test", "path": "/metadata/resourceVersion", "value": version }, write()])).await?;
        if answer.status == 200 {
            same("the annotation", &answer.json["metadata"]["annotations"]["x"], &"3")?;
            return Ok(());
        }
    }
    anyhow::bail!("the current version was never accepted")
}

async fn test_stale_version(cx: &Context) -> Checked {
    let test =
        json!([{ "op": "test", "path": "/metadata/resourceVersion", "value": "1" }, write()]);
    refused(
        cx,
        test,
        "error applying patch: testing value /metadata/resourceVersion failed: test failed",
    )
    .await
}

async fn test_undoes(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let operations =
        json!([write(), { "op": "test", "path": "/metadata/annotations/x", "value": "2" }]);
    ensure!(cx.patch(&app, &operations).await?.status == 500);
    same("the annotation", &cx.read(&app).await?["metadata"]["annotations"]["x"], &"2")
}

async fn add_below_absent(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let words = "error applying patch: add operation does not apply: doc is missing path: \"/metadata/labels/x\": missing value";
    cx.patch(&app, &json!([{ "op": "add", "path": "/metadata/labels/x", "value": "1" }]))
        .await?
        .refused(500, 2, words)?;
    let both = json!([{ "op": "add", "path": "/metadata/labels", "value": {} }, { "op": "add", "path": "/metadata/labels/x", "value": "1" }]);
    same(
        "the label",
        &cx.patch(&app, &both).await?.ok()?["metadata"]["labels"],
        &json!({ "x": "1" }),
    )
}

async fn append(cx: &Context) -> Checked {
    let added = json!({ "name": "replicas", "value": "1" });
    let app = taken(
        cx,
        json!([{ "op": "add", "path": "/spec/source/helm/parameters/-", "value": added }]),
    )
    .await?;
    same("the parameter", &app["spec"]["source"]["helm"]["parameters"][2], &added)
}

async fn slash(cx: &Context) -> Checked {
    let app = taken(
        cx,
        json!([{ "op": "add", "path": "/metadata/annotations/example.invalid~1a", "value": "1" }]),
    )
    .await?;
    same("the annotation", &app["metadata"]["annotations"]["example.invalid/a"], &"1")
}

async fn replace_absent(cx: &Context) -> Checked {
    let replace =
        json!([{ "op": "replace", "path": "/spec/source/kustomize/images", "value": [] }]);
    let words = "error applying patch: replace operation does not apply: doc is missing path: /spec/source/kustomize/images: missing value";
    refused(cx, replace, words).await
}

async fn remove_absent(cx: &Context) -> Checked {
    let remove = json!([{ "op": "remove", "path": "/metadata/annotations/nope" }]);
    let words = "error applying patch: error in remove for path: '/metadata/annotations/nope': Unable to remove nonexistent key: nope: missing value";
    refused(cx, remove, words).await
}

async fn replace_index(cx: &Context) -> Checked {
    let replace = json!([{ "op": "replace", "path": "/spec/sources/5/path", "value": "x" }]);
    let words = "error applying patch: replace operation does not apply: doc is missing path: /spec/sources/5/path: missing value";
    refused(cx, replace, words).await
}

async fn not_json(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let answer = cx.patch_text(As::Admin, &app, "json", "[{").await?;
    answer.refused(500, 2, "error decoding json patch: unexpected end of JSON input")
}

async fn unknown_type(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let answer = cx.patch_text(As::Admin, &app, "strategic", "{}").await?;
    answer.refused(400, 3, "Patch type 'strategic' is not supported")
}

async fn empty_type(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let patched = cx.patch_text(As::Admin, &app, "", &format!("[{WRITE}]")).await?.ok()?;
    same("the annotation", &patched["metadata"]["annotations"]["x"], &"3")
}

async fn merge(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let patch = json!({ "metadata": { "annotations": { "x": null, "y": "1" } } });
    let patched = cx.patch_text(As::Admin, &app, "merge", &patch.to_string()).await?.ok()?;
    let annotations = &patched["metadata"]["annotations"];
    ensure!(annotations.get("x").is_none() && annotations["y"] == "1", "{annotations}");
    Ok(())
}

async fn merge_version(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let patch = json!({ "metadata": { "resourceVersion": "1", "annotations": { "y": "2" } } });
    let patched = cx.patch_text(As::Admin, &app, "merge", &patch.to_string()).await?.ok()?;
    same("the annotation", &patched["metadata"]["annotations"]["y"], &"2")
}

async fn merge_list(cx: &Context) -> Checked {
    let app = application(cx).await?;
    let patch = json!({ "spec": { "source": { "helm": { "parameters": [{ "name": "replicas", "value": "1" }] } } } });
    let patched = cx.patch_text(As::Admin, &app, "merge", &patch.to_string()).await?.ok()?;
    let names: Vec<&Value> = patched["spec"]["source"]["helm"]["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["name"])
        .collect();
    same("the parameters", &names, &vec!["replicas"])
}

async fn unknown_field(cx: &Context) -> Checked {
    let app = taken(
        cx,
        json!([{ "op": "add", "path": "/spec/noSuchField", "value": { "a": 1 } }, write()]),
    )
    .await?;
    ensure!(app["spec"].get("noSuchField").is_none(), "{}", app["spec"]);
    same("the annotation", &app["metadata"]["annotations"]["x"], &"3")
}

async fn wrong_type(cx: &Context) -> Checked {
    let add = json!([{ "op": "add", "path": "/spec/source/helm/parameters", "value": "x" }]);
    let words = "error unmarshaling patched app: json: cannot unmarshal string into Go struct field Application.spec.source.helm.parameters of type []v1alpha1.HelmParameter";
    refused(cx, add, words).await
}

async fn number_value(cx: &Context) -> Checked {
    let add = json!([{ "op": "add", "path": "/spec/source/helm/parameters/-", "value": { "name": "replicas", "value": 3 } }]);
    let words = "error unmarshaling patched app: json: cannot unmarshal number into Go struct field Application.spec.source.helm.parameters.2.value of type string";
    refused(cx, add, words).await
}

async fn emptied(cx: &Context) -> Checked {
    let app = taken(
        cx,
        json!([{ "op": "replace", "path": "/spec/source/helm/parameters", "value": [] }]),
    )
    .await?;
    ensure!(app["spec"]["source"].get("helm").is_none(), "{}", app["spec"]["source"]);
    Ok(())
}

async fn status_ignored(cx: &Context) -> Checked {
    let operations = json!([
        { "op": "add", "path": "/status/health/status", "value": "Degraded" },
        { "op": "add", "path": "/operation", "value": { "sync": { "revision": "main" } } },
        write(),
    ]);
    let app = taken(cx, operations).await?;
    ensure!(
        app.get("operation").is_none() && app["status"]["health"]["status"] != "Degraded",
        "{app}"
    );
    same("the annotation", &app["metadata"]["annotations"]["x"], &"3")
}
