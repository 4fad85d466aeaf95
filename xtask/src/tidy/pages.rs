//! Rules about the documents: their links resolve, and ARCHITECTURE.md knows every package.
//!
//! Only links inside the project are followed: a check must not depend on the network.

use super::{Finding, Page};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// What a stranger looks for first.
const EXPECTED: &[&str] = &[
    "README.md",
    ARCHITECTURE,
    "STYLE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    ".github/CODEOWNERS",
];

/// Checks every markdown file. `exists` tells whether a path from the root is there; `packages` are names and folders.
pub(super) fn check(
    pages: &[Page],
    exists: &dyn Fn(&str) -> bool,
    packages: &[(String, String)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in EXPECTED {
        if pages.iter().all(|page| page.path != *name) {
            findings.push(Finding::new(name, 0, "is missing"));
        }
    }
    for page in pages.iter().filter(|page| page.path.ends_with(".md")) {
        for (line, link) in links(&page.text) {
            if let Some(message) = judge(page, &link, pages, exists) {
                findings.push(Finding::new(&page.path, line, message));
            }
        }
    }
    if let Some(page) = pages.iter().find(|page| page.path == ARCHITECTURE) {
        for (package, folder) in packages {
            if !mentions(&page.text, package) && !mentions(&page.text, folder) {
                findings.push(Finding::new(
                    ARCHITECTURE,
                    0,
                    format!("does not mention the package {package}"),
                ));
            }
        }
    }
    findings
}

/// Why a link leads nowhere, if so.
fn judge(page: &Page, link: &str, pages: &[Page], exists: &dyn Fn(&str) -> bool) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) =
        link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path)? };
    if !exists(&target) {
        return Some(format!("the link to {link} leads nowhere"));
    }
    let anchor = anchor?;
    let target = pages.iter().find(|other| other.path == target && target.ends_with(".md"))?;
    let known = headings(&target.text).any(|heading| heading == anchor);
    (!known).then(|| format!("the link to {link} names a heading that is not there"))
}

/// A relative link, from the folder of the page that has it. None when it leaves the project.
fn resolve(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The targets of `[text](target)` outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Code spans come out first: `a](b)` is no link there.
        let spans: Vec<&str> = line.split('`').collect();
        for span in spans.iter().step_by(2) {
            for (at, open) in span.match_indices("](") {
                let rest = &span[at + open.len()..];
                if let Some(end) = rest.find(')') {
                    let target = rest[..end].split_whitespace().next().unwrap_or_default();
                    found.push((number, target.to_owned()));
                }
            }
        }
    }
    found
}

/// The headings as the anchors that code hosts make of them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|(_, line)| {
        let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
        let anchor = title.to_lowercase().replace(' ', "-");
        Some(
            anchor
                .chars()
                .filter(|character| character.is_alphanumeric() || "-_".contains(*character))
                .collect(),
        )
    })
}

/// The lines outside fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// Whether `text` has `name` as a word of its own: `verbatim-oci` does not mention `verbatim`.
fn mentions(text: &str, name: &str) -> bool {
    let part =
        |character: char| character.is_alphanumeric() || character == '-' || character == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Page {
        Page { path: path.to_owned(), text: text.to_owned() }
    }

    #[track_caller]
    fn check_link(text: &str, want: Option<&str>) {
        let pages =
            [page("docs/a.md", text), page("README.md", "# The tool\n## Exit codes: all\n")];
        let mut findings = check(&pages, &|path| pages.iter().any(|page| page.path == path), &[]);
        findings.retain(|finding| finding.file == "docs/a.md");
        assert_eq!(findings.first().map(|finding| finding.message.as_str()), want, "{text}");
    }

    #[test]
    fn links_lead_somewhere() {
        check_link("[a](../README.md)", None);
        check_link("[a](../README.md#exit-codes-all)", None);
        check_link(
            "[a](../README.md#exit)",
            Some("the link to ../README.md#exit names a heading that is not there"),
        );
        check_link("[a](README.md)", Some("the link to README.md leads nowhere"));
        check_link("[a](https://example.com/x)", None);
        check_link("`[a](README.md)`", None);
        check_link("```\n[a](README.md)\n```", None);
        check_link("# Here\n[a](#here)", None);
        check_link("[a](#there)", Some("the link to #there names a heading that is not there"));
    }

    #[test]
    fn the_architecture_knows_every_package() {
        let pages = [page(ARCHITECTURE, "verbatim-oci, `tests/servers` and `xtask`")];
        let packages = [
            ("verbatim", "crates/verbatim"),
            ("verbatim-oci", "crates/verbatim-oci"),
            ("test-registry", "tests/servers"),
            ("xtask", "xtask"),
        ]
        .map(|(name, folder)| (name.to_owned(), folder.to_owned()));
        let found = check(&pages, &|_| true, &packages);
        let about: Vec<_> = found.iter().filter(|finding| finding.file == ARCHITECTURE).collect();
        assert_eq!(about.len(), 1, "{about:?}");
        assert_eq!(about[0].message, "does not mention the package verbatim");
    }

    #[test]
    fn a_missing_document_is_told() {
        let found = check(&[], &|_| true, &[]);
        assert_eq!(found.len(), EXPECTED.len());
    }
}
