//! The shapes, as data: what the application is, what is written, and how that must end.

use serde_json::{Value, json};

use super::blocked;
use super::scene::Names;
use super::stand_in::StandIn;

pub(crate) struct Shape {
    /// What it is, in a word that can be part of a name.
    pub(crate) name: &'static str,
    pub(crate) maker: Maker,
    /// The part of `spec` that makes it what it is: source or sources, policy.
    pub(crate) spec: fn(&Names) -> Value,
    /// The values, as options of `deploy`.
    pub(crate) values: fn(&Names) -> Vec<String>,
    pub(crate) end: End,
}

#[derive(Clone, Copy)]
pub(crate) enum Maker {
    Hand,
    /// An ApplicationSet with these generators and these fields more in its spec.
    Set(fn(&Names) -> Value),
    /// A parent application that heals itself, with these fields more in its spec.
    Parent(fn() -> Value),
    /// A parent application that heals itself, and that only a label of the child names, as Argo CD 2.x writes it and later
    /// ones with `resourceTrackingMethod: label`. The setting is one for all applications of the rig, so the test writes the
    /// label in the place of the annotation, and the parent leaves both alone.
    Labelled,
}

pub(crate) enum End {
    /// Proven, every workload at this level: `pods`, or `template` where no pod runs.
    Proven(&'static [(&'static str, &'static str)]),
    /// Proven, until the CronJob `nightly` has another image, of which Argo CD is told to say nothing: then not.
    ImageKept,
    /// Degraded, because of a Deployment that never worked; and once that is known to be so, proven.
    BrokenBefore,
    /// Refused with this status before anything is written, with this in its message.
    Refused(i32, &'static str),
    /// Refused with 1 after the write, which is taken back, with this in its message.
    TakenBack(&'static str),
    /// Degraded with 1, with this in its message.
    Degraded(&'static str),
    /// Something keeps the pods from running: with this much time it ends with this status, and this is in its message.
    Blocked(&'static str, i32, &'static [&'static str]),
    /// Held before anything of the release runs: with `--on-pause fail` or `accept` it ends at once with 1 and this in its message,
    /// and `wait` does not end well.
    Held(&'static str),
    /// A canary pauses, and with this `--on-pause` the deployment ends with this status.
    Paused(&'static str, i32),
    /// A canary pauses, the deployment waits, and the canary stays paused until the deadline.
    StaysPaused,
    /// A canary pauses, the deployment waits, the canary goes on, and so many pods are proven.
    GoesOn(u64),
    /// Proven at these levels once a controller has followed. If it does not, the image of before still runs, and the
    /// deployment ends with this status.
    Followed { by: StandIn, behind: i32, levels: &'static [(&'static str, &'static str)] },
    /// Proven; the ApplicationSet removes the claim, which is said.
    ClaimWiped,
    /// Proven, and warned of the ApplicationSet, whose next change of its own takes the override away.
    LostLater,
}

pub(crate) fn shapes() -> Vec<Shape> {
    usual().into_iter().chain(blocked::shapes()).collect()
}

fn usual() -> Vec<Shape> {
    vec![
        Shape {
            name: "helm-digest",
            maker: Maker::Hand,
            spec: |at| {
                source(at, "chart", &[("image.repository", &at.repository), ("image.tag", "")])
            },
            values: |at| helm(&[("image.digest", &at.digest)]),
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "helm-tag-and-digest",
            maker: Maker::Hand,
            spec: chart_app,
            values: tag_and_digest,
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "helm-reference",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/reference", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "helm-sha",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/sha", &[("image.repository", &at.repository)]),
            values: |at| helm(&[("image.tag", "1.0"), ("image.sha", hex(at))]),
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "helm-sha-twice",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/sha", &[("image.repository", &at.repository)]),
            values: |at| helm(&[("image.tag", "1.0"), ("image.sha", &at.digest)]),
            end: End::TakenBack("in verbatim.yaml `${hex}` in the place of `${digest}`"),
        },
        Shape {
            name: "helm-label-of-tag",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/sha", &[("image.repository", &at.repository)]),
            values: tag_and_digest,
            end: End::TakenBack("app.kubernetes.io/version of Deployment"),
        },
        Shape {
            name: "helm-dependency",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/umbrella", &[]),
            values: |at| {
                let mut values = helm(&[
                    ("shop.image.repository", &at.repository),
                    ("shop.image.tag", &format!("1.0@{}", at.digest)),
                    (r"shop.annotations.example\.com/by", "verbatim"),
                ]);
                // Whoever may ask which parameters the chart has is refused no more than others.
                values.extend(["--auth-token".to_owned(), at.admin.clone()]);
                values
            },
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "deployment-paused",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/held", &[("image.repository", &at.repository)]),
            values: |at| {
                let pause = ["--on-pause".to_owned(), "accept".to_owned()];
                tag_and_digest(at).into_iter().chain(pause).collect()
            },
            end: End::Held("`spec.paused: true` holds it"),
        },
        Shape {
            name: "helm-split",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/split", &[]),
            values: |at| {
                helm(&[
                    ("image.registry", &at.registry),
                    ("image.username", "shapes"),
                    ("image.repository", "team"),
                    ("image.name", "web"),
                    ("image.tag", &format!("1.0@{}", at.digest)),
                ])
            },
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "kustomize-images",
            maker: Maker::Hand,
            spec: |at| source(at, "kustomize", &[]),
            values: kustomize,
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "kustomize-no-images",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/kustomize-bare", &[]),
            values: kustomize,
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "several-sources",
            maker: Maker::Hand,
            spec: chart_with_values,
            values: tag_and_digest,
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "two-sources-one-image",
            maker: Maker::Hand,
            spec: two_charts,
            values: |at| {
                let tag = format!("2:image.tag=1.0@{}", at.digest);
                let sha = format!("1:image.sha={}", hex(at));
                let values = ["1:image.tag=1.0", &sha, &tag];
                values.map(|it| ["--helm-set-in".to_owned(), it.to_owned()]).concat()
            },
            end: End::Proven(&[("Deployment", "pods"), ("Deployment", "pods")]),
        },
        Shape {
            name: "two-sources-unnamed",
            maker: Maker::Hand,
            spec: two_charts,
            values: tag_and_digest,
            end: End::Refused(2, "these take them: 1 Helm"),
        },
        Shape {
            name: "helm-and-kustomize",
            maker: Maker::Hand,
            spec: |at| {
                let mut folder = source(at, "kustomize", &[]);
                let sources = [chart_app(at)["source"].take(), folder["source"].take()];
                json!({ "sources": sources })
            },
            values: |at| [tag_and_digest(at), kustomize(at)].concat(),
            end: End::Proven(&[("Deployment", "pods"), ("Deployment", "pods")]),
        },
        Shape {
            name: "helm-repository",
            maker: Maker::Hand,
            spec: |at| chart(&at.charts, at),
            values: tag_and_digest,
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "oci-chart",
            maker: Maker::Hand,
            spec: |at| chart(&at.oci_charts, at),
            values: tag_and_digest,
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "plain-manifests",
            maker: Maker::Hand,
            spec: |at| source(at, "plain", &[]),
            values: |at| helm(&[("image.tag", &at.digest)]),
            end: End::Refused(2, "plain manifests"),
        },
        Shape {
            name: "shadowed",
            maker: Maker::Hand,
            spec: |at| source(at, "shadowed", &[("image.repository", &at.repository)]),
            values: tag_and_digest,
            end: End::TakenBack(".argocd-source"),
        },
        Shape {
            name: "shadowed-by-name",
            maker: Maker::Hand,
            spec: |at| source(at, "shadowed-by-name", &[("image.repository", &at.repository)]),
            values: tag_and_digest,
            end: End::TakenBack(".argocd-source"),
        },
        Shape {
            name: "auto-sync",
            maker: Maker::Hand,
            spec: |at| {
                let mut spec = source(at, "chart", &[("image.repository", &at.repository)]);
                spec["syncPolicy"] = json!({ "automated": { "prune": true, "selfHeal": true } });
                spec
            },
            values: tag_and_digest,
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "workloads",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/workloads", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Proven(&[
                ("CronJob", "template"),
                ("DaemonSet", "pods"),
                ("Deployment", "template"),
                ("StatefulSet", "pods"),
            ]),
        },
        Shape {
            name: "ignored-image",
            maker: Maker::Hand,
            spec: |at| {
                let mut spec = source(at, "shapes/workloads", &[]);
                let image = ".spec.jobTemplate.spec.template.spec.containers[].image";
                spec["ignoreDifferences"] =
                    json!([{ "group": "batch", "kind": "CronJob", "jqPathExpressions": [image] }]);
                spec["syncPolicy"] = json!({ "syncOptions": ["RespectIgnoreDifferences=true"] });
                spec
            },
            values: |at| helm(&[("image", &at.image)]),
            end: End::ImageKept,
        },
        Shape {
            name: "hooks",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/hooks", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "failing-hook",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/hooks", &[("fault", "crash")]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Degraded("presync"),
        },
        Shape {
            name: "hook-image",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/hook-image", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Proven(&[("Job", "operation")]),
        },
        Shape {
            name: "hook-image-auto-sync",
            maker: Maker::Hand,
            spec: |at| {
                // It syncs itself from the start, so its hook needs an image that is there.
                let first = format!("{}:1.0", at.repository);
                let mut spec = source(at, "shapes/hook-image", &[("image", &first)]);
                spec["syncPolicy"] = json!({ "automated": { "prune": true, "selfHeal": true } });
                spec
            },
            values: |at| helm(&[("image", &at.image)]),
            end: End::Proven(&[("Job", "operation")]),
        },
        Shape {
            name: "hook-image-kept",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/hook-image", &[("policy", "BeforeHookCreation")]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Proven(&[("Job", "pods")]),
        },
        Shape {
            name: "broken-before",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/broken", &[]),
            values: impatient,
            end: End::BrokenBefore,
        },
        Shape {
            name: "canary-accepted",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/rollout", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Paused("accept", 0),
        },
        Shape {
            name: "canary-failed",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/rollout", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Paused("fail", 1),
        },
        Shape {
            name: "canary-waited-for",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/rollout", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::GoesOn(3),
        },
        Shape {
            name: "canary-never-finished",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/rollout", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::StaysPaused,
        },
        Shape {
            name: "workload-ref",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/workload-ref", &[]),
            values: |at| helm(&[("image", &at.image)]),
            // Argo CD says Healthy of what the controller of Argo Rollouts has not looked at yet.
            end: End::Followed {
                by: StandIn::WorkloadRef,
                behind: 1,
                levels: &[("Deployment", "template"), ("Rollout", "pods")],
            },
        },
        Shape {
            name: "stray-pod",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/operator", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Followed {
                by: StandIn::Pod,
                behind: 4,
                levels: &[("Deployment", "pods"), ("Pod", "pods")],
            },
        },
        Shape {
            name: "two-owners-deep",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/custom", &[]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Followed { by: StandIn::Chain, behind: 4, levels: &[("Site", "pods")] },
        },
        Shape {
            name: "hydrator",
            maker: Maker::Hand,
            spec: |at| {
                json!({ "sourceHydrator": {
                    "drySource": { "repoURL": at.git, "path": "chart", "targetRevision": "main" },
                    "syncSource": { "targetBranch": "hydrated", "path": "chart" },
                }})
            },
            values: |at| helm(&[("image.tag", &at.digest)]),
            end: End::Refused(2, "hydrat"),
        },
        Shape {
            name: "set-list",
            maker: Maker::Set(|_| json!({ "generators": [{ "list": { "elements": [{}] } }] })),
            spec: chart_app,
            values: tag_and_digest,
            end: End::Refused(1, "ApplicationSet"),
        },
        Shape {
            name: "set-list-exempt",
            maker: Maker::Set(|_| {
                json!({
                    "generators": [{ "list": { "elements": [{}] } }],
                    "ignoreApplicationDifferences": [{ "jsonPointers": ["/spec/source/helm/parameters"] }],
                    "preservedFields": { "annotations": ["verbatim.dev/claim"] },
                })
            }),
            spec: chart_app,
            values: |at| trusting(tag_and_digest(at)),
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "set-git",
            maker: Maker::Set(|at| json!({ "generators": [git_generator(at)] })),
            spec: chart_app,
            values: tag_and_digest,
            end: End::Refused(1, "ApplicationSet"),
        },
        Shape {
            name: "set-git-exempt",
            maker: Maker::Set(|at| {
                json!({
                    "generators": [git_generator(at)],
                    "ignoreApplicationDifferences": [{ "jsonPointers": ["/spec/source/helm/parameters"] }],
                    "preservedFields": { "annotations": ["verbatim.dev/claim"] },
                })
            }),
            spec: chart_app,
            values: |at| trusting(tag_and_digest(at)),
            end: End::Proven(&[("Deployment", "pods")]),
        },
        Shape {
            name: "set-sources",
            maker: Maker::Set(|_| json!({ "generators": [{ "list": { "elements": [{}] } }] })),
            spec: chart_with_values,
            values: seeing,
            end: End::Refused(1, "jqPathExpressions: ['.spec.sources[0].helm.parameters']"),
        },
        Shape {
            name: "set-sources-exempt",
            maker: Maker::Set(|_| {
                json!({
                    "generators": [{ "list": { "elements": [{}] } }],
                    "ignoreApplicationDifferences": [
                        { "jqPathExpressions": [".spec.sources[0].helm.parameters"] },
                    ],
                    "preservedFields": { "annotations": ["verbatim.dev/claim"] },
                })
            }),
            spec: chart_with_values,
            values: seeing,
            end: End::LostLater,
        },
        Shape {
            name: "set-without-preserved-fields",
            maker: Maker::Set(|_| {
                json!({
                    "generators": [{ "list": { "elements": [{}] } }],
                    "ignoreApplicationDifferences": [{ "jsonPointers": ["/spec/source/helm/parameters"] }],
                })
            }),
            spec: chart_app,
            values: seeing,
            end: End::ClaimWiped,
        },
        Shape {
            name: "app-of-apps-by-label",
            maker: Maker::Labelled,
            spec: chart_app,
            values: tag_and_digest,
            end: End::Refused(1, "-parent"),
        },
        Shape {
            name: "app-of-apps",
            maker: Maker::Parent(|| json!({})),
            spec: chart_app,
            values: tag_and_digest,
            end: End::Refused(1, "-parent"),
        },
        Shape {
            name: "app-of-apps-exempt",
            maker: Maker::Parent(|| {
                json!({
                    "ignoreDifferences": [{
                        "group": "argoproj.io", "kind": "Application",
                        "jsonPointers": ["/spec/source/helm/parameters"],
                    }],
                    "syncPolicy": { "syncOptions": ["RespectIgnoreDifferences=true"] },
                })
            }),
            spec: chart_app,
            values: tag_and_digest,
            end: End::Proven(&[("Deployment", "pods")]),
        },
    ]
}

/// Finds one folder, so one application.
fn git_generator(at: &Names) -> Value {
    json!({ "git": { "repoURL": at.git, "revision": "main", "directories": [{ "path": "chart" }] } })
}

/// One source in the repository of the scene, with Helm parameters if there are any.
pub(crate) fn source(at: &Names, path: &str, parameters: &[(&str, &str)]) -> Value {
    let mut source = json!({ "repoURL": at.git, "path": path, "targetRevision": "main" });
    if !parameters.is_empty() {
        let parameters: Vec<Value> =
            parameters.iter().map(|(name, value)| parameter(name, value)).collect();
        source["helm"] = json!({ "parameters": parameters });
    }
    json!({ "source": source })
}

/// The chart of the fixtures, from git.
fn chart_app(at: &Names) -> Value {
    source(at, "chart", &[("image.repository", &at.repository)])
}

/// Two charts that take the image in two ways.
fn two_charts(at: &Names) -> Value {
    let chart = |path: &str, name: &str| {
        let mut app = source(at, path, &[("image.repository", &at.repository)]);
        app["source"]["helm"]["releaseName"] = name.into();
        app["source"].take()
    };
    json!({ "sources": [chart("shapes/sha", "one"), chart("chart", "two")] })
}

/// The same, with values from another source.
fn chart_with_values(at: &Names) -> Value {
    json!({ "sources": [
        {
            "repoURL": at.git, "path": "chart", "targetRevision": "main",
            "helm": {
                "valueFiles": ["$values/shapes/values/values.yaml"],
                "parameters": [parameter("image.repository", &at.repository)],
            },
        },
        { "repoURL": at.git, "targetRevision": "main", "ref": "values" },
    ]})
}

/// The chart `web` of a repository of charts.
fn chart(repository: &str, at: &Names) -> Value {
    json!({ "source": {
        "repoURL": repository, "chart": "web", "targetRevision": "0.1.0",
        "helm": { "parameters": [parameter("image.repository", &at.repository)] },
    }})
}

fn parameter(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value, "forceString": true })
}

pub(crate) fn helm(values: &[(&str, &str)]) -> Vec<String> {
    values
        .iter()
        .flat_map(|(name, value)| ["--helm-set".to_owned(), format!("{name}={value}")])
        .collect()
}

/// The token of a pipeline may not see the set, so it has to be told that the set leaves the values alone.
fn trusting(mut options: Vec<String>) -> Vec<String> {
    options.push("--trust-owner".to_owned());
    options
}

/// Tag and digest, with a token that may see the ApplicationSet.
fn seeing(at: &Names) -> Vec<String> {
    let token = ["--auth-token".to_owned(), at.admin.clone()];
    tag_and_digest(at).into_iter().chain(token).collect()
}

pub(crate) fn tag_and_digest(at: &Names) -> Vec<String> {
    helm(&[("image.tag", &format!("1.0@{}", at.digest))])
}

/// An image, and little patience with what fails.
pub(crate) fn impatient(at: &Names) -> Vec<String> {
    let patience = ["--stuck-after".to_owned(), "5s".to_owned()];
    helm(&[("image", &at.image)]).into_iter().chain(patience).collect()
}

fn hex(at: &Names) -> &str {
    at.digest.trim_start_matches("sha256:")
}

fn kustomize(at: &Names) -> Vec<String> {
    vec!["--kustomize-image".to_owned(), format!("web={}", at.image)]
}
