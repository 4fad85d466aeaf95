//! Which folder of a crate may name which other one, read from the paths in its sources.
//!
//! The table is the design, like that of the arrows between crates: a folder names those of the steps below it, and no other
//! of its own step. What a crate's root re-exports is not followed: a folder has to say where a thing lives.

use std::collections::BTreeSet;

use super::sources::{before_tests, code_only};
use super::{Finding, Page};

/// The folders of a crate, the lowest step first.
type Stair = &'static [&'static [&'static str]];

const STAIRS: &[(&str, Stair)] = &[
    (
        "crates/verbatim",
        &[
            &["config"],
            &["project"],
            &["records", "policy", "scaffold"],
            &["release"],
            &["environment"],
            &["testing", "promotion", "doctor"],
            &["commands"],
            &["cli"],
        ],
    ),
    (
        "crates/verbatim-argocd",
        &[
            &["model"],
            &["api"],
            &["overrides"],
            &["judge"],
            &["run", "explored"],
            &["inspect"],
            &["cli"],
        ],
    ),
    ("crates/verbatim-registry", &[&["auth"], &["http"], &["operations"], &["cli"]]),
    (
        "crates/verbatim-record",
        &[&["artifact", "keys"], &["predicate"], &["envelope"], &["ledger"]],
    ),
    ("crates/verbatim-image", &[&["engine", "context"], &["cli"]]),
];

/// Checks the crates that the table knows. A crate that has no folders yet keeps every rule.
pub(super) fn check(pages: &[Page]) -> Vec<Finding> {
    STAIRS.iter().flat_map(|(folder, stair)| check_crate(pages, folder, stair)).collect()
}

fn check_crate(pages: &[Page], folder: &str, stair: Stair) -> Vec<Finding> {
    let source = format!("{folder}/src/");
    let files: Vec<(&Page, &str)> = pages
        .iter()
        .filter_map(|page| Some((page, page.path.strip_prefix(&source)?)))
        .filter(|(_, path)| path.ends_with(".rs"))
        .collect();
    let found: BTreeSet<&str> =
        files.iter().filter_map(|(_, path)| Some(path.split_once('/')?.0)).collect();
    let step = |name: &str| stair.iter().position(|step| step.contains(&name));
    let mut findings = Vec::new();
    // While a crate is moved into its folders, some that go away are still there.
    if stair.iter().copied().flatten().all(|name| found.contains(name)) {
        for name in found.iter().filter(|name| **name != "bin" && step(name).is_none()) {
            findings.push(Finding::new(
                &format!("{source}{name}"),
                0,
                "has no step in the table of folders; a new folder is a design decision",
            ));
        }
    }
    for (page, path) in files {
        let Some((own, _)) = path.split_once('/') else { continue };
        let Some(own_step) = step(own) else { continue };
        for (line, named) in names(path, &page.text) {
            if named != own && step(&named).is_some_and(|step| step >= own_step) {
                let message = format!("{own} must not name {named}, which is not below it");
                findings.push(Finding::new(&page.path, line, message));
            }
        }
    }
    findings
}

/// What follows `crate::` in a source, however it is written, with the line.
fn names(path: &str, text: &str) -> Vec<(usize, String)> {
    if path.ends_with("tests.rs") {
        return Vec::new();
    }
    let code = code_only(before_tests(text));
    // How many `super` lead to the root from a file: `a/mod.rs` and `a.rs` are one module deep.
    let depth = path.trim_end_matches("/mod.rs").split('/').count();
    let root = "super::".repeat(depth);
    let mut found = Vec::new();
    for start in ["crate::", root.as_str()] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$';
            if before.ends_with(part) {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            let rest = &code[at + start.len()..];
            found.extend(heads(rest).into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// The first names of a path, or of each path of a group in braces.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut start, mut all) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                all.push(name(&group[start..at]));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    all.retain(|name| !name.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAIR: Stair = &[&["low"], &["left", "right"], &["top"]];

    fn pages(files: &[(&str, &str)]) -> Vec<Page> {
        files
            .iter()
            .map(|(path, text)| Page { path: format!("c/src/{path}"), text: (*text).to_owned() })
            .collect()
    }

    #[track_caller]
    fn check_file(path: &str, text: &str, want: &[&str]) {
        let found = check_crate(&pages(&[(path, text)]), "c", STAIR);
        let found: Vec<String> = found.iter().map(|finding| finding.message.clone()).collect();
        let want: Vec<String> = want
            .iter()
            .map(|want| {
                let (own, named) = want.split_once(' ').unwrap();
                format!("{own} must not name {named}, which is not below it")
            })
            .collect();
        assert_eq!(found, want, "{path}: {text}");
    }

    #[test]
    fn a_folder_names_what_is_below_it() {
        check_file("left/a.rs", "use crate::low::b;", &[]);
        check_file("left/a.rs", "use crate::left::b;", &[]);
        check_file("left/a.rs", "use crate::right::b;", &["left right"]);
        check_file("left/a.rs", "fn f() { crate::top::g() }", &["left top"]);
        check_file("left/a.rs", "pub(in crate::top) fn g() {}", &["left top"]);
        check_file("left/a.rs", "use crate::{low::x, right::{y, z}, Error};", &["left right"]);
        check_file(
            "low/mod.rs",
            "use crate::{\n    left,\n    right,\n};",
            &["low left", "low right"],
        );
    }

    #[test]
    fn the_way_over_super_is_seen_too() {
        check_file("left/a.rs", "use super::super::top::b;", &["left top"]);
        check_file("left/a.rs", "use super::right;", &[]);
        check_file("left/mod.rs", "use super::right;", &["left right"]);
        check_file("left/deep/a.rs", "use super::super::super::{low, top};", &["left top"]);
        check_file("left/deep/a.rs", "use super::super::top;", &[]);
    }

    #[test]
    fn tests_comments_and_the_root_may_name_everything() {
        check_file(
            "left/a.rs",
            "// crate::top\n#[cfg(test)]\nmod tests { use crate::top::x; }",
            &[],
        );
        check_file("left/tests.rs", "use crate::top::x;", &[]);
        check_file("lib.rs", "use crate::top::x;", &[]);
        check_file("elsewhere/a.rs", "use crate::top::x;", &[]);
        check_file("left/a.rs", "use mycrate::top::x;", &[]);
    }

    #[test]
    fn a_folder_without_a_step_is_told_once_all_steps_are_there() {
        let all = [("low/a.rs", ""), ("left/a.rs", ""), ("right/a.rs", ""), ("top/a.rs", "")];
        let more = [("more/a.rs", ""), ("bin/tool.rs", ""), ("lib.rs", "")];
        let found = check_crate(&pages(&[&all[..], &more[..]].concat()), "c", STAIR);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].file, "c/src/more");
        assert_eq!(check_crate(&pages(&[&all[..3], &more[..]].concat()), "c", STAIR), []);
        assert_eq!(check_crate(&[], "c", STAIR), []);
    }

    #[test]
    fn no_folder_stands_on_two_steps() {
        for (name, stair) in STAIRS {
            let all: Vec<&str> = stair.iter().copied().flatten().copied().collect();
            let distinct: BTreeSet<&str> = all.iter().copied().collect();
            assert_eq!(all.len(), distinct.len(), "{name}");
        }
    }
}
