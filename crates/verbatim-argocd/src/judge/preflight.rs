//! Judges, before anything is written, whether the write may happen and would last. Pure.

use serde_json::Value;

use crate::judge::plan::unknown_parameters;
use crate::judge::refusal::WriteRefusal;
use crate::judge::warning::DeployWarning;
use crate::model::{Application, ApplicationSet, ManagedResources, SourceAt, SyncWindows};
use crate::overrides::plan::AppPlan;
use crate::overrides::values::ValueChange;

/// What the user has taken on himself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waivers {
    /// Write although an owner may revert it, or may not be seen.
    pub owner: bool,
    /// Write parameters that the chart does not list.
    pub unknown_parameters: bool,
}

/// The answer to a question that may not be asked with every token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Inquiry<T> {
    Is(T),
    Unknown(String),
    /// It does not matter here.
    NotAsked,
}

/// What was found out before the write.
#[derive(Clone, Debug)]
pub(crate) struct Preconditions {
    /// Whether the token may write.
    pub may_update: Inquiry<bool>,
    pub may_sync: Inquiry<bool>,
    pub windows: Inquiry<SyncWindows>,
    /// The parameters that the chart lists.
    pub parameters: Inquiry<Vec<String>>,
    pub owner: Option<AppOwner>,
}

/// An owner of an application.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppOwner {
    /// `ApplicationSet` or `Application`.
    pub kind: &'static str,
    pub name: String,
    /// What it will do to the values.
    pub effect: Inquiry<OwnerEffect>,
}

/// What an owner does to values that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerEffect {
    None,
    /// It reverts them with its next own change.
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

/// The application that tracks this one as its resource, as its own tracking annotation says: namespace, if it is not
/// Argo CD's own, and name.
///
/// The tracking label of before 3.0 is not taken for it: charts set the same label on their own.
pub(crate) fn tracking_parent(app: &Application) -> Option<(Option<&str>, &str)> {
    let id = app.metadata.annotations.get("argocd.argoproj.io/tracking-id")?;
    let (parent, resource) = id.split_once(':')?;
    let (kind, place) = resource.rsplit_once(':')?;
    // Copied onto something else, the annotation says nothing.
    let ours =
        kind == "argoproj.io/Application" && place.rsplit('/').next() == Some(&app.metadata.name);
    ours.then(|| match parent.split_once('_') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, parent),
    })
}

/// What an ApplicationSet does to these values. It reverts everything that it is not told to leave.
pub(crate) fn effect_of_set(
    set: &ApplicationSet,
    app: &str,
    at: SourceAt,
    changes: &[ValueChange],
) -> OwnerEffect {
    if set.spec.sync_policy.applications_sync.starts_with("create-only")
        || set.spec.sync_policy.applications_sync.starts_with("create-delete")
    {
        return OwnerEffect::None;
    }
    let rules: Vec<_> = set
        .spec
        .ignore_application_differences
        .iter()
        .filter(|rule| rule.name.is_empty() || rule.name == app)
        .collect();
    let ignored = lists(at, changes).iter().all(|list| {
        rules.iter().any(|rule| {
            rule.json_pointers.iter().any(|pointer| pointer_covers(pointer, list))
                || rule.jq_path_expressions.iter().any(|path| jq_covers(path, list))
        })
    });
    if ignored { OwnerEffect::None } else { OwnerEffect::Reverts }
}

/// What a parent application does to these values. It reverts only what its manifest in git mentions.
pub(crate) fn effect_of_parent(
    parent: &Application,
    child: &ManagedResources,
    at: SourceAt,
    changes: &[ValueChange],
) -> OwnerEffect {
    let lists = lists(at, changes);
    let mentioned = child
        .items
        .iter()
        .filter_map(|item| serde_json::from_str::<Value>(&item.target_state).ok())
        .any(|target| {
            lists.iter().any(|list| target.pointer(list).is_some_and(|value| !value.is_null()))
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
fn lists(at: SourceAt, changes: &[ValueChange]) -> Vec<String> {
    let mut lists: Vec<_> =
        changes.iter().map(|change| format!("{}{}", at.pointer(), change.key.list())).collect();
    lists.dedup();
    lists
}

fn pointer_covers(pointer: &str, list: &str) -> bool {
    list == pointer || list.starts_with(&format!("{}/", pointer.trim_end_matches('/')))
}

/// Whether a jq path names the list or something around it. Only plain paths are understood; with indexes left away
/// on both sides, `.spec.sources[]` and `.spec.sources[1]` are the same.
fn jq_covers(path: &str, list: &str) -> bool {
    let mut plain = String::new();
    let mut depth = 0;
    for c in path.trim().chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            '?' | '"' => {}
            '.' if depth == 0 => plain.push('/'),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let without_index: Vec<&str> =
        list.split('/').filter(|part| part.parse::<usize>().is_err()).collect();
    !plain.contains([' ', '|', '(']) && pointer_covers(&plain, &without_index.join("/"))
}

/// Every reason not to write, and what should be known if it is written.
pub(crate) fn judge(
    plan: &AppPlan,
    facts: &Preconditions,
    waivers: Waivers,
) -> (Vec<WriteRefusal>, Vec<DeployWarning>) {
    let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
    let not_checked =
        |what: &str, why: &str| DeployWarning::NotChecked { what: what.into(), why: why.into() };
    for (action, may) in [("update", &facts.may_update), ("sync", &facts.may_sync)] {
        match may {
            Inquiry::Is(false) => refusals.push(WriteRefusal::MayNot { action: action.into() }),
            Inquiry::Unknown(why) => {
                warnings.push(not_checked(&format!("whether the token may {action}"), why))
            }
            _ => {}
        }
    }
    match &facts.windows {
        Inquiry::Is(windows) if !windows.can_sync => refusals.push(WriteRefusal::SyncWindow {
            windows: windows
                .active_windows
                .iter()
                .map(|window| {
                    format!("{} {} for {}", window.kind, window.schedule, window.duration)
                })
                .collect(),
        }),
        Inquiry::Unknown(why) => warnings.push(not_checked("the sync windows", why)),
        _ => {}
    }
    match &facts.parameters {
        Inquiry::Is(_) if waivers.unknown_parameters => {}
        Inquiry::Is(known) => refusals.extend(unknown_parameters(plan, known)),
        Inquiry::Unknown(why) => warnings.push(not_checked("the chart's parameters", why)),
        Inquiry::NotAsked => {}
    }
    if let Some(owner) = &facts.owner {
        let refusal = |known| WriteRefusal::Owned {
            kind: owner.kind.into(),
            name: owner.name.clone(),
            known,
        };
        let warning = DeployWarning::Owner { kind: owner.kind.into(), name: owner.name.clone() };
        match &owner.effect {
            Inquiry::Is(OwnerEffect::None) | Inquiry::NotAsked => {}
            Inquiry::Is(OwnerEffect::Reverts) if !waivers.owner => refusals.push(refusal(true)),
            // An ApplicationSet reverts unless told not to; a parent application reverts only what it mentions.
            Inquiry::Unknown(_) if owner.kind == "ApplicationSet" && !waivers.owner => {
                refusals.push(refusal(false));
            }
            _ => warnings.push(warning),
        }
    }
    (refusals, warnings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::request::AppRef;
    use crate::model::Info;
    use crate::overrides::values::OverrideKey;

    fn change() -> Vec<ValueChange> {
        vec![ValueChange { key: OverrideKey::Helm("image.tag".into()), old: None, new: json!({}) }]
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
        let cases = [
            ("root:argoproj.io/Application:argocd/child", Some((None, "root"))),
            ("team_root:argoproj.io/Application:argocd/child", Some((Some("team"), "root"))),
            ("root:argoproj.io/Application:argocd/other", None),
            ("root:apps/Deployment:shop/child", None),
            ("nonsense", None),
        ];
        for (id, want) in cases {
            assert_eq!(tracking_parent(&tracked(id)), want, "{id}");
        }
    }

    #[test]
    fn an_applicationset_reverts_what_it_is_not_told_to_leave() {
        use OwnerEffect::{None, Reverts};
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
                None,
            ),
            (
                ignore(json!({ "jqPathExpressions": [".spec.sources[] | select(.name)"] })),
                second,
                Reverts,
            ),
            (ignore(json!({ "jsonPointers": ["/spec/sources/1/helm"] })), second, None),
            (ignore(json!({ "jsonPointers": ["/spec/sources/0/helm"] })), second, Reverts),
            (json!({ "syncPolicy": { "applicationsSync": "create-only" } }), single, None),
            (json!({ "syncPolicy": { "applicationsSync": "create-update" } }), single, Reverts),
        ];
        for (spec, at, want) in cases {
            let set: ApplicationSet = serde_json::from_value(json!({ "spec": spec })).unwrap();
            assert_eq!(effect_of_set(&set, "a", at, &change()), want, "{spec}");
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
                effect_of_parent(&parent, &child, SourceAt::Single, &change()),
                want,
                "{spec} {target}"
            );
        }
    }

    #[test]
    fn all_reasons_are_told_at_once() {
        let plan = AppPlan {
            app: AppRef::new("a"),
            source: SourceAt::Single,
            source_name: String::new(),
            changes: change(),
        };
        let set = |effect| Some(AppOwner { kind: "ApplicationSet", name: "s".into(), effect });
        let bad = Preconditions {
            may_update: Inquiry::Is(true),
            may_sync: Inquiry::Is(false),
            windows: Inquiry::Is(SyncWindows::default()),
            parameters: Inquiry::Is(vec!["replicas".into()]),
            owner: set(Inquiry::Is(OwnerEffect::Reverts)),
        };
        let (refusals, warnings) = judge(&plan, &bad, Waivers::default());
        let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "the token may not sync the application",
                "a sync window forbids syncing now",
                "the chart has no parameter image.tag",
                "ApplicationSet s owns the application and would revert the override",
            ]
        );
        assert!(refusals.iter().all(|refusal| refusal.advice().is_some()));
        assert!(warnings.is_empty());

        let unknown = || Inquiry::Unknown("403".into());
        let unseen = Preconditions {
            may_update: Inquiry::Unknown("x".into()),
            may_sync: Inquiry::Is(true),
            windows: Inquiry::Unknown("x".into()),
            parameters: Inquiry::Unknown("x".into()),
            owner: Some(AppOwner { kind: "Application", name: "root".into(), effect: unknown() }),
        };
        let (refusals, warnings) = judge(&plan, &unseen, Waivers::default());
        assert!(refusals.is_empty(), "{refusals:?}");
        assert_eq!(warnings.len(), 4);
    }

    #[test]
    fn owners_are_warned_of_refused_or_trusted() {
        use OwnerEffect::{None, Reverts, RevertsLater};
        let plan = AppPlan {
            app: AppRef::new("a"),
            source: SourceAt::Single,
            source_name: String::new(),
            changes: change(),
        };
        let unknown = || Inquiry::Unknown("403".into());
        let cases = [
            ("ApplicationSet", Inquiry::Is(None), false, (0, 0)),
            ("ApplicationSet", Inquiry::NotAsked, false, (0, 0)),
            ("ApplicationSet", Inquiry::Is(Reverts), false, (1, 0)),
            ("ApplicationSet", Inquiry::Is(Reverts), true, (0, 1)),
            ("ApplicationSet", unknown(), false, (1, 0)),
            ("ApplicationSet", unknown(), true, (0, 1)),
            ("Application", Inquiry::Is(RevertsLater), false, (0, 1)),
            ("Application", unknown(), false, (0, 1)),
        ];
        for (kind, effect, owner, want) in cases {
            let facts = Preconditions {
                may_update: Inquiry::Is(true),
                may_sync: Inquiry::Is(true),
                windows: Inquiry::Is(SyncWindows { can_sync: true, ..SyncWindows::default() }),
                parameters: Inquiry::NotAsked,
                owner: Some(AppOwner { kind, name: "s".into(), effect: effect.clone() }),
            };
            let (refusals, warnings) =
                judge(&plan, &facts, Waivers { owner, ..Waivers::default() });
            assert_eq!((refusals.len(), warnings.len()), want, "{kind} {effect:?} {owner}");
        }
    }

    /// What Argo CD 3.6.1 lists for the chart of the recordings.
    #[test]
    fn the_recorded_chart_lists_its_parameters() {
        let recorded: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/appdetails.json")).unwrap();
        let details: crate::model::AppDetails =
            serde_json::from_value(recorded["body"].clone()).unwrap();
        let names: Vec<String> =
            details.helm.unwrap().parameters.into_iter().map(|Info { name, .. }| name).collect();
        let plan = |name: &str| AppPlan {
            app: AppRef::new("a"),
            source: SourceAt::Single,
            source_name: String::new(),
            changes: vec![ValueChange {
                key: OverrideKey::Helm(name.into()),
                old: None,
                new: json!({}),
            }],
        };
        assert!(unknown_parameters(&plan("image.digest"), &names).is_empty());
        assert_eq!(unknown_parameters(&plan("image.hash"), &names).len(), 1);
    }
}
