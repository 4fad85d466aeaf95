//! docs/failure-modes.md as data: its rows, and the tests that they name; and the attacks of docs/threat-model.md with theirs. It
//! runs nothing and reads no file.

use std::fmt;

/// Where the page is, from the root of the workspace.
pub(crate) const PAGE: &str = "docs/failure-modes.md";
/// The page of attackers.
pub(crate) const THREATS: &str = "docs/threat-model.md";
/// The head of its tables.
const THREATS_HEAD: [&str; 3] = ["what is tried", "what happens", "test"];
/// What a row says in the place of a test, or after the tests that show a part of it.
const MISSING: &str = "not yet";
/// The words of the last column, and a row without a test has none.
const SERVERS: [&str; 3] = ["real", "simulated", "pure"];
const NO_SERVER: &str = "none";
/// The head of every table that has rows.
const HEAD: [&str; 4] = ["what happens", "what verbatim does", "test", "server"];

/// One way to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// One-based, in the page.
    pub(crate) line: usize,
    pub(crate) what: String,
    /// Each test with its server.
    pub(crate) tests: Vec<(TestName, String)>,
    /// Whether something is said to be missing.
    pub(crate) missing: bool,
}

/// A test as the page names it: `suite back::NAME`, `argocd lib judge::NAME` or `argocd deploy NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestName {
    pub(crate) program: TestProgram,
    /// What the harness calls it.
    pub(crate) path: String,
}

/// A program that holds tests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TestProgram {
    /// Of the package `e2e`.
    EndToEnd(String),
    /// The unit tests of a package.
    Unit(String),
    /// A file or a folder of a package's `tests`.
    Client(String, String),
}

/// The rows of the page, or what is wrong with it, by line.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>, Vec<(usize, String)>> {
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let mut in_table = false;
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = cells(line) else {
            in_table = false;
            continue;
        };
        if cells == HEAD {
            in_table = true;
        } else if in_table && cells.iter().any(|cell| !cell.trim_matches('-').is_empty()) {
            match row(index + 1, &cells) {
                Ok(row) => rows.push(row),
                Err(fault) => faults.push((index + 1, fault)),
            }
        }
    }
    if rows.is_empty() && faults.is_empty() {
        faults.push((0, format!("has no table with the columns {}", HEAD.join(", "))));
    }
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}

/// An attack of the page of attackers, by its test.
#[derive(Debug)]
pub(crate) struct Attack {
    /// One-based, in the page.
    pub(crate) line: usize,
    pub(crate) test: TestName,
}

/// The attacks of the page of attackers, or what is wrong with it: every attack has one.
pub(crate) fn attacks(text: &str) -> Result<Vec<Attack>, Vec<(usize, String)>> {
    let (mut attacks, mut faults) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = cells(line) else { continue };
        let is_rule = cells.iter().all(|cell| cell.trim_matches('-').is_empty());
        if cells == THREATS_HEAD || is_rule {
            continue;
        }
        let names = cells.last().map_or("", |tests| tests).split('`').skip(1).step_by(2);
        match names.map(TestName::parse).collect::<Result<Vec<_>, _>>() {
            Ok(names) if names.is_empty() => {
                faults.push((index + 1, "no test is named".to_owned()))
            }
            Ok(names) => {
                attacks.extend(names.into_iter().map(|test| Attack { line: index + 1, test }));
            }
            Err(fault) => faults.push((index + 1, fault)),
        }
    }
    if faults.is_empty() { Ok(attacks) } else { Err(faults) }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn row(line: usize, cells: &[&str]) -> Result<Row, String> {
    let [what, does, tests, servers] = cells else {
        return Err(format!("the row has {} cells and not {}", cells.len(), HEAD.len()));
    };
    if what.is_empty() || does.is_empty() {
        return Err("the row has an empty cell".to_owned());
    }
    let missing = tests.contains(MISSING) || does.contains(MISSING);
    let names: Vec<TestName> =
        tests.split('`').skip(1).step_by(2).map(TestName::parse).collect::<Result<_, _>>()?;
    if names.is_empty() && !missing {
        return Err(format!("the row names no test and does not say `{MISSING}`"));
    }
    let servers: Vec<&str> = servers.split(',').map(str::trim).collect();
    let tests = match (&names[..], &servers[..]) {
        ([], [NO_SERVER]) => Vec::new(),
        (_, [one]) if SERVERS.contains(one) => {
            names.into_iter().map(|name| (name, (*one).to_owned())).collect()
        }
        (names, servers)
            if names.len() == servers.len() && servers.iter().all(|one| SERVERS.contains(one)) =>
        {
            names.iter().cloned().zip(servers.iter().map(|one| (*one).to_owned())).collect()
        }
        _ => {
            return Err(format!(
                "the last cell names one server ({}) for all tests of the row, or one for each",
                SERVERS.join(", ")
            ));
        }
    };
    Ok(Row { line, what: (*what).to_owned(), tests, missing })
}

impl TestName {
    fn parse(text: &str) -> Result<TestName, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let (program, path) = match words[..] {
            [name, path] => (TestProgram::EndToEnd(name.to_owned()), path),
            [package, "lib", path] => (TestProgram::Unit(full_name(package)), path),
            [package, name, path] => {
                (TestProgram::Client(full_name(package), name.to_owned()), path)
            }
            _ => return Err(format!("`{text}` is no name of a test")),
        };
        Ok(TestName { program, path: path.to_owned() })
    }

    /// The name of the function.
    pub(crate) fn function(&self) -> &str {
        self.path.rsplit("::").next().unwrap_or(&self.path)
    }

    /// The files in which the function may stand, the likeliest first: a module may be written inside the one above it.
    pub(crate) fn files(&self) -> Vec<String> {
        let (folder, roots) = self.program.place();
        let mut modules: Vec<&str> = self.path.split("::").collect();
        modules.pop();
        let mut files = Vec::new();
        while !modules.is_empty() {
            let path = modules.join("/");
            files.push(format!("{folder}/{path}.rs"));
            files.push(format!("{folder}/{path}/mod.rs"));
            modules.pop();
        }
        files.extend(roots);
        files
    }
}

/// The package that tries the readers of the others; not one of the product.
const FUZZ: &str = "fuzz";

/// The page drops what all packages of the product begin with.
fn full_name(package: &str) -> String {
    match package {
        "verbatim" | FUZZ => package.to_owned(),
        _ => format!("verbatim-{package}"),
    }
}

impl TestProgram {
    /// The folder of its modules, and the files with which it may begin.
    fn place(&self) -> (String, Vec<String>) {
        match self {
            TestProgram::EndToEnd(name) => {
                let folder = match name.as_str() {
                    "suite" => "tests/e2e/tests".to_owned(),
                    name => format!("tests/e2e/tests/{name}"),
                };
                let root = format!("{folder}/main.rs");
                (folder, vec![root])
            }
            TestProgram::Unit(package) => {
                let packages = if package == FUZZ { "tests" } else { "crates" };
                let folder = format!("{packages}/{package}/src");
                let root = format!("{folder}/lib.rs");
                (folder, vec![root])
            }
            TestProgram::Client(package, name) => {
                let folder = format!("crates/{package}/tests/{name}");
                let roots = vec![format!("{folder}/main.rs"), format!("{folder}.rs")];
                (folder, roots)
            }
        }
    }

    /// The arguments of cargo that choose it.
    ///
    /// A program of `e2e` is chosen in the whole workspace: of another selection of packages the dependencies have other
    /// features, and all of them would be compiled once more.
    pub(crate) fn selection(&self) -> Vec<&str> {
        match self {
            TestProgram::EndToEnd(name) => vec!["--workspace", "--test", name],
            TestProgram::Unit(package) => vec!["--package", package, "--lib"],
            TestProgram::Client(package, name) => vec!["--package", package, "--test", name],
        }
    }
}

impl fmt::Display for TestProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |package: &str| package.trim_start_matches("verbatim-").to_owned();
        match self {
            TestProgram::EndToEnd(name) => f.write_str(name),
            TestProgram::Unit(package) => write!(f, "{} lib", short(package)),
            TestProgram::Client(package, name) => write!(f, "{} {name}", short(package)),
        }
    }
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "| what happens | what verbatim does | test | server |\n|---|---|---|---|\n";

    /// `want` are the tests with their servers, or the fault.
    #[track_caller]
    fn check(row: &str, want: Result<&[&str], &str>) {
        let found = rows(&format!("{TOP}{row}\n"));
        let found = found
            .map(|rows| {
                let tests = rows.iter().flat_map(|row| &row.tests);
                tests.map(|(name, server)| format!("{name}: {server}")).collect::<Vec<_>>()
            })
            .map_err(|faults| faults[0].1.clone());
        match (found, want) {
            (Ok(found), Ok(want)) => assert_eq!(found, want, "{row}"),
            (Err(found), Err(want)) => assert!(found.contains(want), "{row}: {found}"),
            (found, _) => panic!("{row}: {found:?}"),
        }
    }

    #[test]
    fn a_row_names_tests_and_servers() {
        check("| a | 1 | `suite back::x` | simulated |", Ok(&["suite back::x: simulated"]));
        check(
            "| a | 1 | `argocd lib judge::x::tests::y`, `argocd deploy z` | pure, simulated |",
            Ok(&["argocd lib judge::x::tests::y: pure", "argocd deploy z: simulated"]),
        );
        check(
            "| a | 1 | `verbatim lib x::y`, `suite z` (a part; the rest not yet) | pure |",
            Ok(&["verbatim lib x::y: pure", "suite z: pure"]),
        );
        check("| a | not yet | not yet | none |", Ok(&[]));
        check("| a | 1 | | none |", Err("names no test"));
        check("| a | 1 | `back` | pure |", Err("`back` is no name of a test"));
        check("| a | 1 | `suite b` | both |", Err("the last cell"));
        check("| a | 1 | `suite b`, `suite c`, `suite d` | pure, real |", Err("the last cell"));
        check("| a | 1 | `suite b` |", Err("3 cells"));
        check("| | 1 | `suite b` | pure |", Err("an empty cell"));
    }

    #[test]
    fn only_the_tables_of_the_page_are_read() {
        let other = "| word | meaning |\n|---|---|\n| `a` | b |\n";
        assert_eq!(rows(other).unwrap_err().len(), 1);
        let text = format!("{other}\n{TOP}| a | 1 | `suite b` | pure |\n\n{other}");
        let found = rows(&text).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 7);
    }

    #[test]
    fn tests_are_looked_for_where_their_modules_are() {
        for (name, first) in [
            ("suite back::x", "tests/e2e/tests/back.rs"),
            ("fault_table x", "tests/e2e/tests/fault_table/main.rs"),
            ("fault_table kill::x", "tests/e2e/tests/fault_table/kill.rs"),
            (
                "argocd lib judge::prove::tests::x",
                "crates/verbatim-argocd/src/judge/prove/tests.rs",
            ),
            ("verbatim commands x", "crates/verbatim/tests/commands/main.rs"),
        ] {
            let parsed = TestName::parse(name).unwrap();
            assert_eq!(parsed.files()[0], first, "{name}");
            assert_eq!(parsed.function(), "x");
            assert_eq!(parsed.to_string(), name);
        }
        let inside = TestName::parse("argocd lib judge::since::tests::x").unwrap();
        assert!(inside.files().contains(&"crates/verbatim-argocd/src/judge/since.rs".to_owned()));
    }
}
