//! Puts the last promotion back after one that is not proven, in the same run, by the way of every restore.

use jiff::Timestamp;
use verbatim_console::{ExitStatus, Failure};

use super::restore::{Restore, restore};
use crate::environment::ledger;
use crate::project::signer::RecordSigner;
use crate::promotion::outcome::{PromotionResult, Restored};
use crate::promotion::{Overrides, PromotionContext};
use crate::records::running;
use crate::records::store::Ledger;
use crate::release::Named;
use crate::release::find;

impl PromotionContext<'_> {
    /// The result of a promotion, with what was put back if it is not proven and the environment says so. How the promotion
    /// ended stays how it ended.
    pub(in crate::promotion) async fn or_restored(
        &self,
        mut result: PromotionResult,
        without: &[String],
        key: &RecordSigner,
    ) -> PromotionResult {
        if !self.deploy.restore_on_failure || !is_to_be_put_back(&result) {
            return result;
        }
        self.console
            .status(format!("{} is not proven; putting back what was there", result.release));
        // At a deadline our own claims are open.
        let take_over = result.status == ExitStatus::Unknown;
        let restored = self.put_back(&result, without.to_vec(), take_over, key).await;
        result.restored = Some(match restored {
            Ok(restored) => Restored::Carried(Box::new(restored)),
            Err(failure) => Restored::Failed { why: failure.whole() },
        });
        result
    }

    async fn put_back(
        &self,
        result: &PromotionResult,
        without: Vec<String>,
        take_over: bool,
        key: &RecordSigner,
    ) -> Result<PromotionResult, Failure> {
        let Self { project, registry, environment, servers, console, .. } = self;
        let (id, now, store) = (&environment.id, Timestamp::now(), &registry.store);
        let (_, Ledger { chain: ledger, .. }) =
            ledger::ledger_with(project, store, servers, environment, now).await?;
        if let Some(fault) = ledger.faults().first() {
            let why = format!("the ledger of {id} is broken: {fault}");
            return Err(Failure::new(ExitStatus::No, why));
        }
        let Some(release) = running(&ledger) else {
            let why = format!("nothing was promoted to {id} before");
            return Err(Failure::new(ExitStatus::No, why));
        };
        let named = Named::Digest(release.digest);
        let mut found =
            find::release(project, &registry.client, store, Some(&named), now, console).await?;
        // The tag that it was promoted under is part of the values that are put back.
        let tag = release.tag.as_ref().and_then(|tag| tag.parse().ok());
        found.release.tag = tag.or(found.release.tag);
        let request = Restore {
            release,
            found: &found,
            reason: Some(format!("{} was not proven", result.release)),
            discard_unrecorded: false,
            take_over,
            overrides: Overrides::default(),
            without,
        };
        restore(self, &request, Some(key)).await
    }
}

/// Whether a promotion left something that is its own to put back. What somebody else changed is theirs.
fn is_to_be_put_back(result: &PromotionResult) -> bool {
    let is_written = |app: &crate::promotion::AppOutcome| {
        app.report.as_ref().is_some_and(|report| report.claim.is_some())
    };
    !result.proven
        && matches!(result.status, ExitStatus::No | ExitStatus::Unknown)
        && result.applications.iter().any(is_written)
}
