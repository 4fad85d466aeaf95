//! What one stage leaves for the next: `.verbatim/release.json`, and the places where the CI looks for results. What
//! stands in them is made by pure functions; writing is all the rest does.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::release::ReleaseFile;
use crate::settings::Variables;

const RELEASE_FILE: &str = "release.json";
const DOTENV_FILE: &str = "release.env";

/// A file of the handoff that cannot be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}", .path.display())]
pub struct HandoffError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The release that an earlier stage left in `folder`; `None` if there is none.
///
/// # Errors
/// It is there and cannot be read, or is of another version.
pub fn read(folder: &Path) -> Result<Option<ReleaseFile>, HandoffError> {
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

/// Leaves the release for the next stage: in `folder`, and in the outputs of the CI job.
///
/// # Errors
/// A file cannot be written.
pub fn write(folder: &Path, file: &ReleaseFile, variables: &Variables) -> Result<(), HandoffError> {
    make_folder(folder)?;
    let mut text = serde_json::to_string_pretty(file).unwrap_or_default();
    text.push('\n');
    replace(&folder.join(RELEASE_FILE), &text)?;
    // The dotenv report of GitLab; on any other system `. .verbatim/release.env` works too.
    replace(&folder.join(DOTENV_FILE), &dotenv(file))?;
    append(variables, "GITHUB_OUTPUT", &step_outputs(file))
}

/// Adds a paragraph to the summary of the CI job, where there is one.
///
/// # Errors
/// The file cannot be written.
pub fn summarise(markdown: &str, variables: &Variables) -> Result<(), HandoffError> {
    append(variables, "GITHUB_STEP_SUMMARY", markdown)
}

/// Makes the folder, and has git ignore it: what verbatim writes must not make the tree dirty.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(folder: &Path) -> Result<(), HandoffError> {
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
pub fn replace(path: &Path, text: &str) -> Result<(), HandoffError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| HandoffError { action: "write", path: path.to_owned(), source })
}

fn append(variables: &Variables, variable: &str, text: &str) -> Result<(), HandoffError> {
    let Some(path) = variables.get(variable).filter(|path| !path.is_empty()) else { return Ok(()) };
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| HandoffError {
        action: "write",
        path: PathBuf::from(path),
        source,
    })
}

/// What later stages are told, by name. No value can hold a line end: all of them are parsed types.
fn results(file: &ReleaseFile) -> Vec<(String, String)> {
    let mut results = vec![
        ("release".to_owned(), file.release.to_string()),
        ("digest".to_owned(), file.release.digest.to_string()),
    ];
    results.extend(file.release.tag.as_ref().map(|tag| ("tag".to_owned(), tag.to_string())));
    results.extend(file.build_record.map(|record| ("build_record".to_owned(), record.to_string())));
    for (environment, anchor) in &file.promotions {
        results.push((format!("promotion_{environment}"), anchor.to_string()));
    }
    results
}

/// <https://docs.github.com/en/actions/reference/workflow-commands#setting-an-output-parameter>
fn step_outputs(file: &ReleaseFile) -> String {
    results(file).into_iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// <https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv>: no quotes, and names of letters,
/// digits and underscores.
fn dotenv(file: &ReleaseFile) -> String {
    let name =
        |name: String| name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    results(file)
        .into_iter()
        .map(|(key, value)| format!("VERBATIM_{}={value}\n", name(key)))
        .collect()
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
        let output = folder.path().join("output");
        std::fs::write(&output, "earlier=1\n").unwrap();
        let variables =
            Variables::from([("GITHUB_OUTPUT".to_owned(), output.to_str().unwrap().to_owned())]);
        assert_eq!(read(&state).unwrap(), None);
        write(&state, &file(), &variables).unwrap();
        assert_eq!(read(&state).unwrap(), Some(file()));
        let (x, p) = (Digest::of(b"x"), Digest::of(b"p"));
        assert_eq!(
            std::fs::read_to_string(&output).unwrap(),
            format!(
                "earlier=1\nrelease=registry.example/app:7.abc@{x}\ndigest={x}\ntag=7.abc\npromotion_dev-1=3@{p}\n"
            )
        );
        assert_eq!(
            std::fs::read_to_string(state.join("release.env")).unwrap(),
            format!(
                "VERBATIM_RELEASE=registry.example/app:7.abc@{x}\nVERBATIM_DIGEST={x}\nVERBATIM_TAG=7.abc\n\
                 VERBATIM_PROMOTION_DEV_1=3@{p}\n"
            )
        );
        assert_eq!(std::fs::read_to_string(state.join(".gitignore")).unwrap(), "*\n");
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
