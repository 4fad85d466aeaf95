//! The binary: what it prints, how it ends, what an interrupt leaves behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{
    Image, Registry, Tree, docker_host, ended, endless, registry_binary, started, unique,
};

struct CommandOutput {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn tool(host: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim-image"));
    command.args(arguments).env("DOCKER_HOST", host).env("DOCKER_CONFIG", "/nonexistent");
    for name in ["DOCKER_CONTEXT", "SOURCE_DATE_EPOCH", "DOCKER_AUTH_CONFIG", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// A process that does not outlive its test.
struct RunningCommand(Child);

impl Drop for RunningCommand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(host: &str, arguments: &[&str]) -> CommandOutput {
    let output = tool(host, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    CommandOutput {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_build_serves_every_later_run() {
    let (Some(host), Some(binary)) = (docker_host(), registry_binary()) else { return };
    let registry = Registry::start(&binary, false).await;
    let tree = Tree::new(&[("Dockerfile", "FROM scratch\nCOPY file /\n"), ("file", "one")]);
    let name = registry.reference(&unique("command"));
    let _image = Image::new(&host, &name);
    let files = tempfile::tempdir().unwrap();
    let [digest, metadata, iid] = ["digest", "metadata", "iid"].map(|name| files.path().join(name));
    let build = |more: &[&str]| {
        let fixed = ["build", text(tree.path()), "--push", "--tag", &name];
        run(&host, &[&fixed, more].concat())
    };

    let first = build(&[
        "--revision",
        "abc",
        "--created",
        "2026-01-02T03:04:05Z",
        "--digest-file",
        text(&digest),
        "--metadata-file",
        text(&metadata),
        "--iidfile",
        text(&iid),
    ]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let digest = std::fs::read_to_string(digest).unwrap();
    assert_eq!(first.stdout, format!("{name}@{digest}\n"));
    let metadata: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(metadata).unwrap()).unwrap();
    assert_eq!(metadata["schema_version"], 1);
    assert_eq!(metadata["pushed"]["digest"], digest);
    assert_eq!(metadata["pushed"]["how"], "pushed");
    assert_eq!(metadata["built"]["id"], std::fs::read_to_string(iid).unwrap());

    // The same revision is not built again, even from a tree that has changed.
    tree.add("file", "two");
    let again = build(&["--revision", "abc", "--if-missing", "--format", "json"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["pushed"]["digest"], digest);
    assert_eq!(again["pushed"]["how"], "reused");
    assert_eq!(again["built"], serde_json::Value::Null);

    for more in [&["--revision", "def", "--if-missing"][..], &["--revision", "def"]] {
        let other = build(more);
        assert_eq!(other.code, Some(5), "{}", other.stderr);
        assert!(
            other.stderr.contains(&digest) && other.stderr.contains("hint: "),
            "{}",
            other.stderr
        );
    }
    let moved = build(&["--revision", "def", "--overwrite"]);
    assert_eq!(moved.code, Some(0), "{}", moved.stderr);
    assert!(!moved.stdout.contains(&digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_status() {
    let Some(host) = docker_host() else { return };
    let tree = Tree::new(&[("Dockerfile", "FROM scratch\nCOPY nope /\n")]);
    let context = text(tree.path());
    let cases: [(&[&str], i32, &str); 8] = [
        (&["build", context, "-t", "a/b:1"], 1, "[2/2] COPY nope /"),
        (&["build", context, "-t", "A B"], 2, "A B"),
        (
            &["build", context, "-t", "a/b:1", "--file", "nope"],
            2,
            "there is no Dockerfile at `nope`",
        ),
        (&["build", "/nowhere", "-t", "a/b:1"], 2, "/nowhere"),
        (&["build", context, "-t", "a/b:1", "--builder", "nope"], 2, "buildkit"),
        (
            &["build", context, "-t", "a/b:1", "--host", "tcp://127.0.0.1:1"],
            3,
            "Connection refused",
        ),
        (
            &["build", context, "-t", "a/b:1", "--host", "unix:///nowhere"],
            3,
            "systemctl status docker",
        ),
        (&["push", "a/absent:1"], 7, "the engine has no image"),
    ];
    for (arguments, code, words) in cases {
        let ended = run(&host, arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_build_in_the_engine() {
    let Some(host) = docker_host() else { return };
    for signal in ["-INT", "-TERM"] {
        let name = unique("interrupted");
        let _image = Image::new(&host, &name);
        let tree = endless(&name);
        let mut running = RunningCommand(
            tool(
                &host,
                &[
                    "build",
                    text(tree.path()),
                    "-t",
                    &name,
                    "--network",
                    "none",
                    "--builder",
                    "classic",
                    "--verbose",
                ],
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
        );
        let child = &mut running.0;
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(stderr.any(|line| line.unwrap().contains("sleeping")));
        started(&host, &name).await;
        assert!(
            needs::Program::Kill
                .command()
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let rest: Vec<String> = stderr.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
        assert!(rest.iter().any(|line| line.contains("build the image")), "{rest:?}");
        ended(&host, &name).await;
    }
}
