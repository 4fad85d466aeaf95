//! Judges what runs: for each workload with a wanted image, whether the nodes report that image. Pure.
//!
//! The names of images are never evidence here, a mirror may change them; only digests that nodes report are.

use std::collections::BTreeMap;

use serde_json::Value;
use verbatim_oci::Digest;

use crate::api::request::ObjectRef;
use crate::judge::evidence::{ContainerEvidence, EvidenceLevel, WantedImage, WorkloadEvidence};
use crate::judge::hooks::judge_hook;
use crate::judge::mismatch::{Difference, Mismatch};
use crate::judge::reading::{WorkloadReading, makes_pods, reference};
use crate::judge::rendered::{
    Container, WORKLOAD_REF, WantedWorkload, collect, concerns, templates,
};
use crate::judge::rollout::{
    held_by, is_complete, is_newest, is_paused, is_scaled_to_zero, least_pods, number, own_pods,
    runs_no_pod, unfinished,
};
use crate::model::{ResourceResult, TreeNode};

/// A live read of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LiveObject {
    Is(Value),
    /// It is not there any more.
    Gone,
    /// It could not be read.
    Unreadable(String),
}

/// What one workload turned out to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Judgement {
    Proven(WorkloadEvidence),
    /// The wanted images in every pod of its newest version, and its rollout is paused by somebody before it is complete.
    Paused {
        part: WorkloadEvidence,
        missing: Mismatch,
    },
    /// Not told yet: it is on its way, or cannot be seen.
    Pending(Mismatch),
    Differs(Vec<Mismatch>),
}

/// Judges one workload by what was read. `live` is keyed by the objects of [`WorkloadReading::objects`], and `hooks` are
/// the results of the operation that deployed it.
pub(crate) fn judge(
    reading: &WorkloadReading<'_>,
    live: &BTreeMap<ObjectRef, LiveObject>,
    hooks: &[ResourceResult],
) -> Judgement {
    let object = &reading.ours.object;
    let pending = |what| Judgement::Pending(Mismatch { place: object.to_string(), what });
    let template = |why: &str| {
        Judgement::Proven(WorkloadEvidence {
            workload: object.to_string(),
            level: EvidenceLevel::Template { why: why.to_owned() },
            containers: Vec::new(),
        })
    };
    let is_hook = reading.ours.is_hook;
    let Some(node) = reading.node else {
        return match is_hook {
            true => judge_hook(reading.ours, hooks),
            false => pending(Difference::NotThereYet),
        };
    };
    let workload = match live.get(&reference(node)) {
        Some(LiveObject::Is(workload)) => workload,
        Some(LiveObject::Unreadable(why)) => {
            return pending(Difference::Unreadable(why.clone()));
        }
        Some(LiveObject::Gone) | None if is_hook => return judge_hook(reading.ours, hooks),
        Some(LiveObject::Gone) | None => return pending(Difference::Gone),
    };
    let differences = template_differences(reading.ours, workload);
    if !differences.is_empty() {
        return Judgement::Differs(differences);
    }
    if let Some(why) = runs_no_pod(object, workload) {
        return template(why);
    }
    if reading.pods.is_empty() && reading.makers.is_empty() && is_scaled_to_zero(workload) {
        return template("it is scaled to zero");
    }
    let Some(what) = unfinished(object, workload, reading.revision) else {
        let counted = |node: &&TreeNode| match live.get(&reference(node)) {
            Some(LiveObject::Is(pod)) => counts(pod, object.kind == "Job"),
            Some(LiveObject::Unreadable(_)) => true,
            Some(LiveObject::Gone) | None => false,
        };
        let has_pods = reading.pods.iter().any(counted);
        return if is_hook && !has_pods {
            judge_hook(reading.ours, hooks)
        } else if object.kind == "Job" && !has_pods && is_complete(workload) {
            template("its pods are gone")
        } else if object.kind == "Pod" || makes_pods(&object.group, &object.kind) {
            judge_pods(reading, live, least_pods(&object.kind, workload), None)
        } else {
            judge_made(reading, workload, live)
        };
    };
    match judge_pods(reading, live, 1, Some(workload)) {
        Judgement::Proven(part) if is_paused(object, workload) => {
            Judgement::Paused { part, missing: Mismatch { place: object.to_string(), what } }
        }
        _ => match held_by(object, workload, &what) {
            Some(field) => pending(Difference::Held { field, what: Box::new(what) }),
            None => pending(what),
        },
    }
}

/// Judges a pod of [`crate::judge::reading::strays`] by what was read of it. `None` if it does not count. What is not as wanted is on its way: its
/// operator may yet replace it.
pub(crate) fn judge_stray(
    node: &TreeNode,
    live: &BTreeMap<ObjectRef, LiveObject>,
    wanted: &[WantedImage],
) -> Option<Judgement> {
    let workload = format!("Pod {}", node.name);
    let wanted: Vec<&WantedImage> = wanted.iter().collect();
    Some(match judge_pod(node, live.get(&reference(node))?, &wanted, false)? {
        Ok(containers) => {
            let level = EvidenceLevel::Pods { pods: 1 };
            Judgement::Proven(WorkloadEvidence { workload, level, containers })
        }
        Err(missing) => Judgement::Pending(missing),
    })
}

/// Containers of the live object that do not have the wanted digest: somebody changed the object itself.
fn template_differences(ours: &WantedWorkload, workload: &Value) -> Vec<Mismatch> {
    if workload.pointer(WORKLOAD_REF).is_some() {
        return Vec::new();
    }
    let mut containers = Vec::new();
    collect(workload.get("spec").unwrap_or(&Value::Null), &mut containers);
    let mut differences = Vec::new();
    for (name, wanted) in &ours.containers {
        let place = format!("{}, container {name}", ours.object);
        let of_name = |container: &Container| container.name == *name;
        // Several templates of one object may have containers of one name: each is one of its own.
        let found = containers
            .iter()
            .position(|one| of_name(one) && one.digest() == Some(wanted.digest))
            .or_else(|| containers.iter().position(of_name));
        let what = match found.map(|at| containers.remove(at)) {
            Some(container) if container.digest() == Some(wanted.digest) => continue,
            Some(container) => Difference::LiveObject(container.image),
            None => Difference::NoContainer,
        };
        differences.push(Mismatch { place, what });
    }
    differences
}

/// Judges the pods of the newest version, of which there must be at least so many. With a workload, those alone of its newest
/// version: it keeps others on purpose.
fn judge_pods(
    reading: &WorkloadReading<'_>,
    live: &BTreeMap<ObjectRef, LiveObject>,
    least: i64,
    newest_of: Option<&Value>,
) -> Judgement {
    let object = &reading.ours.object;
    let is_job = object.kind == "Job";
    let mut containers = Vec::new();
    let (mut differences, mut pending) = (Vec::new(), Vec::new());
    let mut pods = 0;
    for node in &reading.pods {
        let place = format!("Pod {}", node.name);
        match live.get(&reference(node)) {
            Some(LiveObject::Is(pod))
                if counts(pod, is_job)
                    && newest_of.is_none_or(|workload| is_newest(pod, workload)) =>
            {
                pods += 1;
                for (name, wanted) in &reading.ours.containers {
                    match judge_container(pod, node, name, wanted) {
                        Ok(found) => containers.push(found),
                        Err(one) if one.what.is_on_its_way() => pending.push(one),
                        Err(one) => differences.push(one),
                    }
                }
                for one in judge_added(pod, node, reading.ours) {
                    match one {
                        Ok(found) => containers.push(found),
                        Err(one) if one.what.is_on_its_way() => pending.push(one),
                        Err(one) => differences.push(one),
                    }
                }
            }
            Some(LiveObject::Is(_)) | Some(LiveObject::Gone) | None => {}
            Some(LiveObject::Unreadable(why)) => {
                pods += 1;
                pending.push(Mismatch { place, what: Difference::Unreadable(why.clone()) });
            }
        }
    }
    if !differences.is_empty() {
        return Judgement::Differs(differences);
    }
    if let Some(first) = pending.into_iter().next() {
        return Judgement::Pending(first);
    }
    if (pods as i64) < least {
        let what = Difference::Pods { pods, least };
        return Judgement::Pending(Mismatch { place: object.to_string(), what });
    }
    Judgement::Proven(WorkloadEvidence {
        workload: object.to_string(),
        level: EvidenceLevel::Pods { pods },
        containers,
    })
}

/// Judges the containers of a pod with images of wanted repositories that its workload does not name: an admission webhook has
/// added them.
fn judge_added(
    pod: &Value,
    node: &TreeNode,
    ours: &WantedWorkload,
) -> Vec<Result<ContainerEvidence, Mismatch>> {
    let mut containers = Vec::new();
    collect(pod.get("spec").unwrap_or(&Value::Null), &mut containers);
    containers.retain(|one| ours.containers.iter().all(|(name, _)| *name != one.name));
    let judged = containers.iter().filter_map(|Container { name, image }| {
        let concerned = ours.containers.iter().filter(|(_, wanted)| concerns(image, wanted));
        concerned.map(|(_, wanted)| judge_container(pod, node, name, wanted)).reduce(Result::or)
    });
    judged.collect()
}

/// Judges the pods that an object of an unknown kind has made, by itself or through others. What is not as wanted is on its
/// way: whoever made it may replace it.
fn judge_made(
    reading: &WorkloadReading<'_>,
    object: &Value,
    live: &BTreeMap<ObjectRef, LiveObject>,
) -> Judgement {
    let workload = reading.ours.object.to_string();
    let wanted: Vec<&WantedImage> =
        reading.ours.containers.iter().map(|(_, image)| image).collect();
    let pending = |place: String, what| Judgement::Pending(Mismatch { place, what });
    let is_ours = |spec: &Value| {
        let mut containers = Vec::new();
        collect(spec, &mut containers);
        containers.iter().any(|one| wanted.iter().any(|image| concerns(&one.image, image)))
    };
    let (mut least, mut makers) = (0, 0);
    for maker in &reading.makers {
        let object = reference(maker.node);
        match live.get(&object) {
            Some(LiveObject::Is(value)) if is_ours(value.get("spec").unwrap_or(&Value::Null)) => {
                if let Some(what) = unfinished(&object, value, maker.revision) {
                    return pending(object.to_string(), what);
                }
                makers += 1;
                least += if runs_no_pod(&object, value).is_some() {
                    0
                } else {
                    least_pods(&object.kind, value)
                };
            }
            Some(LiveObject::Unreadable(why)) => {
                return pending(object.to_string(), Difference::Unreadable(why.clone()));
            }
            Some(LiveObject::Is(_) | LiveObject::Gone) | None => {}
        }
    }
    let mut containers = Vec::new();
    let mut pods = 0;
    for node in &reading.pods {
        match live
            .get(&reference(node))
            .and_then(|pod| judge_pod(node, pod, &wanted, is_of_a_job(node) || is_to_end(pod)))
        {
            None => {}
            Some(Ok(found)) if found.is_empty() => {}
            Some(Ok(found)) => {
                pods += 1;
                containers.extend(found);
            }
            Some(Err(missing)) => return Judgement::Pending(missing),
        }
    }
    if pods == 0 && makers > 0 && least == 0 {
        let level = EvidenceLevel::Template { why: "it is scaled to zero".to_owned() };
        return Judgement::Proven(WorkloadEvidence { workload, level, containers });
    }
    if reading.makers.is_empty() && reading.pods.is_empty() {
        return Judgement::Differs(vec![Mismatch {
            place: workload,
            what: Difference::NothingMade,
        }]);
    }
    let templates = wanted_templates(object, &wanted);
    let least =
        least.max(own_pods(&reading.ours.object, object)).max(templates.len() as i64).max(1);
    if (pods as i64) < least {
        return pending(workload, Difference::Pods { pods, least });
    }
    if let Some(name) = unseen_container(&templates, &containers) {
        return pending(workload, Difference::NotSeen(name));
    }
    let ran = |image: &WantedImage| {
        containers.iter().any(|one| {
            image_digest(&one.image_id).is_some_and(|digest| image.matches(&digest).is_some())
        })
    };
    if let Some(image) = wanted.iter().find(|image| !ran(image)) {
        return pending(workload, Difference::NotRun(Box::new((*image).clone())));
    }
    Judgement::Proven(WorkloadEvidence {
        workload,
        level: EvidenceLevel::Pods { pods },
        containers,
    })
}

/// The pod templates of an object that have a wanted image and are to run, each with the names of its containers that have it.
/// What a Workflow that has succeeded left out was not to run.
fn wanted_templates(object: &Value, wanted: &[&WantedImage]) -> Vec<Vec<String>> {
    let is_workflow = object.pointer("/kind").and_then(Value::as_str) == Some("Workflow");
    if is_workflow && object.pointer("/status/phase") == Some(&Value::from("Succeeded")) {
        return Vec::new();
    }
    let ours = |template: Vec<Container>| -> Vec<String> {
        let of_ours =
            template.into_iter().filter(|one| wanted.iter().any(|w| concerns(&one.image, w)));
        of_ours.map(|one| one.name).collect()
    };
    let templates = templates(object.get("spec").unwrap_or(&Value::Null)).into_iter().map(ours);
    templates.filter(|names| !names.is_empty()).collect()
}

/// A container of a template that no pod has, where pods have the names that templates give. An operator may give others.
fn unseen_container(templates: &[Vec<String>], found: &[ContainerEvidence]) -> Option<String> {
    let is_seen = |name: &&String| found.iter().any(|one| one.container == **name);
    let mut names = templates.iter().flatten();
    names.clone().any(|name| is_seen(&name)).then(|| names.find(|name| !is_seen(name)).cloned())?
}

/// Whether a pod has an end that is its purpose, as those of a Workflow.
fn is_to_end(pod: &LiveObject) -> bool {
    let LiveObject::Is(pod) = pod else { return false };
    let policy = pod.pointer("/spec/restartPolicy").and_then(Value::as_str);
    matches!(policy, Some("Never" | "OnFailure"))
}

/// Judges the containers of a pod whose images are of wanted repositories, whatever their names. `None` if the pod does
/// not count.
fn judge_pod(
    node: &TreeNode,
    pod: &LiveObject,
    wanted: &[&WantedImage],
    may_end: bool,
) -> Option<Result<Vec<ContainerEvidence>, Mismatch>> {
    let pod = match pod {
        LiveObject::Is(pod) if counts(pod, may_end) => pod,
        LiveObject::Is(_) | LiveObject::Gone => return None,
        LiveObject::Unreadable(why) => {
            let what = Difference::Unreadable(why.clone());
            return Some(Err(Mismatch { place: format!("Pod {}", node.name), what }));
        }
    };
    let mut containers = Vec::new();
    collect(pod.get("spec").unwrap_or(&Value::Null), &mut containers);
    let judged = containers.iter().filter_map(|Container { name, image }| {
        let concerned = wanted.iter().filter(|one| concerns(image, one));
        concerned.map(|one| judge_container(pod, node, name, one)).reduce(Result::or)
    });
    Some(judged.collect())
}

/// Whether a pod runs wanted images in all containers of their repositories, and at least one.
pub(crate) fn runs_wanted(node: &TreeNode, pod: &Value, wanted: &[WantedImage]) -> bool {
    let wanted: Vec<&WantedImage> = wanted.iter().collect();
    let judged = judge_pod(node, &LiveObject::Is(pod.clone()), &wanted, true);
    matches!(judged, Some(Ok(containers)) if !containers.is_empty())
}

/// Whether a pod was made by a Job, so that ending is its purpose.
pub(crate) fn is_of_a_job(node: &TreeNode) -> bool {
    node.parent_refs.iter().any(|owner| owner.kind == "Job")
}

/// Judges what a node reports about a container that is to run this image.
fn judge_container(
    pod: &Value,
    node: &TreeNode,
    name: &str,
    wanted: &WantedImage,
) -> Result<ContainerEvidence, Mismatch> {
    let place = format!("Pod {}, container {name}", node.name);
    let image_id = match container_state(pod, name) {
        Reported::Image(image_id) => image_id,
        Reported::Nothing(what) => return Err(Mismatch { place, what }),
        Reported::NoImage => return Err(Mismatch { place, what: Difference::NoImage }),
    };
    match image_digest(&image_id).and_then(|digest| wanted.matches(&digest)) {
        Some(matched) => {
            let (pod, container) = (node.name.clone(), name.to_owned());
            Ok(ContainerEvidence { pod, container, image_id, matched })
        }
        None => {
            let wanted = Box::new(wanted.clone());
            Err(Mismatch { place, what: Difference::OtherImage { image_id, wanted } })
        }
    }
}

/// Whether a pod counts: not one that is going away or has ended, unless ending is its purpose.
fn counts(pod: &Value, is_job: bool) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    pod.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null)
        && phase != "Failed"
        && (is_job || phase != "Succeeded")
}

/// What a node reports about a container.
enum Reported {
    Nothing(Difference),
    NoImage,
    Image(String),
}

fn container_state(pod: &Value, name: &str) -> Reported {
    let status = ["containerStatuses", "initContainerStatuses"]
        .iter()
        .filter_map(|list| pod.pointer(&format!("/status/{list}"))?.as_array())
        .flatten()
        .find(|status| status.get("name").and_then(Value::as_str) == Some(name));
    let Some(status) = status else {
        return Reported::Nothing(Difference::Unreported);
    };
    // Between two crashes, before it waits to be started again.
    if let Some(ended) = status.pointer("/state/terminated").filter(|_| is_to_run(pod, name)) {
        let reason = ended.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = number(ended, "/exitCode").unwrap_or_default();
        return Reported::Nothing(Difference::Ended { reason, code });
    }
    if let Some(waiting) = status.pointer("/state/waiting") {
        let text =
            |field: &str| waiting.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        // A container that crashed reports the image that it ran, but it does not run.
        let (reason, message) = (text("reason"), text("message"));
        return Reported::Nothing(Difference::Waiting { reason, message: message.into() });
    }
    match status.get("imageID").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) => Reported::Image(id.to_owned()),
        None => Reported::NoImage,
    }
}

/// Whether a container is to run for as long as its pod: not one that only comes before the others, unless it is a sidecar, and
/// none of a pod that is to come to an end.
fn is_to_run(pod: &Value, name: &str) -> bool {
    let of_name = |list: &str| {
        let all = pod.pointer(list).and_then(Value::as_array);
        all.and_then(|all| all.iter().find(|one| one["name"] == name))
    };
    let is_main = of_name("/spec/containers").is_some();
    let is_sidecar =
        of_name("/spec/initContainers").is_some_and(|one| one["restartPolicy"] == "Always");
    let policy = pod.pointer("/spec/restartPolicy").and_then(Value::as_str);
    (is_main || is_sidecar) && policy.is_none_or(|policy| policy == "Always")
}

/// The digest in what a node reports: `docker-pullable://repository@sha256:…`, `repository@sha256:…`, `sha256:…`,
/// `docker://sha256:…`.
pub(crate) fn image_digest(image_id: &str) -> Option<Digest> {
    let tail = image_id.rsplit(['@', '/']).next()?;
    tail.parse().ok()
}

#[cfg(test)]
mod tests;
