//! Text in Markdown that stays text: GitHub's and GitLab's dialects, in comments and in summaries of jobs.

use std::fmt::Display;

use crate::tamed::{one_line, tamed};

/// What Markdown, its tables, HTML and mentions make something of: <https://github.github.com/gfm/#backslash-escapes>.
const MARKS: &[char] = &[
    '\\', '`', '*', '_', '{', '}', '[', ']', '<', '>', '(', ')', '#', '+', '!', '|', '&', '~', '$',
    ':', '@',
];

/// Text in a paragraph or in a cell of a table: no link, heading, image, mention or HTML comes of it, and it stays in its cell.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        match character {
            // A backslash does not stop a mention or a bare link. An empty comment does, and nobody sees it.
            '@' | ':' => out.extend([character.to_string().as_str(), "<!-- -->"]),
            _ if MARKS.contains(&character) => out.extend(['\\', character]),
            _ => out.push(character),
        }
    }
    out
}

/// A value as code, in a paragraph or in a cell of a table.
pub fn code(value: &(impl Display + ?Sized)) -> String {
    // A `|` ends a cell even in code, unless it is escaped: <https://github.github.com/gfm/#example-200>.
    let text = one_line(&value.to_string()).replace('|', "\\|");
    let fence = "`".repeat(longest(&text) + 1);
    match text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

/// Text as a block of code, whatever it contains.
pub fn fenced(language: &str, text: &str) -> String {
    let text = tamed(text, false);
    let fence = "`".repeat(longest(&text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// The longest run of backticks.
fn longest(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let cases = [
            ("plain text, 1.2.3", "plain text, 1.2.3"),
            ("a|b\nc", "a\\|b\\\\nc"),
            ("[x](http://evil)", "\\[x\\]\\(http:<!-- -->//evil\\)"),
            ("<img src=x>", "\\<img src=x\\>"),
            ("@acme/security", "@<!-- -->acme/security"),
            ("# **All passed**", "\\# \\*\\*All passed\\*\\*"),
        ];
        for (text, want) in cases {
            assert_eq!(markdown(text), want, "{text}");
        }
    }

    #[test]
    fn code_is_longer_than_what_it_holds() {
        assert_eq!(code("a|b\nc"), "`a\\|b\\nc`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(fenced("text", "a\n"), "```text\na\n```\n");
        assert_eq!(fenced("text", "a ```` b"), "`````text\na ```` b\n`````\n");
        assert_eq!(fenced("diff", "\u{1b}[1ma\u{1b}[0m"), "```diff\na\n```\n");
        assert_eq!(fenced("", "::error::x"), "```\n: :error::x\n```\n");
    }
}
