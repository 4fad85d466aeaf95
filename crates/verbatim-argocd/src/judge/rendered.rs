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
    /// When it runs, if it is a hook.
    pub hook: Option<HookTime>,
    /// Its containers, init containers too.
    pub containers: Vec<Container>,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookTime {
    /// During every sync of the whole application. It may be deleted afterwards.
    Sync,
    /// When a sync fails, when the application is deleted, in a test: at no sync that succeeds.
    Other,
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

/// Whether an object has a container of a wanted image's repository, or with its digest.
pub(crate) fn runs_one_of(object: &Value, wanted: &[WantedImage]) -> bool {
    let mut containers = Vec::new();
    collect(object.get("spec").unwrap_or(&Value::Null), &mut containers);
    containers.iter().any(|one| wanted.iter().any(|image| concerns(&one.image, image)))
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
    Some(Workload { object, hook: None, containers: target?.containers.clone() })
}

/// Where a Rollout names the object whose pod template it runs.
pub(crate) const WORKLOAD_REF: &str = "/spec/workloadRef";

/// Reads a manifest. `None` if it is no object, or runs no containers.
pub(crate) fn workload(manifest: &Value) -> Option<Workload> {
    let object = object(manifest)?;
    let mut containers = Vec::new();
    collect(manifest, &mut containers);
    let hook = hook_time(manifest);
    (!containers.is_empty()).then_some(Workload { object, hook, containers })
}

/// When a manifest runs, if it is a hook. Argo CD's own annotation wins over Helm's, of which it knows four:
/// gitops-engine/pkg/sync/hook of Argo CD 3.6.1.
fn hook_time(manifest: &Value) -> Option<HookTime> {
    let names = |annotation: &str| -> Vec<&str> {
        let text = manifest.pointer(&format!("/metadata/annotations/{annotation}"));
        let text = text.and_then(Value::as_str).unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    };
    let mut names_of_hook = names("argocd.argoproj.io~1hook");
    if names_of_hook.is_empty() {
        names_of_hook = names("helm.sh~1hook");
    }
    let in_sync = |name: &&str| {
        let own = ["PreSync", "Sync", "PostSync"];
        let of_helm = ["pre-install", "pre-upgrade", "post-install", "post-upgrade"];
        own.contains(name) || of_helm.contains(name)
    };
    let time = || if names_of_hook.iter().any(in_sync) { HookTime::Sync } else { HookTime::Other };
    (!names_of_hook.is_empty()).then(time)
}

/// The manifests of hooks among these.
pub(crate) fn hooks(manifests: &[String]) -> impl Iterator<Item = &str> {
    let is_hook = |text: &&str| {
        serde_json::from_str(text).is_ok_and(|manifest: Value| hook_time(&manifest).is_some())
    };
    manifests.iter().map(String::as_str).filter(is_hook)
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

/// The pod templates in a value that are to run, each as its containers: not those of a part that says that it wants none.
pub(crate) fn templates(value: &Value) -> Vec<Vec<Container>> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            let is = |field: &str, text: Value| fields.get(field) == Some(&text);
            let is_idle = is("replicas", 0.into()) || is("parallelism", 0.into());
            if is_idle || is("suspend", true.into()) {
                return found;
            }
            let is_list = |name: &str| name == "containers" || name == "initContainers";
            let lists = fields.iter().filter(|(name, inner)| is_list(name) && inner.is_array());
            let own: Vec<Container> = lists
                .filter_map(|(_, list)| list.as_array())
                .flatten()
                .filter_map(container)
                .collect();
            found.extend((!own.is_empty()).then_some(own));
            let others = fields.iter().filter(|(name, _)| !is_list(name));
            found.extend(others.flat_map(|(_, inner)| templates(inner)));
        }
        Value::Array(list) => found.extend(list.iter().flat_map(templates)),
        _ => {}
    }
    found
}

fn container(value: &Value) -> Option<Container> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Container { name: text("name").unwrap_or_default(), image: text("image")? })
}

/// A workload with the containers that must run a wanted image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WantedWorkload {
    pub object: ObjectRef,
    /// It may be gone after the sync that ran it.
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

impl RenderedState {
    /// Whether a wanted image is in none of the manifests.
    pub(crate) fn lacks_an_image(&self) -> bool {
        self.problems.iter().any(|problem| matches!(problem.what, Difference::NotRendered { .. }))
    }
}

/// Judges rendered manifests: every wanted image is there by its digest, and no container of its repository has
/// another one. A hook has to be proven only for an image that nothing else runs.
pub(crate) fn shown<'a>(
    manifests: impl IntoIterator<Item = &'a str>,
    wanted: &[WantedImage],
) -> RenderedState {
    let mut workloads = workloads(manifests);
    // What runs all the time comes first, hooks that no sync runs come last.
    workloads.sort_by_key(|workload| match workload.hook {
        None => 0,
        Some(HookTime::Sync) => 1,
        Some(HookTime::Other) => 2,
    });
    let mut shown = RenderedState::default();
    let mut seen: Vec<Option<Option<HookTime>>> = vec![None; wanted.len()];
    for workload in &workloads {
        let mut ours = Vec::new();
        let mut counts = workload.hook.is_none();
        for container in &workload.containers {
            let concerned: Vec<usize> =
                (0..wanted.len()).filter(|i| concerns(&container.image, &wanted[*i])).collect();
            if concerned.is_empty() {
                continue;
            }
            match concerned.iter().find(|i| container.digest() == Some(wanted[**i].digest)) {
                Some(index) => {
                    counts |= *seen[*index].get_or_insert(workload.hook) == workload.hook;
                    ours.push((container, &wanted[*index]));
                }
                None => shown.problems.push(Mismatch {
                    place: format!("{}, container {}", workload.object, container.name),
                    what: Difference::Manifest(container.image.clone()),
                }),
            }
        }
        if ours.is_empty() || !counts {
            continue;
        }
        shown.images.extend(ours.iter().map(|(container, _)| RenderedImage {
            workload: workload.object.to_string(),
            container: container.name.clone(),
            image: container.image.clone(),
        }));
        shown.workloads.push(WantedWorkload {
            object: workload.object.clone(),
            is_hook: workload.hook.is_some(),
            containers: ours
                .into_iter()
                .map(|(container, image)| (container.name.clone(), image.clone()))
                .collect(),
        });
    }
    for (image, _) in wanted.iter().zip(&seen).filter(|(_, seen)| seen.is_none()) {
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
    fn a_hook_counts_for_an_image_that_nothing_else_runs() {
        let digest = Digest::of(b"1");
        let web = WantedImage::new(Some("docker.io/example/web".parse().unwrap()), digest);
        let image = format!("example/web@{digest}");
        let job = |name: &str, annotations: Value| {
            let template = json!({ "spec": { "containers": [{ "name": "c", "image": image }] } });
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": { "name": name, "annotations": annotations }, "spec": { "template": template },
            })
            .to_string()
        };
        let own = |name: &str, hook: &str| job(name, json!({ "argocd.argoproj.io/hook": hook }));
        let helm = |name: &str, hook: &str| job(name, json!({ "helm.sh/hook": hook }));
        let both = json!({ "argocd.argoproj.io/hook": "SyncFail", "helm.sh/hook": "pre-install" });
        let plain = job("plain", json!({ "helm.sh/hook-weight": "1" }));
        let deployment = deployment(&[&image]);
        for (manifests, want) in [
            (vec![own("pre", "PreSync"), deployment.clone()], vec!["Deployment web"]),
            (vec![own("pre", "PreSync")], vec!["hook Job pre"]),
            (vec![own("two", "SyncFail, PostSync")], vec!["hook Job two"]),
            (vec![own("fail", "SyncFail"), own("post", "PostSync")], vec!["hook Job post"]),
            (
                vec![helm("test", "test"), helm("up", "pre-upgrade"), own("s", "Sync")],
                vec!["hook Job up", "hook Job s"],
            ),
            (
                vec![helm("test", "test"), own("skip", "Skip")],
                vec!["hook Job test", "hook Job skip"],
            ),
            (vec![job("both", both), helm("up", "post-install")], vec!["hook Job up"]),
            (vec![plain], vec!["Job plain"]),
        ] {
            let shown = shown(manifests.iter().map(String::as_str), std::slice::from_ref(&web));
            let name = |one: &WantedWorkload| {
                format!("{}{}", if one.is_hook { "hook " } else { "" }, one.object)
            };
            let got: Vec<_> = shown.workloads.iter().map(name).collect();
            assert_eq!(got, want);
            assert_eq!(shown.images.len(), want.len());
            assert!(shown.problems.is_empty());
        }
        let manifests = [deployment, own("pre", "PreSync"), "{}".to_owned()];
        assert_eq!(hooks(&manifests).collect::<Vec<_>>(), [&manifests[1]]);
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
        let shown = shown(manifests, std::slice::from_ref(&wanted));
        let problems: Vec<_> = shown.problems.iter().map(ToString::to_string).collect();
        let there = "the manifest has 127.0.0.1:5000/shop/web:9.9.9";
        assert_eq!(problems[0], format!("Deployment shadow, container web: {there}"));
        assert!(problems[1].contains(&wanted.to_string()), "{problems:?}");
        assert!(shown.lacks_an_image() && problems.len() == 2, "{problems:?}");
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
