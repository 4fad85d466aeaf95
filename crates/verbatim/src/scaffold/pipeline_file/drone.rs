//! Drone: <https://docs.drone.io/pipeline/docker/overview/>.

use std::fmt::Write as _;

use super::{KEY, Kind, PATH, Pipeline, Stage, install, opening, yaml};

/// An image of Debian with git, curl and openssl.
pub(super) const IMAGE: &str = "buildpack-deps:bookworm-scm";

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
    for stage in &pipeline.stages {
        let Stage { job, command, environment, .. } = stage;
        let _ = write!(text, "  - name: {job}\n    image: {IMAGE}\n    environment:\n");
        for secret in ["VERBATIM_KEY"].iter().chain(stage.secrets()) {
            let name = secret.to_ascii_lowercase();
            let _ = writeln!(text, "      {secret}: {{ from_secret: {name} }}");
        }
        if environment.is_none() {
            text.push_str("    volumes: [{ name: docker, path: /var/run/docker.sock }]\n");
        }
        let _ = write!(
            text,
            "    commands:\n      - {}\n      - {PATH}\n      - {command}\n",
            install()
        );
    }
    text
}
