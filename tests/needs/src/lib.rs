//! What tests and tasks need of a machine: one table of programs, the Debian packages that have them, and services.
//!
//! Tests ask here for every program and service that they use, and `cargo xtask ci` names for each step what its tests may ask
//! for, and installs or starts it. A test that asks for more fails on every machine, also on one that has it: otherwise a
//! need that no step installs would stay unnoticed until somebody starts on a fresh machine.

mod cargo;
mod install;
mod program;
mod service;

pub use cargo::{cargo, workspace_root};
pub use install::{SYSTEM_PATH, find, install};
pub use program::Program;
pub use service::Service;

use std::path::PathBuf;

/// The variable with the names of what the tests of this step may ask for, separated by commas. `cargo xtask ci` sets it.
pub const DECLARED: &str = "VERBATIM_TEST_NEEDS";

/// With the value 1, a test whose program or service is missing fails; otherwise it says so and does nothing.
pub const REQUIRED: &str = "VERBATIM_TEST_REQUIRE";

/// Where a program of this machine is. `None`, after saying so, if it has none: the test then does nothing.
///
/// # Panics
/// If tests may not do without, or the step does not declare the program.
pub fn program(program: Program) -> Option<PathBuf> {
    declared(program.name());
    let found = find(program.name());
    if found.is_none() {
        lacking(&program.lacking());
    }
    found
}

/// The value of the variable that names a service. `None`, after saying so, if it is not set: the test then does nothing.
///
/// # Panics
/// If tests may not do without, or the step does not declare the service.
pub fn service(service: Service) -> Option<String> {
    declared(service.name());
    let found = variable(service.variable());
    if found.is_none() {
        lacking(&format!("{} does not name {}", service.variable(), service.what()));
    }
    found
}

impl Program {
    /// A command that runs this program. For tests that mean nothing without it.
    ///
    /// # Panics
    /// If this machine lacks the program, or the step does not declare it.
    pub fn command(self) -> std::process::Command {
        declared(self.name());
        let found = find(self.name());
        std::process::Command::new(found.unwrap_or_else(|| panic!("{}", self.lacking())))
    }
}

/// Fails where a step says what its tests need, and this is not among it.
fn declared(name: &str) {
    if let Some(all) = variable(DECLARED) {
        assert!(
            all.split(',').any(|one| one == name),
            "this step does not say that it needs {name}: add it in xtask/src/ci/steps.rs ({DECLARED}={all})"
        );
    }
}

fn lacking(why: &str) {
    assert_ne!(variable(REQUIRED).as_deref(), Some("1"), "{why}");
    #[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
    {
        eprintln!("skipped: {why}");
    }
}

#[expect(clippy::disallowed_methods, reason = "how a test is told where its services are")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
