//! GitHub Actions: <https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax>.

use std::fmt::Write as _;

use super::{KEY, Kind, Pipeline, Stage, install, opening, yaml};

/// A job sees the outputs of the jobs that it needs directly, so each needs the build beside its predecessor.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let mut text = opening(
        "#",
        Kind::Github,
        "Secrets to set in the settings of the repository. Those of an environment win in its jobs, so that each may\n\
         have a key of its own, which the policy trusts for that environment alone:",
        KEY,
    );
    let project = pipeline.project;
    let _ = write!(
        text,
        "name: verbatim\non:\n  push:\n    branches: [{branch}]\npermissions:\n  contents: read\n\
         jobs:\n",
        branch = yaml(pipeline.branch()),
    );
    let mut before: Option<&str> = None;
    for stage in &pipeline.stages {
        let Stage { job, command, environment, changes } = stage;
        let _ = write!(text, "  {job}:\n    runs-on: ubuntu-latest\n");
        if let Some(before) = before {
            let needs =
                if before == "build" { "build".to_owned() } else { format!("build, {before}") };
            let _ = writeln!(text, "    needs: [{needs}]");
        }
        if let Some(environment) = environment {
            let name = environment.name();
            let _ = writeln!(text, "    environment: {}", yaml(name));
            if *changes {
                let _ = writeln!(
                    text,
                    "    concurrency: {{ group: {project}/{name}, cancel-in-progress: false }}"
                );
            }
        } else {
            text.push_str("    outputs:\n      release: ${{ steps.build.outputs.release }}\n");
        }
        let _ = write!(
            text,
            "    steps:\n      - uses: {CHECKOUT}\n        with:\n          \
             fetch-depth: 0 # so that it can be told which of two commits is newer\n          \
             persist-credentials: false\n"
        );
        let _ = write!(
            text,
            "      - run: |\n          {}\n          echo \"$HOME/.local/bin\" >> \"$GITHUB_PATH\"\n",
            install()
        );
        let id = if environment.is_none() { "id: build\n        " } else { "" };
        let _ = writeln!(text, "      - {id}run: {command}\n        env:");
        if environment.is_some() {
            text.push_str("          VERBATIM_RELEASE: ${{ needs.build.outputs.release }}\n");
        }
        // Only the step that needs them has them: the others run code of other people.
        for secret in ["VERBATIM_KEY"].iter().chain(stage.secrets()) {
            let _ = writeln!(text, "          {secret}: ${{{{ secrets.{secret} }}}}");
        }
        before = Some(job);
    }
    text
}

/// The checkout of GitHub, by the commit of its release 4.2.2: a tag can be moved.
const CHECKOUT: &str = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2";
