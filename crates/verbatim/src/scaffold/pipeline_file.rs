//! The file of a CI that runs the stages of a project: one job for each command, the release handed on by the means
//! of that CI. Pure: text from a configuration.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use crate::config::{Config, Environment};

/// A CI whose file can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// `.travis.yml`
    Travis,
    /// `.github/workflows/verbatim.yml`
    Github,
    /// `.gitlab-ci.yml`
    Gitlab,
}

/// One command of a pipeline.
struct Stage<'a> {
    /// A name for the job: `build`, `promote-dev`, `test-dev`.
    job: String,
    command: String,
    /// The environment that it acts on, if any.
    environment: Option<&'a Environment>,
    /// Whether it changes that environment: then two runs must not do it at once.
    changes: bool,
}

fn stages(config: &Config) -> Vec<Stage<'_>> {
    let build = Stage {
        job: "build".to_owned(),
        command: "verbatim build".to_owned(),
        environment: None,
        changes: false,
    };
    let of_environment = |environment: &'_ Environment| -> Vec<(String, String, bool)> {
        let name = environment.name();
        let promote = (format!("promote-{name}"), format!("verbatim promote {name}"), true);
        let test = (format!("test-{name}"), format!("verbatim test {name}"), false);
        match environment.tests.is_empty() {
            true => vec![promote],
            false => vec![promote, test],
        }
    };
    let environments = config.environments.iter().flat_map(|environment| {
        of_environment(environment).into_iter().map(move |(job, command, changes)| Stage {
            job,
            command,
            environment: Some(environment),
            changes,
        })
    });
    std::iter::once(build).chain(environments).collect()
}

/// The text of the file.
pub(crate) fn render(kind: Kind, config: &Config, branch: Option<&str>) -> String {
    let stages = stages(config);
    match kind {
        Kind::Travis => travis(&stages, branch.unwrap_or(USUAL)),
        Kind::Github => github(config, &stages, branch.unwrap_or(USUAL)),
        Kind::Gitlab => gitlab(config, &stages, branch),
    }
}

/// The branch whose commits are released, where the CI cannot be asked which one is the default.
const USUAL: &str = "main";

/// What every file begins with: the secrets, which no generator can fill in.
fn opening(kind: &str, file: &str, secrets: &str, key: &str) -> String {
    format!(
        "# {file}, made by `verbatim ci {kind}`. Each job is one command; the image is built once, and only its digest\n\
         # travels. The binary `verbatim` must be on the PATH of the jobs: in their image, or\n\
         # fetched by a step of yours before the command.\n\
         # {secrets}\n\
         #   {key}the private key that signs the records (verbatim key generate)\n\
         #   DOCKER_AUTH_CONFIG  the login of the registry, in the form of Docker's config.json\n\
         #   ARGOCD_AUTH_TOKEN   the token of Argo CD\n\n"
    )
}

/// The key, where a variable can hold it.
const KEY: &str = "VERBATIM_KEY        ";

/// Travis runs all lines of a script even after one has failed, so each command is a stage of its own. Its jobs share
/// no files: later stages find the release by the build record of this commit and build number.
fn travis(stages: &[Stage<'_>], branch: &str) -> String {
    let mut text = opening(
        "travis",
        ".travis.yml",
        "Secret variables to set in the settings of the repository:",
        KEY,
    );
    // https://docs.travis-ci.com/user/conditional-builds-stages-jobs/: no pull request, and no other branch.
    let _ = writeln!(text, "if: branch = {branch} AND type IN (push, api)");
    text.push_str("language: minimal\nos: linux\nservices: [docker]\n");
    text.push_str("git:\n  depth: false # so that it can be told which of two commits is newer\n");
    text.push_str("jobs:\n  include:\n");
    for Stage { job, command, .. } in stages {
        let _ = write!(text, "    - stage: {job}\n      script: {command}\n");
    }
    text
}

/// A job sees the outputs of the jobs that it needs directly, so each needs the build beside its predecessor.
fn github(config: &Config, stages: &[Stage<'_>], branch: &str) -> String {
    let mut text = opening(
        "github",
        ".github/workflows/verbatim.yml",
        "Secrets to set in the settings of the repository. Those of an environment win in its jobs, so that each may\n\
         # have a key of its own, which the policy trusts for that environment alone:",
        KEY,
    );
    let project = &config.project;
    let _ = write!(
        text,
        "name: verbatim\non:\n  push:\n    branches: [{branch}]\npermissions:\n  contents: read\n\
         jobs:\n",
        branch = yaml(branch),
    );
    let mut before: Option<&str> = None;
    for Stage { job, command, environment, changes } in stages {
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
        let id = if environment.is_none() { "id: build\n        " } else { "" };
        let _ = writeln!(text, "      - {id}run: {command}\n        env:");
        if environment.is_some() {
            text.push_str("          VERBATIM_RELEASE: ${{ needs.build.outputs.release }}\n");
        }
        // Only the step that needs them has them: the others run code of other people.
        let secrets = ["VERBATIM_KEY", "DOCKER_AUTH_CONFIG", "ARGOCD_AUTH_TOKEN"];
        let count = if environment.is_some() { 3 } else { 2 };
        for secret in &secrets[..count] {
            let _ = writeln!(text, "          {secret}: ${{{{ secrets.{secret} }}}}");
        }
        before = Some(job);
    }
    text
}

/// The checkout of GitHub, by the commit of its release 4.2.2: a tag can be moved.
const CHECKOUT: &str = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2";

/// A name as a YAML scalar: quoted where YAML would take it for something else, <https://yaml.org/type/bool.html>.
fn yaml(name: &str) -> String {
    const WORDS: [&str; 12] =
        ["on", "off", "yes", "no", "y", "n", "true", "false", "null", "nan", "inf", "~"];
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !WORDS.contains(&name.to_ascii_lowercase().as_str());
    if is_plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

/// The dotenv report of a job becomes variables of all later stages.
fn gitlab(config: &Config, stages: &[Stage<'_>], branch: Option<&str>) -> String {
    let mut text = opening(
        "gitlab",
        ".gitlab-ci.yml",
        "Variables to set in the settings of the project: protected, and the token masked:",
        // A value of several lines cannot be masked there; a file is not printed.
        "VERBATIM_KEY_FILE   of type File: ",
    );
    let project = &config.project;
    let branch = match branch {
        Some(name) => format!("\"{name}\""),
        None => "$CI_DEFAULT_BRANCH".to_owned(),
    };
    let _ = writeln!(text, "workflow:\n  rules:\n    - if: $CI_COMMIT_BRANCH == {branch}");
    text.push_str(
        "variables:\n  GIT_DEPTH: 0 # so that it can be told which of two commits is newer\n",
    );
    text.push_str("stages:\n");
    for Stage { job, .. } in stages {
        let _ = writeln!(text, "  - {job}");
    }
    for Stage { job, command, environment, changes } in stages {
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
            text.push_str("  artifacts:\n    reports:\n      dotenv: .verbatim/release.env\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    const FILE: &str = "
version: 1
project: example
images: { app: { repository: registry.example/team/app } }
argocd: { main: { url: https://argocd.example } }
set: { helm: { image.tag: '${tag}@${digest}' } }
environments:
  - { name: dev, apps: [web-dev], tests: { smoke: ./smoke.sh } }
  - { name: production, apps: [web] }
";

    fn example() -> Config {
        config::parse(Path::new("verbatim.yaml"), FILE, &|_| {
            Err(std::io::ErrorKind::NotFound.into())
        })
        .unwrap()
    }

    #[test]
    fn names_stay_names_in_yaml() {
        let cases = [
            ("production", "production"),
            ("release/1.x", "release/1.x"),
            ("on", "\"on\""),
            ("1e3", "\"1e3\""),
            ("a]: x", "\"a]: x\""),
        ];
        for (name, want) in cases {
            assert_eq!(yaml(name), want);
        }
    }

    /// Every file is YAML, and runs every command once, in the order of the stages.
    #[test]
    fn files_are_yaml_and_run_every_command_in_order() {
        for kind in Kind::value_variants() {
            let text = render(*kind, &example(), None);
            let value: serde_json::Value =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            assert!(value.is_object(), "{kind:?}");
            let commands: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| Some(&line[line.find("verbatim ")?..]))
                .collect();
            let want = [
                "verbatim build",
                "verbatim promote dev",
                "verbatim test dev",
                "verbatim promote production",
            ];
            assert_eq!(commands, want, "{kind:?}");
        }
    }

    /// A pull request, or a branch of somebody's, must not reach production.
    #[test]
    fn only_one_branch_is_released() {
        let of = |kind, branch| render(kind, &example(), branch);
        let cases = [
            (Kind::Travis, None, "if: branch = main AND type IN (push, api)"),
            (Kind::Travis, Some("trunk"), "if: branch = trunk AND"),
            (Kind::Github, None, "branches: [main]"),
            (Kind::Github, Some("trunk"), "branches: [trunk]"),
            (Kind::Gitlab, None, "- if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"),
            (Kind::Gitlab, Some("trunk"), "- if: $CI_COMMIT_BRANCH == \"trunk\""),
        ];
        for (kind, branch, want) in cases {
            let text = of(kind, branch);
            assert!(text.contains(want), "{kind:?} {branch:?}:\n{text}");
        }
    }

    #[test]
    fn travis() {
        insta::assert_snapshot!(render(Kind::Travis, &example(), None));
    }

    #[test]
    fn github() {
        insta::assert_snapshot!(render(Kind::Github, &example(), None));
    }

    #[test]
    fn gitlab() {
        insta::assert_snapshot!(render(Kind::Gitlab, &example(), None));
    }
}
