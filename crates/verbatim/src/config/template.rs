//! Text with `${variables}`: the tag of an image, and the values written into an application. `$$` is a
//! dollar sign. Must not know where the values come from.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A `$` that begins neither a variable nor `$$`.
    #[error("`$` must be followed by `{{name}}` or by another `$`")]
    LoneDollar,
    /// A `${` without its `}`.
    #[error("`${{` is not closed by `}}`")]
    NotClosed,
    /// A `${}`, or a name with other characters than letters, digits, `.`, `_` and `-`.
    #[error("`{0}` is not the name of a variable")]
    BadName(String),
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let Some(inside) = rest.strip_prefix('{') else {
                return Err(TemplateError::LoneDollar);
            };
            let Some((name, after)) = inside.split_once('}') else {
                return Err(TemplateError::NotClosed);
            };
            if name.is_empty()
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            {
                return Err(TemplateError::BadName(name.to_owned()));
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('$', "$$")),
            Part::Variable(name) => write!(f, "${{{name}}}"),
        })
    }
}

impl Template {
    /// The variables, in the order of the text.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(name) => Some(name.as_str()),
        })
    }

    /// The text with each variable replaced by what `value` says.
    ///
    /// # Errors
    /// The name of the first variable that has no value.
    pub fn render(&self, mut value: impl FnMut(&str) -> Option<String>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Variable(name) => text.push_str(&value(name).ok_or_else(|| name.clone())?),
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<&str, TemplateError>) {
        let got = text.parse::<Template>().map(|template| {
            assert_eq!(
                template.to_string().parse(),
                Ok(template.clone()),
                "print and parse {text}"
            );
            template.render(|name| Some(format!("<{name}>"))).unwrap()
        });
        assert_eq!(got, want.map(str::to_owned), "{text}");
    }

    #[test]
    fn templates_are_parsed_and_rendered() {
        check("", Ok(""));
        check("v1", Ok("v1"));
        check("${build}.${commit}", Ok("<build>.<commit>"));
        check("${app.tag}@${app.digest}", Ok("<app.tag>@<app.digest>"));
        check("costs $$5 ${a-b_c}", Ok("costs $5 <a-b_c>"));
        check("$$${a}", Ok("$<a>"));
        check("$a", Err(TemplateError::LoneDollar));
        check("a$", Err(TemplateError::LoneDollar));
        check("${a", Err(TemplateError::NotClosed));
        check("${}", Err(TemplateError::BadName(String::new())));
        check("${a b}", Err(TemplateError::BadName("a b".into())));
    }

    #[test]
    fn a_variable_without_a_value_is_named() {
        let template: Template = "${a}-${b}".parse().unwrap();
        assert_eq!(template.render(|name| (name == "a").then(String::new)), Err("b".to_owned()));
        assert_eq!(template.variables().collect::<Vec<_>>(), ["a", "b"]);
    }
}
