//! GitLab CI/CD: <https://docs.gitlab.com/ci/yaml/>.

use std::fmt::Write as _;

use super::{Kind, PATH, Pipeline, Stage, install, opening, yaml};

/// The dotenv report of a job becomes variables of all later stages.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "#",
        Kind::Gitlab,
        "Variables to set in the settings of the project: protected, and the token masked:",
        // A value of several lines cannot be masked there; a file is not printed.
        "VERBATIM_KEY_FILE   of type File: ",
    );
    let project = pipeline.project;
    let branch = match pipeline.branch {
        Some(name) => format!("\"{name}\""),
        None => "$CI_DEFAULT_BRANCH".to_owned(),
    };
    let _ = writeln!(text, "workflow:\n  rules:\n    - if: $CI_COMMIT_BRANCH == {branch}");
    text.push_str(
        "variables:\n  GIT_DEPTH: 0 # so that it can be told which of two commits is newer\n",
    );
    let _ = write!(text, "before_script:\n  - {}\n  - {PATH}\n", install());
    text.push_str("stages:\n");
    for Stage { job, .. } in &pipeline.stages {
        let _ = writeln!(text, "  - {job}");
    }
    for Stage { job, command, environment, changes } in &pipeline.stages {
        let _ = write!(text, "\n{job}:\n  stage: {job}\n");
        if let Some(environment) = environment {
            let name = yaml(environment.name());
            let _ = match changes {
                true => writeln!(
                    text,
                    "  environment: {name}\n  resource_group: {project}/{}",
                    environment.name()
                ),
                // Its variables, without a deployment.
                false => writeln!(text, "  environment: {{ name: {name}, action: verify }}"),
            };
        }
        let _ = writeln!(text, "  script:\n    - {command}");
        if environment.is_none() {
            let _ = writeln!(
                text,
                "  artifacts:\n    reports:\n      dotenv: {}.verbatim/release.env",
                pipeline.folder
            );
        }
    }
    text
}
