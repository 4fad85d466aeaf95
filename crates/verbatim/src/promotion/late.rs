//! A promotion whose record is signed later than it was proven. What is signed as proven has to be true of what runs now, so
//! the applications are looked at again. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use verbatim_argocd::{
    Application, HealthStatus, OverrideValues, SourceChoice, SyncCode, ValueChange, shown,
};
use verbatim_oci::Reference;
use verbatim_record::{PromotedApplication, PromotedRelease, Promotion, ReleaseImage};

use crate::environment::applications::{ObservedApp, reference};
use crate::environment::claims::{Phase, attempts};
use crate::environment::missing;

/// What of the applications is not as a promotion says, in words; empty if all of them still are.
pub(crate) fn changed_since(
    promotion: &Promotion,
    seen: &[ObservedApp],
    now: Timestamp,
) -> Vec<String> {
    let readable = seen.iter().filter_map(|it| Some((&it.app, it.application.as_ref().ok()?)));
    let attempts = attempts(readable, now);
    let at_work = attempts.iter().filter(|attempt| attempt.state.phase != Phase::Failed);
    let mut changes: Vec<String> = at_work.map(ToString::to_string).collect();
    for told in &promotion.applications {
        let name = &told.name;
        let found = seen.iter().find(|it| missing::is_same(told, it));
        changes.extend(match found.map(|it| (it, &it.application)) {
            None => vec![format!("{name}: is no application of the environment")],
            Some((_, Err(error))) => vec![format!("{name}: {error}: {}", error.kind)],
            Some((it, Ok(application))) => changes_of(told, &promotion.release, it, application)
                .into_iter()
                .map(|change| format!("{name}: {change}"))
                .collect(),
        });
    }
    changes
}

fn changes_of(
    told: &PromotedApplication,
    release: &PromotedRelease,
    seen: &ObservedApp,
    application: &Application,
) -> Vec<String> {
    let mut changes = values(told, seen, application);
    let (sync, health) = (application.status.sync.status, application.status.health.status);
    if sync != SyncCode::Synced {
        changes.push(format!("is {sync:?}"));
    }
    // One that was Degraded for something else when it was proven may still be.
    let then = told.proof.running.evidence.value()["health"].take();
    if !matches!(health, HealthStatus::Healthy | HealthStatus::Suspended) && json!(health) != then {
        changes.push(format!("is {health:?}"));
    }
    let is_other = |image: &&String| {
        let Ok(image) = image.parse::<Reference>() else { return false };
        let repository = image.repository.to_string();
        let is_ours = repository == release.repository
            || release.images.values().any(|it: &ReleaseImage| it.repository == image.repository);
        is_ours && image.digest.is_none_or(|digest| !release.includes(&digest))
    };
    let others = application.status.summary.images.iter().filter(is_other);
    changes.extend(others.map(|image| format!("runs {image}")));
    changes
}

/// The values that are not those that the promotion wrote.
fn values(
    told: &PromotedApplication,
    seen: &ObservedApp,
    application: &Application,
) -> Vec<String> {
    // Only the keys matter: what stands in them is what a plan has as old.
    let mut keys: BTreeMap<Option<usize>, OverrideValues> = BTreeMap::new();
    for it in &told.overrides {
        let source = || match (it.source, seen.app.sets.as_slice()) {
            (Some(position), _) => SourceChoice::Position(position),
            (None, [only]) => only.source.clone(),
            (None, _) => SourceChoice::Auto,
        };
        let keys = keys
            .entry(it.source)
            .or_insert_with(|| OverrideValues { source: source(), ..OverrideValues::default() });
        match it.kind.as_str() {
            "helm" => drop(keys.helm.insert(it.name.clone(), String::new())),
            _ => match format!("{0}={0}", it.name).parse() {
                Ok(image) => keys.kustomize.push(image),
                Err(_) => return vec![format!("has no value {}:{}", it.kind, it.name)],
            },
        }
    }
    let keys =
        OverrideValues { elsewhere: keys.into_values().collect(), ..OverrideValues::default() };
    let plan = match verbatim_argocd::plan(&reference(&seen.app), application, &keys) {
        Ok(plan) => plan,
        Err(why) => return why.iter().map(ToString::to_string).collect(),
    };
    let changed = told.overrides.iter().filter_map(|it| {
        let key = format!("{}:{}", it.kind, it.name);
        let is_it = |change: &&ValueChange| {
            change.key.to_string() == key
                && (it.source.is_none() || it.source == change.source.position())
        };
        let change = plan.changes.iter().find(is_it);
        let found = change.map_or_else(|| shown(None), ValueChange::shown_old);
        (found != it.after).then(|| format!("{key} is {found}, the promotion wrote {}", it.after))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use verbatim_argocd::claim_annotation;
    use verbatim_oci::Digest;

    use super::*;
    use crate::config::App;

    const NOW: &str = "2026-11-28T10:00:00Z";

    fn promotion() -> Promotion {
        let x = Digest::of(b"x");
        let proven = json!({ "outcome": "proven" });
        let application = json!({
            "name": "web", "server": "https://a.example/",
            "overrides": [
                { "kind": "helm", "name": "image.tag", "after": format!("2@{x}") },
                { "kind": "helm", "name": "image.repository", "after": "r.example/app" },
            ],
            "proof": {
                "spec": proven, "operation": proven, "manifests": proven,
                "running": { "outcome": "proven", "evidence": { "health": "Degraded" } },
            },
        });
        let promotion = json!({
            "environment": "shop/dev", "applications": [application],
            "release": { "digest": x, "repository": "r.example/app" },
            "startedAt": NOW, "finishedAt": NOW, "chain": { "sequence": 1 },
        });
        serde_json::from_value(promotion).unwrap()
    }

    /// An application as it was proven, with changes.
    fn seen(change: impl FnOnce(&mut Value)) -> ObservedApp {
        let x = Digest::of(b"x");
        let element = |name: &str, value: &str| json!({ "name": name, "value": value });
        let mut application = json!({
            "metadata": { "name": "web" },
            "spec": { "source": { "repoURL": "r", "path": "c", "helm": { "parameters": [
                element("image.repository", "r.example/app"),
                element("image.tag", &format!("2@{x}")),
            ] } } },
            "status": {
                "sync": { "status": "Synced" }, "health": { "status": "Healthy" }, "sourceType": "Helm",
                "summary": { "images": ["envoy:1", format!("r.example/app:2@{x}")] },
            },
        });
        change(&mut application);
        let application = Ok(serde_json::from_value(application).unwrap());
        let server_url = "https://a.example/".to_owned();
        ObservedApp { app: App::sample("web", &[]), server_url, application }
    }

    #[test]
    fn what_is_signed_late_is_still_true() {
        let x = Digest::of(b"x");
        type Change = fn(&mut Value);
        let cases: [(Change, Option<String>); 9] = [
            (|_| {}, None),
            // It was so when it was proven.
            (|app| app["status"]["health"]["status"] = json!("Degraded"), None),
            (|app| app["status"]["health"]["status"] = json!("Suspended"), None),
            (|app| app["status"]["health"]["status"] = json!("Missing"), Some("web: is Missing".into())),
            (|app| app["status"]["sync"]["status"] = json!("OutOfSync"), Some("web: is OutOfSync".into())),
            (
                |app| app["spec"]["source"]["helm"]["parameters"][1]["value"] = json!("3"),
                Some(format!("web: helm:image.tag is 3, the promotion wrote 2@{x}")),
            ),
            (
                |app| app["spec"]["source"]["helm"] = json!({}),
                Some(format!(
                    "web: helm:image.tag is (absent), the promotion wrote 2@{x}; \
                     web: helm:image.repository is (absent), the promotion wrote r.example/app"
                )),
            ),
            (
                |app| app["status"]["summary"]["images"][0] = json!("r.example/app:1"),
                Some("web: runs r.example/app:1".into()),
            ),
            (
                |app| {
                    let claim = json!({
                        "version": 1, "environment": "shop/dev", "nonce": "n", "state": "open", "release": "r2",
                        "by": "ci", "source": "single", "changes": [],
                        "at": "2026-11-28T09:50:00Z", "deadline": "2026-11-28T10:05:00Z",
                    });
                    let name = claim_annotation(Some("shop/dev"));
                    app["metadata"]["annotations"] = json!({ name: claim.to_string() });
                },
                Some("a promotion of r2 by ci, started at 2026-11-28T09:50:00Z, has until 2026-11-28T10:05:00Z (web)".into()),
            ),
        ];
        for (change, want) in cases {
            let got = changed_since(&promotion(), &[seen(change)], NOW.parse().unwrap());
            assert_eq!(got.join("; "), want.unwrap_or_default());
        }
        let gone = changed_since(&promotion(), &[], NOW.parse().unwrap());
        assert_eq!(gone, ["web: is no application of the environment"]);
    }
}
