//! `.dockerignore` as Docker's own client understands it: the same tree is built by both, and the same files arrive.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::collections::BTreeMap;

use support::{Image, Tree, config, docker, docker_host, engine, unique};
use verbatim_credentials::Keychain;
use verbatim_image::{Builder, build};

const FILES: [&str; 22] = [
    "a.txt",
    "ab",
    "b.md",
    "README.md",
    "README-secret.md",
    ".hidden",
    "#hash",
    "!bang",
    "sp ace",
    "ä",
    "dir/a.txt",
    "dir/b.md",
    "dir/keep",
    "dir/sub/a.txt",
    "dir/sub/keep",
    "dir/sub/deep/keep",
    "dir2/a.txt",
    "dir2/x.log",
    "other/x.log",
    "other/y",
    "temp/a",
    "temp2",
];

fn tree(ignore: Option<&str>) -> Tree {
    let tree = Tree::new(&[
        ("Dockerfile", "FROM scratch\nCOPY . /context/\n"),
        ("link -> dir/a.txt", ""),
        ("dangling -> nowhere/at all", ""),
        ("dir/up -> ../dir2", ""),
        ("empty/", ""),
        ("dir/empty/", ""),
    ]);
    for file in FILES {
        tree.add(file, file);
    }
    tree.mode("ab", 0o755);
    tree.mode("temp2", 0o600);
    tree.mode("dir/keep", 0o4755);
    if let Some(ignore) = ignore {
        tree.add(".dockerignore", ignore);
    }
    tree
}

/// What arrives by Docker's client, and what arrives by ours.
async fn both(host: &str, tree: &Tree) -> [BTreeMap<String, String>; 2] {
    let theirs = Image::new(host, &unique("theirs"));
    let context = tree.path().to_str().unwrap();
    docker(host, &["build", "-q", "-t", &theirs.name, context]).unwrap();
    let ours = Image::new(host, &unique("ours"));
    let mut config = config(&ours.name, tree.path());
    config.builder = Some(Builder::Classic);
    build(&engine(host).await, &Keychain::anonymous(), &config, &mut |_| {}).await.unwrap();
    [theirs.files(), ours.files()]
}

/// A directory that is ignored once more, after an exception: the clients from 23 on keep the exception, as BuildKit does;
/// older ones do not (seen with 20.10.24, which Debian 12 has).
const AGAIN: &str = "dir\n!dir/keep\ndir";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_arrive() {
    let Some(host) = docker_host() else { return };
    let ignore_files = [
        None,
        Some(""),
        Some("*.txt"),
        Some("**/*.txt"),
        Some("dir"),
        Some("/dir/"),
        Some("dir/*\n!dir/keep"),
        Some("dir\n!dir/keep"),
        Some("dir\n!dir/sub/deep"),
        Some("dir/**\n!dir/sub/**"),
        Some(AGAIN),
        Some("dir\n!dir/sub\ndir/sub/deep"),
        Some("*\n!a.txt"),
        Some("*\n!dir/sub/keep"),
        Some("**\n!dir"),
        Some("*.md\n!README*.md\nREADME-secret.md"),
        Some("*.md\nREADME-secret.md\n!README*.md"),
        Some("*/*.log"),
        Some("temp?"),
        Some("[ab]*"),
        Some("[^a-z]*"),
        Some("# comment\n#hash"),
        Some(" #hash"),
        Some("\\#hash\n\\!bang"),
        Some("sp ace  \n\tä"),
        Some("\u{feff}a.txt\r\nab\r\n"),
        Some("./a.txt\ndir/../ab\n../b.md"),
        Some("Dockerfile"),
        Some(".dockerignore\nDockerfile"),
        Some("*"),
        Some("."),
        Some("/"),
        Some("**"),
        Some("link\ndangling\ndir/up"),
        Some("empty\ndir/empty"),
        Some("d**p"),
        Some("dir**"),
        Some("**keep"),
        Some("**/keep"),
        Some("**/sub/keep"),
    ];
    let version = docker(&host, &["version", "--format", "{{.Client.Version}}"]).unwrap();
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    let is_old = major.is_some_and(|major| major < 23);
    for ignore in ignore_files.into_iter().filter(|ignore| !(is_old && *ignore == Some(AGAIN))) {
        let tree = tree(ignore);
        let [theirs, ours] = both(&host, &tree).await;
        assert_eq!(ours, theirs, "by {ignore:?}");
    }
}

/// The one known difference: below an ignored directory Docker's client for the classic builder finds only what a `!`
/// pattern names from the root on. BuildKit, and this crate with both builders, find what any `!` pattern matches.
#[tokio::test(flavor = "multi_thread")]
async fn exceptions_with_wildcards_reach_into_ignored_directories() {
    let Some(host) = docker_host() else { return };
    let tree = tree(Some("*\n!**/keep"));
    let [theirs, ours] = both(&host, &tree).await;
    let names = |files: &BTreeMap<String, String>| -> Vec<String> {
        files
            .iter()
            .filter(|(_, kind)| *kind != "directory")
            .map(|(name, _)| name.clone())
            .collect()
    };
    assert!(names(&theirs).is_empty(), "{theirs:?}");
    assert_eq!(names(&ours), ["dir/keep", "dir/sub/deep/keep", "dir/sub/keep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_docker_refuses_is_refused() {
    let Some(host) = docker_host() else { return };
    for ignore in ["[", "a\n!", "[a", "[]", "x\\", "[-a]"] {
        let tree = tree(Some(ignore));
        let context = tree.path().to_str().unwrap();
        docker(&host, &["build", "-q", context]).unwrap_err();
        let config = config(&unique("refused"), tree.path());
        let engine = engine(&host).await;
        let built = build(&engine, &Keychain::anonymous(), &config, &mut |_| {}).await;
        assert!(built.is_err(), "{ignore:?}");
    }
}
