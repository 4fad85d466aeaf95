//! `.dockerignore`: which files of a directory are not part of the build context.
//!
//! Pure: text in, verdicts out. The rules are Docker's and not git's: patterns are anchored at the root of the context,
//! `**` spans directories, the **last** pattern that matches decides, `!` makes an exception, and a pattern that
//! matches a directory matches its content. The order of evaluation follows [moby/patternmatcher][matcher]; which
//! directories are skipped follows [fsutil][filter], which BuildKit uses.
//!
//! The classic builder's client differs in that last point: it enters an ignored directory only if a `!` pattern starts
//! with the directory's name, so `*` with `!**/keep` keeps nothing below the first level. Here, as in BuildKit and as
//! documented, it keeps every `keep`.
//!
//! [matcher]: https://github.com/moby/patternmatcher/blob/v0.6.0/patternmatcher.go
//! [filter]: https://github.com/tonistiigi/fsutil/blob/master/filter.go

use regex::Regex;

/// The patterns of one ignore file.
#[derive(Clone, Debug, Default)]
pub(crate) struct IgnoreFile {
    patterns: Vec<IgnorePattern>,
    /// Whether there is a `!` pattern.
    has_exceptions: bool,
    /// Whether all `!` patterns begin with plain names, which give their directories.
    exceptions_are_prefixes: bool,
}

/// A malformed line of an ignore file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct IgnoreError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub kind: IgnoreErrorKind,
}

/// Why a line of an ignore file is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoreErrorKind {
    /// `!` alone.
    #[error("`!` has no pattern")]
    EmptyException,
    /// A `[` without its `]`, an empty class, a range without an end, or a trailing `\`.
    #[error("`{0}` is not a pattern: a `[…]` is incomplete, or a `\\` ends it")]
    Syntax(String),
}

/// Which patterns match a directory. Its content inherits them.
#[derive(Clone, Debug, Default)]
pub(super) struct DirectoryMatch(Vec<bool>);

#[derive(Clone, Debug)]
struct IgnorePattern {
    /// Cleaned, without `!`.
    text: String,
    is_exception: bool,
    matcher: PatternMatcher,
}

#[derive(Clone, Debug)]
enum PatternMatcher {
    /// The whole path is this.
    Exact(String),
    /// `x**`: the path starts with this.
    Prefix(String),
    /// `**x`: the path ends with this; or, for `**/x`, is `x`.
    Suffix(String),
    Expression(Regex),
}

impl IgnoreFile {
    pub(crate) fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (line, raw) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
            if let Some((is_exception, text)) =
                read_line(raw).map_err(|kind| IgnoreError { line, kind })?
            {
                let matcher = compile(&text).ok_or_else(|| IgnoreError {
                    line,
                    kind: IgnoreErrorKind::Syntax(text.clone()),
                })?;
                patterns.push(IgnorePattern { text, is_exception, matcher });
            }
        }
        let exceptions = || patterns.iter().filter(|pattern| pattern.is_exception);
        Ok(Self {
            has_exceptions: exceptions().next().is_some(),
            exceptions_are_prefixes: exceptions()
                .all(|pattern| !without_trailing_glob(&pattern.text).contains(GLOB_CHARACTERS)),
            patterns,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether `path`, in the directory of `parent`, is ignored. Paths are relative to the context, with `/` between
    /// components.
    pub(super) fn ignores_in(&self, path: &str, parent: Option<&DirectoryMatch>) -> bool {
        self.judge(path, parent, |_, _| {})
    }

    /// Like [`IgnoreFile::ignores_in`] for a directory, also with the matches that its content inherits.
    pub(super) fn ignores_directory(
        &self,
        path: &str,
        parent: Option<&DirectoryMatch>,
    ) -> (bool, DirectoryMatch) {
        let mut matches = vec![false; self.patterns.len()];
        let ignored = self.judge(path, parent, |index, matched| matches[index] = matched);
        (ignored, DirectoryMatch(matches))
    }

    /// Whether `path` is ignored, itself or through a parent directory.
    pub(crate) fn ignores(&self, path: &str) -> bool {
        let mut parent: Option<DirectoryMatch> = None;
        for (end, _) in path.match_indices('/') {
            parent = Some(self.ignores_directory(&path[..end], parent.as_ref()).1);
        }
        self.ignores_in(path, parent.as_ref())
    }

    /// Whether a pattern may keep something in the ignored directory `path`, so the walk must enter it.
    pub(crate) fn may_keep_below(&self, path: &str) -> bool {
        self.has_exceptions
            && (!self.exceptions_are_prefixes
                || self.patterns.iter().any(|pattern| {
                    pattern.is_exception && {
                        let kept = without_trailing_glob(&pattern.text);
                        kept.strip_prefix(path)
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    }
                }))
    }

    fn judge(
        &self,
        path: &str,
        parent: Option<&DirectoryMatch>,
        mut record: impl FnMut(usize, bool),
    ) -> bool {
        let mut ignored = false;
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.is_some_and(|DirectoryMatch(matches)| matches[index]);
            // A pattern that cannot change the verdict is skipped, and is not recorded either: the matches that a
            // directory passes on depend on it.
            if !inherited && pattern.is_exception != ignored {
                continue;
            }
            let matched = inherited || pattern.matcher.matches(path);
            record(index, matched);
            if matched {
                ignored = !pattern.is_exception;
            }
        }
        ignored
    }
}

impl PatternMatcher {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text.as_str()),
            Self::Suffix(text) => {
                path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path)
            }
            Self::Expression(regex) => regex.is_match(path),
        }
    }
}

/// The characters that make a pattern more than a name.
const GLOB_CHARACTERS: [char; 6] = ['*', '[', ']', '?', '^', '\\'];

fn without_trailing_glob(text: &str) -> &str {
    let text = text.strip_suffix("/**").unwrap_or(text);
    text.strip_suffix("/*").unwrap_or(text)
}

/// The pattern of one line: whether it is an exception, and the cleaned text. `None` for a comment or an empty line.
fn read_line(raw: &str) -> Result<Option<(bool, String)>, IgnoreErrorKind> {
    // A comment starts in the first column: ` #x` is a pattern.
    if raw.starts_with('#') {
        return Ok(None);
    }
    let text = raw.trim();
    let (is_exception, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, text),
    };
    match (is_exception, text) {
        (true, "") => Err(IgnoreErrorKind::EmptyException),
        (false, "") => Ok(None),
        _ => {
            let text = clean(text);
            let relative = text.strip_prefix('/').filter(|rest| !rest.is_empty());
            Ok(Some((is_exception, relative.unwrap_or(&text).to_owned())))
        }
    }
}

/// The shortest equivalent of a path: no `//`, no `.`, `..` resolved as far as it goes.
fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => match components.last() {
                Some(&last) if last != ".." => {
                    components.pop();
                }
                _ if is_rooted => {}
                _ => components.push(".."),
            },
            name => components.push(name),
        }
    }
    match (is_rooted, components.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// Translates a cleaned pattern. `None` if it is malformed.
fn compile(pattern: &str) -> Option<PatternMatcher> {
    #[derive(PartialEq)]
    enum PatternKind {
        Exact,
        Prefix,
        Suffix,
        Expression,
    }
    let mut kind = PatternKind::Exact;
    let mut expression = String::from("^");
    let mut literal = String::new();
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let is_first = rest.len() == pattern.len();
        rest = &rest[character.len_utf8()..];
        match character {
            '*' if rest.starts_with('*') => {
                rest = &rest[1..];
                // `**/` is `**`: it matches zero directories, too.
                rest = rest.strip_prefix('/').unwrap_or(rest);
                if !rest.is_empty() {
                    expression.push_str("(.*/)?");
                    kind = PatternKind::Expression;
                } else if kind == PatternKind::Exact {
                    kind = PatternKind::Prefix;
                } else {
                    expression.push_str(".*");
                    kind = PatternKind::Expression;
                }
                if is_first {
                    kind = PatternKind::Suffix;
                }
            }
            '*' => {
                expression.push_str("[^/]*");
                kind = PatternKind::Expression;
            }
            '?' => {
                expression.push_str("[^/]");
                kind = PatternKind::Expression;
            }
            '[' => {
                rest = compile_class(rest, &mut expression)?;
                kind = PatternKind::Expression;
            }
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                push_escaped(&mut expression, escaped);
                kind = PatternKind::Expression;
            }
            other => {
                push_escaped(&mut expression, other);
                literal.push(other);
            }
        }
    }
    Some(match kind {
        PatternKind::Exact => PatternMatcher::Exact(literal),
        PatternKind::Prefix => PatternMatcher::Prefix(literal),
        // The `/` that `**/` swallowed belongs to what a path must end with: `**/x` is not `**x`.
        PatternKind::Suffix => PatternMatcher::Suffix(pattern[2..].to_owned()),
        PatternKind::Expression => {
            expression.push('$');
            PatternMatcher::Expression(Regex::new(&expression).ok()?)
        }
    })
}

/// Translates a class, from behind its `[`, by the grammar of Go's `path.Match`. Returns the rest.
fn compile_class<'a>(class: &'a str, expression: &mut String) -> Option<&'a str> {
    let mut rest = class;
    expression.push('[');
    if let Some(negated) = rest.strip_prefix('^') {
        expression.push('^');
        rest = negated;
    }
    let mut is_empty = true;
    loop {
        if let (Some(behind), false) = (rest.strip_prefix(']'), is_empty) {
            expression.push(']');
            return Some(behind);
        }
        let (low, behind) = class_character(rest)?;
        rest = behind;
        let mut high = low;
        if let Some(range) = rest.strip_prefix('-') {
            (high, rest) = class_character(range)?;
        }
        is_empty = false;
        // A reversed range matches nothing; the rest of its class still counts.
        if low <= high {
            push_escaped(expression, low);
            expression.push('-');
            push_escaped(expression, high);
        }
    }
}

fn class_character(text: &str) -> Option<(char, &str)> {
    let text = match text.chars().next()? {
        '-' | ']' => return None,
        '\\' => &text[1..],
        _ => text,
    };
    let character = text.chars().next()?;
    let rest = &text[character.len_utf8()..];
    if rest.is_empty() { None } else { Some((character, rest)) }
}

fn push_escaped(expression: &mut String, character: char) {
    expression.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(file: &str, path: &str, want: bool) {
        let ignore = IgnoreFile::parse(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert_eq!(ignore.ignores(path), want, "{path:?} by {file:?}");
    }

    #[test]
    fn documented_examples() {
        let cases = [
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/temp*", "somedir/temp", true),
            ("*/temp*", "temp", false),
            ("*/*/temp*", "somedir/subdir/temporary.txt", true),
            ("*/*/temp*", "somedir/temp", false),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("temp?", "tempab", false),
            ("/foo/bar", "foo/bar", true),
            ("foo/bar", "foo/bar", true),
            ("foo/bar", "x/foo/bar", false),
            ("**/*.go", "main.go", true),
            ("**/*.go", "a/b/c/main.go", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "OTHER.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-x.md", false),
            ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
            ("# comment\n*/temp*", "# comment", false),
        ];
        for (file, path, want) in cases {
            check(file, path, want);
        }
    }

    /// The kinds of patterns, anchoring, and the directories above a path.
    #[test]
    fn patterns() {
        let cases = [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "dir", false),
            ("**/dir", "dir/file", true),
            ("**/dir", "a/dir/file", true),
            ("**/dir/*", "dir/file", true),
            ("**/file", "file", true),
            ("**/file", "dir/dir/file", true),
            ("**/file", "dir/afile", false),
            ("**file", "dir/afile", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("a**", "abc/d", true),
            ("a**c", "a/b/c", true),
            ("a**c", "ac", true),
            ("a**c", "abc", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("*", "dir/file", true),
            ("*.txt", "dir/a.txt", false),
            ("a?", "ab/c", true),
            ("a?", "a/", false),
            ("a.c", "abc", false),
            ("a+b(c){d}|e$", "a+b(c){d}|e$", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[^a-c]x", "dx", true),
            ("[^a-c]x", "ax", false),
            ("[z-ay]", "y", true),
            ("[z-ay]", "m", false),
            ("[[&&~~]", "[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\b", "ab", true),
            ("ä?", "äö", true),
            ("./foo", "foo", true),
            ("foo/", "foo", true),
            ("foo//bar/.", "foo/bar", true),
            ("foo/../bar", "bar", true),
            ("../foo", "foo", false),
            ("/../foo", "foo", true),
            ("/", "foo", false),
            (".", "foo", false),
            ("  foo  ", "foo", true),
            (" #foo", "#foo", true),
            ("\u{feff}foo", "foo", true),
            ("foo\r\nbar\r\n", "foo", true),
            ("", "foo", false),
        ];
        for (file, path, want) in cases {
            check(file, path, want);
        }
    }

    /// `!`: the last match decides, also for what lies in a matched directory.
    #[test]
    fn exceptions() {
        let cases = [
            ("*\n!file", "file", false),
            ("*\n!dir", "dir/file", false),
            ("*\n! dir", "dir/file", false),
            ("*\n!/dir", "dir/file", false),
            ("*\n!dir/file", "dir/file", false),
            ("*\n!dir/file", "dir/other", true),
            ("!file\n*", "file", true),
            ("!file", "file", false),
            ("dir\n!dir/a", "dir/a", false),
            ("dir\n!dir/a\ndir/a/b", "dir/a/b", true),
            ("dir\n!dir/a\ndir/a/b", "dir/a/c", false),
            // Docker's walk does not look at a pattern that cannot change the verdict on `dir`, so that what lies in
            // `dir` does not inherit it.
            ("dir\n!dir/a\ndir", "dir/a", false),
            ("dir\n!dir/a\ndir/*", "dir/a", true),
            ("**\n!**/*.go", "a/b/c.go", false),
            ("**\n!**/*.go", "a/b/c.rs", true),
            ("*\n!**/keep", "a/b/keep", false),
            ("*\n!**/keep", "a/b/drop", true),
            ("a/*\n!a/b\na/b/c", "a/b/c", true),
            // The same pattern twice, around an exception.
            ("*.log\n!keep.log\n*.log", "keep.log", true),
        ];
        for (file, path, want) in cases {
            check(file, path, want);
        }
    }

    #[test]
    fn only_directories_that_may_hold_something_are_entered() {
        let cases = [
            ("dir", "dir", false),
            ("dir\n!other", "dir", false),
            ("dir\n!dir/a/b", "dir", true),
            ("dir\n!dir/a/b", "dir/a", true),
            ("dir\n!dir/a/b", "dir/ab", false),
            ("dir\n!dir/*", "dir", true),
            ("dir\n!dir/**", "dir", true),
            ("dir\n!directory", "dir", false),
            ("*\n!**/keep", "anything", true),
        ];
        for (file, path, want) in cases {
            let ignore = IgnoreFile::parse(file).unwrap();
            assert_eq!(ignore.may_keep_below(path), want, "{path:?} by {file:?}");
        }
    }

    #[test]
    fn malformed_patterns_are_shown_with_their_line() {
        let syntax = |pattern: &str| IgnoreErrorKind::Syntax(pattern.to_owned());
        let cases = [
            ("a\n\n!", 3, IgnoreErrorKind::EmptyException),
            ("[", 1, syntax("[")),
            ("a\n[]a]", 2, syntax("[]a]")),
            ("[a", 1, syntax("[a")),
            ("[a-]", 1, syntax("[a-]")),
            ("[-a]", 1, syntax("[-a]")),
            ("#\nx\\", 2, syntax("x\\")),
            ("![", 1, syntax("[")),
        ];
        for (file, line, kind) in cases {
            assert_eq!(
                IgnoreFile::parse(file).unwrap_err(),
                IgnoreError { line, kind },
                "{file:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(file in "[ab/.*?!\\[\\]^\\\\\n -]{0,30}", path in "[ab/.]{1,12}") {
            if let Ok(ignore) = IgnoreFile::parse(&file) {
                let _ = (ignore.ignores(&path), ignore.may_keep_below(&path));
            }
        }

        /// Not entering a directory never loses a file that a pattern would have kept.
        #[test]
        fn what_is_not_entered_holds_nothing(file in "([ab]{1,2}|[ab*!]{1,3}/[ab*]{1,2}|\\*|\\*\\*/a)(\n!?([ab]{1,2}|[ab*]{1,2}/[ab*]{1,2}|\\*\\*/a)){0,3}", path in "[ab]{1,2}/[ab]{1,2}/[ab]") {
            let Ok(ignore) = IgnoreFile::parse(&file) else { return Ok(()) };
            if !ignore.ignores(&path) {
                for (end, _) in path.match_indices('/') {
                    let directory = &path[..end];
                    prop_assert!(!ignore.ignores(directory) || ignore.may_keep_below(directory), "{directory} by {file:?}");
                }
            }
        }
    }
}
