//! `cargo xtask codegen [--check]`: the files that are made from the code and checked in.
//!
//! What a command says about itself, the exit statuses, the schema of `verbatim.yaml` and the list of environment
//! variables are written down once, in the code. Nothing that a person should phrase belongs here.

mod environment;
mod help;
mod product;
mod statuses;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;

use needs::workspace_root;

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Write nothing; fail when a file is not what would be written
    #[arg(long)]
    check: bool,
}

/// A file as it should be.
#[derive(Debug, PartialEq, Eq)]
struct Generated {
    /// From the root of the workspace.
    path: String,
    text: String,
}

impl Generated {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Generated {
        Generated { path: path.into(), text: text.into() }
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    let root = workspace_root();
    let files = product::files(&root)?;
    let mut stale = Vec::new();
    for file in &files {
        let path = root.join(&file.path);
        let now = fs::read_to_string(&path).unwrap_or_default();
        if now != file.text {
            if args.check {
                stale.push(format!("{}: {}", file.path, first_difference(&now, &file.text)));
            } else {
                write(&path, &file.text)?;
                println!("wrote {}", file.path);
            }
        }
    }
    let left_over = left_over(&root, &files)?;
    for path in &left_over {
        if args.check {
            stale.push(format!("{path}: nothing makes it any more"));
        } else {
            fs::remove_file(root.join(path)).with_context(|| format!("failed to remove {path}"))?;
            println!("removed {path}");
        }
    }
    if !stale.is_empty() {
        bail!("not current; run `cargo xtask codegen`\n  {}", stale.join("\n  "));
    }
    println!("codegen: {} files are current", files.len());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

/// Pages of commands that are no more: the folder of the help holds nothing else.
fn left_over(root: &Path, files: &[Generated]) -> Result<Vec<String>> {
    let folder = root.join(help::FOLDER);
    let mut found = Vec::new();
    if folder.exists() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))?
        {
            let path = format!("{}/{}", help::FOLDER, entry?.file_name().to_string_lossy());
            if files.iter().all(|file| file.path != path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where two texts part, for a message.
fn first_difference(now: &str, wanted: &str) -> String {
    if now.is_empty() {
        return "is missing or empty".to_owned();
    }
    let mut lines = now.lines().zip(wanted.lines()).enumerate();
    match lines.find(|(_, (now, wanted))| now != wanted) {
        Some((number, (now, wanted))) => {
            format!("line {} is {now:?}, should be {wanted:?}", number + 1)
        }
        None if now.len() > wanted.len() => "has lines too many at the end".to_owned(),
        None => "lacks lines at the end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        for (now, wanted, want) in [
            ("", "a\n", "is missing or empty"),
            ("a\nb\n", "a\nc\n", "line 2 is \"b\", should be \"c\""),
            ("a\n", "a\nb\n", "lacks lines at the end"),
            ("a\nb\n", "a\n", "has lines too many at the end"),
        ] {
            assert_eq!(first_difference(now, wanted), want);
        }
    }

    #[test]
    fn a_page_that_nothing_makes_is_found() {
        let root = tempfile::tempdir().unwrap();
        assert!(left_over(root.path(), &[]).unwrap().is_empty());
        let folder = root.path().join(help::FOLDER);
        fs::create_dir_all(&folder).unwrap();
        for name in ["old.md", "verbatim.md"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        let files = [Generated::new("docs/cli/verbatim.md", "x")];
        assert_eq!(left_over(root.path(), &files).unwrap(), ["docs/cli/old.md"]);
    }
}
