//! Judges what the owner of an application, an ApplicationSet or a parent application, does to what is written. Pure.

use serde_json::Value;

use crate::judge::preflight::Inquiry;
use crate::model::{Application, ApplicationSet, ManagedResources};
use crate::overrides::values::ValueChange;

/// An owner of an application.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppOwner {
    /// `ApplicationSet` or `Application`.
    pub kind: &'static str,
    pub name: String,
    /// Whether it is known to be the owner, and not only named in a label that charts set on their own.
    pub is_certain: bool,
    /// What it will do to the values.
    pub effect: Inquiry<OwnerEffect>,
    /// Whether it leaves the claim there.
    pub keeps_claim: Inquiry<bool>,
    /// What must be merged into an ApplicationSet for values and claim to last, as YAML.
    pub exemption: String,
}

/// What an owner does to values that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerEffect {
    None,
    /// It reverts them with its next own change of what they are in.
    RevertsLater,
    /// It reverts them at once.
    Reverts,
}

/// The ApplicationSet that owns an application.
pub fn owning_set(app: &Application) -> Option<&str> {
    let owner =
        app.metadata.owner_references.iter().find(|owner| owner.kind == "ApplicationSet")?;
    Some(&owner.name)
}

/// The annotation by which an application is tracked.
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";

/// The label by which an application is tracked, unless `application.instanceLabelKey` in `argocd-cm` names another.
pub(crate) const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// Whether a label may say who tracks an application: it has some, and nothing better.
pub(crate) fn may_be_tracked_by_label(app: &Application) -> bool {
    !app.metadata.labels.is_empty() && !app.metadata.annotations.contains_key(TRACKING_ID)
}

/// An application that tracks another one as its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrackingParent<'a> {
    /// If it is not Argo CD's own.
    pub namespace: Option<&'a str>,
    pub name: &'a str,
    /// Charts set the label on their own. Only the parent's resources tell whether it means anything.
    pub by_label: bool,
}

/// The application that tracks this one as its resource: by annotation, or, where there is none, by label. The label is
/// the default before 3.0, and later with `resourceTrackingMethod: label`; `label_key` is its name.
pub(crate) fn tracking_parent<'a>(
    app: &'a Application,
    label_key: &str,
) -> Option<TrackingParent<'a>> {
    fn parent(parent: &str, by_label: bool) -> TrackingParent<'_> {
        let (namespace, name) = match parent.split_once('_') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, parent),
        };
        TrackingParent { namespace, name, by_label }
    }
    let Some(id) = app.metadata.annotations.get(TRACKING_ID) else {
        let name = app.metadata.labels.get(label_key)?;
        return (*name != app.metadata.name).then(|| parent(name, true));
    };
    let (owner, resource) = id.split_once(':')?;
    let (kind, place) = resource.rsplit_once(':')?;
    // Copied onto something else, the annotation says nothing.
    let ours =
        kind == "argoproj.io/Application" && place.rsplit('/').next() == Some(&app.metadata.name);
    ours.then(|| parent(owner, false))
}

/// An ApplicationSet as the owner of an application, or why it cannot be seen. `claim` is the annotation that is to last.
pub(crate) fn set_owner(
    name: &str,
    set: Result<ApplicationSet, String>,
    app: &str,
    claim: &str,
    changes: &[ValueChange],
) -> AppOwner {
    let (effect, keeps_claim) = match set {
        Ok(set) => (
            Inquiry::Is(effect_of_set(&set, app, changes)),
            Inquiry::Is(keeps_claim(&set, app, claim)),
        ),
        Err(why) => (Inquiry::Unknown(why.clone()), Inquiry::Unknown(why)),
    };
    let exemption = exemption(claim, changes);
    AppOwner {
        kind: "ApplicationSet",
        name: name.to_owned(),
        is_certain: true,
        effect,
        keeps_claim,
        exemption,
    }
}

/// What makes an ApplicationSet leave values and claim alone, as YAML in one line.
fn exemption(claim: &str, changes: &[ValueChange]) -> String {
    let paths = lists(changes);
    // A pointer with an index names another source once one is put before it, but so does jq.
    let in_jq = |path: &String| {
        let (index, rest) = path.strip_prefix("/spec/sources/")?.split_once('/')?;
        Some(format!("'.spec.sources[{index}].{}'", rest.replace('/', ".")))
    };
    let rule = match paths.iter().map(in_jq).collect::<Option<Vec<_>>>() {
        Some(paths) if !paths.is_empty() => format!("jqPathExpressions: [{}]", paths.join(", ")),
        _ => format!("jsonPointers: [{}]", paths.join(", ")),
    };
    format!(
        "spec: {{preservedFields: {{annotations: [{claim}]}}, ignoreApplicationDifferences: [{{{rule}}}]}}"
    )
}

/// Whether an ApplicationSet never writes to applications that are there.
fn only_creates(set: &ApplicationSet) -> bool {
    let policy = &set.spec.sync_policy.applications_sync;
    policy.starts_with("create-only") || policy.starts_with("create-delete")
}

/// Whether an ApplicationSet's rules for an application leave this part of it alone.
fn leaves_alone(set: &ApplicationSet, app: &str, pointer: &str) -> bool {
    let rules = &set.spec.ignore_application_differences;
    rules.iter().filter(|rule| rule.name.is_empty() || rule.name == app).any(|rule| {
        rule.json_pointers.iter().any(|ignored| pointer_covers(ignored, pointer))
            || rule.jq_path_expressions.iter().any(|path| jq_covers(path, pointer))
    })
}

/// Whether an ApplicationSet leaves the claim there. That its controller does so for all sets, nobody can see.
fn keeps_claim(set: &ApplicationSet, app: &str, claim: &str) -> bool {
    let pointer = format!("/metadata/annotations/{}", claim.replace('/', "~1"));
    only_creates(set)
        || set.spec.preserved_fields.annotations.iter().any(|kept| kept == claim)
        || leaves_alone(set, app, &pointer)
}

/// What an ApplicationSet does to these values. It reverts everything that it is not told to leave.
pub(crate) fn effect_of_set(
    set: &ApplicationSet,
    app: &str,
    changes: &[ValueChange],
) -> OwnerEffect {
    if only_creates(set) {
        return OwnerEffect::None;
    }
    if !lists(changes).iter().all(|list| leaves_alone(set, app, list)) {
        return OwnerEffect::Reverts;
    }
    // With any other difference in `sources` the set writes all of them, without what it ignores in them: a merge patch
    // has no elements (`CreateOrUpdate` in applicationset/utils/createOrUpdate.go of Argo CD 3.6.1).
    if writes_to_one_of_several(changes) && !leaves_alone(set, app, "/spec/sources") {
        OwnerEffect::RevertsLater
    } else {
        OwnerEffect::None
    }
}

/// What a parent application does to these values. It reverts only what its manifest in git mentions.
pub(crate) fn effect_of_parent(
    parent: &Application,
    child: &ManagedResources,
    changes: &[ValueChange],
) -> OwnerEffect {
    let lists = lists(changes);
    // `sources` is an array, and a merge of a custom resource replaces it as a whole.
    let touched = match writes_to_one_of_several(changes) {
        false => lists.clone(),
        true => vec!["/spec/sources".to_owned()],
    };
    let mentioned = child
        .items
        .iter()
        .filter_map(|item| serde_json::from_str::<Value>(&item.target_state).ok())
        .any(|target| {
            touched.iter().any(|part| target.pointer(part).is_some_and(|value| !value.is_null()))
        });
    if !mentioned || (respects_ignored(parent) && ignores(parent, &lists)) {
        return OwnerEffect::None;
    }
    let heals = parent.spec.is_automated() && parent.spec.automated().is_some_and(|a| a.self_heal);
    if heals { OwnerEffect::Reverts } else { OwnerEffect::RevertsLater }
}

fn respects_ignored(parent: &Application) -> bool {
    let options = parent.spec.sync_policy.as_ref().map(|policy| policy.sync_options.as_slice());
    options.unwrap_or_default().iter().any(|option| option == "RespectIgnoreDifferences=true")
}

fn ignores(parent: &Application, lists: &[String]) -> bool {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule.get(field).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    lists.iter().all(|list| {
        parent.spec.ignore_differences.iter().any(|rule| {
            rule.get("kind").and_then(Value::as_str) == Some("Application")
                && (texts(rule, "jsonPointers").iter().any(|pointer| pointer_covers(pointer, list))
                    || texts(rule, "jqPathExpressions").iter().any(|path| jq_covers(path, list)))
        })
    })
}

/// The lists that a write touches, as JSON pointers into the application.
fn lists(changes: &[ValueChange]) -> Vec<String> {
    let list = |change: &ValueChange| format!("{}{}", change.source.pointer(), change.key.list());
    let mut lists: Vec<_> = changes.iter().map(list).collect();
    lists.dedup();
    lists
}

/// Whether it is `sources` that a write touches.
fn writes_to_one_of_several(changes: &[ValueChange]) -> bool {
    changes.iter().any(|change| change.source.position().is_some())
}

fn pointer_covers(pointer: &str, list: &str) -> bool {
    list == pointer || list.starts_with(&format!("{}/", pointer.trim_end_matches('/')))
}

/// Whether a jq path names a pointer's value or something around it. Only plain paths are understood; `[]` is every index.
fn jq_covers(path: &str, pointer: &str) -> bool {
    let Some(parts) = jq_parts(path) else { return false };
    let mut names =
        pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
    !parts.is_empty()
        && parts.into_iter().all(|part| match (names.next(), part) {
            (Some(name), Some(part)) => name == part,
            (Some(name), None) => name.parse::<usize>().is_ok(),
            (None, _) => false,
        })
}

/// The names and indexes of a plain jq path; `None` among them is every index.
fn jq_parts(path: &str) -> Option<Vec<Option<String>>> {
    let mut parts = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        let (part, after) = if let Some(after) = rest.strip_prefix('?') {
            rest = after;
            continue;
        } else if let Some(after) = rest.strip_prefix("[]") {
            (None, after)
        } else if let Some(inner) = rest.strip_prefix("[\"").or(rest.strip_prefix(".[\"")) {
            let (name, after) = inner.split_once("\"]")?;
            (Some(name), after)
        } else if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']')?;
            index.parse::<usize>().ok()?;
            (Some(index), after)
        } else if let Some(inner) = rest.strip_prefix(".\"") {
            let (name, after) = inner.split_once('"')?;
            (Some(name), after)
        } else {
            let inner = rest.strip_prefix('.')?;
            let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
            (Some(inner.get(..end).filter(|name| !name.is_empty())?), &inner[end..])
        };
        parts.push(part.map(str::to_owned));
        rest = after;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::SourceAt;
    use crate::overrides::values::OverrideKey;

    fn change(source: SourceAt) -> Vec<ValueChange> {
        let key = OverrideKey::Helm("image.tag".into());
        vec![ValueChange { source, key, old: None, new: json!({}) }]
    }

    fn app(metadata: Value) -> Application {
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn owners_are_recognised() {
        let recorded: Value = serde_json::from_str(include_str!(
            "../../tests/fixtures/app-owned-by-applicationset.json"
        ))
        .unwrap();
        let owned: Application = serde_json::from_value(recorded["body"].clone()).unwrap();
        assert_eq!(owning_set(&owned), Some("s6plain"));
        assert_eq!(
            owning_set(&app(json!({ "ownerReferences": [{ "kind": "Other", "name": "x" }] }))),
            None
        );
        let tracked = |id: &str| {
            app(json!({ "name": "child", "annotations": { "argocd.argoproj.io/tracking-id": id } }))
        };
        let by = |namespace, name, by_label| Some(TrackingParent { namespace, name, by_label });
        let cases = [
            ("root:argoproj.io/Application:argocd/child", by(None, "root", false)),
            ("team_root:argoproj.io/Application:argocd/child", by(Some("team"), "root", false)),
            ("root:argoproj.io/Application:argocd/other", None),
            ("root:apps/Deployment:shop/child", None),
            ("nonsense", None),
        ];
        for (id, want) in cases {
            assert_eq!(tracking_parent(&tracked(id), INSTANCE_LABEL), want, "{id}");
        }
        let labelled = |label: &str, more: Value| {
            let mut metadata =
                json!({ "name": "child", "labels": { "app.kubernetes.io/instance": label } });
            metadata["annotations"] = more;
            app(metadata)
        };
        for (label, annotations, want) in [
            ("root", Value::Null, by(None, "root", true)),
            ("team_root", Value::Null, by(Some("team"), "root", true)),
            // Its own, as charts set it.
            ("child", Value::Null, None),
            ("root", json!({ "argocd.argoproj.io/tracking-id": "root:apps/Deployment:a/b" }), None),
        ] {
            assert_eq!(
                tracking_parent(&labelled(label, annotations), INSTANCE_LABEL),
                want,
                "{label}"
            );
        }
    }

    #[test]
    fn an_applicationset_reverts_what_it_is_not_told_to_leave() {
        use OwnerEffect::{None, Reverts, RevertsLater};
        let ignore = |rule: Value| json!({ "ignoreApplicationDifferences": [rule] });
        let (single, second) = (SourceAt::Single, SourceAt::Index(1));
        let cases = [
            (json!({}), single, Reverts),
            (ignore(json!({ "jsonPointers": ["/spec/source/helm/parameters"] })), single, None),
            (ignore(json!({ "jsonPointers": ["/spec/source"] })), single, None),
            (ignore(json!({ "jsonPointers": ["/spec/source/helm/para"] })), single, Reverts),
            (ignore(json!({ "jsonPointers": ["/spec/source/kustomize"] })), single, Reverts),
            (ignore(json!({ "name": "a", "jsonPointers": ["/spec/source/helm"] })), single, None),
            (
                ignore(json!({ "name": "b", "jsonPointers": ["/spec/source/helm"] })),
                single,
                Reverts,
            ),
            (
                ignore(json!({ "jqPathExpressions": [".spec.source.helm.parameters"] })),
                single,
                None,
            ),
            (
                ignore(json!({ "jqPathExpressions": [".spec.sources[]?.helm.\"parameters\""] })),
                second,
                RevertsLater,
            ),
            (
                ignore(json!({ "jqPathExpressions": [".spec.sources[1].helm"] })),
                second,
                RevertsLater,
            ),
            (ignore(json!({ "jqPathExpressions": [".spec.sources[0].helm"] })), second, Reverts),
            (ignore(json!({ "jqPathExpressions": [".spec.sources"] })), second, None),
            (ignore(json!({ "jsonPointers": ["/spec/sources"] })), second, None),
            (
                ignore(json!({ "jqPathExpressions": [".spec.sources[] | select(.name)"] })),
                second,
                Reverts,
            ),
            (ignore(json!({ "jsonPointers": ["/spec/sources/1/helm"] })), second, RevertsLater),
            (ignore(json!({ "jsonPointers": ["/spec/sources/0/helm"] })), second, Reverts),
            (json!({ "syncPolicy": { "applicationsSync": "create-only" } }), single, None),
            (json!({ "syncPolicy": { "applicationsSync": "create-update" } }), single, Reverts),
        ];
        for (spec, at, want) in cases {
            let set: ApplicationSet = serde_json::from_value(json!({ "spec": spec })).unwrap();
            assert_eq!(effect_of_set(&set, "a", &change(at)), want, "{spec}");
        }
    }

    #[test]
    fn an_exemption_names_the_source() {
        for (at, rule) in [
            (SourceAt::Single, "jsonPointers: [/spec/source/helm/parameters]"),
            (SourceAt::Index(1), "jqPathExpressions: ['.spec.sources[1].helm.parameters']"),
        ] {
            let want = format!(
                "spec: {{preservedFields: {{annotations: [verbatim.dev/claim.shop.dev]}}, \
                 ignoreApplicationDifferences: [{{{rule}}}]}}"
            );
            assert_eq!(exemption("verbatim.dev/claim.shop.dev", &change(at)), want);
        }
    }

    #[test]
    fn a_jq_path_covers_what_it_names_and_everything_below() {
        let list = "/spec/sources/1/helm/parameters";
        for (path, pointer, want) in [
            (".spec.sources[1].helm.parameters", list, true),
            (".spec", list, true),
            (".\"spec\"[\"sources\"][].helm", list, true),
            (".[\"spec\"]", list, true),
            (".spec.sources[1].helm.parameters[0]", list, false),
            (".spec.sources.helm", list, false),
            (".spec[].sources", list, false),
            (".spec.source", list, false),
            (".spec | .sources", list, false),
            (".spec.sources[0:2]", list, false),
            (".spec.sources[", list, false),
            ("..", list, false),
            (".", list, false),
            ("", list, false),
            (
                ".metadata.annotations[\"verbatim.dev/claim\"]",
                "/metadata/annotations/verbatim.dev~1claim",
                true,
            ),
            (".metadata.annotations", "/metadata/annotations/verbatim.dev~1claim", true),
            (".metadata.annotations.other", "/metadata/annotations/verbatim.dev~1claim", false),
        ] {
            assert_eq!(jq_covers(path, pointer), want, "{path}");
        }
    }

    #[test]
    fn a_parent_reverts_only_what_its_manifest_mentions() {
        let heals = json!({ "syncPolicy": { "automated": { "selfHeal": true } } });
        let waits = json!({ "syncPolicy": { "automated": {} } });
        let respects = json!({
            "syncPolicy": { "automated": { "selfHeal": true }, "syncOptions": ["RespectIgnoreDifferences=true"] },
            "ignoreDifferences": [{ "group": "argoproj.io", "kind": "Application", "jsonPointers": ["/spec/source/helm"] }],
        });
        let with = json!({ "spec": { "source": { "helm": { "parameters": [] } } } }).to_string();
        let without =
            json!({ "spec": { "source": { "helm": { "releaseName": "x" } } } }).to_string();
        let cases = [
            (&heals, &with, OwnerEffect::Reverts),
            (&waits, &with, OwnerEffect::RevertsLater),
            (&heals, &without, OwnerEffect::None),
            (&respects, &with, OwnerEffect::None),
        ];
        for (spec, target, want) in cases {
            let parent: Application = serde_json::from_value(json!({ "spec": spec })).unwrap();
            let child: ManagedResources =
                serde_json::from_value(json!({ "items": [{ "targetState": target }] })).unwrap();
            assert_eq!(
                effect_of_parent(&parent, &child, &change(SourceAt::Single)),
                want,
                "{spec} {target}"
            );
        }
        // Of several sources all are replaced, whatever the manifest says of each.
        let sources = json!({ "spec": { "sources": [{ "repoURL": "r" }] } }).to_string();
        let ignoring = |pointer: &str| {
            let mut spec = respects.clone();
            spec["ignoreDifferences"][0]["jsonPointers"] = json!([pointer]);
            spec
        };
        for (spec, target, want) in [
            (heals.clone(), &sources, OwnerEffect::Reverts),
            (waits.clone(), &sources, OwnerEffect::RevertsLater),
            (heals.clone(), &with, OwnerEffect::None),
            // A live array takes the place of the wanted one when anything in it is ignored.
            (ignoring("/spec/sources/1/helm"), &sources, OwnerEffect::None),
            (ignoring("/spec/sources/0/helm"), &sources, OwnerEffect::Reverts),
        ] {
            let parent: Application = serde_json::from_value(json!({ "spec": spec })).unwrap();
            let child: ManagedResources =
                serde_json::from_value(json!({ "items": [{ "targetState": target }] })).unwrap();
            let got = effect_of_parent(&parent, &child, &change(SourceAt::Index(1)));
            assert_eq!(got, want, "{spec} {target}");
        }
    }
}
