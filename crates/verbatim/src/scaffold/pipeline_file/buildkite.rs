//! Buildkite: <https://buildkite.com/docs/pipelines/configure/step-types/command-step>.

use std::fmt::Write as _;

use super::{KEY, Kind, PATH, Pipeline, Stage, install, opening, yaml};

/// Steps may run on other machines: each finds the release by the build record of the commit and the build number. A `$` is
/// written twice, because one is replaced when the file is uploaded.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening("#", Kind::Buildkite, "Secrets to set for the cluster:", KEY);
    text.push_str("steps:\n");
    let mut before: Option<&str> = None;
    for stage in &pipeline.stages {
        let Stage { job, command, changes, .. } = stage;
        let _ = write!(
            text,
            "  - key: {job}\n    label: {job}\n    branches: {}\n",
            yaml(pipeline.branch())
        );
        if let Some(before) = before {
            let _ = writeln!(text, "    depends_on: {before}");
        }
        if let (Some(environment), true) = (stage.environment(), changes) {
            let _ = write!(
                text,
                "    concurrency: 1\n    concurrency_group: {}/{environment}\n",
                pipeline.project
            );
        }
        let _ = write!(
            text,
            "    command:\n      - {}\n      - {}\n      - {command}\n    secrets:\n      - VERBATIM_KEY\n",
            install().replace('$', "$$"),
            PATH.replace('$', "$$")
        );
        for secret in stage.secrets() {
            let _ = writeln!(text, "      - {secret}");
        }
        before = Some(job);
    }
    text
}
