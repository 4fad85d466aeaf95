//! What is told while a deployment runs: data, which the edge prints. Pure.

use std::fmt;

use verbatim_text::Words;

use crate::judge::mismatch::Mismatch;
use crate::judge::missing::Missing;
use crate::judge::obstacle::Obstacle;
use crate::judge::outcome::Unhealthy;
use crate::judge::warning::DeployWarning;
use crate::model::{HealthStatus, Phase, SyncCode};
use crate::overrides::plan::AppPlan;

/// Something that happened.
#[derive(Clone, Debug)]
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
    /// The state changed.
    Changed {
        /// What became of what.
        change: StateChange,
    },
    /// What is waited for now.
    Waiting {
        /// What.
        missing: Missing,
    },
    /// Something keeps a pod from running.
    Obstructed {
        /// What.
        obstacle: Obstacle,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// A change between two states of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// The last operation.
    Operation {
        /// What it is now.
        phase: Phase,
        /// Argo CD's words.
        message: Words,
    },
    /// Whether live state equals the sources.
    Sync {
        /// What it was.
        from: SyncCode,
        /// What it is.
        to: SyncCode,
    },
    /// The health of the application.
    Health {
        /// What it was.
        from: HealthStatus,
        /// What it is.
        to: HealthStatus,
    },
    /// The health of one resource or pod.
    Resource(Unhealthy),
}

impl StateChange {
    /// Whether it says nothing that the health of the application does not say, too.
    pub(crate) fn is_minor(&self) -> bool {
        let Self::Resource(Unhealthy { health, .. }) = self else { return false };
        let on_the_way = matches!(health.status, HealthStatus::Healthy | HealthStatus::Progressing);
        on_the_way && health.message.is_empty()
    }
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
