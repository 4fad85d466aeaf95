//! Builds on a real engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{
    Image, Tree, config, docker_host, ended, endless, engine, started, static_program, unique,
};
use verbatim_credentials::Keychain;
use verbatim_image::{
    BuildConfig, Builder, BuiltImage, ContextError, Engine, EngineEvent, Error, ErrorKind, build,
};

const BUILDERS: [Builder; 2] = [Builder::Classic, Builder::BuildKit];

async fn run(
    engine: &Engine,
    config: &BuildConfig,
) -> (Result<BuiltImage, Error>, Vec<EngineEvent>) {
    let mut events = Vec::new();
    let built =
        build(engine, &Keychain::anonymous(), config, &mut |event| events.push(event)).await;
    (built, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_has_what_was_asked_for() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let tree = Tree::new(&[
        (
            "Dockerfile",
            "ARG BASE=scratch\nFROM $BASE AS first\nARG WORD=none\nLABEL word=$WORD\nFROM first AS second\nLABEL second=yes\n",
        ),
        ("file", "content"),
    ]);
    for builder in BUILDERS {
        let name = unique("labels");
        let image = Image::new(&host, &name);
        let mut config = config(&name, tree.path());
        config.builder = Some(builder);
        config.build_args = BTreeMap::from([("WORD".to_owned(), "a=b c".to_owned())]);
        config.labels = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
        config.origin.revision = Some("abc123".to_owned());
        config.origin.created = Some("2026-01-02T03:04:05Z".parse().unwrap());
        config.target = Some("first".to_owned());
        let (built, events) = run(&engine, &config).await;
        let built = built.unwrap_or_else(|error| panic!("{builder}: {error:?}"));
        let labels: BTreeMap<String, String> =
            serde_json::from_str(&image.inspect("{{json .Config.Labels}}")).unwrap();
        let want = BTreeMap::from(
            [
                ("team", "web"),
                ("word", "a=b c"),
                ("org.opencontainers.image.created", "2026-01-02T03:04:05Z"),
                ("org.opencontainers.image.revision", "abc123"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(labels, want, "{builder}");
        assert_eq!(image.inspect("{{.Id}}"), built.id.to_string(), "{builder}");
        assert_eq!(built.builder, builder);
        let sent = events.iter().any(
            |event| matches!(event, EngineEvent::Sent { bytes, .. } if *bytes == built.context_bytes),
        );
        assert!(
            sent && events.iter().any(|event| matches!(event, EngineEvent::Step(_))),
            "{events:?}"
        );
    }
}

/// A time before 1980 stops whoever makes a ZIP archive, a JAR or a wheel of a file in a step.
#[tokio::test(flavor = "multi_thread")]
async fn files_have_the_time_of_the_commit() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let tree = Tree::new(&[("Dockerfile", "FROM scratch\nCOPY file /context/\n"), ("file", "x")]);
    for builder in BUILDERS {
        for (created, epoch, want) in [
            (None, None, 315_532_800),
            (Some("2026-01-02T03:04:05Z"), None, 1_767_323_045),
            (Some("2026-01-02T03:04:05Z"), Some("1700000000"), 1_700_000_000),
        ] {
            let name = unique("times");
            let image = Image::new(&host, &name);
            let mut config = config(&name, tree.path());
            config.builder = Some(builder);
            config.origin.created = created.map(|time| time.parse().unwrap());
            config.epoch = epoch.map(|epoch| epoch.parse().unwrap());
            // The content is the same, so the engine would take a layer of the build before.
            config.no_cache = true;
            run(&engine, &config).await.0.unwrap_or_else(|error| panic!("{builder}: {error:?}"));
            assert_eq!(image.time_of("context/file"), want, "{builder} {created:?} {epoch:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_may_lie_elsewhere_and_leaves_no_trace() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let elsewhere = Tree::new(&[("My.Dockerfile", "FROM scratch\nCOPY . /context/\n")]);
    for ignore in [None, Some("secret")] {
        let tree = Tree::new(&[("file", "content"), ("secret", "s3cr3t")]);
        if let Some(ignore) = ignore {
            tree.add(".dockerignore", ignore);
        }
        let name = unique("elsewhere");
        let image = Image::new(&host, &name);
        let mut config = config(&name, tree.path());
        config.builder = Some(Builder::Classic);
        config.dockerfile = Some(elsewhere.path().join("My.Dockerfile"));
        run(&engine, &config).await.0.unwrap();
        let files = image.files();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        let want: &[&str] =
            if ignore.is_some() { &[".dockerignore", "file"] } else { &["file", "secret"] };
        assert_eq!(names, want);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ignore_file_of_a_dockerfile_comes_first() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let tree = Tree::new(&[
        ("a", ""),
        ("b", ""),
        ("docker/x.Dockerfile", "FROM scratch\nCOPY . /context/\n"),
        ("docker/x.Dockerfile.dockerignore", "a\ndocker\n"),
        (".dockerignore", "b\n"),
    ]);
    for builder in BUILDERS {
        let name = unique("special");
        let image = Image::new(&host, &name);
        let mut config = config(&name, tree.path());
        config.builder = Some(builder);
        config.dockerfile = Some(tree.path().join("docker/x.Dockerfile"));
        let (built, events) = run(&engine, &config).await;
        built.unwrap();
        let files = image.files();
        assert!(files.contains_key("b") && !files.contains_key("a"), "{builder}: {files:?}");
        let warned = events.iter().any(|event| matches!(event, EngineEvent::Warning(_)));
        assert_eq!(warned, builder == Builder::BuildKit, "{builder}: {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_shown_with_its_last_lines() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let tree = Tree::new(&[("Dockerfile", "FROM scratch\nCOPY program /\nRUN [\"/program\"]\n")]);
    static_program(
        "fn main() { for n in 0..40 { eprintln!(\"line {n}\"); } eprintln!(\"broken\"); std::process::exit(3) }",
        tree.path(),
    );
    for builder in BUILDERS {
        let name = unique("failing");
        let _image = Image::new(&host, &name);
        let mut config = config(&name, tree.path());
        config.builder = Some(builder);
        config.network = Some("none".to_owned());
        let error = run(&engine, &config).await.0.unwrap_err();
        let ErrorKind::Step { step: Some(step), message, output } = error.kind() else {
            panic!("{builder}: {error:?}")
        };
        assert!(step.contains("RUN [\"/program\"]"), "{builder}: {step}");
        assert!(message.contains('3'), "{builder}: {message}");
        assert!(output.iter().any(|line| line == "broken"), "{builder}: {output:?}");
        assert!(output.iter().any(|line| line == "line 39"), "{builder}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_as_what_it_is() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let cases = [
        ("FROM scratch\nCOPY nope /\n", "Step"),
        ("FROM scratch\nNONSENSE\n", "Dockerfile"),
        ("FROM 127.0.0.1:1/nothing:there\n", "RegistryUnreachable"),
    ];
    for builder in BUILDERS {
        for (dockerfile, want) in cases {
            let tree = Tree::new(&[("Dockerfile", dockerfile)]);
            let mut config = config(&unique("wrong"), tree.path());
            config.builder = Some(builder);
            let error = run(&engine, &config).await.0.unwrap_err();
            let kind = format!("{:?}", error.kind());
            assert!(kind.starts_with(want), "{builder}, {dockerfile:?}: {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_cannot_be_sent_is_told_before_or_instead_of_the_engine() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let tree =
        Tree::new(&[("Dockerfile", "FROM scratch\nCOPY . /\n"), (".dockerignore", "a\n[b\n")]);
    let check = async |config: &BuildConfig, want: &str| {
        let error = run(&engine, config).await.0.unwrap_err();
        let words = format!("{}: {:?}", error.kind(), error.kind());
        assert!(words.contains(want), "{want}: {words}");
    };
    let mut wrong = config(&unique("context"), tree.path());
    check(&wrong, "line: 2").await;
    wrong.context = tree.path().join("nowhere");
    check(&wrong, "nowhere` is not a readable directory").await;
    wrong.context = tree.path().join("Dockerfile");
    check(&wrong, "Dockerfile` is not a readable directory").await;
    wrong.context = tree.path().to_owned();
    wrong.dockerfile = Some(tree.path().join("Nofile"));
    check(&wrong, "there is no Dockerfile at").await;
    let tree = Tree::new(&[("Dockerfile", "FROM scratch\nCOPY . /\n")]);
    let _socket = UnixListener::bind(tree.path().join("socket")).unwrap();
    let fine = config(&unique("context"), tree.path());
    let _image = Image::new(&host, &fine.image.to_string());
    let (built, events) = run(&engine, &fine).await;
    built.unwrap();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, EngineEvent::Skipped(path) if path.ends_with("socket")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_time_ends_the_build_in_the_engine() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let name = unique("endless");
    let tree = endless(&name);
    let _image = Image::new(&host, &name);
    let mut config = config(&name, tree.path());
    config.builder = Some(Builder::Classic);
    config.network = Some("none".to_owned());
    config.timeout = Duration::from_secs(10);
    let keychain = Keychain::anonymous();
    let mut ignore = |_| {};
    let (built, ()) =
        tokio::join!(build(&engine, &keychain, &config, &mut ignore), started(&host, &name));
    let error = built.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Deadline { .. }), "{error:?}");
    ended(&host, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_while_it_is_sent_is_no_success() {
    let Some(host) = docker_host() else { return };
    let engine = engine(&host).await;
    let tree = Tree::new(&[("Dockerfile", "FROM scratch\nCOPY . /\n"), ("log", "")]);
    // Large enough that it is written to many times between its first and its last byte.
    let mut log = std::fs::OpenOptions::new().append(true).open(tree.path().join("log")).unwrap();
    log.set_len(256 << 20).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                log.write_all(b"x").unwrap();
            }
        }
    });
    let name = unique("growing");
    let _image = Image::new(&host, &name);
    let built = run(&engine, &config(&name, tree.path())).await.0;
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let error = built.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Context(ContextError::Changed { path, .. }) if path.ends_with("log")),
        "{error:?}"
    );
}
