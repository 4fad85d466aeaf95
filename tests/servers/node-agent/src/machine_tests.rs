//! Stories of pods: what happens at which second, and what is commanded and reported then.

use serde_json::{Value, json};

use super::*;
use crate::status;

/// A step of a story.
enum Step {
    /// What happens to a container.
    Event(usize, Event),
    /// The pod is being deleted.
    Delete(u64),
    Look,
}

fn started(id: &str) -> Event {
    Event::Started { container_id: id.to_owned(), image: Image { id: format!("image of {id}") } }
}

fn ended(id: &str, exit_code: i64) -> Event {
    Event::Ended { container_id: id.to_owned(), exit_code, out_of_memory: false }
}

fn probed(id: &str, kind: ProbeKind, success: bool) -> Event {
    Event::Probed { container_id: id.to_owned(), kind, success }
}

fn pull_failed() -> Event {
    Event::NotStarted { reason: FailedReason::Pull, message: "manifest unknown".to_owned() }
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs_f64(seconds)
}

/// One line of what is commanded: `start 0`, `stop 0 5s`, `finish`.
fn commands(list: &[Command]) -> String {
    let words: Vec<String> = list
        .iter()
        .map(|command| match command {
            Command::Start { slot } => format!("start {slot}"),
            Command::Stop { slot, grace, .. } => format!("stop {slot} {}s", grace.as_secs()),
            Command::Finish => "finish".to_owned(),
        })
        .collect();
    words.join(", ")
}

/// One line of what is reported: phase, readiness of the pod, and each container's state with its restarts.
fn summary(machine: &Machine, now: Timestamp) -> String {
    let report = status::report(machine, "127.9.0.2", &[], now);
    let condition = |kind: &str| {
        let all = report["conditions"].as_array().unwrap();
        all.iter().find(|one| one["type"] == kind).unwrap()["status"] == "True"
    };
    let state = |status: &Value| {
        let (kind, inner) = status["state"].as_object().unwrap().iter().next().unwrap();
        let word = match kind.as_str() {
            "running" if status["ready"] == true => "ready".to_owned(),
            "running" => "running".to_owned(),
            "terminated" => format!("{}({})", inner["reason"].as_str().unwrap(), inner["exitCode"]),
            _ => inner["reason"].as_str().unwrap().to_owned(),
        };
        format!("{word}#{}", status["restartCount"])
    };
    let lists = [&report["initContainerStatuses"], &report["containerStatuses"]];
    let states: Vec<String> =
        lists.iter().flat_map(|list| list.as_array().unwrap()).map(state).collect();
    let ready = if condition("Ready") { "Ready" } else { "NotReady" };
    format!("{} {ready}: {}", report["phase"].as_str().unwrap(), states.join(" "))
}

#[track_caller]
fn check(spec: Value, story: Vec<(f64, Step, &str, &str)>) {
    let pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
    let back_off = BackOff { first: Duration::from_secs(10), max: Duration::from_secs(300) };
    let mut machine = Machine::new(&pod, back_off, at(0.0));
    for (number, (seconds, step, want_commands, want_summary)) in story.into_iter().enumerate() {
        let now = at(seconds);
        match step {
            Step::Event(slot, event) => machine.handle(slot, event, now),
            Step::Delete(grace) => machine.delete(Duration::from_secs(grace)),
            Step::Look => {}
        }
        let (list, _) = machine.next(now);
        assert_eq!(commands(&list), want_commands, "commands of step {number}");
        assert_eq!(summary(&machine, now), want_summary, "report of step {number}");
        assert_eq!(commands(&machine.next(now).0), "", "nothing is commanded twice, step {number}");
    }
}

use Step::{Delete, Event as Happens, Look};

fn one(policy: &str) -> Value {
    json!({ "restartPolicy": policy, "containers": [{ "name": "a", "image": "i" }] })
}

#[test]
fn a_pod_comes_up_and_is_deleted_with_grace() {
    check(
        one("Always"),
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (1.0, Happens(0, started("x")), "", "Running Ready: ready#0"),
            (5.0, Delete(30), "stop 0 30s", "Running Ready: ready#0"),
            // An impatient second deletion shortens the time.
            (6.0, Delete(2), "stop 0 2s", "Running Ready: ready#0"),
            (7.0, Happens(0, ended("x", 0)), "finish", "Running NotReady: Completed(0)#0"),
            (8.0, Look, "", "Running NotReady: Completed(0)#0"),
        ],
    );
}

#[test]
fn a_pod_that_is_deleted_while_it_starts_is_stopped_once_it_runs() {
    check(
        one("Always"),
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (1.0, Delete(5), "", "Pending NotReady: ContainerCreating#0"),
            (2.0, Happens(0, started("x")), "stop 0 5s", "Running Ready: ready#0"),
            (3.0, Happens(0, ended("x", 143)), "finish", "Running NotReady: Error(143)#0"),
        ],
    );
}

#[test]
fn a_crashing_container_restarts_at_once_and_then_backs_off() {
    check(
        one("Always"),
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (1.0, Happens(0, started("x")), "", "Running Ready: ready#0"),
            (2.0, Happens(0, ended("x", 3)), "start 0", "Running NotReady: ContainerCreating#0"),
            (3.0, Happens(0, started("y")), "", "Running Ready: ready#1"),
            (4.0, Happens(0, ended("y", 3)), "", "Running NotReady: CrashLoopBackOff#1"),
            (13.9, Look, "", "Running NotReady: CrashLoopBackOff#1"),
            (14.0, Look, "start 0", "Running NotReady: ContainerCreating#1"),
            (15.0, Happens(0, started("z")), "", "Running Ready: ready#2"),
            (16.0, Happens(0, ended("z", 3)), "", "Running NotReady: CrashLoopBackOff#2"),
            // Twice as long.
            (35.9, Look, "", "Running NotReady: CrashLoopBackOff#2"),
            (36.0, Look, "start 0", "Running NotReady: ContainerCreating#2"),
            (37.0, Happens(0, started("w")), "", "Running Ready: ready#3"),
            // After ten minutes the crashes are forgiven.
            (637.0, Happens(0, ended("w", 3)), "start 0", "Running NotReady: ContainerCreating#3"),
        ],
    );
}

#[test]
fn a_missing_image_is_an_error_and_then_a_back_off() {
    check(
        one("Always"),
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (1.0, Happens(0, pull_failed()), "", "Pending NotReady: ErrImagePull#0"),
            (2.0, Look, "", "Pending NotReady: ImagePullBackOff#0"),
            (11.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (12.0, Happens(0, pull_failed()), "", "Pending NotReady: ErrImagePull#0"),
            (31.9, Look, "", "Pending NotReady: ImagePullBackOff#0"),
            (32.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            // It appeared: no restart is counted.
            (33.0, Happens(0, started("x")), "", "Running Ready: ready#0"),
        ],
    );
}

#[test]
fn a_job_pod_ends_with_its_container() {
    for (policy, code, want_commands, want) in [
        ("Never", 0, "", "Succeeded NotReady: Completed(0)#0"),
        ("Never", 7, "", "Failed NotReady: Error(7)#0"),
        ("OnFailure", 0, "", "Succeeded NotReady: Completed(0)#0"),
        ("OnFailure", 7, "start 0", "Running NotReady: ContainerCreating#0"),
        ("Always", 0, "start 0", "Running NotReady: ContainerCreating#0"),
    ] {
        check(
            one(policy),
            vec![
                (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
                (1.0, Happens(0, started("x")), "", "Running Ready: ready#0"),
                (2.0, Happens(0, ended("x", code)), want_commands, want),
            ],
        );
    }
}

#[test]
fn init_containers_run_in_order_and_before_the_others() {
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{ "name": "a" }, { "name": "b" }],
        "containers": [{ "name": "c" }],
    });
    check(
        spec.clone(),
        vec![
            (
                0.0,
                Look,
                "start 0",
                "Pending NotReady: ContainerCreating#0 ContainerCreating#0 PodInitializing#0",
            ),
            (
                1.0,
                Happens(0, started("x")),
                "",
                "Pending NotReady: running#0 ContainerCreating#0 PodInitializing#0",
            ),
            (
                2.0,
                Happens(0, ended("x", 0)),
                "start 1",
                "Pending NotReady: Completed(0)#0 ContainerCreating#0 PodInitializing#0",
            ),
            (
                3.0,
                Happens(1, started("y")),
                "",
                "Pending NotReady: Completed(0)#0 running#0 PodInitializing#0",
            ),
            (
                4.0,
                Happens(1, ended("y", 0)),
                "start 2",
                "Pending NotReady: Completed(0)#0 Completed(0)#0 ContainerCreating#0",
            ),
            (
                5.0,
                Happens(2, started("z")),
                "",
                "Running Ready: Completed(0)#0 Completed(0)#0 ready#0",
            ),
        ],
    );
    check(
        spec,
        vec![
            (
                0.0,
                Look,
                "start 0",
                "Pending NotReady: ContainerCreating#0 ContainerCreating#0 PodInitializing#0",
            ),
            (
                1.0,
                Happens(0, started("x")),
                "",
                "Pending NotReady: running#0 ContainerCreating#0 PodInitializing#0",
            ),
            (
                2.0,
                Happens(0, ended("x", 1)),
                "",
                "Failed NotReady: Error(1)#0 ContainerCreating#0 PodInitializing#0",
            ),
        ],
    );
}

#[test]
fn a_sidecar_lets_the_next_start_and_keeps_running() {
    let spec = json!({
        "initContainers": [{ "name": "a", "restartPolicy": "Always" }],
        "containers": [{ "name": "b" }],
    });
    check(
        spec,
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0 PodInitializing#0"),
            (
                1.0,
                Happens(0, started("x")),
                "start 1",
                "Pending NotReady: ready#0 ContainerCreating#0",
            ),
            (2.0, Happens(1, started("y")), "", "Running Ready: ready#0 ready#0"),
            (3.0, Delete(1), "stop 0 1s, stop 1 1s", "Running Ready: ready#0 ready#0"),
        ],
    );
}

#[test]
fn probes_count_to_their_thresholds() {
    let probe = |failures: u32| json!({ "tcpSocket": { "port": 1 }, "failureThreshold": failures });
    let readiness = json!({ "containers": [{ "name": "a", "readinessProbe": probe(2) }] });
    let ready = |success| Happens(0, probed("x", ProbeKind::Readiness, success));
    check(
        readiness,
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (1.0, Happens(0, started("x")), "", "Running NotReady: running#0"),
            // An answer about an earlier container says nothing.
            (
                2.0,
                Happens(0, probed("w", ProbeKind::Readiness, true)),
                "",
                "Running NotReady: running#0",
            ),
            (3.0, ready(true), "", "Running Ready: ready#0"),
            (4.0, ready(false), "", "Running Ready: ready#0"),
            (5.0, ready(false), "", "Running NotReady: running#0"),
            (6.0, ready(true), "", "Running Ready: ready#0"),
        ],
    );
    let both = json!({ "containers": [{ "name": "a", "startupProbe": probe(2), "livenessProbe": probe(1) }] });
    let lively = |success| Happens(0, probed("x", ProbeKind::Liveness, success));
    let up = |success| Happens(0, probed("x", ProbeKind::Startup, success));
    check(
        both.clone(),
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (1.0, Happens(0, started("x")), "", "Running NotReady: running#0"),
            // Until it has started up nobody asks whether it lives.
            (2.0, lively(false), "", "Running NotReady: running#0"),
            (3.0, up(true), "", "Running Ready: ready#0"),
            (4.0, lively(false), "stop 0 2s", "Running Ready: ready#0"),
            (5.0, Happens(0, ended("x", 137)), "start 0", "Running NotReady: ContainerCreating#0"),
            (6.0, Happens(0, started("y")), "", "Running NotReady: running#1"),
        ],
    );
    check(
        both,
        vec![
            (0.0, Look, "start 0", "Pending NotReady: ContainerCreating#0"),
            (1.0, Happens(0, started("x")), "", "Running NotReady: running#0"),
            (2.0, up(false), "", "Running NotReady: running#0"),
            (3.0, up(false), "stop 0 2s", "Running NotReady: running#0"),
        ],
    );
}

#[test]
fn a_pod_that_is_over_is_only_deleted() {
    let pod = json!({ "spec": one("Never"), "status": { "phase": "Succeeded" } });
    let back_off = BackOff { first: Duration::from_secs(10), max: Duration::from_secs(300) };
    let mut machine = Machine::new(&serde_json::from_value(pod).unwrap(), back_off, at(0.0));
    assert!(machine.is_over());
    assert_eq!(machine.next(at(0.0)), (vec![], None));
    machine.delete(Duration::from_secs(30));
    assert_eq!(commands(&machine.next(at(1.0)).0), "finish");
}

#[test]
fn restarts_are_carried_over_from_an_earlier_agent() {
    let pod = json!({ "spec": one("Always"), "status": { "containerStatuses": [{ "name": "a", "restartCount": 4 }] } });
    let back_off = BackOff { first: Duration::from_secs(10), max: Duration::from_secs(300) };
    let machine = Machine::new(&serde_json::from_value(pod).unwrap(), back_off, at(0.0));
    assert_eq!(summary(&machine, at(0.0)), "Pending NotReady: ContainerCreating#4");
}

#[test]
fn back_off_doubles_up_to_its_limit() {
    let back_off = BackOff { first: Duration::from_secs(10), max: Duration::from_secs(300) };
    let seconds: Vec<u64> =
        [1, 2, 3, 4, 5, 6, 7, 40, u32::MAX].map(|it| back_off.delay(it).as_secs()).to_vec();
    assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300, 300, 300]);
}
