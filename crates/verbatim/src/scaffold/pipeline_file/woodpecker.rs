//! Woodpecker: <https://woodpecker-ci.org/docs/usage/workflow-syntax>.

use std::fmt::Write as _;

use super::drone::IMAGE;
use super::{KEY, Kind, PATH, Pipeline, Stage, install, opening, yaml};

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
    for stage in &pipeline.stages {
        let Stage { job, command, environment, .. } = stage;
        let _ = write!(text, "  - name: {job}\n    image: {IMAGE}\n    environment:\n");
        for secret in ["VERBATIM_KEY"].iter().chain(stage.secrets()) {
            let name = secret.to_ascii_lowercase();
            let _ = writeln!(text, "      {secret}: {{ from_secret: {name} }}");
        }
        if environment.is_none() {
            text.push_str("    volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]\n");
        }
        let _ = write!(
            text,
            "    commands:\n      - {}\n      - {PATH}\n      - {command}\n",
            install()
        );
    }
    text
}
