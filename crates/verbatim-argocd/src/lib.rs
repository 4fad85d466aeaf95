//! Argo CD tool: override, sync, wait and prove over REST.
//!
//! [`deploy`](deploy::deploy) writes a digest into an application, syncs it and proves that it runs. Everything it
//! decides is decided by pure functions over what the server answered: [`mod@plan`], [`patch`], [`claim`], [`verdict`],
//! [`prove`]; [`request`] and [`response`] know the API, [`client`] and [`watch`] are the only ones that use the network.
//!
//! The server has no optimistic locking on applications: of two overlapping writes both succeed and one is lost. So
//! nothing here promises that a write survives. What is promised is that a loss does not go untold.

pub mod claim;
pub mod cli;
pub mod client;
pub mod deploy;
pub mod error;
pub mod event;
mod follow;
pub mod foreign;
mod gather;
pub mod model;
pub mod observe;
mod operation;
pub mod outcome;
pub mod patch;
pub mod plan;
pub mod preflight;
pub mod prove;
pub mod refusal;
pub mod rendered;
pub mod request;
pub mod response;
mod run;
pub mod values;
pub mod verdict;
mod wait;
pub mod watch;
mod write;

pub use crate::client::{Client, Config, server_url};
pub use crate::error::{Error, ErrorKind};
pub use crate::outcome::{Deploy, Options, Outcome, Proof, Report, WantedImage};
pub use crate::plan::{Plan, plan};
pub use crate::refusal::Refusal;
pub use crate::request::AppRef;
pub use crate::values::{KustomizeImage, Override, SourceChoice};
