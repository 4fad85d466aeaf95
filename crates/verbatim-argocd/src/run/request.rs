//! What a deployment is asked for.

use std::time::Duration;

use crate::api::request::AppRef;
use crate::judge::evidence::WantedImage;
use crate::judge::outcome::OnPause;
use crate::judge::preflight::Waivers;
use crate::overrides::plan::AppPlan;
use crate::overrides::values::OverrideValues;

/// A deployment that is asked for.
#[derive(Clone, Debug)]
pub struct DeployRequest {
    /// To which application.
    pub app: AppRef,
    /// What to write.
    pub values: OverrideValues,
    /// What must run then.
    pub images: Vec<WantedImage>,
    /// The name of the release, for the claim and the operation.
    pub release: String,
    /// `project/environment`, if the deployment is that of an environment: each has a claim of its own.
    pub environment: Option<String>,
    /// Who deploys: the URL of the CI run, or a name.
    pub by: Option<String>,
    /// The revisions that must be deployed, one a source; empty if whatever the sources name is right. They are pinned where
    /// the application does not sync itself, and compared in any case.
    pub revisions: Vec<String>,
    /// Unique for this run. See [`crate::run::deploy::nonce`].
    pub nonce: String,
    /// How it is done.
    pub options: DeployOptions,
    /// A plan that was made earlier: the values must still be as it says.
    pub expected: Option<AppPlan>,
}

/// How a deployment is done.
#[derive(Clone, Debug)]
pub struct DeployOptions {
    /// The most that all of it may take.
    pub timeout: Duration,
    /// How long the proof must hold.
    pub settle: Duration,
    /// How long a pod with the wanted image may be failing to start, and the application may be Degraded, before the
    /// deployment is given up.
    pub stuck_after: Duration,
    /// How long what a node reports may differ before it counts: caches lag behind.
    pub patience: Duration,
    /// Delete resources that are no longer in the sources.
    pub prune: bool,
    /// Resources that would have to be deleted do not matter.
    pub allow_unpruned: bool,
    /// Continue over the claim of another run.
    pub take_over: bool,
    /// Write although an owner may revert it, or may not be seen.
    pub trust_owner: bool,
    /// Write parameters that the chart does not list.
    pub allow_unknown_parameters: bool,
    /// An earlier check of the same command has found that no sync window is for the application, so it is not asked again.
    pub has_no_windows: bool,
    /// Stop after the plan.
    pub dry_run: bool,
    /// End an operation of somebody else that holds the application.
    pub terminate_foreign: bool,
    /// What a rollout that somebody has paused means.
    pub on_pause: OnPause,
    /// How long the claim holds others off, if longer than this deployment may take: it may be one of many.
    pub claim_for: Duration,
    /// Whether the claim is closed at the end, or later by [`crate::close_claim`] with the record's digest.
    pub close_claim: bool,
}

impl DeployOptions {
    pub(crate) fn waivers(&self) -> Waivers {
        Waivers { owner: self.trust_owner, unknown_parameters: self.allow_unknown_parameters }
    }
}

impl Default for DeployOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(600),
            settle: Duration::ZERO,
            stuck_after: Duration::from_secs(60),
            patience: Duration::from_secs(10),
            prune: false,
            allow_unpruned: false,
            take_over: false,
            trust_owner: false,
            allow_unknown_parameters: false,
            has_no_windows: false,
            dry_run: false,
            terminate_foreign: false,
            on_pause: OnPause::Wait,
            claim_for: Duration::ZERO,
            close_claim: true,
        }
    }
}
