//! Who may depend on whom, read from `cargo metadata`.
//!
//! The table is the design; a new crate or a new arrow is a decision, written here and in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Finding;
use needs::cargo;

/// The arrows of the workspace: a package and all that it may name in its manifest.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("verbatim-oci", &[]),
    ("verbatim-ci", &[]),
    ("verbatim-text", &[]),
    ("verbatim-console", &["verbatim-text"]),
    ("verbatim-credentials", &[]),
    ("verbatim-http", &[]),
    ("verbatim-record", &["verbatim-oci", "verbatim-text"]),
    ("verbatim-policy", &["verbatim-oci", "verbatim-record", "verbatim-text"]),
    (
        "verbatim-registry",
        &[
            "verbatim-console",
            "verbatim-credentials",
            "verbatim-http",
            "verbatim-oci",
            "verbatim-text",
        ],
    ),
    (
        "verbatim-argocd",
        &[
            "verbatim-console",
            "verbatim-credentials",
            "verbatim-http",
            "verbatim-oci",
            "verbatim-text",
        ],
    ),
    (
        "verbatim-image",
        &[
            "verbatim-console",
            "verbatim-credentials",
            "verbatim-http",
            "verbatim-oci",
            "verbatim-registry",
        ],
    ),
    (
        "verbatim",
        &[
            "verbatim-argocd",
            "verbatim-ci",
            "verbatim-console",
            "verbatim-credentials",
            "verbatim-http",
            "verbatim-image",
            "verbatim-oci",
            "verbatim-policy",
            "verbatim-record",
            "verbatim-registry",
            "verbatim-text",
        ],
    ),
    // Servers for tests share no code with the clients that they test, so that they cannot share a mistake.
    ("needs", &[]),
    ("loopback", &[]),
    ("fault-proxy", &["loopback"]),
    ("identity-provider", &["loopback"]),
    ("node-agent", &[]),
    ("simulated-argocd", &["loopback", "needs"]),
    ("test-registry", &["loopback"]),
    ("test-sigstore", &[]),
];

/// Tasks and end-to-end tests may know all of the above, and of each other these. Nothing else may know them.
const TASKS: &[(&str, &[&str])] = &[
    ("rig", &[]),
    ("demo", &["rig"]),
    ("benches", &["demo", "rig"]),
    ("e2e", &["rig"]),
    ("fuzz", &[]),
    ("xtask", &["benches", "demo", "fuzz", "rig"]),
];

/// Only for tests: any package may name them under `[dev-dependencies]`, and nowhere else.
const FOR_TESTS: &[&str] = &[
    "fault-proxy",
    "identity-provider",
    "loopback",
    "needs",
    "node-agent",
    "simulated-argocd",
    "test-registry",
    "test-sigstore",
];

/// Crates that decide and describe: given the same values they return the same values.
pub(super) const PURE: &[&str] =
    &["verbatim-oci", "verbatim-ci", "verbatim-record", "verbatim-policy"];

/// What a pure crate must not reach, however indirectly.
const IMPURE: &[&str] = &["async-std", "bollard", "clap", "hyper", "reqwest", "smol", "tokio"];

/// The part of `cargo metadata` that the rules look at.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    description: Option<String>,
    license: Option<String>,
    /// Empty for `publish = false`, absent for a package that may be published anywhere.
    publish: Option<Vec<String>>,
    #[serde(default)]
    manifest_path: std::path::PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for a normal dependency.
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

impl Metadata {
    pub(super) fn read(root: &Path) -> Result<Metadata> {
        let output = cargo()
            .args(["metadata", "--format-version=1"])
            .current_dir(root)
            .output()
            .context("failed to run cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")
    }

    /// The packages of the workspace: name, and folder from `root`.
    pub(super) fn folders(&self, root: &Path) -> Vec<(String, String)> {
        let folder = |package: &Package| {
            let folder = package.manifest_path.parent().unwrap_or(root);
            folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned()
        };
        self.members().map(|package| (package.name.clone(), folder(package))).collect()
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Every package that `id` is linked with, tests and build scripts of others aside.
    fn reached_from(&self, id: &str) -> BTreeSet<&str> {
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut reached = BTreeSet::new();
        let mut todo = vec![id];
        while let Some(node) = todo.pop().and_then(|id| nodes.get(id)) {
            for edge in &node.deps {
                let linked = edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
                if linked && reached.insert(edge.pkg.as_str()) {
                    todo.push(&edge.pkg);
                }
            }
        }
        reached
    }
}

/// Checks the arrows, the purity of the dependency trees, and what every manifest must say.
pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let names: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in metadata.members() {
        let mut report = |message: String| findings.push(Finding::new(&package.name, 0, message));
        if package.description.as_deref().unwrap_or_default().is_empty() {
            report("the manifest has no description".to_owned());
        }
        if package.license.is_none() {
            report("the manifest has no license".to_owned());
        }
        if package.publish.as_deref() != Some(&[]) {
            report("the manifest does not say publish = false".to_owned());
        }
        let allowed = row(MAY_DEPEND_ON, &package.name);
        if allowed.is_none() && row(TASKS, &package.name).is_none() {
            report(
                "has no row in the table of arrows; a new crate is a design decision".to_owned(),
            );
            continue;
        }
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| names.contains(dependency.name.as_str()))
        {
            if let Some(message) = judge(&package.name, allowed, dependency) {
                report(message);
            }
        }
        if PURE.contains(&package.name.as_str()) {
            for id in metadata.reached_from(&package.id) {
                let reached = metadata.packages.iter().find(|other| other.id == id);
                if let Some(other) = reached.filter(|other| IMPURE.contains(&other.name.as_str())) {
                    report(format!("is pure, but reaches {}", other.name));
                }
            }
        }
    }
    findings
}

/// What a table says of a package.
fn row(table: &'static [(&str, &[&str])], package: &str) -> Option<&'static [&'static str]> {
    table.iter().find(|(name, _)| *name == package).map(|(_, allowed)| *allowed)
}

/// Why a package may not have this dependency, if so. `allowed` is None for tasks.
fn judge(package: &str, allowed: Option<&[&str]>, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if row(TASKS, name).is_some() {
        if row(TASKS, package).is_some_and(|tasks| tasks.contains(&name)) {
            return None;
        }
        return Some(format!(
            "must not depend on {name}: nothing may know a task or an end-to-end test"
        ));
    }
    let allowed = allowed?;
    if FOR_TESTS.contains(&name) && !FOR_TESTS.contains(&package) {
        let message = format!("may depend on {name} under [dev-dependencies] only");
        return (dependency.kind.as_deref() != Some("dev")).then_some(message);
    }
    (name != package && !allowed.contains(&name)).then(|| format!("must not depend on {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(packages: &str, nodes: &str, members: &str) -> Metadata {
        let text = format!(
            r#"{{"packages":[{packages}],"workspace_members":[{members}],"resolve":{{"nodes":[{nodes}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> String {
        let dependencies: Vec<_> = dependencies
            .iter()
            .map(|(name, kind)| serde_json::json!({ "name": name, "kind": kind }).to_string())
            .collect();
        format!(
            r#"{{"id":"{name}","name":"{name}","description":"d","license":"MIT","publish":[],"dependencies":[{}]}}"#,
            dependencies.join(",")
        )
    }

    #[track_caller]
    fn check_arrow(from: &str, to: &str, kind: Option<&str>, want: &[&str]) {
        let packages = [package(from, &[(to, kind)]), package(to, &[])].join(",");
        let found = check(&metadata(&packages, "", &format!(r#""{from}","{to}""#)));
        let messages: Vec<_> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages, want);
    }

    #[test]
    fn arrows_are_those_of_the_table() {
        check_arrow("verbatim", "verbatim-argocd", None, &[]);
        check_arrow("verbatim-record", "verbatim-oci", None, &[]);
        check_arrow(
            "verbatim-oci",
            "verbatim-record",
            None,
            &["must not depend on verbatim-record"],
        );
        check_arrow(
            "verbatim-argocd",
            "verbatim-registry",
            None,
            &["must not depend on verbatim-registry"],
        );
        check_arrow("verbatim-argocd", "test-registry", Some("dev"), &[]);
        check_arrow(
            "verbatim-argocd",
            "test-registry",
            None,
            &["may depend on test-registry under [dev-dependencies] only"],
        );
        check_arrow("xtask", "test-registry", None, &[]);
        check_arrow("xtask", "rig", None, &[]);
        check_arrow(
            "rig",
            "xtask",
            None,
            &["must not depend on xtask: nothing may know a task or an end-to-end test"],
        );
        check_arrow(
            "verbatim",
            "xtask",
            Some("dev"),
            &["must not depend on xtask: nothing may know a task or an end-to-end test"],
        );
        check_arrow(
            "verbatim-common",
            "verbatim-oci",
            None,
            &["has no row in the table of arrows; a new crate is a design decision"],
        );
    }

    #[test]
    fn a_pure_crate_reaches_nothing_impure_by_any_way() {
        let packages =
            [package("verbatim-policy", &[]), package("helper", &[]), package("tokio", &[])]
                .join(",");
        let nodes = |kind: &str| {
            format!(
                r#"{{"id":"verbatim-policy","deps":[{{"pkg":"helper","dep_kinds":[{{"kind":null}}]}}]}},
                   {{"id":"helper","deps":[{{"pkg":"tokio","dep_kinds":[{{"kind":{kind}}}]}}]}}"#
            )
        };
        let found = check(&metadata(&packages, &nodes("null"), r#""verbatim-policy""#));
        assert_eq!(found, [Finding::new("verbatim-policy", 0, "is pure, but reaches tokio")]);
        assert_eq!(check(&metadata(&packages, &nodes("\"dev\""), r#""verbatim-policy""#)), []);
    }

    #[test]
    fn a_manifest_says_what_and_under_which_licence() {
        let bare = r#"{"id":"xtask","name":"xtask","description":null,"license":null,"publish":null,"dependencies":[]}"#;
        let found = check(&metadata(bare, "", r#""xtask""#));
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn the_table_has_no_cycle_and_names_only_its_own_rows() {
        for (index, (name, allowed)) in MAY_DEPEND_ON.iter().enumerate() {
            for dependency in *allowed {
                let position = MAY_DEPEND_ON.iter().position(|(other, _)| other == dependency);
                assert!(
                    position.is_some_and(|position| position < index),
                    "{name} -> {dependency}"
                );
            }
        }
    }
}
