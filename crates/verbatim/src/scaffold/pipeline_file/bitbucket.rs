//! Bitbucket Pipelines: <https://support.atlassian.com/bitbucket-cloud/docs/stage-options/>.

use std::fmt::Write as _;

use super::{KEY, Kind, PATH, Pipeline, Stage, install, opening, yaml};

/// An image of Debian with git, curl and openssl.
const IMAGE: &str = "buildpack-deps:bookworm-scm";

/// Files that a step leaves reach all later ones. The steps of an environment are one deployment stage: they share its
/// variables, and no other run has it meanwhile.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "#",
        Kind::Bitbucket,
        "Deployment environments to make, named as in verbatim.yaml. Secured variables to set: for the build those of the\n\
         repository, for each environment its own, so that each may have another key:",
        KEY,
    );
    let _ = write!(
        text,
        "image: {IMAGE}\nclone: {{ depth: full }} # so that it can be told which of two commits is newer\n\
         pipelines:\n  branches:\n    {}:\n",
        yaml(pipeline.branch())
    );
    let mut stage_of: Option<&str> = None;
    for stage in &pipeline.stages {
        let Stage { job, command, .. } = stage;
        let environment = stage.environment();
        if let Some(name) = environment.filter(|_| environment != stage_of) {
            let name = yaml(name);
            let _ = write!(
                text,
                "      - stage:\n          name: {name}\n          deployment: {name}\n          steps:\n"
            );
        }
        stage_of = environment;
        let indent = if environment.is_some() { "            " } else { "      " };
        let mut lines = format!("- step:\n    name: {job}\n");
        if environment.is_none() {
            lines.push_str("    services: [docker]\n");
        }
        let _ = write!(
            lines,
            "    script:\n      - {}\n      - {PATH}\n      - {command}\n",
            install()
        );
        if environment.is_none() {
            let _ = writeln!(lines, "    artifacts: [\"{}.verbatim/**\"]", pipeline.folder);
        }
        for line in lines.lines() {
            let _ = writeln!(text, "{indent}{line}");
        }
    }
    text
}
