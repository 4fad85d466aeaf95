//! What the sources of the pure crates may name of the standard library.
//!
//! A dependency tree tells nothing about `std`, so this reads the sources. It looks at paths only; it does not
//! try to understand Rust.

use super::arrows::PURE;
use super::{Finding, Page, sources};

/// Modules of `std` that reach outside the process or read the clock.
const EFFECTS: &[&str] = &["env", "fs", "io", "os", "process", "thread"];

/// The parts of `std::net` that touch the network; addresses are values.
const SOCKETS: &[&str] = &["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];

/// Functions and types that read the clock, by the names under which they are called. `Duration` is a value.
const CLOCKS: &[&str] =
    &["SystemTime", "Instant", "Timestamp::now", "Zoned::now", "Utc::now", "Local::now"];

/// Checks the sources of every pure crate; its tests may do as they like.
pub(super) fn check(pages: &[Page]) -> Vec<Finding> {
    let in_pure = |page: &&Page| {
        page.path.ends_with(".rs")
            && PURE.iter().any(|name| page.path.starts_with(&format!("crates/{name}/src/")))
    };
    pages.iter().filter(in_pure).flat_map(|page| check_source(&page.path, &page.text)).collect()
}

fn check_source(path: &str, text: &str) -> Vec<Finding> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let code = sources::code_only(sources::before_tests(text));
    let mut findings = Vec::new();
    for (offset, name) in std_names(&code) {
        if EFFECTS.contains(&name) {
            findings.push(Finding::new(
                path,
                line_of(&code, offset),
                format!("a pure crate uses std::{name}"),
            ));
        }
    }
    for socket in SOCKETS {
        for (offset, _) in code.match_indices(socket) {
            findings.push(Finding::new(
                path,
                line_of(&code, offset),
                format!("a pure crate names {socket}"),
            ));
        }
    }
    for clock in CLOCKS {
        for (offset, _) in code.match_indices(clock) {
            findings.push(Finding::new(
                path,
                line_of(&code, offset),
                format!("a pure crate names {clock}; the time is an argument"),
            ));
        }
    }
    findings
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The first names after each `std::`, also of a group: `std::{env, fs::File}` gives `env` and `fs`.
fn std_names(code: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    for (start, root) in code.match_indices("std::") {
        // `mystd::` is another crate.
        if code[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[start + root.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut expect_name = true;
            for (at, character) in group.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => expect_name = true,
                    other if expect_name && depth == 0 && !other.is_whitespace() => {
                        names.push((start, word(&group[at..])));
                        expect_name = false;
                    }
                    _ => {}
                }
            }
        } else {
            names.push((start, word(rest)));
        }
    }
    names
}

fn word(text: &str) -> &str {
    let end = text
        .find(|character: char| !character.is_alphanumeric() && character != '_')
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(text: &str, want: &[(usize, &str)]) {
        let found = check_source("crates/verbatim-oci/src/lib.rs", text);
        let found: Vec<_> =
            found.iter().map(|finding| (finding.line, finding.message.as_str())).collect();
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn effects_are_found_however_they_are_imported() {
        check_text("use std::fmt;\nuse std::collections::BTreeMap;", &[]);
        check_text("use std::fs;", &[(1, "a pure crate uses std::fs")]);
        check_text("\nuse std::{fmt, env};", &[(2, "a pure crate uses std::env")]);
        check_text("use std::{fmt::{self, Write}, fs::File};", &[(1, "a pure crate uses std::fs")]);
        check_text("fn f() { std::env::var(\"X\"); }", &[(1, "a pure crate uses std::env")]);
        check_text(
            "fn f() { let now = SystemTime::now(); }",
            &[(1, "a pure crate names SystemTime; the time is an argument")],
        );
        check_text("use std::time::Duration;", &[]);
        check_text("use std::net::Ipv6Addr;", &[]);
        check_text("use std::net::TcpStream;", &[(1, "a pure crate names TcpStream")]);
    }

    #[test]
    fn comments_strings_and_tests_are_not_code() {
        check_text("// std::fs\nlet a = \"std::env\";", &[]);
        check_text("fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}", &[]);
        check_text("use mystd::fs;", &[]);
        assert_eq!(check_source("crates/verbatim-oci/src/digest/tests.rs", "use std::fs;"), []);
    }
}
