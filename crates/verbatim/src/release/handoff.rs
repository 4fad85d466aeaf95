//! What one stage leaves for the next: `.verbatim/release.json`, and the places where the CI looks for results. What
//! stands in them is made by pure functions; writing is all the rest does.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use verbatim_ci::{CiContext, OutputError, Sink};
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{Anchor, BuildSource, CiRun};

use super::Release;
use crate::project::Project;
use crate::project::files::{FileError, make_folder, replace};

const RELEASE_FILE: &str = "release.json";
const DOTENV_FILE: &str = "release.env";

/// What the build stage leaves for later ones, in `.verbatim/release.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleaseFile {
    /// The version of this file: 1.
    pub schema_version: u32,
    /// The project that it belongs to.
    pub project: String,
    pub release: Release,
    /// What it was built from.
    pub source: BuildSource,
    /// The CI run that built it.
    #[serde(default)]
    pub run: CiRun,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_record: Option<Digest>,
    /// The last promotion record of each environment that this run promoted it to: `number@digest`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub promotions: BTreeMap<String, Anchor>,
}

impl ReleaseFile {
    /// The version that is written.
    pub(crate) const VERSION: u32 = 1;
}

/// What the next stage is told of a release that was just made.
pub(crate) fn release_file(
    project: &Project,
    release: Release,
    source: BuildSource,
    record: Digest,
) -> ReleaseFile {
    ReleaseFile {
        schema_version: ReleaseFile::VERSION,
        project: project.config.project.clone(),
        release,
        source,
        run: project.run(),
        build_record: Some(record),
        promotions: BTreeMap::new(),
    }
}

/// Leaves the release for the next stage, and tells the CI.
pub(crate) fn hand_on(
    project: &Project,
    file: &ReleaseFile,
    console: &Console,
) -> Result<(), Failure> {
    let log = write(&project.state_folder(), file, &project.ci)
        .map_err(|error| Failure::new(ExitStatus::Unknown, error))?;
    if let Some(log) = log {
        console.commands(&log);
    }
    Ok(())
}

/// The release that an earlier stage left in `folder`; `None` if there is none.
pub(crate) fn read(folder: &Path) -> Result<Option<ReleaseFile>, FileError> {
    let path = folder.join(RELEASE_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError { action: "read", path, source }),
    };
    match serde_json::from_str::<ReleaseFile>(&text) {
        Ok(file) if file.schema_version == ReleaseFile::VERSION => Ok(Some(file)),
        Ok(file) => {
            let message = format!("version {} is not known to this verbatim", file.schema_version);
            Err(FileError { action: "use", path, source: io::Error::other(message) })
        }
        Err(error) => Err(FileError { action: "use", path, source: io::Error::other(error) }),
    }
}

/// Leaves the release for the next stage: in `folder`, and where the CI looks for results. Returns what its log has to
/// show for that.
pub(crate) fn write(
    folder: &Path,
    file: &ReleaseFile,
    ci: &CiContext,
) -> Result<Option<String>, FileError> {
    make_folder(folder)?;
    let mut text = serde_json::to_string_pretty(file).unwrap_or_default();
    text.push('\n');
    replace(&folder.join(RELEASE_FILE), &text)?;
    let results = results(file);
    let outputs = || results.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let variables: Vec<(String, &str)> = outputs()
        .map(|(name, value)| (format!("VERBATIM_{}", name.to_ascii_uppercase()), value))
        .collect();
    let variables = || variables.iter().map(|(name, value)| (name.as_str(), *value));
    // Always there, not only for GitLab: on any other system a later step can source it.
    let dotenv_file = folder.join(DOTENV_FILE);
    replace(&dotenv_file, &render(&dotenv_file, verbatim_ci::dotenv(variables()))?)?;
    let mut log = None;
    for sink in &ci.sinks {
        match sink {
            Sink::GithubOutput { path } => {
                append(path, &render(Path::new(path), verbatim_ci::github_outputs(outputs()))?)?;
            }
            Sink::ShellFile { path } => {
                append(path, &render(Path::new(path), verbatim_ci::shell_exports(variables()))?)?;
            }
            Sink::AzureLog => {
                log =
                    Some(render(Path::new("the log"), verbatim_ci::azure_variables(variables()))?);
            }
            _ => {}
        }
    }
    Ok(log)
}

/// Adds a paragraph to the summary of the CI job, where there is one.
pub(crate) fn summarise(markdown: &str, ci: &CiContext) -> Result<(), FileError> {
    ci.sinks.iter().try_for_each(|sink| match sink {
        Sink::GithubSummary { path } => append(path, markdown),
        _ => Ok(()),
    })
}

fn render(path: &Path, text: Result<String, OutputError>) -> Result<String, FileError> {
    text.map_err(|error| FileError {
        action: "fill",
        path: path.to_owned(),
        source: io::Error::other(error),
    })
}

fn append(path: &str, text: &str) -> Result<(), FileError> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| FileError {
        action: "write",
        path: PathBuf::from(path),
        source,
    })
}

/// What later stages are told, by names that every CI takes.
fn results(file: &ReleaseFile) -> Vec<(String, String)> {
    let mut results = vec![
        ("release".to_owned(), file.release.to_string()),
        ("digest".to_owned(), file.release.digest.to_string()),
    ];
    results.extend(file.release.tag.as_ref().map(|tag| ("tag".to_owned(), tag.to_string())));
    results.extend(file.build_record.map(|record| ("build_record".to_owned(), record.to_string())));
    for (name, image) in &file.release.images {
        results.push((format!("image_{}", identifier(name)), image.reference().to_string()));
    }
    for (environment, anchor) in &file.promotions {
        results.push((format!("promotion_{}", identifier(environment)), anchor.to_string()));
    }
    results
}

fn identifier(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ReleaseFile {
        ReleaseFile {
            schema_version: 1,
            project: "example".to_owned(),
            release: Release::sample("registry.example/app:7.abc"),
            source: BuildSource::default(),
            run: CiRun::default(),
            build_record: None,
            promotions: BTreeMap::from([(
                "dev-1".to_owned(),
                format!("3@{}", Digest::of(b"p")).parse().unwrap(),
            )]),
        }
    }

    #[test]
    fn the_next_stage_finds_what_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".verbatim");
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let text = |path: &str| std::fs::read_to_string(path).unwrap();
        std::fs::write(path("output"), "earlier=1\n").unwrap();
        let sinks = vec![
            Sink::GithubOutput { path: path("output") },
            Sink::GithubSummary { path: path("summary") },
            Sink::ShellFile { path: path("shell") },
            Sink::AzureLog,
        ];
        let ci = CiContext { sinks, ..CiContext::default() };
        assert_eq!(read(&state).unwrap(), None);
        let log = write(&state, &file(), &ci).unwrap().unwrap();
        assert_eq!(read(&state).unwrap(), Some(file()));
        let (x, p) = (Digest::of(b"x"), Digest::of(b"p"));
        assert_eq!(
            text(&path(".verbatim/release.env")),
            format!(
                "VERBATIM_RELEASE=registry.example/app:7.abc@{x}\nVERBATIM_DIGEST={x}\nVERBATIM_TAG=7.abc\n\
                 VERBATIM_PROMOTION_DEV_1=3@{p}\n"
            )
        );
        let output = text(&path("output"));
        assert!(output.starts_with("earlier=1\nrelease<<"), "{output}");
        assert!(output.contains(&format!("promotion_dev_1<<VERBATIM_EOF\n3@{p}\n")), "{output}");
        assert!(text(&path("shell")).contains(&format!("export VERBATIM_DIGEST='{x}'\n")));
        assert!(log.contains("variable=VERBATIM_DIGEST;isOutput=true"), "{log}");
        summarise("# Built\n", &ci).unwrap();
        assert_eq!(text(&path("summary")), "# Built\n");
        assert_eq!(text(&path(".verbatim/.gitignore")), "*\n");
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 3, "nothing else is left");
    }

    #[test]
    fn a_file_that_is_not_understood_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", &serde_json::to_string(&file()).unwrap().replace(":1,", ":2,")] {
            std::fs::write(folder.path().join(RELEASE_FILE), text).unwrap();
            assert!(read(folder.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_file_survives_writing_and_reading() {
        let file = ReleaseFile {
            schema_version: ReleaseFile::VERSION,
            project: "example".to_owned(),
            release: file().release,
            source: BuildSource { commit: Some("a".repeat(40)), ..BuildSource::default() },
            run: CiRun::default(),
            build_record: Some(Digest::of(b"r")),
            promotions: BTreeMap::from([(
                "dev".to_owned(),
                format!("1@{}", Digest::of(b"p")).parse().unwrap(),
            )]),
        };
        let text = serde_json::to_string_pretty(&file).unwrap();
        assert_eq!(serde_json::from_str::<ReleaseFile>(&text).unwrap(), file);
    }
}
