//! The real services and programs that the environment names. The only file of this package that reads it.

use std::path::{Path, PathBuf};

use test_servers::rig::{self, Rig};

/// The `cosign` that `VERBATIM_TEST_COSIGN` names.
pub fn cosign() -> Option<PathBuf> {
    setting("VERBATIM_TEST_COSIGN", "a cosign binary").map(PathBuf::from)
}

/// The Docker Engine that tests may fill, from `VERBATIM_TEST_DOCKER_HOST`.
pub fn docker_host() -> Option<String> {
    setting("VERBATIM_TEST_DOCKER_HOST", "the address of a Docker Engine that tests may fill")
}

/// The running rig that `VERBATIM_RIG` describes.
///
/// # Panics
/// It is named, and its description cannot be read.
pub fn rig() -> Option<Rig> {
    let path = setting(rig::VARIABLE, "the description of a running rig (cargo xtask rig up)")?;
    Some(Rig::read(Path::new(&path)).unwrap_or_else(|error| panic!("{path}: {error:#}")))
}

#[expect(clippy::disallowed_methods, reason = "how a test is told where its services are")]
fn setting(name: &str, what: &str) -> Option<String> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let found = value(name);
    if found.is_none() {
        assert_ne!(
            value("VERBATIM_TEST_REQUIRE").as_deref(),
            Some("1"),
            "{name} is not set: {what}"
        );
        #[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
        {
            eprintln!("skipped: {name} does not name {what}");
        }
    }
    found
}
