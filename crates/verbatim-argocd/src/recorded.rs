//! Answers of a real Argo CD through the parser: every line of `answers.ndjson`, the event stream, and applications in
//! the shapes that older versions give them. Only tests; what the judgements themselves do is tested beside them.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::error::ErrorKind;
use crate::api::response::{AnswerHead, decode};
use crate::judge::owner::effect_of_set;
use crate::judge::verdict::{
    Expectation, ExpectedOperation, JudgeMemory, deploys_our_values, judge,
};
use crate::model::{
    AppProject, Application, ApplicationSet, CanI, ConfiguredRepo, HealthStatus, Items,
    LiveResource, Manifests, ServerVersion, SourceAt, SyncWindows, UserInfo,
};
use crate::overrides::values::{Occurrence, OverrideKey, ValueChange, find};

/// One line of `answers.ndjson`.
#[derive(Deserialize)]
struct Recorded {
    name: String,
    path: String,
    status: u16,
    #[serde(rename = "type")]
    content_type: String,
    body: Value,
}

impl Recorded {
    fn read<T: DeserializeOwned>(&self) -> Result<T, ErrorKind> {
        let head = AnswerHead {
            status: self.status,
            content_type: &self.content_type,
            ..AnswerHead::default()
        };
        let body = match &self.body {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        decode(head, body.as_bytes())
    }

    /// What the client makes of it: the type that it reads from that path, and what of it decides anything.
    fn told(&self) -> Result<String, ErrorKind> {
        let path = self.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches("/api/").split('/').collect();
        Ok(match parts.as_slice() {
            ["version"] => {
                let version: ServerVersion = self.read()?;
                format!("{} helm {}", version.version, version.helm_version)
            }
            [_, "session", "userinfo"] => {
                let user: UserInfo = self.read()?;
                format!("logged in {} as {:?}", user.logged_in, user.username)
            }
            [_, "account", "can-i", ..] => self.read::<CanI>()?.value,
            [_, "applicationsets"] => {
                let set: ApplicationSet = self.read()?;
                let change = ValueChange {
                    source: SourceAt::Single,
                    key: OverrideKey::Helm("image.tag".into()),
                    old: None,
                    new: Value::Null,
                };
                format!("{:?}", effect_of_set(&set, "app", &[change]))
            }
            [_, "projects", ..] => {
                let project: AppProject = self.read()?;
                format!("{} for {:?}", project.metadata.name, project.spec.source_repos)
            }
            [_, "repositories"] => {
                format!("{} repositories", self.read::<Items<ConfiguredRepo>>()?.items.len())
            }
            [_, "applications", _, "syncwindows"] => {
                let windows: SyncWindows = self.read()?;
                let active = windows.active_windows.iter();
                let active: Vec<_> = active.map(|w| format!("{} {}", w.kind, w.duration)).collect();
                format!("may sync {} {active:?}", windows.can_sync)
            }
            [_, "applications", _, "manifests"] => {
                format!("{} manifests", self.read::<Manifests>()?.manifests.len())
            }
            [_, "applications", _, "resource"] => self.read::<LiveResource>()?.manifest,
            [_, "applications", _, "operation" | "rollback" | "sync" | "logs"] => {
                self.read::<Value>()?.to_string()
            }
            _ => {
                let app: Application = self.read()?;
                format!("{}/{}", app.metadata.namespace, app.metadata.name)
            }
        })
    }
}

/// The kind of an error; with its message if that is made of the server's.
fn named(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::DoesNotRender(_)
        | ErrorKind::RepoUnreachable(_)
        | ErrorKind::RepoRefused(_)
        | ErrorKind::NotArgoCd { .. } => kind.to_string(),
        other => format!("{other:?}").chars().take_while(|c| c.is_alphanumeric()).collect(),
    }
}

/// What each answer is to the client: a value, or the kind of an error; its message where that is more than the answer's.
const ANSWERS: &[(&str, &str)] = &[
    ("patch-test-fails", "TestFailed"),
    ("patch-test-html-chars-raw", "TestFailed"),
    ("patch-test-resourceversion-stale", "TestFailed"),
    ("patch-test-missing-parent", "TestFailed"),
    ("patch-test-index-out-of-range", "TestFailed"),
    ("patch-replace-missing-path", "TestFailed"),
    ("patch-remove-missing", "TestFailed"),
    ("patch-add-annotation-when-annotations-absent", "TestFailed"),
    ("patch-bad-json", "ServerError"),
    ("patch-type-strategic", "Refused"),
    ("second-sync-while-first-runs", "AnotherOperation"),
    ("terminate", "{}"),
    ("terminate-when-idle", "Refused"),
    ("create-shadowed", "argocd/shadow"),
    ("plain-create-applicationset", "Reverts"),
    ("ignore-params-create-applicationset", "None"),
    ("ignore-jq-create-applicationset", "None"),
    ("createonly-create-applicationset", "None"),
    ("resource-not-in-tree", "Refused"),
    ("sync-denied", "SyncWindow"),
    ("sync-dryrun-denied", "SyncWindow"),
    ("syncwindows-none", "may sync true []"),
    ("syncwindows-deny-manual-allowed", "may sync true [\"deny 24h\"]"),
    ("project-with-deny-window", "win for [\"*\"]"),
    ("missing-app-no-project-admin", "PermissionDenied"),
    ("missing-app-with-project-admin", "NotFound"),
    ("missing-app-foreign-project-bot", "PermissionDenied"),
    ("existing-app-wrong-project-admin", "NotFound"),
    ("foreign-app-no-project-bot", "PermissionDenied"),
    ("namespace-not-enabled", "PermissionDenied"),
    ("two-projects", "Refused"),
    ("patch-missing-app-with-project", "NotFound"),
    ("sync-missing-app-no-project", "PermissionDenied"),
    ("no-token", "Unauthenticated"),
    ("garbage-token", "Unauthenticated"),
    ("jwt-bad-signature", "Unauthenticated"),
    ("wrong-password", "Unauthenticated"),
    ("unknown-path", "the answer (status 404, text/plain) is not from an Argo CD API"),
    ("wrong-method", "the answer (status 405, text/plain) is not from an Argo CD API"),
    (
        "patch-content-type-charset",
        "the answer (status 415, text/plain) is not from an Argo CD API",
    ),
    ("can-i", "no"),
    ("can-i-bot", "yes"),
    ("userinfo", "logged in true as \"bot\""),
    ("userinfo-no-token", "logged in false as \"\""),
    ("version", "v99.99.99+unknown helm v4.3"),
    ("version-no-token", "v99.99.99+unknown helm "),
    ("sync-other-revision-with-autosync", "Refused"),
    ("rollback-unknown-id", "Refused"),
    ("rollback-with-autosync", "Refused"),
    ("path-missing", "the application does not render: nope: app path does not exist"),
    (
        "repo-unreachable",
        "Argo CD cannot reach the repository: error testing repository connectivity: unable to ls-remote HEAD on repository: failed to list refs: dial tcp 127.0.0.1:1: connect: connection refused",
    ),
    (
        "revision-missing",
        "the application does not render: unable to resolve 'nope' to a commit SHA: revision not found",
    ),
    (
        "manifests-with-comparison-error",
        "the application does not render: nope: app path does not exist",
    ),
    (
        "patch-unrelated-annotation-on-broken-app",
        "the application does not render: nope: app path does not exist",
    ),
    ("parameter-value-number", "ServerError"),
    ("wrong-type-in-spec", "ServerError"),
    ("bot-repos", "0 repositories"),
    ("bot-create", "PermissionDenied"),
    ("bot-logs", "PermissionDenied"),
    ("bot-pod", "NotFound"),
    ("reader-sync", "PermissionDenied"),
    ("reader-terminate", "PermissionDenied"),
    ("multi-source-patch-index-out-of-range", "TestFailed"),
    ("multi-source-patch-single-path", "TestFailed"),
    ("create-again-identical", "argocd/lock1"),
    ("create-again-different", "Refused"),
    ("project-put-stale-rv", "Refused"),
];

#[test]
fn every_recorded_answer_is_read() {
    let recorded: Vec<Recorded> = include_str!("../tests/fixtures/answers.ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let got: Vec<(String, String)> = recorded
        .iter()
        .map(|one| (one.name.clone(), one.told().unwrap_or_else(|kind| named(&kind))))
        .collect();
    let want: Vec<(String, String)> =
        ANSWERS.iter().map(|(name, told)| ((*name).into(), (*told).into())).collect();
    assert_eq!(got, want);
}

/// The stream of the watch, as it came: an application, two changes, and two signs of life.
#[test]
fn the_recorded_stream_is_read() {
    let stream = include_str!("../tests/fixtures/watch.sse");
    let events = crate::api::watch::events(stream);
    let told: Vec<_> = events
        .iter()
        .map(|app| (app.metadata.resource_version.as_str(), app.status.sync.status))
        .collect();
    use crate::model::SyncCode::OutOfSync;
    assert_eq!(told, [("4283", OutOfSync), ("4287", OutOfSync), ("4289", OutOfSync)]);
}

/// A recorded application, changed to the shape of another version.
struct Shape {
    /// The version, and what is different.
    what: &'static str,
    fixture: &'static str,
    /// Fields that it does not have: pointers into the application.
    without: &'static [&'static str],
    /// Fields that it has besides.
    with: &'static [(&'static str, &'static str)],
    want: &'static str,
}

const DEPLOYED: &str = include_str!("../tests/fixtures/app-deployed.json");
const SEVERAL: &str = include_str!("../tests/fixtures/app-multi-source.json");
const ASKED: &str = include_str!("../tests/fixtures/app-sync-asked.json");
const SEVERAL_ASKED: &str = include_str!("../tests/fixtures/app-sync-asked-multi-source.json");
const AUTOMATED: &str = include_str!("../tests/fixtures/app-automated.json");

/// Before 3.2 the operation of an application with one source carries no copy of it.
const NO_COPY: &str = "/status/operationState/operation/sync/source";

/// What deployments and health tell since 2.11 and later.
const LATER: &[&str] = &[
    "/status/history/0/initiatedBy",
    "/status/history/1/initiatedBy",
    "/status/health/lastTransitionTime",
    "/status/resourceHealthSource",
    "/status/sourceHydrator",
];

const fn as_recorded(what: &'static str, fixture: &'static str, want: &'static str) -> Shape {
    Shape { what, fixture, without: &[], with: &[], want }
}

const SHAPES: &[Shape] = &[
    as_recorded(
        "3.6, deployed",
        DEPLOYED,
        "Some((Values, \"admin\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated false",
    ),
    Shape {
        what: "3.1, deployed",
        fixture: DEPLOYED,
        without: &[NO_COPY],
        with: &[],
        want: "Some((Values, \"admin\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated false",
    },
    Shape {
        what: "2.10, deployed",
        fixture: DEPLOYED,
        without: &[NO_COPY, LATER[0], LATER[1], LATER[2], LATER[3], LATER[4]],
        with: &[],
        want: "Some((Values, \"admin\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated false",
    },
    Shape {
        what: "from 3.0, as a list has it: without the health of resources",
        fixture: DEPLOYED,
        without: &["/status/resources/0/health", "/status/resources/1/health"],
        with: &[],
        want: "Some((Values, \"admin\")), will deploy false, Done, Helm, 2 in history, 0 healths, automated false",
    },
    Shape {
        what: "nobody has compared it yet",
        fixture: DEPLOYED,
        without: &[
            "/status/reconciledAt",
            "/status/sourceType",
            "/status/operationState",
            "/status/history",
        ],
        with: &[("/status/sync", "{}"), ("/status/resources", "null"), ("/status/health", "{}")],
        want: "None, will deploy false, Waiting(NoOperation), , 0 in history, 0 healths, automated false",
    },
    as_recorded(
        "3.6, several sources",
        SEVERAL,
        "Some((Values, \"admin\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated false",
    ),
    Shape {
        what: "2.10, several sources",
        fixture: SEVERAL,
        without: &[
            "/status/operationState/operation/sync/sources",
            "/status/operationState/operation/sync/revisions",
            LATER[0],
            LATER[1],
            LATER[2],
            LATER[3],
            LATER[4],
        ],
        with: &[],
        want: "Some((Values, \"admin\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated false",
    },
    as_recorded(
        "3.6, asked for",
        ASKED,
        "None, will deploy true, Waiting(Queued), Helm, 0 in history, 0 healths, automated false",
    ),
    Shape {
        what: "3.1, asked for",
        fixture: ASKED,
        without: &["/operation/sync/source"],
        with: &[],
        want: "None, will deploy false, Waiting(Other(\"queued\")), Helm, 0 in history, 0 healths, automated false",
    },
    as_recorded(
        "3.6, asked for, several sources",
        SEVERAL_ASKED,
        "None, will deploy true, Waiting(Queued), Helm, 1 in history, 0 healths, automated false",
    ),
    Shape {
        what: "2.10, asked for, several sources",
        fixture: SEVERAL_ASKED,
        without: &["/operation/sync/sources", "/operation/sync/revisions"],
        with: &[],
        want: "None, will deploy false, Waiting(Other(\"queued\")), Helm, 1 in history, 0 healths, automated false",
    },
    as_recorded(
        "before 3.1, automatic",
        AUTOMATED,
        "Some((Values, \"\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated true",
    ),
    Shape {
        what: "from 3.1, automatic and switched off",
        fixture: AUTOMATED,
        without: &[],
        with: &[("/spec/syncPolicy/automated/enabled", "false")],
        want: "Some((Values, \"\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated false",
    },
    Shape {
        what: "from 3.5 and 2.14, fields that are not read",
        fixture: DEPLOYED,
        without: &[],
        with: &[
            ("/status/summary/isAppOfApps", "true"),
            ("/spec/source/tagPrefix", "\"v\""),
            ("/status/sync/comparedTo/source/tagPrefix", "\"v\""),
            ("/status/sourceHydrator/currentOperation", "{\"phase\": \"Hydrated\"}"),
        ],
        want: "Some((Values, \"admin\")), will deploy false, Done, Helm, 2 in history, 2 healths, automated false",
    },
];

/// What decisions rest on: whose operation it is, who asked for it, what was deployed before, what the sources are.
fn decided(app: &Application) -> String {
    let (at, source) = app.spec.sources().iter().next().unwrap();
    let key = OverrideKey::Helm("image.tag".into());
    let Occurrence::At(_, element) = find(source, &key) else { panic!("there is no image.tag") };
    let changes = [ValueChange { source: at, key, old: None, new: element.clone() }];
    let expect = Expectation {
        values: Some(&changes),
        operation: ExpectedOperation::Sync { nonce: "n" },
        revisions: &[],
        last_history: None,
        health_before: HealthStatus::Healthy,
        broken_before: Vec::new(),
        stuck_after: Duration::from_secs(60),
        allow_unpruned: false,
    };
    let mut memory = JudgeMemory::default();
    memory.note(&expect, app);
    memory.note_refresh(app);
    let operation = memory
        .operation()
        .map(|operation| (operation.known_by, operation.initiated_by.username.clone()));
    let verdict = judge(&expect, &memory, app, Duration::ZERO);
    let kind = app.status.source_type(at);
    let health = app.status.resources.iter().filter(|one| one.health.is_some()).count();
    format!(
        "{operation:?}, will deploy {}, {verdict:?}, {kind}, {} in history, {health} healths, automated {}",
        deploys_our_values(&expect, app),
        app.status.history.len(),
        app.spec.is_automated(),
    )
}

#[test]
fn the_shapes_of_other_versions_are_decided_alike() {
    let mut got = Vec::new();
    for shape in SHAPES {
        let mut recorded: Value = serde_json::from_str(shape.fixture).unwrap();
        let app = &mut recorded["body"];
        for pointer in shape.without {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = app.pointer_mut(parent).and_then(Value::as_object_mut);
            let removed = parent.and_then(|parent| parent.remove(field));
            assert!(removed.is_some(), "{}: there is no {pointer}", shape.what);
        }
        for (pointer, value) in shape.with {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            app.pointer_mut(parent).unwrap()[field] = serde_json::from_str(value).unwrap();
        }
        let app = Application::deserialize(&*app).unwrap();
        got.push((shape.what, decided(&app)));
    }
    let want: Vec<(&str, String)> =
        SHAPES.iter().map(|shape| (shape.what, shape.want.to_owned())).collect();
    assert_eq!(got, want);
}
