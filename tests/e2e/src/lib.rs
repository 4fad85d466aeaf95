//! What the end-to-end tests share: the binary as a child process, a project of its own for each test, images made without
//! an engine, and the services that the environment names.
//!
//! Real services are named by variables. A test whose service is not named says so and does nothing, unless
//! `VERBATIM_TEST_REQUIRE=1`, with which it fails.

pub mod charts;
mod demo;
mod image;
mod listing;
mod people;
mod project;
mod run;
mod service;
pub mod sshd;
mod world;

pub use charts::Charts;
pub use demo::context;
pub use image::{Built, attach, client, client_with, push, push_index, push_unrecorded, push_with};
pub use listing::Listing;
pub use people::{by, refusals, with_gates};
pub use project::{Project, copy, key};
pub use run::{Run, Started, Tool, noted_commands};
pub use service::{cosign, distribution, docker_host, rig};
pub use sshd::Sshd;
pub use world::{ENVIRONMENTS, World};

/// Decodes base64, as records have it.
///
/// # Errors
/// It is none.
pub fn base64(text: &str) -> anyhow::Result<Vec<u8>> {
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
}
