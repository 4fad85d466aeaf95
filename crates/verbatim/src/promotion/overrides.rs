//! Gates that a release passes although they refuse, because somebody with a key for it says so. What was overridden, and
//! why, becomes part of the record.

use clap::Args;
use verbatim_console::Failure;
use verbatim_policy::{Decision, Gates};
use verbatim_record::Power;

use crate::project::Project;
use crate::project::signer::RecordSigner;
use crate::promotion::plan::GateOverride;

/// Which gates, for a command that has a reason of its own.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GateArgs {
    /// Override this gate (break-glass); may be repeated. Needs a key with the role `break-glass`, and is recorded
    #[arg(long, value_name = "GATE", requires = "reason")]
    pub override_gate: Vec<String>,
}

/// Which gates, and why.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OverrideArgs {
    #[command(flatten)]
    gates: GateArgs,
    /// Why a gate is overridden; part of the record
    #[arg(long, value_name = "TEXT", requires = "override_gate")]
    reason: Option<String>,
}

impl OverrideArgs {
    /// What is to be overridden.
    pub(crate) fn overrides(&self) -> Result<Overrides, Failure> {
        self.gates.for_reason(self.reason.as_deref())
    }
}

impl GateArgs {
    /// What is to be overridden for a reason.
    pub(crate) fn for_reason(&self, reason: Option<&str>) -> Result<Overrides, Failure> {
        let reason = reason.unwrap_or_default().trim();
        if reason.is_empty() && !self.override_gate.is_empty() {
            return Err(Failure::usage("a gate is overridden for a reason, and --reason is empty"));
        }
        let gates = self.override_gate.iter();
        let told = |gate: &String| GateOverride { gate: gate.clone(), reason: reason.to_owned() };
        Ok(Overrides(gates.map(told).collect()))
    }
}

/// Gates to be overridden, each with the reason for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides(Vec<GateOverride>);

impl Overrides {
    /// Those that a plan has.
    pub(crate) fn planned<'a>(overrides: impl IntoIterator<Item = &'a GateOverride>) -> Self {
        Self(overrides.into_iter().cloned().collect())
    }

    /// Whether this gate is among them.
    pub(crate) fn names(&self, gate: &str) -> bool {
        self.0.iter().any(|it| it.gate == gate)
    }

    /// As a plan keeps them.
    pub(crate) fn to_plan(&self) -> Vec<GateOverride> {
        self.0.clone()
    }

    #[must_use]
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Those of them that are before an environment with these gates.
    pub(crate) fn before(&self, gates: &Gates) -> Self {
        let is_there = |it: &&GateOverride| gates.list.iter().any(|gate| gate.is_called(&it.gate));
        Self(self.0.iter().filter(is_there).cloned().collect())
    }

    /// The first one that is before none of some environments.
    pub(crate) fn unknown_to<'a>(
        &self,
        gates: impl IntoIterator<Item = &'a Gates> + Clone,
    ) -> Option<&str> {
        let is_known = |name: &str| {
            gates.clone().into_iter().any(|it| it.list.iter().any(|gate| gate.is_called(name)))
        };
        self.0.iter().map(|it| it.gate.as_str()).find(|name| !is_known(name))
    }

    /// Overrides the gates in a decision.
    pub(crate) fn apply(&self, decision: &mut Decision) -> Result<(), Failure> {
        self.0
            .iter()
            .try_for_each(|it| decision.override_gate(&it.gate, &it.reason).map_err(Failure::usage))
    }

    /// Checks that the record of somebody who does this counts.
    pub(crate) fn check(&self, project: &Project, key: &RecordSigner) -> Result<(), Failure> {
        match self.0.is_empty() {
            true => Ok(()),
            false => project.may(key, Power::OverrideGate, "overrides"),
        }
    }
}

#[cfg(test)]
mod tests {
    use verbatim_policy::Gate;

    use super::*;

    fn args(gates: &[&str]) -> GateArgs {
        GateArgs { override_gate: gates.iter().map(|gate| (*gate).to_owned()).collect() }
    }

    #[test]
    fn a_gate_is_overridden_for_a_reason_where_it_is() {
        assert!(args(&["windows"]).for_reason(None).is_err());
        assert!(args(&["windows"]).for_reason(Some(" ")).is_err());
        assert_eq!(args(&[]).for_reason(None).unwrap(), Overrides::default());
        let both = args(&["vetoed", "order"]).for_reason(Some("down")).unwrap();
        let dev = Gates::new(vec![Gate::Locked, Gate::Vetoed]);
        let production = Gates::new(vec![Gate::Vetoed, Gate::Order { unrelated: false }]);
        assert_eq!(both.unknown_to([&dev]), Some("order"));
        assert_eq!(both.unknown_to([&dev, &production]), None);
        assert_eq!(both.before(&dev), args(&["vetoed"]).for_reason(Some("down")).unwrap());
        assert_eq!(both.before(&production), both);
    }
}
