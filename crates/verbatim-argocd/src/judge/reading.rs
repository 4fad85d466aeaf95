//! Finds in an application's tree what must be read to prove its workloads. Pure; judging is [`crate::judge::prove`]'s.

use std::collections::BTreeSet;

use crate::api::request::ObjectRef;
use crate::judge::evidence::WantedImage;
use crate::judge::rendered::{WantedWorkload, concerns};
use crate::model::{ResourceTree, TreeNode};

/// A workload with the objects to read for its proof.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadReading<'a> {
    pub ours: &'a WantedWorkload,
    /// Its node, if the tree has one.
    pub node: Option<&'a TreeNode>,
    /// The newest ReplicaSet's number, if pods come through ReplicaSets.
    pub revision: Option<u64>,
    /// Pods that belong to its newest version.
    pub pods: Vec<&'a TreeNode>,
    /// What makes the pods of an object whose kind makes none itself, such as an operator's.
    pub makers: Vec<PodMaker<'a>>,
}

/// A workload that an object of another kind has made.
#[derive(Clone, Debug)]
pub(crate) struct PodMaker<'a> {
    pub node: &'a TreeNode,
    /// The newest ReplicaSet's number, if pods come through ReplicaSets.
    pub revision: Option<u64>,
}

impl WorkloadReading<'_> {
    pub(crate) fn objects(&self) -> Vec<ObjectRef> {
        // What was made from it at an earlier time may still run, as it was then.
        if only_a_template(&self.ours.object).is_some() {
            return self.node.into_iter().map(reference).collect();
        }
        let makers = self.makers.iter().map(|maker| maker.node);
        self.node
            .into_iter()
            .chain(makers)
            .chain(self.pods.iter().copied())
            .map(reference)
            .collect()
    }
}

/// The address of a node of the tree.
pub(crate) fn reference(node: &TreeNode) -> ObjectRef {
    ObjectRef {
        group: node.group.clone(),
        version: node.version.clone(),
        kind: node.kind.clone(),
        namespace: node.namespace.clone(),
        name: node.name.clone(),
    }
}

/// Finds what to read for a workload: Deployment → newest ReplicaSet → pods, or the pods directly. Of an object of an
/// unknown kind: whatever it made, and what that made, down to the pods.
pub(crate) fn reading<'a>(
    ours: &'a WantedWorkload,
    tree: &'a ResourceTree,
    namespace: &str,
) -> WorkloadReading<'a> {
    let object = &ours.object;
    let wanted_namespace = if object.namespace.is_empty() { namespace } else { &object.namespace };
    let node = tree.nodes.iter().find(|node| {
        node.group == object.group
            && node.kind == object.kind
            && node.name == object.name
            && (node.namespace == wanted_namespace || node.namespace.is_empty())
    });
    let mut reading =
        WorkloadReading { ours, node, revision: None, pods: Vec::new(), makers: Vec::new() };
    let Some(node) = node else { return reading };
    if node.kind == "Pod" {
        reading.pods.push(node);
    } else if makes_pods(&node.group, &node.kind) {
        (reading.revision, reading.pods) = pods_of(tree, node);
    } else {
        let mut seen = BTreeSet::from([node.uid.as_str()]);
        let mut next = vec![node];
        while let Some(maker) = next.pop() {
            for child in newest(children(tree, maker).collect()) {
                // Nobody can make a circle of owners but by hand, and then it must end, too.
                if !seen.insert(&child.uid) {
                    continue;
                }
                if child.kind == "Pod" {
                    reading.pods.push(child);
                } else if makes_pods(&child.group, &child.kind) {
                    let (revision, pods) = pods_of(tree, child);
                    reading.makers.push(PodMaker { node: child, revision });
                    reading.pods.extend(pods);
                } else {
                    next.push(child);
                }
            }
        }
    }
    reading
}

/// Whether objects of this kind make pods themselves, or through ReplicaSets, all from one template. A Job of Volcano, for
/// example, has a template for each of its tasks.
pub(crate) fn makes_pods(group: &str, kind: &str) -> bool {
    match group {
        "apps" | "extensions" => {
            ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"].contains(&kind)
        }
        "apps.kruise.io" => ["StatefulSet", "DaemonSet"].contains(&kind),
        "argoproj.io" => kind == "Rollout",
        "batch" => kind == "Job",
        "" => kind == "ReplicationController",
        _ => false,
    }
}

/// The pods of a workload's newest version, and the number of that version.
fn pods_of<'a>(tree: &'a ResourceTree, workload: &'a TreeNode) -> (Option<u64>, Vec<&'a TreeNode>) {
    let sets = children(tree, workload).filter(|child| child.kind == "ReplicaSet");
    let newest = sets.max_by_key(|set| set.revision());
    let pods = children(tree, newest.unwrap_or(workload)).filter(|child| child.kind == "Pod");
    (newest.and_then(TreeNode::revision), pods.collect())
}

/// Without the earlier ones of Knative's Revisions, which stay when the next one is there:
/// <https://knative.dev/docs/serving/revisions/>.
fn newest(mut nodes: Vec<&TreeNode>) -> Vec<&TreeNode> {
    let is_revision =
        |node: &TreeNode| node.group == "serving.knative.dev" && node.kind == "Revision";
    let last = nodes
        .iter()
        .filter(|node| is_revision(node))
        .map(|node| (node.created_at, &node.uid))
        .max();
    let last = last.map(|(_, uid)| uid.clone());
    nodes.retain(|node| !is_revision(node) || Some(&node.uid) == last.as_ref());
    nodes
}

fn children<'a>(
    tree: &'a ResourceTree,
    parent: &'a TreeNode,
) -> impl Iterator<Item = &'a TreeNode> {
    tree.nodes.iter().filter(|node| node.parent_refs.iter().any(|owner| owner.uid == parent.uid))
}

/// The pods with an image of a wanted repository that no workload of the manifests has made: those of an operator, or of a
/// custom resource.
pub(crate) fn strays<'a>(
    tree: &'a ResourceTree,
    readings: &[WorkloadReading<'_>],
    wanted: &[WantedImage],
) -> Vec<&'a TreeNode> {
    let judged = |node: &TreeNode| {
        readings.iter().filter_map(|reading| reading.node).any(|known| known.uid == node.uid)
    };
    let concerned = |node: &&TreeNode| {
        let ours = |image: &String| wanted.iter().any(|wanted| concerns(image, wanted));
        node.kind == "Pod" && node.images.iter().any(ours)
    };
    tree.nodes
        .iter()
        .filter(concerned)
        .filter(|node| !with_makers(tree, node).any(judged))
        .collect()
}

/// A node, its maker, the maker of that one, and so on: the first of each.
pub(crate) fn with_makers<'a>(
    tree: &'a ResourceTree,
    node: &'a TreeNode,
) -> impl Iterator<Item = &'a TreeNode> {
    let maker = |node: &&'a TreeNode| {
        let is_maker = |other: &&TreeNode| node.parent_refs.iter().any(|of| of.uid == other.uid);
        tree.nodes.iter().find(is_maker)
    };
    // Nobody can make a circle of owners but by hand, and then it must end, too.
    std::iter::successors(Some(node), maker).take(tree.nodes.len())
}

/// Why a kind holds a template and makes no pods that last.
pub(crate) fn only_a_template(object: &ObjectRef) -> Option<&'static str> {
    match (object.group.as_str(), object.kind.as_str()) {
        ("batch", "CronJob") => Some("a CronJob runs pods only at its times"),
        ("argoproj.io", "CronWorkflow") => Some("a CronWorkflow runs pods only at its times"),
        ("apps.kruise.io", "AdvancedCronJob") => {
            Some("an AdvancedCronJob runs pods only at its times")
        }
        ("", "PodTemplate")
        | (
            "argoproj.io",
            "WorkflowTemplate"
            | "ClusterWorkflowTemplate"
            | "AnalysisTemplate"
            | "ClusterAnalysisTemplate",
        ) => Some("others make pods from it"),
        ("keda.sh", "ScaledJob") => Some("a ScaledJob runs pods only on events"),
        _ => None,
    }
}
