//! How many tests passed and failed, read from what the test programs print.
//!
//! The harness of the stable toolchain has no machine format; these two lines are its human one. A step's success is
//! its exit status; the numbers are only for the summary.

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl Count {
    pub(super) fn total(self) -> usize {
        self.passed + self.failed
    }

    /// Adds what a line of output says, if it says anything: `test result: ok. 3 passed; 1 failed; …` of the test
    /// harness, or the closing line `3 passed, 1 failed` of our own tasks.
    pub(super) fn add_line(&mut self, line: &str) {
        let numbers = |passed: &str, failed: &str| {
            let before = |mark: &str| {
                line.split(mark).next()?.rsplit([' ', ';', ',']).next()?.parse::<usize>().ok()
            };
            Some((before(passed)?, before(failed)?))
        };
        let found = if line.contains("test result: ") {
            numbers(" passed;", " failed;")
        } else if line.starts_with(|first: char| first.is_ascii_digit())
            && line.trim_end().ends_with(" failed")
        {
            numbers(" passed,", " failed")
        } else {
            None
        };
        if let Some((passed, failed)) = found {
            self.passed += passed;
            self.failed += failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_result_lines_count() {
        for (line, passed, failed) in [
            (
                "test result: ok. 14 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
                14,
                0,
            ),
            ("test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 3 passed; 2 failed; 0 ignored", 3, 2),
            ("61 passed, 2 failed", 61, 2),
            ("running 14 tests", 0, 0),
            ("test a::b ... ok", 0, 0),
            ("all 3 passed, none failed", 0, 0),
            ("test result: nonsense", 0, 0),
        ] {
            let mut count = Count::default();
            count.add_line(line);
            assert_eq!((count.passed, count.failed), (passed, failed), "{line}");
        }
    }
}
