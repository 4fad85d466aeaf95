//! What a step printed of its failure, to be shown once more at the end: of a long run often only the end is kept.

use std::collections::VecDeque;

/// The most lines that are kept of one step.
const MOST: usize = 80;
/// How many of the last lines tell what happened, where no test harness does.
const LAST: usize = 15;

/// Reads what a step prints, line by line, and keeps what tells of a failure.
#[derive(Debug, Default)]
pub(super) struct Excerpt {
    /// What the test harness says of failed tests: from `failures:` to `test result:`.
    failures: Vec<String>,
    inside: bool,
    last: VecDeque<String>,
}

impl Excerpt {
    /// Takes one line, without its end.
    pub(super) fn add_line(&mut self, line: &str) {
        self.inside = (self.inside || line == "failures:") && !line.contains("test result: ");
        if self.inside && self.failures.len() < MOST {
            self.failures.push(line.to_owned());
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    /// The lines to show, oldest first.
    pub(super) fn lines(self) -> Vec<String> {
        if self.failures.is_empty() { self.last.into() } else { self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<String> {
        let mut excerpt = Excerpt::default();
        text.lines().for_each(|line| excerpt.add_line(line));
        excerpt.lines()
    }

    #[test]
    fn what_the_harness_says_of_failures_is_kept() {
        let text = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nwas 3\n\n\
            failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed;\nmore\n";
        let want = ["failures:", "", "---- b stdout ----", "was 3", "", "failures:", "    b", ""];
        assert_eq!(lines_of(text), want);
    }

    #[test]
    fn else_the_last_lines_are() {
        let text: String = (1..=40).map(|line| format!("line {line}\n")).collect();
        let lines = lines_of(&text);
        assert_eq!((lines.len(), lines[0].as_str()), (LAST, "line 26"));
    }

    #[test]
    fn a_flood_is_cut() {
        let text = format!("failures:\n{}", "x\n".repeat(500));
        assert_eq!(lines_of(&text).len(), MOST);
    }
}
