//! What is wrong with a configuration file, where, and how it is shown: the line itself with a mark under
//! the mistake. Must not decide what a mistake is.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_saphyr::Error as YamlError;

use super::gates_file::GATES;
use super::located::Place;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub place: Place,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// What would be right, if that can be told.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: None }
    }

    /// Adds what would be right.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the nearest of the known names, or all of them when none is near.
    #[must_use]
    pub(crate) fn did_you_mean<'a>(
        self,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match self.nearest(wrong, known.iter().copied()) {
            Ok(problem) => problem,
            Err(problem) if known.is_empty() => problem,
            Err(problem) => problem.help(format!("known here: {}", known.join(", "))),
        }
    }

    /// Adds the nearest of many known names.
    pub(crate) fn nearest<'a>(
        self,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Self> {
        match nearest(wrong, &known.into_iter().collect::<Vec<_>>()) {
            Some(name) => Ok(self.help(format!("did you mean `{name}`?"))),
            None => Err(self),
        }
    }
}

/// A configuration file that cannot be used, with every mistake found in it.
#[derive(Debug)]
pub(crate) struct Invalid {
    /// The file as it was named to the reader.
    pub file: PathBuf,
    /// Its text, for the lines that are shown.
    pub text: String,
    /// The mistakes, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Invalid {
    pub(crate) fn new(file: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        Self { file: file.to_owned(), text: text.to_owned(), problems }
    }
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [_] => write!(f, "{} is not valid", self.file.display())?,
            many => write!(f, "{} is not valid: {} mistakes", self.file.display(), many.len())?,
        }
        for problem in &self.problems {
            snippet(f, &self.file, &self.text, problem)?;
        }
        Ok(())
    }
}

/// Draws one mistake under its line, the way compilers do.
fn snippet(f: &mut fmt::Formatter<'_>, file: &Path, text: &str, problem: &Problem) -> fmt::Result {
    let Place { line, column, length } = problem.place;
    let source = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
    let Some(source) = source.and_then(|index| text.lines().nth(index)) else {
        write!(f, "\n  {}: {}", file.display(), problem.message)?;
        return problem.help.iter().try_for_each(|help| write!(f, "\n  = help: {help}"));
    };
    let margin = line.to_string().len();
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or_default();
    // Tabs are kept, so that the mark stands under the right character whatever their width is.
    let indent: String =
        source.chars().take(before).map(|c| if c == '\t' { c } else { ' ' }).collect();
    let rest = source.trim_end().chars().count().saturating_sub(before).max(1);
    let mark = "^".repeat(usize::try_from(length).unwrap_or(1).clamp(1, rest));
    write!(f, "\n{:margin$}--> {}:{line}:{column}", "", file.display())?;
    write!(f, "\n{:margin$} |", "")?;
    write!(f, "\n{line} | {}", source.trim_end())?;
    write!(f, "\n{:margin$} | {indent}{mark} {}", "", problem.message)?;
    if let Some(help) = &problem.help {
        write!(f, "\n{:margin$} = help: {help}", "")?;
    }
    Ok(())
}

/// Keys that only the file as a whole has to have. The parser tells of a missing key where it gave the mapping up, which for
/// the whole file is far from anything.
const TOP_LEVEL: [&str; 4] = ["version", "project", "images", "environments"];

/// Turns the parser's error into ours, so that every mistake reads alike.
pub(super) fn from_yaml(error: &YamlError) -> Problem {
    let error = error.without_snippet();
    let place = error.location().map(Place::from).unwrap_or_default();
    let at = |length: usize| Place { length: u64::try_from(length).unwrap_or(1), ..place };
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } if expected == &GATES => Problem::new(
            at(field.chars().count()),
            format!("this verbatim knows no gate `{field}`"),
        )
        .help(format!("gates are `after`, next to `gates`, and in it: {}", GATES.join(", "))),
        YamlError::SerdeUnknownField { field, expected, .. } => {
            Problem::new(at(field.chars().count()), format!("unknown key `{field}`"))
                .did_you_mean(field, expected.iter().copied())
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            Problem::new(at(variant.chars().count()), format!("unknown value `{variant}`"))
                .did_you_mean(variant, expected.iter().copied())
        }
        YamlError::SerdeMissingField { field, .. } if TOP_LEVEL.contains(field) => {
            let begin = Place { line: 1, column: 1, length: 1 };
            Problem::new(begin, format!("the key `{field}` is missing at the top level"))
        }
        YamlError::SerdeMissingField { field, .. } => {
            Problem::new(at(1), format!("the key `{field}` is missing in this mapping"))
        }
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            Problem::new(at(key.chars().count()), format!("the key `{key}` is given twice"))
        }
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            Problem::new(place, format!("expected {expected}, found {unexpected}"))
        }
        YamlError::AliasError { error, .. } => from_yaml(error),
        YamlError::Unexpected { expected: "sequence start", .. } => {
            Problem::new(place, "expected a list")
        }
        YamlError::Unexpected { expected: "mapping start", .. } => {
            Problem::new(place, "expected a mapping")
        }
        other => Problem::new(place, plain(&other.to_string())),
    }
}

/// The parser's own message without the position that it appends: the snippet shows it.
fn plain(message: &str) -> String {
    let end = message.find(" at line ").unwrap_or(message.len());
    message[..end].trim().trim_end_matches('.').to_owned()
}

/// The known name that was probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let best = known.iter().copied().min_by_key(|name| distance(name))?;
    let longest = wrong.chars().count().max(best.chars().count());
    (distance(best) * 3 <= longest.max(3)).then_some(best)
}
