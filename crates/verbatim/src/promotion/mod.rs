//! A release enters an environment: gather, decide, plan, execute, prove, record. The steps are in [`steps`]; each command
//! that moves a release is a composition of them, in a file of its own. What a step does in detail is elsewhere.

mod apply;
mod back;
mod charts;
pub(crate) mod execute;
pub(crate) mod gather;
mod markdown;
mod outcome;
mod overrides;
pub(crate) mod plan;
mod promote;
mod saved;
mod steps;

use verbatim_console::{Console, Failure};
use verbatim_policy::Gates;

pub(crate) use self::apply::{Apply, apply};
pub(crate) use self::back::break_glass::break_glass;
pub(crate) use self::back::choose::Goal;
pub(crate) use self::back::restore::{Restore, restore};
pub(crate) use self::back::rollback::{Rollback, VetoScope, rollback};
pub(crate) use self::markdown::Comment;
pub(crate) use self::outcome::Promoted;
pub(crate) use self::overrides::{GateArgs, OverrideArgs, Overrides};
pub(crate) use self::promote::{Request, preview, promote};
pub(crate) use self::saved::SavedPlan;
use crate::config::Environment;
use crate::environment::applications::Servers;
use crate::policy::gates::gates;
use crate::project::Project;
use crate::records::Registry;

/// Where a release is moved to: an environment, its gates, and the services around it.
pub(crate) struct Site<'a> {
    project: &'a Project,
    registry: &'a Registry,
    environment: &'a Environment,
    gates: Gates,
    servers: Servers,
    console: &'a Console,
}

impl<'a> Site<'a> {
    /// An environment with its gates, and clients of all servers that they look at.
    ///
    /// # Errors
    /// A server without a token, or with files that cannot be used.
    pub(crate) fn of(
        project: &'a Project,
        registry: &'a Registry,
        environment: &'a Environment,
        console: &'a Console,
    ) -> Result<Self, Failure> {
        let rules = project.config.rules(environment.name());
        let gates = gates(environment, &rules).map_err(Failure::usage)?;
        let needed = gates
            .ledgers()
            .filter_map(|id| project.config.environment(id.name()))
            .chain([environment]);
        let servers = Servers::of(project, needed)?;
        Ok(Self { project, registry, environment, gates, servers, console })
    }
}
