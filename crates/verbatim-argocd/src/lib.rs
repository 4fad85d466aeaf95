//! A client of Argo CD, and the tool `verbatim-argocd` on top of it.
//!
//! [`deploy`] writes a digest into an application, syncs it and proves that it runs. Read the folders in this order, each
//! knows only those before it: `model` (what Argo CD says), `api` (the only network), `overrides` (what can be written),
//! `judge` (pure decisions), `run` (effects), `inspect` (what is shown), `cli`.
//!
//! The server has no optimistic locking on applications: of two overlapping writes both succeed and one is lost. So
//! nothing here promises that a write survives. What is promised is that a loss does not go untold.

mod api;
pub mod cli;
#[cfg(test)]
mod explored;
mod inspect;
mod judge;
mod model;
mod overrides;
#[cfg(test)]
mod recorded;
mod run;

pub use crate::model::{AppDetails, AppSource, Application, HealthStatus, SourceAt, SyncCode};

pub use crate::api::client::{Client, Config, IdentitySource, JobIdentity, Timeouts, server_url};
pub use crate::api::error::{Error, ErrorKind};
pub use crate::api::kubernetes::KubernetesAccess;
pub use crate::api::request::{ApiRequest, AppRef, Refresh, SyncRequest};
pub use crate::api::watch::{Subscription, Watch, WatchEvent};

pub use crate::overrides::claim::{
    Claim, ClaimOnApp, ClaimState, PendingRecord, claim_annotation, read_claim, read_claims,
    records_annotation,
};
pub use crate::overrides::plan::{AppPlan, PlannedSource};
pub use crate::overrides::values::{
    KustomizeImage, KustomizeImageError, OverrideKey, OverrideValues, SourceChoice, ValueChange,
    deviations, digests, is_part_of_image, shown,
};

pub use crate::judge::default::PinnedValue;
pub use crate::judge::evidence::{
    DeployProof, EndedOperation, EvidenceLevel, ImageMatch, KnownBy, WantedImage, WorkloadEvidence,
};
pub use crate::judge::mismatch::{Difference, Mismatch};
pub use crate::judge::missing::Missing;
pub use crate::judge::obstacle::{Obstacle, ObstacleKind};
pub use crate::judge::outcome::{
    AppFailure, DeployOutcome, DeployReport, Leftover, OnPause, ProofStage, UndoFailure, UndoResult,
};
pub use crate::judge::owner::owning_set;
pub use crate::judge::plan::plan;
pub use crate::judge::predict::{Prediction, predict};
pub use crate::judge::refusal::{Remedy, WriteRefusal};
pub use crate::judge::since::{OutdatedProof, outdated};
pub use crate::judge::warning::DeployWarning;

pub use crate::run::annotation::{ClosedClaim, NotClosed, annotate, close_claim};
pub use crate::run::defaults::pinned_values;
pub use crate::run::deploy::{UndoneWrite, deploy, nonce, prove, undo_last, write_requests};
pub use crate::run::event::{DeployEvent, DeployStep, StateChange};
pub use crate::run::operate::{SyncUntil, sync};
pub use crate::run::request::{DeployOptions, DeployRequest};
pub use crate::run::together::{read_since, read_together};
pub use crate::run::window::{WindowWait, wait_for_window};

pub use crate::inspect::history::{PastValue, PastValues, past};
pub use crate::inspect::suggest::{ImagePart, NoSuggestion, SuggestedPins, Suggestion, suggest};
