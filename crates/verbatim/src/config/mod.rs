//! `verbatim.yaml`: found, read, checked. Every mistake is shown with its line; what comes out has no unknown
//! names in it. Must not know the command line, the environment variables or any service.

mod check;
mod environments;
mod file;
mod located;
mod model;
mod policy;
mod problem;
mod shapes;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

pub use check::BUILD_VARIABLES;
pub use file::{File, PolicyFile};
pub use model::{
    After, App, Apps, Config, Environment, Image, Policy, Ran, RegistryOptions, Rules, Selector,
    Server, Set, SourceChoice, Suite, Tested,
};
pub use policy::{BUILDER, PROMOTER, TESTER};
pub use problem::{Invalid, Problem};
pub use verbatim_image::template::Template;

/// The names a configuration file is looked for by, in this order.
pub const FILE_NAMES: [&str; 2] = ["verbatim.yaml", "verbatim.yml"];

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No file in this folder or above it.
    #[error("no verbatim.yaml in {} or above it", .0.display())]
    NotFound(PathBuf),
    /// A file could not be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has mistakes.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Looks for the configuration from `start` upwards, as far as the root of the git repository.
///
/// # Errors
/// [`ConfigError::NotFound`] with the folder it began in.
pub fn find(start: &Path) -> Result<PathBuf, ConfigError> {
    for folder in start.ancestors() {
        for name in FILE_NAMES {
            let candidate = folder.join(name);
            if candidate.is_file() {
                return Ok(candidate);
            }
        }
        if folder.join(".git").exists() {
            break;
        }
    }
    Err(ConfigError::NotFound(start.to_owned()))
}

/// Reads a configuration, and the policy and key files that it names.
///
/// # Errors
/// A file that cannot be read, or everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(path)?;
    parse(path, &text, &|path| std::fs::read_to_string(path))
}

/// Reads a configuration from its text; `read` gives the text of the other files it names.
///
/// # Errors
/// As [`load`].
pub fn parse(
    path: &Path,
    text: &str,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, ConfigError> {
    let root = path.parent().unwrap_or(Path::new(""));
    let file: File = yaml(text).map_err(|problem| Invalid::new(path, text, vec![problem]))?;
    let mut problems = Vec::new();
    let policy = match &file.policy {
        None => {
            let written = policy::Written::inline(root, &file);
            policy::check(&file, &written, read).map_err(|found| problems.extend(found)).ok()
        }
        Some(source) => {
            policy::refuse_inline(&file, &mut problems);
            let policy_path = root.join(&source.file.value);
            match read(&policy_path) {
                Ok(policy_text) => Some(separate_policy(&file, &policy_path, &policy_text, read)?),
                Err(error) => {
                    problems.push(Problem::new(
                        source.file.place,
                        format!("cannot read the policy: {error}"),
                    ));
                    None
                }
            }
        }
    };
    check::check(path, root, file, policy, problems)
        .map_err(|problems| Invalid::new(path, text, problems).into())
}

/// The rules of a file of their own; their mistakes are shown in that file.
fn separate_policy(
    file: &File,
    path: &Path,
    text: &str,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Policy, Invalid> {
    let invalid = |problems| Invalid::new(path, text, problems);
    let written: PolicyFile = yaml(text).map_err(|problem| invalid(vec![problem]))?;
    let mut problems = Vec::new();
    check::version(&written.version, &mut problems);
    let root = path.parent().unwrap_or(Path::new(""));
    let checked = policy::check(file, &policy::Written::separate(path, root, written), read);
    match checked {
        Ok(policy) if problems.is_empty() => Ok(policy),
        Ok(_) => Err(invalid(problems)),
        Err(found) => {
            problems.extend(found);
            Err(invalid(problems))
        }
    }
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(File)).unwrap_or_default();
    text.push('\n');
    text
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

/// One YAML document. Snippets are ours, so that mistakes found later look the same.
fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| problem::from_yaml(&error))
}
