//! A release enters an environment. The order is a chain of types, each made from the one before it and by nothing else:
//! `Decided` → [`Admitted`](decide::Admitted) → [`Planned`](ready::Planned) → [`Ready`] → [`Carried`] →
//! [`Rechecked`](record::Rechecked) → [`Recorded`](record::Recorded). Nothing is written without an admitted release, and
//! nothing is recorded that was not looked at after its proof. Every command that moves a release is a composition of
//! these, in a file of its own.

mod apply;
mod authority;
mod awaiting;
mod back;
mod bans;
mod charts;
mod decide;
mod delivery;
mod execute;
mod gather;
mod late;
mod markdown;
mod newer;
mod outcome;
mod overrides;
mod plan;
mod promote;
mod ready;
mod record;
mod saved;
mod waves;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use verbatim_argocd::{AppRef, Subscription};
use verbatim_console::{Console, Failure};
use verbatim_policy::Gates;

pub(crate) use self::apply::{Apply, apply};
pub(crate) use self::authority::{Unsaid, is_approved};
pub(crate) use self::back::break_glass::break_glass;
pub(crate) use self::back::choose::Goal;
pub(crate) use self::back::restore::{Restore, restore};
pub(crate) use self::back::rollback::{Rollback, VetoScope, rollback};
pub use self::decide::Refused;
pub(crate) use self::delivery::{DeliveryArgs, FailureArgs, WaitArgs};
pub(crate) use self::execute::AppOutcome;
use self::execute::AppToDeploy;
pub use self::execute::Carried;
pub(crate) use self::late::changed_since;
pub(crate) use self::markdown::{Comment, Summary};
pub(crate) use self::outcome::PromotionResult;
pub(crate) use self::overrides::{GateArgs, OverrideArgs, Overrides};
pub(crate) use self::promote::{Promote, ask, preview, promote};
pub use self::ready::Ready;
pub(crate) use self::saved::SavedPlan;
use crate::config::{DeploySettings, Environment};
use crate::environment::applications::Servers;
use crate::policy::gates::gates;
use crate::project::Project;
use crate::records::Registry;

/// Where a release is moved to: an environment, its gates, and the services around it.
pub struct PromotionContext<'a> {
    project: &'a Project,
    registry: &'a Registry,
    environment: &'a Environment,
    gates: Gates,
    servers: Servers,
    /// The watches of the applications, one a server, once they are known.
    watches: OnceLock<Vec<Subscription>>,
    deploy: DeploySettings,
    console: &'a Console,
}

impl<'a> PromotionContext<'a> {
    /// An environment with its gates, and clients of all servers that they look at. It fails for a server without a token,
    /// or with files that cannot be used.
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
        let deploy = environment.deploy;
        let watches = OnceLock::new();
        Ok(Self { project, registry, environment, gates, servers, watches, deploy, console })
    }

    /// Watches the applications from now on, until the promotion is over.
    fn subscribe(&self, apps: &[AppToDeploy]) -> Result<(), Failure> {
        if self.watches.get().is_some() {
            // Of a second plan: its applications are the same.
            return Ok(());
        }
        let mut by_server: BTreeMap<&str, Vec<(AppRef, String)>> = BTreeMap::new();
        // Where nothing tells which namespace it is in, an application is watched alone.
        for app in apps.iter().filter(|app| !app.namespace.is_empty()) {
            let watched = (app.target.app.clone(), app.namespace.clone());
            by_server.entry(&app.target.server).or_default().push(watched);
        }
        let watches = by_server
            .into_iter()
            .map(|(server, apps)| Ok(Subscription::start(self.servers.get(server)?, &apps)))
            .collect::<Result<_, Failure>>()?;
        self.watches.get_or_init(|| watches);
        Ok(())
    }

    /// The same, with the last word on what happens after a promotion that is not proven.
    #[must_use]
    pub(crate) fn on_failure(self, args: FailureArgs) -> Self {
        Self { deploy: args.over(self.deploy), ..self }
    }

    /// The same, with the last word on how long closed gates are waited for.
    #[must_use]
    pub(crate) fn waiting(self, args: WaitArgs) -> Self {
        Self { deploy: args.over(self.deploy), ..self }
    }

    /// The same, with the last word on how applications are deployed.
    #[must_use]
    pub(crate) fn delivering(self, args: DeliveryArgs) -> Self {
        Self { deploy: args.over(self.deploy), ..self }
    }
}

impl fmt::Debug for PromotionContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromotionContext").field("environment", &self.environment.id).finish()
    }
}
