//! Argo CD tool: override, sync, wait and prove over REST.
//!
//! [`deploy`](deploy::deploy) writes a digest into an application, syncs it and proves that it runs. Everything it
//! decides is decided by pure functions over what the server answered: `judge`, [`patch`], [`claim`], [`verdict`],
//! [`prove`]; [`request`] and [`response`] know the API, [`client`] and [`watch`] are the only ones that use the network.
//!
//! The server has no optimistic locking on applications: of two overlapping writes both succeed and one is lost. So
//! nothing here promises that a write survives. What is promised is that a loss does not go untold.

mod api;
pub mod cli;
mod inspect;
mod judge;
pub mod model;
mod overrides;
#[cfg(test)]
mod recorded;
mod run;

pub use crate::api::client::{Client, Config, server_url};
pub use crate::api::error::{Error, ErrorKind};
pub use crate::api::request::AppRef;
pub use crate::api::{client, error, request, response, watch};
pub use crate::inspect::{
    difference, history, live_state as observe, objects, suggest, tree, yaml,
};
pub use crate::judge::outcome::{Deploy, Options, Outcome, Proof, Report, WantedImage};
pub use crate::judge::plan::{Plan, plan};
pub use crate::judge::predict::{Prediction, predict};
pub use crate::judge::refusal::Refusal;
pub use crate::judge::{
    condition, lost_changes, outcome, pattern as resources, preflight, prove, refusal, rendered,
    verdict,
};
pub use crate::overrides::values::{KustomizeImage, Override, SourceChoice};
pub use crate::overrides::{claim, create, kept as patched, patch, spec, values};
pub use crate::run::annotation::annotate;
pub use crate::run::{deploy, event, operate};
