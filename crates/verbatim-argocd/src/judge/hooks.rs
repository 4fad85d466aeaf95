//! Judges hooks that are gone, by what the operation's result tells of them. Pure.
//!
//! A comparison leaves hooks out, and most of them are deleted once they have run.

use crate::judge::evidence::{EvidenceLevel, WantedImage, WorkloadEvidence};
use crate::judge::mismatch::{Difference, Mismatch};
use crate::judge::prove::Judgement;
use crate::judge::rendered::{WantedWorkload, concerns};
use crate::model::{Application, OperationState, Phase, ResourceResult};

/// The hooks that an operation ran.
pub(crate) fn hook_results(state: &OperationState) -> Vec<ResourceResult> {
    let results = state.sync_result.iter().flat_map(|result| &result.resources);
    results.filter(|result| !result.hook_type.is_empty()).cloned().collect()
}

/// The hooks of the last operation, if it was a whole sync of what the application's sources are now.
pub(crate) fn last_hooks(app: &Application) -> Vec<ResourceResult> {
    let Some(state) = &app.status.operation_state else { return Vec::new() };
    let is_whole = |operation: &crate::model::SyncOperation| {
        !operation.dry_run && operation.resources.is_empty()
    };
    let is_ours = state.phase == Phase::Succeeded
        && state.operation.sync.as_ref().is_some_and(is_whole)
        && state
            .sync_result
            .as_ref()
            .is_some_and(|result| result.sources().same_as(app.spec.sources()));
    if is_ours { hook_results(state) } else { Vec::new() }
}

/// Judges a hook that is not there any more by the result of the operation that ran it.
pub(crate) fn judge_hook(ours: &WantedWorkload, results: &[ResourceResult]) -> Judgement {
    let place = ours.object.to_string();
    let differs = |what| Judgement::Differs(vec![Mismatch { place: place.clone(), what }]);
    let object = &ours.object;
    let result = results.iter().find(|result| {
        let namespaces = [&object.namespace, &result.namespace];
        (&result.group, &result.kind, &result.name) == (&object.group, &object.kind, &object.name)
            && (object.namespace == result.namespace || namespaces.iter().any(|one| one.is_empty()))
    });
    // `/manifests` names a namespace only where the source does.
    let Some(result) = result else { return differs(Difference::HookUntold) };
    if result.hook_phase != Phase::Succeeded {
        let (phase, message) = (result.hook_phase, result.message.clone());
        return differs(Difference::Hook { phase, message });
    }
    let mut images = ours.containers.iter().map(|(_, image)| image);
    let has = |image: &str, digest| image.ends_with(&format!("@{digest}"));
    let names_image = images.all(|image| result.images.iter().any(|ran| has(ran, image.digest)));
    Judgement::Proven(WorkloadEvidence {
        workload: place,
        level: EvidenceLevel::Operation { hook: result.hook_type.clone(), names_image },
        containers: Vec::new(),
    })
}

/// The hooks that ran another image of a wanted repository. Manifests of hooks are not always looked at, results are.
pub(crate) fn other_images(results: &[ResourceResult], wanted: &[WantedImage]) -> Vec<Mismatch> {
    let is_other = |image: &&String| {
        let mut concerned = wanted.iter().filter(|wanted| concerns(image, wanted)).peekable();
        concerned.peek().is_some()
            && !concerned.any(|wanted| image.ends_with(&format!("@{}", wanted.digest)))
    };
    results
        .iter()
        .filter_map(|result| {
            let image = result.images.iter().find(is_other)?.clone();
            let place = format!("{} {}", result.kind, result.name);
            Some(Mismatch { place, what: Difference::HookImage(image) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use verbatim_oci::Digest;

    use super::*;
    use crate::api::request::ObjectRef;

    fn ours() -> WantedWorkload {
        let digest = Digest::of(b"1");
        let image = WantedImage::new(Some("docker.io/example/web".parse().unwrap()), digest);
        let object = ObjectRef {
            group: "batch".into(),
            version: "v1".into(),
            kind: "Job".into(),
            namespace: String::new(),
            name: "migrate".into(),
        };
        WantedWorkload { object, is_hook: true, containers: vec![("c".into(), image)] }
    }

    fn result(changes: Value) -> Value {
        let mut result = json!({
            "group": "batch", "kind": "Job", "namespace": "shop", "name": "migrate", "status": "Synced",
            "hookType": "PreSync", "hookPhase": "Succeeded", "message": "done",
            "images": [format!("example/web:1@{}", Digest::of(b"1")), "envoy:1"],
        });
        result.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        result
    }

    #[test]
    fn a_hook_that_is_gone_is_proven_by_its_result_alone() {
        let untold = "Job migrate: nothing tells that this hook ran: it is gone, and the last sync's result does not name it";
        for (changes, want) in [
            (json!({}), "PreSync, names it: true".to_owned()),
            // Before 3.1, and in an init container, which no version lists.
            (json!({ "images": null }), "PreSync, names it: false".to_owned()),
            (json!({ "images": ["envoy:1"] }), "PreSync, names it: false".to_owned()),
            (
                json!({ "hookPhase": "Failed", "message": "exit 1" }),
                "Job migrate: the hook ended Failed: exit 1".to_owned(),
            ),
            (
                json!({ "hookPhase": "Running" }),
                "Job migrate: the hook ended Running: done".to_owned(),
            ),
            (json!({ "name": "other" }), untold.to_owned()),
            (json!({ "kind": "Pod" }), untold.to_owned()),
            (json!({ "group": "" }), untold.to_owned()),
            // What is no hook was applied, and that says nothing of its end.
            (json!({ "hookType": "" }), untold.to_owned()),
        ] {
            let state: OperationState =
                serde_json::from_value(json!({ "syncResult": { "resources": [result(changes)] } }))
                    .unwrap();
            let got = match judge_hook(&ours(), &hook_results(&state)) {
                Judgement::Proven(WorkloadEvidence {
                    level: EvidenceLevel::Operation { hook, names_image },
                    ..
                }) => format!("{hook}, names it: {names_image}"),
                Judgement::Differs(problems) => problems[0].to_string(),
                other => format!("{other:?}"),
            };
            assert_eq!(got, want);
        }
        let elsewhere = |namespace: &str| {
            let mut ours = ours();
            ours.object.namespace = namespace.to_owned();
            let result = serde_json::from_value(result(json!({}))).unwrap();
            matches!(judge_hook(&ours, &[result]), Judgement::Proven(_))
        };
        assert!(elsewhere("shop") && !elsewhere("other"));
    }

    #[test]
    fn a_hook_that_ran_another_image_is_told_whoever_else_runs_the_wanted_one() {
        let digest = |name: &str| Digest::of(name.as_bytes());
        let image = |name: &str| format!("example/web@{}", digest(name));
        let repository = || Some("docker.io/example/web".parse().unwrap());
        let wanted = ["1", "2"].map(|name| WantedImage::new(repository(), digest(name)));
        for (images, want) in [
            (json!([image("1")]), None),
            // Two images of one repository.
            (json!([image("2"), "envoy:1"]), None),
            (json!(["example/other:1"]), None),
            (Value::Null, None),
            (json!([image("1"), image("old")]), Some(image("old"))),
            (json!(["example/web:1"]), Some("example/web:1".to_owned())),
        ] {
            let result = serde_json::from_value(result(json!({ "images": images }))).unwrap();
            let got: Vec<_> = other_images(&[result], &wanted)
                .into_iter()
                .map(|other| other.to_string())
                .collect();
            let want = want.map(|image| format!("Job migrate: the sync ran the hook with {image}"));
            assert_eq!(got, Vec::from_iter(want), "{images}");
        }
    }

    #[test]
    fn only_a_whole_sync_of_the_sources_tells_of_hooks() {
        let source = |value: &str| json!({ "repoURL": "r", "helm": { "parameters": [value] } });
        let app = |sync: Value, phase: &str, used: Value| -> Application {
            serde_json::from_value(json!({
                "spec": { "source": source("2") },
                "status": { "operationState": {
                    "operation": { "sync": sync }, "phase": phase,
                    "syncResult": { "source": used, "resources": [result(json!({}))] },
                } },
            }))
            .unwrap()
        };
        for (sync, phase, used, want) in [
            (json!({}), "Succeeded", "2", 1),
            (json!({}), "Failed", "2", 0),
            (json!({}), "Succeeded", "1", 0),
            (json!({ "dryRun": true }), "Succeeded", "2", 0),
            (json!({ "resources": [{}] }), "Succeeded", "2", 0),
            (Value::Null, "Succeeded", "2", 0),
        ] {
            let app = app(sync.clone(), phase, source(used));
            assert_eq!(last_hooks(&app).len(), want, "{sync} {phase} {used}");
        }
        assert!(last_hooks(&Application::default()).is_empty());
    }
}
