//! The objects of an application in the order in which they made each other. Pure.

use std::collections::BTreeSet;

use crate::model::{Resource, ResourceTree, SyncCode, TreeNode};

#[derive(Clone, Debug)]
pub(crate) struct TreeLine<'a> {
    /// `└─` and what stands before it.
    pub branch: String,
    pub node: &'a TreeNode,
    /// Whether it equals the sources; only of what is managed.
    pub sync: Option<SyncCode>,
}

/// The objects as a tree: what nobody in it has made first, each followed by what it made.
pub(crate) fn lines<'a>(nodes: &'a [TreeNode], managed: &[Resource]) -> Vec<TreeLine<'a>> {
    let known: BTreeSet<&str> = nodes.iter().map(|node| node.uid.as_str()).collect();
    let mut roots: Vec<&TreeNode> = nodes
        .iter()
        .filter(|node| !node.parent_refs.iter().any(|parent| known.contains(parent.uid.as_str())))
        .collect();
    sort(&mut roots);
    let mut lines = Vec::new();
    // An object may name several makers; it is shown once.
    let mut shown = BTreeSet::new();
    for root in roots {
        let resource = managed.iter().find(|resource| {
            (&resource.group, &resource.kind, &resource.namespace, &resource.name)
                == (&root.group, &root.kind, &root.namespace, &root.name)
        });
        lines.push(TreeLine {
            branch: String::new(),
            node: root,
            sync: resource.map(|resource| resource.status),
        });
        shown.insert(root.uid.as_str());
        below(nodes, root, "", &mut shown, &mut lines);
    }
    lines
}

fn below<'a>(
    nodes: &'a [TreeNode],
    parent: &TreeNode,
    indent: &str,
    shown: &mut BTreeSet<&'a str>,
    lines: &mut Vec<TreeLine<'a>>,
) {
    let mut children: Vec<&TreeNode> = nodes
        .iter()
        .filter(|node| node.parent_refs.iter().any(|reference| reference.uid == parent.uid))
        .filter(|node| !shown.contains(node.uid.as_str()))
        .collect();
    sort(&mut children);
    let last = children.len().saturating_sub(1);
    for (index, child) in children.into_iter().enumerate() {
        if !shown.insert(child.uid.as_str()) {
            continue;
        }
        let (branch, next) = if index == last { ("└─", "  ") } else { ("├─", "│ ") };
        lines.push(TreeLine { branch: format!("{indent}{branch}"), node: child, sync: None });
        below(nodes, child, &format!("{indent}{next}"), shown, lines);
    }
}

fn sort(nodes: &mut [&TreeNode]) {
    nodes.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
}

/// Objects that nobody manages, sorted.
pub(crate) fn orphaned(tree: &ResourceTree) -> Vec<&TreeNode> {
    let mut nodes: Vec<&TreeNode> = tree.orphaned.iter().collect();
    sort(&mut nodes);
    nodes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_follow_their_makers() {
        let node = |kind: &str, name: &str, parents: &[&str]| {
            let parents: Vec<_> = parents.iter().map(|uid| json!({ "uid": uid })).collect();
            json!({ "kind": kind, "name": name, "uid": name, "parentRefs": parents })
        };
        let tree: ResourceTree = serde_json::from_value(json!({ "nodes": [
            node("Pod", "p2", &["r1"]), node("Pod", "p1", &["r1"]), node("ReplicaSet", "r1", &["d"]),
            node("ReplicaSet", "r0", &["d"]), node("Deployment", "d", &[]), node("Service", "s", &["elsewhere"]),
            // Two objects that name each other must not send us in circles; a second maker shows nothing twice.
            node("Loop", "a", &["b"]), node("Loop", "b", &["a"]), node("Pod", "both", &["r0", "r1"]),
        ] }))
        .unwrap();
        let managed: Vec<Resource> = serde_json::from_value(
            json!([{ "kind": "Deployment", "name": "d", "status": "Synced" }]),
        )
        .unwrap();
        let got: Vec<String> = lines(&tree.nodes, &managed)
            .iter()
            .map(|line| format!("{}{} {:?}", line.branch, line.node.name, line.sync))
            .collect();
        assert_eq!(
            got,
            [
                "d Some(Synced)",
                "├─r0 None",
                "│ └─both None",
                "└─r1 None",
                "  ├─p1 None",
                "  └─p2 None",
                "s None"
            ]
        );
    }

    #[test]
    fn the_recorded_tree_hangs_together() {
        let recorded: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/tree.json")).unwrap();
        let tree: ResourceTree = serde_json::from_value(recorded["body"].clone()).unwrap();
        let lines = lines(&tree.nodes, &[]);
        assert_eq!(lines.len(), tree.nodes.len());
        assert!(lines.iter().any(|line| line.node.kind == "Pod" && line.branch.starts_with("  ")));
    }
}
