//! Argo CD tool: override, sync, wait and prove over REST.
//!
//! [`deploy`](deploy::deploy) writes a digest into an application, syncs it and proves that it runs. Everything it
//! decides is decided by pure functions over what the server answered: [`mod@plan`], [`patch`], [`claim`], [`verdict`],
//! [`prove`]; [`request`] and [`response`] know the API, [`client`] and [`watch`] are the only ones that use the network.
//!
//! The server has no optimistic locking on applications: of two overlapping writes both succeed and one is lost. So
//! nothing here promises that a write survives. What is promised is that a loss does not go untold.

mod annotation;
pub mod claim;
pub mod cli;
pub mod client;
pub mod condition;
pub mod create;
pub mod deploy;
pub mod difference;
pub mod error;
pub mod event;
mod field;
mod follow;
pub mod foreign;
mod gather;
pub mod history;
mod key;
pub mod model;
pub mod objects;
pub mod observe;
pub mod operate;
mod operation;
pub mod outcome;
pub mod patch;
pub mod patched;
pub mod plan;
pub mod predict;
pub mod preflight;
pub mod prove;
#[cfg(test)]
mod recorded;
pub mod refusal;
pub mod rendered;
pub mod request;
pub mod resources;
pub mod response;
mod run;
pub mod spec;
pub mod suggest;
pub mod tree;
pub mod values;
pub mod verdict;
mod wait;
pub mod watch;
mod write;
pub mod yaml;

pub use crate::annotation::annotate;
pub use crate::client::{Client, Config, server_url};
pub use crate::error::{Error, ErrorKind};
pub use crate::outcome::{Deploy, Options, Outcome, Proof, Report, WantedImage};
pub use crate::plan::{Plan, plan};
pub use crate::predict::{Prediction, predict};
pub use crate::refusal::Refusal;
pub use crate::request::AppRef;
pub use crate::values::{KustomizeImage, Override, SourceChoice};
