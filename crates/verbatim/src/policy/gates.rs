//! The rules of the configuration as gates of the policy. Pure.

use verbatim_policy::{Gate, Gates, Presence};
use verbatim_record::EnvironmentIdError;

use crate::config::{self, Environment, Rules};

/// The gates before an environment, in the order in which they are told. Beyond the first environment the source must be
/// a commit: a build of uncommitted changes can be tried, but nobody could ever look at its source again.
pub(crate) fn gates(environment: &Environment, rules: &Rules) -> Result<Gates, EnvironmentIdError> {
    let mut gates = vec![Gate::Locked, Gate::Vetoed];
    for after in &rules.after {
        let ran = match after.ran {
            config::Ran::Running => Presence::Still,
            config::Ran::Ever => Presence::Ever,
        };
        let environment = environment.id.sibling(&after.environment)?;
        gates.push(Gate::After { environment, ran });
    }
    gates.extend(rules.gates.iter().cloned());
    if !environment.is_first || !rules.after.is_empty() {
        gates.push(Gate::CleanSource);
    }
    gates.sort_by_key(Gate::kind);
    Ok(Gates { list: gates, skipped_by_rollbacks: rules.skipped_by_rollbacks.clone() })
}
