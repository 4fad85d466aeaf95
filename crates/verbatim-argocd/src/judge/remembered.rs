//! Pods that were proven and have not changed since, so that a run that waits does not read them again. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::judge::evidence::WantedImage;
use crate::judge::prove::runs_wanted;
use crate::model::TreeNode;

/// What was read of pods that were proven, by their uid.
#[derive(Debug, Default)]
pub(crate) struct ProvenPods {
    pods: BTreeMap<String, (String, Value)>,
}

impl ProvenPods {
    /// What was read of this pod, if it was proven then and the tree says that it is the same still. A container that is
    /// started anew changes the pod.
    pub(crate) fn get(&self, node: &TreeNode) -> Option<&Value> {
        let (version, pod) = self.pods.get(&node.uid)?;
        (*version == node.resource_version).then_some(pod)
    }

    /// Remembers a pod, if it is proven.
    pub(crate) fn note(&mut self, node: &TreeNode, pod: &Value, wanted: &[WantedImage]) {
        if !node.resource_version.is_empty() && runs_wanted(node, pod, wanted) {
            let known = (node.resource_version.clone(), pod.clone());
            self.pods.insert(node.uid.clone(), known);
        }
    }

    /// Forgets all, so that everything is read again.
    pub(crate) fn forget(&mut self) {
        self.pods.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use verbatim_oci::Digest;

    use super::*;

    #[test]
    fn only_a_proven_pod_that_has_not_changed_is_remembered() {
        let digest = Digest::of(b"1");
        let web = WantedImage::new(Some("docker.io/example/web".parse().unwrap()), digest);
        let node = |version: &str| -> TreeNode {
            let node =
                json!({ "kind": "Pod", "name": "a", "uid": "u", "resourceVersion": version });
            serde_json::from_value(node).unwrap()
        };
        let pod = |image_id: &str, state: &str| {
            json!({
                "spec": { "containers": [{ "name": "web", "image": "example/web:1" }] },
                "status": { "containerStatuses": [
                    { "name": "web", "imageID": image_id, "state": { state: {} } },
                ] },
            })
        };
        let good = pod(&format!("example/web@{digest}"), "running");
        let remembers = |seen: &str, pod: &Value, asked: &str| {
            let mut pods = ProvenPods::default();
            pods.note(&node(seen), pod, std::slice::from_ref(&web));
            let found = pods.get(&node(asked)).is_some();
            pods.forget();
            assert!(pods.get(&node(asked)).is_none());
            found
        };
        assert!(remembers("7", &good, "7"));
        assert!(!remembers("7", &good, "8"));
        // A tree that tells no versions.
        assert!(!remembers("", &good, ""));
        assert!(!remembers("7", &pod("example/web@sha256:old", "running"), "7"));
        assert!(!remembers("7", &pod(&format!("example/web@{digest}"), "waiting"), "7"));
        let mut other = good;
        other["spec"]["containers"][0]["image"] = json!("envoy:1");
        assert!(!remembers("7", &other, "7"));
    }
}
