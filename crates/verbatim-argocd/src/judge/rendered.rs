//! Finds the images in rendered manifests, and judges whether they are the wanted ones. Pure.

use serde_json::Value;
use verbatim_oci::{Digest, Reference};

use crate::api::request::ObjectRef;
use crate::judge::evidence::{RenderedImage, WantedImage};
use crate::judge::mismatch::{Difference, Mismatch};

/// The containers of one manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workload {
    pub object: ObjectRef,
    /// A hook: it runs during a sync and may be deleted afterwards.
    pub is_hook: bool,
    /// Its containers, init containers too.
    pub containers: Vec<Container>,
}

/// A container of a manifest or of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub name: String,
    pub image: String,
}

impl Container {
    /// The digest in the image, if one is written out.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.image.rsplit_once('@')?.1.parse().ok()
    }
}

/// Whether an image is of the repository of a wanted one, or carries its digest.
pub(crate) fn concerns(image: &str, wanted: &WantedImage) -> bool {
    let same_repository = wanted.repository.as_ref().is_some_and(|repository| {
        image.parse::<Reference>().is_ok_and(|reference| reference.repository == *repository)
    });
    same_repository || image.ends_with(&format!("@{}", wanted.digest))
}

/// The workloads of manifests. A Rollout that names another object in its `workloadRef` runs the containers of that one:
/// <https://argo-rollouts.readthedocs.io/en/stable/migrating/#reference-deployment-from-rollout>.
fn workloads<'a>(manifests: impl IntoIterator<Item = &'a str>) -> Vec<Workload> {
    let manifests: Vec<Value> =
        manifests.into_iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let named: Vec<Workload> = manifests.iter().filter_map(workload).collect();
    let naming: Vec<Workload> =
        manifests.iter().filter_map(|manifest| naming(manifest, &named)).collect();
    naming.into_iter().chain(named).collect()
}

/// A Rollout with a `workloadRef` to one of these workloads.
fn naming(manifest: &Value, named: &[Workload]) -> Option<Workload> {
    let reference = manifest.pointer(WORKLOAD_REF)?;
    let object = object(manifest)?;
    let is = |field: &str, text: &str| reference.get(field).and_then(Value::as_str) == Some(text);
    let target = named.iter().find(|Workload { object: target, .. }| {
        is("kind", &target.kind) && is("name", &target.name) && target.namespace == object.namespace
    });
    Some(Workload { object, is_hook: false, containers: target?.containers.clone() })
}

/// Where a Rollout names the object whose pod template it runs.
pub(crate) const WORKLOAD_REF: &str = "/spec/workloadRef";

/// Reads a manifest. `None` if it is no object, or runs no containers.
pub(crate) fn workload(manifest: &Value) -> Option<Workload> {
    let object = object(manifest)?;
    let mut containers = Vec::new();
    collect(manifest, &mut containers);
    let annotation = |name: &str| {
        manifest
            .get("metadata")?
            .get("annotations")?
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    };
    let is_hook = annotation("argocd.argoproj.io/hook").or(annotation("helm.sh/hook")).is_some();
    (!containers.is_empty()).then_some(Workload { object, is_hook, containers })
}

/// The identity of a manifest.
pub(crate) fn object(manifest: &Value) -> Option<ObjectRef> {
    let text = |pointer: &str| {
        manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let api = text("/apiVersion");
    let (group, version) = api.split_once('/').unwrap_or(("", &api));
    let object = ObjectRef {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    (!object.kind.is_empty()).then_some(object)
}

/// Collects the containers of every pod template, however deep: a Deployment's, a CronJob's, and those of kinds that
/// we do not know but that hold a pod template as all do.
pub(crate) fn collect(value: &Value, containers: &mut Vec<Container>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner {
                    Value::Array(list) if name == "containers" || name == "initContainers" => {
                        containers.extend(list.iter().filter_map(container));
                    }
                    _ => collect(inner, containers),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| collect(inner, containers)),
        _ => {}
    }
}

fn container(value: &Value) -> Option<Container> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Container { name: text("name").unwrap_or_default(), image: text("image")? })
}

/// A workload with the containers that must run a wanted image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WantedWorkload {
    pub object: ObjectRef,
    /// A hook: it runs during a sync and may be deleted afterwards.
    pub is_hook: bool,
    /// The container's name, and which of the wanted images it must run.
    pub containers: Vec<(String, WantedImage)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RenderedState {
    /// The containers with a wanted image.
    pub images: Vec<RenderedImage>,
    /// The workloads that they belong to.
    pub workloads: Vec<WantedWorkload>,
    /// What is wrong. Empty: the manifests show every wanted image, and no other of its repository.
    pub problems: Vec<Mismatch>,
}

/// Judges rendered manifests: every wanted image is there by its digest, and no container of its repository has
/// another one.
pub(crate) fn shown<'a>(
    manifests: impl IntoIterator<Item = &'a str>,
    wanted: &[WantedImage],
) -> RenderedState {
    let workloads = workloads(manifests);
    let mut shown = RenderedState::default();
    let mut seen = vec![false; wanted.len()];
    for workload in &workloads {
        let mut ours = Vec::new();
        for container in &workload.containers {
            let concerned: Vec<usize> =
                (0..wanted.len()).filter(|i| concerns(&container.image, &wanted[*i])).collect();
            if concerned.is_empty() {
                continue;
            }
            match concerned.iter().find(|i| container.digest() == Some(wanted[**i].digest)) {
                Some(index) => {
                    seen[*index] = true;
                    ours.push((container.name.clone(), wanted[*index].clone()));
                    shown.images.push(RenderedImage {
                        workload: workload.object.to_string(),
                        container: container.name.clone(),
                        image: container.image.clone(),
                    });
                }
                None => shown.problems.push(Mismatch {
                    place: format!("{}, container {}", workload.object, container.name),
                    what: Difference::Manifest(container.image.clone()),
                }),
            }
        }
        if !ours.is_empty() {
            shown.workloads.push(WantedWorkload {
                object: workload.object.clone(),
                is_hook: workload.is_hook,
                containers: ours,
            });
        }
    }
    for (image, _) in wanted.iter().zip(&seen).filter(|(_, seen)| !**seen) {
        let containers = workloads.iter().flat_map(|workload| &workload.containers);
        let there = containers.map(|container| container.image.clone()).collect();
        let what = Difference::NotRendered { wanted: Box::new(image.clone()), there };
        shown.problems.push(Mismatch { place: "manifests".into(), what });
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(images: &[&str]) -> String {
        let containers: Vec<_> = images
            .iter()
            .enumerate()
            .map(|(i, image)| json!({ "name": format!("c{i}"), "image": image }))
            .collect();
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "template": { "spec": { "containers": containers } } },
        })
        .to_string()
    }

    #[track_caller]
    fn check(manifests: &[String], wanted: &[WantedImage], images: usize, problems: &[&str]) {
        let shown = shown(manifests.iter().map(String::as_str), wanted);
        let got: Vec<_> = shown.problems.iter().map(ToString::to_string).collect();
        assert_eq!(got, problems);
        assert_eq!(shown.images.len(), images);
    }

    #[test]
    fn every_container_of_the_repository_must_have_the_digest() {
        let one = std::slice::from_ref::<WantedImage>;
        let digest = Digest::of(b"1");
        let other = Digest::of(b"2");
        let web = WantedImage::new(Some("docker.io/example/web".parse().unwrap()), digest);
        let by_digest = WantedImage::new(None, digest);
        let good = format!("example/web:1@{digest}");
        let full = format!("docker.io/example/web@{digest}");
        let old = format!("example/web:1@{other}");
        // The tag and the digest, or the digest alone; in Docker's short form, or in full.
        check(&[deployment(&[&good])], one(&web), 1, &[]);
        check(&[deployment(&[&full])], one(&web), 1, &[]);
        // A sidecar of another repository does not matter.
        check(&[deployment(&[&good, "envoy:1"])], one(&web), 1, &[]);
        // One alias of the image was forgotten.
        check(
            &[deployment(&[&good, &old])],
            one(&web),
            1,
            &[&format!("Deployment web, container c1: the manifest has {old}")],
        );
        // A tag is not a digest.
        check(
            &[deployment(&["example/web:1"])],
            one(&web),
            0,
            &[
                "Deployment web, container c0: the manifest has example/web:1",
                &format!(
                    "manifests: no container has docker.io/example/web@{digest}; there is example/web:1"
                ),
            ],
        );
        // A registry mirror: another repository, the same digest.
        check(&[deployment(&[&format!("mirror.example.com/web@{digest}")])], one(&web), 1, &[]);
        check(&[deployment(&[&good])], one(&by_digest), 1, &[]);
        check(
            &["{}".into(), "null".into(), "no json".into()],
            one(&by_digest),
            0,
            &[&format!("manifests: no container has {digest}; there is no image at all")],
        );
        // Two images of one repository: each container has one of them.
        let worker = WantedImage::new(web.repository.clone(), other);
        check(&[deployment(&[&good, &old])], &[web.clone(), worker.clone()], 2, &[]);
        check(
            &[deployment(&[&good])],
            &[web, worker],
            1,
            &[&format!(
                "manifests: no container has docker.io/example/web@{other}; there is {good}"
            )],
        );
    }

    #[test]
    fn pod_templates_are_found_in_every_kind() {
        let pod = json!({ "initContainers": [{ "name": "i", "image": "a" }], "containers": [{ "name": "c", "image": "b" }] });
        let kinds = [
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x" }, "spec": pod }),
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "x" }, "spec": { "template": { "spec": pod } } }),
            json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "x" },
                    "spec": { "jobTemplate": { "spec": { "template": { "spec": pod } } } } }),
            json!({ "apiVersion": "example.com/v1", "kind": "Fleet", "metadata": { "name": "x" },
                    "spec": { "parts": [{ "podTemplate": { "spec": pod } }] } }),
        ];
        for manifest in kinds {
            let mut images: Vec<_> =
                workload(&manifest).unwrap().containers.into_iter().map(|c| c.image).collect();
            images.sort();
            assert_eq!(images, ["a", "b"], "{}", manifest["kind"]);
        }
        assert_eq!(
            workload(
                &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" } })
            ),
            None
        );
    }

    /// Argo CD 3.6.1: the spec has the override, a file in git wins over it, and the manifests tell.
    #[test]
    fn a_shadowed_override_is_seen() {
        let recorded: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/manifests-shadowed.json"))
                .unwrap();
        let manifests: Vec<_> = recorded["body"]["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m.as_str().unwrap())
            .collect();
        let wanted =
            WantedImage::new(Some("127.0.0.1:5000/shop/web".parse().unwrap()), Digest::of(b"1"));
        let shown = shown(manifests, &[wanted]);
        assert_eq!(
            shown.problems[0].to_string(),
            "Deployment shadow, container web: the manifest has 127.0.0.1:5000/shop/web:9.9.9"
        );
    }

    #[test]
    fn a_rollout_runs_the_containers_of_the_object_that_it_names() {
        let digest = Digest::of(b"1");
        let web = WantedImage::new(Some("docker.io/example/web".parse().unwrap()), digest);
        let deployment = deployment(&[&format!("example/web@{digest}")]);
        let rollout = |kind: &str, name: &str| {
            json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "canary" },
                "spec": { "workloadRef": { "apiVersion": "apps/v1", "kind": kind, "name": name } },
            })
            .to_string()
        };
        for (kind, name, want) in [
            ("Deployment", "web", vec!["Rollout canary", "Deployment web"]),
            ("Deployment", "other", vec!["Deployment web"]),
            ("ReplicaSet", "web", vec!["Deployment web"]),
        ] {
            let manifests = [rollout(kind, name), deployment.clone()];
            let manifests = manifests.iter().map(String::as_str);
            let shown = shown(manifests, std::slice::from_ref(&web));
            let got: Vec<_> = shown.workloads.iter().map(|one| one.object.to_string()).collect();
            assert_eq!(got, want, "{kind} {name}");
        }
    }
}
