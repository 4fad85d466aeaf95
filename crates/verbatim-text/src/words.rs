//! A type for text that came from outside, so that printing it cannot be done wrongly.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::one_line;

/// Longer words are cut where people read them.
const LONGEST: usize = 1000;

/// What is shown of text that nobody vouches for.
const LONGEST_PLAIN: usize = 200;

/// Text of somebody else. For people it is one line, bounded, with what would be obeyed escaped; as JSON it is the text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(String);

impl Words {
    /// The text as it came, for comparing and for JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&cut(&joined(&self.0), LONGEST))
    }
}

impl Deref for Words {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl PartialEq<str> for Words {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl PartialEq<&str> for Words {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

/// Several lines as one, with what would be obeyed escaped. Helm's words have empty lines in them.
pub fn joined(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    one_line(&lines.collect::<Vec<_>>().join(" "))
}

/// [`one_line`], and cut if long: for text that nobody vouches for.
pub fn plain(text: &str) -> String {
    cut(text, LONGEST_PLAIN)
}

fn cut(text: &str, longest: usize) -> String {
    let mut shown = one_line(&text.chars().take(longest).collect::<String>());
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_line_and_keep_their_value() {
        let words = Words::from("it's \"a\" \\ b ü\nnext\u{202e}");
        assert_eq!(words.to_string(), "it's \"a\" \\ b ü next\\u{202e}");
        let json = serde_json::to_string(&words).unwrap();
        assert_eq!(serde_json::from_str::<Words>(&json).unwrap(), words);
        assert_eq!(Words::from("x".repeat(1001)).to_string(), format!("{}…", "x".repeat(1000)));
        assert_eq!(format!("{:>3}|", Words::from("a")), "  a|");
    }

    #[test]
    fn what_nobody_vouches_for_is_short() {
        assert_eq!(plain(&"x".repeat(201)), format!("{}…", "x".repeat(200)));
        assert_eq!(plain(&"x".repeat(200)), "x".repeat(200));
    }
}
