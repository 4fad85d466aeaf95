//! Whether the run that stands in the way of a promotion brings a newer release: then to run again would go backwards.

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::{DeployOutcome, WriteRefusal};
use verbatim_console::ExitStatus;
use verbatim_oci::{Digest, Reference};

use super::PromotionContext;
use super::execute::AppOutcome;
use super::outcome::PromotionResult;
use crate::release::order;

/// A run that holds an application, or has written over what we wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OtherRun {
    /// Its release, as the claim names it.
    #[serde(rename = "reference")]
    pub release: String,
    /// Who runs it: the URL of the CI run, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl PromotionContext<'_> {
    /// The result, as superseded if a run with a newer release stands in the way of it.
    pub(super) async fn or_superseded(&self, mut result: PromotionResult) -> PromotionResult {
        if result.status != ExitStatus::Conflict {
            return result;
        }
        let ours = result.release.digest;
        for (run, theirs) in others(&result.applications, ours) {
            let store = &self.registry.store;
            if order::is_newer(self.project, store, theirs, ours, Timestamp::now()).await {
                result.superseded_by_run = Some(run);
                result.status = ExitStatus::Superseded;
                break;
            }
        }
        result
    }
}

/// The runs that stand in the way, each with the digest of its release. Pure.
fn others(applications: &[AppOutcome], ours: Digest) -> Vec<(OtherRun, Digest)> {
    let mut others: Vec<(OtherRun, Digest)> = Vec::new();
    for report in applications.iter().filter_map(|app| app.report.as_ref()) {
        let found: Vec<(&String, &Option<String>)> = match &report.outcome {
            DeployOutcome::Refused { reasons, .. } => {
                let mut found = Vec::new();
                for reason in reasons {
                    if let WriteRefusal::Claimed { release, by, .. } = reason {
                        found.push((release, by));
                    }
                }
                found
            }
            DeployOutcome::Overwritten { by: Some(claim), .. } => vec![(&claim.release, &claim.by)],
            _ => Vec::new(),
        };
        for (release, by) in found {
            let digest = release.parse::<Reference>().ok().and_then(|it| it.digest);
            let Some(digest) = digest.filter(|digest| *digest != ours) else { continue };
            let run = OtherRun { release: release.clone(), by: by.clone() };
            if !others.iter().any(|(known, _)| *known == run) {
                others.push((run, digest));
            }
        }
    }
    others
}
