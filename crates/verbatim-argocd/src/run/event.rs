//! What is told while a deployment runs: data, which the edge prints. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::judge::outcome::Mismatch;
use crate::judge::warning::DeployWarning;
use crate::model::{Application, HealthStatus, Phase, SyncCode};
use crate::overrides::plan::AppPlan;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum DeployEvent {
    /// A step begins.
    Begin {
        /// Which.
        step: DeployStep,
    },
    /// A step is done.
    Done {
        /// Which.
        step: DeployStep,
    },
    /// What will be written.
    Planned {
        /// The plan.
        plan: AppPlan,
    },
    /// The state changed: one line.
    Changed {
        /// What.
        text: String,
    },
    /// What is waited for now.
    Waiting {
        /// What.
        text: String,
    },
    /// A rollout is paused, and the deployment waits until somebody lets it go on.
    Paused {
        /// What is missing.
        missing: Mismatch,
    },
    /// Something that should be known.
    Warning {
        /// What.
        warning: DeployWarning,
    },
}

/// A step of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployStep {
    /// Read and refuse early.
    Observe,
    /// Claim and write the values.
    Write,
    /// Look whether the manifests show the digest.
    Render,
    /// Start the operation.
    Sync,
    /// Wait for it and for the health.
    Wait,
    /// Look at the pods.
    Prove,
    /// Hold, and look again.
    Settle,
    /// Close the claim.
    Close,
    /// Put the previous values back.
    Undo,
}

impl DeployStep {
    /// The steps of a full deployment, in order.
    pub const DEPLOY: [Self; 7] = [
        Self::Observe,
        Self::Write,
        Self::Render,
        Self::Sync,
        Self::Wait,
        Self::Prove,
        Self::Close,
    ];
}

impl fmt::Display for DeployStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Observe => "read the application",
            Self::Write => "write the values",
            Self::Render => "check the manifests",
            Self::Sync => "start the sync",
            Self::Wait => "wait for Argo CD",
            Self::Prove => "prove what runs",
            Self::Settle => "hold and look again",
            Self::Close => "close the claim",
            Self::Undo => "put the previous values back",
        })
    }
}

/// The last state that was told, to tell only what changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateLog {
    operation: Option<(Phase, String)>,
    sync: Option<SyncCode>,
    health: Option<HealthStatus>,
    resources: BTreeMap<(String, String), (HealthStatus, String)>,
}

impl StateLog {
    /// The lines to tell about a new state, and remembers it.
    pub(crate) fn changes(&mut self, app: &Application) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(state) = &app.status.operation_state {
            let now = (state.phase, state.message.clone());
            if self.operation.as_ref().is_some_and(|before| *before != now) {
                lines.push(match state.message.as_str() {
                    "" => format!("operation {:?}", state.phase),
                    message => format!("operation {:?}: {message}", state.phase),
                });
            }
            self.operation = Some(now);
        } else {
            self.operation = Some((Phase::Unknown, String::new()));
        }
        let sync = app.status.sync.status;
        if let Some(before) = self.sync.replace(sync).filter(|before| *before != sync) {
            lines.push(format!("sync {before:?} → {sync:?}"));
        }
        let health = app.status.health.status;
        if let Some(before) = self.health.replace(health).filter(|before| *before != health) {
            lines.push(format!("health {before:?} → {health:?}"));
        }
        let resources = app.status.resources.iter().filter_map(|resource| {
            let health = resource.health.clone()?;
            Some((resource.kind.clone(), resource.name.clone(), health.status, health.message))
        });
        for (kind, name, status, message) in resources {
            lines.extend(self.resource(kind, name, status, message));
        }
        lines
    }

    /// The line to tell about one resource or pod, if it changed.
    pub(crate) fn resource(
        &mut self,
        kind: String,
        name: String,
        status: HealthStatus,
        message: String,
    ) -> Option<String> {
        let line = match message.as_str() {
            "" => format!("{kind} {name} {status:?}"),
            message => format!("{kind} {name} {status:?}: {message}"),
        };
        let before = self.resources.insert((kind, name), (status, message.clone()));
        match before {
            Some(before) if before == (status, message) => None,
            // Healthy from the start is no news.
            None if status == HealthStatus::Healthy => None,
            _ => Some(line),
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
        let mut told = StateLog::default();
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
            assert_eq!(told.changes(&app), want);
        }
    }
}
