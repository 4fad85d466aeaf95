//! Finds in an application's tree what may meet an obstacle, so that only that is read. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::judge::obstacle::is_never_started;
use crate::judge::prove::is_of_a_job;
use crate::judge::reading::{makes_pods, only_a_template, reference, with_makers};
use crate::model::{HealthStatus, ResourceTree, TreeNode};

/// An object of the tree that may meet an obstacle, or make none of its pods.
#[derive(Clone, Debug)]
pub(crate) struct Suspect<'a> {
    pub node: &'a TreeNode,
    pub suspicion: Suspicion,
    /// How many other pods of the same maker show the same.
    pub others: usize,
}

/// How an object looks in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suspicion {
    /// It is Degraded.
    Failing,
    /// A pod that no node has said anything about.
    Pending,
    /// A workload that has made no pod, and is not healthy.
    Podless,
    /// A pod whose containers are being made.
    Creating,
    /// A pod whose containers run, and that is not ready.
    NotReady,
}

impl Suspicion {
    /// How long an object may look like this before it is read. Some time is as usual; the image of a pod may be large, and
    /// until a process is ready may take minutes.
    pub(crate) fn patience(self) -> Option<Duration> {
        match self {
            Self::Failing => Some(Duration::ZERO),
            Self::Pending | Self::Podless => Some(Duration::from_secs(3)),
            Self::Creating => Some(Duration::from_secs(20)),
            Self::NotReady => None,
        }
    }
}

/// What may meet an obstacle, the most certain first. Pods of a version that is being replaced are none of it, and of pods
/// that are alike there is one.
pub(crate) fn suspects(tree: &ResourceTree) -> Vec<Suspect<'_>> {
    let mut alike: BTreeMap<(Suspicion, &str, &str), Suspect<'_>> = BTreeMap::new();
    for node in &tree.nodes {
        let Some(suspicion) = suspicion(tree, node) else { continue };
        let maker = match node.parent_refs.first() {
            Some(maker) if node.kind == "Pod" => maker.uid.as_str(),
            _ => node.uid.as_str(),
        };
        alike
            .entry((suspicion, maker, status_reason(node)))
            .and_modify(|one| one.others += 1)
            .or_insert(Suspect { node, suspicion, others: 0 });
    }
    alike.into_values().collect()
}

/// What Argo CD takes for the status of a pod: `populatePodInfo` in controller/cache/info.go of Argo CD 3.6.1.
fn status_reason(node: &TreeNode) -> &str {
    node.info.iter().find(|info| info.name == "Status Reason").map_or("", |info| &info.value)
}

/// Whether a pod is one attempt of a Job that may make another by itself. One that waits for an image or a Secret never ends.
pub(crate) fn is_attempt(pod: &TreeNode) -> bool {
    is_of_a_job(pod) && !is_never_started(status_reason(pod))
}

fn suspicion(tree: &ResourceTree, node: &TreeNode) -> Option<Suspicion> {
    let health = node.health.as_ref().map(|health| health.status);
    let is_well = matches!(health, Some(HealthStatus::Healthy | HealthStatus::Suspended));
    let is_pod = node.kind == "Pod";
    if is_well || !(is_pod || makes_pods(&node.group, &node.kind)) || !is_current(tree, node) {
        return None;
    }
    // A Deployment's trouble is that of its ReplicaSet, if it has one: that says more. A StatefulSet has ControllerRevisions.
    let leads_to_pods =
        |other: &TreeNode| other.kind == "Pod" || makes_pods(&other.group, &other.kind);
    let has_children =
        tree.nodes.iter().any(|other| is_made_by(other, node) && leads_to_pods(other));
    match health {
        Some(HealthStatus::Degraded) if is_pod || !has_children || node.kind == "ReplicaSet" => {
            Some(Suspicion::Failing)
        }
        _ if !is_pod => {
            let is_template = only_a_template(&reference(node)).is_some();
            (!has_children && !is_template && health.is_some()).then_some(Suspicion::Podless)
        }
        _ => Some(match status_reason(node) {
            "Pending" | "SchedulingGated" => Suspicion::Pending,
            "ContainerCreating" | "PodInitializing" => Suspicion::Creating,
            _ => Suspicion::NotReady,
        }),
    }
}

fn is_made_by(node: &TreeNode, maker: &TreeNode) -> bool {
    node.parent_refs.iter().any(|of| of.uid == maker.uid)
}

/// Whether an object belongs to the newest version of its workload: no ReplicaSet above it, or itself, has a newer one beside
/// it.
pub(crate) fn is_current(tree: &ResourceTree, node: &TreeNode) -> bool {
    with_makers(tree, node).filter(|one| one.kind == "ReplicaSet").all(|set| {
        let siblings = tree.nodes.iter().filter(|other| {
            other.kind == "ReplicaSet"
                && other
                    .parent_refs
                    .iter()
                    .any(|of| set.parent_refs.iter().any(|ours| ours.uid == of.uid))
        });
        siblings.filter_map(TreeNode::revision).max().is_none_or(|max| set.revision() == Some(max))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Objects as `KIND NAME OWNER HEALTH REASON`; a ReplicaSet's reason is its revision.
    fn tree(rows: &[&str]) -> ResourceTree {
        let node = |row: &&str| {
            let [kind, name, owner, health, reason] =
                row.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let info = match kind {
                "Pod" => json!([{ "name": "Status Reason", "value": reason }]),
                "ReplicaSet" => json!([{ "name": "Revision", "value": format!("Rev:{reason}") }]),
                _ => json!(null),
            };
            let health = if health == "-" { json!(null) } else { json!({ "status": health }) };
            let group = match kind {
                "Pod" => "",
                "Job" => "batch",
                "Certificate" => "cert-manager.io",
                "Ingress" => "networking.k8s.io",
                _ => "apps",
            };
            json!({
                "group": group, "kind": kind, "name": name, "uid": name, "parentRefs": [{ "uid": owner }],
                "info": info, "health": health,
            })
        };
        let nodes: Vec<_> = rows.iter().map(node).collect();
        serde_json::from_value(json!({ "nodes": nodes })).unwrap()
    }

    #[test]
    fn what_may_meet_an_obstacle_is_found() {
        let cases: [(&str, &[&str], &[&str]); 9] = [
            (
                "the pods of the newest version count, and alike ones once",
                &[
                    "Deployment web - Progressing -",
                    "ReplicaSet new web Progressing 2",
                    "ReplicaSet old web Healthy 1",
                    "Pod new-a new Degraded CrashLoopBackOff",
                    "Pod new-b new Degraded CrashLoopBackOff",
                    "Pod new-c new Progressing Pending",
                    "Pod new-d new Healthy Running",
                    "Pod old-a old Degraded CrashLoopBackOff",
                ],
                &["Failing new-a 1", "Pending new-c 0"],
            ),
            (
                "a set that is refused its pods",
                &["Deployment web - Progressing -", "ReplicaSet new web Degraded 1"],
                &["Failing new 0"],
            ),
            (
                "an old set that is refused its pods",
                &[
                    "Deployment web - Healthy -",
                    "ReplicaSet new web Healthy 2",
                    "ReplicaSet old web Degraded 1",
                ],
                &[],
            ),
            (
                "a late Deployment has a pod that says why",
                &[
                    "Deployment web - Degraded -",
                    "ReplicaSet new web Progressing 1",
                    "Pod new-a new Progressing Running",
                ],
                &["NotReady new-a 0"],
            ),
            (
                "no pods yet, and what remembers its version",
                &["StatefulSet db - Progressing -", "ControllerRevision db-1 db - -"],
                &["Podless db 0"],
            ),
            ("no pods, and none wanted", &["StatefulSet db - Healthy -"], &[]),
            (
                "a Job with a pod that has failed",
                &["Job migrate - Progressing -", "Pod migrate-a migrate Degraded Error"],
                &["Failing migrate-a 0"],
            ),
            (
                "creating",
                &["DaemonSet log - Progressing -", "Pod log-a log Progressing ContainerCreating"],
                &["Creating log-a 0"],
            ),
            ("other kinds", &["Ingress web - Progressing -", "Certificate web - Degraded -"], &[]),
        ];
        for (what, rows, want) in cases {
            let tree = tree(rows);
            let got: Vec<String> = suspects(&tree)
                .iter()
                .map(|one| format!("{:?} {} {}", one.suspicion, one.node.name, one.others))
                .collect();
            assert_eq!(got, want, "{what}");
        }
    }
}
