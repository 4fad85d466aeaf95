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

/// The requests of a promotion: how often each was sent, and what that cost.
async fn requests(apps: usize) -> Result<BTreeMap<String, (usize, u32)>> {
    let world = world(apps).await?;
    let release = world.release("One").await?;
    world.argocd.forget_seen();
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let mut counted: BTreeMap<String, (usize, u32)> = BTreeMap::new();
    for seen in world.argocd.seen() {
        let entry = counted.entry(shown(&seen.method, &seen.target)).or_default();
        *entry = (entry.0 + 1, entry.1 + seen.units);
    }
    Ok(counted)
}

/// The table of them: those that cost something and those that all applications share with their number, the others without,
/// as how often a tree is looked at depends on how fast the machine is.
fn table(counted: &BTreeMap<String, (usize, u32)>) -> String {
    let (mut limited, mut free, mut sum) = (String::new(), String::new(), (0, 0));
    for (request, (count, units)) in counted {
        let is_shared = request.ends_with("?names");
        match units {
            0 if is_shared => free += &format!("{count:3} =   0  {request}\n"),
            0 => free += &format!("      =   0  {request}\n"),
            _ => {
                limited += &format!("{count:3} = {units:3}  {request}\n");
                sum = (sum.0 + count, sum.1 + units);
            }
        }
    }
    format!("{limited}{:3} = {:3}  in all\n{free}", sum.0, sum.1)
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
    insta::assert_snapshot!(table(&requests(1).await?), @r"
      1 =   1  GET applications/APP
      1 =   1  GET applications/APP/syncwindows?project
      1 =   2  GET applications/APP?refresh
      2 =   8  PATCH applications/APP
      1 =   3  POST applications/APP/sync
      6 =  15  in all
          =   0  GET account/can-i/applications/sync/default/APP
          =   0  GET account/can-i/applications/update/default/APP
          =   0  GET applications/APP/managed-resources?project
          =   0  GET applications/APP/manifests?project
          =   0  GET applications/APP/resource-tree?project
          =   0  GET applications/APP/resource?project&resourceName&namespace&version&kind&group
      2 =   0  GET applications?names
      1 =   0  GET stream/applications?names
          =   0  POST repositories/URL/appdetails
    ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_applications() -> Result<()> {
    insta::assert_snapshot!(table(&requests(3).await?), @r"
      3 =   3  GET applications/APP/syncwindows?project
      5 =  10  GET applications/APP?refresh
      6 =  24  PATCH applications/APP
      3 =   9  POST applications/APP/sync
     17 =  46  in all
          =   0  GET account/can-i/applications/sync/default/APP
          =   0  GET account/can-i/applications/update/default/APP
          =   0  GET applications/APP/managed-resources?project
          =   0  GET applications/APP/manifests?project
          =   0  GET applications/APP/resource-tree?project
          =   0  GET applications/APP/resource?project&resourceName&namespace&version&kind&group
      5 =   0  GET applications?names
      1 =   0  GET stream/applications?names
          =   0  POST repositories/URL/appdetails
    ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_applications() -> Result<()> {
    insta::assert_snapshot!(table(&requests(10).await?), @r"
     10 =  10  GET applications/APP/syncwindows?project
     12 =  24  GET applications/APP?refresh
     20 =  80  PATCH applications/APP
     10 =  30  POST applications/APP/sync
     52 = 144  in all
          =   0  GET account/can-i/applications/sync/default/APP
          =   0  GET account/can-i/applications/update/default/APP
          =   0  GET applications/APP/managed-resources?project
          =   0  GET applications/APP/manifests?project
          =   0  GET applications/APP/resource-tree?project
          =   0  GET applications/APP/resource?project&resourceName&namespace&version&kind&group
     12 =   0  GET applications?names
      1 =   0  GET stream/applications?names
          =   0  POST repositories/URL/appdetails
    ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_costs_no_more_for_each_of_its_applications() -> Result<()> {
    let counted = requests(20).await?;
    let (mut limited, mut streams) = (0, 0);
    for (request, (count, units)) in &counted {
        limited += if *units > 0 { *count } else { 0 };
        streams += if request.contains("stream/") { *count } else { 0 };
    }
    assert!(limited <= 6 * 20, "{limited} limited requests: {}", table(&counted));
    assert_eq!(streams, 1, "{}", table(&counted));
    Ok(())
}
