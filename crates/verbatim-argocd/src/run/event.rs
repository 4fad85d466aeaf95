//! What is told while a deployment runs: data, which the edge prints. Pure.

use std::fmt;

use crate::judge::mismatch::Mismatch;
use crate::judge::missing::Missing;
use crate::judge::outcome::Unhealthy;
use crate::judge::warning::DeployWarning;
use crate::model::{HealthStatus, Phase, SyncCode};
use crate::overrides::plan::AppPlan;

#[derive(Clone, Debug)]
pub enum DeployEvent {
    Begin {
        step: DeployStep,
    },
    Done {
        step: DeployStep,
    },
    Planned {
        plan: AppPlan,
    },
    Changed {
        change: StateChange,
    },
    /// What is waited for now.
    Waiting {
        missing: Missing,
    },
    /// A rollout is paused, and the deployment waits until somebody lets it go on.
    Paused {
        missing: Mismatch,
    },
    /// Something that should be known.
    Warning {
        warning: DeployWarning,
    },
}

/// A step of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeployStep {
    Observe,
    /// Claim and write the values.
    Write,
    /// Look whether the manifests show the digest.
    Render,
    Sync,
    /// Wait for it and for the health.
    Wait,
    Prove,
    Settle,
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

/// A change between two states of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    Operation {
        phase: Phase,
        message: String,
    },
    /// Whether live state equals the sources.
    Sync {
        from: SyncCode,
        to: SyncCode,
    },
    /// The health of the application.
    Health {
        from: HealthStatus,
        to: HealthStatus,
    },
    /// The health of one resource or pod.
    Resource(Unhealthy),
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Self::Sync { from, to } => return write!(f, "sync {from:?} → {to:?}"),
            Self::Health { from, to } => return write!(f, "health {from:?} → {to:?}"),
            Self::Operation { phase, message } => {
                write!(f, "operation {phase:?}")?;
                message
            }
            Self::Resource(Unhealthy { kind, name, health }) => {
                write!(f, "{kind} {name} {:?}", health.status)?;
                &health.message
            }
        };
        if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
    }
}
