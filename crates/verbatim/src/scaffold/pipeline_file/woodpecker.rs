//! Woodpecker: <https://woodpecker-ci.org/docs/usage/workflow-syntax>.

use std::fmt::Write as _;

use super::drone::steps;
use super::{KEY, Kind, Pipeline, opening, yaml};

/// All steps share one work tree, where each finds the release that the first one left.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "#",
        Kind::Woodpecker,
        "The repository has to be trusted with volumes, for the Docker Engine. Secrets to set, named in lower case:",
        KEY,
    );
    let _ = write!(
        text,
        "when:\n  - branch: {}\n    event: push\nclone:\n  git:\n    image: woodpeckerci/plugin-git\n    settings:\n      \
         partial: false\n      depth: 0 # so that it can be told which of two commits is newer\nsteps:\n",
        yaml(pipeline.branch())
    );
    text + &steps(pipeline, "[\"/var/run/docker.sock:/var/run/docker.sock\"]")
}
