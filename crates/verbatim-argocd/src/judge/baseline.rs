//! Judges whether what is not healthy has nothing to do with a release: it was so before, and runs none of its images. Pure.

use std::collections::BTreeSet;

use crate::judge::evidence::WantedImage;
use crate::judge::reading::with_makers;
use crate::judge::rendered::concerns;
use crate::model::{Application, HealthStatus, Resource, ResourceTree};

/// The resources of an application that are broken. What is missing or on its way tells nothing of how it will be: before
/// the first sync of an application all of them are missing.
pub(crate) fn broken_resources(app: &Application) -> Vec<Resource> {
    let is_broken = |resource: &Resource| {
        matches!(health(resource), HealthStatus::Degraded | HealthStatus::Unknown)
    };
    unhealthy_resources(app).into_iter().filter(is_broken).collect()
}

/// The resources of an application that keep it from being healthy.
fn unhealthy_resources(app: &Application) -> Vec<Resource> {
    let resources = app.status.resources.iter().filter(|resource| !resource.hook);
    resources.filter(|resource| health(resource) > HealthStatus::Suspended).cloned().collect()
}

fn health(resource: &Resource) -> HealthStatus {
    resource.health.as_ref().map_or(HealthStatus::Healthy, |health| health.status)
}

/// The resources that keep an application from being healthy, if all of them were no better before and run no wanted image.
/// `None` if there is another reason.
pub(crate) fn unrelated(
    before: &[Resource],
    app: &Application,
    tree: &ResourceTree,
    images: &[WantedImage],
) -> Option<Vec<String>> {
    let now = unhealthy_resources(app);
    // The application is as healthy as its worst resource. If none is so bad, something else is the reason.
    if images.is_empty() || now.iter().map(health).max()? != app.status.health.status {
        return None;
    }
    let is_wanted = |image: &String| images.iter().any(|wanted| concerns(image, wanted));
    let running: BTreeSet<_> = tree
        .nodes
        .iter()
        .filter(|node| node.kind == "Pod" && node.images.iter().any(is_wanted))
        .flat_map(|pod| with_makers(tree, pod))
        .map(|node| (&node.group, &node.kind, &node.namespace, &node.name))
        .collect();
    let unrelated = |resource: &Resource| {
        let is_it = |other: &&Resource| {
            (&other.group, &other.kind) == (&resource.group, &resource.kind)
                && (&other.namespace, &other.name) == (&resource.namespace, &resource.name)
        };
        let Resource { group, kind, namespace, name, .. } = resource;
        before.iter().find(is_it).is_some_and(|before| health(resource) <= health(before))
            && !running.contains(&(group, kind, namespace, name))
    };
    now.iter()
        .all(unrelated)
        .then(|| now.iter().map(|one| format!("{} {}", one.kind, one.name)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use verbatim_oci::Digest;

    use super::*;

    fn app(health: &str, resources: &[(&str, &str, &str)]) -> Application {
        let resources: Vec<Value> = resources
            .iter()
            .map(|(kind, name, health)| {
                json!({ "kind": kind, "namespace": "shop", "name": name, "health": { "status": health } })
            })
            .collect();
        serde_json::from_value(json!({
            "status": { "health": { "status": health }, "resources": resources },
        }))
        .unwrap()
    }

    #[test]
    fn what_was_unhealthy_before_and_runs_no_wanted_image_is_unrelated() {
        let digest = Digest::of(b"1");
        let web = WantedImage::new(Some("docker.io/example/web".parse().unwrap()), digest);
        let node = |kind: &str, name: &str, maker: &str, images: Value| {
            json!({ "kind": kind, "namespace": "shop", "name": name, "uid": format!("{kind} {name}"),
                    "parentRefs": [{ "uid": maker }], "images": images })
        };
        let nodes = json!([
            node("Deployment", "web", "", Value::Null),
            node("ReplicaSet", "web-1", "Deployment web", Value::Null),
            node("Pod", "web-1-a", "ReplicaSet web-1", json!([format!("example/web@{digest}")])),
            node("Deployment", "cache", "", Value::Null),
            node("Pod", "cache-1", "Deployment cache", json!(["redis:7"])),
        ]);
        let tree: ResourceTree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
        let (ingress, cache) =
            (("Ingress", "web", "Degraded"), ("Deployment", "cache", "Degraded"));
        let healthy = ("Deployment", "web", "Healthy");
        let new = ("Service", "new", "Missing");
        let before = app("Degraded", &[ingress, cache, ("Deployment", "web", "Degraded"), new]);
        let before = broken_resources(&before);
        let judged = |health: &str, resources: &[(&str, &str, &str)]| {
            unrelated(&before, &app(health, resources), &tree, std::slice::from_ref(&web))
        };
        let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        assert_eq!(judged("Degraded", &[ingress, healthy]), names(&["Ingress web"]));
        let two = judged("Degraded", &[ingress, cache, healthy]);
        assert_eq!(two, names(&["Ingress web", "Deployment cache"]));
        // Better than before, and not well yet.
        let better = ("Ingress", "web", "Progressing");
        assert_eq!(judged("Progressing", &[better, healthy]), names(&["Ingress web"]));
        // It runs the image.
        assert_eq!(judged("Degraded", &[ingress, ("Deployment", "web", "Degraded")]), None);
        // It was well before, or is worse now.
        assert_eq!(judged("Degraded", &[("Service", "web", "Degraded")]), None);
        assert_eq!(judged("Unknown", &[("Ingress", "web", "Unknown"), healthy]), None);
        // It was not there before, so nothing tells that it has nothing to do with the release.
        assert_eq!(judged("Progressing", &[("Service", "new", "Progressing")]), None);
        // Something else is the reason.
        assert_eq!(judged("Degraded", &[healthy]), None);
        assert_eq!(judged("Unknown", &[ingress]), None);
        assert_eq!(unrelated(&before, &app("Degraded", &[ingress]), &tree, &[]), None);
        assert_eq!(unrelated(&[], &app("Degraded", &[ingress]), &tree, &[web]), None);
    }

    #[test]
    fn hooks_and_what_has_no_health_keep_nothing_from_being_healthy() {
        let mut app = app(
            "Degraded",
            &[("Job", "hook", "Degraded"), ("CronJob", "c", "Suspended"), ("Pod", "p", "Missing")],
        );
        app.status.resources[0].hook = true;
        app.status.resources.push(Resource { kind: "ConfigMap".into(), ..Resource::default() });
        let names: Vec<_> = unhealthy_resources(&app).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["p"]);
        assert!(broken_resources(&app).is_empty());
    }
}
