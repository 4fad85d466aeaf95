//! Objects as Kubernetes 1.34 writes them, and what they say.

use serde_json::{Value, json};

use super::*;

fn object(kind: &str, name: &str) -> ObjectRef {
    let version = "v1".to_owned();
    ObjectRef {
        group: String::new(),
        version,
        kind: kind.into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn told(object: &ObjectRef, live: &Value) -> Vec<String> {
    obstacles(object, live).iter().map(ToString::to_string).collect()
}

/// A pod whose container `web` is in this state, and was in that one before.
fn pod(state: Value, last: Value, restarts: i64) -> Value {
    json!({
        "spec": { "containers": [{ "name": "web", "image": "example/web:1" }] },
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "sidecar", "ready": true, "restartCount": 0, "state": { "running": {} } },
            { "name": "web", "ready": false, "restartCount": restarts, "state": state, "lastState": last },
        ]},
    })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn ended(code: i64, reason: &str) -> Value {
    json!({ "terminated": { "exitCode": code, "reason": reason, "message": "" } })
}

#[test]
fn a_pod_says_why_it_does_not_start() {
    let running = json!({ "running": { "startedAt": "2026-11-24T10:00:00Z" } });
    let back_off = waiting("CrashLoopBackOff", "back-off 40s restarting failed container=web");
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("well", json!({ "status": { "phase": "Running", "containerStatuses": [] } }), &[]),
        (
            "a crash loop, while it waits",
            pod(back_off.clone(), ended(2, "Error"), 3),
            &[
                "Pod a, container web ends with exit status 2, Error, and was started again 3 times \
               (status.containerStatuses[web].lastState.terminated)",
            ],
        ),
        (
            "a crash loop of which nothing is remembered",
            pod(back_off, json!({}), 3),
            &[
                "Pod a, container web ends, CrashLoopBackOff, and was started again 3 times: back-off 40s restarting failed \
               container=web (status.containerStatuses[web].state.waiting)",
            ],
        ),
        (
            "a crash loop, while it runs again",
            pod(running.clone(), ended(137, "OOMKilled"), 1),
            &[
                "Pod a, container web ends with exit status 137, OOMKilled, and was started again once \
               (status.containerStatuses[web].lastState.terminated)",
            ],
        ),
        (
            "a crash, before it is started again",
            pod(ended(0, "Completed"), json!({}), 0),
            &[
                "Pod a, container web ends with exit status 0, Completed (status.containerStatuses[web].state.terminated)",
            ],
        ),
        ("not ready yet", pod(running.clone(), json!({}), 0), &[]),
        ("being made", pod(waiting("ContainerCreating", ""), json!({}), 0), &[]),
        (
            "no image",
            pod(waiting("ErrImagePull", "manifest unknown"), json!({}), 0),
            &["Pod a, container web has no image example/web:1, ErrImagePull: manifest unknown \
               (status.containerStatuses[web].state.waiting)"],
        ),
        (
            "no Secret",
            pod(waiting("CreateContainerConfigError", "secret \"db\" not found"), json!({}), 0),
            &[
                "Pod a, container web cannot be started, CreateContainerConfigError: secret \"db\" not found \
               (status.containerStatuses[web].state.waiting)",
            ],
        ),
        (
            "no node",
            json!({ "status": { "phase": "Pending", "conditions": [
                { "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                  "message": "0/3 nodes are available: 3 Insufficient cpu." },
            ]}}),
            &["Pod a has no node, Unschedulable: 0/3 nodes are available: 3 Insufficient cpu. \
               (status.conditions[PodScheduled])"],
        ),
        (
            "evicted",
            json!({ "status": { "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." } }),
            &["Pod a has failed, Evicted: The node was low on resource: memory. (status.reason)"],
        ),
        (
            "a gate of a load balancer",
            json!({ "status": { "phase": "Running", "conditions": [
                { "type": "ContainersReady", "status": "True" },
                { "type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady",
                  "message": "corresponding condition of pod readiness gate \"target-health\" does not exist." },
            ]}}),
            &[
                "Pod a runs and is not ready, ReadinessGatesNotReady: corresponding condition of pod readiness gate \
               \"target-health\" does not exist. (status.conditions[Ready])",
            ],
        ),
    ];
    for (what, live, want) in cases {
        assert_eq!(told(&object("Pod", "a"), &live), want, "{what}");
    }
}

#[test]
fn containers_that_are_to_end_may() {
    let mut init = json!({
        "spec": { "restartPolicy": "Always", "containers": [], "initContainers": [{ "name": "wait", "image": "w" }] },
        "status": { "phase": "Pending", "initContainerStatuses": [
            { "name": "wait", "ready": true, "restartCount": 0, "state": ended(0, "Completed") },
        ]},
    });
    assert!(told(&object("Pod", "a"), &init).is_empty());
    init["status"]["initContainerStatuses"][0]["state"] = ended(1, "Error");
    let want = "Pod a, container wait ends with exit status 1, Error (status.initContainerStatuses[wait].state.terminated)";
    assert_eq!(told(&object("Pod", "a"), &init), [want]);
    let mut of_job = pod(ended(0, "Completed"), json!({}), 0);
    of_job["spec"]["restartPolicy"] = "Never".into();
    assert!(told(&object("Pod", "a"), &of_job).is_empty());
    of_job["status"]["containerStatuses"][1]["state"] = ended(3, "Error");
    assert_eq!(told(&object("Pod", "a"), &of_job).len(), 1);
}

#[test]
fn a_workload_says_why_it_has_no_pods() {
    let with = |conditions: Value| json!({ "status": { "conditions": conditions } });
    let refused = json!({ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods \"web-1-\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0" });
    let late = json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet \"web-1\" has timed out progressing." });
    let cases = [
        (
            "ReplicaSet",
            with(json!([refused])),
            "ReplicaSet web cannot make its pods, FailedCreate: pods \"web-1-\" is forbidden: \
          exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0 (status.conditions[ReplicaFailure])",
        ),
        (
            "Deployment",
            with(json!([late.clone(), refused])),
            "Deployment web cannot make its pods, FailedCreate: pods \"web-1-\" is \
          forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0 (status.conditions[ReplicaFailure])",
        ),
        (
            "Deployment",
            with(json!([late])),
            "Deployment web makes no progress, ProgressDeadlineExceeded: ReplicaSet \"web-1\" has \
          timed out progressing. (status.conditions[Progressing])",
        ),
        (
            "Job",
            with(
                json!([{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit" }]),
            ),
            "Job web has failed, BackoffLimitExceeded: limit (status.conditions[Failed])",
        ),
        (
            "Deployment",
            with(
                json!([{ "type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated" }]),
            ),
            "",
        ),
        (
            "Deployment",
            with(json!([{ "type": "Progressing", "status": "False", "reason": "Paused" }])),
            "",
        ),
    ];
    for (kind, live, want) in cases {
        let want: Vec<&str> = Some(want).filter(|want| !want.is_empty()).into_iter().collect();
        assert_eq!(told(&object(kind, "web"), &live), want);
    }
}

#[test]
fn an_event_tells_where_the_object_does_not() {
    let event = |kind: &str, reason: &str, message: &str, at: &str| -> ObjectEvent {
        let event =
            json!({ "type": kind, "reason": reason, "message": message, "lastTimestamp": at });
        serde_json::from_value(event).unwrap()
    };
    let early = "2026-11-24T10:00:00Z";
    let later = "2026-11-24T10:00:09Z";
    let cases = [
        (
            "Pod",
            "FailedMount",
            "Pod web has a node and does not start, FailedMount: m (its events)",
        ),
        ("Pod", "FailedScheduling", "Pod web has no node, FailedScheduling: m (its events)"),
        ("Pod", "Unhealthy", "Pod web runs and is not ready, Unhealthy: m (its events)"),
        (
            "StatefulSet",
            "FailedCreate",
            "StatefulSet web cannot make its pods, FailedCreate: m (its events)",
        ),
    ];
    for (kind, reason, want) in cases {
        let events = [
            event("Warning", "Old", "old", early),
            event("Warning", reason, "m", later),
            event("Normal", "Pulled", "n", "2026-11-24T10:00:20Z"),
        ];
        let told = of_events(&object(kind, "web"), &events).unwrap();
        assert_eq!(told.to_string(), want);
    }
    assert_eq!(of_events(&object("Pod", "web"), &[event("Normal", "Pulled", "n", early)]), None);
}

#[test]
fn what_is_alike_is_counted_and_a_log_is_short() {
    let live = pod(ended(1, "Error"), json!({}), 0);
    let one = obstacles(&object("Pod", "a"), &live).remove(0);
    assert_eq!(one.container(), Some(("a", "web")));
    assert_eq!(one.object(), "Pod a");
    let log = last_lines(
        (0..40).map(|n| format!("{n} {}", "x".repeat(600))).chain([" ".into()]).collect(),
    );
    assert_eq!((log.len(), log[0].split(' ').next(), log[14].len()), (15, Some("25"), 500));
    let two = Obstacle { others: 2, log, ..one };
    assert!(
        two.to_string().starts_with("Pod a, container web (and 2 other pods) ends with"),
        "{two}"
    );
    let json = serde_json::to_value(&two).unwrap();
    let words = ("crash", 1, 2, "Error");
    let got = (
        json["obstacle"].as_str().unwrap(),
        json["exit_code"].as_i64().unwrap(),
        json["others"].as_i64().unwrap(),
        json["reason"].as_str().unwrap(),
    );
    assert_eq!(got, words);
}

#[test]
fn each_obstacle_has_one_remedy() {
    let crash = |reason: &str, code| ObstacleKind::Crash {
        reason: reason.into(),
        exit_code: Some(code),
        restarts: 1,
    };
    let image = ObstacleKind::Image { reason: "ErrImagePull".into(), image: "i".into() };
    let cases = [
        (crash("OOMKilled", 137), "`resources.limits.memory`"),
        (crash("Error", 127), "`command`"),
        (crash("Completed", 0), "ends by itself"),
        (crash("Error", 1), "`verbatim argocd logs shop --kind Pod --name a --previous`"),
        (image, "imagePullSecrets"),
        (ObstacleKind::Container { reason: "CreateContainerConfigError".into() }, "ConfigMap"),
        (
            ObstacleKind::Container { reason: "CreateContainerError".into() },
            "`verbatim argocd events shop --kind Pod --name a`",
        ),
        (ObstacleKind::Unschedulable { reason: "Unschedulable".into() }, "`resources.requests`"),
        (ObstacleKind::Unschedulable { reason: "SchedulingGated".into() }, "schedulingGates"),
        (ObstacleKind::NoPods { reason: "FailedCreate".into() }, "quota"),
        (ObstacleKind::NotReady { reason: "Unhealthy".into() }, "`verbatim argocd logs"),
    ];
    for (kind, want) in cases {
        let one = Obstacle::new("Pod a, container web".into(), "status", kind, "m");
        assert!(one.remedy("shop").contains(want), "{}", one.remedy("shop"));
    }
}
