//! What a promotion that nobody disturbs asks of Argo CD: each request, and how many of the requests to Kubernetes it costs
//! that the server allows itself (50 a second, for all its clients).

use std::collections::BTreeMap;

use anyhow::Result;
use e2e::World;
use http::Method;
use serde_json::json;

/// A world whose environment `dev` has so many applications.
async fn world(apps: usize) -> Result<World> {
    let world = World::start().await?;
    let names: Vec<String> = (0..apps).map(|number| format!("fleet-{number:02}")).collect();
    let configuration = world
        .configuration()
        .replace("apps: [shop-dev]", &format!("apps: [{}]\n    settle: 0s", names.join(", ")));
    world.project.write("verbatim.yaml", &configuration)?;
    world.project.commit("A fleet").await?;
    for name in names {
        let application = json!({
            "metadata": { "name": name, "namespace": "argocd" },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": format!("file://{}", world.project.root.display()),
                    "path": "chart",
                    "targetRevision": "main",
                    "helm": { "valueFiles": ["values-dev.yaml"] },
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
            },
        });
        world.api(Method::POST, "", Some(application)).await?;
        // Compared, so that its kind is known, as it is of one that has been there for long.
        world.api(Method::GET, &format!("/{name}?refresh=normal"), None).await?;
    }
    Ok(world)
}

/// The requests of a promotion, and their sum: those that cost something with their number, the others without, as how often
/// a tree is looked at depends on how fast the machine is.
async fn requests(apps: usize) -> Result<String> {
    let world = world(apps).await?;
    let release = world.release("One").await?;
    world.argocd.forget_seen();
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let mut counted: BTreeMap<(bool, String), (usize, u32)> = BTreeMap::new();
    for seen in world.argocd.seen() {
        let entry =
            counted.entry((seen.units == 0, shown(&seen.method, &seen.target))).or_default();
        *entry = (entry.0 + 1, entry.1 + seen.units);
    }
    let mut table = String::new();
    for ((is_free, request), (count, units)) in &counted {
        table += &match is_free {
            true => format!("     free  {request}\n"),
            false => format!("{count:3} = {units:3}  {request}\n"),
        };
    }
    let limited = counted.iter().filter(|((is_free, _), _)| !is_free);
    let (count, units) =
        limited.fold((0, 0), |sum, (_, (count, units))| (sum.0 + count, sum.1 + units));
    Ok(table + &format!("{count:3} = {units:3}  in all\n"))
}

/// A request without what is different from run to run.
fn shown(method: &str, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = match path.strip_prefix("/api/v1/") {
        Some(rest) => rest
            .split('/')
            .map(|part| if part.starts_with("fleet-") { "APP" } else { part })
            .collect::<Vec<_>>()
            .join("/"),
        None => path.to_owned(),
    };
    let path = match path.split_once("repositories/") {
        Some((before, _)) => format!("{before}repositories/URL/appdetails"),
        None => path,
    };
    let mut keys: Vec<&str> = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .filter(|key| !key.is_empty())
        .collect();
    keys.dedup();
    let query = if keys.is_empty() { String::new() } else { format!("?{}", keys.join("&")) };
    format!("{method} {path}{query}")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_application() -> Result<()> {
    insta::assert_snapshot!(requests(1).await?, @r"
      5 =   5  GET applications/APP
      2 =   2  GET applications/APP/syncwindows?project
      1 =   2  GET applications/APP?refresh
      2 =   8  PATCH applications/APP
      1 =   3  POST applications/APP/sync
         free  GET /api/version
         free  GET account/can-i/applications/sync/default/APP
         free  GET account/can-i/applications/update/default/APP
         free  GET applications/APP/managed-resources?project
         free  GET applications/APP/manifests?project
         free  GET applications/APP/resource-tree?project
         free  GET applications/APP/resource?project&resourceName&namespace&version&kind&group
         free  GET stream/applications?name
         free  POST repositories/URL/appdetails
     11 =  20  in all
    ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_applications() -> Result<()> {
    insta::assert_snapshot!(requests(3).await?, @r"
     15 =  15  GET applications/APP
      6 =   6  GET applications/APP/syncwindows?project
      3 =   6  GET applications/APP?refresh
      6 =  24  PATCH applications/APP
      3 =   9  POST applications/APP/sync
         free  GET /api/version
         free  GET account/can-i/applications/sync/default/APP
         free  GET account/can-i/applications/update/default/APP
         free  GET applications/APP/managed-resources?project
         free  GET applications/APP/manifests?project
         free  GET applications/APP/resource-tree?project
         free  GET applications/APP/resource?project&resourceName&namespace&version&kind&group
         free  GET stream/applications?name
         free  POST repositories/URL/appdetails
     33 =  60  in all
    ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_applications() -> Result<()> {
    insta::assert_snapshot!(requests(10).await?, @r"
     50 =  50  GET applications/APP
     20 =  20  GET applications/APP/syncwindows?project
     10 =  20  GET applications/APP?refresh
     20 =  80  PATCH applications/APP
     10 =  30  POST applications/APP/sync
         free  GET /api/version
         free  GET account/can-i/applications/sync/default/APP
         free  GET account/can-i/applications/update/default/APP
         free  GET applications/APP/managed-resources?project
         free  GET applications/APP/manifests?project
         free  GET applications/APP/resource-tree?project
         free  GET applications/APP/resource?project&resourceName&namespace&version&kind&group
         free  GET stream/applications?name
         free  POST repositories/URL/appdetails
    110 = 200  in all
    ");
    Ok(())
}
