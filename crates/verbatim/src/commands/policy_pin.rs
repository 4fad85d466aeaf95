//! `verbatim policy pin`: what a policy of its own has to say about the project as it is now.

use std::fmt;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;

use crate::config::Pins;
use crate::project::{self, ProjectArgs};

const EXAMPLES: &str = "\
Examples:
  verbatim policy pin >> policy.yaml
  verbatim policy pin --config verbatim.yaml";

/// Print what a policy of its own pins of this project
///
/// A policy that stands apart from the code (`policy:` in verbatim.yaml) says what its rules are about: the project, the
/// repositories, the Argo CD servers, and for each environment its applications, the values written into them and its
/// suites. verbatim refuses a verbatim.yaml that says something else. This prints that part of the policy as
/// verbatim.yaml has it now, with the SHA-256 of the files that the commands of the suites name. Read it before you add
/// it: it becomes the rule.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PinArgs {
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Serialize)]
struct Pinned {
    pins: Pins,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_saphyr::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_end())
    }
}

pub(crate) fn run(args: &PinArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let draft = project::draft(&args.project)?;
    let config = draft.config();
    let digest = |file: &Path| std::fs::read(file).ok().map(|bytes| Digest::of(&bytes));
    let pins = Pins::of(config, &|file| digest(&config.root.join(file)), &digest);
    console.result(&Pinned { pins: pins.short() })?;
    Ok(ExitStatus::Done)
}
