//! Tags: names that people give to an image, and that move.

use std::fmt;
use std::str::FromStr;

/// A tag: a letter, a digit or `_`, then up to 127 of these and `.` or `-`, by the [distribution specification][spec].
///
/// A tag is written next to a digest for people, never instead of it.
///
/// [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Why a text is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// The tag is empty.
    #[error("a tag must not be empty")]
    Empty,
    /// The tag is longer than 128 characters.
    #[error("a tag has at most 128 characters, this one has {0}")]
    Length(usize),
    /// The first character is `.` or `-`, or not allowed in a tag at all.
    #[error("a tag must not start with `{0}`")]
    First(char),
    /// A character is not allowed in a tag.
    #[error("`{0}` is not allowed in a tag, only letters, digits, `_`, `.` and `-` are")]
    Character(char),
}

impl Tag {
    /// The most characters that a tag may have.
    pub const MAX_LENGTH: usize = 128;

    /// The text of the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a name that the referrers tag schema, or an older cosign, derives from a digest
    /// (`sha256-<hex>`, `sha256-<hex>.sig`, `sha256-<hex>.att`): such a tag names no version of an image.
    pub fn is_derived_from_digest(&self) -> bool {
        self.0
            .strip_prefix("sha256-")
            .and_then(|rest| rest.get(..64))
            .is_some_and(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let first = text.chars().next().ok_or(TagError::Empty)?;
        if !word(first) {
            return Err(TagError::First(first));
        }
        if let Some(bad) = text.chars().find(|&c| !word(c) && c != '.' && c != '-') {
            return Err(TagError::Character(bad));
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(TagError::Length(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

crate::serde_by_text!(Tag);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_checked() {
        let long = "a".repeat(129);
        let cases = [
            ("latest", None),
            ("_", None),
            ("1.2.3-rc.1", None),
            ("412.3f2c1a0", None),
            ("", Some(TagError::Empty)),
            (".1", Some(TagError::First('.'))),
            ("-1", Some(TagError::First('-'))),
            ("1+2", Some(TagError::Character('+'))),
            ("a/b", Some(TagError::Character('/'))),
            ("é", Some(TagError::First('é'))),
            (long.as_str(), Some(TagError::Length(129))),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<Tag>().err(), want, "{text}");
        }
    }

    #[test]
    fn tags_derived_from_a_digest_are_recognised() {
        let hex = "ab".repeat(32);
        for (text, want) in [
            (format!("sha256-{hex}"), true),
            (format!("sha256-{hex}.sig"), true),
            ("sha256-abc".to_owned(), false),
            (format!("sha512-{hex}"), false),
            (format!("v1-{hex}"), false),
        ] {
            assert_eq!(text.parse::<Tag>().unwrap().is_derived_from_digest(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_of_print_is_identity(text in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}") {
            prop_assert_eq!(text.parse::<Tag>().unwrap().to_string(), text);
        }

        #[test]
        fn no_input_panics(text in ".{0,200}") {
            if let Ok(tag) = text.parse::<Tag>() {
                prop_assert_eq!(tag.as_str(), text);
            }
        }
    }
}
