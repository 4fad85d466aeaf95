//! Judges, before anything is written, whether the write may happen and would last. Pure.

use crate::judge::owner::{AppOwner, OwnerEffect};
use crate::judge::plan::{UnlistedParameter, unlisted_parameters};
use crate::judge::refusal::WriteRefusal;
use crate::judge::warning::DeployWarning;
use crate::model::{SourceAt, SyncWindow, SyncWindows};
use crate::overrides::plan::AppPlan;

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

/// Whose credentials change an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The token, through Argo CD.
    Token,
    /// The kubeconfig, through the Kubernetes API.
    Kubeconfig,
}

/// What was found out before the write.
#[derive(Clone, Debug)]
pub(crate) struct Preconditions {
    /// Which credentials write.
    pub writer: Writer,
    /// Whether they may.
    pub may_update: Inquiry<bool>,
    pub may_sync: Inquiry<bool>,
    pub windows: Inquiry<SyncWindows>,
    /// The parameters that the charts list, each with the source that has the chart.
    pub parameters: Inquiry<Vec<(SourceAt, String)>>,
    pub owner: Option<AppOwner>,
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
    let of_token = |action: &str| WriteRefusal::MayNot { action: action.into() };
    let (write, writing) = match facts.writer {
        Writer::Token => (of_token("update"), "whether the token may update"),
        Writer::Kubeconfig => (WriteRefusal::MayNotPatch, "whether the kubeconfig may patch"),
    };
    let rights = [
        (write, writing, &facts.may_update),
        (of_token("sync"), "whether the token may sync", &facts.may_sync),
    ];
    for (refusal, what, may) in rights {
        match may {
            Inquiry::Is(false) => refusals.push(refusal),
            Inquiry::Unknown(why) => warnings.push(not_checked(what, why)),
            _ => {}
        }
    }
    match &facts.windows {
        Inquiry::Is(windows) => {
            let closing = closing_windows(windows);
            refusals.extend(closing.map(|windows| WriteRefusal::SyncWindow { windows }));
        }
        Inquiry::Unknown(why) => warnings.push(not_checked("the sync windows", why)),
        Inquiry::NotAsked => {}
    }
    match &facts.parameters {
        Inquiry::Is(_) if waivers.unknown_parameters => {}
        Inquiry::Is(known) => {
            for UnlistedParameter { name, meant } in unlisted_parameters(plan, known) {
                match meant {
                    Some(similar) => refusals
                        .push(WriteRefusal::MissingParameter { name, similar: Some(similar) }),
                    None => warnings.push(not_checked(
                        &format!("whether the chart reads {name}"),
                        "its values do not list it",
                    )),
                }
            }
        }
        Inquiry::Unknown(why) => warnings.push(not_checked("the chart's parameters", why)),
        Inquiry::NotAsked => {}
    }
    if let Some(owner) = &facts.owner {
        let refusal = |known| WriteRefusal::Owned {
            kind: owner.kind.into(),
            name: owner.name.clone(),
            known,
            exemption: owner.exemption.clone(),
        };
        let warning = DeployWarning::Owner { kind: owner.kind.into(), name: owner.name.clone() };
        match &owner.effect {
            Inquiry::Is(OwnerEffect::None) | Inquiry::NotAsked => {}
            Inquiry::Is(OwnerEffect::Reverts) if !waivers.owner => refusals.push(refusal(true)),
            // An ApplicationSet reverts unless told not to; a parent application reverts only what it mentions.
            Inquiry::Unknown(_) if owner.kind == "ApplicationSet" && !waivers.owner => {
                refusals.push(refusal(false));
            }
            Inquiry::Unknown(why) if !owner.is_certain => {
                let what = format!("whether application {} tracks this one", owner.name);
                warnings.push(not_checked(&what, why));
            }
            _ => warnings.push(warning),
        }
        if refusals.iter().all(|refusal| !matches!(refusal, WriteRefusal::Owned { .. }))
            && owner.keeps_claim == Inquiry::Is(false)
        {
            let (set, exemption) = (owner.name.clone(), owner.exemption.clone());
            warnings.push(DeployWarning::ClaimWiped { set, exemption });
        }
    }
    (refusals, warnings)
}

/// The windows that forbid a sync by hand, if it is forbidden: those that deny it now, or else those that would allow it at
/// another time.
pub(crate) fn closing_windows(windows: &SyncWindows) -> Option<Vec<String>> {
    if windows.can_sync {
        return None;
    }
    let of = |windows: &[SyncWindow], kind: &str| -> Vec<String> {
        let windows = windows.iter().filter(|window| window.kind == kind);
        windows
            .map(|window| format!("{} {} for {}", window.kind, window.schedule, window.duration))
            .collect()
    };
    let denying = of(&windows.active_windows, "deny");
    Some(if denying.is_empty() { of(&windows.assigned_windows, "allow") } else { denying })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::request::AppRef;
    use crate::judge::owner::set_owner;
    use crate::model::{ApplicationSet, Info};
    use crate::overrides::claim::ANNOTATION;
    use crate::overrides::values::{OverrideKey, ValueChange};

    fn change() -> Vec<ValueChange> {
        let key = OverrideKey::Helm("image.tag".into());
        vec![ValueChange { source: SourceAt::Single, key, old: None, new: json!({}) }]
    }

    fn plan() -> AppPlan {
        AppPlan { app: AppRef::new("a"), sources: Vec::new(), changes: change() }
    }

    fn owner(kind: &'static str, effect: Inquiry<OwnerEffect>) -> AppOwner {
        AppOwner {
            kind,
            name: "s".into(),
            is_certain: true,
            effect,
            keeps_claim: Inquiry::NotAsked,
            exemption: String::new(),
        }
    }

    /// All is well but for what the owner does.
    fn owned(owner: AppOwner) -> Preconditions {
        Preconditions {
            writer: Writer::Token,
            may_update: Inquiry::Is(true),
            may_sync: Inquiry::Is(true),
            windows: Inquiry::Is(SyncWindows { can_sync: true, ..SyncWindows::default() }),
            parameters: Inquiry::NotAsked,
            owner: Some(owner),
        }
    }

    #[test]
    fn a_claim_that_will_be_wiped_is_told_with_what_keeps_it() {
        let exempt = json!([{ "jsonPointers": ["/spec/source/helm/parameters"] }]);
        let pointer = json!([{ "jsonPointers": ["/spec/source/helm", "/metadata/annotations"] }]);
        let other = json!([
            { "jsonPointers": ["/spec/source"] },
            { "name": "b", "jqPathExpressions": [".metadata.annotations"] },
        ]);
        let yaml = "spec: {preservedFields: {annotations: [verbatim.dev/claim]}, \
                    ignoreApplicationDifferences: [{jsonPointers: [/spec/source/helm/parameters]}]}";
        let plan = plan();
        for (spec, is_wiped) in [
            (json!({ "ignoreApplicationDifferences": exempt }), true),
            (
                json!({ "ignoreApplicationDifferences": exempt,
                     "preservedFields": { "annotations": ["other", "verbatim.dev/claim"] } }),
                false,
            ),
            (json!({ "ignoreApplicationDifferences": pointer }), false),
            (json!({ "ignoreApplicationDifferences": other }), true),
            (json!({ "syncPolicy": { "applicationsSync": "create-only" } }), false),
        ] {
            let set: ApplicationSet = serde_json::from_value(json!({ "spec": spec })).unwrap();
            let owner = set_owner("s", Ok(set), "a", ANNOTATION, &plan.changes);
            let (refusals, warnings) = judge(&plan, &owned(owner), Waivers::default());
            assert!(refusals.is_empty(), "{spec} {refusals:?}");
            let told = DeployWarning::ClaimWiped { set: "s".into(), exemption: yaml.to_owned() };
            assert_eq!(warnings, if is_wiped { vec![told] } else { vec![] }, "{spec}");
        }
        // What is refused says it in its advice.
        let owner = set_owner("s", Ok(ApplicationSet::default()), "a", ANNOTATION, &plan.changes);
        let (refusals, warnings) = judge(&plan, &owned(owner), Waivers::default());
        assert!(refusals[0].advice().unwrap().contains(yaml) && warnings.is_empty());
    }

    #[test]
    fn windows_that_forbid_a_sync_are_named() {
        let window = |kind: &str, schedule: &str| json!({ "kind": kind, "schedule": schedule, "duration": "1h" });
        let (deny, allow) = (window("deny", "0 9 * * *"), window("allow", "0 22 * * *"));
        let cases = [
            (json!({ "canSync": true, "activeWindows": [deny] }), None),
            (
                json!({ "activeWindows": [deny, allow], "assignedWindows": [deny, allow] }),
                Some(vec!["deny 0 9 * * * for 1h"]),
            ),
            (json!({ "assignedWindows": [deny, allow] }), Some(vec!["allow 0 22 * * * for 1h"])),
            (json!({}), Some(vec![])),
        ];
        for (windows, want) in cases {
            let got = closing_windows(&serde_json::from_value(windows.clone()).unwrap());
            let want = want.map(|want| want.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(got, want, "{windows}");
        }
    }

    #[test]
    fn all_reasons_are_told_at_once() {
        let plan = plan();
        let set = |effect| Some(owner("ApplicationSet", effect));
        let bad = Preconditions {
            writer: Writer::Token,
            may_update: Inquiry::Is(true),
            may_sync: Inquiry::Is(false),
            windows: Inquiry::Is(SyncWindows::default()),
            parameters: Inquiry::Is(vec![(SourceAt::Single, "image.tags".into())]),
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
        assert!(
            refusals.iter().all(|refusal| refusal.advice().is_some() || refusal.remedy().is_some())
        );
        assert!(warnings.is_empty());

        let unknown = || Inquiry::Unknown("403".into());
        let unseen = Preconditions {
            writer: Writer::Token,
            may_update: Inquiry::Unknown("x".into()),
            may_sync: Inquiry::Is(true),
            windows: Inquiry::Unknown("x".into()),
            parameters: Inquiry::Unknown("x".into()),
            owner: Some(owner("Application", unknown())),
        };
        let (refusals, warnings) = judge(&plan, &unseen, Waivers::default());
        assert!(refusals.is_empty(), "{refusals:?}");
        assert_eq!(warnings.len(), 4);
    }

    #[test]
    fn owners_are_warned_of_refused_or_trusted() {
        use OwnerEffect::{None, Reverts, RevertsLater};
        let plan = AppPlan { app: AppRef::new("a"), sources: Vec::new(), changes: change() };
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
            let facts = owned(self::owner(kind, effect.clone()));
            let (refusals, warnings) =
                judge(&plan, &facts, Waivers { owner, ..Waivers::default() });
            assert_eq!((refusals.len(), warnings.len()), want, "{kind} {effect:?} {owner}");
        }
        let facts = owned(AppOwner { is_certain: false, ..self::owner("Application", unknown()) });
        let (_, warnings) = judge(&plan, &facts, Waivers::default());
        assert_eq!(
            warnings[0].to_string(),
            "cannot check whether application s tracks this one: 403"
        );
    }

    /// What Argo CD 3.6.1 lists for the chart of the recordings.
    #[test]
    fn the_recorded_chart_lists_its_parameters() {
        let recorded: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/appdetails.json")).unwrap();
        let details: crate::model::AppDetails =
            serde_json::from_value(recorded["body"].clone()).unwrap();
        let parameters = details.helm.unwrap().parameters.into_iter();
        let names: Vec<(SourceAt, String)> =
            parameters.map(|Info { name, .. }| (SourceAt::Single, name)).collect();
        let plan = |name: &str| AppPlan {
            app: AppRef::new("a"),
            sources: Vec::new(),
            changes: vec![ValueChange {
                source: SourceAt::Single,
                key: OverrideKey::Helm(name.into()),
                old: None,
                new: json!({}),
            }],
        };
        assert!(unlisted_parameters(&plan("image.digest"), &names).is_empty());
        assert_eq!(unlisted_parameters(&plan("image.hash"), &names).len(), 1);
    }
}
