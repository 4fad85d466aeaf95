//! CircleCI: <https://circleci.com/docs/configuration-reference/>.

use std::fmt::Write as _;

use super::{KEY, Kind, PATH, Pipeline, Stage, install, opening, yaml};

/// The first job hands its folder `.verbatim` to the others. Secrets are those of a context, one for each environment.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "#",
        Kind::Circleci,
        "Contexts to make: `verbatim` for the build, and `verbatim-ENVIRONMENT` for each environment, with",
        KEY,
    );
    text.push_str("version: 2.1\njobs:\n");
    for Stage { job, command, environment, .. } in &pipeline.stages {
        let _ = write!(
            text,
            "  {job}:\n    machine: {{ image: \"ubuntu-2404:current\" }}\n    steps:\n      - checkout\n"
        );
        if environment.is_some() {
            text.push_str("      - attach_workspace: { at: . }\n");
        }
        let _ = write!(
            text,
            "      - run: {}\n      - run: echo '{PATH}' >> \"$BASH_ENV\"\n      - run: {command}\n",
            install()
        );
        if environment.is_none() {
            let _ = writeln!(
                text,
                "      - persist_to_workspace: {{ root: ., paths: [{}.verbatim] }}",
                pipeline.folder
            );
        }
    }
    text.push_str("workflows:\n  release:\n    jobs:\n");
    let mut before: Option<&str> = None;
    for stage in &pipeline.stages {
        let Stage { job, changes, .. } = stage;
        let _ = writeln!(text, "      - {job}:");
        if let Some(before) = before {
            let _ = writeln!(text, "          requires: [{before}]");
        }
        let context = match stage.environment() {
            Some(environment) => format!("verbatim-{environment}"),
            None => "verbatim".to_owned(),
        };
        let _ = writeln!(text, "          context: {context}");
        if let (Some(environment), true) = (stage.environment(), changes) {
            let _ = writeln!(text, "          serial-group: {}/{environment}", pipeline.project);
        }
        let branch = yaml(pipeline.branch());
        let _ = writeln!(text, "          filters: {{ branches: {{ only: {branch} }} }}");
        before = Some(job);
    }
    text
}
