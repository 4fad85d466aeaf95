//! Rules about single files: what they open with, how long they are, and what they must not name.
//!
//! The names that are forbidden are put together from pieces, so that this file keeps its own rules.

use super::Finding;

/// Longer files are looked at twice.
const LONG: usize = 600;

/// Checks one file of the project.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.ends_with(".rs") {
        findings.extend(check_opening(path, text));
        let lines = text.lines().count();
        if lines > LONG {
            findings.push(Finding::warning(
                path,
                format!("{lines} lines; look whether it is one idea"),
            ));
        }
    }
    // Lock files name the registry that each package comes from: that is what they are for.
    let is_lock = path.ends_with(".lock") || path.ends_with("go.sum");
    for (number, line) in text.lines().enumerate() {
        for folder in machine_folders() {
            if names_folder(line, &folder) {
                findings.push(Finding::new(
                    path,
                    number + 1,
                    format!("names {folder}, a path of one machine"),
                ));
            }
        }
        for host in package_hosts().into_iter().filter(|_| !is_lock) {
            if line.contains(&host) {
                findings.push(Finding::new(
                    path,
                    number + 1,
                    format!("names {host}, a host of a package registry"),
                ));
            }
        }
    }
    findings
}

/// The first line says what the file is for. Integration tests and build scripts are files like any other.
fn check_opening(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!"))?;
    let says = first.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty());
    (!says).then(|| {
        Finding::new(
            path,
            1,
            "does not open with `//!`: what it is for and what must not go into it",
        )
    })
}

fn machine_folders() -> Vec<String> {
    ["root", "work", "tmp/team"].map(|name| format!("/{name}/")).to_vec()
}

fn package_hosts() -> Vec<String> {
    [
        &["static.crates", "io"],
        &["index.crates", "io"],
        &["proxy.golang", "org"],
        &["sum.golang", "org"],
        &["registry.npmjs", "org"],
        &["files.pythonhosted", "org"],
        &["pypi", "org"],
        &["deb.debian", "org"],
    ]
    .map(|pieces| pieces.join("."))
    .to_vec()
}

/// Whether `line` names an absolute path below `folder`; `a/root/b` and `https://host/root/` are others.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at]
            .ends_with(|before: char| before.is_alphanumeric() || "._-/}*$~".contains(before))
    })
}

/// The source up to its unit tests, which by the house's order come last.
pub(super) fn before_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests").map_or(text, |end| &text[..end])
}

/// The source with comments and the contents of strings blanked out; lines stay where they are.
pub(super) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if first == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(
            rest[..length].chars().map(|character| if character == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[length..];
    }
    code
}

/// The number of `#` of a raw string that starts here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(path: &str, text: &str, want: &[&str]) {
        let found = check(path, text);
        let messages: Vec<_> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages.len(), want.len(), "{messages:?}");
        for (message, want) in messages.iter().zip(want) {
            assert!(message.contains(want), "{message} has no {want}");
        }
    }

    #[test]
    fn a_source_says_what_it_is_for() {
        check_text("a.rs", "//! Parses digests.\n", &[]);
        check_text("a.rs", "#!/usr/bin/env script\n//! Parses digests.\n", &[]);
        check_text("a.rs", "use std::fmt;\n", &["does not open"]);
        check_text("a.rs", "//!\nfn f() {}\n", &["does not open"]);
        check_text("a.md", "Anything\n", &[]);
    }

    #[test]
    fn a_long_file_is_a_warning() {
        let text = format!("//! Parses digests.\n{}", "\n".repeat(LONG));
        let found = check("a.rs", &text);
        assert!(found.len() == 1 && found[0].warning, "{found:?}");
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let root = &machine_folders()[0];
        for (line, want) in [
            (format!("see {root}x"), 1),
            (format!("\"{root}.docker\""), 1),
            (format!("https://host{root}x"), 0),
            (format!("$HOME{root}x"), 0),
            (format!("state{root}x"), 0),
            ("relative/path".to_owned(), 0),
        ] {
            assert_eq!(check("a.md", &line).len(), want, "{line}");
        }
    }

    #[test]
    fn hosts_of_package_registries_are_found_outside_lock_files() {
        let line = format!("proxy = \"https://{}/\"", package_hosts()[0]);
        check_text("a.toml", &line, &["a host of a package registry"]);
        check_text("Cargo.lock", &line, &[]);
    }

    #[test]
    fn code_keeps_its_lines_and_loses_its_words() {
        for (text, want) in [
            ("a // b\nc", "a     \nc"),
            ("a(\"b\\\"c\", d)", "a(      , d)"),
            ("r#\"x\"y\"# z", "         z"),
            ("/* a\nb */ c", "    \n     c"),
            ("'\"' a \"b\"", "    a    "),
        ] {
            assert_eq!(code_only(text), want, "{text}");
        }
        assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {}"), "a\n");
    }
}
