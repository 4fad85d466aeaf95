//! What a step needs, as data, and how it comes by it: nothing else in a step installs, builds or starts anything.

use std::process::Command;

use anyhow::{Result, bail};
use needs::{Program, Service};

use super::children;
use super::services::Services;
use super::steps::cargo;
use rig::tools::{self, Tool};

/// Something that a step needs. A Rust toolchain and what links its programs are there, or this would not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A program of a Debian package.
    Program(Program),
    /// A service that is started, or a program that is built from source.
    Service(Service),
    /// In the place of [`Service::Rig`] one of the step's own, whose pods are only said to run.
    RigWithoutPods,
    /// All binaries of the workspace: cargo builds those of other packages only when asked.
    Binaries,
}

impl Need {
    /// The word by which tests may ask for it.
    fn name(self) -> Option<&'static str> {
        match self {
            Need::Program(program) => Some(program.name()),
            Need::Service(service) => Some(service.name()),
            Need::RigWithoutPods => Some(Service::Rig.name()),
            Need::Binaries => None,
        }
    }
}

/// What was provided for a step.
pub(super) struct Provided {
    variables: Vec<(&'static str, String)>,
    declared: String,
    pub(super) seed: u64,
}

impl Provided {
    /// Tells a command where the services are.
    pub(super) fn to(&self, mut command: Command) -> Command {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The same for tests, which then may do without nothing and ask for nothing else.
    pub(super) fn to_tests(&self, command: Command) -> Command {
        let mut command = self.to(command);
        command.env(needs::DECLARED, &self.declared).env(needs::REQUIRED, "1");
        command
    }
}

/// Installs, builds and starts what is missing of `list`.
pub(super) fn provide(list: &[Need], seed: u64, services: &mut Services) -> Result<Provided> {
    let programs: Vec<Program> = list
        .iter()
        .filter_map(|need| match need {
            Need::Program(program) => Some(*program),
            _ => None,
        })
        .collect();
    needs::install(&programs)?;
    let mut variables = Vec::new();
    for &need in list {
        match need {
            Need::Program(_) => {}
            Need::Service(service @ Service::Engine) => {
                let host = services.docker_host()?;
                variables.push(("DOCKER_HOST", host.clone()));
                variables.push((service.variable(), host));
            }
            Need::Service(service @ Service::Rig) => {
                variables.push((service.variable(), services.rig()?.display().to_string()));
            }
            Need::RigWithoutPods => {
                let path = services.rig_without_pods()?;
                variables.push((Service::Rig.variable(), path.display().to_string()));
            }
            Need::Service(service @ Service::Cosign) => {
                variables.push((service.variable(), built(Tool::Cosign)?));
            }
            Need::Service(service @ Service::Registry) => {
                variables.push((service.variable(), built(Tool::Registry)?));
            }
            Need::Service(service @ Service::Vectors) => {
                variables.push((service.variable(), tools::vectors()?.display().to_string()));
            }
            Need::Binaries => binaries()?,
        }
    }
    let names: Vec<&str> = list.iter().filter_map(|need| need.name()).collect();
    Ok(Provided { variables, declared: names.join(","), seed })
}

fn built(tool: Tool) -> Result<String> {
    Ok(tools::tool(tool)?.display().to_string())
}

fn binaries() -> Result<()> {
    let built = children::run(&mut cargo(&["build", "--workspace", "--bins", "--locked"]))?;
    if !built.success() {
        bail!("the binaries do not build: {built}");
    }
    Ok(())
}
