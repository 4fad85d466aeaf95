//! Tells what happens: events to the listener, each change once, and the warnings for the report.

use std::collections::BTreeMap;

use verbatim_text::Words;

use crate::judge::missing::Missing;
use crate::judge::outcome::Unhealthy;
use crate::judge::warning::DeployWarning;
use crate::model::{Application, Health, HealthStatus, Phase, SyncCode};
use crate::run::event::{DeployEvent, DeployStep, StateChange};

/// Takes the events of a run.
pub(crate) type Listener<'a> = &'a (dyn Fn(DeployEvent) + Sync);

/// What one run has told.
pub(crate) struct RunLog<'a> {
    listener: Listener<'a>,
    warnings: Vec<DeployWarning>,
    last: LastState,
}

impl<'a> RunLog<'a> {
    pub(crate) fn new(listener: Listener<'a>) -> Self {
        Self { listener, warnings: Vec::new(), last: LastState::default() }
    }

    pub(crate) fn tell(&self, event: DeployEvent) {
        (self.listener)(event);
    }

    pub(crate) fn begin(&self, step: DeployStep) {
        self.tell(DeployEvent::Begin { step });
    }

    pub(crate) fn done(&self, step: DeployStep) {
        self.tell(DeployEvent::Done { step });
    }

    pub(crate) fn waiting(&self, missing: Missing) {
        self.tell(DeployEvent::Waiting { missing });
    }

    pub(crate) fn warn(&mut self, warning: DeployWarning) {
        self.tell(DeployEvent::Warning { warning: warning.clone() });
        self.warnings.push(warning);
    }

    /// Takes the first state as known, without telling it.
    pub(crate) fn begin_with(&mut self, app: &Application) {
        self.last.changes(app);
    }

    pub(crate) fn changes(&mut self, app: &Application) {
        for change in self.last.changes(app) {
            self.tell(DeployEvent::Changed { change });
        }
    }

    pub(crate) fn resource(&mut self, resource: Unhealthy) {
        if let Some(change) = self.last.resource(resource) {
            self.tell(DeployEvent::Changed { change });
        }
    }

    pub(crate) fn into_warnings(self) -> Vec<DeployWarning> {
        self.warnings
    }
}

/// The last state that was told, to tell only what changes.
#[derive(Default)]
struct LastState {
    operation: Option<(Phase, Words)>,
    sync: Option<SyncCode>,
    health: Option<HealthStatus>,
    resources: BTreeMap<(String, String), Health>,
}

impl LastState {
    fn changes(&mut self, app: &Application) -> Vec<StateChange> {
        let mut changes = Vec::new();
        let state = app.status.operation_state.as_ref();
        let now = state.map_or((Phase::Unknown, Words::default()), |state| {
            (state.phase, state.message.clone())
        });
        let before = self.operation.replace(now.clone());
        if state.is_some() && before.is_some_and(|before| before != now) {
            changes.push(StateChange::Operation { phase: now.0, message: now.1 });
        }
        let to = app.status.sync.status;
        if let Some(from) = self.sync.replace(to).filter(|from| *from != to) {
            changes.push(StateChange::Sync { from, to });
        }
        let to = app.status.health.status;
        if let Some(from) = self.health.replace(to).filter(|from| *from != to) {
            changes.push(StateChange::Health { from, to });
        }
        for resource in &app.status.resources {
            let Some(health) = resource.health.clone() else { continue };
            let (kind, name) = (resource.kind.clone(), resource.name.clone());
            changes.extend(self.resource(Unhealthy { kind, name, health }));
        }
        changes
    }

    fn resource(&mut self, resource: Unhealthy) -> Option<StateChange> {
        let Unhealthy { kind, name, health } = resource.clone();
        match self.resources.insert((kind, name), health) {
            Some(before) if before == resource.health => None,
            // Healthy from the start is no news.
            None if resource.health.status == HealthStatus::Healthy => None,
            _ => Some(StateChange::Resource(resource)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn app(phase: &str, sync: &str, health: &str, deployment: Value) -> Application {
        serde_json::from_value(json!({ "status": {
            "operationState": { "phase": phase },
            "sync": { "status": sync }, "health": { "status": health },
            "resources": [{ "kind": "Deployment", "name": "web", "health": deployment }],
        }}))
        .unwrap()
    }

    #[test]
    fn only_changes_are_told() {
        let mut states = LastState::default();
        let healthy = json!({ "status": "Healthy" });
        let rolling = json!({ "status": "Progressing", "message": "1 of 2 updated" });
        let steps: [(Application, &[&str]); 5] = [
            (app("Succeeded", "Synced", "Healthy", healthy.clone()), &[]),
            (
                app("Running", "OutOfSync", "Healthy", healthy.clone()),
                &["operation Running", "sync Synced → OutOfSync"],
            ),
            (
                app("Succeeded", "Synced", "Progressing", rolling.clone()),
                &[
                    "operation Succeeded",
                    "sync OutOfSync → Synced",
                    "health Healthy → Progressing",
                    "Deployment web Progressing: 1 of 2 updated",
                ],
            ),
            (app("Succeeded", "Synced", "Progressing", rolling), &[]),
            (
                app("Succeeded", "Synced", "Healthy", healthy),
                &["health Progressing → Healthy", "Deployment web Healthy"],
            ),
        ];
        for (app, want) in steps {
            let changes: Vec<_> = states.changes(&app).iter().map(ToString::to_string).collect();
            assert_eq!(changes, want);
        }
    }
}
