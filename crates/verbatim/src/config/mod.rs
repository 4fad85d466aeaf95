//! `verbatim.yaml`: found, read, checked. Every mistake is shown with its line; what comes out has no unknown
//! names in it. Must not know the command line, the environment variables or any service.

mod check;
mod contained;
mod environments;
mod file;
mod gates_file;
mod identities;
mod limits;
mod located;
mod model;
mod pins;
mod policy;
mod problem;
mod rules;
mod scalar;
mod secrets;
mod shapes;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use verbatim_record::PolicyOrigin;

pub(crate) use check::is_token_variable;
pub(crate) use contained::self_contained;
pub(crate) use file::{File, PolicyFile};
pub(crate) use model::{
    App, Apps, Config, DeploySettings, Environment, Image, Policy, Ran, Rules, Selector, Server,
    Set, SourceSet, Suite, Wave,
};
pub(crate) use pins::Pins;
pub(crate) use problem::nearest;
pub(crate) use problem::{Invalid, Problem};
pub(crate) use secrets::holds_secret;
pub(crate) use shapes::Period;
pub(crate) use source::{GitSource, OciSource, PolicySource};
pub(crate) use verbatim_image::template::Template;

/// The names a configuration file is looked for by, in this order.
pub(crate) const FILE_NAMES: [&str; 2] = ["verbatim.yaml", "verbatim.yml"];

#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// No file in this folder or above it.
    #[error("no verbatim.yaml in {} or above it", .0.display())]
    NotFound(PathBuf),
    #[error("cannot read {}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It says something else than what the policy pins.
    #[error(transparent)]
    NotAsPinned(Invalid),
}

/// Looks for the configuration from `start` upwards, as far as the root of the git repository.
pub(crate) fn find(start: &Path) -> Result<PathBuf, ConfigError> {
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

/// A configuration whose rules may stand elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Without rules, if they stand elsewhere.
    config: Config,
    text: String,
    file: File,
    source: Option<PolicySource>,
}

/// Rules from elsewhere, as they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundPolicy {
    /// What it is called in messages.
    pub place: PathBuf,
    /// What it was taken from, if that can be named for everybody.
    pub origin: Option<PolicyOrigin>,
    /// The folder that its key files are relative to.
    pub root: PathBuf,
    pub text: String,
}

impl Draft {
    /// Reads a configuration, and the key files that it names itself. Its rules are at `outside`, if that is given.
    pub(crate) fn load(path: &Path, outside: Option<&PolicySource>) -> Result<Self, ConfigError> {
        Self::parse(path, &read(path)?, outside, &|path| std::fs::read_to_string(path))
    }

    /// The same without the rules that stand in it although others are named, `outside` or by itself. `None`: none are.
    pub(crate) fn load_of_named_rules(
        path: &Path,
        outside: Option<&PolicySource>,
    ) -> Result<Option<Self>, ConfigError> {
        let text = read(path)?;
        let parts: &[&str] = if outside.is_some() {
            &["policy", "keys", "trust_root", "powers"]
        } else {
            &["keys", "trust_root", "powers"]
        };
        let rest = stripped(path, &text, parts)?;
        let draft = Self::parse(path, &rest, outside, &|path| std::fs::read_to_string(path))?;
        Ok(draft.source.is_some().then_some(draft))
    }

    /// Reads a configuration from its text; `read` gives the text of the key files it names.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        outside: Option<&PolicySource>,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let invalid = |problems| Invalid::new(path, text, problems);
        let root = path.parent().unwrap_or(Path::new(""));
        let file: File = yaml(text).map_err(|problem| invalid(vec![problem]))?;
        let mut problems = Vec::new();
        let (mut policy, mut source) = (None, outside.cloned());
        match &file.policy {
            None if outside.is_some() => policy::refuse_inline(&file, &mut problems),
            None => {
                let written = policy::Written::inline(root, &file);
                match policy::check(&written, read) {
                    Ok(checked) => policy = Some(checked),
                    Err(found) => problems.extend(found),
                }
            }
            Some(written) => {
                policy::refuse_inline(&file, &mut problems);
                let own = source::check(root, written, &mut problems);
                match (&source, &own) {
                    (Some(outside), Some(own)) if !outside.is(own) => {
                        let message = "this job takes its rules from elsewhere, and nothing here may change that";
                        let help =
                            format!("leave it out; `--policy` or VERBATIM_POLICY names {outside}");
                        problems.push(Problem::new(written.place, message).help(help));
                    }
                    (Some(_), _) => {}
                    (None, _) => source = own,
                }
            }
        }
        let config = check::check(path, root, &file, policy, problems).map_err(invalid)?;
        Ok(Self { config, text: text.to_owned(), file, source })
    }

    /// Where the rules are, if not here.
    pub(crate) fn source(&self) -> Option<&PolicySource> {
        self.source.as_ref()
    }

    /// The configuration; without rules if they stand elsewhere.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration, without the rules that stand elsewhere.
    pub(crate) fn into_config(self) -> Config {
        self.config
    }

    /// The configuration with the rules that were found elsewhere; their mistakes are shown there. What the configuration
    /// says of the things that they are about must be what they pin. `read` gives the text of the key files that they name.
    pub(crate) fn with_policy(
        mut self,
        found: &FoundPolicy,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Config, ConfigError> {
        let (policy, pins) = separate_policy(found, read)?;
        let problems = pins.differences(&self.config, &self.file, &found.place);
        if !problems.is_empty() {
            let invalid = Invalid::new(&self.config.file, &self.text, problems);
            return Err(ConfigError::NotAsPinned(invalid));
        }
        self.config.policy = policy;
        pins.hand_on(&mut self.config);
        Ok(self.config)
    }

    /// The mistake that nothing can be read where the rules should be.
    pub(crate) fn no_policy(&self, error: &io::Error) -> ConfigError {
        let written = self.file.policy.as_ref();
        let named = written.and_then(|written| written.value.file.as_ref());
        let place = named.map(|file| file.place).unwrap_or_default();
        let what = match (named, &self.source) {
            (None, Some(outside)) => format!("the policy {outside}"),
            _ => "the policy".to_owned(),
        };
        let problem = Problem::new(place, format!("cannot read {what}: {error}"));
        Invalid::new(&self.config.file, &self.text, vec![problem]).into()
    }
}

/// Reads a configuration from its text, and its rules from it or from another file; `read` gives the text of the other
/// files it names. For tests.
#[cfg(test)]
pub(crate) fn parse(
    path: &Path,
    text: &str,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, ConfigError> {
    let draft = Draft::parse(path, text, None, read)?;
    match draft.source().cloned() {
        None => Ok(draft.into_config()),
        Some(PolicySource::File(file)) => match read(&file) {
            Ok(text) => draft.with_policy(&FoundPolicy::file(&file, text), read),
            Err(error) => Err(draft.no_policy(&error)),
        },
        Some(_) => Err(draft.no_policy(&io::ErrorKind::Unsupported.into())),
    }
}

impl FoundPolicy {
    /// Rules in a file of this machine.
    pub(crate) fn file(path: &Path, text: String) -> Self {
        let root = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { place: path.to_owned(), origin: None, root, text }
    }

    /// The files of keys and of a trust root that it names, joined to its folder. Of rules that cannot be read there are none; what is wrong with
    /// them is told by [`Draft::with_policy`].
    pub(crate) fn key_files(&self) -> Vec<PathBuf> {
        let Ok(PolicyFile { keys, trust_root, .. }) = yaml::<PolicyFile>(&self.text) else {
            return Vec::new();
        };
        let files = keys.into_iter().filter_map(|key| key.file);
        let files = files.chain(trust_root.and_then(|it| it.value.file));
        files.map(|file| self.root.join(file.value)).collect()
    }
}

/// The rules of a document of their own; their mistakes are shown there.
fn separate_policy(
    found: &FoundPolicy,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<(Policy, Pins), Invalid> {
    let invalid = |problems| Invalid::new(&found.place, &found.text, problems);
    let written: PolicyFile = yaml(&found.text).map_err(|problem| invalid(vec![problem]))?;
    let mut problems = Vec::new();
    check::version(&written.version, &mut problems);
    let Some(pins) = &written.pins else {
        let message = "this policy does not say which applications, values, suites, repositories and servers it is for, \
                       so whoever changes the code could choose them";
        let help = "run `verbatim policy pin` and add what it prints to this file";
        problems.push(Problem::new(written.version.place, message).help(help));
        return Err(invalid(problems));
    };
    let rules = policy::Written::separate(found.origin.clone(), &found.root, pins, &written);
    match policy::check(&rules, read) {
        Ok(policy) if problems.is_empty() => Ok((policy, pins.clone())),
        Ok(_) => Err(invalid(problems)),
        Err(more) => {
            problems.extend(more);
            Err(invalid(problems))
        }
    }
}

/// Reads another document of the user's, whose mistakes are shown in the same way.
pub(crate) fn document<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Invalid> {
    yaml(text).map_err(|problem| Invalid::new(path, text, vec![problem]))
}

/// Reads a configuration without its rules, wherever they stand and whatever is wrong with them.
pub(crate) fn load_without_rules(path: &Path) -> Result<Config, ConfigError> {
    without_rules(path, &read(path)?)
}

fn without_rules(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let rest = stripped(path, text, &["policy", "keys", "trust_root", "powers"])?;
    let file: File = yaml(&rest).map_err(|problem| Invalid::new(path, &rest, vec![problem]))?;
    let root = path.parent().unwrap_or(Path::new(""));
    check::check(path, root, &file, None, Vec::new())
        .map_err(|problems| Invalid::new(path, &rest, problems).into())
}

/// The text without these parts and without what must hold before an environment.
fn stripped(path: &Path, text: &str, parts: &[&str]) -> Result<String, ConfigError> {
    let invalid = |problem| Invalid::new(path, text, vec![problem]);
    let mut written: Value = yaml(text).map_err(invalid)?;
    for part in parts {
        written.as_object_mut().and_then(|file| file.remove(*part));
    }
    let environments = written.get_mut("environments").and_then(Value::as_array_mut);
    for environment in environments.into_iter().flatten().filter_map(Value::as_object_mut) {
        environment.retain(|part, _| !["after", "gates"].contains(&part.as_str()));
    }
    // JSON is YAML, so the same reader takes what is left.
    Ok(written.to_string())
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
    // `no` is a text, also where a boolean could stand.
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| problem::from_yaml(&error))
}
