//! What one stage leaves for the next: `.verbatim/release.json`, and the places where the CI looks for results. What
//! stands in them is made by pure functions; writing is all the rest does.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use verbatim_ci::{CiContext, OutputError, Sink};

use crate::release::ReleaseFile;

const RELEASE_FILE: &str = "release.json";
const DOTENV_FILE: &str = "release.env";

/// A file of the handoff that cannot be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}", .path.display())]
pub(crate) struct HandoffError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The release that an earlier stage left in `folder`; `None` if there is none.
///
/// # Errors
/// It is there and cannot be read, or is of another version.
pub(crate) fn read(folder: &Path) -> Result<Option<ReleaseFile>, HandoffError> {
    let path = folder.join(RELEASE_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(HandoffError { action: "read", path, source }),
    };
    match serde_json::from_str::<ReleaseFile>(&text) {
        Ok(file) if file.schema_version == ReleaseFile::VERSION => Ok(Some(file)),
        Ok(file) => {
            let message = format!("version {} is not known to this verbatim", file.schema_version);
            Err(HandoffError { action: "use", path, source: io::Error::other(message) })
        }
        Err(error) => Err(HandoffError { action: "use", path, source: io::Error::other(error) }),
    }
}

/// Leaves the release for the next stage: in `folder`, and where the CI looks for results. Returns what its log has to
/// show for that.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(
    folder: &Path,
    file: &ReleaseFile,
    ci: &CiContext,
) -> Result<Option<String>, HandoffError> {
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
///
/// # Errors
/// The file cannot be written.
pub(crate) fn summarise(markdown: &str, ci: &CiContext) -> Result<(), HandoffError> {
    ci.sinks.iter().try_for_each(|sink| match sink {
        Sink::GithubSummary { path } => append(path, markdown),
        _ => Ok(()),
    })
}

fn render(path: &Path, text: Result<String, OutputError>) -> Result<String, HandoffError> {
    text.map_err(|error| HandoffError {
        action: "fill",
        path: path.to_owned(),
        source: io::Error::other(error),
    })
}

/// Makes the folder, and has git ignore it: what verbatim writes must not make the tree dirty.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_folder(folder: &Path) -> Result<(), HandoffError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| HandoffError { action: "make", path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, "*\n").map_err(failed(&ignore))?;
    }
    Ok(())
}

/// Writes beside the file and renames: a killed job leaves the old one or the new one, never half of it.
///
/// # Errors
/// It cannot be written.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), HandoffError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| HandoffError { action: "write", path: path.to_owned(), source })
}

fn append(path: &str, text: &str) -> Result<(), HandoffError> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| HandoffError {
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
    use std::collections::BTreeMap;

    use verbatim_oci::Digest;
    use verbatim_record::{Run, Source};

    use super::*;
    use crate::release::Release;

    fn file() -> ReleaseFile {
        ReleaseFile {
            schema_version: 1,
            project: "example".to_owned(),
            release: Release {
                image: "app".to_owned(),
                repository: "registry.example/app".parse().unwrap(),
                tag: Some("7.abc".parse().unwrap()),
                digest: Digest::of(b"x"),
                images: Default::default(),
            },
            source: Source::default(),
            run: Run::default(),
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
}
