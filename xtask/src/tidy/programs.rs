//! Which programs the sources run: all of them stand in the table of the package `needs`, so that a step can install them.

use needs::Program;

use super::Finding;

/// What is there wherever this workspace is built.
const TOOLCHAIN: [&str; 3] = ["cargo", "go", "rustc"];

/// The table itself installs with what is no need of anybody else.
const TABLE: &str = "tests/needs/";

/// Checks one file. `known` are the programs of the table.
fn check_with(path: &str, text: &str, known: &[&str]) -> Vec<Finding> {
    if !path.ends_with(".rs") || path.starts_with(TABLE) || text.contains("use clap::Command;") {
        return Vec::new();
    }
    let product = path.starts_with("crates/") && path.contains("/src/");
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some(program) = named(line).filter(|program| !TOOLCHAIN.contains(program)) else {
            continue;
        };
        let message = match (product, known.contains(&program)) {
            (true, true) => continue,
            (true, false) => {
                format!("runs {program}, which is not in the table of tests/needs/src/program.rs")
            }
            (false, _) => {
                format!(
                    "names {program}; ask for it with `needs::Program`, so that steps install it"
                )
            }
        };
        findings.push(Finding::new(path, number + 1, message));
    }
    findings
}

/// Checks one file of the project.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    check_with(path, text, &Program::ALL.map(Program::name))
}

/// The program that a line runs by its name.
fn named(line: &str) -> Option<&str> {
    // In pieces, so that this file keeps its own rule.
    let start = concat!("Command::new", "(\"");
    let rest = &line[line.find(start)? + start.len()..];
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_asked_for_by_the_table() {
        let runs = |program: &str| format!("let child = {}(\"{program}\");", "Command::new");
        for (path, text, want) in [
            ("crates/verbatim/src/source.rs", runs("git"), 0),
            ("crates/verbatim/src/source.rs", runs("hg"), 1),
            ("crates/verbatim/tests/commands.rs", runs("git"), 1),
            ("tests/e2e/src/project.rs", runs("git"), 1),
            ("tests/e2e/src/demo.rs", runs("rustc"), 0),
            ("tests/needs/src/install.rs", runs("apt-get"), 0),
            ("tests/rig/src/git.rs", "Program::Git.command()".to_owned(), 0),
        ] {
            assert_eq!(check_with(path, &text, &["git"]).len(), want, "{path}: {text}");
        }
    }
}
