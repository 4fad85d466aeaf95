//! The program: what it prints, and how it ends.

use std::path::Path;
use std::process::{Command, Output};

use verbatim_oci::Digest;

use crate::setup::{client, old_registry, push_image, push_index, registry, tagged};

/// Runs the program without any configuration of whoever runs the tests.
async fn run(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim-registry"));
    command.args(arguments).env_clear().env("HOME", home).current_dir(home);
    // The registry runs in this process and must go on answering.
    let ran = tokio::task::spawn_blocking(move || command.output());
    ran.await.expect("no panic").expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[track_caller]
fn check(output: &Output, status: i32, stdout: &str, stderr: &str) {
    assert_eq!(text(&output.stderr), stderr);
    assert_eq!(text(&output.stdout), stdout);
    assert_eq!(output.status.code(), Some(status));
}

#[tokio::test]
async fn resolve_and_manifest() {
    let registry = registry().await;
    let home = tempfile::tempdir().expect("a folder");
    let run = async |arguments: &[&str]| run(home.path(), arguments).await;
    let reference = tagged(&registry.host(), "v1");
    let digest = push_image(&client(), &reference, "one").await;
    let v1 = reference.to_string();
    check(&run(&["resolve", &v1]).await, 0, &format!("{v1}@{digest}\n"), "");
    check(
        &run(&["resolve", "--digest-only", &v1, &v1]).await,
        0,
        &format!("{digest}\n{digest}\n"),
        "",
    );
    let json = run(&["resolve", "--format", "json", &v1]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["images"][0]["digest"], digest.to_string());
    assert_eq!(json["images"][0]["reference"], format!("{v1}@{digest}"));
    let manifest = run(&["manifest", &v1]).await;
    assert_eq!((Digest::of(&manifest.stdout), manifest.status.code()), (digest, Some(0)));
    let multi = tagged(&registry.host(), "multi");
    push_index(&client(), &multi, &["linux/amd64", "linux/arm64"]).await;
    let image = client().resolve(&tagged(&registry.host(), "image-linux-arm64")).await.expect("it");
    let multi = multi.to_string();
    let one = run(&["resolve", "--digest-only", "--platform", "linux/arm64", &multi]).await;
    check(&one, 0, &format!("{}\n", image.digest()), "");
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let registry = registry().await;
    let home = tempfile::tempdir().expect("a folder");
    let host = registry.host();
    push_image(&client(), &tagged(&host, "v1"), "one").await;
    let output = run(home.path(), &["resolve", &format!("{host}/example/app:v2")]).await;
    let want = format!(
        "error: cannot read {host}/example/app:v2 (http://{host}/v2/example/app/manifests/v2)\n  \
         caused by: not found: 404 Not Found, MANIFEST_UNKNOWN: manifest unknown\n\
         hint: registries answer 404 without read access, too: check the name, then log in\n"
    );
    let said = text(&output.stderr);
    assert_eq!(said.lines().next(), want.lines().next());
    assert!(said.contains("404 Not Found, MANIFEST_UNKNOWN") && said.contains("hint: "), "{said}");
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(7), true));
    let output = run(home.path(), &["resolve", "UPPER CASE"]).await;
    assert_eq!(output.status.code(), Some(2));
    let output = run(home.path(), &["--registry-ca", "gone.pem", "resolve", "a"]).await;
    assert_eq!(output.status.code(), Some(2));
    let output = run(home.path(), &["tags", "--registry-ca", "gone.pem", "a"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: cannot read gone.pem"));
}

#[tokio::test]
async fn tags_and_referrers() {
    let registry = old_registry().await;
    let home = tempfile::tempdir().expect("a folder");
    let run = async |arguments: &[&str]| run(home.path(), arguments).await;
    let reference = tagged(&registry.host(), "v1");
    let digest = push_image(&client(), &reference, "one").await;
    let (v1, repository) = (reference.to_string(), reference.repository.to_string());
    check(&run(&["referrers", "list", &v1]).await, 0, "", "no referrers\n");
    std::fs::write(home.path().join("notes.txt"), "content").expect("a file");
    let attached =
        run(&["referrers", "attach", "--type", "text/x", "-a", "k=v", &v1, "notes.txt"]).await;
    assert_eq!(attached.status.code(), Some(0), "{}", text(&attached.stderr));
    let record = text(&attached.stdout).trim().to_owned();
    assert!(record.starts_with(&format!("{repository}@sha256:")));
    check(&run(&["referrers", "get", &record]).await, 0, "content", "");
    let listed = run(&["referrers", "list", "--format", "json", "--type", "text/x", &v1]).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["source"], "fallback-tag");
    assert_eq!(listed["referrers"][0]["annotations"]["k"], "v");
    let human = run(&["referrers", "list", &v1]).await;
    let line = text(&human.stdout).lines().nth(1).expect("a line").to_owned();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        [record.split('@').nth(1).expect("a digest"), "text/x"]
    );
    check(&run(&["referrers", "relist", &record]).await, 0, &format!("{record}\n"), "");
    check(&run(&["tags", &repository]).await, 0, "v1\n", "");
    let all = run(&["tags", "--all", &repository]).await;
    assert!(text(&all.stdout).contains(&format!("sha256-{}\n", digest.hex())));
    let saved = run(&["referrers", "get", "--output", "out.txt", &record]).await;
    check(&saved, 0, "", "");
    assert_eq!(std::fs::read(home.path().join("out.txt")).expect("a file"), b"content");
    let output = run(&["referrers", "get", "--layer", "7", &record]).await;
    assert_eq!(output.status.code(), Some(2));
}

/// Credentials come from where `docker login` leaves them.
#[tokio::test]
async fn the_login_of_docker_is_used() {
    use test_registry::{Account, Auth, Config, Registry};
    let account = Account { username: "bot".into(), password: "secret".into() };
    let config = Config { auth: Auth::Basic(account), ..Config::default() };
    let registry = Registry::start(config).await.expect("a registry");
    let host = registry.host();
    let pusher = crate::setup::client_with(&host, crate::setup::password("bot", "secret"));
    let reference = tagged(&host, "v1");
    let digest = push_image(&pusher, &reference, "one").await;
    let home = tempfile::tempdir().expect("a folder");
    let v1 = reference.to_string();
    let output = run(home.path(), &["resolve", &v1]).await;
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains(&format!("hint: log in with `docker login {host}`")));
    std::fs::create_dir(home.path().join(".docker")).expect("a folder");
    // `bot:secret`
    let login = format!(r#"{{"auths":{{"{host}":{{"auth":"Ym90OnNlY3JldA=="}}}}}}"#);
    std::fs::write(home.path().join(".docker/config.json"), login).expect("a file");
    check(&run(home.path(), &["resolve", &v1]).await, 0, &format!("{v1}@{digest}\n"), "");
    let output = run(home.path(), &["resolve", "--registry-anonymous", &v1]).await;
    assert_eq!(output.status.code(), Some(7));
}
