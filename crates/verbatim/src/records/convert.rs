//! From what an Argo CD deployment saw to what a promotion record says. Pure conversion between the two crates, which do
//! not know each other.

use serde_json::{Value, json};
use verbatim_argocd::{AppPlan, DeployProof, EvidenceLevel, WorkloadEvidence};
use verbatim_record::{
    AppliedOverride, PromotedApplication, PromotionProof, Readback, ReadbackOutcome, Revision,
};

/// The application of a promotion record, from a plan that was executed and the proof that it runs. `sources` are the
/// repositories and folders or charts of the application, in their order.
pub(crate) fn application(
    server: &str,
    plan: &AppPlan,
    sources: &[Revision],
    proof: &DeployProof,
) -> PromotedApplication {
    PromotedApplication {
        name: plan.app.name.clone(),
        namespace: plan.app.namespace.clone(),
        server: server.to_owned(),
        overrides: plan.changes.iter().map(|change| override_of(plan, change)).collect(),
        revisions: revisions(sources, &proof.revisions),
        proof: readbacks(plan, proof),
    }
}

/// The application of a promotion record whose values were written, and of which nothing else is proven. How it ended is
/// the evidence.
pub(crate) fn unproven(
    server: &str,
    plan: &AppPlan,
    outcome: &verbatim_argocd::DeployOutcome,
) -> PromotedApplication {
    let readback =
        || Readback { outcome: ReadbackOutcome::Unproven, evidence: json!(outcome).into() };
    PromotedApplication {
        name: plan.app.name.clone(),
        namespace: plan.app.namespace.clone(),
        server: server.to_owned(),
        overrides: plan.changes.iter().map(|change| override_of(plan, change)).collect(),
        revisions: Vec::new(),
        proof: PromotionProof {
            spec: readback(),
            operation: readback(),
            manifests: readback(),
            running: readback(),
            settled_seconds: 0,
        },
    }
}

fn override_of(plan: &AppPlan, change: &verbatim_argocd::ValueChange) -> AppliedOverride {
    let key = change.key.to_string();
    let (kind, name) = key.split_once(':').unwrap_or(("", &key));
    AppliedOverride {
        // Of one source alone the values are known by their names, wherever it stands.
        source: change.source.position().filter(|_| plan.sources.len() > 1),
        kind: kind.to_owned(),
        name: name.to_owned(),
        before: change.old.as_ref().map(|_| change.shown_old()),
        after: change.shown_new(),
    }
}

/// The resolved revision of each source. A revision without a known source is still worth keeping.
fn revisions(sources: &[Revision], resolved: &[String]) -> Vec<Revision> {
    resolved
        .iter()
        .enumerate()
        .map(|(index, revision)| Revision {
            revision: revision.clone(),
            ..sources.get(index).cloned().unwrap_or_else(|| Revision {
                repository: String::new(),
                path: None,
                revision: String::new(),
            })
        })
        .collect()
}

fn readbacks(plan: &AppPlan, proof: &DeployProof) -> PromotionProof {
    let proven = |is_proven: bool| {
        if is_proven { ReadbackOutcome::Proven } else { ReadbackOutcome::Unproven }
    };
    let values: Vec<_> = plan
        .changes
        .iter()
        .map(|change| json!({ "key": change.name(), "value": change.shown_new() }))
        .collect();
    PromotionProof {
        // There is no proof of a deployment without its spec read back: then the outcome is another one.
        spec: Readback {
            outcome: ReadbackOutcome::Proven,
            evidence: json!({ "resourceVersion": proof.resource_version, "values": values }).into(),
        },
        operation: Readback {
            outcome: proven(proof.operation.is_some()),
            evidence: operation(proof).into(),
        },
        manifests: Readback {
            outcome: proven(!proof.rendered.is_empty()),
            evidence: json!({ "images": proof.rendered, "sync": proof.sync }).into(),
        },
        running: Readback {
            outcome: running(&proof.workloads),
            evidence: json!({
                "workloads": proof.workloads,
                "health": proof.health,
                "at": proof.at,
            })
            .into(),
        },
        settled_seconds: proof.settled_seconds,
    }
}

/// The operation, and those of others that were ended for it.
fn operation(proof: &DeployProof) -> Value {
    let mut evidence = json!({ "operation": proof.operation, "revisions": proof.revisions });
    if !proof.ended.is_empty() {
        evidence["ended"] = json!(proof.ended);
    }
    evidence
}

/// As good as the weakest that can be told: pods where any workload has some; templates, or the result of a hook that is
/// gone, where none runs.
fn running(workloads: &[WorkloadEvidence]) -> ReadbackOutcome {
    let has_pods =
        |workload: &WorkloadEvidence| matches!(workload.level, EvidenceLevel::Pods { .. });
    match workloads {
        [] => ReadbackOutcome::Unproven,
        workloads if workloads.iter().any(has_pods) => ReadbackOutcome::Proven,
        _ => ReadbackOutcome::Template,
    }
}
