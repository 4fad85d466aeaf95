//! Jenkins: <https://www.jenkins.io/doc/book/pipeline/syntax/>, with the plugins Credentials Binding and Lockable Resources.

use std::fmt::Write as _;

use super::{Kind, Pipeline, Stage, install, opening};

/// All stages work in one work tree, where each finds the release that the first one left. Credentials are those of a stage.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "//",
        Kind::Jenkins,
        "For a multibranch pipeline. Credentials to make; the id is the name in lower case, with `-`:",
        "VERBATIM_KEY_FILE   a secret file: ",
    );
    let branch = pipeline.branch();
    let _ = write!(
        text,
        "pipeline {{\n    agent any\n    environment {{\n        \
         PREFIX = \"${{env.WORKSPACE_TMP}}/verbatim\"\n        \
         PATH = \"${{env.WORKSPACE_TMP}}/verbatim/bin:${{env.PATH}}\"\n    }}\n    \
         stages {{\n        stage('release') {{\n            when {{ branch '{branch}' }}\n            \
         stages {{\n                stage('install') {{\n                    \
         steps {{ sh '{}' }}\n                }}\n",
        install()
    );
    for stage in &pipeline.stages {
        let Stage { job, command, changes, .. } = stage;
        let _ = writeln!(text, "                stage('{job}') {{");
        if let (Some(environment), true) = (stage.environment(), changes) {
            let _ = writeln!(
                text,
                "                    options {{ lock(resource: '{}/{environment}') }}",
                pipeline.project
            );
        }
        text.push_str("                    environment {\n");
        for secret in ["VERBATIM_KEY_FILE"].iter().chain(stage.secrets()) {
            let id = secret.to_ascii_lowercase().replace('_', "-");
            let _ = writeln!(text, "                        {secret} = credentials('{id}')");
        }
        let _ = write!(
            text,
            "                    }}\n                    steps {{ sh '{command}' }}\n                }}\n"
        );
    }
    text.push_str("            }\n        }\n    }\n}\n");
    text
}
