//! The rules of the configuration as gates of the policy. Pure.

use verbatim_policy::{Gate, Gates, Ran};
use verbatim_record::{EnvironmentId, EnvironmentIdError};

use crate::config::{self, Environment, Rules};

/// The gates before an environment, in the order in which they are told. Beyond the first environment the source must be
/// a commit: a build of uncommitted changes can be tried, but nobody could ever look at its source again.
///
/// # Errors
/// None for names that were checked with the configuration.
pub(crate) fn gates(environment: &Environment, rules: &Rules) -> Result<Gates, EnvironmentIdError> {
    let sibling =
        |name: &str| -> Result<EnvironmentId, EnvironmentIdError> { environment.id.sibling(name) };
    let mut gates = Vec::new();
    for after in &rules.after {
        let ran = match after.ran {
            config::Ran::Running => Ran::Still,
            config::Ran::Ever => Ran::Ever,
        };
        gates.push(Gate::After { environment: sibling(&after.environment)?, ran });
    }
    if let Some(tested) = &rules.tested {
        gates.push(Gate::Tested {
            environment: sibling(&tested.environment)?,
            suites: tested.suites.clone(),
        });
    }
    if !environment.is_first || !rules.after.is_empty() {
        gates.push(Gate::CleanSource);
    }
    Ok(Gates(gates))
}
