//! `verbatim ci`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};

use super::context;
use crate::project::{Project, ProjectArgs, git};
use crate::scaffold::pipeline_file::{Kind, Place, render};

const EXAMPLES: &str = "\
Examples:
  verbatim ci travis > .travis.yml
  verbatim ci github > .github/workflows/verbatim.yml
  verbatim ci gitlab > .gitlab-ci.yml
  verbatim ci jenkins > Jenkinsfile";

/// Print a pipeline file for a CI system
///
/// One job per command: build, then promote and test for each environment. Jobs pass the release on in the way of that
/// CI: outputs on GitHub and Azure, a dotenv report on GitLab, a workspace on CircleCI, artifacts on Bitbucket, one work tree on
/// Jenkins, Drone and Woodpecker. Travis and Buildkite have none of it; later stages find the release by the build record of the commit and
/// build number. Print the file once, then edit it like any other.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CiArgs {
    /// The CI system
    pub kind: Kind,
    /// The branch to release [default: main; on GitLab the default branch]
    #[arg(long, value_name = "NAME", value_parser = branch)]
    branch: Option<String>,
    #[command(flatten)]
    project: ProjectArgs,
}

/// The name of a branch that needs no quotes in any of the files.
fn branch(name: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./+".contains(c);
    match !name.is_empty() && name.chars().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err("a branch is named with letters, digits and `_-./+` here".to_owned()),
    }
}

/// The file.
#[derive(Serialize)]
struct PipelineFile {
    ci: Kind,
    text: String,
}

impl fmt::Display for PipelineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(crate) async fn run(args: &CiArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let place = place(&project).await?;
    if place.is_below_the_root() {
        console.status("the file belongs to the root of the repository, where the CI begins");
    }
    let text = render(args.kind, &project.config, &place, args.branch.as_deref());
    console.result(&PipelineFile { ci: args.kind, text })?;
    Ok(ExitStatus::Done)
}

/// Where the configuration lies in its repository; outside of one, its folder is taken for the root.
async fn place(project: &Project) -> Result<Place, Failure> {
    let file = &project.config.file;
    let inside = match (git::top(project.folder()).await, file.canonicalize()) {
        (Ok(top), Ok(file)) => file.strip_prefix(top).ok().map(Path::to_owned),
        _ => None,
    };
    let file = inside.or_else(|| file.file_name().map(PathBuf::from)).unwrap_or_default();
    file.to_str().and_then(Place::of).ok_or_else(|| {
        Failure::usage(format!("the path {} cannot stand in a pipeline file", file.display()))
            .hint("rename it: letters, digits and `_-./+` can")
    })
}
