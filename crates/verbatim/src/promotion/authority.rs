//! What a plan asks for that only somebody with the right to it can grant: gates that are overridden, applications that are
//! left out. Nobody signs a plan, so it is the word of whoever wrote the file. It counts if it is said again when the plan
//! is applied, or if somebody who may override approved exactly this plan. Pure.

use jiff::Timestamp;
use verbatim_console::{ExitStatus, Failure};
use verbatim_record::{Approval, KeyRing, Power, Verified};
use verbatim_text::one_line;

use super::overrides::Overrides;
use super::plan::GateOverride;
use super::saved::SavedPlan;

/// What a plan asks for and nobody repeated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsaid<'a> {
    overrides: Vec<&'a GateOverride>,
    without: Vec<&'a str>,
}

impl<'a> Unsaid<'a> {
    /// What of it is not among what is said now.
    pub(crate) fn of(saved: &'a SavedPlan, overrides: &Overrides, without: &[String]) -> Self {
        let of_plan = saved.plan.overrides.iter();
        let left_out = saved.plan.without.iter().map(String::as_str);
        let is_named = |app: &&str| {
            let name = app.rsplit_once('/').map_or(*app, |(_, name)| name);
            without.iter().any(|said| said == app || said == name)
        };
        Self {
            overrides: of_plan.filter(|it| !overrides.names(&it.gate)).collect(),
            without: left_out.filter(|app| !is_named(app)).collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.overrides.is_empty() && self.without.is_empty()
    }

    /// The overrides of it, for a plan that is approved.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides::planned(self.overrides.iter().copied())
    }

    /// What was tried, and how it would count.
    pub(crate) fn refusal(&self, saved: &SavedPlan) -> Failure {
        let overrides = self.overrides.iter().map(|it| {
            let (gate, reason) = (one_line(&it.gate), one_line(&it.reason));
            format!("the plan overrides the gate `{gate}`: {reason}")
        });
        let without =
            self.without.iter().map(|app| format!("the plan leaves out {}", one_line(app)));
        let what: Vec<String> = overrides.chain(without).collect();
        let said =
            self.overrides.iter().map(|it| format!(" --override-gate {}", one_line(&it.gate)));
        let reason = if self.overrides.is_empty() { "" } else { " --reason TEXT" };
        let left_out = self.without.iter().map(|app| format!(" --without {}", one_line(app)));
        let said: String = said.chain([reason.to_owned()]).chain(left_out).collect();
        let environment = saved.plan.environment.name();
        Failure::new(ExitStatus::No, what.join("; "))
            .hint("a plan is a file that anybody may have written: say it again, or approve this plan")
            .hint(format!("to say it again: verbatim apply PLAN{said}"))
            .hint(format!(
                "to approve it, with a key that may override gates: verbatim approve {environment} --release {} --plan PLAN",
                saved.plan.release.digest
            ))
    }
}

/// Whether somebody who may override gates approved exactly this plan.
pub(crate) fn is_approved(
    saved: &SavedPlan,
    approvals: &[Verified<Approval>],
    ring: &KeyRing,
    now: Timestamp,
) -> bool {
    let plan = &saved.plan;
    approvals.iter().any(|approval| {
        let said = approval.predicate();
        said.plan == Some(saved.hash)
            && approval.environment() == Some(&plan.environment)
            && approval.statement().is_about(&plan.release.digest)
            && said.until.is_none_or(|until| now < until)
            && ring.has_power(&approval.signer().roles, Power::OverrideGate)
    })
}

#[cfg(test)]
mod tests {
    use verbatim_oci::Digest;

    use super::*;
    use crate::promotion::plan::PromotionPlan;
    use crate::release::Release;

    #[test]
    fn what_nobody_says_again_is_told() {
        let asked =
            |gate: &str| GateOverride { gate: gate.to_owned(), reason: "x\u{1b}".to_owned() };
        let saved = SavedPlan::new(PromotionPlan {
            environment: "shop/dev".parse().unwrap(),
            release: Release::sample("registry.example/shop"),
            made_at: Timestamp::UNIX_EPOCH,
            policy: Some(Digest::of(b"policy")),
            ledger: None,
            overrides: vec![asked("windows"), asked("tested")],
            without: vec!["argocd/old".to_owned()],
            apps: Vec::new(),
        });
        let cases: [(&[&str], &[&str], &str); 5] = [
            (
                &[],
                &[],
                "the plan overrides the gate `windows`: x\\u{1b}; the plan overrides the gate `tested`: x\\u{1b}; the plan leaves out argocd/old",
            ),
            (&["tested"], &["old"], "the plan overrides the gate `windows`: x\\u{1b}"),
            (&["tested", "windows"], &[], "the plan leaves out argocd/old"),
            (&["tested", "windows"], &["other"], "the plan leaves out argocd/old"),
            (&["tested", "windows", "soak"], &["argocd/old"], ""),
        ];
        for (gates, without, want) in cases {
            let overrides: Vec<_> = gates.iter().map(|gate| asked(gate)).collect();
            let without: Vec<String> = without.iter().map(|app| (*app).to_owned()).collect();
            let unsaid = Unsaid::of(&saved, &Overrides::planned(&overrides), &without);
            assert_eq!(unsaid.is_empty(), want.is_empty());
            assert_eq!(unsaid.refusal(&saved).to_string(), want);
        }
    }
}
