//! Templates such as `${build}.${commit}`: how tags and parameters are written in a configuration.
//!
//! Pure: a closure of the caller looks up names. Templates have no functions, defaults or conditions on purpose: the
//! meaning of a tag must be visible in its text.

use std::fmt;
use std::str::FromStr;

use verbatim_oci::{Tag, TagError};

/// A text with `${name}` in it. `$$` stands for one `$`.
///
/// A name is made of letters, digits, `_`, `-` and `.`, so that `${app.repository}` can be looked up by the same rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<TemplatePart>,
}

/// One part of a template, and its first character column, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TemplatePart {
    column: usize,
    content: PartContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PartContent {
    Text(String),
    Variable(String),
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template `{template}` is wrong at column {column}")]
pub struct TemplateError {
    /// The whole template.
    pub template: String,
    /// The character column, counted from 1.
    pub column: usize,
    /// What is wrong there.
    #[source]
    pub kind: TemplateErrorKind,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateErrorKind {
    /// `${` without `}`.
    #[error("`${{` is not closed by `}}`")]
    Unclosed,
    /// `${}`.
    #[error("there is no name between `${{` and `}}`")]
    NoName,
    /// A character that names cannot have.
    #[error("`{0}` is not allowed in a name: letters, digits, `_`, `-` and `.` are")]
    Name(char),
    /// A `$` without a name.
    #[error("`$` needs `{{` or `$` after it: write `$$` for a dollar sign")]
    Dollar,
    /// The name has no value.
    #[error("`${{{0}}}` has no value here")]
    Unknown(String),
    /// The value of a variable is not allowed in a tag.
    #[error("`${{{name}}}` is `{value}`, which is not allowed in a tag")]
    Variable {
        /// The name of the variable.
        name: String,
        /// Its value.
        value: String,
        /// Why it is not allowed.
        #[source]
        source: TagError,
    },
    /// The other text is not allowed in a tag, or the whole is too long.
    #[error("`{rendered}` is not a tag")]
    Tag {
        /// The template with its values.
        rendered: String,
        /// Why it is not a tag.
        #[source]
        source: TagError,
    },
}

impl Template {
    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names in the template, in order, repeated as often as they occur.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match &part.content {
            PartContent::Text(_) => None,
            PartContent::Variable(name) => Some(name.as_str()),
        })
    }

    /// The text with every name replaced by its value from `lookup`.
    ///
    /// # Errors
    ///
    /// If `lookup` has no value for a name.
    pub fn render<S: AsRef<str>>(
        &self,
        lookup: impl Fn(&str) -> Option<S>,
    ) -> Result<String, TemplateError> {
        Ok(self.render_parts(lookup)?.into_iter().map(|(_, value)| value).collect())
    }

    /// Renders the template as a tag.
    ///
    /// # Errors
    ///
    /// If `lookup` has no value for a name, or if the text is not a tag; then the column is that of the part with the
    /// offending character.
    pub fn render_tag<S: AsRef<str>>(
        &self,
        lookup: impl Fn(&str) -> Option<S>,
    ) -> Result<Tag, TemplateError> {
        let parts = self.render_parts(lookup)?;
        let rendered: String = parts.iter().map(|(_, value)| value.as_str()).collect();
        rendered.parse::<Tag>().map_err(|error| self.tag_error(&parts, rendered, error))
    }

    fn render_parts<S: AsRef<str>>(
        &self,
        lookup: impl Fn(&str) -> Option<S>,
    ) -> Result<Vec<(&TemplatePart, String)>, TemplateError> {
        let mut rendered = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let value = match &part.content {
                PartContent::Text(text) => text.clone(),
                PartContent::Variable(name) => match lookup(name) {
                    Some(value) => value.as_ref().to_owned(),
                    None => {
                        return Err(
                            self.error(part.column, TemplateErrorKind::Unknown(name.clone()))
                        );
                    }
                },
            };
            rendered.push((part, value));
        }
        Ok(rendered)
    }

    /// Finds the part with the character that is not allowed in a tag.
    fn tag_error(
        &self,
        parts: &[(&TemplatePart, String)],
        rendered: String,
        source: TagError,
    ) -> TemplateError {
        let culprit = match source {
            TagError::First(_) => parts.iter().find(|(_, value)| !value.is_empty()),
            TagError::Character(bad) => parts.iter().find(|(_, value)| value.contains(bad)),
            _ => None,
        };
        match culprit {
            Some((part, value)) => match &part.content {
                PartContent::Variable(name) => {
                    let (name, value) = (name.clone(), value.clone());
                    self.error(part.column, TemplateErrorKind::Variable { name, value, source })
                }
                PartContent::Text(_) => {
                    self.error(part.column, TemplateErrorKind::Tag { rendered, source })
                }
            },
            None => self.error(1, TemplateErrorKind::Tag { rendered, source }),
        }
    }

    fn error(&self, column: usize, kind: TemplateErrorKind) -> TemplateError {
        TemplateError { template: self.text.clone(), column, kind }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match parse(text) {
            Ok(parts) => Ok(Self { text: text.to_owned(), parts }),
            Err((column, kind)) => Err(TemplateError { template: text.to_owned(), column, kind }),
        }
    }
}

fn parse(text: &str) -> Result<Vec<TemplatePart>, (usize, TemplateErrorKind)> {
    let mut parts: Vec<TemplatePart> = Vec::new();
    let mut characters = (1..).zip(text.chars()).peekable();
    while let Some((column, character)) = characters.next() {
        if character != '$' {
            push_character(&mut parts, column, character);
            continue;
        }
        match characters.next() {
            Some((_, '$')) => push_character(&mut parts, column, '$'),
            Some((_, '{')) => {
                let mut name = String::new();
                loop {
                    match characters.next() {
                        Some((_, '}')) if name.is_empty() => {
                            return Err((column, TemplateErrorKind::NoName));
                        }
                        Some((_, '}')) => break,
                        Some((_, c)) if c.is_ascii_alphanumeric() || "_-.".contains(c) => {
                            name.push(c);
                        }
                        Some((at, c)) => return Err((at, TemplateErrorKind::Name(c))),
                        None => return Err((column, TemplateErrorKind::Unclosed)),
                    }
                }
                parts.push(TemplatePart { column, content: PartContent::Variable(name) });
            }
            _ => return Err((column, TemplateErrorKind::Dollar)),
        }
    }
    Ok(parts)
}

fn push_character(parts: &mut Vec<TemplatePart>, column: usize, character: char) {
    match parts.last_mut() {
        Some(TemplatePart { content: PartContent::Text(text), .. }) => text.push(character),
        _ => parts.push(TemplatePart { column, content: PartContent::Text(character.to_string()) }),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl serde::Serialize for Template {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(|error: TemplateError| {
            // Serde keeps only the text, so it must include the cause.
            serde::de::Error::custom(format!("{error}: {}", error.kind))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<&'static str> {
        match name {
            "build" => Some("17"),
            "commit" => Some("abc1234"),
            "branch" => Some("feature/x"),
            "empty" => Some(""),
            "app.repository" => Some("docker.io/example/app"),
            _ => None,
        }
    }

    #[test]
    fn names_are_replaced() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("${build}.${commit}", "17.abc1234"),
            ("v${build}", "v17"),
            ("${app.repository}:x", "docker.io/example/app:x"),
            ("a$$b", "a$b"),
            ("$${build}", "${build}"),
            ("ä${build}ö", "ä17ö"),
            ("{build}", "{build}"),
        ];
        for (text, want) in cases {
            let template: Template = text.parse().unwrap();
            assert_eq!(template.render(lookup).unwrap(), want, "{text}");
            assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_place() {
        let cases = [
            ("a${build", 2, "`${` is not closed by `}`"),
            ("${}", 1, "there is no name between `${` and `}`"),
            ("${a b}", 4, "` ` is not allowed in a name: letters, digits, `_`, `-` and `.` are"),
            ("ä$x", 2, "`$` needs `{` or `$` after it: write `$$` for a dollar sign"),
            ("x$", 2, "`$` needs `{` or `$` after it: write `$$` for a dollar sign"),
            ("1.${nope}", 3, "`${nope}` has no value here"),
        ];
        for (text, column, want) in cases {
            let error = text
                .parse::<Template>()
                .and_then(|template| template.render(lookup))
                .expect_err(text);
            assert_eq!((error.column, error.kind.to_string().as_str()), (column, want), "{text}");
        }
    }

    #[test]
    fn a_tag_that_cannot_be_names_the_part_that_spoils_it() {
        let long = "x".repeat(130);
        let cases = [
            ("1.${branch}", 3, "`${branch}` is `feature/x`, which is not allowed in a tag"),
            ("${build}:1", 9, "`17:1` is not a tag"),
            ("${empty}", 1, "`` is not a tag"),
            ("${empty}-1", 9, "`-1` is not a tag"),
            (long.as_str(), 1, &format!("`{long}` is not a tag")),
        ];
        for (text, column, want) in cases {
            let template: Template = text.parse().unwrap();
            let error = template.render_tag(lookup).expect_err(text);
            assert_eq!((error.column, error.kind.to_string().as_str()), (column, want), "{text}");
        }
        let good: Template = "${build}.${commit}".parse().unwrap();
        assert_eq!(good.render_tag(lookup).unwrap().as_str(), "17.abc1234");
        assert_eq!(good.variables().collect::<Vec<_>>(), ["build", "commit"]);
    }

    proptest! {
        #[test]
        fn no_input_panics(text in ".{0,40}") {
            if let Ok(template) = text.parse::<Template>() {
                let _ = template.render_tag(lookup);
            }
        }

        #[test]
        fn text_without_a_dollar_is_kept(text in "[^$]{0,40}") {
            let template: Template = text.parse().unwrap();
            prop_assert_eq!(template.render(lookup).unwrap(), text);
        }
    }
}
