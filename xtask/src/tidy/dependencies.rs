//! No dependency of the workspace that no member uses. What a member does not use finds the step `unused` of ci.

use super::{Finding, Page};

const ROOT: &str = "Cargo.toml";

pub(super) fn check(pages: &[Page]) -> Vec<Finding> {
    let Some(root) = pages.iter().find(|page| page.path == ROOT) else { return Vec::new() };
    let members: Vec<&str> = pages
        .iter()
        .filter(|page| page.path.ends_with("/Cargo.toml"))
        .map(|page| page.text.as_str())
        .collect();
    declared(&root.text)
        .filter(|(_, name)| !members.iter().any(|text| uses(text, name)))
        .map(|(line, name)| Finding::new(ROOT, line, format!("no member uses {name}")))
        .collect()
}

/// The names below `[workspace.dependencies]`, with their lines.
fn declared(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .skip_while(|(_, line)| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .filter_map(|(index, line)| Some((index + 1, line.split_once(" = ")?.0)))
        .filter(|(_, name)| !name.starts_with('#'))
}

/// `NAME.workspace = true`, or `NAME = { workspace = true, … }`.
fn uses(text: &str, name: &str) -> bool {
    text.lines().filter_map(|line| line.strip_prefix(name)).any(|rest| {
        rest.starts_with(".workspace")
            || rest.strip_prefix(" = {").is_some_and(|rest| rest.contains("workspace = true"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_member_uses_is_found() {
        let page = |path: &str, text: &str| Page { path: path.to_owned(), text: text.to_owned() };
        let root = "[workspace.dependencies]\n# A note = none.\na = \"1\"\nab = \"1\"\nb = { version = \"1\" }\n\n[profile.dev]\nc = 1\n";
        let pages = [
            page("Cargo.toml", root),
            page(
                "x/Cargo.toml",
                "b = { workspace = true, features = [\"d\"] }\nab.workspace = true\n",
            ),
        ];
        assert_eq!(check(&pages), [Finding::new("Cargo.toml", 3, "no member uses a")]);
    }
}
