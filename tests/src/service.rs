//! The real services and programs that the environment names. The only file of this package that reads it.

use std::path::{Path, PathBuf};

use test_servers::registry::Distribution;
use test_servers::rig::{self, Rig};

/// The `cosign` that `VERBATIM_TEST_COSIGN` names.
pub fn cosign() -> Option<PathBuf> {
    setting("VERBATIM_TEST_COSIGN", "a cosign binary").map(PathBuf::from)
}

/// The reference registry whose program `VERBATIM_TEST_REGISTRY` names, started for this test.
///
/// # Panics
/// It is named, and does not start.
pub async fn distribution() -> Option<Distribution> {
    let program = setting("VERBATIM_TEST_REGISTRY", "the program `registry` of distribution")?;
    let started = Distribution::start(Path::new(&program)).await;
    Some(started.unwrap_or_else(|error| panic!("{program}: {error:#}")))
}

/// The Docker Engine that tests may fill, from `VERBATIM_TEST_DOCKER_HOST`.
pub fn docker_host() -> Option<String> {
    setting("VERBATIM_TEST_DOCKER_HOST", "the address of a Docker Engine that tests may fill")
}

/// The `sshd` of this machine, which has to be started by its whole path.
///
/// # Panics
/// There is none, and tests may not do without.
pub(crate) fn sshd() -> Option<PathBuf> {
    let found = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd", "/usr/bin/sshd"];
    let found = found.into_iter().map(PathBuf::from).find(|path| path.is_file());
    if found.is_none() {
        lacking("this machine has no sshd (Debian's openssh-server)");
    }
    found
}

/// The running rig that `VERBATIM_RIG` describes.
///
/// # Panics
/// It is named, and its description cannot be read.
pub fn rig() -> Option<Rig> {
    let path = setting(rig::VARIABLE, "the description of a running rig (cargo xtask rig up)")?;
    Some(Rig::read(Path::new(&path)).unwrap_or_else(|error| panic!("{path}: {error:#}")))
}

fn setting(name: &str, what: &str) -> Option<String> {
    let found = value(name);
    if found.is_none() {
        lacking(&format!("{name} does not name {what}"));
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "how a test is told where its services are")]
fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A test does nothing then, and says so; or fails, where services are required.
fn lacking(why: &str) {
    assert_ne!(value("VERBATIM_TEST_REQUIRE").as_deref(), Some("1"), "{why}");
    #[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
    {
        eprintln!("skipped: {why}");
    }
}
