//! What differs from the commit, also where git is told not to look: files that are assumed unchanged or skipped, and
//! submodules that are ignored. Asks git only; changes neither its index nor its settings.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::git::{
    IgnoredFiles, MAX_CHANGES, Porcelain, SourceError, ask, ask_with, failed, porcelain,
};

/// Settings by which git would look less closely, or ask a program.
const CLOSELY: [&str; 4] = ["-c", "core.fsmonitor=false", "-c", "core.ignoreStat=false"];

const STATUS: [&str; 5] = [
    "status",
    "--porcelain=v2",
    "--branch",
    "--untracked-files=normal",
    "--ignore-submodules=none",
];

/// The state of the tree that holds `folder`, and of its submodules.
pub(super) async fn look(folder: &Path) -> Result<Porcelain, SourceError> {
    let top = top(folder).await?;
    let mut state = Porcelain::default();
    let mut trees = vec![(top, String::new())];
    while let Some((tree, prefix)) = trees.pop() {
        let entries = entries(&tree).await?;
        let seen = status(&tree, &entries).await?;
        let changes = seen.changes.iter().map(|path| format!("{prefix}{path}"));
        state.changes.extend(changes);
        if prefix.is_empty() {
            (state.commit, state.branch) = (seen.commit, seen.branch);
        }
        if state.changes.len() >= MAX_CHANGES {
            state.changes.truncate(MAX_CHANGES);
            break;
        }
        for module in entries.iter().filter(|entry| entry.is_module) {
            let (path, name) = (tree.join(module.path()), String::from_utf8_lossy(&module.path));
            // One that was not fetched is an empty folder; one that differs has been named.
            if path.join(".git").exists() && !seen.changes.iter().any(|change| *change == name) {
                trees.push((path, format!("{prefix}{name}/")));
            }
        }
    }
    Ok(state)
}

/// The folder of the tree that holds `folder`, with its links resolved.
pub(super) async fn top(folder: &Path) -> Result<PathBuf, SourceError> {
    line(folder, &["rev-parse", "--show-toplevel"]).await.map(PathBuf::from)
}

/// What git ignores in the tree that holds `folder`, and in its submodules.
pub(super) async fn ignored(folder: &Path) -> Result<IgnoredFiles, SourceError> {
    let top = top(folder).await?;
    let mut paths = BTreeSet::new();
    let mut trees = vec![PathBuf::new()];
    while let Some(prefix) = trees.pop() {
        let tree = top.join(&prefix);
        let list = ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"];
        let output = ask(&tree, &list).await?;
        if !output.status.success() {
            return Err(failed(&tree, &list, &output));
        }
        let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        // A folder ends with a slash, which a path leaves out.
        paths.extend(names.map(|name| prefix.join(std::ffi::OsStr::from_bytes(name))));
        let modules = entries(&tree).await?.into_iter().filter(|entry| entry.is_module);
        let modules = modules.map(|module| prefix.join(module.path()));
        trees.extend(modules.filter(|module| top.join(module).join(".git").exists()));
    }
    Ok(IgnoredFiles { top, paths })
}

/// A file of the index.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: Vec<u8>,
    is_module: bool,
    /// `--assume-unchanged`.
    is_assumed: bool,
    /// `--skip-worktree`, as of what a sparse checkout leaves out.
    is_skipped: bool,
}

impl Entry {
    fn path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.path))
    }
}

async fn entries(tree: &Path) -> Result<Vec<Entry>, SourceError> {
    let list = ["ls-files", "-v", "--stage", "-z"];
    let output = ask(tree, &list).await?;
    match output.status.success() {
        true => Ok(read_entries(&output.stdout)),
        false => Err(failed(tree, &list, &output)),
    }
}

/// Reads `git ls-files -v --stage -z`: a letter, the mode, the hash and the stage, a tab, the path; small letters are for
/// what is assumed unchanged (`show_ce` and `get_tag` in git's builtin/ls-files.c).
fn read_entries(list: &[u8]) -> Vec<Entry> {
    let lines = list.split(|byte| *byte == 0).filter_map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (fields, path) = (line.get(..tab)?, line.get(tab + 1..)?);
        let tag = *fields.first()?;
        Some(Entry {
            path: path.to_owned(),
            is_module: fields.get(2..).is_some_and(|mode| mode.starts_with(b"160000 ")),
            is_assumed: tag.is_ascii_lowercase(),
            is_skipped: tag.eq_ignore_ascii_case(&b'S'),
        })
    });
    lines.collect()
}

/// `git status` of one tree, with a copy of its index without flags if any file has one.
async fn status(tree: &Path, entries: &[Entry]) -> Result<Porcelain, SourceError> {
    let is_absent = |entry: &Entry| fs::symlink_metadata(tree.join(entry.path())).is_err();
    let mut skipped: Vec<&Entry> = entries.iter().filter(|entry| entry.is_skipped).collect();
    if skipped.iter().any(|entry| is_absent(entry)) && is_sparse(tree).await? {
        skipped.retain(|entry| !is_absent(entry));
    }
    let assumed: Vec<&Entry> = entries.iter().filter(|entry| entry.is_assumed).collect();
    let arguments = [CLOSELY.as_slice(), STATUS.as_slice()].concat();
    let output = if assumed.is_empty() && skipped.is_empty() {
        ask(tree, &arguments).await?
    } else {
        let folder = tempfile::tempdir().map_err(SourceError::Index)?;
        let index = folder.path().join("index");
        let own = line(tree, &["rev-parse", "--git-path", "index"]).await?;
        copy(&tree.join(own), &index).map_err(SourceError::Index)?;
        for (flag, entries) in
            [("--no-assume-unchanged", &assumed), ("--no-skip-worktree", &skipped)]
        {
            let remove = [CLOSELY.as_slice(), &["update-index", flag, "-z", "--stdin"]].concat();
            let paths = paths(entries).map_err(SourceError::Index)?;
            let output = ask_with(tree, &remove, Some(&index), Some(paths)).await?;
            if !output.status.success() {
                return Err(failed(tree, &remove, &output));
            }
        }
        ask_with(tree, &arguments, Some(&index), None).await?
    };
    match output.status.success() {
        true => Ok(porcelain(&String::from_utf8_lossy(&output.stdout))),
        false => Err(failed(tree, &arguments, &output)),
    }
}

/// Whether files may be absent without being deleted.
async fn is_sparse(tree: &Path) -> Result<bool, SourceError> {
    let output = ask(tree, &["config", "--bool", "core.sparseCheckout"]).await?;
    Ok(output.stdout.starts_with(b"true"))
}

/// Copies the index with its time: git takes a file for unchanged that is older than the index.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::copy(from, to)?;
    let time = fs::metadata(from)?.modified()?;
    File::options().write(true).open(to)?.set_modified(time)
}

/// The paths as a file to read, each ended by a NUL.
fn paths(entries: &[&Entry]) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    for entry in entries {
        file.write_all(&entry.path)?;
        file.write_all(b"\0")?;
    }
    file.rewind()?;
    Ok(file)
}

/// The answer of a command that prints one line.
async fn line(folder: &Path, arguments: &[&str]) -> Result<String, SourceError> {
    let output = ask(folder, arguments).await?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()),
        false => Err(failed(folder, arguments, &output)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::git::{state, testing::run};
    use super::*;

    #[test]
    fn the_index_is_read() {
        let hash = "0123456789012345678901234567890123456789";
        let list = format!(
            "H 100644 {hash} 0\ta b\0h 100644 {hash} 0\tassumed\0S 120000 {hash} 0\tskipped\0\
             s 100644 {hash} 0\tboth\0M 100644 {hash} 2\tmerged\0H 160000 {hash} 0\tlib\0"
        );
        let entries = read_entries(list.as_bytes());
        let seen: Vec<(&str, bool, bool, bool)> = entries
            .iter()
            .map(|it| {
                let path = std::str::from_utf8(&it.path).unwrap();
                (path, it.is_module, it.is_assumed, it.is_skipped)
            })
            .collect();
        let want = [
            ("a b", false, false, false),
            ("assumed", false, true, false),
            ("skipped", false, false, true),
            ("both", false, true, true),
            ("merged", false, false, false),
            ("lib", true, false, false),
        ];
        assert_eq!(seen, want);
        assert_eq!(read_entries(b"\0H\0H 1\0"), []);
    }

    async fn repository(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &["init", "--quiet"]).await;
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "1").unwrap();
        }
        run(folder.path(), &["add", "."]).await;
        run(folder.path(), &["commit", "--quiet", "-m", "first"]).await;
        folder
    }

    async fn changes(folder: &Path) -> Vec<String> {
        state(folder).await.unwrap().changes
    }

    #[tokio::test]
    async fn what_git_ignores_is_known_by_its_name() {
        let folder = repository(&["a", "dist/kept", "sub/b"]).await;
        let path = folder.path().canonicalize().unwrap();
        let module = repository(&["m"]).await;
        fs::write(module.path().join(".gitignore"), "*.o\n").unwrap();
        run(module.path(), &["add", "."]).await;
        run(module.path(), &["commit", "--quiet", "-m", "ignored"]).await;
        let from = module.path().to_str().unwrap();
        run(
            &path,
            &["-c", "protocol.file.allow=always", "submodule", "add", "--quiet", from, "lib"],
        )
        .await;
        fs::write(path.join(".gitignore"), "dist/*\n!dist/kept\nnode_modules/\n*.env\n").unwrap();
        fs::create_dir_all(path.join("node_modules/x")).unwrap();
        for file in ["dist/app.js", "node_modules/x/y", "sub/.env", "lib/m.o", "new"] {
            fs::write(path.join(file), "1").unwrap();
        }
        // A rule of this clone alone hides as well.
        fs::write(path.join(".git/info/exclude"), "private\n").unwrap();
        fs::write(path.join("private"), "1").unwrap();
        let ignored = super::super::git::ignored(&path.join("sub")).await.unwrap();
        let name_of = |file: &str| ignored.name_of(&path.join(file));
        for (file, want) in [
            ("a", None),
            ("new", None),
            ("dist/kept", None),
            ("dist/app.js", Some("dist/app.js")),
            ("node_modules/x/y", Some("node_modules")),
            ("sub/.env", Some("sub/.env")),
            ("lib/m", None),
            ("lib/m.o", Some("lib/m.o")),
            ("private", Some("private")),
        ] {
            assert_eq!(name_of(file).as_deref(), want, "{file}");
        }
        let elsewhere = Path::new("/elsewhere/file");
        assert_eq!(ignored.name_of(elsewhere).as_deref(), Some("/elsewhere/file"));
    }

    #[tokio::test]
    async fn flags_hide_no_change() {
        for flags in [
            ["--assume-unchanged"].as_slice(),
            &["--skip-worktree"],
            &["--assume-unchanged", "--skip-worktree"],
        ] {
            let folder = repository(&["a", "sub/b", "c"]).await;
            let path = folder.path();
            for flag in flags {
                run(path, &["update-index", flag, "a", "sub/b"]).await;
            }
            let index = fs::read(path.join(".git/index")).unwrap();
            // Of the same size, and in the same second.
            assert_eq!(changes(path).await, Vec::<String>::new(), "{flags:?}: only a flag");
            fs::write(path.join("sub/b"), "2").unwrap();
            assert_eq!(changes(path).await, ["sub/b"], "{flags:?}");
            assert_eq!(changes(&path.join("sub")).await, ["sub/b"], "{flags:?}: from below");
            fs::remove_file(path.join("a")).unwrap();
            assert_eq!(changes(path).await, ["a", "sub/b"], "{flags:?}: deleted");
            assert_eq!(fs::read(path.join(".git/index")).unwrap(), index, "only looked");
        }
    }

    #[tokio::test]
    async fn what_a_sparse_checkout_leaves_out_is_no_change() {
        let folder = repository(&["in/a", "out/b"]).await;
        let path = folder.path();
        run(path, &["sparse-checkout", "set", "in"]).await;
        assert!(!path.join("out/b").exists());
        assert_eq!(changes(path).await, Vec::<String>::new());
        fs::create_dir_all(path.join("out")).unwrap();
        fs::write(path.join("out/b"), "2").unwrap();
        assert_eq!(changes(path).await, ["out/b"]);
    }

    #[tokio::test]
    async fn submodules_hide_no_change() {
        let (inner, lib) = (repository(&["deep"]).await, repository(&["l"]).await);
        let add = ["-c", "protocol.file.allow=always", "submodule", "add", "--quiet"];
        let add = |from: &Path, name: &str| {
            let from = from.to_str().unwrap();
            add.into_iter().chain([from, name]).map(str::to_owned).collect::<Vec<_>>()
        };
        for ignore in [None, Some("untracked"), Some("dirty"), Some("all")] {
            let folder = repository(&["a"]).await;
            let path = folder.path();
            let arguments = add(lib.path(), "lib");
            run(path, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let module = path.join("lib");
            let arguments = add(inner.path(), "inner");
            run(&module, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
            if let Some(ignore) = ignore {
                for (tree, name) in [(path, "lib"), (module.as_path(), "inner")] {
                    let key = format!("submodule.{name}.ignore");
                    run(tree, &["config", "-f", ".gitmodules", &key, ignore]).await;
                }
            }
            run(&module, &["add", "-A"]).await;
            run(&module, &["commit", "--quiet", "-m", "inner"]).await;
            run(path, &["add", "-A"]).await;
            run(path, &["commit", "--quiet", "-m", "lib"]).await;
            assert_eq!(changes(path).await, Vec::<String>::new(), "{ignore:?}");
            // What the submodule itself is told not to show.
            let file = module.join("l");
            run(&module, &["update-index", "--assume-unchanged", "l"]).await;
            fs::write(&file, "2").unwrap();
            assert_eq!(changes(path).await, ["lib/l"], "{ignore:?}: assumed unchanged");
            fs::write(&file, "1").unwrap();
            fs::write(module.join("inner/deep"), "2").unwrap();
            let seen = changes(path).await;
            assert!(seen == ["lib"] || seen == ["lib/inner"], "{ignore:?}: deep: {seen:?}");
            fs::write(module.join("inner/deep"), "1").unwrap();
            fs::write(module.join("new"), "1").unwrap();
            assert_eq!(changes(path).await, ["lib"], "{ignore:?}: untracked");
            run(&module, &["add", "."]).await;
            run(&module, &["commit", "--quiet", "-m", "moved"]).await;
            assert_eq!(changes(path).await, ["lib"], "{ignore:?}: another commit");
        }
    }
}
