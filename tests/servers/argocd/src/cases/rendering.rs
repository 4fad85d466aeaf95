//! What is rendered and what runs: helm's types, kustomize's images, files that win over the spec, trees and pods.

use anyhow::ensure;
use serde_json::{Value, json};

use super::context::{Answer, Context, parameter, same};
use super::{Checked, Skipped, cases};

cases! {
    "helm: plain and forced values that render unchanged" => unchanged_values,
    "helm: true is a bool unless it is forced" => bools,
    "helm: integers are numbers unless they are forced" => integers,
    "helm: null vanishes unless it is forced" => nulls,
    "helm: braces are a list, forced or not" => lists,
    "helm: variables are expanded" => variables,
    "helm: numbers of valuesObject become floats" => values_object,
    "helm: a parameter wins over values" => parameter_wins,
    "helm: a comma is part of the value" => comma,
    "kustomize: an image by digest" => kustomize_digest,
    "kustomize: another name, tag and digest" => kustomize_rename,
    "kustomize: an image that matches nothing" => kustomize_unmatched,
    "kustomize: an emptied list is removed" => kustomize_emptied,
    "a file in git hides an override" => shadowed,
    "manifests carry the tracking annotation" => tracking,
    "the tree leads from the Deployment to its pods" => tree,
    "the live pod tells its imageID" => live_pod,
    "a resource that is not in the tree" => not_in_tree,
    "managed resources show target and live state" => managed,
    "managed resources leave hooks out" => hooks_left_out,
    "the summary names the images of the pods" => summary,
    "health follows the rollout" => health,
}

const DIGEST: &str = "sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";

/// The rendered manifests of an application.
async fn manifests(cx: &Context, app: &str) -> anyhow::Result<Vec<Value>> {
    let answer = cx.get(&format!("/api/v1/applications/{app}/manifests")).await?.ok()?;
    let texts = answer["manifests"].as_array().cloned().unwrap_or_default();
    Ok(texts.iter().filter_map(|text| serde_json::from_str(text.as_str()?).ok()).collect())
}

async fn manifest(cx: &Context, app: &str, kind: &str) -> anyhow::Result<Value> {
    let found = manifests(cx, app).await?.into_iter().find(|one| one["kind"] == kind);
    found.ok_or_else(|| anyhow::anyhow!("no {kind} is rendered"))
}

/// What the chart `types` prints with this `helm` part.
async fn printed_with(cx: &Context, helm: Value) -> anyhow::Result<Value> {
    let name = cx.name();
    let mut document = cx.document(&name, "types");
    document["spec"]["source"]["helm"] = helm;
    cx.create(document).await?;
    Ok(manifest(cx, &name, "ConfigMap").await?["data"].clone())
}

async fn printed(cx: &Context, value: &str, forced: bool) -> anyhow::Result<Value> {
    let mut one = json!({ "name": "tag", "value": value });
    if forced {
        one["forceString"] = true.into();
    }
    printed_with(cx, json!({ "parameters": [one] })).await
}

/// Kind, and the interpolation, of a value.
async fn check(
    cx: &Context,
    value: &str,
    forced: bool,
    kind: &str,
    interpolated: &str,
) -> anyhow::Result<()> {
    let data = printed(cx, value, forced).await?;
    let got = (
        data["kind"].as_str().unwrap_or_default(),
        data["interpolated"].as_str().unwrap_or_default(),
    );
    same(&format!("`{value}` (forced: {forced})"), &got, &(kind, interpolated))
}

async fn unchanged_values(cx: &Context) -> Checked {
    for value in ["1.10", "1234e5", "0123", "1e3", "0x10", DIGEST] {
        for forced in [false, true] {
            check(cx, value, forced, "string", &format!("x:{value}")).await?;
        }
    }
    Ok(())
}

async fn bools(cx: &Context) -> Checked {
    check(cx, "true", false, "bool", "x:true").await?;
    check(cx, "true", true, "string", "x:true").await?;
    Ok(())
}

async fn integers(cx: &Context) -> Checked {
    check(cx, "20261124", false, "int64", "x:20261124").await?;
    check(cx, "20261124", true, "string", "x:20261124").await?;
    check(cx, "12345678901234567890", false, "string", "x:12345678901234567890").await?;
    Ok(())
}

async fn nulls(cx: &Context) -> Checked {
    let data = printed(cx, "null", false).await?;
    ensure!(data["interpolated"] != "x:null", "{data}");
    check(cx, "null", true, "string", "x:null").await?;
    Ok(())
}

async fn lists(cx: &Context) -> Checked {
    check(cx, "{a,b}", false, "slice", "x:[a b]").await?;
    check(cx, "{a,b}", true, "slice", "x:[a b]").await?;
    Ok(())
}

async fn variables(cx: &Context) -> Checked {
    check(cx, "a$FOO", true, "string", "x:a").await?;
    check(cx, "$$FOO", true, "string", "x:$FOO").await?;
    let data = printed(cx, "$ARGOCD_APP_NAMESPACE", true).await?;
    same("a known one", &data["interpolated"], &"x:default")
}

async fn values_object(cx: &Context) -> Checked {
    let data = printed_with(cx, json!({ "valuesObject": { "tag": 20261124 } })).await?;
    same("the interpolation", &data["interpolated"], &"x:2.0261124e+07")
}

async fn parameter_wins(cx: &Context) -> Checked {
    let helm = json!({ "values": "tag: from-values\n", "parameters": [parameter("tag", "from-parameter")] });
    same("the value", &printed_with(cx, helm).await?["quoted"], &"from-parameter")?;
    let both = json!({ "values": "tag: from-values\n", "valuesObject": { "tag": "from-object" } });
    same("of the two kinds of values", &printed_with(cx, both).await?["quoted"], &"from-object")
}

async fn comma(cx: &Context) -> Checked {
    check(cx, "a,b", true, "string", "x:a,b").await?;
    Ok(())
}

/// The image that the Kustomize application renders with these overrides.
async fn kustomized(cx: &Context, images: Value) -> anyhow::Result<(String, Value)> {
    let app = cx.app("kust").await?;
    let add = json!([
        { "op": "test", "path": "/spec/source/kustomize", "value": null },
        { "op": "add", "path": "/spec/source/kustomize", "value": { "images": images } },
    ]);
    let patched = cx.patch(&app, &add).await?.ok()?;
    same("the stored images", &patched["spec"]["source"]["kustomize"]["images"], &images)?;
    let image = manifest(cx, &app, "Deployment").await?["spec"]["template"]["spec"]["containers"]
        [0]["image"]
        .clone();
    Ok((app, image))
}

async fn kustomize_digest(cx: &Context) -> Checked {
    let wanted = format!("127.0.0.1:5000/shop/web@{DIGEST}");
    let (_, image) = kustomized(cx, json!([wanted])).await?;
    same("the image", &image, &wanted)
}

async fn kustomize_rename(cx: &Context) -> Checked {
    let wanted = format!("127.0.0.1:5000/shop/web2:2.0.0@{DIGEST}");
    let (_, image) = kustomized(cx, json!([format!("127.0.0.1:5000/shop/web={wanted}")])).await?;
    same("the image", &image, &wanted)
}

async fn kustomize_unmatched(cx: &Context) -> Checked {
    let (_, image) = kustomized(cx, json!(["nginx:1"])).await?;
    same("the image", &image, &"127.0.0.1:5000/shop/web:1.0.0")
}

async fn kustomize_emptied(cx: &Context) -> Checked {
    let (app, _) = kustomized(cx, json!(["nginx:1"])).await?;
    let replace =
        json!([{ "op": "replace", "path": "/spec/source/kustomize/images", "value": [] }]);
    let patched = cx.patch(&app, &replace).await?.ok()?;
    ensure!(patched["spec"]["source"].get("kustomize").is_none(), "{}", patched["spec"]["source"]);
    Ok(())
}

async fn shadowed(cx: &Context) -> Checked {
    let app = cx.name();
    cx.push(
        &format!("chart/.argocd-source-{app}.yaml"),
        "helm:\n  parameters:\n    - name: image.tag\n      value: 9.9.9\n",
    )?;
    let mut document = cx.document(&app, "chart");
    document["spec"]["source"]["helm"] = json!({ "parameters": [parameter("image.tag", "1.0.5"), { "name": "note", "value": "mine" }] });
    cx.create(document).await?;
    let after = cx.synced(&app).await?;
    same("the sync status", &after["status"]["sync"]["status"], &"Synced")?;
    let told = &after["status"]["operationState"]["syncResult"]["source"]["helm"]["parameters"][0]
        ["value"];
    same("what the result says", told, &"1.0.5")?;
    let deployment = manifest(cx, &app, "Deployment").await?;
    same(
        "the rendered image",
        &deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        &"127.0.0.1:5000/shop/web:9.9.9",
    )?;
    // Lists are replaced, so that the other parameter is gone as well.
    same("the note", &deployment["metadata"]["annotations"]["example.invalid/note"], &"")?;
    Ok(())
}

async fn tracking(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    let ids: Vec<Value> = manifests(cx, &app)
        .await?
        .iter()
        .map(|one| one["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].clone())
        .collect();
    let want =
        [format!("{app}:/Service:default/{app}"), format!("{app}:apps/Deployment:default/{app}")];
    ensure!(want.iter().all(|id| ids.iter().any(|one| one == id)) && ids.len() == 2, "{ids:?}");
    Ok(())
}

/// The tree, once it has a pod.
async fn tree_with_pods(cx: &Context, app: &str) -> anyhow::Result<Vec<Value>> {
    let has_pod = |answer: &Answer| nodes_of(answer).iter().any(|node| node["kind"] == "Pod");
    let path = format!("/api/v1/applications/{app}/resource-tree");
    Ok(nodes_of(&cx.until_get(&path, "a pod", has_pod).await?))
}

fn nodes_of(tree: &Answer) -> Vec<Value> {
    tree.json["nodes"].as_array().cloned().unwrap_or_default()
}

async fn tree(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    cx.synced(&app).await?;
    let nodes = tree_with_pods(cx, &app).await?;
    let of_kind =
        |kind: &str| nodes.iter().find(|node| node["kind"] == kind).cloned().unwrap_or_default();
    let (pod, set, deployment) = (of_kind("Pod"), of_kind("ReplicaSet"), of_kind("Deployment"));
    same("the pod's parent", &pod["parentRefs"][0]["uid"], &set["uid"])?;
    same("the set's parent", &set["parentRefs"][0]["uid"], &deployment["uid"])?;
    ensure!(
        deployment.get("parentRefs").is_none() && deployment["name"] == app.as_str(),
        "{deployment}"
    );
    same("the pod's images", &pod["images"], &json!(["127.0.0.1:5000/shop/web:1.0.0"]))?;
    let names: Vec<&Value> =
        pod["info"].as_array().into_iter().flatten().map(|one| &one["name"]).collect();
    ensure!(
        names.iter().any(|name| *name == "Status Reason")
            && names.iter().any(|name| *name == "Containers"),
        "{names:?}"
    );
    ensure!(
        pod["version"] == "v1" && pod.get("group").is_none() && deployment["group"] == "apps",
        "{pod} {deployment}"
    );
    Ok(())
}

const NO_IMAGE: Skipped =
    Skipped("the image does not exist, and this server's pods are containers");

async fn live_pod(cx: &Context) -> Checked {
    if !cx.target().fake_pods {
        return Err(anyhow::Error::msg(NO_IMAGE));
    }
    let name = cx.name();
    let mut document = cx.document(&name, "chart");
    document["spec"]["source"]["helm"] = json!({ "parameters": [parameter("image.tag", "1.0.0"), parameter("image.digest", DIGEST)] });
    cx.create(document).await?;
    cx.synced(&name).await?;
    cx.until(&name, "health", |app| app["status"]["health"]["status"] == "Healthy").await?;
    let nodes = tree_with_pods(cx, &name).await?;
    let pod = nodes.iter().find(|node| node["kind"] == "Pod").cloned().unwrap_or_default();
    let pod_name = pod["name"].as_str().unwrap_or_default();
    let path = format!(
        "/api/v1/applications/{name}/resource?resourceName={pod_name}&namespace=default&version=v1&kind=Pod&group="
    );
    let answer = cx.get(&path).await?.ok()?;
    let live: Value = serde_json::from_str(answer["manifest"].as_str().unwrap_or_default())?;
    same(
        "the image",
        &live["spec"]["containers"][0]["image"],
        &format!("127.0.0.1:5000/shop/web:1.0.0@{DIGEST}"),
    )?;
    let status = &live["status"]["containerStatuses"][0];
    same("the imageID", &status["imageID"], &format!("127.0.0.1:5000/shop/web@{DIGEST}"))?;
    same("ready", &status["ready"], &true)
}

async fn not_in_tree(cx: &Context) -> Checked {
    let app = cx.app("settings").await?;
    cx.synced(&app).await?;
    let path = format!(
        "/api/v1/applications/{app}/resource?resourceName=nope&namespace=default&version=v1&kind=Pod&group="
    );
    cx.get(&path).await?.refused(
        400,
        3,
        &format!("Pod  nope not found as part of application {app}"),
    )
}

async fn hooks_left_out(cx: &Context) -> Checked {
    let app = cx.app("slow").await?;
    cx.sync(&app, "1").await?.ok()?;
    let kinds = async |path: &str, list: &str| -> anyhow::Result<Vec<Value>> {
        let answer = cx.get(&format!("/api/v1/applications/{app}/{path}")).await?.ok()?;
        let objects = answer[list].as_array().cloned().unwrap_or_default();
        Ok(objects.into_iter().map(|object| object["kind"].clone()).collect())
    };
    // It is rendered, it is live, and it is not compared.
    cx.until(&app, "the hook to appear", |app| {
        let resources = app["status"]["resources"].as_array();
        resources.into_iter().flatten().any(|one| one["hook"] == true)
    })
    .await?;
    let tree = kinds("resource-tree", "nodes").await?;
    ensure!(tree.contains(&json!("Job")), "{tree:?}");
    same("the kinds", &kinds("managed-resources", "items").await?, &[json!("ConfigMap")])
}

async fn managed(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    cx.synced(&app).await?;
    let path = format!("/api/v1/applications/{app}/managed-resources?kind=Deployment");
    let item = async || -> anyhow::Result<Value> {
        let answer = cx.get(&path).await?.ok()?;
        same("the number of items", &answer["items"].as_array().map_or(0, Vec::len), &1)?;
        Ok(answer["items"][0].clone())
    };
    let image_of = |text: &Value| -> anyhow::Result<Value> {
        let object: Value = serde_json::from_str(text.as_str().unwrap_or_default())?;
        Ok(object["spec"]["template"]["spec"]["containers"][0]["image"].clone())
    };
    let before = item().await?;
    ensure!(
        before["kind"] == "Deployment"
            && before["group"] == "apps"
            && before["name"] == app.as_str(),
        "{before}"
    );
    same("the live image", &image_of(&before["liveState"])?, &image_of(&before["targetState"])?)?;
    ensure!(before.get("modified").is_none(), "{}", before["modified"]);
    cx.patch(&app, &json!([{ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "1.0.1" }])).await?.ok()?;
    cx.get(&format!("/api/v1/applications/{app}?refresh=normal")).await?.ok()?;
    let after = item().await?;
    same("the live image", &image_of(&after["liveState"])?, &"127.0.0.1:5000/shop/web:1.0.0")?;
    same("the target image", &image_of(&after["targetState"])?, &"127.0.0.1:5000/shop/web:1.0.1")?;
    same(
        "the predicted image",
        &image_of(&after["predictedLiveState"])?,
        &"127.0.0.1:5000/shop/web:1.0.1",
    )?;
    same("modified", &after["modified"], &true)
}

async fn summary(cx: &Context) -> Checked {
    let app = cx.app_with_tag("1.0.0").await?;
    cx.synced(&app).await?;
    let want = json!(["127.0.0.1:5000/shop/web:1.0.0"]);
    cx.until(&app, "the images", |app| app["status"]["summary"]["images"] == want).await?;
    Ok(())
}

async fn health(cx: &Context) -> Checked {
    if !cx.target().fake_pods {
        return Err(anyhow::Error::msg(NO_IMAGE));
    }
    let app = cx.app_with_tag("1.0.0").await?;
    cx.synced(&app).await?;
    let healthy =
        cx.until(&app, "health", |app| app["status"]["health"]["status"] == "Healthy").await?;
    let healths: Vec<&Value> = healthy["status"]["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["health"]["status"])
        .collect();
    same("the resources' health", &healths, &vec!["Healthy", "Healthy"])?;
    cx.patch(&app, &json!([{ "op": "add", "path": "/spec/source/helm/parameters/-", "value": { "name": "replicas", "value": "0" } }])).await?.ok()?;
    let after = cx.synced(&app).await?;
    same("the sync status", &after["status"]["sync"]["status"], &"Synced")?;
    cx.until(&app, "health of none", |app| {
        app["status"]["health"]["status"] == "Healthy"
            && app["status"]["summary"].get("images").is_none()
    })
    .await?;
    Ok(())
}
