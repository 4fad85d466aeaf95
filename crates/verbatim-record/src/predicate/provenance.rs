//! SLSA provenance v1: how a release was built. <https://slsa.dev/spec/v1.0/provenance>
//!
//! The types read what any builder writes; [`Build`] is what this project itself has to say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use verbatim_oci::Digest;

use super::commits::SourceCommit;
use super::descriptor::ResourceDescriptor;
use super::json::null_is_default;
use super::origin::{AdoptedImage, ComposedRelease, source_dependency};
use super::{CiRun, Predicate};
use crate::artifact::EnvironmentId;
use crate::keys::Power;

/// The internal parameter that holds the last commits.
const COMMITS: &str = "commits";

/// SLSA provenance v1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The input of the build.
    pub build_definition: BuildDefinition,
    /// This execution of it.
    pub run_details: RunDetails,
}

/// The input of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// URI that tells how to read the parameters.
    pub build_type: String,
    /// What the person or job that started the build could choose.
    pub external_parameters: Map<String, Value>,
    /// What the build platform chose.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub internal_parameters: Map<String, Value>,
    /// What was fetched, as far as known: at least the source commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// One execution of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// The build platform.
    pub builder: BuildPlatform,
    /// When it ran, and its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BuildMetadata>,
    /// What else the build made.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub byproducts: Vec<ResourceDescriptor>,
}

/// A build platform, which the record trusts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildPlatform {
    /// URI of all that must be trusted for this record to be true.
    pub id: String,
    /// Versions by component, for example `engine`.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub version: BTreeMap<String, String>,
}

/// When a build ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildMetadata {
    /// Name of this execution; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// Start of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_on: Option<Timestamp>,
    /// End of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<Timestamp>,
}

/// The source of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildSource {
    /// URL of the git repository, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Full hash of the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// For a pull request whose commit is a merge that a CI made for one run: the last commit of its branch. The
    /// repository loses the merge after a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The branch, as the CI names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The git tag, as the CI names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether files differed from the commit. Nobody else can look at the source of such a build.
    pub dirty: bool,
    /// Whether it is a pull request of another repository, or of one that the CI does not name: its author may be
    /// anybody.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

impl BuildSource {
    /// The commit that a clone of the repository knows.
    pub fn lasting_commit(&self) -> Option<&str> {
        self.head.as_deref().or(self.commit.as_deref())
    }
}

/// A build by `verbatim build`, as it goes into a [`Provenance`].
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// What was built from.
    pub source: BuildSource,
    /// The reference of the pushed image, with its tag.
    pub image: String,
    /// Folder of the build context, relative to the repository.
    pub context: String,
    /// Path of the Dockerfile, relative to the context.
    pub dockerfile: String,
    /// Stage of the Dockerfile.
    pub target: Option<String>,
    /// Platforms asked for; empty for the engine's own.
    pub platforms: Vec<String>,
    /// Names of the build arguments. Their values may be secret and are not recorded.
    pub build_args: Vec<String>,
    /// What the context held and no commit does, because a step before the build made it and the configuration allows it: its
    /// hash, as `dirHash` of in-toto, by its path relative to the context.
    pub ignored_inputs: BTreeMap<String, String>,
    /// Which of the engine's builders ran: `classic` or `buildkit`.
    pub builder: String,
    /// URI of the platform that is trusted to have built it; [`Build::builder_id`] makes one from the kind of CI.
    pub builder_id: String,
    /// Component to version: `verbatim`, `engine`.
    pub versions: BTreeMap<String, String>,
    /// The CI run that built it.
    pub run: CiRun,
    /// Start of the build.
    pub started_at: Timestamp,
    /// End of the push.
    pub finished_at: Timestamp,
}

/// The hash of a folder, see
/// <https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md#dirhash>.
const DIR_HASH: &str = "dirHash";

impl Build {
    /// The `buildType` of these records: an image made from a Dockerfile by a Docker engine.
    pub const TYPE: &'static str = "urn:verbatim:build:dockerfile:v1";

    /// A builder id for a job of this kind of CI, for example `urn:verbatim:builder:github`.
    pub fn builder_id(ci: &str) -> String {
        format!("urn:verbatim:builder:{ci}")
    }

    /// This build as SLSA provenance.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            build_definition: BuildDefinition {
                build_type: Self::TYPE.to_owned(),
                external_parameters: self.external_parameters(),
                internal_parameters: object(json!({ "builder": self.builder, "run": self.run })),
                resolved_dependencies: source_dependency(&self.source)
                    .into_iter()
                    .chain(self.ignored_inputs.iter().map(|(path, hash)| ResourceDescriptor {
                        name: Some(path.clone()),
                        digest: BTreeMap::from([(DIR_HASH.to_owned(), hash.clone())]),
                        ..ResourceDescriptor::default()
                    }))
                    .collect(),
            },
            run_details: RunDetails {
                builder: BuildPlatform {
                    id: self.builder_id.clone(),
                    version: self.versions.clone(),
                },
                metadata: Some(BuildMetadata {
                    invocation_id: self.run.url.clone(),
                    started_on: Some(self.started_at),
                    finished_on: Some(self.finished_at),
                }),
                byproducts: Vec::new(),
            },
        }
    }

    fn external_parameters(&self) -> Map<String, Value> {
        let mut parameters = object(json!({
            "source": self.source,
            "image": self.image,
            "context": self.context,
            "dockerfile": self.dockerfile,
        }));
        if let Some(target) = &self.target {
            parameters.insert("target".to_owned(), json!(target));
        }
        if !self.platforms.is_empty() {
            parameters.insert("platforms".to_owned(), json!(self.platforms));
        }
        if !self.build_args.is_empty() {
            parameters.insert("buildArgNames".to_owned(), json!(self.build_args));
        }
        parameters
    }
}

/// The object inside a `json!({…})`.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl Provenance {
    /// What a certificate says of the build of an image that a workflow has signed and told nothing of. `build_type` says
    /// how it signed.
    pub(crate) fn of_workflow(
        build_type: &str,
        workflow: &str,
        repository: &str,
        commit: &str,
        reference: Option<&str>,
    ) -> Self {
        let at = reference.map_or_else(String::new, |reference| format!("@{reference}"));
        let source = ResourceDescriptor {
            uri: Some(format!("git+{repository}{at}")),
            digest: BTreeMap::from([("gitCommit".to_owned(), commit.to_owned())]),
            ..ResourceDescriptor::default()
        };
        Self {
            build_definition: BuildDefinition {
                build_type: build_type.to_owned(),
                external_parameters: Map::new(),
                internal_parameters: Map::new(),
                resolved_dependencies: vec![source],
            },
            run_details: RunDetails {
                builder: BuildPlatform { id: workflow.to_owned(), version: BTreeMap::new() },
                metadata: None,
                byproducts: Vec::new(),
            },
        }
    }

    /// The source. For a build of another builder: the first git dependency, which counts as clean.
    pub fn source(&self) -> Option<BuildSource> {
        if self.is_ours() {
            let source = self.build_definition.external_parameters.get("source")?;
            return serde_json::from_value(source.clone()).ok();
        }
        self.build_definition.resolved_dependencies.iter().find_map(|dependency| {
            let commit = dependency
                .digest
                .get("gitCommit")
                .or_else(|| dependency.digest.get("sha1"))?
                .clone();
            let uri = dependency.uri.as_deref()?;
            let (repository, reference) = at_reference(uri.strip_prefix("git+").unwrap_or(uri));
            let named = |prefix| reference?.strip_prefix(prefix).map(ToOwned::to_owned);
            Some(BuildSource {
                repository: Some(repository.to_owned()),
                commit: Some(commit),
                branch: named("refs/heads/"),
                tag: named("refs/tags/"),
                // Whose pull request it is, GitHub's provenance does not say.
                foreign: reference.is_some_and(|reference| reference.starts_with("refs/pull/")),
                ..BuildSource::default()
            })
        })
    }

    /// The same, with the last commits of its source.
    #[must_use]
    pub fn with_commits(mut self, commits: &[SourceCommit]) -> Self {
        if !commits.is_empty() {
            let parameters = &mut self.build_definition.internal_parameters;
            parameters.insert(COMMITS.to_owned(), json!(commits));
        }
        self
    }

    /// The last commits of its source, newest first, as far as its builder names them.
    pub fn commits(&self) -> Vec<SourceCommit> {
        let commits = self.build_definition.internal_parameters.get(COMMITS);
        let commits = commits.filter(|_| self.is_ours());
        commits.and_then(|it| serde_json::from_value(it.clone()).ok()).unwrap_or_default()
    }

    /// Whether this project has written it.
    fn is_ours(&self) -> bool {
        let ours = [Build::TYPE, AdoptedImage::TYPE, ComposedRelease::TYPE];
        ours.contains(&self.build_definition.build_type.as_str())
    }

    /// What was built from beside the commit: the paths, with their hashes.
    pub fn ignored_inputs(&self) -> BTreeMap<String, String> {
        let dependencies = self.build_definition.resolved_dependencies.iter();
        let inputs = dependencies.filter_map(|dependency| {
            Some((dependency.name.clone()?, dependency.digest.get(DIR_HASH)?.clone()))
        });
        inputs.filter(|_| self.is_ours()).collect()
    }

    /// The CI run, if the builder was this project's own.
    pub fn run(&self) -> Option<CiRun> {
        let run = self.build_definition.internal_parameters.get("run")?;
        serde_json::from_value(run.clone()).ok()
    }
}

/// The repository in the URI of a git dependency, and the reference behind an `@` or a `#`. The name of a user may stand
/// before an `@`, too.
fn at_reference(uri: &str) -> (&str, Option<&str>) {
    let name = uri.rfind('/').unwrap_or_default();
    let at = uri
        .find("@refs/")
        .or_else(|| uri.find('#'))
        .or_else(|| uri[name..].find('@').map(|at| name + at));
    at.map_or((uri, None), |at| (&uri[..at], uri.get(at + 1..)))
}

impl Predicate for Provenance {
    const TYPE: &'static str = "https://slsa.dev/provenance/v1";
    const POWER: Option<Power> = Some(Power::Build);
    const IS_PLACED: bool = false;

    fn recorded_at(&self) -> Option<Timestamp> {
        self.run_details.metadata.as_ref()?.finished_on
    }

    fn project(&self) -> Option<String> {
        self.run()?.project
    }

    fn environment(&self) -> Option<EnvironmentId> {
        None
    }

    fn built_from(&self) -> Option<BuildSource> {
        self.source()
    }

    fn check(&self, _subjects: &[Digest]) -> Result<(), String> {
        // SLSA wants both to be there; without a builder nobody is named who answers for the build.
        if self.build_definition.build_type.is_empty() || self.run_details.builder.id.is_empty() {
            return Err("the type or the builder of the build is empty".to_owned());
        }
        if self.is_ours() && self.source().is_none() {
            return Err("the source of the build is missing or malformed".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{build, release};

    #[test]
    fn the_source_of_another_builder_is_its_first_git_dependency() {
        let BuildSource { repository, commit, .. } = build().source;
        let in_sha1 = ResourceDescriptor {
            uri: Some("https://github.com/acme/shop#main".to_owned()),
            digest: BTreeMap::from([("sha1".to_owned(), commit.clone().unwrap())]),
            ..ResourceDescriptor::default()
        };
        let want = BuildSource { repository, commit, ..BuildSource::default() };
        let mut foreign = build().provenance();
        foreign.build_definition.build_type = "https://example.com/workflow/v1".to_owned();
        let as_ours = foreign.build_definition.resolved_dependencies.clone();
        for git in [as_ours, vec![in_sha1]] {
            let base = ResourceDescriptor::artifact("base", &release("base"));
            foreign.build_definition.resolved_dependencies = [vec![base], git].concat();
            assert_eq!(foreign.source(), Some(want.clone()));
        }
    }

    #[test]
    fn a_git_dependency_names_a_repository_and_a_reference() {
        for (uri, repository, branch, tag, foreign) in [
            (
                "git+https://github.com/acme/shop@refs/heads/main",
                "https://github.com/acme/shop",
                Some("main"),
                None,
                false,
            ),
            (
                "git+https://github.com/acme/shop@refs/heads/a@b/c",
                "https://github.com/acme/shop",
                Some("a@b/c"),
                None,
                false,
            ),
            (
                "git+https://github.com/acme/shop@refs/tags/v1",
                "https://github.com/acme/shop",
                None,
                Some("v1"),
                false,
            ),
            (
                "git+https://github.com/acme/shop@refs/pull/7/merge",
                "https://github.com/acme/shop",
                None,
                None,
                true,
            ),
            (
                "https://github.com/acme/shop.git#refs/heads/main",
                "https://github.com/acme/shop.git",
                Some("main"),
                None,
                false,
            ),
            (
                "https://github.com/acme/shop#main",
                "https://github.com/acme/shop",
                None,
                None,
                false,
            ),
            (
                "https://github.com/acme/shop@main",
                "https://github.com/acme/shop",
                None,
                None,
                false,
            ),
            ("ssh://git@github.com/acme/shop", "ssh://git@github.com/acme/shop", None, None, false),
        ] {
            let mut foreign_build = build().provenance();
            foreign_build.build_definition.build_type =
                "https://example.com/workflow/v1".to_owned();
            foreign_build.build_definition.resolved_dependencies[0].uri = Some(uri.to_owned());
            let source = foreign_build.source().unwrap();
            let got = (
                source.repository.as_deref(),
                source.branch.as_deref(),
                source.tag.as_deref(),
                source.foreign,
            );
            assert_eq!(got, (Some(repository), branch, tag, foreign), "{uri}");
        }
    }

    #[test]
    fn commits_are_read_as_they_were_written() {
        let commit = SourceCommit {
            commit: "abc".to_owned(),
            parents: vec!["def".to_owned()],
            people: vec!["anna@example.com".to_owned()],
        };
        let provenance = build().provenance();
        assert_eq!(provenance.commits(), []);
        assert_eq!(provenance.clone().with_commits(&[]), provenance);
        let with = provenance.with_commits(std::slice::from_ref(&commit));
        assert_eq!(with.commits(), [commit]);
        assert_eq!(with.run(), build().provenance().run());
    }

    #[test]
    fn a_merge_for_one_run_does_not_last() {
        let mut source = build().source;
        assert_eq!(source.lasting_commit(), source.commit.as_deref());
        source.head = Some("abc".to_owned());
        assert_eq!(source.lasting_commit(), Some("abc"));
    }
}
