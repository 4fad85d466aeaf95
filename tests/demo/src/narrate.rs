//! What the demo says: headings, short sentences, the commands that it runs.
//!
//! On a terminal with a little colour; elsewhere plain. It decides nothing.

use std::env;
use std::io::{self, IsTerminal};

/// Prints the story. Everything goes to stdout, in the order in which it happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrator {
    colour: bool,
}

impl Narrator {
    pub(super) fn new() -> Narrator {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        Narrator { colour: io::stdout().is_terminal() && !set("NO_COLOR") }
    }

    pub(super) fn colour(self) -> bool {
        self.colour
    }

    /// A new part of the story.
    pub(super) fn heading(self, title: &str) {
        println!(
            "\n{}",
            self.paint(
                "1;36",
                &format!(
                    "━━ {title} {}",
                    "━".repeat(72_usize.saturating_sub(title.chars().count()))
                )
            )
        );
    }

    /// A paragraph, broken into lines of readable length.
    pub(super) fn say(self, text: &str) {
        for line in wrapped(text, 76) {
            println!("{line}");
        }
    }

    /// A fact: its name and its value.
    pub(super) fn fact(self, name: &str, value: &str) {
        println!("  {} {value}", self.paint("2", &format!("{name:<12}")));
    }

    /// A command, as one would type it.
    pub(super) fn command(self, line: &str) {
        println!("\n{} {}", self.paint("2", "$"), self.paint("1", line));
    }

    /// How the last command ended, when it ended as it should.
    pub(super) fn good(self, text: &str) {
        println!("{}", self.paint("32", &format!("✓ {text}")));
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// Lines of at most `width` characters, broken at spaces; a longer word stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| {
            line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width
        });
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("a bb  ccc\n d", 6), ["a bb", "ccc d"]);
        assert_eq!(wrapped("abcdefgh i", 4), ["abcdefgh", "i"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
