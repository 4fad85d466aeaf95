//! The keychain on real files and with real helper programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use verbatim_credentials::{
    Credential, CredentialEnvironment, ErrorKind, ExposeSecret as _, Keychain,
};

fn show(credential: Credential) -> String {
    match credential {
        Credential::Anonymous => "anonymous".to_owned(),
        Credential::Basic { username, password } => {
            format!("{username}:{}", password.expose_secret())
        }
        Credential::IdentityToken(token) => format!("identity:{}", token.expose_secret()),
        Credential::RegistryToken(token) => format!("bearer:{}", token.expose_secret()),
        other => format!("{other:?}"),
    }
}

async fn lookup(keychain: &Keychain, registry: &str) -> String {
    show(keychain.lookup(registry, "a/b").await.expect("a credential or none"))
}

fn config(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, content).expect("a file");
}

fn token(registry: &str, token: &str) -> String {
    format!(r#"{{"auths":{{"{registry}":{{"registrytoken":"{token}"}}}}}}"#)
}

#[tokio::test]
async fn sources_are_asked_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    config(path, "docker/config.json", &token("docker", "1"));
    config(path, "podman.json", &token("podman", "2"));
    config(path, "run/containers/auth.json", &token("session", "3"));
    config(path, "config/containers/auth.json", &token("user", "4"));
    let environment = CredentialEnvironment {
        docker_config: Some(path.join("docker")),
        registry_auth_file: Some(path.join("podman.json")),
        xdg_runtime_dir: Some(path.join("run")),
        xdg_config_home: Some(path.join("config")),
        // A helper that is named here must not be run: the variable counts for its entries alone.
        docker_auth_config: Some(
            r#"{"credsStore":"none","auths":{"docker":{"registrytoken":"0"}}}"#.into(),
        ),
        ..CredentialEnvironment::default()
    };
    let keychain = Keychain::from_environment(&environment);
    for (registry, want) in [
        ("docker", "bearer:0"),
        ("podman", "bearer:2"),
        ("session", "bearer:3"),
        ("user", "bearer:4"),
        ("nobody", "anonymous"),
    ] {
        assert_eq!(lookup(&keychain, registry).await, want, "{registry}");
    }
    let registries = keychain.registries().await.expect("a list");
    assert_eq!(Vec::from_iter(registries), ["docker", "podman", "session", "user"]);
}

#[tokio::test]
async fn files_that_do_not_exist_are_skipped_and_broken_ones_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    assert_eq!(lookup(&Keychain::from_file(&path), "h").await, "anonymous");
    fs::write(&path, "{\"auths\":{\"h\":{\"auth\":\"?\"}}}").expect("a file");
    let error = Keychain::from_file(&path).lookup("h", "x").await.expect_err("a bad entry");
    assert_eq!(error.place(), format!("{}, key `h`", path.display()));
    assert!(matches!(error.kind(), ErrorKind::Auth));
    fs::write(&path, "{").expect("a file");
    let error = Keychain::from_file(&path).lookup("h", "x").await.expect_err("no JSON");
    assert_eq!(error.place(), path.display().to_string());
}

/// A file that was copied from a machine with a helper: the login of another source counts, and nobody is stopped who needs
/// none.
#[tokio::test]
async fn a_place_that_can_have_no_login_is_told_and_stops_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    config(
        path,
        "docker/config.json",
        r#"{"credsStore":"verbatim-none","credHelpers":{"bad":"../x"},
            "auths":{"h":{},"entry":{"auth":"Ym90OnBhOnNz"},"auth":{"auth":"Ym90"}}}"#,
    );
    config(path, "config/containers/auth.json", &token("podman", "4"));
    let environment = CredentialEnvironment {
        docker_config: Some(path.join("docker")),
        xdg_config_home: Some(path.join("config")),
        ..CredentialEnvironment::default()
    };
    let keychain = Keychain::from_environment(&environment);
    let file = path.join("docker/config.json").display().to_string();
    let podman = path.join("config/containers/auth.json").display().to_string();
    for (registry, want) in [
        ("entry", format!("`bot` from {file}, key `entry`")),
        ("podman", format!("the token from {podman}, key `podman`")),
        ("h", "nobody".to_owned()),
        ("bad", "nobody".to_owned()),
        ("auth", "nobody".to_owned()),
    ] {
        let found = keychain.find(registry, "a/b").await.expect("a login or none");
        assert_eq!(found.to_string(), want, "{registry}");
        assert_eq!(found.unusable.is_some(), found.credential.is_anonymous(), "{registry}");
        let strict = keychain.lookup(registry, "a/b").await;
        assert_eq!(strict.is_err(), found.unusable.is_some(), "{registry}");
    }
    let error = keychain.lookup("h", "x").await.expect_err("no helper");
    assert_eq!(error.place(), format!("the helper that {file} names for `h`"));
    assert_eq!(error.kind().to_string(), "`docker-credential-verbatim-none` is not in the PATH");
}

/// Helpers are looked for in the PATH of this process, which a test cannot change safely: the test runs itself again
/// with one that holds the helpers.
#[test]
fn helpers_are_asked() {
    let helpers = tempfile::tempdir().expect("a folder");
    let script = |name: &str, body: &str| {
        let path = helpers.path().join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a helper");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    };
    script("echo", r#"read server; echo "{\"Username\":\"$1\",\"Secret\":\"$server\"}""#);
    script("token", r#"echo '{"Username":"<token>","Secret":"T"}'"#);
    script("none", "echo credentials not found in native keychain; exit 1");
    script("locked", "echo the store is locked; exit 1");
    script("slow", "exec sleep 600");
    let path = std::env::var_os("PATH").expect("a PATH");
    let path = std::env::join_paths(
        std::iter::once(helpers.path().to_owned()).chain(std::env::split_paths(&path)),
    )
    .expect("a PATH");
    let status = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "with_helpers_in_the_path", "--ignored"])
        .env("PATH", path)
        .status()
        .expect("this test can run");
    assert!(status.success());
}

#[tokio::test]
#[ignore = "run by `helpers_are_asked`, with helpers in the PATH"]
async fn with_helpers_in_the_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    fs::write(
        &path,
        r#"{"credsStore":"none","auths":{"stored":{"registrytoken":"R"}},"credHelpers":{
            "docker.io":"echo","h:5000":"echo","t":"token","l":"locked","s":"slow"}}"#,
    )
    .expect("a file");
    let keychain = Keychain::from_file(&path);
    for (registry, want) in [
        ("docker.io", "get:https://index.docker.io/v1/"),
        ("h:5000", "get:h:5000"),
        ("t", "identity:T"),
        ("stored", "bearer:R"),
        ("other", "anonymous"),
    ] {
        assert_eq!(lookup(&keychain, registry).await, want, "{registry}");
    }
    let error = keychain.lookup("l", "x").await.expect_err("a locked store");
    assert_eq!(error.place(), format!("the helper that {} names for `l`", path.display()));
    assert!(
        matches!(error.kind(), ErrorKind::HelperFailed { message, .. } if message == "the store is locked")
    );
    let hasty = keychain.with_helper_deadline(Duration::from_millis(50));
    let error = hasty.lookup("s", "x").await.expect_err("a slow helper");
    assert!(matches!(error.kind(), ErrorKind::HelperTimeout { .. }));
}
