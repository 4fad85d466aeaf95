//! Travis CI: <https://docs.travis-ci.com/user/build-stages/>.

use std::fmt::Write as _;

use super::{KEY, Kind, PATH, Pipeline, Stage, install, opening};

/// Travis runs all lines of a script even after one has failed, so each command is a stage of its own. Its jobs share
/// no files: later stages find the release by the build record of this commit and build number.
pub(super) fn render(pipeline: &Pipeline<'_>) -> String {
    let branch = pipeline.branch();
    let mut text = opening(
        "#",
        Kind::Travis,
        "Secret variables to set in the settings of the repository:",
        KEY,
    );
    // https://docs.travis-ci.com/user/conditional-builds-stages-jobs/: no pull request, and no other branch.
    let _ = writeln!(text, "if: branch = {branch} AND type IN (push, api)");
    text.push_str("language: minimal\nos: linux\nservices: [docker]\n");
    text.push_str("git:\n  depth: false # so that it can be told which of two commits is newer\n");
    let _ = writeln!(text, "before_install:\n  - {}\n  - {PATH}", install());
    text.push_str("jobs:\n  include:\n");
    for Stage { job, command, .. } in &pipeline.stages {
        let _ = write!(text, "    - stage: {job}\n      script: {command}\n");
    }
    text
}
