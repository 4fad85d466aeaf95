//! What the end-to-end tests share: the binary as a child process, a project of its own for each test, images made without
//! an engine, and the services that the environment names.
//!
//! Real services are named by variables. A test whose service is not named says so and does nothing, unless
//! `VERBATIM_TEST_REQUIRE=1`, with which it fails.

mod demo;
mod image;
mod project;
mod run;
mod service;
mod world;

pub use demo::context;
pub use image::{Built, attach, client, push};
pub use project::{Project, key};
pub use run::{Run, Started, Tool};
pub use service::{cosign, docker_host, rig};
pub use world::{ENVIRONMENTS, World};

/// Decodes base64, as records have it.
///
/// # Errors
/// It is none.
pub fn base64(text: &str) -> anyhow::Result<Vec<u8>> {
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
}
