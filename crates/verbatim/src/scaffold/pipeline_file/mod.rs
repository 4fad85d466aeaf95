//! The file of a CI that runs the stages of a project: one job for each command, the release handed on by the means
//! of that CI. One file a system. Pure: text from a configuration.

mod azure;
mod bitbucket;
mod buildkite;
mod circleci;
mod drone;
mod github;
mod gitlab;
mod jenkins;
mod travis;
mod woodpecker;

use clap::ValueEnum;
use serde::Serialize;

use crate::config::{Config, Environment, FILE_NAMES};

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
    /// `Jenkinsfile`
    Jenkins,
    /// `.circleci/config.yml`
    Circleci,
    /// `azure-pipelines.yml`
    Azure,
    /// `.buildkite/pipeline.yml`
    Buildkite,
    /// `bitbucket-pipelines.yml`
    Bitbucket,
    /// `.drone.yml`
    Drone,
    /// `.woodpecker.yml`
    Woodpecker,
}

impl Kind {
    /// Where the system looks for the file.
    fn file(self) -> &'static str {
        match self {
            Self::Travis => ".travis.yml",
            Self::Github => ".github/workflows/verbatim.yml",
            Self::Gitlab => ".gitlab-ci.yml",
            Self::Jenkins => "Jenkinsfile",
            Self::Circleci => ".circleci/config.yml",
            Self::Azure => "azure-pipelines.yml",
            Self::Buildkite => ".buildkite/pipeline.yml",
            Self::Bitbucket => "bitbucket-pipelines.yml",
            Self::Drone => ".drone.yml",
            Self::Woodpecker => ".woodpecker.yml",
        }
    }
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

/// Where the configuration lies in the repository, in which the CI begins at the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, from the root.
    file: String,
}

impl Place {
    /// Of this file. `None` if its path has anything that a shell or one of the files would not take as it is.
    pub(crate) fn of(file: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./+".contains(c);
        let is_safe = !file.is_empty() && !file.starts_with('-') && file.chars().all(is_plain);
        is_safe.then(|| Self { file: file.to_owned() })
    }

    /// Whether the CI begins in another folder.
    pub(crate) fn is_below_the_root(&self) -> bool {
        !self.folder().is_empty()
    }

    /// What every command needs to find it.
    fn option(&self) -> String {
        match FILE_NAMES.contains(&self.file.as_str()) {
            true => String::new(),
            false => format!(" --config {}", self.file),
        }
    }

    /// What comes before the files that a stage leaves beside the configuration.
    fn folder(&self) -> &str {
        self.file.rfind('/').map_or("", |slash| &self.file[..=slash])
    }
}

fn stages<'a>(config: &'a Config, place: &Place) -> Vec<Stage<'a>> {
    let option = place.option();
    let build = Stage {
        job: "build".to_owned(),
        command: format!("verbatim build{option}"),
        environment: None,
        changes: false,
    };
    let of_environment = |environment: &'_ Environment| -> Vec<(String, String, bool)> {
        let name = environment.name();
        let promote = (format!("promote-{name}"), format!("verbatim promote {name}{option}"), true);
        let test = (format!("test-{name}"), format!("verbatim test {name}{option}"), false);
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

/// What a file is made from.
struct Pipeline<'a> {
    project: &'a str,
    stages: Vec<Stage<'a>>,
    /// What comes before the files that a stage leaves.
    folder: &'a str,
    /// The branch whose commits are released, if it was named.
    branch: Option<&'a str>,
}

impl Pipeline<'_> {
    /// The branch, where the CI cannot be asked which one is the default.
    fn branch(&self) -> &str {
        self.branch.unwrap_or("main")
    }
}

impl Stage<'_> {
    /// The name of its environment.
    fn environment(&self) -> Option<&str> {
        self.environment.map(Environment::name)
    }

    /// The secrets that it needs, beside the key.
    fn secrets(&self) -> &'static [&'static str] {
        match self.environment {
            None => &["DOCKER_AUTH_CONFIG"],
            Some(_) => &["DOCKER_AUTH_CONFIG", "ARGOCD_AUTH_TOKEN"],
        }
    }
}

/// The text of the file.
pub(crate) fn render(kind: Kind, config: &Config, place: &Place, branch: Option<&str>) -> String {
    let (stages, folder) = (stages(config, place), place.folder());
    let pipeline = Pipeline { project: &config.project, stages, folder, branch };
    match kind {
        Kind::Travis => travis::render(&pipeline),
        Kind::Github => github::render(&pipeline),
        Kind::Gitlab => gitlab::render(&pipeline),
        Kind::Jenkins => jenkins::render(&pipeline),
        Kind::Circleci => circleci::render(&pipeline),
        Kind::Azure => azure::render(&pipeline),
        Kind::Buildkite => buildkite::render(&pipeline),
        Kind::Bitbucket => bitbucket::render(&pipeline),
        Kind::Drone => drone::render(&pipeline),
        Kind::Woodpecker => woodpecker::render(&pipeline),
    }
}

/// What every file begins with: the secrets, which no generator can fill in. `mark` begins a comment.
fn opening(mark: &str, kind: Kind, secrets: &str, key: &str) -> String {
    let file = kind.file();
    let name = kind.to_possible_value();
    let name = name.as_ref().map_or("", |it| it.get_name());
    let lines = format!(
        "{file}, made by `verbatim ci {name}`. Each job is one command; the image is built once, and only\n\
         its digest travels.\n\
         {secrets}\n  \
         {key}the private key that signs the records (verbatim key generate)\n  \
         DOCKER_AUTH_CONFIG  the login of the registry, in the form of Docker's config.json\n  \
         ARGOCD_AUTH_TOKEN   the token of Argo CD\n"
    );
    lines.lines().map(|line| format!("{mark} {line}\n")).collect::<String>() + "\n"
}

/// The key, where a variable can hold it.
const KEY: &str = "VERBATIM_KEY        ";

/// The line of a shell that installs this version. Not into the checkout, which would not be clean any more, and not under a
/// name that others of the machine could take first; the script checks what it downloads before anything runs.
fn install() -> String {
    install_by("$(mktemp)")
}

/// The same, with the script in a place that the shell finds by these words.
fn install_by(place: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let repository = env!("CARGO_PKG_REPOSITORY");
    let url = format!("{repository}/releases/download/v{version}/install.sh");
    format!("script={place} && curl -fsSLo \"$script\" {url} && sh \"$script\"")
}

/// The line that finds what was installed.
const PATH: &str = "export PATH=\"$HOME/.local/bin:$PATH\"";

/// A name as a YAML scalar: quoted where YAML would take it for something else, <https://yaml.org/type/bool.html>.
fn yaml(name: &str) -> String {
    const WORDS: [&str; 12] =
        ["on", "off", "yes", "no", "y", "n", "true", "false", "null", "nan", "inf", "~"];
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !WORDS.contains(&name.to_ascii_lowercase().as_str());
    if is_plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
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

    fn root() -> Place {
        Place::of("verbatim.yaml").unwrap()
    }

    /// The CI begins in the root of the repository, wherever the configuration lies.
    #[test]
    fn a_configuration_in_a_folder_is_found() {
        let place = Place::of("services/shop/verbatim.yaml").unwrap();
        for kind in Kind::value_variants() {
            let text = render(*kind, &example(), &place, None);
            for command in ["build", "promote dev", "test dev", "promote production"] {
                let want = format!("verbatim {command} --config services/shop/verbatim.yaml");
                assert!(text.contains(&want), "{kind:?}: {want}\n{text}");
            }
        }
        for (kind, want) in [
            (Kind::Gitlab, "dotenv: services/shop/.verbatim/release.env"),
            (Kind::Bitbucket, "artifacts: [\"services/shop/.verbatim/**\"]"),
            (Kind::Circleci, "{ root: ., paths: [services/shop/.verbatim] }"),
        ] {
            let text = render(kind, &example(), &place, None);
            assert!(text.contains(want), "{kind:?}:\n{text}");
        }
        assert_eq!(Place::of("a/web.yaml").unwrap().option(), " --config a/web.yaml");
        for wrong in ["", "a b/verbatim.yaml", "a'/verbatim.yaml", "$x/verbatim.yaml", "-x.yaml"] {
            assert_eq!(Place::of(wrong), None, "{wrong}");
        }
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

    /// Every file but the `Jenkinsfile` is YAML, and each runs every command once, in the order of the stages.
    #[test]
    fn files_are_yaml_and_run_every_command_in_order() {
        for kind in Kind::value_variants() {
            let text = render(*kind, &example(), &root(), None);
            if *kind != Kind::Jenkins {
                let value: serde_json::Value = serde_saphyr::from_str(&text)
                    .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
                assert!(value.is_object(), "{kind:?}");
            }
            let commands: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with(['#', '/']))
                .filter_map(|line| Some(line[line.find("verbatim ")?..].trim_end_matches("' }")))
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
        let of = |kind, branch| render(kind, &example(), &root(), branch);
        let cases = [
            (Kind::Travis, None, "if: branch = main AND type IN (push, api)"),
            (Kind::Travis, Some("trunk"), "if: branch = trunk AND"),
            (Kind::Github, None, "branches: [main]"),
            (Kind::Github, Some("trunk"), "branches: [trunk]"),
            (Kind::Gitlab, None, "- if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"),
            (Kind::Gitlab, Some("trunk"), "- if: $CI_COMMIT_BRANCH == \"trunk\""),
            (Kind::Jenkins, Some("trunk"), "when { branch 'trunk' }"),
            (Kind::Circleci, Some("trunk"), "filters: { branches: { only: trunk } }"),
            (Kind::Azure, Some("trunk"), "trigger: { branches: { include: [trunk] } }\npr: none"),
            (Kind::Buildkite, Some("trunk"), "branches: trunk"),
            (Kind::Bitbucket, Some("trunk"), "  branches:\n    trunk:\n"),
            (Kind::Drone, Some("trunk"), "trigger: { branch: [trunk], event: [push] }"),
            (Kind::Woodpecker, Some("trunk"), "- branch: trunk\n    event: push"),
        ];
        for (kind, branch, want) in cases {
            let text = of(kind, branch);
            assert!(text.contains(want), "{kind:?} {branch:?}:\n{text}");
        }
    }

    #[test]
    fn travis() {
        insta::assert_snapshot!(render(Kind::Travis, &example(), &root(), None));
    }

    #[test]
    fn github() {
        insta::assert_snapshot!(render(Kind::Github, &example(), &root(), None));
    }

    #[test]
    fn gitlab() {
        insta::assert_snapshot!(render(Kind::Gitlab, &example(), &root(), None));
    }

    #[test]
    fn jenkins() {
        insta::assert_snapshot!(render(Kind::Jenkins, &example(), &root(), None));
    }

    #[test]
    fn circleci() {
        insta::assert_snapshot!(render(Kind::Circleci, &example(), &root(), None));
    }

    #[test]
    fn azure() {
        insta::assert_snapshot!(render(Kind::Azure, &example(), &root(), None));
    }

    #[test]
    fn buildkite() {
        insta::assert_snapshot!(render(Kind::Buildkite, &example(), &root(), None));
    }

    #[test]
    fn bitbucket() {
        insta::assert_snapshot!(render(Kind::Bitbucket, &example(), &root(), None));
    }

    #[test]
    fn drone() {
        insta::assert_snapshot!(render(Kind::Drone, &example(), &root(), None));
    }

    #[test]
    fn woodpecker() {
        insta::assert_snapshot!(render(Kind::Woodpecker, &example(), &root(), None));
    }
}
