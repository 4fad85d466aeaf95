//! What a promotion would write: values for each application, and the plan that is shown, hashed and executed. Pure.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_console::Table;
use verbatim_oci::Digest;
use verbatim_record::{Anchor, EnvironmentId};
use verbatim_text::one_line;

use crate::release::Release;

/// What would be written, with the state of the world it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromotionPlan {
    pub environment: EnvironmentId,
    pub release: Release,
    /// When it was made. Part of the hash, so that an approval of it is one of this age, too.
    pub made_at: Timestamp,
    /// The hash of the rules that were in force; absent if they could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The end of the ledger; absent if nothing was promoted there yet, or if two promotions are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Anchor>,
    /// The gates that it is let pass although they refuse. Whoever carries it out needs a key that may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<GateOverride>,
    /// Applications of the last promotion that left the environment for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The applications, in the order of the configuration.
    pub apps: Vec<PlannedApp>,
}

/// A gate that a release passes although it refuses, because somebody says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateOverride {
    pub gate: String,
    pub reason: String,
}

/// What would be written to one application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedApp {
    /// The name of its server in the configuration.
    pub server: String,
    /// The commits or chart versions that Argo CD compares it with, one a source.
    pub revisions: Vec<String>,
    /// The values, old and new.
    pub plan: verbatim_argocd::AppPlan,
}

impl PromotionPlan {
    /// The hash of what the plan says; part of the promotion record.
    pub(crate) fn hash(&self) -> Digest {
        // Through a value: its maps are sorted, so the same plan has the same bytes.
        let value = serde_json::to_value(self).unwrap_or_default();
        Digest::of(value.to_string().as_bytes())
    }

    /// How this plan differs from an earlier one for the same digest and environment; empty if the two are the same to the
    /// last byte.
    pub(crate) fn differences(&self, earlier: &PromotionPlan) -> Vec<String> {
        let mut differences = self.release.differences(&earlier.release);
        let ledger = |plan: &PromotionPlan| match &plan.ledger {
            Some(anchor) => format!("promotion {anchor}"),
            None => "no promotion".to_owned(),
        };
        if self.ledger != earlier.ledger {
            let (now, then) = (ledger(self), ledger(earlier));
            differences.push(format!(
                "the ledger of {} ends with {now}, did with {then}",
                self.environment
            ));
        }
        if self.policy != earlier.policy {
            let hash = |plan: &PromotionPlan| match &plan.policy {
                Some(hash) => hash.to_string(),
                None => "not known".to_owned(),
            };
            differences.push(format!("the policy is {}, was {}", hash(self), hash(earlier)));
        }
        for then in &earlier.apps {
            let name = &then.plan.app;
            let Some(now) = self.app(then) else {
                differences.push(format!("{name} is not part of {} any more", self.environment));
                continue;
            };
            let values = now.plan.differences(&then.plan);
            differences.extend(values.into_iter().map(|what| format!("{name}: {what}")));
            if now.revisions != then.revisions {
                let list = |revisions: &[String]| match revisions {
                    // Argo CD had not compared the application yet.
                    [] => "no known revision".to_owned(),
                    revisions => revisions.join(", "),
                };
                let (now, then) = (list(&now.revisions), list(&then.revisions));
                differences.push(format!("{name}: its sources are at {now}, were at {then}"));
            }
        }
        for now in self.apps.iter().filter(|now| earlier.app(now).is_none()) {
            differences.push(format!("{} is part of {} now", now.plan.app, self.environment));
        }
        if self.without != earlier.without {
            let list = |without: &[String]| match without {
                [] => "no application".to_owned(),
                without => without.join(", "),
            };
            let (now, then) = (list(&self.without), list(&earlier.without));
            differences.push(format!("{now} is left out, the plan leaves out {then}"));
        }
        // Whatever is added to plans one day: what is not the same is not what was planned.
        let (now, then) = (self.hash(), earlier.hash());
        if differences.is_empty() && now != then {
            differences.push(format!("the plan is {now} now, was {then}"));
        }
        differences.iter().map(|difference| one_line(difference)).collect()
    }

    /// The same application in this plan.
    fn app(&self, other: &PlannedApp) -> Option<&PlannedApp> {
        let is_same =
            |app: &&PlannedApp| app.server == other.server && app.plan.app == other.plan.app;
        self.apps.iter().find(is_same)
    }
}

impl fmt::Display for PromotionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} → {}", self.release, self.environment)?;
        let mut table = Table::new(["APPLICATION", "VALUE", "OLD", "NEW"]);
        for PlannedApp { plan, .. } in &self.apps {
            for change in &plan.changes {
                let (old, new) = match change.is_noop() {
                    true => ("(the same)".to_owned(), change.shown_new()),
                    false => (change.told_old(), change.shown_new()),
                };
                // A plan may come from a file that anybody wrote.
                let cells = [plan.app.to_string(), change.name(), old, new];
                table.row(cells.map(|cell| one_line(&cell)));
            }
        }
        write!(f, "{table}")?;
        self.without
            .iter()
            .try_for_each(|app| writeln!(f, "without {}, which left it", one_line(app)))?;
        self.overrides.iter().try_for_each(|it| {
            writeln!(f, "overrides the gate {}: {}", one_line(&it.gate), one_line(&it.reason))
        })
    }
}

#[cfg(test)]
mod tests {
    use verbatim_argocd::AppRef;

    use super::*;

    fn plan(change: impl FnOnce(&mut PromotionPlan)) -> PromotionPlan {
        let element = |value: &str| serde_json::json!({ "name": "image.tag", "value": value });
        let values = verbatim_argocd::AppPlan {
            app: AppRef::new("web"),
            sources: vec![verbatim_argocd::PlannedSource {
                at: verbatim_argocd::SourceAt::Single,
                name: "https://git.example/a chart".to_owned(),
            }],
            changes: vec![verbatim_argocd::ValueChange {
                source: verbatim_argocd::SourceAt::Single,
                key: verbatim_argocd::OverrideKey::Helm("image.tag".to_owned()),
                old: Some(element("1")),
                new: element("2"),
            }],
        };
        let mut plan = PromotionPlan {
            environment: "shop/dev".parse().unwrap(),
            release: Release::sample("registry.example/team/web:7.abc"),
            made_at: Timestamp::UNIX_EPOCH,
            policy: Some(Digest::of(b"policy")),
            ledger: Some(format!("3@{}", Digest::of(b"r")).parse().unwrap()),
            overrides: Vec::new(),
            without: Vec::new(),
            apps: vec![PlannedApp {
                server: "main".to_owned(),
                revisions: vec!["c0ffee".to_owned()],
                plan: values,
            }],
        };
        change(&mut plan);
        plan
    }

    #[test]
    fn a_plan_is_outdated_when_the_world_has_changed() {
        let element = |value: &str| serde_json::json!({ "name": "image.tag", "value": value });
        let (p, q) = (Digest::of(b"policy"), Digest::of(b"other"));
        let r = Digest::of(b"r");
        type Edit = Box<dyn FnOnce(&mut PromotionPlan)>;
        let cases: Vec<(Edit, Vec<String>)> = vec![
            (Box::new(|_| {}), vec![]),
            (
                Box::new(move |plan| plan.policy = Some(q)),
                vec![format!("the policy is {q}, was {p}")],
            ),
            (
                Box::new(|plan| plan.ledger = None),
                vec![format!(
                    "the ledger of shop/dev ends with no promotion, did with promotion 3@{r}"
                )],
            ),
            (
                Box::new(move |plan| plan.apps[0].plan.changes[0].old = Some(element("9"))),
                vec!["web: helm:image.tag is 9, was 1".to_owned()],
            ),
            (
                Box::new(|plan| plan.apps[0].revisions = vec!["beef".to_owned()]),
                vec!["web: its sources are at beef, were at c0ffee".to_owned()],
            ),
            (
                Box::new(|plan| plan.apps[0].revisions = Vec::new()),
                vec!["web: its sources are at no known revision, were at c0ffee".to_owned()],
            ),
            (
                Box::new(|plan| plan.apps[0].plan.app = AppRef::new("api")),
                vec![
                    "web is not part of shop/dev any more".to_owned(),
                    "api is part of shop/dev now".to_owned(),
                ],
            ),
            (
                Box::new(|plan| plan.without = vec!["old".to_owned()]),
                vec!["old is left out, the plan leaves out no application".to_owned()],
            ),
            (
                Box::new(|plan| plan.release.tag = Some("8.def".parse().unwrap())),
                vec!["the release does not have the tag `7.abc` of the plan, by the registry and by its build record".to_owned()],
            ),
        ];
        for (edit, want) in cases {
            assert_eq!(plan(edit).differences(&plan(|_| {})), want);
        }
    }

    /// Argo CD takes these for the same, and they are not what somebody approved.
    #[test]
    fn what_no_other_difference_tells_is_told_by_the_hash() {
        let then = plan(|_| {});
        let now = plan(|it| {
            it.apps[0].plan.changes[0].old.as_mut().unwrap()["forceString"] = false.into()
        });
        let want = format!("the plan is {} now, was {}", now.hash(), then.hash());
        assert_eq!(now.differences(&then), [want]);
    }

    #[test]
    fn a_plan_has_the_same_hash_after_it_was_kept() {
        let reason =
            |reason: &str| GateOverride { gate: "windows".to_owned(), reason: reason.to_owned() };
        let plans = [
            plan(|_| {}),
            plan(|it| it.overrides.push(reason("the shop is down"))),
            plan(|it| it.overrides.push(reason("no reason"))),
        ];
        for plan in &plans {
            let text = serde_json::to_string_pretty(plan).unwrap();
            let read: PromotionPlan = serde_json::from_str(&text).unwrap();
            assert_eq!((read.hash(), &read), (plan.hash(), plan));
        }
        // Whoever approves a plan approves what it overrides.
        let hashes: std::collections::BTreeSet<Digest> =
            plans.iter().map(PromotionPlan::hash).collect();
        assert_eq!(hashes.len(), plans.len());
    }
}
