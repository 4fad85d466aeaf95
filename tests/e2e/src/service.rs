//! The real services and programs that the environment names, see the package `needs`.

use std::path::{Path, PathBuf};

use needs::Service;
use rig::Rig;
use test_registry::Distribution;

/// The `cosign` that `VERBATIM_TEST_COSIGN` names.
pub fn cosign() -> Option<PathBuf> {
    needs::service(Service::Cosign).map(PathBuf::from)
}

/// The reference registry whose program `VERBATIM_TEST_REGISTRY` names, started for this test.
///
/// # Panics
/// It is named, and does not start.
pub async fn distribution() -> Option<Distribution> {
    let program = needs::service(Service::Registry)?;
    let started = Distribution::start(Path::new(&program)).await;
    Some(started.unwrap_or_else(|error| panic!("{program}: {error:#}")))
}

/// The Docker Engine that tests may fill, from `VERBATIM_TEST_DOCKER_HOST`.
pub fn docker_host() -> Option<String> {
    needs::service(Service::Engine)
}

/// The running rig that `VERBATIM_RIG` describes.
///
/// # Panics
/// It is named, and its description cannot be read.
pub fn rig() -> Option<Rig> {
    let path = needs::service(Service::Rig)?;
    Some(Rig::read(Path::new(&path)).unwrap_or_else(|error| panic!("{path}: {error:#}")))
}
