//! Shapes whose pods do not start: what keeps them from it must be named.

use super::table::{End, Maker, Shape, helm, impatient, source, tag_and_digest};

pub(crate) fn shapes() -> Vec<Shape> {
    vec![
        Shape {
            name: "crash-loop",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/blocked", &[]),
            // Whoever may read logs is shown the end of one.
            values: |at| {
                let may_read_logs = ["--auth-token".to_owned(), at.admin.clone()];
                impatient(at).into_iter().chain(may_read_logs).collect()
            },
            end: End::Blocked(
                "100",
                1,
                &[
                    ", container web",
                    " ends with exit status 1",
                    "| demo: this build was made to crash at start",
                    "--kind Pod --name ",
                ],
            ),
        },
        Shape {
            name: "crash-loop-in-a-wave",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/blocked", &[("wave", "1")]),
            values: impatient,
            end: End::Blocked(
                "100",
                1,
                &[" ends with exit status 1", "its log cannot be read: permission denied"],
            ),
        },
        Shape {
            name: "held-in-a-wave",
            maker: Maker::Hand,
            spec: |at| {
                let repository = ("image.repository", at.repository.as_str());
                source(at, "shapes/held", &[repository, ("wave", "1")])
            },
            values: |at| {
                let pause = ["--on-pause".to_owned(), "accept".to_owned()];
                tag_and_digest(at).into_iter().chain(pause).collect()
            },
            end: End::Blocked(
                "100",
                1,
                &["the sync waits for it, and it is suspended", "Deployment "],
            ),
        },
        Shape {
            name: "no-secret",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/blocked", &[("by", "secret")]),
            values: impatient,
            end: End::Blocked("100", 1, &["CreateContainerConfigError", "make the ConfigMap"]),
        },
        Shape {
            name: "no-node",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/blocked", &[("by", "node")]),
            values: |at| helm(&[("image", &at.image)]),
            end: End::Blocked(
                "15",
                4,
                &[
                    "(and 1 other pod) has no node, Unschedulable: 0/",
                    "status.conditions[PodScheduled]",
                ],
            ),
        },
        Shape {
            name: "refused-by-a-limit",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/blocked", &[("by", "limit")]),
            values: impatient,
            end: End::Blocked(
                "100",
                1,
                &[
                    "no pod with the wanted image can be made: ReplicaSet ",
                    " cannot make its pods, FailedCreate: ",
                    "maximum memory usage per Container is 1Mi, but limit is 64Mi",
                ],
            ),
        },
        Shape {
            name: "stateful-refused-by-a-limit",
            maker: Maker::Hand,
            spec: |at| source(at, "shapes/blocked", &[("by", "limit"), ("kind", "StatefulSet")]),
            values: impatient,
            end: End::Blocked(
                "100",
                1,
                &["StatefulSet ", "maximum memory usage per Container is 1Mi", "(its events)"],
            ),
        },
    ]
}
