//! What has become of an application since it was proven. Pure.

use std::fmt;

use super::evidence::DeployProof;
use crate::model::{Application, HealthStatus, SyncCode};

/// Why a proof is not true any more, as far as the application itself tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutdatedProof {
    /// It is not healthy any more.
    Health {
        /// What it was.
        from: HealthStatus,
        /// What it is.
        to: HealthStatus,
    },
    /// Live state and sources differ.
    Sync {
        /// What it was.
        from: SyncCode,
        /// What it is.
        to: SyncCode,
    },
    /// Another sync deployed other revisions.
    Revisions {
        /// What was proven, one a source.
        from: Vec<String>,
        /// What was deployed.
        to: Vec<String>,
    },
}

impl fmt::Display for OutdatedProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health { from, to } => write!(f, "health is {to:?}, was {from:?}"),
            Self::Sync { from, to } => write!(f, "sync is {to:?}, was {from:?}"),
            Self::Revisions { from, to } => {
                write!(f, "another sync deployed {}, proven was {}", to.join(", "), from.join(", "))
            }
        }
    }
}

/// Why the proof of an application is not true any more. `None` if nothing speaks against it.
///
/// Pods come and go while an application stays what it is, so one that is `Progressing` again is no reason: where a rollout
/// brings something else, the values, the comparison or the operation differ, too.
pub fn outdated(proof: &DeployProof, app: &Application) -> Option<OutdatedProof> {
    let status = &app.status;
    if let Some(to) = deployed_since(proof, app).filter(|to| *to != proof.revisions) {
        return Some(OutdatedProof::Revisions { from: proof.revisions.clone(), to });
    }
    let (from, to) = (proof.sync, status.sync.status);
    if from == SyncCode::Synced && to != from {
        return Some(OutdatedProof::Sync { from, to });
    }
    let (from, to) = (proof.health, status.health.status);
    let is_broken = match to {
        HealthStatus::Healthy | HealthStatus::Suspended | HealthStatus::Progressing => false,
        HealthStatus::Missing | HealthStatus::Degraded | HealthStatus::Unknown => true,
    };
    // What was as bad when it was proven has nothing to do with the release.
    (is_broken && to != from).then_some(OutdatedProof::Health { from, to })
}

/// What a later operation than that of the proof deployed.
fn deployed_since(proof: &DeployProof, app: &Application) -> Option<Vec<String>> {
    let last = app.status.operation_state.as_ref()?;
    let proven = proof.operation.as_ref().and_then(|operation| operation.started_at);
    let wrote = last.operation.sync.as_ref().is_none_or(|sync| !sync.dry_run);
    let revisions = last.sync_result.as_ref()?.revisions();
    (wrote && last.started_at > proven && !revisions.is_empty()).then_some(revisions)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::evidence::{KnownBy, OperationEvidence};
    use super::*;
    use crate::model::InitiatedBy;

    fn proof() -> DeployProof {
        DeployProof {
            images: Vec::new(),
            resource_version: "1".to_owned(),
            operation: Some(OperationEvidence {
                known_by: KnownBy::Nonce,
                initiated_by: InitiatedBy::default(),
                started_at: "2026-01-02T03:04:05Z".parse().ok(),
                finished_at: None,
            }),
            revisions: vec!["a".to_owned()],
            rendered: Vec::new(),
            workloads: Vec::new(),
            sync: SyncCode::Synced,
            health: HealthStatus::Healthy,
            at: "2026-01-02T03:05:00Z".parse().unwrap(),
            ended: Vec::new(),
            settled_seconds: 0,
        }
    }

    #[test]
    fn what_a_proof_says_holds_until_the_application_says_otherwise() {
        let operation = |started: &str, revision: &str, dry_run: bool| {
            json!({
                "operation": { "sync": { "dryRun": dry_run } }, "phase": "Succeeded",
                "startedAt": started, "syncResult": { "revision": revision },
            })
        };
        let same = operation("2026-01-02T03:04:05Z", "a", false);
        let later = |revision, dry_run| operation("2026-01-02T03:06:00Z", revision, dry_run);
        let says = |sync: &str, health: &str, operation: Value| {
            json!({
                "sync": { "status": sync }, "health": { "status": health },
                "operationState": operation,
            })
        };
        let told = |status: Value, proof: &DeployProof| {
            let app: Application = serde_json::from_value(json!({ "status": status })).unwrap();
            outdated(proof, &app).map(|outdated| outdated.to_string())
        };
        for (status, want) in [
            (says("Synced", "Healthy", same.clone()), None),
            (says("Synced", "Progressing", same.clone()), None),
            (says("Synced", "Suspended", same.clone()), None),
            (says("Synced", "Degraded", same.clone()), Some("health is Degraded, was Healthy")),
            (says("Synced", "Missing", same.clone()), Some("health is Missing, was Healthy")),
            (says("Synced", "", same.clone()), Some("health is Unknown, was Healthy")),
            (says("OutOfSync", "Healthy", same.clone()), Some("sync is OutOfSync, was Synced")),
            (says("Unknown", "Healthy", same.clone()), Some("sync is Unknown, was Synced")),
            (says("Synced", "Healthy", later("a", false)), None),
            (
                says("Synced", "Healthy", later("b", false)),
                Some("another sync deployed b, proven was a"),
            ),
            (says("Synced", "Healthy", later("b", true)), None),
            (says("Synced", "Healthy", operation("2026-01-02T03:04:05Z", "b", false)), None),
            (says("Synced", "Healthy", Value::Null), None),
        ] {
            assert_eq!(told(status.clone(), &proof()).as_deref(), want, "{status}");
        }
        // Pruning was not asked for, so it was proven out of sync.
        let unpruned = DeployProof { sync: SyncCode::OutOfSync, ..proof() };
        assert_eq!(told(says("OutOfSync", "Healthy", same.clone()), &unpruned), None);
        // Something that runs no image of the release was Degraded before already.
        let degraded = DeployProof { health: HealthStatus::Degraded, ..proof() };
        assert_eq!(told(says("Synced", "Degraded", same.clone()), &degraded), None);
        let worse = told(says("Synced", "Missing", same), &degraded);
        assert_eq!(worse.as_deref(), Some("health is Missing, was Degraded"));
    }
}
