//! The pages of failure modes and of attackers name tests that are there, so that they cannot rot.

use std::collections::BTreeMap;

use super::{Finding, Page};
use crate::failure_modes::{Attack, PAGE, THREATS, TestName, attacks, rows};

/// Checks the form of the page, and that each test that it names stands in the sources.
pub(super) fn check(pages: &[Page]) -> Vec<Finding> {
    let texts: BTreeMap<&str, &str> =
        pages.iter().map(|page| (page.path.as_str(), page.text.as_str())).collect();
    let Some(page) = texts.get(PAGE) else {
        return vec![Finding::new(PAGE, 0, "is missing")];
    };
    let rows = match rows(page) {
        Ok(rows) => rows,
        Err(faults) => {
            return faults
                .into_iter()
                .map(|(line, fault)| Finding::new(PAGE, line, fault))
                .collect();
        }
    };
    let mut findings = Vec::new();
    match attacks(texts.get(THREATS).copied().unwrap_or_default()) {
        Ok(attacks) => {
            let missing = attacks.iter().filter(|attack| !stands(&attack.test, &texts));
            findings.extend(missing.map(|Attack { line, test }| {
                Finding::new(THREATS, *line, format!("the test {test} is not there"))
            }));
        }
        Err(faults) => findings
            .extend(faults.into_iter().map(|(line, fault)| Finding::new(THREATS, line, fault))),
    }
    for row in &rows {
        for (test, _) in &row.tests {
            if !stands(test, &texts) {
                let message = format!("the test {test} is not there");
                findings.push(Finding::new(PAGE, row.line, message));
            }
        }
    }
    findings
}

fn stands(test: &TestName, texts: &BTreeMap<&str, &str>) -> bool {
    let function = format!("fn {}(", test.function());
    let file = test.files().into_iter().find_map(|file| texts.get(file.as_str()));
    file.is_some_and(|text| text.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_named_is_there() {
        let page = |path: &str, text: &str| Page { path: path.to_owned(), text: text.to_owned() };
        let sources = [
            page("tests/e2e/tests/back.rs", "async fn old_values_come_back() {}"),
            page("crates/verbatim-argocd/src/judge/since.rs", "mod tests { fn it_lasts() {} }"),
            page("crates/verbatim-argocd/tests/deploy.rs", "fn twice() {}"),
        ];
        for (name, there) in [
            ("suite back::old_values_come_back", true),
            ("suite back::old_values_come", false),
            ("suite old_values_come_back", false),
            ("argocd lib judge::since::tests::it_lasts", true),
            ("argocd lib run::since::tests::it_lasts", false),
            ("argocd deploy twice", true),
            ("argocd deploy thrice", false),
        ] {
            let table = format!(
                "| what happens | what verbatim does | test | server |\n|---|---|---|---|\n| a | b | `{name}` | pure |\n"
            );
            let mut pages = vec![page(PAGE, &table)];
            pages.extend(sources.iter().map(|source| page(&source.path, &source.text)));
            let findings = check(&pages);
            assert_eq!(findings.is_empty(), there, "{name}: {findings:?}");
            assert!(findings.iter().all(|finding| finding.line == 3), "{findings:?}");
        }
        assert_eq!(check(&sources).len(), 1, "a page that is missing");
    }

    #[test]
    fn an_attack_has_its_test() {
        let page = |path: &str, text: &str| Page { path: path.to_owned(), text: text.to_owned() };
        let modes = "| what happens | what verbatim does | test | server |\n|---|---|---|---|\n| a | b | not yet | none |\n";
        let source = page("tests/e2e/tests/attacks/pusher.rs", "async fn it_stops_nothing() {}");
        for (test, want) in [
            ("`suite attacks::pusher::it_stops_nothing`", None),
            ("`suite attacks::pusher::it_stops`", Some("is not there")),
            ("by hand", Some("no test is named")),
            ("`by`", Some("is no name of a test")),
        ] {
            let table = format!(
                "| what is tried | what happens | test |\n|---|---|---|\n| a | b | {test} |\n"
            );
            let pages =
                [page(PAGE, modes), page(THREATS, &table), page(&source.path, &source.text)];
            let findings: Vec<String> = check(&pages).iter().map(ToString::to_string).collect();
            let told = findings.join("; ");
            assert_eq!(told.is_empty(), want.is_none(), "{told}");
            assert!(want.is_none_or(|want| told.contains(want)), "{told}");
        }
    }
}
