//! Azure Pipelines: <https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/>.

use std::fmt::Write as _;

use super::{KEY, Kind, Pipeline, Stage, install_by, opening, yaml};

/// A job sees the outputs of the jobs in stages that its own depends on, so each stage depends on the build beside its
/// predecessor. Names of stages have no `-` there.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "#",
        Kind::Azure,
        "Secret variables to set for the pipeline. Checks of an environment, such as approvals and the exclusive lock,\n\
         are set on its page:",
        KEY,
    );
    let branch = yaml(pipeline.branch());
    let _ = write!(
        text,
        "trigger: {{ branches: {{ include: [{branch}] }} }}\npr: none\npool: {{ vmImage: ubuntu-latest }}\nstages:\n"
    );
    let mut before: Option<String> = None;
    for stage in &pipeline.stages {
        let Stage { job, command, .. } = stage;
        let name = job.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let _ = writeln!(text, "  - stage: {name}");
        match before.as_deref() {
            None => {}
            Some("build") => text.push_str("    dependsOn: [build]\n"),
            Some(before) => {
                let _ = writeln!(text, "    dependsOn: [build, {before}]");
            }
        }
        // The steps of a deployment lie deeper, and it has no checkout of its own.
        let indent = match stage.environment() {
            Some(environment) => {
                let _ = write!(
                    text,
                    "    lockBehavior: sequential\n    jobs:\n      - deployment: {name}\n        \
                     environment: {}\n        variables:\n          \
                     VERBATIM_RELEASE: $[ stageDependencies.build.build.outputs['verbatim.release'] ]\n        \
                     strategy:\n          runOnce:\n            deploy:\n              steps:\n",
                    yaml(environment)
                );
                "                "
            }
            None => {
                let _ = write!(text, "    jobs:\n      - job: {name}\n        steps:\n");
                "          "
            }
        };
        let step = if stage.environment.is_none() { "name: verbatim\n" } else { "" };
        let mut lines = format!(
            "- checkout: self\n  fetchDepth: 0 # so that it can be told which of two commits is newer\n\
             - bash: {} && echo \"##vso[task.prependpath]$HOME/.local/bin\"\n\
             - bash: {command}\n",
            install_by("\"$AGENT_TEMPDIRECTORY/verbatim.sh\"") // `$(…)` would be a variable of the pipeline
        );
        if !step.is_empty() {
            let _ = write!(lines, "  {step}");
        }
        lines.push_str("  env:\n");
        for secret in ["VERBATIM_KEY"].iter().chain(stage.secrets()) {
            let _ = writeln!(lines, "    {secret}: $({secret})");
        }
        for line in lines.lines() {
            let _ = writeln!(text, "{indent}{line}");
        }
        before = Some(name);
    }
    text
}
