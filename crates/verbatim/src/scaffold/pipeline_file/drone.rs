//! Drone: <https://docs.drone.io/pipeline/docker/overview/>.

use std::fmt::Write as _;

use super::{KEY, Kind, PATH, Pipeline, Stage, install, opening, yaml};

/// An image of Debian with git, curl and openssl.
const IMAGE: &str = "buildpack-deps:bookworm-scm";

/// All steps share one work tree, where each finds the release that the first one left.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "#",
        Kind::Drone,
        "The repository has to be trusted, for the Docker Engine. Secrets to set, named in lower case:",
        KEY,
    );
    let _ = write!(
        text,
        "kind: pipeline\ntype: docker\nname: release\ntrigger: {{ branch: [{}], event: [push] }}\n\
         concurrency: {{ limit: 1 }}\nvolumes:\n  - name: docker\n    host: {{ path: /var/run/docker.sock }}\nsteps:\n",
        yaml(pipeline.branch())
    );
    text + &steps(pipeline, "[{ name: docker, path: /var/run/docker.sock }]")
}

/// The steps, of which the build has the volume of the Docker Engine. Woodpecker, which began as Drone, has the same.
pub(super) fn steps(pipeline: &Pipeline<'_>, engine: &str) -> String {
    let mut text = String::new();
    for stage in &pipeline.stages {
        let Stage { job, command, environment, .. } = stage;
        let _ = write!(text, "  - name: {job}\n    image: {IMAGE}\n    environment:\n");
        for secret in ["VERBATIM_KEY"].iter().chain(stage.secrets()) {
            let name = secret.to_ascii_lowercase();
            let _ = writeln!(text, "      {secret}: {{ from_secret: {name} }}");
        }
        if environment.is_none() {
            let _ = writeln!(text, "    volumes: {engine}");
        }
        let _ = write!(
            text,
            "    commands:\n      - {}\n      - {PATH}\n      - {command}\n",
            install()
        );
    }
    text
}
