//! Conditions that a wait can be for, one by one: what `argocd app wait` has flags for. Pure.
//!
//! The judge of deployments ([`crate::judge::verdict`]) is stricter and does not ask which of them are wanted.

use std::fmt;

use crate::judge::pattern::{ResourcePattern, select};
use crate::model::{Application, HealthStatus, Phase, Resource, SyncCode};

/// What is waited for; everything that is set must hold. Of the three kinds of health one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Live state equals the sources.
    pub sync: bool,
    pub health: bool,
    pub suspended: bool,
    pub degraded: bool,
    /// No operation is queued or runs.
    pub operation: bool,
    pub delete: bool,
    /// Only these resources count for sync and health; none: the whole application.
    pub resources: Vec<ResourcePattern>,
}

/// What a state says about conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConditionState {
    Yes,
    /// Some do not hold yet.
    NotYet(Vec<UnmetCondition>),
    /// They cannot hold: the application has no such resource.
    NoResource,
}

/// A condition that does not hold yet, of one resource or of the whole application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnmetCondition {
    Deleted,
    /// An operation is in progress.
    Operation,
    /// Live state does not equal the sources.
    Sync {
        /// `Deployment web`, for example.
        resource: Option<String>,
        is: SyncCode,
    },
    Health {
        /// `Deployment web`, for example.
        resource: Option<String>,
        is: HealthStatus,
    },
}

impl fmt::Display for UnmetCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("it still exists"),
            Self::Operation => f.write_str("an operation is in progress"),
            Self::Sync { resource: None, is } => write!(f, "it is {is:?}"),
            Self::Sync { resource: Some(resource), is } => write!(f, "{resource} is {is:?}"),
            Self::Health { resource: None, is } => write!(f, "its health is {is:?}"),
            Self::Health { resource: Some(resource), is } => {
                write!(f, "the health of {resource} is {is:?}")
            }
        }
    }
}

impl Conditions {
    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn healths(&self) -> Vec<HealthStatus> {
        [
            (self.health, HealthStatus::Healthy),
            (self.suspended, HealthStatus::Suspended),
            (self.degraded, HealthStatus::Degraded),
        ]
        .into_iter()
        .filter_map(|(wanted, status)| wanted.then_some(status))
        .collect()
    }

    /// Judges a state. An application that is there is never deleted.
    pub(crate) fn judge(&self, app: &Application) -> ConditionState {
        let mut missing = Vec::new();
        if self.delete {
            missing.push(UnmetCondition::Deleted);
        }
        if self.operation && operates(app) {
            missing.push(UnmetCondition::Operation);
        }
        if self.resources.is_empty() {
            self.judge_app(app, &mut missing);
        } else {
            let chosen = select(&self.resources, &app.status.resources);
            if chosen.is_empty() {
                return ConditionState::NoResource;
            }
            chosen.iter().for_each(|resource| self.judge_resource(resource, &mut missing));
        }
        if missing.is_empty() { ConditionState::Yes } else { ConditionState::NotYet(missing) }
    }

    fn judge_app(&self, app: &Application, missing: &mut Vec<UnmetCondition>) {
        let status = &app.status;
        if self.sync && status.sync.status != SyncCode::Synced {
            missing.push(UnmetCondition::Sync { resource: None, is: status.sync.status });
        }
        let healths = self.healths();
        if !healths.is_empty() && !healths.contains(&status.health.status) {
            missing.push(UnmetCondition::Health { resource: None, is: status.health.status });
        }
    }

    fn judge_resource(&self, resource: &Resource, missing: &mut Vec<UnmetCondition>) {
        let name = format!("{} {}", resource.kind, resource.name);
        if self.sync && !resource.hook && resource.status != SyncCode::Synced {
            missing
                .push(UnmetCondition::Sync { resource: Some(name.clone()), is: resource.status });
        }
        // What has no health cannot lack it.
        let Some(health) = &resource.health else { return };
        let healths = self.healths();
        if !healths.is_empty() && !healths.contains(&health.status) {
            missing.push(UnmetCondition::Health { resource: Some(name), is: health.status });
        }
    }
}

/// Whether an operation is queued or runs. Between two attempts it has a time of its end, too; the phase tells.
pub(crate) fn operates(app: &Application) -> bool {
    app.operation.is_some()
        || app
            .status
            .operation_state
            .as_ref()
            .is_some_and(|state| matches!(state.phase, Phase::Running | Phase::Terminating))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::judge::missing::Missing;

    fn check(what: &str, conditions: &Conditions, status: Value, want: Result<(), &str>) {
        let app: Application = serde_json::from_value(json!({ "status": status })).unwrap();
        let got = match conditions.judge(&app) {
            ConditionState::Yes => Ok(()),
            ConditionState::NotYet(unmet) => Err(Missing::Conditions(unmet).to_string()),
            ConditionState::NoResource => Err("no resource".to_owned()),
        };
        assert_eq!(got, want.map_err(str::to_owned), "{what}");
    }

    #[test]
    fn each_condition_counts_only_if_it_is_asked_for() {
        let state = |sync: &str, health: &str, phase: &str| {
            json!({
                "sync": { "status": sync }, "health": { "status": health },
                "operationState": { "phase": phase },
                "resources": [
                    { "kind": "Service", "name": "web", "status": "Synced" },
                    { "group": "apps", "kind": "Deployment", "name": "web", "status": sync, "health": { "status": health } },
                ],
            })
        };
        let sync = Conditions { sync: true, ..Conditions::default() };
        let health = Conditions { health: true, ..Conditions::default() };
        let suspended = Conditions { health: true, suspended: true, ..Conditions::default() };
        let operation = Conditions { operation: true, ..Conditions::default() };
        let service =
            Conditions { resources: vec![":Service:web".parse().unwrap()], ..sync.clone() };
        let deployment =
            Conditions { resources: vec!["apps:Deployment:*".parse().unwrap()], ..health.clone() };
        let none = Conditions { resources: vec!["batch:Job:x".parse().unwrap()], ..sync.clone() };
        let gone = Conditions { delete: true, ..Conditions::default() };
        let late = state("OutOfSync", "Progressing", "Running");
        let good = state("Synced", "Healthy", "Succeeded");
        check("synced", &sync, good.clone(), Ok(()));
        check("not synced", &sync, late.clone(), Err("it is OutOfSync"));
        check("healthy", &health, good.clone(), Ok(()));
        check("not healthy", &health, late.clone(), Err("its health is Progressing"));
        check("paused", &suspended, state("OutOfSync", "Suspended", "Running"), Ok(()));
        check(
            "paused is not healthy",
            &health,
            state("Synced", "Suspended", ""),
            Err("its health is Suspended"),
        );
        check("no operation", &operation, good.clone(), Ok(()));
        check("an operation", &operation, late.clone(), Err("an operation is in progress"));
        check("one resource is enough", &service, late.clone(), Ok(()));
        check(
            "the resource is not",
            &deployment,
            late,
            Err("the health of Deployment web is Progressing"),
        );
        check("no such resource", &none, good.clone(), Err("no resource"));
        check("still there", &gone, good, Err("it still exists"));
    }
}
