//! Flags: what the real argocd has, ours has by the same name, or docs/from-argocd-cli.md says what to use.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::stage::Stage;

/// Commands of argocd, and the ones of ours that together do the same.
const COMMANDS: [(&str, &[&str]); 31] = [
    ("app list", &["list"]),
    ("app get", &["get"]),
    ("app diff", &["diff"]),
    ("app manifests", &["manifests"]),
    ("app resources", &["resources"]),
    ("app history", &["history"]),
    ("app logs", &["logs"]),
    ("app set", &["override", "set"]),
    ("app unset", &["unset"]),
    ("app sync", &["sync"]),
    ("app wait", &["wait"]),
    ("app rollback", &["rollback"]),
    ("app terminate-op", &["terminate"]),
    ("app create", &["create"]),
    ("app delete", &["delete"]),
    ("app patch", &["patch"]),
    ("app confirm-deletion", &["confirm-deletion"]),
    ("app actions list", &["actions list"]),
    ("app actions run", &["actions run"]),
    ("app get-resource", &["get-resource"]),
    ("app patch-resource", &["patch-resource"]),
    ("app delete-resource", &["delete-resource"]),
    ("login", &["login"]),
    ("account get-user-info", &["whoami"]),
    ("account can-i", &["can-i"]),
    ("version", &["version"]),
    ("repo add", &["repo add"]),
    ("repo list", &["repo list"]),
    ("repo rm", &["repo rm"]),
    ("cluster list", &["cluster list"]),
    ("proj list", &["project list"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_flag_of_argocd_is_there_or_the_page_says_what_to_use() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "flags").await?;
    let page = include_str!("../../../../docs/from-argocd-cli.md");
    let section = page.split("## Flags that are not there").nth(1).unwrap_or_default();
    let (mut failed, mut compared) = (Vec::new(), 0);
    for (theirs, ours) in COMMANDS {
        let help = stage.argocd_does(&format!("{theirs} --help"), "").await?;
        let wanted = flags(help.split("Global Flags:").next().unwrap_or_default());
        compared += wanted.len();
        let mut known = BTreeSet::new();
        for command in ours {
            known.extend(flags(&stage.verbatim_does(&format!("{command} --help"), "").await?));
        }
        let told: BTreeSet<String> = section
            .lines()
            .filter(|line| line.split('|').nth(1).is_some_and(|cell| names(cell, theirs)))
            .flat_map(|line| flags_of_words(line.split('|').nth(2).unwrap_or_default()))
            .collect();
        let missing = wanted.iter().filter(|flag| !known.contains(*flag) && !told.contains(*flag));
        let missing: Vec<_> = missing.map(String::as_str).collect();
        if !missing.is_empty() {
            failed.push(format!("{theirs}: {}", missing.join(" ")));
        }
        let stale: Vec<_> = told.iter().filter(|flag| known.contains(*flag)).cloned().collect();
        if !stale.is_empty() {
            failed.push(format!("{theirs}: the page says that these are not there: {stale:?}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    ensure!(compared > 250, "only {compared} flags of argocd were understood");
    Ok(())
}

/// Whether a cell names a command, as one of several.
fn names(cell: &str, command: &str) -> bool {
    cell.split(',').any(|one| one.trim().trim_matches('`') == command)
}

/// The flags at the beginnings of a help's lines, and their aliases.
fn flags(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with('-') || line.contains("[alias")
    });
    let heads = lines.map(|line| match line.split_once("[alias") {
        Some((_, aliases)) => aliases,
        // `-o, --output string   Output format. …`
        None => line.trim_start().split("   ").next().unwrap_or_default(),
    });
    heads.flat_map(flags_of_words).filter(|flag| flag != "--help").collect()
}

fn flags_of_words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}
